//! adce's own database: what must survive a kill, and what may not be believed twice.
//!
//! Without it a killed engine would hand a gap to a second owner, spend a window's permits again, and forget how often
//! it had tried. Two stores implement [`adce_core::ports::Store`]: [`sqlite`] for every real run, and [`memory`] for
//! simulations and tests. `tests/conformance.rs` states what holds for both.

pub use adce_core::spec::Retention;

mod instants;
pub mod memory;
mod owners;
pub mod sqlite;

/// Acts of people and programs that are kept; a hundred a day are three years of them.
pub(crate) const AUDIT_KEPT: usize = 100_000;

/// Whom a state belongs to. One state serves one lake under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The config's `name`.
    pub name: String,
    /// [`adce_core::ports::Lake::identity`]: without secrets.
    pub lake: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` under the name `{}`", self.lake, self.name)
    }
}
