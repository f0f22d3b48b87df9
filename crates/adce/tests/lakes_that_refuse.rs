//! A lake that takes nothing while `run` works: full, read-only, or of other people. Each ends with a clear message and the
//! right exit code; what was there stays, half an object never appears, and the next run goes on.

#[path = "../../lake/tests/support/fake_s3.rs"]
#[allow(dead_code)]
mod fake_s3;
mod support;

use std::process::Command;

use fake_s3::{FakeS3, Fault};
use support::place::{Place, Said, said};

const CONFIG: &str = "version: 1\nname: numbers\nlake: @LAKE@\ndimensions:\n  number: [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\"]\ndatasets:\n  \
    numbers:\n    key: numbers/{number}.bin\n    for: number\n    min_size: 100000B\n    collector:\n      \
    command: [sh, -c, 'head -c 100000 /dev/zero > \"$1\"', sh, \"{out}\"]\n      \
    retry: { backoff: 10ms..20ms }\n";

fn numbers(lake: &str) -> Place {
    Place::new(&CONFIG.replace("@LAKE@", lake))
}

/// Runs a script in the place, with a megabyte of its own mounted as its lake; `$ADCE` is the binary. `None`: this machine
/// allows no user namespaces.
fn with_a_small_lake(place: &Place, script: &str) -> Option<Said> {
    let script = format!("mount -t tmpfs -o size=1m tmpfs lake && echo mounted\n{script}");
    let run = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .env("ADCE", env!("CARGO_BIN_EXE_adce"))
        .env("NO_COLOR", "1")
        .current_dir(place.folder())
        .output();
    match run.map(said) {
        Ok(said) if said.out.contains("mounted") => Some(said),
        other => {
            eprintln!("skipped: no user namespaces here: {}", other.map_or_else(|error| error.to_string(), |said| said.err));
            None
        }
    }
}

#[test]
fn a_full_lake_ends_the_run_and_the_next_one_goes_on_when_there_is_room() {
    let place = numbers("./lake");
    let script = r#"
        head -c 500000 /dev/zero > lake/ballast
        timeout 60 "$ADCE" run; echo "first: $?"
        echo "there: $(find lake/numbers -type f | wc -l), torn: $(find lake/numbers -type f ! -size 100000c | wc -l)"
        echo "left over: $(find lake/.adce-tmp -type f | wc -l)"
        "$ADCE" gaps --format json | grep -c detected_at | sed 's/^/gaps: /'
        rm lake/ballast
        timeout 60 "$ADCE" run; echo "second: $?"
        echo "at the end: $(find lake/numbers -type f -size 100000c | wc -l)"
    "#;
    let Some(said) = with_a_small_lake(&place, script) else { return };
    said.says("first: 1\n").says("no space or not writable").says("second: 0\n").says("at the end: 8\n");
    said.says(", torn: 0\n").says("left over: 0\n");
    let count = |after: &str| said.out.split(after).nth(1).and_then(|rest| rest.split([',', '\n']).next()?.parse::<u32>().ok());
    let (there, gaps) = (count("there: ").expect("a count"), count("gaps: ").expect("a count"));
    assert!((1..=5).contains(&there) && there + gaps == 8, "{there} objects and {gaps} gaps:\n{}", said.out);
}

#[test]
fn a_read_only_lake_ends_the_run_and_loses_nothing() {
    let place = numbers("./lake");
    let script = r#"
        mkdir lake/numbers; head -c 100000 /dev/zero > lake/numbers/1.bin
        mount -o remount,ro lake
        "$ADCE" plan > plan; echo "plan: $?"
        timeout 60 "$ADCE" run; echo "first: $?"
        mount -o remount,rw lake
        timeout 60 "$ADCE" run; echo "second: $?"
        echo "at the end: $(find lake/numbers -type f -size 100000c | wc -l)"
    "#;
    let Some(said) = with_a_small_lake(&place, script) else { return };
    said.says("plan: 2\n").says("first: 1\n").says("no space or not writable").says("second: 0\n").says("at the end: 8\n");
}

/// The whole job against a store that refuses what a test says.
struct Bucket {
    place: Place,
    server: FakeS3,
    _runtime: tokio::runtime::Runtime,
}

impl Bucket {
    fn new() -> Bucket {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let server = runtime.block_on(FakeS3::start(1_000));
        Bucket { place: numbers("s3://lake"), server, _runtime: runtime }
    }

    fn adce(&self, args: &[&str]) -> Said {
        let environment = [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.server.address)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "key".into()),
            ("AWS_SECRET_ACCESS_KEY", "very-secret".into()),
            ("NO_PROXY", "127.0.0.1".into()),
        ];
        let said = self.place.adce_with(&environment, args);
        assert!(!said.out.contains("very-secret") && !said.err.contains("very-secret"), "{}{}", said.out, said.err);
        said
    }
}

#[test]
fn a_lake_that_refuses_credentials_is_unreachable_for_every_command_that_looks() {
    let bucket = Bucket::new();
    bucket.server.plan(usize::MAX, Fault::Refuse(403, "SignatureDoesNotMatch"), |_| true);
    for verb in ["plan", "run", "gaps", "status"] {
        bucket.adce(&[verb]).ends_with(69).says("access refused").says("hint: check the credentials");
    }
    let error = bucket.adce(&["run", "--format", "json"]).ends_with(69).json();
    assert_eq!(error["error"]["exit_code"], 69);
    assert!(bucket.server.seen(|request| request.is("PUT")).is_empty(), "nothing was collected");
}

#[test]
fn a_table_in_a_lake_that_cannot_be_reached_is_no_mistake_in_the_config() {
    let bucket = Bucket::new();
    let config = bucket.place.read("adce.yaml");
    bucket.place.write("adce.yaml", &config.replace("dimensions:\n", "dimensions:\n  game: { table: \"lake:games/*.csv\", id: id }\n"));
    bucket.adce(&["check"]).ends_with(78).says("no file matches `lake:games/*.csv`");
    bucket.server.plan(usize::MAX, Fault::Refuse(403, "SignatureDoesNotMatch"), |_| true);
    for verb in ["check", "plan", "run", "gaps"] {
        bucket.adce(&[verb]).ends_with(69).says("`lake:games/*.csv` cannot be reached: ").says("access refused");
    }
    // What is wrong besides is wrong whenever the lake is there again.
    bucket.place.write("adce.yaml", &(bucket.place.read("adce.yaml") + "nonsense: 1\n"));
    bucket.adce(&["check"]).ends_with(78);
}

#[test]
fn credentials_that_may_read_and_not_write_end_the_run_and_use_up_no_attempt() {
    let bucket = Bucket::new();
    let may_write = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = may_write.clone();
    bucket.server.plan(usize::MAX, Fault::Refuse(403, "AccessDenied"), move |request| {
        request.is("PUT") && !asked.load(std::sync::atomic::Ordering::SeqCst)
    });
    bucket.adce(&["run"]).ends_with(69).says("access refused").says("hint: check the credentials");
    let gaps = bucket.adce(&["gaps", "--format", "json"]).ends_with(0).out.clone();
    let gaps: Vec<serde_json::Value> = gaps.lines().map(|line| serde_json::from_str(line).expect("a gap")).collect();
    assert_eq!(gaps.len(), 8);
    assert!(gaps.iter().all(|gap| gap["attempts"] == 0), "it is not the items' fault: {gaps:?}");
    may_write.store(true, std::sync::atomic::Ordering::SeqCst);
    bucket.adce(&["run"]).ends_with(0);
    assert_eq!(bucket.server.content("numbers/8.bin").map(|content| content.len()), Some(100_000));
}
