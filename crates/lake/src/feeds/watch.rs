//! A watched folder: the system tells of each file that was closed after writing, moved to its place, or removed.
//!
//! Only these count: a file that is still being written is not there yet. Only Linux tells of them, and no network file system
//! tells of what other machines do; there the watch says that it is deaf, and why.
//!
//! Always true: a file that was there in the end, in a folder of however many levels that was made or moved in just before, is told
//! of (`a_folder_that_is_moved_in_is_told_of_file_by_file`); if the system lost events, that is told (`missed`).

use std::path::{Path, PathBuf};

use adce_core::events::Event;
use adce_core::ports::{Feed, FeedError, Heard};
use async_trait::async_trait;
use tokio::sync::mpsc;

/// So many events are one message.
const MOST: usize = 4_096;

pub struct Watch {
    root: PathBuf,
    state: State,
    /// Taken out of the channel, and not taken in yet.
    pending: Heard,
}

enum State {
    /// Not yet, or not any more. Whatever happened since the last time escaped it.
    Off {
        watched_before: bool,
    },
    On(Watching),
}

struct Watching {
    heard: mpsc::UnboundedReceiver<Word>,
}

enum Word {
    Told(Event),
    Missed,
    /// The folder itself is gone, or the system has given up.
    Over(String),
}

impl Watch {
    pub fn new(root: PathBuf) -> Self {
        Watch { root, state: State::Off { watched_before: false }, pending: Heard::default() }
    }

    /// Begins before anybody asks, so that nothing escapes it from now on.
    pub async fn begin(&mut self) -> Result<(), FeedError> {
        if let State::Off { watched_before } = self.state {
            let root = self.root.clone();
            let begun = tokio::task::spawn_blocking(move || system::begin(&root)).await;
            let watching = begun.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))?;
            self.pending.missed |= watched_before;
            self.state = State::On(watching);
        }
        Ok(())
    }

    fn take(&mut self, event: Word) -> Result<(), FeedError> {
        match event {
            Word::Told(told) => self.pending.told.push(told),
            Word::Missed => self.pending.missed = true,
            Word::Over(why) => {
                self.state = State::Off { watched_before: true };
                return Err(FeedError::Failing(why));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Feed for Watch {
    fn name(&self) -> String {
        format!("files of {}", self.root.display())
    }

    async fn next(&mut self) -> Result<Heard, FeedError> {
        self.begin().await?;
        if self.pending == Heard::default() {
            let State::On(watching) = &mut self.state else { return Err(FeedError::Failing("it has ended".into())) };
            let event = watching.heard.recv().await.unwrap_or_else(|| Word::Over("the watch has ended".into()));
            self.take(event)?;
        }
        while self.pending.told.len() < MOST
            && let State::On(watching) = &mut self.state
            && let Ok(event) = watching.heard.try_recv()
        {
            self.take(event)?;
        }
        Ok(self.pending.clone())
    }

    async fn settle(&mut self, taken: bool) {
        if taken {
            self.pending = Heard::default();
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::*;

    pub(super) fn begin(_root: &Path) -> Result<Watching, FeedError> {
        Err(FeedError::Deaf("this system does not tell when a file was closed after writing".into()))
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::HashMap;
    use std::ffi::OsStr;
    use std::io;
    use std::os::fd::AsFd;

    use adce_core::events::What;
    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::inotify::{AddWatchFlags as Flags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
    use nix::sys::statfs::statfs;

    use super::*;
    use crate::local::is_reserved;

    /// `f_type` of file systems that others change too, from `linux/magic.h` and the file systems' own headers.
    const OF_A_NETWORK: [(i64, &str); 11] = [
        (0x6969, "nfs"),
        (0x517B, "smb"),
        (0xFF53_4D42, "cifs"),
        (0xFE53_4D42, "smb2"),
        (0x6573_5546, "fuse"),
        (0x0102_1997, "9p"),
        (0x5346_414F, "afs"),
        (0x00C3_6400, "ceph"),
        (0x0BD0_0BD0, "lustre"),
        (0x4750_4653, "gpfs"),
        (0x0116_1970, "gfs2"),
    ];

    /// Of a file only that it was closed or moved; `IN_CREATE` for folders, and for links, which nobody closes.
    const WATCHED: Flags = Flags::IN_CLOSE_WRITE
        .union(Flags::IN_MOVED_TO)
        .union(Flags::IN_MOVED_FROM)
        .union(Flags::IN_DELETE)
        .union(Flags::IN_CREATE)
        .union(Flags::IN_ONLYDIR);
    const WATCHED_AT_THE_ROOT: Flags = WATCHED.union(Flags::IN_DELETE_SELF).union(Flags::IN_MOVE_SELF);

    /// How often the thread looks whether anybody still listens.
    const LOOKS_UP: u16 = 500;

    pub(super) fn begin(root: &Path) -> Result<Watching, FeedError> {
        let failing = |error: Errno| FeedError::Failing(format!("`{}` cannot be watched: {}", root.display(), io::Error::from(error)));
        let kind = statfs(root).map_err(failing)?.filesystem_type().0 as i64;
        if let Some((_, name)) = OF_A_NETWORK.iter().find(|(magic, _)| kind & 0xFFFF_FFFF == *magic) {
            let why = format!("`{}` is on a network file system ({name}), which does not tell of what other machines do", root.display());
            return Err(FeedError::Deaf(why));
        }
        let refused = |error: Errno| if is_limit(error) { too_many() } else { failing(error) };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(refused)?;
        let (send, heard) = mpsc::unbounded_channel();
        let mut ear = Ear { root: root.to_owned(), inotify, folders: HashMap::new(), send };
        // What is there now is found by a look.
        ear.watch(PathBuf::new(), &mut |_| {}).map_err(refused)?;
        std::thread::Builder::new()
            .name("watch".into())
            .spawn(move || ear.listen())
            .map_err(|error| FeedError::Failing(error.to_string()))?;
        Ok(Watching { heard })
    }

    fn is_limit(error: Errno) -> bool {
        matches!(error, Errno::ENOSPC | Errno::EMFILE)
    }

    fn too_many() -> FeedError {
        FeedError::Deaf(
            "it has more folders than this system watches for one user: raise `fs.inotify.max_user_watches` (and \
             `max_user_instances`) with sysctl"
                .into(),
        )
    }

    struct Ear {
        root: PathBuf,
        inotify: Inotify,
        /// Below the root.
        folders: HashMap<WatchDescriptor, PathBuf>,
        send: mpsc::UnboundedSender<Word>,
    }

    impl Ear {
        /// Until nobody listens any more.
        fn listen(mut self) {
            while !self.send.is_closed() {
                let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
                let _ = poll(&mut fds, PollTimeout::from(LOOKS_UP));
                match self.inotify.read_events() {
                    Ok(events) => events.into_iter().for_each(|event| self.hear(event)),
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(error) => return self.tell(Word::Over(io::Error::from(error).to_string())),
                }
            }
        }

        fn hear(&mut self, InotifyEvent { wd, mask, name, .. }: InotifyEvent) {
            if mask.contains(Flags::IN_Q_OVERFLOW) {
                return self.tell(Word::Missed);
            }
            if mask.intersects(Flags::IN_DELETE_SELF | Flags::IN_MOVE_SELF | Flags::IN_UNMOUNT) {
                return self.tell(Word::Over(format!("`{}` is gone", self.root.display())));
            }
            if mask.contains(Flags::IN_IGNORED) {
                self.folders.remove(&wd);
                return;
            }
            // Of a folder that was moved away meanwhile.
            let (Some(folder), Some(name)) = (self.folders.get(&wd), name) else { return };
            let path = folder.join(name);
            let is_folder = mask.contains(Flags::IN_ISDIR);
            if mask.intersects(Flags::IN_MOVED_FROM | Flags::IN_DELETE) {
                if is_folder && mask.contains(Flags::IN_MOVED_FROM) {
                    self.forget(&path);
                    // All that was in it went with it, and nobody names it.
                    return self.tell(Word::Missed);
                }
                self.told(&path, What::Went);
            } else if is_folder {
                self.moved_in(path);
            } else if mask.intersects(Flags::IN_CLOSE_WRITE | Flags::IN_MOVED_TO) || self.root.join(&path).is_symlink() {
                self.told(&path, What::Came { size: None, etag: None });
            }
        }

        /// A folder with all that it holds: it may have been made in it before it was watched.
        fn moved_in(&mut self, folder: PathBuf) {
            let mut files = Vec::new();
            if let Err(error) = self.watch(folder, &mut |file| files.push(file)) {
                return self.tell(if is_limit(error) { Word::Over(too_many().to_string()) } else { Word::Missed });
            }
            files.iter().for_each(|file| self.told(file, What::Came { size: None, etag: None }));
        }

        /// Watches the folder and all below it, each before it is looked into; hands over the files that are there by then.
        fn watch(&mut self, start: PathBuf, file: &mut dyn FnMut(PathBuf)) -> nix::Result<()> {
            let mut waiting = vec![start];
            while let Some(folder) = waiting.pop() {
                if is_ours(&folder) {
                    continue;
                }
                let (is_root, path) = (folder.as_os_str().is_empty(), self.root.join(&folder));
                let watched = self.inotify.add_watch(&path, if is_root { WATCHED_AT_THE_ROOT } else { WATCHED });
                let entries = watched.and_then(|watch| {
                    self.folders.insert(watch, folder.clone());
                    std::fs::read_dir(&path).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
                });
                match entries {
                    Ok(entries) => {
                        for entry in entries.flatten() {
                            let path = folder.join(entry.file_name());
                            match entry.file_type() {
                                Ok(kind) if kind.is_dir() => waiting.push(path),
                                _ => file(path),
                            }
                        }
                    }
                    // It vanished on the way, or a file took its place; that is told by the folder above.
                    Err(Errno::ENOENT | Errno::ENOTDIR) if !is_root => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }

        /// The folder is elsewhere by now, and with it all that is below it.
        fn forget(&mut self, folder: &Path) {
            let inotify = &self.inotify;
            self.folders.retain(|watch, known| {
                let stays = !known.starts_with(folder);
                if !stays {
                    let _ = inotify.rm_watch(*watch);
                }
                stays
            });
        }

        /// The system does not say when, and it is now.
        fn told(&self, path: &Path, what: What) {
            // A name that is no text is no key.
            if let Some(key) = path.to_str().filter(|_| !is_ours(path)) {
                let at = Some(adce_core::time::Timestamp::now());
                self.tell(Word::Told(Event { bucket: None, key: key.to_owned(), what, at }));
            }
        }

        fn tell(&self, word: Word) {
            // Nobody listens any more.
            let _ = self.send.send(word);
        }
    }

    /// adce's own files at the root.
    fn is_ours(path: &Path) -> bool {
        path.components().next().is_some_and(|first| OsStr::to_str(first.as_os_str()).is_some_and(is_reserved))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    async fn watched() -> (tempfile::TempDir, Watch) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a")).unwrap();
        let mut watch = Watch::new(folder.path().canonicalize().unwrap());
        watch.begin().await.unwrap();
        (folder, watch)
    }

    /// Hears until all of these were told of; what else was told goes along.
    async fn hear(watch: &mut Watch, keys: &[&str]) -> BTreeSet<String> {
        let mut heard = BTreeSet::new();
        while !keys.iter().all(|key| heard.contains(*key)) {
            let next = tokio::time::timeout(std::time::Duration::from_secs(30), watch.next());
            let next = next.await.unwrap_or_else(|_| panic!("only {heard:?}")).unwrap();
            heard.extend(next.told.into_iter().map(|told| told.key));
            heard.extend(next.missed.then(|| "(missed)".to_owned()));
            watch.settle(true).await;
        }
        heard
    }

    #[tokio::test]
    async fn a_file_is_told_of_when_it_is_closed_moved_in_or_gone() {
        let (folder, mut watch) = watched().await;
        let path = |name: &str| folder.path().join(name);
        let mut open = fs::File::create(path("a/open")).unwrap();
        fs::create_dir(path(".adce-tmp")).unwrap();
        fs::write(path(".adce-tmp/x.part"), "x").unwrap();
        fs::rename(path(".adce-tmp/x.part"), path("a/published")).unwrap();
        fs::write(path("a/written"), "x").unwrap();
        let heard = hear(&mut watch, &["a/published", "a/written"]).await;
        assert_eq!(heard.len(), 2, "{heard:?}");
        std::io::Write::write_all(&mut open, b"x").unwrap();
        drop(open);
        fs::remove_file(path("a/written")).unwrap();
        let heard = hear(&mut watch, &["a/open", "a/written"]).await;
        assert_eq!(heard.len(), 2, "{heard:?}");
    }

    #[tokio::test]
    async fn a_folder_that_is_moved_in_is_told_of_file_by_file() {
        let (folder, mut watch) = watched().await;
        let elsewhere = tempfile::tempdir_in(folder.path().parent().unwrap()).unwrap();
        fs::create_dir_all(elsewhere.path().join("in/deep")).unwrap();
        fs::write(elsewhere.path().join("in/deep/1"), "x").unwrap();
        fs::write(elsewhere.path().join("in/2"), "x").unwrap();
        fs::rename(elsewhere.path().join("in"), folder.path().join("in")).unwrap();
        hear(&mut watch, &["in/deep/1", "in/2"]).await;
        // And one that is made, with a file in it before anybody can watch it.
        fs::create_dir_all(folder.path().join("b/c/d")).unwrap();
        fs::write(folder.path().join("b/c/d/3"), "x").unwrap();
        hear(&mut watch, &["b/c/d/3"]).await;
        // What is in it goes with it, and nobody names it.
        fs::rename(folder.path().join("in"), elsewhere.path().join("out")).unwrap();
        hear(&mut watch, &["(missed)"]).await;
    }

    #[tokio::test]
    async fn what_was_not_taken_in_is_told_again() {
        let (folder, mut watch) = watched().await;
        fs::write(folder.path().join("a/1"), "x").unwrap();
        let first = watch.next().await.unwrap();
        watch.settle(false).await;
        fs::write(folder.path().join("a/2"), "x").unwrap();
        let mut again = watch.next().await.unwrap();
        while again.told.len() < 2 {
            watch.settle(false).await;
            again = watch.next().await.unwrap();
        }
        assert_eq!((first.told[0].key.as_str(), again.told[0].key.as_str(), again.told[1].key.as_str()), ("a/1", "a/1", "a/2"));
    }

    #[tokio::test]
    async fn a_root_that_goes_and_comes_again_is_watched_again_and_something_may_have_escaped() {
        let (folder, mut watch) = watched().await;
        fs::remove_dir_all(folder.path()).unwrap();
        let gone = loop {
            match watch.next().await {
                Err(error) => break error,
                Ok(_) => watch.settle(true).await,
            }
        };
        assert!(matches!(gone, FeedError::Failing(_)), "{gone}");
        watch.settle(true).await;
        assert!(matches!(watch.next().await, Err(FeedError::Failing(_))), "it is not there");
        fs::create_dir(folder.path()).unwrap();
        assert!(watch.next().await.unwrap().missed);
    }
}
