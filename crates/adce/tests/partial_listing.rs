//! Half a listing of a real bucket protocol: the real binary against a loopback server that breaks off in the middle.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use serde_json::Value;

const CONFIG: &str = r#"
version: 1
name: half
lake: s3://bucket
dimensions:
  n: [a, b, c]
datasets:
  broken:
    key: "broken/{n}.json"
    for: n
    collector: { command: ["true", "{n}"] }
  whole:
    key: "whole/{n}.json"
    for: n
    collector: { command: ["true", "{n}"] }
"#;

/// Lists `whole/` to its end, and of `broken/` the first page only. Returns the endpoint.
fn serve(broken_from_the_start: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(connection, broken_from_the_start));
        }
    });
    endpoint
}

fn answer_all(mut connection: TcpStream, broken_from_the_start: bool) {
    let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
    while let Some(Ok(request)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let (status, body) = match request {
            request if request.contains("whole") => (200, page(&["whole/a.json", "whole/b.json"], "")),
            request if request.contains("continuation-token") || broken_from_the_start => {
                (403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>".to_string())
            }
            _ => (200, page(&["broken/a.json"], "<NextContinuationToken>next</NextContinuationToken>")),
        };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if connection.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn page(keys: &[&str], next: &str) -> String {
    let truncated = !next.is_empty();
    let objects: String = keys
        .iter()
        .map(|key| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2024-10-12T17:50:30.000Z</LastModified>\
                 <ETag>&quot;e&quot;</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>\
         <KeyCount>{}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>{truncated}</IsTruncated>{next}{objects}</ListBucketResult>",
        keys.len()
    )
}

fn adce(endpoint: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adce.yaml"), CONFIG).unwrap();
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("NO_PROXY", "127.0.0.1"),
    ];
    Command::new(env!("CARGO_BIN_EXE_adce")).args(arguments).envs(environment).current_dir(folder.path()).output().unwrap()
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn half_a_listing_makes_no_gaps_and_ends_with_one() {
    let endpoint = serve(false);
    let output = adce(&endpoint, &["plan", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let figures = |dataset: &str| {
        let dataset = &plan["datasets"][dataset];
        ["expected", "present", "missing", "unknown"].map(|field| dataset[field].as_u64().unwrap())
    };
    assert_eq!(figures("broken"), [3, 1, 0, 2]);
    assert_eq!(figures("whole"), [3, 2, 1, 0]);
    assert_eq!(plan["complete"], false);
    assert!(plan["datasets"]["broken"]["listing_error"].is_string());
    assert!(plan["datasets"]["whole"]["listing_error"].is_null());
    let keys: Vec<_> = plan["tasks"].as_array().unwrap().iter().map(|task| &task["items"][0]["key"]).collect();
    assert_eq!(keys, ["whole/c.json"]);

    let screen = words(&adce(&endpoint, &["plan"]));
    assert!(screen.contains("UNKNOWN") && screen.contains("not listed: broken: "), "{screen}");
    assert_eq!(adce(&endpoint, &["gaps"]).status.code(), Some(1));
}

#[test]
fn a_lake_of_which_nothing_can_be_listed_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let only_broken = CONFIG.split("  whole:").next().unwrap();
    std::fs::write(folder.path().join("adce.yaml"), only_broken).unwrap();
    let endpoint = serve(true);
    let output = Command::new(env!("CARGO_BIN_EXE_adce"))
        .arg("plan")
        .envs([("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")])
        .envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("NO_PROXY", "127.0.0.1")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", words(&output));
}
