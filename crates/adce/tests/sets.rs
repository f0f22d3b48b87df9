//! Items that are sets of objects, from `check` to `why`: the real binary over a folder and over a store.

#[path = "../../lake/tests/support/servers.rs"]
mod servers;
mod support;

use servers::Server;
use support::place::Place;

fn config(lake: &str, rules: &str) -> String {
    format!(
        "version: 1\nname: sets\nlake: {lake}\ndimensions: {{ customer: [a, b], day: [d1, d2] }}\ndatasets:\n  orders:\n    \
         key: crm/{{customer}}/dt={{day}}/part-*.csv\n    done: _SUCCESS\n    for: [customer, day]\n    absent: {{ known: holes.csv }}\n{rules}    \
         collector:\n      command: [python3, writer.py]\n      batch: {{ size: 4, group_by: [customer] }}\n      retry: {{ attempts: 1 }}\n"
    )
}

/// Some parts for each set, and nothing for one of which upstream has nothing.
const WRITER: &str = r#"import json, os
for line in open(os.environ['ADCE_ITEMS']):
    item = json.loads(line)
    if item['values']['customer'] == 'b' and item['values']['day'] == 'd2':
        print(json.dumps({'adce': 1, 'key': item['key'], 'outcome': 'empty'}))
        continue
    for number in range(int(open('parts').read())):
        name = f"part-{open('name').read()}-{number}.csv"
        open(os.path.join(item['out'], name), 'w').write('id,amount\n')
"#;

fn place(lake: &str, rules: &str) -> Place {
    let place = Place::new(&config(lake, rules));
    place.write("writer.py", WRITER);
    place.write("parts", "2");
    place.write("name", "one");
    place.write("holes.csv", "key,reason,date,by\n");
    place
}

#[test]
fn sets_of_a_folder_are_collected_and_told_of_as_items() {
    let place = place("./lake", "");
    std::fs::create_dir_all(place.path("lake")).expect("a lake");
    place.adce(&["check"]).ends_with(0);
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!(
        (&plan["coverage"]["missing"], &plan["tasks"][0]["items"][0]["key"]),
        (&4.into(), &"crm/a/dt=d1/part-*.csv".into()),
        "{plan}"
    );
    let run = place.adce(&["run", "--yes", "--format", "json"]).ends_with(0).json();
    assert_eq!(run["filled"], 4);
    for there in ["crm/a/dt=d1/part-one-0.csv", "crm/a/dt=d1/part-one-1.csv", "crm/a/dt=d1/_SUCCESS", "crm/b/dt=d2/_SUCCESS"] {
        assert!(place.has(&format!("lake/{there}")), "{there}");
    }
    assert!(!place.has("lake/crm/b/dt=d2/part-one-0.csv"), "its marker alone");
    place.adce(&["gaps"]).ends_with(0);
    place.adce(&["coverage"]).ends_with(0);

    // Another state finds what is there, and what is none of it.
    std::fs::remove_dir_all(place.path(".adce")).expect("the state goes");
    place.write("lake/crm/a/dt=d1/notes.txt", "by hand");
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(0).json();
    assert_eq!((&plan["coverage"]["present"], &plan["coverage"]["unexpected"]), (&4.into(), &1.into()), "{plan}");
    let check = place.adce(&["check", "--lake", "--format", "json"]);
    let lake: serde_json::Value = serde_json::from_str(&check.ends_with(0).out).expect("one JSON object");
    let found = &lake["lake"]["datasets"]["orders"];
    assert_eq!((&found["items"], &found["matched"], &found["unexpected"]), (&4.into(), &4.into(), &1.into()), "{lake}");

    for key in ["crm/a/dt=d1/part-*.csv", "crm/a/dt=d1/part-one-0.csv", "crm/a/dt=d1/_SUCCESS"] {
        place.adce(&["why", key]).ends_with(0).says("crm/a/dt=d1/part-*.csv").says("customer=a, day=d1");
    }
    place.adce(&["why", "crm/a/dt=d1/notes.txt"]).ends_with(0).says("no dataset");
    std::fs::remove_file(place.path("lake/crm/a/dt=d1/_SUCCESS")).expect("its marker goes");
    let gaps = place.adce(&["gaps", "--format", "json"]);
    assert!(gaps.ends_with(0).out.contains("\"key\":\"crm/a/dt=d1/part-*.csv\""), "{}", gaps.out);
    place.adce(&["why", "crm/a/dt=d1/part-one-0.csv"]).ends_with(0).says("missing");
    place.write("name", "two");
    place.adce(&["run"]).ends_with(0);
    assert!(place.has("lake/crm/a/dt=d1/part-two-0.csv") && !place.has("lake/crm/a/dt=d1/part-one-0.csv"), "parts of one collection");
    assert!(place.has("lake/crm/a/dt=d2/part-one-0.csv") && place.has("lake/crm/a/dt=d1/notes.txt"), "and of nobody else");
}

#[test]
fn a_person_names_a_set_by_its_key() {
    let place = place("./lake", "");
    std::fs::create_dir_all(place.path("lake")).expect("a lake");
    let mark = ["mark-absent", "crm/b/dt=d1/part-0.csv", "--reason", "never sent"];
    place.adce(&mark).ends_with(64).says("belongs to the set `crm/b/dt=d1/part-*.csv`");
    let mark = ["mark-absent", "crm/b/dt=d1/part-*.csv", "--reason", "never sent"];
    place.adce(&mark).ends_with(0);
    place.write("parts", "x");
    place.adce(&["run", "--yes", "--max-wait", "0"]).ends_with(2);
    place.write("parts", "1");
    place.adce(&["retry", "crm/a/dt=d1/part-*.csv"]).ends_with(0);
    let run = place.adce(&["run", "--max-wait", "0", "--format", "json"]);
    assert!(run.json()["filled"].as_u64() >= Some(1), "{}", run.out);
    assert!(place.has("lake/crm/a/dt=d1/_SUCCESS"));
    place.adce(&["try", "orders customer=a day=d2"]).ends_with(0);
    assert!(place.has("adce-try/crm/a/dt=d2/part-one-0.csv"));
}

#[test]
fn sets_of_a_store_are_collected_and_replaced() {
    let Some(server) = Server::s3s() else { return };
    server.make_bucket("sets");
    let first = place("s3://sets/some/prefix", "");
    let env = server.environment();
    first.adce_with(&env, &["run", "--yes"]).ends_with(0);
    // So much has no set yet.
    let second = place("s3://sets/some/prefix", "    min_size: 25B\n");
    second.write("parts", "3");
    second.write("name", "two");
    second.write("holes.csv", "key,reason,date,by\ncrm/b/dt=d2/part-*.csv,has nothing,,\n");
    let plan = second.adce_with(&env, &["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!(plan["coverage"]["undersized"], 4, "{plan}");
    second.adce_with(&env, &["run", "--yes", "--max-wait", "0"]);
    let watched = "version: 1\nname: parts\nlake: s3://sets/some/prefix\ndimensions: { customer: [a, b], day: [d1, d2] }\ndatasets:\n  \
                   one: { key: \"crm/{customer}/dt={day}/part-one-*\", for: [customer, day] }\n  \
                   two: { key: \"crm/{customer}/dt={day}/part-two-*\", done: _SUCCESS, for: [customer, day] }\n";
    let plan = Place::new(watched).adce_with(&env, &["plan", "--format", "json"]).ends_with(2).json();
    let present = |dataset: &str| plan["datasets"][dataset]["present"].clone();
    assert_eq!((present("one"), present("two")), (0.into(), 4.into()), "{plan}");
    assert_eq!(plan["coverage"]["unexpected"], 0, "{plan}");
}

#[test]
fn a_table_made_of_sets_has_the_rows_of_all_their_parts() {
    let place = Place::new(
        "version: 1\nname: rows\nlake: ./lake\ndimensions:\n  day: [d1, d2]\n  game:\n    table: { dataset: schedule, rows: \"$.events[*]\", columns: { \
         game_id: \"$.id\", day: day } }\n    id: game_id\ndatasets:\n  schedule: { key: \"schedule/{day}/part-*.json\", done: ok, for: day }\n  box: { \
         key: \"box/{game.day}/{game_id}.txt\", for: game }\n",
    );
    let expected = || {
        let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
        (plan["datasets"]["box"]["expected"].clone(), plan["datasets"]["box"]["lower_bound"].clone())
    };
    place.write("lake/schedule/d1/part-0.json", "{\"events\": [{\"id\": \"a\"}, {\"id\": \"b\"}]}");
    place.write("lake/schedule/d1/part-1.json", "{\"events\": [{\"id\": \"c\"}]}");
    assert_eq!(expected(), (0.into(), true.into()), "without its marker nothing is there");
    place.write("lake/schedule/d1/ok", "");
    assert_eq!(expected(), (3.into(), true.into()));
    place.write("lake/schedule/d2/ok", "");
    assert_eq!(expected(), (3.into(), false.into()), "a day without games is known, too");
    std::fs::remove_file(place.path("lake/schedule/d1/part-1.json")).expect("a part goes");
    assert_eq!(expected().0, 2);
}
