//! What an engine says of itself while it runs, beside what its commands print: a client that misbehaves at the gateway, say.
//!
//! It goes to standard error, where it would run into the live display of a terminal: there only if `ADCE_LOG` asks for it.
//! `ADCE_LOG` says what is said, as `warn`, `adce_gateway=debug` or `off`; it is `warn` if it is not set.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "ADCE_LOG";

pub fn begin() {
    let asked = std::env::var(VARIABLE).ok();
    if asked.is_none() && std::io::stderr().is_terminal() {
        return;
    }
    let filter = EnvFilter::new(asked.as_deref().unwrap_or("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // Somebody else's subscriber, in a test, is as good.
    let _ = log.try_init();
}
