//! A local lake on a disk that loses power or runs full at every single operation of a publish, or is partly closed to us.

#[path = "support/memory_disk.rs"]
mod memory_disk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adce_core::object::Precondition;
use adce_core::ports::{Lake, LakeError, PublishError};
use adce_lake::LocalLake;
use memory_disk::{MemoryDisk, Mistake, PowerCut};
use nix::errno::Errno;

const OLD: &[u8] = b"what was there before";
const NEW: &[u8] = b"what a collector has just staged";
const KEY: &str = "a/b/object.json";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    AnOldObject,
}

fn disk(before: Before, mistake: Mistake) -> MemoryDisk {
    let disk = MemoryDisk::new(mistake).with_folder("/lake").with_file("/staged", NEW);
    match before {
        Before::Nothing => disk,
        Before::AnOldObject => disk.with_folder("/lake/a").with_folder("/lake/a/b").with_file("/lake/a/b/object.json", OLD),
    }
}

fn lake_on(disk: &MemoryDisk) -> LocalLake {
    LocalLake::with_files(PathBuf::from("/lake"), Arc::new(disk.clone()))
}

/// Publishes over what is there as adce would.
async fn publish(disk: &MemoryDisk, only_if: &Precondition) -> Result<(), PublishError> {
    lake_on(disk).publish(Path::new("/staged"), KEY, only_if).await.map(|_| ())
}

async fn precondition(disk: &MemoryDisk) -> Precondition {
    match lake_on(disk).head(KEY).await.unwrap() {
        None => Precondition::Absent,
        Some(there) => Precondition::Unchanged { etag: there.etag },
    }
}

/// Pulls the plug before every operation in turn, and after the last, in every way: what a reader finds then that no
/// reader may find.
async fn what_goes_wrong(before: Before, mistake: Mistake) -> Vec<String> {
    let mut wrong = Vec::new();
    for operation in 0.. {
        let running = disk(before, mistake);
        let only_if = precondition(&running).await;
        running.off_from(operation);
        let published = publish(&running, &only_if).await.is_ok();
        let cuts = [PowerCut::Strict, PowerCut::NamesWithoutContent, PowerCut::NamesWithHalfTheContent, PowerCut::Nothing];
        for cut in cuts.into_iter().chain((0..40).map(PowerCut::Dice)) {
            let restarted = running.after(cut);
            let found = restarted.content("/lake/a/b/object.json");
            let may_be = match found.as_deref() {
                Some(NEW) => true,
                Some(OLD) => before == Before::AnOldObject && !published,
                Some(_) => false,
                None => before == Before::Nothing && !published,
            };
            if !may_be {
                wrong.push(format!("power cut {cut:?} before operation {operation}, published {published}: {found:?}"));
            }
            let lake = lake_on(&restarted);
            lake.sweep().await.unwrap();
            assert!(restarted.names("/lake/.adce-tmp").is_empty(), "a start leaves leftovers");
        }
        if published {
            return wrong;
        }
    }
    unreachable!("some operation is the last")
}

#[tokio::test]
async fn new_object_is_whole_or_absent_at_every_crash_point_and_ok_survives() {
    assert_eq!(what_goes_wrong(Before::Nothing, Mistake::None).await, [""; 0]);
}

#[tokio::test]
async fn replaced_object_is_the_old_or_the_new_one_at_every_crash_point_and_ok_survives() {
    assert_eq!(what_goes_wrong(Before::AnOldObject, Mistake::None).await, [""; 0]);
}

#[tokio::test]
async fn crash_check_notices_content_that_is_not_synced() {
    assert!(!what_goes_wrong(Before::Nothing, Mistake::ContentIsNotSynced).await.is_empty());
    assert!(!what_goes_wrong(Before::AnOldObject, Mistake::ContentIsNotSynced).await.is_empty());
}

#[tokio::test]
async fn crash_check_notices_folders_that_are_not_synced() {
    assert!(!what_goes_wrong(Before::Nothing, Mistake::FoldersAreNotSynced).await.is_empty());
    assert!(!what_goes_wrong(Before::AnOldObject, Mistake::FoldersAreNotSynced).await.is_empty());
}

#[tokio::test]
async fn crash_check_notices_a_rename_before_the_sync() {
    // The window is short: the content is synced right behind the rename, and only a cut between the two shows it.
    let torn = |found: &Vec<String>| found.iter().any(|wrong| wrong.contains("Some([])"));
    let found = what_goes_wrong(Before::AnOldObject, Mistake::ContentIsSyncedAfterTheRename).await;
    assert!(torn(&found), "{found:?}");
}

#[tokio::test]
async fn folders_that_somebody_else_made_are_synced_too() {
    let running = disk(Before::Nothing, Mistake::None);
    // As a scraper does: no sync.
    adce_lake::files::Files::create_folder(&running, Path::new("/lake/a")).unwrap();
    adce_lake::files::Files::create_folder(&running, Path::new("/lake/a/b")).unwrap();
    publish(&running, &Precondition::Absent).await.unwrap();
    assert_eq!(running.after(PowerCut::Strict).content("/lake/a/b/object.json").as_deref(), Some(NEW));
}

#[tokio::test]
async fn full_disk_at_any_operation_is_told_and_changes_nothing_but_whole() {
    for before in [Before::Nothing, Before::AnOldObject] {
        let counted = disk(before, Mistake::None);
        let only_if = precondition(&counted).await;
        counted.fail_at(u64::MAX, Errno::ENOSPC);
        publish(&counted, &only_if).await.unwrap();
        let operations = counted.operations();
        assert!(operations > 5);
        for operation in 0..operations {
            for errno in [Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS] {
                let full = disk(before, Mistake::None);
                let only_if = precondition(&full).await;
                full.fail_at(operation, errno);
                let failed = publish(&full, &only_if).await;
                assert!(matches!(failed, Err(PublishError::Lake(LakeError::NoRoom { .. }))), "{operation}: {failed:?}");
                let found = full.content("/lake/a/b/object.json");
                let old = (before == Before::AnOldObject).then(|| OLD.to_vec());
                assert!(found == old || found.as_deref() == Some(NEW), "{operation}: {found:?}");
                assert!(full.names("/lake/.adce-tmp").is_empty(), "{operation}: a temporary file stays on a full disk");
            }
        }
    }
}

#[tokio::test]
async fn publish_works_again_after_a_full_disk_has_room() {
    let full = disk(Before::Nothing, Mistake::None);
    let lake = lake_on(&full);
    full.fail_at(2, Errno::ENOSPC);
    assert!(lake.publish(Path::new("/staged"), KEY, &Precondition::Absent).await.is_err());
    assert!(lake.publish(Path::new("/staged"), KEY, &Precondition::Absent).await.is_ok());
}

#[tokio::test]
async fn publish_that_is_not_permitted_is_refused() {
    let closed = disk(Before::Nothing, Mistake::None);
    closed.fail_at(0, Errno::EACCES);
    let refused = publish(&closed, &Precondition::Absent).await;
    assert!(matches!(refused, Err(PublishError::Lake(LakeError::Refused { .. }))), "{refused:?}");
}

#[tokio::test]
async fn listing_with_a_closed_folder_hands_over_the_rest_and_fails() {
    let partly = disk(Before::AnOldObject, Mistake::None).with_folder("/lake/closed").with_file("/lake/closed/x", b"x");
    partly.close_folder("/lake/closed");
    let mut seen = Vec::new();
    let listed = lake_on(&partly).list("", &mut |object| seen.push(object.key)).await;
    assert!(matches!(listed, Err(LakeError::Refused { .. })), "{listed:?}");
    assert_eq!(seen, [KEY]);
}
