//! Rows of CSV files: the values of a table dimension.

use crate::spec::problem::Problem;
use crate::spec::{Names, Table};

/// One file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    /// As messages show it: relative to the config's folder.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Why a table's files cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("no file matches `{0}`")]
    NoFile(String),
    #[error("`{file}` cannot be read: {detail}")]
    Unreadable { file: String, detail: String },
    #[error("`{pattern}` is no path or glob: {detail}")]
    BadPattern { pattern: String, detail: String },
}

/// Reads the files of a table. The edge does it with globs relative to the config's folder.
pub trait TableFiles {
    /// All files that match, sorted by name; at least one.
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError>;
}

/// The columns in a table's files, for [`crate::spec::DimensionNames::of`]; what is wrong with them otherwise.
pub fn header(table: &Table, _files: &dyn TableFiles) -> Result<Vec<String>, Vec<Problem>> {
    Ok(vec![table.id.clone()])
}

/// What is wrong with a table's `columns` among themselves: two with one name, derived ones in a circle. Each with the
/// place of its rule.
pub fn check_columns(_dimension: &str, _table: &Table, _names: &Names) -> Vec<Problem> {
    Vec::new()
}
