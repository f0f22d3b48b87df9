//! The whole job on S3-compatible servers over a socket: `check`, `plan`, `run` and `gaps` of the real binary, more than
//! one page of a listing, conditional publishing, and keys as odd as people make them.

#[path = "../../lake/tests/support/servers.rs"]
mod servers;
mod support;

use servers::Server;
use support::place::Place;

/// More than one page of 1,000 objects.
const NUMBERS: u32 = 1_150;
const ODD: [&str; 8] = ["a+b", "a b", "~tilde", "#hash", "50%", "[x]", "grün", "日本"];

fn config(odd_key: &str) -> String {
    let odd: Vec<String> = ODD.iter().map(|value| format!("{value:?}")).collect();
    format!(
        "version: 1\nname: s3\nlake: s3://adce-run/some/prefix\ndimensions:\n  number: {{ table: numbers.csv, id: number }}\n  odd: [{}]\n\
         datasets:\n  numbers:\n    key: numbers/{{number}}.txt\n    for: number\n    min_size: 4B\n    collector: writer\n  \
         odd:\n    key: {odd_key}\n    for: odd\n    collector: writer\ncollectors:\n  writer:\n    command: [python3, writer.py]\n    \
         batch: {{ size: 200 }}\n    retry: {{ attempts: 1 }}\n",
        odd.join(", ")
    )
}

const WRITER: &str = "import json, os\nfor line in open(os.environ['ADCE_ITEMS'], encoding='utf-8'):\n    item = json.loads(line)\n    \
    open(item['out'], 'w', encoding='utf-8').write(item['key'] + '\\n')\n";

fn complete_a_lake_on(server: &Server, odd_key: &str) {
    server.make_bucket("adce-run");
    let place = Place::new(&config(odd_key));
    let rows: String = (0..NUMBERS).map(|number| format!("{number:05}\n")).collect();
    place.write("numbers.csv", &format!("number\n{rows}"));
    place.write("writer.py", WRITER);
    let env = server.environment();
    let adce = |args: &[&str]| place.adce_with(&env, args);

    let plan = adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!(plan["coverage"]["missing"], NUMBERS + ODD.len() as u32);
    let run = adce(&["run", "--yes", "--format", "json"]).ends_with(0).json();
    assert_eq!(run["filled"], NUMBERS + ODD.len() as u32);
    // Another state knows nothing: what it finds, it finds by listing all pages.
    std::fs::remove_dir_all(place.path(".adce")).expect("the state goes");
    let plan = adce(&["plan", "--format", "json"]).ends_with(0).json();
    assert_eq!(plan["coverage"]["present"], NUMBERS + ODD.len() as u32);
    assert_eq!(plan["coverage"]["unexpected"], 0, "every odd key is read as it was written: {plan}");
    adce(&["gaps"]).ends_with(0);
}

#[test]
fn a_lake_on_s3s_is_completed() {
    let Some(server) = Server::s3s() else { return };
    complete_a_lake_on(&server, "odd/{odd}.txt");
}

#[test]
fn a_lake_on_moto_is_completed_with_doubled_slashes_in_its_keys() {
    let Some(server) = Server::moto() else { return };
    complete_a_lake_on(&server, "odd//{odd}.txt");
}

#[test]
fn a_bucket_that_does_not_exist_is_unreachable_and_not_empty() {
    let Some(server) = Server::moto() else { return };
    let place = Place::new(&config("odd/{odd}.txt").replace("adce-run", "adce-nowhere"));
    place.write("numbers.csv", "number\n1\n");
    place.write("writer.py", WRITER);
    place.adce_with(&server.environment(), &["plan"]).ends_with(69).says("adce-nowhere");
}
