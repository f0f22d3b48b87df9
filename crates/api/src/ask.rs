//! What can be asked of a running engine, and the lines that go over the socket.
//!
//! A request is one line of JSON, an answer is one or more. Every answer ends with a line that says so: an engine that
//! dies in the middle is never taken for one that had no more to say (`an_answer_cut_short_is_an_error`).

use adce_core::ids::TaskId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{CoverageAsk, Refusal};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    Status,
    Gaps,
    /// Where items stand, counted by what they are of.
    Coverage(CoverageAsk),
    Tasks,
    Task {
        id: TaskId,
    },
    Limits,
    /// The first gate that holds a key, task or dataset.
    Why {
        what: String,
    },
    /// Takes held surprises for facts; with a key, a task or a dataset, lets its contested objects be fetched.
    Accept {
        #[serde(default)]
        key: Option<String>,
    },
    /// Lets what waits be tried at once: of a key, a task or a dataset; without one, everything.
    Retry {
        what: Option<String>,
    },
    /// Lets a program pass the gateway that a person runs by hand, until `dismiss` or until this connection ends. `sources`: it may
    /// ask these and nobody else; without them all.
    Admit {
        #[serde(default)]
        sources: Option<Vec<String>>,
    },
    /// The program that was admitted over this connection has ended: what it asked.
    Dismiss,
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line<T> {
    /// One result, or one of many.
    Is(T),
    /// That was all.
    End {},
    /// It could not be answered; nothing follows.
    Error(Refusal),
}

pub(crate) fn write_line<T: Serialize>(line: &Line<T>) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).expect("answers are plain data with text keys");
    text.push(b'\n');
    text
}

pub(crate) fn read_line<T: DeserializeOwned>(line: &str) -> serde_json::Result<Line<T>> {
    serde_json::from_str(line)
}
