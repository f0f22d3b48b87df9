//! Why a command could not do its work: printed once, with its causes and a hint, and turned into an exit code here and
//! nowhere else.

use std::error::Error;
use std::fmt;

use adce_core::ports::{LakeError, StoreError};
use adce_core::spec::problem::Problem;
use adce_engine::EngineError;

use crate::cli::Format;
use crate::exit::Exit;

/// A failure on its way to the person.
#[derive(Debug)]
pub enum Failure {
    /// All that is wrong with the config.
    Config(Vec<Problem>),
    /// Something with causes.
    Because { exit: Exit, message: String, hint: Option<String> },
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure::Because { exit, message: message.into(), hint: None }
    }

    /// The error and everything that caused it, in one line.
    pub fn caused(exit: Exit, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            message.push_str(": ");
            message.push_str(&inner.to_string());
            cause = inner.source();
        }
        Failure::new(exit, message)
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Failure::Because { exit, message, .. } => Failure::Because { exit, message, hint: Some(hint.into()) },
            config @ Failure::Config(_) => config,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            // What cannot be reached now may be right: it is worth another try.
            Failure::Config(problems) if Problem::are_away(problems) => Exit::Unreachable,
            Failure::Config(_) => Exit::Config,
            Failure::Because { exit, .. } => *exit,
        }
    }

    /// On standard error; as one JSON object on standard output if that is what was asked for.
    pub fn print(&self, format: Format) {
        match (self, format) {
            (Failure::Config(problems), format) => crate::problems::print(problems, format),
            (Failure::Because { exit, message, hint }, Format::Json) => {
                let refusal = adce_api::Refusal { message: message.clone(), hint: hint.clone(), exit_code: exit.code() };
                say!("{}", serde_json::to_string(&adce_api::ErrorReply { error: refusal }).unwrap_or_default());
            }
            (Failure::Because { message, hint, .. }, Format::Text) => {
                say_aside!("{} {message}", console::style("error:").for_stderr().red().bold());
                if let Some(hint) = hint {
                    say_aside!("{} {hint}", console::style("hint:").for_stderr().cyan());
                }
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Config(problems) => write!(f, "{} problems in the config", problems.len()),
            Failure::Because { message, .. } => f.write_str(message),
        }
    }
}

impl From<LakeError> for Failure {
    fn from(error: LakeError) -> Self {
        let exit = match error {
            LakeError::NoRoom { .. } | LakeError::BadKey { .. } => Exit::Unfinished,
            LakeError::Gone(_) | LakeError::Refused { .. } | LakeError::Unavailable { .. } => Exit::Unreachable,
        };
        let hint = match &error {
            LakeError::Gone(_) => Some(
                "create it, or correct `lake:` in the config; adce never creates a lake, an unmounted disk would look like an empty one",
            ),
            LakeError::Refused { .. } => Some("check the credentials and permissions with which adce runs, and `lake:` in the config"),
            _ => None,
        };
        let failure = Failure::caused(exit, &error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match error {
            StoreError::Held(_) => Exit::Held,
            StoreError::NoRoom(_) => Exit::Unfinished,
            _ => Exit::Unreachable,
        };
        let hint = match &error {
            StoreError::Held(_) => Some("`adce status` shows what it does"),
            StoreError::OtherLake { .. } => {
                Some("one state belongs to one lake: give this config a `state:` of its own, or its old `lake:` and `name:`")
            }
            _ => None,
        };
        let failure = Failure::caused(exit, &error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Config(problems) => Failure::Config(problems),
            EngineError::Bug => Failure::caused(Exit::Bug, &EngineError::Bug),
            EngineError::Lake(error) => error.into(),
            EngineError::NothingListed(error) => match error.into() {
                Failure::Because { message, hint, .. } => Failure::Because { exit: Exit::Unreachable, message, hint },
                config @ Failure::Config(_) => config,
            },
            EngineError::State(error) => error.into(),
            EngineError::Select(text, errors) => {
                let complaints: Vec<String> = errors.iter().map(|error| error.message.clone()).collect();
                let hint = errors.iter().find_map(|error| error.hint.clone());
                let failure = Failure::new(Exit::Usage, format!("`--select {text}`: {}", complaints.join("; ")));
                match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
        }
    }
}
