//! Which kind each part of an expression has, and every combination that can never make sense.

use super::parser::{Comparison, Node, Part, Sign};
use super::{Kind, LanguageError, Names, Role, Var};
use crate::gap::Reason;

pub(super) struct Checker<'a> {
    pub(super) names: &'a Names,
    pub(super) vars: &'a [Var],
    pub(super) errors: Vec<LanguageError>,
}

impl Checker<'_> {
    /// The kind of the whole, which must be what the role needs.
    pub(super) fn whole(&mut self, part: &Part, role: Role) -> Kind {
        let kind = self.kind(part);
        let hint = match (role, kind) {
            (_, Kind::Unknown) => return kind,
            (Role::Column, Kind::Null) => Some("a column that is always null is of no use"),
            (Role::Column, _) => return kind,
            (Role::Due | Role::After | Role::Since | Role::Bound, Kind::Time) => return kind,
            (Role::Due | Role::After, Kind::Cell) => return Kind::Time,
            (Role::Due | Role::After, Kind::Span) => Some("add it to a time: `day.end + 2h`"),
            (Role::Where | Role::Priority | Role::Claim | Role::Select, Kind::Bool) => return kind,
            (Role::Where | Role::Priority | Role::Select, Kind::Cell | Kind::Text) => Some("compare it: `is_final == 'true'`"),
            (Role::Priority, Kind::Span) => Some("compare it: `overdue < 7d`"),
            (Role::Bound | Role::Since, _) => Some("write a date, `today` or `now`, with durations added or taken away"),
            _ => None,
        };
        let needed = match role {
            Role::Due | Role::After | Role::Since | Role::Bound => Kind::Time,
            Role::Where | Role::Priority | Role::Claim | Role::Select => Kind::Bool,
            Role::Column => Kind::Unknown,
        };
        let message = format!("{} must be {}, and this is {}", role.words(), needed.words(), kind.words());
        self.complain(part, message, hint.map(String::from));
        needed
    }

    fn kind(&mut self, part: &Part) -> Kind {
        match &part.node {
            Node::Null => Kind::Null,
            Node::Text(_) | Node::Reason | Node::Dataset => Kind::Text,
            Node::Number(_) => Kind::Number,
            Node::Span(_) | Node::Overdue => Kind::Span,
            Node::Time(..) | Node::Now | Node::Today(_) | Node::Due => Kind::Time,
            Node::Var(at) => self.var(*at),
            Node::Sum(parts) => self.sum(parts),
            Node::Compare(how, left, right) => {
                self.compare(*how, left, right);
                Kind::Bool
            }
            Node::In(left, values) => {
                for value in values {
                    self.compare(Comparison::Equal, left, value);
                }
                Kind::Bool
            }
            Node::IsNull(part) => {
                self.kind(part);
                Kind::Bool
            }
            Node::Not(part) => {
                self.truth(part);
                Kind::Bool
            }
            Node::And(parts) | Node::Or(parts) => {
                parts.iter().for_each(|part| self.truth(part));
                Kind::Bool
            }
        }
    }

    fn var(&mut self, at: usize) -> Kind {
        let var = &self.vars[at];
        match self.names.resolve(&var.name) {
            Ok(found) => found.kind,
            Err(wrong) => {
                let error = LanguageError { offset: var.offset, length: var.length, message: wrong.message, hint: wrong.hint };
                if !self.errors.contains(&error) {
                    self.errors.push(error);
                }
                Kind::Unknown
            }
        }
    }

    fn truth(&mut self, part: &Part) {
        let kind = self.kind(part);
        if !matches!(kind, Kind::Bool | Kind::Unknown) {
            let hint = "`and`, `or` and `not` join comparisons: `kind == '2' or kind == '3'`";
            self.complain(part, format!("expected a comparison, and this is {}", kind.words()), Some(hint.into()));
        }
    }

    fn sum(&mut self, parts: &[(Sign, Part)]) -> Kind {
        let mut total = self.kind(&parts[0].1);
        for (sign, part) in &parts[1..] {
            let kind = self.kind(part);
            match sum_kind(total, *sign, kind) {
                Some(next) => total = next,
                None => {
                    let (verb, joint) = if *sign == Sign::Plus { ("added", "and") } else { ("subtracted", "from") };
                    let (first, second) = if *sign == Sign::Plus { (total, kind) } else { (kind, total) };
                    let hint = match (total, kind) {
                        (Kind::Cell, Kind::Cell) => Some("say what they are under `columns:` of the table".to_string()),
                        (Kind::Text, _) | (_, Kind::Text) => Some("texts are only compared".to_string()),
                        _ => None,
                    };
                    self.complain(part, format!("{} {joint} {} cannot be {verb}", first.words(), second.words()), hint);
                    total = Kind::Unknown;
                }
            }
        }
        total
    }

    fn compare(&mut self, how: Comparison, left: &Part, right: &Part) {
        let kinds = (self.kind(left), self.kind(right));
        if kinds.0 == Kind::Null || kinds.1 == Kind::Null {
            let hint = "write `is null` or `is not null`";
            return self.complain(right, "a comparison with null is never true".into(), Some(hint.into()));
        }
        if !comparable(kinds.0, kinds.1) {
            let message = format!("{} and {} cannot be compared", kinds.0.words(), kinds.1.words());
            let hint = comparison_hint(kinds, left, right);
            return self.complain(right, message, hint);
        }
        if kinds == (Kind::Bool, Kind::Bool) && !matches!(how, Comparison::Equal | Comparison::NotEqual) {
            self.complain(right, "true and false have no order".into(), Some("compare them with `==` or `!=`".into()));
        }
        self.check_reason(left, right);
        self.check_reason(right, left);
    }

    /// A misspelt reason would never hold.
    fn check_reason(&mut self, left: &Part, right: &Part) {
        let (Node::Reason, Node::Text(text)) = (&left.node, &right.node) else { return };
        let words = [Reason::Missing, Reason::Stale, Reason::Undersized, Reason::Suspect].map(Reason::word);
        if !words.contains(&text.as_str()) {
            let hint = super::super::names::nearest(text, words.map(String::from).into());
            self.complain(right, format!("`{text}` is no reason"), hint);
        }
    }

    fn complain(&mut self, part: &Part, message: String, hint: Option<String>) {
        self.errors.push(LanguageError { offset: part.offset, length: part.length.max(1), message, hint });
    }
}

/// What a sum of these yields; `None`: they cannot be summed.
pub(super) fn sum_kind(left: Kind, sign: Sign, right: Kind) -> Option<Kind> {
    Some(match (left, sign, right) {
        (Kind::Unknown, _, _) | (_, _, Kind::Unknown) => Kind::Unknown,
        (Kind::Number | Kind::Cell, _, Kind::Number) | (Kind::Number, _, Kind::Cell) => Kind::Number,
        (Kind::Time | Kind::Cell, _, Kind::Span) | (Kind::Span, Sign::Plus, Kind::Time | Kind::Cell) => Kind::Time,
        (Kind::Time, Sign::Minus, Kind::Time | Kind::Cell) | (Kind::Cell, Sign::Minus, Kind::Time) => Kind::Span,
        (Kind::Span, _, Kind::Span) => Kind::Span,
        _ => return None,
    })
}

fn comparable(left: Kind, right: Kind) -> bool {
    use Kind::*;
    match (left, right) {
        (Unknown, _) | (_, Unknown) => true,
        (Text | Cell, Text | Cell) => true,
        (Cell, Number | Time) | (Number | Time, Cell) => true,
        _ => left == right,
    }
}

fn comparison_hint(kinds: (Kind, Kind), left: &Part, right: &Part) -> Option<String> {
    let literal = [left, right].into_iter().find_map(|part| match &part.node {
        Node::Text(text) => Some(text),
        _ => None,
    });
    match (kinds, literal) {
        ((Kind::Time, Kind::Text) | (Kind::Text, Kind::Time), Some(text)) => Some(format!("write `time(\"{text}\")`")),
        ((Kind::Number, Kind::Text) | (Kind::Text, Kind::Number), Some(text)) => Some(format!("write `{text}` without quotes")),
        ((Kind::Span, Kind::Number) | (Kind::Number, Kind::Span), _) => Some("give the number a unit: s, m, h, d, w or y".into()),
        _ => None,
    }
}
