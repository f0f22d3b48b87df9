//! Which names beside a state belong to it: where its attempts work, where their logs stay, where its engine listens.
//!
//! Several states may lie in one folder. If they shared one of these names, an engine that starts would remove the work
//! of another one that runs, and a command would ask the wrong engine. So every name is made of the state's own
//! (`no_two_states_of_a_folder_share_a_name`, and with two engines `tests/two_states.rs`); the usual state, `state.db`,
//! gets the short ones.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use adce_core::spec::{Spec, StateUrl};

/// The state that `adce init` and the defaults name.
const USUAL: &str = "state.db";

/// A state's file and what lies beside it.
pub struct StatePlace {
    state: PathBuf,
}

impl StatePlace {
    pub fn of(spec: &Spec) -> Self {
        let StateUrl::Sqlite(path) = &spec.state;
        StatePlace { state: path.clone() }
    }

    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Each attempt has a folder of its own in here while it runs.
    pub fn attempts(&self) -> PathBuf {
        self.beside("attempts")
    }

    pub fn logs(&self) -> PathBuf {
        self.beside("logs")
    }

    /// The certificate authority of the gateway, and other files that clients are pointed to.
    pub fn authority(&self) -> PathBuf {
        self.beside("authority")
    }

    /// Answers that are kept for sources with a cache.
    pub fn answers(&self) -> PathBuf {
        self.beside("answers")
    }

    /// Files of inventory reports that were fetched.
    pub fn reports(&self) -> PathBuf {
        self.beside("reports")
    }

    /// Rows of objects that are collected, for tables that are derived from them.
    pub fn rows(&self) -> PathBuf {
        self.beside("rows")
    }

    /// What engines on this state said of themselves, as lines of JSON; older ones end in `.1`, `.2`, ….
    pub fn engine_log(&self) -> PathBuf {
        self.beside("engine.log")
    }

    /// What an engine in the background printed.
    pub fn printed(&self) -> PathBuf {
        self.beside("engine.out")
    }

    /// Where the engine that runs on this state is asked.
    pub fn socket(&self) -> PathBuf {
        self.beside("control.sock")
    }

    /// Where `adce exec` is asked that has taken the state, by others that want to pass its gateway.
    pub fn guests_socket(&self) -> PathBuf {
        self.beside("guests.sock")
    }

    /// `logs` beside `state.db`, `a.db.logs` beside `a.db`.
    fn beside(&self, what: &str) -> PathBuf {
        let mut name = match self.state.file_name() {
            Some(name) if name != OsStr::new(USUAL) => name.to_owned(),
            _ => OsString::new(),
        };
        if !name.is_empty() {
            name.push(".");
        }
        name.push(what);
        self.state.with_file_name(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(state: &str) -> [PathBuf; 11] {
        let place = StatePlace { state: state.into() };
        [
            place.state().to_owned(),
            place.attempts(),
            place.logs(),
            place.socket(),
            place.guests_socket(),
            place.authority(),
            place.answers(),
            place.reports(),
            place.rows(),
            place.engine_log(),
            place.printed(),
        ]
    }

    #[test]
    fn the_usual_state_gets_short_names() {
        let names_there = [
            "state.db",
            "attempts",
            "logs",
            "control.sock",
            "guests.sock",
            "authority",
            "answers",
            "reports",
            "rows",
            "engine.log",
            "engine.out",
        ];
        let expected = names_there.map(|name| Path::new("/x/.adce").join(name));
        assert_eq!(names("/x/.adce/state.db"), expected);
    }

    #[test]
    fn no_two_states_of_a_folder_share_a_name() {
        let mut all: Vec<PathBuf> = ["state.db", "a.db", "a.sqlite", "a", "b.db", "state"].iter().flat_map(|state| names(state)).collect();
        let before = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), before, "{all:?}");
    }
}
