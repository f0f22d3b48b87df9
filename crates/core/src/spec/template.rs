//! Templates: `espn/{season}/{game_id}.json`, for keys, urls and argv.

/// A parsed and checked template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {}
