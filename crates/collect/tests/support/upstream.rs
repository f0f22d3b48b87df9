//! An upstream on loopback that says, byte by byte, what a test wants it to; and permits that keep a diary.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adce_core::ids::AttemptId;
use adce_core::ports::{Answer, PermitId, PermitRefused, Permits, Settlement};
use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Rings when something has changed, for whoever waits until it has.
pub struct Bell(watch::Sender<()>);

impl Default for Bell {
    fn default() -> Self {
        Bell(watch::Sender::new(()))
    }
}

impl Bell {
    fn ring(&self) {
        self.0.send_replace(());
    }

    /// Returns once `holds`; a claim that never comes true fails here instead of hanging.
    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let mut rings = self.0.subscribe();
        let comes_true = async {
            while !holds() {
                rings.changed().await.expect("the bell is ours");
            }
        };
        tokio::time::timeout(Duration::from_secs(30), comes_true).await.unwrap_or_else(|_| panic!("never came true: {what}"));
    }
}

/// What comes after the bytes.
#[derive(Clone, Copy)]
pub enum Then {
    ReadOn,
    Close,
    /// Holds the connection open and says no more.
    Hang,
}

type Scripts = HashMap<&'static str, (Vec<u8>, Then)>;

pub struct Scripted {
    pub address: SocketAddr,
    /// Heads of requests, as they came.
    pub heads: Arc<Mutex<Vec<String>>>,
    bell: Arc<Bell>,
}

impl Scripted {
    /// `scripts`: by path.
    pub async fn start(scripts: impl IntoIterator<Item = (&'static str, Vec<u8>, Then)>) -> Self {
        let scripts: Arc<Scripts> = Arc::new(scripts.into_iter().map(|(path, bytes, then)| (path, (bytes, then))).collect());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let bell = Arc::<Bell>::default();
        let (seen, rung) = (heads.clone(), bell.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, scripts.clone(), seen.clone(), rung.clone()));
            }
        });
        Scripted { address, heads, bell }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn paths(&self) -> Vec<String> {
        self.heads.lock().unwrap().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect()
    }

    pub async fn is_asked_for(&self, path: &str) {
        self.bell.until(path, || self.paths().iter().any(|asked| asked == path)).await;
    }

    pub fn head(&self, path: &str) -> String {
        let heads = self.heads.lock().unwrap();
        heads.iter().find(|head| head.split(' ').nth(1) == Some(path)).expect("it was asked for").clone()
    }
}

async fn serve(mut stream: TcpStream, scripts: Arc<Scripts>, heads: Arc<Mutex<Vec<String>>>, bell: Arc<Bell>) {
    let mut read = Vec::new();
    loop {
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        let head = String::from_utf8(read.drain(..end + 4).collect()).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        heads.lock().unwrap().push(head);
        bell.ring();
        let Some((bytes, then)) = scripts.get(path.as_str()) else { return };
        if stream.write_all(bytes).await.is_err() {
            return;
        }
        match then {
            Then::ReadOn => {}
            Then::Close => return,
            Then::Hang => std::future::pending().await,
        }
    }
}

/// A whole answer with a length.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

pub fn ok(body: &str) -> Vec<u8> {
    answer("200 OK", "", body)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Acquired(PermitId),
    Settled(PermitId, Settlement),
    Answered(Answer),
    /// A host, and whether it passed.
    Uncovered(String, bool),
    Distrusted(String),
}

pub struct Diary {
    pub events: Mutex<Vec<Event>>,
    open: watch::Sender<bool>,
    /// What happens while somebody waits for a permit.
    meanwhile: Option<Box<dyn Fn() + Send + Sync>>,
    bell: Bell,
}

/// Somebody who waits for a permit, until he has it or goes away.
struct Waiting<'a> {
    opens: Option<watch::Receiver<bool>>,
    bell: &'a Bell,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.opens = None;
        self.bell.ring();
    }
}

impl Diary {
    pub fn new() -> Arc<Self> {
        Arc::new(Diary { events: Mutex::default(), open: watch::Sender::new(true), meanwhile: None, bell: Bell::default() })
    }

    /// Whoever wants a permit waits for it, and this happens meanwhile.
    pub fn waiting_while(meanwhile: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Diary {
            events: Mutex::default(),
            open: watch::Sender::new(true),
            meanwhile: Some(Box::new(meanwhile)),
            bell: Bell::default(),
        })
    }

    /// Nobody gets a permit.
    pub fn closed() -> Arc<Self> {
        Arc::new(Diary { events: Mutex::default(), open: watch::Sender::new(false), meanwhile: None, bell: Bell::default() })
    }

    /// How many wait for a permit.
    pub fn waiting(&self) -> usize {
        self.open.receiver_count()
    }

    /// Returns once it `holds` of what was asked and settled.
    pub async fn until(&self, what: &str, holds: impl Fn(&Diary) -> bool) {
        self.bell.until(what, || holds(self)).await;
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub fn settlements(&self) -> Vec<Settlement> {
        let settled = |event: &Event| match event {
            Event::Settled(_, how) => Some(*how),
            _ => None,
        };
        self.events().iter().filter_map(settled).collect()
    }

    pub fn answers(&self) -> Vec<Answer> {
        let answered = |event: &Event| match event {
            Event::Answered(answer) => Some(*answer),
            _ => None,
        };
        self.events().iter().filter_map(answered).collect()
    }

    /// Each permit was settled once.
    pub fn assert_balanced(&self) {
        let mut out: Vec<PermitId> = Vec::new();
        for event in self.events() {
            match event {
                Event::Acquired(permit) => out.push(permit),
                Event::Settled(permit, _) => {
                    let held = out.iter().position(|held| *held == permit).expect("settled twice, or never acquired");
                    out.remove(held);
                }
                Event::Answered(_) | Event::Uncovered(..) | Event::Distrusted(_) => {}
            }
        }
        assert_eq!(out, [], "permits that were never settled");
    }

    fn note(&self, event: Event) {
        self.events.lock().unwrap().push(event);
        self.bell.ring();
    }
}

#[async_trait]
impl Permits for Diary {
    async fn acquire(&self, _attempt: AttemptId, _source: &str) -> Result<PermitId, PermitRefused> {
        let mut waiting = Waiting { opens: Some(self.open.subscribe()), bell: &self.bell };
        self.bell.ring();
        if let Some(opens) = &mut waiting.opens {
            let _ = opens.wait_for(|open| *open).await;
        }
        drop(waiting);
        if let Some(meanwhile) = &self.meanwhile {
            meanwhile();
        }
        let mut events = self.events.lock().unwrap();
        let permit = PermitId(events.len() as u64);
        events.push(Event::Acquired(permit));
        Ok(permit)
    }

    fn settle(&self, permit: PermitId, how: Settlement) {
        self.note(Event::Settled(permit, how));
    }

    fn answered(&self, _attempt: AttemptId, _source: &str, answer: Answer) {
        self.note(Event::Answered(answer));
    }

    fn uncovered(&self, _attempt: AttemptId, host: &str, passed: bool) {
        self.note(Event::Uncovered(host.to_owned(), passed));
    }

    fn distrusted(&self, _attempt: AttemptId, host: &str) {
        self.note(Event::Distrusted(host.to_owned()));
    }
}

pub fn status(code: u16) -> Answer {
    Answer::status(code)
}
