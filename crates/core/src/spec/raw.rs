//! The config as it is written. Each struct here is at once parser, JSON Schema and reference: the sentences below are
//! what an editor shows when it completes a key.
//!
//! Nothing is resolved or defaulted here; `load` does both.

use schemars::JsonSchema;

use super::decode::{Decode, Given, Needed, OneOrMore, Section, Text, Trail, raw, unexpected};
use super::problem::{Problem, alternatives};
use super::units::{ByteRate, Factor, FromText, Percent, Points, Positive, Size, Span, SpanRange, Whole};
use super::yaml::{Map, Node, Value};
use super::{Compression, PriorityLevel};

raw! {
    /// What data should exist, where it lies, and how it is fetched.
    pub struct RawConfig {
        /// Version of the config's language: 1.
        pub version: Option<Given<Positive>>,
        /// Shown everywhere; a state remembers it. Default: the name of the config's folder.
        pub name: Option<Text>,
        /// Where the objects lie: a local folder (`./lake`) or `s3://bucket/prefix`; or a map with that and with what else tells what
        /// lies there. Credentials come from the usual chain.
        pub lake: Needed<RawLake>,
        /// adce's own database. Default: `sqlite:.adce/state.db`.
        pub state: Option<Text>,
        /// Upstreams, by name.
        pub sources: Option<Section<RawSource>>,
        /// Limits of all sources together.
        pub limits: Option<RawLimits>,
        /// What the local proxy does with requests to hosts of no source.
        pub gateway: Option<RawGateway>,
        /// Named sets of values: a list, a calendar or a table.
        pub dimensions: Option<Section<RawDimension>>,
        /// Gaps of items that are older are left alone until somebody asks for them with `--select`: a date, as of the adoption of a
        /// lake that was there before. An item is as old as its `due`, or as the begin of its calendar's span. Default: none is.
        pub baseline: Option<Text>,
        /// Objects that are of no dataset, and of which nobody needs to be told: `["tmp/**", "**/*.bak"]`.
        pub ignore: Option<OneOrMore<Text>>,
        /// Families of objects that should exist.
        pub datasets: Needed<Section<RawDataset>>,
        /// How to fetch: commands and http requests, by name.
        pub collectors: Option<Section<RawCollector>>,
        /// Commands on a schedule, without items: they run beside the engine, in its slots.
        pub jobs: Option<Section<RawJob>>,
        /// Times at which sources, or everything, start nothing.
        pub maintenance: Option<Section<RawMaintenance>>,
        /// How the engine works.
        pub engine: Option<RawEngine>,
        /// The order of work.
        pub priority_weighting: Option<RawWeighting>,
        /// Where `adce up` answers browsers and programs, and whom.
        pub server: Option<RawServer>,
    }
    later { guard, alerts, metrics }

    /// The API and the pages of an engine that stays.
    pub struct RawServer {
        /// `address:port`, or `off`. Default: 127.0.0.1:7780, and another port of that address while this one is taken.
        pub listen: Option<Text>,
        /// Names by which browsers may ask it beside `localhost` and addresses: `[adce.example.org]`.
        pub hosts: Option<OneOrMore<Text>>,
        /// `open`: who may connect may look; `token`: only with a token. What acts always needs one. Default: `open` on loopback,
        /// `token` elsewhere.
        pub reads: Option<Given<RawReads>>,
        /// Certificate and key, in PEM. Default: none, which is for loopback alone.
        pub tls: Option<RawTls>,
        /// Answers without TLS to other machines, too: something in front of it encrypts. Default: false.
        pub unencrypted: Option<Given<bool>>,
    }

    /// How the server shows who it is.
    pub struct RawTls {
        /// A file of the certificate and those above it.
        pub certificate: Needed<Text>,
        /// A file of its private key.
        pub key: Needed<Text>,
    }

    /// Where the objects lie, and what else tells of them.
    pub struct RawLakeMap {
        /// A local folder (`./lake`) or `s3://bucket/prefix`.
        pub url: Needed<Text>,
        /// S3 Inventory reports of the bucket, read instead of listing it: the folder that holds their dated folders
        /// (`s3://reports/bucket/configuration/`, or a local one). Default: the lake is listed.
        pub inventory: Option<Text>,
        /// What tells of objects that come and go, so that `adce up` need not wait for its next full look.
        pub events: Option<RawEvents>,
        /// A lake in a folder is watched by `adce up`. Default: true.
        pub watch: Option<Given<bool>>,
    }

    /// Notifications of the bucket: by a queue, or posted to adce.
    pub struct RawEvents {
        /// URL of an SQS queue: `https://sqs.us-east-1.amazonaws.com/123456789012/nba-events`. Credentials are those of the lake.
        pub sqs: Option<Text>,
        /// MinIO, EventBridge or whoever sends CloudEvents posts to adce.
        pub webhook: Option<RawWebhook>,
    }

    /// Where events are posted to: `http://<listen>/events`, with the header `Authorization: Bearer <token>`.
    pub struct RawWebhook {
        /// `address:port`. Default: 127.0.0.1:7781.
        pub listen: Option<Text>,
        /// What a post must show.
        pub token: Needed<RawSecret>,
    }

    /// An upstream: an API or a site.
    pub struct RawSource {
        /// `host`, `*.host` (not the bare host) or `host:port`; exact beats wildcard.
        pub hosts: Needed<OneOrMore<Text>>,
        /// Where the gateway sends requests. Default: `https://` and the only host.
        pub base_url: Option<Text>,
        /// Opens https connections of commands to these hosts, so that each of their requests is counted and waits for its own
        /// permit, not each connection. Commands are made to trust adce's own certificates for that. Default: false.
        pub intercept: Option<Given<bool>>,
        /// A GET or HEAD of a command that draws 429 or 503 is sent again by the gateway when the source may be asked again; the
        /// command sees a slow answer. Default: false.
        pub absorb: Option<Given<bool>>,
        /// `validators`: answers with an `ETag` or a `Last-Modified` are kept, and the same request of a command (in the gateway) or of
        /// `http` later asks whether the answer still holds; if it does, the one that is kept is the answer. Default: none is kept.
        pub cache: Option<Given<RawCache>>,
        /// `free`: upstream does not count requests that it answers 304, and neither does adce. Only where its documentation says so.
        /// Default: `counts`.
        pub not_modified: Option<Given<RawNotModified>>,
        /// Factor of the score. Default: 1.0.
        pub importance: Option<Given<Factor>>,
        /// How often it may be asked: its limits, or a list of those and of limits `by` a value. Default: no limit.
        pub limits: Option<OneOrMore<RawLimits>>,
        /// When to stop calling what keeps failing: a breaker, or a list of one and of one `by` a value. Default: 5 failures in a row or
        /// half of the last 20; 10m.
        pub breaker: Option<OneOrMore<RawBreaker>>,
    }

    /// The local proxy that requests of commands pass.
    pub struct RawGateway {
        /// Refuses requests to hosts of no source. Default: false, they pass, are counted and named.
        pub strict: Option<Given<bool>>,
        /// Hosts that commands ask without the gateway, such as a database of your own: `host`, `.domain` or an address.
        pub no_proxy: Option<OneOrMore<Text>>,
        /// How much of answers is kept, all sources with a `cache` together; the longest unused go first. Default: 1GiB.
        pub cache_size: Option<Given<Size>>,
    }

    /// Limits of requests. All of them hold at once.
    pub struct RawLimits {
        /// Each value of this dimension, or column, of the items has these limits for itself: `customer`. Of a source only.
        pub by: Option<Text>,
        /// Requests in any span of one second.
        pub per_second: Option<Given<Positive>>,
        /// Requests in any span of one minute.
        pub per_minute: Option<Given<Positive>>,
        /// Requests in any span of one hour.
        pub per_hour: Option<Given<Positive>>,
        /// Requests in any span of one day.
        pub per_day: Option<Given<Positive>>,
        /// At most so many requests ahead of an even spread of the shortest window of a minute or more.
        pub burst: Option<Given<Positive>>,
        /// From the end of one request to the begin of the next.
        pub min_delay: Option<Given<Span>>,
        /// Requests at the same time.
        pub in_flight: Option<Given<Positive>>,
        /// Until when a request counts: `bracket` (proven, the default) or a duration such as `30ms` (yours to answer for).
        pub margin: Option<RawMargin>,
        /// How long after its connection closed a request may still arrive. Default: 1s.
        pub linger: Option<Given<Span>>,
        /// Bytes of bodies, sent and received together, in a second: `1MB`. Not `by` a value.
        pub bytes_per_second: Option<Given<ByteRate>>,
    }

    /// What opens the breaker, and the pauses until the next try.
    pub struct RawBreakerPolicy {
        /// Each value of this dimension, or column, of the items has such a breaker for itself: `customer`. Of a source only.
        pub by: Option<Text>,
        /// Consecutive failures that open it. Default: 5.
        pub failures: Option<Given<Positive>>,
        /// The first pause; it doubles while the tries after it fail. Default: 10m; of a collector 1m.
        pub cooldown: Option<Given<Span>>,
        /// The longest pause. Default: 2h; of a collector 15m.
        pub cooldown_max: Option<Given<Span>>,
        /// The share of failures that opens it, too. Default: 50%; of a collector none.
        pub rate: Option<Given<Percent>>,
        /// Of so many of the latest outcomes. Default: 20.
        pub of: Option<Given<Positive>>,
        /// Which must all be that recent. Default: 10m.
        pub within: Option<Given<Span>>,
    }

    /// Spans of the calendar, both ends included. Each has `.start` and `.end`.
    pub struct RawCalendar {
        /// The first: a date, or an expression with `today` or `now`.
        pub from: Needed<Text>,
        /// The last: a date, or an expression with `today` or `now`.
        pub to: Needed<Text>,
        /// `1d`, `1h`, `1mo` and multiples.
        pub every: Needed<Text>,
        /// The time zone, such as `America/New_York` or `UTC`.
        pub zone: Option<Text>,
    }

    /// Rows of CSV files, or of objects that adce itself collects.
    pub struct RawTable {
        /// A path or glob, relative to this file; or of objects in the lake, `lake:schedules/*.csv`. CSV, JSON Lines (`.jsonl`) or Parquet
        /// (`.parquet`), the first two also packed (`.gz`, `.zst`). Or of objects that are collected:
        /// `{ dataset: schedule, rows: "$.events[*]", columns: { game_id: "$.id" } }`.
        pub table: Needed<RawRowsOf>,
        /// The column whose values are the dimension's values.
        pub id: Needed<Text>,
        /// Renamed, typed and derived columns; every other column is there under its own name.
        pub columns: Option<Section<RawColumn>>,
        /// What to do with two rows of one id. Default: `error`.
        pub duplicates: Option<RawDuplicates>,
    }

    /// Rows in objects of a dataset.
    pub struct RawRows {
        /// Whose objects, which are JSON, have the rows.
        pub dataset: Needed<Text>,
        /// Where they are in an object: `$.events[*]`.
        pub rows: Needed<Text>,
        /// The table's columns: where each cell is in a row (`$.id`), or a name of the object's own item (`season`).
        pub columns: Needed<Section<Text>>,
    }

    /// A column of a table: renamed or typed (`from`), derived (`is`), or one whose cells are values of another dimension.
    pub struct RawColumn {
        /// The column of the file.
        pub from: Option<Text>,
        /// How its times are written, as for strptime: `%d/%m/%Y %H:%M`.
        pub time: Option<Text>,
        /// The zone of its times.
        pub zone: Option<Text>,
        /// An expression over the row's other columns: `tip + 3h`.
        pub is: Option<Text>,
        /// A dimension: each cell that is not empty must be one of its values.
        pub references: Option<Text>,
    }

    /// Of several rows with one id, the last counts.
    pub struct RawKeep {
        /// `last`.
        pub keep: Needed<Given<Keep>>,
        /// The column by which a row is the last. Default: the order of files and rows.
        pub by: Option<Text>,
    }

    /// A family of objects that should exist: one for each item of `for`.
    pub struct RawDataset {
        /// The source that is asked. Without one, no upstream is.
        pub source: Option<Text>,
        /// Where an object lies: `espn/{season}/{game_id}.json`; dates as `{day:%Y%m%d}`. A `*` in the last segment makes each item a
        /// set of objects: `crm/{customer_id}/dt={day}/part-*.parquet`.
        pub key: Needed<Text>,
        /// Of a set: the name of the object beside its parts that is written when all of them are: `_SUCCESS`. Default: one part is
        /// enough for the set to be there.
        pub done: Option<Text>,
        /// Older places whose objects count where none is at the key: `["old/{season}/{game_id}.json"]`. What is collected goes to
        /// the key.
        pub also: Option<OneOrMore<Text>>,
        /// Other objects that belong to this dataset, and are not unexpected: `[orders/**]`. `*` does not reach over a `/`.
        pub owns: Option<OneOrMore<Text>>,
        /// Objects of which nobody needs to be told: as `owns`, of whoever they are.
        pub ignore: Option<OneOrMore<Text>>,
        /// The dimension whose values are the items; of several, the product.
        pub r#for: Needed<OneOrMore<Text>>,
        /// Keeps the items for which this expression holds.
        pub r#where: Option<Text>,
        /// Items whose `due` (without one: the begin of their calendar's span) lies before are out of scope: a date, `today` or
        /// `now`, with durations: `now - 1y`. Default: all are in scope.
        pub since: Option<Text>,
        /// Not expected before. Default: due at once.
        pub due: Option<Text>,
        /// Not expected any more from then on; may use `due`: `due + 400d`. Default: never.
        pub expires: Option<Text>,
        /// When an object is too old. Default: never.
        pub fresh: Option<RawFresh>,
        /// Datasets whose items these are made from: due when those are there, stale when one of them is newer. Dimensions of one name
        /// match by themselves; periods within a period are written out: `{ events: hour in day }`.
        pub needs: Option<RawNeeds>,
        /// Smaller objects are gaps; of a set, all its parts together count. Default: 1B, and nothing for a set with `done`.
        pub min_size: Option<Given<Size>>,
        /// Larger objects are warned of, and are no gaps.
        pub max_size: Option<Given<Size>>,
        /// So much of it must be present for the dataset to be called healthy: `95%`. What is missing is a gap all the same.
        pub require: Option<Given<Percent>>,
        /// What an object must look like: `json`, `csv`, `parquet`, `gzip`, `{ json: "$.header.status == 'final'" }`,
        /// `{ command: [check, "{file}"] }`, or `{ starts: "<", lacks: "Access Denied" }`.
        pub valid: Option<RawValid>,
        /// When "no such thing" is believed. Default: after 3d, asked again 1h..30d.
        pub absent: Option<RawAbsent>,
        /// `critical`, `high`, `medium` or `low`, or an expression for each. Default: medium.
        pub priority: Option<RawPriority>,
        /// A collector's name, or the collector itself. Without one, the dataset is only watched.
        pub collector: Option<RawCollectorUse>,
    }

    /// When an object is too old: `within`, or `at`.
    pub struct RawFresh {
        /// Stale when the last confirmation is older than this.
        pub within: Option<Given<Span>>,
        /// Final from then on: an expression; may use `due`.
        pub until: Option<Text>,
        /// Stale when the last confirmation lies before the latest of these instants that has passed: `[ends_at + 6h, ends_at + 7d]`.
        pub at: Option<OneOrMore<Text>>,
    }
    one_of { within, at }

    /// What an object must hold, a program that knows, or texts that it must or must not have.
    pub struct RawValidText {
        /// JSON of which this holds: an expression over paths, `$.header.status == 'final'`.
        pub json: Option<Text>,
        /// Program and arguments, with `{file}` among them; exit 0 says that the file is valid, and what it prints last why it is not.
        pub command: Option<Vec<Text>>,
        /// Of the `command`. Default: 1m.
        pub timeout: Option<Given<Span>>,
        /// Variables that the `command` gets from adce's environment. Default: as of collectors.
        pub env: Option<Vec<Text>>,
        /// The object begins with this, behind blanks.
        pub starts: Option<Text>,
        /// The object does not contain this.
        pub lacks: Option<Text>,
    }

    /// When "no such thing" is believed, and how often it is asked again.
    pub struct RawAbsent {
        /// Counted from due; before, "no such thing" means "not yet". Default: 3d.
        pub after: Option<Given<Span>>,
        /// The pauses between looks. Default: 1h..30d.
        pub recheck: Option<Given<SpanRange>>,
        /// A CSV file of objects that upstream is known not to have (`key,reason,date,by`): they are absent from the start, and
        /// never asked for. `adce mark-absent` adds to it.
        pub known: Option<Text>,
    }

    /// The highest that holds, else low.
    pub struct RawPriorityLevels {
        /// An expression; may use `overdue` and `reason`.
        pub critical: Option<Text>,
        /// An expression; may use `overdue` and `reason`.
        pub high: Option<Text>,
        /// An expression; may use `overdue` and `reason`.
        pub medium: Option<Text>,
    }

    /// How to fetch: a `command` or `http`.
    pub struct RawCollector {
        /// Program and arguments; no shell. `{x}` is filled in.
        pub command: Option<Vec<Text>>,
        /// One GET request an item.
        pub http: Option<RawHttp>,
        /// How many items one task has. Default: one.
        pub batch: Option<RawBatch>,
        /// What a task costs its source. Default: one request an item.
        pub requests: Option<RawRequests>,
        /// `gateway`: every request passes `$ADCE_GATEWAY`, one permit each. `none` (the default): charged ahead.
        pub via: Option<Given<RawVia>>,
        /// `gateway`: the command reaches nothing but the gateway, whatever it tries (Linux: it begins in a network namespace of
        /// its own). `open` (the default): it has the machine's network, and is only asked to use the gateway.
        pub egress: Option<Given<RawEgress>>,
        /// How long the command waits for an answer before it gives up: past that the gateway answers 429 with `Retry-After` by
        /// itself, instead of having a request sent for which nobody waits. Default: as long as it takes.
        pub client_patience: Option<Given<Span>>,
        /// So many requests one attempt may send through the gateway; all others are refused. Default: as many as it likes.
        pub max_requests: Option<Given<Positive>>,
        /// `staged` (the default): written to `{out}` and published by adce. `stdout`: what the command prints is the object, for
        /// tasks of one item. `{ pick_up: "out/{game_id}.html" }`: the file is taken from there. `direct`: the command writes to
        /// the lake by itself.
        pub output: Option<RawOutput>,
        /// What one attempt may use. Default: as much as there is.
        pub resources: Option<RawResources>,
        /// After which attempts the folder in which the command worked is kept, beside their logs and as long: `never` (the
        /// default), `failed` or `always`.
        pub keep: Option<Given<KeepWord>>,
        /// Longer attempts are killed. Default: 10m.
        pub timeout: Option<Given<Span>>,
        /// What follows a failure.
        pub retry: Option<RawRetry>,
        /// When to stop starting what crashes on every task. Default: 5 different ones in a row; 1m.
        pub breaker: Option<RawBreaker>,
        /// Variables that a command gets from adce's environment. Default: PATH, HOME, LANG, LC_ALL, TZ, TMPDIR.
        pub env: Option<Vec<Text>>,
        /// Variables with secrets: `{ TOKEN: { secret: CRM_TOKEN } }`.
        pub secrets: Option<Section<RawSecret>>,
        /// Working folder of a command. Default: this file's.
        pub cwd: Option<Text>,
        /// Hands the lake's credentials to the command. Default: false.
        pub lake_access: Option<Given<bool>>,
    }
    one_of { command, http }

    /// A command on a schedule.
    pub struct RawJob {
        /// A cron expression: `0 4 * * *` (minute, hour, day of month, month, weekday), or `@daily`.
        pub at: Needed<Text>,
        /// In which zone. Default: UTC.
        pub zone: Option<Text>,
        /// Program and arguments; no shell.
        pub command: Needed<Vec<Text>>,
        /// The one source that its requests through the gateway may go to. Default: any.
        pub source: Option<Text>,
        /// Longer runs are killed. Default: 10m.
        pub timeout: Option<Given<Span>>,
        /// What follows a failure. Default: 3 attempts, 1m..30m.
        pub retry: Option<RawRetry>,
        /// Of runs that were due while nobody was there: `once` (the default) stands for all of them, `skip` leaves them out.
        pub missed: Option<Given<RawMissed>>,
        /// After a run that went well: `reconcile` looks at the lake, `{ webhook: URL }` posts how it went.
        pub post: Option<OneOrMore<RawPost>>,
        /// What a run may use. Default: as much as there is.
        pub resources: Option<RawResources>,
        /// Variables that it gets from adce's environment. Default: as of collectors.
        pub env: Option<Vec<Text>>,
        /// Variables with secrets: `{ TOKEN: { secret: CRM_TOKEN } }`.
        pub secrets: Option<Section<RawSecret>>,
        /// Working folder. Default: this file's.
        pub cwd: Option<Text>,
        /// Hands the lake's credentials to it. Default: false.
        pub lake_access: Option<Given<bool>>,
    }

    /// Where to post what came of a run.
    pub struct RawPostMap {
        /// A URL: a POST with a JSON body.
        pub webhook: Needed<Text>,
    }

    /// A maintenance window.
    pub struct RawMaintenance {
        /// When it opens: a cron expression, `0 2 * * sun`.
        pub at: Needed<Text>,
        /// How long it stays open.
        pub r#for: Needed<Given<Span>>,
        /// In which zone. Default: UTC.
        pub zone: Option<Text>,
        /// Sources and datasets that start nothing meanwhile. Default: everything.
        pub pauses: Option<OneOrMore<Text>>,
        /// For whoever wonders.
        pub reason: Option<Text>,
    }

    /// What one attempt of a command may use. Who uses more is ended, and the attempt has failed.
    pub struct RawResources {
        /// Memory in use by all its processes together, looked at ten times a second: `1GB`.
        pub memory: Option<Given<Size>>,
        /// Time of the processors used by all its processes together: `5m`.
        pub cpu_time: Option<Given<Span>>,
        /// Files and connections that each of its processes has open at the same time.
        pub open_files: Option<Given<Positive>>,
        /// What it prints on standard output and standard error together: `10MB`.
        pub output: Option<Given<Size>>,
        /// How far it steps back when others want to compute: 0 to 19.
        pub nice: Option<Given<Whole>>,
    }

    /// Where a command leaves its files, if nobody can tell it to write to `{out}`.
    pub struct RawPickUp {
        /// The file of one item: absolute, or relative to the working folder. What the command wrote there is taken away.
        pub pick_up: Needed<Text>,
    }

    /// One GET request an item; the body is stored as sent.
    pub struct RawHttp {
        /// The address; `{x}` is percent-encoded.
        pub url: Needed<Text>,
        /// Headers by name; a value is a text or `{ secret: NAME }`.
        pub headers: Option<Section<RawHeader>>,
        /// `gzip`: compress what was sent on its way into the lake.
        pub compress: Option<Given<Compression>>,
    }
    later { method, body }

    /// How many items one task has.
    pub struct RawBatch {
        /// At most so many items.
        pub size: Option<Given<Positive>>,
        /// Only items with the same values of these are in one task.
        pub group_by: Option<OneOrMore<Text>>,
    }

    /// What a task costs its source.
    pub struct RawRequests {
        /// Default: 0.
        pub per_task: Option<Given<Whole>>,
        /// Default: 1.
        pub per_item: Option<Given<Whole>>,
    }

    /// What follows a failure.
    pub struct RawRetry {
        /// Tries until the gap is exhausted. Default: 3.
        pub attempts: Option<Given<Positive>>,
        /// The pauses between them, growing. Default: 1m..30m.
        pub backoff: Option<Given<SpanRange>>,
        /// The pauses until an exhausted gap is tried again, growing. Default: 1h..24h.
        pub revive: Option<Given<SpanRange>>,
    }

    /// Where a secret lies.
    pub struct RawSecret {
        /// A variable of adce's own environment.
        pub secret: Option<Text>,
        /// A file, relative to this one.
        pub secret_file: Option<Text>,
    }

    /// How the engine works.
    pub struct RawEngine {
        /// Attempts at the same time. Default: 5.
        pub max_concurrent: Option<Given<Positive>>,
        /// From one full look at the lake to the next. Default: 15m.
        pub reconcile_every: Option<Given<Span>>,
        /// A sudden change of this size is held until it is confirmed. Default: 20% (10% for tables and listings).
        pub surprise: Option<RawSurprise>,
        /// What is set aside for a priority, and idles while it is not needed. Default: nothing.
        pub reserve: Option<RawReserve>,
        /// At most so many tasks start from one full look at the lake to the next. Default: any number.
        pub tasks_per_cycle: Option<RawCaps>,
        /// A task that stands in line for longer ends; its gaps make new ones with the next full look. Default: none does.
        pub task_ttl: Option<Given<Span>>,
        /// When `adce up` is told to end: how long what runs may go on before it is stopped. Default: 5m.
        pub drain: Option<Given<Span>>,
        /// When the engine starts no more work for its own sake. Default: 256MiB of disk must stay free, of a small one a twentieth.
        pub protect: Option<RawProtect>,
        /// How much of its history the state keeps: attempts that ended, and what happened. Default: 90d, 256MiB.
        pub history: Option<RawRetention>,
        /// How much of the logs of attempts beside the state is kept. Default: 90d, 512MiB.
        pub logs: Option<RawRetention>,
    }

    /// What the engine itself may use, and what must be left. Beyond that it starts nothing, finishes what runs, and says so.
    pub struct RawProtect {
        /// Bytes that stay free where the state and a local lake lie; 0B: nobody looks. Default: 256MiB, and of a small disk a twentieth.
        pub disk: Option<Given<Size>>,
        /// Memory of the engine itself, without what it starts. Default: no limit.
        pub memory: Option<Given<Size>>,
        /// Of one processor, by the engine itself, in half a minute: `80%`. Default: no limit.
        pub cpu: Option<Given<Percent>>,
    }

    /// How much is kept: whatever is older, or too much together, goes, the oldest first.
    pub struct RawRetention {
        /// What is older goes.
        pub keep: Option<Given<Span>>,
        /// Bytes of all of it together.
        pub size: Option<Given<Size>>,
    }

    /// Shares of each window (rounded down) and of the slots (rounded up) that are set aside for a priority.
    pub struct RawReserve {
        /// For tasks of priority critical.
        pub critical: Option<Given<Percent>>,
        /// For tasks of priority high.
        pub high: Option<Given<Percent>>,
        /// For tasks of priority medium.
        pub medium: Option<Given<Percent>>,
        /// For tasks of priority low.
        pub low: Option<Given<Percent>>,
    }

    /// Tasks that may start from one full look to the next, retries too. What is over it waits for the next look.
    pub struct RawCaps {
        /// Of all priorities together.
        pub all: Option<Given<Positive>>,
        /// Of priority critical.
        pub critical: Option<Given<Positive>>,
        /// Of priority high.
        pub high: Option<Given<Positive>>,
        /// Of priority medium.
        pub medium: Option<Given<Positive>>,
        /// Of priority low.
        pub low: Option<Given<Positive>>,
    }

    /// Sizes of a sudden change.
    pub struct RawSurprises {
        /// Of all items, opened as gaps. Default: 20%.
        pub items: Option<Given<Percent>>,
        /// Of a table's rows or a dataset's objects, lost. Default: 10%.
        pub lost: Option<Given<Percent>>,
        /// Fewer are never a surprise. Default: 20.
        pub at_least: Option<Given<Whole>>,
    }

    /// Score = (base + age) × importance × size × success.
    pub struct RawWeighting {
        /// `false`: strict priority, then oldest first. Default: true.
        pub enabled: Option<Given<bool>>,
        /// Points of a priority. Default: 1000, 100, 10, 1.
        pub base_scores: Option<RawBaseScores>,
        /// Points an hour since the gap was detected. Default: 0.5.
        pub age_multiplier: Option<Given<Points>>,
        /// Most points for age. Default: 500.
        pub age_cap: Option<Given<Points>>,
        /// Factors by the number of gaps in a task, by name. Default: small, medium and large.
        pub task_size: Option<Section<RawSizeBand>>,
        /// A factor for collectors that seldom succeed.
        pub success_rate: Option<RawSuccessRate>,
    }

    /// Points of each priority.
    pub struct RawBaseScores {
        /// Default: 1000.
        pub critical: Option<Given<Points>>,
        /// Default: 100.
        pub high: Option<Given<Points>>,
        /// Default: 10.
        pub medium: Option<Given<Points>>,
        /// Default: 1.
        pub low: Option<Given<Points>>,
    }

    /// Tasks of this size.
    pub struct RawSizeBand {
        /// Fewer gaps than this.
        pub below: Option<Given<Positive>>,
        /// More gaps than this.
        pub above: Option<Given<Positive>>,
        /// The factor.
        pub multiplier: Needed<Given<Factor>>,
    }

    /// A factor for collectors whose last attempts seldom filled something.
    pub struct RawSuccessRate {
        /// Share of attempts, 0 to 1. Default: 0.5.
        pub below: Option<Given<Points>>,
        /// The factor. Default: 0.7.
        pub multiplier: Option<Given<Factor>>,
    }
}

/// A word or a map: the two forms of a value.
macro_rules! word_or_map {
    ($(#[$about:meta])* $name:ident: $word:ty | $map:ty, $expected:literal) => {
        $(#[$about])*
        #[derive(Clone, Debug, JsonSchema)]
        #[schemars(untagged)]
        pub enum $name {
            Word(Given<$word>),
            Map($map),
        }

        impl Decode for $name {
            fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
                match &node.value {
                    Value::Map(_) => <$map>::decode(node, trail, problems).map($name::Map),
                    Value::Scalar(_) => <Given<$word>>::decode(node, trail, problems).map($name::Word),
                    _ => {
                        problems.push(unexpected(node, trail, $expected));
                        None
                    }
                }
            }
        }
    };
}

/// An enum of words.
macro_rules! word {
    ($(#[$about:meta])* $name:ident: $expected:literal { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($variant),*
        }

        impl FromText for $name {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, Option<String>> {
                match text {
                    $($word => Ok($name::$variant),)*
                    _ => Err(super::problem::did_you_mean(text, [$($word),*]).map(|word| format!("did you mean `{word}`?"))),
                }
            }

            fn schema() -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),*] })
            }
        }
    };
}

word!(Off: "`off`, or a map with `failures` and `cooldown`" { Off = "off" });
word!(RawCache: "`validators`" { Validators = "validators" });
word!(RawNotModified: "`counts` or `free`" { Counts = "counts", Free = "free" });
word!(RawReads: "`open` or `token`" { Open = "open", Token = "token" });
word!(Keep: "`last`" { Last = "last" });
word!(KeepWord: "`never`, `failed` or `always`" { Never = "never", Failed = "failed", Always = "always" });
word!(DuplicatesWord: "`error`, or `{ keep: last }`" { Error = "error" });
word!(ValidWord: "`json`, `csv`, `parquet`, `gzip`, or a map with `json`, `command`, or `starts` and `lacks`" {
    Json = "json", Csv = "csv", Parquet = "parquet", Gzip = "gzip",
});
word!(RawMissed: "`once` or `skip`" { Once = "once", Skip = "skip" });
word!(PostWord: "`reconcile`, or `{ webhook: URL }`" { Reconcile = "reconcile" });
word!(RawVia: "`gateway` or `none`" { Gateway = "gateway", None = "none" });
word!(RawEgress: "`gateway` or `open`" { Gateway = "gateway", Open = "open" });
word!(OutputWord: "`staged`, `direct`, `stdout` or `{ pick_up: path }`" { Staged = "staged", Direct = "direct", Stdout = "stdout" });
word!(Bracket: "`bracket`, or a duration such as `30ms`" { Bracket = "bracket" });

word_or_map!(RawBreaker: Off | RawBreakerPolicy, "`off`, or a map with `failures` and `cooldown`");
word_or_map!(RawDuplicates: DuplicatesWord | RawKeep, "`error`, or `{ keep: last }`");
word_or_map!(RawOutput: OutputWord | RawPickUp, "`staged`, `direct`, `stdout` or `{ pick_up: path }`");
word_or_map!(RawPost: PostWord | RawPostMap, "`reconcile`, or `{ webhook: URL }`");
word_or_map!(RawPriority: PriorityLevel | RawPriorityLevels, "`critical`, `high`, `medium` or `low`, or an expression for each");
word_or_map!(RawSurprise: Percent | RawSurprises, "a share (such as `20%`)");

/// A place, or a map with it.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RawLake {
    Url(Text),
    Map(RawLakeMap),
}

impl Decode for RawLake {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::Scalar(_) => Text::decode(node, trail, problems).map(RawLake::Url),
            Value::Map(map) if map.template_in_braces().is_none() => RawLakeMap::decode(node, trail, problems).map(RawLake::Map),
            _ => {
                problems.push(unexpected(node, trail, "a folder, `s3://bucket/prefix`, or a map with `url`, `inventory` and `events`"));
                None
            }
        }
    }
}

impl RawLake {
    /// Where the objects lie.
    pub(super) fn url(&self) -> Option<&Text> {
        match self {
            RawLake::Url(url) => Some(url),
            RawLake::Map(map) => map.url.0.as_ref(),
        }
    }

    pub(super) fn map(&self) -> Option<&RawLakeMap> {
        match self {
            RawLake::Url(_) => None,
            RawLake::Map(map) => Some(map),
        }
    }
}

/// `bracket` or a duration.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RawMargin {
    Word(Given<Bracket>),
    Span(Given<Span>),
}

impl Decode for RawMargin {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) if Span::from_text(&scalar.text).is_ok() => Given::decode(node, trail, problems).map(RawMargin::Span),
            _ => Given::decode(node, trail, problems).map(RawMargin::Word),
        }
    }
}

/// What an object must look like.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RawValid {
    Word(Given<ValidWord>),
    Text(RawValidText),
}

impl Decode for RawValid {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => RawValidText::decode(node, trail, problems).map(RawValid::Text),
            _ => Given::decode(node, trail, problems).map(RawValid::Word),
        }
    }
}

/// Where a table's rows are.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RawRowsOf {
    Files(Text),
    Objects(RawRows),
}

impl Decode for RawRowsOf {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => RawRows::decode(node, trail, problems).map(RawRowsOf::Objects),
            _ => Text::decode(node, trail, problems).map(RawRowsOf::Files),
        }
    }
}

/// Names of datasets, or a period in a period for each.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RawNeeds {
    Names(OneOrMore<Text>),
    Map(Section<Text>),
}

impl Decode for RawNeeds {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => Section::decode(node, trail, problems).map(RawNeeds::Map),
            _ => OneOrMore::decode(node, trail, problems).map(RawNeeds::Names),
        }
    }
}

/// A text, or where a secret lies.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RawHeader {
    Text(Text),
    Secret(RawSecret),
}

impl Decode for RawHeader {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => RawSecret::decode(node, trail, problems).map(RawHeader::Secret),
            _ => Text::decode(node, trail, problems).map(RawHeader::Text),
        }
    }
}

/// A collector's name, or the collector itself.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RawCollectorUse {
    Name(Text),
    Inline(Box<RawCollector>),
}

impl Decode for RawCollectorUse {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) => Some(RawCollectorUse::Name(scalar.clone())),
            _ => RawCollector::decode(node, trail, problems).map(|raw| RawCollectorUse::Inline(Box::new(raw))),
        }
    }
}

/// A named set of values.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RawDimension {
    /// The values themselves.
    List(Vec<Text>),
    Calendar(RawCalendar),
    Table(RawTable),
}

impl Decode for RawDimension {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::List(_) => Vec::decode(node, trail, problems).map(RawDimension::List),
            Value::Map(map) if is_one_of(map, &["table", "id", "columns", "duplicates"]) => {
                RawTable::decode(node, trail, problems).map(RawDimension::Table)
            }
            Value::Map(map) if is_one_of(map, &["dataset", "rows"]) => {
                let problem = Problem::error(&node.at, format!("{trail}: rows of collected objects stand under `table`"));
                problems.push(problem.hint("write `table: { dataset: …, rows: …, columns: … }` and `id: …`"));
                None
            }
            Value::Map(map) if is_one_of(map, &["from", "to", "every", "zone"]) => {
                RawCalendar::decode(node, trail, problems).map(RawDimension::Calendar)
            }
            Value::Map(map) if !map.entries.is_empty() && map.template_in_braces().is_none() => {
                let expected = alternatives(["table", "from"]);
                let at = &map.entries[0].key_at;
                let problem =
                    Problem::error(at, format!("{trail}: expected a list, a calendar or a table, found a map without {expected}"));
                problems.push(problem.hint("`[a, b]`, `{ from: 2024-01-01, to: today, every: 1d }` or `{ table: rows.csv, id: id }`"));
                None
            }
            _ => {
                problems.push(unexpected(node, trail, "a list, a calendar (`from`, `to`, `every`) or a table (`table`, `id`)"));
                None
            }
        }
    }
}

fn is_one_of(map: &Map, keys: &[&str]) -> bool {
    keys.iter().any(|key| map.get(key).is_some())
}
