//! The rules of a dataset that give each item its instants: `due`, `since`, `expires`, `fresh`.
//!
//! What holds for the whole dataset is worked out once (`Rules::of`), the rest item by item (`Rules::of_item`).
//!
//! Always true: an item leaves at the first instant at which `since`, read then, lies behind it
//! (`an_item_leaves_when_since_read_then_lies_behind_it`).

use super::expected::{Expected, ItemIx, ItemScope};
use super::state::{Due, Ends, Fresh};
use crate::spec::expression::{Anchor, EvalError, Expression};
use crate::spec::{Dataset, Freshness};
use crate::time::{SignedDuration, Timestamp};

/// Of one dataset, at one instant.
pub(super) struct Rules<'a> {
    expected: &'a Expected,
    dataset: &'a Dataset,
    now: Timestamp,
    since: Option<Since>,
}

/// Hears of rules that have no answer for an item.
pub(super) type Complain<'c> = dyn FnMut(&str, EvalError) + 'c;

impl<'a> Rules<'a> {
    pub(super) fn of(expected: &'a Expected, dataset: &'a Dataset, now: Timestamp) -> Self {
        let since = dataset.since.as_ref().and_then(Expression::anchored).map(|(anchor, shift)| Since { anchor, shift });
        Rules { expected, dataset, now, since }
    }

    pub(super) fn due(&self, item: ItemIx, complain: &mut Complain<'_>) -> Due {
        let Some(rule) = &self.dataset.due else {
            return Due::AtOnce;
        };
        match self.instant("due", rule, item, None, complain) {
            Some(at) => Due::At(at),
            None => Due::Unset,
        }
    }

    pub(super) fn ends(&self, item: ItemIx, due: Due, complain: &mut Complain<'_>) -> Ends {
        let expires = self.dataset.expires.as_ref().and_then(|rule| self.instant("expires", rule, item, due.instant(), complain));
        let leaves = self.since.as_ref().and_then(|since| {
            // An item whose due is null may get one.
            let age = if due == Due::Unset { None } else { due.instant().or_else(|| self.expected.calendar_start(item)) };
            since.leaves(age?)
        });
        Ends { expires, leaves }
    }

    pub(super) fn fresh(&self, item: ItemIx, due: Due, complain: &mut Complain<'_>) -> Fresh {
        let due = due.instant();
        match &self.dataset.fresh {
            None => Fresh::Always,
            Some(Freshness::Within { within, until: None }) => Fresh::Within(*within),
            Some(Freshness::Within { within, until: Some(until) }) => match self.instant("fresh.until", until, item, due, complain) {
                Some(until) => Fresh::WithinUntil(*within, until),
                None => Fresh::Always,
            },
            Some(Freshness::At(rules)) => {
                Fresh::At(rules.iter().filter_map(|rule| self.instant("fresh.at", rule, item, due, complain)).collect())
            }
        }
    }

    pub(super) fn scope(&self, item: ItemIx, due: Option<Timestamp>) -> ItemScope<'a> {
        self.expected.scope(item, self.now).with_due(due)
    }

    fn instant(
        &self,
        rule: &str,
        expression: &Expression,
        item: ItemIx,
        due: Option<Timestamp>,
        complain: &mut Complain<'_>,
    ) -> Option<Timestamp> {
        let found = expression.instant(&self.scope(item, due));
        found.unwrap_or_else(|error| {
            complain(rule, error);
            None
        })
    }
}

/// Older items are out of scope.
struct Since {
    anchor: Anchor,
    shift: SignedDuration,
}

impl Since {
    /// From when on an item of this instant is older; `None`: never.
    fn leaves(&self, instant: Timestamp) -> Option<Timestamp> {
        match &self.anchor {
            Anchor::At(at) => {
                let since = at.checked_add(self.shift).unwrap_or(if self.shift.is_negative() { Timestamp::MIN } else { Timestamp::MAX });
                (instant < since).then_some(Timestamp::MIN)
            }
            // Older means *before*: the first instant is one microsecond on.
            Anchor::Now => instant.checked_sub(self.shift).ok()?.checked_add(SignedDuration::from_micros(1)).ok(),
            Anchor::Today(zone) => {
                let then = instant.checked_sub(self.shift).ok()?.to_zoned(zone.clone());
                Some(then.tomorrow().ok()?.start_of_day().ok()?.timestamp())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{at, zone};
    use super::*;
    use crate::spec::expression::{Role, Scope, Value, Var};
    use crate::spec::names::{DimensionNames, Names};

    struct At(Timestamp);

    impl Scope for At {
        fn value(&self, _at: usize, _var: &Var) -> Value<'_> {
            Value::Null
        }

        fn origin(&self, _var: &Var) -> Option<String> {
            None
        }

        fn now(&self) -> Option<Timestamp> {
            Some(self.0)
        }
    }

    #[test]
    fn an_item_leaves_when_since_read_then_lies_behind_it() {
        let new_york = Names::new(vec![DimensionNames::calendar("day", zone("America/New_York"))]);
        // Around the hour that New York lost, and around midnight.
        for instant in
            ["2025-03-09T06:59:59Z", "2025-03-09T05:00:00Z", "2025-03-09T04:59:59.999999Z", "2025-03-10T03:59:59Z", "2025-11-02T05:30:00Z"]
        {
            for text in ["now - 30d", "today - 30d", "now", "today", "2025-03-09", "today + 1d - 12h", "2025-03-09T04:00:00Z"] {
                let Ok(since) = Expression::parse(text, &new_york, Role::Since) else { continue };
                let (anchor, shift) = since.anchored().expect("an anchor and durations");
                let leaves = Since { anchor, shift }.leaves(at(instant));
                let is_out = |now: Timestamp| at(instant) < since.instant(&At(now)).unwrap().unwrap();
                match leaves {
                    None => assert!(!is_out(at("2300-01-01T00:00:00Z")), "{instant} `{text}`"),
                    Some(leaves) if leaves == Timestamp::MIN => assert!(is_out(at("1900-01-01T00:00:00Z")), "{instant} `{text}`"),
                    Some(leaves) => {
                        let before = leaves - SignedDuration::from_micros(1);
                        assert_eq!((is_out(before), is_out(leaves)), (false, true), "{instant} `{text}`: {leaves}");
                    }
                }
            }
        }
    }
}
