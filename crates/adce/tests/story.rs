//! `adce tasks show`: what happened to a task, from its gaps to their end, as one story.

mod support;

use support::place::Place;

/// Three items in a task: one that lands, one that fails until `works` is there, one that upstream does not have.
const CONFIG: &str = r#"
version: 1
name: prod
lake: ./lake
sources: { api: { hosts: [api.example], limits: { per_second: 900 } } }
dimensions: { n: [1, 2, 3] }
datasets: { files: { source: api, key: "{n}.txt", for: n, absent: { after: 0s }, collector: mixed } }
collectors:
  mixed:
    command: [sh, mixed.sh]
    batch: { size: 3 }
    retry: { attempts: 1, revive: 1h..24h }
"#;

const SCRIPT: &str = r#"
while read -r line; do
  key=$(echo "$line" | sed 's/.*"key":"\([^"]*\)".*/\1/')
  case $key in
    1.txt) echo one > "$ADCE_OUT/1.txt" ;;
    2.txt) if [ -e works ]; then echo two > "$ADCE_OUT/2.txt"; else echo "no luck with $key"; fi ;;
    3.txt) echo '{"adce":1,"key":"3.txt","outcome":"absent"}' ;;
  esac
done < "$ADCE_ITEMS"
"#;

/// Times and ids replaced: what is left is the same each time.
fn plain(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| {
            let bare = word.trim_end_matches([':', ',', ';']);
            let rest = &word[bare.len()..];
            let digits = bare.chars().filter(char::is_ascii_digit).count();
            let is_time = bare.len() >= 8 && digits >= 6 && bare.chars().all(|letter| letter.is_ascii_digit() || "-:.TZ".contains(letter));
            let is_id = bare.len() >= 28 && bare.chars().all(|letter| letter.is_ascii_hexdigit() || "-t_".contains(letter));
            match (is_time, is_id) {
                (true, _) => format!("TIME{rest}"),
                (_, true) => format!("ID{rest}"),
                _ => word.to_owned(),
            }
        });
        let line = words.collect::<Vec<_>>().join(" ");
        let line = match (line.find("after 0."), line.find("log: ")) {
            (Some(at), _) => format!("{}after MOMENTS{}", &line[..at], &line[at + "after 0.0".len()..]),
            (_, Some(at)) => format!("{}log: PATH", &line[..at]),
            _ => line,
        };
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

#[test]
fn a_task_tells_why_it_was_made_what_each_attempt_came_to_and_who_intervened() {
    let place = Place::new(CONFIG);
    place.write("mixed.sh", SCRIPT);
    place.adce(&["run", "--max-wait", "0"]).ends_with(2);
    let task = place.adce(&["gaps", "--format", "json"]).json()["task"].as_str().expect("a task").to_owned();
    place.adce(&["retry", &task]).ends_with(0);
    place.write("works", "");
    place.adce(&["run", "--max-wait", "0"]).ends_with(0);
    let shown = place.adce(&["tasks", "show", &task]);
    assert_eq!(
        plain(&shown.ends_with(0).out),
        "the task is done; this is its story\n\
         TIME TIME  seen first: 3 missing\n\
         TIME TIME  attempt ID: exit 0 after MOMENTS s, 3 requests\n    \
             score 13.0, rank 1 of 1 ready task\n    \
             done\n    \
             failed: exit 0, but it wrote nothing: neither `$ADCE_OUT/<key>` nor the lake has the object\n    \
             absent upstream\n    \
             2.txt: exhausted, revived TIME TIME\n    \
             │ TIME out no luck with 2.txt\n    \
             log: PATH\n\
         TIME TIME  1.txt: gap closed: filled\n\
         TIME TIME  3.txt: gap closed: absent\n\
         TIME TIME  2.txt: tried at once by hand: 1 item, 1 of them from exhaustion\n\
         TIME TIME  attempt ID: exit 0 after MOMENTS s, 1 request\n    \
             score 13.0, rank 1 of 1 ready task\n    \
             done\n\
         TIME TIME  2.txt: gap closed: filled\n"
    );
    let json = place.adce(&["tasks", "show", &task, "--format", "json"]).ends_with(0).json();
    let story = &json["attempts"][0]["story"];
    assert_eq!((&story["rank"], &story["ready"], &story["items"][1]["state"]), (&1.into(), &1.into(), &"exhausted".into()), "{story}");
    assert_eq!((&story["items"][0]["reason"], &story["items"][0]["state"]), (&"missing".into(), &serde_json::Value::Null), "{story}");
}

#[test]
fn an_attempt_tells_what_held_it_back() {
    let place =
        Place::new(&CONFIG.replace("[1, 2, 3]", "[1, 1b]").replace("size: 3", "size: 1").replace("per_second: 900", "per_second: 1"));
    place.write("mixed.sh", "while read -r line; do key=$(echo \"$line\" | sed 's/.*\"key\":\"\\([^\"]*\\)\".*/\\1/'); echo x > \"$ADCE_OUT/$key\"; done < \"$ADCE_ITEMS\"");
    let tasks: Vec<String> = {
        let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
        plan["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect()
    };
    place.adce(&["run"]).ends_with(0);
    let [first, second] =
        [0, 1].map(|at| place.adce(&["tasks", "show", &tasks[at], "--format", "json"]).ends_with(0).json()["attempts"][0]["story"].clone());
    assert_eq!((&first["waited"], &first["ready"]), (&serde_json::Value::Null, &2.into()), "{first}");
    assert_eq!(second["waited"]["reason"], "the limit per_second: 1 of `api`", "{second}");
    let seconds = second["waited"]["seconds"].as_f64().unwrap();
    assert!((0.5..10.0).contains(&seconds), "{second}");
    place.adce(&["tasks", "show", &tasks[1]]).ends_with(0).says("at last by the limit per_second: 1 of `api`");
}
