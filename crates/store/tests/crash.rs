//! `kill -9` while several callers write: what was acknowledged is there, and of the rest whole batches or nothing.

mod sample;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use adce_core::ids::GapId;
use adce_core::ports::Store;
use adce_core::record::{Change, Remembered};
use adce_store::sqlite::{self, Opening, SqliteStore};
use adce_store::{Identity, Retention};
use sample::*;

const STATE: &str = "ADCE_TEST_CRASH_STATE";
const FIRST: &str = "ADCE_TEST_CRASH_FIRST";
const CALLERS: u32 = 5;
const ROUNDS: u32 = 12;
/// Numbers of one round: more than any round gets through.
const SPAN: u32 = 100_000;

fn open(path: &Path) -> SqliteStore {
    let identity = Identity { name: "prod".into(), lake: "/lake".into() };
    sqlite::open(path, &Opening { identity, boot_id: boot_id(), now: at(0), retention: Retention::default() }).unwrap()
}

/// The engine that is killed: each caller leases, records a pair of gaps with the result, and says so once that is on disk.
#[test]
fn writes_until_it_is_killed_when_a_test_asks_for_it() {
    let (Ok(path), Ok(first)) = (std::env::var(STATE), std::env::var(FIRST)) else { return };
    let (path, first): (PathBuf, u32) = (path.into(), first.parse().unwrap());
    let store = Arc::new(open(&path));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let callers: Vec<_> = (0..CALLERS).map(|caller| tokio::spawn(write_for_ever(Arc::clone(&store), first + caller))).collect();
        for caller in callers {
            caller.await.unwrap();
        }
    });
}

async fn write_for_ever(store: Arc<SqliteStore>, first: u32) {
    for number in (first..).step_by(CALLERS as usize) {
        let token = store.lease(lease(number, &[number])).await.unwrap();
        println!("leased {number} {}", token.0);
        let pair = [2 * number, 2 * number + 1];
        let batch = vec![
            Change::PutGap(gap(pair[0])),
            Change::Finish(ended(number, token, &[number])),
            Change::PutTask(task(&pair)),
            Change::PutGap(gap(pair[1])),
        ];
        store.apply(batch).await.unwrap();
        println!("done {number} {}", token.0);
    }
}

#[derive(Default)]
struct Acknowledged {
    /// Token by number, for leases that were not finished as far as anybody was told.
    leased: HashMap<u32, u64>,
    done: BTreeSet<u32>,
    tokens: HashSet<u64>,
}

impl Acknowledged {
    fn hear(&mut self, line: &str) {
        // The test harness of the child has something to say as well.
        let [what @ ("leased" | "done"), number, token] = line.split(' ').collect::<Vec<_>>()[..] else { return };
        let (number, token) = (number.parse().unwrap(), token.parse().unwrap());
        match what {
            "leased" => {
                assert!(self.tokens.insert(token), "token {token} was given twice");
                self.leased.insert(number, token);
            }
            _ => {
                self.leased.remove(&number);
                self.done.insert(number);
            }
        }
    }
}

/// Starts the engine, kills it after so many lines, and hears everything that it said before it died.
fn run_and_kill(path: &Path, first: u32, after: u32, heard: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writes_until_it_is_killed_when_a_test_asks_for_it", "--nocapture"])
        .env(STATE, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = 0;
    while said < after {
        let line = lines.next().expect("it writes for ever").unwrap();
        said += u32::from(line.starts_with("leased") || line.starts_with("done"));
        heard.hear(&line);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // A line that the kill cut in two was not said.
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let whole = rest.iter().filter(|line| line.split(' ').count() == 3);
    whole.take(rest.len().saturating_sub(1)).for_each(|line| heard.hear(line));
}

fn check(remembered: &Remembered, heard: &Acknowledged) {
    let gaps: HashSet<GapId> = remembered.gaps.iter().map(|gap| gap.id).collect();
    let mut tasks: HashMap<GapId, Vec<GapId>> = remembered.tasks.iter().map(|task| (task.gaps[0], task.gaps.clone())).collect();
    for number in &heard.done {
        let pair = vec![gap_id(2 * number), gap_id(2 * number + 1)];
        assert_eq!(tasks.remove(&pair[0]), Some(pair.clone()), "batch {number} was acknowledged");
        assert!(pair.iter().all(|gap| gaps.contains(gap)), "batch {number} was acknowledged");
    }
    // What nobody was told about yet is whole as well.
    assert!(tasks.values().all(|pair| pair.len() == 2 && pair.iter().all(|gap| gaps.contains(gap))), "half a batch: {tasks:?}");
    assert_eq!(gaps.len(), 2 * remembered.tasks.len(), "half a batch");
    let leases: HashMap<_, u64> = remembered.leases.iter().map(|lease| (lease.attempt, lease.token.0)).collect();
    for (number, token) in &heard.leased {
        let finished_unheard = gaps.contains(&gap_id(2 * number));
        assert!(finished_unheard || leases.get(&attempt(*number)) == Some(token), "lease {number} was acknowledged");
    }
    let owned: Vec<GapId> = remembered.leases.iter().flat_map(|lease| lease.gaps.clone()).collect();
    assert_eq!(owned.iter().collect::<HashSet<_>>().len(), owned.len(), "a gap with two owners");
}

#[test]
fn what_was_acknowledged_survives_kill_nine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut heard = Acknowledged::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for round in 0..ROUNDS {
        // Where in a commit the kill falls is up to the scheduler; where in the run, to this number.
        run_and_kill(&path, round * SPAN, 1 + (round * 7_919) % 211, &mut heard);
        // A state whose engine was killed is ours at once, and whole.
        let store = open(&path);
        check(&runtime.block_on(store.load()).unwrap(), &heard);
    }
    assert!(heard.done.len() > ROUNDS as usize);
}

#[test]
fn a_killed_engine_leaves_a_state_that_readers_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut heard = Acknowledged::default();
    run_and_kill(&path, 0, 100, &mut heard);
    let identity = Identity { name: "prod".into(), lake: "/lake".into() };
    let reader = sqlite::open_to_read(&path, &identity).unwrap().unwrap();
    check(&reader.remembered().unwrap(), &heard);
}
