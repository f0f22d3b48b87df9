//! Lakes in real S3-compatible servers, over sockets.

#[path = "support/claims.rs"]
mod claims;
#[path = "support/servers.rs"]
mod servers;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adce_core::object::Precondition;
use adce_core::ports::{Lake, LakeError, PublishError};
use adce_lake::{Patience, S3Lake};
use claims::Trial;
use object_store::aws::AmazonS3Builder;
use servers::{ACCESS_KEY, SECRET_KEY, Server};

fn settings(server: &Server) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
}

fn lake(server: &Server, bucket: &str, prefix: &str) -> Arc<S3Lake> {
    // A Python server on a busy machine is slow, but it does answer.
    let patience = Patience { silence_max: Duration::from_secs(60), ..Patience::default() };
    Arc::new(S3Lake::new(bucket, prefix, settings(server), patience).unwrap())
}

/// Facts from public sources that lie beside the project on some machines.
fn real_data(path: &str) -> Option<PathBuf> {
    let found = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dev").join(path);
    if !found.exists() {
        eprintln!("SKIPPED: the real data `{path}` is not on this machine");
    }
    found.exists().then_some(found)
}

#[tokio::test]
async fn bucket_on_moto_keeps_every_claim() {
    let Some(server) = Server::moto() else { return };
    server.make_bucket("claims");
    let open = |claim: &str| -> Arc<dyn Lake> { lake(&server, "claims", &format!("{claim}/")) };
    every_claim!(open);
    every_claim!(open; nothing_is_at_the_name_of_a_folder);
}

#[tokio::test]
async fn bucket_on_s3s_keeps_every_claim() {
    let Some(server) = Server::s3s() else { return };
    server.make_bucket("claims");
    every_claim!(|claim: &str| -> Arc<dyn Lake> { lake(&server, "claims", &format!("{claim}/")) });
}

#[tokio::test]
async fn keys_with_empty_segments_are_kept_apart() {
    let Some(server) = Server::moto() else { return };
    for (bucket, prefix) in [("slashes", ""), ("slashes-below", "in/a/prefix/")] {
        server.make_bucket(bucket);
        let trial = Trial::new(lake(&server, bucket, prefix));
        claims::keys_survive(&trial, claims::KEYS_ONLY_STORES_KEEP).await;
    }
    let whole = Trial::new(lake(&server, "slashes-below", ""));
    assert!(whole.keys("in/a/prefix/").await.contains("in/a/prefix//leading"));
}

#[tokio::test]
async fn real_keys_survive_byte_by_byte() {
    let Some(listing) = real_data("debian_security_pool/listing.csv.gz") else { return };
    let Some(server) = Server::moto() else { return };
    server.make_bucket("debian");
    let packed = std::fs::File::open(listing).unwrap();
    let mut rows = csv::Reader::from_reader(flate2::read::GzDecoder::new(packed));
    let keys: Vec<String> = rows.records().map(|row| row.unwrap()[0].to_owned()).collect();
    assert_eq!(keys.len(), 3_016);
    let trial = Trial::new(lake(&server, "debian", ""));
    let staged = trial.file(b"x");
    for some in keys.chunks(16) {
        let all = some.iter().map(|key| trial.lake.publish(&staged, key, &Precondition::Absent));
        futures::future::try_join_all(all).await.unwrap();
    }
    assert_eq!(trial.keys("").await, keys.iter().cloned().collect::<BTreeSet<_>>());
    let some = keys.iter().filter(|key| key.contains('+')).step_by(50);
    for key in some {
        assert_eq!(trial.lake.head(key).await.unwrap().unwrap().key, *key);
        assert_eq!(trial.keys(key).await, [key.clone()].into());
    }
}

#[tokio::test]
async fn key_shapes_of_recorded_listings_survive() {
    let Some(recorded) = real_data("s3_listing_api/localstack_recorded_list.json") else { return };
    let Some(server) = Server::moto() else { return };
    server.make_bucket("recorded");
    let recorded: serde_json::Value = serde_json::from_slice(&std::fs::read(recorded).unwrap()).unwrap();
    let mut keys = BTreeSet::new();
    collect_keys(&recorded, &mut keys);
    assert!(keys.len() > 20, "{keys:?}");
    let trial = Trial::new(lake(&server, "recorded", ""));
    claims::keys_survive(&trial, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

fn collect_keys(value: &serde_json::Value, keys: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                if let ("Key", Some(key)) = (name.as_str(), value.as_str()) {
                    keys.insert(key.to_owned());
                }
                collect_keys(value, keys);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}

#[tokio::test]
async fn bucket_that_does_not_exist_is_gone() {
    let Some(server) = Server::moto() else { return };
    let trial = Trial::new(lake(&server, "nowhere", ""));
    assert!(matches!(trial.lake.list("", &mut |_| {}).await, Err(LakeError::Gone(lake)) if lake == "s3://nowhere"));
    assert!(matches!(trial.lake.head("k").await, Err(LakeError::Gone(_))));
    let published = trial.publish("k", b"x", &Precondition::Absent).await;
    assert!(matches!(published, Err(PublishError::Lake(LakeError::Gone(_)))), "{published:?}");
    let replaced = trial.publish("k", b"x", &Precondition::Unchanged { etag: "abc".into() }).await;
    assert!(matches!(replaced, Err(PublishError::Lake(LakeError::Gone(_)))), "{replaced:?}");
}

#[tokio::test]
async fn wrong_secret_is_refused_and_not_repeated() {
    let Some(server) = Server::s3s() else { return };
    server.make_bucket("closed");
    let wrong = settings(&server).with_secret_access_key("not-the-secret");
    let lake = S3Lake::new("closed", "", wrong, Patience::default()).unwrap();
    let refused = lake.list("", &mut |_| {}).await.unwrap_err();
    assert!(matches!(refused, LakeError::Refused { .. }), "{refused}");
    assert!(!refused.to_string().contains("not-the-secret"));
    assert_eq!(lake.requests(), 1);
}

#[tokio::test]
async fn lake_in_a_prefix_sees_only_what_is_below_it() {
    let Some(server) = Server::moto() else { return };
    server.make_bucket("shared");
    let whole = Trial::new(lake(&server, "shared", ""));
    for key in ["lake/a", "lake/b/c", "lake", "lake/", "lake2/a", "a"] {
        whole.put(key, key.as_bytes()).await;
    }
    let part = Trial::new(lake(&server, "shared", "lake/"));
    assert_eq!(part.lake.identity(), "s3://shared/lake/");
    assert_eq!(part.keys("").await, ["a", "b/c"].map(String::from).into());
    assert_eq!(part.keys("b").await, ["b/c".to_owned()].into());
    assert_eq!(part.content("a").await, b"lake/a");
    part.put("new", b"x").await;
    assert!(whole.lake.head("lake/new").await.unwrap().is_some());
}
