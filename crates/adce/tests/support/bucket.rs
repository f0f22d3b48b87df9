//! A bucket on loopback that can be listed and nothing else, and whose prefixes can be made to fail: what a real
//! S3-compatible server does on a bad day, on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Clone)]
pub struct Bucket {
    endpoint: String,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    keys: BTreeSet<String>,
    broken: BTreeMap<String, Breaks>,
}

/// How the listing of a prefix fails.
#[derive(Clone, Copy)]
pub enum Breaks {
    /// Access is refused before the first key.
    Refused,
    /// An error that says nothing in particular.
    Somehow,
    /// One page with so many keys, then access is refused.
    After(usize),
}

impl Bucket {
    pub fn start() -> Bucket {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let bucket = Bucket { endpoint, inside: Arc::default() };
        let serving = bucket.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let bucket = serving.clone();
                std::thread::spawn(move || bucket.answer_all(connection));
            }
        });
        bucket
    }

    pub fn put(&self, keys: impl IntoIterator<Item = String>) {
        self.inside().keys.extend(keys);
    }

    pub fn breaks(&self, prefix: &str, how: Breaks) {
        self.inside().broken.insert(prefix.into(), how);
    }

    pub fn mends(&self) {
        self.inside().broken.clear();
    }

    /// What adce needs to find it as `s3://bucket`.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("NO_PROXY", "127.0.0.1"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().expect("no panic while it is held")
    }

    fn answer_all(&self, mut connection: TcpStream) {
        let mut lines = BufReader::new(connection.try_clone().expect("a socket")).lines();
        while let Some(Ok(request)) = lines.next() {
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let (status, body) = self.listing(&request);
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            if connection.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn listing(&self, request: &str) -> (u16, String) {
        let inside = self.inside();
        let prefix = parameter(request, "prefix");
        let keys = inside.keys.range(prefix.clone()..).take_while(|key| key.starts_with(&prefix));
        let refused = || (403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>".to_owned());
        match inside.broken.get(&prefix) {
            None => (200, page(keys, "")),
            Some(Breaks::Somehow) => (400, "<Error><Code>SomethingNew</Code><Message>no</Message></Error>".into()),
            Some(Breaks::After(keys_shown)) if !request.contains("continuation-token") => {
                (200, page(keys.take(*keys_shown), "<NextContinuationToken>next</NextContinuationToken>"))
            }
            Some(Breaks::Refused | Breaks::After(_)) => refused(),
        }
    }
}

/// Of the query, percent-decoded as far as prefixes need it.
fn parameter(request: &str, name: &str) -> String {
    let query = request.split([' ', '?']).nth(2).unwrap_or_default();
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().replace("%2F", "/")
}

fn page<'k>(keys: impl Iterator<Item = &'k String>, next: &str) -> String {
    let truncated = !next.is_empty();
    let objects: Vec<String> = keys
        .map(|key| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2024-10-12T17:50:30.000Z</LastModified>\
                 <ETag>&quot;e&quot;</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name>\
         <KeyCount>{}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>{truncated}</IsTruncated>{next}{}</ListBucketResult>",
        objects.len(),
        objects.concat()
    )
}
