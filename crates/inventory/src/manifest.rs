//! `manifest.json`: what a report says of itself.
//!
//! Keys and shape are AWS's; whatever else stands there is left alone. Nothing of it is trusted to be small or sane
//! (`a_damaged_manifest_is_refused_and_never_panics`).

use adce_core::time::Timestamp;
use serde::Deserialize;

/// Thousands of data files fit, and a reader's memory is bounded.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    Orc,
    Parquet,
}

impl Format {
    pub fn word(self) -> &'static str {
        match self {
            Format::Csv => "CSV",
            Format::Orc => "ORC",
            Format::Parquet => "Parquet",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub bucket: String,
    pub created: Timestamp,
    pub format: Format,
    /// As it stands there. Only a CSV file does not say itself what its columns are.
    pub schema: String,
    pub files: Vec<DataFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// In the bucket that the report was delivered to.
    pub key: String,
    pub size: u64,
    /// Lower-case hex.
    pub md5: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    source_bucket: String,
    creation_timestamp: Millis,
    file_format: String,
    file_schema: String,
    files: Vec<WrittenFile>,
}

#[derive(Deserialize)]
struct WrittenFile {
    key: String,
    size: u64,
    #[serde(rename = "MD5checksum")]
    md5: String,
}

/// AWS writes the number as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Millis {
    Text(String),
    Number(i64),
}

impl Manifest {
    /// What is wrong comes back in words.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let written: Written = serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest of a report: {error}"))?;
        let millis = match &written.creation_timestamp {
            Millis::Number(millis) => Some(*millis),
            Millis::Text(text) => text.trim().parse().ok(),
        };
        let created = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
        let created = created.ok_or("its `creationTimestamp` is no number of milliseconds since 1970")?;
        let format = match written.file_format.to_ascii_lowercase().as_str() {
            "csv" => Format::Csv,
            "orc" => Format::Orc,
            "parquet" => Format::Parquet,
            _ => return Err(format!("its `fileFormat` is `{}`; CSV, ORC and Parquet are known", written.file_format)),
        };
        // The destination's name may be an ARN in one place or the other.
        let bucket = written.source_bucket.rsplit(":::").next().unwrap_or_default().to_owned();
        let files = written.files.into_iter().map(|file| {
            let md5 = file.md5.trim().to_ascii_lowercase();
            let is_md5 = md5.len() == 32 && md5.bytes().all(|byte| byte.is_ascii_hexdigit());
            match is_md5 {
                true => Ok(DataFile { key: file.key, size: file.size, md5 }),
                false => Err(format!("the `MD5checksum` of its file `{}` has not 32 digits", file.key)),
            }
        });
        let files = files.collect::<Result<Vec<_>, _>>()?;
        Ok(Manifest { bucket, created, format, schema: written.file_schema, files })
    }
}

/// Where the columns of a CSV file stand that anybody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CsvColumns {
    pub count: usize,
    pub key: usize,
    pub size: usize,
    pub modified: Option<usize>,
    pub etag: Option<usize>,
    pub is_latest: Option<usize>,
    pub is_delete_marker: Option<usize>,
}

impl CsvColumns {
    /// `Bucket, Key, Size, LastModifiedDate`
    pub fn of(schema: &str) -> Result<CsvColumns, String> {
        let names: Vec<String> = schema.split(',').map(plain).collect();
        let place = |name: &str| names.iter().position(|known| known == name);
        let needed = |name: &str| place(&plain(name)).ok_or_else(|| format!("its `fileSchema` has no `{name}`"));
        let columns = CsvColumns {
            count: names.len(),
            key: needed("Key")?,
            size: needed("Size")?,
            modified: place("lastmodifieddate"),
            etag: place("etag"),
            is_latest: place("islatest"),
            is_delete_marker: place("isdeletemarker"),
        };
        current_versions(place("versionid").is_some(), columns.is_latest.is_some())?;
        Ok(columns)
    }
}

/// Of versions without a word on which is current nobody can tell what is there.
pub(crate) fn current_versions(has_version: bool, has_latest: bool) -> Result<(), String> {
    match has_version && !has_latest {
        true => Err("it lists versions and does not say which are current: add the field `IsLatest`".into()),
        false => Ok(()),
    }
}

/// `LastModifiedDate` and `last_modified_date` are one name.
pub(crate) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = r#"{"sourceBucket":"nba","destinationBucket":"arn:aws:s3:::reports","version":"2016-11-30",
        "creationTimestamp":"1736384400000","fileFormat":"CSV","fileSchema":"Bucket, Key, Size",
        "files":[{"key":"r/data/a.csv.gz","size":7,"MD5checksum":"29807D2A76983bf1c53ce978e999d0b5"}]}"#;

    #[test]
    fn a_manifest_says_what_and_when() {
        let manifest = Manifest::parse(GOOD.as_bytes()).unwrap();
        assert_eq!((manifest.bucket.as_str(), manifest.format), ("nba", Format::Csv));
        assert_eq!(manifest.created.to_string(), "2025-01-09T01:00:00Z");
        assert_eq!(manifest.files[0].md5, "29807d2a76983bf1c53ce978e999d0b5");
    }

    #[test]
    fn what_is_wrong_with_a_manifest_is_said() {
        let told = |from: &str, to: &str| Manifest::parse(GOOD.replace(from, to).as_bytes()).unwrap_err();
        assert!(told("\"nba\"", "7").contains("no manifest of a report"));
        assert!(told("1736384400000", "yesterday").contains("creationTimestamp"));
        assert!(told("CSV", "Avro").contains("`Avro`"));
        assert!(told("29807D2A", "").contains("a.csv.gz"));
        assert!(told("\"files\"", "\"folders\"").contains("files"));
    }

    #[test]
    fn any_columns_do_that_have_key_and_size() {
        let columns = |schema: &str| CsvColumns::of(schema);
        let few = columns("Bucket, Key, Size").unwrap();
        assert_eq!((few.count, few.key, few.size, few.modified), (3, 1, 2, None));
        assert_eq!(columns("Key,ETag,Size").unwrap().etag, Some(1));
        assert_eq!(columns("Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size").unwrap().is_delete_marker, Some(4));
        assert!(columns("Bucket, Key").unwrap_err().contains("`Size`"));
        assert!(columns("Bucket, Key, VersionId, Size").unwrap_err().contains("IsLatest"));
    }

    proptest! {
        #[test]
        fn a_damaged_manifest_is_refused_and_never_panics(at in 0..GOOD.len(), with in any::<u8>(), cut in 0..GOOD.len()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = with;
            let _ = Manifest::parse(&bytes).map(|manifest| CsvColumns::of(&manifest.schema));
            prop_assert!(Manifest::parse(&bytes[..cut]).is_err());
        }
    }
}
