//! What several tests of the binary share.

#![allow(dead_code)] // Each test takes what it needs.

pub mod browser;
pub mod bucket;
#[path = "../../../gateway/tests/support/certified.rs"]
pub mod certified;
pub mod killed;
pub mod listener;
pub mod nba;
pub mod place;
pub mod tools;
pub mod web;
