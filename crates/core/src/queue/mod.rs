//! Tasks, their order, and what comes after an attempt.

pub mod retry;
