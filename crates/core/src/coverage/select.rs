//! `--select`: which gaps a person means, as an expression over the items of every dataset whose names it uses.
//!
//! A dataset that does not know one of the names has nothing that is meant. An expression that no dataset understands
//! is an error, with the complaints of the dataset that came closest.

use std::collections::HashMap;

use super::expected::Expected;
use crate::gap::Gap;
use crate::spec::expression::{Expression, LanguageError, Role};
use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub struct Selection {
    by_dataset: HashMap<String, Expression>,
    /// Instead of an expression: nothing older is meant.
    not_before: Option<Timestamp>,
}

impl Selection {
    pub fn parse(text: &str, expected: &Expected) -> Result<Selection, Vec<LanguageError>> {
        let mut by_dataset = HashMap::new();
        let mut closest: Option<Vec<LanguageError>> = None;
        for dataset in expected.datasets() {
            match Expression::parse(text, dataset.names(), Role::Select) {
                Ok(expression) => drop(by_dataset.insert(dataset.name().to_owned(), expression)),
                Err(errors) if closest.as_ref().is_none_or(|closest| errors.len() < closest.len()) => closest = Some(errors),
                Err(_) => {}
            }
        }
        match closest {
            Some(errors) if by_dataset.is_empty() => Err(errors),
            _ => Ok(Selection { by_dataset, not_before: None }),
        }
    }

    /// Gaps of items that are not older: by their `due`, or else the begin of their calendar's span. What has neither is as new as can be.
    pub fn not_older_than(baseline: Timestamp) -> Selection {
        Selection { by_dataset: HashMap::new(), not_before: Some(baseline) }
    }

    /// An item for which the expression has no value is not meant.
    pub fn means(&self, gap: &Gap, expected: &Expected, now: Timestamp) -> bool {
        if let Some(baseline) = self.not_before {
            let begin = || expected.find(&gap.key).and_then(|item| expected.calendar_start(item));
            return gap.due.or_else(begin).is_none_or(|age| age >= baseline);
        }
        let (Some(expression), Some(item)) = (self.by_dataset.get(&gap.dataset), expected.find(&gap.key)) else { return false };
        let scope = expected.scope(item, now).with_due(gap.due).with_reason(gap.reason);
        expression.holds(&scope).unwrap_or(false)
    }
}
