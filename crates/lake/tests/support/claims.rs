//! What is true of every lake, whatever keeps it: the conformance suite. Each claim gets a lake of its own, empty, and
//! a scratch folder for files.
// Every test program takes what its kind of lake can promise.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use adce_core::object::{Object, Precondition};
use adce_core::ports::{Lake, LakeError, PublishError};
use tempfile::TempDir;

/// Keys that a path library, a URL library or a careless listing would change.
pub const ODD_KEYS: &[&str] = &[
    "plain",
    "a b/c  d.json",
    "plus+and%2Fpercent%",
    "%",
    "%zz%41",
    "date=2026-05-01/part-0",
    "date%3D2026-05-01/part-0",
    "a/%F0%9F%98%80/x",
    "emoji/😀",
    "Ünïcödé/Ελληνικά/日本語.csv",
    "combining/e\u{301}",
    "hash#1/tilde~/[brackets]/{braces}",
    "quote'\"/back\\slash",
    "amp&eq=question?semi;colon:at@dollar$comma,",
    "star*/pipe|/caret^/grave`",
    "<xml>&amp;</xml>",
    "exclamation!/(paren)",
    "...",
    "..a/b..",
    ".hidden/.file",
    " leading and trailing ",
    "ends in #123",
    "a/b",
    "a-b",
    "a!b",
    "ab",
];

/// They survive in a good store; the small servers made for tests cannot route them, or write them as they are into XML.
pub const KEYS_WITH_CONTROL_CHARACTERS: &[&str] = &["line\nbreak/x", "tab\tx", "bell\u{7}", "return\r"];

/// What some stores keep and a folder cannot.
pub const KEYS_ONLY_STORES_KEEP: &[&str] = &["a//b", "a///b", "/leading", "trailing/", "//"];

pub struct Trial {
    pub lake: Arc<dyn Lake>,
    pub scratch: TempDir,
}

impl Trial {
    pub fn new(lake: Arc<dyn Lake>) -> Self {
        Trial { lake, scratch: tempfile::tempdir().unwrap() }
    }

    pub fn file(&self, content: &[u8]) -> PathBuf {
        let path = self.scratch.path().join(uuid::Uuid::now_v7().to_string());
        std::fs::write(&path, content).unwrap();
        path
    }

    pub async fn publish(&self, key: &str, content: &[u8], only_if: &Precondition) -> Result<Object, PublishError> {
        self.lake.publish(&self.file(content), key, only_if).await
    }

    pub async fn put(&self, key: &str, content: &[u8]) -> Object {
        self.publish(key, content, &Precondition::Absent).await.unwrap_or_else(|error| panic!("{key:?}: {error}"))
    }

    pub async fn list(&self, prefix: &str) -> BTreeMap<String, Object> {
        let (mut found, mut twice) = (BTreeMap::new(), Vec::new());
        let mut note = |object: Object| {
            if let Some(first) = found.insert(object.key.clone(), object) {
                twice.push(first.key);
            }
        };
        self.lake.list(prefix, &mut note).await.unwrap_or_else(|error| panic!("listing {prefix:?}: {error}"));
        assert!(twice.is_empty(), "listed twice: {twice:?}");
        found
    }

    pub async fn keys(&self, prefix: &str) -> BTreeSet<String> {
        self.list(prefix).await.into_keys().collect()
    }

    pub async fn content(&self, key: &str) -> Vec<u8> {
        let to = self.scratch.path().join(uuid::Uuid::now_v7().to_string());
        self.lake.download(key, &to).await.unwrap_or_else(|error| panic!("{key:?}: {error}"));
        std::fs::read(to).unwrap()
    }
}

fn conflict(result: Result<Object, PublishError>) -> Option<Object> {
    match result {
        Err(PublishError::Conflict(there)) => there,
        other => panic!("no conflict: {other:?}"),
    }
}

fn set(keys: &[&str]) -> BTreeSet<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

pub async fn empty_lake_lists_nothing(trial: &Trial) {
    assert_eq!(trial.keys("").await, set(&[]));
    assert_eq!(trial.keys("a/b").await, set(&[]));
}

pub async fn publish_list_head_and_download_agree(trial: &Trial) {
    let published = trial.put("a/b/c.json", b"{\"x\":1}").await;
    assert_eq!((published.key.as_str(), published.size), ("a/b/c.json", 7));
    let listed = trial.list("a/").await.remove("a/b/c.json").unwrap();
    let headed = trial.lake.head("a/b/c.json").await.unwrap().unwrap();
    let to = trial.scratch.path().join("copy");
    let downloaded = trial.lake.download("a/b/c.json", &to).await.unwrap();
    for seen in [&listed, &headed, &downloaded] {
        assert_eq!((&seen.key, seen.size), (&published.key, 7));
        assert!(seen.etag == published.etag || is_stand_in(seen));
        // Some stores tell milliseconds in one answer and seconds in another.
        assert!(seen.last_modified.duration_since(published.last_modified).abs() <= jiff::SignedDuration::from_secs(1));
    }
    assert_eq!(std::fs::read(to).unwrap(), b"{\"x\":1}");
}

/// Some stores list without ETags.
fn is_stand_in(listed: &Object) -> bool {
    listed.etag.starts_with("listed-")
}

pub async fn what_a_listing_showed_can_be_replaced_once(trial: &Trial) {
    trial.put("k", b"first").await;
    let unchanged = Precondition::Unchanged { etag: trial.list("").await["k"].etag.clone() };
    trial.publish("k", b"second", &unchanged).await.unwrap();
    assert_eq!(conflict(trial.publish("k", b"third", &unchanged).await).unwrap().size, 6);
    assert_eq!(trial.content("k").await, b"second");
}

pub async fn empty_object_is_an_object(trial: &Trial) {
    assert_eq!(trial.put("empty", b"").await.size, 0);
    assert_eq!(trial.list("").await["empty"].size, 0);
    assert_eq!(trial.content("empty").await, b"");
}

pub async fn staged_file_stays_where_it_is(trial: &Trial) {
    let staged = trial.file(b"content");
    trial.lake.publish(&staged, "k", &Precondition::Absent).await.unwrap();
    assert_eq!(std::fs::read(staged).unwrap(), b"content");
}

pub async fn absent_publish_onto_an_object_conflicts_and_changes_nothing(trial: &Trial) {
    let first = trial.put("k", b"first").await;
    let there = conflict(trial.publish("k", b"second", &Precondition::Absent).await).unwrap();
    assert_eq!((there.size, &there.etag), (5, &first.etag));
    assert_eq!(trial.content("k").await, b"first");
    assert_eq!(trial.keys("").await, set(&["k"]));
}

pub async fn unchanged_publish_replaces_what_was_seen(trial: &Trial) {
    let first = trial.put("k", b"first").await;
    let unchanged = Precondition::Unchanged { etag: first.etag.clone() };
    let second = trial.publish("k", b"second!", &unchanged).await.unwrap();
    assert_ne!(first.etag, second.etag);
    assert_eq!(trial.content("k").await, b"second!");
    let there = conflict(trial.publish("k", b"third", &unchanged).await).unwrap();
    assert_eq!(there.etag, second.etag);
    assert_eq!(trial.content("k").await, b"second!");
}

pub async fn unchanged_publish_onto_nothing_conflicts(trial: &Trial) {
    let elsewhere = trial.put("elsewhere", b"x").await;
    let there = conflict(trial.publish("k", b"new", &Precondition::Unchanged { etag: elsewhere.etag }).await);
    assert_eq!(there, None);
    assert_eq!(trial.lake.head("k").await.unwrap(), None);
}

/// Of stores that check and write in one step; the small servers made for tests do not.
pub async fn of_many_absent_publishes_at_once_one_wins(trial: &Trial) {
    let contents: Vec<Vec<u8>> = (0..8_u8).map(|who| vec![b'0' + who; 100 + usize::from(who)]).collect();
    let all = contents.iter().map(|content| trial.publish("contested", content, &Precondition::Absent));
    let (won, lost): (Vec<_>, Vec<_>) = futures::future::join_all(all).await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "{won:?}");
    let winner = won.into_iter().next().unwrap().unwrap();
    for loser in lost {
        // A store may not have shown the winner yet when it refused.
        if let Some(there) = conflict(loser) {
            assert_eq!(there.etag, winner.etag);
        }
    }
    assert_eq!(trial.content("contested").await, contents[usize::try_from(winner.size).unwrap() - 100]);
}

/// Of stores that check and write in one step.
pub async fn of_many_replacements_at_once_one_wins(trial: &Trial) {
    let unchanged = Precondition::Unchanged { etag: trial.put("contested", b"first").await.etag };
    let contents: Vec<Vec<u8>> = (0..8_u8).map(|who| vec![b'0' + who; 100 + usize::from(who)]).collect();
    let all = contents.iter().map(|content| trial.publish("contested", content, &unchanged));
    let (won, lost): (Vec<_>, Vec<_>) = futures::future::join_all(all).await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "{won:?}");
    let winner = won.into_iter().next().unwrap().unwrap();
    for loser in lost {
        assert_eq!(conflict(loser).unwrap().etag, winner.etag);
    }
    assert_eq!(trial.content("contested").await, contents[usize::try_from(winner.size).unwrap() - 100]);
}

pub async fn prefix_is_text_and_need_not_end_at_a_slash(trial: &Trial) {
    for key in ["day=1/x", "day=10/x", "day=2/x", "day", "other/day=1"] {
        trial.put(key, b".").await;
    }
    assert_eq!(trial.keys("day=1").await, set(&["day=1/x", "day=10/x"]));
    assert_eq!(trial.keys("day=1/").await, set(&["day=1/x"]));
    assert_eq!(trial.keys("day").await, set(&["day=1/x", "day=10/x", "day=2/x", "day"]));
    assert_eq!(trial.keys("day/").await, set(&[]));
    assert_eq!(trial.keys("nothing/here").await, set(&[]));
    assert_eq!(trial.keys("").await.len(), 5);
}

pub async fn nothing_is_at_a_key_that_is_only_a_beginning(trial: &Trial) {
    trial.put("a/b", b".").await;
    assert_eq!(trial.lake.head("a/b/c").await.unwrap(), None);
    assert_eq!(trial.lake.head("a/bc").await.unwrap(), None);
    let missing = trial.lake.download("a/bc", &trial.scratch.path().join("x")).await;
    assert!(missing.is_err());
}

/// A server that keeps objects as files may stumble over its own folders.
pub async fn nothing_is_at_the_name_of_a_folder(trial: &Trial) {
    trial.put("a/b", b".").await;
    assert_eq!(trial.lake.head("a").await.unwrap(), None);
}

pub async fn odd_keys_survive_byte_by_byte(trial: &Trial) {
    keys_survive(trial, ODD_KEYS).await;
    for key in ODD_KEYS {
        assert!(trial.keys(key).await.contains(*key), "{key:?} as its own prefix");
    }
}

pub async fn control_characters_in_keys_survive(trial: &Trial) {
    keys_survive(trial, KEYS_WITH_CONTROL_CHARACTERS).await;
}

pub async fn keys_survive(trial: &Trial, keys: &[&str]) {
    for key in keys {
        trial.put(key, key.as_bytes()).await;
    }
    let listed = trial.list("").await;
    assert_eq!(listed.keys().cloned().collect::<BTreeSet<_>>(), set(keys));
    for key in keys {
        let headed = trial.lake.head(key).await.unwrap().unwrap_or_else(|| panic!("no {key:?}"));
        assert_eq!((headed.key.as_str(), headed.size), (*key, key.len() as u64));
        assert!(headed.etag == listed[*key].etag || is_stand_in(&listed[*key]), "{key:?}");
        assert_eq!(trial.content(key).await, key.as_bytes(), "{key:?}");
    }
}

pub async fn keys_that_cannot_be_sent_whole_are_refused(trial: &Trial) {
    for key in ["", ".", "..", "a/../b", "../outside", "a/./b"] {
        let refused = trial.publish(key, b"x", &Precondition::Absent).await;
        assert!(matches!(refused, Err(PublishError::Lake(LakeError::BadKey { .. }))), "{key:?}: {refused:?}");
        assert!(matches!(trial.lake.head(key).await, Err(LakeError::BadKey { .. })), "{key:?}");
    }
    assert_eq!(trial.keys("").await, set(&[]));
}

/// More than one page of any store.
pub async fn more_than_a_page_of_objects_is_listed_once_each(trial: &Trial) {
    let staged = trial.file(b"x");
    let keys: Vec<String> = (0..1_050).map(|number| format!("many/{number:04}")).collect();
    for some in keys.chunks(16) {
        let all = some.iter().map(|key| trial.lake.publish(&staged, key, &Precondition::Absent));
        futures::future::try_join_all(all).await.unwrap();
    }
    trial.put("other", b"x").await;
    assert_eq!(trial.keys("many/").await, keys.iter().cloned().collect());
    assert_eq!(trial.keys("many/09").await.len(), 100);
    assert_eq!(trial.keys("").await.len(), 1_051);
}

/// Larger than what goes in one request.
pub async fn large_object_arrives_whole_and_conditionally(trial: &Trial) {
    let path = trial.scratch.path().join("large");
    let content = noise(70 << 20);
    std::fs::write(&path, &content).unwrap();
    let published = trial.lake.publish(&path, "large", &Precondition::Absent).await.unwrap();
    assert_eq!(published.size, content.len() as u64);
    let listed = &trial.list("").await["large"];
    assert!(listed.size == published.size && (listed.etag == published.etag || is_stand_in(listed)));
    assert!(trial.content("large").await == content);
    let there = conflict(trial.lake.publish(&path, "large", &Precondition::Absent).await).unwrap();
    assert_eq!(there.etag, published.etag);
    let wrong = Precondition::Unchanged { etag: "\"0123456789abcdef0123456789abcdef\"".into() };
    assert_eq!(conflict(trial.lake.publish(&path, "large", &wrong).await).unwrap().etag, published.etag);
    assert_eq!(trial.keys("").await, set(&["large"]));
}

pub async fn only_the_object_that_was_seen_is_removed(trial: &Trial) {
    let first = trial.put("a/x", b"one").await;
    trial.put("a/y", b"other").await;
    let etag = Precondition::Unchanged { etag: first.etag.clone() };
    let second = trial.publish("a/x", b"three", &etag).await.unwrap();
    trial.lake.remove("a/x", &first.etag).await.unwrap();
    assert_eq!(trial.content("a/x").await, b"three", "somebody has replaced it since");
    let listed = trial.list("a/x").await.remove("a/x").unwrap();
    trial.lake.remove("a/x", &listed.etag).await.unwrap();
    trial.lake.remove("a/x", &second.etag).await.expect("what is gone is gone");
    trial.lake.remove("b/nothing", &second.etag).await.unwrap();
    assert_eq!((trial.lake.head("a/x").await.unwrap(), trial.keys("").await.len()), (None, 1), "its neighbour stays");
    trial.put("a/x", b"once more").await;
}

pub async fn sweep_of_a_clean_lake_removes_nothing(trial: &Trial) {
    trial.put("a/b", b".").await;
    assert_eq!(trial.lake.sweep().await.unwrap(), 0);
    assert_eq!(trial.keys("").await, set(&["a/b"]));
}

/// No two of its blocks are alike, so parts in the wrong order show.
fn noise(length: usize) -> Vec<u8> {
    let block: Vec<u8> = (0..4_096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut content = Vec::with_capacity(length);
    for number in 0..length / (block.len() + 8) {
        content.extend_from_slice(&number.to_le_bytes());
        content.extend_from_slice(&block);
    }
    content
}

/// Runs the named claims, each on a lake of its own, and says which one it is at.
#[macro_export]
macro_rules! every_claim {
    ($fresh:expr; $($claim:ident),* $(,)?) => {
        $({
            eprintln!("claim: {}", stringify!($claim));
            let trial = $crate::claims::Trial::new($fresh(stringify!($claim)));
            $crate::claims::$claim(&trial).await;
        })*
    };
    ($fresh:expr) => {
        $crate::every_claim!($fresh;
            empty_lake_lists_nothing,
            publish_list_head_and_download_agree,
            what_a_listing_showed_can_be_replaced_once,
            empty_object_is_an_object,
            staged_file_stays_where_it_is,
            absent_publish_onto_an_object_conflicts_and_changes_nothing,
            unchanged_publish_replaces_what_was_seen,
            unchanged_publish_onto_nothing_conflicts,
            prefix_is_text_and_need_not_end_at_a_slash,
            nothing_is_at_a_key_that_is_only_a_beginning,
            odd_keys_survive_byte_by_byte,
            keys_that_cannot_be_sent_whole_are_refused,
            more_than_a_page_of_objects_is_listed_once_each,
            large_object_arrives_whole_and_conditionally,
            only_the_object_that_was_seen_is_removed,
            sweep_of_a_clean_lake_removes_nothing,
        )
    };
}
