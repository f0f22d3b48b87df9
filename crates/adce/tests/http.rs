//! What `adce up` shows to browsers and programs, and takes from them: the real binary over real sockets.

mod support;

use std::io::{BufRead, Read};
use std::process::Child;

use serde_json::{Value, json};
use support::place::{Place, said, signal, wait_for};
use support::tools;
use support::web::{Web, head};

/// Three objects that are collected, three that fail at once and are then exhausted, and a dataset that is only watched.
const CONFIG: &str = "version: 1
name: watched
lake: ./lake
server: { listen: \"127.0.0.1:0\", hosts: [adce.example.org] }
sources:
  here: { hosts: [localhost], importance: 1.5, limits: { per_minute: 60 } }
dimensions:
  number: [1, 2, 3]
collectors:
  good: { command: [sh, -c, 'echo said by good; echo hello > \"$1\"', sh, \"{out}\"] }
  bad: { command: [sh, -c, 'echo no >&2; exit 1'], retry: { attempts: 1, revive: 5h..24h } }
datasets:
  box: { key: \"box/{number}.txt\", for: number, collector: good, source: here }
  broken: { key: \"broken/{number}.txt\", for: number, collector: bad, priority: high }
  other: { key: \"other/{number}.txt\", for: number }
engine: { reconcile_every: 5h }
";

struct Up {
    place: Place,
    engine: Option<Child>,
    web: Web,
}

impl Up {
    fn with(config: &str) -> Up {
        let place = Place::new(config);
        let engine = Some(place.start(&["up", "--yes"]));
        let web = Web::of(&place);
        Up { place, engine, web }
    }

    /// With everything collected that can be.
    fn settled() -> Up {
        let up = Up::with(CONFIG);
        wait_for("all is tried", || {
            let status = up.web.get("/v1/status").json();
            status["coverage"]["present"] == 3 && status["gaps"]["exhausted"] == 3 && status["gaps"]["running"] == 0
        });
        up
    }

    #[track_caller]
    fn token(&self, name: &str, role: &str) -> String {
        let said = self.place.adce(&["token", "create", name, "--role", role]);
        said.ends_with(0);
        said.out.trim().to_owned()
    }

    #[track_caller]
    fn acts_as(&self, role: &str) -> Web {
        self.web.token(&self.token(&format!("a-{role}"), role))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            signal("-INT", engine.id() as i32);
            said(engine.wait_with_output().expect("it ends"));
        }
    }
}

#[test]
fn what_is_read_over_http_is_what_the_commands_say() {
    let up = Up::settled();
    let (web, place) = (&up.web, &up.place);
    assert_eq!(web.get("/livez").is(200).json(), json!({ "status": "ok" }));
    assert_eq!(web.get("/healthz").is(200).json()["status"], "degraded");
    let (told, said) = (web.get("/v1/status").is(200).json(), place.adce(&["status", "--format", "json"]).json());
    for part in ["coverage", "datasets", "gaps", "slots", "look"] {
        assert_eq!(told[part], said[part], "{part}");
    }
    assert!(place.adce(&["status"]).out.contains(&format!("http://{}", web.address)), "the address is shown");

    let by_number = web.get("/v1/coverage?dataset=box&by=number").is(200).json();
    assert_eq!((&by_number["cells"].as_array().unwrap().len(), &by_number["coverage"]["present"]), (&3, &json!(3)));
    web.get("/v1/coverage?dataset=nothing").is_problem(400, "nothing");

    let all = web.get("/v1/gaps").is(200).json();
    assert_eq!((all["items"].as_array().unwrap().len(), &all["next"]), (6, &Value::Null));
    let (mut keys, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = web.get(&format!("/v1/gaps?limit=2{cursor}")).is(200).json();
        keys.extend(page["items"].as_array().unwrap().iter().map(|gap| gap["key"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(keys, ["broken/1.txt", "broken/2.txt", "broken/3.txt", "other/1.txt", "other/2.txt", "other/3.txt"]);
    assert_eq!(web.get("/v1/gaps?state=exhausted&dataset=broken&prefix=broken/2").json()["items"].as_array().unwrap().len(), 1);
    assert!(web.get("/v1/why?what=broken/1.txt").is(200).json()["answer"].as_str().unwrap().contains("used up"));

    let tasks = web.get("/v1/tasks?state=exhausted&limit=1").is(200).json();
    let (task, next) = (&tasks["items"][0], tasks["next"].as_str().unwrap());
    assert_eq!((&task["collector"], &task["priority"]), (&json!("bad"), &json!("high")));
    let second = web.get(&format!("/v1/tasks?state=exhausted&limit=1&cursor={next}")).json();
    assert_ne!(second["items"][0]["id"], task["id"]);
    let detail = web.get(&format!("/v1/tasks/{}", task["id"].as_str().unwrap())).is(200).json();
    assert_eq!((detail["attempts"].as_array().unwrap().len(), detail["gaps"].as_array().unwrap().len()), (1, 1));

    let attempts = web.get("/v1/attempts").is(200).json();
    assert_eq!(attempts["items"].as_array().unwrap().len(), 6);
    let good = web.get("/v1/attempts?collector=good").json()["items"][0].clone();
    let id = good["attempt"].as_str().unwrap();
    assert_eq!(web.get(&format!("/v1/attempts/{id}")).is(200).json(), good);
    assert!(web.get(&format!("/v1/attempts/{id}/log")).is(200).body.contains("said by good"));
    assert!(!web.get(&format!("/v1/attempts/{id}/log?tail=3")).is(200).body.contains("said"));

    let source = web.get("/v1/sources/here").is(200).json();
    assert_eq!((&source["now"]["windows"][0]["limit"], &source["paused"]), (&json!(60), &json!(false)));
    assert_eq!(web.get("/v1/limits").is(200).json()["sources"].as_object().unwrap().len(), 1);
    wait_for("the look is counted", || web.get("/v1/cycles").json()["cycles"].as_array().unwrap().len() == 1);
    assert_eq!(web.get("/v1/plan").is(200).json()["datasets"]["box"]["present"], 3);
    assert_eq!(web.get("/v1/trend").is(200).json()["datasets"]["box"].as_array().unwrap().len(), 1);
    let config = web.get("/v1/config").is(200).json();
    assert!(config["files"][0]["text"].as_str().unwrap().contains("name: watched"));
    assert_eq!(config["collectors"][0], json!({ "name": "good", "kind": "command", "sources": ["here"] }));
}

#[test]
fn what_watched_the_older_system_finds_its_paths_and_fields() {
    let up = Up::settled();
    let web = &up.web;
    let has = |path: &str, fields: &[&str]| {
        let told = web.get(path).is(200).json();
        fields.iter().for_each(|field| assert!(told.get(field).is_some(), "{path}: no `{field}` in {told}"));
        told
    };
    assert_eq!(has("/health", &["status", "timestamp"])["status"], "degraded");
    let status = has("/status", &["status", "uptime_seconds", "reconciliation_cycles", "components"]);
    for part in ["reconciliation_daemon", "orchestrator", "task_queue", "s3", "dims"] {
        assert!(status["components"][part]["status"].is_string() && status["components"][part]["message"].is_string(), "{part}: {status}");
    }
    assert_eq!(status["components"]["s3"]["objects"], 3);
    assert_eq!(has("/rate-limits", &["here"])["here"]["capacity"], 60);
    let tasks = has("/tasks", &["total_tasks", "by_priority", "by_source", "estimated_completion_minutes"]);
    assert_eq!((&tasks["total_tasks"], &tasks["by_priority"]["high"]), (&json!(3), &json!(3)));
    let id = web.get("/v1/tasks").json()["items"][0]["id"].as_str().unwrap().to_owned();
    let task =
        has(&format!("/tasks/{id}"), &["status", "progress", "files_collected", "files_total", "started_at", "completed_at", "errors"]);
    assert_eq!((&task["status"], &task["progress"]), (&json!("failed"), &json!(0)));
    let done = web.get("/v1/attempts?collector=good").json()["items"][0]["task"].as_str().unwrap().to_owned();
    let done = has(&format!("/tasks/{done}"), &["completed_at"]);
    assert_eq!((&done["status"], &done["progress"], &done["files_collected"]), (&json!("completed"), &json!(100), &json!(1)));
    web.get("/tasks/t_00000000000000000000000000").is_problem(404, "no task");
    has("/reconciliation/status", &["current_cycle", "last_cycle", "statistics"]);
    let scrapers = web.get("/scrapers").is(200).json();
    assert_eq!(
        (&scrapers[0]["name"], &scrapers[0]["success_rate"], &scrapers[1]["success_rate"]),
        (&json!("good"), &json!(1.0), &json!(0.0))
    );
    web.post("/reconciliation/trigger", "{\"force\":true,\"scope\":\"full\"}").is_problem(401, "token");
    let triggered = up.acts_as("operator").post("/reconciliation/trigger", "{\"force\":true,\"scope\":\"full\"}").is(202).json();
    assert!(triggered["reconciliation_id"].is_string() && triggered["status"] == "started", "{triggered}");
}

#[test]
fn nobody_acts_without_a_token_and_everybody_only_as_his_role_allows() {
    let up = Up::settled();
    let (viewer, operator, admin) = (up.acts_as("viewer"), up.acts_as("operator"), up.acts_as("admin"));
    let acts = [
        "/v1/retry",
        "/v1/cancel",
        "/v1/pause",
        "/v1/resume",
        "/v1/accept",
        "/v1/cycles",
        "/v1/sources/here/pause",
        "/v1/datasets/box/pause",
    ];
    for act in acts {
        up.web.post(act, "{}").is_problem(401, "token");
        viewer.post(act, "{}").is_problem(403, "viewer");
    }
    operator.post("/v1/accept", "{}").is_problem(403, "operator");
    operator.get("/v1/audit").is_problem(403, "admin");
    up.web.get("/v1/tokens").is_problem(401, "token");
    assert_eq!(admin.get("/v1/tokens").is(200).json()["tokens"].as_array().unwrap().len(), 3);
    let state = std::fs::read(up.place.path(".adce/state.db")).unwrap();
    let secret = up.token("more", "viewer");
    let with_log = [state, std::fs::read(up.place.path(".adce/state.db-wal")).unwrap_or_default()].concat();
    assert!(!with_log.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "no secret is in the state");
    viewer.get("/v1/status").is(200);
    up.place.adce(&["token", "revoke", "a-viewer"]).ends_with(0);
    viewer.get("/v1/status").is_problem(401, "revoked");
    up.place.adce(&["token", "list"]).ends_with(0).says("a-viewer").says("revoked");
    up.place.adce(&["token", "create", "more", "--role", "admin"]).ends_with(64).says("revoke more");
    up.place.adce(&["token", "create", "not a name", "--role", "admin"]).ends_with(64);
    up.place.adce(&["token", "revoke", "nobody"]).ends_with(64).says("nobody");
}

#[test]
fn a_token_can_be_made_before_there_is_an_engine_and_holds_when_there_is() {
    let place = Place::new(CONFIG);
    let made = place.adce(&["token", "create", "early", "--role", "operator", "--expires", "1h", "--format", "json"]);
    let token = made.ends_with(0).json()["token"].as_str().unwrap().to_owned();
    place.adce(&["token", "list"]).ends_with(0).says("early").says("until");
    let up = Up { engine: Some(place.start(&["up", "--yes"])), web: Web::of(&place), place };
    up.web.token(&token).post("/v1/pause", "{}").is(200);
}

#[test]
fn wrong_tokens_are_soon_not_even_looked_at() {
    let up = Up::with(CONFIG);
    let right = up.acts_as("viewer");
    let statuses: Vec<u16> = (0..12).map(|number| up.web.token(&format!("adce_{number}")).get("/v1/status").status).collect();
    assert_eq!(statuses[..10], [401; 10]);
    let refused = right.get("/v1/status");
    refused.is_problem(429, "wrong tokens");
    assert!(refused.header("retry-after").and_then(|wait| wait.parse::<u64>().ok()).is_some_and(|wait| (1..=6).contains(&wait)));
    up.web.get("/v1/status").is(200);
}

#[test]
fn a_page_of_somebody_else_reads_nothing_and_does_nothing() {
    let up = Up::with(CONFIG);
    // Its name was made to lead here.
    up.web.with("Host", "evil.example").get("/v1/status").is_problem(421, "evil.example");
    up.web.with("Host", "adce.example.org").get("/v1/status").is(200);
    up.web.with("Host", "localhost").get("/v1/status").is(200);
    let operator = up.acts_as("operator");
    operator.with("Origin", "https://evil.example").post("/v1/pause", "{}").is_problem(403, "another origin");
    operator.with("Sec-Fetch-Site", "cross-site").post("/v1/pause", "{}").is_problem(403, "another origin");
    operator.with("Origin", &format!("http://{}", up.web.address)).post("/v1/pause", "{}").is(200);
    let told = up.web.get("/v1/status");
    assert!(
        told.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'") && !policy.contains("unsafe"))
    );
    assert_eq!(told.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(told.header("access-control-allow-origin"), None);
}

#[test]
fn what_is_done_over_http_is_done_and_on_record() {
    let up = Up::settled();
    let (operator, admin) = (up.acts_as("operator"), up.acts_as("admin"));
    let retried = operator.post("/v1/retry", "{\"what\":\"broken/1.txt\",\"reason\":\"it was repaired\"}").is(200).json();
    assert_eq!((&retried["items"][0]["retried"], &retried["items"][0]["was"]), (&json!(true), &json!("exhausted")));
    operator.post("/v1/retry", "{\"what\":\"nothing/1.txt\"}").is_problem(404, "nothing/1.txt");
    let paused = operator.post("/v1/sources/here/pause", "{}").is(200).json();
    assert_eq!((&paused["changed"], &paused["paused"][0]["name"]), (&json!(true), &json!("here")));
    assert_eq!(up.web.get("/v1/sources/here").json()["paused"], true);
    operator.post("/v1/sources/nowhere/pause", "{}").is_problem(404, "nowhere");
    operator.post("/v1/datasets/box/pause", "{}").is(200);
    operator.post("/v1/resume", "{\"all\":true}").is(200);
    let task = up.web.get("/v1/tasks").json()["items"][0]["id"].as_str().unwrap().to_owned();
    let cancelled = operator.post(&format!("/v1/tasks/{task}/cancel"), "{\"for_seconds\":7200}").is(200).json();
    assert_eq!(cancelled["items"].as_array().unwrap().len(), 1);
    operator.post("/v1/cancel", "{\"what\":\"box\",\"for_seconds\":0}").is_problem(400, "for_seconds");
    up.place.adce(&["retry", "--all"]).ends_with(0);

    let audit = admin.get("/v1/audit").is(200).json();
    let told = audit["items"].as_array().unwrap().iter();
    let told: Vec<(&str, &str, &str)> =
        told.map(|line| (line["who"].as_str().unwrap(), line["action"].as_str().unwrap(), line["what"].as_str().unwrap())).collect();
    let expected = [
        ("shell", "retry", ""),
        ("a-operator", "cancel", &*task),
        ("a-operator", "resume", ""),
        ("a-operator", "pause", "dataset:box"),
        ("a-operator", "pause", "source:here"),
        ("a-operator", "retry", "broken/1.txt"),
        ("shell", "token create", "a-admin"),
        ("shell", "token create", "a-operator"),
    ];
    assert_eq!(told, expected);
    let retry = &audit["items"][5];
    assert_eq!(
        (&retry["reason"], &retry["before"][0]["state"], &retry["after"]["retried"]),
        (&json!("it was repaired"), &json!("exhausted"), &json!(1))
    );
    let resumed = &audit["items"][2];
    assert_eq!((resumed["before"].as_array().unwrap().len(), resumed["after"].as_array().unwrap().len()), (2, 0));
    let second = admin.get("/v1/audit?limit=3").json();
    let rest = admin.get(&format!("/v1/audit?cursor={}", second["next"].as_str().unwrap())).json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 5);
}

#[test]
fn what_was_done_once_is_not_done_again_for_the_same_key() {
    let up = Up::settled();
    let operator = up.acts_as("operator").with("Idempotency-Key", "first");
    let first = operator.post("/v1/pause", "{\"what\":\"box\"}");
    up.place.adce(&["resume", "box"]).ends_with(0);
    let again = operator.post("/v1/pause", "{\"what\":\"box\"}");
    assert_eq!((first.is(200).json(), again.header("idempotency-replayed")), (again.is(200).json(), Some("true")));
    assert_eq!(up.web.get("/v1/status").json()["paused"], json!([]), "the second one did nothing");
    operator.post("/v1/pause", "{\"what\":\"broken\"}").is_problem(422, "another request");
    // What was refused was not done.
    let refused = operator.with("Idempotency-Key", "second");
    refused.post("/v1/pause", "{\"what\":\"nothing\"}").is_problem(400, "nothing");
    assert_eq!(refused.post("/v1/pause", "{\"what\":\"nothing\"}").header("idempotency-replayed"), None);
}

#[test]
fn a_cycle_is_begun_and_not_twice_at_once() {
    let up = Up::with(CONFIG);
    for number in 0..5_000 {
        up.place.write(&format!("lake/elsewhere/{number}"), "x");
    }
    let operator = up.acts_as("operator");
    wait_for("a second one is refused while the first looks", || {
        operator.post("/v1/cycles", "{}");
        let second = operator.post("/v1/cycles", "{}");
        let refused = second.status == 409;
        if refused {
            second.is_problem(409, "under way");
        }
        refused
    });
    wait_for("one is begun", || operator.post("/v1/cycles", "").status == 202);
}

#[test]
fn what_is_not_understood_is_told_and_costs_little() {
    let up = Up::with(CONFIG);
    up.web.get("/v1/gaps?limit=0").is_problem(400, "limit");
    up.web.get("/v1/gaps?limit=x").is_problem(400, "query");
    up.web.get("/v1/gaps?nothing=1").is_problem(400, "nothing");
    up.web.get("/v1/gaps?cursor=zzz").is_problem(400, "cursor");
    up.web.get("/v1/tasks/7").is_problem(404, "task id");
    up.web.get("/v1/attempts/7").is_problem(404, "attempt id");
    up.web.get("/v1/nothing").is_problem(404, "nothing is here");
    let other = up.web.send("DELETE", "/v1/status", None);
    other.is_problem(405, "method");
    let operator = up.acts_as("operator");
    operator.post("/v1/pause", "{").is_problem(400, "body");
    operator.post("/v1/pause", "{\"whatever\":1}").is_problem(400, "whatever");
    operator.with("Content-Type", "text/plain").send("POST", "/v1/pause", Some("{}")).is_problem(415, "application/json");
    operator.post("/v1/pause", &format!("{{\"reason\":\"{}\"}}", "x".repeat(70_000))).is_problem(413, "65536");
    up.web.with("X-Long", &"x".repeat(300_000)).get("/v1/status").is(431);
    assert!(up.web.send("HEAD", "/v1/status", None).is(200).body.is_empty());
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let up = Up::with(CONFIG);
    let mut refused = None;
    for _ in 0..5_000 {
        let told = up.web.get("/livez");
        if told.status == 429 {
            refused = Some(told);
            break;
        }
    }
    // A machine that answers fewer than the rate allows refuses nobody.
    let Some(refused) = refused else { return };
    refused.is_problem(429, "too many requests");
    assert!(refused.header("retry-after").is_some());
}

/// The next event of a stream.
fn event(stream: &mut impl BufRead) -> Value {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(stream.read_line(&mut line).expect("a line") > 0, "the stream ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).expect("JSON");
        }
    }
}

#[test]
fn events_tell_what_moves_until_the_token_is_revoked() {
    let up = Up::settled();
    let viewer = up.acts_as("viewer");
    let mut stream = viewer.open("GET", "/v1/events", None);
    let (status, headers) = head(&mut stream);
    assert!(status == 200 && headers.iter().any(|(name, value)| name == "content-type" && value == "text/event-stream"), "{headers:?}");
    assert_eq!((&event(&mut stream)["present"], 3), (&json!(3), 3));
    up.place.write("lake/other/1.txt", "content");
    while event(&mut stream)["present"] != 4 {}
    up.place.adce(&["token", "revoke", "a-viewer"]).ends_with(0);
    up.place.write("lake/other/2.txt", "content");
    // It ends without another word.
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest);
    assert!(!rest.contains("\"present\":5"), "{rest}");
}

#[test]
fn whoever_may_not_look_without_a_token_is_told_so_and_machines_still_see_that_it_lives() {
    let up = Up::with(&CONFIG.replace("hosts: [adce.example.org]", "reads: token"));
    up.web.get("/livez").is(200);
    up.web.get("/health").is(200);
    for path in ["/v1/status", "/v1/gaps", "/v1/events", "/status", "/tasks", "/v1/config"] {
        up.web.get(path).is_problem(401, "token");
    }
    up.acts_as("viewer").get("/v1/status").is(200);
}

#[test]
fn with_a_certificate_it_speaks_tls_and_nothing_else() {
    let Some(curl) = tools::installed("curl") else { return };
    let place = Place::new(&CONFIG.replace("hosts: [adce.example.org]", "tls: { certificate: cert.pem, key: key.pem }"));
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    place.write("cert.pem", &certified.cert.pem());
    place.write("key.pem", &certified.signing_key.serialize_pem());
    let engine = place.start(&["up", "--yes"]);
    let mut url = String::new();
    wait_for("it tells its address", || {
        let said = place.adce(&["status", "--format", "json"]);
        let status: Value = serde_json::from_str(said.out.lines().last().unwrap_or_default()).unwrap_or_default();
        url = status["engine"]["address"].as_str().unwrap_or_default().to_owned();
        !url.is_empty()
    });
    let url = url.replace("127.0.0.1", "localhost");
    let get = |url: &str| {
        let mut curl = std::process::Command::new(&curl);
        curl.args(["-s", "--ipv4", "--cacert"]).arg(place.path("cert.pem")).arg(format!("{url}/livez"));
        String::from_utf8_lossy(&curl.output().expect("curl runs").stdout).into_owned()
    };
    assert_eq!((url.starts_with("https://localhost:"), get(&url)), (true, "{\"status\":\"ok\"}".to_owned()));
    assert_eq!(get(&url.replace("https", "http")), "");
    signal("-INT", engine.id() as i32);
    said(engine.wait_with_output().expect("it ends"));
}

#[test]
fn an_engine_without_a_server_has_no_address_and_one_whose_port_is_taken_says_so() {
    let place = Place::new(&CONFIG.replace("listen: \"127.0.0.1:0\"", "listen: \"off\""));
    let engine = place.start(&["up", "--yes"]);
    wait_for("it runs", || place.adce(&["status", "--format", "json"]).out.contains("\"engine\":{"));
    assert!(place.adce(&["status", "--format", "json"]).out.contains("\"address\":null"));
    signal("-INT", engine.id() as i32);
    said(engine.wait_with_output().expect("it ends"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let place = Place::new(&CONFIG.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")));
    place.adce(&["up", "--yes"]).ends_with(1).says(&port.to_string()).says("listen");
}

/// A day each; the collector waits for a file, and everything else for it.
const DAYS: &str = "version: 1
name: days
lake: ./lake
server: { listen: \"127.0.0.1:0\" }
sources: { here: { hosts: [localhost] } }
dimensions:
  day: { from: 2025-03-01, to: 2025-03-10, every: 1d, zone: UTC }
datasets:
  daily:
    key: \"daily/{day}.txt\"
    for: day
    priority: low
    source: here
    collector: { command: [sh, -c, 'while [ ! -e go ]; do sleep 0.05; done; echo hello > \"$1\"', sh, \"{out}\"] }
  watched: { key: \"watched/{day}.txt\", for: day }
engine: { max_concurrent: 1, reconcile_every: 5h }
";

#[test]
fn what_somebody_asks_for_is_collected_before_the_rest() {
    let up = Up::with(DAYS);
    wait_for("one runs", || up.web.get("/v1/status").json()["gaps"]["running"] == 1);
    let operator = up.acts_as("operator");
    let days = "\"date_range\":{\"start\":\"2025-03-04\",\"end\":\"2025-03-05\"}";
    up.web.post("/v1/tasks", &format!("{{\"dataset\":\"daily\",{days}}}")).is_problem(401, "token");
    operator.post("/v1/tasks", "{}").is_problem(400, "source");
    operator.post("/v1/tasks", "{\"dataset\":\"nothing\"}").is_problem(400, "nothing");
    operator
        .post("/v1/tasks", "{\"dataset\":\"daily\",\"date_range\":{\"start\":\"2024-01-01\",\"end\":\"2024-01-02\"}}")
        .is_problem(404, "no gap");
    operator
        .post("/v1/tasks", "{\"dataset\":\"daily\",\"date_range\":{\"start\":\"today\",\"end\":\"2024-01-02\"}}")
        .is_problem(400, "body");
    let body = format!("{{\"dataset\":\"daily\",{days},\"priority\":\"critical\",\"reason\":\"they changed it\"}}");
    let asked = operator.post("/v1/tasks", &body).is(202).json();
    assert_eq!((&asked["items"], &asked["running"], asked["tasks"].as_array().unwrap().len()), (&json!(2), &json!(0), 2));
    assert!(asked["tasks"].as_array().unwrap().iter().all(|task| task["priority"] == "critical"), "{asked}");
    // The older system's way.
    let body = "{\"source\":\"here\",\"data_type\":\"daily\",\"date_range\":{\"start\":\"2025-03-06\",\"end\":\"2025-03-06\"},\"priority\":\"HIGH\",\"metadata\":{}}";
    let older = operator.post("/tasks", body).is(202).json();
    assert_eq!((&older["status"], &older["priority"], older["task_id"].is_string()), (&json!("queued"), &json!("high"), true));
    assert!(older["position_in_queue"].as_u64().is_some_and(|position| position <= 6), "{older}");
    operator.post("/tasks", "{\"source\":\"nowhere\"}").is_problem(400, "nowhere");
    let done = up.acts_as("admin").get("/v1/audit").json();
    let request = done["items"].as_array().unwrap().iter().find(|line| line["reason"] == "they changed it").cloned().expect("on record");
    assert_eq!(
        (&request["action"], &request["what"], &request["before"]["items_by_priority"]["low"]),
        (&json!("request"), &json!("dataset:daily"), &json!(2))
    );
    up.place.write("go", "");
    wait_for("all is there", || up.web.get("/v1/status").json()["datasets"]["daily"]["present"] == 10);
    let ended = up.web.get("/v1/attempts").json();
    // Leases may have been written in another order, ahead.
    let started = |attempt: &Value| attempt["started_at"].as_str().unwrap().to_owned();
    let key = |attempt: &Value| attempt["story"]["items"][0]["key"].as_str().unwrap().to_owned();
    let mut began: Vec<(String, String)> =
        ended["items"].as_array().unwrap().iter().map(|attempt| (started(attempt), key(attempt))).collect();
    began.sort_unstable();
    let mut after_the_running: Vec<&str> = began[1..4].iter().map(|(_, key)| key.as_str()).collect();
    after_the_running[..2].sort_unstable();
    assert_eq!(after_the_running, ["daily/2025-03-04.txt", "daily/2025-03-05.txt", "daily/2025-03-06.txt"]);
}
