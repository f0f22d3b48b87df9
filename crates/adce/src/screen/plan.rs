//! The plan as a screen: coverage of each dataset, then the order of work, grouped as a person would tell it.
//!
//! A plan may hold a hundred thousand tasks. What belongs together stands on one line; nothing is left out of the sums.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use adce_api::{DatasetCoverage, Plan, PlannedItem, PlannedTask, ReservePrice, StrangeSizes};
use adce_core::coverage::Counts;
use adce_core::figures::{bytes, grouped, percent, span};
use adce_core::gap::Reason;
use adce_core::ids::TaskId;
use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;
use indexmap::IndexMap;

use super::instant;
use super::table::{Column, NOTHING, Table};

/// The screen of the contract; `width` as in [`Table::write`].
pub fn write(plan: &Plan, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} · {} · {} · reads only, asks no upstream", plan.name, plan.lake, instant::full(plan.at))?;
    for line in plan.report.iter().flat_map(adce_api::InventoryReport::lines) {
        writeln!(out, "{line}")?;
    }
    coverage_table(&plan.datasets, &plan.coverage.items, plan.at).write(width, out)?;
    for (name, dataset) in plan.datasets.iter().filter(|(_, dataset)| dataset.counts.unexpected > 0) {
        let example = dataset.unexpected_keys.first().map(|key| format!(", for example {key}")).unwrap_or_default();
        writeln!(out, "{} near {name} that no dataset expects{example}", counted(dataset.counts.unexpected, "object"))?;
    }
    for (name, dataset) in &plan.datasets {
        if let Some(not_counted) = &dataset.not_counted {
            writeln!(out, "≥ {name}: {not_counted}")?;
        }
    }
    reservations(&plan.datasets, &plan.held, out)?;
    if !plan.tasks.is_empty() {
        writeln!(out)?;
        let bundles = bundles(plan);
        work_table(plan, &bundles).write(width, out)?;
        if bundles.len() > SHOWN_BUNDLES {
            writeln!(out, "… and {} more", grouped((bundles.len() - SHOWN_BUNDLES) as u64))?;
        }
    }
    for left in &plan.left {
        writeln!(out, "{}: {}", counted(left.gaps, "gap"), left.why)?;
    }
    writeln!(out, "{}", last_line(plan))?;
    if let Some(price) = plan.reserve.as_ref().filter(|_| !plan.tasks.is_empty()) {
        writeln!(out, "{}", price_line(price, plan.at))?;
    }
    plan.hints.iter().try_for_each(|hint| writeln!(out, "hint: {hint}"))
}

/// `95 %`, as the config has it.
pub fn required(share: f64) -> String {
    format!("{} %", (share * 1_000.0).round() / 10.0)
}

/// Sizes that look wrong, by name: warnings, and no gaps.
fn strange_sizes(datasets: &IndexMap<String, DatasetCoverage>, out: &mut dyn Write) -> io::Result<()> {
    for (name, dataset) in datasets {
        let example = |strange: &StrangeSizes| {
            strange.named.first().map(|of| format!(", for example {} ({})", of.key, bytes(of.bytes))).unwrap_or_default()
        };
        if dataset.oversized.objects > 0 {
            writeln!(
                out,
                "warning: {} of {name} above `max_size`{}",
                counted(dataset.oversized.objects, "object"),
                example(&dataset.oversized)
            )?;
        }
        if let (true, Some(usual)) = (dataset.unusual.objects > 0, dataset.usual_bytes) {
            let objects = counted(dataset.unusual.objects, "object");
            writeln!(out, "warning: {objects} of {name} far from the usual {}{}", bytes(usual), example(&dataset.unusual))?;
        }
    }
    Ok(())
}

/// Why the figures may not be taken for what is there now.
pub(super) fn reservations(datasets: &IndexMap<String, DatasetCoverage>, held: &[String], out: &mut dyn Write) -> io::Result<()> {
    strange_sizes(datasets, out)?;
    for (name, dataset) in datasets {
        if let Some(error) = &dataset.listing_error {
            match dataset.listed_at {
                Some(at) => writeln!(out, "not listed: {name}: {error}; what is known of it is as of {}", instant::full(at))?,
                None => writeln!(out, "not listed: {name}: {error}; it never was, and what was not seen is unknown")?,
            }
        }
    }
    for surprise in held {
        writeln!(out, "held: {surprise}")?;
    }
    if !held.is_empty() {
        writeln!(out, "hint: a later cycle confirms it, or `adce accept` does; until then nothing of it is collected")?;
    }
    Ok(())
}

/// Where each dataset stands, and all of them together.
pub fn coverage_table(datasets: &IndexMap<String, DatasetCoverage>, all: &Counts, now: Timestamp) -> Table<'static> {
    let mut table = Table::new([
        Column::Text("DATASET"),
        Column::Figure("EXPECTED"),
        Column::Figure("PRESENT"),
        Column::Figure("MISSING"),
        Column::Figure("STALE"),
        Column::Figure("UNDER"),
        Column::Rare("SUSPECT"),
        Column::Rare("UNKNOWN"),
        Column::Figure("ABSENT"),
        Column::Figure("COMPLETE"),
        Column::Figure("NOT DUE"),
        Column::Rare("EXPIRED"),
        Column::Rare("OUT OF SCOPE"),
        Column::Rare("REQUIRED"),
        Column::Text("NEXT DUE"),
    ]);
    let next_due = datasets.values().filter_map(|dataset| dataset.next_due).min();
    let lower_bound = datasets.values().any(|dataset| dataset.lower_bound);
    let together = DatasetCoverage { next_due, lower_bound, ..DatasetCoverage::default() };
    let all = (datasets.len() > 1).then_some(("all", all, &together));
    let each = datasets.iter().map(|(name, dataset)| (name.as_str(), &dataset.counts.items, dataset));
    for (name, counts, dataset) in each.chain(all) {
        table.row([
            name.to_string(),
            format!("{}{}", at_least(dataset), grouped(counts.expected())),
            grouped(counts.present),
            figure(counts.missing),
            figure(counts.stale),
            figure(counts.undersized),
            figure(counts.suspect),
            figure(counts.unknown),
            figure(counts.absent),
            if dataset.lower_bound { format!("≤{}", share(counts)) } else { share(counts) },
            figure(counts.not_due),
            figure(counts.expired),
            figure(counts.out_of_scope),
            dataset.require.filter(|_| dataset.healthy == Some(false)).map_or(NOTHING.into(), |share| format!("< {}", required(share))),
            when_due(dataset, now),
        ]);
    }
    table
}

/// Nobody knows yet what else there is.
fn at_least(dataset: &DatasetCoverage) -> &'static str {
    if dataset.lower_bound { "≥" } else { "" }
}

/// Nothing to expect is complete.
pub(super) fn share(counts: &Counts) -> String {
    percent(counts.present, counts.wanted()).unwrap_or_else(|| "100 %".into())
}

fn when_due(dataset: &DatasetCoverage, now: Timestamp) -> String {
    let Some(at) = dataset.next_due else {
        return NOTHING.into();
    };
    let when = instant::day_and_time(at, now);
    if dataset.next_due_items > 1 { format!("{when} ({} that day)", grouped(dataset.next_due_items)) } else { when }
}

pub(super) fn figure(count: u64) -> String {
    if count == 0 { NOTHING.into() } else { grouped(count) }
}

/// Lines of the order of work before the rest is only counted.
const SHOWN_BUNDLES: usize = 20;
/// With more groups than this, a collector's tasks are shown on one line whatever their group.
const SHOWN_GROUPS: usize = 8;

/// Tasks that a person sees as one piece of work.
#[derive(Debug, Default)]
struct Bundle<'p> {
    tasks: Vec<&'p PlannedTask>,
    groups: BTreeSet<&'p [String]>,
    group_shown: bool,
}

/// Bundles in the order of their best task. Tasks of one collector, the same datasets and one priority belong together;
/// with few groups, each group is its own.
fn bundles(plan: &Plan) -> Vec<Bundle<'_>> {
    type Family<'p> = (&'p str, BTreeSet<&'p str>, PriorityLevel);
    let mut families: IndexMap<Family<'_>, IndexMap<&[String], Vec<&PlannedTask>>> = IndexMap::new();
    let mut first_at: IndexMap<TaskId, usize> = IndexMap::new();
    for (place, task) in plan.tasks.iter().enumerate() {
        first_at.insert(task.id, place);
        let datasets = task.items.iter().map(|item| item.dataset.as_str()).collect();
        let family = families.entry((&task.collector, datasets, task.priority)).or_default();
        family.entry(&task.group).or_default().push(task);
    }
    let mut bundles: Vec<Bundle<'_>> = Vec::new();
    for groups in families.into_values() {
        if groups.len() <= SHOWN_GROUPS {
            let named = groups.into_iter().map(|(group, tasks)| Bundle { tasks, groups: [group].into(), group_shown: !group.is_empty() });
            bundles.extend(named);
        } else {
            let all = groups.keys().copied().collect();
            bundles.push(Bundle { tasks: groups.into_values().flatten().collect(), groups: all, group_shown: false });
        }
    }
    bundles.sort_by_key(|bundle| bundle.tasks.iter().map(|task| first_at[&task.id]).min());
    bundles
}

fn work_table(plan: &Plan, bundles: &[Bundle<'_>]) -> Table<'static> {
    let mut table = Table::new([
        Column::Figure("#"),
        Column::Figure("SCORE"),
        Column::Figure("TASKS"),
        Column::Text("WHAT"),
        Column::Figure("ITEMS"),
        Column::Text("WHY"),
        Column::Figure("REQ"),
        Column::Figure("DONE BY"),
    ]);
    for (rank, bundle) in bundles.iter().take(SHOWN_BUNDLES).enumerate() {
        let score = bundle.tasks.iter().map(|task| task.score).fold(f64::MIN, f64::max);
        let done = bundle.tasks.iter().map(|task| task.done_at).try_fold(plan.at, |latest, done| Some(latest.max(done?)));
        table.row([
            (rank + 1).to_string(),
            grouped(score.max(0.0).round() as u64),
            grouped(bundle.tasks.len() as u64),
            bundle.what(),
            grouped(bundle.items().count() as u64),
            bundle.why(plan.at),
            figure(bundle.tasks.iter().map(|task| task.requests).sum()),
            done.map_or(NOTHING.to_string(), |done| instant::clock(done, plan.at)),
        ]);
    }
    table
}

impl<'p> Bundle<'p> {
    fn items(&self) -> impl Iterator<Item = &'p PlannedItem> {
        self.tasks.iter().flat_map(|task| &task.items)
    }

    /// `box_scores 2025`, `box_scores, 30 groups`, `a + b`.
    fn what(&self) -> String {
        let datasets: Vec<&str> = self.items().map(|item| item.dataset.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
        let datasets = datasets.join(" + ");
        match self.groups.iter().next() {
            Some(group) if self.group_shown => format!("{datasets} {}", group.join(" ")),
            _ if self.groups.len() > 1 => format!("{datasets}, {} groups", grouped(self.groups.len() as u64)),
            _ => datasets,
        }
    }

    /// `missing 11 h 30 m, critical`; `23 missing, 22 refresh, high (batches of 20)`.
    fn why(&self, now: Timestamp) -> String {
        let counted: Vec<(Reason, u64)> = [Reason::Missing, Reason::Stale, Reason::Undersized, Reason::Suspect]
            .into_iter()
            .map(|reason| (reason, self.items().filter(|item| item.reason == reason).count() as u64))
            .filter(|(_, count)| *count > 0)
            .collect();
        let word = |reason| match reason {
            Reason::Stale => "refresh",
            other => Reason::word(other),
        };
        let mut why = match counted.as_slice() {
            [(reason, _)] => format!("{}{}", word(*reason), self.age(now)),
            several => {
                several.iter().map(|(reason, count)| format!("{} {}", grouped(*count), word(*reason))).collect::<Vec<_>>().join(", ")
            }
        };
        why.push_str(", ");
        why.push_str(self.tasks[0].priority.word());
        let largest = self.tasks.iter().map(|task| task.items.len()).max().unwrap_or(0);
        if largest > 1 {
            why.push_str(&format!(" (batches of {})", grouped(largest as u64)));
        }
        why
    }

    /// How long the oldest gap has been known; nothing in the first minute.
    fn age(&self, now: Timestamp) -> String {
        let oldest = self.items().map(|item| item.detected_at).min().unwrap_or(now);
        let age = Duration::try_from(now.duration_since(oldest)).unwrap_or_default();
        if age < Duration::from_secs(60) { String::new() } else { format!(" {}", span(age)) }
    }
}

fn last_line(plan: &Plan) -> String {
    let counts = &plan.coverage.items;
    if plan.complete {
        let absent = if counts.absent > 0 { format!(", {} absent upstream", grouped(counts.absent)) } else { String::new() };
        return format!("complete: {} of {} expected objects are there{absent}", grouped(counts.present), grouped(counts.expected()));
    }
    if plan.tasks.is_empty() {
        return format!("not complete: {}, nothing to collect", counted(counts.gaps(), "gap"));
    }
    let gaps = plan.tasks.iter().map(|task| task.items.len() as u64).sum();
    let mut parts = vec![counted(gaps, "gap"), counted(plan.requests, "request")];
    if let Some(seconds) = plan.eta_seconds {
        let left = plan.left.iter().map(|left| left.gaps).sum::<u64>();
        let but = if left > 0 { format!(" but for {}", grouped(left)) } else { String::new() };
        parts.push(format!("complete{but} {}", instant::clock(later(plan.at, seconds), plan.at)));
    }
    if let Some(bottleneck) = &plan.bottleneck {
        let source = bottleneck.source.as_ref().map(|source| format!("{source}, ")).unwrap_or_default();
        parts.push(format!("bottleneck {source}{}", bottleneck.text));
    }
    parts.join(" · ")
}

fn price_line(price: &ReservePrice, at: Timestamp) -> String {
    let whom = price.priorities.iter().map(|priority| priority.word()).collect::<Vec<_>>().join(" and ");
    let costs = Duration::try_from_secs_f64(price.costs_seconds).unwrap_or_default();
    match costs < Duration::from_secs(1) {
        true => format!("reserve: what is set aside for {whom} makes nothing wait longer now"),
        false => {
            let without = instant::clock(later(at, price.eta_seconds_without), at);
            format!("reserve: what is set aside for {whom} makes the rest {} later; without it, done {without}", span(costs))
        }
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

fn later(at: Timestamp, seconds: f64) -> Timestamp {
    let span = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use adce_api::{Bottleneck, LeftOut};
    use adce_core::ids::{GapId, ItemId};

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2025-03-09T{text}Z").parse().unwrap()
    }

    fn counts(present: u64, missing: u64, stale: u64, undersized: u64, absent: u64, not_due: u64) -> Counts {
        Counts { present, missing, stale, undersized, absent, not_due, ..Counts::default() }
    }

    fn task(number: u32, dataset: &str, group: &str, priority: PriorityLevel, score: f64, reasons: &[Reason], done: &str) -> PlannedTask {
        let first = GapId { item: ItemId::of(dataset, [number.to_string().as_str()]), episode: 1 };
        let items = reasons.iter().map(|&reason| PlannedItem {
            dataset: dataset.into(),
            key: format!("{dataset}/{number}"),
            reason,
            detected_at: at("02:30:00"),
            item: None,
        });
        PlannedTask {
            id: TaskId::of(dataset, first),
            collector: dataset.into(),
            source: None,
            priority,
            score,
            group: if group.is_empty() { Vec::new() } else { vec![group.into()] },
            items: items.collect(),
            requests: reasons.len() as u64,
            done_at: Some(at(done)),
        }
    }

    fn nba() -> Plan {
        use PriorityLevel::{Critical, High, Low};
        use Reason::{Missing, Stale, Undersized};
        let datasets = [("schedule", counts(521, 2, 17, 0, 0, 0)), ("play_by_play", counts(2_214, 31, 22, 1, 1, 110))];
        let mut plan = Plan {
            name: "prod".into(),
            lake: "s3://nba-raw-data".into(),
            at: at("14:00:00"),
            complete: false,
            healthy: None,
            coverage: Default::default(),
            datasets: IndexMap::new(),
            tasks: vec![
                task(1, "play_by_play", "", Critical, 1_961.2, &[Missing], "14:00:03"),
                task(2, "play_by_play", "", Critical, 1_961.2, &[Missing], "14:00:04"),
                task(3, "play_by_play", "2025", High, 201.0, &[Missing, Stale, Undersized], "14:00:45"),
                task(4, "schedule", "", Low, 8.0, &[Stale], "14:01:07"),
                task(5, "play_by_play", "", Critical, 5.0, &[Missing], "14:01:08"),
            ],
            requests: 7,
            eta_seconds: Some(210.0),
            reserve: None,
            bottleneck: Some(Bottleneck { source: Some("basketball_reference".into()), value: None, text: "1 every 3 s".into() }),
            left: vec![LeftOut { gaps: 1, why: "`holidays` has no collector".into() }],
            report: None,
            held: Vec::new(),
            hints: vec!["others derive from it".into()],
        };
        for (name, items) in datasets {
            let counts = adce_api::Counts { items, unexpected: 0 };
            plan.coverage += counts;
            plan.datasets.insert(name.into(), DatasetCoverage { counts, ..DatasetCoverage::default() });
        }
        let play_by_play = &mut plan.datasets["play_by_play"];
        play_by_play.next_due = Some(at("20:00:00"));
        play_by_play.next_due_items = 8;
        play_by_play.counts.unexpected = 431;
        play_by_play.unexpected_keys = vec!["play_by_play/old.json".into()];
        plan
    }

    fn screen(plan: &Plan, width: Option<usize>) -> String {
        let mut out = Vec::new();
        write(plan, width, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_screen_tells_coverage_and_the_order_of_work() {
        let expected = "\
prod · s3://nba-raw-data · 2025-03-09 14:00 UTC · reads only, asks no upstream
DATASET       EXPECTED  PRESENT  MISSING  STALE  UNDER  ABSENT  COMPLETE  NOT DUE  NEXT DUE
schedule           540      521        2     17      -       -   96.48 %        -  -
play_by_play     2,269    2,214       31     22      1       1   97.61 %      110  today 20:00 (8 that day)
all              2,809    2,735       33     39      1       1   97.40 %      110  today 20:00
431 objects near play_by_play that no dataset expects, for example play_by_play/old.json

#  SCORE  TASKS  WHAT               ITEMS  WHY                                               REQ   DONE BY
1  1,961      3  play_by_play           3  missing 11 h 30 m, critical                         3  14:01:08
2    201      1  play_by_play 2025      3  1 missing, 1 refresh, 1 undersized, high (batches of 3)    3  14:00:45
3      8      1  schedule               1  refresh 11 h 30 m, low                              1  14:01:07
1 gap: `holidays` has no collector
7 gaps · 7 requests · complete but for 1 14:03:30 · bottleneck basketball_reference, 1 every 3 s
hint: others derive from it
";
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let found = screen(&nba(), None);
        assert_eq!(found.lines().map(squeeze).collect::<Vec<_>>(), expected.lines().map(squeeze).collect::<Vec<_>>());
    }

    #[test]
    fn the_price_of_a_reserve_is_said() {
        let price = |costs_seconds| ReservePrice { priorities: vec![PriorityLevel::Critical], eta_seconds_without: 150.0, costs_seconds };
        let said = |costs| screen(&Plan { reserve: Some(price(costs)), ..nba() }, None);
        let some = "reserve: what is set aside for critical makes the rest 1 m later; without it, done 14:02:30\n";
        assert!(said(60.0).contains(some), "{}", said(60.0));
        assert!(said(0.0).contains("reserve: what is set aside for critical makes nothing wait longer now\n"), "{}", said(0.0));
        assert!(!screen(&nba(), None).contains("reserve"));
    }

    #[test]
    fn a_narrow_terminal_gets_narrow_tables() {
        for line in screen(&nba(), Some(80)).lines().filter(|line| !line.contains(" · ") && !line.contains("objects")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn many_groups_are_told_on_one_line() {
        let mut plan = nba();
        plan.tasks = (0..1_000)
            .map(|number| task(number, "box", &format!("customer {number}"), PriorityLevel::Low, 1.0, &[Reason::Missing; 100], "15:00:00"))
            .collect();
        plan.requests = 100_000;
        let found = screen(&plan, None);
        assert!(found.contains("box, 1,000 groups  100,000  missing 11 h 30 m, low (batches of 100)  100,000"), "{found}");
    }

    #[test]
    fn nothing_expected_is_complete() {
        let mut plan = nba();
        plan.tasks.clear();
        plan.left.clear();
        plan.complete = true;
        plan.coverage = Default::default();
        plan.datasets = [("empty".to_string(), DatasetCoverage::default())].into_iter().collect();
        let found = screen(&plan, None);
        assert!(found.contains("empty           0        0        -"), "{found}");
        assert!(found.contains("100 %") && found.contains("\ncomplete: 0 of 0 expected objects are there\n"), "{found}");
    }
}
