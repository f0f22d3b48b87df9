//! `adce doctor` with real clients: some pass the gateway, some ignore it, some do not trust it.

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::place::{Place, Said};

/// Without a config.
fn nowhere() -> Place {
    let place = Place::new("");
    std::fs::remove_file(place.path("adce.yaml")).expect("it was written");
    place
}

fn doctor(command: &[&str]) -> Said {
    let mut words = vec!["doctor", "--format", "json", "--"];
    words.extend(command);
    nowhere().adce(&words)
}

/// By protocol.
#[track_caller]
fn verdicts(said: &Said) -> (String, String) {
    let report = said.json();
    let of = |protocol: &str| report["protocols"][protocol]["verdict"].as_str().expect("a verdict").to_owned();
    (of("http"), of("https"))
}

#[track_caller]
fn is(said: &Said, code: i32, http: &str, https: &str) {
    said.ends_with(code);
    assert_eq!(verdicts(said), (http.into(), https.into()), "{}", said.out);
}

const URLLIB: &str = "import sys, urllib.request\nfor _ in range(int(sys.argv[2])):\n    urllib.request.urlopen(sys.argv[1]).read()\n";

#[test]
fn clients_that_read_the_variables_are_paced_over_both_protocols() {
    for command in [&["curl", "-sf", "{url}/a"][..], &["wget", "-q", "-O", "-", "{url}/a"], &["python3", "-c", URLLIB, "{url}", "1"]] {
        let said = doctor(command);
        is(&said, 0, "paced", "paced");
        let report = said.json();
        for protocol in ["http", "https"] {
            let protocol = &report["protocols"][protocol];
            assert_eq!(protocol["requests"], 1);
            // One request would keep any limit: it is seen to wait.
            assert!(protocol["first_waited_seconds"].as_f64().is_some_and(|waited| waited >= 1.0), "{protocol}");
        }
        assert_eq!(report["runs"].as_array().expect("runs").len(), 2);
    }
}

#[test]
fn many_requests_are_seen_to_keep_the_window() {
    let began = Instant::now();
    let said = doctor(&["python3", "-c", URLLIB, "{url}", "12"]);
    is(&said, 0, "paced", "paced");
    let report = said.json();
    for protocol in ["http", "https"] {
        let protocol = &report["protocols"][protocol];
        assert_eq!((protocol["requests"].as_u64(), protocol["limit"].as_u64()), (Some(12), Some(5)));
        assert!(protocol["fullest"].as_u64().is_some_and(|fullest| (1..=5).contains(&fullest)), "{protocol}");
    }
    assert!(began.elapsed() >= Duration::from_secs(6), "5 a second, after a full one, twice");
}

#[test]
fn who_ignores_the_proxy_is_told_which_runtime_does_so() {
    let by_http_client = "import http.client, ssl, sys, urllib.parse\n\
         url = urllib.parse.urlsplit(sys.argv[1])\n\
         kind = http.client.HTTPSConnection if url.scheme == 'https' else http.client.HTTPConnection\n\
         there = kind(url.netloc)\nthere.request('GET', '/')\nprint(there.getresponse().status)\n";
    let said = doctor(&["python3", "-c", by_http_client, "{url}"]);
    is(&said, 2, "bypassed", "bypassed");
    let http = &said.json()["protocols"]["http"];
    assert_eq!((http["requests"].as_u64(), http["requests_past_the_gateway"].as_u64()), (Some(0), Some(1)));
    assert_eq!(http["runtime"], "Python http.client");
    let said = doctor(&["curl", "-s", "--noproxy", "*", "{url}"]);
    is(&said, 2, "bypassed", "bypassed");
    assert!(said.json()["protocols"]["https"]["advice"].as_str().is_some_and(|advice| advice.contains("--noproxy")), "{}", said.out);
    let mixed = "curl -sf {url}/a; curl -sf --noproxy '*' {url}/b";
    is(&doctor(&["sh", "-c", mixed]), 2, "bypassed", "bypassed");
    let node = Command::new("node").arg("--version").stderr(Stdio::null()).output();
    match node {
        Ok(version) if version.stdout.starts_with(b"v20.") => {
            let said = doctor(&["node", "-e", "fetch('{url}').catch(() => 0)"]);
            is(&said, 2, "bypassed", "bypassed");
            assert_eq!(said.json()["protocols"]["http"]["runtime"], "Node");
        }
        _ => eprintln!("skipped: Node 20 is not on this machine"),
    }
}

#[test]
fn who_does_not_trust_the_gateway_is_told_which_variable_he_ignores() {
    let said = doctor(&["env", "-u", "CURL_CA_BUNDLE", "-u", "SSL_CERT_FILE", "curl", "-s", "{url}"]);
    is(&said, 2, "paced", "not_trusted");
    let https = &said.json()["protocols"]["https"];
    assert_eq!((https["handshakes_broken_off"].as_u64(), https["runtime"].as_str()), (Some(1), Some("curl")));
    assert!(https["advice"].as_str().is_some_and(|advice| advice.contains("CURL_CA_BUNDLE")), "{https}");
}

#[test]
fn without_the_address_every_host_is_answered_by_the_doctor() {
    is(&doctor(&["curl", "-sf", "http://site.example/x"]), 0, "paced", "not_used");
    is(&doctor(&["curl", "-sf", "https://site.example:8443/x", "http://other.example/"]), 0, "paced", "paced");
    let said = doctor(&["true"]);
    is(&said, 2, "nothing_seen", "nothing_seen");
    assert_eq!(said.json()["runs"].as_array().expect("runs").len(), 1);
}

#[test]
fn a_program_that_finds_the_address_in_its_environment_is_seen_with_both() {
    let place = nowhere();
    place.write("ask.py", "import os, urllib.request\nurllib.request.urlopen(os.environ['ADCE_DOCTOR_URL']).read()\n");
    is(&place.adce(&["doctor", "--format", "json", "--", "python3", "ask.py"]), 0, "paced", "paced");
    place.write("ask.sh", "exec curl -sf --noproxy '*' $ADCE_DOCTOR_URL\n");
    is(&place.adce(&["doctor", "--format", "json", "--", "sh", "ask.sh"]), 2, "bypassed", "bypassed");
}

#[test]
fn a_base_url_of_the_config_is_paced_as_well() {
    let place = Place::new(
        "version: 1\nname: based\nlake: ./lake\nsources:\n  espn:\n    hosts: [site.example]\ndimensions:\n  number: [1]\ndatasets:\n  \
         box:\n    key: box/{number}.txt\n    for: number\n",
    );
    let curl = "curl -sf --noproxy '*' $ADCE_GATEWAY/espn/x";
    is(&place.adce(&["doctor", "--format", "json", "--", "sh", "-c", curl]), 0, "not_used", "paced");
    place.write("adce.yaml", "version: 1\nlake: [\n");
    place.adce(&["doctor", "--", "true"]).ends_with(78);
}

#[test]
fn a_person_reads_what_was_seen_and_what_to_do() {
    let place = nowhere();
    let said = place.adce(&["doctor", "--", "sh", "-c", "echo printed; curl -sf --noproxy '*' {url}; exit 3"]);
    said.ends_with(2);
    assert!(said.err.lines().any(|line| line == "printed") && !said.out.lines().any(|line| line == "printed"), "{}", said.out);
    for told in
        ["http    BYPASSED    1 connection and 1 request reached the upstream", "→ curl: it reads http_proxy", "the command ended with 3"]
    {
        assert!(said.out.contains(told), "`{told}` is not in\n{}", said.out);
    }
    let words: Vec<&str> = said.out.split_whitespace().collect();
    assert!(words.join(" ").ends_with("exit 3'` asks comes through the gateway (docs/gateway.md)"), "{}", said.out);
    assert!(said.out.lines().all(|line| line.chars().count() <= 100), "{}", said.out);
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    let place = nowhere();
    let script = "sleep 1000 & echo $! > child; curl -sf {url}; wait";
    let said = place.adce(&["doctor", "--timeout", "3s", "--", "sh", "-c", script]);
    said.ends_with(0).says("was ended because it took too long").says("PACED: each request");
    let child = place.read("child");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    place.adce(&["doctor", "--", "no-such-program"]).ends_with(127).says("`no-such-program` is not found");
    place.adce(&["doctor"]).ends_with(64);
}
