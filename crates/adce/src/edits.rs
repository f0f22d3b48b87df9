//! A config that is edited while an engine runs by it: what can be in force is, with the next look, and the rest is named.
//!
//! Without it whoever wants another limit, or one more dataset, has to end a backfill of days. `priority_weighting` is in force at once;
//! everything else with a look at the lake that begins at once, between two decisions; what a state belongs to, and few other parts, when an
//! engine starts.
//!
//! Always true: nothing of an edition with an error in it is in force, and each edition is told of once
//! (`a_config_that_is_edited_while_it_runs_changes_the_order_at_once`, `an_invalid_config_is_told_of_everywhere_and_the_old_one_stays`). A file that is
//! still being written is left alone until it has stayed the same from one look to the next.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use adce_core::ports::Clock;
use adce_core::spec::Spec;
use adce_core::time::Timestamp;
use adce_engine::{Edited, FeedState, Handle, Reload};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::clock::MachineClock;
use crate::commands::check::expand_draft;
use crate::config::Written;
use crate::feeds::Feeds;
use crate::in_force::InForce;
use crate::notify;
use crate::wiring::Workshop;

/// A `stat` of each file.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// Feeds that could not begin are tried again so often.
const BETWEEN_TRIES: Duration = Duration::from_secs(2);

/// Stands for all of them where none could begin.
const ALL_FEEDS: &str = "lake.events";

const IN_FORCE_AT_ONCE: &str = "priority_weighting";

/// What an engine is and what it owns, and what is opened once: of these it reads nothing while it runs.
const AT_NEXT_START: [&str; 9] =
    ["name", "state", "version", "baseline", "engine.history", "engine.logs", "engine.drain", "gateway.cache_size", "server"];

pub struct Following {
    pub in_force: InForce,
    pub engine: Handle,
    pub workshop: Arc<Workshop>,
    /// Of an engine that hears of changes; others read a config anew, too.
    pub feeds: Hearing,
    /// SIGHUP means: read it now. Where a terminal hangs up, it means that somebody has gone.
    pub heeds_hangups: bool,
}

/// What tells an engine of its lake.
pub enum Hearing {
    /// Nothing does, and nothing is to.
    Deaf,
    By(Feeds),
    /// Another edition's could not begin. They are tried again then.
    Lost(Instant),
}

/// An edition that could not be in force; what keeps it from that may be over by then: a table that is not there, a lake that is away.
struct Unfinished {
    again_at: Instant,
    /// Said already.
    errors: Vec<String>,
}

/// What an edition turned out to be.
enum News {
    Nothing,
    /// It cannot be in force.
    Wrong(Vec<String>),
    /// Only the order of work is another.
    Weights {
        written: Written,
        spec: Spec,
        edited: Edited,
    },
    Another {
        written: Written,
        spec: Spec,
        edited: Edited,
    },
}

impl Following {
    /// Tells the engine of each edition, for as long as it is polled.
    pub async fn follow(mut self) {
        let started_with = self.in_force.written();
        let mut latest = Some(started_with.clone());
        let mut unfinished: Option<Unfinished> = None;
        let mut stamps = Stamps::default();
        let mut hangups = if self.heeds_hangups { signal(SignalKind::hangup()).ok() } else { None };
        let mut looks = tokio::time::interval(BETWEEN_LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = looks.tick() => false,
                () = hung_up(&mut hangups) => true,
            };
            self.find_lost_feeds().await;
            let has_changed = stamps.have_come_to_rest(stamps_of(self.in_force.written().paths()));
            let again = unfinished.as_ref().is_some_and(|unfinished| unfinished.again_at <= Instant::now());
            if !has_changed && !asked && !again {
                continue;
            }
            let (in_force, before, started_with) = (self.in_force.clone(), latest.clone(), started_with.clone());
            // Off the runtime's threads: tables are read, too.
            let read = tokio::task::spawn_blocking(move || news(&in_force, &started_with, before.as_ref(), asked || again)).await;
            // Whoever panicked has said so; the engine goes on by what it has, and the next edition is read like any other.
            let Ok((read, news)) = read else { continue };
            latest = read;
            if asked {
                notify::reloading();
            }
            let said = unfinished.take().map(|unfinished| unfinished.errors).filter(|_| again && !has_changed);
            unfinished = self.take_in(news, said.as_deref()).await;
            if asked {
                notify::reloaded();
            }
        }
    }

    /// `said`: errors of this edition that were told already. What it gives could not be in force for now: the lake was away, or a table
    /// was being written.
    async fn take_in(&mut self, news: News, said: Option<&[String]>) -> Option<Unfinished> {
        let at = MachineClock.now().wall;
        match news {
            News::Nothing => {}
            News::Wrong(errors) => return Some(self.not_in_force(errors, said, at)),
            News::Weights { written, spec, edited } => {
                let before = self.in_force.spec();
                let weighting = (spec.weighting != before.weighting).then(|| spec.weighting.clone());
                self.in_force.is(Arc::new(Spec { weighting: spec.weighting, ..(*before).clone() }), written, &edited);
                self.engine.config_edited(edited, weighting);
            }
            News::Another { written, spec, edited } => match self.reload(Arc::new(spec)).await {
                Ok(spec) => {
                    self.in_force.is(spec, written, &edited);
                    self.engine.config_edited(edited, None);
                }
                Err(errors) => return Some(self.not_in_force(errors, said, at)),
            },
        }
        None
    }

    fn not_in_force(&self, errors: Vec<String>, said: Option<&[String]>, at: Timestamp) -> Unfinished {
        if said != Some(&errors) {
            self.engine.config_edited(Edited { at, errors: errors.clone(), ..Edited::default() }, None);
        }
        Unfinished { again_at: Instant::now() + self.in_force.spec().engine.reconcile_every, errors }
    }

    async fn reload(&mut self, spec: Arc<Spec>) -> Result<Arc<Spec>, Vec<String>> {
        let before = self.in_force.spec();
        let (ports, _gateway) = self.workshop.ports(&spec).await.map_err(|failure| vec![format!("error: {failure}")])?;
        self.engine.reload(Reload { spec: spec.clone(), ports }).await?;
        match std::mem::replace(&mut self.feeds, Hearing::Deaf) {
            Hearing::Deaf => {}
            Hearing::By(feeds) if feeds.are_of(&spec, &before) => self.feeds = Hearing::By(feeds),
            Hearing::By(feeds) => {
                // They may listen at the same address.
                feeds.end().await;
                self.begin_feeds(&spec).await;
            }
            Hearing::Lost(_) => self.begin_feeds(&spec).await,
        }
        Ok(spec)
    }

    async fn find_lost_feeds(&mut self) {
        if let Hearing::Lost(again_at) = self.feeds
            && again_at <= Instant::now()
        {
            self.begin_feeds(&self.in_force.spec()).await;
        }
    }

    async fn begin_feeds(&mut self, spec: &Arc<Spec>) {
        self.engine.feeds_are_anew();
        self.feeds = match Feeds::begin(spec, &self.engine).await {
            Ok(feeds) => {
                // What happened in between has escaped both.
                self.engine.look_again();
                Hearing::By(feeds)
            }
            Err(failure) => {
                let (error, since) = (failure.to_string(), MachineClock.now().wall);
                self.engine.feed_is(ALL_FEEDS, FeedState::Failing { error, since });
                Hearing::Lost(Instant::now() + BETWEEN_TRIES)
            }
        };
    }
}

async fn hung_up(hangups: &mut Option<Signal>) {
    match hangups {
        Some(hangups) => drop(hangups.recv().await),
        None => std::future::pending().await,
    }
}

/// What is to be told of the files as they are now. `before`: as they were read last; `asked`: also if nothing is new.
fn news(in_force: &InForce, started_with: &Written, before: Option<&Written>, asked: bool) -> (Option<Written>, News) {
    let now = MachineClock.now().wall;
    let runs = in_force.written();
    let written = match Written::read(runs.paths()) {
        Ok(written) => written,
        Err(failure) if before.is_some() || asked => return (None, News::Wrong(vec![failure.to_string()])),
        Err(_) => return (None, News::Nothing),
    };
    if before.is_some_and(|before| before.is_same_text(&written)) && !asked {
        return (Some(written), News::Nothing);
    }
    let differences = written.differences_from(&runs);
    let is_of = |part: &str, section: &str| part == section || part.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
    let mut loaded = written.load();
    if !differences.iter().all(|part| is_of(part, IN_FORCE_AT_ONCE)) {
        // What else it says is what the engine expands with every cycle.
        expand_draft(&mut loaded, now);
    }
    let spec = match loaded.spec() {
        Ok(spec) => spec,
        Err(problems) => {
            let errors = problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect();
            return (Some(written), News::Wrong(errors));
        }
    };
    let runs_by = in_force.spec();
    let waits =
        |part: &String| AT_NEXT_START.iter().any(|section| is_of(part, section)) || (is_of(part, "lake") && spec.lake != runs_by.lake);
    let applied: Vec<String> = differences.into_iter().filter(|part| !waits(part)).collect();
    let at_next_start = written.differences_from(started_with).into_iter().filter(|part| waits(part)).collect();
    let only_weights = applied.iter().all(|part| is_of(part, IN_FORCE_AT_ONCE));
    let edited = Edited { at: now, applied, at_next_start, errors: Vec::new() };
    let news = match only_weights {
        true => News::Weights { spec, written: written.clone(), edited },
        false => News::Another { spec: as_one_engine(spec, &runs_by), written: written.clone(), edited },
    };
    (Some(written), news)
}

/// What an engine keeps for as long as it runs, whatever its config says meanwhile.
fn as_one_engine(spec: Spec, before: &Spec) -> Spec {
    let engine =
        adce_core::spec::Engine { history: before.engine.history, logs: before.engine.logs, drain: before.engine.drain, ..spec.engine };
    Spec {
        name: before.name.clone(),
        lake: before.lake.clone(),
        state: before.state.clone(),
        folder: before.folder.clone(),
        baseline: before.baseline,
        engine,
        ..spec
    }
}

/// What a `stat` tells of a file; `None`: it is not there.
pub type Stamp = Option<(SystemTime, u64, u64)>;

pub fn stamps_of(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    };
    paths.iter().map(stamp).collect()
}

#[derive(Clone, Default)]
pub struct Stamps {
    seen: Vec<Stamp>,
    read_at: Vec<Stamp>,
}

impl Stamps {
    /// Of files that are read as they are now.
    pub fn read(now: Vec<Stamp>) -> Self {
        Stamps { seen: now.clone(), read_at: now }
    }

    /// The files have changed since they were read, and are the same as at the last look.
    pub fn have_come_to_rest(&mut self, now: Vec<Stamp>) -> bool {
        let rest = now != self.read_at && now == self.seen;
        if rest {
            self.read_at.clone_from(&now);
        }
        self.seen = now;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_it_has_stayed_the_same_and_then_not_again() {
        let at = |size: u64| vec![Some((SystemTime::UNIX_EPOCH, size, 7))];
        let looks = [at(1), at(1), at(1), at(2), at(3), vec![None], at(4), at(4), at(4), vec![None], vec![None]];
        let mut stamps = Stamps::default();
        let read: Vec<bool> = looks.into_iter().map(|look| stamps.have_come_to_rest(look)).collect();
        assert_eq!(read, [false, true, false, false, false, false, false, true, false, false, true]);
    }
}
