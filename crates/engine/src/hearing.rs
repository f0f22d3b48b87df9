//! What event feeds tell: that an object has come, gone or changed. The lake is asked for it as it is now, and its item judged.
//!
//! Without it the engine learns of what others do in the lake at the next full look only. That a feed told something is no
//! knowledge: what the lake answers is. So duplicates, late events and events in another order do no harm. It is asked for all places of
//! the item (`also`), one after the other: which of its objects counts, a look would see only then.
//!
//! Always true: what an attempt saw while the lake was being asked outranks the answer
//! (`an_answer_that_an_attempt_overtook_is_dropped`), and so does the answer to a later question; in whatever order all this comes, the
//! next full look ends in the truth (`tests/any_order.rs`); whoever is told that an event was taken in loses nothing by forgetting it,
//! for what follows from it is on disk; objects that vanish in great number are no gaps before a full look has shown the same
//! (`a_lake_that_empties_is_a_surprise_and_no_thousand_gaps`).

use std::collections::HashMap;
use std::sync::Arc;

use adce_core::coverage::{ItemIx, Seen, Sight};
use adce_core::events::Event;
use adce_core::gap::GapState;
use adce_core::object::Object;
use adce_core::ports::{Lake, LakeError};
use adce_core::sets::SetRule;
use adce_core::spec::Surprise;
use adce_core::time::{Boottime, Now, Timestamp};
use futures::StreamExt;
use indexmap::IndexMap;
use tokio::sync::{Semaphore, oneshot};

use crate::engine::Engine;
use crate::inbox::Message;
use crate::sets;
use crate::snapshot::{FeedLine, FeedState};

/// Questions to the lake that are under way at once, for all feeds together.
const LOOKS_AT_ONCE: usize = 32;

/// A look that somebody asked for waits until the one before is so many times its length ago: a feed that misses something all the
/// time, or objects with rows that land one after the other, must not make the lake be listed all the time.
const LOOKING_SHARE: u32 = 20;

/// One feed's message.
pub(crate) struct Heard {
    pub feed: String,
    pub told: Vec<Event>,
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// What the lake said of an item, and who made that it was asked.
pub struct Answered {
    pub seen: Seen,
    pub feed: Arc<str>,
}

/// What the lake says of keys that a feed told of.
pub(crate) struct Sighted {
    feed: Arc<str>,
    seen: Vec<(String, Result<Option<Object>, LakeError>)>,
    /// What was known when it was asked.
    asked: Asked,
    reply: oneshot::Sender<Result<(), String>>,
}

/// When somebody asked the lake: after that full look began or was taken in, and before these objects were seen by others.
#[derive(Clone, Copy)]
struct Asked {
    look: u64,
    order: u64,
    at: Timestamp,
}

pub(crate) struct Hearing {
    pub feeds: IndexMap<String, FeedLine>,
    /// Event before the first look is in.
    early: Vec<Heard>,
    /// Full looks that have begun, and those that were taken in.
    looks: u64,
    asking: u64,
    /// In which order the lake was asked, and others saw an object meanwhile.
    order: u64,
    overtaken: HashMap<ItemIx, u64>,
    /// Of each dataset, since the last full look: objects that are gone.
    lost: Vec<u64>,
    /// What the lake has answered, by the keys of items, for as long as no listing or report in force is younger.
    pub answered: HashMap<String, Answered>,
    turns: Arc<Semaphore>,
    pub look_again: bool,
}

impl Default for Hearing {
    fn default() -> Self {
        Hearing {
            feeds: IndexMap::new(),
            early: Vec::new(),
            looks: 0,
            asking: 0,
            order: 0,
            overtaken: HashMap::new(),
            lost: Vec::new(),
            answered: HashMap::new(),
            turns: Arc::new(Semaphore::new(LOOKS_AT_ONCE)),
            look_again: false,
        }
    }
}

impl Hearing {
    /// An attempt saw the object: who is asking now, asked before.
    pub fn overtake(&mut self, item: ItemIx) {
        if self.asking > 0 {
            self.order += 1;
            self.overtaken.insert(item, self.order);
        }
    }

    fn is_overtaken(&self, item: ItemIx, asked: Asked) -> bool {
        self.overtaken.get(&item).is_some_and(|order| *order > asked.order)
    }

    /// Whatever the lake was asked before may be older than what this look will see.
    pub fn look_begins(&mut self) {
        self.looks += 1;
    }

    /// Counts a loss; `false`: it is one too many to be believed without a look at everything.
    fn may_lose(&mut self, dataset: usize, objects: u64, policy: &Surprise) -> bool {
        if self.lost.len() <= dataset {
            self.lost.resize(dataset + 1, 0);
        }
        let lost = self.lost[dataset] + 1;
        let is_sudden = lost >= policy.at_least && lost * 1_000 > objects * u64::from(policy.lost_permille);
        if !is_sudden {
            self.lost[dataset] = lost;
        }
        !is_sudden
    }

    fn line(&mut self, feed: &str) -> &mut FeedLine {
        self.feeds.entry(feed.to_owned()).or_insert_with(|| FeedLine { feed: feed.to_owned(), ..FeedLine::default() })
    }
}

impl Engine {
    pub(crate) fn feed_is(&mut self, feed: &str, state: FeedState) {
        self.cycle.hearing.line(feed).state = state;
    }

    pub(crate) fn heard(&mut self, heard: Heard, now: Now) {
        let line = self.cycle.hearing.line(&heard.feed);
        line.told += heard.told.len() as u64;
        let last = heard.told.iter().filter_map(|told| told.at).max();
        line.last_at = last.max(line.last_at);
        line.lag_seconds = last.map(|at| lag_seconds(at, now.wall)).or(line.lag_seconds);
        match self.cycle.inventory {
            None => self.cycle.hearing.early.push(heard),
            Some(_) => self.ask_about(heard, now),
        }
    }

    /// Once a full look is in.
    pub(crate) fn hear_what_came_early(&mut self, now: Now) {
        self.cycle.hearing.looks += 1;
        self.cycle.hearing.lost.clear();
        self.cycle.hearing.overtaken.clear();
        for heard in std::mem::take(&mut self.cycle.hearing.early) {
            self.ask_about(heard, now);
        }
    }

    fn ask_about(&mut self, Heard { feed, told, reply }: Heard, now: Now) {
        let mut items = Vec::new();
        for told in told {
            let expected = &self.cycle.expected;
            match expected.find_anywhere(&told.key) {
                // What one of a set's objects is says nothing of the whole.
                None => match expected.find_in_set(&told.key) {
                    Some((item, _)) => items.push(item),
                    None => self.cycle.hearing.line(&feed).unexpected += 1,
                },
                Some((item, spot)) if self.cycle.sight_at(item, spot).is_some_and(|sight| told.is_known(sight)) => {}
                Some((item, _)) => items.push(item),
            }
        }
        items.sort_unstable();
        items.dedup();
        self.ask(feed.into(), items, reply, now);
    }

    fn ask(&mut self, feed: Arc<str>, items: Vec<ItemIx>, reply: oneshot::Sender<Result<(), String>>, now: Now) {
        if items.is_empty() {
            let _ = reply.send(Ok(()));
            return;
        }
        let expected = &self.cycle.expected;
        let places: Vec<(Vec<String>, Option<SetRule>)> =
            items.into_iter().map(|item| (expected.places(item).collect(), expected.set_rule(item).cloned())).collect();
        let hearing = &mut self.cycle.hearing;
        hearing.asking += 1;
        hearing.order += 1;
        let asked = Asked { look: hearing.looks, order: hearing.order, at: now.wall };
        let (lake, turns, mail) = (self.ports.lake.clone(), hearing.turns.clone(), self.mail.clone());
        tokio::spawn(async move {
            let asked_of = places.into_iter().map(|(places, set)| first_of_all(lake.clone(), turns.clone(), places, set));
            let seen = futures::stream::iter(asked_of).buffer_unordered(LOOKS_AT_ONCE).collect().await;
            let _ = mail.send(Message::Sighted(Box::new(Sighted { feed, seen, asked, reply })));
        });
    }

    pub(crate) fn sighted(&mut self, Sighted { feed, seen, asked, reply }: Sighted, now: Now) {
        self.cycle.hearing.asking -= 1;
        if self.cycle.hearing.looks != asked.look {
            // A full look came between, and nobody knows which of the two is newer.
            let items = seen.into_iter().filter_map(|(key, _)| self.cycle.expected.find(&key));
            return self.ask(feed, items.collect(), reply, now);
        }
        let mut failed = None;
        for (key, seen) in seen {
            match seen {
                Ok(object) => self.see(&feed, key, object, asked),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        if self.cycle.hearing.asking == 0 {
            self.cycle.hearing.overtaken.clear();
        }
        self.judge_touched();
        let written = self.ledger.written();
        tokio::spawn(async move {
            let written = written.await.map_err(|error| error.to_string());
            let _ = reply.send(failed.map_or(written, Err));
        });
    }

    fn see(&mut self, feed: &Arc<str>, key: String, object: Option<Object>, asked: Asked) {
        let Some(item) = self.cycle.expected.find(&key).filter(|item| !self.cycle.hearing.is_overtaken(*item, asked)) else { return };
        let was_there = matches!(self.cycle.sight(item), Some(Sight::There(_)));
        if object.is_none() && was_there && !self.may_be_lost(item) {
            self.look_again();
            return;
        }
        // Who asked before this and hears of it later does not know better.
        self.cycle.hearing.overtaken.insert(item, asked.order);
        let seen = Seen { asked: asked.at, object: object.clone() };
        self.cycle.hearing.answered.insert(key.clone(), Answered { seen, feed: feed.clone() });
        self.cycle.learned(item, key, object);
    }

    fn may_be_lost(&mut self, item: ItemIx) -> bool {
        let dataset = self.cycle.expected.dataset_of(item);
        let objects = self.cycle.coverage.as_ref().map_or(0, |coverage| coverage.datasets[dataset].objects);
        self.cycle.hearing.may_lose(dataset, objects, &self.spec.engine.surprise)
    }

    /// As soon as may be: somebody knows that something escaped him.
    pub(crate) fn look_again(&mut self) {
        self.cycle.hearing.look_again = true;
        self.mail.call_loop();
    }

    pub(crate) fn next_cycle(&self) -> Boottime {
        let usual = self.cycle.began + self.spec.engine.reconcile_every;
        match self.cycle.hearing.look_again {
            true => usual.min(self.cycle.began + self.cycle.figures.took * LOOKING_SHARE),
            false => usual,
        }
    }

    /// Somebody works on the item, and will say what he did.
    pub(crate) fn is_being_collected(&self, item: ItemIx, now: Now) -> bool {
        let gap = self.latest_gap(self.cycle.expected.id(item));
        gap.is_some_and(|gap| self.dispatcher.gap_state(gap, now) == Some(GapState::Running))
    }
}

/// By the item's key: what lies at the first of its places at which something does. A set has one place.
async fn first_of_all(
    lake: Arc<dyn Lake>,
    turns: Arc<Semaphore>,
    mut places: Vec<String>,
    set: Option<SetRule>,
) -> (String, Result<Option<Object>, LakeError>) {
    // Nobody closes it.
    let _turn = turns.acquire().await;
    let mut seen = Ok(None);
    for place in &places {
        seen = sets::look(&*lake, place, set.as_ref()).await;
        if !matches!(seen, Ok(None)) {
            break;
        }
    }
    (places.swap_remove(0), seen)
}

/// From its hour to ours; clocks may differ.
fn lag_seconds(at: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(at).as_secs_f64().max(0.0)
}
