//! A run that is under way sees an item fall due at that instant, and not at its next look, which may be hours away.

mod support;

use jiff::{SignedDuration, Timestamp};
use support::place::Place;

#[test]
fn an_item_that_falls_due_in_mid_run_is_collected_by_that_run() {
    let place = Place::new(
        "version: 1\nname: due\nlake: ./lake\ndimensions:\n  number:\n    table: numbers.csv\n    id: number\n    columns:\n      \
         at: { from: at, time: \"%Y-%m-%d %H:%M:%S\", zone: UTC }\ndatasets:\n  numbers:\n    key: numbers/{number}.txt\n    for: number\n    \
         due: at\n    collector:\n      command: [sh, scraper.sh, \"{number}\", \"{out}\"]\n      timeout: 20s\n      \
         retry: { attempts: 1 }\nengine: { reconcile_every: 1h }\n",
    );
    // The first one ends only when the second is in the lake.
    place.write(
        "scraper.sh",
        "echo $1 >> ran\nif [ $1 = 000 ]; then while [ ! -e lake/numbers/001.txt ]; do sleep 0.01; done; fi\necho hello > \"$2\"\n",
    );
    let now = Timestamp::now();
    let at = |seconds: i64| (now + SignedDuration::from_secs(seconds)).strftime("%Y-%m-%d %H:%M:%S").to_string();
    place.write("numbers.csv", &format!("number,at\n000,{}\n001,{}\n002,{}\n", at(-60), at(3), at(7_200)));
    let run = place.adce(&["run", "--format", "json"]).ends_with(0).json();
    assert_eq!((&run["attempts"], &run["coverage"]["not_due"]), (&2.into(), &1.into()), "{run}");
    assert_eq!(place.read("ran"), "000\n001\n");
}
