//! What one decision of the limiter costs where it says yes, over three windows, beside governor's over three limiters of the
//! same rates: `cargo run --release -p adce-core --example limiter`, or `bench/run limiter`.
//!
//! The two do not decide the same: a governor is a bucket, which lets nearly twice the limit through a window, knows nothing
//! of when a request arrived, and takes from the first limiter what the third refuses. It is the library that one would take
//! otherwise.
//!
//! Prints a line of JSON: nanoseconds a decision, each the median of many rounds.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use adce_core::limits::{Ask, Limiter, SourceIx};
use adce_core::ports::Settlement;
use adce_core::spec::{Limits, Window};
use adce_core::time::Boottime;
use governor::clock::{Clock, FakeRelativeClock};
use governor::{Quota, RateLimiter};

const ROUNDS: usize = 201;
const DECISIONS: u64 = 2_000;
/// From one decision to the next: 50 a second, half of what the windows allow.
const APART: Duration = Duration::from_millis(20);
const WINDOWS: [(u32, u64); 3] = [(100, 1), (6_000, 60), (360_000, 3_600)];

fn main() {
    let windows = WINDOWS.map(|(requests, secs)| Window { requests, span: Duration::from_secs(secs) }).to_vec();
    let limits = Limits { windows, ..Limits::default() };
    let mut limiter = Limiter::new(&[("one".into(), limits)], &Limits::default());
    let (mut decides, mut whole) = (Vec::new(), Vec::new());
    let mut now = Boottime::from_secs(10_000);
    let ask = Ask::one(SourceIx(0));
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..DECISIONS {
            black_box(limiter.could_acquire(black_box(&ask), now)).expect("there is room");
        }
        decides.push(began.elapsed());
        let began = Instant::now();
        for _ in 0..DECISIONS {
            now = now + APART;
            let permit = limiter.try_acquire(black_box(&ask), now).expect("there is room");
            limiter.sent(permit.id, now).expect("no pause");
            limiter.settle(permit.id, Settlement::ArrivedBy(now), now);
        }
        whole.push(began.elapsed());
    }

    let clock = FakeRelativeClock::default();
    let quota = |(requests, secs): (u32, u64)| {
        let requests = NonZeroU32::new(requests).expect("not zero");
        let every = Duration::from_secs(secs) / requests.get();
        Quota::with_period(every).expect("not zero").allow_burst(requests)
    };
    let governors = WINDOWS.map(|window| RateLimiter::direct_with_clock(quota(window), clock.clone()));
    let mut governor = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..DECISIONS {
            clock.advance(APART);
            for limiter in &governors {
                black_box(limiter.check()).expect("there is room");
            }
        }
        governor.push(began.elapsed());
    }
    black_box(clock.now());

    let each = |mut rounds: Vec<Duration>| {
        rounds.sort_unstable();
        (rounds[rounds.len() / 2].as_secs_f64() * 1e9 / DECISIONS as f64 * 10.0).round() / 10.0
    };
    let figures = serde_json::json!({
        "windows": WINDOWS.len(),
        "requests_remembered": limiter.remembered(),
        "decision_ns": each(decides),
        "granted_sent_settled_ns": each(whole),
        "governor_ns": each(governor),
    });
    println!("{figures}");
}
