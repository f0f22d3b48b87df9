//! What is wrong with a config although every part of it is right by itself: limits that can never admit a task,
//! requests to hosts of nobody, what nothing uses.
//!
//! Only what shows without expanding the items; `coverage::expand` finds the rest.

use std::time::Duration;

use super::absolute;
use super::decode::{Name, OneOrMore, Section, Text};
use super::load::{host_matches, literal_authority, without_variables};
use super::problem::{Place, Problem};
use super::raw::{RawCollector, RawCollectorUse, RawConfig, RawDataset, RawDimension, RawLake};
use super::{Collector, Dataset, How, LakeUrl, Limits, Output, Priority, PriorityLevel, Requests, Reserve, Source, Spec, Via, Window};
use crate::figures::span;

/// `burst` spreads the shortest window of at least this.
const SHORTEST_SPREAD: Duration = Duration::from_secs(60);

pub(super) fn check(raw: &RawConfig, spec: &Spec, problems: &mut Vec<Problem>) {
    let checker = Checker { raw, spec };
    checker.sources(problems);
    checker.reserve(problems);
    checker.datasets(problems);
    checker.unused(problems);
}

struct Checker<'a> {
    raw: &'a RawConfig,
    spec: &'a Spec,
}

/// A collector at work for a dataset, with the places of both.
struct Use<'a> {
    dataset: &'a Dataset,
    collector: &'a Collector,
    written: &'a RawCollector,
    /// Where the collector is named or begins.
    at: &'a Place,
}

impl<'a> Checker<'a> {
    fn sources(&self, problems: &mut Vec<Problem>) {
        for (name, raw) in entries(self.raw.sources.as_ref()) {
            let Some(source) = self.spec.sources.get(&name.text) else { continue };
            if raw.as_ref().is_some_and(|raw| raw.limits.is_none()) && source.limits == Limits::default() {
                let problem =
                    Problem::warning(&name.at, format!("source `{}` has no limits: it is asked as fast as collectors can", name.text));
                problems.push(problem.hint("write what it allows: `limits: { per_minute: 60, in_flight: 2 }`"));
            }
        }
    }

    /// A share that is less than one request sets nothing aside. Of windows of seconds nobody would notice.
    fn reserve(&self, problems: &mut Vec<Problem>) {
        let Some(raw) = self.raw.engine.as_ref().and_then(|engine| engine.reserve.as_ref()) else { return };
        let limits = self.spec.sources.values().flat_map(|source| self.scopes(source));
        let mut limits: Vec<_> = limits.filter(|(_, limits)| !std::ptr::eq(*limits, &self.spec.limits)).collect();
        limits.push(("all sources together".to_owned(), &self.spec.limits));
        for (priority, _) in self.spec.engine.reserve.shares() {
            let given = match priority {
                PriorityLevel::Critical => &raw.critical,
                PriorityLevel::High => &raw.high,
                PriorityLevel::Medium => &raw.medium,
                PriorityLevel::Low => &raw.low,
            };
            let Some(at) = given.as_ref().map(|given| &given.at) else { continue };
            let nothing =
                |window: &&Window| window.span.as_secs() >= 60 && self.spec.engine.reserve.of_window(priority, window.requests) == 0;
            for (owner, window) in limits.iter().flat_map(|(owner, limits)| limits.windows.iter().filter(nothing).map(move |w| (owner, w)))
            {
                let message = format!(
                    "`engine.reserve.{}`: nothing is set aside of `{}: {}` of {owner}, because such a share of it is less than one request",
                    priority.word(),
                    window.key(),
                    window.requests
                );
                let enough = Reserve::WHOLE.div_ceil(window.requests);
                let enough = format!("{}.{}", enough / 10, enough % 10);
                problems.push(Problem::warning(at, message).hint(format!("{}% of it would be one", enough.trim_end_matches(".0"))));
            }
        }
    }

    fn datasets(&self, problems: &mut Vec<Problem>) {
        let raw = self.raw.datasets.0.as_ref();
        if raw.is_some_and(|section| section.entries.is_empty()) {
            problems.push(Problem::warning(&Place::whole_file(self.file()), "`datasets` is empty: nothing is expected"));
        }
        for (name, raw) in entries(raw) {
            let (Some(raw), Some(dataset)) = (raw, self.spec.datasets.get(&name.text)) else { continue };
            self.key(raw, dataset, problems);
            let Some(used) = self.used_collector(name, raw, dataset) else { continue };
            self.url_host(&used, problems);
            self.pick_up(&used, problems);
            self.gateway(&used, problems);
            self.costs(&used, problems);
            self.bytes(&used, problems);
            self.patience(&used, problems);
        }
    }

    fn file(&self) -> String {
        self.raw.lake.0.as_ref().and_then(RawLake::url).map(|lake| lake.at.file.to_string()).unwrap_or_default()
    }

    fn used_collector(&self, name: &'a Name, raw: &'a RawDataset, dataset: &'a Dataset) -> Option<Use<'a>> {
        let collector = self.spec.collectors.get(dataset.collector.as_ref()?)?;
        let (written, at) = match raw.collector.as_ref()? {
            RawCollectorUse::Inline(inline) => (inline.as_ref(), &name.at),
            RawCollectorUse::Name(text) => {
                let (name, written) = entries(self.raw.collectors.as_ref()).iter().find(|(known, _)| known.text == text.text)?;
                (written.as_ref()?, &name.at)
            }
        };
        Some(Use { dataset, collector, written, at })
    }

    /// A folder cannot hold `a//b`, and a name cannot end in `/`.
    fn key(&self, raw: &RawDataset, dataset: &Dataset, problems: &mut Vec<Problem>) {
        let keys = raw.key.0.iter().map(|text| ("key", text));
        let older = raw.also.iter().flat_map(OneOrMore::as_slice).map(|text| ("also", text));
        for (word, text) in keys.chain(older) {
            self.place(&format!("dataset `{}`: `{word}`", dataset.name), text, problems);
        }
    }

    fn place(&self, what: &str, text: &Text, problems: &mut Vec<Problem>) {
        let shape = without_variables(&text.text);
        if matches!(self.spec.lake, LakeUrl::Folder(_)) {
            if shape.contains("//") || shape.starts_with('/') {
                let problem = Problem::error(&text.at, format!("{what}: `{}` has an empty segment, which a folder cannot hold", text.text));
                problems.push(problem.hint("a local lake needs a name between any two `/` and none in front"));
            }
            if shape.split('/').any(|segment| segment == "." || segment == "..") {
                problems
                    .push(Problem::error(&text.at, format!("{what}: `{}` leaves its folder: no segment may be `.` or `..`", text.text)));
            }
        }
        if shape.ends_with('/') {
            problems
                .push(Problem::error(&text.at, format!("{what}: `{}` names a folder, not an object", text.text)).hint("add a file name"));
        }
    }

    /// A request to a host that belongs to another source, or to none, would pass by every limit.
    fn url_host(&self, used: &Use<'_>, problems: &mut Vec<Problem>) {
        let Some(text) = used.written.http.as_ref().and_then(|http| http.url.0.as_ref()) else { return };
        let what = format!("{}: `url`", name_of(used));
        let Some(front) = literal_authority(text) else { return };
        let url = match front {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            _ => {
                let problem = Problem::error(&text.at, format!("{what}: `{}` is no http or https address", text.text));
                problems.push(problem.hint("such as `https://api.example.org/v2/{game_id}`"));
                return;
            }
        };
        let Some(source) = used.dataset.source.as_ref().and_then(|name| self.spec.sources.get(name)) else { return };
        let host = url.host_str().unwrap_or_default();
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if source.hosts.is_empty() || source.hosts.iter().any(|pattern| host_matches(pattern, &authority)) {
            return;
        }
        let message = format!(
            "{what}: host `{authority}` is not among the hosts of source `{}`, which dataset `{}` asks",
            source.name, used.dataset.name
        );
        let owner = self.spec.sources.values().find(|other| other.hosts.iter().any(|pattern| host_matches(pattern, &authority)));
        let hint = match owner {
            Some(owner) => format!("it belongs to source `{}`: is the dataset's `source` wrong?", owner.name),
            None => format!("add `{authority}` to `hosts` of `{}`", source.name),
        };
        problems.push(Problem::error(&place_of_host(text, host), message).hint(hint));
    }

    /// What lies in the lake was delivered already; to take it away would make a gap of it.
    fn pick_up(&self, used: &Use<'_>, problems: &mut Vec<Problem>) {
        let (LakeUrl::Folder(lake), Output::PickUp(pick_up)) = (&self.spec.lake, &used.collector.output) else { return };
        if absolute(&used.collector.cwd, pick_up.path.literal_prefix()).starts_with(lake) {
            let message = format!("{}: `pick_up: {}` takes files out of the lake itself", name_of(used), pick_up.path.text());
            problems.push(Problem::error(&pick_up.at, message).hint("a command that writes to the lake has `output: direct`"));
        }
    }

    fn gateway(&self, used: &Use<'_>, problems: &mut Vec<Problem>) {
        if used.collector.via != Via::Gateway {
            return;
        }
        let at = used.written.via.as_ref().map_or(used.at, |given| &given.at);
        let Some(source) = used.dataset.source.as_ref() else {
            let problem = Problem::error(
                at,
                format!("{}: `via: gateway` needs a source, and dataset `{}` has none", name_of(used), used.dataset.name),
            );
            problems.push(problem.hint("name the dataset's `source`"));
            return;
        };
        let missing = self.spec.sources.get(source).is_some_and(|source| source.base_url.is_none());
        let written = entries(self.raw.sources.as_ref()).iter().find(|(name, _)| name.text == *source);
        if let (true, Some((name, Some(raw)))) = (missing, written)
            && raw.base_url.is_none()
        {
            let message = format!("source `{source}` has no `base_url`, and {} goes through the gateway to it", name_of(used));
            problems.push(Problem::error(&name.at, message).hint("with several hosts or a wildcard, say where: `base_url: https://…`"));
        }
    }

    /// Whether the limits can ever admit what one task is charged.
    fn costs(&self, used: &Use<'_>, problems: &mut Vec<Problem>) {
        let collector = used.collector;
        let Some(source) = used.dataset.source.as_ref().and_then(|name| self.spec.sources.get(name)) else { return };
        if matches!(collector.how, How::Http(_)) || collector.via == Via::Gateway {
            return;
        }
        let (one, full) = (collector.requests.of(1), collector.requests.of(collector.batch.size as usize));
        let at = place_of_costs(used);
        for (owner, limits) in self.scopes(source) {
            let Some(tightest) = limits.windows.iter().filter(|window| window.span.as_secs() >= 60).min_by_key(|window| window.requests)
            else {
                continue;
            };
            let admits = self.admits(used.dataset, tightest.requests);
            let set_aside = match tightest.requests - admits {
                0 => String::new(),
                some => format!(", of which {some} are set aside for others,"),
            };
            let allowed = format!("`{}: {}` of {owner}{set_aside}", tightest.key(), tightest.requests);
            if one > u64::from(admits) {
                let message = format!("{}: a task of one item costs {one} requests, which {allowed} can never admit", name_of(used));
                problems.push(Problem::error(at, message).hint("lower `requests`, or raise the limit if the source allows more"));
            } else if full > u64::from(admits) {
                problems.push(cut_batch(used, at, full, &allowed, admits));
            }
        }
        self.unenforceable(used, source, full, at, problems);
    }

    /// Bytes that go past the gateway are paced by nobody.
    fn bytes(&self, used: &Use<'_>, problems: &mut Vec<Problem>) {
        let collector = used.collector;
        let Some(source) = used.dataset.source.as_ref().and_then(|name| self.spec.sources.get(name)) else { return };
        let is_seen = matches!(collector.how, How::Http(_)) || collector.via == Via::Gateway;
        let Some((owner, _)) = self.scopes(source).into_iter().find(|(_, limits)| limits.bytes_per_second.is_some()) else { return };
        if !is_seen {
            let message =
                format!("{}: what it does not send through the gateway is not under `bytes_per_second` of {owner}", name_of(used));
            problems.push(Problem::warning(used.at, message).hint("if all of it goes there, say so: `via: gateway`"));
        }
    }

    /// Whether a task can have its requests without one wait as long as its `timeout`, at which it would be ended. A charge
    /// is never waited for within a task, and what `http` waits for permits is none of its `timeout`.
    fn patience(&self, used: &Use<'_>, problems: &mut Vec<Problem>) {
        let collector = used.collector;
        let Some(source) = used.dataset.source.as_ref().and_then(|name| self.spec.sources.get(name)) else { return };
        if collector.via != Via::Gateway || matches!(collector.how, How::Http(_)) {
            return;
        }
        let full = collector.requests.of(collector.batch.size as usize);
        let scopes = self.scopes(source);
        let all: Vec<&Limits> = scopes.iter().map(|(_, limits)| *limits).collect();
        let waits = scopes.iter().flat_map(|(owner, limits)| limits.windows.iter().map(move |window| (owner, window)));
        let waits = waits.filter(|(_, window)| full > u64::from(window.requests) && window.requests > 0);
        let waits = waits.map(|(owner, window)| (window.span.saturating_sub(soonest(&all, window.requests - 1)), owner, window));
        let Some((wait, owner, window)) = waits.max_by_key(|(wait, ..)| *wait).filter(|(wait, ..)| *wait >= collector.timeout) else {
            return;
        };
        let message = format!(
            "{}: a full batch sends {full} requests through the gateway, more than `{}: {}` of {owner} admits: after those it waits up to {} \
             for the next permit, and is ended when it has waited for its whole `timeout` of {}; only what it called `done` by then counts",
            name_of(used),
            window.key(),
            window.requests,
            span(wait),
            span(collector.timeout),
        );
        let hint = match items_for(collector.requests, window.requests) {
            0 => format!("give it a `timeout` of more than {}", span(wait)),
            fits => format!("write `size: {fits}`, or give it a `timeout` of more than {}", span(wait)),
        };
        problems.push(Problem::warning(place_of_costs(used), message).hint(hint));
    }

    /// All limits that a request to a source is under, and whose they are.
    fn scopes(&self, source: &'a Source) -> Vec<(String, &'a Limits)> {
        let of_source = (format!("source `{}`", source.name), &source.limits);
        let of_value = source.by.as_ref().map(|by| (format!("each `{}` of source `{}`", by.name, source.name), &by.limits));
        let of_all = ("all sources together".to_owned(), &self.spec.limits);
        std::iter::once(of_source).chain(of_value).chain([of_all]).collect()
    }

    /// What a task of the dataset can have of a window, whichever priority it gets.
    fn admits(&self, dataset: &Dataset, requests: u32) -> u32 {
        let reserve = &self.spec.engine.reserve;
        match &dataset.priority {
            Priority::Always(priority) => reserve.admits(*priority, requests),
            Priority::When(_) => {
                PriorityLevel::ALL.into_iter().map(|priority| reserve.admits(priority, requests)).min().unwrap_or(requests)
            }
        }
    }

    /// Inside a command that is charged ahead, nobody can space or count requests.
    fn unenforceable(&self, used: &Use<'_>, source: &Source, full: u64, at: &Place, problems: &mut Vec<Problem>) {
        if full <= 1 {
            return;
        }
        let mut keys: Vec<&str> = Vec::new();
        for key in self.scopes(source).into_iter().flat_map(|(_, limits)| inner_limits(limits)) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return;
        }
        let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        let message = format!(
            "{}: a task sends up to {full} requests by itself, between which adce cannot enforce {}",
            name_of(used),
            keys.join(", ")
        );
        problems.push(
            Problem::warning(at, message).hint("send them through `$ADCE_GATEWAY` with `via: gateway`, or make each task one request"),
        );
    }

    fn unused(&self, problems: &mut Vec<Problem>) {
        let datasets: Vec<&RawDataset> = entries(self.raw.datasets.0.as_ref()).iter().filter_map(|(_, raw)| raw.as_ref()).collect();
        // What a wrong part means to use is not known.
        if problems.iter().any(Problem::is_error) {
            return;
        }
        let mut report = |what: &str, name: &Name, used: bool| {
            if !used {
                problems.push(Problem::warning(&name.at, format!("{what} `{}` is not used by any dataset", name.text)));
            }
        };
        for name in names(self.raw.sources.as_ref()) {
            report("source", name, datasets.iter().any(|raw| raw.source.as_ref().is_some_and(|source| source.text == name.text)));
        }
        for name in names::<RawDimension>(self.raw.dimensions.as_ref()) {
            let used = |raw: &&RawDataset| {
                raw.r#for.0.as_ref().is_some_and(|dimensions| dimensions.as_slice().iter().any(|text| text.text == name.text))
            };
            report("dimension", name, datasets.iter().any(used));
        }
        for name in names(self.raw.collectors.as_ref()) {
            let used = |raw: &&RawDataset| matches!(&raw.collector, Some(RawCollectorUse::Name(text)) if text.text == name.text);
            report("collector", name, datasets.iter().any(used));
        }
    }
}

fn entries<T>(section: Option<&Section<T>>) -> &[(Name, Option<T>)] {
    section.map(|section| section.entries.as_slice()).unwrap_or_default()
}

fn names<T>(section: Option<&Section<T>>) -> impl Iterator<Item = &Name> {
    entries(section).iter().map(|(name, _)| name)
}

fn name_of(used: &Use<'_>) -> String {
    if used.collector.name == used.dataset.name {
        format!("collector of dataset `{}`", used.dataset.name)
    } else {
        format!("collector `{}`", used.collector.name)
    }
}

fn cut_batch(used: &Use<'_>, at: &Place, full: u64, allowed: &str, admits: u32) -> Problem {
    let fits = items_for(used.collector.requests, admits);
    let message = format!("{}: a full batch costs {full} requests, more than {allowed} admits: batches are cut to {fits}", name_of(used));
    Problem::warning(at, message).hint(format!("write `size: {fits}`, or say what a task really costs with `requests`"))
}

/// Of one task, that cost so many requests at most.
fn items_for(costs: Requests, requests: u32) -> u32 {
    requests.saturating_sub(costs.per_task) / costs.per_item.max(1)
}

/// How long after its first request somebody who is alone can have sent `more`, if no answer takes any time.
fn soonest(limits: &[&Limits], more: u32) -> Duration {
    let of = |limits: &Limits| {
        let windows = limits.windows.iter().filter(|window| window.requests > 0);
        let full = windows.clone().map(|window| window.span * (more / window.requests));
        let spread = windows.clone().find(|window| window.span >= SHORTEST_SPREAD).zip(limits.burst);
        let even = spread.map(|(window, burst)| window.span * (more + 1).saturating_sub(burst) / window.requests);
        full.chain(even).chain(limits.min_delay.map(|delay| delay * more)).max().unwrap_or_default()
    };
    limits.iter().map(|limits| of(limits)).max().unwrap_or_default()
}

fn place_of_costs<'u>(used: &Use<'u>) -> &'u Place {
    let written = used.written;
    let requests = written.requests.as_ref().and_then(|requests| requests.per_task.as_ref().or(requests.per_item.as_ref()));
    requests.map(|given| &given.at).or_else(|| Some(&written.batch.as_ref()?.size.as_ref()?.at)).unwrap_or(used.at)
}

fn inner_limits(limits: &Limits) -> Vec<&'static str> {
    let mut keys: Vec<&'static str> = limits.windows.iter().filter(|window| window.span.as_secs() < 60).map(Window::key).collect();
    keys.extend(limits.min_delay.map(|_| "min_delay"));
    keys.extend(limits.burst.map(|_| "burst"));
    keys.extend(limits.in_flight.map(|_| "in_flight"));
    keys
}

fn place_of_host(text: &Text, host: &str) -> Place {
    match text.text.find(host) {
        Some(offset) if !host.is_empty() => text.place_of(offset, host.len()),
        _ => text.at.clone(),
    }
}
