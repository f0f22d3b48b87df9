//! Programs under `adce exec`: real ones, with and without an engine beside them, and an upstream that counts for itself.

mod support;

use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use adce_demo::{Limit, Moods, Upstream, UpstreamConfig};
use bytes::Bytes;
use support::place::{Place, Said, said, signal, wait_for};

const LIMIT: Limit = Limit { requests: 10, span: Duration::from_secs(1) };

/// Answers every path with itself, for as long as its runtime lives.
fn upstream() -> (tokio::runtime::Runtime, Upstream) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let upstream = runtime.block_on(Upstream::start(UpstreamConfig {
        limits: vec![LIMIT],
        latency_ms: (0, 5),
        moods: Moods::default(),
        seed: 3,
        log: None,
        content: Arc::new(|path: &str| (path != "/none").then(|| Bytes::from(path.to_owned()))),
    }));
    (runtime, upstream.expect("a loopback port"))
}

/// A source `up` with the upstream's limit, and one `nba` that nobody answers for. `numbers`: what a run collects from `up`.
fn place(upstream: &Upstream, numbers: &str) -> Place {
    let address = upstream.address();
    let place = Place::new(&format!(
        "version: 1\nname: by-hand\nlake: ./lake\nsources:\n  up:\n    hosts: [\"{address}\"]\n    base_url: http://{address}\n    \
         limits: {{ per_second: 10 }}\n  nba:\n    hosts: [nba.example]\ndimensions:\n  number: [{numbers}]\ndatasets:\n  box:\n    source: up\n    \
         key: box/{{number}}.txt\n    for: number\n    collector:\n      via: gateway\n      command: [python3, urls.py, /box/]\n"
    ));
    place.write("urls.py", include_str!("support/urls.py"));
    place.write("ask.py", ASK);
    place
}

/// Asks so many paths of the upstream, as plain Python does.
const ASK: &str = "import sys, urllib.request\n\
                   for number in range(int(sys.argv[2])):\n    urllib.request.urlopen(f'http://{sys.argv[1]}/{number}').read()\n";

fn kept(upstream: &Upstream) {
    let figures = upstream.figures();
    assert_eq!((figures.answered_429, figures.windows_exceeded), (0, 0), "{figures:?}");
}

#[test]
fn a_program_by_hand_keeps_the_limits_and_is_told_what_it_asked() {
    let (_runtime, upstream) = upstream();
    let (place, address) = (place(&upstream, "1"), upstream.address().to_string());
    let said = place.adce(&["exec", "--", "python3", "ask.py", &address, "25"]);
    said.ends_with(0).says("adce exec: up 25 requests: 25 × 200, waited ");
    assert_eq!((upstream.figures().requests, said.err.lines().count()), (25, 1));
    kept(&upstream);
    // What it sent is remembered: the next one begins where the window stands.
    let script = format!("curl -s http://{address}/none; curl -s http://127.0.0.2/; printf %s \"$ADCE_GATEWAY\" | wc -c; exit 7");
    let said = place.adce(&["exec", "--format", "json", "--", "sh", "-c", &script]);
    said.ends_with(7).says("no such thing");
    let report: serde_json::Value = serde_json::from_str(said.err.lines().last().expect("a line")).expect("JSON");
    assert_eq!((report["requests"].as_u64(), report["sources"]["up"]["statuses"]["404"].as_u64()), (Some(1), Some(1)), "{report}");
    assert_eq!((report["uncovered"][0]["host"].as_str(), report["uncovered"][0]["passed"].as_u64()), (Some("127.0.0.2"), Some(1)));
    kept(&upstream);
    assert!(!place.has("lake/box/1.txt"), "it collects nothing");
    place.adce(&["plan"]).ends_with(2).says("1 gap");
}

#[test]
fn a_program_that_may_ask_one_source_asks_no_other() {
    let (_runtime, upstream) = upstream();
    let (place, address) = (place(&upstream, "1"), upstream.address().to_string());
    let exec = |source: &str, url: &str| place.adce(&["exec", "--source", source, "--", "curl", "-s", "-w", " %{http_code}", url]);
    exec("up", &format!("http://{address}/x")).ends_with(0).says("/x 200").says("up 1 request: 1 × 200");
    exec("nba", &format!("http://{address}/x"))
        .ends_with(0)
        .says("may ask `nba` alone")
        .says(" 403")
        .says("beside them 127.0.0.1 1 refused");
    exec("up", "http://fonts.example/").ends_with(0).says("which no source declares").says("fonts.example 1 refused");
    assert_eq!(upstream.figures().requests, 1);
    exec("upp", "http://fonts.example/").ends_with(64).says("no source is named `upp`").says("did you mean `up`?");
    exec("zebra", "http://fonts.example/").ends_with(64).says("declared: `up` or `nba`");
}

#[test]
fn what_cannot_be_started_is_told_as_by_every_other_starter() {
    let (_runtime, upstream) = upstream();
    let place = place(&upstream, "1");
    place.adce(&["exec"]).ends_with(64).says("<CMD>");
    place.adce(&["exec", "--"]).ends_with(64);
    place.adce(&["exec", "--", "no-such-program"]).ends_with(127).says("`no-such-program` is not found");
    place.adce(&["exec", "--", "./adce.yaml"]).ends_with(126).says("`./adce.yaml` cannot be started");
    place.adce(&["exec", "--", "sh", "-c", "kill -KILL $$"]).ends_with(137);
    place.adce(&["exec", "--", "true"]).ends_with(0).says("nothing was asked through the gateway");
    place.adce(&["-c", "nowhere.yaml", "exec", "--", "true"]).ends_with(78);
}

/// Waits for a line from the command, and is ended by it.
fn started(place: &Place, script: &str) -> Child {
    let mut exec = place.start(&["exec", "--", "sh", "-c", script]);
    let mut first = [0];
    exec.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("the command says something");
    exec
}

fn ended(mut child: Child) -> Said {
    wait_for("its end", || child.try_wait().expect("a child").is_some());
    said(child.wait_with_output().expect("it ends"))
}

#[test]
fn a_signal_reaches_the_program_and_its_end_is_that_of_exec() {
    let (_runtime, upstream) = upstream();
    let place = place(&upstream, "1");
    let traps = "trap 'echo told; exit 9' TERM; trap : USR1; echo; while :; do sleep 0.05; done";
    let exec = started(&place, traps);
    signal("-USR1", exec.id() as i32);
    signal("-TERM", exec.id() as i32);
    ended(exec).ends_with(9).says("told");
    let exec = started(&place, "echo; exec sleep 1000");
    signal("-INT", exec.id() as i32);
    ended(exec).ends_with(130).says("nothing was asked");
}

/// A run whose engine can be asked.
fn running(place: &Place) -> Child {
    let run = place.start(&["run"]);
    wait_for("the control socket", || place.has(".adce/control.sock"));
    run
}

#[test]
fn an_engine_and_a_program_beside_it_share_one_limit() {
    let (_runtime, upstream) = upstream();
    let numbers: Vec<String> = (10..50).map(|number| number.to_string()).collect();
    let (place, address) = (place(&upstream, &numbers.join(", ")), upstream.address().to_string());
    let run = running(&place);
    let said = place.adce(&["exec", "--", "python3", "ask.py", &address, "30"]);
    said.ends_with(0).says("up 30 requests: 30 × 200, waited ");
    ended(run).ends_with(0).says("COMPLETE 100 %");
    assert_eq!(upstream.figures().requests, 70);
    kept(&upstream);
}

#[test]
fn a_run_stays_for_the_program_that_passes_its_gateway() {
    let (_runtime, upstream) = upstream();
    let (place, address) = (place(&upstream, "1"), upstream.address().to_string());
    let mut run = running(&place);
    let script = format!("echo; while [ ! -e go ]; do sleep 0.05; done; exec curl -s http://{address}/late");
    let exec = started(&place, &script);
    wait_for("all is collected", || place.has("lake/box/1.txt"));
    let guests = || place.adce(&["status"]);
    guests().says("1 program by hand");
    assert!(run.try_wait().expect("a child").is_none());
    place.write("go", "");
    ended(exec).ends_with(0).says("/late").says("up 1 request: 1 × 200");
    ended(run).ends_with(0).says("COMPLETE 100 %");
}

#[test]
fn a_killed_exec_leaves_no_guest_behind() {
    let (_runtime, upstream) = upstream();
    let (place, address) = (place(&upstream, "1"), upstream.address().to_string());
    // With an engine beside it: that one lets nobody pass any more, and ends.
    let run = running(&place);
    let script = format!(
        "trap '' TERM; echo; while [ ! -e go ]; do sleep 0.05; done; curl -s -o /dev/null -w '%{{http_code}}' http://{address}/late > noted; \
         mv noted told"
    );
    let mut exec = started(&place, &script);
    signal("-KILL", exec.id() as i32);
    exec.wait().expect("it was killed");
    ended(run).ends_with(0);
    place.write("go", "");
    wait_for("what the command that lives on was told", || place.has("told"));
    assert_eq!((place.read("told").as_str(), upstream.figures().requests), ("000", 1), "the gateway is gone with its engine");
    // Without: the state is free again, and who does not insist is ended as well.
    let mut exec = started(&place, "echo $$; echo $$ > number; mv number pid; exec sleep 1000");
    wait_for("its number", || place.has("pid"));
    let pid = place.read("pid");
    signal("-KILL", exec.id() as i32);
    exec.wait().expect("it was killed");
    wait_for("the command is gone", || !std::path::Path::new(&format!("/proc/{}/cmdline", pid.trim())).exists() || is_zombie(pid.trim()));
    place.adce(&["run"]).ends_with(0).says("COMPLETE 100 %");
}

fn is_zombie(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.split(") ").nth(1).is_some_and(|rest| rest.starts_with('Z')))
}

#[test]
fn two_programs_by_hand_share_one_limit_and_the_first_waits_for_the_second() {
    let (_runtime, upstream) = upstream();
    let (place, address) = (place(&upstream, "1"), upstream.address().to_string());
    let first = started(&place, "echo; while [ ! -e second ]; do sleep 0.05; done");
    let script = format!("echo; echo > second; while [ ! -e go ]; do sleep 0.05; done; exec python3 ask.py {address} 15");
    let second = started(&place, &script);
    // The first command is over, and the state is still held: the second one passes through it.
    place.adce(&["run"]).ends_with(75).says("another engine holds the state");
    place.write("go", "");
    ended(second).ends_with(0).says("up 15 requests: 15 × 200");
    ended(first).ends_with(0).says("waiting for 1 other program that came through this one");
    kept(&upstream);
    place.adce(&["run"]).ends_with(0);
    kept(&upstream);
}

#[test]
fn the_command_has_the_terminal_s_input_and_output() {
    let (_runtime, upstream) = upstream();
    let place = place(&upstream, "1");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_adce"));
    command.args(["exec", "--", "cat", "-", "--help"]).current_dir(place.folder());
    let mut exec = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("adce starts");
    drop(exec.stdin.take());
    ended(exec).ends_with(0).says("Usage: cat");
}
