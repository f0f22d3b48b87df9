//! The forms: events of S3 (AWS, MinIO and others that speak like it), EventBridge, CloudEvents around either, SNS around any of
//! them, and lists of them.
//!
//! Fields that are not asked for may be there or not; what is asked for must be what it is said to be.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Event, What};
use crate::time::Timestamp;

/// The message is none of the known forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUnderstood {
    #[error("it is no JSON: {0}")]
    NoJson(String),
    #[error("`{0}` is lacking or is not what it should be")]
    Field(&'static str),
    #[error(
        "its form is not known: neither `Records`, nor `detail` with `detail-type`, nor `data` with `specversion`, nor an SNS `Message`"
    )]
    Form,
}

/// SNS in CloudEvents in a list is three; a message that goes deeper is no honest one.
const DEEPEST: usize = 6;

/// All that one message tells. A test message of S3 tells nothing, and neither do events that are no object's.
pub fn read(message: &[u8]) -> Result<Vec<Event>, NotUnderstood> {
    let message: Value = serde_json::from_slice(message).map_err(|error| NotUnderstood::NoJson(error.to_string()))?;
    let mut told = Vec::new();
    any(&message, DEEPEST, &mut told)?;
    Ok(told)
}

fn any(message: &Value, depth: usize, told: &mut Vec<Event>) -> Result<(), NotUnderstood> {
    if depth == 0 {
        return Err(NotUnderstood::Form);
    }
    if let Some(list) = message.as_array() {
        return list.iter().try_for_each(|one| any(one, depth - 1, told));
    }
    if message.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Ok(());
    }
    if let Some(records) = message.get("Records") {
        let records = records.as_array().ok_or(NotUnderstood::Field("Records"))?;
        for record in records {
            told.push(s3_record(record)?);
        }
        return Ok(());
    }
    // SNS, unless it was told to deliver raw messages.
    if let (Some(inner), true) = (message.get("Message"), message.get("TopicArn").is_some()) {
        let inner = inner.as_str().ok_or(NotUnderstood::Field("Message"))?;
        let inner: Value = serde_json::from_str(inner).map_err(|error| NotUnderstood::NoJson(error.to_string()))?;
        return any(&inner, depth - 1, told);
    }
    if let (Some(kind), Some(detail)) = (text(message, "detail-type"), message.get("detail")) {
        told.extend(event_bridge(kind, message, detail)?);
        return Ok(());
    }
    if let (Some(_), Some(data)) = (text(message, "specversion"), message.get("data")) {
        // One record alone, as sources of Knative and others send it.
        if data.get("s3").is_some() {
            told.push(s3_record(data)?);
            return Ok(());
        }
        return any(data, depth - 1, told);
    }
    Err(NotUnderstood::Form)
}

fn s3_record(record: &Value) -> Result<Event, NotUnderstood> {
    // MinIO says `s3:ObjectCreated:Put`, AWS leaves the first part out.
    let name = text(record, "eventName").ok_or(NotUnderstood::Field("eventName"))?;
    let name = name.strip_prefix("s3:").unwrap_or(name);
    let bucket = record.pointer("/s3/bucket/name").and_then(Value::as_str).ok_or(NotUnderstood::Field("s3.bucket.name"))?;
    let object = record.pointer("/s3/object").ok_or(NotUnderstood::Field("s3.object"))?;
    let key = text(object, "key").and_then(form_decoded).ok_or(NotUnderstood::Field("s3.object.key"))?;
    let what = match name.split(':').next() {
        Some("ObjectCreated") => came(object, "eTag"),
        Some("ObjectRemoved" | "LifecycleExpiration") => What::Went,
        _ => What::Changed,
    };
    Ok(Event { bucket: Some(bucket.to_owned()), key, what, at: instant(record, "eventTime") })
}

/// `None`: it is about something else than an object of S3.
fn event_bridge(kind: &str, message: &Value, detail: &Value) -> Result<Option<Event>, NotUnderstood> {
    if text(message, "source") != Some("aws.s3") || !kind.starts_with("Object ") {
        return Ok(None);
    }
    let bucket = detail.pointer("/bucket/name").and_then(Value::as_str).ok_or(NotUnderstood::Field("detail.bucket.name"))?;
    let object = detail.get("object").ok_or(NotUnderstood::Field("detail.object"))?;
    let key = text(object, "key").ok_or(NotUnderstood::Field("detail.object.key"))?;
    let what = match kind {
        "Object Created" => came(object, "etag"),
        "Object Deleted" => What::Went,
        _ => What::Changed,
    };
    Ok(Some(Event { bucket: Some(bucket.to_owned()), key: key.to_owned(), what, at: instant(message, "time") }))
}

fn came(object: &Value, etag: &str) -> What {
    What::Came {
        size: object.get("size").and_then(Value::as_u64),
        etag: text(object, etag).map(|etag| etag.trim_matches('"').to_owned()).filter(|etag| !etag.is_empty()),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// An odd date only makes the event one whose hour is not known.
fn instant(value: &Value, name: &str) -> Option<Timestamp> {
    text(value, name)?.parse().ok()
}

/// A blank is `+`, and other bytes are percent-encoded. `None`: that is no UTF-8, and so no key of S3.
fn form_decoded(key: &str) -> Option<String> {
    let blanks: Cow<'_, str> = if key.contains('+') { key.replace('+', " ").into() } else { key.into() };
    percent_decode_str(&blanks).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn encoded(key: &str) -> String {
        let byte = |byte: u8| match byte {
            b' ' => "+".to_owned(),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        key.bytes().map(byte).collect()
    }

    fn s3_event(key: &str) -> Value {
        json!({ "Records": [{
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventTime": "2025-02-06T01:04:31.998Z", "eventName": "ObjectCreated:Put",
            "s3": { "bucket": { "name": "lake" }, "object": { "key": encoded(key), "size": 9, "eTag": "437b", "sequencer": "00ab" } },
        }] })
    }

    fn event_of_event_bridge(key: &str) -> Value {
        json!({
            "version": "0", "detail-type": "Object Created", "source": "aws.s3", "time": "2025-02-06T01:04:31.998Z",
            "detail": { "bucket": { "name": "lake" }, "object": { "key": key, "size": 9, "etag": "437b" } },
        })
    }

    fn in_sns(message: &Value) -> Value {
        json!({ "Type": "Notification", "TopicArn": "arn:aws:sns:x:1:t", "Message": message.to_string() })
    }

    fn in_cloud_event(data: Value) -> Value {
        json!({ "specversion": "1.0", "type": "any", "source": "s", "id": "1", "data": data })
    }

    proptest! {
        #[test]
        fn a_key_survives_every_form(key in "\\PC{1,40}|[ +%/~#\\[\\]a&=@]{1,20}") {
            let forms = [
                s3_event(&key),
                event_of_event_bridge(&key),
                in_sns(&s3_event(&key)),
                in_cloud_event(s3_event(&key)["Records"][0].clone()),
                in_cloud_event(event_of_event_bridge(&key)),
                json!([in_sns(&in_cloud_event(s3_event(&key)))]),
            ];
            let what = What::Came { size: Some(9), etag: Some("437b".into()) };
            let at = "2025-02-06T01:04:31.998Z".parse().ok();
            for form in forms {
                let told = read(form.to_string().as_bytes());
                prop_assert_eq!(told, Ok(vec![Event { bucket: Some("lake".into()), key: key.clone(), what: what.clone(), at }]), "{}", form);
            }
        }

        #[test]
        fn damaged_messages_are_understood_or_refused(at in 0usize..400, byte: u8, cut in 0usize..400) {
            let whole = in_sns(&s3_event("a b")).to_string().into_bytes();
            let mut damaged = whole.clone();
            let place = at % damaged.len();
            damaged[place] = byte;
            damaged.truncate(if cut % 2 == 0 { cut } else { whole.len() });
            if let Ok(told) = read(&damaged) {
                prop_assert!(told.len() <= 1);
            }
        }
    }

    #[test]
    fn what_went_is_told_from_what_changed() {
        let of = |name: &str| {
            let mut event = s3_event("k");
            event["Records"][0]["eventName"] = name.into();
            read(event.to_string().as_bytes()).map(|told| told[0].what.clone())
        };
        for name in ["ObjectRemoved:Delete", "ObjectRemoved:DeleteMarkerCreated", "s3:ObjectRemoved:Delete", "LifecycleExpiration:Delete"] {
            assert_eq!(of(name), Ok(What::Went), "{name}");
        }
        assert!(matches!(of("s3:ObjectCreated:CompleteMultipartUpload"), Ok(What::Came { .. })));
        for name in ["ObjectRestore:Completed", "ObjectTagging:Put", "SomethingNew"] {
            assert_eq!(of(name), Ok(What::Changed), "{name}");
        }
    }

    #[test]
    fn what_tells_of_no_object_is_no_error_and_what_is_no_event_is_one() {
        let silent = [
            json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b" }),
            json!({ "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2", "detail": {} }),
            json!({ "Records": [] }),
            json!([]),
        ];
        for message in silent {
            assert_eq!(read(message.to_string().as_bytes()), Ok(vec![]), "{message}");
        }
        let mut lacks_key = s3_event("k");
        lacks_key["Records"][0]["s3"]["object"].as_object_mut().unwrap().remove("key");
        let mut deep = s3_event("k");
        (0..9).for_each(|_| deep = json!([deep]));
        let mut no_text = s3_event("k");
        no_text["Records"][0]["s3"]["object"]["key"] = "a%FF".into();
        let refused = [
            (json!({}), NotUnderstood::Form),
            (json!(7), NotUnderstood::Form),
            (deep, NotUnderstood::Form),
            (json!({ "Records": 7 }), NotUnderstood::Field("Records")),
            (lacks_key, NotUnderstood::Field("s3.object.key")),
            (no_text, NotUnderstood::Field("s3.object.key")),
        ];
        for (message, why) in refused {
            assert_eq!(read(message.to_string().as_bytes()), Err(why), "{message}");
        }
        assert!(matches!(read(b"{\"Records\": ["), Err(NotUnderstood::NoJson(_))));
    }

    /// What AWS, MinIO and LocalStack document or have sent.
    #[test]
    fn real_events_are_understood() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dev/s3_events");
        let Ok(files) = std::fs::read_dir(&folder) else {
            eprintln!("not run: there is no {}", folder.display());
            return;
        };
        let mut understood = 0;
        for file in files.flatten().map(|file| file.path()).filter(|file| file.extension().is_some_and(|end| end == "json")) {
            let bytes = std::fs::read(&file).unwrap();
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("localstack") {
                continue;
            }
            let told = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(told.is_empty(), name.contains("test_event"), "{name}");
            assert!(told.iter().all(|told| !told.key.is_empty() && told.bucket.is_some()), "{name}: {told:?}");
            understood += told.len();
        }
        assert!(understood >= 5, "{understood}");
    }
}
