//! `adce tasks show`: what happened to a task, from its gaps to their end, as one story.

mod support;

use support::place::{Place, engine_of, signal, wait_for};

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
    place.adce(&["tasks", "show", &tasks[1]]).ends_with(0).says(" s for the limit per_second: 1 of `api`");
}

/// One request at a time. The first two find the source down, which opens its breaker; `b` fails once more by itself.
const ROUGH: &str = r#"
version: 1
name: prod
lake: ./lake
sources: { api: { hosts: [api.example], limits: { per_second: 1 }, breaker: { failures: 2, cooldown: 2s } } }
dimensions: { n: [a, b, c] }
datasets: { files: { source: api, key: "{n}.txt", for: n, collector: rough } }
collectors:
  rough:
    command: [sh, rough.sh, "{n}"]
    retry: { attempts: 3, backoff: 1s..2s }
engine: { max_concurrent: 1 }
"#;

const ROUGH_SCRIPT: &str = r#"
[ -e down1 ] || { touch down1; exit 69; }
[ -e down2 ] || { touch down2; exit 69; }
[ $1 != b ] || [ -e b.failed ] || { touch b.failed; echo "no luck"; exit 1; }
echo $1 > "$ADCE_OUT/$1.txt"
"#;

#[test]
fn each_wait_of_an_attempt_is_told_with_its_reason_and_its_time() {
    let place = Place::new(ROUGH);
    place.write("rough.sh", ROUGH_SCRIPT);
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    let task = |key: &str| {
        let task = plan["tasks"].as_array().unwrap().iter().find(|task| task["items"][0]["key"] == key);
        task.unwrap_or_else(|| panic!("{key}: {plan}"))["id"].as_str().unwrap().to_owned()
    };
    place.adce(&["run"]).ends_with(0);
    let shown = |key: &str| place.adce(&["tasks", "show", &task(key), "--format", "json"]).ends_with(0).json();
    let last = |key: &str| shown(key)["attempts"].as_array().unwrap().last().unwrap()["story"].clone();
    let wait = |story: &serde_json::Value, kind: &str| {
        let found = story["waits"].as_array().unwrap().iter().find(|wait| wait["kind"] == kind).cloned();
        found.unwrap_or_else(|| panic!("no `{kind}`: {story}"))
    };
    // `c` met nothing itself: it stood in line behind the others all the while.
    let patient = last("c.txt");
    let (limit, breaker) = (wait(&patient, "limit"), wait(&patient, "breaker"));
    assert_eq!(limit["reason"], "the limit per_second: 1 of `api`", "{patient}");
    assert!(limit["seconds"].as_f64().unwrap() > 0.5, "{patient}");
    assert!(breaker["reason"].as_str().unwrap().starts_with("the breaker of `api`, open since "), "{patient}");
    assert!((1.5..4.0).contains(&breaker["seconds"].as_f64().unwrap()), "a cooldown of two seconds: {patient}");
    assert!(patient["better"].as_u64().unwrap() >= 2, "{patient}");
    // `b` failed last by itself, and waited for its retry.
    let retry = wait(&last("b.txt"), "retry");
    assert!((0.9..3.1).contains(&retry["seconds"].as_f64().unwrap()), "{retry}");
    let text = place.adce(&["tasks", "show", &task("c.txt")]);
    text.ends_with(0).says(" s for the limit per_second: 1 of `api`").says(" s for the breaker of `api`, open since ");
    text.says("waited its turn: ");
    place.adce(&["tasks", "show", &task("b.txt")]).ends_with(0).says(" s for a retry");
}

#[test]
fn an_attempt_whose_engine_was_killed_was_cut_short_and_a_task_in_line_says_what_it_waits_for() {
    let place = Place::new(&ROUGH.replace("per_second: 1", "per_second: 900"));
    place.write("rough.sh", "[ -e again ] || { touch begun; sleep 60; }\necho $1 > \"$ADCE_OUT/$1.txt\"\n");
    let mut guardian = place.start(&["run"]);
    wait_for("the first attempt", || place.has("begun"));
    let tasks: Vec<serde_json::Value> =
        place.adce(&["tasks", "--format", "json"]).out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |state: &str| tasks.iter().find(|task| task["state"] == state).expect(state)["id"].as_str().unwrap().to_owned();
    let queued = place.adce(&["tasks", "show", &of("queued"), "--format", "json"]).ends_with(0).json();
    let waits = queued["waits"].as_array().unwrap();
    assert!(waits.len() == 1 && waits[0]["kind"] == "slots" && waits[0]["reason"] == "a free slot: 1 of 1 were taken", "{queued}");
    signal("-KILL", engine_of(&guardian));
    guardian.wait().expect("it ends with its engine");
    place.write("again", "");
    place.adce(&["run"]).ends_with(0);
    let shown = place.adce(&["tasks", "show", &of("running"), "--format", "json"]).ends_with(0).json();
    let cut: Vec<bool> = shown["attempts"].as_array().unwrap().iter().map(|attempt| attempt["cut_short"].as_bool().unwrap()).collect();
    assert_eq!(cut, [true, false], "{shown}");
    place.adce(&["tasks", "show", &of("running")]).ends_with(0).says("cut short: its engine was killed");
}
