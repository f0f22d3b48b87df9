//! One engine per state: a lock on a file beside it, which the kernel frees when its holder dies.
//!
//! Without it two engines would hand out the same gaps. The lock file is never deleted: whoever deleted it could
//! delete the lock that a third engine has just taken (`a_killed_engine_leaves_a_state_that_readers_can_read`).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use adce_core::ports::StoreError;
use adce_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::fault::with_suffix;

/// Who holds a state. Written into the lock file for people and for the message of a refused engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub host: String,
    pub since: Timestamp,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on `{}`, since {}", self.pid, self.host, self.since)
    }
}

/// The state is ours until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Ownership {
    _locked: File,
}

impl Ownership {
    pub(super) fn take(state: &Path, now: Timestamp) -> Result<Self, StoreError> {
        let path = with_suffix(state, ".lock");
        let unreachable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                StoreError::NoRoom(format!("`{}`: {error}", path.display()))
            }
            _ => StoreError::Unreachable(format!("`{}`: {error}", path.display())),
        };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(unreachable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Held(holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(unreachable(error)),
        }
        write_holder(&mut file, now).map_err(unreachable)?;
        Ok(Ownership { _locked: file })
    }
}

fn write_holder(file: &mut File, now: Timestamp) -> std::io::Result<()> {
    let holder = Holder { pid: std::process::id(), host: host_name(), since: now };
    file.set_len(0)?;
    file.rewind()?;
    serde_json::to_writer(&mut *file, &holder)?;
    file.write_all(b"\n")
}

/// Between taking the lock and writing its name a holder is nameless for some microseconds.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let named = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok());
    named.map_or_else(|| "one that has just started".into(), |holder| holder.to_string())
}

fn host_name() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    named.filter(|name| !name.is_empty()).or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_else(|| "this host".into())
}
