//! The real binary, killed with SIGKILL at random moments and started again until the lake is complete, over an upstream
//! that has its moods: while batches, staged commands of several objects, retries and every other way of delivery are
//! under way. Checked from outside (`support/killed.rs`): by the upstream's own log, the files in the lake, locks that
//! scrapers hold, and what `adce gaps` says after each kill and at the end.
//!
//! `ADCE_KILLS=1000 cargo test -p adce --test crash -- --nocapture` kills more often than the 50 times of a normal run.

mod support;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adce_demo::Moods;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::killed::{BATCH, EVERY_KIND, SLOTS, Setting, World, died, is_there};
use support::place::{children_of, signal, wait_for};

/// Answers that leave gaps to be tried again, and again.
const MOODS: Moods = Moods { too_many: 0.002, error: 0.04, truncated: 0.03, empty: 0.03, block_page: 0.02 };

/// About what a busy machine comes to between two kills; a faster one is given more to do.
const OBJECTS_A_KILL: u64 = 18;

/// The look after a kill takes as long as the kill: one in so many is looked at.
const LOOKED_AT: u64 = 5;

#[test]
fn killed_at_any_moment_nothing_is_lost_torn_doubled_or_sent_too_fast() {
    let kills: u64 = std::env::var("ADCE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(50);
    let seed: u64 = std::env::var("ADCE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("{kills} kills, seed {seed} (ADCE_SEED={seed} repeats the moments)");
    let mut random = StdRng::seed_from_u64(seed);
    let items = (kills * OBJECTS_A_KILL).div_ceil(EVERY_KIND.len() as u64);
    let mut world = World::new(&Setting { items, moods: MOODS, ..Setting::default() });

    let (mut killed, mut found) = (0, Vec::new());
    let deadline = Instant::now() + Duration::from_secs(120 + 10 * kills);
    let completed = loop {
        assert!(Instant::now() < deadline, "not complete after {killed} kills");
        let mut engine = start_engine(&world);
        if killed == kills {
            break engine.wait().expect("an exit code").code();
        }
        // One kill in four hits the start itself; the others come while requests are under way.
        let before = world.requests();
        let after_ms = random.random_range(0..600);
        let at_work = random.random_range(0..4) > 0;
        let begun = || !at_work || world.requests() > before;
        if let Some(ended) = wait_until(&mut engine, begun, Duration::from_millis(after_ms)) {
            assert_eq!(ended, Some(0), "{}", world.place.read("engine.log"));
            // Few enough to be no surprise.
            world.grow_by_a_tenth();
            continue;
        }
        // A third each hits the engine, the guardian above it, and both, so that nobody ends what runs.
        let both = kill(&mut engine, killed % 3);
        // A start that was hit may have left to the next one what an earlier engine had left to it.
        assert!(both || !at_work || world.works_nobody(), "a scraper outlived the engine or its guardian");
        killed += 1;
        if killed % LOOKED_AT == 0 {
            found.push(world.look_at_what_is_left());
        }
    };
    assert_eq!(completed, Some(0), "the last engine completes the lake:\n{}", world.place.read("engine.log"));

    let again = world.check(&found);
    println!("{killed} kills, {} for {} objects; {again} requests sent again", world.told(), world.objects());
    assert!(again <= killed * LOST_WITH_AN_ENGINE, "{again} requests were sent again after {killed} kills");
    assert!(killed < 20 || again > 0, "no kill met a request under way: the harness proves nothing");
}

/// One task a slot; of a killed command's batch nothing was published, and it is fetched again whole.
const LOST_WITH_AN_ENGINE: u64 = SLOTS * BATCH;

/// Returns when neither of the two is there any more, and whether both were killed at once. Until it has an engine, a
/// guardian is killed either way.
fn kill(guardian: &mut Child, which: u64) -> bool {
    let engine = children_of(guardian.id() as i32).first().copied();
    match (engine, which) {
        (Some(engine), 0) => signal("-KILL", engine),
        (Some(engine), 1) => {
            // It cannot do anything between the two signals.
            signal("-STOP", guardian.id() as i32);
            signal("-KILL", engine);
            guardian.kill().expect("SIGKILL");
        }
        _ => guardian.kill().expect("SIGKILL"),
    }
    assert!(died(guardian.wait().expect("the guardian is reaped")));
    wait_for("the engine to go with its guardian", || !engine.is_some_and(is_there));
    engine.is_some() && which == 1
}

/// Waits until it has begun, and then for `span`. The code with which it ended by itself meanwhile, if it did.
fn wait_until(engine: &mut Child, begun: impl Fn() -> bool, span: Duration) -> Option<Option<i32>> {
    let mut moment = None;
    loop {
        if let Some(ended) = engine.try_wait().expect("the engine's state") {
            return Some(ended.code());
        }
        if moment.is_none() && begun() {
            moment = Some(Instant::now() + span);
        }
        if moment.is_some_and(|moment| Instant::now() >= moment) {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn start_engine(world: &World) -> Child {
    let output = std::fs::File::options().create(true).append(true).open(world.place.path("engine.log")).expect("a log");
    Command::new(env!("CARGO_BIN_EXE_adce"))
        .args(["run", "--yes"])
        .current_dir(world.place.folder())
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a handle"))
        .stderr(output)
        .spawn()
        .expect("adce starts")
}
