//! A lake in a local folder, on the real file system.

#[path = "support/claims.rs"]
mod claims;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use adce_core::object::Precondition;
use adce_core::ports::{Lake, LakeError, PublishError};
use adce_core::spec::LakeUrl;
use adce_lake::LocalLake;
use adce_lake::files::{Entry, Files, RealFiles, Stat, Written};
use adce_lake::local::LeftOut;
use claims::Trial;
use tempfile::TempDir;

fn fresh() -> (TempDir, LocalLake) {
    let folder = tempfile::tempdir().unwrap();
    let lake = LocalLake::new(folder.path().to_owned());
    (folder, lake)
}

async fn keys(lake: &LocalLake, prefix: &str) -> Result<BTreeSet<String>, LakeError> {
    let mut keys = BTreeSet::new();
    lake.list(prefix, &mut |object| assert!(keys.insert(object.key))).await.map(|()| keys)
}

fn put(root: &Path, key: &str, content: &str) {
    let path = root.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[tokio::test]
async fn local_folder_keeps_every_claim() {
    let folder = tempfile::tempdir().unwrap();
    let open = |claim: &str| {
        let root = folder.path().join(claim);
        std::fs::create_dir(&root).unwrap();
        adce_lake::open(&LakeUrl::Folder(root)).unwrap()
    };
    every_claim!(open);
    every_claim!(open; nothing_is_at_the_name_of_a_folder, control_characters_in_keys_survive, of_many_absent_publishes_at_once_one_wins, of_many_replacements_at_once_one_wins);
}

#[tokio::test]
async fn keys_that_only_stores_keep_are_refused() {
    let (_folder, lake) = fresh();
    let trial = Trial::new(Arc::new(lake));
    for key in claims::KEYS_ONLY_STORES_KEEP {
        let refused = trial.publish(key, b"x", &Precondition::Absent).await;
        assert!(matches!(refused, Err(PublishError::Lake(LakeError::BadKey { .. }))), "{key:?}: {refused:?}");
        assert!(trial.keys(key).await.is_empty());
    }
}

#[tokio::test]
async fn lake_that_does_not_exist_is_gone_and_not_empty() {
    let (folder, _) = fresh();
    let root = folder.path().join("not there");
    let trial = Trial::new(Arc::new(LocalLake::new(root.clone())));
    assert!(matches!(trial.lake.list("a/", &mut |_| {}).await, Err(LakeError::Gone(_))));
    assert!(matches!(trial.lake.head("a/b").await, Err(LakeError::Gone(_))));
    assert!(matches!(trial.lake.sweep().await, Err(LakeError::Gone(_))));
    let published = trial.publish("a/b", b"x", &Precondition::Absent).await;
    assert!(matches!(published, Err(PublishError::Lake(LakeError::Gone(_)))), "{published:?}");
    assert!(!root.exists(), "publishing made the lake");
}

#[tokio::test]
async fn file_in_place_of_the_lake_is_refused() {
    let (folder, _) = fresh();
    put(folder.path(), "file", "x");
    let lake = LocalLake::new(folder.path().join("file"));
    assert!(matches!(keys(&lake, "").await, Err(LakeError::Refused { .. })));
}

#[tokio::test]
async fn own_folders_at_the_root_are_not_part_of_the_lake() {
    let (folder, lake) = fresh();
    for key in [".adce-tmp/0199.part", ".adce/state.db", "deep/.adce/x", ".adcex", "a"] {
        put(folder.path(), key, "x");
    }
    let expected: BTreeSet<String> = ["deep/.adce/x", ".adcex", "a"].map(String::from).into();
    assert_eq!(keys(&lake, "").await.unwrap(), expected);
    assert_eq!(keys(&lake, ".adce").await.unwrap(), [".adcex".to_owned()].into());
    assert!(keys(&lake, ".adce/").await.unwrap().is_empty());
    assert!(keys(&lake, ".adce-tmp/0").await.unwrap().is_empty());
}

#[tokio::test]
async fn sweep_removes_the_temporary_files_of_a_predecessor_and_nothing_else() {
    let (folder, lake) = fresh();
    let leftover = format!(".adce-tmp/{}.part", uuid::Uuid::now_v7());
    for key in [&leftover, ".adce-tmp/notes.txt", ".adce-tmp/x.part", "a.part"] {
        put(folder.path(), key, "x");
    }
    assert_eq!(lake.sweep().await.unwrap(), 1);
    assert!(!folder.path().join(leftover).exists());
    assert!(folder.path().join(".adce-tmp/notes.txt").exists());
    assert!(folder.path().join("a.part").exists());
    assert_eq!(lake.sweep().await.unwrap(), 0);
}

/// The real files, with somebody else at work in the same lake.
struct SharedFiles {
    root: std::path::PathBuf,
    /// Just before each of the next so many renames the temporary files are swept away.
    sweeps: AtomicU32,
    /// The folder for temporary files comes to be just after it was missing.
    makes_the_folder: bool,
}

impl SharedFiles {
    fn sweep(&self) {
        let left = self.sweeps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            for part in std::fs::read_dir(self.root.join(".adce-tmp")).unwrap() {
                std::fs::remove_file(part.unwrap().path()).unwrap();
            }
        }
    }
}

impl Files for SharedFiles {
    fn look(&self, path: &Path) -> io::Result<Stat> {
        RealFiles.look(path)
    }

    fn look_through(&self, path: &Path) -> io::Result<(std::path::PathBuf, Stat)> {
        RealFiles.look_through(path)
    }

    fn entries(&self, folder: &Path, each: &mut dyn FnMut(Entry<'_>) -> std::ops::ControlFlow<()>) -> io::Result<()> {
        RealFiles.entries(folder, each)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        RealFiles.create_folder(path)
    }

    fn copy_new(&self, from: &Path, to: &Path) -> io::Result<Box<dyn Written>> {
        let copied = RealFiles.copy_new(from, to);
        if copied.is_err() && self.makes_the_folder {
            RealFiles.create_folder(to.parent().unwrap())?;
        }
        copied
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        RealFiles.sync_folder(path)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sweep();
        RealFiles.rename_new(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.sweep();
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove(path)
    }
}

#[tokio::test]
async fn a_temporary_file_that_another_engine_swept_away_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(SharedFiles { root: folder.path().to_owned(), sweeps: AtomicU32::new(3), makes_the_folder: false });
    let trial = Trial::new(Arc::new(LocalLake::with_files(folder.path().to_owned(), files.clone())));
    let first = trial.publish("a/b", b"first", &Precondition::Absent).await.unwrap();
    files.sweeps.store(1, Ordering::SeqCst);
    trial.publish("a/b", b"second", &Precondition::Unchanged { etag: first.etag }).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("a/b")).unwrap(), b"second");
    // One that is swept for ever is given up, and nothing is there.
    files.sweeps.store(u32::MAX, Ordering::SeqCst);
    let refused = trial.publish("a/c", b"x", &Precondition::Absent).await;
    assert!(matches!(refused, Err(PublishError::Lake(LakeError::Unavailable { .. }))), "{refused:?}");
    assert!(!folder.path().join("a/c").exists());
}

#[tokio::test]
async fn two_that_publish_at_once_into_a_new_lake_both_do() {
    let folder = tempfile::tempdir().unwrap();
    let files = Arc::new(SharedFiles { root: folder.path().to_owned(), sweeps: AtomicU32::new(0), makes_the_folder: true });
    let trial = Trial::new(Arc::new(LocalLake::with_files(folder.path().to_owned(), files)));
    trial.publish("a/b", b"second", &Precondition::Absent).await.unwrap();
    assert_eq!(std::fs::read(folder.path().join("a/b")).unwrap(), b"second");
}

#[tokio::test]
async fn names_that_are_not_text_are_counted_and_the_rest_is_listed() {
    let (folder, lake) = fresh();
    put(folder.path(), "good", "x");
    let odd = folder.path().join(OsStr::from_bytes(b"caf\xe9"));
    if std::fs::write(odd, "x").is_err() {
        eprintln!("skipped: this file system takes only names that are text");
        return;
    }
    assert_eq!(keys(&lake, "").await.unwrap(), ["good".to_owned()].into());
    assert_eq!(lake.left_out(), LeftOut { names_not_utf8: 1, ..LeftOut::default() });
}

#[tokio::test]
async fn links_count_only_if_they_lead_to_a_file_of_the_lake() {
    let (folder, lake) = fresh();
    let outside = tempfile::tempdir().unwrap();
    put(outside.path(), "secret", "not yours");
    put(folder.path(), "real/file", "12345");
    put(folder.path(), ".adce/state.db", "x");
    symlink("real/file", folder.path().join("alias")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("escape")).unwrap();
    symlink(outside.path(), folder.path().join("other")).unwrap();
    symlink("..", folder.path().join("real/circle")).unwrap();
    symlink("nowhere", folder.path().join("dangling")).unwrap();
    symlink(".adce/state.db", folder.path().join("state")).unwrap();
    let expected: BTreeSet<String> = ["alias", "real/file"].map(String::from).into();
    assert_eq!(keys(&lake, "").await.unwrap(), expected);
    assert_eq!(lake.left_out(), LeftOut { links: 5, ..LeftOut::default() });
    assert_eq!(lake.head("alias").await.unwrap().unwrap().size, 5);
    for key in ["escape", "other/secret", "dangling", "state", "real/circle/real/file"] {
        assert_eq!(lake.head(key).await.unwrap(), None, "{key}");
        assert!(lake.download(key, &outside.path().join("copy")).await.is_err(), "{key}");
    }
    assert!(keys(&lake, "other/").await.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_written_through_a_link() {
    let (folder, lake) = fresh();
    let outside = tempfile::tempdir().unwrap();
    put(outside.path(), "secret", "not yours");
    symlink(outside.path(), folder.path().join("other")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("escape")).unwrap();
    let trial = Trial::new(Arc::new(lake));
    for key in ["other/new", "escape"] {
        let refused = trial.publish(key, b"x", &Precondition::Absent).await;
        assert!(matches!(refused, Err(PublishError::Lake(LakeError::BadKey { .. }))), "{key}: {refused:?}");
    }
    assert!(!outside.path().join("new").exists());
    assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "not yours");
}

#[tokio::test]
async fn publish_where_something_else_stands_is_a_bad_key() {
    let (folder, lake) = fresh();
    put(folder.path(), "file", "x");
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let trial = Trial::new(Arc::new(lake));
    let long = "x".repeat(300);
    for key in ["file/below", "folder", &long, &format!("a/{long}/b")] {
        let refused = trial.publish(key, b"x", &Precondition::Absent).await;
        assert!(matches!(refused, Err(PublishError::Lake(LakeError::BadKey { .. }))), "{key}: {refused:?}");
    }
    assert_eq!(trial.lake.head(&long).await.unwrap(), None);
    assert!(std::fs::read_dir(folder.path().join(".adce-tmp")).unwrap().next().is_none(), "temporary files stay");
}

#[tokio::test]
async fn object_written_in_place_gets_another_etag() {
    let (folder, lake) = fresh();
    put(folder.path(), "k", "one");
    let seen = lake.head("k").await.unwrap().unwrap();
    put(folder.path(), "k", "three");
    let trial = Trial::new(Arc::new(lake));
    let stale = Precondition::Unchanged { etag: seen.etag };
    assert!(matches!(trial.publish("k", b"mine", &stale).await, Err(PublishError::Conflict(Some(_)))));
    assert_eq!(trial.content("k").await, b"three");
}

#[tokio::test]
async fn folder_removed_behind_our_back_is_made_again() {
    let (folder, lake) = fresh();
    let trial = Trial::new(Arc::new(lake));
    trial.put("a/b/one", b"1").await;
    std::fs::remove_dir_all(folder.path().join("a")).unwrap();
    std::fs::remove_dir_all(folder.path().join(".adce-tmp")).unwrap();
    trial.put("a/b/two", b"2").await;
    assert_eq!(trial.keys("").await, ["a/b/two".to_owned()].into());
}

#[tokio::test]
async fn deep_and_wide_folders_are_listed_completely() {
    let (folder, lake) = fresh();
    let mut expected = BTreeSet::new();
    for number in 0..3_000 {
        let key = format!("{}/{}/{}/{number}", number % 3, number % 7, number % 40);
        put(folder.path(), &key, "");
        expected.insert(key);
    }
    let deep = format!("{}leaf", "d/".repeat(200));
    put(folder.path(), &deep, "");
    expected.insert(deep);
    assert_eq!(keys(&lake, "").await.unwrap(), expected);
}

/// Root may read and write everything, so the operating system refuses nothing to it.
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[tokio::test]
async fn folder_that_may_not_be_read_fails_the_listing_after_the_rest_was_handed_over() {
    use std::os::unix::fs::PermissionsExt;
    if is_root() {
        eprintln!("skipped: root may read everything");
        return;
    }
    let (folder, lake) = fresh();
    put(folder.path(), "open/a", "x");
    put(folder.path(), "closed/b", "x");
    let closed = folder.path().join("closed");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let mut seen = Vec::new();
    let listed = lake.list("", &mut |object| seen.push(object.key)).await;
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(listed, Err(LakeError::Refused { .. })), "{listed:?}");
    assert_eq!(seen, ["open/a"]);
}

#[tokio::test]
async fn read_only_lake_lists_and_refuses_to_publish() {
    use std::os::unix::fs::PermissionsExt;
    if is_root() {
        eprintln!("skipped: root may write everything");
        return;
    }
    let (folder, lake) = fresh();
    put(folder.path(), "a", "x");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o500)).unwrap();
    let trial = Trial::new(Arc::new(lake));
    let listed = trial.keys("").await;
    let published = trial.publish("b", b"x", &Precondition::Absent).await;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(listed, ["a".to_owned()].into());
    assert!(matches!(published, Err(PublishError::Lake(LakeError::Refused { .. }))), "{published:?}");
}
