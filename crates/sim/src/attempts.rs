//! Simulated collectors: what each request of an attempt meets, and what the attempt says about its items at the end.

use adce_core::gap::{Failure, Fault, Outcome};
use adce_core::ids::{AttemptId, FencingToken, GapId};
use adce_core::ports::{Answer, Quotas, RetryAfter};
use adce_core::queue::Start;
use adce_core::spec::Requests;
use adce_core::time::Timestamp;

use crate::scenario::{Kind, Micros};
use crate::upstream::Reply;

#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: AttemptId,
    pub start: Start,
    /// Position in the scenario; `None`: it asks nobody.
    pub source: Option<usize>,
    pub kind: Kind,
    pub token: Option<FencingToken>,
    pub began_at: Timestamp,
    /// What became of each of its requests.
    pub replies: Vec<Option<Reply>>,
    /// The next request to be asked for.
    pub next: usize,
    /// Asked for, and not over.
    pub open: usize,
    /// The process dies before this request,
    pub dies_before: Option<usize>,
    /// or hangs there until then.
    pub hangs_until: Option<Micros>,
    pub is_over: bool,
    /// It was told that its source is not asked now: what it has not asked for goes back.
    pub gives_up: bool,
    requests: Requests,
}

impl Attempt {
    pub fn new(start: Start, source: Option<usize>, kind: Kind, requests: Requests, dies: bool, wall: Timestamp) -> Self {
        let count = if source.is_some() { requests.of(start.gaps.len()) as usize } else { 0 };
        Attempt {
            id: start.attempt,
            source,
            kind,
            token: None,
            began_at: wall,
            replies: vec![None; count],
            next: 0,
            open: 0,
            dies_before: dies.then_some(count / 2),
            hangs_until: None,
            is_over: false,
            gives_up: false,
            requests,
            start,
        }
    }

    /// It crashes when it comes to this item.
    pub fn poisoned(&mut self, item: usize) {
        let request = self.requests.per_task as usize + item * self.requests.per_item as usize;
        let request = if self.is_bulk() { 0 } else { request };
        self.dies_before = Some(self.dies_before.map_or(request, |before| before.min(request)));
    }

    pub fn hangs(&mut self, until: Micros) {
        self.dies_before.get_or_insert(self.replies.len() / 2);
        self.hangs_until = Some(until);
    }

    pub fn gap_ids(&self) -> Vec<GapId> {
        self.start.gaps.iter().map(|gap| gap.id).collect()
    }

    pub fn is_dead(&self) -> bool {
        self.dies_before.is_some_and(|before| self.next >= before)
    }

    /// How many more requests it wants to have under way.
    pub fn wants(&self) -> usize {
        let at_once = match self.kind {
            Kind::Gateway { parallel } => parallel as usize,
            Kind::Http | Kind::Charged => 1,
        };
        let left = self.replies.len() - self.next;
        if self.is_dead() || self.gives_up { 0 } else { at_once.saturating_sub(self.open).min(left) }
    }

    /// The item that a request is for; `None`: it is for all of them.
    pub fn item_of(&self, request: usize) -> Option<usize> {
        let behind = request.checked_sub(self.requests.per_task as usize)?;
        Some(behind / self.requests.per_item as usize)
    }

    /// One request is for all of its items.
    pub fn is_bulk(&self) -> bool {
        self.requests.per_item == 0
    }

    /// What it says about each of its items.
    pub fn outcomes(&self, wall: Timestamp) -> Vec<(GapId, Outcome)> {
        (0..self.start.gaps.len()).map(|item| (self.start.gaps[item].id, self.outcome(item, wall))).collect()
    }

    fn outcome(&self, item: usize, wall: Timestamp) -> Outcome {
        if self.source.is_none() && self.dies_before.is_some() {
            return failed(Fault::Collector, "exit 1", None);
        }
        let its_own = (0..self.replies.len()).filter(|request| self.item_of(*request).is_none_or(|of| of == item));
        let mut outcome = done(wall);
        for request in its_own {
            outcome = match self.replies[request] {
                Some(Reply::Good) => continue,
                // A call for many that finds nothing says nothing of each.
                Some(Reply::NoSuchThing) if self.item_of(request).is_none() && self.start.gaps.len() > 1 => Outcome::Split,
                Some(Reply::NoSuchThing) => Outcome::Absent,
                Some(Reply::Busy { retry_after_s }) => failed(Fault::Source, "answered 429", retry_after_s),
                Some(Reply::Error) => failed(Fault::Source, "answered 500", None),
                Some(Reply::Broken) => failed(Fault::Source, "the connection broke", None),
                Some(Reply::Refused) => failed(Fault::Source, "connection refused", None),
                Some(Reply::Garbage) => failed(Fault::Item, "answer of 71 B < 100 B", None),
                None if self.gives_up => failed(Fault::Stopped, "given back", None),
                None => failed(Fault::Collector, "exit 1", None),
            };
            if matches!(outcome, Outcome::Failed(_) | Outcome::Split) {
                break;
            }
        }
        outcome
    }
}

pub fn answer(reply: Reply) -> Answer {
    let status = |code, retry_after| Answer::Status { code, retry_after, quotas: Quotas::default() };
    match reply {
        Reply::Good | Reply::Garbage => status(200, None),
        Reply::NoSuchThing => status(404, None),
        Reply::Busy { retry_after_s } => status(429, retry_after_s.map(RetryAfter::Seconds)),
        Reply::Error => status(500, None),
        Reply::Broken => Answer::NoAnswer,
        Reply::Refused => Answer::NotReached,
    }
}

fn done(wall: Timestamp) -> Outcome {
    Outcome::Done { etag: wall.to_string(), size: 1_000, last_modified: wall }
}

fn failed(fault: Fault, message: &str, retry_after_s: Option<u64>) -> Outcome {
    Outcome::Failed(Failure { fault, message: message.into(), retry_after_s })
}
