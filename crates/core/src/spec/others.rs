//! Objects that no dataset expects and that are no mistake: `owns` and `ignore`.
//!
//! Patterns are those of globs over whole keys: `*` and `?` stay within a segment, `**` reaches over any number of them.

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// Which keys are not unexpected.
#[derive(Clone, Debug, Default)]
pub struct Others(Option<GlobSet>);

impl Others {
    pub(super) fn of(patterns: Vec<Glob>) -> Others {
        if patterns.is_empty() {
            return Others(None);
        }
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            set.add(pattern);
        }
        // Each was compiled by itself before; together they can only be too large.
        Others(set.build().ok())
    }

    pub fn are_known(&self, key: &str) -> bool {
        self.0.as_ref().is_some_and(|set| set.is_match(key))
    }
}

/// One pattern, or what is wrong with it.
pub(super) fn pattern(text: &str) -> Result<Glob, String> {
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    glob.map_err(|error| error.kind().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_its_segment_and_two_do_not() {
        let others = |patterns: &[&str]| Others::of(patterns.iter().map(|text| pattern(text).unwrap()).collect());
        let known = |patterns: &[&str], key: &str| others(patterns).are_known(key);
        assert!(known(&["orders/**"], "orders/2024/a/b") && !known(&["orders/**"], "orders2/a"));
        assert!(known(&["orders/*"], "orders/a") && !known(&["orders/*"], "orders/a/b"));
        assert!(known(&["**/*.bak"], "a/b/c.bak") && known(&["**/*.bak"], "c.bak"));
        assert!(known(&["x", "a/{b,c}"], "a/c") && !known(&[], "a"));
    }
}
