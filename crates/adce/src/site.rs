//! The server of an engine that stays, over the same answers as the control socket.

use std::sync::{Arc, PoisonError};

use adce_api::{
    Answers, AuditLine, CollectorRule, ConfigReport, ConfigText, CoverageReport, DatasetRule, EndedAttempt, GapLine, Plan, Refusal,
    Requested, TaskRequest, TrendLine,
};
use adce_core::access::{AuditRecord, TokenRecord};
use adce_core::ids::AttemptId;
use adce_core::ports::{Clock, StoreError};
use adce_core::record::AttemptRecord;
use adce_core::spec::{How, Spec};
use adce_core::time::Timestamp;
use adce_engine::Query;
use adce_web::{Desk, Site};
use async_trait::async_trait;
use indexmap::IndexMap;

use crate::clock::MachineClock;
use crate::commands::{coverage, plan};
use crate::config::Written;
use crate::control::{self, EngineAnswers};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::picture;
use crate::survey::Survey;

/// `None`: the config wants none. Drop it before the state is given up.
pub async fn begin(answers: &EngineAnswers) -> Result<Option<Site>, Failure> {
    let site = Site::begin(&answers.in_force.spec().server, Arc::new(answers.clone())).await.map_err(|error| {
        Failure::new(Exit::Unfinished, error.to_string()).hint("another address: `server: { listen: 127.0.0.1:7790 }`, or `listen: off`")
    })?;
    if let Some(site) = &site {
        let _ = answers.desk.address.set(site.url().to_owned());
    }
    Ok(site)
}

fn refused(error: StoreError) -> Refusal {
    Refusal::failed(error.to_string())
}

#[async_trait]
impl Desk for EngineAnswers {
    fn now(&self) -> Timestamp {
        MachineClock.now().wall
    }

    fn known_tokens(&self) -> Arc<Vec<TokenRecord>> {
        self.desk.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn on_behalf_of(&self, who: &str, reason: Option<&str>) -> Arc<dyn Answers> {
        Arc::new(EngineAnswers::on_behalf_of(self, who, reason))
    }

    async fn plan(&self) -> Result<Plan, Refusal> {
        let survey = Survey::of(self.in_force.spec()).await.map_err(|failure| Refusal::failed(failure.to_string()))?;
        // Off the runtime's threads: a forecast of a million tasks takes a while.
        let planned = tokio::task::spawn_blocking(move || plan::plan(survey)).await;
        planned.map_err(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    async fn config_written(&self) -> Result<ConfigReport, Refusal> {
        Ok(config_report(&self.in_force.written(), &self.in_force.spec()))
    }

    async fn trend(&self) -> Result<IndexMap<String, Vec<TrendLine>>, Refusal> {
        let spec = self.in_force.spec();
        let read = tokio::task::spawn_blocking(move || coverage::trend(&spec, None)).await;
        match read {
            Ok(trend) => trend.map_err(|failure| Refusal::failed(failure.to_string())),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    async fn attempts(&self, before: Option<u64>, at_most: u32) -> Result<Vec<EndedAttempt>, Refusal> {
        let read = self.store.attempts(before, at_most).await.map_err(refused)?;
        Ok(read.into_iter().map(|(number, record)| ended(number, record)).collect())
    }

    async fn attempt(&self, id: AttemptId) -> Result<Option<EndedAttempt>, Refusal> {
        let read = self.store.attempt(id).await.map_err(refused)?;
        Ok(read.map(|(number, record)| ended(number, record)))
    }

    async fn request(&self, who: &str, ask: &TaskRequest) -> Result<Requested, Refusal> {
        EngineAnswers::on_behalf_of(self, who, ask.reason.as_deref()).expedite(ask).await
    }

    async fn gaps_with(&self, dataset: &str, values: &[(String, String)]) -> Result<Vec<GapLine>, Refusal> {
        let view = self.ask(Query::Coverage).await?;
        let gaps = self.gaps().await?;
        let has = |gap: &GapLine| {
            let Some(item) = view.expected.find(&gap.key) else { return false };
            values.iter().all(|(name, value)| view.expected.value(item, name).is_some_and(|own| own == *value))
        };
        Ok(gaps.filter(|gap| gap.dataset == dataset && has(gap)).collect())
    }

    fn picture(&self, report: &CoverageReport, trend: bool) -> String {
        picture::svg(report, trend, false)
    }

    async fn audit(&self, before: Option<u64>, at_most: u32) -> Result<Vec<AuditLine>, Refusal> {
        Ok(self.store.audit(before, at_most).await.map_err(refused)?.into_iter().map(audit_line).collect())
    }
}

fn ended(number: u64, record: AttemptRecord) -> EndedAttempt {
    let (task, collector) = (record.task, record.collector.clone());
    EndedAttempt { number, task, collector, line: control::attempt(record, task) }
}

fn audit_line(record: AuditRecord) -> AuditLine {
    let read = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
    AuditLine {
        number: record.seq,
        at: record.at,
        who: record.who,
        action: record.action,
        what: record.what,
        reason: record.reason,
        before: read(record.before),
        after: read(record.after),
    }
}

fn config_report(written: &Written, spec: &Spec) -> ConfigReport {
    let edition = written.edition();
    let files = written.texts().map(|(name, text)| ConfigText { name: name.to_owned(), text: without_passwords(text) });
    let dataset = |(name, dataset): (&String, &adce_core::spec::Dataset)| DatasetRule {
        name: name.clone(),
        key: dataset.key.text().to_owned(),
        source: dataset.source.clone(),
        collector: dataset.collector.clone(),
    };
    let collector = |(name, collector): (&String, &Arc<adce_core::spec::Collector>)| {
        let of_it = spec.datasets.values().filter(|dataset| dataset.collector.as_ref() == Some(name));
        let mut sources: Vec<String> = of_it.filter_map(|dataset| dataset.source.clone()).collect();
        sources.sort();
        sources.dedup();
        let kind = if matches!(collector.how, How::Http(_)) { "http" } else { "command" };
        CollectorRule { name: name.clone(), kind: kind.into(), sources }
    };
    ConfigReport {
        id: edition.id,
        changed_at: edition.changed_at,
        files: files.collect(),
        sources: spec.sources.keys().cloned().collect(),
        datasets: spec.datasets.iter().map(dataset).collect(),
        collectors: spec.collectors.iter().map(collector).collect(),
    }
}

/// Secrets stand in a config by name. Should somebody have written one into a URL, it is not shown: `https://user:…@host`.
fn without_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = behind.find(|letter: char| letter.is_whitespace() || "/\"',}]".contains(letter)).unwrap_or(behind.len());
        let authority = &behind[..end];
        rest = match authority.rfind('@') {
            Some(at) => {
                shown.push('…');
                &behind[at..]
            }
            None => behind,
        };
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        let text = "a: https://user:secret@host/x?y=a@b # http://plain.example/a@b\nb: \"socks5://t0ken@h:1\"";
        let shown = without_passwords(text);
        assert_eq!(shown, "a: https://…@host/x?y=a@b # http://plain.example/a@b\nb: \"socks5://…@h:1\"");
    }
}
