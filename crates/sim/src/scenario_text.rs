//! The text form of a scenario: a line a thing, `name=value` for each of its properties, `#` for remarks.
//!
//! ```text
//! world seed=17 hours=24 slots=5 reconcile=15m commit=100us..3ms publish=1ms..50ms reserve=critical:200 caps=all:30,low:4 ttl=1h
//! source espn importance=1.5 per_minute=60 in_flight=5 latency=200ms..2s busy=20 retry_after=30 moods_until=13h breaker=5/10m..2h/500:20:10m
//! outage espn from=6h to=400m shows=busy
//! collector box kind=charged batch=20 retry=3/60s..30m revive=1h..2h
//! dataset games source=espn collector=box priority=high items=200 first_due=0us due_every=5m at_once=2
//! crash at=3h dead_for=20s reboot
//! jump at=5h by=-7200
//! ```
//!
//! Always true: what was printed reads back as the same scenario (`a_scenario_survives_text`).

use std::fmt::Write;
use std::time::Duration;

use adce_core::spec::{AbsentPolicy, BreakerPolicy, FailureRate, Limits, PriorityLevel, Requests, Reserve, RetryPolicy, Window};

use crate::scenario::{
    CollectorSpec, Crash, CrashKind, DatasetSpec, Fresh, Jump, Kind, Micros, Moods, Outage, Scenario, Shows, SourceSpec, Span,
};

const WINDOWS: [(&str, u64); 4] = [("per_second", 1), ("per_minute", 60), ("per_hour", 3_600), ("per_day", 86_400)];

const UNITS: [(&str, Micros); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

const SHOWS: [(&str, Shows); 3] = [("refused", Shows::Refused), ("no_such_thing", Shows::NoSuchThing), ("busy", Shows::Busy)];

const CRASHES: [(&str, CrashKind); 3] = [("kill", CrashKind::Kill), ("reboot", CrashKind::Reboot), ("stop", CrashKind::Stop)];

// ------------------------------------------------------------------------------------------------------------ printing

pub fn print(scenario: &Scenario) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{}", words.trim_end()).expect("a String takes everything");
    let flag = |on: bool, word: &str| if on { format!(" {word}") } else { String::new() };
    line(format!(
        "world seed={} hours={} slots={} reconcile={} commit={} publish={}{}{}{}{}{}",
        scenario.seed,
        scenario.hours,
        scenario.slots,
        time(scenario.reconcile_every),
        span(scenario.commit),
        span(scenario.publish),
        reserve(&scenario.reserve),
        caps(&scenario.caps),
        scenario.task_ttl.map_or(String::new(), |ttl| format!(" ttl={}", time(ttl))),
        flag(!scenario.weighted, "unweighted"),
        flag(scenario.endless, "endless"),
    ));
    line(format!("together {}", limits(&scenario.together)));
    for source in &scenario.sources {
        line(print_source(source));
        for outage in &source.outages {
            let (from, to) = (time(outage.from), time(outage.to));
            line(format!("outage {} from={from} to={to} shows={}", source.name, word(&SHOWS, outage.shows)));
        }
    }
    for collector in &scenario.collectors {
        line(print_collector(collector));
    }
    for dataset in &scenario.datasets {
        line(print_dataset(scenario, dataset));
    }
    for crash in &scenario.crashes {
        line(format!("crash at={} dead_for={} {}", time(crash.at), time(crash.dead_for), word(&CRASHES, crash.kind)));
    }
    for jump in &scenario.jumps {
        line(format!("jump at={} by={}", time(jump.at), jump.by_seconds));
    }
    text
}

fn print_source(source: &SourceSpec) -> String {
    let Moods { busy, error, drop, garbage, slow, retry_after_s, until } = source.moods;
    format!(
        "source {} importance={} {}{} latency={} breaker={}{} busy={busy} error={error} drop={drop} garbage={garbage} slow={slow} \
         retry_after={retry_after_s} moods_until={}",
        source.name,
        source.importance,
        limits(&source.limits),
        source.each.as_ref().map_or(String::new(), |each| format!(" each={}", limits(each).replace(' ', ","))),
        span(source.latency),
        breaker(source.breaker),
        source.each_breaker.map_or(String::new(), |each| format!(" each_breaker={}", breaker(Some(each)))),
        time(until),
    )
}

fn print_collector(collector: &CollectorSpec) -> String {
    let kind = match collector.kind {
        Kind::Http => "http".into(),
        Kind::Gateway { parallel } => format!("gateway/{parallel}"),
        Kind::Charged => "charged".into(),
    };
    let RetryPolicy { attempts, backoff_min, backoff_max, revive_min, revive_max } = &collector.retry;
    format!(
        "collector {} kind={kind} batch={} per_task={} per_item={} dies={} hangs={} timeout={} retry={attempts}/{}..{} revive={}..{} breaker={}",
        collector.name,
        collector.batch,
        collector.requests.per_task,
        collector.requests.per_item,
        collector.dies,
        collector.hangs,
        time(collector.timeout),
        duration(*backoff_min),
        duration(*backoff_max),
        duration(*revive_min),
        duration(*revive_max),
        breaker(collector.breaker),
    )
}

/// `5/10m..2h`, and with a rate `5/10m..2h/500:20:10m`.
fn breaker(policy: Option<BreakerPolicy>) -> String {
    let Some(BreakerPolicy { failures, cooldown, cooldown_max, rate }) = policy else { return "off".into() };
    let rate = rate.map_or(String::new(), |rate| format!("/{}:{}:{}", rate.permille, rate.of, duration(rate.within)));
    format!("{failures}/{}..{}{rate}", duration(cooldown), duration(cooldown_max))
}

fn print_dataset(scenario: &Scenario, dataset: &DatasetSpec) -> String {
    let source = dataset.source.map_or(String::new(), |at| format!(" source={}", scenario.sources[at].name));
    let fresh = dataset.fresh.map_or(String::new(), |fresh| format!(" fresh={} fresh_until={}", time(fresh.within), time(fresh.until)));
    let cools = dataset.cools.map_or(String::new(), |after| format!(" cools={}", time(after)));
    format!(
        "dataset {}{source} collector={} priority={} items={} first_due={} due_every={} at_once={} groups={} absent={} late={} \
         poison={} repaired_after={} taken={} after={} recheck={}..{}{fresh}{cools}",
        dataset.name,
        scenario.collectors[dataset.collector].name,
        dataset.priority.word(),
        dataset.items,
        time(dataset.first_due),
        time(dataset.due_every),
        dataset.at_once,
        dataset.groups,
        dataset.absent,
        dataset.late,
        dataset.poison,
        time(dataset.repaired_after),
        dataset.taken,
        duration(dataset.absent_policy.after),
        duration(dataset.absent_policy.recheck_min),
        duration(dataset.absent_policy.recheck_max),
    )
}

fn limits(limits: &Limits) -> String {
    let mut words: Vec<String> = limits.windows.iter().map(|window| format!("{}={}", window.key(), window.requests)).collect();
    words.extend(limits.burst.map(|burst| format!("burst={burst}")));
    words.extend(limits.min_delay.map(|delay| format!("min_delay={}", duration(delay))));
    words.extend(limits.in_flight.map(|most| format!("in_flight={most}")));
    words.join(" ")
}

/// In thousandths.
fn reserve(reserve: &Reserve) -> String {
    let shares: Vec<String> = reserve.shares().map(|(priority, permille)| format!("{}:{permille}", priority.word())).collect();
    if shares.is_empty() { String::new() } else { format!(" reserve={}", shares.join(",")) }
}

fn caps(caps: &[(Option<PriorityLevel>, u32)]) -> String {
    let caps: Vec<String> = caps.iter().map(|(of, tasks)| format!("{}:{tasks}", of.map_or("all", |of| of.word()))).collect();
    if caps.is_empty() { String::new() } else { format!(" caps={}", caps.join(",")) }
}

fn word<T: PartialEq>(words: &[(&'static str, T)], of: T) -> &'static str {
    words.iter().find(|(_, known)| *known == of).map_or("", |(word, _)| word)
}

fn duration(duration: Duration) -> String {
    time(duration.as_micros() as Micros)
}

fn time(micros: Micros) -> String {
    let (name, unit) = UNITS.iter().rev().find(|(_, unit)| micros.is_multiple_of(*unit) && micros > 0).unwrap_or(&UNITS[0]);
    format!("{}{name}", micros / unit)
}

fn span(span: Span) -> String {
    format!("{}..{}", time(span.from), time(span.to))
}

// ------------------------------------------------------------------------------------------------------------- reading

/// The words of one line.
struct Line<'a> {
    number: usize,
    words: Vec<&'a str>,
}

pub fn read(text: &str) -> Result<Scenario, String> {
    let mut scenario = Scenario {
        seed: 0,
        hours: 24,
        slots: 5,
        reserve: Reserve::default(),
        caps: Vec::new(),
        task_ttl: None,
        reconcile_every: 900_000_000,
        commit: Span { from: 1_000, to: 1_000 },
        publish: Span { from: 1_000, to: 50_000 },
        weighted: true,
        endless: false,
        together: Limits::default(),
        sources: Vec::new(),
        collectors: Vec::new(),
        datasets: Vec::new(),
        crashes: Vec::new(),
        jumps: Vec::new(),
    };
    for (at, text) in text.lines().enumerate() {
        let words: Vec<&str> = text.split('#').next().unwrap_or("").split_whitespace().collect();
        if !words.is_empty() {
            let line = Line { number: at + 1, words };
            add(&mut scenario, &line).map_err(|problem| format!("line {}: {problem}", line.number))?;
        }
    }
    Ok(scenario)
}

fn add(scenario: &mut Scenario, line: &Line<'_>) -> Result<(), String> {
    match line.words[0] {
        "world" => {
            scenario.seed = line.number("seed", 0)?;
            scenario.hours = line.number("hours", 24)?;
            scenario.slots = line.number("slots", 5)? as u32;
            scenario.reserve = line.value("reserve").map_or(Ok(Reserve::default()), read_reserve)?;
            scenario.caps = line.value("caps").map_or(Ok(Vec::new()), read_caps)?;
            scenario.task_ttl = line.value("ttl").map(read_time).transpose()?;
            scenario.reconcile_every = line.time("reconcile", 900_000_000)?;
            scenario.commit = line.span("commit", scenario.commit)?;
            scenario.publish = line.span("publish", scenario.publish)?;
            scenario.weighted = !line.words.contains(&"unweighted");
            scenario.endless = line.words.contains(&"endless");
        }
        "together" => scenario.together = line.limits()?,
        "source" => scenario.sources.push(read_source(line)?),
        "outage" => {
            let name = line.name()?;
            let shows = line.value("shows").unwrap_or("refused");
            let shows = SHOWS.iter().find(|(word, _)| *word == shows).ok_or(format!("shows `{shows}`: refused, no_such_thing or busy"))?.1;
            let outage = Outage { from: line.time("from", 0)?, to: line.time("to", 0)?, shows };
            let source = scenario.sources.iter_mut().find(|source| source.name == name);
            source.ok_or(format!("no source `{name}` above"))?.outages.push(outage);
        }
        "collector" => scenario.collectors.push(read_collector(line)?),
        "dataset" => {
            let dataset = read_dataset(scenario, line)?;
            scenario.datasets.push(dataset);
        }
        "crash" => {
            let (at, dead_for) = (line.time("at", 0)?, line.time("dead_for", 1_000_000)?);
            let kind = CRASHES.iter().find(|(word, _)| line.words.contains(word)).map_or(CrashKind::Kill, |(_, kind)| *kind);
            scenario.crashes.push(Crash { at, dead_for, kind });
        }
        "jump" => {
            let by = line.value("by").ok_or("a jump needs `by=SECONDS`")?;
            let by_seconds = by.parse().map_err(|_| format!("`{by}` is not a number of seconds"))?;
            scenario.jumps.push(Jump { at: line.time("at", 0)?, by_seconds });
        }
        other => return Err(format!("`{other}`: one of world, together, source, outage, collector, dataset, crash, jump was expected")),
    }
    Ok(())
}

fn read_source(line: &Line<'_>) -> Result<SourceSpec, String> {
    let share = |name: &str| line.number(name, 0).map(|share| share as u32);
    let importance = line.value("importance").unwrap_or("1");
    Ok(SourceSpec {
        name: line.name()?,
        importance: importance.parse().map_err(|_| format!("`{importance}` is not a number"))?,
        limits: line.limits()?,
        each: line.value("each").map(|each| Line { number: line.number, words: each.split(',').collect() }.limits()).transpose()?,
        breaker: read_breaker(line.value("breaker").unwrap_or("5/10m..2h"))?,
        each_breaker: line.value("each_breaker").map(read_breaker).transpose()?.flatten(),
        latency: line.span("latency", Span { from: 100_000, to: 500_000 })?,
        moods: Moods {
            busy: share("busy")?,
            error: share("error")?,
            drop: share("drop")?,
            garbage: share("garbage")?,
            slow: share("slow")?,
            retry_after_s: line.number("retry_after", 30)?,
            until: line.time("moods_until", 0)?,
        },
        outages: Vec::new(),
    })
}

fn read_breaker(text: &str) -> Result<Option<BreakerPolicy>, String> {
    if text == "off" {
        return Ok(None);
    }
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("`{text}` is not a number"));
    let parts: Vec<&str> = text.split('/').collect();
    let (failures, cooldown, rate) = match parts[..] {
        [failures, cooldown] => (failures, cooldown, None),
        [failures, cooldown, rate] => (failures, cooldown, Some(rate)),
        _ => return Err(format!("`{text}`: `5/10m..2h`, `5/10m..2h/500:20:10m` or `off` was expected")),
    };
    let rate = rate.map(|rate| match rate.split(':').collect::<Vec<_>>()[..] {
        [permille, of, within] => {
            let within = Duration::from_micros(read_time(within)?);
            Ok(FailureRate { permille: number(permille)?, of: number(of)?, within })
        }
        _ => Err(format!("`{rate}`: `500:20:10m` was expected")),
    });
    let cooldown = read_span(cooldown)?;
    Ok(Some(BreakerPolicy {
        failures: number(failures)?,
        cooldown: Duration::from_micros(cooldown.from),
        cooldown_max: Duration::from_micros(cooldown.to),
        rate: rate.transpose()?,
    }))
}

fn read_collector(line: &Line<'_>) -> Result<CollectorSpec, String> {
    let kind = line.value("kind").unwrap_or("http");
    let kind = match kind.split_once('/') {
        Some(("gateway", parallel)) => Kind::Gateway { parallel: parallel.parse().map_err(|_| format!("`{parallel}` is not a number"))? },
        None if kind == "http" => Kind::Http,
        None if kind == "charged" => Kind::Charged,
        _ => return Err(format!("kind `{kind}`: http, gateway/N or charged was expected")),
    };
    let retry = line.value("retry").unwrap_or("3/1m..30m");
    let (attempts, backoff) = retry.split_once('/').ok_or(format!("`{retry}`: `3/1m..30m` was expected"))?;
    let (backoff, revive) = (read_span(backoff)?, line.span("revive", Span { from: 3_600_000_000, to: 86_400_000_000 })?);
    Ok(CollectorSpec {
        name: line.name()?,
        kind,
        batch: line.number("batch", 1)? as u32,
        requests: Requests { per_task: line.number("per_task", 0)? as u32, per_item: line.number("per_item", 1)? as u32 },
        retry: RetryPolicy {
            attempts: attempts.parse().map_err(|_| format!("`{attempts}` is not a number"))?,
            backoff_min: Duration::from_micros(backoff.from),
            backoff_max: Duration::from_micros(backoff.to),
            revive_min: Duration::from_micros(revive.from),
            revive_max: Duration::from_micros(revive.to),
        },
        breaker: read_breaker(line.value("breaker").unwrap_or("off"))?,
        dies: line.number("dies", 0)? as u32,
        hangs: line.number("hangs", 0)? as u32,
        timeout: line.time("timeout", 600_000_000)?,
    })
}

fn read_dataset(scenario: &Scenario, line: &Line<'_>) -> Result<DatasetSpec, String> {
    let source = match line.value("source") {
        None => None,
        Some(name) => {
            let at = scenario.sources.iter().position(|source| source.name == name);
            Some(at.ok_or(format!("no source `{name}` above"))?)
        }
    };
    let collector = line.value("collector").ok_or("a dataset needs `collector=NAME`")?;
    let at = scenario.collectors.iter().position(|known| known.name == collector);
    let priority = read_priority(line.value("priority").unwrap_or("medium"))?;
    let recheck = line.span("recheck", Span { from: 3_600_000_000, to: 30 * 86_400_000_000 })?;
    let fresh = match line.value("fresh") {
        None => None,
        Some(within) => Some(Fresh { within: read_time(within)?, until: line.time("fresh_until", 0)? }),
    };
    Ok(DatasetSpec {
        name: line.name()?,
        source,
        collector: at.ok_or(format!("no collector `{collector}` above"))?,
        priority,
        cools: line.value("cools").map(read_time).transpose()?,
        items: line.number("items", 10)? as u32,
        first_due: line.time("first_due", 0)?,
        due_every: line.time("due_every", 0)?,
        at_once: line.number("at_once", 1)?.max(1) as u32,
        groups: line.number("groups", 1)?.max(1) as u32,
        absent: line.number("absent", 0)? as u32,
        late: line.number("late", 0)? as u32,
        poison: line.number("poison", 0)? as u32,
        repaired_after: line.time("repaired_after", 0)?,
        taken: line.number("taken", 0)? as u32,
        absent_policy: AbsentPolicy {
            after: Duration::from_micros(line.time("after", 3 * 86_400_000_000)?),
            recheck_min: Duration::from_micros(recheck.from),
            recheck_max: Duration::from_micros(recheck.to),
        },
        fresh,
    })
}

impl Line<'_> {
    fn name(&self) -> Result<String, String> {
        let name = self.words.get(1).filter(|word| !word.contains('='));
        name.map(|name| name.to_string()).ok_or(format!("`{}` needs a name", self.words[0]))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        let Some(value) = self.value(name) else { return Ok(default) };
        value.parse().map_err(|_| format!("{name}: `{value}` is not a number"))
    }

    fn time(&self, name: &str, default: Micros) -> Result<Micros, String> {
        self.value(name).map_or(Ok(default), read_time)
    }

    fn span(&self, name: &str, default: Span) -> Result<Span, String> {
        self.value(name).map_or(Ok(default), read_span)
    }

    fn limits(&self) -> Result<Limits, String> {
        let mut limits = Limits::default();
        for (key, secs) in WINDOWS {
            if self.value(key).is_some() {
                limits.windows.push(Window { requests: self.number(key, 0)? as u32, span: Duration::from_secs(secs) });
            }
        }
        let some = |name: &str| self.value(name).map(|_| self.number(name, 0)).transpose();
        limits.burst = some("burst")?.map(|burst| burst as u32);
        limits.in_flight = some("in_flight")?.map(|most| most as u32);
        limits.min_delay = self.value("min_delay").map(read_time).transpose()?.map(Duration::from_micros);
        Ok(limits)
    }
}

fn read_priority(word: &str) -> Result<PriorityLevel, String> {
    PriorityLevel::ALL.into_iter().find(|level| level.word() == word).ok_or(format!("`{word}` is no priority"))
}

fn read_reserve(text: &str) -> Result<Reserve, String> {
    text.split(',').try_fold(Reserve::default(), |reserve, share| {
        let (priority, permille) = share.split_once(':').ok_or(format!("`{share}`: `critical:200` was expected"))?;
        let permille = permille.parse().map_err(|_| format!("`{permille}` is not a number"))?;
        Ok(reserve.with(read_priority(priority)?, permille))
    })
}

fn read_caps(text: &str) -> Result<Vec<(Option<PriorityLevel>, u32)>, String> {
    let cap = |cap: &str| {
        let (of, tasks) = cap.split_once(':').ok_or(format!("`{cap}`: `all:30` was expected"))?;
        let of = if of == "all" { None } else { Some(read_priority(of)?) };
        Ok((of, tasks.parse().map_err(|_| format!("`{tasks}` is not a number"))?))
    };
    text.split(',').map(cap).collect()
}

fn read_time(text: &str) -> Result<Micros, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let unit = UNITS.iter().find(|(name, _)| *name == &text[digits..]);
    match (text[..digits].parse::<u64>(), unit) {
        (Ok(number), Some((_, unit))) => Ok(number * unit),
        _ => Err(format!("`{text}` is not a time such as 250ms, 30s, 15m or 2h")),
    }
}

fn read_span(text: &str) -> Result<Span, String> {
    let (from, to) = text.split_once("..").ok_or(format!("`{text}` is not a span such as 200ms..2s"))?;
    Ok(Span { from: read_time(from)?, to: read_time(to)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invent::{capped_day, constant_demand, rough_day};
    use crate::year::year;

    #[test]
    fn a_scenario_survives_text() {
        for seed in 0..300 {
            for scenario in [rough_day(seed), capped_day(seed), constant_demand(seed), year(seed)] {
                let text = print(&scenario);
                assert_eq!(read(&text).as_ref(), Ok(&scenario), "{text}");
            }
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        let cases = [
            ("world hours=many", "line 1: hours: `many` is not a number"),
            ("\n# fine\nplanet", "line 3: `planet`: one of world"),
            ("outage espn from=1h to=2h", "line 1: no source `espn` above"),
            ("source", "line 1: `source` needs a name"),
            ("source a latency=fast", "line 1: `fast` is not a span"),
            ("source a\noutage a shows=itself", "line 2: shows `itself`: refused, no_such_thing or busy"),
            ("collector a kind=magic", "line 1: kind `magic`"),
            ("jump at=1h", "line 1: a jump needs `by=SECONDS`"),
        ];
        for (text, message) in cases {
            let problem = read(text).expect_err(text);
            assert!(problem.starts_with(message), "{problem}");
        }
    }
}
