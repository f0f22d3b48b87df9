//! The live block: how complete, which source at which rate, what runs, what failed last, and when it will be done.

use std::time::Duration;

use adce_core::figures::{counted, grouped, progress, span};
use adce_core::ports::Progress;
use adce_core::time::Timestamp;
use adce_engine::{DatasetLine, Phase, RunningLine, Snapshot, SourceLine, SourceState, WindowLine};
use console::{style, truncate_str};

use super::bars::bar;
use crate::views;

/// Lines of at most `columns` characters; a short window shows fewer running attempts and failures.
pub fn render(title: &str, snapshot: &Snapshot, columns: usize, rows: usize) -> Vec<String> {
    let columns = columns.max(20);
    let mut lines = vec![header(title, snapshot), summary(snapshot)];
    lines.extend(snapshot.edited.as_ref().map(|edited| format!("{} {}", style("CONFIG").yellow().bold(), views::edited(edited))));
    lines.extend(datasets(snapshot, columns));
    if !snapshot.sources.is_empty() {
        lines.push(String::new());
        lines.extend(sources(snapshot, columns));
    }
    lines.push(String::new());
    let left = rows.saturating_sub(lines.len() + 2).max(2);
    lines.extend(running(snapshot, left));
    let left = rows.saturating_sub(lines.len() + 1);
    lines.extend(failures(snapshot, left));
    lines.into_iter().map(|line| truncate_str(&line, columns.saturating_sub(1), "…").into_owned()).collect()
}

fn header(title: &str, snapshot: &Snapshot) -> String {
    let doing = match snapshot.phase {
        Phase::Observing => "looking at the lake".into(),
        Phase::Asking => "waiting for your answer".into(),
        Phase::Working => "collecting".into(),
        Phase::Waiting { until } => format!("nothing to do before {}", clock(until)),
        Phase::Draining => "finishing what runs; Ctrl-C again stops it".into(),
        Phase::Done => "done".into(),
    };
    format!("{} · {} · {doing}", style(title).bold(), since(snapshot.started_at, snapshot.at))
}

fn summary(snapshot: &Snapshot) -> String {
    let (present, wanted) = totals(snapshot);
    let open = snapshot.gaps.open();
    if snapshot.datasets.is_empty() {
        return "no picture yet".into();
    }
    if !snapshot.surprises.is_empty() {
        return format!("{} {}", style("HELD").red().bold(), snapshot.surprises.join("; "));
    }
    let word = if open == 0 { style("COMPLETE").green().bold() } else { style("NOT COMPLETE").yellow().bold() };
    let eta = match snapshot.eta {
        Some(eta) if open > 0 => format!(" · about {} left", since(snapshot.at, eta)),
        _ => String::new(),
    };
    format!("{word} {} · {}{eta}", percent(present, wanted), gaps(snapshot))
}

fn gaps(snapshot: &Snapshot) -> String {
    let gaps = &snapshot.gaps;
    let parts = [
        (gaps.running, "running"),
        (gaps.queued, "queued"),
        (gaps.waiting, "waiting"),
        (gaps.held, "held"),
        (gaps.exhausted, "exhausted"),
        (gaps.watched, "only watched"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{} {word}", grouped(*count))).collect();
    match parts.is_empty() {
        true => "no gaps".into(),
        false => format!("{}: {}", counted(gaps.open(), "gap"), parts.join(", ")),
    }
}

fn datasets(snapshot: &Snapshot, columns: usize) -> Vec<String> {
    let names = widest(snapshot.datasets.iter().map(|dataset| dataset.name.as_str()));
    let counts = |dataset: &DatasetLine| {
        let wanted = dataset.expected.saturating_sub(dataset.absent);
        let mut counts = format!("{:>9}  {} of {}", percent(dataset.present, wanted), grouped(dataset.present), grouped(wanted));
        if dataset.absent > 0 {
            counts.push_str(&format!(" · {} absent", grouped(dataset.absent)));
        }
        if dataset.not_due > 0 {
            counts.push_str(&format!(" · {} not due", grouped(dataset.not_due)));
        }
        counts
    };
    let counts: Vec<String> = snapshot.datasets.iter().map(counts).collect();
    // The bar takes what the figures leave.
    let bars = columns.saturating_sub(names + widest(counts.iter().map(String::as_str)) + 4).clamp(4, 30);
    let line = |(dataset, counts): (&DatasetLine, &String)| {
        let wanted = dataset.expected.saturating_sub(dataset.absent);
        format!("{:names$}  {} {counts}", dataset.name, style(bar(dataset.present, wanted, bars)).cyan())
    };
    snapshot.datasets.iter().zip(&counts).map(line).collect()
}

/// How much is told of a source's windows: what a narrow terminal has no room for is left out before its state is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Bars(usize),
    Figures,
    /// The figures of the fullest window.
    Fullest,
}

/// `next permit in 1 m 20 s`; of a breaker as much as the time of its next probe.
const STATE_AT_LEAST: usize = 24;

fn sources(snapshot: &Snapshot, columns: usize) -> Vec<String> {
    let names = widest(snapshot.sources.iter().map(|source| source.name.as_str())).max(6);
    let widest_windows = |detail| {
        let widths = snapshot.sources.iter().map(|source| console::measure_text_width(&rates(source, detail)));
        widths.max().unwrap_or(0).max("AGAINST LIMIT".len())
    };
    // In flight, 429, and two columns between each.
    let beside = names + 9 + 4 + 8 + STATE_AT_LEAST;
    let fits = |detail| beside + widest_windows(detail) + if matches!(detail, Detail::Bars(_)) { 10 } else { 0 } < columns;
    let details = [Detail::Bars(10), Detail::Bars(5), Detail::Figures];
    let detail = details.into_iter().find(|detail| fits(*detail)).unwrap_or(Detail::Fullest);
    let windows = widest_windows(detail);
    let requests = |text: &str| if matches!(detail, Detail::Bars(_)) { format!("  {text:>8}") } else { String::new() };
    let head =
        format!("{:names$}  {:windows$}  {:>9}{}  {:>4}  STATE", "SOURCE", "AGAINST LIMIT", "IN FLIGHT", requests("REQUESTS"), "429");
    let mut lines = vec![style(head).dim().to_string()];
    for source in &snapshot.sources {
        let in_flight = match source.in_flight_limit {
            Some(limit) => format!("{}/{limit}", source.in_flight),
            None => source.in_flight.to_string(),
        };
        let rate = rates(source, detail);
        let padding = " ".repeat(windows.saturating_sub(console::measure_text_width(&rate)));
        lines.push(format!(
            "{:names$}  {rate}{padding}  {in_flight:>9}{}  {:>4}  {}",
            source.name,
            requests(&grouped(source.requests)),
            grouped(source.throttled),
            state(source, snapshot.at)
        ));
    }
    lines
}

/// `minute █████▌  37/60   hour ▎ 80/3,000`
fn rates(source: &SourceLine, detail: Detail) -> String {
    let window = |window: &WindowLine| {
        let name = window.key.trim_start_matches("per_");
        let figures = format!("{}/{}", grouped(window.used), grouped(window.limit));
        match detail {
            Detail::Bars(width) => format!("{name} {} {figures:>7}", style(bar(window.used, window.limit, width)).green()),
            Detail::Figures | Detail::Fullest => format!("{name} {figures}"),
        }
    };
    let share = |window: &&WindowLine| window.used as f64 / window.limit.max(1) as f64;
    let windows: Vec<String> = match detail {
        Detail::Fullest => source.windows.iter().max_by(|one, other| share(one).total_cmp(&share(other))).map(window).into_iter().collect(),
        _ => source.windows.iter().map(window).collect(),
    };
    if windows.is_empty() { "no limits".into() } else { windows.join("  ") }
}

fn state(source: &SourceLine, at: Timestamp) -> String {
    match &source.state {
        SourceState::Paused { until, because: None } => style(format!("asked us to wait {}", since(at, *until))).yellow().to_string(),
        SourceState::Paused { until, because: Some(because) } => {
            style(format!("{because}: left alone for {}", since(at, *until))).yellow().to_string()
        }
        SourceState::Open { until, reason, .. } => style(format!("breaker open until {}: {reason}", clock(*until))).red().to_string(),
        SourceState::HalfOpen { .. } => style("breaker half-open").yellow().to_string(),
        SourceState::Ok => match source.next_permit {
            Some(then) if source.queued + source.asking > 0 && then.duration_since(at).as_secs() > 0 => {
                format!("next permit in {}", since(at, then))
            }
            Some(_) if source.queued + source.asking > 0 => "at its limit".into(),
            _ => "ok".into(),
        },
    }
}

fn running(snapshot: &Snapshot, at_most: usize) -> Vec<String> {
    let mut lines = vec![style(format!("RUNNING {} of {} slots", snapshot.slots_used, snapshot.slots)).dim().to_string()];
    let shown = snapshot.running.len().min(at_most.saturating_sub(1)).min(8);
    lines.extend(snapshot.running[..shown].iter().map(|running| attempt(running, snapshot.at)));
    if snapshot.running.len() > shown {
        lines.push(format!("  … and {} more", snapshot.running.len() - shown));
    }
    if snapshot.guests > 0 {
        lines.push(format!("  and {} by hand (adce exec)", counted(snapshot.guests as u64, "program")));
    }
    lines
}

fn attempt(running: &RunningLine, at: Timestamp) -> String {
    let mut line = format!("  {}  {} · {}", running.collector, running.what, since(running.started_at, at));
    if let Some(Progress { done, of }) = running.progress {
        line.push_str(&format!(" · {}", progress(done, of)));
    }
    if running.requests > 0 {
        line.push_str(&format!(" · {} request{}", grouped(running.requests), if running.requests == 1 { "" } else { "s" }));
    }
    if let Some(group) = running.process_group {
        line.push_str(&format!(" · pid {group}"));
    }
    line
}

fn failures(snapshot: &Snapshot, at_most: usize) -> Vec<String> {
    if snapshot.recent.is_empty() || at_most < 2 {
        return Vec::new();
    }
    let mut lines = vec![style("LATEST FAILURES (each is retried, unless it says otherwise)".to_owned()).dim().to_string()];
    let shown = snapshot.recent.len().min(at_most - 1).min(4);
    let latest = snapshot.recent.iter().rev().take(shown);
    lines.extend(latest.map(|failure| format!("  {} {} · {}", clock(failure.at), failure.key, reason(&failure.message))));
    lines
}

/// Without the URL that most messages of fetches begin with: the key stands before it, and a narrow terminal shows no more.
fn reason(message: &str) -> String {
    let is_url = |word: &str| word.starts_with("http://") || word.starts_with("https://");
    let reason = message.split_once(' ').filter(|(word, _)| is_url(word)).map_or(message, |(_, reason)| reason);
    reason.replace('\n', " ")
}

fn totals(snapshot: &Snapshot) -> (u64, u64) {
    let present = snapshot.datasets.iter().map(|dataset| dataset.present).sum();
    let wanted = snapshot.datasets.iter().map(|dataset| dataset.expected.saturating_sub(dataset.absent)).sum();
    (present, wanted)
}

fn percent(part: u64, whole: u64) -> String {
    adce_core::figures::percent(part, whole).unwrap_or_else(|| "-".into())
}

fn widest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(console::measure_text_width).max().unwrap_or(0)
}

/// `14:03:30`, UTC.
fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

fn since(earlier: Timestamp, later: Timestamp) -> String {
    span(Duration::try_from(later.duration_since(earlier)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, state: SourceState) -> SourceLine {
        let window = |key: &str, used, limit| WindowLine { key: key.into(), used, limit, ..WindowLine::default() };
        SourceLine {
            name: name.into(),
            state,
            windows: vec![window("per_second", 10, 10), window("per_minute", 312, 480), window("per_hour", 312, 30_000)],
            in_flight: 6,
            in_flight_limit: Some(6),
            requests: 12_345,
            queued: 17,
            next_permit: Some(Timestamp::UNIX_EPOCH),
            ..SourceLine::default()
        }
    }

    #[test]
    fn a_narrow_terminal_shows_what_matters() {
        let at = Timestamp::UNIX_EPOCH;
        let later = Timestamp::from_second(93).expect("a time");
        let open = SourceState::Open { until: later, since: at, reason: "503".into() };
        let dataset = DatasetLine {
            name: "play_by_play".into(),
            expected: 123_456,
            present: 98_765,
            absent: 1_234,
            not_due: 110,
            ..DatasetLine::default()
        };
        let failure = |key: &str, message: &str| adce_engine::FailureLine { at, key: key.into(), message: message.into() };
        let snapshot = Snapshot {
            at,
            started_at: at,
            datasets: vec![dataset],
            sources: vec![
                source("basketball_reference", SourceState::Ok),
                source("espn", open),
                source("nba", SourceState::Paused { until: later, because: None }),
            ],
            recent: [failure("plays/401700314.json", "http://127.0.0.1:46835/plays/401700314 answered 503: later")].into(),
            ..Snapshot::default()
        };
        for (columns, all) in [(80, false), (100, false), (170, true)] {
            let lines = render("demo", &snapshot, columns, 40);
            let text = lines.join("\n");
            for words in
                ["at its limit", "breaker open until 00", "asked us to wait 1 m", "401700314.json · answered 503", "110 not due", "10/10"]
            {
                assert!(text.contains(words), "`{words}` at {columns} columns:\n{text}");
            }
            assert_eq!(text.contains("12,345") && text.contains("312/30,000"), all, "{columns} columns:\n{text}");
            assert!(lines.iter().all(|line| console::measure_text_width(line) < columns), "{text}");
        }
    }

    #[test]
    fn a_running_attempt_shows_how_far_it_is() {
        let line = RunningLine {
            attempt: adce_core::ids::AttemptId(adce_core::ids::Uuid::nil()),
            task: "t_00000000000000000000000000".parse().expect("a task's id"),
            collector: "bbref".into(),
            source: None,
            number: 1,
            what: "box/1.json and 19 more".into(),
            started_at: Timestamp::UNIX_EPOCH,
            items: 20,
            requests: 7,
            process_group: Some(4312),
            progress: Some(Progress { done: 7, of: 20 }),
        };
        let at = Timestamp::from_second(36).expect("a time");
        assert_eq!(attempt(&line, at), "  bbref  box/1.json and 19 more · 36 s · 7 of 20 landed · 7 requests · pid 4312");
    }
}
