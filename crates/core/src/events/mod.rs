//! What stores tell of an object that has come or gone, in the forms in which they tell it.
//!
//! An event is a reason to look, not a fact: events come twice, late, in another order, or never. Whoever hears one asks the lake
//! for the object as it is now (`engine/hearing.rs`), so the worst that a wrong event can do is a request for nothing; what no
//! event told, the next full look finds. That is why the `sequencer` of S3, which orders the events of one key, is not needed.
//!
//! Always true: no message makes a reader panic, and a key is read as it was written, whatever its bytes
//! (`a_key_survives_every_form`, `damaged_messages_are_understood_or_refused`).

mod forms;

pub use forms::{NotUnderstood, read};

use crate::coverage::{EtagDigest, Sight};
use crate::time::{SignedDuration, Timestamp};

/// One object of which something is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `None`: there is only one, as for a folder.
    pub bucket: Option<String>,
    pub key: String,
    pub what: What,
    /// When it happened, by the store's clock.
    pub at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Came {
        size: Option<u64>,
        etag: Option<String>,
    },
    Went,
    /// Something else about it changed (restored, tagged): only a look can tell.
    Changed,
}

/// An event's clock and that of the object's date may differ by so much.
const SAME_INSTANT: SignedDuration = SignedDuration::from_secs(2);

impl Event {
    /// It tells nothing new: adce's own objects come back as events, and events come twice.
    pub fn is_known(&self, sight: Sight) -> bool {
        let (What::Came { size: Some(size), etag: Some(etag) }, Sight::There(found)) = (&self.what, sight) else { return false };
        let is_no_later = self.at.is_some_and(|at| at.duration_since(found.last_modified) <= SAME_INSTANT);
        is_no_later && found.size == *size && found.etag == EtagDigest::of(etag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::Found;

    #[test]
    fn only_what_tells_of_just_this_object_is_known() {
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).unwrap();
        let there = Sight::There(Found { size: 3, last_modified: at(0), etag: EtagDigest::of("abc") });
        let came = |size, etag: &str, seconds| Event {
            bucket: None,
            key: "k".into(),
            what: What::Came { size: Some(size), etag: Some(etag.into()) },
            at: Some(at(seconds)),
        };
        assert!(came(3, "abc", 0).is_known(there) && came(3, "abc", -9).is_known(there), "its own, and one that comes late");
        assert!(!came(3, "abc", 60).is_known(there), "the same content, written once more");
        assert!(!came(4, "abc", 0).is_known(there) && !came(3, "abd", 0).is_known(there));
        assert!(!came(3, "abc", 0).is_known(Sight::NotThere) && !came(3, "abc", 0).is_known(Sight::NotSeen));
        assert!(!Event { what: What::Went, ..came(3, "abc", 0) }.is_known(there));
        assert!(!Event { at: None, ..came(3, "abc", 0) }.is_known(there));
    }
}
