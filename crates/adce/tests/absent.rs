//! What a person knows to be absent: a list beside the config.

mod support;

use support::place::Place;

/// Each attempt leaves a line in `asked`.
const CONFIG: &str = r#"
version: 1
name: prod
lake: ./lake
dimensions: { n: [1, 2, 3] }
datasets:
  files:
    key: "{n}.txt"
    for: n
    absent: { known: lists/holes.csv }
    collector: { command: [sh, -c, "echo {n} >> asked; echo {n} > {out}"], batch: { size: 1 } }
  others: { key: "other/{n}.txt", for: n, where: n == 1 }
"#;

fn place() -> Place {
    let place = Place::new(CONFIG);
    place.write("lists/README", "");
    place.write("lake/other/1.txt", "there");
    place
}

fn asked(place: &Place) -> Vec<String> {
    let text = if place.has("asked") { place.read("asked") } else { String::new() };
    let mut asked: Vec<String> = text.lines().map(String::from).collect();
    asked.sort();
    asked
}

#[test]
fn what_is_marked_absent_is_never_asked_for_until_its_line_is_taken_out() {
    let place = place();
    place.adce(&["check"]).ends_with(0).says("there is no `lists/holes.csv` yet");
    let said = place.adce(&["mark-absent", "2.txt", "--reason", "lost, says the archive", "--by", "ann"]);
    assert_eq!(
        said.ends_with(0).out,
        "2.txt is absent from the next look on: lost, says the archive\n\
         a line was added to lists/holes.csv; commit it, or take it out to have the object collected again\n"
    );
    let list = place.read("lists/holes.csv");
    let date = list.split(',').rev().nth(1).unwrap_or_default().to_owned();
    assert_eq!(list, format!("key,reason,date,by\n2.txt,\"lost, says the archive\",{date},ann\n"));
    assert!(date.len() == 10 && date.starts_with("20"), "{date}");
    place.adce(&["check"]).ends_with(0);
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!((&plan["coverage"]["absent"], &plan["coverage"]["missing"]), (&1.into(), &2.into()));
    place.adce(&["run"]).ends_with(0).says("1 absent");
    assert_eq!(asked(&place), ["1", "3"]);
    let why = place.adce(&["why", "2.txt"]);
    let expected =
        format!("`2.txt` is expected and no gap: lists/holes.csv:2 says that it is absent: lost, says the archive ({date}, ann)\n");
    assert!(why.ends_with(0).out.starts_with(&expected), "{}", why.out);
    place.write("lists/holes.csv", "key,reason,date,by\n");
    place.adce(&["run"]).ends_with(0);
    assert_eq!(asked(&place), ["1", "2", "3"]);
}

#[test]
fn a_list_of_what_is_absent_may_be_json_lines_and_a_packed_one_is_read_and_not_written() {
    let place = place();
    let config = place.read("adce.yaml");
    place.write("adce.yaml", &config.replace("lists/holes.csv", "lists/holes.jsonl"));
    place.adce(&["mark-absent", "2.txt", "--reason", "lost", "--by", "ann"]).ends_with(0);
    assert!(place.read("lists/holes.jsonl").starts_with("{\"key\":\"2.txt\",\"reason\":\"lost\",\"date\":\"20"));
    place.adce(&["mark-absent", "3.txt", "--reason", "lost as well"]).ends_with(0);
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!((&plan["coverage"]["absent"], &plan["coverage"]["missing"]), (&2.into(), &1.into()), "{plan}");
    place.adce(&["why", "3.txt"]).says("lists/holes.jsonl:2 says that it is absent: lost as well");
    let packed = std::process::Command::new("gzip").arg("-k").arg(place.path("lists/holes.jsonl")).status();
    assert!(packed.expect("gzip").success());
    place.write("adce.yaml", &config.replace("lists/holes.csv", "lists/holes.jsonl.gz"));
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!((&plan["coverage"]["absent"], &plan["coverage"]["missing"]), (&2.into(), &1.into()), "{plan}");
    place.adce(&["mark-absent", "1.txt", "--reason", "gone"]).ends_with(64).says("no line can be added to `lists/holes.jsonl.gz`");
}

#[test]
fn an_open_gap_is_closed_when_its_object_is_marked_and_an_object_outranks_the_list() {
    let place = place();
    place.write("adce.yaml", &CONFIG.replace("echo {n} > {out}", "exit 1"));
    place.adce(&["run", "--max-wait", "0"]).ends_with(2);
    assert_eq!(place.adce(&["gaps", "--format", "json"]).out.lines().count(), 3);
    for key in ["1.txt", "3.txt"] {
        place.adce(&["mark-absent", key, "--reason", "gone"]).ends_with(0);
    }
    place.write("lake/3.txt", "there after all");
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    let coverage = &plan["coverage"];
    assert_eq!((&coverage["absent"], &coverage["missing"], &coverage["present"]), (&1.into(), &1.into(), &2.into()), "{coverage}");
    place.adce(&["run", "--max-wait", "0"]).ends_with(2);
    assert_eq!(place.adce(&["gaps", "--format", "json"]).json()["key"], "2.txt");
}

#[test]
fn what_cannot_be_marked_is_refused_and_what_is_marked_is_not_marked_twice() {
    let place = place();
    place.adce(&["mark-absent", "2.txt"]).ends_with(64).says("--reason");
    place.adce(&["mark-absent", "2.txt", "--reason", " "]).ends_with(64).says("one line of text");
    place.adce(&["mark-absent", "9.txt", "--reason", "gone"]).ends_with(64).says("no dataset expects `9.txt`");
    place
        .adce(&["mark-absent", "other/1.txt", "--reason", "gone"])
        .ends_with(64)
        .says("dataset `others` has no list")
        .says("absent: { known");
    assert!(!place.has("lists/holes.csv"));
    // An editor left out the last line break, and somebody's own column stays in its place.
    place.write("lists/holes.csv", "reason,key,ticket\ngone,1.txt,77");
    place.adce(&["mark-absent", "2.txt", "--reason", "gone as well"]).ends_with(0);
    assert_eq!(place.read("lists/holes.csv"), "reason,key,ticket\ngone,1.txt,77\ngone as well,2.txt,\n");
    let again = place.adce(&["mark-absent", "1.txt", "--reason", "other", "--format", "json"]).ends_with(0).json();
    assert_eq!((&again["already"], &again["reason"], &again["dataset"]), (&true.into(), &"gone".into(), &"files".into()));
    assert_eq!(place.read("lists/holes.csv").lines().count(), 3);
    place.write("lists/holes.csv", "reason,key\ngone,1.txt\ngone\n");
    for command in [["check"].as_slice(), &["run"], &["plan"], &["mark-absent", "2.txt", "--reason", "gone"]] {
        place.adce(command).ends_with(78).says("lists/holes.csv:3").says("this line has 1 fields, and the first one has 2");
    }
}

#[test]
fn of_many_who_begin_a_list_at_once_each_leaves_a_line_and_one_the_header() {
    let place = Place::new(&CONFIG.replace("n: [1, 2, 3]", "n: [1, 2, 3, 4, 5, 6, 7, 8]").replace("lists/holes.csv", "holes.csv"));
    let marking: Vec<_> = (1..=8).map(|number| place.start(&["mark-absent", &format!("{number}.txt"), "--reason", "never was"])).collect();
    marking.into_iter().for_each(|mut one| assert!(one.wait().expect("it ends").success()));
    let list = place.read("holes.csv");
    let mut lines: Vec<&str> = list.lines().collect();
    assert_eq!((lines.len(), lines.remove(0)), (9, "key,reason,date,by"), "{list}");
    lines.sort();
    assert!(lines.iter().zip(1..).all(|(line, number)| line.starts_with(&format!("{number}.txt,never was,"))), "{list}");
    place.adce(&["check"]).ends_with(0);
}
