//! What shells do with a command: pipes, completions and man pages.

mod support;

use std::process::{Command, Stdio};

use support::place::Place;

/// `false`: this machine does not have the program.
fn is_here(program: &str) -> bool {
    let here = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !here {
        eprintln!("skipped: `{program}` is not on this machine");
    }
    here
}

#[test]
fn each_shell_gets_a_script_that_knows_the_commands() {
    let place = Place::new("");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.adce(&["completions", shell]).ends_with(0).out.clone();
        for word in ["adce", "plan", "--max-wait", "completions"] {
            assert!(script.contains(word) || script.contains(word.trim_start_matches('-')), "{shell} knows no `{word}`");
        }
    }
    place.adce(&["completions", "tcsh"]).ends_with(64).says("bash");
}

#[test]
fn bash_completes_a_command_and_an_option() {
    if !is_here("bash") {
        return;
    }
    let place = Place::new("");
    place.write("adce.bash", &place.adce(&["completions", "bash"]).ends_with(0).out);
    let complete = |words: &str, current: usize| {
        let script = format!(
            "source ./adce.bash; COMP_WORDS=({words}); COMP_CWORD={current}; _adce adce \"${{COMP_WORDS[$COMP_CWORD]}}\" \
             \"${{COMP_WORDS[$COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["--norc", "-c", &script]).current_dir(place.folder()).output().expect("bash runs");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    assert_eq!(complete("adce pl", 1), "plan");
    assert_eq!(complete("adce run --max", 2), "--max-wait");
}

#[test]
fn every_command_that_help_shows_has_a_man_page() {
    let place = Place::new("");
    let help = place.adce(&["--help"]).ends_with(0).out.clone();
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    let verbs: Vec<&str> = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|verb| !verb.is_empty()).collect();
    assert!(verbs.contains(&"plan") && verbs.contains(&"completions") && !verbs.contains(&"man"), "{verbs:?}");
    place.adce(&["man", "--out", "pages/man1"]).ends_with(0).says("pages in pages/man1");
    for verb in verbs.iter().filter(|verb| **verb != "help") {
        let page = place.read(&format!("pages/man1/adce-{verb}.1"));
        assert!(page.contains(".TH") && page.contains("Examples"), "{page}");
    }
    assert!(place.read("pages/man1/adce-tasks-show.1").contains("tasks show"));
    assert!(place.adce(&["man"]).ends_with(0).out.contains(".SH"));
    place.adce(&["man", "--out", "adce.yaml"]).ends_with(1).says("cannot be written");
}

/// Whatever a command prints, somebody may close the pipe: what was to be done is done, and the exit code says how it went.
#[test]
fn a_reader_who_has_seen_enough_changes_no_exit_code() {
    const CONFIG: &str = "version: 1\nname: piped\nlake: ./lake\ndimensions:\n  n: [a, b]\ndatasets:\n  d:\n    key: \"{n}.txt\"\n    \
        for: n\n    collector: { command: [sh, -c, 'test {n} = a && echo a > {out}'], retry: { attempts: 1 } }\n";
    let verbs: &[&[&str]] = &[
        &["check"],
        &["plan"],
        &["gaps"],
        &["run", "--max-wait", "0s"],
        &["status"],
        &["tasks"],
        &["limits"],
        &["why", "b.txt"],
        &["why", "nothing"],
        &["retry", "--all"],
        &["accept"],
        &["state", "check"],
        &["completions", "bash"],
        &["--help"],
        &["nonsense"],
    ];
    let place = Place::new(CONFIG);
    for verb in verbs {
        for format in [&[][..], &["--format", "json"]] {
            let command = || {
                let mut command = Command::new(env!("CARGO_BIN_EXE_adce"));
                command.current_dir(place.folder()).args(*verb).args(format);
                command
            };
            let before = command().stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let said = command().stdout(writer).output().unwrap();
            let errors = String::from_utf8_lossy(&said.stderr);
            assert_eq!(said.status.code(), before.code(), "adce {} {format:?}: {errors}", verb.join(" "));
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let unheard = command().stdout(Stdio::null()).stderr(writer).status().unwrap();
            assert_eq!(unheard.code(), before.code(), "adce {} {format:?}, with nobody at standard error", verb.join(" "));
        }
    }
}

#[test]
fn what_cannot_be_printed_for_want_of_room_is_no_success() {
    if !std::path::Path::new("/dev/full").exists() {
        eprintln!("skipped: there is no /dev/full");
        return;
    }
    let place = Place::new("version: 1\nname: full\nlake: ./lake\ndimensions: { n: [a] }\ndatasets:\n  d: { key: \"{n}\", for: n }\n");
    for verb in [&["check"][..], &["limits"], &["gaps"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let said = Command::new(env!("CARGO_BIN_EXE_adce")).current_dir(place.folder()).args(verb).stdout(full).output().unwrap();
        assert_eq!(said.status.code(), Some(1), "{verb:?}: {}", String::from_utf8_lossy(&said.stderr));
        assert!(String::from_utf8_lossy(&said.stderr).contains("No space left"), "{verb:?}");
    }
}
