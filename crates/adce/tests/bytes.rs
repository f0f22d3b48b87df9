//! `bytes_per_second`, by the real binary: both ways of collecting share it.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use support::listener::on_each_connection;
use support::place::Place;

const BODY: usize = 400_000;

/// Answers everything with so many bytes, as fast as they are taken.
fn upstream() -> SocketAddr {
    on_each_connection(answer_all)
}

fn answer_all(mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n{}", "x".repeat(BODY));
        if line.is_empty() || stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn what_is_fetched_and_what_passes_the_gateway_share_the_bytes_of_their_source() {
    let address = upstream();
    let place = Place::new(&format!(
        "version: 1\nname: prod\nlake: ./lake\nlimits: {{ bytes_per_second: 2MB }}\nsources:\n  up: {{ hosts: [\"{address}\"], base_url: \
         \"http://{address}\", limits: {{ bytes_per_second: 1MB }} }}\ndimensions: {{ n: [1] }}\ndatasets:\n  fetched: {{ source: up, key: \
         \"fetched/{{n}}.txt\", for: n, collector: {{ http: {{ url: \"http://{address}/fetched/{{n}}\" }} }} }}\n  scraped: {{ source: up, key: \
         \"scraped/{{n}}.txt\", for: n, collector: scraper }}\ncollectors:\n  scraper: {{ command: [sh, scraper.sh, \"{{n}}\"], via: gateway }}\n"
    ));
    place.write(
        "scraper.sh",
        "curl -sf \"$ADCE_GATEWAY/up/scraped/$1\" > got && mkdir -p \"$ADCE_OUT/scraped\" && mv got \"$ADCE_OUT/scraped/$1.txt\"",
    );
    let since = Instant::now();
    place.adce(&["run"]).ends_with(0);
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(2 * BODY as u64 / 1_000), "two bodies of {BODY} B at 1 MB a second took {took:?}");
    assert_eq!((place.read("lake/fetched/1.txt").len(), place.read("lake/scraped/1.txt").len()), (BODY, BODY));
    place.adce(&["limits"]).ends_with(0).says("up            1MB a second\n").says("all together  2MB a second\n");
    let limits = place.adce(&["limits", "--format", "json"]).ends_with(0).json();
    assert_eq!((&limits["sources"]["up"]["bytes_per_second"], &limits["all"]["bytes_per_second"]), (&json!(1_000_000), &json!(2_000_000)));
}
