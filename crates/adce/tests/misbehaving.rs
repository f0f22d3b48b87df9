//! Scrapers that misbehave, run by the real binary: each comes to a clear outcome, the right exit code, and nothing lost.

mod support;

use support::place::{Place, wait_for};

/// One dataset of letters, collected by this command (argv as a YAML list), tried once.
fn letters(letters: &str, argv: &str, more: &str) -> String {
    format!(
        "version: 1\nname: letters\nlake: ./lake\ndimensions:\n  letter: [{letters}]\ndatasets:\n  letters:\n    key: letters/{{letter}}.txt\n    \
         for: letter\n    min_size: 4B\n    collector:\n      command: {argv}\n      retry: {{ attempts: 1 }}\n{more}"
    )
}

#[test]
fn a_scraper_that_does_what_it_should_completes_the_lake_once() {
    let place = Place::new(&letters("a, b, c", r#"[sh, -c, 'echo "$1" >> ran; echo hello > "$2"', sh, "{letter}", "{out}"]"#, ""));
    place.adce(&["run"]).ends_with(0).says("COMPLETE 100 %");
    assert_eq!(place.read("lake/letters/b.txt"), "hello\n");
    place.adce(&["run"]).ends_with(0);
    assert_eq!(place.read("ran").lines().count(), 3, "each is collected once");
}

#[test]
fn a_missing_scraper_is_named_with_what_to_do() {
    let place = Place::new(&letters("a", "[no-such-scraper]", ""));
    place.adce(&["run"]).ends_with(2).says("no-such-scraper").says("1 exhausted");
}

#[test]
fn a_scraper_that_may_not_be_executed_is_named() {
    let place = Place::new(&letters("a", "[./scraper.sh]", ""));
    place.write("scraper.sh", "#!/bin/sh\n");
    place.adce(&["run"]).ends_with(2).says("scraper.sh");
}

#[test]
fn exit_code_0_without_an_object_is_a_failure() {
    let place = Place::new(&letters("a", "[/bin/true]", ""));
    place.adce(&["run"]).ends_with(2).says("wrote nothing");
}

#[test]
fn a_scraper_that_writes_nothing_time_and_again_is_held_back_and_that_is_said() {
    let config = letters("a, b, c, d, e, f, g, h", "[/bin/true]", "engine: { max_concurrent: 1 }\n");
    let place = Place::new(&config);
    let run = place.adce(&["run", "--max-wait", "0", "--format", "json"]).ends_with(2).json();
    // A slot is free from the end of a command on, so the next one may have begun before the fifth failure was counted.
    assert!((5..=6).contains(&run["attempts"].as_u64().unwrap()), "{run}");
    let why = "5 failures in a row, the last: exit 0, but it wrote nothing";
    place.adce(&["status"]).ends_with(2).says(why).says("next probe");
    place.adce(&["limits"]).says(why);
}

#[test]
fn an_exhausted_item_is_called_so_and_when_it_is_revived_by_whoever_is_asked() {
    let place = Place::new(&letters("a", "[sh, -c, 'echo no luck; exit 3', sh, \"{letter}\"]", ""));
    let run = place.adce(&["run", "--max-wait", "0"]);
    run.ends_with(2).says("exhausted letters/a.txt (letters), all attempts are used up, revived 2").says(" UTC: exit 3: no luck");
    let task = place.adce(&["tasks", "--format", "json"]).ends_with(0).json();
    assert_eq!(task["state"], "exhausted", "{task}");
    place.adce(&["tasks"]).ends_with(0).says("exhausted").says("letters/a.txt  revived 2");
    let id = task["id"].as_str().expect("its id");
    place.adce(&["tasks", "show", id]).ends_with(0).says("letters/a.txt missing · exhausted, revived 2");
    assert_eq!(place.adce(&["tasks", "show", id, "--format", "json"]).json()["task"]["state"], "exhausted");
    place
        .adce(&["status"])
        .ends_with(2)
        .says("exhausted: 1 gap used up all attempts; each is revived by itself → adce gaps --state exhausted");
}

/// Exit 0, as a scraper ends that catches whatever goes wrong; and a crash.
#[test]
fn one_item_that_its_batch_fails_on_is_the_only_one_that_is_missing_in_the_end() {
    for code in [0, 1] {
        let script =
            r#"case ",$1," in *,c,*) exit CODE ;; esac; for l in $(echo "$1" | tr , " "); do echo page > "$ADCE_OUT/letters/$l.txt"; done"#;
        let argv = format!(r#"[sh, -c, '{}', sh, "{{letter}}"]"#, script.replace("CODE", &code.to_string()));
        let retry = "batch: { size: 8 }\n      retry: { attempts: 1, backoff: 10ms..20ms }";
        let place = Place::new(&letters("a, b, c, d, e, f, g, h", &argv, "").replace("retry: { attempts: 1 }", retry));
        place.adce(&["run"]).ends_with(2).says("1 exhausted");
        let left = place.adce(&["gaps", "--format", "json"]).ends_with(0).json();
        assert_eq!((&left["key"], &left["attempts"]), (&"letters/c.txt".into(), &1.into()), "exit {code}");
    }
}

#[test]
fn what_was_said_to_adce_and_misunderstood_is_part_of_the_failure() {
    let place = Place::new(&letters("a", "[cat, said]", ""));
    place.write("said", r#"{"adce":1,"key":"letters/a.txt","outcome":"dnoe"}"#);
    place.adce(&["run"]).ends_with(2).says("wrote nothing").says("ignored outcome `dnoe`: it must be `done`");
}

#[test]
fn what_a_command_prints_is_published() {
    let config = letters("a, b", r#"[echo, "page {letter}"]"#, "").replace("retry:", "output: stdout\n      retry:");
    let place = Place::new(&config);
    place.adce(&["run"]).ends_with(0);
    assert_eq!(place.read("lake/letters/b.txt"), "page b\n");
    let place = Place::new(&config.replace(r#"[echo, "page {letter}"]"#, "[/bin/true]"));
    place.adce(&["run"]).ends_with(2).says("exit 0, but it printed nothing; nor has the lake the object");
}

#[test]
fn an_unchanged_scraper_is_wrapped_by_argv_and_pick_up() {
    let scraper = r#"[sh, -c, 'mkdir -p out; for letter in $(echo "$1" | tr , " "); do [ -e out/$letter ] || echo page $letter > out/$letter; done', sh, "{letter}"]"#;
    let more = "batch: { size: 2 }\n      output: { pick_up: \"out/{letter}\" }\n      retry:";
    let config = letters("a, b, c", scraper, "").replace("retry:", more);
    let place = Place::new(&config);
    place.adce(&["run"]).ends_with(0);
    assert_eq!((place.read("lake/letters/a.txt"), place.read("lake/letters/c.txt")), ("page a\n".into(), "page c\n".into()));
    assert!(!place.has("out/a"), "it would skip what exists for ever");

    let place = Place::new(&config);
    place.write("out/c", "page c, of long ago");
    place.adce(&["run"]).ends_with(2).says("exit 0, but `").says("out/c` is an old file from before this attempt");
    assert_eq!((place.has("lake/letters/b.txt"), place.has("lake/letters/c.txt")), (true, false));

    let place = Place::new(&config);
    place.write("out/c", "page c, of long ago");
    place.write("lake/letters/c.txt", "x");
    place.adce(&["run"]).ends_with(2).says("left the old object in the lake in place, which is undersized: `");
}

#[test]
fn the_wrong_key_is_named_and_not_published() {
    let place = Place::new(&letters("a", r#"[sh, -c, 'echo hello > "$ADCE_OUT/letters/b.txt"']"#, ""));
    place.adce(&["run"]).ends_with(2).says("letters/b.txt");
    assert!(!place.has("lake/letters/b.txt"));
}

#[test]
fn half_a_file_of_a_scraper_that_died_is_never_published() {
    let place = Place::new(&letters("a", r#"[sh, -c, 'echo hello > "$1"; kill -9 $$', sh, "{out}"]"#, ""));
    place.adce(&["run"]).ends_with(2).says("signal 9");
    assert!(!place.has("lake/letters/a.txt"));
}

#[test]
fn an_object_that_is_too_small_is_not_published() {
    let place = Place::new(&letters("a", r#"[sh, -c, 'echo x > "$1"', sh, "{out}"]"#, ""));
    place.adce(&["run"]).ends_with(2).says("2 B is smaller");
    assert!(!place.has("lake/letters/a.txt"));
}

#[test]
fn what_a_failed_attempt_wrote_into_the_lake_is_suspect_and_collected_again() {
    let argv = r#"[sh, -c, 'if [ -e second ]; then echo right > lake/letters/a.txt; else echo wrong > lake/letters/a.txt; touch second; exit 1; fi']"#;
    let place = Place::new(
        &letters("a", argv, "").replace("retry: { attempts: 1 }", "output: direct\n      retry: { attempts: 3, backoff: 10ms..20ms }"),
    );
    place.write("lake/letters/.keep", "");
    place.adce(&["run"]).ends_with(0);
    assert_eq!(place.read("lake/letters/a.txt"), "right\n");
}

#[test]
fn half_an_object_that_a_failed_attempt_left_is_not_taken_for_a_whole_one() {
    let argv = r#"[sh, -c, 'if [ -e second ]; then echo skipping, exists; else echo half > lake/letters/a.txt; touch second; exit 1; fi']"#;
    let config =
        letters("a", argv, "").replace("retry: { attempts: 1 }", "output: direct\n      retry: { attempts: 2, backoff: 10ms..20ms }");
    let place = Place::new(&config);
    place.write("lake/letters/.keep", "");
    place.adce(&["run"]).ends_with(2).says("left the old object in place");
}

#[test]
fn a_staged_object_replaces_the_half_one_of_the_attempt_before() {
    let argv = r#"[sh, -c, 'if [ -e second ]; then echo right > "$1"; else echo half > lake/letters/a.txt; touch second; exit 1; fi', sh, "{out}"]"#;
    let place = Place::new(&letters("a", argv, "").replace("retry: { attempts: 1 }", "retry: { attempts: 2, backoff: 10ms..20ms }"));
    place.write("lake/letters/.keep", "");
    place.adce(&["run"]).ends_with(0);
    assert_eq!(place.read("lake/letters/a.txt"), "right\n");
}

#[test]
fn an_undersized_object_that_is_left_in_place_fills_nothing() {
    let place = Place::new(&letters("a", r#"[sh, -c, 'echo skipping, exists']"#, ""));
    place.write("lake/letters/a.txt", "x");
    place.adce(&["run"]).ends_with(2).says("left the old object in place");
}

#[test]
fn a_scraper_that_ignores_sigterm_and_leaves_children_is_ended_with_all_of_them() {
    let argv = r#"[sh, -c, 'trap "" TERM; sleep 300 & echo $! > child; echo $$ > leader; while :; do sleep 300; done']"#;
    let place = Place::new(&letters("a", argv, "").replace("retry:", "timeout: 500ms\n      retry:"));
    place.adce(&["run"]).ends_with(2).says("timeout");
    let task = place.adce(&["tasks", "--format", "json"]).json()["id"].as_str().expect("a task").to_owned();
    place.adce(&["tasks", "show", &task]).says(": timeout after 500ms, gone after 1");
    for name in ["child", "leader"] {
        assert!(!is_alive(&place.read(name)), "the {name} is alive");
    }
}

#[test]
fn gigabytes_of_output_do_not_block_or_fill_anything() {
    let place = Place::new(&letters("a", r#"[sh, -c, 'head -c 200000000 /dev/zero | tr "\0" x; echo hello > "$1"', sh, "{out}"]"#, ""));
    place.adce(&["run"]).ends_with(0);
    let logs: u64 = std::fs::read_dir(place.path(".adce/logs"))
        .map_or(0, |logs| logs.flatten().map(|log| log.metadata().map_or(0, |log| log.len())).sum());
    assert!(logs < 1_000_000, "{logs} bytes of log are kept");
}

#[test]
fn a_batch_filled_in_part_keeps_what_is_there() {
    let argv = r#"[sh, -c, 'for letter in a c; do echo hello > "$ADCE_OUT/letters/$letter.txt"; done; echo "{\"adce\":1,\"key\":\"letters/b.txt\",\"outcome\":\"failed\",\"message\":\"b is odd\"}"']"#;
    let place = Place::new(
        &letters("a, b, c", &argv.replace('{', "{{").replace('}', "}}"), "").replace("retry:", "batch: { size: 10 }\n      retry:"),
    );
    place.adce(&["run"]).ends_with(2).says("b is odd");
    assert!(place.has("lake/letters/a.txt") && place.has("lake/letters/c.txt") && !place.has("lake/letters/b.txt"));
}

#[test]
fn what_upstream_does_not_have_is_absent_and_prevents_no_completion() {
    let argv = r#"[sh, -c, 'if [ "$1" = b ]; then exit 66; fi; echo hello > "$2"', sh, "{letter}", "{out}"]"#;
    let place = Place::new(&letters("a, b, c", argv, "").replace("    collector:", "    absent: { after: 0s }\n    collector:"));
    place.adce(&["run"]).ends_with(0).says("1 absent");
    let status = place.adce(&["status", "--format", "json"]).ends_with(0).json();
    assert_eq!(status["coverage"]["absent"], 1);
}

#[test]
fn a_batch_that_says_absent_without_names_is_split() {
    let config = letters("a, b, c", "[sh, scraper.sh]", "").replace("    collector:", "    absent: { after: 0s }\n    collector:");
    let place = Place::new(&config.replace("retry:", "batch: { size: 10 }\n      retry:"));
    let scraper = r#"
        if grep -q letters/b "$ADCE_ITEMS"; then exit 66; fi
        for letter in a c; do
            if grep -q "letters/$letter" "$ADCE_ITEMS"; then echo hello > "$ADCE_OUT/letters/$letter.txt"; fi
        done
    "#;
    place.write("scraper.sh", scraper);
    place.adce(&["run"]).ends_with(0);
    assert!(place.has("lake/letters/a.txt") && place.has("lake/letters/c.txt") && !place.has("lake/letters/b.txt"));
}

#[test]
fn ctrl_c_once_finishes_what_runs_and_starts_nothing() {
    let argv = r#"[sh, -c, 'echo x >> started; while [ ! -e go ]; do sleep 0.01; done; echo hello > "$1"', sh, "{out}"]"#;
    let place = Place::new(&letters("a, b, c", argv, "engine: { max_concurrent: 1 }\n"));
    let mut engine = place.start(&["run"]);
    wait_for("the first attempt", || place.has("started"));
    interrupt(engine.id());
    // The engine has heard it when its status says so.
    wait_for("the engine to drain", || place.adce(&["status", "--format", "json"]).json()["engine"]["stopping"] == true);
    place.write("go", "");
    let code = engine.wait().expect("an exit code").code();
    assert_eq!(code, Some(130));
    assert_eq!(place.read("started").lines().count(), 1, "nothing was started after Ctrl-C");
    assert!(place.has("lake/letters/a.txt"), "what ran was finished");
    place.adce(&["run"]).ends_with(0);
}

#[test]
fn ctrl_c_twice_ends_what_runs_and_leaves_a_clean_state() {
    let place = Place::new(&letters("a", r#"[sh, -c, 'echo $$ > started; exec sleep 300']"#, ""));
    let mut engine = place.start(&["run"]);
    wait_for("the first attempt", || place.has("started") && !place.read("started").is_empty());
    interrupt(engine.id());
    wait_for("the engine to drain", || place.adce(&["status", "--format", "json"]).json()["engine"]["stopping"] == true);
    interrupt(engine.id());
    assert_eq!(engine.wait().expect("an exit code").code(), Some(130));
    assert!(!is_alive(&place.read("started")), "the scraper is alive");
    let gap = place.adce(&["gaps", "--format", "json"]).json();
    assert_eq!(gap["attempts"], 0, "being stopped uses up no attempt");
}

/// A process that ended and was reaped by nobody yet is not alive.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()).is_some_and(|state| state != 'Z')
}

fn interrupt(pid: u32) {
    let killed = std::process::Command::new("kill").args(["-INT", &pid.to_string()]).status().expect("kill");
    assert!(killed.success());
}

#[test]
fn what_may_have_changed_while_the_lake_did_not_answer_is_said_to_be_in_doubt() {
    // It leaves an object, fails, and nobody can look: the lake is away.
    let script = "mkdir lake/letters; echo hello > lake/letters/a.txt; mv lake kept; exit 1";
    let place = Place::new(&letters("a", &format!("[sh, -c, '{script}']"), ""));
    place.adce(&["run"]).ends_with(69).says("exit 1");
    std::fs::rename(place.path("kept"), place.path("lake")).expect("the lake is back");
    place.adce(&["gaps"]).ends_with(0).says("missing, in doubt");
    assert_eq!(place.adce(&["gaps", "--format", "json"]).json()["in_doubt"], true);
    place.adce(&["why", "letters/a.txt"]).ends_with(0).says("in doubt: an attempt may have changed its object");
    // A look of a run tells: it is another object than before, and nobody's word.
    place.adce(&["run", "--once"]).ends_with(2);
    let settled = place.adce(&["gaps", "--format", "json"]).json();
    assert_eq!((&settled["reason"], &settled["in_doubt"]), (&"suspect".into(), &false.into()));
}
