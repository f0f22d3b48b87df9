//! A config that is edited while an engine runs by it.

mod support;

use support::place::{Place, said, wait_for};

const ATTEMPT: &str = "echo \"$2\" >> started; while [ ! -e \"go-$2\" ]; do sleep 0.01; done; echo hello > \"$1\"";

/// By these weights old letters go before the night's digits.
fn config(weighting: &str, rest: &str) -> String {
    let dataset = |name: &str, dimension: &str, priority: &str| {
        format!(
            "  {name}:\n    key: {name}/{{{dimension}}}.txt\n    for: {dimension}\n    priority: {priority}\n    \
             collector:\n      command: [sh, -c, '{ATTEMPT}', sh, \"{{out}}\", \"{{{dimension}}}\"]\n"
        )
    };
    format!(
        "version: 1\nname: edited\nlake: ./lake\ndimensions:\n  letter: [a, b, c]\n  digit: [1, 2, 3]\ndatasets:\n{}{}\
         engine: {{ max_concurrent: 1{rest} }}\npriority_weighting: {weighting}\n",
        dataset("letters", "letter", "low"),
        dataset("digits", "digit", "critical"),
    )
}

const LOW_FIRST: &str = "{ base_scores: { low: 5000 } }";
const STRICT: &str = "{ base_scores: { low: 5000 }, enabled: false }";

fn started(place: &Place) -> Vec<String> {
    if place.has("started") { place.read("started").lines().map(String::from).collect() } else { Vec::new() }
}

#[test]
fn a_config_that_is_edited_while_it_runs_changes_the_order_at_once() {
    let place = Place::new(&config(LOW_FIRST, ""));
    // What the engine says is asked by a config that stays as it is.
    place.write("asking.yaml", &config(LOW_FIRST, ""));
    let looks = || place.adce(&["-c", "asking.yaml", "status", "--format", "json"]).json()["look"].to_string();
    let engine = place.start(&["run"]);
    wait_for("the first attempt", || started(&place) == ["a"]);

    place.write("adce.yaml", &config(STRICT, ", reconcile_every: 1h"));
    let log = || place.adce(&["-c", "asking.yaml", "logs"]).out;
    wait_for("the edition", || log().contains("in force now: `engine.reconcile_every`, `priority_weighting.enabled`"));
    assert_eq!(looks(), "[]", "there is nothing left to be looked at");
    place.write("go-a", "");
    wait_for("the second attempt", || started(&place).len() == 2);

    // What has a mistake in it changes nothing, whatever else it says.
    place.write("adce.yaml", &config(LOW_FIRST, ", max_concurent: 2"));
    wait_for("the mistake", || looks().contains("nothing of it is in force: 1 error"));
    place.write("go-1", "");
    wait_for("the third attempt", || started(&place).len() == 3);

    place.write("adce.yaml", &config(LOW_FIRST, ""));
    wait_for("the config to be what runs", || looks() == "[]");
    place.write("go-2", "");
    wait_for("the fourth attempt", || started(&place).len() == 4);
    ["b", "c", "3"].iter().for_each(|name| place.write(&format!("go-{name}"), ""));
    let said = said(engine.wait_with_output().expect("it ends"));
    said.ends_with(0);
    said.says("config edited, and nothing of it is in force: 1 error\nerror: ")
        .says("config edited; in force now: `engine.reconcile_every`, `priority_weighting.enabled`\n");
    assert_eq!(said.err.matches("in force now").count(), 2, "{}", said.err);
    assert_eq!(said.err.matches("config edited").count(), 3, "each edition is told of once: {}", said.err);
    assert_eq!(started(&place), ["a", "1", "2", "b", "c", "3"]);
}
