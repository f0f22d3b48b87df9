//! A small random world: a table of games, datasets over it, what lies in the lake, and what is on record.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use adce_core::coverage::{self, Expected, Inventory, Picture, Sketch, TableError, TableFile, TableFiles};
use adce_core::gap::{Gap, Progress, Reason};
use adce_core::ids::{GapId, ItemId};
use adce_core::object::Object;
use adce_core::record::{AbsentMark, ItemRecord};
use adce_core::spec::expression::{Expression, Role};
use adce_core::spec::names::{DimensionNames, Names};
use adce_core::spec::problem::Place;
use adce_core::spec::template::{Purpose, Template};
use adce_core::spec::{
    AbsentPolicy, ColumnRule, ColumnSource, Dataset, Dimension, DimensionKind, Duplicates, Engine, Freshness, LakeUrl, Limits, Needed,
    OlderPlace, Priority, PriorityLevel, Spec, StateUrl, Table, TimeFormat, Weighting,
};
use adce_core::time::{SignedDuration, Timestamp};
use indexmap::IndexMap;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;

/// Seconds of the world; its year 0 is some day in 2023.
pub const NOW: i64 = 1_000_000;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

#[derive(Clone, Debug)]
pub struct World {
    pub games: Vec<Game>,
    pub datasets: Vec<Plan>,
    /// What befell the items, in turn.
    pub fates: Vec<Fate>,
    /// Datasets whose listing breaks off after so many objects.
    pub broken: Vec<Option<usize>>,
    pub strangers: Vec<(u8, u8)>,
    /// When each dataset was last listed to its end.
    pub listed_at: Vec<Option<i64>>,
}

#[derive(Clone, Debug)]
pub struct Game {
    pub kind: u8,
    pub ends: Option<i64>,
}

/// One dataset.
#[derive(Clone, Debug)]
pub struct Plan {
    pub parts: u8,
    /// Its items are made from those of the first dataset of the same game (and part, if both have the same).
    pub needs_first: bool,
    /// Objects of an earlier layout count.
    pub also: bool,
    pub only_kind: Option<u8>,
    pub due_after: Option<i64>,
    pub within: Option<i64>,
    pub until_after: Option<i64>,
    /// Instead of `within`.
    pub fresh_at: Option<Vec<i64>>,
    pub since: Option<i64>,
    pub expires_after: Option<i64>,
    pub min_size: u64,
    pub high_below: Option<i64>,
    pub fingerprint: u64,
}

/// One item's past.
#[derive(Clone, Debug)]
pub struct Fate {
    pub object: Option<(u64, i64)>,
    /// At the item's older place.
    pub old: Option<(u64, i64)>,
    pub confirmed: Option<i64>,
    pub absent_until: Option<i64>,
    pub absent_fingerprint: u64,
    pub suspect: u8,
    pub open: Option<u8>,
    /// When its dataset was last listed to its end, it was expected and present.
    pub was_present: bool,
}

fn moment() -> impl Strategy<Value = i64> {
    // Near now, and right at it, or the interesting borders would hardly ever be met.
    prop_oneof![NOW - 400_000..NOW + 400_000, NOW - 8..NOW + 8]
}

fn span() -> impl Strategy<Value = i64> {
    prop_oneof![0i64..300_000, 0i64..8]
}

prop_compose! {
    fn game()(kind in 0u8..3, ends in weighted(0.85, moment())) -> Game {
        Game { kind, ends }
    }
}

prop_compose! {
    fn plan()(
        parts in 0u8..3,
        needs_first in prop::bool::weighted(0.3),
        also in prop::bool::weighted(0.3),
        only_kind in weighted(0.3, 0u8..3),
        due_after in weighted(0.6, span()),
        within in weighted(0.6, span()),
        until_after in weighted(0.6, span()),
        fresh_at in weighted(0.2, vec(span(), 1..4)),
        since in weighted(0.2, span()),
        expires_after in weighted(0.3, span()),
        min_size in 1u64..40,
        high_below in weighted(0.5, span()),
        fingerprint in 0u64..2,
    ) -> Plan {
        Plan { parts, needs_first, also, only_kind, due_after, within, until_after, fresh_at, since, expires_after, min_size, high_below, fingerprint }
    }
}

prop_compose! {
    fn fate()(
        object in weighted(0.6, (0u64..80, moment())),
        old in weighted(0.4, (0u64..80, moment())),
        confirmed in weighted(0.3, moment()),
        absent_until in weighted(0.3, moment()),
        absent_fingerprint in 0u64..2,
        suspect in 0u8..6,
        open in weighted(0.3, 0u8..4),
        was_present in prop::bool::weighted(0.7),
    ) -> Fate {
        Fate { object, old, confirmed, absent_until, absent_fingerprint, suspect, open, was_present }
    }
}

prop_compose! {
    pub fn any()(
        games in vec(game(), 1..12),
        datasets in vec(plan(), 1..4),
        fates in vec(fate(), 1..40),
        broken in vec(weighted(0.3, 0usize..10), 3),
        strangers in vec((0u8..4, 0u8..20), 0..20),
        listed_at in vec(weighted(0.6, moment().prop_map(|moment| moment.min(NOW))), 3),
    ) -> World {
        World { games, datasets, fates, broken, strangers, listed_at }
    }
}

/// The same config (but for its fingerprints) over several pictures.
pub fn sequence() -> impl Strategy<Value = Vec<World>> {
    (any(), vec((vec(fate(), 1..40), vec(weighted(0.3, 0usize..10), 3), 0u64..2), 1..7)).prop_map(|(first, pasts)| {
        let worlds = pasts.into_iter().map(|(fates, broken, fingerprint)| {
            let mut world = World { fates, broken, ..first.clone() };
            world.datasets.iter_mut().for_each(|plan| plan.fingerprint = fingerprint);
            world
        });
        worlds.collect()
    })
}

/// One item in plain terms.
#[derive(Clone, Debug)]
pub struct PlainItem<'w> {
    pub dataset: usize,
    pub game: usize,
    pub part: Option<u8>,
    pub key: String,
    pub id: ItemId,
    pub ends: Option<i64>,
    pub fate: &'w Fate,
}

impl World {
    /// Items in the order of datasets, games, parts.
    pub fn items(&self) -> Vec<PlainItem<'_>> {
        let mut items = Vec::new();
        for (dataset, plan) in self.datasets.iter().enumerate() {
            for (number, game) in self.games.iter().enumerate() {
                if plan.only_kind.is_some_and(|only| only != game.kind) {
                    continue;
                }
                let parts: Vec<Option<u8>> = if plan.parts == 0 { vec![None] } else { (0..plan.parts).map(Some).collect() };
                for part in parts {
                    let name = format!("d{dataset}");
                    let (key, values) = match part {
                        None => (format!("{name}/00{number}.csv"), vec![format!("00{number}")]),
                        Some(part) => (format!("{name}/00{number}_p{part}.csv"), vec![format!("00{number}"), format!("p{part}")]),
                    };
                    let id = ItemId::of(&name, values.iter().map(String::as_str));
                    let fate = &self.fates[items.len() % self.fates.len()];
                    items.push(PlainItem { dataset, game: number, part, key, id, ends: game.ends, fate });
                }
            }
        }
        items
    }

    /// What an item is made from.
    pub fn inputs(&self, item: &PlainItem<'_>) -> Option<Vec<PlainItem<'_>>> {
        let (plan, first) = (&self.datasets[item.dataset], &self.datasets[0]);
        if item.dataset == 0 || !plan.needs_first {
            return None;
        }
        let same_part = |other: &PlainItem<'_>| plan.parts != first.parts || other.part == item.part;
        Some(self.items().into_iter().filter(|other| other.dataset == 0 && other.game == item.game && same_part(other)).collect())
    }

    /// What counts as the item's object, if it was seen: at its key, or at its older place if its key was looked at.
    pub fn seen(&self, item: &PlainItem<'_>) -> Option<(u64, i64)> {
        let at_key = item.fate.object.filter(|_| self.was_shown(&item.key));
        let old = item.fate.old.filter(|_| self.datasets[item.dataset].also && !self.listing_failed(&item.key));
        at_key.or(old)
    }

    pub fn etag(key: &str, object: (u64, i64)) -> String {
        format!("{key}:{}:{}", object.0, object.1)
    }

    /// Keys that nobody expects: near misses, and strangers under the dataset's prefix or under none.
    pub fn stray_keys(&self) -> Vec<String> {
        let expected: std::collections::HashSet<String> = self.items().into_iter().map(|item| item.key).collect();
        let keys = self.strangers.iter().map(|(dataset, number)| match number % 3 {
            0 => format!("d{dataset}/00{number}_p9.csv"),
            1 => format!("d{dataset}/00{number}.csv.bak"),
            _ => format!("d{dataset}/{number}.csv"),
        });
        let keys: std::collections::BTreeSet<String> = keys.filter(|key| !expected.contains(key)).collect();
        keys.into_iter().collect()
    }

    /// What a listing of each dataset shows, in order, and how much of it before it breaks off.
    fn listings(&self) -> Vec<(Vec<Object>, Option<usize>)> {
        let mut objects = vec![BTreeMap::new(); self.datasets.len()];
        for item in self.items() {
            if let Some((size, modified)) = item.fate.old.filter(|_| self.datasets[item.dataset].also) {
                let object = Object { key: old_key(&item.key), size, last_modified: at(modified), etag: "old".into() };
                objects[item.dataset].insert(object.key.clone(), object);
            }
            if let Some((size, modified)) = item.fate.object {
                let etag = World::etag(&item.key, (size, modified));
                let object = Object { key: item.key.clone(), size, last_modified: at(modified), etag };
                objects[item.dataset].insert(item.key, object);
            }
        }
        for key in self.stray_keys() {
            let dataset: usize = key[1..2].parse().unwrap();
            if dataset < objects.len() {
                let object = Object { key: key.clone(), size: 1, last_modified: at(0), etag: "stray".into() };
                objects[dataset].insert(key, object);
            }
        }
        objects.into_iter().zip(&self.broken).map(|(listing, broken)| (listing.into_values().collect(), *broken)).collect()
    }

    pub fn accepted(&self) -> Picture {
        let listed = self.listed_at.iter().enumerate().map(|(number, listed)| (format!("d{number}"), listed.map(at)));
        let mut present: BTreeMap<String, Sketch> = BTreeMap::new();
        for item in self.items().iter().filter(|item| self.is_in_the_last_picture(item)) {
            present.entry(format!("d{}", item.dataset)).or_default().add(item.id);
        }
        Picture { taken_at: Some(at(NOW)), listed_at: listed.collect(), present, ..Picture::default() }
    }

    pub fn due(&self, item: &PlainItem<'_>) -> Option<i64> {
        Some(item.ends? + self.datasets[item.dataset].due_after?)
    }

    /// When it is over: it expires, or is older than what is of interest.
    pub fn ends(&self, item: &PlainItem<'_>) -> Vec<i64> {
        let plan = &self.datasets[item.dataset];
        let expires = plan.expires_after.and_then(|after| Some(item.ends? + after));
        let leaves = plan.since.and_then(|since| Some(self.due(item)? + since + 1));
        expires.into_iter().chain(leaves).collect()
    }

    /// It was present then, and nothing that happened since says otherwise.
    pub fn is_in_the_last_picture(&self, item: &PlainItem<'_>) -> bool {
        let Some(listed_at) = self.listed_at[item.dataset] else { return false };
        let fate = item.fate;
        let was_due = self.due(item).is_none_or(|due| due <= listed_at);
        let nothing_since = fate.open.is_none() && fate.absent_until.is_none() && fate.confirmed.is_none_or(|at| at < listed_at);
        fate.was_present && was_due && nothing_since && self.ends(item).iter().all(|end| *end > listed_at)
    }

    pub fn listing_failed(&self, key: &str) -> bool {
        let dataset: usize = key[1..2].parse().unwrap();
        self.broken[dataset].is_some()
    }

    /// Did the listing get as far as this key, and was an object there?
    pub fn was_shown(&self, key: &str) -> bool {
        let dataset: usize = key[1..2].parse().unwrap();
        let (listing, broken) = &self.listings()[dataset];
        listing.iter().take(broken.unwrap_or(usize::MAX)).any(|object| object.key == key)
    }

    pub fn observe(&self, expected: &Expected, spec: &Spec) -> Inventory {
        let mut observation = coverage::Observation::new(expected, spec);
        for (dataset, (listing, broken)) in self.listings().into_iter().enumerate() {
            let prefixes = [format!("d{dataset}/"), format!("o{dataset}/")];
            prefixes.iter().for_each(|prefix| observation.begin(prefix, at(NOW)));
            listing.iter().take(broken.unwrap_or(usize::MAX)).for_each(|object| observation.object(object));
            for prefix in &prefixes {
                match broken {
                    Some(_) => observation.prefix_failed(prefix),
                    None => observation.prefix_complete(prefix),
                }
            }
        }
        observation.finish()
    }

    pub fn records(&self) -> HashMap<ItemId, ItemRecord> {
        let records = self.items().into_iter().map(|item| {
            let fate = item.fate;
            let mark = |recheck| AbsentMark { since: at(0), recheck_at: at(recheck), confirmed: 1, fingerprint: fate.absent_fingerprint };
            let suspect = match (fate.suspect, fate.object) {
                (0, Some(object)) => Some(World::etag(&item.key, object)),
                (1, _) => Some("of an object that is gone".to_string()),
                _ => None,
            };
            let record = ItemRecord {
                confirmed: fate.confirmed.map(at),
                absent: fate.absent_until.map(mark),
                suspect_etag: suspect,
                episodes: u32::from(fate.open.is_some()),
                losses: Vec::new(),
            };
            (item.id, record)
        });
        records.collect()
    }

    pub fn open_gaps(&self) -> HashMap<ItemId, Gap> {
        let gaps = self.items().into_iter().filter_map(|item| {
            let reason = [Reason::Missing, Reason::Stale, Reason::Undersized, Reason::Suspect][usize::from(item.fate.open?)];
            let gap = Gap {
                id: GapId { item: item.id, episode: 1 },
                dataset: format!("d{}", item.dataset),
                key: item.key.clone(),
                reason,
                detected_at: at(NOW - 500_000),
                due: None,
                priority: PriorityLevel::Low,
                group: Vec::new(),
                etag: None,
                last_modified: None,
                fingerprint: self.datasets[item.dataset].fingerprint,
                progress: Progress { attempts: 1, ..Progress::default() },
            };
            Some((item.id, gap))
        });
        gaps.collect()
    }

    pub fn tables(&self) -> OneTable {
        let mut csv = "game_id,kind,ends\n".to_string();
        for (number, game) in self.games.iter().enumerate() {
            let ends = game.ends.map(|ends| at(ends).to_string()).unwrap_or_default();
            csv.push_str(&format!("00{number},k{},{ends}\n", game.kind));
        }
        OneTable(csv)
    }

    pub fn spec(&self) -> Spec {
        let game = Dimension {
            name: "game".into(),
            kind: DimensionKind::Table(Table {
                path: "games.csv".into(),
                lake: None,
                rows: None,
                id: "game_id".into(),
                columns: vec![ColumnRule {
                    name: "ends".into(),
                    rule: ColumnSource::From {
                        column: "ends".into(),
                        time: Some(TimeFormat { format: "%Y-%m-%dT%H:%M:%SZ".into(), zone: Some(jiff::tz::TimeZone::UTC) }),
                    },
                    references: None,
                    at: Place::default(),
                }],
                duplicates: Duplicates::Error,
            }),
            at: Place::default(),
        };
        let mut dimensions: IndexMap<String, Dimension> = [("game".to_string(), game)].into();
        for parts in 1..3u8 {
            let name = format!("part{parts}");
            let kind = DimensionKind::List((0..parts).map(|part| format!("p{part}")).collect());
            dimensions.insert(name.clone(), Dimension { name, kind, at: Place::default() });
        }
        let datasets = self.datasets.iter().enumerate().map(|(number, plan)| {
            let mut dataset = plan.dataset(&format!("d{number}"), &dimensions);
            if plan.needs_first && number > 0 {
                dataset.needs.push(Needed { dataset: "d0".into(), within: Vec::new(), at: Place::default() });
            }
            (dataset.name.clone(), dataset)
        });
        Spec {
            name: "world".into(),
            lake: LakeUrl::Folder(PathBuf::from("/lake")),
            reports: None,
            events: Default::default(),
            state: StateUrl::Sqlite(PathBuf::from("/state.db")),
            folder: PathBuf::from("/"),
            sources: IndexMap::new(),
            limits: Limits::default(),
            baseline: None,
            others: Default::default(),
            gateway: Default::default(),
            datasets: datasets.collect(),
            dimensions,
            collectors: IndexMap::new(),
            jobs: Default::default(),
            maintenance: Default::default(),
            engine: Engine { reconcile_every: Duration::from_secs(900), ..Engine::default() },
            server: Default::default(),
            weighting: Weighting::default(),
        }
    }
}

impl Plan {
    fn dataset(&self, name: &str, dimensions: &IndexMap<String, Dimension>) -> Dataset {
        let header = ["game_id", "kind", "ends"].map(String::from);
        let over: Vec<String> = match self.parts {
            0 => vec!["game".into()],
            parts => vec!["game".into(), format!("part{parts}")],
        };
        let names = Names::new(over.iter().map(|name| DimensionNames::of(&dimensions[name], Some(&header))).collect());
        let rule = |text: String, role| Expression::parse(&text, &names, role).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
        let key = match self.parts {
            0 => format!("{name}/{{game_id}}.csv"),
            parts => format!("{name}/{{game_id}}_{{part{parts}}}.csv"),
        };
        Dataset {
            name: name.into(),
            source: None,
            key: Template::parse(&key, Purpose::Key).unwrap(),
            also: self.also.then(|| older_place(&key)).into_iter().collect(),
            only: self.only_kind.map(|kind| rule(format!("kind == 'k{kind}'"), Role::Where)),
            due: self.due_after.map(|after| rule(format!("ends + {after}s"), Role::Due)),
            since: self.since.map(|since| rule(format!("now - {since}s"), Role::Since)),
            expires: self.expires_after.map(|after| rule(format!("ends + {after}s"), Role::After)),
            fresh: match &self.fresh_at {
                Some(afters) => Some(Freshness::At(afters.iter().map(|after| rule(format!("ends + {after}s"), Role::After)).collect())),
                None => self.within.map(|within| Freshness::Within {
                    within: SignedDuration::from_secs(within),
                    until: self.until_after.map(|after| rule(format!("ends + {after}s"), Role::After)),
                }),
            },
            set: None,
            needs: Vec::new(),
            min_size: self.min_size,
            max_size: None,
            require: None,
            valid: None,
            absent: AbsentPolicy::default(),
            known: None,
            priority: match self.high_below {
                None => Priority::Always(PriorityLevel::Critical),
                Some(below) => Priority::When(vec![
                    (PriorityLevel::High, rule(format!("overdue < {below}s"), Role::Priority)),
                    (PriorityLevel::Medium, rule("reason == 'stale'".into(), Role::Priority)),
                ]),
            },
            collector: None,
            at: Place::default(),
            key_at: Place::default(),
            fingerprint: self.fingerprint,
            dimensions: over,
        }
    }
}

/// `o0/001.csv` of `d0/001.csv`.
fn old_key(key: &str) -> String {
    format!("o{}", &key[1..])
}

fn older_place(key: &str) -> OlderPlace {
    OlderPlace { template: Template::parse(&old_key(key), Purpose::Key).unwrap(), at: Place::default() }
}

pub struct OneTable(String);

impl TableFiles for OneTable {
    fn read(&self, _: &str) -> Result<Vec<TableFile>, TableError> {
        Ok(vec![TableFile { name: "games.csv".into(), bytes: self.0.clone().into_bytes() }])
    }
}
