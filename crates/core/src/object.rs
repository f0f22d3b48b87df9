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

/// Begins the ETag of an object whose listing told none: only dates tell such an object apart.
pub const NO_ETAG_LISTED: &str = "listed-";

impl Object {
    /// Whether this is another object than the one that was seen at its key before, or the same one written anew.
    /// Remembered dates have whole microseconds, and a HEAD may tell whole seconds where a listing told more.
    pub fn replaces(&self, etag: Option<&str>, last_modified: Option<Timestamp>) -> bool {
        let newer = last_modified.is_some_and(|seen| self.last_modified.as_microsecond() > seen.as_microsecond());
        match etag {
            Some(etag) if etag.starts_with(NO_ETAG_LISTED) => {
                last_modified.is_none_or(|seen| self.last_modified.as_second() > seen.as_second())
            }
            Some(etag) => etag != self.etag || newer,
            None => true,
        }
    }
}

/// What must hold at the key for a publish to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precondition {
    /// Nothing is there: `If-None-Match: *`.
    Absent,
    /// The object seen before is still the one there: `If-Match`.
    Unchanged { etag: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_another_if_its_etag_or_its_date_says_so() {
        let at = |micros| Timestamp::from_microsecond(micros).unwrap();
        let object = Object { key: "k".into(), size: 1, last_modified: at(1_500_000), etag: "e".into() };
        assert!(object.replaces(None, None), "nothing was there");
        assert!(object.replaces(Some("d"), Some(at(1_500_000))));
        assert!(!object.replaces(Some("e"), Some(at(1_500_000))));
        assert!(object.replaces(Some("e"), Some(at(1_499_999))), "the same content, written anew");
        assert!(!object.replaces(Some("listed-1-1"), Some(at(1_000_000))), "within the second nothing can be told");
        assert!(object.replaces(Some("listed-1-0"), Some(at(999_999))));
    }
}
