//! A fetch whose answer may be kept: asked about instead of asked for, where one is kept, and kept where one comes.

use adce_core::kept::{Asked, Keeping, KeptAnswer, KeptAnswers, Validators, kept_headers};
use http::header::{CONTENT_LENGTH, ETAG, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use reqwest::Response;
use url::Url;

pub(crate) struct Inquiry<'a> {
    kept: &'a dyn KeptAnswers,
    asked: Asked,
    found: Option<KeptAnswer>,
}

/// What a 304 is about.
pub(crate) enum Held {
    Kept(KeptAnswer),
    Another,
}

impl<'a> Inquiry<'a> {
    /// Asks for news only, if anything is kept and not `forgotten`. `None`: the answer is not to be kept.
    pub(crate) fn about(kept: &'a dyn KeptAnswers, url: &Url, headers: &mut HeaderMap, forgotten: bool) -> Option<Self> {
        let asked = Asked::get(url.as_str(), plainly(headers))?;
        let found = if forgotten { None } else { kept.find(&asked) };
        for (name, value) in found.iter().flat_map(|found| found.validators.conditions()) {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        Some(Inquiry { kept, asked, found })
    }

    /// What a 304 is about; `None`: nobody here had asked for news.
    pub(crate) fn holds(self, said: &HeaderMap) -> Option<Held> {
        let found = self.found?;
        if found.validators.are_meant_by(said.get(ETAG).and_then(|etag| etag.to_str().ok())) {
            return Some(Held::Kept(found));
        }
        self.kept.forget(&self.asked);
        Some(Held::Another)
    }

    /// Begins to keep this answer, if it may be kept.
    pub(crate) fn keep(self, answer: &Response) -> Option<Box<dyn Keeping>> {
        let headers = answer.headers();
        let is_framed =
            answer.version() == Version::HTTP_2 || headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        let validators = Validators::of_answer(answer.status().as_u16(), is_framed, plainly(headers))?;
        self.kept.keep(&self.asked, validators, kept_headers(plainly(headers)))
    }
}

fn plainly(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}
