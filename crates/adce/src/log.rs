//! What an engine says of itself while it runs, beside what its commands print: a client that misbehaves at the gateway, say.
//!
//! It goes to standard error, where it would run into the live display of a terminal: there only if `ADCE_LOG` asks for it, and
//! so in the demo, whose upstream misbehaves on purpose. `ADCE_LOG` says what is said, as `warn`, `adce_gateway=debug` or
//! `off`; it is `warn` if it is not set.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "ADCE_LOG";

pub fn begin() {
    match std::env::var(VARIABLE) {
        Err(_) if std::io::stderr().is_terminal() => {}
        asked => write_down(asked.as_deref().unwrap_or("warn")),
    }
}

pub fn begin_if_asked() {
    if let Ok(asked) = std::env::var(VARIABLE) {
        write_down(&asked);
    }
}

fn write_down(what: &str) {
    let filter = EnvFilter::new(what);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // Somebody else's subscriber, in a test, is as good.
    let _ = log.try_init();
}
