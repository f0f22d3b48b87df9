//! Who owns which gap and which token is current, in memory.
//!
//! On SQLite the lease rows say the same, but asking them would cost each attempt five statements and two indexes, and this
//! is asked thousands of times a second. Nobody but the one writer changes the file, so what it has read once stays true;
//! after a transaction that failed it reads again.
//!
//! Always true: a batch is refused before anything of it is written (`a_stale_result_takes_its_whole_batch_with_it`,
//! `a_refused_lease_takes_none_of_its_gaps`), and a gap has one owner (`a_gap_has_one_owner`). When a lease has
//! expired is `adce_core::lease`'s to say.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use adce_core::ids::{AttemptId, FencingToken, GapId};
use adce_core::ports::StoreError;
use adce_core::record::{AttemptRecord, Change, Lease};
use adce_core::time::Moment;

#[derive(Default)]
pub(crate) struct Owners {
    leases: HashMap<AttemptId, Held, OfIds>,
    of_gap: HashMap<GapId, AttemptId, OfIds>,
}

/// Ids are digests, or half of them is random: mixing their bytes once is enough.
type OfIds = BuildHasherDefault<Mixed>;

#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(eight));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The golden ratio, as an odd number of 64 bits.
        self.0 = (self.0.rotate_left(29) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

struct Held {
    token: FencingToken,
    gaps: Vec<GapId>,
    until: Moment,
}

impl Owners {
    pub(crate) fn of(leases: &[Lease]) -> Self {
        let mut owners = Owners::default();
        leases.iter().for_each(|lease| owners.leased(lease, lease.token));
        owners
    }

    /// Whether the attempt is new and all of its gaps are free.
    pub(crate) fn may_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        if self.leases.contains_key(&lease.attempt) {
            return Err(StoreError::StaleToken(lease.attempt));
        }
        let mut wanted = HashSet::<GapId, OfIds>::with_capacity_and_hasher(lease.gaps.len(), OfIds::default());
        for gap in &lease.gaps {
            let twice = (!wanted.insert(*gap)).then_some(lease.attempt);
            if let Some(by) = self.of_gap.get(gap).copied().or(twice) {
                return Err(StoreError::Leased { gap: *gap, by });
            }
        }
        Ok(())
    }

    pub(crate) fn leased(&mut self, lease: &Lease, token: FencingToken) {
        self.of_gap.extend(lease.gaps.iter().map(|gap| (*gap, lease.attempt)));
        self.leases.insert(lease.attempt, Held { token, gaps: lease.gaps.clone(), until: lease.until.clone() });
    }

    /// Refuses a batch with a change that only the holder of a current token may make, and whose attempt does not hold it.
    pub(crate) fn may_apply(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut over = HashSet::<AttemptId, OfIds>::default();
        let mut renewed: HashMap<AttemptId, &Moment> = HashMap::new();
        for change in changes {
            let (attempt, holds) = match change {
                Change::Renew { attempts, until } => {
                    let lost = |attempt: &&AttemptId| !self.leases.contains_key(attempt) || over.contains(*attempt);
                    if let Some(lost) = attempts.iter().find(lost) {
                        return Err(StoreError::StaleToken(*lost));
                    }
                    renewed.extend(attempts.iter().map(|attempt| (*attempt, until)));
                    continue;
                }
                Change::Lapse { attempt, now } => {
                    let until = self.leases.get(attempt).filter(|_| !over.contains(attempt)).map(|held| &held.until);
                    let until = until.map(|until| *renewed.get(attempt).unwrap_or(&until));
                    if until.is_some_and(|until| !until.has_come(now)) {
                        return Err(StoreError::StillHeld(*attempt));
                    }
                    over.insert(*attempt);
                    continue;
                }
                Change::Release(attempt) => {
                    over.insert(*attempt);
                    continue;
                }
                Change::Started(process) => (process.attempt, self.leases.contains_key(&process.attempt)),
                Change::Publishing { attempt, token, .. } => (*attempt, self.holds(*attempt, *token)),
                Change::Finish(record) => (record.attempt, self.may_finish(record)),
                _ => continue,
            };
            if !holds || over.contains(&attempt) {
                return Err(StoreError::StaleToken(attempt));
            }
            match change {
                Change::Finish(_) => drop(over.insert(attempt)),
                Change::Publishing { until, .. } => drop(renewed.insert(attempt, until)),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn applied(&mut self, changes: &[Change]) {
        for change in changes {
            let over = match change {
                Change::Finish(record) => record.attempt,
                Change::Release(attempt) | Change::Lapse { attempt, .. } => *attempt,
                Change::Publishing { attempt, until, .. } => {
                    self.renewed(std::slice::from_ref(attempt), until);
                    continue;
                }
                Change::Renew { attempts, until } => {
                    self.renewed(attempts, until);
                    continue;
                }
                _ => continue,
            };
            for gap in self.leases.remove(&over).map(|held| held.gaps).unwrap_or_default() {
                self.of_gap.remove(&gap);
            }
        }
    }

    fn renewed(&mut self, attempts: &[AttemptId], until: &Moment) {
        for attempt in attempts {
            if let Some(held) = self.leases.get_mut(attempt) {
                held.until.clone_from(until);
            }
        }
    }

    fn holds(&self, attempt: AttemptId, token: FencingToken) -> bool {
        self.leases.get(&attempt).is_some_and(|held| held.token == token)
    }

    fn may_finish(&self, record: &AttemptRecord) -> bool {
        let owns = |gap| self.of_gap.get(gap) == Some(&record.attempt);
        self.holds(record.attempt, record.token) && record.outcomes.iter().all(|(gap, _)| owns(gap))
    }
}
