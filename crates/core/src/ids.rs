//! Names for things that outlive a process: items, gaps, tasks, attempts.
//!
//! An item's id depends on the dataset and its dimension values alone, so a new key template or a new machine keeps it,
//! and with it everything that is on record about the item.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
pub use uuid::Uuid;

/// The first 128 bits of BLAKE3 over the dataset's name and the canonical values of its dimensions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(pub [u8; 16]);

impl ItemId {
    /// Each part is hashed behind its length, so that no two lists of parts read alike.
    ///
    /// `values` are the canonical dimension values in the order of the dataset's `for`.
    pub fn of<'a>(dataset: &'a str, values: impl IntoIterator<Item = &'a str>) -> Self {
        ItemId(digest(b"adce item 1", std::iter::once(dataset).chain(values)))
    }
}

/// One episode of an item being missing, stale, undersized or suspect. Episodes count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GapId {
    pub item: ItemId,
    pub episode: u32,
}

/// `t_` and 26 hex digits: the collector and the first gap at creation. Topping a task up does not change it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub [u8; 13]);

impl TaskId {
    pub fn of(collector: &str, first: GapId) -> Self {
        let whole = digest(b"adce task 1", [collector, &first.item.to_string(), &first.episode.to_string()]);
        let mut short = [0; 13];
        short.copy_from_slice(&whole[..13]);
        TaskId(short)
    }
}

/// One run of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AttemptId(pub Uuid);

/// Grows with every lease; only the holder of a gap's current token may record a result or make adce publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FencingToken(pub u64);

/// What requests of a source are told apart by (a customer, a token), as limits and breakers know it. The default stands for all of
/// which nobody knows whose they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId([u8; 16]);

impl ValueId {
    pub fn of(value: &str) -> Self {
        ValueId(digest(b"adce value 1", [value]))
    }
}

fn digest<'a>(what: &[u8], parts: impl IntoIterator<Item = &'a str>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(what);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    first
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The text is not an id of this kind.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not {1}")]
pub struct NotAnId(String, &'static str);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for ItemId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        read_hex(text).map(ItemId).ok_or_else(|| NotAnId(text.into(), "an item id (32 hex digits)"))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("t_")?;
        write_hex(f, &self.0)
    }
}

impl FromStr for TaskId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digits = text.strip_prefix("t_").and_then(read_hex);
        digits.map(TaskId).ok_or_else(|| NotAnId(text.into(), "a task id (`t_` and 26 hex digits)"))
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AttemptId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        text.parse().map(AttemptId).map_err(|_| NotAnId(text.into(), "an attempt id (a UUID)"))
    }
}

macro_rules! as_text {
    ($($id:ty: $name:literal, $pattern:literal),*) => {$(
        impl schemars::JsonSchema for $id {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(ItemId: "ItemId", "^[0-9a-f]{32}$", TaskId: "TaskId", "^t_[0-9a-f]{26}$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_item_do_not_run_together() {
        assert_ne!(ItemId::of("d", ["ab", "c"]), ItemId::of("d", ["a", "bc"]));
        assert_ne!(ItemId::of("d", ["a"]), ItemId::of("d", ["a", ""]));
    }

    #[test]
    fn ids_survive_text() {
        let item = ItemId::of("box_scores", ["0021300001", "q1"]);
        assert_eq!(item.to_string().parse::<ItemId>().unwrap(), item);
        let task = TaskId::of("bbref", GapId { item, episode: 1 });
        assert_eq!(task.to_string().parse::<TaskId>().unwrap(), task);
        assert_eq!(task.to_string().len(), 28);
    }
}
