//! The engine: observe → diff → enqueue → lease → run → verify, over and over, seeing only the ports of `core`.
//!
//! It makes the decisions of `core` happen in the right order against real disks, processes and sockets. Which adapters
//! stand behind the ports is the binary's business.

mod ahead;
mod alarm;
mod answers;
mod asking;
mod attempt;
mod between;
mod by_hand;
mod collected;
mod cycle;
mod deliver;
mod engine;
mod figures;
mod guests;
mod hearing;
mod helm;
mod inbox;
mod landing;
mod ledger;
mod looking;
mod mail;
mod permits;
mod reload;
mod reported;
mod selected;
mod snapshot;
mod stop;
mod takeover;
mod why;

pub use answers::{collector_line, doubts};
pub use attempt::Ports;
pub use by_hand::CancelView;
pub use cycle::{CycleFigures, Look, look};
pub use engine::{Confirm, Ending, Engine, EngineError, Options, Pulse};
pub use guests::{Guest, GuestHost, GuestSource, GuestUse, NotAdmitted};
pub use inbox::{CoverageView, Handle, Inbox, Interrupt, LimitsView, PausesView, Query, Retried, StatusView};
pub use permits::PermitDesk;
pub use reload::{NotInForce, Reload};
pub use reported::{Reported, Reporting};
pub use snapshot::{
    CollectorLine, ContestedLine, DatasetLine, DoubtLine, Edited, FailureLine, FeedLine, FeedState, GapFigures, HeldBackLine, Notice,
    PausedLine, Phase, RunningLine, Snapshot, SourceLine, SourceState, Totals, UncoveredLine, ValuesLine, WindowLine, what,
};
pub use why::{About, GapView, ItemView, Known, Records, TaskView, Why, task_view};
