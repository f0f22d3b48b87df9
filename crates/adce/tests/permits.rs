//! Attempts that share few permits: none of them may wait for ever for what another one holds.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adce_demo::{Limit, Moods, Upstream, UpstreamConfig};
use bytes::Bytes;
use support::place::Place;

#[test]
fn batches_that_share_one_request_in_flight_all_come_to_their_end() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let upstream = runtime.block_on(Upstream::start(UpstreamConfig {
        limits: vec![Limit { requests: 100, span: Duration::from_secs(1) }],
        latency_ms: (0, 5),
        moods: Moods::default(),
        seed: 3,
        log: None,
        content: Arc::new(|path: &str| Some(Bytes::from(path.to_owned()))),
    }));
    let upstream = upstream.expect("a loopback port");
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
    place.adce(&["run"]).ends_with(0);
    assert_eq!(upstream.figures().requests, 40, "each is asked for once");
}
