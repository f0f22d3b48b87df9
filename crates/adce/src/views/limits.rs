//! What each source is asked and may be asked: declared, used, learned, and what of it could be declared instead.

use std::time::Duration;

use adce_api::{BreakerNow, LimitsReport, PauseNow, ReserveShare, Share, SourceLimits, ValueNow, ValuesNow, WindowNow};
use adce_core::figures::{grouped, span};
use adce_core::queue::{Gate, ValuesFigures, WindowFigures};
use adce_core::spec::{Limits, Margin, Reserve, Source, Spec, Window};
use adce_core::time::{Boottime, Now};
use adce_engine::{CollectorLine, LimitsView, collector_line};

use super::reasons::sentence;
use super::{collectors, window_now};

pub fn limits(view: &LimitsView, spec: &Spec, now: Now) -> LimitsReport {
    let crashing: Vec<CollectorLine> = view.collectors.iter().cloned().filter_map(collector_line).collect();
    let sources = view.sources.iter().filter_map(|figures| {
        let source = spec.sources.get(&figures.source)?;
        let mut limits = declared_of(source, &spec.engine.reserve);
        limits.values = figures.values.as_ref().map(|figures| values_now(figures, now.boot));
        for (window, now) in limits.windows.iter_mut().zip(&figures.windows) {
            (window.used, window.set_aside) = (now.used, now.set_aside);
        }
        let settle = view.settle.get(&figures.source).copied();
        limits.traffic = view.traffic.get(&figures.source).map(super::traffic);
        limits.settle_seconds = settle.map(|settle| settle.as_secs_f64());
        if let (Margin::Bracket, Some(settle)) = (source.limits.margin, settle) {
            limits.windows.iter_mut().for_each(|window| window.usable = Some(usable(window.seconds, settle)));
        }
        limits.learned = figures.learned_interval.map(|interval| adce_api::LearnedRate {
            share: figures.learned_share.map(|share| f64::from(share) / 1e3),
            every_seconds: interval.as_secs_f64(),
        });
        let told = figures.told.iter().map(|(requests, per)| adce_api::ToldLimit { requests: *requests, seconds: per.as_secs_f64() });
        limits.told = told.collect();
        limits.suggestions = figures.told.iter().filter_map(|(requests, per)| suggestion(*requests, *per, &source.limits)).collect();
        limits.in_flight.used = figures.in_flight;
        limits.next_permit_seconds = figures.next_permit.map(|at| at.since(now.boot).as_secs_f64());
        limits.useful_slots = figures.useful_attempts;
        limits.would_wait = figures.crowd.as_ref().map(|gate| sentence(gate, now));
        if let Some(gate) = &figures.gate {
            (limits.state, limits.until, limits.since) = match gate {
                Gate::Breaker { until: None, since, .. } => (adce_api::SourceState::HalfOpen, None, Some(*since)),
                Gate::Breaker { until, since, .. } => (adce_api::SourceState::Open, *until, Some(*since)),
                Gate::RetryAfter { until, .. } => (adce_api::SourceState::Paused, Some(*until), None),
                _ => (adce_api::SourceState::Ok, None, None),
            };
            limits.reason = Some(sentence(gate, now));
        }
        Some((figures.source.clone(), limits))
    });
    LimitsReport { sources: sources.collect(), collectors: collectors(&crashing), ..declared_limits(spec) }
}

/// `now`: for the instants in it.
pub fn values_now(figures: &ValuesFigures, now: Boottime) -> ValuesNow {
    let window = |window: &WindowFigures| WindowNow {
        seconds: Window::span_of(&window.key).map_or(0.0, |span| span.as_secs_f64()),
        limit: window.limit,
        used: window.used,
        set_aside: window.set_aside,
        usable: None,
    };
    let worst = figures.worst.iter().map(|value| ValueNow {
        value: value.value.clone(),
        windows: value.windows.iter().map(window).collect(),
        in_flight: value.in_flight,
        limit: value.limit.clone(),
        next_permit_seconds: value.until.map(|at| at.since(now).as_secs_f64()),
        breaker: value.gate.as_ref().and_then(breaker_now),
        pause: value.gate.as_ref().and_then(pause_now),
    });
    ValuesNow { by: figures.by.clone(), known: figures.known, waiting: figures.waiting, shut: figures.shut, worst: worst.collect() }
}

fn pause_now(gate: &Gate) -> Option<PauseNow> {
    let Gate::RetryAfter { until, because, .. } = gate else { return None };
    Some(PauseNow { until: *until, because: because.clone() })
}

fn breaker_now(gate: &Gate) -> Option<BreakerNow> {
    let Gate::Breaker { until, since, reason, .. } = gate else { return None };
    Some(BreakerNow { since: *since, reason: reason.clone(), next_probe: *until })
}

/// What constant demand can use of a window, if every request counts until its window after it settled (promise 2).
pub fn usable(window_seconds: f64, settle: Duration) -> f64 {
    window_seconds / (window_seconds + settle.as_secs_f64())
}

/// What a person might declare, after what upstream says that it allows.
fn suggestion(requests: u32, per: Duration, declared: &Limits) -> Option<String> {
    let said = format!("upstream says that it allows {} in {}", grouped(requests.into()), span(per));
    if ![1, 60, 3_600, 86_400].contains(&per.as_secs()) || per.subsec_nanos() > 0 {
        return Some(said);
    }
    let key = Window { requests, span: per }.key();
    match declared.windows.iter().find(|window| window.span == per).map(|window| window.requests) {
        Some(declared) if declared == requests => None,
        Some(declared) if declared < requests => Some(format!("{said}; `{key}: {declared}` could be raised to that")),
        Some(declared) => {
            Some(format!("{said}, and that is kept to; `{key}: {requests}` instead of {declared} would be right from the start"))
        }
        None => Some(format!("{said}; `{key}: {requests}` would say so")),
    }
}

/// What the config allows, nothing used.
pub fn declared_limits(spec: &Spec) -> LimitsReport {
    let (reserve, slots) = (&spec.engine.reserve, spec.engine.max_concurrent);
    let shares = reserve.shares().map(|(priority, permille)| ReserveShare {
        priority,
        share: f64::from(permille) / f64::from(Reserve::WHOLE),
        slots: Share { used: reserve.of_slots(priority, slots), of: Some(slots) },
    });
    LimitsReport {
        all: declared(&spec.limits, reserve),
        sources: spec.sources.iter().map(|(name, source)| (name.clone(), declared_of(source, reserve))).collect(),
        collectors: Default::default(),
        reserve: shares.collect(),
    }
}

fn declared_of(source: &Source, reserve: &Reserve) -> SourceLimits {
    let each = source.by.as_ref().filter(|by| by.limits != Limits::default()).map(|by| Box::new(declared(&by.limits, reserve)));
    let values = source.by.as_ref().map(|by| ValuesNow { by: by.name.clone(), ..ValuesNow::default() });
    SourceLimits { each, values, ..declared(&source.limits, reserve) }
}

fn declared(limits: &Limits, reserve: &Reserve) -> SourceLimits {
    let set_aside = |window: &Window| reserve.shares().map(|(priority, _)| reserve.of_window(priority, window.requests)).sum();
    SourceLimits {
        windows: limits.windows.iter().map(|window| window_now(window, 0, set_aside(window))).collect(),
        burst: limits.burst,
        min_delay_seconds: limits.min_delay.map(|delay| delay.as_secs_f64()),
        in_flight: Share { used: 0, of: limits.in_flight },
        bytes_per_second: limits.bytes_per_second,
        linger_seconds: limits.linger.as_secs_f64(),
        margin_seconds: match limits.margin {
            Margin::Bracket => None,
            Margin::Fixed(margin) => Some(margin.as_secs_f64()),
        },
        ..SourceLimits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_upstream_allows_beyond_what_is_declared_is_only_suggested() {
        let declared = Limits { windows: vec![Window { requests: 60, span: Duration::from_secs(60) }], ..Limits::default() };
        let said = |requests, secs| suggestion(requests, Duration::from_secs(secs), &declared);
        assert_eq!(said(60, 60), None);
        let looser = "upstream says that it allows 100 in 1 m; `per_minute: 60` could be raised to that";
        assert_eq!(said(100, 60).as_deref(), Some(looser));
        let stricter =
            "upstream says that it allows 30 in 1 m, and that is kept to; `per_minute: 30` instead of 60 would be right from the start";
        assert_eq!(said(30, 60).as_deref(), Some(stricter));
        assert_eq!(said(5_000, 3_600).as_deref(), Some("upstream says that it allows 5,000 in 1 h; `per_hour: 5000` would say so"));
        assert_eq!(said(10, 7).as_deref(), Some("upstream says that it allows 10 in 7 s"));
    }

    #[test]
    fn what_a_window_loses_to_its_proof_is_what_answers_take() {
        assert!((usable(60.0, Duration::from_millis(600)) - 0.990_099).abs() < 1e-6);
    }
}
