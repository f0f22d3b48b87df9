//! Items that are sets of objects: published so that no torn one counts, and judged by what lies there.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adce_core::events::{Event, What};
use adce_core::gap::Reason;
use adce_core::object::{Object, Precondition};
use adce_core::ports::{ItemReport, Lake, LakeError, PublishError, Report, Said};
use adce_engine::{Handle, Interrupt, Query, StatusView};
use adce_lake::LocalLake;
use async_trait::async_trait;
use support::{Notes, Place, Running, Scene, until};

const MARKED: &str = "datasets:\n  sets:\n    key: s/{number}/part-*.txt\n    done: _SUCCESS\n    for: number\n    collector:\n      \
     command: [unused]\n      retry: { attempts: 3, backoff: 1s..1s }\n";

fn with(rules: &str) -> Place {
    Place::new(&MARKED.replace("    for:", &format!("{rules}    for:")))
}

fn unmarked(rules: &str) -> Place {
    Place::new(&MARKED.replace("    done: _SUCCESS\n", rules))
}

fn watched(mut place: Place) -> Place {
    place.stays = true;
    place
}

fn report(items: Vec<ItemReport>) -> Report {
    Report { items, ended: "scripted".into(), ..Report::default() }
}

fn stages(files: &'static [(&str, &str)]) -> impl Fn(Scene) -> std::future::Ready<Report> + Send + Sync + 'static {
    move |scene: Scene| std::future::ready(report(scene.order.items.iter().map(|item| scene.stage_set(item, files)).collect()))
}

fn put(place: &Place, key: &str, content: &str) {
    std::fs::create_dir_all(place.path().join("lake").join(key).parent().unwrap()).unwrap();
    place.write(&format!("lake/{key}"), content);
}

/// Everything of the first set.
fn first(place: &Place) -> Vec<String> {
    place.objects().into_iter().filter_map(|key| key.strip_prefix("s/1/").map(str::to_owned)).collect()
}

#[tokio::test]
async fn parts_are_published_and_the_marker_says_that_all_of_them_are() {
    let place = with("");
    put(&place, "s/1/part-old.txt", "of a collection that never came to its end");
    put(&place, "s/1/other.txt", "is none of ours");
    let ending = place.run(stages(&[("part-a.txt", "a"), ("part-b.txt", "bb")])).await.end().await.unwrap();
    assert!(ending.cycle.complete);
    assert_eq!(first(&place), ["_SUCCESS", "other.txt", "part-a.txt", "part-b.txt"]);
    assert_eq!(std::fs::read(place.path().join("lake/s/1/_SUCCESS")).unwrap(), b"");
    assert_eq!(ending.cycle.counts.present, 3);
}

#[tokio::test]
async fn a_marker_of_the_collectors_own_is_taken_as_it_is() {
    let place = with("");
    place.run(stages(&[("_SUCCESS", "{\"rows\": 7}"), ("part-a.txt", "a")])).await.end().await.unwrap();
    assert_eq!(std::fs::read(place.path().join("lake/s/1/_SUCCESS")).unwrap(), b"{\"rows\": 7}");
}

#[tokio::test]
async fn an_empty_set_is_its_marker_alone_and_takes_the_parts_of_the_one_before_away() {
    let place = with("    fresh: { within: 1h }\n");
    put(&place, "s/1/part-old.txt", "a day old");
    put(&place, "s/1/_SUCCESS", "");
    let old = std::fs::File::options().write(true).open(place.path().join("lake/s/1/_SUCCESS")).unwrap();
    old.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(86_400)).unwrap();
    let ending = place.run(stages(&[])).await.end().await.unwrap();
    assert!(ending.cycle.complete);
    assert_eq!(place.objects(), ["s/1/_SUCCESS", "s/2/_SUCCESS", "s/3/_SUCCESS"]);
}

#[tokio::test]
async fn who_says_that_a_set_has_a_size_gets_no_empty_one() {
    let place = with("    min_size: 2B\n");
    let ending = place.run(stages(&[("part-a.txt", "a")])).await.end().await.unwrap();
    assert!(!ending.cycle.complete && place.objects().is_empty(), "one byte is not two");
    let ending = with("    min_size: 2B\n").run(stages(&[("part-a.txt", "a"), ("part-b.txt", "b")])).await.end().await.unwrap();
    assert!(ending.cycle.complete, "all parts together count");
}

#[tokio::test]
async fn of_a_set_with_one_bad_part_nothing_is_published() {
    let place = with("    valid: json\n");
    let ending = place.run(stages(&[("part-a.txt", "{}"), ("part-b.txt", "{")])).await.end().await.unwrap();
    assert!(!ending.cycle.complete);
    assert_eq!(place.objects(), Vec::<String>::new());
    let place = with("    valid: json\n");
    assert!(place.run(stages(&[("part-a.txt", "{}"), ("_SUCCESS", "no JSON")])).await.end().await.unwrap().cycle.complete);
}

#[tokio::test]
async fn parts_without_a_marker_are_not_there_for_one_who_writes_them_into_the_lake() {
    let mut place = with("");
    let folder = place.path().to_owned();
    let script = move |scene: Scene| {
        for item in &scene.order.items {
            let at = folder.join("lake").join(item.set_place().unwrap().folder());
            std::fs::create_dir_all(&at).unwrap();
            std::fs::write(at.join("part-a.txt"), "a").unwrap();
            if scene.number >= 3 {
                std::fs::write(at.join("_SUCCESS"), "").unwrap();
            }
        }
        let all = scene.order.items.iter().map(|item| ItemReport { item: item.item, said: Said::Done });
        std::future::ready(report(all.collect()))
    };
    place.max_wait = std::time::Duration::from_secs(3_600);
    let running = place.run(script).await;
    until("the second time it wrote its markers", async || {
        place.clock.advance(std::time::Duration::from_secs(2));
        place.objects().len() == 6
    })
    .await;
    let ending = running.end().await.unwrap();
    assert!(ending.cycle.complete);
}

/// Does not take this key, the first so many times.
struct Refuses {
    key: &'static str,
    times: AtomicUsize,
    lake: LocalLake,
}

#[async_trait]
impl Lake for Refuses {
    fn identity(&self) -> String {
        self.lake.identity()
    }

    async fn list(&self, prefix: &str, found: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError> {
        self.lake.list(prefix, found).await
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, LakeError> {
        self.lake.head(key).await
    }

    async fn download(&self, key: &str, to: &Path) -> Result<Object, LakeError> {
        self.lake.download(key, to).await
    }

    async fn publish(&self, file: &Path, key: &str, only_if: &Precondition) -> Result<Object, PublishError> {
        let left = || self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if key == self.key && left() {
            return Err(LakeError::Unavailable { what: key.into(), detail: "not now".into() }.into());
        }
        self.lake.publish(file, key, only_if).await
    }

    async fn remove(&self, key: &str, etag: &str) -> Result<(), LakeError> {
        self.lake.remove(key, etag).await
    }

    async fn sweep(&self) -> Result<u64, LakeError> {
        self.lake.sweep().await
    }
}

fn refuses(place: &Place, key: &'static str) -> Arc<Refuses> {
    Arc::new(Refuses { key, times: AtomicUsize::new(usize::MAX), lake: place.lake() })
}

#[tokio::test]
async fn without_its_marker_a_set_whose_publishing_failed_is_still_missing() {
    let place = with("");
    put(&place, "s/1/part-old.txt", "of a collection that never came to its end");
    let ending = place.run_over(refuses(&place, "s/1/_SUCCESS"), stages(&[("part-a.txt", "a")])).await.end().await.unwrap();
    assert!(!ending.cycle.complete);
    assert_eq!(first(&place), ["part-a.txt"], "a marker would vouch for all that is there");
    assert_eq!(place.gaps().await, ["s/1/part-*.txt"]);
    place.clock.advance(std::time::Duration::from_secs(3_600));
    let ending = place.run(stages(&[("part-b.txt", "b")])).await.end().await.unwrap();
    assert!(ending.cycle.complete);
    assert_eq!(first(&place), ["_SUCCESS", "part-b.txt"], "what was left of the first time is gone");
}

/// Big enough by now, and nobody took it for whole: half of it is of each collection.
#[tokio::test]
async fn a_set_that_was_replaced_in_part_is_suspect() {
    for place in [with("    min_size: 9B\n"), unmarked("    min_size: 9B\n")] {
        put(&place, "s/1/part-old.txt", "old");
        put(&place, "s/1/_SUCCESS", "");
        let lake = refuses(&place, "s/1/part-b.txt");
        let files: &[(&str, &str)] = &[("part-a.txt", "aaaaaaaa"), ("part-b.txt", "b")];
        let ending = place.run_over(lake, stages(files)).await.end().await.unwrap();
        assert!(!ending.cycle.complete);
        assert_eq!(place.gaps().await, ["s/1/part-*.txt"]);
        let reasons: Notes<Reason> = Notes::default();
        let noted = reasons.clone();
        let script = move |scene: Scene| {
            noted.lock().unwrap().extend(scene.order.items.iter().map(|item| item.reason));
            std::future::ready(report(scene.order.items.iter().map(|item| scene.stage_set(item, files)).collect()))
        };
        place.clock.advance(std::time::Duration::from_secs(3_600));
        assert!(place.run(script).await.end().await.unwrap().cycle.complete);
        assert_eq!(*reasons.lock().unwrap(), [Reason::Suspect]);
        let parts: Vec<String> = first(&place).into_iter().filter(|name| name.starts_with("part-")).collect();
        assert_eq!(parts, ["part-a.txt", "part-b.txt"]);
    }
}

#[tokio::test]
async fn a_set_that_somebody_else_has_made_meanwhile_is_left_as_it_is() {
    let place = with("");
    let folder = place.path().to_owned();
    let script = move |scene: Scene| {
        if scene.order.items[0].key.starts_with("s/1/") {
            std::fs::create_dir_all(folder.join("lake/s/1")).unwrap();
            std::fs::write(folder.join("lake/s/1/part-theirs.txt"), "theirs").unwrap();
            std::fs::write(folder.join("lake/s/1/_SUCCESS"), "").unwrap();
        }
        std::future::ready(report(scene.order.items.iter().map(|item| scene.stage_set(item, &[("part-ours.txt", "ours")])).collect()))
    };
    let ending = place.run(script).await.end().await.unwrap();
    assert!(ending.cycle.complete);
    assert_eq!(first(&place), ["_SUCCESS", "part-theirs.txt"]);
}

async fn status(handle: &Handle) -> StatusView {
    handle.ask(Query::Status).await.expect("an engine")
}

async fn present(running: &Running) -> u64 {
    status(&running.handle).await.cycle.counts.present
}

async fn heard(running: &Running, what: What, keys: &[&str]) {
    let told = keys.iter().map(|key| Event { bucket: None, key: (*key).into(), what: what.clone(), at: None });
    running.handle.heard("events", told.collect()).await.unwrap();
}

const CAME: What = What::Came { size: None, etag: None };

#[tokio::test]
async fn what_comes_to_a_set_or_goes_from_it_between_two_looks_is_judged_as_the_whole_set() {
    let watch_only = |text: &str| text.split("    collector:").next().unwrap().to_owned();
    let place = watched(Place::new(&watch_only(&MARKED.replace("    for:", "    min_size: 2B\n    for:"))));
    put(&place, "s/1/part-a.txt", "a");
    put(&place, "s/1/part-b.txt", "b");
    let running = place.run(async |_| Report::default()).await;
    until("the first look is in", async || status(&running.handle).await.cycle.began.is_some()).await;
    assert_eq!(place.gaps().await, ["s/1/part-*.txt", "s/2/part-*.txt", "s/3/part-*.txt"]);
    put(&place, "s/1/_SUCCESS", "");
    heard(&running, CAME, &["s/1/_SUCCESS"]).await;
    assert_eq!((place.gaps().await.len(), present(&running).await), (2, 1));
    put(&place, "s/1/part-c.txt", "c");
    heard(&running, CAME, &["s/1/part-c.txt", "s/1/elsewhere.txt"]).await;
    place.remove("s/1/part-a.txt");
    heard(&running, What::Went, &["s/1/part-a.txt"]).await;
    assert_eq!(present(&running).await, 1, "its marker is there, and enough bytes");
    place.remove("s/1/part-b.txt");
    heard(&running, What::Went, &["s/1/part-b.txt"]).await;
    let status = status(&running.handle).await;
    assert_eq!((status.cycle.counts.present, status.cycle.counts.undersized), (0, 1));
    assert_eq!(status.snapshot.feeds[0].unexpected, 1);
    put(&place, "s/1/part-b.txt", "b");
    heard(&running, CAME, &["s/1/part-b.txt"]).await;
    assert_eq!(present(&running).await, 1);
    place.remove("s/1/_SUCCESS");
    heard(&running, What::Went, &["s/1/_SUCCESS"]).await;
    assert_eq!(place.gaps().await.len(), 3, "whatever else is there");
    running.handle.interrupt(Interrupt::Drain);
    running.end().await.unwrap();
}

#[tokio::test]
async fn of_a_set_without_a_marker_the_last_part_to_go_is_the_set() {
    let parts = MARKED.replace("    done: _SUCCESS\n", "");
    let place = watched(Place::new(parts.split("    collector:").next().unwrap()));
    put(&place, "s/1/part-a.txt", "a");
    put(&place, "s/1/part-b.txt", "b");
    let running = place.run(async |_| Report::default()).await;
    until("the first look is in", async || status(&running.handle).await.cycle.began.is_some()).await;
    assert_eq!(present(&running).await, 1);
    place.remove("s/1/part-a.txt");
    heard(&running, What::Went, &["s/1/part-a.txt"]).await;
    assert_eq!(present(&running).await, 1);
    place.remove("s/1/part-b.txt");
    heard(&running, What::Went, &["s/1/part-b.txt"]).await;
    assert_eq!(place.gaps().await.len(), 3);
    running.handle.interrupt(Interrupt::Drain);
    running.end().await.unwrap();
}
