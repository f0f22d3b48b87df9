//! Attempts that share few permits: none of them may wait for ever for what another one holds.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use adce_demo::{Limit, Moods, Upstream, UpstreamConfig};
use bytes::Bytes;
use support::place::{Place, Said, said};

/// One that waits for ever is ended after a minute, and has no exit code.
fn runs_to_its_end(place: &Place) -> Said {
    let mut adce = place.start(&["run"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while adce.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            adce.kill().expect("it can be ended");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    said(adce.wait_with_output().expect("what it said"))
}

/// Answers every path with itself, for as long as its runtime lives.
fn upstream(limits: Vec<Limit>) -> (tokio::runtime::Runtime, Upstream) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let upstream = runtime.block_on(Upstream::start(UpstreamConfig {
        limits,
        latency_ms: (0, 5),
        moods: Moods::default(),
        seed: 3,
        log: None,
        content: Arc::new(|path: &str| Some(Bytes::from(path.to_owned()))),
    }));
    (runtime, upstream.expect("a loopback port"))
}

#[test]
fn batches_that_share_one_request_in_flight_all_come_to_their_end() {
    let (_runtime, upstream) = upstream(vec![Limit { requests: 100, span: Duration::from_secs(1) }]);
    let address = upstream.address();
    let numbers: Vec<String> = (10..30).map(|number| number.to_string()).collect();
    let config = format!(
        "version: 1\nname: few\nlake: ./lake\nsources:\n  up:\n    hosts: [\"{address}\"]\n    base_url: http://{address}\n    limits: {{ per_second: 100, in_flight: 1 }}\n\
         dimensions:\n  number: [{}]\ndatasets:\n  web:\n    source: up\n    key: web/{{number}}.txt\n    for: number\n    collector:\n      \
         http: {{ url: \"http://{address}/web/{{number}}\" }}\n      batch: {{ size: 5 }}\n      timeout: 20s\n      retry: {{ attempts: 1 }}\n  \
         box:\n    source: up\n    key: box/{{number}}.txt\n    for: number\n    collector:\n      command: [python3, urls.py, /box/]\n      via: gateway\n      \
         batch: {{ size: 5 }}\n      timeout: 20s\n      retry: {{ attempts: 1 }}\nengine: {{ max_concurrent: 4 }}\n",
        numbers.join(", ")
    );
    let place = Place::new(&config);
    place.write("urls.py", include_str!("support/urls.py"));
    runs_to_its_end(&place).ends_with(0);
    assert_eq!(upstream.figures().requests, 40, "each is asked for once");
}

#[test]
fn what_a_command_waits_for_limits_is_none_of_its_timeout() {
    let (_runtime, upstream) = upstream(Vec::new());
    let address = upstream.address();
    // Five requests need 4 s of distance, more than the whole timeout.
    let config = format!(
        "version: 1\nname: slow\nlake: ./lake\nsources:\n  up:\n    hosts: [\"{address}\"]\n    base_url: http://{address}\n    \
         limits: {{ min_delay: 1s }}\ndimensions:\n  number: [1, 2, 3, 4, 5]\ndatasets:\n  box:\n    source: up\n    key: box/{{number}}.txt\n    \
         for: number\n    collector:\n      command: [python3, urls.py, /box/]\n      via: gateway\n      batch: {{ size: 5 }}\n      \
         timeout: 3s\n      retry: {{ attempts: 1 }}\n"
    );
    let place = Place::new(&config);
    place.write("urls.py", include_str!("support/urls.py"));
    runs_to_its_end(&place).ends_with(0);
    assert_eq!(upstream.figures().requests, 5, "in one attempt");
}

#[test]
fn a_scraper_that_knows_nothing_of_adce_keeps_the_limits() {
    let limit = Limit { requests: 10, span: Duration::from_secs(1) };
    let (_runtime, upstream) = upstream(vec![limit]);
    let address = upstream.address();
    // Two requests an item, of which the config knows nothing; thirty at once would be refused.
    let config = format!(
        "version: 1\nname: unmodified\nlake: ./lake\nsources:\n  up:\n    hosts: [\"{address}\"]\n    base_url: http://{address}\n    \
         limits: {{ per_second: 10 }}\ndimensions:\n  number: [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24]\ndatasets:\n  \
         box:\n    source: up\n    key: box/{{number}}.txt\n    for: number\n    collector:\n      via: gateway\n      \
         command: [python3, plain.py, \"http://{address}/box/{{number}}\", \"{{out}}\"]\n      retry: {{ attempts: 1 }}\n"
    );
    let place = Place::new(&config);
    place.write(
        "plain.py",
        "import sys, urllib.request\n\
         urllib.request.urlopen(sys.argv[1] + '/index').read()\n\
         open(sys.argv[2], 'wb').write(urllib.request.urlopen(sys.argv[1]).read())\n",
    );
    runs_to_its_end(&place).ends_with(0);
    let figures = upstream.figures();
    assert_eq!((figures.requests, figures.answered_429, figures.windows_exceeded), (30, 0, 0));
}
