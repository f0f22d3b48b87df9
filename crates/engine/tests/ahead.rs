//! Leases that are written before a slot is free for them: they save a slot's time, and decide nothing.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use adce_core::gap::Gap;
use adce_core::ids::GapId;
use adce_core::ports::Store;
use adce_core::spec::PriorityLevel;
use adce_core::time::{SignedDuration, Timestamp};
use support::{Notes, Place, Running, Scene, until};
use tokio::sync::Semaphore;

const AN_HOUR_AND_MORE: Duration = Duration::from_secs(3_700);

/// Three files now, and one that falls due in an hour.
fn with_one_in_an_hour(late: &str, collector: &str) -> Place {
    with_one_due(SignedDuration::from_hours(1), late, collector)
}

fn with_one_due(after: SignedDuration, late: &str, collector: &str) -> Place {
    let (now, due) = (Timestamp::now() - SignedDuration::from_mins(5), Timestamp::now() + after);
    Place::new(&format!(
        "datasets:\n  web:\n    key: web/{{number}}.txt\n    for: number\n    due: time(\"{now}\")\n    priority: low\n    collector: slow\n  \
         late:\n    key: late/{{number}}.txt\n    for: number\n    where: number == \"1\"\n    due: time(\"{due}\")\n    {late}\n    \
         collector: slow\ncollectors:\n  slow:\n    command: [unused]\n    {collector}\nengine: {{ max_concurrent: 1 }}\n"
    ))
}

/// An engine whose first attempt waits until `go_on` lets it; keys of each attempt are noted when it begins.
async fn run(place: &Place, begun: &Notes<Vec<String>>, go_on: &Arc<Semaphore>) -> Running {
    let (begun, go_on) = (begun.clone(), go_on.clone());
    place
        .run(move |scene: Scene| {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            async move {
                begun.lock().unwrap().push(scene.order.items.iter().map(|item| item.key.clone()).collect());
                if scene.number == 0 {
                    go_on.acquire().await.unwrap().forget();
                }
                scene.staged()
            }
        })
        .await
}

async fn leased(place: &Place) -> Vec<BTreeSet<GapId>> {
    place.store.load().await.unwrap().leases.into_iter().map(|lease| lease.gaps.into_iter().collect()).collect()
}

#[tokio::test]
async fn the_next_tasks_are_leased_while_the_slots_are_taken_and_none_is_left_at_the_end() {
    let place = with_one_in_an_hour("", "");
    let (begun, go_on) = (Notes::default(), Arc::new(Semaphore::new(0)));
    let running = run(&place, &begun, &go_on).await;
    running.have_begun(1).await;
    until("the two that come next are leased", async || leased(&place).await.len() == 3).await;
    let tokens: Vec<_> = place.store.load().await.unwrap().leases.into_iter().map(|lease| lease.token).collect();
    go_on.add_permits(1);
    running.end().await.unwrap();
    assert_eq!(leased(&place).await.len(), 0);
    let next = place.store.lease(lease_after(&place).await).await.unwrap();
    assert_eq!(next.0, tokens.last().unwrap().0 + 1, "the three attempts ran under the three leases");
}

async fn lease_after(place: &Place) -> adce_core::record::Lease {
    adce_core::record::Lease {
        attempt: adce_core::ids::AttemptId(adce_core::ids::Uuid::max()),
        token: adce_core::ids::FencingToken(0),
        task: adce_core::ids::TaskId([0; 13]),
        collector: "slow".into(),
        gaps: Vec::new(),
        started_at: place.store.load().await.unwrap().latest.unwrap(),
        until: Default::default(),
        staged: Vec::new(),
    }
}

#[tokio::test]
async fn what_starts_is_chosen_when_a_slot_is_free_whatever_was_leased_ahead() {
    let place = with_one_in_an_hour("priority: critical", "");
    let (begun, go_on) = (Notes::default(), Arc::new(Semaphore::new(0)));
    let running = run(&place, &begun, &go_on).await;
    running.have_begun(1).await;
    until("the two that come next are leased", async || leased(&place).await.len() == 3).await;
    place.clock.advance(AN_HOUR_AND_MORE);
    until("the other is due", async || place.gaps().await.contains(&"late/1.txt".to_owned())).await;
    go_on.add_permits(1);
    running.end().await.unwrap();
    assert_eq!(begun.lock().unwrap().concat(), ["web/1.txt", "late/1.txt", "web/2.txt", "web/3.txt"]);
    assert_eq!((place.objects().len(), leased(&place).await.len()), (4, 0));
}

#[tokio::test]
async fn a_lease_ahead_is_given_back_when_its_task_changes() {
    let place = with_one_in_an_hour("priority: low", "batch: { size: 2 }");
    let (begun, go_on) = (Notes::default(), Arc::new(Semaphore::new(0)));
    let running = run(&place, &begun, &go_on).await;
    running.have_begun(1).await;
    until("the one that comes next is leased", async || leased(&place).await.len() == 2).await;
    place.clock.advance(AN_HOUR_AND_MORE);
    until("the other joins it", async || leased(&place).await.iter().filter(|gaps| gaps.len() == 2).count() == 2).await;
    go_on.add_permits(1);
    running.end().await.unwrap();
    let begun = begun.lock().unwrap().clone();
    assert_eq!(begun, [vec!["web/1.txt", "web/2.txt"], vec!["web/3.txt", "late/1.txt"]]);
    assert_eq!((place.objects().len(), leased(&place).await.len()), (4, 0));
}

#[tokio::test]
async fn a_lease_ahead_is_given_back_when_a_gap_of_it_starts_with_another_task() {
    let place = with_one_due(SignedDuration::from_mins(-30), "priority: { critical: overdue > 1h }", "batch: { size: 2 }");
    let (begun, go_on) = (Notes::default(), Arc::new(Semaphore::new(0)));
    let running = run(&place, &begun, &go_on).await;
    running.have_begun(1).await;
    until("the two that come next are leased", async || leased(&place).await.len() == 2).await;
    place.clock.advance(AN_HOUR_AND_MORE);
    let is_urgent = |gap: &Gap| gap.key == "late/1.txt" && gap.priority == PriorityLevel::Critical;
    until("one of them is urgent", async || place.store.load().await.unwrap().gaps.iter().any(is_urgent)).await;
    go_on.add_permits(1);
    running.end().await.unwrap();
    let begun = begun.lock().unwrap().clone();
    assert_eq!(begun, [vec!["web/1.txt", "web/2.txt"], vec!["late/1.txt"], vec!["web/3.txt"]]);
    assert_eq!((place.objects().len(), leased(&place).await.len()), (4, 0));
}
