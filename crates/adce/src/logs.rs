//! Forgets old logs of attempts, and the folders kept beside them, as the state forgets old attempts: without this a collector that prints fills the disk
//! in some months.
//!
//! Always true: only files and folders that are named after attempts are removed, the oldest first, and none that was written
//! a moment ago: its attempt's end may not be on record yet (`only_the_oldest_logs_go_and_never_a_fresh_one`). The log of
//! an attempt under way lies in that attempt's own folder, which is not looked at here.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use adce_core::failpoint::{self, Failpoint};
use adce_core::ids::Uuid;
use adce_core::spec::Retention;
use tokio::task::JoinHandle;

/// So long no log is surplus. Between a log's last byte and its attempt's record lie some fsyncs.
const FRESH: Duration = Duration::from_secs(60);
/// What is written between two looks may come on top of what is kept.
const BETWEEN_LOOKS: Duration = Duration::from_secs(60);

/// However short they are: a folder of more is slow to look through.
const LOGS_AT_MOST: usize = 100_000;

struct Log {
    path: PathBuf,
    bytes: u64,
    written: SystemTime,
}

/// Looks after the logs of a state while its engine runs. Ends when it is dropped.
pub struct LogKeeper(JoinHandle<()>);

impl LogKeeper {
    /// The first look is over when this returns.
    pub async fn start(folder: PathBuf, keep: Retention) -> LogKeeper {
        look(&folder, keep).await;
        LogKeeper(tokio::spawn(async move {
            loop {
                tokio::time::sleep(BETWEEN_LOOKS).await;
                look(&folder, keep).await;
            }
        }))
    }
}

impl Drop for LogKeeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Logs that cannot be pruned cost nobody the work that is to be done.
async fn look(folder: &Path, keep: Retention) {
    let at = folder.to_owned();
    let pruned = tokio::task::spawn_blocking(move || prune(&at, keep, SystemTime::now(), remove)).await;
    if let Ok(Err(error)) = pruned {
        tracing::warn!(folder = %folder.display(), %error, "old logs could not be removed");
    }
}

fn prune(folder: &Path, keep: Retention, now: SystemTime, remove: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut logs = Vec::new();
    for entry in entries {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(".log").or_else(|| name.strip_suffix(".folder")));
        let is_ours = id.is_some_and(|id| Uuid::try_parse(id).is_ok());
        // Another one may have removed it meanwhile.
        if let (true, Ok(file)) = (is_ours, entry.metadata())
            && let Ok(written) = file.modified()
        {
            let bytes = if file.is_dir() { bytes_in(&entry.path()) } else { file.len() };
            logs.push(Log { path: entry.path(), bytes, written });
        }
    }
    // What cannot be removed must not keep everything older.
    let mut failed = Ok(());
    for path in surplus(logs, keep, now) {
        match remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => failed = Err(error),
            _ => failpoint::reached(Failpoint::LogRemoved),
        }
    }
    failed
}

fn remove(path: &Path) -> io::Result<()> {
    // A link is no folder.
    let is_folder = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

/// Of all files below, as far as they can be looked at. Links are not followed.
fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_in(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// Those that are too old, those that would not fit alone, and the oldest of those that are too many or too large together.
fn surplus(mut logs: Vec<Log>, keep: Retention, now: SystemTime) -> Vec<PathBuf> {
    let age = |log: &Log| now.duration_since(log.written).unwrap_or_default();
    logs.sort_by(|a, b| b.written.cmp(&a.written).then_with(|| b.path.cmp(&a.path)));
    let (mut kept, mut bytes) = (0_usize, 0);
    let surplus = logs.into_iter().filter(|log| {
        let is_fresh = age(log) < FRESH;
        if log.bytes > keep.bytes {
            // Whatever went for it, there would be no room: nothing does.
            return !is_fresh;
        }
        let fits = kept < LOGS_AT_MOST && bytes + log.bytes <= keep.bytes && age(log) <= keep.age;
        let stays = fits || is_fresh;
        // Once one does not fit, no older one does.
        kept = if stays { kept + 1 } else { LOGS_AT_MOST };
        bytes += log.bytes;
        !stays
    });
    surplus.map(|log| log.path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of what goes of logs with these ages in seconds and sizes.
    fn gone(logs: &[(&str, u64, u64)], keep: Retention) -> Vec<String> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let logs = logs.iter().map(|(name, age, bytes)| Log { path: name.into(), bytes: *bytes, written: now - Duration::from_secs(*age) });
        surplus(logs.collect(), keep, now).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn only_the_oldest_logs_go_and_never_a_fresh_one() {
        let keep = Retention { age: Duration::from_secs(1_000), bytes: 100 };
        let logs = [("new", 10, 10), ("old", 500, 10), ("older", 900, 10), ("too-old", 1_001, 10)];
        assert_eq!(gone(&logs, keep), ["too-old"]);
        assert_eq!(gone(&logs, Retention { bytes: 20, ..keep }), ["older", "too-old"]);
        assert_eq!(gone(&[("new", 100, 10), ("large", 500, 95), ("small", 900, 1)], keep), ["large", "small"], "no holes");
        assert_eq!(gone(&[("fresh", 1, 500), ("fresher", 0, 500)], keep), Vec::<String>::new());
        assert_eq!(gone(&[("fresh", 1, 60), ("fresher", 0, 60), ("old", 500, 1)], keep), ["old"], "what is fresh takes room");
        let many: Vec<String> = (0..LOGS_AT_MOST + 2).map(|number| format!("{number:06}")).collect();
        let many: Vec<(&str, u64, u64)> = many.iter().map(|name| (name.as_str(), 100, 0)).collect();
        assert_eq!(gone(&many, keep), ["000001", "000000"], "however short they are");
    }

    #[test]
    fn what_is_larger_than_all_that_is_kept_takes_no_others_with_it() {
        let keep = Retention { age: Duration::from_secs(1_000), bytes: 100 };
        assert_eq!(gone(&[("new", 100, 10), ("huge", 200, 101), ("old", 500, 90)], keep), ["huge"]);
        assert_eq!(gone(&[("huge", 1, 101), ("old", 500, 100)], keep), Vec::<String>::new(), "nor while it is fresh");
    }

    #[test]
    fn what_cannot_be_removed_keeps_nothing_older() {
        let place = tempfile::tempdir().unwrap();
        let names = ["1.log", "2.folder", "3.log"].map(|name| format!("0192e4a0-0000-7000-8000-00000000000{name}"));
        let [young, stubborn, old] = names.map(|name| place.path().join(name));
        std::fs::write(&young, "").unwrap();
        std::fs::create_dir(&stubborn).unwrap();
        std::fs::write(&old, "").unwrap();
        let day = Duration::from_secs(24 * 3_600);
        let in_days = SystemTime::now() + day;
        let stubborn_one = |path: &Path| if path == stubborn { Err(io::ErrorKind::ResourceBusy.into()) } else { remove(path) };
        let pruned = prune(place.path(), Retention { age: Duration::ZERO, bytes: 100 }, in_days, stubborn_one);
        assert_eq!(pruned.unwrap_err().kind(), io::ErrorKind::ResourceBusy, "it is said");
        assert_eq!([young, stubborn, old].map(|path| path.exists()), [false, true, false]);
    }
}
