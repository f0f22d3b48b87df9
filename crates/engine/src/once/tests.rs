use std::path::Path;
use std::sync::Arc;

use adce_core::object::Precondition;
use adce_core::ports::{Clock, PublishError};
use adce_core::spec::{ConfigFile, load};
use adce_core::time::{BootId, Boottime, Now};
use adce_lake::LocalLake;
use adce_lake::rows::{Keeping, RowsKept};
use adce_lake::tables::ConfigFolder;
use async_trait::async_trait;

use super::*;
use crate::cycle::look;
use crate::reported::Reporting;

/// Writes down what it is asked to list, and refuses this one the first time.
struct Counting {
    lake: LocalLake,
    refused: &'static str,
    listed: Mutex<Vec<String>>,
}

#[async_trait]
impl Lake for Counting {
    fn identity(&self) -> String {
        self.lake.identity()
    }

    async fn list(&self, prefix: &str, found: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError> {
        let is_first = {
            let mut listed = self.listed.lock().unwrap();
            listed.push(prefix.to_owned());
            listed.iter().filter(|before| *before == prefix).count() == 1
        };
        if is_first && prefix == self.refused {
            return Err(LakeError::Unavailable { what: "list".into(), detail: "refused once".into() });
        }
        self.lake.list(prefix, found).await
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, LakeError> {
        self.lake.head(key).await
    }

    async fn download(&self, key: &str, to: &Path) -> Result<Object, LakeError> {
        self.lake.download(key, to).await
    }

    async fn publish(&self, file: &Path, key: &str, only_if: &Precondition) -> Result<Object, PublishError> {
        self.lake.publish(file, key, only_if).await
    }

    async fn remove(&self, key: &str, etag: &str) -> Result<(), LakeError> {
        self.lake.remove(key, etag).await
    }

    async fn sweep(&self) -> Result<u64, LakeError> {
        self.lake.sweep().await
    }
}

struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Now {
        Now { wall: Timestamp::from_second(1_740_000_000).unwrap(), boot: Boottime::from_secs(1_000) }
    }

    fn boot_id(&self) -> BootId {
        BootId("by hand".into())
    }

    async fn sleep_until(&self, _: Boottime) {}
}

/// Two tables of one dataset's objects.
const CONFIG: &str = r#"lake: ./lake
dimensions:
  day: [d1, d2]
  game: { table: { dataset: schedule, rows: "$.games[*]", columns: { id: "$.id" } }, id: id }
  team: { table: { dataset: schedule, rows: "$.teams[*]", columns: { id: "$.id" } }, id: id, duplicates: { keep: last } }
datasets:
  schedule: { key: "schedule/{day}.json", for: day }
  box: { key: "box/{game}", for: game }
  roster: { key: "roster/{team}", for: team }
"#;

#[tokio::test]
async fn what_feeds_tables_is_listed_once_a_look() {
    for (refused, times) in [("", 1), ("schedule/", 2)] {
        let place = tempfile::tempdir().unwrap();
        for folder in ["lake/schedule", "lake/box", "lake/roster"] {
            std::fs::create_dir_all(place.path().join(folder)).unwrap();
        }
        let schedule = r#"{"games": [{"id": "g1"}, {"id": "g2"}], "teams": [{"id": "t1"}]}"#;
        std::fs::write(place.path().join("lake/schedule/d1.json"), schedule).unwrap();
        let tables = ConfigFolder::new(place.path()).with_rows(RowsKept::new(place.path().join("rows"), Keeping::InMemory));
        let file = ConfigFile { name: "adce.yaml".into(), text: CONFIG.into() };
        let spec = load(&[file], place.path(), &|_| None, &tables).spec().unwrap_or_else(|problems| panic!("{problems:#?}"));
        let lake = Counting { lake: LocalLake::new(place.path().join("lake")), refused, listed: Mutex::default() };
        let look = look(Arc::new(spec), &lake, Arc::new(tables), None, Reporting::default(), &Still).await.unwrap();
        let listed = lake.listed.into_inner().unwrap();
        assert_eq!(listed.iter().filter(|prefix| *prefix == "schedule/").count(), times, "{listed:?}");
        // The table for which the listing failed has no rows yet.
        let keys: &[&str] = if refused.is_empty() { &["schedule/d1.json", "roster/t1", "box/g1", "box/g2"] } else { &["roster/t1"] };
        assert!(keys.iter().all(|key| look.expected.find(key).is_some()), "{refused}");
        assert!(look.inventory.is_full() && look.not_listed.is_empty());
    }
}
