# What one does with this repository; `just` lists it. Each recipe is one of the commands that the README and docs name.

# This list.
default:
    @just --list

# Everything: format, lints, all tests; installs or starts what they need.
test *arguments:
    scripts/test {{arguments}}

# A moody upstream, a half-filled lake and the real engine, on this machine.
demo *arguments:
    cargo run --release -- demo {{arguments}}

# Figures beside peers: sleep, true, plan; all of them if none is named.
bench *names:
    bench/run {{names}}

# Kill the engine at random moments, so many times.
kills count="1000":
    ADCE_KILLS={{count}} cargo test -p adce --test crash -- --nocapture

# Eight scrapers of five kinds at once before three upstreams, with the gateway and without it.
scrapers minutes="20":
    bench/run scrapers --minutes {{minutes}}

# Random bytes into one of the entrances of strangers: connection, addresses, proxy_credentials, headers; template, manifest, event, table, parquet. Wants `cargo install cargo-fuzz` and a nightly compiler.
fuzz entrance="connection" seconds="600":
    cargo +nightly fuzz run {{entrance}} -- -max_total_time={{seconds}}

# A simulated day.
simulate seed="1":
    cargo run --release -p adce-sim -- --seed {{seed}}

# A simulated year, month by month.
year seed="1":
    cargo run --release -p adce-sim -- year --seed {{seed}}

# Format what can be formatted, and show what cannot.
tidy:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

# Licences, advisories, bans and origins of everything that is built in.
deny:
    cargo deny --workspace check

# Draw docs/demo.svg anew.
picture:
    cargo build --release
    scripts/demo-picture

# Man pages and completions, for packages.
shells folder="target/shells":
    cargo build --release
    target/release/adce man --out {{folder}}/man1
    for shell in bash zsh fish; do target/release/adce completions $shell > {{folder}}/adce.$shell; done
