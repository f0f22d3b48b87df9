//! What holds a gap, a task or a dataset: pure questions to a dispatcher, whether an engine runs over it or not.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::mem::Discriminant;

use adce_core::coverage::{Completeness, Coverage, Due, Expected, Inputs, Inventory, ItemIx, KnownAbsent, Miss, Sight, misses};
use adce_core::gap::{Gap, GapState, ItemState, Task};
use adce_core::ids::{ItemId, TaskId};
use adce_core::ports::Progress;
use adce_core::queue::{Dispatcher, Gate, Score};
use adce_core::record::ItemRecord;
use adce_core::spec::expression::Expression;
use adce_core::spec::{Freshness, Spec};
use adce_core::time::{Now, SignedDuration, Timestamp};
use indexmap::IndexMap;

use crate::hearing::Answered;
use crate::reported::Reported;

/// A gap, and the first gate that holds it.
#[derive(Clone, Debug)]
pub struct GapView {
    pub gap: Gap,
    pub state: GapState,
    pub task: Option<TaskId>,
    pub gate: Option<Gate>,
    /// What holds it longer than `gate` does.
    pub behind: Option<Gate>,
    /// Not before, as far as that is known.
    pub next_try: Option<Timestamp>,
    /// An attempt may have changed its object, and nobody could look since.
    pub in_doubt: bool,
}

/// What is on record about items.
pub type Records = HashMap<ItemId, ItemRecord>;

#[derive(Clone, Debug)]
pub struct TaskView {
    pub task: Task,
    pub score: Score,
    pub gate: Option<Gate>,
    /// What holds it longer than `gate` does.
    pub behind: Option<Gate>,
    /// Not before, as far as that is known.
    pub next_try: Option<Timestamp>,
    /// Of a running one: how far it says it is.
    pub progress: Option<Progress>,
}

/// What holds a thing.
#[derive(Clone, Debug)]
pub enum Why {
    Gap(GapView),
    Task(TaskView),
    /// Expected and no gap: nothing holds it.
    NoGap {
        state: ItemState,
        key: String,
        /// A person said that it is absent.
        known: Option<KnownAbsent>,
        /// Of an item that is made from others: how those stand, dataset by dataset.
        inputs: Vec<(String, Inputs)>,
    },
    /// Kinds of gates that hold a dataset's gaps, each with one of them and how many gaps it holds, most first.
    Dataset {
        dataset: String,
        gates: Vec<(Gate, u64)>,
    },
    Unknown,
}

/// What is known of a key, whatever holds it.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The item whose key it is.
    pub item: Option<ItemView>,
    /// Nobody expects it: where it stops being like the keys of each dataset, the closest first.
    pub near: Vec<Miss>,
}

/// An expected item: when it is expected, what was seen of it, and what attempts left on record.
#[derive(Clone, Debug)]
pub struct ItemView {
    pub dataset: String,
    /// `game=401, quarter=q1`
    pub item: String,
    /// `None`: its rule has no answer.
    pub due: Option<Due>,
    pub fresh: Option<(SignedDuration, Option<Timestamp>)>,
    /// Instants at which it is asked for once more.
    pub fresh_at: Vec<Timestamp>,
    pub min_size: u64,
    /// `None`: nobody looked yet.
    pub sight: Option<Sight>,
    /// Of its part of the lake.
    pub listed: Completeness,
    /// That was no listing, but the store's own report.
    pub by_report: bool,
    /// Later than that: which feed told of it, and when the lake was asked.
    pub told: Option<(String, Timestamp)>,
    pub record: Option<ItemRecord>,
}

/// What an engine knows, or would know after its first look.
pub struct Known<'a> {
    pub spec: &'a Spec,
    /// What the last look saw, and attempts since.
    pub inventory: Option<&'a Inventory>,
    pub dispatcher: &'a Dispatcher,
    pub records: &'a Records,
    pub expected: &'a Expected,
    pub coverage: Option<&'a Coverage>,
    /// Gaps of a picture that is held as a surprise: nobody works on them, and they are gaps all the same.
    pub unbelieved: &'a [Gap],
    /// What the last look read instead of listing.
    pub reported: &'a Reported,
    /// What feeds told since, by the keys of items.
    pub answered: Option<&'a HashMap<String, Answered>>,
}

impl Known<'_> {
    /// All open gaps, in no particular order.
    pub fn gaps(&self, now: Now) -> impl Iterator<Item = GapView> {
        let believed = self.dispatcher.gaps().into_iter().map(move |gap| self.believed(gap, now));
        believed.chain(self.unbelieved.iter().map(|gap| self.unbelieved(gap)))
    }

    /// `what`: a task id, a dataset's name, or a key.
    pub fn why(&self, what: &str, now: Now) -> Why {
        let what = &*self.named(what);
        if let Some(task) = what.parse::<TaskId>().ok().and_then(|task| self.dispatcher.task(task)) {
            return Why::Task(task_view(self.dispatcher, task, now));
        }
        if self.expected.datasets().iter().any(|dataset| dataset.name() == what) {
            return Why::Dataset { dataset: what.to_owned(), gates: self.gates_of(what, now) };
        }
        if let Some(gap) = self.dispatcher.gaps().into_iter().find(|gap| gap.key == what) {
            return Why::Gap(self.believed(gap, now));
        }
        if let Some(gap) = self.unbelieved.iter().find(|gap| gap.key == what) {
            return Why::Gap(self.unbelieved(gap));
        }
        match self.expected.find(what) {
            Some(item) => {
                let seen = self.coverage.map_or(ItemState::Unknown, |coverage| coverage.state(item));
                let is_absent = || self.records.get(&self.expected.id(item)).is_some_and(|record| record.absent.is_some());
                // What the last look saw as a gap, and is none any more, an attempt has closed since.
                let state = match seen {
                    ItemState::Suspect | ItemState::Undersized | ItemState::Stale | ItemState::Missing if is_absent() => ItemState::Absent,
                    ItemState::Suspect | ItemState::Undersized | ItemState::Stale | ItemState::Missing => ItemState::Present,
                    state => state,
                };
                Why::NoGap { state, key: what.to_owned(), known: self.expected.known_absent(item).cloned(), inputs: self.inputs(item) }
            }
            None => Why::Unknown,
        }
    }

    /// What is known of a key. Of a task or a dataset, nothing.
    pub fn about(&self, key: &str, now: Now) -> About {
        let key = &*self.named(key);
        let is_dataset = || self.expected.datasets().iter().any(|dataset| dataset.name() == key);
        match self.expected.find(key) {
            Some(item) => About { item: self.item(item, now), near: Vec::new() },
            None if key.parse::<TaskId>().is_ok() || is_dataset() => About::default(),
            None => About { item: None, near: misses(self.expected, self.spec, key) },
        }
    }

    /// The key of the set that this object belongs to, or what was named.
    fn named<'a>(&self, what: &'a str) -> Cow<'a, str> {
        match self.expected.find(what).is_none().then(|| self.expected.find_in_set(what)).flatten() {
            None => Cow::Borrowed(what),
            Some((item, _)) => {
                let mut key = String::new();
                self.expected.key(item, &mut key);
                Cow::Owned(key)
            }
        }
    }

    fn item(&self, item: ItemIx, now: Now) -> Option<ItemView> {
        let at = self.expected.dataset_of(item);
        let dataset = self.spec.datasets.get(self.expected.datasets()[at].name())?;
        let scope = self.expected.scope(item, now.wall);
        let due = match &dataset.due {
            None => Some(Due::AtOnce),
            Some(rule) => rule.instant(&scope).ok().map(|due| due.map_or(Due::Unset, Due::At)),
        };
        let scope = scope.with_due(due.and_then(Due::instant));
        let instant = |rule: &Expression| rule.instant(&scope).ok().flatten();
        let (fresh, fresh_at) = match &dataset.fresh {
            None => (None, Vec::new()),
            Some(Freshness::Within { within, until }) => (Some((*within, until.as_ref().and_then(instant))), Vec::new()),
            Some(Freshness::At(rules)) => (None, rules.iter().filter_map(instant).collect()),
        };
        let listed = self.inventory.map_or(Completeness::Partial, |inventory| inventory.completeness(at));
        let began = match listed {
            Completeness::Full { began } => Some(began),
            Completeness::Partial => None,
        };
        let mut key = String::new();
        self.expected.key(item, &mut key);
        let told = self.answered.and_then(|answered| answered.get(&key));
        let told = told.filter(|told| began.is_none_or(|began| told.seen.outranks(began)));
        Some(ItemView {
            dataset: dataset.name.clone(),
            item: self.expected.describe(item),
            due,
            fresh,
            fresh_at,
            min_size: self.spec.least_bytes(dataset),
            sight: self.inventory.map(|inventory| inventory.sight(item)),
            listed,
            by_report: began.is_some() && self.reported.report.as_ref().map(|report| report.created) == began,
            told: told.map(|told| (told.feed.to_string(), told.seen.asked)),
            record: self.records.get(&self.expected.id(item)).cloned(),
        })
    }

    fn inputs(&self, item: ItemIx) -> Vec<(String, Inputs)> {
        let Some(coverage) = self.coverage else { return Vec::new() };
        let inputs = self.expected.inputs(item, &mut |input| (coverage.state(input), None));
        inputs.into_iter().map(|inputs| (self.expected.datasets()[inputs.dataset].name().to_owned(), inputs)).collect()
    }

    fn believed(&self, gap: Gap, now: Now) -> GapView {
        GapView {
            in_doubt: self.is_in_doubt(&gap),
            state: self.dispatcher.gap_state(gap.id, now).unwrap_or(GapState::Queued),
            task: self.dispatcher.task_of(gap.id),
            gate: self.dispatcher.why_gap(gap.id, now),
            behind: self.dispatcher.behind_gap(gap.id, now),
            next_try: self.dispatcher.next_try(gap.id, now),
            gap,
        }
    }

    fn unbelieved(&self, gap: &Gap) -> GapView {
        let gate = Some(Gate::Surprise { dataset: None });
        let in_doubt = self.is_in_doubt(gap);
        GapView { in_doubt, state: GapState::Held, task: None, gate, behind: None, next_try: None, gap: gap.clone() }
    }

    fn is_in_doubt(&self, gap: &Gap) -> bool {
        self.records.get(&gap.item()).is_some_and(ItemRecord::is_in_doubt)
    }

    fn gates_of(&self, dataset: &str, now: Now) -> Vec<(Gate, u64)> {
        let mut gates: IndexMap<Discriminant<Gate>, (Gate, u64)> = IndexMap::new();
        let believed = self.dispatcher.gaps().into_iter().filter(|gap| gap.dataset == dataset);
        let unbelieved = self.unbelieved.iter().filter(|gap| gap.dataset == dataset).map(|_| Gate::Surprise { dataset: None });
        let gate = |gap: Gap| self.dispatcher.behind_gap(gap.id, now).or_else(|| self.dispatcher.why_gap(gap.id, now));
        for gate in believed.filter_map(gate).chain(unbelieved) {
            gates.entry(std::mem::discriminant(&gate)).or_insert((gate, 0)).1 += 1;
        }
        let mut gates: Vec<(Gate, u64)> = gates.into_values().collect();
        gates.sort_by_key(|(_, gaps)| Reverse(*gaps));
        gates
    }
}

pub fn task_view(dispatcher: &Dispatcher, task: Task, now: Now) -> TaskView {
    let score = dispatcher.score(task.id, now).unwrap_or_default();
    let (gate, behind) = (dispatcher.why_task(task.id, now), dispatcher.behind_task(task.id, now));
    TaskView { score, gate, behind, next_try: dispatcher.next_try_of_task(task.id, now), task, progress: None }
}
