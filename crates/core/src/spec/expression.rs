//! The expression language of `where`, `due`, `fresh`, `priority` and `--select`.

/// A parsed and checked expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {}
