//! Real S3-compatible servers for tests: found on this machine, started on a free loopback port, ended with the test.
//!
//! `Server::moto()` and `Server::s3s()` return `None`, and say why, when the server is not installed; with
//! `ADCE_TEST_REQUIRE_SERVERS=1` that fails the test instead, so that a build machine cannot skip in silence.
//! `ADCE_TEST_MOTO` and `ADCE_TEST_S3S` name the programs; without them `moto_server` (or `python3 -m moto.server`) and
//! `s3s-fs` are looked for in `PATH`.
//!
//! It uses the standard library only, so that tests of any crate can take it in with `#[path]`.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const ACCESS_KEY: &str = "adce-test";
pub const SECRET_KEY: &str = "adce-test-secret";

/// A Python server on a busy machine takes its time.
const READY_WITHIN: Duration = Duration::from_secs(60);

pub struct Server {
    child: Child,
    address: SocketAddr,
    kind: Kind,
}

enum Kind {
    Moto,
    /// Buckets are folders below this one.
    S3s(PathBuf),
}

impl Server {
    /// Keeps keys exactly (`//` too); checks no signatures.
    pub fn moto() -> Option<Server> {
        let candidates: Vec<Vec<String>> = match std::env::var("ADCE_TEST_MOTO") {
            Ok(program) => vec![vec![program]],
            Err(_) => vec![vec!["moto_server".into()], ["python3", "-m", "moto.server"].map(String::from).into()],
        };
        let arguments = |port: u16| vec!["-H".into(), "127.0.0.1".into(), "-p".into(), port.to_string()];
        let started = start(&candidates, &arguments).map(|(child, address)| Server { child, address, kind: Kind::Moto });
        or_skip(started, "moto", "pip install 'moto[server]', or set ADCE_TEST_MOTO")
    }

    /// Checks signatures; keeps objects as files below a scratch folder, so `a//b` becomes `a/b`.
    pub fn s3s() -> Option<Server> {
        let program = std::env::var("ADCE_TEST_S3S").unwrap_or_else(|_| "s3s-fs".into());
        let root = std::env::temp_dir().join(format!("adce-test-s3s-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir_all(&root).expect("a scratch folder");
        let arguments = |port: u16| {
            let port = port.to_string();
            let root = root.to_str().expect("a plain path");
            ["--host", "127.0.0.1", "--port", &port, "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY, root].map(String::from).into()
        };
        let started = start(&[vec![program]], &arguments).map(|(child, address)| Server { child, address, kind: Kind::S3s(root.clone()) });
        if started.is_err() {
            let _ = std::fs::remove_dir_all(&root);
        }
        or_skip(started, "s3s-fs", "cargo install s3s-fs --version 0.14.1 --features binary, or set ADCE_TEST_S3S")
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a program needs in its environment to use this server as its lake.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_REGION", "us-east-1".into()),
        ]
    }

    /// `name`: 3 to 63 small letters, digits and `-`.
    pub fn make_bucket(&self, name: &str) {
        match &self.kind {
            Kind::S3s(root) => std::fs::create_dir(root.join(name)).expect("a new bucket"),
            Kind::Moto => {
                let mut connection = TcpStream::connect(self.address).expect("a server");
                let request = format!(
                    "PUT /{name} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n\
                     Authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n",
                    self.address
                );
                connection.write_all(request.as_bytes()).expect("a request sent");
                let mut answer = String::new();
                connection.read_to_string(&mut answer).expect("an answer");
                assert!(answer.starts_with("HTTP/1.1 200"), "no bucket `{name}`: {answer}");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Kind::S3s(root) = &self.kind {
            let _ = std::fs::remove_dir_all(root);
        }
    }
}

fn or_skip(started: Result<Server, String>, name: &str, how: &str) -> Option<Server> {
    match started {
        Ok(server) => Some(server),
        Err(why) if std::env::var("ADCE_TEST_REQUIRE_SERVERS").is_ok_and(|value| value == "1") => {
            panic!("{name} is required and not there: {why}; {how}")
        }
        Err(why) => {
            eprintln!("SKIPPED: {name} is not there: {why}; to run this test: {how}");
            None
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn start(candidates: &[Vec<String>], arguments: &dyn Fn(u16) -> Vec<String>) -> Result<(Child, SocketAddr), String> {
    let mut why = String::new();
    for candidate in candidates {
        // Between asking for a free port and listening on it somebody else may take it.
        for _ in 0..3 {
            match start_one(candidate, arguments) {
                Ok(started) => return Ok(started),
                Err(told) => why = format!("`{}`: {told}", candidate.join(" ")),
            }
            if why.contains("No such file") {
                break;
            }
        }
    }
    Err(why)
}

fn start_one(candidate: &[String], arguments: &dyn Fn(u16) -> Vec<String>) -> Result<(Child, SocketAddr), String> {
    let port = free_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut command = Command::new(&candidate[0]);
    command.args(&candidate[1..]).args(arguments(port)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    // A foreign server signals nobody that it listens: what it prints, and whether before or after, is another for each of
    // them and their versions. So its port is asked, for `READY_WITHIN` at most, and not after the server has ended.
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("it ended at once, {status}"));
        }
        if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
            return Ok((child, address));
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("it did not listen within {} s", READY_WITHIN.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
