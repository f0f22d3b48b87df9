//! Which batches share the next commit.
//!
//! What is queued is committed at once: an idle writer delays nobody (`an_idle_writer_does_not_wait_for_company`). Only
//! while several callers take turns does it wait for those whom it has just answered: they usually come back within
//! microseconds, and one fsync for all of them is cheaper than two for half of them each.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::writer::{End, Job, Sent};

/// Batches in one commit. An fsync costs as much as some twenty batches, so more would add little but waiting.
const GROUP: usize = 256;

/// So long a commit waits at most, counted from the last answers: about what an fsync costs.
const RETURN: Duration = Duration::from_micros(200);

pub(super) struct Queue {
    sent: Receiver<Sent>,
    queued: VecDeque<Sent>,
    /// Callers that are known to take turns: those that waited during the last commit, and those that it answered.
    callers: usize,
    answered: Instant,
}

impl Queue {
    pub(super) fn of(sent: Receiver<Sent>) -> Self {
        Queue { sent, queued: VecDeque::new(), callers: 0, answered: Instant::now() }
    }

    /// To be called between a commit and its answers, while those who will come back cannot have done so.
    pub(super) fn expect_back(&mut self, answered: usize) {
        self.queued.extend(self.sent.try_iter());
        self.callers = self.queued.len() + answered;
        self.answered = Instant::now();
    }

    /// Blocks until there is something to do. Returns the end if it came; then the group may be empty.
    pub(super) fn next_group(&mut self, group: &mut Vec<Job>) -> Option<End> {
        if self.queued.is_empty() {
            // Without senders nobody can end us but by going away.
            let Ok(first) = self.sent.recv() else { return Some(End) };
            self.queued.push_back(first);
        }
        while group.len() < GROUP {
            match self.queued.pop_front() {
                Some(Sent::Job(job)) => group.push(job),
                Some(Sent::End(end)) => return Some(end),
                None if group.len() >= self.callers => match self.sent.try_recv() {
                    Ok(more) => self.queued.push_back(more),
                    Err(_) => break,
                },
                None => match self.sent.recv_timeout((self.answered + RETURN).saturating_duration_since(Instant::now())) {
                    Ok(more) => self.queued.push_back(more),
                    Err(_) => break,
                },
            }
        }
        None
    }
}
