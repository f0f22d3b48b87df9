//! Asking a running engine, and reading a state that nobody runs.

use std::path::Path;

use adce_api::{AskError, Client};
use adce_core::spec::Spec;
use adce_store::sqlite::{Reader, open_to_read};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::state_place::StatePlace;
use crate::wiring;

/// `None`: no engine runs.
pub fn engine(spec: &Spec) -> Result<Option<Client>, Failure> {
    at(&StatePlace::of(spec).socket())
}

/// `None`: nobody listens there.
pub fn at(socket: &Path) -> Result<Option<Client>, Failure> {
    Client::connect(socket).map_err(|error| {
        Failure::new(Exit::Unreachable, format!("the engine's control socket `{}` cannot be reached: {error}", socket.display()))
    })
}

/// What it said, or why not.
pub fn answered<T>(answer: Result<T, AskError>) -> Result<T, Failure> {
    answer.map_err(|error| match error {
        AskError::Refused(refusal) => {
            let exit = if refusal.exit_code == Exit::Usage.code() { Exit::Usage } else { Exit::Unfinished };
            let failure = Failure::new(exit, refusal.message);
            match refusal.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        other => Failure::caused(Exit::Unreachable, &other),
    })
}

/// The state, read only; `None`: there is none yet.
pub fn state(spec: &Spec) -> Result<Option<Reader>, Failure> {
    let lake = adce_lake::open(&spec.lake)?;
    Ok(open_to_read(StatePlace::of(spec).state(), &wiring::identity(spec, &*lake))?)
}
