//! Answers to questions from outside the loop, and the snapshots that displays draw.

use std::time::Duration;

use adce_core::coverage::Coverage;
use adce_core::gap::Gap;
use adce_core::queue::{CollectorFigures, Dispatcher, Gate, Idle, Meant, SourceFigures, Waiting};
use adce_core::record::Change;
use adce_core::time::Now;
use adce_core::traffic::Traffic;

use crate::engine::{Consent, Engine};
use crate::inbox::{Aside, CoverageView, LimitsView, PausesView, Query, Retried, StatusView};
use crate::snapshot::{
    CollectorLine, ContestedLine, DatasetLine, DoubtLine, GapFigures, HeldBackLine, PausedLine, Phase, Snapshot, SourceLine, SourceState,
    ValuesLine, WindowLine,
};
use crate::why::{Known, TaskView, Why, task_view};

/// A shorter pause is not worth telling anybody.
const WORTH_SAYING: Duration = Duration::from_secs(2);

impl Engine {
    pub(crate) fn answer(&mut self, query: Query, now: Now) {
        // Who asked may be gone meanwhile; then the answer is for nobody.
        match query {
            Query::Status(reply) => {
                let next_cycle = now.wall_at(self.next_cycle());
                let snapshot = self.snapshot(now, self.phase(&None, now));
                let _ = reply.send(StatusView { snapshot, cycle: self.cycle.figures.clone(), next_cycle });
            }
            Query::Gaps(reply) => {
                let _ = reply.send(self.known().gaps(now).chain(self.gaps_aside()).collect());
            }
            Query::Coverage(reply) => {
                let coverage = self.cycle.coverage.as_ref().map(Coverage::without_gaps);
                let surprises = self.held.as_ref().map(|held| held.surprises.clone()).unwrap_or_default();
                let _ = reply.send(CoverageView {
                    spec: self.spec.clone(),
                    expected: self.cycle.expected.clone(),
                    coverage,
                    cycle: self.cycle.figures.clone(),
                    surprises,
                });
            }
            Query::Tasks(reply) => {
                let tasks = self.dispatcher.tasks();
                let view = |task| {
                    let view = task_view(&self.dispatcher, task, now);
                    let progress = match view.gate {
                        Some(Gate::Running { attempt }) => self.figures.progress_of(attempt),
                        _ => None,
                    };
                    TaskView { progress, ..view }
                };
                let _ = reply.send(tasks.into_iter().map(view).collect());
            }
            Query::Waits(task, reply) => {
                let _ = reply.send(self.dispatcher.waited(task, now));
            }
            Query::Limits(reply) => {
                let settled = self.figures.sources.iter().filter(|(_, used)| !used.mean_settle().is_zero());
                let settle = settled.map(|(name, used)| (name.clone(), used.mean_settle())).collect();
                let (sources, collectors) = (self.dispatcher.figures(now), self.dispatcher.collectors(now));
                let traffic = self.figures.sources.keys().map(|name| (name.clone(), self.traffic_of(name)));
                let traffic = traffic.filter(|(_, traffic)| !traffic.is_empty()).collect();
                let _ = reply.send(LimitsView { sources, collectors, settle, traffic });
            }
            Query::Why(what, reply) => {
                let aside = self.gaps_aside().find(|view| view.gap.key == what).map(Why::Gap);
                let about = self.known().about(&what, now);
                let _ = reply.send((aside.unwrap_or_else(|| self.known().why(&what, now)), about));
            }
            Query::Accept(reply) => {
                let _ = reply.send(self.accept());
            }
            Query::Release(name, reply) => {
                let _ = reply.send(self.release(&name, now));
            }
            Query::Retry(name, reply) => {
                let _ = reply.send(self.retry(name.as_deref(), now));
            }
            Query::Expedite(wanted, priority, reply) => {
                let (asked, changes) = self.dispatcher.expedite(&wanted, priority, now);
                self.ledger.record(changes);
                self.closing = false;
                let _ = reply.send(asked);
            }
            Query::Pause(of, because, reply) => {
                let changed = self.pause(of, because, now);
                let _ = reply.send(PausesView { changed, paused: self.dispatcher.paused() });
            }
            Query::Resume(of, reply) => {
                let all = || self.dispatcher.paused_by_hand().keys().cloned().collect();
                let of: Vec<_> = of.map_or_else(all, |of| vec![of]);
                let changed = self.resume(&of, now);
                let _ = reply.send(PausesView { changed, paused: self.dispatcher.paused() });
            }
            Query::Cancel(name, until, reply) => {
                let _ = reply.send(self.cancel(&name, until, now));
            }
            Query::Slot(source, reply) => {
                // Whoever asked and has gone away meanwhile will never give it back.
                if let Err(Some(slot)) = reply.send(self.slot_for_job(source)) {
                    self.slot_back(slot.id, now);
                }
            }
            Query::SlotBack(job, reply) => {
                let _ = reply.send(self.slot_back(job, now));
            }
            Query::Look(reply) => {
                let _ = reply.send(self.look_now());
            }
            Query::Admit(only, reply) => {
                // Whoever asked and has gone away meanwhile will never tell that it is over.
                if let Err(Ok(guest)) = reply.send(self.admit(only)) {
                    self.dismiss(guest.id, now);
                }
            }
            Query::Dismiss(guest, reply) => {
                let _ = reply.send(self.dismiss(guest, now));
            }
        }
    }

    fn known(&self) -> Known<'_> {
        Known {
            spec: &self.spec,
            inventory: self.cycle.inventory.as_ref(),
            dispatcher: &self.dispatcher,
            records: &self.items,
            expected: &self.cycle.expected,
            coverage: self.cycle.coverage.as_ref(),
            unbelieved: &self.cycle.unbelieved,
            reported: &self.cycle.figures.reported,
            answered: Some(&self.cycle.hearing.answered),
        }
    }

    /// The held picture is believed when the next cycle still shows it, which begins now.
    fn accept(&mut self) -> Vec<String> {
        let Some(held) = &mut self.held else { return Vec::new() };
        held.accepted = true;
        let surprises = held.surprises.clone();
        self.ledger.record(vec![Change::PutHeldPicture(self.held.clone())]);
        if !self.cycle.under_way {
            self.begin_cycle();
        }
        surprises
    }

    /// A person says that contested objects may be fetched; `None`: nothing has this name.
    fn release(&mut self, name: &str, now: Now) -> Option<Vec<Gap>> {
        let (released, changes) = self.dispatcher.release(Meant::Named(name), &mut self.items, now)?;
        self.ledger.record(changes);
        Some(released)
    }

    /// A person wants what waits tried at once; no name: everything.
    fn retry(&mut self, name: Option<&str>, now: Now) -> Retried {
        if self.aside.values().any(|gap| Some(gap.key.as_str()) == name) {
            return Retried::LeftAside(if self.options.select.is_some() { Aside::NotSelected } else { Aside::OlderThanBaseline });
        }
        let Some((asked, changes)) = self.dispatcher.retry(name.map_or(Meant::All, Meant::Named), now) else { return Retried::Unknown };
        self.ledger.record(changes);
        // There is something to do again, also if this was to be the last look.
        self.closing = false;
        Retried::Asked(asked)
    }

    pub(crate) fn phase(&self, idle: &Option<Idle>, now: Now) -> Phase {
        if self.interrupted.is_some() {
            return Phase::Draining;
        }
        if self.consent == Consent::Asked {
            return Phase::Asking;
        }
        if self.cycle.under_way && self.stops.is_empty() {
            return Phase::Observing;
        }
        let Some(wakes) = idle.as_ref().and_then(|idle| idle.wake_at).filter(|_| self.stops.is_empty()) else { return Phase::Working };
        // A retry whose time comes before its source may be asked wakes the loop, and is no try yet.
        let until = self.dispatcher.next_start(now).map_or(wakes, |next| now.boot_at(next).max(wakes));
        if until.since(now.boot) > WORTH_SAYING { Phase::Waiting { until: now.wall_at(until) } } else { Phase::Working }
    }

    pub(crate) fn snapshot(&mut self, now: Now, phase: Phase) -> Snapshot {
        self.cycle.renew_figures();
        let counts = self.dispatcher.counts(now);
        let known = counts.queued + counts.running + counts.waiting + counts.held + counts.exhausted;
        let datasets = self.dataset_lines();
        let open: u64 = datasets.iter().map(|dataset| dataset.open).sum();
        let aside = self.aside.len() as u64;
        // While a picture is held, the gaps that it would open are with nobody.
        let held_back = if self.held.is_some() { open.saturating_sub(known + aside) } else { 0 };
        let gaps = GapFigures {
            queued: counts.queued,
            running: counts.running,
            waiting: counts.waiting,
            held: counts.held.saturating_sub(counts.watched) + aside + held_back,
            exhausted: counts.exhausted,
            watched: counts.watched,
        };
        Snapshot {
            at: now.wall,
            started_at: self.figures.started.wall,
            phase,
            datasets,
            gaps,
            sources: self.sources_of_the_config(now).into_iter().map(|source| self.source_line(source, now)).collect(),
            collectors: self.dispatcher.collectors(now).into_iter().filter_map(collector_line).collect(),
            running: self.figures.running(),
            slots: self.spec.engine.max_concurrent,
            slots_used: self.dispatcher.slots_used(),
            totals: self.figures.totals,
            eta: self.figures.eta(counts.queued + counts.running + counts.waiting, self.dispatcher.limits_take(now), now),
            recent: self.figures.recent.iter().cloned().collect(),
            surprises: self.held.as_ref().map(|held| held.surprises.clone()).unwrap_or_default(),
            doubts: doubts(&self.dispatcher, now),
            uncovered: self.figures.uncovered_lines(),
            held_back: kept_for_next_look(&self.dispatcher, now),
            edited: self.edited.clone(),
            guests: self.figures.guests.len(),
            paused: self.dispatcher.paused().into_iter().map(|(of, pause)| PausedLine { of, pause }).collect(),
            feeds: self.cycle.hearing.feeds.values().cloned().collect(),
            contested: self.dispatcher.contested(now).into_iter().map(|(gap, until)| ContestedLine { key: gap.key, until }).collect(),
        }
    }

    /// One that has left the config is known to the queue until it is forgotten.
    fn sources_of_the_config(&self, now: Now) -> Vec<SourceFigures> {
        let mut figures = self.dispatcher.figures(now);
        figures.retain(|source| self.spec.sources.contains_key(&source.source));
        figures
    }

    fn dataset_lines(&self) -> Vec<DatasetLine> {
        let lines = self.cycle.figures.datasets.iter().map(|dataset| DatasetLine {
            name: dataset.name.clone(),
            expected: dataset.counts.expected(),
            present: dataset.counts.present,
            absent: dataset.counts.absent,
            not_due: dataset.counts.not_due,
            open: dataset.counts.gaps(),
        });
        lines.collect()
    }

    /// What the source was asked since the engine started.
    fn traffic_of(&self, source: &str) -> Traffic {
        let mut traffic = self.figures.sources.get(source).map(|used| used.traffic.clone()).unwrap_or_default();
        traffic.passed += self.ports.gate.passed(source);
        traffic.passed += self.reloading.passed(source);
        traffic
    }

    fn source_line(&mut self, figures: SourceFigures, now: Now) -> SourceLine {
        self.figures.windows(&figures.source, figures.windows.iter().map(|window| u64::from(window.used)));
        let used = self.figures.sources.get(&figures.source).cloned().unwrap_or_default();
        let state = match figures.gate {
            Some(Gate::Breaker { until: Some(until), since, reason, .. }) => SourceState::Open { until, since, reason },
            Some(Gate::Breaker { until: None, since, reason, .. }) => SourceState::HalfOpen { since, reason },
            Some(Gate::RetryAfter { until, because, .. }) => SourceState::Paused { until, because },
            _ => SourceState::Ok,
        };
        let windows = figures.windows.iter().zip(&used.most).map(|(window, most)| WindowLine {
            key: window.key.clone(),
            used: u64::from(window.used),
            most: *most,
            limit: u64::from(window.limit),
            set_aside: u64::from(window.set_aside),
        });
        SourceLine {
            state,
            windows: windows.collect(),
            in_flight: figures.in_flight,
            in_flight_limit: figures.in_flight_limit,
            useful_attempts: figures.useful_attempts,
            crowd: figures.crowd,
            values: figures.values.map(|figures| ValuesLine { figures, at: now.boot }),
            requests: used.requests,
            throttled: used.throttled,
            throttled_today: used.throttled_on(now.wall),
            queued: figures.waiting_gaps,
            asking: used.asking,
            next_permit: figures.next_permit.filter(|at| *at > now.boot).map(|at| now.wall_at(at)),
            mean_settle_seconds: used.mean_settle().as_secs_f64(),
            waited_seconds: used.waited.as_secs_f64(),
            traffic: self.traffic_of(&figures.source),
            name: figures.source,
        }
    }
}

/// Only of those that are held back.
pub fn collector_line(figures: CollectorFigures) -> Option<CollectorLine> {
    let Some(Gate::CollectorBreaker { until, since, reason, .. }) = figures.gate else { return None };
    Some(CollectorLine { name: figures.collector, until, since, reason, queued: figures.waiting_gaps })
}

fn kept_for_next_look(dispatcher: &Dispatcher, now: Now) -> Vec<HeldBackLine> {
    let line = |waiting: Waiting| HeldBackLine { gate: waiting.gate, tasks: waiting.tasks, gaps: waiting.gaps };
    dispatcher.held_back(now).into_iter().map(line).collect()
}

pub fn doubts(dispatcher: &Dispatcher, now: Now) -> Vec<DoubtLine> {
    let line = |(source, doubt): (String, adce_core::queue::Doubt)| DoubtLine {
        gaps: dispatcher.doubted(&source),
        since: doubt.since,
        probe_at: doubt.probe_at,
        source,
    };
    dispatcher.doubts(now).into_iter().map(line).filter(|line| line.gaps > 0).collect()
}
