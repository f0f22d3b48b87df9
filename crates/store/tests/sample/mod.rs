//! Records to store, numbered: equal numbers give equal records.
#![allow(dead_code, reason = "each test binary uses its own part")]

use adce_core::gap::{Failure, Fault, Gap, Outcome, Progress, Reason, Standing, Task};
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId, Uuid};
use adce_core::record::{AttemptRecord, Event, Lease, ProcessRecord, Reservation, SettledReservation};
use adce_core::spec::PriorityLevel;
use adce_core::time::{BootId, Boottime, Moment, Timestamp};

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_741_500_000 + second).unwrap()
}

pub fn item(number: u32) -> ItemId {
    ItemId::of("box_scores", [number.to_string().as_str()])
}

pub fn gap_id(number: u32) -> GapId {
    GapId { item: item(number), episode: 1 }
}

pub fn gap(number: u32) -> Gap {
    Gap {
        id: gap_id(number),
        dataset: "box_scores".into(),
        key: format!("box/{number} ü.json"),
        reason: Reason::Missing,
        detected_at: at(0),
        due: Some(at(-3600)),
        priority: PriorityLevel::High,
        group: vec!["2024-25".into()],
        etag: None,
        last_modified: None,
        fingerprint: u64::MAX,
        progress: Progress {
            attempts: 1,
            attempts_total: 4,
            unblamed: 2,
            next_try: Some(at(60)),
            standing: Standing::Exhausted,
            last_error: Some("answer of 71 B < 100 B".into()),
            ..Progress::default()
        },
    }
}

pub fn task_id(number: u32) -> TaskId {
    TaskId::of("bbref", gap_id(number))
}

/// A task of these gaps, named by the first.
pub fn task(gaps: &[u32]) -> Task {
    Task {
        id: task_id(gaps[0]),
        collector: "bbref".into(),
        source: Some("basketball_reference".into()),
        priority: PriorityLevel::High,
        group: vec!["2024-25".into()],
        gaps: gaps.iter().copied().map(gap_id).collect(),
        detected_at: at(0),
        due: Some(at(-3600)),
        key: format!("box/{}.json", gaps[0]),
        ready_at: None,
    }
}

/// The same as it is remembered, with at least one of its gaps on record.
pub fn known_task(gaps: &[u32]) -> Task {
    Task { ready_at: Some(at(60)), ..task(gaps) }
}

pub fn attempt(number: u32) -> AttemptId {
    AttemptId(Uuid::from_u128(0x0195_7a00_0000_7000_8000_0000_0000_0000 + u128::from(number)))
}

/// A claim of one attempt on these gaps.
pub fn lease(number: u32, gaps: &[u32]) -> Lease {
    Lease {
        attempt: attempt(number),
        token: FencingToken(0),
        task: task_id(gaps[0]),
        collector: "bbref".into(),
        gaps: gaps.iter().copied().map(gap_id).collect(),
        started_at: at(i64::from(number)),
        until: moment(u64::from(number) + 60),
        staged: Vec::new(),
    }
}

/// How that attempt ended.
pub fn ended(number: u32, token: FencingToken, gaps: &[u32]) -> AttemptRecord {
    let failure = Failure { fault: Fault::Item, message: "wrote nothing".into(), retry_after_s: None };
    AttemptRecord {
        attempt: attempt(number),
        token,
        task: task_id(gaps[0]),
        collector: "bbref".into(),
        started_at: at(i64::from(number)),
        ended_at: at(i64::from(number) + 1),
        ended: "exit 0".into(),
        requests: 2,
        outcomes: gaps.iter().map(|gap| (gap_id(*gap), Outcome::Failed(failure.clone()))).collect(),
        log_tail: "done\n".into(),
        log: Some("logs/a.log".into()),
        story: None,
        traffic: None,
    }
}

pub fn process(number: u32) -> ProcessRecord {
    ProcessRecord { attempt: attempt(number), boot_id: boot_id(), process_group: 4312, start_ticks: 99_887_766 }
}

pub fn reservation(id: u64) -> Reservation {
    Reservation {
        id,
        source: "espn".into(),
        value: None,
        permits: 20,
        boot_id: boot_id(),
        first_sent: Boottime::from_secs(500),
        first_sent_wall: at(5),
        settled: None,
    }
}

pub fn settled() -> SettledReservation {
    SettledReservation { used: 19, last_arrival: Boottime::from_secs(501), last_arrival_wall: at(6) }
}

pub fn event(number: u32, text: &str) -> Event {
    Event { at: at(i64::from(number)), task: Some(task_id(number)), gap: Some(gap_id(number)), text: text.into() }
}

/// So long after the beginning, on both clocks of this boot.
pub fn moment(secs: u64) -> Moment {
    Moment { boot_id: boot_id(), boot: Boottime::from_secs(1_000 + secs), wall: at(secs as i64) }
}

pub fn boot_id() -> BootId {
    BootId("6f1f8a2e-6b2b-4d38-9d0c-0a1b2c3d4e5f".into())
}
