//! What tells a running engine of its lake: a watched folder, a queue, a webhook. Each is followed by a task of its own.
//!
//! Without them an engine that stays sees what others do in the lake at its next full look only. None of them can end it: one that
//! fails says so, and is tried again.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_core::ports::{Clock, Feed, FeedError, Heard};
use adce_core::spec::{DimensionKind, LakeUrl, Spec};
use adce_engine::{FeedState, Handle};
use adce_lake::feeds::{Queue, Watch, Webhook};
use adce_lake::tables::ConfigFolder;
use futures::FutureExt;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::clock::MachineClock;
use crate::edits::{Stamp, Stamps, stamps_of};
use crate::exit::Exit;
use crate::failure::Failure;

/// A folder with so many folders that to watch them takes longer is looked at once more when it is watched.
const FOLDERS_WITHIN: Duration = Duration::from_secs(2);

/// A `stat` of each file of a table.
const BETWEEN_LOOKS_AT_TABLES: Duration = Duration::from_millis(250);

/// After a failure; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Follows all feeds of the config for as long as it is kept.
pub struct Feeds {
    _following: JoinSet<()>,
    patterns: Vec<String>,
}

impl Feeds {
    /// Nothing that happens in a watched folder once it has returned escapes it, unless that takes very long.
    pub async fn begin(spec: &Arc<Spec>, engine: &Handle) -> Result<Feeds, Failure> {
        let mut following = JoinSet::new();
        for feed in declared(spec).await? {
            following.spawn(follow(feed, engine.clone()));
        }
        let tables = Tables::of(spec);
        let patterns = tables.patterns.clone();
        if !tables.patterns.is_empty() {
            following.spawn(tables.follow(engine.clone()));
        }
        Ok(Feeds { _following: following, patterns })
    }

    pub fn none() -> Feeds {
        Feeds { _following: JoinSet::new(), patterns: Vec::new() }
    }

    /// Whether this config has the same feeds as the one that these are of.
    pub fn are_of(&self, spec: &Spec, before: &Spec) -> bool {
        spec.events == before.events && Tables::of(spec).patterns == self.patterns
    }
}

/// Files beside the config that say what should exist: a new row is a new item.
#[derive(Clone)]
struct Tables {
    folder: PathBuf,
    patterns: Vec<String>,
    stamps: Stamps,
}

impl Tables {
    fn of(spec: &Spec) -> Tables {
        let tables = spec.dimensions.values().filter_map(|dimension| match &dimension.kind {
            DimensionKind::Table(table) if table.lake.is_none() && table.rows.is_none() => Some(table.path.clone()),
            _ => None,
        });
        let known = spec.datasets.values().filter_map(|dataset| dataset.known.as_ref()).map(|known| known.path.clone());
        let mut patterns: Vec<String> = tables.chain(known).collect();
        patterns.sort_unstable();
        patterns.dedup();
        let stamps = Stamps::read(stamps(&spec.folder, &patterns));
        Tables { folder: spec.folder.clone(), patterns, stamps }
    }

    /// Has the lake looked at by what they say now, once they are not being written any more.
    async fn follow(mut self, engine: Handle) {
        let anew = self.clone();
        let mut looks = tokio::time::interval(BETWEEN_LOOKS_AT_TABLES);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let looking = tokio::task::spawn_blocking(move || {
                let now = stamps(&self.folder, &self.patterns);
                let changed = self.stamps.have_come_to_rest(now);
                (self, changed)
            });
            // Whoever panicked has said so, and looks again.
            let Ok((again, changed)) = looking.await else {
                self = anew.clone();
                continue;
            };
            self = again;
            if changed {
                engine.look_again();
            }
        }
    }
}

fn stamps(folder: &Path, patterns: &[String]) -> Vec<Stamp> {
    let folder = ConfigFolder::new(folder);
    patterns.iter().flat_map(|pattern| stamps_of(&folder.paths(pattern))).collect()
}

async fn declared(spec: &Spec) -> Result<Vec<Box<dyn Feed>>, Failure> {
    let mut feeds: Vec<Box<dyn Feed>> = Vec::new();
    if let (LakeUrl::Folder(root), true) = (&spec.lake, spec.events.watch) {
        let mut watch = Watch::new(root.clone());
        // If it cannot be watched, whoever follows it is told.
        let _ = tokio::time::timeout(FOLDERS_WITHIN, watch.begin()).await;
        feeds.push(Box::new(watch));
    }
    if let Some(queue) = &spec.events.sqs {
        feeds.push(Box::new(Queue::new(queue, spec.lake.clone()).map_err(|why| Failure::new(Exit::Unreachable, why))?));
    }
    if let Some(rule) = &spec.events.webhook {
        let token = adce_collect::resolve_secret(&rule.token)
            .map_err(|why| Failure::new(Exit::Config, format!("`lake.events.webhook.token`: {why}")))?;
        let listening = Webhook::listen(rule.listen, &token, spec.lake.clone()).await.map_err(|error| {
            let message = format!("the webhook cannot listen on `{}`: {error}", rule.listen);
            Failure::new(Exit::Unfinished, message).hint("another address: `lake.events.webhook.listen`")
        })?;
        feeds.push(Box::new(listening));
    }
    Ok(feeds)
}

/// One that panics has said so, and is tried again like any other that fails.
async fn next_of(feed: &mut dyn Feed) -> Result<Heard, FeedError> {
    let next = AssertUnwindSafe(feed.next()).catch_unwind().await;
    next.unwrap_or_else(|_| Err(FeedError::Failing("a bug: it panicked, and is tried again".into())))
}

async fn follow(mut feed: Box<dyn Feed>, engine: Handle) {
    let name = feed.name();
    engine.feed_is(&name, FeedState::Listening);
    let mut pause = PAUSE;
    let mut failing = false;
    loop {
        match next_of(&mut *feed).await {
            Ok(Heard { told, missed }) => {
                if std::mem::take(&mut failing) {
                    engine.feed_is(&name, FeedState::Listening);
                }
                if missed {
                    engine.look_again();
                }
                let taken = engine.heard(&name, told).await;
                feed.settle(taken.is_ok()).await;
                match taken {
                    Ok(()) => pause = PAUSE,
                    Err(error) => {
                        failing = true;
                        engine.feed_is(&name, FeedState::Failing { error, since: MachineClock.now().wall });
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                }
            }
            Err(FeedError::Deaf(reason)) => return engine.feed_is(&name, FeedState::Deaf { reason }),
            Err(FeedError::Failing(error)) => {
                if !std::mem::replace(&mut failing, true) {
                    engine.feed_is(&name, FeedState::Failing { error, since: MachineClock.now().wall });
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    /// Panics the first time.
    struct Moody(bool);

    #[async_trait]
    impl Feed for Moody {
        fn name(&self) -> String {
            "moody".into()
        }

        async fn next(&mut self) -> Result<Heard, FeedError> {
            assert!(std::mem::replace(&mut self.0, true), "the first time");
            Ok(Heard { told: Vec::new(), missed: true })
        }

        async fn settle(&mut self, _: bool) {}
    }

    #[tokio::test]
    async fn a_feed_that_panics_is_one_that_fails_and_is_tried_again() {
        let mut feed = Moody(false);
        assert!(matches!(next_of(&mut feed).await, Err(FeedError::Failing(_))));
        assert!(matches!(next_of(&mut feed).await, Ok(Heard { missed: true, .. })));
    }
}
