//! Where files and messages of others are read, as functions of bytes: for `fuzz/`, and for the tests here, which damage real and nearly
//! right ones some thousand times on every run. Some of it is the core's; it is here because what unpacks and opens a table is.
//!
//! Each states what must hold whatever the bytes are, and panics where it does not.

use std::path::Path;

use adce_core::coverage::{TableError, TableFile, TableFiles, expand};
use adce_core::events;
use adce_core::spec::template::{Purpose, Template};
use adce_core::spec::{ConfigFile, Validity, load};
use adce_core::time::Timestamp;
use adce_core::valid;

use crate::manifest::{CsvColumns, Manifest};
use crate::tables::Decoded;

/// A template of any purpose: what is wrong is told within its text, and what is filled in begins as the template does.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for purpose in [Purpose::Key, Purpose::Url, Purpose::Argv, Purpose::Path] {
        match Template::parse(text, purpose) {
            Err(errors) => {
                assert!(!errors.is_empty());
                assert!(errors.iter().all(|error| error.offset <= text.len() && text.is_char_boundary(error.offset)), "{errors:?}");
            }
            Ok(template) => {
                assert_eq!(template.text(), text);
                let values: Vec<_> = template.vars().iter().map(|var| (var.name.clone(), "2024-10-01".to_owned())).collect();
                if let Ok(filled) = template.fill(&values) {
                    assert!(filled.starts_with(template.literal_prefix()), "{filled}");
                    assert!(purpose != Purpose::Key || (!filled.is_empty() && filled.len() <= 1_024), "{filled}");
                }
            }
        }
    }
}

/// A report's manifest: what is understood is sane.
pub fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::parse(bytes) else { return };
    let is_md5 = |md5: &str| md5.len() == 32 && md5.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(manifest.files.iter().all(|file| is_md5(&file.md5)));
    if let Ok(columns) = CsvColumns::of(&manifest.schema) {
        let others = [columns.modified, columns.etag, columns.is_latest, columns.is_delete_marker];
        let places = [Some(columns.key), Some(columns.size)].into_iter().chain(others).flatten();
        assert!(places.into_iter().all(|place| place < columns.count), "{columns:?}");
    }
}

/// A message of a queue or a webhook: what SNS says around it changes nothing of what it tells.
pub fn event(bytes: &[u8]) {
    let Ok(told) = events::read(bytes) else { return };
    let message = std::str::from_utf8(bytes).expect("JSON is text");
    let around = serde_json::json!({ "TopicArn": "arn:aws:sns:us-east-1:123456789012:t", "Message": message });
    // Whatever is nested too deep is refused.
    if let Ok(again) = events::read(around.to_string().as_bytes()) {
        assert_eq!(again, told);
    }
}

/// Names that say how a table's file is read.
const KINDS: [&str; 6] = ["t.csv", "t.jsonl", "t.csv.gz", "t.jsonl.gz", "t.csv.zst", "t.parquet"];

struct One<'b>(&'b [u8]);

impl TableFiles for One<'_> {
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        Ok(vec![TableFile { name: pattern.to_owned(), bytes: self.0.to_vec() }])
    }
}

/// The file of a table; its first byte says of which kind. Each row is an item that its key leads back to, or all of it is refused.
pub fn table(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let name = KINDS[usize::from(*kind) % KINDS.len()];
    let text = format!(
        "lake: ./lake\ndimensions:\n  row: {{ table: {name}, id: id, duplicates: {{ keep: last }} }}\ndatasets:\n  d: {{ key: \"d/{{id}}\", for: row }}\n"
    );
    let files = Decoded(One(bytes));
    let loaded = load(&[ConfigFile { name: "adce.yaml".into(), text }], Path::new("/"), &|_| None, &files);
    let told = match loaded.spec() {
        Err(problems) => Err(problems),
        Ok(spec) => expand(&spec, &files, Timestamp::UNIX_EPOCH),
    };
    match told {
        Err(problems) => assert!(problems.iter().any(|problem| problem.is_error() && !problem.is_away)),
        Ok(expected) => {
            let mut key = String::new();
            for item in expected.items() {
                key.clear();
                expected.key(item, &mut key);
                assert_eq!(expected.find(&key), Some(item), "{key}");
            }
            assert_eq!(expected.table_rows()["row"], expected.len() as u64);
        }
    }
}

/// A file that is to be a Parquet: one that is valid is not without its last byte, and whoever reads a damaged one survives it.
pub fn parquet(bytes: &[u8]) {
    let is_valid = |bytes: &[u8]| valid::check(&Validity::Parquet, &mut &*bytes).is_ok();
    if is_valid(bytes) {
        assert!(!is_valid(&bytes[..bytes.len() - 1]));
    }
    let _ = crate::tables::decoded(TableFile { name: "t.parquet".into(), bytes: bytes.to_vec() });
}

#[cfg(test)]
mod tests;
