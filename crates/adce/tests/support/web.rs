//! A browser's or a program's side of HTTP, byte by byte: nothing is added to what a test says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::place::{Place, wait_for};

/// An engine's address, and what is shown to it.
#[derive(Clone)]
pub struct Web {
    pub address: String,
    headers: Vec<(String, String)>,
}

pub struct Heard {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Web {
    /// Once the engine answers and has looked.
    #[track_caller]
    pub fn of(place: &Place) -> Web {
        let mut found = None;
        wait_for("the engine tells its address", || {
            let said = place.adce(&["status", "--format", "json"]);
            let status: serde_json::Value = serde_json::from_str(said.out.lines().last().unwrap_or_default()).unwrap_or_default();
            found = status["engine"]["address"].as_str().and_then(|url| Some(url.split_once("://")?.1.to_owned()));
            found.is_some()
        });
        let web = Web::at(found.expect("an address"));
        wait_for("it is ready", || web.get("/readyz").status == 200);
        web
    }

    pub fn at(address: String) -> Web {
        Web { address, headers: Vec::new() }
    }

    pub fn with(&self, name: &str, value: &str) -> Web {
        let mut web = self.clone();
        web.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        web.headers.push((name.into(), value.into()));
        web
    }

    pub fn token(&self, token: &str) -> Web {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    pub fn get(&self, path: &str) -> Heard {
        self.send("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &str) -> Heard {
        self.with("Content-Type", "application/json").send("POST", path, Some(body))
    }

    pub fn open(&self, method: &str, path: &str, body: Option<&str>) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.address));
        }
        self.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        if let Some(body) = body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        // It may answer before it has read everything.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.unwrap_or_default().as_bytes()));
        BufReader::new(stream)
    }

    pub fn send(&self, method: &str, path: &str, body: Option<&str>) -> Heard {
        let mut reader = self.open(method, path, body);
        let (status, headers) = head(&mut reader);
        let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, length)| length.parse().ok());
        let mut rest = Vec::new();
        // Not everybody closes where he was asked to.
        let _ = match length.filter(|_| method != "HEAD") {
            Some(length) => reader.take(length).read_to_end(&mut rest),
            None => reader.read_to_end(&mut rest),
        };
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = if chunked { joined(&rest) } else { rest };
        Heard { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
    }
}

pub fn head(reader: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status");
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {line:?}"));
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.trim_end().split_once(':') else { return (status, headers) };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunks.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).unwrap_or("0").trim(), 16).unwrap_or(0);
        if size == 0 || chunks.len() < end + 2 + size {
            break;
        }
        body.extend_from_slice(&chunks[end + 2..end + 2 + size]);
        chunks = chunks.get(end + 4 + size..).unwrap_or_default();
    }
    body
}

impl Heard {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Heard {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// RFC 9457.
    #[track_caller]
    pub fn is_problem(&self, status: u16, word: &str) -> &Heard {
        self.is(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.body);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(word)), "`{word}` is not in {problem}");
        self
    }
}
