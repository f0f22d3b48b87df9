//! What a killed engine leaves, and which of it its successor believes.

mod support;

use std::path::Path;
use std::sync::Arc;

use adce_core::gap::Reason;
use adce_core::object::{Object, Precondition};
use adce_core::ports::{Lake, LakeError, PublishError, Report};
use adce_engine::EngineError;
use adce_lake::LocalLake;
use async_trait::async_trait;
use support::{Notes, Place, Scene};

/// A lake at which the engine dies when it asks for this key: what it did before is there, and nothing is recorded after.
struct DeadlyAt {
    key: &'static str,
    lake: LocalLake,
}

#[async_trait]
impl Lake for DeadlyAt {
    fn identity(&self) -> String {
        self.lake.identity()
    }

    async fn list(&self, prefix: &str, found: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError> {
        self.lake.list(prefix, found).await
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, LakeError> {
        assert_ne!(key, self.key, "killed here");
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

#[tokio::test]
async fn of_a_kill_in_mid_publishing_what_was_staged_is_believed_and_what_the_command_wrote_itself_is_not() {
    let place = Place::new(
        "datasets:\n  web:\n    key: web/{number}.txt\n    for: number\n    collector:\n      command: [unused]\n      batch: { size: 3 }\n",
    );
    let stages_and_writes = async |scene: Scene| {
        let items = &scene.order.items;
        let items = vec![scene.stage(&items[0]), scene.write_directly(&items[1], "ha"), scene.stage(&items[2])];
        Report { items, ended: "scripted".into(), ..Report::default() }
    };
    let deadly = Arc::new(DeadlyAt { key: "web/2.txt", lake: place.lake() });
    let killed = place.run_over(deadly, stages_and_writes).await.end().await;
    assert!(matches!(killed, Err(EngineError::Bug)), "{:?}", killed.err());
    assert_eq!(place.objects(), ["web/1.txt", "web/2.txt"], "the third was not published any more");

    let asked = Notes::default();
    let noted = asked.clone();
    let script = move |scene: Scene| {
        noted.lock().unwrap().extend(scene.order.items.iter().map(|item| (item.key.clone(), item.reason)));
        async move { scene.staged() }
    };
    let ending = place.run(script).await.end().await.unwrap();
    assert!(ending.cycle.complete);
    let mut asked = asked.lock().unwrap().clone();
    asked.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(asked, [("web/2.txt".to_owned(), Reason::Suspect), ("web/3.txt".to_owned(), Reason::Missing)]);
}
