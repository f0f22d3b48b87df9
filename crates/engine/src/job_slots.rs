//! Slots for jobs: commands without items that run beside the engine, and count among its attempts.
//!
//! Always true: attempts and jobs together are never more than there are slots; a job that asks and finds none has the next one that gets free
//! (`no_task_starts_in_a_slot_that_is_kept_for_a_job`), or tasks that stand in line would keep it waiting for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use adce_core::ids::AttemptId;
use adce_core::ports::{Admission, Stop};
use adce_core::time::Now;

use crate::engine::Engine;
use crate::guests::GuestUse;
use crate::stop::StopSwitch;

/// What a job has while it runs.
#[derive(Clone)]
pub struct JobSlot {
    pub id: AttemptId,
    pub admission: Admission,
    pub stop: Stop,
}

#[derive(Default)]
pub(crate) struct JobSlots {
    running: BTreeMap<AttemptId, Arc<StopSwitch>>,
    /// One has asked and found none.
    is_wanted: bool,
}

impl JobSlots {
    pub fn are_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub fn stop_all(&self) {
        self.running.values().for_each(|stop| stop.stop());
    }
}

impl Engine {
    /// `source`: it may ask no other. `None`: not now.
    pub(crate) fn slot_for_job(&mut self, source: Option<String>) -> Option<JobSlot> {
        if self.starts_nothing() || self.dispatcher.holds_job(source.as_deref()) {
            self.keep_slots_for_jobs(false);
            return None;
        }
        let running = self.job_slots.running.len() as u32;
        if self.dispatcher.slots_used() + running >= self.dispatcher.rules().slots {
            self.keep_slots_for_jobs(true);
            return None;
        }
        let guest = self.admit(source.map(|source| vec![source])).ok()?;
        let stop = Arc::new(StopSwitch::default());
        self.job_slots.running.insert(guest.id, stop.clone());
        self.keep_slots_for_jobs(false);
        Some(JobSlot { id: guest.id, admission: guest.admission, stop })
    }

    pub(crate) fn slot_back(&mut self, job: AttemptId, now: Now) -> Option<GuestUse> {
        self.job_slots.running.remove(&job);
        let is_wanted = self.job_slots.is_wanted;
        self.keep_slots_for_jobs(is_wanted);
        self.dismiss(job, now)
    }

    fn keep_slots_for_jobs(&mut self, is_wanted: bool) {
        self.job_slots.is_wanted = is_wanted;
        self.dispatcher.keeps_slots(self.job_slots.running.len() as u32 + u32::from(is_wanted));
    }
}
