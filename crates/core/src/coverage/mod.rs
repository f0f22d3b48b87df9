//! Items against inventory: what is missing, stale, undersized or suspect, by name.
//!
//! `expected` says what should be there and `inventory` what is; `state` judges one item and `tally` all of them;
//! `gaps` turns that into what opened and closed since before, and `surprise` asks whether it may be believed at once.

mod calendar;
mod cell;
mod collected;
mod contested;
mod expected;
mod folders;
mod gaps;
mod inventory;
mod known;
mod nearest;
mod needs;
mod picture;
mod quality;
mod reader;
mod references;
mod reported;
mod rollup;
mod rows;
mod rules;
#[cfg(test)]
mod sample;
mod select;
mod sketch;
mod state;
mod surprise;
mod table;
mod tally;
mod texts;
mod timers;
mod trend;
mod values;
mod writer;

pub use collected::{CellOf, CollectedRows, KeptRows};
pub use expected::*;
pub use folders::{Folder, Folders, MOST_FOLDERS};
pub use gaps::{GapDiff, gaps};
pub use inventory::{Completeness, Inventory, Observation, UNEXPECTED_SAMPLE, Unexpected};
pub use known::{KNOWN_COLUMNS, KnownAbsent, known_columns, known_line, takes_lines};
pub use nearest::{Miss, Wanted, misses, nearest};
pub use needs::Inputs;
pub(crate) use needs::circle;
pub use picture::*;
pub use quality::{NAMED, Quality, Strange, quality};
pub use reported::{Aged, Covers, LookAgain, REPORT_SETTLES, Seen, SeenSince, later_than, look_again, seen_since};
pub use rollup::{Axis, Counted, MOST_CELLS, Pace, Rolling, Rollup, RollupAxis, RollupError, rollup, usual_axes};
pub use select::Selection;
pub use sketch::Sketch;
pub use state::{Due, Ends, EtagDigest, Facts, Found, Fresh, Instants, Sight, changes_at, reason_of, state_of};
pub use surprise::{Surprise, Verdict, judge, surprises};
pub use table::{IN_LAKE, TableError, TableFile, TableFiles, check_columns, header};
pub use tally::{Counts, Coverage, DatasetCoverage, Evidence, GapItem, LowerBound, NextDue};
pub use timers::judging_time;
pub use trend::{TrendPoint, thinned_out};
