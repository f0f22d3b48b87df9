//! What can be asked of a running engine, and the lines that go over the socket.
//!
//! A request is one line of JSON, an answer is one or more. Every answer ends with a line that says so: an engine that
//! dies in the middle is never taken for one that had no more to say (`an_answer_cut_short_is_an_error`).

use adce_core::access::TokenRecord;
use adce_core::ids::TaskId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{CoverageAsk, Refusal};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Keeps everything, or a source or a dataset, from starting.
    Pause {
        what: Option<String>,
        because: Option<String>,
    },
    /// Ends what `pause` began; `all`: whatever is paused by hand.
    Resume {
        what: Option<String>,
        #[serde(default)]
        all: bool,
    },
    /// Ends the attempts at a key, a task or a dataset, and leaves their items alone for so long.
    Cancel {
        what: String,
        for_seconds: f64,
    },
    /// By which config it works.
    Config,
    /// Looks at the lake now.
    Look,
    /// Starts nothing any more, and ends when what runs has ended. What still runs after `within_seconds` (without: after what the
    /// config says) is ended; 0: at once.
    Stop {
        within_seconds: Option<f64>,
    },
    /// Every token, without its secret.
    Tokens,
    /// A new one: whoever made it shows it, and tells only its digest.
    NewToken(TokenRecord),
    RevokeToken {
        name: String,
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
