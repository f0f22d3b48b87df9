//! What an engine that stays shows to browsers and programs over HTTP, and takes from them: the API, its document, and the pages.
//!
//! Without it the only way to an engine is a shell on its machine. It decides nothing: it asks the engine by the same questions as the
//! commands do ([`Desk`]), so that what a page shows and what a command prints are one truth.
//!
//! Always true: nothing acts without a token whose role allows it, wherever it is asked from; no name but those of the config reaches it,
//! so a page of somebody else's in the browser next to it reads and does nothing (`access`); and nobody costs the engine more than
//! bounded bytes, time and places (`listening`, `patient`, `pace`). `crates/adce/tests/http.rs` holds all of it against the real binary.

mod access;
mod acts;
mod desk;
mod document;
mod feed;
mod listening;
mod older;
mod pace;
mod pages;
mod paging;
mod patient;
mod problem;
mod reads;
mod repeats;
mod routes;

pub use desk::Desk;
pub use document::openapi;
pub use listening::Site;
