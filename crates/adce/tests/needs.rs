//! What is made from other things is made as soon as those are there, within the same run, and once more when one of them is new.

mod support;

use support::place::Place;

/// Two days of hours, and a file a day that a script makes from its 24 hours.
fn place() -> Place {
    let place = Place::new(
        "version: 1\nname: needs\nlake: ./lake\ndimensions:\n  hour: { from: 2024-10-01, to: 2024-10-02, every: 1h, zone: UTC }\n  \
         day: { from: 2024-10-01, to: 2024-10-02, every: 1d, zone: UTC }\ndatasets:\n  daily:\n    key: daily/{day}.txt\n    for: day\n    \
         needs: { events: hour in day }\n    priority: critical\n    collector:\n      command: [sh, make.sh, \"{day}\", \"{out}\"]\n  events:\n    \
         key: \"events/{hour:%Y-%m-%d}/{hour:%H}.txt\"\n    for: hour\n    collector:\n      command: [sh, fetch.sh]\n      batch: { size: 48 }\n      \
         retry: { attempts: 1 }\n",
    );
    // One hour is missing upstream until `late` is there.
    place.write(
        "fetch.sh",
        "for key in $(sed 's/.*\"key\":\"\\([^\"]*\\)\".*/\\1/' $ADCE_ITEMS); do\n  if [ $key = events/2024-10-02/07.txt ] && [ ! -e late ]; then continue; fi\n  \
         mkdir -p $ADCE_OUT/$(dirname $key); echo $key > $ADCE_OUT/$key\ndone\n",
    );
    place.write("make.sh", "echo $1 >> made; cat lake/events/$1/*.txt > $2\n");
    place
}

#[test]
fn a_day_is_made_from_its_hours_in_the_same_run_and_again_when_one_of_them_is_new() {
    let place = place();
    let run = place.adce(&["run", "--max-wait", "0s", "--format", "json"]).ends_with(2).json();
    assert_eq!(place.read("made"), "2024-10-01\n", "{run}");
    assert_eq!(place.read("lake/daily/2024-10-01.txt").lines().count(), 24);
    place.adce(&["why", "daily/2024-10-02.txt"]).ends_with(0).says("not due yet: it waits for 1 of 24 items of `events`");
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!((&plan["datasets"]["daily"]["not_due"], &plan["datasets"]["events"]["missing"]), (&1.into(), &1.into()), "{plan}");
    // The last hour comes by itself, and another one is put in place anew.
    place.write("lake/events/2024-10-02/07.txt", "late");
    place.write("lake/events/2024-10-01/03.txt", "corrected");
    place.adce(&["run", "--format", "json"]).ends_with(0);
    let mut made: Vec<String> = place.read("made").lines().skip(1).map(String::from).collect();
    made.sort();
    assert_eq!(made, ["2024-10-01", "2024-10-02"]);
    assert!(place.read("lake/daily/2024-10-01.txt").contains("corrected"));
    place.adce(&["run"]).ends_with(0);
    assert_eq!(place.read("made").lines().count(), 3, "nothing is new");
}
