//! A small S3 server for faults: it keeps objects in memory, obeys conditions and pages, and misbehaves on demand.
//!
//! It checks no signatures; the real servers do that.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub const BUCKET: &str = "lake";
const DATE: &str = "Mon, 12 Oct 2009 17:50:30 GMT";

#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers with this status and code, and does nothing.
    Refuse(u16, &'static str),
    /// The same with a header.
    RefuseWith(u16, &'static str, &'static str),
    /// Does it, answers, and closes after so many bytes of the body, though it announced all of them.
    CutBody(usize),
    /// Does it and answers with so many bytes of the body, as if that were all.
    ShortBody(usize),
    /// Closes without doing anything.
    Close,
    /// Does it, and closes without an answer.
    DoAndClose,
    /// Never answers.
    Hang,
    /// Answers 200 with this instead.
    Instead(&'static str),
    /// Somebody else puts this at the key first.
    OvertakenBy(&'static [u8]),
    /// Does not look at conditions and does not do it: 501.
    KnowsNoConditions,
    /// Says that more follows, whatever follows, and names this place.
    PointsTo(&'static str),
    /// Says that more follows, and not where.
    PointsNowhere,
    /// Says that it encodes keys, and does not.
    OnlyClaimsToEncode,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Decoded; without the bucket.
    pub key: String,
    pub query: HashMap<String, String>,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn is_list(&self) -> bool {
        self.query.contains_key("list-type")
    }

    pub fn is(&self, method: &str) -> bool {
        self.method == method
    }

    fn has_condition(&self) -> bool {
        self.headers.contains_key("if-none-match") || self.headers.contains_key("if-match")
    }
}

type When = Box<dyn Fn(&Request) -> bool + Send>;

struct Planned {
    when: When,
    times: usize,
    fault: Fault,
}

#[derive(Clone, Debug)]
pub struct Stored {
    pub content: Vec<u8>,
    pub etag: String,
    mark: Option<String>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Stored>,
    uploads: HashMap<String, Upload>,
    written: u64,
    planned: Vec<Planned>,
    seen: Vec<Request>,
}

#[derive(Default)]
struct Upload {
    parts: BTreeMap<u32, Vec<u8>>,
    mark: Option<String>,
}

pub struct FakeS3 {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Counts requests, so that a test can wait for one.
    arrived: watch::Receiver<usize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for FakeS3 {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Announced length, if it is not the body's.
    announced: Option<usize>,
}

impl FakeS3 {
    pub async fn start(page: usize) -> FakeS3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let (count, arrived) = watch::channel(0);
        let count = Arc::new(count);
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&shared), Arc::clone(&count), page));
            }
        });
        FakeS3 { address, state, arrived, serving }
    }

    /// The next `times` requests for which `when` holds go wrong.
    pub fn plan(&self, times: usize, fault: Fault, when: impl Fn(&Request) -> bool + Send + 'static) {
        self.state.lock().unwrap().planned.push(Planned { when: Box::new(when), times, fault });
    }

    pub fn put(&self, key: &str, content: &[u8]) {
        self.state.lock().unwrap().store(key, content.to_vec(), None);
    }

    pub fn content(&self, key: &str) -> Option<Vec<u8>> {
        self.state.lock().unwrap().objects.get(key).map(|stored| stored.content.clone())
    }

    pub fn uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    pub fn seen(&self, when: impl Fn(&Request) -> bool) -> Vec<Request> {
        self.state.lock().unwrap().seen.iter().filter(|request| when(request)).cloned().collect()
    }

    /// Returns once a request for which `when` holds has come in.
    pub async fn until_seen(&self, when: impl Fn(&Request) -> bool) {
        let mut arrived = self.arrived.clone();
        let seen = async {
            while self.seen(&when).is_empty() {
                arrived.changed().await.unwrap();
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), seen).await.expect("such a request comes");
    }
}

async fn serve(mut connection: TcpStream, state: Arc<Mutex<State>>, count: Arc<watch::Sender<usize>>, page: usize) {
    while let Some(request) = read(&mut connection).await {
        let fault = {
            let mut state = state.lock().unwrap();
            state.seen.push(request.clone());
            state.fault(&request)
        };
        count.send_modify(|count| *count += 1);
        let is_head = request.is("HEAD");
        let answer = match fault {
            Some(Fault::Hang) => return std::future::pending().await,
            Some(Fault::Close) => return,
            Some(Fault::DoAndClose) => {
                state.lock().unwrap().act(&request, page);
                return;
            }
            Some(fault) => state.lock().unwrap().act_wrongly(&request, page, &fault),
            None => state.lock().unwrap().act(&request, page),
        };
        let closes = answer.announced.is_some();
        if write(&mut connection, answer, is_head).await.is_err() || closes {
            return;
        }
    }
}

async fn read(connection: &mut TcpStream) -> Option<Request> {
    let (mut buffer, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let read = connection.read(&mut piece).await.ok()?;
        if read == 0 {
            return None;
        }
        buffer.extend_from_slice(&piece[..read]);
    };
    let text = String::from_utf8(buffer[..head].to_vec()).unwrap();
    let mut lines = text.lines();
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let (target, _) = target.rsplit_once(' ').unwrap();
    let headers: HashMap<String, String> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = buffer.split_off(head);
    while body.len() < length {
        let read = connection.read(&mut piece).await.ok()?;
        if read == 0 {
            return None;
        }
        body.extend_from_slice(&piece[..read]);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decode = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let query = query.split('&').filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.to_owned(), decode(value))).collect();
    let key = path.strip_prefix(&format!("/{BUCKET}")).map(|key| decode(key.strip_prefix('/').unwrap_or(key)));
    // Another bucket has no name here.
    let key = key.unwrap_or_else(|| "\0no such bucket".to_owned());
    Some(Request { method: method.to_owned(), key, query, headers, body })
}

async fn write(connection: &mut TcpStream, answer: Answer, is_head: bool) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\nDate: {DATE}\r\n", answer.status);
    let length = answer.announced.unwrap_or(answer.body.len());
    if !answer.headers.iter().any(|(name, _)| *name == "Content-Length") {
        write!(head, "Content-Length: {length}\r\n").unwrap();
    }
    for (name, value) in &answer.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    connection.write_all(head.as_bytes()).await?;
    if !is_head {
        connection.write_all(&answer.body).await?;
    }
    connection.flush().await
}

fn error(status: u16, code: &str) -> Answer {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as planned</Message></Error>");
    Answer { status, headers: Vec::new(), body: body.into_bytes(), announced: None }
}

fn ok(body: impl Into<Vec<u8>>) -> Answer {
    Answer { status: 200, headers: Vec::new(), body: body.into(), announced: None }
}

fn encoded(key: &str) -> String {
    utf8_percent_encode(key, NON_ALPHANUMERIC).to_string()
}

impl State {
    fn fault(&mut self, request: &Request) -> Option<Fault> {
        let planned = self.planned.iter_mut().find(|planned| planned.times > 0 && (planned.when)(request))?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }

    fn store(&mut self, key: &str, content: Vec<u8>, mark: Option<String>) -> String {
        self.written += 1;
        let etag = format!("etag{}", self.written);
        self.objects.insert(key.to_owned(), Stored { content, etag: etag.clone(), mark });
        etag
    }

    fn act_wrongly(&mut self, request: &Request, page: usize, fault: &Fault) -> Answer {
        match fault {
            Fault::Refuse(status, code) => error(*status, code),
            Fault::RefuseWith(status, code, wait) => Answer { headers: vec![("Retry-After", (*wait).to_owned())], ..error(*status, code) },
            Fault::Instead(body) => ok(*body),
            Fault::CutBody(keep) => {
                let whole = self.act(request, page);
                let announced = Some(whole.body.len());
                Answer { body: whole.body[..(*keep).min(whole.body.len())].to_vec(), announced, ..whole }
            }
            Fault::ShortBody(keep) => {
                let mut short = self.act(request, page);
                short.body.truncate(*keep);
                short
            }
            Fault::OvertakenBy(content) => {
                self.store(&request.key, content.to_vec(), None);
                self.act(request, page)
            }
            Fault::KnowsNoConditions if request.has_condition() => error(501, "NotImplemented"),
            Fault::KnowsNoConditions => self.act(request, page),
            Fault::PointsTo(token) => self.list(request, page, Some(Some(token)), encoded),
            Fault::PointsNowhere => self.list(request, page, Some(None), encoded),
            Fault::OnlyClaimsToEncode => self.list(request, page, None, |key| quick_xml::escape::escape(key).into_owned()),
            Fault::Hang | Fault::Close | Fault::DoAndClose => unreachable!("nothing is answered"),
        }
    }

    fn act(&mut self, request: &Request, page: usize) -> Answer {
        if request.key.starts_with('\0') {
            return error(404, "NoSuchBucket");
        }
        let upload = request.query.get("uploadId");
        match (request.method.as_str(), upload) {
            ("GET", _) if request.is_list() => self.list(request, page, None, encoded),
            ("GET" | "HEAD", _) => self.get(request),
            ("PUT", None) => self.conditionally(request, |state| {
                let mark = request.headers.get("x-amz-meta-adce-publish").cloned();
                let etag = state.store(&request.key, request.body.clone(), mark);
                Answer { headers: vec![("ETag", format!("\"{etag}\""))], ..ok("") }
            }),
            ("POST", None) => self.begin(request),
            ("PUT", Some(id)) => self.part(id, request),
            ("POST", Some(id)) => self.complete(id, request),
            ("DELETE", Some(id)) => {
                self.uploads.remove(id);
                Answer { status: 204, ..ok("") }
            }
            ("DELETE", None) => {
                self.objects.remove(&request.key);
                Answer { status: 204, ..ok("") }
            }
            _ => error(405, "MethodNotAllowed"),
        }
    }

    fn conditionally(&mut self, request: &Request, act: impl FnOnce(&mut State) -> Answer) -> Answer {
        let there = self.objects.get(&request.key);
        if let Some(wanted) = request.headers.get("if-match") {
            match there {
                None => return error(404, "NoSuchKey"),
                Some(there) if format!("\"{}\"", there.etag) != *wanted => return error(412, "PreconditionFailed"),
                Some(_) => {}
            }
        }
        if request.headers.contains_key("if-none-match") && there.is_some() {
            return error(412, "PreconditionFailed");
        }
        act(self)
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(stored) = self.objects.get(&request.key) else { return error(404, "NoSuchKey") };
        let mut headers = vec![
            ("ETag", format!("\"{}\"", stored.etag)),
            ("Last-Modified", DATE.to_owned()),
            ("Content-Length", stored.content.len().to_string()),
        ];
        if let Some(mark) = &stored.mark {
            headers.push(("x-amz-meta-adce-publish", mark.clone()));
        }
        Answer { status: 200, headers, body: stored.content.clone(), announced: None }
    }

    fn begin(&mut self, request: &Request) -> Answer {
        self.written += 1;
        let id = format!("upload {}", self.written);
        let mark = request.headers.get("x-amz-meta-adce-publish").cloned();
        self.uploads.insert(id.clone(), Upload { mark, ..Upload::default() });
        ok(format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"))
    }

    fn part(&mut self, id: &str, request: &Request) -> Answer {
        let Some(upload) = self.uploads.get_mut(id) else { return error(404, "NoSuchUpload") };
        let number = request.query["partNumber"].parse().unwrap();
        upload.parts.insert(number, request.body.clone());
        Answer { headers: vec![("ETag", format!("\"part{number}\""))], ..ok("") }
    }

    fn complete(&mut self, id: &str, request: &Request) -> Answer {
        if !self.uploads.contains_key(id) {
            return error(404, "NoSuchUpload");
        }
        self.conditionally(request, |state| {
            let upload = state.uploads.remove(id).unwrap();
            let content = upload.parts.into_values().flatten().collect();
            let etag = state.store(&request.key, content, upload.mark);
            ok(format!("<CompleteMultipartUploadResult><ETag>&quot;{etag}&quot;</ETag></CompleteMultipartUploadResult>"))
        })
    }

    /// `points`: what the page says about its continuation, against the truth.
    fn list(&self, request: &Request, page: usize, points: Option<Option<&str>>, write_key: fn(&str) -> String) -> Answer {
        let prefix = request.query.get("prefix").cloned().unwrap_or_default();
        let after = request.query.get("continuation-token").cloned();
        let mut keys = self.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && after.as_ref().is_none_or(|after| *key > after));
        let mut body = String::from("<?xml version=\"1.0\"?>\n<ListBucketResult><EncodingType>url</EncodingType>");
        let mut last = String::new();
        for (key, stored) in keys.by_ref().take(page) {
            last.clone_from(key);
            write!(
                body,
                "<Contents><Key>{}</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size></Contents>",
                write_key(key),
                stored.etag,
                stored.content.len()
            )
            .unwrap();
        }
        let more = keys.next().is_some().then_some(last);
        let next = points.map_or(more.as_deref().map(Some), Some);
        write!(body, "<IsTruncated>{}</IsTruncated>", next.is_some()).unwrap();
        if let Some(Some(token)) = next {
            write!(body, "<NextContinuationToken>{token}</NextContinuationToken>").unwrap();
        }
        body.push_str("</ListBucketResult>");
        ok(body)
    }
}
