//! `cache: validators`, by the real binary over real sockets: what one run was answered, the next one asks about.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;
use support::listener::on_each_connection;
use support::place::Place;

const BODY: &str = "the same as ever";

/// Has one thing, and says so to whoever has it already, or that it has not changed another one, below `/odd/`; what it was asked: the path, and whether for news alone.
fn upstream() -> (SocketAddr, Arc<Mutex<Vec<(String, bool)>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = asked.clone();
    (on_each_connection(move |stream| answer_all(stream, &told)), asked)
}

fn answer_all(mut stream: &TcpStream, told: &Mutex<Vec<(String, bool)>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut for_news) = (String::new(), false);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            for_news |= line.to_ascii_lowercase().trim_end() == "if-none-match: \"1\"";
            line.clear();
        }
        told.lock().expect("whole").push((first.split(' ').nth(1).expect("a path").to_owned(), for_news));
        let answer = match for_news {
            true if first.contains("/odd/") => "HTTP/1.1 304 Not Modified\r\nETag: \"9\"\r\n\r\n".to_owned(),
            true => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_owned(),
            false => format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len()),
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn what_one_run_was_answered_the_next_one_asks_about_in_both_ways_of_collecting() {
    let (address, asked) = upstream();
    let place = Place::new(&format!(
        "version: 1\nname: prod\nlake: ./lake\nsources:\n  up: {{ hosts: [\"{address}\"], base_url: \"http://{address}\", cache: validators, \
         not_modified: free }}\ngateway: {{ cache_size: 1MiB }}\ndimensions: {{ n: [1] }}\ndatasets:\n  fetched: {{ source: up, key: \
         \"fetched/{{n}}.txt\", for: n, collector: {{ http: {{ url: \"http://{address}/fetched/{{n}}\" }} }} }}\n  scraped: {{ source: up, key: \
         \"scraped/{{n}}.txt\", for: n, collector: scraper }}\ncollectors:\n  scraper: {{ command: [sh, scraper.sh, \"{{n}}\"], via: gateway }}\n"
    ));
    place.write(
        "scraper.sh",
        "curl -sf \"$ADCE_GATEWAY/up/scraped/$1\" > got && mkdir -p \"$ADCE_OUT/scraped\" && mv got \"$ADCE_OUT/scraped/$1.txt\"",
    );
    let files = ["lake/fetched/1.txt", "lake/scraped/1.txt"];
    for (for_news, requests) in [(false, 2), (true, 0)] {
        let summary = place.adce(&["run", "--format", "json"]).ends_with(0).json();
        assert_eq!(summary["requests"], json!(requests), "what is free is not counted: {summary}");
        for file in files {
            assert_eq!(place.read(file), BODY);
            std::fs::remove_file(place.path(file)).expect("it is there");
        }
        let mut asked = std::mem::take(&mut *asked.lock().expect("whole"));
        asked.sort();
        assert_eq!(asked, [("/fetched/1".to_owned(), for_news), ("/scraped/1".to_owned(), for_news)]);
    }
}

#[test]
fn what_upstream_says_of_something_else_is_no_answer_and_the_whole_is_asked_for() {
    let (address, asked) = upstream();
    let place = Place::new(&format!(
        "version: 1\nname: prod\nlake: ./lake\nsources:\n  up: {{ hosts: [\"{address}\"], cache: validators }}\ndimensions: {{ n: [1] }}\ndatasets:\n  \
         odd: {{ source: up, key: \"{{n}}.txt\", for: n, collector: {{ http: {{ url: \"http://{address}/odd/{{n}}\" }} }} }}\n"
    ));
    place.adce(&["run"]).ends_with(0);
    std::fs::remove_file(place.path("lake/1.txt")).expect("it is there");
    let summary = place.adce(&["run", "--format", "json"]).ends_with(0).json();
    assert_eq!((place.read("lake/1.txt").as_str(), &summary["requests"]), (BODY, &json!(2)));
    let for_news: Vec<bool> = asked.lock().expect("whole").iter().map(|(_, for_news)| *for_news).collect();
    assert_eq!(for_news, [false, true, false]);
}
