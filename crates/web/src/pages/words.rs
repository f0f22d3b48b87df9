//! Figures and instants as people read them.

use std::time::Duration;

use adce_core::figures::{grouped, percent, span};
use adce_core::gap::GapState;
use adce_core::time::Timestamp;
use maud::{Markup, html};

pub(super) fn instant(at: Timestamp) -> Markup {
    html! { time datetime=(at.to_string()) { (at.strftime("%Y-%m-%d %H:%M:%S")) } }
}

/// `3 m ago`, `in 2 h`.
pub(super) fn away(at: Timestamp, now: Timestamp) -> Markup {
    let far = Duration::try_from(now.duration_since(at).abs()).unwrap_or_default();
    let words = if at > now { format!("in {}", span(far)) } else { format!("{} ago", span(far)) };
    html! { time datetime=(at.to_string()) title=(at.strftime("%Y-%m-%d %H:%M:%S UTC")) { (words) } }
}

pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.2} s") } else { span(Duration::from_secs_f64(seconds.clamp(0.0, 1e12))) }
}

pub(super) fn share(present: u64, wanted: u64) -> String {
    percent(present, wanted).unwrap_or_else(|| "-".into())
}

/// A bar with its figure beside it.
pub(super) fn bar(present: u64, wanted: u64, what: &str) -> Markup {
    html! {
        meter min="0" max=(wanted.max(1)) value=(if wanted == 0 { 1 } else { present }) aria-label=(format!("{what}: {} of {}", grouped(present), grouped(wanted))) {
            (share(present, wanted))
        }
    }
}

pub(super) fn state(state: GapState) -> Markup {
    let class = match state {
        GapState::Running => "badge good",
        GapState::Exhausted => "badge bad",
        GapState::Held | GapState::Waiting => "badge warn",
        GapState::Queued => "badge faint",
    };
    html! { span class=(class) { (state.word()) } }
}

/// `None`: nothing is wanted there.
pub(super) fn shade(present: u64, wanted: u64) -> &'static str {
    match (present, wanted) {
        (_, 0) => "sx",
        (0, _) => "s0",
        (present, wanted) if present == wanted => "s5",
        (present, wanted) => match present * 100 / wanted {
            0..50 => "s1",
            50..80 => "s2",
            80..95 => "s3",
            _ => "s4",
        },
    }
}
