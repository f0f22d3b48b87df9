//! Who is logged in, and what his forms do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adce_core::access::Role;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use maud::html;
use serde::Deserialize;
use tokio::time::Instant;

use super::{View, to};
use crate::access::{Who, of_token};
use crate::acts;
use crate::desk::Desk;
use crate::listening::Shared;
use crate::problem::Problem;

const LASTS: Duration = Duration::from_secs(12 * 3_600);
const KEPT_AT_MOST: usize = 1_000;
const COOKIE_NAME: &str = "adce_session";
/// Usual when somebody cancels by a page: he comes back to it.
const ALONE_FOR: Duration = Duration::from_secs(3_600);

#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) who: Who,
    /// What each of its forms has to say.
    pub(crate) word: String,
    since: Instant,
}

/// By a digest of what the cookie says.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

impl Sessions {
    /// What the cookie is to say.
    fn begin(&self, who: Who) -> String {
        let (secret, word) = (random(), random());
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.since.elapsed() < LASTS);
        if sessions.len() >= KEPT_AT_MOST
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.since).map(|(name, _)| *name)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(digest(&secret), Session { who, word, since: Instant::now() });
        secret
    }

    /// As long as it lasts and the token of it holds, with the role that it has now.
    pub(crate) fn of(&self, headers: &HeaderMap, desk: &dyn Desk) -> Option<Session> {
        let name = digest(cookie(headers)?);
        let session = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()?;
        let now = desk.now();
        let tokens = desk.known_tokens();
        let token = tokens.iter().find(|token| token.name == session.who.name() && token.holds(now));
        match token.filter(|_| session.since.elapsed() < LASTS) {
            Some(token) => Some(Session { who: Who::Token { name: token.name.clone(), role: token.role }, ..session }),
            None => {
                self.end(headers);
                None
            }
        }
    }

    fn end(&self, headers: &HeaderMap) {
        if let Some(secret) = cookie(headers) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(secret));
        }
    }
}

fn random() -> String {
    adce_core::access::token_of(&rand::random())
}

fn digest(secret: &str) -> [u8; 32] {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    all.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value)
}

#[derive(Deserialize)]
pub(super) struct Back {
    back: Option<String>,
}

/// A path of ours and nothing else, whatever a link says.
fn ours(back: Option<&str>) -> &str {
    let is_ours = |back: &&str| {
        back.starts_with('/') && !back.starts_with("//") && !back.contains('\\') && back.bytes().all(|byte| byte.is_ascii_graphic())
    };
    back.filter(is_ours).unwrap_or("/")
}

pub(super) async fn page(State(site): State<Arc<Shared>>, axum::extract::Query(Back { back }): axum::extract::Query<Back>) -> Response {
    let view = View { site, who: Who::Anybody, word: None, here: "/login".into() };
    form(&view, back.as_deref(), None)
}

fn form(view: &View, back: Option<&str>, wrong: Option<&str>) -> Response {
    let body = html! {
        h1 { "Log in" }
        @if let Some(wrong) = wrong { p.note.bad role="alert" { (wrong) } }
        p { "With a token, which somebody at a shell of this machine makes: " code { "adce token create NAME --role operator" } }
        form.filters method="post" action="/login" {
            input type="hidden" name="back" value=(ours(back));
            div {
                label for="token" { "Token" }
                input id="token" name="token" type="password" autocomplete="current-password" required size="40" autofocus;
            }
            button.strong type="submit" { "Log in" }
        }
    };
    let status = if wrong.is_some() { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
    view.show_with(status, "Log in", &body)
}

#[derive(Deserialize)]
pub(super) struct LogIn {
    token: String,
    back: Option<String>,
}

pub(super) async fn log_in(
    State(site): State<Arc<Shared>>,
    peer: Option<axum::Extension<crate::listening::Peer>>,
    Form(asked): Form<LogIn>,
) -> Response {
    let view = View { site: site.clone(), who: Who::Anybody, word: None, here: "/login".into() };
    if let Err(problem) = site.may_show_a_token(peer.map(|peer| peer.0)) {
        return view.refuse(&problem);
    }
    let Some(who) = of_token(asked.token.trim(), &*site.desk, site.desk.now()) else {
        site.was_wrong(peer.map(|peer| peer.0));
        return form(&view, asked.back.as_deref(), Some("The token is unknown, revoked or expired."));
    };
    let secure = if site.is_encrypted { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}", site.sessions.begin(who), LASTS.as_secs());
    let mut response = to(ours(asked.back.as_deref()));
    response.headers_mut().extend(HeaderValue::from_str(&cookie).ok().map(|cookie| (SET_COOKIE, cookie)));
    response
}

#[derive(Deserialize)]
pub(super) struct Asked {
    word: Option<String>,
    back: Option<String>,
    what: Option<String>,
    reason: Option<String>,
}

pub(super) async fn log_out(view: View, headers: HeaderMap, Form(asked): Form<Asked>) -> Response {
    if let Err(problem) = says_its_word(&view, &asked) {
        return view.refuse(&problem);
    }
    view.site.sessions.end(&headers);
    let mut response = to("/");
    let over = format!("{COOKIE_NAME}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    response.headers_mut().extend(HeaderValue::from_str(&over).ok().map(|cookie| (SET_COOKIE, cookie)));
    response
}

fn says_its_word(view: &View, asked: &Asked) -> Result<(), Problem> {
    let Some(word) = &view.word else {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "your session is over, or you are not logged in")
            .hint("log in again, and try once more"));
    };
    // Digests compare in constant time.
    let is_right = asked.word.as_ref().is_some_and(|said| blake3::hash(said.as_bytes()) == blake3::hash(word.as_bytes()));
    if is_right {
        Ok(())
    } else {
        Err(Problem::new(StatusCode::FORBIDDEN, "the form is not one of this session").hint("load the page again"))
    }
}

/// What a form wants done.
pub(super) async fn act(Path(act): Path<String>, view: View, Form(asked): Form<Asked>) -> Response {
    match done(&view, &act, &asked).await {
        Ok(()) => to(ours(asked.back.as_deref())),
        Err(problem) => view.refuse(&problem).into_response(),
    }
}

async fn done(view: &View, act: &str, asked: &Asked) -> Result<(), Problem> {
    says_its_word(view, asked)?;
    view.who.may(Role::Operator)?;
    let reason = asked.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let engine = view.site.desk.on_behalf_of(view.who.name(), reason);
    let what = asked.what.as_deref().filter(|what| !what.is_empty());
    match (act, what) {
        ("retry", Some(what)) => drop(engine.retry(Some(what)).await.map_err(Problem::of_name)?.count()),
        ("cancel", Some(what)) => drop(engine.cancel(what, ALONE_FOR).await.map_err(Problem::of_name)?.count()),
        ("pause", what) => drop(engine.pause(what, reason.map(String::from)).await?),
        ("resume", what) => drop(engine.resume(what, false).await?),
        ("look", _) => acts::begin(&*engine).await?,
        _ => return Err(Problem::not_found("no form of ours asks for that")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_by_a_link_to_the_login() {
        for (back, goes) in [
            (Some("/queue?state=held"), "/queue?state=held"),
            (Some("//evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("/\r\nSet-Cookie: x"), "/"),
            (None, "/"),
        ] {
            assert_eq!(ours(back), goes, "{back:?}");
        }
    }
}
