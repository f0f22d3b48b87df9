//! Whatever a lake says by listings, reports and events, in whatever order, and however much of it is lost, doubled or damaged: after one
//! full look coverage is what a naive reading of the lake says, and before that nothing is missing that was there all along.
//!
//! A real engine over a bucket in memory that answers when the test says so, page by page and question by question, so a change of the
//! bucket falls between any two of them. What is judged here by eight lines of `World::truth`, the engine judges by listings that
//! were resumed, reports with objects of others laid over them, answers that came late, and timers.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use adce_core::events::{Event, What};
use adce_core::gap::{ItemState, Reason};
use adce_core::object::{Object, Precondition};
use adce_core::ports::{Clock, Lake, LakeError, PublishError, Report};
use adce_core::report::{Damaged, Newest, ReportHead, ReportRow, Reports, Rows};
use adce_core::time::{SignedDuration, Timestamp};
use adce_engine::{CoverageView, Handle, Interrupt, Phase, Query, StatusView};
use async_trait::async_trait;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;
use support::{HandClock, Place, Running};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Of each dataset; the first one's object was there before anything began, and nobody ever touches it.
const ITEMS: usize = 4;
const RECONCILE_EVERY: Duration = Duration::from_secs(10 * 86_400);
const FRESH: SignedDuration = SignedDuration::from_mins(90);
/// When the games of the table fall due, from the beginning.
const DUE_IN_MINUTES: [i64; ITEMS] = [-3_000, -30, 40, 200];

const CONFIG: &str = r#"  slot: [s0, s1, s2, s3]
  game:
    table: games.csv
    id: game
    columns:
      tip: { from: tip, time: "%Y-%m-%dT%H:%M:%SZ", zone: UTC }
engine: { reconcile_every: 10d }
datasets:
  plain:
    key: plain/{slot}
    for: slot
  moved:
    key: new/{slot}
    for: slot
    also: ["older/{slot}", "oldest/{slot}"]
  timed:
    key: timed/{game}
    for: game
    due: tip
    fresh: { within: 90m }
"#;

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody puts an object in one of the item's places, or takes it away.
    Change(Item, Change, Telling),
    /// An event that is not true, or not any more.
    Lie(Item, bool),
    /// One of those that were held up comes now.
    Late(Index),
    Stranger,
    Look,
    Page(Index, usize),
    FailListing(Index),
    /// The question has reached the bucket.
    Reach(Index),
    /// And its answer has come back.
    Answer(Index),
    Refuse(Index),
    /// The bucket answers all that it was asked.
    Rest,
    Report(Quality),
    Pass(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    dataset: usize,
    number: usize,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Put { place: usize, size: u64 },
    Remove { place: usize },
}

#[derive(Clone, Copy, Debug)]
enum Telling {
    Lost,
    Once,
    Twice,
    Late,
}

#[derive(Clone, Copy, Debug)]
enum Quality {
    Whole,
    /// It breaks off after half of its rows.
    Damaged,
    /// Its configuration leaves out all but these.
    Of(&'static str),
    /// Keys and sizes alone.
    Terse,
}

fn item() -> impl Strategy<Value = Item> {
    (0usize..3, 1..ITEMS).prop_map(|(dataset, number)| Item { dataset, number })
}

fn change() -> impl Strategy<Value = Change> {
    // Nobody looks at the places that only `moved` has more often than at the others.
    let place = prop_oneof![2 => Just(0usize), 1 => 1usize..3];
    let size = prop_oneof![6 => Just(7u64), 1 => Just(0)];
    prop_oneof![
        3 => (place.clone(), size).prop_map(|(place, size)| Change::Put { place, size }),
        2 => place.prop_map(|place| Change::Remove { place }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let telling = prop_oneof![
        2 => Just(Telling::Lost),
        3 => Just(Telling::Once),
        1 => Just(Telling::Twice),
        1 => Just(Telling::Late),
    ];
    let quality = prop_oneof![
        3 => Just(Quality::Whole),
        1 => Just(Quality::Damaged),
        1 => Just(Quality::Of("plain/")),
        1 => Just(Quality::Terse),
    ];
    prop_oneof![
        8 => (item(), change(), telling).prop_map(|(item, change, telling)| Change(item, change, telling)),
        2 => (item(), any::<bool>()).prop_map(|(item, came)| Lie(item, came)),
        1 => any::<Index>().prop_map(Late),
        1 => Just(Stranger),
        3 => Just(Look),
        6 => (any::<Index>(), 1usize..4).prop_map(|(which, objects)| Page(which, objects)),
        1 => any::<Index>().prop_map(FailListing),
        4 => any::<Index>().prop_map(Reach),
        6 => any::<Index>().prop_map(Answer),
        1 => any::<Index>().prop_map(Refuse),
        3 => Just(Rest),
        2 => quality.prop_map(Report),
        2 => (1i64..120).prop_map(Pass),
    ]
}

// --------------------------------------------------------------------------------------------------------------- bucket

/// The bucket, and the questions that it has not answered yet.
#[derive(Clone)]
struct Bucket(Arc<Mutex<Inside>>);

struct Inside {
    clock: Arc<HandClock>,
    objects: BTreeMap<String, Object>,
    listings: Vec<Listing>,
    heads: Vec<Head>,
    reports: Vec<Stored>,
    versions: u64,
}

struct Listing {
    prefix: String,
    behind: Option<String>,
    pages: mpsc::UnboundedSender<Page>,
}

enum Page {
    Some(Vec<Object>),
    End,
    Fail,
}

struct Head {
    key: String,
    /// Once the question has reached the bucket.
    seen: Option<Option<Object>>,
    reply: oneshot::Sender<Result<Option<Object>, LakeError>>,
}

#[derive(Clone)]
struct Stored {
    head: ReportHead,
    objects: Vec<Object>,
    quality: Quality,
}

fn unavailable(what: &str) -> LakeError {
    LakeError::Unavailable { what: what.to_owned(), detail: "scripted".into() }
}

impl Bucket {
    fn new(clock: Arc<HandClock>) -> Self {
        let (objects, listings, heads, reports) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        Bucket(Arc::new(Mutex::new(Inside { clock, objects, listings, heads, reports, versions: 0 })))
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    fn waits(&self) -> bool {
        let inside = self.lock();
        !inside.listings.is_empty() || !inside.heads.is_empty()
    }
}

impl Inside {
    fn put(&mut self, key: &str, size: u64) {
        self.versions += 1;
        let object = Object { key: key.to_owned(), size, last_modified: self.clock.now().wall, etag: format!("version-{}", self.versions) };
        self.objects.insert(key.to_owned(), object);
    }

    fn page(&mut self, which: usize, objects: usize) {
        let listing = &mut self.listings[which];
        let from = listing.behind.clone().map_or(Bound::Included(listing.prefix.clone()), Bound::Excluded);
        let under = self.objects.range((from, Bound::Unbounded)).map(|(_, object)| object);
        let page: Vec<Object> = under.take_while(|object| object.key.starts_with(&listing.prefix)).take(objects).cloned().collect();
        let is_last = page.len() < objects;
        listing.behind = page.last().map(|object| object.key.clone()).or(listing.behind.take());
        let _ = listing.pages.send(Page::Some(page));
        if is_last {
            let _ = self.listings.remove(which).pages.send(Page::End);
        }
    }

    fn reach(&mut self, which: usize) {
        let head = &mut self.heads[which];
        head.seen.get_or_insert_with(|| self.objects.get(&head.key).cloned());
    }

    fn answer(&mut self, which: usize) {
        self.reach(which);
        let head = self.heads.remove(which);
        let _ = head.reply.send(Ok(head.seen.expect("it has reached the bucket")));
    }

    fn report(&mut self, quality: Quality) {
        let tells = !matches!(quality, Quality::Terse);
        let only = if let Quality::Of(prefix) = quality { prefix } else { "" };
        let objects: Vec<Object> = self.objects.values().filter(|object| object.key.starts_with(only)).cloned().collect();
        let head = ReportHead {
            name: format!("{:04}", self.reports.len()),
            created: self.clock.now().wall,
            format: "CSV",
            files: 1,
            bytes: 1,
            tells_modified: tells,
            tells_etag: tells,
        };
        self.reports.push(Stored { head, objects, quality });
    }
}

#[async_trait]
impl Lake for Bucket {
    fn identity(&self) -> String {
        "s3://scripted".into()
    }

    async fn list(&self, prefix: &str, found: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError> {
        let (pages, mut coming) = mpsc::unbounded_channel();
        self.lock().listings.push(Listing { prefix: prefix.to_owned(), behind: None, pages });
        while let Some(page) = coming.recv().await {
            match page {
                Page::Some(objects) => objects.into_iter().for_each(&mut *found),
                Page::End => return Ok(()),
                Page::Fail => break,
            }
        }
        Err(unavailable("list"))
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, LakeError> {
        let (reply, answer) = oneshot::channel();
        self.lock().heads.push(Head { key: key.to_owned(), seen: None, reply });
        answer.await.unwrap_or_else(|_| Err(unavailable("head")))
    }

    async fn download(&self, _key: &str, _to: &Path) -> Result<Object, LakeError> {
        Err(unavailable("download"))
    }

    async fn publish(&self, _file: &Path, _key: &str, _only_if: &Precondition) -> Result<Object, PublishError> {
        Err(unavailable("publish").into())
    }

    async fn remove(&self, _key: &str, _etag: &str) -> Result<(), LakeError> {
        Err(unavailable("remove"))
    }

    async fn sweep(&self) -> Result<u64, LakeError> {
        Ok(0)
    }
}

#[async_trait]
impl Reports for Bucket {
    async fn newest(&self, _bucket: &str, but: &[String], _now: Timestamp) -> Result<Newest, LakeError> {
        let inside = self.lock();
        let newest = inside.reports.iter().rev().find(|report| !but.contains(&report.head.name));
        Ok(Newest { report: newest.map(|report| Arc::new(report.clone()) as _), refused: Vec::new() })
    }
}

impl adce_core::report::Report for Stored {
    fn head(&self) -> &ReportHead {
        &self.head
    }

    fn read(&self, rows: Rows<'_>) -> Result<(), Damaged> {
        let tells = self.head.tells_etag;
        let rows_of = self.objects.iter().map(|object| ReportRow {
            key: object.key.as_str(),
            size: object.size,
            modified_micros: Some(object.last_modified.as_microsecond()).filter(|_| tells),
            etag: Some(object.etag.as_str()).filter(|_| tells),
        });
        let told: Vec<ReportRow<'_>> = rows_of.collect();
        if let Quality::Damaged = self.quality {
            rows(&told[..told.len() / 2]);
            return Err(Damaged { file: "rows.csv".into(), what: "breaks off".into() });
        }
        rows(&told);
        Ok(())
    }
}

// ---------------------------------------------------------------------------------------------------------------- world

struct World {
    place: Place,
    bucket: Bucket,
    running: Running,
    began: Timestamp,
    late: Vec<Event>,
    /// By item: how often something of it has changed.
    changes: BTreeMap<Item, u64>,
    /// Events under way, with the number of changes by then; and what the engine has taken in since the last change.
    told: Vec<(Item, Option<u64>, JoinHandle<Result<(), String>>)>,
    sure: BTreeSet<Item>,
}

impl Item {
    fn all() -> impl Iterator<Item = Item> {
        (0..3).flat_map(|dataset| (0..ITEMS).map(move |number| Item { dataset, number }))
    }

    /// What comes first counts.
    fn places(self) -> Vec<String> {
        let number = self.number;
        match self.dataset {
            0 => vec![format!("plain/s{number}")],
            1 => vec![format!("new/s{number}"), format!("older/s{number}"), format!("oldest/s{number}")],
            _ => vec![format!("timed/g{number}")],
        }
    }

    fn place(self, place: usize) -> String {
        let places = self.places();
        places[place.min(places.len() - 1)].clone()
    }
}

impl World {
    async fn new(objects: &[(Item, Change)]) -> World {
        let began = Timestamp::now();
        let mut games = String::from("game,tip\n");
        for (number, due) in DUE_IN_MINUTES.iter().enumerate() {
            let tip = began + SignedDuration::from_mins(*due);
            games += &format!("g{number},{}\n", tip.strftime("%Y-%m-%dT%H:%M:%SZ"));
        }
        let mut place = Place::of("s3://scripted", &[("games.csv", &games)], CONFIG);
        let bucket = Bucket::new(place.clock.clone());
        place.stays = true;
        place.reports = Some(Arc::new(bucket.clone()));
        for dataset in 0..3 {
            bucket.lock().put(&Item { dataset, number: 0 }.place(0), 7);
        }
        let running = place.run_over(Arc::new(bucket.clone()), async |_| Report::default()).await;
        let changes = Item::all().map(|item| (item, 0)).collect();
        let mut world = World { place, bucket, running, began, late: Vec::new(), changes, told: Vec::new(), sure: BTreeSet::new() };
        objects.iter().for_each(|(item, change)| world.change(*item, *change, Telling::Lost));
        world.quiet().await;
        world
    }

    fn handle(&self) -> &Handle {
        &self.running.handle
    }

    async fn status(&self) -> StatusView {
        self.handle().ask(Query::Status).await.expect("an engine")
    }

    async fn coverage(&self) -> CoverageView {
        self.handle().ask(Query::Coverage).await.expect("an engine")
    }

    fn now(&self) -> Timestamp {
        self.place.clock.now().wall
    }

    /// Nothing goes on but what waits for an answer of the bucket.
    async fn quiet(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut calm = 0;
        while calm < 8 {
            assert!(Instant::now() < deadline, "the engine does not come to rest");
            tokio::task::yield_now().await;
            let waits = self.bucket.waits();
            calm = if self.status().await.snapshot.phase != Phase::Observing || waits { calm + 1 } else { 0 };
        }
    }

    fn tell(&mut self, item: Item, event: Event) {
        let told = self.is_worth_a_question(&event).then_some(self.changes[&item]);
        let handle = self.handle().clone();
        let telling = tokio::spawn(async move { handle.heard("events", vec![event]).await });
        self.told.push((item, told, telling));
    }

    /// One that tells of just the object that was seen before is not asked about, also if it is gone by now.
    fn is_worth_a_question(&self, event: &Event) -> bool {
        let What::Came { etag: Some(etag), .. } = &event.what else { return true };
        self.bucket.lock().objects.get(&event.key).is_some_and(|object| object.etag == *etag)
    }

    fn change(&mut self, item: Item, change: Change, telling: Telling) {
        let (key, came) = match change {
            Change::Put { place, size } => {
                let key = item.place(place);
                self.bucket.lock().put(&key, size);
                (key, true)
            }
            Change::Remove { place } => {
                let key = item.place(place);
                self.bucket.lock().objects.remove(&key);
                (key, false)
            }
        };
        *self.changes.get_mut(&item).unwrap() += 1;
        self.sure.remove(&item);
        let event = self.event(&key, came);
        match telling {
            Telling::Lost => {}
            Telling::Once => self.tell(item, event),
            Telling::Twice => {
                self.tell(item, event.clone());
                self.tell(item, event);
            }
            Telling::Late => self.late.push(event),
        }
    }

    fn event(&self, key: &str, came: bool) -> Event {
        let object = self.bucket.lock().objects.get(key).cloned();
        let came_as =
            || What::Came { size: object.as_ref().map(|object| object.size), etag: object.as_ref().map(|object| object.etag.clone()) };
        let what = if came { came_as() } else { What::Went };
        Event { bucket: None, key: key.to_owned(), what, at: Some(self.now()) }
    }

    async fn step(&mut self, step: &Step) {
        // No two things happen at once.
        self.place.clock.advance(Duration::from_millis(1));
        let (listings, heads) = {
            let inside = self.bucket.lock();
            (inside.listings.len(), inside.heads.len())
        };
        match step {
            Step::Change(item, change, telling) => self.change(*item, *change, *telling),
            Step::Lie(item, came) => {
                let event = self.event(&item.place(0), *came);
                self.tell(*item, event);
            }
            Step::Late(_) if self.late.is_empty() => {}
            Step::Late(which) => {
                let event = self.late.remove(which.index(self.late.len()));
                let item = Item::all().find(|item| item.places().contains(&event.key)).unwrap();
                self.tell(item, event);
            }
            Step::Stranger => self.bucket.lock().put("plain/of nobody", 7),
            Step::Look => self.handle().look_again(),
            Step::Page(which, objects) if listings > 0 => self.bucket.lock().page(which.index(listings), *objects),
            Step::FailListing(which) if listings > 0 && self.may_fail() => {
                let failed = self.bucket.lock().listings.remove(which.index(listings));
                let _ = failed.pages.send(Page::Fail);
            }
            Step::Reach(which) if heads > 0 => self.bucket.lock().reach(which.index(heads)),
            Step::Answer(which) if heads > 0 => self.bucket.lock().answer(which.index(heads)),
            Step::Refuse(which) if heads > 0 => {
                let refused = self.bucket.lock().heads.remove(which.index(heads));
                let _ = refused.reply.send(Err(unavailable("head")));
            }
            Step::Page(..) | Step::FailListing(_) | Step::Reach(_) | Step::Answer(_) | Step::Refuse(_) => {}
            Step::Rest => self.answer_all().await,
            Step::Report(quality) => self.bucket.lock().report(*quality),
            Step::Pass(minutes) => self.place.clock.advance(Duration::from_secs(60 * *minutes as u64)),
        }
        self.quiet().await;
        self.hear_what_was_taken_in().await;
    }

    /// A first look that sees nothing ends the engine, and that is not what is asked here: the last listing of it may not fail.
    fn may_fail(&self) -> bool {
        self.bucket.lock().listings.len() > 1
    }

    async fn hear_what_was_taken_in(&mut self) {
        let mut under_way = Vec::new();
        for (item, changes, telling) in std::mem::take(&mut self.told) {
            if !telling.is_finished() {
                under_way.push((item, changes, telling));
            } else if telling.await.unwrap().is_ok() && Some(self.changes[&item]) == changes {
                self.sure.insert(item);
            }
        }
        self.told = under_way;
    }

    /// What the lake says of an item to somebody who sees all of it.
    fn truth(&self, item: Item) -> ItemState {
        let now = self.now();
        let due = self.began + SignedDuration::from_mins(DUE_IN_MINUTES[item.number]);
        let is_timed = item.dataset == 2;
        let inside = self.bucket.lock();
        let object = item.places().iter().find_map(|place| inside.objects.get(place).cloned());
        match object {
            _ if is_timed && now.as_second() < due.as_second() => ItemState::NotDue,
            None => ItemState::Missing,
            Some(object) if object.size == 0 => ItemState::Undersized,
            Some(object) if is_timed && now.duration_since(object.last_modified) > FRESH => ItemState::Stale,
            Some(_) => ItemState::Present,
        }
    }

    async fn states(&self) -> BTreeMap<Item, ItemState> {
        let CoverageView { expected, coverage, .. } = self.coverage().await;
        let Some(coverage) = coverage else { return BTreeMap::new() };
        let state = |item: Item| Some((item, coverage.state(expected.find(&item.place(0))?)));
        Item::all().filter_map(state).collect()
    }

    async fn missing(&self) -> BTreeSet<String> {
        let gaps = self.handle().ask(Query::Gaps).await.expect("an engine");
        gaps.into_iter().filter(|view| view.gap.reason == Reason::Missing).map(|view| view.gap.key).collect()
    }

    /// What may never be, whatever was told and asked so far.
    async fn invents_nothing(&self, after: &Step) {
        let (states, missing) = (self.states().await, self.missing().await);
        for item in Item::all() {
            let (truth, is_missing) = (self.truth(item), missing.contains(&item.place(0)));
            let state = states.get(&item).copied().unwrap_or(ItemState::Unknown);
            if item.number == 0 {
                assert!(!is_missing && state != ItemState::Missing, "{item:?} was there all along, and is {state:?} after {after:?}");
            }
            if self.sure.contains(&item) {
                assert!(
                    state == truth || state == ItemState::Unknown,
                    "{item:?} was told to be {truth:?}, and is {state:?} after {after:?}"
                );
                assert!(truth == ItemState::Missing || !is_missing, "{item:?} is {truth:?}, and its gap is open after {after:?}");
            }
        }
    }

    /// Answers all that waits, one after the other.
    async fn answer_all(&mut self) {
        while self.bucket.waits() {
            {
                let mut inside = self.bucket.lock();
                while !inside.heads.is_empty() {
                    inside.answer(0);
                }
                if !inside.listings.is_empty() {
                    inside.page(0, 2);
                }
            }
            self.quiet().await;
        }
        self.hear_what_was_taken_in().await;
    }

    async fn is_as_by_brute_force(&self, when: &str) {
        let states = self.states().await;
        let truth: BTreeMap<Item, ItemState> = Item::all().map(|item| (item, self.truth(item))).collect();
        assert_eq!(states, truth, "{when}");
        let missing = truth.iter().filter(|(_, state)| **state == ItemState::Missing).map(|(item, _)| item.place(0));
        assert_eq!(self.missing().await, missing.collect(), "{when}");
    }
}

/// All of one case.
#[derive(Clone, Debug)]
struct Story {
    before: Vec<(Item, Change)>,
    /// The first look is over before anything else happens.
    looked: bool,
    steps: Vec<Step>,
    /// Told when the last look has not begun, answered when it has.
    last_words: Vec<(Item, bool)>,
    last_changes: Vec<(Item, Change)>,
    last_report: Option<Quality>,
    /// After it nothing happens but that time passes, so many minutes at a time.
    spans: Vec<i64>,
}

fn story() -> impl Strategy<Value = Story> {
    let quality = prop_oneof![Just(Quality::Whole), Just(Quality::Damaged), Just(Quality::Of("plain/")), Just(Quality::Terse)];
    let parts = (
        vec((item(), change()), 0..6),
        prop::bool::weighted(0.8),
        vec(step(), 0..60),
        vec((item(), any::<bool>()), 0..4),
        vec((item(), change()), 0..4),
        proptest::option::of(quality),
        vec(1i64..150, 0..4),
    );
    parts.prop_map(|(before, looked, steps, last_words, last_changes, last_report, spans)| Story {
        before,
        looked,
        steps,
        last_words,
        last_changes,
        last_report,
        spans,
    })
}

async fn play(story: Story) {
    let mut world = World::new(&story.before).await;
    if story.looked {
        world.answer_all().await;
    }
    for step in &story.steps {
        world.step(step).await;
        world.invents_nothing(step).await;
    }
    world.answer_all().await;
    for (item, came) in &story.last_words {
        world.step(&Step::Lie(*item, *came)).await;
    }
    {
        let mut inside = world.bucket.lock();
        (0..inside.heads.len()).for_each(|head| inside.reach(head));
    }
    story.last_changes.iter().for_each(|(item, change)| world.change(*item, *change, Telling::Lost));
    let looked = world.status().await.cycle.began;
    world.place.clock.advance(RECONCILE_EVERY);
    if let Some(quality) = story.last_report {
        world.bucket.lock().report(quality);
    }
    world.quiet().await;
    world.answer_all().await;
    assert_ne!(world.status().await.cycle.began, looked, "it has looked once more");
    world.is_as_by_brute_force("after one full look").await;
    for minutes in story.spans {
        world.place.clock.advance(Duration::from_secs(60 * minutes as u64));
        world.quiet().await;
        world.is_as_by_brute_force("after nothing but time").await;
    }
    world.running.handle.interrupt(Interrupt::Drain);
    world.bucket.lock().listings.clear();
    world.bucket.lock().heads.clear();
    world.running.end().await.unwrap();
}

proptest! {
    #![proptest_config(Config { cases: 96, max_shrink_iters: 3_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_was_heard_in_whatever_order_one_full_look_ends_in_the_truth_and_nothing_is_invented_before(story in story()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(story));
    }
}
