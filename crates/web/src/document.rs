//! The OpenAPI document, from the table of routes.
//!
//! Its schemas come from the types by `schemars`, as the config's does: one derive serves both, also for types of the core, and OpenAPI
//! 3.1 is JSON Schema.

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::problem::{self, ProblemLine};
use crate::routes::{About, Needs};

/// As committed: `docs/openapi.json`.
pub fn openapi() -> String {
    let mut text = serde_json::to_string_pretty(&crate::listening::api().document.finished()).unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) struct Document {
    paths: Map<String, Value>,
    /// Of what is answered.
    answers: SchemaGenerator,
    /// Of what is asked: each where it stands.
    asks: SchemaGenerator,
}

impl Document {
    pub(crate) fn new() -> Document {
        let settings = |contract, inline| {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
            settings.contract = contract;
            settings.inline_subschemas = inline;
            SchemaGenerator::new(settings)
        };
        let mut answers = settings(Contract::Serialize, false);
        answers.subschema_for::<ProblemLine<'_>>();
        Document { paths: Map::new(), answers, asks: settings(Contract::Deserialize, true) }
    }

    pub(crate) fn gets<Q: JsonSchema, R: JsonSchema>(&mut self, path: &str, about: &About) {
        let schema = self.answers.subschema_for::<R>().to_value();
        let parameters = self.parameters::<Q>(path);
        self.put("get", path, about, parameters, None, json!({ "application/json": { "schema": schema } }));
    }

    pub(crate) fn gets_as<Q: JsonSchema>(&mut self, path: &str, about: &About, media: &str) {
        let parameters = self.parameters::<Q>(path);
        self.put("get", path, about, parameters, None, json!({ media: { "schema": { "type": "string" } } }));
    }

    pub(crate) fn posts<B: JsonSchema, R: JsonSchema>(&mut self, path: &str, about: &About) {
        let schema = self.answers.subschema_for::<R>().to_value();
        let asked = self.asks.root_schema_for::<B>().to_value();
        let is_needed = asked.get("required").is_some_and(|required| required.as_array().is_some_and(|names| !names.is_empty()));
        let body = json!({ "required": is_needed, "content": { "application/json": { "schema": asked } } });
        let mut parameters = self.path_parameters(path);
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": { "type": "string", "pattern": "^[!-~]{1,255}$" },
            "description": "The same request with the same key is done once, and answered alike for a day.",
        }));
        self.put("post", path, about, parameters, Some(body), json!({ "application/json": { "schema": schema } }));
    }

    fn path_parameters(&self, path: &str) -> Vec<Value> {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })).collect()
    }

    fn parameters<Q: JsonSchema>(&mut self, path: &str) -> Vec<Value> {
        let mut parameters = self.path_parameters(path);
        let asked = self.asks.root_schema_for::<Q>().to_value();
        let required = asked.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for (name, schema) in asked.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let mut schema = schema.clone();
            without_null(&mut schema);
            let described = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            let mut parameter = json!({ "name": name, "in": "query", "required": required.contains(&json!(name)), "schema": schema });
            if let (Some(described), Some(parameter)) = (described, parameter.as_object_mut()) {
                parameter.insert("description".into(), described);
            }
            parameters.push(parameter);
        }
        parameters
    }

    fn put(&mut self, method: &str, path: &str, about: &About, parameters: Vec<Value>, body: Option<Value>, content: Value) {
        let refusal = |what: &str| {
            let schema = json!({ "$ref": "#/components/schemas/Problem" });
            json!({ "description": what, "content": { problem::MEDIA_TYPE: { "schema": schema } } })
        };
        let mut responses = Map::new();
        responses.insert(about.status.to_string(), json!({ "description": about.summary, "content": content }));
        let may_be = |needed: bool, status: u16| needed.then_some(status);
        let takes = !parameters.is_empty() || body.is_some();
        let usual = [
            may_be(takes, 400),
            may_be(about.needs != Needs::Nothing, 401),
            may_be(about.needs != Needs::Nothing, 403),
            may_be(path.contains('{'), 404),
            may_be(body.is_some(), 413),
            may_be(body.is_some(), 415),
            may_be(body.is_some(), 422),
            Some(421),
            Some(429),
            Some(503),
        ];
        let mut refusals: Vec<u16> = usual.into_iter().flatten().chain(about.refusals.iter().copied()).collect();
        refusals.sort_unstable();
        refusals.dedup();
        for status in refusals {
            let words = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
            responses.entry(status.to_string()).or_insert_with(|| refusal(words));
        }
        let id: Vec<&str> = path.split(['/', '{', '}', '-', '.']).filter(|part| !part.is_empty()).collect();
        let id = id.join("_");
        let mut operation = json!({
            "operationId": format!("{method}_{id}"), "summary": about.summary, "tags": [about.tag],
            "parameters": parameters, "responses": responses,
        });
        let security = match about.needs {
            Needs::Nothing => json!([]),
            Needs::ToLook => json!([{}, { "token": [] }]),
            Needs::Role(_) => json!([{ "token": [] }]),
        };
        if let Some(operation) = operation.as_object_mut() {
            if let Needs::Role(role) = about.needs {
                operation.insert("x-role".into(), role.word().into());
            }
            operation.insert("security".into(), security);
            operation.extend(body.map(|body| ("requestBody".to_owned(), body)));
        }
        let at = self.paths.entry(path).or_insert_with(|| json!({}));
        if let Some(at) = at.as_object_mut() {
            at.insert(method.into(), operation);
        }
    }

    pub(crate) fn finished(mut self) -> Value {
        let schemas = self.answers.take_definitions(true);
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "adce",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "A running engine: what is there, what is missing, what is done about it. Instants are RFC 3339 in UTC, spans \
                                seconds; a refusal is a problem of RFC 9457.",
            },
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "token": { "type": "http", "scheme": "bearer", "description": "Made by `adce token create NAME --role ROLE`." },
                },
            },
        })
    }
}

/// What is left out of a query is not there; nothing in it is `null`.
fn without_null(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = map.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &types[..] {
            let only = only.clone();
            map.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [only] = &choices[..] {
            let only = only.clone();
            map.remove("anyOf");
            if let Value::Object(only) = only {
                map.extend(only);
            }
        }
    }
    if map.get("default").is_some_and(Value::is_null) {
        map.remove("default");
    }
}
