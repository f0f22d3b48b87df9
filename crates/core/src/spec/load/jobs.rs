//! `jobs` and `maintenance`: what happens by the clock.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{Loader, entries};
use crate::pause::PauseOf;
use crate::schedule::{Missed, Schedule};
use crate::spec::decode::{Given, Needed, OneOrMore, Text};
use crate::spec::raw::{PostWord, RawCollector, RawJob, RawMaintenance, RawMissed, RawPost};
use crate::spec::{Job, Maintenance, Post, Spec};

impl Loader<'_> {
    /// `spec`: all the rest of it, whose sources and datasets they name.
    pub(super) fn jobs(&mut self, spec: &mut Spec) {
        let raw = self.raw;
        for (name, raw) in entries(raw.jobs.as_ref()) {
            self.check_name("job", name);
            let Some(raw) = raw else { continue };
            if let Some(job) = self.job(&name.text, raw, spec) {
                spec.jobs.insert(name.text.clone(), Arc::new(job));
            }
        }
        for (name, raw) in entries(raw.maintenance.as_ref()) {
            self.check_name("maintenance window", name);
            let Some(raw) = raw else { continue };
            if let Some(window) = self.window(&name.text, raw, spec) {
                spec.maintenance.insert(name.text.clone(), window);
            }
        }
    }

    fn job(&mut self, name: &str, raw: &RawJob, spec: &Spec) -> Option<Job> {
        let what = format!("job `{name}`");
        let schedule = self.schedule(&what, &raw.at, raw.zone.as_ref());
        let command = raw.command.0.as_ref()?;
        let as_collector = RawCollector {
            command: Some(command.clone()),
            timeout: raw.timeout.clone(),
            retry: raw.retry.clone(),
            resources: raw.resources.clone(),
            env: raw.env.clone(),
            secrets: raw.secrets.clone(),
            cwd: raw.cwd.clone(),
            lake_access: raw.lake_access.clone(),
            ..RawCollector::default()
        };
        let at = command.first().map(|word| word.at.clone())?;
        let collector = self.collector(name, &what, &at, &as_collector);
        if let Some(source) = raw.source.as_ref().filter(|source| !spec.sources.contains_key(&source.text)) {
            self.error(&source.at, format!("{what}: no source is called `{}`", source.text));
        }
        let post = raw.post.as_ref().map(OneOrMore::as_slice).unwrap_or_default().iter().filter_map(|post| match post {
            RawPost::Word(Given { value: PostWord::Reconcile, .. }) => Some(Post::Reconcile),
            RawPost::Map(map) => map.webhook.0.as_ref().map(|url| Post::Webhook(url.text.clone())),
        });
        Some(Job {
            name: name.to_owned(),
            schedule: schedule?,
            missed: match &raw.missed {
                Some(Given { value: RawMissed::Skip, .. }) => Missed::Skip,
                _ => Missed::Once,
            },
            source: raw.source.as_ref().map(|source| source.text.clone()),
            post: post.collect(),
            collector: Arc::new(collector?),
        })
    }

    fn window(&mut self, name: &str, raw: &RawMaintenance, spec: &Spec) -> Option<Maintenance> {
        let what = format!("maintenance window `{name}`");
        let opens = self.schedule(&what, &raw.at, raw.zone.as_ref());
        let named = raw.pauses.as_ref().map(OneOrMore::as_slice).unwrap_or_default();
        let mut pauses = Vec::new();
        for text in named {
            match PauseOf::named(&text.text, spec) {
                Ok(of) => pauses.push(of),
                Err(why) => self.error(&text.at, format!("{what}: {why}")),
            }
        }
        if named.is_empty() {
            pauses.push(PauseOf::Everything);
        }
        Some(Maintenance {
            name: name.to_owned(),
            opens: opens?,
            stays: raw.r#for.0.as_ref()?.value.0,
            pauses,
            because: raw.reason.as_ref().map(|reason| reason.text.clone()),
        })
    }

    fn schedule(&mut self, what: &str, at: &Needed<Text>, zone: Option<&Text>) -> Option<Schedule> {
        let zone = match zone {
            Some(zone) => self.zone(what, zone)?,
            None => TimeZone::UTC,
        };
        let text = at.0.as_ref()?;
        match Schedule::new(&text.text, zone) {
            Ok(schedule) => Some(schedule),
            Err(why) => {
                let hint = "minute, hour, day of month, month, weekday: `0 4 * * *`; or `@daily`";
                self.error_with(&text.at, format!("{what}: `{}` is no cron expression: {why}", text.text), hint);
                None
            }
        }
    }
}
