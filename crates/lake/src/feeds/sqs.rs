//! A queue of Amazon SQS that the bucket's notifications go to, directly or by SNS or EventBridge.
//!
//! A message is deleted when what it tells was taken in, and comes again otherwise. One that is no event is left alone: after so many
//! receipts the queue's own redrive policy puts it aside, where somebody can look at it.
//!
//! Three requests of a JSON protocol are signed and sent here; Amazon's own library would be a hundred crates.

use std::time::Duration;

use adce_core::events;
use adce_core::ports::{Feed, FeedError, Heard};
use adce_core::spec::LakeUrl;
use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::s3::{Access, settings_from_env};

/// The longest that SQS waits for a message, seconds.
const LONG_POLL: u64 = 20;
/// The most that one answer holds.
const AT_ONCE: u32 = 10;
/// Beyond the long poll.
const PATIENCE: Duration = Duration::from_secs(15);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// An error's text is short.
const ERROR_MAX: usize = 300;

pub struct Queue {
    lake: LakeUrl,
    queue: Url,
    region: String,
    http: reqwest::Client,
    access: Access,
    /// Received, understood and not deleted yet.
    receipts: Vec<String>,
    heard: Heard,
    /// Messages that were no events, since the start.
    not_understood: u64,
}

#[derive(Deserialize)]
struct Received {
    #[serde(rename = "Messages", default)]
    messages: Option<Vec<Message>>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "ReceiptHandle")]
    receipt: String,
    #[serde(rename = "Body", default)]
    body: String,
}

#[derive(Deserialize)]
struct Deleted {
    #[serde(rename = "Failed", default)]
    failed: Option<Vec<serde_json::Value>>,
}

impl Queue {
    /// Credentials and the region are those of the environment, as for the lake; the region of a queue of Amazon is in its URL.
    pub fn new(queue: &str, lake: LakeUrl) -> Result<Queue, String> {
        Queue::with(queue, lake, settings_from_env())
    }

    pub fn with(queue: &str, lake: LakeUrl, settings: AmazonS3Builder) -> Result<Queue, String> {
        let queue: Url = queue.parse().map_err(|error| format!("the queue `{queue}` is no URL: {error}"))?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("adce/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_WITHIN)
            .timeout(Duration::from_secs(LONG_POLL) + PATIENCE)
            .redirect(reqwest::redirect::Policy::none());
        if queue.host_str().is_some_and(|host| host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|host| host.is_loopback()))
        {
            http = http.no_proxy();
        }
        let setting = |key| settings.get_config_value(&key).filter(|value| !value.is_empty());
        let configured = setting(AmazonS3ConfigKey::Region).or_else(|| setting(AmazonS3ConfigKey::DefaultRegion));
        let region = region_of(&queue).or(configured).unwrap_or_else(|| "us-east-1".into());
        Ok(Queue {
            lake,
            queue,
            region,
            http: http.build().map_err(|error| error.to_string())?,
            // The chain asks for no bucket, but its builder does.
            access: Access::of("none", settings)?,
            receipts: Vec::new(),
            heard: Heard::default(),
            not_understood: 0,
        })
    }

    async fn receive(&mut self) -> Result<(), FeedError> {
        let ask = json!({ "QueueUrl": self.queue.as_str(), "MaxNumberOfMessages": AT_ONCE, "WaitTimeSeconds": LONG_POLL });
        let received: Received = self.ask("ReceiveMessage", &ask).await?;
        for message in received.messages.unwrap_or_default() {
            match events::read(message.body.as_bytes()) {
                Ok(told) => {
                    self.heard.told.extend(told.into_iter().filter_map(|told| super::in_lake(&self.lake, told)));
                    self.receipts.push(message.receipt);
                }
                Err(error) => {
                    self.not_understood += 1;
                    tracing::warn!(queue = %self.queue, %error, so_far = self.not_understood, "a message of the queue is no event of a store; it is left there");
                }
            }
        }
        Ok(())
    }

    /// A message that could not be deleted comes again, and tells what is known.
    async fn delete(&mut self) -> Result<(), FeedError> {
        for receipts in std::mem::take(&mut self.receipts).chunks(AT_ONCE as usize) {
            let entries: Vec<_> =
                receipts.iter().enumerate().map(|(at, receipt)| json!({ "Id": at.to_string(), "ReceiptHandle": receipt })).collect();
            let ask = json!({ "QueueUrl": self.queue.as_str(), "Entries": entries });
            let deleted: Deleted = self.ask("DeleteMessageBatch", &ask).await?;
            if let Some(failed) = deleted.failed.filter(|failed| !failed.is_empty()) {
                tracing::warn!(queue = %self.queue, failed = failed.len(), "messages of the queue could not be deleted; they come again");
            }
        }
        Ok(())
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, action: &'static str, body: &serde_json::Value) -> Result<T, FeedError> {
        let failing = |detail: String| FeedError::Failing(format!("`{}`: {action}: {detail}", self.queue));
        let body = body.to_string();
        let url = self.queue.join("/").map_err(|error| failing(error.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        let target = HeaderValue::from_str(&format!("AmazonSQS.{action}")).map_err(|error| failing(error.to_string()))?;
        headers.insert(TARGET, target);
        let sha256 = ring::digest::digest(&ring::digest::SHA256, body.as_bytes());
        let signed = self.access.sign("sqs", &Method::POST, url.as_str(), &mut headers, sha256.as_ref(), &self.region).await;
        signed.map_err(failing)?;
        let sent = self.http.post(url).headers(headers).body(body).send().await;
        let answer = sent.map_err(|error| failing(causes(&error)))?;
        let status = answer.status();
        let text = answer.bytes().await.map_err(|error| failing(causes(&error)))?;
        if !status.is_success() {
            return Err(failing(refusal(status.as_u16(), &text)));
        }
        serde_json::from_slice(&text).map_err(|error| failing(format!("the answer is not understood: {error}")))
    }
}

/// `https://sqs.eu-west-1.amazonaws.com/123456789012/events`.
fn region_of(queue: &Url) -> Option<String> {
    let host = queue.host_str()?;
    let rest = host.strip_prefix("sqs.").or_else(|| host.strip_suffix(".queue.amazonaws.com").map(|_| host))?;
    rest.contains(".amazonaws.com").then(|| rest.split('.').next().unwrap_or_default().to_owned())
}

/// `QueueDoesNotExist: The specified queue does not exist.`, or the beginning of whatever it is.
fn refusal(status: u16, body: &[u8]) -> String {
    let error: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = error.get("__type").and_then(|kind| kind.as_str()).map(|kind| kind.rsplit('#').next().unwrap_or(kind));
    let message = ["message", "Message"].iter().find_map(|name| error.get(name)?.as_str());
    match (kind, message) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (Some(kind), None) => kind.to_owned(),
        _ => format!("answered {status}: {}", String::from_utf8_lossy(body).chars().take(ERROR_MAX).collect::<String>()),
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[async_trait]
impl Feed for Queue {
    fn name(&self) -> String {
        format!("queue {}", self.queue.path().rsplit('/').next().unwrap_or_default())
    }

    async fn next(&mut self) -> Result<Heard, FeedError> {
        while self.receipts.is_empty() {
            self.receive().await?;
        }
        Ok(self.heard.clone())
    }

    async fn settle(&mut self, taken: bool) {
        self.heard = Heard::default();
        if !taken {
            // They come again once their visibility timeout is over.
            self.receipts.clear();
        } else if let Err(error) = self.delete().await {
            tracing::warn!(%error, "messages of the queue could not be deleted; they come again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_of_a_queue_is_in_its_url() {
        let region = |url: &str| region_of(&url.parse().unwrap());
        assert_eq!(region("https://sqs.eu-west-1.amazonaws.com/123456789012/events").as_deref(), Some("eu-west-1"));
        assert_eq!(region("https://sqs.cn-north-1.amazonaws.com.cn/1/e").as_deref(), Some("cn-north-1"));
        assert_eq!(region("https://eu-west-1.queue.amazonaws.com/1/e").as_deref(), Some("eu-west-1"));
        assert_eq!(region("http://127.0.0.1:5000/1/e"), None);
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_service() {
        let body = br#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}"#;
        assert_eq!(refusal(400, body), "QueueDoesNotExist: The specified queue does not exist.");
        assert_eq!(refusal(502, b"<html>bad gateway</html>"), "answered 502: <html>bad gateway</html>");
    }
}
