//! `collectors`: commands and http requests.

use std::sync::Arc;

use super::{Collectors, Loader, absolute, entries};
use crate::spec::decode::{Given, OneOrMore, Section, Text, as_list};
use crate::spec::problem::{Place, Problem};
use crate::spec::raw::{KeepWord, OutputWord, RawCollector, RawEgress, RawHeader, RawHttp, RawOutput, RawResources, RawSecret, RawVia};
use crate::spec::template::{Purpose, Template};
use crate::spec::{
    Batch, Collector, Egress, Environment, How, Http, Keep, Output, Pass, PickUp, Requests, Resources, RetryPolicy, Secretive, Via,
};

impl Loader<'_> {
    /// Those that have names; datasets add their inline ones.
    pub(super) fn collectors(&mut self) -> Collectors {
        let raw = self.raw;
        let mut collectors = Collectors::new();
        for (name, raw) in entries(raw.collectors.as_ref()) {
            self.check_name("collector", name);
            let Some(raw) = raw else { continue };
            if let Some(collector) = self.collector(&name.text, &format!("collector `{}`", name.text), &name.at, raw) {
                collectors.insert(name.text.clone(), Arc::new(collector));
            }
        }
        collectors
    }

    /// `what`: how messages call it.
    pub(super) fn collector(&mut self, name: &str, what: &str, at: &Place, raw: &RawCollector) -> Option<Collector> {
        let how = match (&raw.command, &raw.http) {
            (Some(argv), None) => self.command(what, at, argv),
            (None, Some(http)) => {
                self.refuse_command_keys(what, raw);
                self.http(what, http)
            }
            (Some(_), Some(_)) => {
                self.error_with(at, format!("{what} has both `command` and `http`"), "make two collectors of it");
                None
            }
            // That has been said, or what was wrong with it.
            (None, None) => None,
        };
        let environment = self.environment(what, raw);
        let default = RetryPolicy::default();
        let retry = raw.retry.as_ref().map_or(default, |raw| RetryPolicy {
            attempts: raw.attempts.as_ref().map_or(default.attempts, |given| given.value.0),
            backoff_min: raw.backoff.as_ref().map_or(default.backoff_min, |given| given.value.min),
            backoff_max: raw.backoff.as_ref().map_or(default.backoff_max, |given| given.value.max),
            revive_min: raw.revive.as_ref().map_or(default.revive_min, |given| given.value.min),
            revive_max: raw.revive.as_ref().map_or(default.revive_max, |given| given.value.max),
        });
        let requests = raw.requests.as_ref().map_or_else(Requests::default, |raw| Requests {
            per_task: raw.per_task.as_ref().map_or(0, |given| given.value.0),
            per_item: raw.per_item.as_ref().map_or(1, |given| given.value.0),
        });
        let timeout = raw.timeout.as_ref().map_or(std::time::Duration::from_secs(600), |given| given.value.0);
        if timeout.is_zero() {
            let at = raw.timeout.as_ref().map_or(at, |given| &given.at);
            self.error(at, format!("{what}: `timeout`: expected more than nothing"));
        }
        Some(Collector {
            name: name.to_owned(),
            how: how?,
            batch: batch(raw),
            requests,
            via: match &raw.via {
                Some(Given { value: RawVia::Gateway, .. }) => Via::Gateway,
                _ => Via::None,
            },
            pass: Pass {
                patience: raw.client_patience.as_ref().map(|given| given.value.0),
                egress: self.egress(what, raw),
                most: raw.max_requests.as_ref().map(|given| given.value.0),
            },
            output: self.output(what, raw)?,
            timeout,
            retry,
            breaker: self.breaker_of_collector(what, raw.breaker.as_ref()),
            environment,
            resources: self.resources(what, raw),
            keep: match raw.keep.as_ref().map(|given| given.value) {
                None | Some(KeepWord::Never) => Keep::Never,
                Some(KeepWord::Failed) => Keep::Failed,
                Some(KeepWord::Always) => Keep::Always,
            },
            cwd: raw.cwd.as_ref().map_or_else(|| self.folder.to_owned(), |text| absolute(self.folder, &text.text)),
        })
    }

    /// What has no other way out must be counted where it goes out.
    fn egress(&mut self, what: &str, raw: &RawCollector) -> Egress {
        let Some(Given { value: RawEgress::Gateway, at }) = &raw.egress else { return Egress::Open };
        if raw.command.is_some() && !matches!(raw.via, Some(Given { value: RawVia::Gateway, .. })) {
            let message = format!(
                "{what}: `egress: gateway` leaves its requests no other way than the gateway, where `via: none` does not count them"
            );
            self.error_with(at, message, "write `via: gateway` beside it");
        }
        Egress::Gateway
    }

    /// Each way to deliver, and what does not go with it.
    fn output(&mut self, what: &str, raw: &RawCollector) -> Option<Output> {
        let (word, output, at) = match &raw.output {
            None => return Some(Output::Staged),
            Some(RawOutput::Word(given)) => match given.value {
                OutputWord::Staged => return Some(Output::Staged),
                OutputWord::Direct => return Some(Output::Direct),
                OutputWord::Stdout => ("stdout", Output::Stdout, given.at.clone()),
            },
            Some(RawOutput::Map(map)) => {
                let text = map.pick_up.0.as_ref()?;
                let path = self.template(&format!("{what}: `pick_up`"), text, Purpose::Path)?;
                ("{ pick_up: … }", Output::PickUp(PickUp { path, at: text.at.clone() }), text.at.clone())
            }
        };
        if let (Output::Stdout, Some(batch)) = (&output, &raw.batch) {
            let size = batch.size.as_ref().map_or(1, |given| given.value.0);
            let message = format!("{what}: `output: stdout` makes one object of all that is printed, so a task has one item: no `batch`");
            let hint = "remove `batch`, or let the command write each object to `{out}` or `$ADCE_OUT/<key>`";
            let problem = Problem::error(&at, message).hint(hint);
            self.problems.push(if size > 1 { problem.note(format!("`size: {size}`")) } else { problem });
        }
        let names_out = |text: &&Text| Template::parse(&text.text, Purpose::Argv).is_ok_and(|template| template.names_out());
        if let Some(argument) = raw.command.iter().flatten().find(names_out) {
            let message = format!("{what}: nobody looks at `{{out}}` with `output: {word}`");
            self.error_with(&argument.at, message, "remove it from `command`, or write `output: staged`");
        }
        Some(output)
    }

    /// A limit under which no program could start is a slip of the pen.
    fn resources(&mut self, what: &str, raw: &RawCollector) -> Resources {
        const LEAST_MEMORY: u64 = 1 << 20;
        const LEAST_OPEN_FILES: u32 = 8;
        const MOST_NICE: u32 = 19;
        let Some(raw) = &raw.resources else { return Resources::default() };
        let mut refuse = |at: &Place, key: &str, expected: &str| self.error(at, format!("{what}: `resources.{key}`: expected {expected}"));
        if let Some(given) = raw.memory.as_ref().filter(|given| given.value.0 < LEAST_MEMORY) {
            refuse(&given.at, "memory", "at least `1MiB`: no program starts in less");
        }
        if let Some(given) = raw.cpu_time.as_ref().filter(|given| given.value.0.is_zero()) {
            refuse(&given.at, "cpu_time", "more than nothing");
        }
        if let Some(given) = raw.open_files.as_ref().filter(|given| given.value.0 < LEAST_OPEN_FILES) {
            refuse(&given.at, "open_files", "at least 8: a program needs some to start");
        }
        if let Some(given) = raw.output.as_ref().filter(|given| given.value.0 == 0) {
            refuse(&given.at, "output", "more than nothing");
        }
        if let Some(given) = raw.nice.as_ref().filter(|given| given.value.0 > MOST_NICE) {
            refuse(&given.at, "nice", "0 to 19");
        }
        Resources {
            memory: raw.memory.as_ref().map(|given| given.value.0),
            cpu_time: raw.cpu_time.as_ref().map(|given| given.value.0),
            open_files: raw.open_files.as_ref().map(|given| given.value.0),
            output: raw.output.as_ref().map(|given| given.value.0),
            nice: raw.nice.as_ref().map(|given| given.value.0.min(MOST_NICE) as u8),
        }
    }

    fn command(&mut self, what: &str, at: &Place, argv: &[Text]) -> Option<How> {
        let Some(program) = argv.first() else {
            self.error_with(at, format!("{what}: `command` is empty"), "write `[program, argument, …]`");
            return None;
        };
        if argv.len() == 1 && program.text.contains(' ') && !program.text.contains('/') {
            self.error_with(
                &program.at,
                format!("{what}: `{}` is one word: no shell takes it apart", program.text),
                format!("write `{}`", as_list(&program.text)),
            );
            return None;
        }
        if program.text.is_empty() {
            self.error(&program.at, format!("{what}: the program's name is empty"));
            return None;
        }
        let parsed: Vec<Option<Template>> = argv.iter().map(|text| self.template(what, text, Purpose::Argv)).collect();
        parsed.into_iter().collect::<Option<Vec<_>>>().map(How::Command)
    }

    pub(super) fn template(&mut self, what: &str, text: &Text, purpose: Purpose) -> Option<Template> {
        match Template::parse(&text.text, purpose) {
            Ok(template) => Some(template),
            Err(errors) => {
                self.language_errors(what, text, errors);
                None
            }
        }
    }

    fn http(&mut self, what: &str, raw: &RawHttp) -> Option<How> {
        let headers = self.headers(what, raw.headers.as_ref());
        let url = raw.url.0.as_ref().and_then(|text| self.template(&format!("{what}: `url`"), text, Purpose::Url));
        Some(How::Http(Http { url: url?, headers, compress: raw.compress.as_ref().map(|given| given.value) }))
    }

    fn headers(&mut self, what: &str, raw: Option<&Section<RawHeader>>) -> Vec<(String, Secretive)> {
        let mut headers = Vec::new();
        for (name, raw) in entries(raw) {
            let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.text.is_empty() || !name.text.chars().all(is_token) {
                self.error(&name.at, format!("{what}: `{}` cannot be the name of a header", name.text));
                continue;
            }
            let value = match raw {
                None => None,
                Some(RawHeader::Text(text)) if text.text.chars().any(|c| c.is_control() && c != '\t') => {
                    self.error(&text.at, format!("{what}: header `{}`: a value has no control characters and no line ends", name.text));
                    None
                }
                Some(RawHeader::Text(text)) => Some(Secretive::Plain(text.text.clone())),
                Some(RawHeader::Secret(raw)) => self.secret_at(&format!("{what}: header `{}`", name.text), &name.at, raw),
            };
            headers.extend(value.map(|value| (name.text.clone(), value)));
        }
        headers
    }

    pub(super) fn secret_at(&mut self, what: &str, at: &Place, raw: &RawSecret) -> Option<Secretive> {
        match (&raw.secret, &raw.secret_file) {
            (Some(variable), None) if is_variable(&variable.text) => Some(Secretive::Variable(variable.text.clone())),
            (Some(variable), None) => {
                // The text may be the secret itself, so it is not repeated.
                let message = format!("{what}: `secret` names an environment variable: letters, digits and `_` only");
                let problem = Problem::error(&variable.at, message);
                let problem = problem.hint("put the secret into a variable of adce's environment and write its name here");
                self.problems.push(Problem { line: Some(String::new()), ..problem });
                None
            }
            (None, Some(path)) => Some(Secretive::File(absolute(self.folder, &path.text))),
            _ => {
                self.error(at, format!("{what}: expected one of `secret` (a variable) and `secret_file` (a path)"));
                None
            }
        }
    }

    fn environment(&mut self, what: &str, raw: &RawCollector) -> Environment {
        let mut environment = Environment::default();
        if let Some(names) = &raw.env {
            for name in names.iter().filter(|name| !is_variable(&name.text)) {
                let hint = "`env` lists names; a value with a secret goes into `secrets`";
                self.error_with(&name.at, format!("{what}: `env`: `{}` is not the name of a variable", name.text), hint);
            }
            environment.pass = names.iter().map(|name| name.text.clone()).collect();
        }
        for (name, raw) in entries(raw.secrets.as_ref()) {
            if !is_variable(&name.text) || name.text.starts_with("ADCE_") {
                let message = format!(
                    "{what}: `secrets`: `{}` cannot be set: expected a variable's name that does not begin with `ADCE_`",
                    name.text
                );
                self.error(&name.at, message);
                continue;
            }
            let secret = raw.as_ref().and_then(|raw| self.secret_at(&format!("{what}: `secrets.{}`", name.text), &name.at, raw));
            environment.set.extend(secret.map(|secret| (name.text.clone(), secret)));
        }
        environment.lake_access = raw.lake_access.as_ref().is_some_and(|given| given.value);
        environment
    }

    /// Keys that say something about a process.
    fn refuse_command_keys(&mut self, what: &str, raw: &RawCollector) {
        let given: [(&str, Option<Place>); 12] = [
            ("via", raw.via.as_ref().map(|given| given.at.clone())),
            ("egress", raw.egress.as_ref().map(|given| given.at.clone())),
            ("client_patience", raw.client_patience.as_ref().map(|given| given.at.clone())),
            ("max_requests", raw.max_requests.as_ref().map(|given| given.at.clone())),
            ("output", raw.output.as_ref().and_then(place_of_output)),
            ("env", raw.env.as_ref().and_then(|names| names.first()).map(|name| name.at.clone())),
            ("secrets", raw.secrets.as_ref().and_then(|set| set.entries.first()).map(|(name, _)| name.at.clone())),
            ("cwd", raw.cwd.as_ref().map(|text| text.at.clone())),
            ("lake_access", raw.lake_access.as_ref().map(|given| given.at.clone())),
            ("requests", requests_place(raw)),
            ("keep", raw.keep.as_ref().map(|given| given.at.clone())),
            ("resources", raw.resources.as_ref().and_then(place_of_resources)),
        ];
        for (key, at) in given {
            if let Some(at) = at {
                let message = format!("{what}: `{key}` belongs to a command; `http` requests are sent and counted by adce itself");
                self.error_with(
                    &at,
                    message,
                    if key == "secrets" { "a secret header is `headers: { Authorization: { secret: NAME } }`" } else { "remove it" },
                );
            }
        }
    }
}

fn place_of_output(raw: &RawOutput) -> Option<Place> {
    match raw {
        RawOutput::Word(given) => Some(given.at.clone()),
        RawOutput::Map(map) => map.pick_up.0.as_ref().map(|text| text.at.clone()),
    }
}

fn place_of_resources(raw: &RawResources) -> Option<Place> {
    let sizes = raw.memory.as_ref().or(raw.output.as_ref()).map(|given| &given.at);
    let counts = || raw.open_files.as_ref().map(|given| &given.at).or(raw.nice.as_ref().map(|given| &given.at));
    sizes.or_else(|| raw.cpu_time.as_ref().map(|given| &given.at)).or_else(counts).cloned()
}

fn requests_place(raw: &RawCollector) -> Option<Place> {
    let requests = raw.requests.as_ref()?;
    requests.per_task.as_ref().or(requests.per_item.as_ref()).map(|given| given.at.clone())
}

fn batch(raw: &RawCollector) -> Batch {
    let Some(raw) = &raw.batch else { return Batch::default() };
    let group_by = raw.group_by.as_ref().map(OneOrMore::as_slice).unwrap_or_default();
    Batch { size: raw.size.as_ref().map_or(1, |given| given.value.0), group_by: group_by.iter().map(|text| text.text.clone()).collect() }
}

fn is_variable(name: &str) -> bool {
    let begins = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
