//! Feeds: what tells of objects that come and go in a lake, between two full looks at it.
//!
//! A folder is watched, a bucket tells by a queue or by a webhook. None of them is believed to tell everything: what escapes a feed
//! the next full look finds, and where a feed knows that something has escaped it, it says so.

mod sqs;
mod watch;
mod webhook;

pub use sqs::Queue;
pub use watch::Watch;
pub use webhook::Webhook;

use adce_core::events::Event;
use adce_core::spec::LakeUrl;

/// As a key of this lake; `None`: it lies in another one, or elsewhere in the bucket.
pub fn in_lake(lake: &LakeUrl, told: Event) -> Option<Event> {
    match lake {
        LakeUrl::Folder(_) => Some(told),
        LakeUrl::S3 { bucket, prefix } => {
            let is_ours = told.bucket.as_ref().is_none_or(|of| of == bucket);
            let key = told.key.strip_prefix(prefix.as_str()).filter(|_| is_ours)?.to_owned();
            Some(Event { key, ..told })
        }
    }
}

#[cfg(test)]
mod tests {
    use adce_core::events::What;

    use super::*;

    #[test]
    fn only_what_lies_in_this_lake_is_told_by_its_own_key() {
        let lake = LakeUrl::S3 { bucket: "raw".into(), prefix: "nba/".into() };
        let key = |bucket: &str, key: &str| {
            let told = Event { bucket: Some(bucket.into()), key: key.into(), what: What::Went, at: None };
            in_lake(&lake, told).map(|told| told.key)
        };
        assert_eq!(key("raw", "nba/box/1.json").as_deref(), Some("box/1.json"));
        assert_eq!(key("raw", "nfl/box/1.json"), None);
        assert_eq!(key("other", "nba/box/1.json"), None);
    }
}
