//! Plain lines for logs and pipes: what failed, and every ten seconds how far it is.

use std::io::Write;
use std::time::Duration;

use adce_core::figures::{grouped, span};
use adce_core::time::Timestamp;
use adce_engine::{Notice, Snapshot};
use tokio::sync::{mpsc, watch};

const BETWEEN_REPORTS: Duration = Duration::from_secs(10);

pub(super) async fn until_done(
    mut out: Box<dyn Write + Send>,
    snapshots: watch::Receiver<Snapshot>,
    mut notices: mpsc::UnboundedReceiver<Notice>,
) {
    let mut reports = tokio::time::interval(BETWEEN_REPORTS);
    reports.tick().await;
    loop {
        tokio::select! {
            notice = notices.recv() => match notice {
                None => break,
                Some(notice) => line(&mut out, snapshots.borrow().at, said(&notice)),
            },
            _ = reports.tick() => {
                let snapshot = snapshots.borrow().clone();
                line(&mut out, snapshot.at, Some(how_far(&snapshot)));
            }
        }
    }
}

fn line(out: &mut Box<dyn Write + Send>, at: Timestamp, text: Option<String>) {
    // Nobody reads any more: that must not stop the engine.
    if let Some(text) = text {
        let _ = writeln!(out, "{} {text}", at.strftime("%H:%M:%S"));
    }
}

/// Filled items are counted, not listed: there may be a hundred thousand.
fn said(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::Filled { .. } | Notice::Unchanged { .. } => return None,
        Notice::Absent { key } => format!("absent {key}: upstream has no such thing"),
        Notice::Failed { key, collector, message } => format!("failed {key} ({collector}): {}", message.replace('\n', " ")),
        Notice::Looked { complete: true, .. } => "looked: complete".into(),
        Notice::Looked { gaps, .. } => format!("looked: {} gaps", grouped(*gaps)),
        Notice::NotListed { prefix, error } => format!("could not list `{prefix}`: {error}; nothing is concluded from that"),
        Notice::LookFailed(error) => format!("could not look again: {error}; what was seen before stays in force"),
        Notice::ManyGaps(gaps) => format!("{} gaps are started for the first time", grouped(*gaps)),
        Notice::Surprise(surprise) => format!("held: {surprise}"),
    })
}

fn how_far(snapshot: &Snapshot) -> String {
    let totals = &snapshot.totals;
    let eta =
        snapshot.eta.map(|eta| format!(", about {} left", span(Duration::try_from(eta.duration_since(snapshot.at)).unwrap_or_default())));
    format!(
        "{} filled, {} absent, {} attempts failed; {} gaps to go, {} running{}",
        grouped(totals.filled),
        grouped(totals.absent),
        grouped(totals.failed),
        grouped(snapshot.gaps.open()),
        snapshot.running.len(),
        eta.unwrap_or_default()
    )
}
