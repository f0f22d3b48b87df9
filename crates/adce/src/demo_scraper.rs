//! The scraper of the demo's second dataset: an ordinary program that knows nothing of limits. It reads its items from
//! `$ADCE_ITEMS`, asks `$ADCE_GATEWAY/arena/…` for each, and writes what it got where the items file says.
//!
//! It is part of the binary only because the demo must not need Python or curl.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Line {
    key: String,
    out: PathBuf,
    values: Values,
}

#[derive(Deserialize)]
struct Values {
    game_id: String,
    quarter: String,
}

/// Collects every item; `false` if one failed.
pub async fn scrape() -> Result<bool> {
    let gateway = std::env::var("ADCE_GATEWAY").context("`ADCE_GATEWAY` is not set: adce runs this command, people do not")?;
    let items = std::env::var("ADCE_ITEMS").context("`ADCE_ITEMS` is not set")?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let lines: Vec<String> = BufReader::new(std::fs::File::open(items)?).lines().collect::<std::io::Result<_>>()?;
    let mut failed = false;
    for (done, line) in lines.iter().enumerate() {
        let item: Line = serde_json::from_str(line)?;
        let (outcome, message) = fetch(&client, &gateway, &item).await;
        failed |= outcome == "failed";
        say!("{}", json!({"adce": 1, "key": item.key, "outcome": outcome, "message": message}));
        say!("{}", json!({"adce": 1, "progress": {"done": done + 1, "of": lines.len()}}));
    }
    Ok(!failed)
}

/// The outcome in the words of the contract, and what there is to say about it.
async fn fetch(client: &reqwest::Client, gateway: &str, item: &Line) -> (&'static str, String) {
    let url = format!("{gateway}/arena/box/{}/{}", item.values.game_id, item.values.quarter);
    let answer = match client.get(url).send().await {
        Ok(answer) => answer,
        Err(error) => return ("failed", format!("no answer: {error}")),
    };
    match answer.status().as_u16() {
        200 => {}
        404 => return ("absent", "404".into()),
        status => return ("failed", format!("answer {status}")),
    }
    match answer.bytes().await {
        Err(error) => ("failed", format!("the answer broke off: {error}")),
        Ok(body) => match std::fs::write(&item.out, body) {
            Err(error) => ("failed", format!("cannot write: {error}")),
            Ok(()) => ("done", String::new()),
        },
    }
}
