//! `adce limits`: what each source allows, and how much of it is used now.

use std::sync::Arc;
use std::time::Duration;

use adce_api::{LimitsReport, ReserveShare, SourceLimits};
use adce_core::figures::{grouped, span};
use adce_core::ports::Clock;
use adce_core::queue::{Dispatcher, Rules};
use adce_core::spec::Spec;
use adce_engine::LimitsView;
use console::style;

use crate::cli::Format;
use crate::clock::MachineClock;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::views;

pub fn run(spec: &Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let (report, live) = match ask::engine(spec)? {
        Some(mut engine) => (ask::answered(engine.limits())?, true),
        None => (remembered(spec)?, false),
    };
    match format {
        Format::Json => say!("{}", serde_json::to_string(&report).unwrap_or_default()),
        Format::Text => print(&report, live),
    }
    Ok(Exit::Complete)
}

/// As declared, and which breakers are open: the next run begins with that.
fn remembered(spec: &Spec) -> Result<LimitsReport, Failure> {
    let Some(state) = ask::state(spec)? else { return Ok(views::declared_limits(spec)) };
    let now = MachineClock.now();
    let (dispatcher, _) = Dispatcher::new(Rules::of(spec), &mut state.remembered()?, MachineClock.boot_id(), now);
    let view = LimitsView {
        sources: dispatcher.figures(now),
        collectors: dispatcher.collectors(now),
        settle: Default::default(),
        traffic: Default::default(),
    };
    Ok(views::limits(&view, spec, now))
}

fn print(report: &LimitsReport, live: bool) {
    if !live {
        say!("{}", style("no engine runs: these are the limits as declared, and what the last one left shut").dim());
    }
    let names = report.sources.keys().map(|name| console::measure_text_width(name)).max().unwrap_or(0).max("all together".len());
    for (name, limits) in &report.sources {
        say!("{name:names$}  {}", words(limits, live));
    }
    say!("{:names$}  {}", "all together", words(&report.all, live));
    for (name, limits) in &report.sources {
        limits.traffic.iter().for_each(|seen| say!("{name} since the engine started: {}", views::traffic_words(seen)));
    }
    for (name, limits) in &report.sources {
        limits.suggestions.iter().for_each(|suggestion| say!("hint: {name}: {suggestion}"));
    }
    for (name, collector) in &report.collectors {
        let next = collector.until.map_or_else(|| "a probe is under way".into(), |until| format!("next probe {until}"));
        say!("collector {name}  breaker open since {}: {}; {next}", collector.since, collector.reason);
    }
    for ReserveShare { priority, share, slots } in &report.reserve {
        let of = slots.of.unwrap_or_default();
        say!("set aside for {}: {:.0} % of every window and {} of {of} slots", priority.word(), share * 100.0, slots.used);
    }
}

/// What the proof of the windows costs, or that there is none.
fn margin_words(limits: &SourceLimits) -> Option<String> {
    if let Some(margin) = limits.margin_seconds {
        return Some(format!("margin {margin} s, yours to answer for"));
    }
    let window = limits.windows.iter().find(|window| window.usable.is_some())?;
    let settle = (limits.settle_seconds? * 1e3).round();
    let [usable, of] = [window.usable? * 100.0, window.seconds];
    Some(format!("answers take {settle} ms, which leaves {usable:.1} % of the {} window", span(Duration::from_secs_f64(of))))
}

fn words(limits: &SourceLimits, live: bool) -> String {
    let mut words: Vec<String> = limits
        .windows
        .iter()
        .map(|window| {
            let used = if live { format!("{}/", grouped(window.used.into())) } else { String::new() };
            let set_aside = match window.set_aside {
                0 => String::new(),
                some => format!(" ({} set aside)", grouped(some.into())),
            };
            format!("{used}{} in any {}{set_aside}", grouped(window.limit.into()), span(Duration::from_secs_f64(window.seconds)))
        })
        .collect();
    words.extend(limits.burst.map(|burst| format!("burst {burst}")));
    words.extend(limits.min_delay_seconds.map(|delay| format!("{delay} s apart")));
    words.extend(
        limits.in_flight.of.map(|of| if live { format!("{}/{of} in flight", limits.in_flight.used) } else { format!("{of} in flight") }),
    );
    if words.is_empty() {
        words.push("no limits".into());
    }
    words.extend(margin_words(limits));
    if let Some(learned) = &limits.learned {
        let every = format!("1 every {} s", (learned.every_seconds * 1e3).round() / 1e3);
        words.push(match learned.share {
            Some(share) => format!("{every}, {:.0} % of its full rate, after it refused or let requests hang", share * 100.0),
            None => format!("{every}, as its own policy says"),
        });
    }
    words.extend(limits.useful_slots.map(|slots| format!("used up by {slots} attempt{} at a time", if slots == 1 { "" } else { "s" })));
    words.extend(limits.reason.clone());
    words.extend(limits.would_wait.clone());
    words.join(" · ")
}
