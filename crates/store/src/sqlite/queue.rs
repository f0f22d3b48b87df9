//! Which batches share the next commit.
//!
//! What is queued is committed at once: an idle writer delays nobody (`an_idle_writer_does_not_wait_for_company`). Only
//! while several callers take turns does it wait for those whom it has just answered: they usually come back within
//! microseconds, and one fsync for all of them is cheaper than two for half of them each.
//!
//! What nobody waits for is put off for a moment (`what_nobody_waits_for_waits_for_company`), until somebody wants
//! something who does (`whoever_waits_takes_along_what_nobody_waits_for`): a slot's results and its next leases then share
//! one commit with those of all others.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use super::writer::{End, Haste, Job, Sent};

/// Batches in one commit. Only a long backlog fills it, and then size pays: names are spread evenly over their indexes, so each
/// batch of a small group writes pages of its own, and those of a large one share theirs.
const GROUP: usize = 16_384;

/// A commit waits as long for company as the last one took: waiting longer would cost more than it can save. On a disk
/// so busy that a commit takes longer than this, nobody is delayed further.
const LONGEST: Duration = Duration::from_millis(2);

/// What nobody waits for waits for company for so long: some ten short attempts share a commit then.
const PUT_OFF: Duration = Duration::from_millis(4);

pub(super) struct Queue {
    sent: Mailbox,
    queued: VecDeque<Sent>,
    /// Callers that are known to take turns: those that waited during the last commit, and those that it answered.
    callers: usize,
    answered: Instant,
    patience: Duration,
    longest: Duration,
    put_off: Duration,
}

impl Queue {
    pub(super) fn of(sent: Mailbox) -> Self {
        Queue {
            sent,
            queued: VecDeque::new(),
            callers: 0,
            answered: Instant::now(),
            patience: Duration::ZERO,
            longest: LONGEST,
            put_off: PUT_OFF,
        }
    }

    /// To be called between a commit and its answers, while those who will come back cannot have done so. `answered`: those
    /// who have waited for it.
    pub(super) fn expect_back(&mut self, answered: usize, commit_took: Duration) {
        self.queued.extend(self.sent.take());
        let waits = |sent: &&Sent| matches!(sent, Sent::Job(job) if job.haste == Haste::SomebodyWaits);
        self.callers = self.queued.iter().filter(waits).count() + answered;
        self.answered = Instant::now();
        self.patience = commit_took.min(self.longest);
    }

    /// Blocks until there is something to do. Returns the end if it came; then the group may be empty.
    pub(super) fn next_group(&mut self, group: &mut Vec<Job>) -> Option<End> {
        if self.queued.is_empty() {
            self.sent.wait();
        }
        let put_off_until = Instant::now() + self.put_off;
        let mut waiting = 0;
        loop {
            self.queued.extend(self.sent.take());
            while group.len() < GROUP {
                match self.queued.pop_front() {
                    Some(Sent::Job(job)) => {
                        waiting += usize::from(job.haste == Haste::SomebodyWaits);
                        group.push(job);
                    }
                    Some(Sent::End(end)) => return Some(end),
                    None => break,
                }
            }
            let wait_until = if waiting > 0 { self.answered + self.patience } else { put_off_until };
            let has_all = group.len() == GROUP || (waiting > 0 && waiting >= self.callers);
            if has_all || wait_until <= Instant::now() {
                return None;
            }
            match waiting {
                0 => self.sent.doze_until(wait_until),
                _ => self.sent.wait_until(wait_until),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tokio::sync::oneshot;

    use super::*;
    use crate::sqlite::mailbox::{Post, mailbox};
    use crate::sqlite::writer::Work;

    const FOR_EVER: Duration = Duration::from_secs(3_600);

    fn job() -> Sent {
        wanted(Haste::SomebodyWaits)
    }

    fn wanted(haste: Haste) -> Sent {
        Sent::Job(Job { haste, work: Work::Apply(Vec::new(), oneshot::channel().0) })
    }

    fn queue() -> (Post, Queue) {
        let (post, mailbox) = mailbox();
        (post, Queue { longest: FOR_EVER, put_off: FOR_EVER, ..Queue::of(mailbox) })
    }

    /// The size of the next group while `meanwhile` goes on, or `None` if it is not there within seconds.
    fn next_group(mut queue: Queue, meanwhile: impl FnOnce()) -> Option<usize> {
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let mut group = Vec::new();
            queue.next_group(&mut group);
            // Nobody listens any more if it took too long.
            let _ = tell.send(group.len());
        });
        meanwhile();
        told.recv_timeout(Duration::from_secs(5)).ok()
    }

    #[test]
    fn an_idle_writer_does_not_wait_for_company() {
        let (post, mut queue) = queue();
        assert!(post.send(job()));
        assert!(post.send(job()));
        let mut group = Vec::new();
        queue.next_group(&mut group);
        queue.expect_back(1, FOR_EVER);
        assert!(post.send(job()));
        assert_eq!(next_group(queue, || {}), Some(1), "one caller that takes turns with nobody");
    }

    #[test]
    fn a_commit_waits_for_those_whom_it_has_just_answered() {
        let (post, mut queue) = queue();
        assert!(post.send(job()));
        queue.expect_back(2, FOR_EVER);
        // They come after the queue was asked: whoever does not wait finds nothing.
        let come_back = || (0..2).for_each(|_| assert!(post.send(job())));
        assert_eq!(next_group(queue, come_back), Some(3));
    }

    #[test]
    fn callers_that_do_not_come_back_are_not_waited_for() {
        let (post, mut queue) = queue();
        queue.expect_back(50, Duration::ZERO);
        assert!(post.send(job()));
        assert_eq!(next_group(queue, || {}), Some(1));
    }

    #[test]
    fn what_nobody_waits_for_waits_for_company() {
        let (post, mut queue) = queue();
        queue.put_off = Duration::from_millis(1);
        assert!(post.send(wanted(Haste::NobodyWaits)));
        assert_eq!(next_group(queue, || {}), Some(1), "not for ever");
        let (post, queue) = super::tests::queue();
        assert!(post.send(wanted(Haste::NobodyWaits)));
        let company = || {
            assert!(post.send(wanted(Haste::NobodyWaits)));
            assert!(post.send(Sent::End(End)));
        };
        assert_eq!(next_group(queue, company), Some(2));
    }

    #[test]
    fn what_nobody_waits_for_wakes_a_writer_that_has_nothing_to_do() {
        let (post, mut queue) = queue();
        queue.put_off = Duration::from_millis(1);
        assert_eq!(next_group(queue, || assert!(post.send(wanted(Haste::NobodyWaits)))), Some(1));
    }

    #[test]
    fn whoever_waits_takes_along_what_nobody_waits_for() {
        let (post, queue) = queue();
        assert!(post.send(wanted(Haste::NobodyWaits)));
        assert_eq!(next_group(queue, || assert!(post.send(job()))), Some(2));
    }

    #[test]
    fn a_group_is_never_larger_than_its_bound() {
        let (post, queue) = queue();
        (0..GROUP + 10).for_each(|_| assert!(post.send(job())));
        assert_eq!(next_group(queue, || {}), Some(GROUP));
    }

    #[test]
    fn what_was_sent_before_the_end_is_committed_with_it() {
        let (post, mut queue) = queue();
        assert!(post.send(job()));
        assert!(post.send(Sent::End(End)));
        let mut group = Vec::new();
        assert!(queue.next_group(&mut group).is_some());
        assert_eq!(group.len(), 1);
    }
}
