//! From YAML text to a checked [`Spec`]: all problems at once, each with file, line, column and what was expected.
//!
//! Without this module a typo in a config would surface as a wrong request at three in the morning.

pub mod expression;
mod model;
pub mod names;
pub mod problem;
pub mod template;
pub mod yaml;

pub use model::*;
pub use names::{Columns, DimensionNames, LanguageError, Names};
