//! What a look takes from the store's own report instead of listing.
//!
//! What a report may be believed in is decided in the core (`coverage::reported`); here it is fetched, read on a thread of
//! its own, and where it cannot know, the lake is asked about single keys, a bounded number of them. Whatever is wrong
//! with a report, the look goes on: the next older one is read, or the lake is listed, and what was done is said.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use adce_core::coverage::{
    Aged, Covers, EtagDigest, Expected, Inventory, ItemIx, LookAgain, Observation, Picture, Seen, SeenSince, later_than, look_again,
    seen_since,
};
use adce_core::ids::ItemId;
use adce_core::object::Object;
use adce_core::ports::{Lake, LakeError};
use adce_core::record::ItemRecord;
use adce_core::report::{Damaged, Report, ReportHead, ReportRow, Reports};
use adce_core::spec::{LakeUrl, Spec};
use adce_core::time::Timestamp;
use futures::{FutureExt, StreamExt};

/// So many keys are asked for in one look, and what is more is what it was before: a report is there to save requests.
const ASKED_MAX: usize = 1_000;
const ASKED_AT_ONCE: usize = 16;

/// A report whose rows turn out to be damaged is left for the next older one so many times.
const READ_MAX: usize = 3;

/// Where reports are, and what is on record that may be later than they are.
#[derive(Clone, Default)]
pub struct Reporting {
    pub reports: Option<Arc<dyn Reports>>,
    pub later: HashMap<ItemId, ItemRecord>,
    /// What the lake answered, by the keys of items, and may be later as well.
    pub seen: HashMap<String, Seen>,
}

impl Reporting {
    pub fn of(reports: Option<Arc<dyn Reports>>, accepted: Option<&Picture>, records: &HashMap<ItemId, ItemRecord>) -> Reporting {
        let later = if reports.is_some() { later_than(accepted, records) } else { HashMap::new() };
        Reporting { reports, later, seen: HashMap::new() }
    }
}

/// What came of a look for reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// The one that was read.
    pub report: Option<ReportHead>,
    /// Of these prefixes it is the whole truth; all others were listed.
    pub prefixes: Vec<String>,
    /// Why a newer one, or any, was not read. A line each, for a person.
    pub refused: Vec<String>,
}

/// Reads the newest report that is whole and no older than what is known, if any.
pub(crate) async fn newest(
    reporting: &Reporting,
    spec: &Arc<Spec>,
    expected: &Arc<Expected>,
    accepted: Option<&Picture>,
    now: Timestamp,
) -> (Reported, Option<Inventory>) {
    let mut reported = Reported::default();
    let (Some(reports), LakeUrl::S3 { bucket, .. }) = (&reporting.reports, &spec.lake) else { return (reported, None) };
    let mut damaged: Vec<String> = Vec::new();
    while damaged.len() < READ_MAX {
        let newest = match reports.newest(bucket, &damaged, now).await {
            Ok(newest) => newest,
            Err(error) => {
                reported.refused.push(format!("no inventory report can be looked for: {error}"));
                break;
            }
        };
        for refused in newest.refused {
            reported.refuse(&refused.name, &refused.why);
        }
        let Some(report) = newest.report else {
            if reported.refused.is_empty() {
                reported.refused.push("no inventory report was delivered yet".into());
            }
            break;
        };
        let head = report.head().clone();
        let covers = Covers { head: &head, spec, expected, accepted };
        if let Err(aged) = covers.any(now) {
            reported.refused.push(too_old(&head, aged));
            break;
        }
        match read(report, spec.clone(), expected.clone()).await {
            Err(why) => {
                reported.refuse(&head.name, &why);
                damaged.push(head.name);
            }
            Ok((inventory, common)) => {
                let whole = |prefix: &&String| covers.is_whole(prefix, &inventory, lake_prefix(spec), common.as_deref());
                let (prefixes, others): (Vec<&String>, Vec<&String>) = expected.prefixes().iter().partition(whole);
                let mut observation = Observation::resume(expected, spec, inventory);
                others.into_iter().for_each(|prefix| observation.forget(prefix));
                for prefix in &prefixes {
                    observation.begin(prefix, head.created);
                    observation.prefix_complete(prefix);
                }
                let inventory = observation.finish();
                reported.prefixes = prefixes.into_iter().cloned().collect();
                reported.report = Some(head);
                return (reported, Some(inventory));
            }
        }
    }
    (reported, None)
}

impl Reported {
    fn refuse(&mut self, name: &str, why: &Damaged) {
        let line = format!("the inventory report {name} is refused: {why}");
        if !self.refused.contains(&line) {
            self.refused.push(line);
        }
    }

    pub fn covers(&self, prefix: &str) -> bool {
        self.prefixes.iter().any(|known| known == prefix)
    }
}

fn too_old(head: &ReportHead, aged: Aged) -> String {
    let created = head.created.strftime("%Y-%m-%d %H:%M UTC");
    match aged {
        Aged::TooOld => format!("the newest inventory report is of {created}: deliveries seem to have ended, the lake is listed"),
        Aged::ListedSince => format!("the newest inventory report is of {created}, and the lake was listed since"),
    }
}

fn lake_prefix(spec: &Spec) -> &str {
    match &spec.lake {
        LakeUrl::S3 { prefix, .. } => prefix,
        LakeUrl::Folder(_) => "",
    }
}

/// All rows of a report, and what their keys begin with. Off the runtime's threads: it takes all processors for seconds.
async fn read(report: Arc<dyn Report>, spec: Arc<Spec>, expected: Arc<Expected>) -> Result<(Inventory, Option<String>), Damaged> {
    let reading = move || {
        let heard = Heard {
            expected: &expected,
            lake_prefix: lake_prefix(&spec),
            observation: Mutex::new(Observation::new(&expected, &spec)),
            common: Mutex::new(None),
        };
        report.read(&|page| heard.page(page))?;
        let observation = heard.observation.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((observation.finish(), heard.common.into_inner().unwrap_or_else(PoisonError::into_inner)))
    };
    match tokio::task::spawn_blocking(reading).await {
        Ok(read) => read,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Rows as they come, from several threads.
struct Heard<'e> {
    expected: &'e Expected,
    lake_prefix: &'e str,
    observation: Mutex<Observation<'e>>,
    common: Mutex<Option<String>>,
}

impl Heard<'_> {
    /// Keys are matched before anybody is kept waiting.
    fn page(&self, page: &[ReportRow<'_>]) {
        let Some(first) = page.first() else { return };
        let mut common = first.key;
        let mut matched: Vec<(Option<(ItemIx, EtagDigest)>, &str, &ReportRow<'_>)> = Vec::with_capacity(page.len());
        let mut finder = self.expected.finder();
        for row in page {
            common = beginning(common, row.key);
            // To compare with nothing costs some processors more than all the rest of it: their comparison looks where nothing is.
            let key = if self.lake_prefix.is_empty() { Some(row.key) } else { row.key.strip_prefix(self.lake_prefix) };
            if let Some(key) = key {
                let item = finder.find(key).map(|item| (item, EtagDigest::of(row.etag.unwrap_or_default())));
                matched.push((item, key, row));
            }
        }
        {
            let mut known = self.common.lock().unwrap_or_else(PoisonError::into_inner);
            let shared = known.as_deref().map_or(common, |known| beginning(common, known)).len();
            match known.as_mut() {
                Some(known) => known.truncate(shared),
                None => *known = Some(common.to_owned()),
            }
        }
        let mut observation = self.observation.lock().unwrap_or_else(PoisonError::into_inner);
        matched.into_iter().for_each(|(item, key, row)| observation.row(item, key, row));
    }
}

/// What both begin with.
fn beginning<'a>(a: &'a str, b: &str) -> &'a str {
    // Byte by byte: what all keys begin with is mostly too short to be worth a call.
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    if same == a.len() {
        return a;
    }
    let whole = (0..=same).rev().find(|at| a.is_char_boundary(*at)).unwrap_or(0);
    &a[..whole]
}

/// Lays what is known later over what the report has shown.
pub(crate) async fn bring_up_to_date(
    reported: &Reported,
    reporting: &Reporting,
    lake: &dyn Lake,
    spec: &Spec,
    expected: &Expected,
    inventory: &mut Inventory,
    now: Timestamp,
) {
    let Some(head) = &reported.report else { return };
    let LookAgain { mut known_otherwise, mut due_since } =
        look_again(spec, expected, inventory, head, &reported.prefixes, &reporting.later, now);
    let SeenSince { outranked, in_doubt } = seen_since(spec, expected, inventory, head, &reported.prefixes, &reporting.seen);
    let in_doubt = in_doubt.into_iter().filter(|item| !known_otherwise.contains(item));
    known_otherwise.extend(in_doubt.collect::<Vec<_>>());
    [&mut known_otherwise, &mut due_since].into_iter().for_each(|again| again.retain(|item| !outranked.contains(item)));
    let asked = known_otherwise.len().min(ASKED_MAX);
    let mut wanted: Vec<ItemIx> = known_otherwise[..asked].to_vec();
    wanted.extend(due_since.iter().take(ASKED_MAX - asked));
    let key = |item: ItemIx| {
        let mut key = String::new();
        expected.key(item, &mut key);
        key
    };
    let asking: Vec<_> = wanted.iter().map(|item| ask(lake, *item, key(*item)).boxed()).collect();
    let answers: Vec<(ItemIx, Result<Option<Object>, LakeError>)> =
        futures::stream::iter(asking).buffer_unordered(ASKED_AT_ONCE).collect().await;
    let mut answered: std::collections::HashSet<ItemIx> = std::collections::HashSet::with_capacity(answers.len());
    for (item, answer) in answers {
        if let Ok(object) = answer {
            inventory.saw(item, object.as_ref());
            answered.insert(item);
        }
    }
    // Nobody has looked there. What is only watched may well have come; what adce itself collects is collected.
    let is_watched = |item: ItemIx| spec.datasets[expected.datasets()[expected.dataset_of(item)].name()].collector.is_none();
    let in_doubt = known_otherwise.into_iter().chain(due_since.into_iter().filter(|item| is_watched(*item)));
    in_doubt.filter(|item| !answered.contains(item)).for_each(|item| inventory.doubt(item));
}

async fn ask(lake: &dyn Lake, item: ItemIx, key: String) -> (ItemIx, Result<Option<Object>, LakeError>) {
    let answer = lake.head(&key).await;
    (item, answer)
}

#[cfg(test)]
mod tests;
