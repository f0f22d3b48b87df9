use std::io::Read;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Row {
    key: String,
    size: u64,
    modified_micros: Option<i64>,
    etag: Option<String>,
}

/// Gives a few bytes at a time, so that every record is cut somewhere.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let most = self.1.min(into.len()).min(self.0.len());
        into[..most].copy_from_slice(&self.0[..most]);
        self.0 = &self.0[most..];
        Ok(most)
    }
}

fn rows(text: &[u8], schema: &str, piece: usize) -> Result<Vec<Row>, Damaged> {
    let found = Mutex::new(Vec::new());
    let columns = CsvColumns::of(schema).unwrap();
    let hear = |page: &[ReportRow<'_>]| {
        let own = |row: &ReportRow<'_>| Row {
            key: row.key.into(),
            size: row.size,
            modified_micros: row.modified_micros,
            etag: row.etag.map(str::to_owned),
        };
        found.lock().unwrap().extend(page.iter().map(own));
    };
    read("a.csv", Trickle(text, piece), &columns, &hear)?;
    Ok(found.into_inner().unwrap())
}

const VERSIONS: &str = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag";

#[test]
fn current_versions_are_there_and_delete_markers_are_absences() {
    let text = b"\"b\",\"gone\",\"v2\",\"true\",\"true\",\"\",\"2024-05-06T22:46:14.000Z\",\"\"\n\
        \"b\",\"gone\",\"v1\",\"false\",\"false\",\"5\",\"2024-05-06T22:45:34.000Z\",\"e1\"\n\
        \"b\",\"here%2Bthere+%C3%A9/a%20b\",\"v2\",\"true\",\"false\",\"7\",\"2024-05-06T22:44:22.000Z\",\"e2\"\r\n\
        b,plain,,true,false,0,2024-05-06T22:44:22.000Z,e3";
    let found = rows(text, VERSIONS, 1_000).unwrap();
    let keys: Vec<_> = found.iter().map(|row| (row.key.as_str(), row.size, row.etag.as_deref().unwrap())).collect();
    assert_eq!(keys, [("here+there é/a b", 7, "e2"), ("plain", 0, "e3")]);
    assert_eq!(found[0].modified_micros, Some(1_715_035_462_000_000));
    // An object without a size is a delete marker, whether or not somebody asked for the field.
    assert_eq!(rows(b"\"k\",\"\"\n\"l\",\"1\"\n", "Key, Size", 3).unwrap().len(), 1);
}

#[test]
fn what_is_wrong_with_a_row_is_said_with_its_number() {
    let told = |text: &str| rows(text.as_bytes(), "Bucket, Key, Size, LastModifiedDate", 7).unwrap_err().to_string();
    let good = "\"b\",\"k\",\"1\",\"2024-05-06T22:44:22.000Z\"\n";
    assert_eq!(told(&format!("{good}b,k,1\n")), "`a.csv`: row 2: it has 3 fields, and the manifest names 4");
    assert_eq!(told("b,k,1,2024-05-06T22:44:22Z,5\n"), "`a.csv`: row 1: it has more fields than the 4 that the manifest names");
    assert_eq!(told(&format!("{good}{good}b,k,one,")), "`a.csv`: row 3: its size `one` is no number");
    assert_eq!(told("b,k,1,yesterday\n"), "`a.csv`: row 1: its date `yesterday` is none");
    assert_eq!(told("b,a%2,1,2024-05-06T22:44:22Z\n"), "`a.csv`: row 1: its key `a%2` is not URL-encoded");
    assert_eq!(told("b,a%ff,1,2024-05-06T22:44:22Z\n"), "`a.csv`: before row 2: `a\u{fffd}` is not UTF-8");
    assert_eq!(told(&format!("{good}\"b\",\"k")), "`a.csv`: row 2: a quote is never closed");
    assert_eq!(told("\"b\"x,k,1,\n"), "`a.csv`: row 1: something stands behind a closing quote");
    let endless = format!("\"{}", "x".repeat(BUFFER + 10));
    assert_eq!(told(&endless), "`a.csv`: row 1: it is longer than any row of a report");
}

/// As the general reader reads it.
fn naive(text: &[u8]) -> Result<Vec<Row>, String> {
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(text);
    let mut found = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let (key, size, etag) = (&record[0], &record[1], &record[2]);
        found.push(Row { key: key.into(), size: size.parse().map_err(|_| "size")?, modified_micros: None, etag: Some(etag.into()) });
    }
    Ok(found)
}

proptest! {
    #[test]
    fn rows_are_those_that_a_general_reader_finds(
        cells in prop::collection::vec(("[a-z/\" ,\\n]{0,12}", any::<u64>(), "[a-z0-9\"\\-]{0,8}"), 0..40),
        quoted in any::<bool>(),
        piece in 1_usize..200,
    ) {
        let style = if quoted { ::csv::QuoteStyle::Always } else { ::csv::QuoteStyle::Necessary };
        let mut writer = ::csv::WriterBuilder::new().quote_style(style).from_writer(Vec::new());
        for (key, size, etag) in &cells {
            writer.write_record([key, &size.to_string(), etag]).unwrap();
        }
        let text = writer.into_inner().unwrap();
        prop_assert_eq!(rows(&text, "Key, Size, ETag", piece).unwrap(), naive(&text).unwrap());
    }

    #[test]
    fn a_damaged_file_is_refused_or_says_something_else_and_never_panics(
        damage in prop::collection::vec((0_usize..400, any::<u8>()), 1..4),
        cut in 0_usize..400,
        piece in 1_usize..100,
    ) {
        let mut text: Vec<u8> = Vec::new();
        for n in 0..6 {
            text.extend(format!("\"b\",\"k%2B{n}\",\"{n}\",\"2024-05-06T22:44:2{n}.000Z\",\"e{n}\"\n").bytes());
        }
        text.truncate(text.len().max(1) - cut.min(text.len() - 1));
        for (at, with) in damage {
            let length = text.len();
            text[at % length] = with;
        }
        let _ = rows(&text, "Bucket, Key, Size, LastModifiedDate, ETag", piece);
    }
}
