//! How ids, times and structures become columns, and back.

use adce_core::gap::Reason;
use adce_core::ids::{AttemptId, GapId, ItemId, TaskId, Uuid};
use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::Trouble;

pub(super) fn micros(instant: Timestamp) -> i64 {
    instant.as_microsecond()
}

/// Whether [`micros`] loses nothing.
pub(super) fn exact_micros(instant: Timestamp) -> bool {
    instant.subsec_nanosecond() % 1_000 == 0
}

/// SQLite's integers are signed; the bits are what is kept.
pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("records are plain data with text keys")
}

const GAP_BYTES: usize = 20;

/// Item and episode of each, one after the other.
pub(super) fn gap_bytes(gaps: &[GapId]) -> Vec<u8> {
    gaps.iter().flat_map(|gap| gap.item.0.into_iter().chain(gap.episode.to_be_bytes())).collect()
}

/// Reads the columns of one table, and names it when one cannot be read.
#[derive(Clone, Copy)]
pub(super) struct Columns(pub(super) &'static str);

impl Columns {
    pub(super) fn unreadable(self, detail: impl ToString) -> Trouble {
        Trouble::Unreadable { table: self.0, detail: detail.to_string() }
    }

    pub(super) fn json<T: DeserializeOwned>(self, text: &str) -> Result<T, Trouble> {
        serde_json::from_str(text).map_err(|error| self.unreadable(error))
    }

    pub(super) fn instant(self, micros: i64) -> Result<Timestamp, Trouble> {
        Timestamp::from_microsecond(micros).map_err(|error| self.unreadable(error))
    }

    pub(super) fn instant_if(self, micros: Option<i64>) -> Result<Option<Timestamp>, Trouble> {
        micros.map(|micros| self.instant(micros)).transpose()
    }

    fn bytes<const N: usize>(self, blob: &[u8]) -> Result<[u8; N], Trouble> {
        blob.try_into().map_err(|_| self.unreadable(format!("an id has {} bytes, not {N}", blob.len())))
    }

    pub(super) fn item(self, blob: &[u8]) -> Result<ItemId, Trouble> {
        self.bytes(blob).map(ItemId)
    }

    pub(super) fn task(self, blob: &[u8]) -> Result<TaskId, Trouble> {
        self.bytes(blob).map(TaskId)
    }

    pub(super) fn attempt(self, blob: &[u8]) -> Result<AttemptId, Trouble> {
        self.bytes(blob).map(|bytes| AttemptId(Uuid::from_bytes(bytes)))
    }

    pub(super) fn gap(self, item: &[u8], episode: i64) -> Result<GapId, Trouble> {
        let episode = u32::try_from(episode).map_err(|error| self.unreadable(error))?;
        Ok(GapId { item: self.item(item)?, episode })
    }

    /// As [`gap_bytes`] wrote them.
    pub(super) fn gaps(self, blob: &[u8]) -> Result<Vec<GapId>, Trouble> {
        let (gaps, rest) = blob.as_chunks::<GAP_BYTES>();
        if !rest.is_empty() {
            return Err(self.unreadable(format!("gaps of {GAP_BYTES} bytes each, found {} bytes", blob.len())));
        }
        let gap = |bytes: &[u8; GAP_BYTES]| {
            let (item, episode) = bytes.split_at(16);
            Ok(GapId { item: self.item(item)?, episode: u32::from_be_bytes(self.bytes(episode)?) })
        };
        gaps.iter().map(gap).collect()
    }

    pub(super) fn reason(self, word: &str) -> Result<Reason, Trouble> {
        let reasons = [Reason::Missing, Reason::Stale, Reason::Undersized, Reason::Suspect];
        let named = reasons.into_iter().find(|reason| reason.word() == word);
        named.ok_or_else(|| self.unreadable(format!("`{word}` is no reason")))
    }

    pub(super) fn priority(self, word: &str) -> Result<PriorityLevel, Trouble> {
        let named = PriorityLevel::ALL.into_iter().find(|level| level.word() == word);
        named.ok_or_else(|| self.unreadable(format!("`{word}` is no priority")))
    }

    pub(super) fn small<T: TryFrom<i64, Error: std::fmt::Display>>(self, number: i64) -> Result<T, Trouble> {
        T::try_from(number).map_err(|error| self.unreadable(error))
    }
}
