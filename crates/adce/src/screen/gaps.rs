//! Gaps by name as a table: the first of them, and how many more there are.

use std::io::{self, Write};

use adce_api::GapLine;
use adce_core::figures::grouped;
use adce_core::time::Timestamp;

use super::instant;
use super::table::{Column, NOTHING, Table};

/// How many a person reads before they would rather filter.
pub const SHOWN: usize = 50;

/// `at_most`: rows; `width` as in [`Table::write`].
pub fn write(gaps: &[GapLine], now: Timestamp, at_most: usize, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    if gaps.is_empty() {
        return writeln!(out, "no gaps");
    }
    let table = Table::new([
        Column::Text("DATASET"),
        Column::Text("KEY"),
        Column::Text("REASON"),
        Column::Text("PRIORITY"),
        Column::Text("STATE"),
        Column::Text("SINCE"),
        Column::Figure("ATTEMPTS"),
        Column::Text("NEXT TRY"),
        Column::Spare("TASK"),
    ]);
    let row = |gap: &GapLine| {
        [
            gap.dataset.clone(),
            gap.key.clone(),
            if gap.in_doubt { format!("{}, in doubt", gap.reason.word()) } else { gap.reason.word().into() },
            gap.priority.word().into(),
            gap.state.word().into(),
            instant::clock(gap.detected_at, now),
            attempts(gap),
            gap.next_try.map_or(NOTHING.into(), |at| instant::clock(at, now)),
            gap.task.map_or(NOTHING.into(), |task| task.to_string()),
        ]
    };
    table.stream(|| gaps.iter().take(at_most).map(row), width, out)?;
    match gaps.len().saturating_sub(at_most) {
        0 => Ok(()),
        more => writeln!(out, "… and {} more (`--all` shows them)", grouped(more as u64)),
    }
}

/// Used up in this round, and in brackets all that there were: an outage of the source uses none up.
fn attempts(gap: &GapLine) -> String {
    match (gap.attempts, gap.tries) {
        (0, 0) => NOTHING.into(),
        (used, tries) if used == tries => grouped(used.into()),
        (used, tries) => format!("{} ({})", grouped(used.into()), grouped(tries.into())),
    }
}
