//! An object that upstream says is still the right one: the item is confirmed, the object stays as it is, and nobody asks
//! again before it is stale again.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use support::place::Place;

fn config(collector: &str) -> String {
    format!(
        "version: 1\nname: fresh\nlake: ./lake\nsources:\n  up: {{ hosts: [\"127.0.0.1:@PORT@\"] }}\ndimensions:\n  letter: [a]\ndatasets:\n  letters:\n    \
         source: up\n    key: letters/{{letter}}.txt\n    for: letter\n    fresh: {{ within: 1d, until: now + 30d }}\n    collector:\n      {collector}\n      retry: {{ attempts: 1 }}\n"
    )
}

/// An object of three days ago.
fn stale(place: &Place) -> SystemTime {
    place.write("lake/letters/a.txt", "as it was\n");
    let file = std::fs::File::options().write(true).open(place.path("lake/letters/a.txt")).expect("the object");
    let written = SystemTime::now() - Duration::from_secs(3 * 24 * 3_600);
    file.set_modified(written).expect("a date");
    file.metadata().expect("the object").modified().expect("a date")
}

fn is_confirmed_once(place: &Place, written: SystemTime) {
    assert_eq!(place.adce(&["gaps", "--format", "json"]).ends_with(0).json()["reason"], "stale");
    let run = place.adce(&["run", "--format", "json"]).ends_with(0).json();
    assert_eq!((&run["filled"], &run["attempts"]), (&1.into(), &1.into()));
    let object = std::fs::metadata(place.path("lake/letters/a.txt")).expect("the object");
    assert_eq!(object.modified().expect("a date"), written, "the object was not written again");
    assert_eq!(place.read("lake/letters/a.txt"), "as it was\n");
    // The confirmation is remembered: the date of the object alone would be stale.
    place.adce(&["plan"]).ends_with(0);
    assert_eq!(place.adce(&["run", "--format", "json"]).ends_with(0).json()["attempts"], 0);
}

#[test]
fn what_a_command_calls_unchanged_is_confirmed() {
    let say = r#"command: [sh, -c, 'echo "{{\"adce\":1,\"key\":\"letters/a.txt\",\"outcome\":\"unchanged\"}}"']"#;
    let place = Place::new(&config(say).replace("@PORT@", "9"));
    let written = stale(&place);
    is_confirmed_once(&place, written);
}

#[test]
fn what_upstream_answers_with_304_is_confirmed() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = upstream.local_addr().expect("an address").port();
    let serving = std::thread::spawn(move || {
        let (mut connection, _) = upstream.accept().expect("a request");
        let lines = BufReader::new(connection.try_clone().expect("a socket")).lines();
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
        connection.write_all(b"HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n").expect("an answer");
    });
    let place = Place::new(&config("http: { url: \"http://127.0.0.1:@PORT@/{letter}\" }").replace("@PORT@", &port.to_string()));
    let written = stale(&place);
    is_confirmed_once(&place, written);
    serving.join().expect("one request");
}
