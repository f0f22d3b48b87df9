//! A disk that is really full: a tmpfs of one megabyte, in a mount namespace of the test's own.
//!
//! Where user namespaces are not allowed the test says so and proves nothing; `the_writer_goes_on_when_there_is_room_again`
//! makes the same claim with a limit inside SQLite everywhere.

mod sample;

use std::path::PathBuf;
use std::process::Command;

use adce_core::ports::{Store, StoreError};
use adce_core::record::Change;
use adce_store::sqlite::{self, Opening};
use adce_store::{Identity, Retention};
use sample::*;

const FOLDER: &str = "ADCE_TEST_FULL_DISK";
const MOUNT: &str =
    r#"mount -t tmpfs -o size=1m tmpfs "$1" && echo mounted && exec "$2" --exact fills_its_disk_when_a_test_asks_for_it --nocapture"#;

#[tokio::test]
async fn fills_its_disk_when_a_test_asks_for_it() {
    let Ok(folder) = std::env::var(FOLDER).map(PathBuf::from) else { return };
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![0; 300_000]).unwrap();
    let identity = Identity { name: "prod".into(), lake: "/lake".into() };
    let opening = Opening { identity, boot_id: boot_id(), now: at(0), retention: Retention::default() };
    let store = sqlite::open(&folder.join("state.db"), &opening).unwrap();

    let mut kept = 0;
    let refused = loop {
        match store.apply((0..50).map(|number| Change::PutGap(gap(50 * kept + number))).collect()).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 1_000, "a megabyte does not hold that");
    };
    assert!(matches!(&refused, StoreError::NoRoom(text) if text.contains("state.db")), "{refused}");
    assert_eq!(store.load().await.unwrap().gaps.len(), 50 * kept as usize, "readers go on, and nothing half is there");

    std::fs::remove_file(ballast).unwrap();
    store.apply(vec![Change::PutGap(gap(1_000_000))]).await.expect("there is room again");
    drop(store);
    let store = sqlite::open(&folder.join("state.db"), &opening).unwrap();
    assert_eq!(store.load().await.unwrap().gaps.len(), 50 * kept as usize + 1);
    println!("full and free again");
}

#[test]
fn a_full_disk_costs_nothing_that_was_acknowledged_and_ends_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new("unshare")
        .args(["-rm", "sh", "-c", MOUNT, "sh"])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .env(FOLDER, folder.path())
        .output();
    let said = run.map(|run| (String::from_utf8_lossy(&run.stdout).into_owned(), String::from_utf8_lossy(&run.stderr).into_owned()));
    match said {
        Ok((out, err)) if out.contains("mounted") => assert!(out.contains("full and free again"), "{out}\n{err}"),
        Ok((_, err)) => eprintln!("no file system can be mounted here, nothing was shown: {err}"),
        Err(error) => eprintln!("no `unshare` here, nothing was shown: {error}"),
    }
}
