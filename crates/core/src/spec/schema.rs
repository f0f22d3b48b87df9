//! The JSON Schema of the config, from the types that parse it: editors complete and check with it.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::raw::RawConfig;

/// The schema as committed and written by `adce init`; ends in a line end.
pub fn json_schema() -> String {
    let settings = SchemaSettings::draft07().with_transform(WithoutNull);
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<RawConfig>();
    schema.insert("title".into(), "adce.yaml".into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// An optional key may be left out; that does not make `null` worth completing.
#[derive(Clone)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".into(), only);
            }
        }
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
            if let [only] = choices.as_slice() {
                let only = only.clone();
                schema.remove("anyOf");
                match only {
                    // Beside a description a reference must be wrapped.
                    Value::Object(map) if map.contains_key("$ref") => {
                        drop(schema.insert("allOf".into(), Value::Array(vec![Value::Object(map)])))
                    }
                    Value::Object(map) => map.into_iter().for_each(|(key, value)| drop(schema.insert(key, value))),
                    _ => {}
                }
            }
        }
        transform_subschemas(self, schema);
    }
}
