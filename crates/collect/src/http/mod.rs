//! The built-in collector: one URL, one file, as sent.
//!
//! It saves people the scraper that would only be `curl`, and does what such scrapers forget: a permit for every
//! request, a file only when its body is whole, secrets that do not follow a redirect to another host.
//!
//! Always true: items of a task that share a URL cost one request
//! (`items_that_share_a_url_are_fetched_once`), and a task's URLs are fetched one after the other.
//!
//! It judges neither size nor content: an empty 200 is a file of 0 bytes, a block page is whatever it says.

mod answer;
mod client;
mod fetch;
mod inquiry;
mod landing;
mod upstream;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_core::gap::{Failure, Fault};
use adce_core::kept::KeptAnswers;
use adce_core::pacing::Pacing;
use adce_core::ports::{Clock, ItemReport, Listener, Order, OrderItem, Permits, Progress, Report, Rest, Said, Stop, Told};
use adce_core::spec::{How, Http, Secretive};
use http::{HeaderMap, HeaderName, HeaderValue};
use indexmap::IndexMap;
use url::Url;

use self::client::{TrustedClient, trusted_client};
use self::fetch::{Fetch, Fetched, Onward, Tally, stopped};
pub use self::upstream::Upstream;
use crate::command::own_folder;
use crate::redact::Redactor;
use crate::secret;

/// A body of which nothing comes for so long will not come.
const READ_IDLE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Fetches {
    upstreams: HashMap<String, Upstream>,
    /// The environment of this process, for secrets.
    own: Arc<Vec<(OsString, OsString)>>,
    permits: Arc<dyn Permits>,
    clock: Arc<dyn Clock>,
    client: Result<TrustedClient, String>,
    pub(crate) kept: Option<Arc<dyn KeptAnswers>>,
    pub(crate) pacing: Option<Arc<Pacing>>,
}

/// Items by URL, in the order of the task.
type ByUrl<'a> = IndexMap<&'a str, Vec<&'a OrderItem>>;

impl Fetches {
    pub(crate) fn new(
        upstreams: Vec<Upstream>,
        own: Arc<Vec<(OsString, OsString)>>,
        permits: Arc<dyn Permits>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let upstreams = upstreams.into_iter().map(|upstream| (upstream.name.clone(), upstream)).collect();
        Fetches { upstreams, own, permits, clock, client: trusted_client(), kept: None, pacing: None }
    }

    /// The same client with other upstreams, and nothing that is kept or paced yet.
    pub(crate) fn again(&self, upstreams: Vec<Upstream>) -> Self {
        let upstreams = upstreams.into_iter().map(|upstream| (upstream.name.clone(), upstream)).collect();
        Fetches { upstreams, kept: None, pacing: None, ..self.clone() }
    }

    pub(crate) async fn collect(&self, order: Order, listener: Listener<'_>, stop: Stop) -> Report {
        let How::Http(http) = &order.collector.how else { return not_started("it is no http collector".into()) };
        let prepared = self.prepare(&order, http);
        let (client, upstream, headers, redactor) = match prepared {
            Ok(prepared) => prepared,
            Err(why) => return not_started(why),
        };
        // A full disk is this machine's trouble, not the collector's.
        if let Err(why) = make_folders(&folders(&order)) {
            let message = format!("not started: its folder could not be prepared: {why}");
            let rest = Rest::Failed(Failure { fault: Fault::Later, message, retry_after_s: None });
            return Report { ended: "not started".into(), rest, ..Report::default() };
        }
        let fetch = Fetch {
            client,
            permits: &self.permits,
            clock: &self.clock,
            upstream,
            kept: self.kept.as_deref().filter(|_| upstream.cache.validators),
            pace: self.pacing.as_ref().and_then(|pacing| pacing.pace(&upstream.name)),
            attempt: order.attempt,
            headers: &headers,
            compress: http.compress,
            timeout: order.collector.timeout,
            stop: &stop,
        };
        let mut report = fetch_all(&order, &fetch, listener).await;
        redact(&mut report, &redactor);
        report
    }

    fn prepare(&self, order: &Order, http: &Http) -> Result<(&reqwest::Client, &Upstream, HeaderMap, Redactor), String> {
        let source = order.source.as_deref().ok_or("an http collector needs a source, whose permits it asks for")?;
        let upstream = self.upstreams.get(source).ok_or_else(|| format!("source `{source}` is not declared"))?;
        let (headers, secrets) = headers(http, &self.own)?;
        let urls = order.items.iter().filter_map(|item| item.url.as_deref());
        let client = self.client.as_ref().map_err(|why| format!("no HTTP client: {why}"))?.for_urls(urls)?;
        Ok((client, upstream, headers, Redactor::of(&secrets)))
    }
}

async fn fetch_all(order: &Order, fetch: &Fetch<'_>, listener: Listener<'_>) -> Report {
    let mut by_url = ByUrl::new();
    for item in &order.items {
        by_url.entry(item.url.as_deref().unwrap_or_default()).or_default().push(item);
    }
    let alone = by_url.len() == 1;
    let mut landed = 0;
    let mut report = Report { ended: "http".into(), ..Report::default() };
    for (url, items) in by_url {
        if fetch.stop.is_stopped() {
            report.rest = Rest::Failed(stopped().0);
            break;
        }
        let tally = fetch_one(order, fetch, url, items[0]).await;
        report.requests += tally.requests;
        report.received_bytes += tally.received_bytes;
        if alone {
            report.ended = tally.status.map_or("http, no answer".into(), |status| format!("http {status}"));
        }
        if let Fetched::Failed(failure, onward @ (Onward::GiveUp | Onward::GiveBack)) = &tally.fetched {
            let message = match onward {
                Onward::GiveBack => failure.message.clone(),
                _ => format!("not asked for, because an item before it failed: {}", failure.message),
            };
            if *onward == Onward::GiveBack && report.requests == 0 {
                report.ended = "given back".into();
            }
            report.rest = Rest::Failed(Failure { message, ..failure.clone() });
            report.items.extend(say(order, &items, tally.fetched));
            break;
        }
        let said = say(order, &items, tally.fetched);
        landed += said.iter().filter(|report| matches!(report.said, Said::Staged(_) | Said::Unchanged)).count() as u64;
        report.items.extend(said);
        listener(Told::Progress(Progress { done: landed, of: order.items.len() as u64 }));
    }
    report
}

async fn fetch_one(order: &Order, fetch: &Fetch<'_>, url: &str, item: &OrderItem) -> Tally {
    match Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => fetch.run(parsed, &order.staged_path(item)).await,
        _ => {
            let message = format!("`{url}` is no http or https URL");
            let failure = Failure { fault: Fault::Item, message, retry_after_s: None };
            Tally { fetched: Fetched::Failed(failure, Onward::GoOn), ..Tally::begun() }
        }
    }
}

/// One answer is the word on every item that shares its URL; each gets a file of its own.
fn say(order: &Order, items: &[&OrderItem], fetched: Fetched) -> Vec<ItemReport> {
    let mut reports = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let said = match &fetched {
            Fetched::Whole(file) if place == 0 => Said::Staged(file.clone()),
            Fetched::Whole(file) => copy(file, order.staged_path(item)),
            Fetched::Unchanged => Said::Unchanged,
            Fetched::Absent => Said::Absent,
            Fetched::Failed(failure, _) => Said::Failed(failure.clone()),
        };
        reports.push(ItemReport { item: item.item, said });
    }
    reports
}

/// Not a link: publishing one item must not touch the other.
fn copy(file: &Path, to: PathBuf) -> Said {
    match std::fs::copy(file, &to) {
        Ok(_) => Said::Staged(to),
        Err(why) => {
            let message = format!("`{}` could not be written: {why}", to.display());
            Said::Failed(Failure { fault: Fault::Later, message, retry_after_s: None })
        }
    }
}

/// The collector's headers, and what of them is secret.
fn headers(http: &Http, own: &[(OsString, OsString)]) -> Result<(HeaderMap, Vec<String>), String> {
    let (mut headers, mut secrets) = (HeaderMap::new(), Vec::new());
    for (name, value) in &http.headers {
        let text = secret::resolve(value, own).map_err(|why| format!("header `{name}`: {why}"))?;
        let mut header = HeaderValue::from_str(&text).map_err(|_| format!("header `{name}`: its value cannot stand in a header"))?;
        if !matches!(value, Secretive::Plain(_)) {
            header.set_sensitive(true);
            secrets.push(text);
        }
        let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no name of a header"))?;
        headers.append(name, header);
    }
    Ok((headers, secrets))
}

/// Of the attempt, and of each file that may come.
fn folders(order: &Order) -> Vec<PathBuf> {
    let parents = order.items.iter().filter_map(|item| Some(order.staged_path(item).parent()?.to_owned()));
    let mut folders: Vec<PathBuf> = parents.collect();
    folders.sort();
    folders.dedup();
    folders.insert(0, order.folder.clone());
    folders
}

fn make_folders(folders: &[PathBuf]) -> io::Result<()> {
    let (own, of_files) = folders.split_first().ok_or(io::ErrorKind::NotFound)?;
    own_folder(own)?;
    of_files.iter().try_for_each(std::fs::create_dir_all)
}

/// An upstream may repeat in its answer what it was sent.
fn redact(report: &mut Report, redactor: &Redactor) {
    let failed = report.items.iter_mut().filter_map(|report| match &mut report.said {
        Said::Failed(failure) => Some(failure),
        _ => None,
    });
    let rest = match &mut report.rest {
        Rest::Failed(failure) => Some(failure),
        _ => None,
    };
    failed.chain(rest).for_each(|failure| failure.message = redactor.text(&failure.message));
}

fn not_started(why: String) -> Report {
    let failure = Failure { fault: Fault::Collector, message: format!("not started: {why}"), retry_after_s: None };
    Report { ended: "not started".into(), rest: Rest::Failed(failure), ..Report::default() }
}
