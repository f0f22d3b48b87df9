//! The document of the API, as it is committed.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// `UPDATE=1` rewrites it; each rewrite is to be read, not trusted.
#[test]
fn the_committed_document_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let document = adce_web::openapi();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &document).expect("the document");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == document, "docs/openapi.json is not what the routes say: UPDATE=1 rewrites it");
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own() {
    let document: Value = serde_json::from_str(&adce_web::openapi()).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for reference in found {
        let at = reference.strip_prefix('#').expect("of this document");
        assert!(document.pointer(at).is_some(), "{reference} leads nowhere");
    }
    let operations = document["paths"].as_object().expect("paths").values().flat_map(|path| path.as_object().expect("methods").values());
    let ids: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().expect("a name")).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
}

#[test]
fn what_acts_needs_a_token_and_a_role_in_the_document_too() {
    let document: Value = serde_json::from_str(&adce_web::openapi()).expect("JSON");
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods").iter().filter(|(method, _)| *method != "get") {
            assert_eq!(operation["security"], serde_json::json!([{ "token": [] }]), "{method} {path}");
            assert!(operation["x-role"] == "operator" || operation["x-role"] == "admin", "{method} {path}");
        }
    }
}
