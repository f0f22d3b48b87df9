//! A real queue service over a socket: what it tells, what is deleted, what a refusal says.

#[path = "support/servers.rs"]
mod servers;

use adce_core::ports::{Feed, FeedError};
use adce_core::spec::LakeUrl;
use adce_lake::feeds::Queue;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use serde_json::{Value, json};
use servers::{ACCESS_KEY, SECRET_KEY, Server};

fn lake() -> LakeUrl {
    LakeUrl::S3 { bucket: "raw".into(), prefix: "nba/".into() }
}

fn settings() -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_config(AmazonS3ConfigKey::AccessKeyId, ACCESS_KEY)
        .with_config(AmazonS3ConfigKey::SecretAccessKey, SECRET_KEY)
        .with_config(AmazonS3ConfigKey::Region, "us-east-1")
}

async fn ask(server: &Server, action: &str, body: Value) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20200101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=0");
    let request = client.post(server.endpoint()).header("x-amz-target", format!("AmazonSQS.{action}"));
    let request = request.header("content-type", "application/x-amz-json-1.0").header("authorization", authorization);
    let answer = request.body(body.to_string()).send().await.unwrap();
    assert!(answer.status().is_success(), "{action}: {}", answer.text().await.unwrap());
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
}

async fn queue(server: &Server) -> String {
    // What was not deleted is there again at once.
    let made = ask(server, "CreateQueue", json!({ "QueueName": "events", "Attributes": { "VisibilityTimeout": "0" } })).await;
    made["QueueUrl"].as_str().unwrap().to_owned()
}

async fn send(server: &Server, queue: &str, body: &str) {
    ask(server, "SendMessage", json!({ "QueueUrl": queue, "MessageBody": body })).await;
}

async fn messages(server: &Server, queue: &str) -> String {
    let asked = json!({ "QueueUrl": queue, "AttributeNames": ["ApproximateNumberOfMessages"] });
    ask(server, "GetQueueAttributes", asked).await["Attributes"]["ApproximateNumberOfMessages"].as_str().unwrap().to_owned()
}

fn event(bucket: &str, key: &str) -> String {
    json!({ "Records": [{ "eventName": "ObjectCreated:Put", "s3": { "bucket": { "name": bucket }, "object": { "key": key } } }] })
        .to_string()
}

#[tokio::test]
async fn a_message_is_deleted_when_it_was_taken_in_and_comes_again_otherwise() {
    let Some(server) = Server::moto() else { return };
    let url = queue(&server).await;
    send(&server, &url, &event("raw", "nba/a+b")).await;
    let mut feed = Queue::with(&url, lake(), settings()).unwrap();
    assert_eq!(feed.name(), "queue events");
    for taken in [false, true] {
        let heard = feed.next().await.unwrap();
        assert_eq!(heard.told.iter().map(|told| told.key.as_str()).collect::<Vec<_>>(), ["a b"]);
        feed.settle(taken).await;
        assert_eq!(messages(&server, &url).await, if taken { "0" } else { "1" });
    }
    // Of other lakes there is nothing to tell, and nothing to keep.
    send(&server, &url, &event("raw", "nfl/1")).await;
    assert_eq!(feed.next().await.unwrap().told, []);
    feed.settle(true).await;
    assert_eq!(messages(&server, &url).await, "0");
}

#[tokio::test]
async fn a_message_that_is_no_event_is_left_to_the_queue() {
    let Some(server) = Server::moto() else { return };
    let url = queue(&server).await;
    send(&server, &url, "hello").await;
    send(&server, &url, &event("raw", "nba/1")).await;
    let mut feed = Queue::with(&url, lake(), settings()).unwrap();
    assert_eq!(feed.next().await.unwrap().told.len(), 1);
    feed.settle(true).await;
    assert_eq!(messages(&server, &url).await, "1");
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_told_in_the_service_s_words() {
    let Some(server) = Server::moto() else { return };
    let url = format!("{}/123456789012/nowhere", server.endpoint());
    let mut feed = Queue::with(&url, lake(), settings()).unwrap();
    let Err(FeedError::Failing(why)) = feed.next().await else { panic!("it is not there") };
    assert!(why.contains("nowhere") && why.contains("QueueDoesNotExist"), "{why}");
}
