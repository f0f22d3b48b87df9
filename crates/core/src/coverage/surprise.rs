//! A sudden change is a suspicion, not a fact: an unmounted disk looks like an empty lake, a broken export like a
//! season without games. Acting on it at once would fetch everything again, or call half the data complete.
//!
//! A surprising picture is held. It comes into force when a full cycle that began at least `reconcile_every` after the
//! first sight shows the same again, or a person accepts it. Until then the last accepted picture stays in force.
//!
//! Always true: the first picture is never a surprise, nor the first of a part of the lake
//! (`the_first_picture_is_never_a_surprise`, `what_was_never_listed_before_opens_without_a_surprise`); nothing that
//! surprises is in force before its time (`a_surprise_is_in_force_only_when_confirmed_or_accepted`).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::picture::Picture;
use super::sketch::Sketch;
use super::state::Sight;
use super::{Completeness, Coverage, Evidence, GapDiff};
use crate::figures::{grouped, percent};
use crate::gap::{Gap, ItemState, Reason};
use crate::record::HeldPicture;
use crate::spec;
use crate::time::{SignedDuration, Timestamp};

/// One thing that changed too much to be believed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surprise {
    /// A table that had rows has none.
    TableEmpty {
        dimension: String,
        before: u64,
    },
    TableShrank {
        dimension: String,
        before: u64,
        now: u64,
    },
    /// A complete listing shows far fewer of a dataset's expected objects.
    ObjectsLost {
        dataset: String,
        before: u64,
        now: u64,
    },
    /// So many gaps opened at once.
    ManyGaps {
        opened: u64,
        items: u64,
    },
}

impl fmt::Display for Surprise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part, whole| percent(part, whole).unwrap_or_default();
        match self {
            Surprise::TableEmpty { dimension, before } => {
                let rows = if *before == 1 { "row" } else { "rows" };
                write!(f, "the table of `{dimension}` is empty; it had {} {rows}", grouped(*before))
            }
            Surprise::TableShrank { dimension, before, now } => {
                let lost = before - now;
                write!(f, "the table of `{dimension}` lost {} of {} rows ({})", grouped(lost), grouped(*before), share(lost, *before))
            }
            Surprise::ObjectsLost { dataset, before, now } => {
                let lost = before - now;
                write!(f, "`{dataset}` lost {} of {} objects ({})", grouped(lost), grouped(*before), share(lost, *before))
            }
            Surprise::ManyGaps { opened, items } => {
                write!(f, "{} of {} items opened as gaps at once ({})", grouped(*opened), grouped(*items), share(*opened, *items))
            }
        }
    }
}

/// What to do with a new picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing surprising: it is in force, and nothing is held any more.
    Accept,
    /// Not in force; this is to be remembered (in place of what was held before).
    Hold(HeldPicture),
    /// It was held, and now it is in force.
    Confirmed,
}

impl Picture {
    /// The figures of a cycle that began at `began`. Where a listing was partial, those of the accepted picture stay.
    pub fn of(evidence: &Evidence<'_>, coverage: &Coverage, diff: &GapDiff, began: Timestamp) -> Picture {
        let before = evidence.accepted;
        let objects = coverage.datasets.iter().filter_map(|dataset| {
            let objects = match dataset.listed {
                Completeness::Full { .. } => dataset.objects,
                Completeness::Partial => *before?.objects.get(&dataset.name)?,
            };
            Some((dataset.name.clone(), objects))
        });
        Picture {
            listed_at: coverage.datasets.iter().map(|dataset| (dataset.name.clone(), dataset.listed_at)).collect(),
            present: BTreeMap::new(),
            taken_at: Some(began),
            table_rows: evidence.expected.table_rows().clone(),
            objects: objects.collect(),
            items: evidence.expected.len() as u64,
            gaps: coverage.counts().gaps(),
            opened: diff.opened.iter().filter(|gap| !is_explained(gap, evidence)).count() as u64,
        }
    }

    /// With the items that are present in it, so that a later look that fails in part knows them; to be remembered.
    pub fn with_present(self, evidence: &Evidence<'_>, coverage: &Coverage) -> Picture {
        let before = evidence.accepted;
        let present = coverage.datasets.iter().zip(evidence.expected.datasets()).filter_map(|(dataset, items)| {
            let present = match dataset.listed {
                Completeness::Full { .. } => {
                    let mut present = Sketch::default();
                    let there = items.items().filter(|item| coverage.state(*item) == ItemState::Present);
                    there.for_each(|item| present.add(evidence.expected.id(item)));
                    present
                }
                Completeness::Partial => before?.present.get(&dataset.name)?.clone(),
            };
            Some((dataset.name.clone(), present))
        });
        Picture { present: present.collect(), ..self }
    }
}

/// Nothing in the lake or the config need have changed for this gap to open: it grew stale, fell due, is asked for again
/// after an absence, or its part of the lake could never be listed before. However many of these open at once, they are
/// what the config says.
fn is_explained(gap: &Gap, evidence: &Evidence<'_>) -> bool {
    let first_look = evidence.accepted.is_some_and(|picture| picture.never_saw(&gap.dataset));
    let pictured = evidence.accepted.and_then(|picture| picture.taken_at);
    let fell_due = gap.due.zip(pictured).is_some_and(|(due, pictured)| due > pictured);
    let pictured_before = |made: Timestamp| pictured.is_some_and(|pictured| made > pictured);
    let came_due = newest_input(gap, evidence).is_some_and(pictured_before);
    let asked_again = evidence.records.get(&gap.id.item).is_some_and(|record| record.absent.is_some());
    gap.reason == Reason::Stale || fell_due || is_of_new_rows(gap, evidence) || came_due || asked_again || first_look
}

/// A table of this gap's dataset has grown by what adce itself collected.
fn is_of_new_rows(gap: &Gap, evidence: &Evidence<'_>) -> bool {
    let expected = evidence.expected;
    let mut fed = expected.fed().iter().filter(|fed| expected.datasets()[fed.dataset].name() == gap.dataset);
    let rows = |picture: &Picture, dimension: &str| picture.table_rows.get(dimension).copied().unwrap_or_default();
    fed.any(|fed| evidence.accepted.is_some_and(|before| rows(before, &fed.dimension) < expected.table_rows()[&fed.dimension]))
}

/// The date of the newest object that a gap's item is made from.
fn newest_input(gap: &Gap, evidence: &Evidence<'_>) -> Option<Timestamp> {
    if evidence.spec.datasets.get(&gap.dataset).is_none_or(|dataset| dataset.needs.is_empty()) {
        return None;
    }
    let inputs = evidence.expected.inputs(evidence.expected.find(&gap.key)?, &mut |item| match evidence.inventory.sight(item) {
        Sight::There(found) => (ItemState::Present, Some(found.last_modified)),
        Sight::NotThere | Sight::NotSeen => (ItemState::Missing, None),
    });
    inputs.iter().filter_map(|inputs| inputs.newest).max()
}

/// What in `new` is too different from the last accepted picture; nothing if there is none.
///
/// Tables and listings may lose `lost_permille` and may open `items_permille` of all items as gaps; fewer than
/// `at_least` rows, objects or gaps are no surprise, unless all of several are gone.
pub fn surprises(accepted: Option<&Picture>, new: &Picture, policy: &spec::Surprise) -> Vec<Surprise> {
    let Some(accepted) = accepted.filter(|accepted| accepted.taken_at.is_some()) else {
        return Vec::new();
    };
    compare(accepted, new, 0, policy)
}

/// Is this picture in force? `surprises` are those of `new` against the last accepted picture.
pub fn judge(
    held: Option<&HeldPicture>,
    new: &Picture,
    surprises: &[Surprise],
    policy: &spec::Surprise,
    reconcile_every: Duration,
) -> Verdict {
    if surprises.is_empty() {
        return Verdict::Accept;
    }
    let began = new.taken_at.unwrap_or(Timestamp::MIN);
    let same = held.filter(|held| compare(&held.picture, new, held.picture.opened, policy).is_empty());
    let wait = SignedDuration::try_from(reconcile_every).unwrap_or(SignedDuration::MAX);
    match same {
        Some(held) if held.accepted || began.duration_since(held.first_seen) >= wait => Verdict::Confirmed,
        same => Verdict::Hold(HeldPicture {
            picture: new.clone(),
            first_seen: same.map_or(began, |held| held.first_seen),
            surprises: surprises.iter().map(Surprise::to_string).collect(),
            accepted: false,
        }),
    }
}

fn compare(before: &Picture, new: &Picture, opened_before: u64, policy: &spec::Surprise) -> Vec<Surprise> {
    let mut found = Vec::new();
    for (dimension, &rows) in &before.table_rows {
        // A dimension that the config does not have any more was taken out by a person.
        let Some(&now) = new.table_rows.get(dimension) else { continue };
        let dimension = dimension.clone();
        if now == 0 && rows > 0 {
            found.push(Surprise::TableEmpty { dimension, before: rows });
        } else if lost_too_many(rows, now, policy) {
            found.push(Surprise::TableShrank { dimension, before: rows, now });
        }
    }
    for (dataset, &objects) in &before.objects {
        let Some(&now) = new.objects.get(dataset) else { continue };
        if lost_too_many(objects, now, policy) {
            found.push(Surprise::ObjectsLost { dataset: dataset.clone(), before: objects, now });
        }
    }
    let opened = new.opened.saturating_sub(opened_before);
    if opened >= policy.at_least && exceeds(opened, new.items, policy.items_permille) {
        found.push(Surprise::ManyGaps { opened, items: new.items });
    }
    found
}

fn lost_too_many(before: u64, now: u64, policy: &spec::Surprise) -> bool {
    let lost = before.saturating_sub(now);
    let all_of_several = now == 0 && lost > 1;
    exceeds(lost, before, policy.lost_permille) && (lost >= policy.at_least || all_of_several)
}

fn exceeds(part: u64, whole: u64, permille: u32) -> bool {
    u128::from(part) * 1_000 > u128::from(whole) * u128::from(permille)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::sample::{Files, Sample};
    use super::super::{Observation, gaps};
    use super::*;

    const EVERY: Duration = Duration::from_secs(900);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn picture(seconds: i64, rows: u64, objects: u64, opened: u64) -> Picture {
        Picture {
            taken_at: Some(at(seconds)),
            table_rows: [("game".to_string(), rows)].into(),
            objects: [("box".to_string(), objects)].into(),
            listed_at: [("box".to_string(), Some(at(seconds)))].into(),
            present: BTreeMap::new(),
            items: 1_000,
            gaps: opened,
            opened,
        }
    }

    fn told(accepted: &Picture, new: &Picture) -> Vec<String> {
        surprises(Some(accepted), new, &spec::Surprise::default()).iter().map(Surprise::to_string).collect()
    }

    /// As an engine would: the surprises against the accepted picture, judged beside what is held.
    fn verdict(accepted: &Picture, held: Option<&HeldPicture>, new: &Picture) -> Verdict {
        let policy = spec::Surprise::default();
        judge(held, new, &surprises(Some(accepted), new, &policy), &policy, EVERY)
    }

    fn held(verdict: Verdict) -> HeldPicture {
        let Verdict::Hold(held) = verdict else { panic!("not held: {verdict:?}") };
        held
    }

    #[test]
    fn the_first_picture_is_never_a_surprise() {
        assert_eq!(surprises(None, &picture(0, 0, 0, 1_000), &spec::Surprise::default()), []);
    }

    #[test]
    fn what_was_never_listed_before_opens_without_a_surprise() {
        let sample = Sample::new(Files::default()).list("n", &["a", "b", "c"]).dataset("box", "box/{n}", &["n"]);
        let expected = sample.expand("2024-12-01T00:00:00Z").unwrap();
        let mut look = Observation::new(&expected, &sample.spec);
        look.begin("box/", at(10));
        look.prefix_complete("box/");
        let inventory = look.finish();
        let opened = |listed_at: BTreeMap<String, Option<Timestamp>>| {
            let accepted = Picture { taken_at: Some(at(0)), listed_at, ..Picture::default() };
            let (records, open) = (HashMap::new(), HashMap::new());
            let evidence = Evidence {
                spec: &sample.spec,
                expected: &expected,
                inventory: &inventory,
                records: &records,
                open: &open,
                accepted: Some(&accepted),
            };
            let coverage = Coverage::of(&evidence, at(11)).unwrap();
            let diff = gaps(&evidence, &coverage, at(11));
            assert_eq!(diff.opened.len(), 3);
            Picture::of(&evidence, &coverage, &diff, at(10)).opened
        };
        assert_eq!(opened([("box".to_string(), None)].into()), 0, "its listing failed so far");
        assert_eq!(opened([("box".to_string(), Some(at(0)))].into()), 3, "all of them were there");
        assert_eq!(opened(BTreeMap::new()), 3, "a dataset that is new in the config");
    }

    #[test]
    fn a_loss_of_more_than_a_tenth_is_a_surprise() {
        let before = picture(0, 1_000, 500, 0);
        assert_eq!(told(&before, &picture(1, 900, 450, 200)), Vec::<String>::new());
        assert_eq!(told(&before, &picture(1, 899, 500, 0)), ["the table of `game` lost 101 of 1,000 rows (10.10 %)"]);
        assert_eq!(told(&before, &picture(1, 1_000, 449, 0)), ["`box` lost 51 of 500 objects (10.20 %)"]);
        assert_eq!(told(&before, &picture(1, 1_000, 500, 201)), ["201 of 1,000 items opened as gaps at once (20.10 %)"]);
        assert_eq!(told(&before, &picture(1, 0, 500, 0)), ["the table of `game` is empty; it had 1,000 rows"]);
    }

    #[test]
    fn a_handful_is_no_surprise_unless_all_of_several_are_gone() {
        assert_eq!(told(&picture(0, 30, 30, 0), &picture(1, 11, 11, 19)), Vec::<String>::new());
        assert_eq!(told(&picture(0, 30, 30, 0), &picture(1, 30, 10, 20)), ["`box` lost 20 of 30 objects (66.66 %)"]);
        assert_eq!(told(&picture(0, 3, 1, 0), &picture(1, 3, 0, 1)), Vec::<String>::new());
        assert_eq!(told(&picture(0, 3, 3, 0), &picture(1, 3, 0, 3)), ["`box` lost 3 of 3 objects (100 %)"]);
        assert_eq!(told(&picture(0, 1, 3, 0), &picture(1, 0, 3, 3)), ["the table of `game` is empty; it had 1 row"]);
    }

    #[test]
    fn a_surprise_is_in_force_only_when_confirmed_or_accepted() {
        let accepted = picture(0, 1_000, 500, 0);
        let first = held(verdict(&accepted, None, &picture(100, 1_000, 0, 500)));
        assert_eq!(first.first_seen, at(100));
        assert_eq!(first.surprises.len(), 2);
        // Too early: it stays held, and its first sight is not forgotten.
        let second = held(verdict(&accepted, Some(&first), &picture(999, 1_000, 0, 500)));
        assert_eq!(second.first_seen, at(100));
        assert_eq!(verdict(&accepted, Some(&second), &picture(1_000, 1_000, 0, 500)), Verdict::Confirmed);
        let said_yes = HeldPicture { accepted: true, ..first };
        assert_eq!(verdict(&accepted, Some(&said_yes), &picture(101, 1_000, 0, 500)), Verdict::Confirmed);
    }

    #[test]
    fn a_worse_picture_than_the_held_one_waits_anew() {
        let accepted = picture(0, 1_000, 500, 0);
        let some = held(verdict(&accepted, None, &picture(100, 1_000, 400, 100)));
        let worse = held(verdict(&accepted, Some(&some), &picture(2_000, 1_000, 0, 500)));
        assert_eq!(worse.first_seen, at(2_000));
        let said_yes = HeldPicture { accepted: true, ..some };
        held(verdict(&accepted, Some(&said_yes), &picture(2_000, 1_000, 0, 500)));
    }

    #[test]
    fn a_lake_that_is_back_is_no_surprise() {
        let accepted = picture(0, 1_000, 500, 0);
        let empty = held(verdict(&accepted, None, &picture(100, 1_000, 0, 500)));
        assert_eq!(verdict(&accepted, Some(&empty), &picture(200, 1_000, 499, 1)), Verdict::Accept);
    }
}
