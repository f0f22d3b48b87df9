//! From YAML text to a checked [`Spec`]: all problems at once, each with file, line, column and what was expected.
//!
//! Without this module a typo in a config would surface as a wrong request at three in the morning.
//!
//! `yaml` makes a tree of the text in which everything knows its place, `raw` reads it into types as written, `load`
//! resolves names and defaults into the `model` that the rest of adce works with, `check` finds what is wrong between
//! parts that are right by themselves. `expression`, `template` and `names` are the language inside the values.

mod caps;
mod check;
mod claim;
mod decode;
mod difference;
pub mod expression;
mod load;
mod model;
pub mod names;
mod origin;
mod others;
pub mod problem;
mod raw;
mod reserve;
mod schema;
pub mod template;
mod units;
pub mod yaml;

pub use caps::{Cap, Caps};
pub use claim::Claim;
pub use difference::differences;
pub(crate) use load::absolute;
pub use load::{ConfigFile, Loaded, host_matches, load};
pub use model::*;
pub use names::{Columns, DimensionNames, LanguageError, Names};
pub use origin::{Difference, Setting, changes, overriding, settings};
pub use others::Others;
pub use reserve::Reserve;
pub use schema::json_schema;
pub use units::parse_duration;
