//! The pages: what the API tells, for people. Made here, whole without a script; one script of ours renews them when something moves.
//!
//! Whoever is logged in acts by forms. A form carries a word that only his session knows, and his cookie is not sent along with a request
//! that another site's page makes (`a_form_does_what_its_session_may_and_without_its_word_nothing`).

mod coverage;
mod history;
mod now;
mod queue;
mod session;
mod sources;
mod words;

use std::sync::Arc;

use adce_core::access::Role;
use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use maud::{DOCTYPE, Markup, html};

use crate::access::Who;
use crate::desk::Desk;
use crate::listening::Shared;
use crate::problem::Problem;

pub(crate) use session::Sessions;

pub(crate) fn routes(router: Router<Arc<Shared>>) -> Router<Arc<Shared>> {
    router
        .route("/", get(now::page))
        .route("/coverage", get(coverage::page))
        .route("/items", get(coverage::items))
        .route("/item", get(coverage::item))
        .route("/queue", get(queue::page))
        .route("/task/{id}", get(queue::task))
        .route("/sources", get(sources::page))
        .route("/cycles", get(history::cycles))
        .route("/config", get(history::config))
        .route("/audit", get(history::audit))
        .route("/api", get(history::api))
        .route("/picture/trend.svg", get(history::trend))
        .route("/picture/coverage.svg", get(coverage::picture))
        .route("/login", get(session::page).post(session::log_in))
        .route("/logout", post(session::log_out))
        .route("/do/{act}", post(session::act))
        .route("/static/adce.css", get(async || asset("text/css; charset=utf-8", include_str!("adce.css"))))
        .route("/static/adce.js", get(async || asset("text/javascript; charset=utf-8", include_str!("adce.js"))))
        .route("/static/adce.svg", get(async || asset("image/svg+xml", ICON)))
        .route("/favicon.ico", get(async || asset("image/svg+xml", ICON)))
}

const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><rect width=\"16\" height=\"16\" rx=\"3\" fill=\"#15803d\"/>\
                    <path d=\"M3 12h2V8H3zm4 0h2V4H7zm4 0h2V6h-2z\" fill=\"#fff\"/></svg>";

fn asset(kind: &'static str, text: &'static str) -> Response {
    let mut response = text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Somebody who looks at a page.
pub(crate) struct View {
    pub(crate) site: Arc<Shared>,
    pub(crate) who: Who,
    /// The word of his session's forms; `None`: he is not logged in.
    word: Option<String>,
    /// Where he is, to come back to.
    here: String,
}

impl FromRequestParts<Arc<Shared>> for View {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Shared>) -> Result<View, Response> {
        let session = site.sessions.of(&parts.headers, &*site.desk);
        let who = match &session {
            Some(session) => session.who.clone(),
            None => parts.extensions.get::<Who>().cloned().unwrap_or(Who::Anybody),
        };
        let here = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let view = View { site: site.clone(), who, word: session.map(|session| session.word), here };
        if site.reads_need_a_token && view.who.role().is_none() {
            return Err(to(&format!("/login?{}", form_urlencoded(&[("back", &view.here)]))));
        }
        Ok(view)
    }
}

fn form_urlencoded(pairs: &[(&str, &str)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        text.append_pair(name, value);
    }
    text.finish()
}

/// A link to a page of ours.
fn link(path: &str, pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", form_urlencoded(pairs)) }
}

/// Look there.
fn to(path: &str) -> Response {
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response()
}

impl View {
    pub(crate) fn desk(&self) -> &dyn Desk {
        &*self.site.desk
    }

    fn may(&self, role: Role) -> bool {
        self.word.is_some() && self.who.role().is_some_and(|own| own >= role)
    }

    /// A button that does something; nothing for who may not.
    fn button(&self, act: &str, fields: &[(&str, &str)], label: &str, about: &str) -> Markup {
        html! {
            @if let (Some(word), true) = (&self.word, self.may(Role::Operator)) {
                form.line method="post" action={ "/do/" (act) } {
                    input type="hidden" name="word" value=(word);
                    input type="hidden" name="back" value=(self.here);
                    @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
                    button type="submit" { (label) span.unseen { " " (about) } }
                }
            }
        }
    }

    /// A whole page.
    fn show(&self, title: &str, body: &Markup) -> Response {
        self.show_with(StatusCode::OK, title, body)
    }

    fn show_with(&self, status: StatusCode, title: &str, body: &Markup) -> Response {
        let pages = [
            ("/", "Now"),
            ("/coverage", "Coverage"),
            ("/queue", "Queue"),
            ("/sources", "Sources"),
            ("/cycles", "Cycles"),
            ("/config", "Config"),
            ("/audit", "Audit"),
            ("/api", "API"),
        ];
        let at = self.here.split('?').next().unwrap_or("/");
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) " · adce" }
                    link rel="icon" href="/static/adce.svg" type="image/svg+xml";
                    link rel="stylesheet" href="/static/adce.css";
                    script src="/static/adce.js" defer {}
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    header {
                        span.name { "adce" }
                        nav aria-label="Pages" {
                            ul {
                                @for (path, name) in pages {
                                    li { a href=(path) aria-current=[(at == path).then_some("page")] { (name) } }
                                }
                            }
                        }
                        div.who {
                            @match (&self.who, &self.word) {
                                (Who::Token { name, role }, Some(word)) => {
                                    span { (name) " " span.faint { "(" (role.word()) ")" } }
                                    form.line method="post" action="/logout" {
                                        input type="hidden" name="word" value=(word);
                                        button type="submit" { "Log out" }
                                    }
                                }
                                _ => a href=(link("/login", &[("back", &self.here)])) { "Log in" }
                            }
                        }
                    }
                    main id="main" data-live="" { (body) }
                    p.unseen id="told" role="status" aria-live="polite" {}
                }
            }
        };
        let mut response = (status, page.into_string()).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Why it was not done, or cannot be shown.
    fn refuse(&self, problem: &Problem) -> Response {
        let body = html! {
            h1 { (problem.title()) }
            p.note.bad role="alert" { (problem.detail) @if let Some(hint) = &problem.hint { " " (hint) } }
            p { a href="/" { "To what is now" } }
        };
        self.show_with(problem.status(), problem.title(), &body)
    }

    fn answered(&self, title: &str, body: Result<Markup, Problem>) -> Response {
        match body {
            Ok(body) => self.show(title, &body),
            Err(problem) => self.refuse(&problem),
        }
    }
}

/// Where nothing is: a page for a browser, a problem for a program.
pub(crate) async fn nothing(State(site): State<Arc<Shared>>, request: Request) -> Response {
    let problem = Problem::not_found("nothing is here").hint("`/` is for people, and `/v1/openapi.json` tells what there is for programs");
    let (mut parts, _) = request.into_parts();
    let accept = parts.headers.get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if !accept.is_some_and(|accept| accept.contains("text/html")) {
        return problem.into_response();
    }
    match View::from_request_parts(&mut parts, &site).await {
        Ok(view) => view.refuse(&problem),
        Err(elsewhere) => elsewhere,
    }
}

/// An SVG that brings its own style: nothing else may be in it.
fn drawing(svg: String) -> Response {
    let mut response = svg.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(http::header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"));
    response
}
