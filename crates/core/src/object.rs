//! What lies in the lake, as one store tells it.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// One object as a listing or a HEAD shows it. Keys are opaque text: no path rules apply to them here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub key: String,
    pub size: u64,
    /// By the store's clock.
    pub last_modified: Timestamp,
    /// Opaque; changes when the content is replaced. A local lake makes one from inode, size and modification time.
    pub etag: String,
}

/// What must hold at the key for a publish to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precondition {
    /// Nothing is there: `If-None-Match: *`.
    Absent,
    /// The object seen before is still the one there: `If-Match`.
    Unchanged { etag: String },
}
