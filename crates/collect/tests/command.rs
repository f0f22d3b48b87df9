//! Real children of every bad kind: each ends with a clear outcome, and none survives its attempt.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adce_collect::Collectors;
use adce_core::gap::Fault;
use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Admission, Collect, Progress, Report, Rest, Said};
use adce_core::spec::{How, Secretive};
use support::attempt::*;
use support::*;
use tempfile::TempDir;

#[tokio::test]
async fn a_scraper_finds_all_it_needs_in_its_environment() {
    let script = r#"
import json, os, sys
assert sys.argv[1:] == ["a b", "$HOME;*"], sys.argv
for line in open(os.environ["ADCE_ITEMS"]):
    item = json.loads(line)
    assert item["out"] == os.environ["ADCE_OUT"] + "/" + item["key"]
    open(item["out"], "w").write(json.dumps([item, os.environ["ADCE_TASK"], os.environ["ADCE_ATTEMPT"], os.environ["ADCE_LAKE"]]))
print("collected")
"#;
    let attempt = Attempt::of(&["python3", "-c", script, "a b", "$HOME;*"], &["deep/er/1.json", "deep/2.json"]);
    let report = attempt.run().await;
    assert_eq!((report.ended.as_str(), log(&report).as_str()), ("exit 0", "collected\n"));
    let text = staged_text(&report, "deep/er/1.json");
    let order = &attempt.order;
    let expected = format!(
        r#"[{{"item": "{}", "key": "deep/er/1.json", "out": "{}", "dataset": "d", "reason": "missing", "values": {{"id": "deep/er/1.json"}}}}, "{}", "{}", "/lake"]"#,
        order.items[0].item,
        order.folder.join("out/deep/er/1.json").display(),
        order.task,
        order.attempt
    );
    assert_eq!(text, expected);
    assert!(matches!(said(&report, "deep/2.json"), Some(Said::Staged(_))));
    let record = attempt.heard.process().await;
    assert_eq!((record.attempt, record.boot_id), (order.attempt, boot_id()));
    assert!(record.start_ticks > 0);
}

#[tokio::test]
async fn only_allowed_variables_reach_a_scraper_and_no_credentials_of_the_lake() {
    let script = "env > \"$ADCE_OUT/k\"";
    let environment = vec![("AWS_SECRET_ACCESS_KEY", "lake-secret"), ("SNEAKY", "1"), ("WANTED", "2"), ("CRM", "crm-secret")];
    let adapt = |collector: &mut adce_core::spec::Collector, lake_access| {
        collector.environment.pass.extend(["WANTED".into(), "AWS_SECRET_ACCESS_KEY".into()]);
        collector.environment.set.push(("TOKEN".into(), Secretive::Variable("CRM".into())));
        collector.environment.lake_access = lake_access;
    };
    let mut attempt = Attempt::sh(script, &["k"]).adapt(|collector| adapt(collector, false));
    attempt.environment = environment.clone();
    let seen = staged_text(&attempt.run().await, "k");
    assert!(seen.contains("WANTED=2\n") && seen.contains("TOKEN=crm-secret\n") && seen.contains("PATH="), "{seen}");
    assert!(!seen.contains("SNEAKY") && !seen.contains("AWS_"), "{seen}");

    let mut attempt = Attempt::sh(script, &["k"]).adapt(|collector| adapt(collector, true));
    attempt.environment = environment;
    assert!(staged_text(&attempt.run().await, "k").contains("AWS_SECRET_ACCESS_KEY=lake-secret\n"));
}

fn admission() -> Admission {
    let (url, proxy) = ("http://127.0.0.1:1/token".to_owned(), "http://adce:token@127.0.0.1:1".to_owned());
    let variables = vec![("HTTPS_PROXY", proxy.clone()), ("https_proxy", proxy.clone())];
    Admission { port: 1, variables, hidden: vec![(proxy, "$HTTP_PROXY"), (url.clone(), "$ADCE_GATEWAY")], url }
}

#[tokio::test]
async fn a_proxy_that_the_config_sets_wins_and_is_told() {
    let mut attempt = Attempt::sh(r#"echo "$HTTPS_PROXY, $https_proxy, ${http_proxy-unset}" > "$ADCE_OUT/k""#, &["k"]);
    attempt.order.gateway = Some(admission());
    let own = Secretive::Plain("http://other:3128".into());
    let attempt = attempt.adapt(|collector| collector.environment.set.push(("HTTPS_PROXY".into(), own)));
    let report = attempt.run().await;
    assert_eq!(staged_text(&report, "k"), "http://other:3128, http://adce:token@127.0.0.1:1, unset\n");
    assert!(
        log(&report).contains("`HTTPS_PROXY` is set by the config: requests that follow it do not pass the gateway"),
        "{}",
        log(&report)
    );
}

#[tokio::test]
async fn secrets_stay_out_of_logs_and_messages() {
    let script = r#"echo "GET ?t=$TOKEN via $ADCE_GATEWAY and $https_proxy"
        echo "{\"adce\":1,\"key\":\"k\",\"outcome\":\"failed\",\"message\":\"no $TOKEN\"}"
        echo "died of $TOKEN" >&2; exit 1"#;
    let mut attempt = Attempt::sh(script, &["k", "l"]);
    let secret = attempt.path("secret");
    std::fs::write(&secret, "hunter2\n").unwrap();
    attempt.order.gateway = Some(admission());
    let attempt = attempt.adapt(|collector| collector.environment.set.push(("TOKEN".into(), Secretive::File(secret))));
    let report = attempt.run().await;
    let log = log(&report);
    let lines: std::collections::BTreeSet<&str> = log.lines().collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), ["GET ?t=[redacted] via $ADCE_GATEWAY and $HTTP_PROXY", "died of [redacted]"]);
    assert_eq!(failure(&report, "k").message, "no [redacted]");
    assert_eq!(rest_failure(&report).message, "exit 1: died of [redacted]");
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named_before_anything_starts() {
    let unset = Secretive::Variable("NOT_SET_ANYWHERE".into());
    let attempt = Attempt::sh("true", &["k"]).adapt(|collector| collector.environment.set.push(("TOKEN".into(), unset)));
    let report = attempt.run().await;
    assert!(rest_failure(&report).message.contains("variable `TOKEN`") && rest_failure(&report).message.contains("`NOT_SET_ANYWHERE`"));
    assert!(attempt.heard.started().is_empty());
}

#[tokio::test]
async fn a_scraper_that_cannot_be_started_says_why() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let file = path(&folder, name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("plain.py", "print()", 0o644);
    write("orphan.sh", "#!/no/such/interpreter -x\n", 0o755);
    write("garbage", "neither program nor script", 0o755);
    let why = async |argv0: &str, cwd: &Path| {
        let cwd = cwd.to_owned();
        let report = Attempt::of(&[argv0], &["k"]).adapt(|collector| collector.cwd = cwd).run().await;
        let failure = rest_failure(&report).clone();
        assert_eq!((failure.fault, report.ended.as_str()), (Fault::Collector, "not started"), "{failure:?}");
        failure.message
    };
    let here = folder.path();
    let path_variable = std::env::var("PATH").unwrap();
    assert_eq!(why("no-such-scraper", here).await, format!("not started: `no-such-scraper` was not found: looked in PATH={path_variable}"));
    assert!(why("./missing.py", here).await.ends_with("missing.py` does not exist"));
    assert!(why("./plain.py", here).await.contains("plain.py` is not executable; `chmod +x` it"));
    assert!(why("./orphan.sh", here).await.contains("asks for the interpreter `/no/such/interpreter`, which does not exist"));
    assert!(why("./garbage", here).await.contains("is no program"));
    assert!(why("./", here).await.ends_with("is a folder"));
    assert!(why("sh", &path(&folder, "nowhere")).await.contains("its working folder"));
    assert!(why("", here).await.contains("the command is empty"));
}

#[tokio::test]
async fn a_scraper_that_exits_0_and_wrote_nothing_has_claimed_nothing() {
    let report = Attempt::sh("exit 0", &["k"]).run().await;
    assert_eq!((&report.rest, report.items.len(), report.log), (&Rest::LookInLake, 0, None));
}

#[tokio::test]
async fn files_under_wrong_keys_are_named_and_links_are_not_followed() {
    let script = r#"cd "$ADCE_OUT"; mkdir -p x/y; echo 1 > x/y/wrong; ln -s /etc/passwd k; mkdir l"#;
    let attempt = Attempt::sh(script, &["k", "l"]);
    let report = attempt.run().await;
    assert_eq!((report.items.len(), &report.rest), (0, &Rest::LookInLake));
    assert_eq!(report.strays, ["k", "x/y/wrong"]);
    assert!(log(&report).contains("[adce] `x/y/wrong` was staged, but is no key of this task"));
}

/// Two sets that share a folder, and one of a folder of its own.
fn sets(script: &str) -> Attempt {
    let marked = |done: &str| Some(adce_core::sets::SetRule { done: Some(done.to_owned()) });
    let mut attempt = Attempt::sh(script, &["d/a-*.txt", "d/b-*.txt", "e/*"]);
    attempt.order.items[0].set = marked("a.ok");
    attempt.order.items[1].set = marked("b.ok");
    attempt.order.items[2].set = Some(Default::default());
    attempt
}

fn parts(report: &Report, key: &str) -> Vec<String> {
    match said(report, key) {
        Some(Said::Parts(files)) => files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect(),
        other => panic!("`{key}` has no parts but {other:?}"),
    }
}

#[tokio::test]
async fn every_file_whose_name_fits_is_a_part_of_its_set() {
    let report = sets(
        r#"cd "$ADCE_OUT"; echo 2 > d/a-2.txt; echo 1 > d/a-1.txt; echo > d/a.ok; echo > d/b-.txt; echo > d/other; echo > e/x; mkdir e/f; echo > e/f/y"#,
    );
    let report = report.run().await;
    assert_eq!(parts(&report, "d/a-*.txt"), ["a-1.txt", "a-2.txt", "a.ok"]);
    assert_eq!((parts(&report, "d/b-*.txt"), parts(&report, "e/*")), (vec!["b-.txt".into()], vec!["x".into()]));
    assert_eq!(report.strays, ["d/other", "e/f/y"]);
    let report = sets(r#"sed 's/.*"out":"//; s/".*//' "$ADCE_ITEMS" | while read out; do echo > "$out/a-0.txt"; done"#).run().await;
    assert_eq!((parts(&report, "d/a-*.txt"), said(&report, "d/b-*.txt")), (vec!["a-0.txt".into()], None), "`out` is the folder");
}

#[tokio::test]
async fn of_a_failed_attempt_only_sets_that_it_called_done_are_published() {
    let report =
        sets(r#"cd "$ADCE_OUT"; echo > d/a-1.txt; echo > d/b-1.txt; echo '{"adce":1,"key":"d/a-*.txt","outcome":"done"}'; exit 1"#);
    let report = report.run().await;
    assert_eq!(parts(&report, "d/a-*.txt"), ["a-1.txt"]);
    assert!(matches!(said(&report, "d/b-*.txt"), Some(Said::Failed(_))), "{report:?}");
}

#[tokio::test]
async fn an_empty_set_is_its_marker_alone_if_it_has_one() {
    let script = r#"for key in 'd/a-*.txt' 'e/*'; do echo "{\"adce\":1,\"key\":\"$key\",\"outcome\":\"empty\"}"; done"#;
    let report = sets(script).run().await;
    assert_eq!(parts(&report, "d/a-*.txt"), Vec::<String>::new());
    match said(&report, "e/*") {
        Some(Said::Failed(failure)) => assert!(failure.message.contains("nothing marks an empty set"), "{failure:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn half_a_file_of_a_scraper_that_died_is_not_trusted() {
    let script = r#"cd "$ADCE_OUT"; echo whole > a; echo '{"adce":1,"key":"a","outcome":"done"}'; printf ha > b; kill -9 $$"#;
    let attempt = Attempt::sh(script, &["a", "b", "c"]);
    let report = attempt.run().await;
    assert_eq!(report.ended, "signal 9");
    assert_eq!(staged_text(&report, "a"), "whole\n");
    assert_eq!(failure(&report, "b").fault, Fault::Collector);
    assert!(failure(&report, "b").message.contains("its staged file of 2 bytes was not trusted"));
    assert_eq!(said(&report, "c"), None);
    assert!(rest_failure(&report).message.starts_with("signal 9"));
}

#[tokio::test]
async fn death_for_want_of_memory_is_told_from_other_kills() {
    // The script plays the kernel: it counts, and kills.
    let counts = r#"sed -i s/12/13/ "$VMSTAT"; "#;
    let (killed, childs) = ("kill -9 $$", "sh -c 'kill -9 $$'; exit 137");
    let cases = [
        (format!("{counts}{killed}"), "signal 9, out of memory"),
        (format!("{counts}{childs}"), "exit 137, out of memory"),
        (killed.to_owned(), "signal 9"),
        (childs.to_owned(), "exit 137"),
        (format!("{counts}kill -11 $$"), "signal 11"),
        (format!("{counts}exit 3"), "exit 3"),
    ];
    for (script, ended) in cases {
        for briefly in [Duration::ZERO, LONG] {
            let mut attempt = Attempt::sh(&script, &["k"]).briefly(briefly);
            let vmstat = attempt.path("vmstat");
            std::fs::write(&vmstat, "pgfault 12\noom_kill 12\n").unwrap();
            attempt = attempt.adapt(|collector| {
                let place = Secretive::Plain(vmstat.to_string_lossy().into_owned());
                collector.environment.set.push(("VMSTAT".into(), place));
            });
            attempt.vmstat = Some(vmstat);
            let report = attempt.run().await;
            assert_eq!(report.ended, ended, "{script}, {briefly:?}");
            let says_so = rest_failure(&report).message.contains("the kernel killed for want of memory while it ran");
            assert_eq!(says_so, ended.ends_with("out of memory"), "{report:?}");
        }
    }
}

#[tokio::test]
async fn a_flood_is_read_to_its_end_and_kept_in_part() {
    const FLOOD_BYTES: usize = 300_000_000;
    let script =
        format!(r#"yes 'what a scraper says' | head -c {FLOOD_BYTES}; echo last; echo '{{"adce":1,"key":"k","outcome":"absent"}}'"#);
    let attempt = Attempt::sh(&script, &["k"]);
    let report = attempt.run().await;
    assert_eq!(said(&report, "k"), Some(&Said::Absent));
    let (raw, log) = (raw_log(&report), log(&report));
    assert!(log.starts_with("what a scraper says\n") && log.ends_with("last\n"));
    let (head, rest) = log.split_once("[adce] ").unwrap();
    let (left_out, tail) = rest.split_once(" bytes of output are left out here\n").unwrap();
    // The mark of where something is left out is no output; half of a line has a line end of its own.
    let kept = head.len() + tail.len();
    assert_eq!(left_out.parse::<usize>().unwrap() + kept, FLOOD_BYTES + "last\n".len());
    assert!(raw.len() <= (128 << 10) + 100 && raw.len() > 120 << 10, "{}", raw.len());
}

#[tokio::test]
async fn a_flood_without_end_does_not_hide_its_own_timeout() {
    let attempt = Attempt::sh(r#"touch "$ADCE_OUT/../ready"; exec yes"#, &["k"]);
    let report = attempt.run_and_when_ready(never(), || attempt.clock.advance(LONG)).await;
    assert_eq!(report.ended, "timeout after 10m");
    assert_eq!(rest_failure(&report).fault, Fault::Collector);
}

#[tokio::test]
async fn a_scraper_that_ignores_sigterm_is_killed_after_the_grace() {
    let attempt = Attempt::sh(r#"trap '' TERM; touch "$ADCE_OUT/../ready"; tail -f /dev/null"#, &["k"]);
    let button = Button::new();
    let run = attempt.run_and_when_ready(button.clone(), || button.press());
    let (report, ()) = tokio::join!(run, attempt.clock.pass_when_somebody_sleeps(Some(GRACE)));
    assert_eq!((report.ended.as_str(), rest_failure(&report).fault), ("stopped", Fault::Stopped));
}

/// The leader dies at once, and no pipe is held any more; its child then does `work`, when it is told to end.
fn with_work_left(leaves: &str, work: &str) -> Attempt {
    let script = r#"echo '{"adce":1,"key":"k","outcome":"done"}'; exec python3 -c '
import os, signal
leader, out = os.getpid(), os.environ["ADCE_OUT"]
def count():
    with open(out + "/k", "w") as file:
        for number in range(200_000): print(number, file=file, flush=True)
if os.fork() == 0:
    LEAVES
    for pipe in (1, 2): os.close(pipe)
    def finish(*_):
        while os.getppid() == leader: pass
        WORK
        os._exit(0)
    signal.signal(signal.SIGTERM, finish)
    print(os.getpid(), file=open(out + "/../child", "w"))
    open(out + "/../ready", "w")
while True: signal.pause()
'"#;
    Attempt::sh(&script.replace("LEAVES", leaves).replace("WORK", work), &["k", "l"])
}

/// In its group, and in a session of its own.
const WAYS_TO_LEAVE: [&str; 2] = ["pass", "os.setsid()"];

#[tokio::test]
async fn within_the_grace_a_whole_attempt_may_finish_what_it_does() {
    // It does it itself, or starts somebody who does, and who was not there to be told.
    let starts_another = "if os.fork() == 0: signal.signal(signal.SIGTERM, signal.SIG_DFL); count(); os._exit(0)\n        os.wait()";
    for (leaves, work) in WAYS_TO_LEAVE.iter().flat_map(|leaves| [(leaves, "count()"), (leaves, starts_another)]) {
        let attempt = with_work_left(leaves, work);
        let button = Button::new();
        let report = attempt.run_and_when_ready(button.clone(), || button.press()).await;
        assert!(staged_text(&report, "k").ends_with("\n199999\n"), "{leaves}, {work}: it was not left to finish");
        assert_eq!((report.ended.as_str(), rest_failure(&report).fault), ("stopped", Fault::Stopped));
    }
}

#[tokio::test]
async fn after_the_grace_nobody_is_left() {
    for leaves in WAYS_TO_LEAVE {
        let attempt = with_work_left(leaves, "while True: signal.pause()");
        let button = Button::new();
        let run = attempt.run_and_when_ready(button.clone(), || button.press());
        let (report, ()) = tokio::join!(run, attempt.clock.pass_when_somebody_sleeps(Some(GRACE)));
        assert_eq!((report.ended.as_str(), rest_failure(&report).fault), ("stopped", Fault::Stopped));
        assert!(!runs(read_pid(&attempt.path("child")).unwrap()), "{leaves}: it lives on");
    }
}

#[tokio::test]
async fn children_left_behind_are_gone_when_the_report_is_there() {
    let script = r#"tail -f /dev/null & echo $! > "$ADCE_OUT/../child"; echo bye"#;
    let attempt = Attempt::sh(script, &["k"]);
    let report = attempt.run().await;
    let child = read_pid(&attempt.path("child")).unwrap();
    assert!(!runs(child), "the child in the background lives on");
    assert_eq!((report.ended.as_str(), log(&report).as_str()), ("exit 0", "bye\n"));
}

#[tokio::test]
async fn a_pipe_held_by_somebody_outside_the_group_does_not_hold_up_the_attempt() {
    let script = r#"
import os, signal
(done, ready) = os.pipe()
child = os.fork()
if child == 0:
    os.setsid()
    os.write(ready, b"x")
    while True: signal.pause()
else:
    os.read(done, 1)
    open(os.environ["ADCE_OUT"] + "/../child", "w").write(f"{child}\n")
    print("bye")
"#;
    let attempt = Attempt::of(&["python3", "-c", script], &["k"]);
    let report = attempt.run().await;
    assert_eq!(log(&report), "bye\n");
    let child = read_pid(&attempt.path("child")).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(child).unwrap(), rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn an_abandoned_attempt_kills_its_group() {
    let attempt = Attempt::sh(r#"tail -f /dev/null & : > "$ADCE_OUT/../ready"; wait"#, &["k"]);
    let runs = async {
        appears(&attempt.path("ready")).await;
        let group = attempt.heard.process().await.process_group;
        (group, members_of(group).into_iter().map(Watched::of).collect::<Vec<_>>())
    };
    let (group, members) = tokio::select! {
        _ = attempt.run() => panic!("it ended"),
        runs = runs => runs,
    };
    assert_eq!(members.len(), 2);
    for member in members {
        member.ends().await;
    }
    assert_eq!(members_of(group), Vec::<i32>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_attempts_at_once_leave_nothing_behind() {
    let runs = (0..100).map(|number| {
        tokio::spawn(async move {
            let attempt = Attempt::sh("sh -c true & exit 69", &[&format!("k{number}")]);
            let report = attempt.run().await;
            assert_eq!(rest_failure(&report).fault, Fault::Source);
        })
    });
    for run in runs.collect::<Vec<_>>() {
        tokio::time::timeout(Duration::from_secs(60), run).await.expect("an attempt hangs").unwrap();
    }
}

#[tokio::test]
async fn how_far_it_says_it_is_is_told_while_it_runs() {
    let script = r#"echo '{"adce":1,"key":"a","outcome":"done"}'; echo '{"adce":1,"progress":{"done":7,"of":20}}'; tail -f /dev/null"#;
    let stop = Button::new();
    let attempt = Attempt::sh(script, &["a", "b"]);
    let heard = async {
        attempt.heard.progress(Progress { done: 7, of: 20 }).await;
        stop.press();
    };
    tokio::join!(attempt.run_until(stop.clone()), heard);
}

/// Attempts in neighbouring folders, one after the other, by the same collectors.
struct Row {
    folder: TempDir,
    collectors: Collectors,
    attempts: usize,
}

impl Row {
    fn new() -> Self {
        let collectors = Collectors::new(setting(), Vec::new(), Arc::new(NoPermits), HandClock::new());
        Row { folder: TempDir::new().unwrap(), collectors, attempts: 0 }
    }

    /// What the first staged file held, and what came of the attempt. Its folder is given back.
    async fn sh(&mut self, script: &str, keys: &[&str]) -> (Option<String>, Report) {
        self.attempts += 1;
        let items: Vec<_> = keys.iter().map(|key| item(key)).collect();
        let collector = collector(How::Command(Vec::new()));
        let attempt = AttemptId(Uuid::from_u128(self.attempts as u128));
        let folder = self.collectors.folder(self.folder.path(), attempt, &collector, &items);
        let mut order = order(collector, &folder, items);
        order.argv = ["sh", "-c", script].map(String::from).to_vec();
        let report = self.collectors.collect(order, &|_| {}, never()).await;
        let text = keys.first().filter(|key| matches!(said(&report, key), Some(Said::Staged(_)))).map(|key| staged_text(&report, key));
        self.collectors.take_back(&folder);
        (text, report)
    }

    /// Folders that wait for another attempt.
    fn free(&self) -> usize {
        std::fs::read_dir(self.folder.path()).unwrap().count()
    }
}

#[tokio::test]
async fn a_folder_never_serves_the_same_item_twice() {
    let mut row = Row::new();
    row.sh("exit 0", &["a/k"]).await;
    assert_eq!(row.free(), 1);
    row.sh("exit 0", &["a/k"]).await;
    assert_eq!(row.free(), 2, "the folder of an item served it again");
    row.sh("exit 0", &["a/l"]).await;
    row.sh("exit 0", &["b/c/m"]).await;
    assert_eq!(row.free(), 2, "folders are not used again");
    // A file where another has a folder.
    row.sh("exit 0", &["a"]).await;
    assert_eq!(row.free(), 3);
    let script = r#"echo 1 > "$ADCE_OUT/a/n"; [ "$(grep -c . "$ADCE_ITEMS")" = 1 ] && grep -q '"a/n"' "$ADCE_ITEMS""#;
    let (text, report) = row.sh(script, &["a/n"]).await;
    assert_eq!((text.as_deref(), report.strays.len()), (Some("1\n"), 0));

    let Row { folder, collectors, .. } = row;
    drop(collectors);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "folders are left behind");
}

#[tokio::test]
async fn what_an_attempt_staged_and_printed_is_not_there_for_the_next_one() {
    let mut row = Row::new();
    row.sh(r#"echo old > "$ADCE_OUT/a/k"; echo printed"#, &["a/k"]).await;
    assert_eq!(row.free(), 1);
    let (_, report) = row.sh(r#"find "$ADCE_OUT/.." -type f"#, &["a/l"]).await;
    assert_eq!(row.free(), 1, "the folder was not used again");
    assert_eq!((report.items.len(), report.strays.len()), (0, 0), "{report:?}");
    row.sh(r#"mv "$ADCE_OUT/../items.jsonl" "$ADCE_OUT/a/m""#, &["a/m"]).await;
    let (text, _) = row.sh(r#"cp "$ADCE_ITEMS" "$ADCE_OUT/a/n""#, &["a/n"]).await;
    assert!(text.is_some_and(|text| text.lines().count() == 1 && text.contains("a/n")));
}

#[tokio::test]
async fn a_folder_in_which_anything_else_was_left_is_not_used_again() {
    let scripts = [
        r#"mkdir "$ADCE_OUT/made""#,
        r#"rmdir "$ADCE_OUT/a""#,
        r#"touch "$ADCE_OUT/other""#,
        r#"mkdir "$ADCE_OUT/a/k""#,
        r#"rmdir "$ADCE_OUT/a"; mkdir "$ADCE_OUT/b""#,
        r#"touch "$ADCE_OUT/../cookies""#,
        r#"mkdir "$ADCE_OUT/../log""#,
        r#"mv "$ADCE_OUT" "$ADCE_OUT.moved"; ln -s "$ADCE_OUT.moved" "$ADCE_OUT""#,
        "kill -9 $$",
    ];
    for script in scripts {
        let mut row = Row::new();
        row.sh(script, &["a/k"]).await;
        assert_eq!(row.free(), 0, "{script}");
    }
}

#[tokio::test]
async fn a_short_command_says_and_stages_all_that_a_long_one_does() {
    let script = r#"echo out; echo '{"adce":1,"key":"b","outcome":"absent"}'; echo err >&2; echo x > "$ADCE_OUT/a"; printf end; exit 3"#;
    for briefly in [Duration::ZERO, LONG] {
        let attempt = Attempt::sh(script, &["a", "b"]).briefly(briefly);
        let report = attempt.run().await;
        assert_eq!(report.ended, "exit 3");
        assert_eq!(said(&report, "b"), Some(&Said::Absent));
        assert!(failure(&report, "a").message.contains("its staged file of 2 bytes was not trusted"), "{report:?}");
        let log = log(&report);
        assert!(log.contains("out\n") && log.contains("err\n") && log.contains("end\n"), "{log}");
        assert_eq!(attempt.heard.started().is_empty(), briefly == LONG, "only who goes on is recorded");
    }
}

#[tokio::test]
async fn what_a_command_says_first_is_not_lost() {
    let script = r#"mkfifo "$ADCE_OUT/../gate"; echo first; printf 'half '; touch "$ADCE_OUT/../ready"; read line < "$ADCE_OUT/../gate"; echo "$line""#;
    let attempt = Attempt::sh(script, &["k"]).briefly(Duration::from_millis(100));
    let (ready, gate) = (attempt.path("ready"), attempt.path("gate"));
    let open_the_gate = async {
        appears(&ready).await;
        attempt.heard.process().await;
        tokio::fs::write(&gate, "second\n").await.unwrap();
    };
    let report = tokio::join!(attempt.run(), open_the_gate).0;
    assert_eq!((report.ended.as_str(), log(&report).as_str()), ("exit 0", "first\nhalf second\n"));
}

#[tokio::test]
async fn each_line_of_the_log_has_its_time_and_its_stream() {
    let script = r#"echo one; echo two >&2; read line < "$ADCE_OUT/../gate"; echo three; echo x > "$ADCE_OUT/y""#;
    let attempt = Attempt::sh(&format!(r#"mkfifo "$ADCE_OUT/../gate"; touch "$ADCE_OUT/../ready"; {script}"#), &["k"]);
    let (ready, gate) = (attempt.path("ready"), attempt.path("gate"));
    let later = async {
        appears(&ready).await;
        attempt.clock.advance(Duration::from_millis(1_234));
        tokio::fs::write(&gate, "go\n").await.unwrap();
    };
    let report = tokio::join!(attempt.run(), later).0;
    let log = raw_log(&report);
    let mut lines: Vec<&str> = log.lines().collect();
    lines[..2].sort();
    assert!(lines[0].ends_with("Z err two") && lines[1].ends_with("Z out one"), "{log}");
    assert_eq!(lines[2], "1970-01-01T00:00:01.234Z out three");
    assert!(lines[3].starts_with("1970-01-01T00:00:01.234Z adce `y` was staged"), "{log}");
}

#[tokio::test]
async fn a_child_that_stays_behind_is_ended_with_its_short_parent() {
    for (keeps_pipes, redirected) in [(true, ""), (false, " > /dev/null 2>&1")] {
        let script = format!(r#"sleep 1000{redirected} & echo $$; exit 0"#);
        let attempt = Attempt::sh(&script, &["k"]).briefly(LONG);
        let report = attempt.run().await;
        assert_eq!(report.ended, "exit 0", "{keeps_pipes}");
        let group: i32 = log(&report).trim().parse().unwrap();
        assert_eq!(members_of(group), Vec::<i32>::new(), "the child outlived the attempt");
    }
}

#[tokio::test]
async fn a_flood_does_not_keep_a_command_where_it_was_started() {
    let attempt = Attempt::sh("yes", &["k"]).briefly(Duration::from_millis(50));
    let stop = Button::new();
    let press = async {
        attempt.heard.process().await;
        stop.press();
    };
    let report = tokio::join!(attempt.run_until(stop.clone()), press).0;
    assert_eq!(report.ended, "stopped");
}
