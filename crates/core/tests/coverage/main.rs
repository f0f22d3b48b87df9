//! Coverage over random configs, lakes, records and failing listings, beside a reading of the rules that shares no code
//! with it: plain structs, seconds as integers, one loop.

mod naive;
mod observation;
mod world;

use std::collections::{BTreeMap, HashMap, HashSet};

use adce_core::coverage::{self, Coverage, Picture, Verdict};
use adce_core::gap::{Gap, ItemState, Progress};
use adce_core::ids::ItemId;
use adce_core::object::Object;
use adce_core::record::{Closed, ItemRecord};
use adce_core::spec::PriorityLevel;
use proptest::collection::vec;
use proptest::prelude::*;
use world::{NOW, World, at};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, ..ProptestConfig::default() }
}

fn level(number: u8) -> PriorityLevel {
    [PriorityLevel::Low, PriorityLevel::Medium, PriorityLevel::High, PriorityLevel::Critical][usize::from(number)]
}

/// Everything that is known of one world, and coverage worked out from it.
struct Judged {
    coverage: Coverage,
    diff: coverage::GapDiff,
    picture: Picture,
    /// Key and state of every item.
    states: BTreeMap<String, ItemState>,
}

fn judge(world: &World, open: &HashMap<ItemId, Gap>, records: &HashMap<ItemId, ItemRecord>, now: i64) -> Judged {
    let spec = world.spec();
    let expected = coverage::expand(&spec, &world.tables(), at(now)).expect("a world without mistakes");
    let inventory = world.observe(&expected, &spec);
    let accepted = world.accepted();
    let evidence = coverage::Evidence { spec: &spec, expected: &expected, inventory: &inventory, records, open, accepted: Some(&accepted) };
    let coverage = Coverage::of(&evidence, at(now)).expect("no rule without an answer");
    let diff = coverage::gaps(&evidence, &coverage, at(now));
    let picture = Picture::of(&evidence, &coverage, &diff, at(now));
    let states = expected.items().map(|item| {
        let mut key = String::new();
        expected.key(item, &mut key);
        (key, coverage.state(item))
    });
    Judged { states: states.collect(), coverage, diff, picture }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn coverage_agrees_with_a_naive_reading(world in world::any()) {
        let (open, records) = (world.open_gaps(), world.records());
        let judged = judge(&world, &open, &records, NOW);
        let naive = naive::read(&world, &judged.states);
        for (key, state) in &naive.states {
            // An item may share the fate of others: what changed among them makes it unknown, and nothing else.
            let forgotten = (*state, judged.states[key]) == (ItemState::Present, ItemState::Unknown);
            prop_assert!(judged.states[key] == *state || (forgotten && naive.strangers(&world, key)), "`{}` is {:?}, not {:?}", key, judged.states[key], state);
        }
        prop_assert_eq!(judged.states.len(), naive.states.len());
        for (dataset, unexpected) in judged.coverage.datasets.iter().zip(&naive.unexpected) {
            prop_assert_eq!(dataset.unexpected, *unexpected, "unexpected under `{}`", dataset.name);
        }
        for (dataset, next) in judged.coverage.datasets.iter().zip(&naive.next_due) {
            let found = dataset.next_due.map(|next| (next.at.as_second(), next.items_that_day));
            prop_assert_eq!(found, next.map(|(due, items)| (at(due).as_second(), items)));
        }
        let priorities: BTreeMap<String, PriorityLevel> =
            judged.diff.opened.iter().chain(&judged.diff.changed).map(|gap| (gap.key.clone(), gap.priority)).collect();
        for (key, priority) in priorities {
            prop_assert_eq!(priority, level(naive.priorities[&key]), "priority of `{}`", key);
        }
    }

    #[test]
    fn the_sums_of_the_glossary_always_hold(world in world::any()) {
        let judged = judge(&world, &world.open_gaps(), &world.records(), NOW);
        for dataset in &judged.coverage.datasets {
            let counts = dataset.counts;
            let of = |state| {
                let prefix = format!("{}/", dataset.name);
                judged.states.iter().filter(|(key, found)| key.starts_with(&prefix) && **found == state).count() as u64
            };
            prop_assert_eq!(counts.present, of(ItemState::Present));
            prop_assert_eq!(counts.not_due, of(ItemState::NotDue));
            let sum = counts.present + counts.missing + counts.stale + counts.undersized + counts.suspect + counts.absent + counts.unknown;
            prop_assert_eq!(counts.expected(), sum);
            let all = judged.states.keys().filter(|key| key.starts_with(&format!("{}/", dataset.name))).count() as u64;
            prop_assert_eq!(counts.expected() + counts.not_due + counts.expired + counts.out_of_scope, all);
            prop_assert_eq!(counts.is_complete(), counts.gaps() == 0 && counts.unknown == 0);
        }
        prop_assert_eq!(judged.coverage.counts().gaps() as usize, judged.coverage.gap_items().len());
    }

    #[test]
    fn partial_listing_never_opens_a_gap(world in world::any()) {
        let (open, records) = (world.open_gaps(), world.records());
        let judged = judge(&world, &open, &records, NOW);
        for gap in &judged.diff.opened {
            let seen = world.was_shown(&gap.key);
            prop_assert!(seen || !world.listing_failed(&gap.key), "`{}` opened as {:?}, and nobody saw it", gap.key, gap.reason);
        }
        for (gap, why) in &judged.diff.closed {
            let key = &open[&gap.item].key;
            let unseen = world.listing_failed(key) && !world.was_shown(key);
            // Time alone ends these; nobody needs to look for that.
            let is_over = matches!(why, Closed::NotExpected | Closed::Expired | Closed::OutOfScope);
            prop_assert!(!unseen || is_over, "`{key}` closed as {why:?}, and nobody saw it");
        }
    }

    #[test]
    fn what_is_judged_again_is_as_if_all_were(world in world::any(), later in 0i64..500_000, news in vec((any::<u16>(), any::<bool>()), 0..6)) {
        let (open, records) = (world.open_gaps(), world.records());
        let (spec, now) = (world.spec(), at(NOW + later));
        let expected = coverage::expand(&spec, &world.tables(), at(NOW)).expect("a world without mistakes");
        let mut inventory = world.observe(&expected, &spec);
        let accepted = world.accepted();
        let key_of = |item| {
            let mut key = String::new();
            expected.key(item, &mut key);
            key
        };
        let evidence = coverage::Evidence { spec: &spec, expected: &expected, inventory: &inventory, records: &records, open: &open, accepted: Some(&accepted) };
        let mut coverage = Coverage::of(&evidence, at(NOW)).expect("no rule without an answer");
        let mut still_open = open.clone();
        let first = coverage::gaps(&evidence, &coverage, at(NOW));
        first.apply_to(&mut still_open);
        let mut records = records.clone();
        remember_episodes(&first, &mut records);
        // Somebody saw some objects come and go, and time has passed.
        let mut touched = Vec::new();
        for (which, is_there) in news.iter().filter(|_| !expected.is_empty()) {
            let item = coverage::ItemIx(u32::from(*which) % expected.len() as u32);
            let object = Object { key: key_of(item), size: 5, last_modified: now, etag: "seen".into() };
            inventory.saw(item, is_there.then_some(&object));
            touched.push(item);
        }
        touched.extend(coverage.changed_by_time(now));
        let evidence = coverage::Evidence { spec: &spec, expected: &expected, inventory: &inventory, records: &records, open: &still_open, accepted: Some(&accepted) };
        let whole = Coverage::of(&evidence, now).expect("no rule without an answer");
        let all = coverage::gaps(&evidence, &whole, now);
        let touched = expected.with_dependents(touched);
        let of_these: HashMap<ItemId, Gap> = touched.iter().filter_map(|item| still_open.get_key_value(&expected.id(*item))).map(|(id, gap)| (*id, gap.clone())).collect();
        let alone = coverage::Evidence { open: &of_these, ..evidence };
        let diff = coverage.judge_again(&alone, &touched, now).expect("no rule without an answer");
        let unseen = |item| inventory.sight(item) == coverage::Sight::NotSeen;
        let mut counts = BTreeMap::new();
        for item in expected.items() {
            let state = coverage.state(item);
            *counts.entry((expected.dataset_of(item), format!("{state:?}"))).or_insert(0u64) += 1;
            prop_assert!(unseen(item) || state == whole.state(item), "`{}` is {:?}, not {:?}", key_of(item), state, whole.state(item));
        }
        for (at, (dataset, of_whole)) in coverage.datasets.iter().zip(&whole.datasets).enumerate() {
            let of = |state: &str| counts.get(&(at, state.to_owned())).copied().unwrap_or(0);
            prop_assert_eq!(
                (dataset.counts.present, dataset.counts.missing, dataset.counts.stale, dataset.counts.undersized, dataset.counts.suspect),
                (of("Present"), of("Missing"), of("Stale"), of("Undersized"), of("Suspect"))
            );
            prop_assert_eq!(
                (dataset.counts.absent, dataset.counts.not_due, dataset.counts.unknown),
                (of("Absent"), of("NotDue"), of("Unknown"))
            );
            prop_assert_eq!(dataset.next_due, of_whole.next_due);
        }
        let seen = |id: &ItemId| expected.items().any(|item| expected.id(item) == *id && !unseen(item));
        let told = |diff: &coverage::GapDiff| -> HashSet<ItemId> { diff.opened.iter().map(Gap::item).filter(seen).collect() };
        prop_assert_eq!(told(&diff), told(&all));
        let closed = |diff: &coverage::GapDiff| -> HashMap<ItemId, Closed> { diff.closed.iter().map(|(gap, why)| (gap.item, *why)).filter(|(id, _)| seen(id)).collect() };
        prop_assert_eq!(closed(&diff), closed(&all));
        prop_assert!(whole.changes_at().is_none_or(|at| coverage.changes_at().is_some_and(|first| first <= at)));
    }

    #[test]
    fn a_difference_is_taken_once(world in world::any()) {
        let (mut open, mut records) = (world.open_gaps(), world.records());
        let first = judge(&world, &open, &records, NOW);
        first.diff.apply_to(&mut open);
        remember_episodes(&first.diff, &mut records);
        let second = judge(&world, &open, &records, NOW);
        prop_assert!(second.diff.is_empty(), "{:?}", second.diff);
        prop_assert_eq!(second.diff.unchanged as usize, open.len());
        // A gap that opened under a listing that failed leaves its neighbours unknown.
        let settled = |states: &BTreeMap<String, ItemState>| -> BTreeMap<String, ItemState> {
            let unseen = |key: &str| world.listing_failed(key) && !world.was_shown(key);
            let present_or_unknown = |state: ItemState| if state == ItemState::Present { ItemState::Unknown } else { state };
            states.iter().map(|(key, state)| (key.clone(), if unseen(key) { present_or_unknown(*state) } else { *state })).collect()
        };
        prop_assert_eq!(settled(&first.states), settled(&second.states));
    }

    #[test]
    fn identity_holds_over_any_sequence_of_pictures(worlds in world::sequence()) {
        let (mut open, mut records) = (HashMap::<ItemId, Gap>::new(), HashMap::<ItemId, ItemRecord>::new());
        let mut used = HashMap::<ItemId, u32>::new();
        for (step, world) in worlds.iter().enumerate() {
            let now = NOW + step as i64 * 3_600;
            let before = open.clone();
            let judged = judge(world, &before, &records, now);
            judged.diff.apply_to(&mut open);
            remember_episodes(&judged.diff, &mut records);
            let mut touched = HashSet::new();
            for gap in &judged.diff.opened {
                prop_assert!(touched.insert(gap.id.item));
                prop_assert!(!before.contains_key(&gap.id.item), "opened twice");
                prop_assert_eq!(gap.id.episode, used.get(&gap.id.item).copied().unwrap_or(0) + 1);
                prop_assert_eq!(gap.detected_at, at(now));
                prop_assert_eq!(&gap.progress, &Progress::default());
                used.insert(gap.id.item, gap.id.episode);
            }
            for gap in &judged.diff.changed {
                prop_assert!(touched.insert(gap.id.item));
                let known = &before[&gap.id.item];
                prop_assert_eq!((gap.id, gap.detected_at), (known.id, known.detected_at));
                let kept = known.fingerprint == gap.fingerprint;
                let expected = if kept { known.progress.clone() } else { Progress::default() };
                prop_assert_eq!(&gap.progress, &expected);
            }
            for (gap, _) in &judged.diff.closed {
                prop_assert!(touched.insert(gap.item));
                prop_assert_eq!(before[&gap.item].id, *gap);
            }
            let gaps_now: HashSet<_> = judged.states.iter().filter(|(_, state)| coverage::reason_of(**state).is_some()).map(|(key, _)| key).collect();
            prop_assert_eq!(open.values().map(|gap| &gap.key).collect::<HashSet<_>>(), gaps_now);
            // Something was tried for each: it must live exactly as long as the episode and the fingerprint.
            for gap in open.values_mut() {
                gap.progress.attempts += 1;
            }
        }
    }

    #[test]
    fn an_unchanged_world_is_no_surprise(world in world::any()) {
        let judged = judge(&world, &HashMap::new(), &HashMap::new(), NOW);
        let policy = adce_core::spec::Surprise::default();
        let again = Picture { opened: 0, ..judged.picture.clone() };
        let found = coverage::surprises(Some(&judged.picture), &again, &policy);
        prop_assert_eq!(&found, &[]);
        prop_assert_eq!(coverage::judge(None, &again, &found, &policy, std::time::Duration::from_secs(900)), Verdict::Accept);
    }
}

fn remember_episodes(diff: &coverage::GapDiff, records: &mut HashMap<ItemId, ItemRecord>) {
    for gap in &diff.opened {
        records.entry(gap.id.item).or_default().episodes = gap.id.episode;
    }
}
