//! An engine, or a command by hand, dies at every instant that lies between two durable steps, and is started again:
//! nothing is lost, doubled or torn. The instants are those of `core::failpoint`; each has its case here.

#![cfg(debug_assertions)] // A release build has no failpoints.

#[path = "../../lake/tests/support/servers.rs"]
mod servers;
mod support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use adce_core::failpoint::Failpoint;
use servers::Server;
use support::killed::{Setting, World, died};
use support::place::{Place, signal, wait_for};

/// What brings somebody to that instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// Work in all ways of delivery; when it comes there for the first time, or the second.
    Run,
    Second,
    /// The same; once more with the guardian dying first, so that nobody ends what runs.
    RunAndWithTheGuardian,
    /// A start after a kill.
    StartAfterAKill,
    StartOnAnOlderFormat,
    StartWithOldHistory,
    /// A lake on a store.
    Store,
    StoreInParts,
    /// Sets of objects are published.
    Sets,
    /// An end while leases are written ahead that nobody will use.
    EndBeforeTheWorkIsDone,
    RetryByHand,
    MarkAbsent,
    Backup,
}

/// A new failpoint does not compile here before it has its case.
fn case(point: Failpoint) -> Case {
    use Failpoint::*;
    match point {
        MigrationUncommitted | Migrated => Case::StartOnAnOlderFormat,
        PruningUncommitted | Pruned | LogRemoved => Case::StartWithOldHistory,
        PredecessorsEnded | LeftoversRemoved | LakeSwept | SuspectsCommitted | TakenOver => Case::StartAfterAKill,
        GapsUncommitted | GapsCommitted | LeaseUncommitted | LeaseCommitted | PublishingUncommitted | PublishingCommitted => Case::Run,
        Leased | WorkplaceMade | Spawned | ProcessUncommitted | ProcessCommitted | Staged => Case::RunAndWithTheGuardian,
        PickedUp | PartWritten | PartSynced | Renamed | Published | FolderMade | FolderSynced => Case::Second,
        PutUnsent | PutAnswered => Case::Store,
        UploadBegun | PartsSent | UploadCompleted => Case::StoreInParts,
        SetPartsPublished | SetMarked | OldPartRemoved => Case::Sets,
        Delivered | LogMoved | FolderKept | WorkplaceGivenBack | OutcomesDecided => Case::Second,
        OutcomesUncommitted | OutcomesCommitted => Case::Run,
        ReleaseUncommitted | ReleaseCommitted => Case::EndBeforeTheWorkIsDone,
        ReservationUncommitted | ReservationCommitted | SettlementUncommitted | SettlementCommitted => Case::Run,
        PermitGranted | RequestAnswered => Case::RunAndWithTheGuardian,
        EndUnmarked | EndMarked => Case::Run,
        ByHandDecided | ByHandCommitted => Case::RetryByHand,
        LineWritten | LineSynced => Case::MarkAbsent,
        CopyFilled | CopySynced | CopyPlaced => Case::Backup,
    }
}

fn points_of(case_of_it: Case) -> impl Iterator<Item = Failpoint> {
    Failpoint::ALL.iter().copied().filter(move |point| case(*point) == case_of_it)
}

/// A few at once: most of the time they wait for what a dead engine may have sent.
fn at_work_for_each(deaths: &[String]) {
    const AT_ONCE: usize = 4;
    for deaths in deaths.chunks(AT_ONCE) {
        std::thread::scope(|scope| deaths.iter().for_each(|death| drop(scope.spawn(|| at_work(death)))));
    }
}

/// Runs a command that is to die there; `env` on top of its environment.
#[track_caller]
fn dies(place: &Place, death: &str, env: &[(&'static str, String)], args: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adce"));
    command.args(args).current_dir(place.folder()).env("ADCE_FAILPOINT", death).envs(env.iter().map(|(name, value)| (name, value)));
    let said = command.stdin(Stdio::null()).output().expect("adce runs");
    let told = || format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(died(said.status), "`adce {}` never came to `{death}`: {}\n{}", args.join(" "), said.status, told());
}

const WORK: [&str; 2] = ["run", "--yes"];

/// Dies there, is looked at, starts again, and has done its work.
fn dies_and_completes(world: &World, death: &str) {
    dies(&world.place, death, &[], &WORK);
    let found = world.look_at_what_is_left();
    world.place.adce(&WORK).ends_with(0);
    world.check(&[found]);
}

fn at_work(death: &str) {
    let of_collectors = "      keep: always\n";
    dies_and_completes(&World::new(&Setting { items: 3, of_collectors, ..Setting::default() }), death);
}

#[test]
fn an_engine_at_work_may_die_between_any_two_steps() {
    at_work_for_each(&points_of(Case::Run).map(|point| point.name().to_owned()).collect::<Vec<_>>());
}

#[test]
fn of_several_objects_any_may_be_the_last() {
    at_work_for_each(&points_of(Case::Second).map(|point| format!("{}:2", point.name())).collect::<Vec<_>>());
}

#[test]
fn with_its_guardian_or_without_an_engine_may_die_beside_what_it_has_started() {
    let both = |point: Failpoint| [format!("{}:2", point.name()), format!("{}:5+guardian", point.name())];
    at_work_for_each(&points_of(Case::RunAndWithTheGuardian).flat_map(both).collect::<Vec<_>>());
}

/// What a killed attempt has written into the lake itself is in doubt, however often the start dies that finds it.
#[test]
fn a_start_after_a_kill_may_die_between_any_two_steps() {
    for point in points_of(Case::StartAfterAKill) {
        let world = World::new(&Setting { kinds: &["direct"], ..Setting::default() });
        dies(&world.place, "delivered+guardian", &[], &WORK);
        let found = world.look_at_what_is_left();
        dies(&world.place, point.name(), &[], &WORK);
        let again = world.look_at_what_is_left();
        world.place.adce(&WORK).ends_with(0);
        world.check(&[found, again]);
    }
}

#[test]
fn a_state_may_be_brought_up_to_date_by_one_who_dies() {
    for point in points_of(Case::StartOnAnOlderFormat) {
        let world = World::new(&Setting { kinds: &["box", "quick"], ..Setting::default() });
        dies(&world.place, point.name(), &[], &WORK);
        world.place.adce(&WORK).ends_with(0);
        // Its lake is complete, and as far as its state goes an older adce has done that.
        std::fs::remove_dir_all(world.place.path(".adce")).expect("the state goes");
        world.place.write(".adce/README", "");
        let older = rusqlite::Connection::open(world.place.path(".adce/state.db")).expect("a database");
        older.execute_batch(include_str!("../../store/tests/formats/0002.sql")).expect("a state of format 2");
        let lake = world.place.path("lake").canonicalize().expect("the lake").display().to_string();
        older.execute("UPDATE meta SET name = 'killed', lake = ?", [lake]).expect("it is of this lake");
        drop(older);
        std::fs::remove_file(world.place.path("lake/quick/deep/000001.txt")).expect("an object goes");
        dies(&world.place, point.name(), &[], &WORK);
        // Nobody reads a state of an older format before an engine has brought it up to date.
        let (found, _) = world.look_into_the_lake();
        world.place.adce(&WORK).ends_with(0);
        world.check(&[found]);
    }
}

#[test]
fn old_history_and_logs_may_be_removed_by_one_who_dies() {
    for point in points_of(Case::StartWithOldHistory) {
        let world = World::new(&Setting { kinds: &["quick"], engine: ", history: { size: 1B }", ..Setting::default() });
        world.place.adce(&WORK).ends_with(0);
        let old = [1, 2, 3].map(|number| world.place.path(&format!(".adce/logs/0192e4a0-0000-7000-8000-{number:012}.log")));
        old.iter().for_each(old_log);
        std::fs::remove_file(world.place.path("lake/quick/deep/000000.txt")).expect("an object goes");
        dies_and_completes(&world, point.name());
        assert!(old.iter().all(|log| !log.exists()), "an old log is left");
        world.place.adce(&["state", "check"]).ends_with(0);
    }
}

fn old_log(path: &PathBuf) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    let file = std::fs::File::create(path).expect("a log");
    file.set_modified(SystemTime::now() - Duration::from_secs(200 * 24 * 3_600)).expect("a date");
}

#[test]
fn whoever_is_asked_to_end_may_die_while_it_gives_leases_back() {
    for point in points_of(Case::EndBeforeTheWorkIsDone) {
        let numbers: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let place = Place::new(&format!(
            "version: 1\nname: killed\nlake: ./lake\ndimensions: {{ n: [{}] }}\ndatasets:\n  files:\n    key: \"{{n}}.txt\"\n    for: n\n    \
             collector: {{ command: [sh, -c, 'echo >> begun; while ! test -e go; do sleep 0.01; done; echo {{n}} > {{out}}'] }}\n",
            numbers.join(", ")
        ));
        let mut engine = Command::new(env!("CARGO_BIN_EXE_adce"));
        engine.args(WORK).current_dir(place.folder()).env("ADCE_FAILPOINT", point.name());
        let mut engine = engine.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("adce starts");
        wait_for("the first attempts", || place.has("begun"));
        signal("-TERM", engine.id() as i32);
        wait_for("the engine to drain", || place.adce(&["status", "--format", "json"]).json()["engine"]["stopping"] == true);
        place.write("go", "");
        assert!(died(engine.wait().expect("it ends")), "it never came to `{}`", point.name());
        place.adce(&["state", "check"]).ends_with(0);
        place.adce(&WORK).ends_with(0);
        assert_eq!(numbers.iter().filter(|number| place.has(&format!("lake/{number}.txt"))).count(), 40);
    }
}

fn on_a_store(point: Failpoint, bytes: u64) {
    let Some(server) = Server::s3s() else { return };
    server.make_bucket("killed");
    let place = Place::new(&format!(
        "version: 1\nname: killed\nlake: s3://killed/lake\ndimensions: {{ n: [1, 2] }}\ndatasets:\n  files:\n    key: \"{{n}}.bin\"\n    \
         for: n\n    min_size: {bytes}B\n    collector:\n      command: [sh, -c, 'echo {{n}} >> asked; truncate -s {bytes} {{out}}']\n"
    ));
    let env = server.environment();
    dies(&place, point.name(), &env, &WORK);
    place.adce_with(&env, &["state", "check"]).ends_with(0);
    let left = place.adce_with(&env, &["gaps", "--format", "json"]).out.lines().count();
    place.adce_with(&env, &WORK).ends_with(0);
    place.adce_with(&env, &["gaps"]).ends_with(0);
    let asked = place.read("asked").lines().count();
    assert!(asked <= 2 + left, "{}: collected {asked} times, although only {left} were not there", point.name());
}

#[test]
fn an_object_of_a_store_is_put_whole_by_one_who_dies_or_not_at_all() {
    points_of(Case::Store).for_each(|point| on_a_store(point, 10));
}

#[test]
fn an_object_in_many_parts_is_put_whole_by_one_who_dies_or_not_at_all() {
    points_of(Case::StoreInParts).for_each(|point| on_a_store(point, (64 << 20) + 1));
}

/// Of each item two parts that bear their attempt's name.
fn sets(rules: &str) -> Place {
    let place = Place::new(&format!(
        "version: 1\nname: sets\nlake: ./lake\ndimensions: {{ n: [0, 1] }}\ndatasets:\n  sets:\n    key: \"s/{{n}}/part-*.txt\"\n{rules}    \
         for: n\n    collector:\n      command:\n        [sh, -c, 'echo {{n}} >> asked; for part in a b; do echo $ADCE_ATTEMPT > \
         {{out}}/part-$ADCE_ATTEMPT-$part.txt; done']\n"
    ));
    std::fs::create_dir_all(place.path("lake")).expect("a lake");
    place
}

/// Of an earlier collection.
fn old_part(place: &Place, name: &str) {
    let file = format!("lake/s/{name}");
    place.write(&file, "x");
    let file = std::fs::File::options().write(true).open(place.path(&file)).expect("it is there");
    file.set_modified(SystemTime::now() - Duration::from_secs(24 * 3_600)).expect("a date");
}

/// All of one collection, and its marker.
fn is_whole(place: &Place, set: u32, is_marked: bool, death: &str) {
    let entries = std::fs::read_dir(place.path(&format!("lake/s/{set}"))).expect("the set's folder");
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let (markers, parts): (Vec<_>, Vec<_>) = names.iter().partition(|name| *name == "ok");
    let attempts: std::collections::HashSet<String> = parts.iter().map(|part| place.read(&format!("lake/s/{set}/{part}"))).collect();
    assert_eq!((markers.len(), parts.len(), attempts.len()), (usize::from(is_marked), 2, 1), "{death}: the set is torn: {names:?}");
}

#[test]
fn a_set_that_was_published_in_part_is_never_taken_for_whole() {
    const MARKED: &str = "    done: ok\n";
    const REFRESHED: &str = "    done: ok\n    fresh: { within: 1h }\n";
    // So much only all its new parts have together, whatever is left of the old ones.
    const GROWN: &str = "    done: ok\n    min_size: 70B\n";
    const PLAIN: &str = "";
    const PLAIN_AND_GROWN: &str = "    min_size: 70B\n";
    let points = points_of(Case::Sets).map(Failpoint::name).chain(["published", "published:2", "delivered"]);
    let deaths: Vec<&str> = points.collect();
    for rules in [MARKED, REFRESHED, GROWN, PLAIN, PLAIN_AND_GROWN] {
        let is_marked = rules.contains("done");
        for death in &deaths {
            if (*death == "set-marked" && !is_marked) || (*death == "old-part-removed" && rules == PLAIN) {
                continue;
            }
            let place = sets(rules);
            if rules != PLAIN {
                (0..2).for_each(|set| old_part(&place, &format!("{set}/part-old.txt")));
            }
            if [REFRESHED, GROWN].contains(&rules) {
                (0..2).for_each(|set| old_part(&place, &format!("{set}/ok")));
            }
            dies(&place, death, &[], &WORK);
            place.adce(&["state", "check"]).ends_with(0);
            place.adce(&WORK).ends_with(0);
            (0..2).for_each(|set| is_whole(&place, set, is_marked, &format!("{rules}{death}")));
            place.adce(&["plan"]).ends_with(0);
            let asked = place.read("asked").lines().count();
            assert!(asked <= 4, "{rules}{death}: asked {asked} times for two sets");
        }
    }
}

/// Fails until `works` is there, and is exhausted by one attempt.
const STUBBORN: &str = "version: 1\nname: killed\nlake: ./lake\ndimensions: { n: [1, 2, 3] }\ndatasets:\n  files:\n    key: \"{n}.txt\"\n    \
    for: n\n    absent: { known: holes.csv }\n    collector:\n      command: [sh, -c, 'test -e works && echo {n} > {out}']\n      \
    retry: { attempts: 1 }\n      breaker: off\n";

#[test]
fn what_a_person_says_is_done_whole_or_not_at_all_by_one_who_dies() {
    for point in points_of(Case::RetryByHand) {
        let place = Place::new(STUBBORN);
        place.adce(&["run", "--max-wait", "0"]).ends_with(2);
        dies(&place, point.name(), &[], &["retry", "--all"]);
        place.adce(&["state", "check"]).ends_with(0);
        place.write("works", "");
        let run = place.adce(&["run", "--max-wait", "0", "--format", "json"]);
        let filled = run.json()["filled"].as_u64();
        let expected = if point == Failpoint::ByHandCommitted { 3 } else { 0 };
        assert_eq!(filled, Some(expected), "{}: what was not written is not half done", point.name());
        place.adce(&["retry", "--all"]).ends_with(0);
        place.adce(&["run", "--max-wait", "0"]).ends_with(0);
    }
}

#[test]
fn a_line_of_known_absences_is_there_whole_when_its_writer_dies() {
    for point in points_of(Case::MarkAbsent) {
        let place = Place::new(STUBBORN);
        let mark = ["mark-absent", "2.txt", "--reason", "lost"];
        dies(&place, point.name(), &[], &mark);
        place.adce(&mark).ends_with(0).says("is in holes.csv already");
        assert_eq!(place.read("holes.csv").lines().count(), 2, "one line and its header");
        place.write("works", "");
        place.adce(&["run"]).ends_with(0).says("1 absent");
    }
}

#[test]
fn a_copy_of_the_state_is_whole_or_not_there_when_its_maker_dies() {
    for point in points_of(Case::Backup) {
        let place = Place::new(STUBBORN);
        place.adce(&["run", "--max-wait", "0"]).ends_with(2);
        dies(&place, point.name(), &[], &["state", "backup", "copies.db"]);
        place.adce(&["state", "check"]).ends_with(0);
        if place.has("copies.db") {
            let copy = rusqlite::Connection::open(place.path("copies.db")).expect("a database");
            let verdict: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict");
            assert_eq!((verdict.as_str(), point), ("ok", Failpoint::CopyPlaced));
        }
        place.adce(&["state", "backup", "--force", "copies.db"]).ends_with(0);
        let left = std::fs::read_dir(place.folder()).expect("the folder").flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains(".part-")).collect();
        assert!(left.is_empty(), "a part of the dead copy is left: {left:?}");
    }
}
