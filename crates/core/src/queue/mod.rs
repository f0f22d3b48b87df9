//! Which task runs next, and what became of the ones that ran.
//!
//! Without it every gap would be tried at once, or in the order of the config, and upstreams would be asked in bursts.
//! The heart is [`Dispatcher`]: a state machine without a clock, a disk or a network, driven alike by the engine and
//! by the simulator. It answers with [`crate::record::Change`]s to be made durable and with what to start.

mod absences;
mod attempt;
mod blame;
mod book;
mod by_hand;
mod census;
mod claims;
mod classes;
mod cycle;
mod dispatcher;
mod doubts;
mod forecast;
mod form;
mod gate;
mod grants;
mod guests;
mod line;
mod pauses;
mod pick;
mod reconfigure;
mod report;
pub mod retry;
mod rules;
mod score;
mod shut;
mod slots;
mod start;
mod story;
#[cfg(test)]
mod tests;
mod useful;
mod values;
mod waits;

pub use absences::Doubt;
pub use by_hand::{Asked, Came, Cancelled, Meant};
pub use census::Census;
pub use dispatcher::Dispatcher;
pub use forecast::{Assumptions, Bottleneck, Forecast, Foreseen, Foresight, ReservePrice, forecast, reserve_price};
pub use form::largest_batch;
pub use gate::{CollectorFigures, Gate, Prospect, SourceFigures, StateCounts, ValueFigures, ValuesFigures, WindowFigures, whose_breaker};
pub use rules::{ByRules, Charging, CollectorRules, DatasetRules, Rules, SourceRules};
pub use start::{Acquire, Charge, GapNews, Idle, Paid, Pick, Running, Score, Start, Waiting};
