//! Lakes in a store that slows down, breaks off, loses answers, lies about its pages, or says no.

#[path = "support/claims.rs"]
mod claims;
#[path = "support/fake_s3.rs"]
mod fake_s3;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adce_core::object::{Object, Precondition};
use adce_core::ports::{Lake, LakeError, PublishError};
use adce_lake::{Patience, S3Lake};
use claims::Trial;
use fake_s3::{BUCKET, FakeS3, Fault, Request};
use object_store::aws::AmazonS3Builder;

const TRIES: u32 = 4;
const SECRET: &str = "wJalrXUtnFEMI-not-for-anybody";

fn patience() -> Patience {
    Patience {
        tries: TRIES,
        give_up_after: Duration::from_secs(60),
        pause_first: Duration::from_millis(1),
        pause_max: Duration::from_millis(4),
        connect_within: Duration::from_secs(2),
        // Long, so that a busy machine adds no fault of its own.
        silence_max: Duration::from_secs(30),
    }
}

fn lake_with(fake: &FakeS3, bucket: &str, prefix: &str, patience: Patience) -> Arc<S3Lake> {
    let settings =
        AmazonS3Builder::new().with_endpoint(format!("http://{}", fake.address)).with_access_key_id("id").with_secret_access_key(SECRET);
    Arc::new(S3Lake::new(bucket, prefix, settings, patience).unwrap())
}

fn lake(fake: &FakeS3) -> Arc<S3Lake> {
    lake_with(fake, BUCKET, "", patience())
}

/// What a listing handed over, and how it ended.
async fn list(lake: &S3Lake, prefix: &str) -> (Vec<String>, Result<(), LakeError>) {
    let mut seen = Vec::new();
    let ended = lake.list(prefix, &mut |object| seen.push(object.key)).await;
    (seen, ended)
}

/// Ten objects on pages of three.
async fn ten_objects() -> FakeS3 {
    let fake = FakeS3::start(3).await;
    for number in 0..10 {
        fake.put(&format!("k{number}"), b"x");
    }
    fake
}

fn names(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("k{number}")).collect()
}

fn is_page(number: usize) -> impl Fn(&Request) -> bool {
    let begins_after = (number > 1).then(|| format!("k{}", 3 * (number - 1) - 1));
    move |request| request.is_list() && request.query.get("continuation-token") == begins_after.as_ref()
}

fn is_put(request: &Request) -> bool {
    request.is("PUT")
}

fn is_completion(request: &Request) -> bool {
    request.is("POST") && request.query.contains_key("uploadId")
}

#[tokio::test]
async fn bucket_of_the_fake_keeps_every_claim() {
    let fake = FakeS3::start(1_000).await;
    let open = |claim: &str| -> Arc<dyn Lake> { lake_with(&fake, BUCKET, &format!("{claim}/"), patience()) };
    every_claim!(open);
    every_claim!(open; nothing_is_at_the_name_of_a_folder, control_characters_in_keys_survive, of_many_absent_publishes_at_once_one_wins, of_many_replacements_at_once_one_wins);
    claims::keys_survive(&Trial::new(open("empty segments")), claims::KEYS_ONLY_STORES_KEEP).await;
}

#[tokio::test]
async fn passing_faults_of_a_page_are_borne_and_show_no_object_twice() {
    let faults = [
        Fault::Refuse(503, "SlowDown"),
        Fault::Refuse(500, "InternalError"),
        Fault::Refuse(429, "TooManyRequests"),
        Fault::Close,
        Fault::CutBody(200),
        Fault::ShortBody(200),
        Fault::ShortBody(0),
        Fault::PointsNowhere,
        Fault::Instead("<html><body>Please sign in</body></html>"),
        Fault::Instead("<Error><Code>InternalError</Code></Error>"),
    ];
    for fault in faults {
        let fake = ten_objects().await;
        fake.plan(TRIES as usize - 1, fault.clone(), is_page(2));
        let (seen, ended) = list(&lake(&fake), "").await;
        assert!(ended.is_ok(), "{fault:?}: {ended:?}");
        assert_eq!(seen, names(0..10), "{fault:?}");
    }
}

#[tokio::test]
async fn listing_that_fails_on_a_page_hands_over_the_pages_before_it_and_is_an_error() {
    let faults =
        [Fault::Refuse(503, "SlowDown"), Fault::CutBody(200), Fault::ShortBody(200), Fault::PointsNowhere, Fault::Instead("<html></html>")];
    for fault in faults {
        let fake = ten_objects().await;
        fake.plan(usize::MAX, fault.clone(), is_page(3));
        let (seen, ended) = list(&lake(&fake), "").await;
        assert!(matches!(ended, Err(LakeError::Unavailable { .. })), "{fault:?}: {ended:?}");
        assert_eq!(seen, names(0..6), "{fault:?}");
        assert_eq!(fake.seen(is_page(3)).len(), TRIES as usize, "{fault:?}");
    }
}

#[tokio::test]
async fn listing_that_goes_in_circles_ends_with_an_error() {
    for token in ["k5", "k2"] {
        let fake = ten_objects().await;
        fake.plan(usize::MAX, Fault::PointsTo(token), is_page(3));
        let (_, ended) = list(&lake(&fake), "").await;
        let told = ended.unwrap_err();
        assert!(matches!(told, LakeError::Unavailable { .. }) && told.to_string().contains("continuation token"), "{told}");
    }
}

#[tokio::test]
async fn refusals_are_told_at_once_and_without_secrets() {
    for (status, code) in [(403, "AccessDenied"), (403, "SignatureDoesNotMatch"), (401, "Unauthorized"), (400, "ExpiredToken")] {
        let fake = ten_objects().await;
        fake.plan(usize::MAX, Fault::Refuse(status, code), |_| true);
        let lake = lake(&fake);
        let trial = Trial::new(lake.clone());
        let told = [
            list(&lake, "").await.1.unwrap_err(),
            lake.download("k1", &trial.scratch.path().join("x")).await.unwrap_err(),
            match trial.publish("new", b"x", &Precondition::Absent).await {
                Err(PublishError::Lake(error)) => error,
                other => panic!("{other:?}"),
            },
        ];
        for told in told {
            assert!(matches!(told, LakeError::Refused { .. }), "{code}: {told:?}");
            assert!(!format!("{told} {told:?}").contains(SECRET));
        }
        assert_eq!(lake.requests(), 3, "{code} was tried again");
    }
}

#[tokio::test]
async fn missing_bucket_is_gone_and_never_looks_empty() {
    let fake = ten_objects().await;
    let lake = lake_with(&fake, "elsewhere", "", patience());
    let (seen, ended) = list(&lake, "").await;
    assert!(seen.is_empty() && matches!(ended, Err(LakeError::Gone(_))), "{ended:?}");
    assert!(matches!(lake.head("k1").await, Err(LakeError::Gone(_))));
    let trial = Trial::new(lake);
    let published = trial.publish("k", b"x", &Precondition::Absent).await;
    assert!(matches!(published, Err(PublishError::Lake(LakeError::Gone(_)))), "{published:?}");
}

#[tokio::test]
async fn server_that_never_answers_is_unavailable_in_time() {
    let fake = ten_objects().await;
    fake.plan(usize::MAX, Fault::Hang, |_| true);
    let quick = Patience { silence_max: Duration::from_millis(50), ..patience() };
    let lake = lake_with(&fake, BUCKET, "", quick);
    let began = Instant::now();
    assert!(matches!(list(&lake, "").await.1, Err(LakeError::Unavailable { .. })));
    assert!(matches!(lake.head("k1").await, Err(LakeError::Unavailable { .. })));
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn server_that_is_not_there_is_unavailable() {
    let fake = ten_objects().await;
    let lake = lake(&fake);
    drop(fake);
    let told = list(&lake, "").await.1.unwrap_err();
    assert!(matches!(told, LakeError::Unavailable { .. }), "{told:?}");
}

#[tokio::test]
async fn long_pause_that_a_store_asks_for_is_left_to_the_caller() {
    let fake = ten_objects().await;
    fake.plan(usize::MAX, Fault::RefuseWith(503, "SlowDown", "3600"), |_| true);
    let lake = lake(&fake);
    assert!(matches!(list(&lake, "").await.1, Err(LakeError::Unavailable { .. })));
    assert_eq!(lake.requests(), 1);
}

#[tokio::test]
async fn publish_whose_answer_was_lost_is_not_a_conflict_with_itself() {
    let fake = FakeS3::start(10).await;
    let trial = Trial::new(lake(&fake));
    for only_if in [Precondition::Absent, Precondition::Unchanged { etag: "etag1".into() }] {
        fake.plan(1, Fault::DoAndClose, is_put);
        let published = trial.publish("k", b"content", &only_if).await.unwrap();
        assert_eq!(Some(published), trial.lake.head("k").await.unwrap());
    }
    assert_eq!(fake.seen(is_put).len(), 4);
}

#[tokio::test]
async fn publish_overtaken_while_it_was_repeated_is_a_conflict() {
    let fake = FakeS3::start(10).await;
    let trial = Trial::new(lake(&fake));
    fake.plan(1, Fault::Close, is_put);
    fake.plan(1, Fault::OvertakenBy(b"somebody else's"), is_put);
    let there = match trial.publish("k", b"mine", &Precondition::Absent).await {
        Err(PublishError::Conflict(there)) => there.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(there.size, 15);
    assert_eq!(fake.content("k").unwrap(), b"somebody else's");
}

#[tokio::test]
async fn body_is_signed_with_its_digest_and_sent_whole_on_every_try() {
    let fake = FakeS3::start(10).await;
    let trial = Trial::new(lake(&fake));
    fake.plan(2, Fault::Refuse(503, "SlowDown"), is_put);
    trial.put("k", b"content").await;
    let puts = fake.seen(is_put);
    assert_eq!(puts.len(), 3);
    for put in puts {
        assert_eq!(put.body, b"content");
        assert_eq!(put.headers["x-amz-content-sha256"], "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73");
        assert!(put.headers["authorization"].contains("if-none-match") && put.headers["authorization"].contains("x-amz-meta-adce-publish"));
    }
}

#[tokio::test]
async fn store_without_conditions_is_looked_at_first() {
    let fake = FakeS3::start(10).await;
    fake.plan(usize::MAX, Fault::KnowsNoConditions, |_| true);
    let trial = Trial::new(lake(&fake));
    let first = trial.put("k", b"first").await;
    let again = trial.publish("k", b"second", &Precondition::Absent).await;
    assert!(matches!(again, Err(PublishError::Conflict(Some(there))) if there == first));
    let stale = trial.publish("k", b"second", &Precondition::Unchanged { etag: "other".into() }).await;
    assert!(matches!(stale, Err(PublishError::Conflict(Some(_)))));
    trial.publish("k", b"second", &Precondition::Unchanged { etag: first.etag }).await.unwrap();
    assert_eq!(fake.content("k").unwrap(), b"second");
}

#[tokio::test]
async fn download_that_breaks_off_is_begun_again() {
    let fake = FakeS3::start(10).await;
    let content: Vec<u8> = (0..100_000_u32).map(|byte| byte as u8).collect();
    fake.put("k", &content);
    fake.plan(2, Fault::CutBody(70_000), |request| request.is("GET"));
    let trial = Trial::new(lake(&fake));
    assert!(trial.content("k").await == content);
    fake.plan(usize::MAX, Fault::CutBody(70_000), |request| request.is("GET"));
    let broken = trial.lake.download("k", &trial.scratch.path().join("broken")).await;
    assert!(matches!(broken, Err(LakeError::Unavailable { .. })), "{broken:?}");
}

/// Sparse, so that it costs no disk: one byte more than goes in one request.
fn large(trial: &Trial) -> PathBuf {
    let path = trial.scratch.path().join("large");
    std::fs::File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    path
}

fn is_part(number: u32) -> impl Fn(&Request) -> bool {
    move |request| request.query.get("partNumber").is_some_and(|part| *part == number.to_string())
}

#[tokio::test]
async fn parts_and_completion_bear_passing_faults_and_lost_answers() {
    let fake = FakeS3::start(10).await;
    let trial = Trial::new(lake(&fake));
    fake.plan(1, Fault::Refuse(503, "SlowDown"), |request| request.query.contains_key("uploads"));
    fake.plan(1, Fault::Close, is_part(2));
    fake.plan(1, Fault::Refuse(500, "InternalError"), is_part(5));
    fake.plan(1, Fault::Instead("<Error><Code>InternalError</Code></Error>"), is_completion);
    fake.plan(1, Fault::DoAndClose, is_completion);
    let published = trial.lake.publish(&large(&trial), "k", &Precondition::Absent).await.unwrap();
    assert_eq!(published.size, (64 << 20) + 1);
    assert_eq!(fake.content("k").unwrap().len() as u64, published.size);
    assert_eq!(fake.uploads(), 0);
}

#[tokio::test]
async fn upload_overtaken_in_the_middle_is_a_conflict_and_leaves_no_parts() {
    let fake = FakeS3::start(10).await;
    let trial = Trial::new(lake(&fake));
    fake.plan(1, Fault::OvertakenBy(b"theirs"), is_completion);
    let there = match trial.lake.publish(&large(&trial), "k", &Precondition::Absent).await {
        Err(PublishError::Conflict(Some(there))) => there,
        other => panic!("{other:?}"),
    };
    assert_eq!(there.size, 6);
    assert_eq!(fake.content("k").unwrap(), b"theirs");
    assert_eq!(fake.uploads(), 0);
}

#[tokio::test]
async fn upload_that_fails_is_aborted_and_nothing_appears() {
    let fake = FakeS3::start(10).await;
    let trial = Trial::new(lake(&fake));
    fake.plan(usize::MAX, Fault::Refuse(403, "AccessDenied"), is_part(3));
    let failed = trial.lake.publish(&large(&trial), "k", &Precondition::Absent).await;
    assert!(matches!(failed, Err(PublishError::Lake(LakeError::Refused { .. }))), "{failed:?}");
    assert_eq!(fake.uploads(), 0);
    assert_eq!(fake.content("k"), None);
}

#[tokio::test]
async fn upload_that_is_given_up_is_aborted() {
    let fake = FakeS3::start(10).await;
    let trial = Trial::new(lake(&fake));
    fake.plan(usize::MAX, Fault::Hang, is_part(3));
    let file = large(&trial);
    tokio::select! {
        _ = trial.lake.publish(&file, "k", &Precondition::Absent) => panic!("a part hangs"),
        () = fake.until_seen(is_part(3)) => {}
    }
    fake.until_seen(|request| request.is("DELETE")).await;
    assert_eq!(fake.content("k"), None);
}

#[tokio::test]
async fn large_object_is_not_uploaded_over_another_one() {
    let fake = FakeS3::start(10).await;
    fake.put("k", b"there");
    let trial = Trial::new(lake(&fake));
    let conflict = trial.lake.publish(&large(&trial), "k", &Precondition::Absent).await;
    assert!(matches!(conflict, Err(PublishError::Conflict(Some(_)))), "{conflict:?}");
    assert!(fake.seen(|request| request.is("POST") || request.is("PUT")).is_empty(), "64 MiB were sent for nothing");
}

#[tokio::test]
async fn object_published_counts_although_nobody_could_look_at_it_afterwards() {
    let fake = FakeS3::start(10).await;
    fake.plan(usize::MAX, Fault::Refuse(403, "AccessDenied"), |request| request.is("HEAD"));
    let trial = Trial::new(lake(&fake));
    let published: Object = trial.put("k", b"content").await;
    assert_eq!((published.size, published.etag.as_str()), (7, "etag1"));
    assert_eq!(published.last_modified.to_string(), "2009-10-12T17:50:30Z");
}

#[tokio::test]
async fn keys_in_a_prefix_are_told_without_it() {
    let fake = FakeS3::start(2).await;
    for key in ["deep/lake/a", "deep/lake/b/c", "deep/lake/", "deep/lake//x", "deep/lakes", "a"] {
        fake.put(key, b"x");
    }
    let lake = lake_with(&fake, BUCKET, "deep/lake/", patience());
    let (seen, ended) = list(&lake, "").await;
    ended.unwrap();
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), ["a", "b/c", "/x"].map(String::from).into());
    assert_eq!(list(&lake, "b").await.0, ["b/c"]);
}

#[tokio::test]
async fn store_that_only_claims_to_encode_keys_is_found_out() {
    let doubtful = ["a+b", "date%3D2026/x", "date=2026/x", "100%25"];
    let clear = ["a b", "ü"];
    for keys in [&doubtful[..], &clear[..], &doubtful[..1], &[doubtful[0], clear[0]][..]] {
        let fake = FakeS3::start(10).await;
        keys.iter().for_each(|key| fake.put(key, b"x"));
        let expected: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let honest = lake(&fake);
        for _ in 0..2 {
            assert_eq!(list(&honest, "").await.0.into_iter().collect::<BTreeSet<_>>(), expected);
        }
        fake.plan(usize::MAX, Fault::OnlyClaimsToEncode, Request::is_list);
        let found_out = lake(&fake);
        for _ in 0..2 {
            assert_eq!(list(&found_out, "").await.0.into_iter().collect::<BTreeSet<_>>(), expected);
        }
        assert!(found_out.requests() <= 8, "looking twice at a few keys is enough, not {}", found_out.requests());
    }
}
