//! What a person sees while the engine works: a block that is redrawn in place on a terminal, plain lines elsewhere.

mod bars;
mod live;
mod plain;

pub use bars::bar;
pub use plain::said;

use std::io::Write;

use adce_engine::{Notice, Phase, Snapshot};
use console::Term;
use tokio::sync::{mpsc, watch};

/// Where the display goes. It ends by itself when the engine does.
pub enum Display {
    /// Redrawn in place, ten times a second.
    Live(Term),
    /// A line for what happens, and one every ten seconds for how far it is.
    Plain(Box<dyn Write + Send>),
    /// Nobody reads it: the engine's own log has it all.
    Nowhere,
}

impl Display {
    /// On a terminal a live block; elsewhere plain lines on standard error.
    pub fn choose() -> Display {
        let term = Term::stderr();
        if term.is_term() && std::env::var_os("TERM").is_none_or(|term| term != "dumb") {
            Display::Live(term)
        } else {
            Display::Plain(Box::new(std::io::stderr()))
        }
    }

    /// Shows until the engine is gone.
    pub async fn show(self, title: String, snapshots: watch::Receiver<Snapshot>, notices: mpsc::UnboundedReceiver<Notice>) {
        match self {
            Display::Live(term) => live_until_done(term, title, snapshots, notices).await,
            Display::Plain(out) => plain::until_done(out, snapshots, notices).await,
            Display::Nowhere => unseen(notices).await,
        }
    }
}

async fn unseen(mut notices: mpsc::UnboundedReceiver<Notice>) {
    while notices.recv().await.is_some() {}
}

async fn live_until_done(
    term: Term,
    title: String,
    mut snapshots: watch::Receiver<Snapshot>,
    mut notices: mpsc::UnboundedReceiver<Notice>,
) {
    let mut drawn = 0;
    let _ = term.hide_cursor();
    loop {
        if snapshots.changed().await.is_err() {
            break;
        }
        // The block shows the state of things; what happened one by one is for logs.
        while notices.try_recv().is_ok() {}
        let snapshot = snapshots.borrow_and_update().clone();
        if snapshot.phase == Phase::Asking {
            // The question stands below; drawing would wipe it away.
            drawn = redraw(&term, drawn, &[]);
            continue;
        }
        let (rows, columns) = term.size();
        drawn = redraw(&term, drawn, &live::render(&title, &snapshot, usize::from(columns), usize::from(rows)));
    }
    redraw(&term, drawn, &[]);
    let _ = term.show_cursor();
}

/// Replaces the `drawn` lines above the cursor; one write, so that nothing flickers.
fn redraw(term: &Term, drawn: usize, lines: &[String]) -> usize {
    let mut frame = String::new();
    if drawn == 0 && lines.is_empty() {
        return 0;
    }
    if drawn > 0 {
        frame.push_str(&format!("\x1b[{drawn}A"));
    }
    for line in lines {
        frame.push_str("\x1b[2K");
        frame.push_str(line);
        frame.push('\n');
    }
    // What is left of a longer block before.
    frame.push_str("\x1b[0J");
    let _ = term.write_str(&frame);
    lines.len()
}
