//! What an engine says of itself while it runs, beside what its commands print: a client that misbehaves at the gateway, say.
//!
//! It goes to standard error, where it would run into the live display of a terminal: there only if `ADCE_LOG` asks for it, and
//! so in the demo, whose upstream misbehaves on purpose. `ADCE_LOG` says what is said, as `warn`, `adce_gateway=debug` or
//! `off`; it is `warn` if it is not set.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::engine_log::Traced;

const VARIABLE: &str = "ADCE_LOG";

pub fn begin() {
    match std::env::var(VARIABLE) {
        // It stands in the engine's own log alone.
        Err(_) if std::io::stderr().is_terminal() => drop(tracing_subscriber::registry().with(kept()).try_init()),
        asked => write_down(asked.as_deref().unwrap_or("warn")),
    }
}

pub fn begin_if_asked() {
    if let Ok(asked) = std::env::var(VARIABLE) {
        write_down(&asked);
    }
}

fn kept() -> impl Layer<Registry> {
    Traced.with_filter(LevelFilter::WARN)
}

fn write_down(what: &str) {
    let filter = EnvFilter::new(what);
    let printed = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(filter);
    // Somebody else's subscriber, in a test, is as good.
    let _ = tracing_subscriber::registry().with(kept()).with(printed).try_init();
}
