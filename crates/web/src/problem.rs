//! Why a request was not served, as RFC 9457 has it: `application/problem+json`.

use std::time::Duration;

use adce_api::Refusal;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    /// Which, where, what is allowed.
    pub(crate) detail: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
}

/// As it is written.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemLine<'a> {
    /// `about:blank`: the title says what the status means.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// Which, where, what is allowed.
    detail: &'a str,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), hint: None, retry_after: None, allow: None }
    }

    pub(crate) fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Problem")
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Problem {
        Problem { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn after(self, wait: Duration) -> Problem {
        Problem { retry_after: Some(wait), ..self }
    }

    pub(crate) fn allowing(self, methods: &'static str) -> Problem {
        Problem { allow: Some(methods), ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What was asked for has a name that nothing here has.
    pub(crate) fn of_name(refusal: Refusal) -> Problem {
        let problem = Problem::from(refusal);
        if problem.status() == StatusCode::BAD_REQUEST {
            Problem { hint: problem.hint, ..Problem::not_found(problem.detail) }
        } else {
            problem
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        // A request that is wrong stays wrong; whatever else an engine refuses, it may do a moment later.
        let status = if refusal.exit_code == 64 { StatusCode::BAD_REQUEST } else { StatusCode::SERVICE_UNAVAILABLE };
        let problem = Problem { hint: refusal.hint, ..Problem::new(status, refusal.message) };
        if status == StatusCode::SERVICE_UNAVAILABLE { problem.after(Duration::from_secs(1)) } else { problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let line = ProblemLine {
            kind: "about:blank",
            title: self.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
            hint: self.hint.as_deref(),
        };
        let body = serde_json::to_vec(&line).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            // Whole seconds, and never too early.
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"adce\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_too_short() {
        for (wait, told) in [(1, "1"), (1_000, "1"), (1_001, "2")] {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "x").after(Duration::from_millis(wait));
            assert_eq!(problem.into_response().headers()[RETRY_AFTER], told);
        }
    }
}
