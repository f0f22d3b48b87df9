//! `datasets`: what should exist, and what its collectors' templates may say.

use std::sync::Arc;

use indexmap::IndexMap;

use super::{Collectors, Loader, entries};
use crate::coverage::Instants;
use crate::spec::decode::{Given, Name, OneOrMore, Text, not_supported};
use crate::spec::expression::{Expression, Role};
use crate::spec::names::{Columns, DimensionNames, Names};
use crate::spec::problem::{Place, Problem, known_names};
use crate::spec::raw::{
    RawAbsent, RawCollector, RawCollectorUse, RawDataset, RawDimension, RawFresh, RawOutput, RawPriority, RawValid, RawValidText, ValidWord,
};
use crate::spec::template::{Purpose, Template};
use crate::spec::units::Span;
use crate::spec::{
    AbsentPolicy, Claim, Collector, Dataset, Dimension, Freshness, How, KnownFile, OlderPlace, Output, Priority, PriorityLevel, Source,
    Validity,
};

/// A part of a dataset that may be wrong.
enum Part<T> {
    Absent,
    Wrong,
    Right(T),
}

impl<T> Part<T> {
    fn of<R>(raw: Option<R>, parse: impl FnOnce(R) -> Option<T>) -> Part<T> {
        match raw {
            None => Part::Absent,
            Some(raw) => parse(raw).map_or(Part::Wrong, Part::Right),
        }
    }

    fn right(self) -> Option<T> {
        match self {
            Part::Right(content) => Some(content),
            Part::Absent | Part::Wrong => None,
        }
    }
}

impl Loader<'_> {
    pub(super) fn datasets(
        &mut self,
        sources: &IndexMap<String, Source>,
        dimensions: &IndexMap<String, Dimension>,
        collectors: &mut Collectors,
    ) -> IndexMap<String, Dataset> {
        let raw = self.raw;
        let mut datasets = IndexMap::new();
        for (name, raw) in entries(raw.datasets.0.as_ref()) {
            self.check_name("dataset", name);
            let Some(raw) = raw else { continue };
            if let Some(dataset) = self.dataset(name, raw, sources, collectors) {
                // One of a wrong dimension cannot be expanded.
                if dataset.dimensions.iter().all(|dimension| dimensions.contains_key(dimension)) {
                    datasets.insert(name.text.clone(), dataset);
                }
            }
        }
        self.needs(dimensions, &mut datasets);
        datasets
    }

    fn dataset(
        &mut self,
        name: &Name,
        raw: &RawDataset,
        sources: &IndexMap<String, Source>,
        collectors: &mut Collectors,
    ) -> Option<Dataset> {
        let what = format!("dataset `{}`", name.text);
        let dimensions = self.dataset_dimensions(&what, &name.at, raw);
        let names = self.names_of(dimensions.as_deref());
        let source = self.dataset_source(&what, raw);
        let key = raw.key.0.as_ref().and_then(|text| self.key(&what, text, &names));
        let set = self.set_rule(&what, raw);
        let also = raw.also.as_ref().map(OneOrMore::as_slice).unwrap_or_default();
        let also = also.iter().filter_map(|text| self.older_place(&what, text, &names)).collect();
        let only = Part::of(raw.r#where.as_ref(), |text| self.expression(&format!("{what}: `where`"), text, &names, Role::Where));
        let due = Part::of(raw.due.as_ref(), |text| self.expression(&format!("{what}: `due`"), text, &names, Role::Due));
        let since = raw.since.as_ref().and_then(|text| self.since(&what, text, raw, dimensions.as_deref(), &names));
        let expires = raw.expires.as_ref().and_then(|text| self.after(&what, "expires", text, raw, &names));
        let fresh = raw.fresh.as_ref().and_then(|fresh| self.freshness(&what, name, fresh, raw, &names));
        let priority = self.priority(&what, raw, &names);
        let valid = raw.valid.as_ref().and_then(|valid| self.validity(&what, name, valid, &names));
        let collector = self.dataset_collector(&what, name, raw, &names, source.as_deref(), collectors);
        if let Some(collector) = collector.as_ref().filter(|_| set.is_some()).and_then(|name| collectors.get(name)) {
            self.collects_sets(&what, raw, collector);
        }
        let may_be_empty = set.as_ref().is_some_and(|set| set.done.is_some());
        let min_size = raw.min_size.as_ref().map_or(u64::from(!may_be_empty), |given| given.value.0.max(1));
        if let Some(given) = raw.max_size.as_ref().filter(|given| given.value.0 < min_size) {
            let message = format!("{what}: `max_size` is smaller than `min_size`, {}", crate::figures::size(min_size));
            self.error_with(&given.at, message, "no object could be as it should");
        }
        // Without its filter a dataset would expect what nobody wants.
        if matches!(only, Part::Wrong) {
            return None;
        }
        let only = only.right();
        let (key, dimensions) = (key?, dimensions?);
        let fingerprint =
            fingerprint(&key, &dimensions, only.as_ref(), collector.as_ref().and_then(|name| collectors.get(name)).map(Arc::as_ref));
        Some(Dataset {
            name: name.text.clone(),
            source: source.filter(|source| sources.contains_key(source)),
            key,
            set,
            also,
            dimensions,
            only,
            since,
            due: due.right(),
            expires,
            fresh,
            needs: Vec::new(),
            min_size,
            max_size: raw.max_size.as_ref().map(|given| given.value.0),
            require: raw.require.as_ref().map(|given| given.value.permille),
            valid,
            absent: absent(raw.absent.as_ref()),
            known: raw.absent.as_ref().and_then(|raw| raw.known.as_ref()).and_then(|known| self.known_file(&what, known)),
            priority,
            collector,
            at: name.at.clone(),
            key_at: raw.key.0.as_ref().map(|text| text.at.clone()).unwrap_or_default(),
            fingerprint,
        })
    }

    /// A time of an item that may be counted from its `due`.
    fn after(&mut self, what: &str, rule: &str, text: &Text, raw: &RawDataset, names: &Names) -> Option<Expression> {
        let what = format!("{what}: `{rule}`");
        let expression = self.expression(&what, text, names, Role::After)?;
        if expression.mentions_due() && raw.due.is_none() {
            self.error_with(
                &text.at,
                format!("{what} is counted from `due`, and this dataset has none"),
                "say when its items are due: `due: …`",
            );
            return None;
        }
        Some(expression)
    }

    fn since(&mut self, what: &str, text: &Text, raw: &RawDataset, dimensions: Option<&[String]>, names: &Names) -> Option<Expression> {
        let what = format!("{what}: `since`");
        let expression = self.expression(&what, text, names, Role::Since)?;
        if expression.anchored().is_none() {
            let message = format!("{what} is one time for all items: a date, `today` or `now`, with durations added or taken away");
            self.error_with(&text.at, message, "such as `now - 1y`; to leave out single items, use `where`");
            return None;
        }
        let calendar = |name: &String| {
            matches!(
                entries(self.raw.dimensions.as_ref()).iter().find(|(known, _)| known.text == *name),
                Some((_, Some(RawDimension::Calendar(_))))
            )
        };
        if raw.due.is_none() && !dimensions.is_none_or(|dimensions| dimensions.iter().any(calendar)) {
            let message = format!("{what}: nothing says how old an item is");
            self.error_with(&text.at, message, "give the dataset a `due`, or a calendar in `for`");
            return None;
        }
        Some(expression)
    }

    fn freshness(&mut self, what: &str, name: &Name, fresh: &RawFresh, raw: &RawDataset, names: &Names) -> Option<Freshness> {
        let Some(at) = &fresh.at else {
            let until = fresh.until.as_ref().and_then(|text| self.after(what, "fresh.until", text, raw, names));
            let within = jiff::SignedDuration::try_from(fresh.within.as_ref()?.value.0).unwrap_or(jiff::SignedDuration::MAX);
            return Some(Freshness::Within { within, until });
        };
        let beside = fresh.within.as_ref().map(|within| &within.at).or(fresh.until.as_ref().map(|until| &until.at));
        if let Some(beside) = beside {
            let message = format!("{what}: `fresh` has `within` and `until`, or `at`, and not both");
            self.error_with(beside, message, "`at` names every instant after which the object is asked for once more");
            return None;
        }
        let at = at.as_slice();
        if at.is_empty() || at.len() > Instants::MOST {
            self.error(at.first().map_or(&name.at, |text| &text.at), format!("{what}: `fresh.at` has 1 to {} instants", Instants::MOST));
            return None;
        }
        Some(Freshness::At(at.iter().filter_map(|text| self.after(what, "fresh.at", text, raw, names)).collect()))
    }

    fn known_file(&mut self, what: &str, known: &Text) -> Option<KnownFile> {
        if known.text.starts_with("lake:") {
            let wrong = not_supported(&known.at, &format!("{what}: `absent.known`: a list in the lake"));
            self.problems.push(wrong.hint("use a path relative to this file, under version control"));
            return None;
        }
        if known.text.contains(['*', '?', '[', '{']) {
            let message = format!("{what}: `absent.known`: expected one file, found the pattern `{}`", known.text);
            self.error_with(&known.at, message, "`adce mark-absent` must know where to add a line");
            return None;
        }
        Some(KnownFile { path: known.text.clone(), at: known.at.clone() })
    }

    /// `None`: one of them is not defined.
    fn dataset_dimensions(&mut self, what: &str, at: &Place, raw: &RawDataset) -> Option<Vec<String>> {
        let mut found = Vec::new();
        let mut complete = true;
        let given = raw.r#for.0.as_ref()?.as_slice();
        if given.is_empty() {
            self.error_with(at, format!("{what}: `for` is empty"), "name at least one dimension");
        }
        for text in given {
            if !self.names.contains_key(&text.text) {
                let known: Vec<String> = self.names.keys().cloned().collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let message = format!("{what}: `for`: there is no dimension `{}`", text.text);
                self.error_with(&text.at, message, known_names(&text.text, "dimension", &known));
                complete = false;
            } else if found.contains(&text.text) {
                self.error(&text.at, format!("{what}: `for`: dimension `{}` is given twice", text.text));
            } else {
                found.push(text.text.clone());
            }
        }
        (complete && !given.is_empty()).then_some(found)
    }

    fn names_of(&self, dimensions: Option<&[String]>) -> Names {
        match dimensions {
            Some(dimensions) => Names::new(dimensions.iter().filter_map(|name| self.names.get(name).cloned()).collect()),
            // Nothing is wrong with a name of a dimension that was misspelt.
            None => Names::new(vec![DimensionNames::table("", "", Vec::new(), Columns::MayHaveMore, Vec::new())]),
        }
    }

    fn dataset_source(&mut self, what: &str, raw: &RawDataset) -> Option<String> {
        let text = raw.source.as_ref()?;
        let sources = self.raw.sources.as_ref();
        if !sources.is_some_and(|sources| sources.has(&text.text)) {
            let known = sources.map(|sources| sources.names()).unwrap_or_default();
            let message = format!("{what}: there is no source `{}`", text.text);
            self.problems.push(Problem::error(&text.at, message).hint(known_names(&text.text, "source", &known)));
        }
        Some(text.text.clone())
    }

    fn key(&mut self, what: &str, text: &Text, names: &Names) -> Option<Template> {
        let what = format!("{what}: `key`");
        let template = self.template(&what, text, Purpose::Key)?;
        let errors = template.check(names);
        let right = errors.is_empty();
        self.language_errors(&what, text, errors);
        right.then_some(template)
    }

    fn older_place(&mut self, what: &str, text: &Text, names: &Names) -> Option<OlderPlace> {
        let what = format!("{what}: `also`");
        if without_variables(&text.text).contains('*') {
            self.error_with(&text.at, format!("{what}: `{}` has a `*`", text.text), "an older place is the key of one object");
            return None;
        }
        let template = self.template(&what, text, Purpose::Key)?;
        let errors = template.check(names);
        let right = errors.is_empty();
        self.language_errors(&what, text, errors);
        right.then(|| OlderPlace { template, at: text.at.clone() })
    }

    fn priority(&mut self, what: &str, raw: &RawDataset, names: &Names) -> Priority {
        match &raw.priority {
            None => Priority::Always(PriorityLevel::default()),
            Some(RawPriority::Word(given)) => Priority::Always(given.value),
            Some(RawPriority::Map(levels)) => {
                let levels = [
                    (PriorityLevel::Critical, &levels.critical),
                    (PriorityLevel::High, &levels.high),
                    (PriorityLevel::Medium, &levels.medium),
                ];
                let parsed = levels.into_iter().filter_map(|(level, text)| {
                    let text = text.as_ref()?;
                    let expression = self.expression(&format!("{what}: `priority.{}`", level.word()), text, names, Role::Priority)?;
                    Some((level, expression))
                });
                Priority::When(parsed.collect())
            }
        }
    }

    fn validity(&mut self, what: &str, name: &Name, raw: &RawValid, names: &Names) -> Option<Validity> {
        match raw {
            RawValid::Word(given) => Some(match given.value {
                ValidWord::Json => Validity::Json,
                ValidWord::Csv => Validity::Csv,
                ValidWord::Parquet => Validity::Parquet,
                ValidWord::Gzip => Validity::Gzip,
            }),
            RawValid::Text(raw) => {
                let texts = raw.starts.is_some() || raw.lacks.is_some();
                match (&raw.json, &raw.command, texts) {
                    (Some(text), None, false) => match Claim::parse(&text.text) {
                        Ok(claim) => Some(Validity::JsonHolds(claim)),
                        Err(errors) => {
                            self.language_errors(&format!("{what}: `valid.json`"), text, errors);
                            None
                        }
                    },
                    (None, Some(argv), false) => self.validator(what, name, raw, argv, names),
                    (None, None, true) => {
                        let text = |text: &Option<Text>| text.as_ref().map(|text| text.text.clone());
                        Some(Validity::Text { starts: text(&raw.starts), lacks: text(&raw.lacks) })
                    }
                    (None, None, false) => {
                        self.error(&name.at, format!("{what}: `valid`: expected `json`, `command`, `starts` or `lacks`"));
                        None
                    }
                    _ => {
                        let at = raw.json.as_ref().map_or(&name.at, |text| &text.at);
                        self.error(at, format!("{what}: `valid`: `json`, `command`, and `starts` with `lacks`, are three ways; take one"));
                        None
                    }
                }
            }
        }
    }

    /// A program runs under the rules of collectors, whatever starts it.
    fn validator(&mut self, what: &str, name: &Name, raw: &RawValidText, argv: &[Text], names: &Names) -> Option<Validity> {
        let what = format!("{what}: `valid`");
        let timeout = raw.timeout.clone().unwrap_or(Given { value: Span(std::time::Duration::from_secs(60)), at: name.at.clone() });
        let raw = RawCollector { command: Some(argv.to_vec()), timeout: Some(timeout), env: raw.env.clone(), ..RawCollector::default() };
        let collector = self.collector(&name.text, &what, &name.at, &raw)?;
        let How::Command(templates) = &collector.how else { return None };
        let own = |name: &str| matches!(name, "file" | "key");
        for (template, text) in templates.iter().zip(argv) {
            let unknown = template.vars().iter().filter(|var| !own(&var.name)).filter_map(|var| names.resolve(&var.name).err());
            for wrong in unknown.collect::<Vec<_>>() {
                let hint = wrong.hint.unwrap_or_else(|| "there are `{file}`, `{key}` and what the item has".into());
                self.error_with(&text.at, format!("{what}: {}", wrong.message), hint);
            }
        }
        if !templates.iter().flat_map(Template::vars).any(|var| var.name == "file") {
            let at = argv.first().map_or(&name.at, |text| &text.at);
            self.error_with(at, format!("{what}: the command is not told which file to look at"), "add an argument `\"{file}\"`");
            return None;
        }
        Some(Validity::Command(Arc::new(collector)))
    }

    /// The name under which the dataset's collector stands among all of them.
    fn dataset_collector(
        &mut self,
        what: &str,
        name: &Name,
        raw: &RawDataset,
        names: &Names,
        source: Option<&str>,
        collectors: &mut Collectors,
    ) -> Option<String> {
        let all = self.raw.collectors.as_ref();
        let (collector, written) = match raw.collector.as_ref()? {
            RawCollectorUse::Name(text) => {
                if !all.is_some_and(|all| all.has(&text.text)) {
                    if text.text == "none" {
                        return None;
                    }
                    let known = all.map(|all| all.names()).unwrap_or_default();
                    let message = format!("{what}: there is no collector `{}`", text.text);
                    self.problems.push(Problem::error(&text.at, message).hint(known_names(&text.text, "collector", &known)));
                    return None;
                }
                let written =
                    all.and_then(|all| all.entries.iter().find(|(known, _)| known.text == text.text)).and_then(|(_, raw)| raw.as_ref());
                (text.text.clone(), written)
            }
            RawCollectorUse::Inline(inline) => {
                // A point cannot be in a name that a user chose.
                let own = if all.is_some_and(|all| all.has(&name.text)) { format!("{}.inline", name.text) } else { name.text.clone() };
                if let Some(collector) = self.collector(&own, &format!("collector of {what}"), &name.at, inline) {
                    collectors.insert(own.clone(), Arc::new(collector));
                }
                (own, Some(inline.as_ref()))
            }
        };
        let (Some(checked), Some(written)) = (collectors.get(&collector).cloned(), written) else { return None };
        self.check_collector_names(&name.text, &checked, written, names);
        if matches!(checked.how, How::Http(_)) && source.is_none() {
            let message = format!("{what}: its collector sends http requests, and no `source` says to whom and how often");
            self.error_with(&name.at, message, "name the source: `source: …`");
        }
        Some(collector)
    }

    /// Every `{x}` of the collector must be something that this dataset's items have.
    fn check_collector_names(&mut self, dataset: &str, collector: &Collector, written: &RawCollector, names: &Names) {
        let what = match collector.name == dataset {
            true => format!("collector of dataset `{dataset}`"),
            false => format!("collector `{}`, used by dataset `{dataset}`", collector.name),
        };
        match &collector.how {
            How::Command(argv) => {
                for (template, text) in argv.iter().zip(written.command.iter().flatten()) {
                    self.language_errors(&what, text, template.check(names));
                }
            }
            How::Http(http) => {
                if let Some(text) = written.http.as_ref().and_then(|http| http.url.0.as_ref()) {
                    self.language_errors(&format!("{what}: `url`"), text, http.url.check(names));
                }
            }
        }
        if let (Output::PickUp(pick_up), Some(RawOutput::Map(map))) = (&collector.output, &written.output)
            && let Some(text) = &map.pick_up.0
        {
            self.language_errors(&format!("{what}: `pick_up`"), text, pick_up.path.check(names));
        }
        let group_by = written.batch.as_ref().and_then(|batch| batch.group_by.as_ref());
        for text in group_by.map(OneOrMore::as_slice).unwrap_or_default() {
            if let Err(error) = names.resolve(&text.text) {
                let problem = Problem::error(&text.at, format!("{what}: `group_by`: {}", error.message));
                self.problems.push(Problem { hint: error.hint, ..problem });
            }
        }
    }
}

fn absent(raw: Option<&RawAbsent>) -> AbsentPolicy {
    let default = AbsentPolicy::default();
    let Some(raw) = raw else { return default };
    AbsentPolicy {
        after: raw.after.as_ref().map_or(default.after, |given| given.value.0),
        recheck_min: raw.recheck.as_ref().map_or(default.recheck_min, |given| given.value.min),
        recheck_max: raw.recheck.as_ref().map_or(default.recheck_max, |given| given.value.max),
    }
}

/// The literal text of a template; each variable becomes its format, or `x`.
pub fn without_variables(template: &str) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        text.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        if let Some(literal) = rest.strip_prefix('{') {
            text.push('{');
            rest = literal;
            continue;
        }
        let end = rest.find('}').unwrap_or(rest.len());
        text.push_str(rest[..end].split_once(':').map_or("x", |(_, format)| format));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    text + rest
}

fn fingerprint(key: &Template, dimensions: &[String], only: Option<&Expression>, collector: Option<&Collector>) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let mut add = |part: &str| {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    };
    add(key.text());
    dimensions.iter().for_each(|dimension| add(dimension));
    add(only.map(Expression::text).unwrap_or_default());
    match collector.map(|collector| &collector.how) {
        None => {}
        Some(How::Command(argv)) => argv.iter().for_each(|argument| add(argument.text())),
        Some(How::Http(http)) => add(http.url.text()),
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}
