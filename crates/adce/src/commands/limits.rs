//! `adce limits`: what each source allows, and how much of it is used now.

use std::sync::Arc;
use std::time::Duration;

use adce_api::{BreakerNow, LimitsReport, PauseNow, ReserveShare, SourceLimits, ValueNow, ValuesNow};
use adce_core::figures::{counted, grouped, size, span};
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
        if let Some(values) = &limits.values {
            limits.each.iter().for_each(|each| say!("{:names$}  each {}: {}", "", values.by, words(each, false)));
            if values.known > 0 {
                say!("{:names$}  {}", "", values_words(values));
            }
        }
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

/// The worst few by name, and how many others there are.
pub fn values_words(values: &ValuesNow) -> String {
    let named = |value: &ValueNow| {
        let used = value.windows.iter().map(|window| {
            format!("{}/{} in {}", grouped(window.used.into()), grouped(window.limit.into()), span(Duration::from_secs_f64(window.seconds)))
        });
        let waits = value.limit.as_ref().map(|limit| match value.next_permit_seconds {
            Some(seconds) => format!("waits {seconds:.1} s for {limit}"),
            None => format!("waits for {limit}"),
        });
        let fails = value.breaker.as_ref().map(|BreakerNow { since, reason, next_probe }| {
            let next = next_probe.map_or_else(|| "a probe is under way".into(), |next| format!("next probe {}", views::clock(next)));
            format!("keeps failing since {}: {reason}; {next}", views::clock(*since))
        });
        let paused = value.pause.as_ref().map(|PauseNow { until, because }| match because {
            Some(because) => format!("left alone until {}: upstream {because}", views::clock(*until)),
            None => format!("left alone until {}, as upstream asked", views::clock(*until)),
        });
        let waits = waits.filter(|_| fails.is_none() && paused.is_none());
        let words: Vec<String> = used.chain(waits).chain(fails).chain(paused).collect();
        format!("{} {}", value.value.as_deref().unwrap_or("(nobody's)"), words.join(", "))
    };
    let mut words: Vec<String> = values.worst.iter().map(named).collect();
    let others = values.known - values.worst.len() as u64;
    words.extend((others > 0).then(|| format!("{} more", grouped(others))));
    let known = counted(values.known, &values.by);
    let whose = match values.shut {
        0 => format!("{} of {known} wait", grouped(values.waiting)),
        shut => format!("{} of {known} left alone, {} waiting", grouped(shut), grouped(values.waiting)),
    };
    format!("{whose} for their own limits: {}", words.join(" · "))
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
    words.extend(limits.bytes_per_second.map(|bytes| format!("{} a second", size(bytes))));
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

#[cfg(test)]
mod tests {
    use adce_api::WindowNow;

    use super::*;

    #[test]
    fn of_many_values_the_worst_are_named_and_the_others_counted() {
        let value = |value: Option<&str>, used, waits: Option<(&str, Option<f64>)>| ValueNow {
            value: value.map(String::from),
            windows: vec![WindowNow { seconds: 60.0, limit: 60, used, set_aside: 0, usable: None }],
            in_flight: 0,
            limit: waits.map(|(limit, _)| limit.into()),
            next_permit_seconds: waits.and_then(|(_, seconds)| seconds),
            breaker: None,
            pause: None,
        };
        let worst = vec![
            value(Some("acme"), 60, Some(("per_minute: 60", Some(12.44)))),
            value(Some("zeta"), 59, Some(("in_flight", None))),
            value(None, 7, None),
        ];
        let mut values = ValuesNow { by: "customer".into(), known: 10_000, waiting: 2, shut: 0, worst };
        let expected = "2 of 10,000 customers wait for their own limits: acme 60/60 in 1 m, waits 12.4 s for per_minute: 60 \u{b7} \
                        zeta 59/60 in 1 m, waits for in_flight \u{b7} (nobody's) 7/60 in 1 m \u{b7} 9,997 more";
        assert_eq!(values_words(&values), expected);
        let at = |text: &str| text.parse().unwrap();
        let reason = "5 failures in a row, the last: answered 500".to_owned();
        let breaker = BreakerNow { since: at("2025-03-09T14:00:00Z"), reason, next_probe: Some(at("2025-03-09T14:10:00Z")) };
        values.worst = vec![ValueNow { windows: Vec::new(), breaker: Some(breaker), ..value(Some("acme"), 0, None) }];
        (values.known, values.waiting, values.shut) = (2, 0, 1);
        let expected = "1 of 2 customers left alone, 0 waiting for their own limits: acme keeps failing since 2025-03-09 14:00:00 \
                        UTC: 5 failures in a row, the last: answered 500; next probe 2025-03-09 14:10:00 UTC \u{b7} 1 more";
        assert_eq!(values_words(&values), expected);
    }
}
