//! A world to kill engines in: an upstream that counts for itself, scrapers that hold a lock for each item that they
//! work on, and a checker that knows nothing of how the engine decides.
//!
//! What a collector collects comes into the lake in every way there is, batches among them. An item's lock is inherited
//! by everything that its scraper starts, so it is free only when nothing of an earlier attempt lives any more.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_demo::{Limit, Moods, Upstream, UpstreamConfig};
use bytes::Bytes;

use super::place::Place;

pub const SLOTS: u64 = 6;
pub const BATCH: u64 = 4;

/// How objects come into the lake. All but `web` are commands, all but `quick` ask the upstream.
pub const EVERY_KIND: [&str; 6] = ["web", "box", "printed", "picked", "direct", "quick"];

pub struct World {
    pub place: Place,
    upstream: Upstream,
    kinds: Vec<&'static str>,
    /// Of each kind.
    items: u64,
    per_second: u64,
    /// Kept alive for the upstream.
    _runtime: tokio::runtime::Runtime,
}

pub struct Setting<'a> {
    pub kinds: &'a [&'static str],
    pub items: u64,
    pub per_second: u64,
    pub moods: Moods,
    /// More of the `engine`, and lines of each command.
    pub engine: &'a str,
    pub of_collectors: &'a str,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Setting { kinds: &EVERY_KIND, items: 2, per_second: 60, moods: Moods::default(), engine: "", of_collectors: "" }
    }
}

/// What lay in the lake when an engine had been killed.
pub struct Found {
    whole: BTreeSet<String>,
    /// Lines of the upstream's log until then.
    arrivals: usize,
}

impl World {
    pub fn new(setting: &Setting<'_>) -> World {
        let place = Place::new("");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let log = std::fs::File::create(place.path("arrivals.log")).expect("a log");
        let config = UpstreamConfig {
            limits: vec![Limit { requests: setting.per_second, span: Duration::from_secs(1) }],
            latency_ms: (0, 20),
            moods: setting.moods,
            seed: 1,
            log: Some(log),
            content: Arc::new(|path: &str| Some(Bytes::from(body(path)))),
        };
        let upstream = runtime.block_on(Upstream::start(config)).expect("a loopback port");
        let (kinds, items, per_second) = (setting.kinds.to_vec(), setting.items, setting.per_second);
        let world = World { place, upstream, kinds, items, per_second, _runtime: runtime };
        world.write_config(setting);
        world
    }

    /// More is expected of every kind. No engine runs.
    pub fn grow_by_a_tenth(&mut self) {
        self.items += self.items.div_ceil(10);
        self.write_items();
    }

    fn write_items(&self) {
        let rows: String = (0..self.items).map(|number| format!("{number:06}\n")).collect();
        self.place.write("numbers.csv", &format!("number\n{rows}"));
    }

    fn write_config(&self, setting: &Setting<'_>) {
        let address = self.upstream.address();
        self.write_items();
        self.place.write("scraper.py", include_str!("killed.py"));
        self.place.write("locks/README", "");
        let mut config = format!(
            "version: 1\nname: killed\nlake: ./lake\n\
             sources:\n  up:\n    hosts: [\"{address}\"]\n    base_url: http://{address}\n    \
             limits: {{ per_second: {}, in_flight: {SLOTS} }}\n    breaker: off\n\
             dimensions:\n  number: {{ table: numbers.csv, id: number }}\n\
             engine: {{ max_concurrent: {SLOTS}{} }}\ndatasets:\n",
            self.per_second, setting.engine
        );
        for kind in &self.kinds {
            let collector = match *kind {
                "web" => format!("http: {{ url: \"http://{address}/web/{{number}}\" }}"),
                "box" => format!("command: [python3, scraper.py, box]\n      via: gateway\n      batch: {{ size: {BATCH} }}"),
                "printed" => "command: [python3, scraper.py, printed]\n      via: gateway\n      output: stdout".into(),
                "picked" => "command: [python3, scraper.py, picked]\n      via: gateway\n      batch: { size: 2 }\n      \
                             output: { pick_up: \"left/{number}.txt\" }"
                    .into(),
                "direct" => "command: [python3, scraper.py, direct]\n      via: gateway\n      output: direct".into(),
                "quick" => "command: [sh, -c, 'printf %03000d 7 > $0', \"{out}\"]".into(),
                other => panic!("no such kind: {other}"),
            };
            let source = if *kind == "quick" { "" } else { "    source: up\n" };
            let breaker = if *kind == "web" { "" } else { "      breaker: off\n" };
            config += &format!(
                "  {kind}:\n{source}    key: {kind}/deep/{{number}}.txt\n    for: number\n    min_size: 3000B\n    collector:\n      \
                 {collector}\n      retry: {{ attempts: 20, backoff: 50ms..200ms }}\n{breaker}{}",
                if *kind == "web" { "" } else { setting.of_collectors }
            );
        }
        self.place.write("adce.yaml", &config);
    }

    /// Whether all locks are free: whatever a scraper has started holds those of its items.
    pub fn works_nobody(&self) -> bool {
        let locks = std::fs::read_dir(self.place.path("locks")).expect("a folder");
        locks.flatten().all(|lock| std::fs::File::open(lock.path()).expect("a lock").try_lock().is_ok())
    }

    pub fn requests(&self) -> u64 {
        self.upstream.figures().requests
    }

    pub fn objects(&self) -> u64 {
        self.items * self.kinds.len() as u64
    }

    fn keys(&self) -> impl Iterator<Item = String> {
        let items = self.items;
        self.kinds.iter().flat_map(move |kind| (0..items).map(move |number| format!("{kind}/deep/{number:06}.txt")))
    }

    fn object(&self, key: &str) -> PathBuf {
        self.place.path("lake").join(key)
    }

    /// Of a dead engine: nothing in the lake is torn that adce has put there, and of what is not there whole nothing is
    /// forgotten.
    ///
    /// Where the guardian died with its engine, a scraper that writes into the lake itself goes on with that. So what `gaps`
    /// does not name must be whole at the look after it; one before it may have come too early.
    pub fn look_at_what_is_left(&self) -> Found {
        let gaps = self.gaps();
        let (found, missing) = self.look_into_the_lake();
        for key in &missing {
            assert!(gaps.contains(key), "{key} is neither there nor a gap");
        }
        self.place.adce(&["state", "check"]).ends_with(0);
        found
    }

    /// As far as it can be seen without the state; and the keys of what is not there whole.
    pub fn look_into_the_lake(&self) -> (Found, BTreeSet<String>) {
        let mut whole = BTreeSet::new();
        let mut missing = BTreeSet::new();
        for key in self.keys() {
            match std::fs::read(self.object(&key)) {
                Ok(found) if found == content(&key) => drop(whole.insert(key)),
                // The command writes it there itself, and was killed.
                Ok(_) if key.starts_with("direct/") => drop(missing.insert(key)),
                Ok(found) => panic!("{key} is torn: {} bytes", found.len()),
                Err(_) => drop(missing.insert(key)),
            }
        }
        (Found { whole, arrivals: self.arrivals().len() }, missing)
    }

    fn gaps(&self) -> BTreeSet<String> {
        let said = self.place.adce(&["gaps", "--format", "json"]);
        let key = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["key"].as_str().map(String::from);
        said.out.lines().filter_map(key).collect()
    }

    /// Status and path, in the order in which they came.
    fn arrivals(&self) -> Vec<(String, String)> {
        let text = self.place.read("arrivals.log");
        let line = |line: &str| {
            let mut words = line.split(' ').skip(1).map(String::from);
            Some((words.next()?, words.next()?))
        };
        text.lines().filter_map(line).collect()
    }

    /// After the last engine has completed the lake. How many requests were answered well more than once.
    pub fn check(&self, found: &[Found]) -> u64 {
        for key in self.keys() {
            let there = std::fs::read(self.object(&key)).unwrap_or_else(|error| panic!("{key}: {error}"));
            assert!(there == content(&key), "{key} is torn");
        }
        let entries = std::fs::read_dir(self.place.path("lake/.adce-tmp"));
        let left: Vec<_> = entries.map(|entries| entries.flatten().collect()).unwrap_or_default();
        assert!(left.is_empty(), "temporary files are left: {left:?}");
        assert_eq!(self.gaps(), BTreeSet::new(), "no gap is left");
        assert!(!self.place.has("violations"), "handed out while another attempt was alive:\n{}", self.place.read("violations"));
        let figures = self.upstream.figures();
        assert_eq!(figures.windows_exceeded, 0, "no window is exceeded, whatever is killed: {figures:?}");
        self.check_arrivals(found)
    }

    fn check_arrivals(&self, found: &[Found]) -> u64 {
        let arrivals = self.arrivals();
        for found in found {
            let later: BTreeSet<&str> = arrivals[found.arrivals..].iter().map(|(_, path)| path.as_str()).collect();
            for key in found.whole.iter().filter(|key| !key.starts_with("direct/")) {
                assert!(!later.contains(path_of(key).as_str()), "{key} was there, and was asked for again");
            }
        }
        let mut answered: HashMap<&str, u64> = HashMap::new();
        for (_, path) in arrivals.iter().filter(|(status, _)| status == "200") {
            *answered.entry(path).or_default() += 1;
        }
        let asked = self.keys().filter(|key| !key.starts_with("quick/")).count();
        assert_eq!(answered.len(), asked, "every object was asked for, and nothing else");
        answered.values().map(|times| times - 1).sum()
    }

    pub fn told(&self) -> String {
        let figures = self.upstream.figures();
        format!("{} requests, fullest second {} of {}", figures.requests, figures.fullest[0], self.per_second)
    }
}

fn path_of(key: &str) -> String {
    format!("/{}", key.replace("/deep/", "/").trim_end_matches(".txt"))
}

fn content(key: &str) -> Vec<u8> {
    if key.starts_with("quick/") { format!("{:03000}", 7).into_bytes() } else { body(&path_of(key)) }
}

fn body(path: &str) -> Vec<u8> {
    path.bytes().cycle().take(3_000).collect()
}

/// Returns whether it ended of `kill -9`.
pub fn died(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

pub fn is_there(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
