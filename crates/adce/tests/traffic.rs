//! What an attempt sent and what came back, in its history, in `limits`, in `status` and at the end of a run: by the real binary,
//! over real sockets, beside an upstream that counts for itself.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use support::listener::on_each_connection;
use support::place::{Place, said, wait_for};

const BODY: &str = "0123456789";

/// Answers everything with ten bytes, and the first request for `/later` with 429.
fn upstream() -> (SocketAddr, Arc<AtomicU64>) {
    let requests = Arc::new(AtomicU64::new(0));
    let (counted, laters) = (requests.clone(), AtomicU64::new(0));
    (on_each_connection(move |stream| answer_all(stream, &counted, &laters)), requests)
}

fn answer_all(mut stream: &TcpStream, requests: &AtomicU64, laters: &AtomicU64) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            let lower = line.to_ascii_lowercase();
            length = lower.strip_prefix("content-length:").map_or(length, |length| length.trim().parse().expect("a length"));
            line.clear();
        }
        if reader.read_exact(&mut vec![0; length]).is_err() {
            return;
        }
        requests.fetch_add(1, Ordering::SeqCst);
        let is_later = first.contains("/later") && laters.fetch_add(1, Ordering::SeqCst) == 0;
        let head = if is_later { "429 Too Many Requests\r\nRetry-After: 1" } else { "200 OK" };
        if stream.write_all(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes()).is_err() {
            return;
        }
    }
}

/// Waits at its end until somebody lets it go.
const SCRAPER: &str = r#"
for path in one two later; do curl -s "http://$1/$path" > "out-$path"; done
curl -s -d hello "http://$1/post" > out-post
curl -s http://127.0.0.2/ > out-elsewhere
while [ ! -e go ]; do sleep 0.05; done
cp out-one "$ADCE_OUT/1.txt"
"#;

fn place(address: SocketAddr) -> Place {
    let place = Place::new(&format!(
        "version: 1\nname: prod\nlake: ./lake\nsources:\n  up: {{ hosts: [\"{address}\"], base_url: \"http://{address}\", absorb: true, \
         limits: {{ per_second: 2 }} }}\ndimensions: {{ n: [1] }}\ndatasets:\n  files: {{ source: up, key: \"{{n}}.txt\", for: n, collector: \
         scraper }}\ncollectors:\n  scraper: {{ command: [sh, scraper.sh, \"{address}\"], via: gateway }}\n"
    ));
    place.write("scraper.sh", SCRAPER);
    place
}

#[track_caller]
fn is_all_of_it(traffic: &Value) {
    assert_eq!((&traffic["requests"], &traffic["no_answer"], &traffic["sent_again"]), (&json!(5), &json!(0), &json!(1)), "{traffic}");
    assert_eq!(traffic["statuses"], json!({ "2xx": 4, "4xx": 1, "429": 1 }), "{traffic}");
    // Four bodies came to the scraper; that of the 429 was for nobody.
    assert_eq!((&traffic["received_bytes"], &traffic["sent_bytes"]), (&json!(40), &json!(5)), "{traffic}");
    let (waits, waited) = (traffic["waits"].as_u64().unwrap(), traffic["waited_seconds"].as_f64().unwrap());
    assert!(waits >= 2 && waited > 1.0, "the second window, and the pause that upstream asked for: {traffic}");
}

#[test]
fn what_an_attempt_sent_and_what_came_back_is_told_by_everybody_who_is_asked() {
    let (address, counted) = upstream();
    let place = place(address);
    let running = place.start(&["run", "--format", "json"]);
    let asked = |what: &str| place.adce(&[what, "--format", "json"]);
    let all_came = || {
        let limits = asked("limits");
        limits.code == Some(0) && limits.json()["sources"]["up"]["traffic"]["received_bytes"] == 40
    };
    wait_for("all of it", all_came);
    is_all_of_it(&asked("limits").json()["sources"]["up"]["traffic"]);
    is_all_of_it(&asked("status").json()["sources"]["up"]["traffic"]);
    place
        .adce(&["limits"])
        .ends_with(0)
        .says("up since the engine started: 5 requests · 4 × 2xx, 1 × 4xx, 1 × 429 · 40 B received · 5 B sent · ");
    let task = asked("tasks").json()["id"].as_str().expect("a task").to_owned();
    place.write("go", "");
    let run = said(running.wait_with_output().expect("an end"));
    let summary = run.ends_with(0).json();
    is_all_of_it(&summary["sources"]["up"]["traffic"]);
    let elsewhere = json!([{ "collector": "scraper", "host": "127.0.0.2", "passed": 1, "refused": 0 }]);
    assert_eq!(summary["uncovered"], elsewhere, "{summary}");
    assert_eq!(counted.load(Ordering::SeqCst), 5);

    let shown = place.adce(&["tasks", "show", &task, "--format", "json"]).ends_with(0).json();
    let traffic = &shown["attempts"][0]["traffic"];
    is_all_of_it(traffic);
    assert_eq!(traffic["uncovered"], json!([{ "host": "127.0.0.2", "passed": 1, "refused": 0 }]), "{traffic}");
    let shown = place.adce(&["tasks", "show", &task]);
    shown.ends_with(0).says("    through adce: 5 requests · 4 × 2xx, 1 × 4xx, 1 × 429 · 40 B received · 5 B sent · ");
    shown.says(" · 1 sent again by `absorb`\n").says("    no source declares: 127.0.0.2 1\n");
}

#[test]
fn what_adce_fetches_itself_is_told_in_the_same_way() {
    let (address, _) = upstream();
    let place = Place::new(&format!(
        "version: 1\nname: prod\nlake: ./lake\nsources:\n  up: {{ hosts: [\"{address}\"], base_url: \"http://{address}\" }}\ndimensions: {{ n: \
         [1] }}\ndatasets:\n  files: {{ source: up, key: \"{{n}}.txt\", for: n, collector: {{ http: {{ url: \"http://{address}/{{n}}\" }} }} }}\n"
    ));
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    let summary = place.adce(&["run", "--format", "json"]).ends_with(0).json();
    let task = plan["tasks"][0]["id"].as_str().expect("a task");
    let shown = place.adce(&["tasks", "show", task, "--format", "json"]).ends_with(0).json();
    for traffic in [&summary["sources"]["up"]["traffic"], &shown["attempts"][0]["traffic"]] {
        assert_eq!((&traffic["requests"], &traffic["received_bytes"], &traffic["statuses"]), (&json!(1), &json!(10), &json!({ "2xx": 1 })));
    }
}
