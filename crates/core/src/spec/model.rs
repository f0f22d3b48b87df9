//! The checked configuration: what the rest of adce works with. Every name in it resolves, every unit is plain.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// A whole configuration. Maps keep the order of the file.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub lake: LakeUrl,
    /// Of S3 Inventory reports of the lake's bucket: the folder that holds their dated folders.
    pub reports: Option<LakeUrl>,
    pub events: Events,
    pub state: StateUrl,
    /// Folder of the (first) config file; relative paths start here.
    pub folder: PathBuf,
    pub sources: IndexMap<String, Source>,
    /// All sources together.
    pub limits: Limits,
    /// Gaps of older items are left alone until somebody asks for them.
    pub baseline: Option<crate::time::Timestamp>,
    /// Objects that are not unexpected although no dataset expects them.
    pub others: super::others::Others,
    pub gateway: GatewayRules,
    pub dimensions: IndexMap<String, Dimension>,
    pub datasets: IndexMap<String, Dataset>,
    pub collectors: IndexMap<String, std::sync::Arc<Collector>>,
    pub engine: Engine,
    pub weighting: Weighting,
    pub server: ServerRule,
}

impl Spec {
    /// The names of which all gaps of a task have the same values: those of its collector's `group_by`, and what its source's limits
    /// are told apart by. None, if nobody collects it.
    pub fn group_names<'a>(&'a self, dataset: &'a Dataset) -> impl Iterator<Item = &'a str> {
        let collector = dataset.collector.as_ref().and_then(|name| self.collectors.get(name));
        let source = dataset.source.as_ref().and_then(|name| self.sources.get(name));
        let group_by = collector.map(|collector| &collector.batch.group_by[..]).unwrap_or_default();
        let by = source.filter(|_| collector.is_some()).and_then(|source| source.by.as_ref());
        group_names(group_by, by.map(|by| by.name.as_str()))
    }

    /// A smaller object of this dataset cannot be a whole one.
    pub fn least_bytes(&self, dataset: &Dataset) -> u64 {
        let collector = dataset.collector.as_ref().and_then(|name| self.collectors.get(name));
        match collector.and_then(|collector| collector.how.compression()) {
            Some(compression) => compression.least_bytes(dataset.min_size),
            None => dataset.min_size,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LakeUrl {
    /// Absolute.
    Folder(PathBuf),
    /// `prefix` is empty or ends in `/`.
    S3 { bucket: String, prefix: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateUrl {
    /// Absolute.
    Sqlite(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub name: String,
    /// `host`, `*.host` or `host:port`.
    pub hosts: Vec<String>,
    pub base_url: Option<url::Url>,
    /// Whether the gateway opens https connections to its hosts, to see each request.
    pub intercept: bool,
    /// Whether the gateway sends a GET or HEAD again that drew 429 or 503.
    pub absorb: bool,
    pub cache: Cache,
    /// Factor of the score; 1.0 if not given.
    pub importance: f64,
    pub limits: Limits,
    /// What its requests are told apart by; a task has one value of it.
    pub by: Option<By>,
    /// Of the source as a whole.
    pub breaker: Option<BreakerPolicy>,
}

/// What is done with answers that upstream can be asked about again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// They are kept, and asked about instead of asked for.
    pub validators: bool,
    /// Upstream does not count a request that it answers 304.
    pub not_modified_is_free: bool,
}

/// A dimension, or a column, of the items of a source: `customer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    pub name: String,
    /// Of each value; the default: nothing is limited.
    pub limits: Limits,
    /// Of each value; `None`: it has none for itself.
    pub breaker: Option<BreakerPolicy>,
}

/// What the local proxy does with requests to hosts of no source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayRules {
    /// They are refused.
    pub strict: bool,
    /// Hosts that commands ask without the gateway.
    pub no_proxy: Vec<String>,
    /// Bytes of answers that sources with a cache keep, all together. 1 GiB if not given.
    pub cache_size: u64,
}

impl Default for GatewayRules {
    fn default() -> Self {
        GatewayRules { strict: false, no_proxy: Vec::new(), cache_size: 1 << 30 }
    }
}

/// Limits of one source, or of all together. Empty: nothing is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Exact windows, shortest first.
    pub windows: Vec<Window>,
    /// At most so many requests ahead of an even spread of the shortest window of a minute or more.
    pub burst: Option<u32>,
    /// From the previous request's settled to the next one's sent.
    pub min_delay: Option<Duration>,
    pub in_flight: Option<u32>,
    pub margin: Margin,
    /// A closed connection's request may still arrive so much later. 1 s if not given.
    pub linger: Duration,
    /// Of bodies, both ways together.
    pub bytes_per_second: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            windows: Vec::new(),
            burst: None,
            min_delay: None,
            in_flight: None,
            margin: Margin::Bracket,
            linger: Duration::from_secs(1),
            bytes_per_second: None,
        }
    }
}

impl Limits {
    /// Whether anything bounds requests; bytes are another matter.
    pub fn bounds_requests(&self) -> bool {
        !self.windows.is_empty() || self.burst.is_some() || self.min_delay.is_some() || self.in_flight.is_some()
    }
}

/// At most `requests` in any span of `span`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub requests: u32,
    pub span: Duration,
}

impl Window {
    /// The span that a key declares: the other way round of [`key`](Self::key).
    pub fn span_of(key: &str) -> Option<Duration> {
        let spans = [1, 60, 3_600, 86_400].map(Duration::from_secs);
        spans.into_iter().find(|span| Window { requests: 1, span: *span }.key() == key)
    }

    /// The key that declares it in the config: `per_second`, `per_minute`, `per_hour`, `per_day`.
    pub fn key(&self) -> &'static str {
        match self.span.as_secs() {
            1 => "per_second",
            60 => "per_minute",
            3_600 => "per_hour",
            _ => "per_day",
        }
    }
}

/// Until when a request counts against a window W.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Margin {
    /// From sent until settled + W: proven.
    Bracket,
    /// From sent until sent + W + margin: the user answers for the margin.
    Fixed(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Consecutive failures that open it.
    pub failures: u32,
    /// The first pause; it doubles while probes fail.
    pub cooldown: Duration,
    pub cooldown_max: Duration,
    pub rate: Option<FailureRate>,
}

/// Opens as well if of the latest `of` outcomes, all within `within`, so many failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureRate {
    pub permille: u32,
    pub of: u32,
    pub within: Duration,
}

impl Default for FailureRate {
    fn default() -> Self {
        FailureRate { permille: 500, of: 20, within: Duration::from_secs(600) }
    }
}

impl BreakerPolicy {
    /// What a collector has: nobody is bothered by a probe of it, and failures that alternate with successes are its
    /// items', for which the score makes up.
    pub fn of_collector() -> Self {
        BreakerPolicy { failures: 5, cooldown: Duration::from_secs(60), cooldown_max: Duration::from_secs(15 * 60), rate: None }
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        BreakerPolicy {
            failures: 5,
            cooldown: Duration::from_secs(600),
            cooldown_max: Duration::from_secs(2 * 3_600),
            rate: Some(FailureRate::default()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriorityLevel {
    Low,
    #[default]
    Medium,
    High,
    Critical,
}

impl PriorityLevel {
    pub const ALL: [PriorityLevel; 4] = [PriorityLevel::Critical, PriorityLevel::High, PriorityLevel::Medium, PriorityLevel::Low];

    pub fn word(self) -> &'static str {
        match self {
            PriorityLevel::Low => "low",
            PriorityLevel::Medium => "medium",
            PriorityLevel::High => "high",
            PriorityLevel::Critical => "critical",
        }
    }
}

/// How to fetch.
#[derive(Clone, Debug)]
pub struct Collector {
    pub name: String,
    pub how: How,
    pub batch: Batch,
    pub requests: Requests,
    pub via: Via,
    pub pass: Pass,
    pub output: Output,
    pub timeout: Duration,
    pub retry: RetryPolicy,
    pub breaker: Option<BreakerPolicy>,
    pub environment: Environment,
    pub resources: Resources,
    pub keep: Keep,
    /// Working folder of a command: absolute.
    pub cwd: PathBuf,
}

impl Collector {
    /// Where a command that writes where it likes leaves the file of the item with these values; `None` for all others.
    pub fn pick_up_path(&self, values: &[(String, String)]) -> Option<Result<PathBuf, super::template::FillError>> {
        match &self.output {
            Output::PickUp(pick_up) => Some(pick_up.path.fill(values).map(|path| self.cwd.join(path))),
            Output::Staged | Output::Direct | Output::Stdout => None,
        }
    }
}

/// How a command's requests pass the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// How long the command waits for an answer. `None`: as long as it takes.
    pub patience: Option<Duration>,
    /// Whether it reaches anything else.
    pub egress: Egress,
    /// So many requests an attempt may send.
    pub most: Option<u32>,
}

#[derive(Clone, Debug)]
pub enum How {
    /// argv; `{x}` in an element is filled in.
    Command(Vec<super::template::Template>),
    Http(Http),
}

impl How {
    /// What adce itself does to an answer on its way into the lake.
    pub fn compression(&self) -> Option<Compression> {
        match self {
            How::Http(http) => http.compress,
            How::Command(_) => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Http {
    pub url: super::template::Template,
    pub headers: Vec<(String, Secretive)>,
    /// Compress the body on its way into the lake.
    pub compress: Option<Compression>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Gzip,
}

impl Compression {
    /// No file in this form that holds so many bytes is smaller: `min_size` speaks of what was received, and of an object
    /// in the lake only its own size is known.
    pub fn least_bytes(self, holding: u64) -> u64 {
        match self {
            // Header and trailer, and one byte of a match stands for 1,032 at the most; even one byte takes three.
            Compression::Gzip if holding > 0 => 18 + holding.div_ceil(1_032).max(3),
            Compression::Gzip => 0,
        }
    }
}

/// What tells of objects of the lake that come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// URL of a queue of Amazon SQS.
    pub sqs: Option<String>,
    pub webhook: Option<WebhookRule>,
    /// A lake in a folder is watched.
    pub watch: bool,
}

impl Default for Events {
    fn default() -> Self {
        Events { sqs: None, webhook: None, watch: true }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRule {
    pub listen: std::net::SocketAddr,
    /// What a post must show.
    pub token: Secretive,
}

/// A text of the config, or the name of where a secret lies. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Secretive {
    Plain(String),
    /// From adce's own environment.
    Variable(String),
    File(PathBuf),
}

impl std::fmt::Debug for Secretive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secretive::Plain(text) => write!(f, "{text:?}"),
            Secretive::Variable(name) => write!(f, "(secret {name})"),
            Secretive::File(path) => write!(f, "(secret in {})", path.display()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// At least 1.
    pub size: u32,
    /// Names of dimensions or columns.
    pub group_by: Vec<String>,
}

/// What each entry of a gap's `group` is the value of, in this order.
pub fn group_names<'a>(group_by: &'a [impl AsRef<str>], by: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let by = by.filter(|by| !group_by.iter().any(|name| name.as_ref() == *by));
    group_by.iter().map(AsRef::as_ref).chain(by)
}

impl Default for Batch {
    fn default() -> Self {
        Batch { size: 1, group_by: Vec::new() }
    }
}

/// What a task costs its source, if its requests pass neither the gateway nor adce's own client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    pub per_task: u32,
    pub per_item: u32,
}

impl Default for Requests {
    fn default() -> Self {
        Requests { per_task: 0, per_item: 1 }
    }
}

impl Requests {
    pub fn of(&self, items: usize) -> u64 {
        u64::from(self.per_task) + u64::from(self.per_item) * items as u64
    }
}

/// Which network a command has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Egress {
    /// The machine's.
    #[default]
    Open,
    /// None but the gateway.
    Gateway,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    #[default]
    None,
    Gateway,
}

/// How a command delivers what it collected.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Output {
    /// It writes each object to `{out}`.
    #[default]
    Staged,
    /// It writes to the lake by itself.
    Direct,
    /// What it prints is the object of its only item.
    Stdout,
    /// It writes where it likes, and its files are taken from there.
    PickUp(PickUp),
}

#[derive(Clone, Debug, PartialEq)]
pub struct PickUp {
    /// Where the file of one item lies: absolute, or relative to the collector's `cwd`.
    pub path: super::template::Template,
    pub at: super::problem::Place,
}

/// After which attempts of a command the folder in which it worked is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    #[default]
    Never,
    /// In which an item failed.
    Failed,
    Always,
}

/// What one attempt of a command may use; `None`: as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes of memory, of all its processes together.
    pub memory: Option<u64>,
    /// Of the processors, of all its processes together.
    pub cpu_time: Option<Duration>,
    /// Of each process.
    pub open_files: Option<u32>,
    /// Bytes printed on standard output and standard error together.
    pub output: Option<u64>,
    /// 0 to 19.
    pub nice: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    pub attempts: u32,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    pub revive_min: Duration,
    pub revive_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts: 3,
            backoff_min: Duration::from_secs(60),
            backoff_max: Duration::from_secs(30 * 60),
            revive_min: Duration::from_secs(3_600),
            revive_max: Duration::from_secs(24 * 3_600),
        }
    }
}

/// What a command sees of the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Names that are handed on as they are.
    pub pass: Vec<String>,
    pub set: Vec<(String, Secretive)>,
    /// Lake credentials reach the command.
    pub lake_access: bool,
}

impl Default for Environment {
    fn default() -> Self {
        let pass = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"].map(String::from).to_vec();
        Environment { pass, set: Vec::new(), lake_access: false }
    }
}

/// What a collected file must look like.
#[derive(Clone, Debug)]
pub enum Validity {
    Json,
    /// JSON of which this holds.
    JsonHolds(super::claim::Claim),
    /// What this command says of `{file}`: exit 0 is yes.
    Command(std::sync::Arc<Collector>),
    Csv,
    Parquet,
    Gzip,
    Text {
        starts: Option<String>,
        lacks: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsentPolicy {
    /// Counted from due (or from detection): before, "no such thing" means "not yet".
    pub after: Duration,
    pub recheck_min: Duration,
    pub recheck_max: Duration,
}

impl Default for AbsentPolicy {
    fn default() -> Self {
        AbsentPolicy {
            after: Duration::from_secs(3 * 86_400),
            recheck_min: Duration::from_secs(3_600),
            recheck_max: Duration::from_secs(30 * 86_400),
        }
    }
}

/// A list of keys beside the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// Relative to the config's folder.
    pub path: String,
    pub at: super::problem::Place,
}

#[derive(Clone, Debug)]
pub struct Dataset {
    pub name: String,
    pub source: Option<String>,
    pub key: super::template::Template,
    /// Older places whose objects count where none is at the key.
    pub also: Vec<OlderPlace>,
    /// Names of dimensions: the items are their product.
    pub dimensions: Vec<String>,
    /// Typed against the dimensions above: true or false per item, never uses `now`.
    pub only: Option<super::expression::Expression>,
    /// Of one instant for all items; older ones are out of scope.
    pub since: Option<super::expression::Expression>,
    pub due: Option<super::expression::Expression>,
    pub expires: Option<super::expression::Expression>,
    pub fresh: Option<Freshness>,
    /// Items of other datasets that its items are made from.
    pub needs: Vec<Needed>,
    /// Bytes; at least 1.
    pub min_size: u64,
    /// Bytes; what is larger is warned of.
    pub max_size: Option<u64>,
    /// Parts per thousand that must be present for it to be healthy.
    pub require: Option<u32>,
    pub valid: Option<Validity>,
    pub absent: AbsentPolicy,
    /// `absent.known`: items that a person knows to be absent.
    pub known: Option<KnownFile>,
    pub priority: Priority,
    /// `None`: only watched.
    pub collector: Option<String>,
    /// For error messages that show only when expanded.
    pub at: super::problem::Place,
    /// Place of the `key:` value.
    pub key_at: super::problem::Place,
    /// Of key, for, where and the collector's argv or url: exhausted and absent marks are void when it changes.
    pub fingerprint: u64,
}

impl Dataset {
    /// What the keys of its items begin with, and what their older places do, in the order in which they count.
    pub fn literal_prefixes(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.key.literal_prefix()).chain(self.also.iter().map(|also| also.template.literal_prefix()))
    }
}

impl Dimension {
    /// Of a derived table: where its rows come from.
    pub fn rows(&self) -> Option<&crate::coverage::CollectedRows> {
        match &self.kind {
            DimensionKind::Table(table) => table.rows.as_ref(),
            DimensionKind::List(_) | DimensionKind::Calendar(_) => None,
        }
    }

    pub fn is_derived(&self) -> bool {
        self.rows().is_some()
    }
}

/// One of a dataset's `needs`.
#[derive(Clone, Debug)]
pub struct Needed {
    pub dataset: String,
    /// Of two calendars: the other dataset's, of which those spans are needed that begin within the own one's.
    pub within: Vec<(String, String)>,
    pub at: super::problem::Place,
}

/// One of a dataset's `also`.
#[derive(Clone, Debug)]
pub struct OlderPlace {
    pub template: super::template::Template,
    pub at: super::problem::Place,
}

/// When an object is too old.
#[derive(Clone, Debug)]
pub enum Freshness {
    /// Stale when now < until and now − confirmed > within, and once more past `until` if confirmed < until − within.
    Within { within: jiff::SignedDuration, until: Option<super::expression::Expression> },
    /// Stale when confirmed < the latest of these instants that has passed.
    At(Vec<super::expression::Expression>),
}

#[derive(Clone, Debug)]
pub enum Priority {
    Always(PriorityLevel),
    /// The highest that holds, else low; highest first.
    When(Vec<(PriorityLevel, super::expression::Expression)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    pub max_concurrent: u32,
    pub reconcile_every: Duration,
    pub surprise: Surprise,
    pub reserve: super::Reserve,
    /// How many tasks may start from one full look to the next.
    pub tasks_per_cycle: super::Caps,
    /// A task that stands in line for longer ends, and its gaps make new ones with the next look. `None`: none does.
    pub task_ttl: Option<Duration>,
    /// How long what runs may go on when an engine that stays is told to end.
    pub drain: Duration,
    /// When nothing starts any more for the engine's own sake.
    pub protect: crate::protect::Protect,
    /// Of attempts and events in the state.
    pub history: Retention,
    /// Of logs of attempts beside it.
    pub logs: Retention,
}

impl Default for Engine {
    fn default() -> Self {
        Engine {
            max_concurrent: 5,
            reconcile_every: Duration::from_secs(15 * 60),
            surprise: Surprise::default(),
            reserve: super::Reserve::default(),
            tasks_per_cycle: super::Caps::default(),
            task_ttl: None,
            drain: Duration::from_secs(5 * 60),
            protect: crate::protect::Protect::default(),
            history: Retention::default(),
            logs: Retention { bytes: 512 << 20, ..Retention::default() },
        }
    }
}

/// Where an engine that stays answers browsers and programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRule {
    pub listen: Listen,
    /// Names by which it may be asked, beside `localhost` and addresses.
    pub hosts: Vec<String>,
    /// Who only looks needs a token, too.
    pub reads_need_a_token: bool,
    pub tls: Option<TlsFiles>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    Off,
    /// Nobody has said where: another port does as well.
    Usually(std::net::SocketAddr),
    At(std::net::SocketAddr),
}

/// Absolute; in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl ServerRule {
    pub const USUAL: std::net::SocketAddr = std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7780);
}

impl Default for ServerRule {
    fn default() -> Self {
        ServerRule { listen: Listen::Usually(Self::USUAL), hosts: Vec::new(), reads_need_a_token: false, tls: None }
    }
}

/// How much of what is over is kept. Nothing that decides is ever forgotten by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub age: Duration,
    /// Of all of it together; the oldest goes first.
    pub bytes: u64,
}

impl Default for Retention {
    /// A quarter of a year answers "what happened to it last month". 256 MiB are half a million attempts of one item, and
    /// are read through in half a second when one task's story is asked for.
    fn default() -> Self {
        Retention { age: Duration::from_secs(90 * 86_400), bytes: 256 << 20 }
    }
}

/// Shares in parts per thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surprise {
    /// Of all items, opened as gaps by a reload.
    pub items_permille: u32,
    /// Of a table's rows or a dataset's objects, lost.
    pub lost_permille: u32,
    /// Fewer than so many are never a surprise.
    pub at_least: u64,
}

impl Default for Surprise {
    fn default() -> Self {
        Surprise { items_permille: 200, lost_permille: 100, at_least: 20 }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Weighting {
    pub enabled: bool,
    pub base_scores: BaseScores,
    /// Points an hour since detection.
    pub age_multiplier: f64,
    pub age_cap: f64,
    /// Bands by number of gaps; the first that holds counts, else 1.0.
    pub task_size: Vec<SizeBand>,
    pub success_below: f64,
    pub success_multiplier: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaseScores {
    pub critical: f64,
    pub high: f64,
    pub medium: f64,
    pub low: f64,
}

impl BaseScores {
    pub fn of(&self, level: PriorityLevel) -> f64 {
        match level {
            PriorityLevel::Critical => self.critical,
            PriorityLevel::High => self.high,
            PriorityLevel::Medium => self.medium,
            PriorityLevel::Low => self.low,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeBand {
    pub bound: SizeBound,
    pub multiplier: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeBound {
    Below(u32),
    Above(u32),
}

impl Default for Weighting {
    fn default() -> Self {
        Weighting {
            enabled: true,
            base_scores: BaseScores { critical: 1000.0, high: 100.0, medium: 10.0, low: 1.0 },
            age_multiplier: 0.5,
            age_cap: 500.0,
            task_size: vec![
                SizeBand { bound: SizeBound::Below(10), multiplier: 1.3 },
                SizeBand { bound: SizeBound::Below(50), multiplier: 1.1 },
                SizeBand { bound: SizeBound::Above(500), multiplier: 0.8 },
            ],
            success_below: 0.5,
            success_multiplier: 0.7,
        }
    }
}

/// A named set of values.
#[derive(Clone, Debug)]
pub struct Dimension {
    pub name: String,
    pub kind: DimensionKind,
    pub at: super::problem::Place,
}

#[derive(Clone, Debug)]
pub enum DimensionKind {
    List(Vec<String>),
    Calendar(Calendar),
    Table(Table),
}

/// Spans of the calendar, both ends included. An item's value is the span's start, as civil time in `zone`.
#[derive(Clone, Debug)]
pub struct Calendar {
    /// May use `today` and `now`.
    pub from: super::expression::Expression,
    pub to: super::expression::Expression,
    pub every: Every,
    pub zone: jiff::tz::TimeZone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    Hours(u32),
    Days(u32),
    Months(u32),
}

/// Rows of CSV files.
#[derive(Clone, Debug)]
pub struct Table {
    /// A path or glob, relative to the config's folder; with `lake:` in front, of keys in the lake. Of a derived table: nothing.
    pub path: String,
    /// The lake, if it lies there.
    pub lake: Option<LakeUrl>,
    /// Its rows lie in objects that adce itself collects.
    pub rows: Option<crate::coverage::CollectedRows>,
    pub id: String,
    pub columns: Vec<ColumnRule>,
    pub duplicates: Duplicates,
}

#[derive(Clone, Debug)]
pub struct ColumnRule {
    pub name: String,
    pub rule: ColumnSource,
    /// Its cells are values of this dimension.
    pub references: Option<String>,
    pub at: super::problem::Place,
}

#[derive(Clone, Debug)]
pub enum ColumnSource {
    /// Another name for a column of the file; with `time`, its cells are read with this strptime format in `zone`.
    From { column: String, time: Option<TimeFormat> },
    /// Computed from the row's other columns.
    Is(super::expression::Expression),
}

#[derive(Clone, Debug)]
pub struct TimeFormat {
    pub format: String,
    pub zone: Option<jiff::tz::TimeZone>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duplicates {
    Error,
    /// The last row wins; by this column if given.
    KeepLast {
        by: Option<String>,
    },
}
