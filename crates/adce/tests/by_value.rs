//! What each value of a source has for itself, by the real binary: one customer whose account is broken, and others whose are not.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;
use support::listener::on_each_connection;
use support::place::Place;

/// Answers everything of acme with a failure, tells busy to come back in an hour, and answers everything else; what it was asked.
fn upstream() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = asked.clone();
    (on_each_connection(move |stream| answer_all(stream, &told)), asked)
}

fn answer_all(mut stream: &TcpStream, told: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        let path = first.split(' ').nth(1).expect("a path").to_owned();
        let status = match path.split('/').nth(1) {
            Some("acme") => "500 Internal Server Error",
            Some("busy") => "429 Too Many Requests\r\nRetry-After: 3600",
            _ => "200 OK",
        };
        told.lock().expect("whole").push(path);
        if stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nbody").as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_customer_who_keeps_failing_is_left_alone_and_nobody_else_also_after_a_restart() {
    let (address, asked) = upstream();
    let place = Place::new(&format!(
        "version: 1\nname: prod\nlake: ./lake\nengine: {{ max_concurrent: 1 }}\nsources:\n  crm:\n    hosts: [\"{address}\"]\n    breaker: {{ by: \
         customer, failures: 2, cooldown: 1h }}\ndimensions: {{ customer: [acme, zeta], n: [1, 2, 3, 4] }}\ndatasets:\n  orders: {{ source: crm, key: \
         \"{{customer}}/{{n}}.txt\", for: [customer, n], collector: {{ http: {{ url: \"http://{address}/{{customer}}/{{n}}\" }} }} }}\n"
    ));
    place.adce(&["run", "--once"]).ends_with(2);
    let of = |customer: &str| asked.lock().expect("whole").iter().filter(|path| path.starts_with(&format!("/{customer}/"))).count();
    assert_eq!((of("acme"), of("zeta")), (2, 4), "{asked:?}");
    (1..=4).for_each(|n| assert_eq!(place.read(&format!("lake/zeta/{n}.txt")), "body"));

    // The next engine knows it, and whoever asks without one.
    place.adce(&["run", "--once"]).ends_with(2);
    assert_eq!(of("acme"), 2, "its breaker is open for an hour");
    let limits = place.adce(&["limits", "--format", "json"]).ends_with(0).json();
    let (crm, values) = (&limits["sources"]["crm"], &limits["sources"]["crm"]["values"]);
    assert_eq!(
        (&crm["state"], &values["by"], &values["shut"], &values["waiting"]),
        (&json!("ok"), &json!("customer"), &json!(1), &json!(0))
    );
    let breaker = &values["worst"][0]["breaker"];
    assert_eq!(
        (&values["worst"][0]["value"], breaker["reason"].as_str().map(|why| why.starts_with("2 failures in a row"))),
        (&json!("acme"), Some(true))
    );
    assert!(breaker["since"].is_string() && breaker["next_probe"].is_string(), "{values}");
    place.adce(&["limits"]).ends_with(0).says("1 of 1 customer left alone, 0 waiting for their own limits: acme keeps failing since ");
    place.adce(&["status"]).says("customer=acme at `crm` keeps failing: its breaker is open for ");
    let why = place.adce(&["why", "acme/4.txt"]);
    why.says("customer=acme at `crm` keeps failing: its breaker is open for ").says("the next probe is in ");
    let tasks = place.adce(&["tasks", "--format", "json"]);
    let mut task = tasks.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let task = task.find(|task| task["key"] == "acme/4.txt").expect("it is queued");
    let shown = place.adce(&["tasks", "show", task["id"].as_str().unwrap(), "--format", "json"]).ends_with(0).json();
    assert_eq!(shown["gaps"][0]["next_try"], breaker["next_probe"], "{shown}");
}

#[test]
fn a_customer_who_is_to_come_back_later_is_left_alone_and_nobody_else_also_after_a_restart() {
    let (address, asked) = upstream();
    let place = Place::new(&format!(
        "version: 1\nname: prod\nlake: ./lake\nengine: {{ max_concurrent: 1 }}\nsources:\n  crm:\n    hosts: [\"{address}\"]\n    limits: [ {{ by: \
         customer, per_minute: 60 }} ]\ndimensions: {{ customer: [busy, zeta], n: [1, 2, 3, 4] }}\ndatasets:\n  orders: {{ source: crm, key: \
         \"{{customer}}/{{n}}.txt\", for: [customer, n], collector: {{ http: {{ url: \"http://{address}/{{customer}}/{{n}}\" }} }} }}\n"
    ));
    let of = |customer: &str| asked.lock().expect("whole").iter().filter(|path| path.starts_with(&format!("/{customer}/"))).count();
    for _ in 0..2 {
        place.adce(&["run", "--once"]).ends_with(2);
        assert_eq!((of("busy"), of("zeta")), (1, 4), "{asked:?}");
    }
    let limits = place.adce(&["limits", "--format", "json"]).ends_with(0).json();
    let (crm, values) = (&limits["sources"]["crm"], &limits["sources"]["crm"]["values"]);
    assert_eq!((&crm["state"], &values["shut"], &values["worst"][0]["value"]), (&json!("ok"), &json!(1), &json!("busy")));
    assert!(values["worst"][0]["pause"]["until"].is_string() && values["worst"][0]["pause"]["because"].is_null(), "{values}");
    place.adce(&["limits"]).ends_with(0).says(" customers left alone, 0 waiting for their own limits: busy ").says(", as upstream asked");
    place.adce(&["why", "busy/4.txt"]).says("`crm` asked to be left alone, with customer=busy: it is asked again for that in ");
}
