//! Two engines at once, on two states in one folder: neither touches what belongs to the other, and each command speaks to
//! the engine of its own config.

mod support;

use support::place::{Place, engine_of, wait_for};

/// A config whose one attempt waits in its own folder until `go-NAME` is there.
fn config(name: &str, lake: &str) -> String {
    format!(
        "version: 1\nname: {name}\nlake: ./{lake}\nstate: sqlite:.adce/{name}.db\ndimensions:\n  letter: [x]\ndatasets:\n  {name}:\n    \
         key: {name}/{{letter}}.txt\n    for: letter\n    collector:\n      command: [sh, -c, 'echo $$ > started-{name}; \
         while [ ! -e go-{name} ]; do sleep 0.01; done; echo {name} > \"$1\"', sh, \"{{out}}\"]\n      retry: {{ attempts: 1 }}\n"
    )
}

#[test]
fn engines_on_two_states_in_one_folder_leave_each_other_alone() {
    let place = Place::new(&config("a", "lake"));
    place.write("b.yaml", &config("b", "lake-b"));
    std::fs::create_dir(place.path("lake-b")).expect("another lake");
    let mut engines = [("adce.yaml", "a"), ("b.yaml", "b")].map(|(file, name)| {
        let engine = place.start(&["-c", file, "run"]);
        wait_for("an attempt", || place.has(&format!("started-{name}")));
        engine
    });
    for (at, (file, name)) in [("adce.yaml", "a"), ("b.yaml", "b")].into_iter().enumerate() {
        let status = place.adce(&["-c", file, "status", "--format", "json"]).json();
        assert_eq!(status["name"], name);
        assert_eq!(status["engine"]["pid"], engine_of(&engines[at]));
        assert_eq!(status["gaps"]["running"], 1);
    }
    place.write("go-a", "");
    assert_eq!(engines[0].wait().expect("an exit code").code(), Some(0));
    // The end of the first takes nothing from the second.
    assert_eq!(place.adce(&["-c", "b.yaml", "status", "--format", "json"]).json()["engine"]["pid"], engine_of(&engines[1]));
    place.write("go-b", "");
    assert_eq!(engines[1].wait().expect("an exit code").code(), Some(0));
    assert_eq!((place.read("lake/a/x.txt"), place.read("lake-b/b/x.txt")), ("a\n".into(), "b\n".into()));
}
