//! Rows of a table that lie in objects which adce collects itself: a schedule that comes as a file a day, say.
//!
//! Each object becomes a file of the table (CSV, with the columns that the config names), so everything that tables can do with files
//! holds for these, too: typed and derived columns, duplicates, errors with their place. Rows are kept by whoever stands behind
//! [`super::TableFiles`], so that an object is read again only when it has changed.
//!
//! Not done here: fetching. The engine looks at the lake and reads what is new before it expands.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use serde_json::Value;

use super::state::Found;
use super::table::TableFile;
use crate::json_path::JsonPath;
use crate::spec::problem::Place;

/// No more than this is unpacked of one object.
const LARGEST: u64 = 1 << 30;

/// Where the rows of a derived table come from.
#[derive(Clone, Debug)]
pub struct CollectedRows {
    /// The dataset whose objects have them.
    pub dataset: String,
    /// Of an object: each that it names is a row.
    pub rows: JsonPath,
    /// Names, and where their cells are.
    pub columns: Vec<(String, CellOf)>,
    /// Of the dataset's name in the config.
    pub at: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub enum CellOf {
    /// A place in the row.
    Row(JsonPath),
    /// A value of the object's own item.
    Item(String),
}

impl CollectedRows {
    pub fn header(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Two objects of one version and rules of one version have the same rows.
    pub fn version_of(&self, found: &Found) -> u64 {
        let rule = format!("{:?}", (&self.rows, &self.columns));
        let mut hasher = blake3::Hasher::new();
        hasher.update(rule.as_bytes());
        hasher.update(format!("{:?}", (found.size, found.last_modified, found.etag)).as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }

    /// The rows of one object as CSV. `item`: values of its own item. The error says what is wrong with it.
    pub fn read(&self, object: &[u8], item: &dyn Fn(&str) -> Option<String>) -> Result<Vec<u8>, String> {
        let mut inside = Vec::new();
        let object = match object.starts_with(&[0x1f, 0x8b]) {
            false => object,
            true => {
                let unpacked = flate2::read::MultiGzDecoder::new(object).take(LARGEST).read_to_end(&mut inside);
                unpacked.map_err(|error| format!("its gzip is damaged: {error}"))?;
                &inside
            }
        };
        let object = object.strip_prefix(super::table::BYTE_ORDER_MARK).unwrap_or(object);
        let whole: Value = serde_json::from_slice(object).map_err(|error| format!("it is no JSON: {error}"))?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        let wrong = |error: csv::Error| error.to_string();
        writer.write_record(self.header()).map_err(wrong)?;
        for row in self.rows.each(&whole) {
            let cell = |of: &CellOf| match of {
                CellOf::Row(path) => path.first(row).map(cell).unwrap_or_default(),
                CellOf::Item(name) => item(name).unwrap_or_default(),
            };
            writer.write_record(self.columns.iter().map(|(_, of)| cell(of))).map_err(wrong)?;
        }
        writer.into_inner().map_err(|error| error.to_string())
    }
}

/// As a file would have it; null is empty.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What is known of the rows of one derived table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptRows {
    /// By key of the object: its version, and its rows.
    pub objects: BTreeMap<String, (u64, Arc<Vec<u8>>)>,
    /// Objects that are there and could not be read, and why.
    pub unread: BTreeMap<String, String>,
}

impl KeptRows {
    /// As files of the table, in the order of their keys.
    pub fn files(&self) -> Vec<TableFile> {
        let file = |(key, (_, rows)): (&String, &(u64, Arc<Vec<u8>>))| TableFile { name: format!("lake:{key}"), bytes: rows.to_vec() };
        self.objects.iter().map(file).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> CollectedRows {
        let path = |text: &str| JsonPath::parse(text).unwrap();
        CollectedRows {
            dataset: "schedule".into(),
            rows: path("$.events[*]"),
            columns: vec![
                ("game_id".into(), CellOf::Row(path("$.id"))),
                ("home".into(), CellOf::Row(path("$.teams[0].name"))),
                ("played".into(), CellOf::Row(path("$.played"))),
                ("day".into(), CellOf::Item("day".into())),
            ],
            at: Place::default(),
        }
    }

    #[test]
    fn each_row_of_an_object_is_a_line() {
        let object = br#"{"events": [{"id": "0022", "teams": [{"name": "A, \"B\""}], "played": true}, {"id": 7, "teams": null}, {}]}"#;
        let read = rows().read(object, &|name| (name == "day").then(|| "2024-10-01".into())).unwrap();
        let expected = "game_id,home,played,day\n0022,\"A, \"\"B\"\"\",true,2024-10-01\n7,,,2024-10-01\n,,,2024-10-01\n";
        assert_eq!(String::from_utf8(read).unwrap(), expected);
    }

    #[test]
    fn an_object_without_rows_is_an_empty_file_and_one_that_is_no_json_is_an_error() {
        for object in ["{}", "{\"events\": []}", "\u{feff}[1]"] {
            assert_eq!(rows().read(object.as_bytes(), &|_| None).unwrap(), b"game_id,home,played,day\n");
        }
        assert!(rows().read(b"<html>", &|_| None).unwrap_err().starts_with("it is no JSON: "));
    }
}
