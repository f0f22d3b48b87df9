//! One table of what can be asked: each line is at once a route, what it takes and gives, who may, and its place in the document.
//!
//! So the document cannot say something else than the code does: the types in it are those that are parsed and written.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, Query, RawPathParams, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use adce_api::Answers;
use adce_core::access::Role;

use crate::access::Who;
use crate::desk::Desk;
use crate::document::Document;
use crate::listening::Shared;
use crate::problem::Problem;

/// The longest is a question with some names in it.
const BODY_BYTES: usize = 64 * 1024;

/// Nothing can be said beyond the path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// What a route is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) summary: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) needs: Needs,
    /// Of an answer that is none of refusal.
    pub(crate) status: u16,
    /// Of refusals that are its own.
    pub(crate) refusals: &'static [u16],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Whoever watches over machines has no token.
    Nothing,
    /// A viewer's token, unless the config lets everybody look.
    ToLook,
    Role(Role),
}

pub(crate) const fn look(tag: &'static str, summary: &'static str) -> About {
    About { summary, tag, needs: Needs::ToLook, status: 200, refusals: &[] }
}

pub(crate) const fn act(tag: &'static str, summary: &'static str) -> About {
    About { summary, tag, needs: Needs::Role(Role::Operator), status: 200, refusals: &[] }
}

impl About {
    pub(crate) const fn for_everybody(self) -> About {
        About { needs: Needs::Nothing, ..self }
    }

    pub(crate) const fn of_admins(self) -> About {
        About { needs: Needs::Role(Role::Admin), ..self }
    }

    pub(crate) const fn status(self, status: u16) -> About {
        About { status, ..self }
    }

    pub(crate) const fn refuses(self, refusals: &'static [u16]) -> About {
        About { refusals, ..self }
    }
}

/// One request, once it is known who asks.
pub(crate) struct Call {
    pub(crate) site: Arc<Shared>,
    pub(crate) who: Who,
    path: HashMap<String, String>,
}

impl Call {
    pub(crate) fn desk(&self) -> &dyn Desk {
        &*self.site.desk
    }

    pub(crate) fn path(&self, name: &str) -> &str {
        self.path.get(name).map(String::as_str).unwrap_or_default()
    }

    /// For what acts.
    pub(crate) fn acting(&self, reason: Option<&str>) -> Arc<dyn Answers> {
        self.site.desk.on_behalf_of(self.who.name(), reason)
    }
}

pub(crate) struct Api {
    pub(crate) router: Router<Arc<Shared>>,
    pub(crate) document: Document,
}

impl Api {
    pub(crate) fn new() -> Api {
        Api { router: Router::new(), document: Document::new() }
    }

    pub(crate) fn get<Q, R, F, Fut>(mut self, path: &'static str, about: About, answer: F) -> Api
    where
        Q: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema + 'static,
        F: Fn(Call, Q) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Problem>> + Send + 'static,
    {
        self.document.gets::<Q, R>(path, &about);
        let status = StatusCode::from_u16(about.status).unwrap_or(StatusCode::OK);
        let served = move |State(site): State<Arc<Shared>>, request: Request| {
            let answer = answer.clone();
            async move {
                let (call, _, uri, _) = opened(site, request, about.needs).await?;
                Ok::<_, Problem>(json(status, &answer(call, asked(&uri)?).await?))
            }
        };
        self.router = self.router.route(path, get(served));
        self
    }

    /// What is no JSON.
    pub(crate) fn get_as<Q, F, Fut>(mut self, path: &'static str, about: About, media: &'static str, answer: F) -> Api
    where
        Q: DeserializeOwned + JsonSchema + Send + 'static,
        F: Fn(Call, Q) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Problem>> + Send + 'static,
    {
        self.document.gets_as::<Q>(path, &about, media);
        let served = move |State(site): State<Arc<Shared>>, request: Request| {
            let answer = answer.clone();
            async move {
                let (call, _, uri, _) = opened(site, request, about.needs).await?;
                answer(call, asked(&uri)?).await
            }
        };
        self.router = self.router.route(path, get(served));
        self
    }

    pub(crate) fn post<B, R, F, Fut>(mut self, path: &'static str, about: About, answer: F) -> Api
    where
        B: DeserializeOwned + JsonSchema + Send + 'static,
        R: Serialize + JsonSchema + 'static,
        F: Fn(Call, B) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Problem>> + Send + 'static,
    {
        self.document.posts::<B, R>(path, &about);
        let status = StatusCode::from_u16(about.status).unwrap_or(StatusCode::OK);
        let served = move |State(site): State<Arc<Shared>>, request: Request| {
            let answer = answer.clone();
            async move {
                let (call, headers, uri, body) = opened(site, request, about.needs).await?;
                asked::<Nothing>(&uri)?;
                let body = to_bytes(body, BODY_BYTES).await.map_err(|_| {
                    Problem::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        format!("a request has at most {BODY_BYTES} bytes, and comes within its time"),
                    )
                })?;
                let given: B = given(&headers, &body)?;
                let remembered = call.site.repeats.of(&headers, call.who.name(), &uri, &body)?;
                match remembered {
                    None => Ok(json(status, &answer(call, given).await?)),
                    Some(repeat) => repeat.once(async move { Ok(json(status, &answer(call, given).await?)) }).await,
                }
            }
        };
        self.router = self.router.route(path, post(served));
        self
    }
}

/// Who asks may.
async fn opened(site: Arc<Shared>, request: Request, needs: Needs) -> Result<(Call, HeaderMap, http::Uri, axum::body::Body), Problem> {
    let (mut parts, body) = request.into_parts();
    let who = parts.extensions.get::<Who>().cloned().unwrap_or(Who::Anybody);
    match needs {
        Needs::Nothing => {}
        Needs::ToLook if !site.reads_need_a_token => {}
        Needs::ToLook => who.may(Role::Viewer)?,
        Needs::Role(role) => who.may(role)?,
    }
    let path = RawPathParams::from_request_parts(&mut parts, &()).await;
    let path = path.map_err(|_| Problem::bad_request("the path is not UTF-8"))?;
    let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok((Call { site, who, path }, parts.headers, parts.uri, body))
}

fn asked<Q: DeserializeOwned>(uri: &http::Uri) -> Result<Q, Problem> {
    Query::<Q>::try_from_uri(uri).map(|Query(asked)| asked).map_err(|error| Problem::bad_request(without_preamble(&error)))
}

fn without_preamble(error: &dyn std::error::Error) -> String {
    let text = std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string);
    format!("the query is not understood: {}", text.unwrap_or_default())
}

fn given<B: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<B, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_none_or(|kind| kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "what is posted is `application/json`"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body is not understood: {error}")))
}

pub(crate) fn json<R: Serialize>(status: StatusCode, answer: &R) -> Response {
    let body = serde_json::to_vec(answer).expect("answers are plain data with text keys");
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
