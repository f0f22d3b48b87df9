//! Asks for one page again and again over warm connections, directly or through a proxy, and prints one line of JSON:
//! `load URL CONNECTIONS SECONDS [--proxy http://[user:password@]host:port] [--trust authority.pem]`.
//!
//! http goes to a proxy as it is, https by `CONNECT`. `hold` instead of SECONDS: asks once on each connection, and keeps them
//! all open until standard input ends. For `bench/run gateway`.

use std::error::Error;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use url::Url;

type Failed = Box<dyn Error + Send + Sync>;

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

struct Plan {
    url: Url,
    proxy: Option<Url>,
    tls: Option<TlsConnector>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let [url, connections, seconds, ..] = &arguments[..] else { return Err("load URL CONNECTIONS SECONDS|hold [options]".into()) };
    let plan = Plan {
        url: url.parse()?,
        proxy: option("--proxy").map(|proxy| proxy.parse()).transpose()?,
        tls: option("--trust").map(|pem| trusting(pem)).transpose()?,
    };
    let (plan, connections): (Arc<Plan>, usize) = (Arc::new(plan), connections.parse()?);
    let mut open = JoinSet::new();
    for _ in 0..connections {
        let plan = plan.clone();
        open.spawn(async move { warm(&plan).await });
    }
    let streams = open.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    if seconds == "hold" {
        println!("open");
        // Nobody has anything else to do meanwhile.
        std::io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    let (span, began) = (Duration::from_secs_f64(seconds.parse()?), Instant::now());
    let mut asking = JoinSet::new();
    for mut stream in streams {
        let plan = plan.clone();
        asking.spawn(async move {
            let (request, mut buffer, mut took) = (plan.request(), Vec::new(), Vec::new());
            while began.elapsed() < span {
                let sent = Instant::now();
                ask(&mut *stream, &request, &mut buffer).await?;
                took.push(sent.elapsed().as_secs_f64() * 1e3);
            }
            Ok::<_, Failed>(took)
        });
    }
    let mut took: Vec<f64> = asking.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let rate = took.len() as f64 / began.elapsed().as_secs_f64();
    println!("{{\"per_second\": {rate:.1}, \"p50_ms\": {:.4}, \"p99_ms\": {:.4}}}", at(0.5), at(0.99));
    Ok(())
}

fn trusting(pem: &str) -> Result<TlsConnector, Failed> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_file_iter(pem)?.filter_map(Result::ok));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

impl Plan {
    fn host(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.url.port_or_known_default().unwrap_or_default())
    }

    fn credentials(&self) -> String {
        let Some(proxy) = self.proxy.as_ref().filter(|proxy| !proxy.username().is_empty()) else { return String::new() };
        let basic = STANDARD.encode(format!("{}:{}", proxy.username(), proxy.password().unwrap_or_default()));
        format!("Proxy-Authorization: Basic {basic}\r\n")
    }

    fn request(&self) -> Vec<u8> {
        let is_forwarded = self.proxy.is_some() && self.tls.is_none();
        let (target, credentials) =
            if is_forwarded { (self.url.to_string(), self.credentials()) } else { (self.url.path().to_owned(), String::new()) };
        format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{credentials}\r\n", self.host()).into_bytes()
    }
}

/// A connection on which one answer has come.
async fn warm(plan: &Plan) -> Result<Box<dyn Duplex>, Failed> {
    let first = plan.proxy.as_ref().unwrap_or(&plan.url);
    let (host, port) = (first.host_str().ok_or("no host")?, first.port_or_known_default().ok_or("no port")?);
    let mut tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    let mut buffer = Vec::new();
    let mut stream: Box<dyn Duplex> = match &plan.tls {
        None => Box::new(tcp),
        Some(tls) => {
            if plan.proxy.is_some() {
                let connect = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n{1}\r\n", plan.host(), plan.credentials());
                tcp.write_all(connect.as_bytes()).await?;
                while !buffer.ends_with(b"\r\n\r\n") {
                    if tcp.read_buf(&mut buffer).await? == 0 {
                        return Err("no answer to CONNECT".into());
                    }
                }
                if !buffer.windows(5).any(|five| five == b" 200 ") {
                    return Err(String::from_utf8_lossy(&buffer).into_owned().into());
                }
                buffer.clear();
            }
            let name = ServerName::try_from(plan.url.host_str().unwrap_or_default().to_owned())?;
            Box::new(tls.connect(name, tcp).await?)
        }
    };
    ask(&mut *stream, &plan.request(), &mut buffer).await?;
    Ok(stream)
}

/// One request, and its whole answer of a known length.
async fn ask(stream: &mut dyn Duplex, request: &[u8], buffer: &mut Vec<u8>) -> Result<(), Failed> {
    stream.write_all(request).await?;
    stream.flush().await?;
    buffer.clear();
    let mut whole = None;
    while whole.is_none_or(|whole| buffer.len() < whole) {
        if stream.read_buf(buffer).await? == 0 {
            return Err("the connection ended in the middle of an answer".into());
        }
        if whole.is_none() {
            whole = length(buffer)?;
        }
    }
    Ok(())
}

/// Of head and body; `None`: the head has not ended yet.
fn length(answer: &[u8]) -> Result<Option<usize>, Failed> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end])?;
    if head.split(' ').nth(1) != Some("200") {
        return Err(String::from_utf8_lossy(answer).into_owned().into());
    }
    let lengths = head.lines().filter_map(|line| line.split_once(": "));
    let length =
        lengths.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).find_map(|(_, length)| length.parse::<usize>().ok());
    Ok(Some(end + 4 + length.ok_or("no length")?))
}
