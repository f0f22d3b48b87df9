//! `lake.events` and `lake.watch`: what tells of changes between two full looks.

use super::Loader;
use crate::spec::decode::Text;
use crate::spec::problem::Place;
use crate::spec::raw::{RawLake, RawWebhook};
use crate::spec::{Events, LakeUrl, WebhookRule};

const LISTENS_AT: &str = "127.0.0.1:7781";

/// Where to point at if there is something wrong with it.
fn place_of<'a>(raw: &'a RawWebhook, url: &'a Text) -> &'a Place {
    let token = raw.token.0.as_ref().and_then(|token| token.secret.as_ref().or(token.secret_file.as_ref()));
    &raw.listen.as_ref().or(token).unwrap_or(url).at
}

impl Loader<'_> {
    pub(super) fn events(&mut self, lake: Option<&LakeUrl>) -> Events {
        let Some(map) = self.raw.lake.0.as_ref().and_then(RawLake::map) else { return Events::default() };
        let mut events = Events { watch: map.watch.as_ref().is_none_or(|watch| watch.value), ..Events::default() };
        let is_folder = matches!(lake, Some(LakeUrl::Folder(_)));
        if let (Some(watch), Some(LakeUrl::S3 { .. })) = (&map.watch, lake) {
            let message = "`lake.watch`: a folder can be watched, and this lake is a bucket";
            self.error_with(&watch.at, message, "leave it out; a bucket tells by `events: { sqs: … }` or `events: { webhook: … }`");
        }
        let Some(raw) = &map.events else { return events };
        let Some(url) = map.url.0.as_ref() else { return events };
        for at in [raw.sqs.as_ref().map(|text| &text.at), raw.webhook.as_ref().map(|raw| place_of(raw, url))].into_iter().flatten() {
            if is_folder {
                self.error_with(at, "`lake.events`: buckets send events, and this lake is a folder", "leave it out: a folder is watched");
            }
        }
        if let Some(text) = &raw.sqs {
            let is_queue = url::Url::parse(&text.text).is_ok_and(|url| {
                matches!(url.scheme(), "https" | "http") && url.host().is_some() && url.path().len() > 1 && url.query().is_none()
            });
            match is_queue {
                true => events.sqs = Some(text.text.clone()),
                false => self.error_with(
                    &text.at,
                    format!("`lake.events.sqs`: `{}` is no URL of a queue", text.text),
                    "as `aws sqs get-queue-url` tells it: https://sqs.us-east-1.amazonaws.com/123456789012/nba-events",
                ),
            }
        }
        if let Some(raw) = &raw.webhook {
            let listen = raw.listen.as_ref().map_or(LISTENS_AT, |text| text.text.as_str()).parse();
            let token = raw.token.0.as_ref().and_then(|token| self.secret_at("`lake.events.webhook`: `token`", place_of(raw, url), token));
            match (listen, token) {
                (Ok(listen), Some(token)) => events.webhook = Some(WebhookRule { listen, token }),
                (Err(_), _) => {
                    let text = raw.listen.as_ref().expect("the default is an address");
                    let message = format!("`lake.events.webhook.listen`: `{}` is no address and port", text.text);
                    self.error_with(&text.at, message, format!("write for example `listen: {LISTENS_AT}`"));
                }
                (Ok(_), None) => {}
            }
        }
        events
    }
}
