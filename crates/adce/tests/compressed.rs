//! What adce compresses on its way into the lake is still held to `valid`: the rule speaks of the answer, not of gzip.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

/// Answers everything with 200: `/good` with JSON, `/empty` with nothing, `/short` with 20 bytes, `/long` with 200 alike
/// ones, and everything else with a block page.
fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|connection| drop(std::thread::spawn(|| answer(connection)))));
    address
}

fn answer(mut connection: TcpStream) {
    let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
    while let Some(Ok(request)) = lines.next() {
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        let body = match request.split(['/', ' ']).nth(2).unwrap_or_default() {
            "good" => "{\"plays\": [1, 2]}".to_owned(),
            "empty" => String::new(),
            "short" => "a quick brown fox, a".to_owned(),
            "long" => "a".repeat(200),
            _ => "<html>Access Denied</html>".to_owned(),
        };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if connection.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_compressed_answer_is_checked_inside() {
    let folder = tempfile::tempdir().unwrap();
    let address = upstream();
    let config = format!(
        "version: 1\nname: packed\nlake: ./lake\nsources:\n  up: {{ hosts: [\"{address}\"] }}\ndimensions:\n  n: [good, bad]\n\
         datasets:\n  d:\n    source: up\n    key: \"d/{{n}}.json.gz\"\n    for: n\n    valid: json\n    collector:\n      \
         http: {{ url: \"http://{address}/{{n}}\", compress: gzip }}\n      retry: {{ attempts: 1 }}\n"
    );
    std::fs::write(folder.path().join("adce.yaml"), config).unwrap();
    std::fs::create_dir(folder.path().join("lake")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_adce"))
        .args(["run", "--max-wait", "0s"])
        .env("NO_PROXY", "127.0.0.1")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{words}");
    let packed = std::fs::read(folder.path().join("lake/d/good.json.gz")).unwrap_or_else(|error| panic!("{error}: {words}"));
    let mut content = String::new();
    flate2::read::MultiGzDecoder::new(packed.as_slice()).read_to_string(&mut content).unwrap();
    assert_eq!(content, "{\"plays\": [1, 2]}");
    assert!(!folder.path().join("lake/d/bad.json.gz").exists(), "{words}");
}

/// `compress: gzip` makes an empty answer 20 bytes long, a short one longer than it was, and a long one shorter.
#[test]
fn a_compressed_answer_is_measured_as_it_was_received() {
    let folder = tempfile::tempdir().unwrap();
    let address = upstream();
    let config = |at_least: &str| {
        format!(
            "version: 1\nname: packed\nlake: ./lake\nsources:\n  up: {{ hosts: [\"{address}\"] }}\ndimensions:\n  n: [empty, short, long]\n\
             datasets:\n  d:\n    source: up\n    key: \"d/{{n}}.gz\"\n    for: n\n{at_least}    collector:\n      \
             http: {{ url: \"http://{address}/{{n}}\", compress: gzip }}\n      retry: {{ attempts: 1 }}\n"
        )
    };
    std::fs::create_dir(folder.path().join("lake")).unwrap();
    let filled = |config: String| {
        std::fs::write(folder.path().join("adce.yaml"), config).unwrap();
        let adce = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_adce"));
            command.args(arguments).env("NO_PROXY", "127.0.0.1").current_dir(folder.path()).output().unwrap()
        };
        let _ = std::fs::remove_dir_all(folder.path().join(".adce"));
        let _ = std::fs::remove_dir_all(folder.path().join("lake/d"));
        let run = adce(&["run", "--max-wait", "0s"]);
        let words = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert_eq!(run.status.code(), Some(2), "{words}");
        // What was filled stays so for every later look.
        let plan: serde_json::Value = serde_json::from_slice(&adce(&["plan", "--format", "json"]).stdout).unwrap();
        assert_eq!(plan["coverage"]["undersized"], 0, "{}", plan["coverage"]);
        let there = ["empty", "short", "long"].into_iter().filter(|n| folder.path().join(format!("lake/d/{n}.gz")).exists());
        (there.collect::<Vec<_>>().join(" "), words)
    };
    for (at_least, expected) in [("", "short long"), ("    min_size: 30B\n", "long"), ("    min_size: 100B\n", "long")] {
        let (there, words) = filled(config(at_least));
        assert_eq!(there, expected, "{at_least}{words}");
    }

    // An object that cannot hold a single byte is undersized, whoever left it there.
    let empty = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()).finish().unwrap();
    std::fs::write(folder.path().join("lake/d/empty.gz"), empty).unwrap();
    let plan = Command::new(env!("CARGO_BIN_EXE_adce")).args(["plan", "--format", "json"]).current_dir(folder.path()).output().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["coverage"]["undersized"], 1, "{}", plan["coverage"]);
}
