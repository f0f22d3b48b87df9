//! What feeds tell of the lake: at once, and never more than the lake itself says.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adce_core::events::{Event, What};
use adce_core::object::{Object, Precondition};
use adce_core::ports::{Lake, LakeError, PublishError, Report};
use adce_engine::{Handle, Interrupt, Phase, Query, StatusView};
use adce_lake::LocalLake;
use async_trait::async_trait;
use support::{Place, Running, until};
use tokio::sync::Semaphore;

/// Answers, but hands the answers of some questions over only when it may.
struct Slow {
    lake: LocalLake,
    /// The n-th listing and the n-th HEAD, counted from 1; 0: none.
    listing: usize,
    head: usize,
    listings: AtomicUsize,
    heads: AtomicUsize,
    may: Semaphore,
}

impl Slow {
    fn new(place: &Place, listing: usize, head: usize) -> Arc<Slow> {
        let (listings, heads) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Slow { lake: place.lake(), listing, head, listings, heads, may: Semaphore::new(0) })
    }

    async fn wait_if(&self, number: usize, held: usize) {
        if number == held {
            self.may.acquire().await.unwrap().forget();
        }
    }
}

#[async_trait]
impl Lake for Slow {
    fn identity(&self) -> String {
        self.lake.identity()
    }

    async fn list(&self, prefix: &str, found: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError> {
        let listed = self.lake.list(prefix, found).await;
        let number = self.listings.fetch_add(1, Ordering::SeqCst) + 1;
        self.wait_if(number, self.listing).await;
        listed
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, LakeError> {
        let seen = self.lake.head(key).await;
        let number = self.heads.fetch_add(1, Ordering::SeqCst) + 1;
        self.wait_if(number, self.head).await;
        seen
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

/// Three items that nobody collects.
const WATCHED: &str = "datasets:\n  web:\n    key: web/{number}.txt\n    for: number\n";
const COLLECTED: &str = "datasets:\n  web:\n    key: web/{number}.txt\n    for: number\n    collector:\n      command: [unused]\n";

fn staying(parts: &str) -> Place {
    let mut place = Place::new(parts);
    place.stays = true;
    place
}

fn put(place: &Place, keys: &[&str]) {
    for key in keys {
        place.write(&format!("lake/{key}"), "content");
    }
}

fn told(key: &str, what: What) -> Event {
    Event { bucket: None, key: key.into(), what, at: None }
}

fn came(key: &str) -> Event {
    told(key, What::Came { size: None, etag: None })
}

async fn status(handle: &Handle) -> StatusView {
    handle.ask(Query::Status).await.expect("an engine")
}

async fn have_looked(running: &Running) {
    until("the first look is in", async || status(&running.handle).await.cycle.began.is_some()).await;
}

async fn is_idle(running: &Running) -> bool {
    status(&running.handle).await.snapshot.phase != Phase::Observing
}

async fn end(running: Running) {
    running.handle.interrupt(Interrupt::Drain);
    running.end().await.unwrap();
}

#[tokio::test]
async fn what_others_put_or_take_away_is_on_record_when_the_feed_has_its_answer() {
    let place = staying(WATCHED);
    std::fs::create_dir(place.path().join("lake/web")).unwrap();
    put(&place, &["web/1.txt"]);
    let running = place.run(async |_| Report::default()).await;
    have_looked(&running).await;
    put(&place, &["web/2.txt", "web/elsewhere"]);
    running.handle.heard("events", vec![came("web/2.txt"), came("web/2.txt"), came("web/elsewhere")]).await.unwrap();
    assert_eq!(place.gaps().await, ["web/3.txt"]);
    place.remove("web/1.txt");
    running.handle.heard("events", vec![told("web/1.txt", What::Went)]).await.unwrap();
    assert_eq!(place.gaps().await, ["web/1.txt", "web/3.txt"]);
    // An event that is wrong, late or out of turn tells nothing that is so.
    running.handle.heard("events", vec![told("web/2.txt", What::Went), came("web/1.txt"), came("web/3.txt")]).await.unwrap();
    assert_eq!(place.gaps().await, ["web/1.txt", "web/3.txt"]);
    let status = status(&running.handle).await;
    assert_eq!(status.cycle.counts.present, 1);
    let feed = &status.snapshot.feeds[0];
    assert_eq!((feed.feed.as_str(), feed.told, feed.unexpected), ("events", 7, 1));
    end(running).await;
}

#[tokio::test]
async fn an_object_that_is_gone_is_collected_again_without_a_look() {
    let place = staying(COLLECTED);
    let running = place.run(async |scene| scene.staged()).await;
    until("all are there", async || place.objects().len() == 3 && status(&running.handle).await.cycle.counts.present == 3).await;
    let looked = status(&running.handle).await.cycle.began;
    place.remove("web/2.txt");
    running.handle.heard("events", vec![told("web/2.txt", What::Went)]).await.unwrap();
    until("it is there again", async || status(&running.handle).await.cycle.counts.present == 3 && place.objects().len() == 3).await;
    assert_eq!(running.begun.load(Ordering::SeqCst), 4);
    assert_eq!(status(&running.handle).await.cycle.began, looked);
    end(running).await;
}

#[tokio::test]
async fn an_answer_that_an_attempt_overtook_is_dropped() {
    let place = staying(COLLECTED);
    let lake = Slow::new(&place, 0, 1);
    let may_stage = Arc::new(Semaphore::new(0));
    let gate = may_stage.clone();
    let script = move |scene: support::Scene| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            scene.staged()
        }
    };
    let running = place.run_over(lake.clone(), script).await;
    running.have_begun(3).await;
    let asking = running.handle.clone();
    let asked = tokio::spawn(async move { asking.heard("events", vec![came("web/1.txt")]).await });
    until("the lake was asked", async || lake.heads.load(Ordering::SeqCst) == 1).await;
    may_stage.add_permits(9);
    until("all are there", async || status(&running.handle).await.cycle.counts.present == 3).await;
    // It says that nothing is there, and is late.
    lake.may.add_permits(1);
    asked.await.unwrap().unwrap();
    assert_eq!(status(&running.handle).await.cycle.counts.present, 3);
    assert_eq!((place.gaps().await, running.begun.load(Ordering::SeqCst)), (Vec::new(), 3));
    end(running).await;
}

#[tokio::test]
async fn an_object_at_an_older_place_counts_as_soon_as_a_feed_tells_of_it_and_while_nothing_better_is_there() {
    let place = staying(
        "datasets:\n  web:\n    key: web/{number}.txt\n    for: number\n    also: [\"old/{number}.txt\", \"older/{number}.txt\"]\n",
    );
    ["web", "old", "older"].iter().for_each(|folder| std::fs::create_dir(place.path().join("lake").join(folder)).unwrap());
    put(&place, &["web/1.txt", "web/3.txt"]);
    let running = place.run(async |_| Report::default()).await;
    have_looked(&running).await;
    let heard = async |what: Event| running.handle.heard("events", vec![what]).await.unwrap();
    put(&place, &["older/2.txt", "old/1.txt"]);
    heard(came("older/2.txt")).await;
    heard(came("old/1.txt")).await;
    assert!(place.gaps().await.is_empty());
    // What is at an older place counts again when the better one goes.
    place.remove("web/1.txt");
    heard(told("web/1.txt", What::Went)).await;
    assert!(place.gaps().await.is_empty());
    place.remove("old/1.txt");
    place.remove("older/2.txt");
    heard(told("old/1.txt", What::Went)).await;
    heard(told("older/2.txt", What::Went)).await;
    assert_eq!(place.gaps().await, ["web/1.txt", "web/2.txt"]);
    assert_eq!(status(&running.handle).await.snapshot.feeds[0].unexpected, 0);
    end(running).await;
}

#[tokio::test]
async fn a_late_answer_does_not_outrank_the_answer_to_a_later_question() {
    let place = staying(WATCHED);
    std::fs::create_dir(place.path().join("lake/web")).unwrap();
    let lake = Slow::new(&place, 0, 1);
    let running = place.run_over(lake.clone(), async |_| Report::default()).await;
    have_looked(&running).await;
    let asking = running.handle.clone();
    let asked = tokio::spawn(async move { asking.heard("events", vec![told("web/1.txt", What::Went)]).await });
    until("the lake was asked", async || lake.heads.load(Ordering::SeqCst) == 1).await;
    put(&place, &["web/1.txt"]);
    running.handle.heard("events", vec![came("web/1.txt")]).await.unwrap();
    // It says that nothing is there.
    lake.may.add_permits(1);
    asked.await.unwrap().unwrap();
    assert_eq!(place.gaps().await, ["web/2.txt", "web/3.txt"]);
    end(running).await;
}

#[tokio::test]
async fn an_answer_from_before_a_full_look_is_asked_for_anew() {
    let place = staying(WATCHED);
    std::fs::create_dir(place.path().join("lake/web")).unwrap();
    let lake = Slow::new(&place, 0, 1);
    let running = place.run_over(lake.clone(), async |_| Report::default()).await;
    have_looked(&running).await;
    put(&place, &["web/1.txt"]);
    let asking = running.handle.clone();
    let asked = tokio::spawn(async move { asking.heard("events", vec![came("web/1.txt")]).await });
    until("the lake was asked", async || lake.heads.load(Ordering::SeqCst) == 1).await;
    place.remove("web/1.txt");
    running.handle.look_again();
    until("the next look is in", async || lake.listings.load(Ordering::SeqCst) == 2 && is_idle(&running).await).await;
    // It says that the object is there.
    lake.may.add_permits(1);
    asked.await.unwrap().unwrap();
    assert_eq!(place.gaps().await, ["web/1.txt", "web/2.txt", "web/3.txt"]);
    end(running).await;
}

#[tokio::test]
async fn what_is_told_while_a_look_is_under_way_is_laid_over_it() {
    for listing in [1, 2] {
        let place = staying(WATCHED);
        std::fs::create_dir(place.path().join("lake/web")).unwrap();
        put(&place, &["web/1.txt"]);
        let lake = Slow::new(&place, listing, 0);
        let running = place.run_over(lake.clone(), async |_| Report::default()).await;
        if listing == 2 {
            have_looked(&running).await;
            running.handle.look_again();
        }
        until("the listing has seen all that it will", async || lake.listings.load(Ordering::SeqCst) == listing).await;
        place.remove("web/1.txt");
        put(&place, &["web/2.txt"]);
        let asking = running.handle.clone();
        let events = vec![came("web/2.txt"), told("web/1.txt", What::Went)];
        let asked = tokio::spawn(async move { asking.heard("events", events).await });
        if listing == 2 {
            until("it is known", async || place.gaps().await == ["web/1.txt", "web/3.txt"]).await;
        }
        lake.may.add_permits(1);
        asked.await.unwrap().unwrap();
        until("the look is in", async || lake.listings.load(Ordering::SeqCst) == listing && is_idle(&running).await).await;
        assert_eq!(place.gaps().await, ["web/1.txt", "web/3.txt"], "listing {listing}");
        end(running).await;
    }
}

#[tokio::test]
async fn a_lake_that_empties_is_a_surprise_and_no_thousand_gaps() {
    let place = staying(
        "  letter: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t]\n\
         datasets:\n  web:\n    key: web/{number}-{letter}.txt\n    for: [number, letter]\n",
    );
    std::fs::create_dir(place.path().join("lake/web")).unwrap();
    let keys: Vec<String> = (1..=3).flat_map(|number| ('a'..='t').map(move |letter| format!("web/{number}-{letter}.txt"))).collect();
    keys.iter().for_each(|key| put(&place, &[key]));
    let running = place.run(async |_| Report::default()).await;
    have_looked(&running).await;
    keys.iter().for_each(|key| place.remove(key));
    running.handle.heard("events", keys.iter().map(|key| told(key, What::Went)).collect()).await.unwrap();
    assert_eq!(place.gaps().await.len(), 19, "fewer than twenty are none");
    until("a look at everything is surprised", async || !status(&running.handle).await.snapshot.surprises.is_empty()).await;
    assert_eq!(place.gaps().await.len(), 19);
    end(running).await;
}
