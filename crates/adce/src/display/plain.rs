//! Plain lines for logs and pipes: what failed, and every ten seconds how far it is.

use std::io::Write;
use std::time::{Duration, Instant};

use adce_core::figures::{counted, grouped, span};
use adce_core::time::Timestamp;
use adce_engine::{Notice, Phase, Snapshot};
use tokio::sync::{mpsc, watch};

use crate::views;

const BETWEEN_REPORTS: Duration = Duration::from_secs(10);

/// Writes what happened with each new snapshot, several times a second: a line at once for each of a thousand attempts a
/// second would cost more than the attempts.
pub(super) async fn until_done(
    mut out: Box<dyn Write + Send>,
    mut snapshots: watch::Receiver<Snapshot>,
    mut notices: mpsc::UnboundedReceiver<Notice>,
) {
    let (mut reported, mut last) = (Instant::now(), String::new());
    loop {
        let goes_on = snapshots.changed().await.is_ok();
        let snapshot = snapshots.borrow_and_update().clone();
        let mut lines = String::new();
        while let Ok(notice) = notices.try_recv() {
            lines.extend(said(&notice).map(|text| line(snapshot.at, &text)));
        }
        if goes_on && reported.elapsed() >= BETWEEN_REPORTS {
            reported = Instant::now();
            // An engine that stays says it once, however long nothing happens.
            let text = how_far(&snapshot);
            if text != last {
                lines.push_str(&line(snapshot.at, &text));
                last = text;
            }
        }
        // Nobody reads any more: that must not stop the engine.
        let _ = out.write_all(lines.as_bytes());
        if !goes_on {
            return;
        }
    }
}

fn line(at: Timestamp, text: &str) -> String {
    format!("{} {text}\n", at.strftime("%H:%M:%S"))
}

/// Filled items are counted, not listed: there may be a hundred thousand.
pub fn said(notice: &Notice) -> Option<String> {
    Some(match notice {
        Notice::Filled { .. } | Notice::Unchanged { .. } => return None,
        Notice::Absent { key } => format!("absent {key}: upstream has no such thing"),
        Notice::Failed { key, collector, message, exhausted_until: None, .. } => {
            format!("failed {key} ({collector}): {}", one_line(message))
        }
        Notice::Failed { key, collector, message, exhausted_until: Some(until), .. } => {
            let until = until.strftime("%Y-%m-%d %H:%M:%S UTC");
            format!("exhausted {key} ({collector}), all attempts are used up, revived {until}: {}", one_line(message))
        }
        Notice::Looked { complete: true, .. } => "looked: complete".into(),
        Notice::Looked { gaps, .. } => format!("looked: {}", counted(*gaps, "gap")),
        Notice::NotListed { prefix, error } => format!("could not list `{prefix}`: {error}; nothing is concluded from that"),
        Notice::ReportRefused(why) => why.clone(),
        Notice::LookFailed(error) => format!("could not look again: {error}; what was seen before stays in force"),
        Notice::ManyGaps(gaps) => format!("{} gaps are started for the first time", grouped(*gaps)),
        Notice::ConfigEdited(edited) => {
            let errors = edited.errors.iter().map(|error| format!("\n{error}"));
            format!("config {}{}", views::edited(edited), errors.collect::<String>())
        }
        Notice::LeasesExpired { attempts, after } => {
            format!(
                "nothing moved for {} (did the machine sleep?): the leases of {} had expired, and hold again",
                span(*after),
                counted(*attempts, "attempt")
            )
        }
        Notice::ByHand(what) | Notice::HeldBack(what) => what.clone(),
        Notice::Surprise(surprise) => format!("held: {surprise}"),
        Notice::Doubted { source, absences, of, probe_at } => format!(
            "doubted {source}: {absences} of its last {of} answers are \"no such thing\", which is not believed; one is asked again {}",
            views::clock(*probe_at)
        ),
        Notice::Contested { key, until } => {
            format!(
                "contested {key}: filled and gone three times in a day; left alone until {}, or `adce accept {key}`",
                views::clock(*until)
            )
        }
    })
}

fn one_line(message: &str) -> String {
    message.replace('\n', " ")
}

fn how_far(snapshot: &Snapshot) -> String {
    let totals = &snapshot.totals;
    let by_hand = match snapshot.guests as u64 {
        0 => String::new(),
        guests => format!(", {} by hand (adce exec)", counted(guests, "program")),
    };
    let onward = match (&snapshot.phase, snapshot.eta) {
        (Phase::Waiting { until }, _) => format!(", the next try is at {}", until.strftime("%H:%M:%S")),
        (_, Some(eta)) => format!(", about {} left", span(Duration::try_from(eta.duration_since(snapshot.at)).unwrap_or_default())),
        (_, None) => String::new(),
    };
    let exhausted = match snapshot.gaps.exhausted {
        0 => String::new(),
        gaps => format!(", {} exhausted", grouped(gaps)),
    };
    format!(
        "{} filled, {} absent, {} failed; {} to go, {} running{exhausted}{by_hand}{}",
        grouped(totals.filled),
        grouped(totals.absent),
        counted(totals.failed, "attempt"),
        counted(snapshot.gaps.open(), "gap"),
        snapshot.running.len(),
        onward
    )
}
