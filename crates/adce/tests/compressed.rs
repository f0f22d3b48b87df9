//! What adce compresses on its way into the lake is still held to `valid`: the rule speaks of the answer, not of gzip.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

/// Answers `/good` with JSON and everything else with a block page, all with 200.
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
        let body = if request.contains("good") { "{\"plays\": [1, 2]}" } else { "<html>Access Denied</html>" };
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
