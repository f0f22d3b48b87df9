//! Long lists in pages. A cursor is opaque to whoever has it, and names the last line that was shown, so lines that come and go
//! meanwhile shift nothing.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

pub(crate) const USUAL: u32 = 100;
pub(crate) const AT_MOST: u32 = 1_000;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// For the next page, as `cursor`; `null`: this was the last.
    pub(crate) next: Option<String>,
}

/// How many lines are wanted, from 1 to 1,000.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Limit(pub(crate) u32);

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": AT_MOST, "description": "How many lines. Default: 100." })
    }
}

impl Default for Limit {
    fn default() -> Self {
        Limit(USUAL)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(limit: u32) -> Result<Self, String> {
        if (1..=AT_MOST).contains(&limit) { Ok(Limit(limit)) } else { Err(format!("`limit` is from 1 to {AT_MOST}")) }
    }
}

pub(crate) fn cursor(of: &impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(of).unwrap_or_default())
}

pub(crate) fn read<T: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let read = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    read.map(Some).ok_or_else(|| Problem::bad_request("`cursor` is none that a page of this list has shown"))
}

struct Keyed<K, T>(K, T);

impl<K: Ord, T> PartialEq for Keyed<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<K: Ord, T> Eq for Keyed<K, T> {}

impl<K: Ord, T> PartialOrd for Keyed<K, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, T> Ord for Keyed<K, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

/// The lines behind `after` that come first by their keys, without putting a million others in order.
pub(crate) fn first_behind<K: Ord + Clone + Serialize, T>(
    lines: impl Iterator<Item = T>,
    key: impl Fn(&T) -> K,
    after: Option<&K>,
    limit: Limit,
) -> Page<T> {
    let limit = limit.0 as usize;
    let mut first: BinaryHeap<Keyed<K, T>> = BinaryHeap::with_capacity(limit + 2);
    for line in lines {
        let key = key(&line);
        let is_behind = after.is_none_or(|after| key > *after);
        if is_behind && (first.len() <= limit || first.peek().is_some_and(|last| key < last.0)) {
            first.push(Keyed(key, line));
            if first.len() > limit + 1 {
                first.pop();
            }
        }
    }
    let mut lines = first.into_sorted_vec();
    let more = lines.len() > limit;
    lines.truncate(limit);
    let next = lines.last().filter(|_| more).map(|last| cursor(&last.0));
    Page { items: lines.into_iter().map(|line| line.1).collect(), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_show_every_line_once_and_in_order_however_they_come() {
        let lines: Vec<u32> = (0..1_000).map(|line| line * 7_919 % 1_000).collect();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = first_behind(lines.iter().copied(), |line| *line, after.as_ref(), Limit(64));
            seen.extend(page.items);
            match page.next {
                Some(next) => after = read(Some(&next)).unwrap(),
                None => break,
            }
        }
        assert_eq!(seen, (0..1_000).collect::<Vec<u32>>());
    }

    #[test]
    fn a_cursor_of_somebody_else_is_refused() {
        for cursor in ["", "x", "e30", "////"] {
            assert!(read::<(String, String)>(Some(cursor)).is_err(), "{cursor:?}");
        }
    }
}
