//! Bodies that wait for their bytes to be allowed: what stands between [`Flows`] and whoever moves a body.
//!
//! One of these is shared by the gateway and by the built-in `http`, so that `bytes_per_second` of a source holds for all of its
//! attempts together. It knows no runtime: who waits is woken, by the [`Clock`] or by whoever stood before him.
//!
//! Always true: a body that is dropped while it waits stands in nobody's way
//! (`who_goes_away_while_it_waits_leaves_his_turn_to_the_next`), and of a source that nothing bounds there is no [`Pace`] to ask.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use crate::limits::bytes::{Flows, Place};
use crate::ports::Clock;
use crate::spec::Spec;
use crate::time::Boottime;

pub struct Pacing {
    clock: Arc<dyn Clock>,
    sources: HashMap<String, usize>,
    inner: Mutex<Inner>,
}

struct Inner {
    flows: Flows,
    /// Of those that wait, by number.
    wakers: HashMap<u64, Waker>,
}

impl Pacing {
    /// As a config has it.
    pub fn of(spec: &Spec, clock: Arc<dyn Clock>) -> Arc<Self> {
        let sources = spec.sources.values().map(|source| (source.name.clone(), source.limits.bytes_per_second));
        Pacing::new(sources, spec.limits.bytes_per_second, clock)
    }

    /// Bytes a second of each source, and of all together.
    pub fn new(sources: impl IntoIterator<Item = (String, Option<u64>)>, all: Option<u64>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (names, rates): (Vec<String>, Vec<Option<u64>>) = sources.into_iter().unzip();
        let sources = names.into_iter().enumerate().map(|(at, name)| (name, at)).collect();
        let inner = Inner { flows: Flows::new(rates, all, clock.now().boot), wakers: HashMap::new() };
        Arc::new(Pacing { clock, sources, inner: Mutex::new(inner) })
    }

    /// `None`: its bodies pass as they come.
    pub fn pace(self: &Arc<Self>, source: &str) -> Option<Pace> {
        let source = *self.sources.get(source)?;
        self.inner().flows.paces(source).then(|| Pace { pacing: self.clone(), source })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Nobody is woken under the lock: who is may ask at once.
    fn woken(&mut self) -> Vec<Waker> {
        let Inner { flows, wakers } = self;
        flows.to_wake().filter_map(|number| wakers.remove(&number)).collect()
    }
}

/// What the bodies of one source wait for.
#[derive(Clone)]
pub struct Pace {
    pacing: Arc<Pacing>,
    source: usize,
}

impl Pace {
    /// For one body, in one direction.
    pub fn turn(&self) -> Turn {
        Turn { pace: self.clone(), place: Place::default(), sleep: Mutex::default() }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pace of source {}", self.source)
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One body's place among those that wait. Dropped, it waits no longer.
pub struct Turn {
    pace: Pace,
    place: Place,
    /// Until when it sleeps. Never locked: it is a part of requests, which threads may look at together.
    sleep: Mutex<Option<(Boottime, Sleep)>>,
}

impl Turn {
    /// How many of the `wanted` bytes pass now: at least one.
    pub fn poll(&mut self, context: &mut Context<'_>, wanted: u64) -> Poll<u64> {
        loop {
            match self.ask(context, wanted) {
                Ok(bytes) => {
                    *self.asleep() = None;
                    return Poll::Ready(bytes);
                }
                Err(at) => {
                    ready!(self.sleep_until(at).as_mut().poll(context));
                    *self.asleep() = None;
                }
            }
        }
    }

    /// Returns when so many bytes may have passed.
    pub async fn pass(&mut self, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            left -= poll_fn(|context| self.poll(context, left)).await;
        }
    }

    /// Of what just passed, so much was not used after all.
    pub fn give_back(&mut self, bytes: u64) {
        if bytes > 0 {
            self.pace.pacing.inner().flows.give_back(self.pace.source, bytes);
        }
    }

    fn ask(&mut self, context: &Context<'_>, wanted: u64) -> Result<u64, Boottime> {
        let (pacing, source) = (&self.pace.pacing, self.pace.source);
        let mut inner = pacing.inner();
        let waited_as = self.place.number();
        let asked = inner.flows.ask(source, &mut self.place, wanted, pacing.clock.now().boot);
        if let Some(number) = waited_as.filter(|number| self.place.number() != Some(*number)) {
            inner.wakers.remove(&number);
        }
        if let Some(number) = self.place.number() {
            inner.wakers.insert(number, context.waker().clone());
        }
        let woken = inner.woken();
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
        asked
    }

    fn sleep_until(&mut self, at: Boottime) -> &mut Sleep {
        let known = self.asleep().take().filter(|(until, _)| *until == at);
        let asleep = known.unwrap_or_else(|| {
            let clock = self.pace.pacing.clock.clone();
            (at, Box::pin(async move { clock.sleep_until(at).await }))
        });
        &mut self.asleep().insert(asleep).1
    }

    fn asleep(&mut self) -> &mut Option<(Boottime, Sleep)> {
        self.sleep.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(number) = self.place.number() else { return };
        let pacing = &self.pace.pacing;
        let now = pacing.clock.now().boot;
        let mut inner = pacing.inner();
        inner.wakers.remove(&number);
        inner.flows.leave(self.pace.source, &mut self.place, now);
        let woken = inner.woken();
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::time::{BootId, Now, Timestamp};

    /// Time stands still, unless a test says otherwise.
    struct Still(Mutex<Boottime>);

    #[async_trait]
    impl Clock for Still {
        fn now(&self) -> Now {
            Now { wall: Timestamp::UNIX_EPOCH, boot: *self.0.lock().unwrap() }
        }

        fn boot_id(&self) -> BootId {
            BootId("test".into())
        }

        async fn sleep_until(&self, until: Boottime) {
            poll_fn(|_| if self.now().boot < until { Poll::Pending } else { Poll::Ready(()) }).await
        }
    }

    #[derive(Default)]
    struct Rings(AtomicUsize);

    impl Wake for Rings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll(turn: &mut Turn, wanted: u64) -> (Poll<u64>, Arc<Rings>) {
        let rings = Arc::<Rings>::default();
        let waker = Waker::from(rings.clone());
        (turn.poll(&mut Context::from_waker(&waker), wanted), rings)
    }

    fn of_espn() -> (Arc<Still>, Arc<Pacing>, Pace) {
        let clock = Arc::new(Still(Mutex::new(Boottime::from_secs(9))));
        let pacing = Pacing::new([("espn".into(), Some(1_000)), ("free".into(), None)], None, clock.clone());
        let pace = pacing.pace("espn").unwrap();
        (clock, pacing, pace)
    }

    #[test]
    fn who_goes_away_while_it_waits_leaves_his_turn_to_the_next() {
        let (clock, pacing, pace) = of_espn();
        let (mut first, mut second) = (pace.turn(), pace.turn());
        assert!(poll(&mut first, 100).0.is_pending());
        let (behind, rings) = poll(&mut second, 100);
        assert!(behind.is_pending() && rings.0.load(Ordering::SeqCst) == 0);
        drop(first);
        assert_eq!(rings.0.load(Ordering::SeqCst), 1, "it is first now, and has to see to its own time");
        assert!(poll(&mut second, 100).0.is_pending());
        *clock.0.lock().unwrap() = Boottime::from_secs(9) + Duration::from_millis(100);
        assert_eq!(poll(&mut second, 100).0, Poll::Ready(100), "the first has taken nothing");
        drop(second);
        assert!(pacing.inner().wakers.is_empty());
    }

    #[test]
    fn who_passes_wakes_the_next() {
        let (clock, _, pace) = of_espn();
        let (mut first, mut second) = (pace.turn(), pace.turn());
        assert!(poll(&mut first, 50).0.is_pending());
        let (_, rings) = poll(&mut second, 50);
        *clock.0.lock().unwrap() = Boottime::from_secs(10);
        assert_eq!(poll(&mut first, 50).0, Poll::Ready(50));
        assert_eq!(rings.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&mut second, 50).0, Poll::Ready(50));
    }

    #[test]
    fn what_nothing_bounds_has_no_pace() {
        let (_, pacing, _) = of_espn();
        assert!(pacing.pace("free").is_none() && pacing.pace("unknown").is_none());
    }
}
