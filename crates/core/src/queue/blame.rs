//! Whose doing the failures of an attempt are, as far as all of its outcomes together tell what none of them tells alone.
//!
//! A command that crashes on a batch of fifty says nothing of forty-nine of them. If that used up an attempt of each, one
//! item that it always crashes on would exhaust its whole batch before anybody knew which one it is. So while it may be any
//! of several, nobody pays: they come back together once, for it may have been a moment's trouble, and after that in halves
//! (`one_poison_item_in_fifty_keeps_the_others_for_a_few_tries_whatever_attempts_says`).
//!
//! It ends: each such failure after the first halves a batch, and who is alone pays for what comes of it
//! (`a_collector_that_fails_on_everything_exhausts_each_item_alone_in_the_end`).

use crate::gap::{Failure, Fault, Outcome, Reason};

/// What the outcomes of one attempt say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blame {
    /// Somebody got an answer. Of whom nothing was written all the same, that is his own.
    came_to_something: bool,
    /// So many failed of whom nothing else is known.
    unexplained: usize,
}

/// What an attempt says about its collector, whatever it says of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OfCollector {
    Works,
    /// It crashed on all of its items, or ended well and wrote nothing for any; in words.
    Fails(String),
    /// The source's failures, and what the engine stopped, say nothing of it. Nor does an old object that it left as it was: whoever
    /// skips what exists works wherever there is nothing yet.
    Nothing,
}

impl OfCollector {
    /// Each outcome with why its item was to be collected.
    pub(super) fn of(outcomes: &[(Reason, Outcome)]) -> Self {
        let mut failures = Vec::new();
        for (reason, outcome) in outcomes {
            match outcome {
                Outcome::Failed(failure) => failures.push((*reason, failure)),
                _ => return OfCollector::Works,
            }
        }
        let elsewhere = |failure: &Failure| matches!(failure.fault, Fault::Source | Fault::Later | Fault::Stopped);
        if failures.iter().all(|(_, failure)| elsewhere(failure)) {
            return OfCollector::Nothing;
        }
        if !failures.iter().all(|(_, failure)| matches!(failure.fault, Fault::Collector | Fault::Unwritten)) {
            return OfCollector::Works;
        }
        let told = failures.into_iter().find(|(reason, failure)| failure.fault == Fault::Collector || *reason == Reason::Missing);
        told.map_or(OfCollector::Nothing, |(_, failure)| OfCollector::Fails(failure.message.clone()))
    }
}

/// What became of one item, seen beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told<'a> {
    Itself(&'a Outcome),
    /// It failed with others, and any of them may be what it failed on.
    Unblamed(&'a Failure),
}

impl Blame {
    pub(super) fn of(outcomes: &[Outcome]) -> Self {
        let answers = |outcome: &Outcome| matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged | Outcome::Absent);
        let came_to_something = outcomes.iter().any(answers);
        let blame = Blame { came_to_something, unexplained: 0 };
        Blame { unexplained: outcomes.iter().filter(|outcome| blame.unexplained(outcome).is_some()).count(), ..blame }
    }

    pub(super) fn tells_of(self, outcome: &Outcome) -> Told<'_> {
        match self.unexplained(outcome) {
            Some(failure) if self.unexplained > 1 => Told::Unblamed(failure),
            _ => Told::Itself(outcome),
        }
    }

    fn unexplained(self, outcome: &Outcome) -> Option<&Failure> {
        match outcome {
            Outcome::Failed(failure) if failure.fault == Fault::Collector => Some(failure),
            Outcome::Failed(failure) if failure.fault == Fault::Unwritten && !self.came_to_something => Some(failure),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(fault: Fault) -> Outcome {
        Outcome::Failed(Failure { fault, message: "it did not work".into(), retry_after_s: None })
    }

    /// Which of them nobody is blamed for.
    fn unblamed(outcomes: &[Outcome]) -> Vec<usize> {
        let blame = Blame::of(outcomes);
        (0..outcomes.len()).filter(|at| matches!(blame.tells_of(&outcomes[*at]), Told::Unblamed(_))).collect()
    }

    #[test]
    fn a_failure_that_may_come_from_any_of_several_is_nobodys() {
        let (crash, nothing, item, source) =
            (|| failed(Fault::Collector), || failed(Fault::Unwritten), || failed(Fault::Item), || failed(Fault::Source));
        let table: [(&str, Vec<Outcome>, &[usize]); 10] = [
            ("it crashed", vec![crash(), crash(), crash()], &[0, 1, 2]),
            ("exit 0, and nothing written", vec![nothing(), nothing()], &[0, 1]),
            ("who is alone is it", vec![crash()], &[]),
            ("who is alone is it", vec![nothing()], &[]),
            ("the others were written", vec![Outcome::Unchanged, nothing(), nothing()], &[]),
            ("it crashed after the first", vec![Outcome::Unchanged, crash(), crash()], &[1, 2]),
            ("and only one is left", vec![Outcome::Unchanged, crash()], &[]),
            ("who is named is named", vec![item(), crash(), crash()], &[1, 2]),
            ("who is named is named", vec![item(), nothing(), nothing()], &[1, 2]),
            ("the source's failure has a rule of its own", vec![source(), source(), Outcome::Split], &[]),
        ];
        for (why, outcomes, expected) in table {
            assert_eq!(unblamed(&outcomes), expected, "{why}: {outcomes:?}");
        }
    }

    #[test]
    fn a_collector_fails_that_crashes_on_everything_or_writes_nothing_where_there_is_nothing() {
        let of = |outcomes: &[(Reason, Outcome)]| OfCollector::of(outcomes);
        let fails = OfCollector::Fails("it did not work".into());
        let (missing, stale) = (Reason::Missing, Reason::Stale);
        let alone = |fault| of(&[(missing, failed(fault))]);
        assert_eq!([Fault::Collector, Fault::Unwritten].map(alone), [fails.clone(), fails.clone()]);
        assert_eq!([Fault::Source, Fault::Later, Fault::Stopped].map(alone), [const { OfCollector::Nothing }; 3]);
        assert_eq!(alone(Fault::Item), OfCollector::Works, "it names the item: `empty`, or too small");
        for explicit in [Outcome::Absent, Outcome::Unchanged, Outcome::Split] {
            assert_eq!(of(&[(missing, failed(Fault::Unwritten)), (missing, explicit)]), OfCollector::Works);
        }
        assert_eq!(of(&[(stale, failed(Fault::Unwritten))]), OfCollector::Nothing, "it may skip what exists");
        assert_eq!(of(&[(stale, failed(Fault::Unwritten)), (missing, failed(Fault::Unwritten))]), fails);
        assert_eq!(of(&[(stale, failed(Fault::Collector))]), fails);
        assert_eq!(of(&[]), OfCollector::Nothing);
    }
}
