//! Small worlds whose items are written out by hand, and random ones in which every key finds its item and no other.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::coverage::sample::{Files, Sample, zone};
use crate::spec::expression::Role;
use crate::spec::problem::Place;
use crate::spec::template::{Purpose, Template};
use crate::spec::{Every, OlderPlace};

fn key(expected: &Expected, item: ItemIx) -> String {
    let mut key = String::new();
    expected.key(item, &mut key);
    key
}

fn keys(expected: &Expected) -> Vec<String> {
    expected.items().map(|item| key(expected, item)).collect()
}

fn expanded(sample: &Sample) -> Expected {
    sample.expand("2024-12-01T00:00:00Z").unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[test]
fn items_are_the_product_and_the_last_dimension_changes_fastest() {
    let sample = Sample::new(Files::default()).list("season", &["01", "NO"]).list("team", &["a", "b", "c"]);
    let expected = expanded(&sample.dataset("d", "x/{season}/{team}", &["season", "team"]));
    assert_eq!(keys(&expected), ["x/01/a", "x/01/b", "x/01/c", "x/NO/a", "x/NO/b", "x/NO/c"]);
    assert_eq!(expected.prefixes(), ["x/"]);
    assert_eq!(expected.describe(ItemIx(5)), "season=NO, team=c");
}

#[test]
fn where_keeps_the_items_for_which_it_holds() {
    let files = Files::of([("g.csv", "id,kind\n1,2\n2,3\n3,\n4,02\n")]);
    let sample = Sample::new(files).table("game", "g.csv", "id", &[]).list("quarter", &["q1", "q2"]);
    let sample = sample.dataset_where(
        "d",
        "{id}/{quarter}",
        &["game", "quarter"],
        Some("kind in ['2', '3'] and not (kind == 3 and quarter == 'q1')"),
    );
    assert_eq!(keys(&expanded(&sample)), ["1/q1", "1/q2", "2/q2"], "texts are compared verbatim, null never holds");
}

#[test]
fn what_where_leaves_out_is_nobodys_key_in_whatever_order_keys_come() {
    let numbers: Vec<String> = (0..40).map(|number| format!("{number:02}")).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let sample = Sample::new(Files::default()).list("a", &numbers).list("b", &["x", "yy"]);
    let only = Some("not a in ['03', '07', '39'] and not (a == '20' and b == 'x')");
    let expected = expanded(&sample.dataset_where("d", "d/{a}/{b}.json", &["a", "b"], only));
    let mut all: Vec<(usize, String)> = keys(&expected).into_iter().enumerate().collect();
    assert_eq!(all.len(), 73);
    for _ in 0..2 {
        let mut finder = expected.finder();
        for (item, key) in &all {
            assert_eq!(finder.find(key), Some(ItemIx(*item as u32)), "{key}");
            assert_eq!(finder.find("d/20/x.json"), None);
            assert_eq!(finder.find("d/03/yy.json"), None);
        }
        all.reverse();
    }
}

#[test]
fn a_cell_that_where_cannot_read_names_its_row() {
    let files = Files::of([("g.csv", "id,kind\n1,2\n2,x\n")]);
    let sample = Sample::new(files).table("game", "g.csv", "id", &[]).dataset_where("d", "{id}", &["game"], Some("kind > 2"));
    assert!(sample.problems().contains("dataset `d`: `where`: g.csv:3: `kind`: `x` cannot be read as a number"));
}

#[test]
fn older_places_are_nobody_elses() {
    let sample = |key: &str, also: &[&str], other: &str| {
        let mut sample = Sample::new(Files::default()).list("n", &["a", "b"]).dataset("d", key, &["n"]).dataset("e", other, &["n"]);
        let place = |text: &&str| OlderPlace { template: Template::parse(text, Purpose::Key).unwrap(), at: Place::default() };
        sample.spec.datasets["d"].also = also.iter().map(place).collect();
        sample
    };
    let expected = expanded(&sample("d/{n}", &["old/{n}", "older/{n}"], "e/{n}"));
    assert_eq!(expected.find_anywhere("older/b"), Some((ItemIx(1), Spot::Older(1))));
    assert_eq!(expected.find_anywhere("d/b"), Some((ItemIx(1), Spot::Key)));
    assert_eq!(
        (expected.find("older/b"), expected.find_anywhere("older/c"), expected.find_anywhere("e/a").unwrap().1),
        (None, None, Spot::Key)
    );
    let mut key = String::new();
    expected.write_place(ItemIx(0), Spot::Older(0), &mut key);
    assert_eq!(key, "old/a");
    for (key, also, other, message) in [
        ("d/{n}", &["e/{n}"][..], "e/{n}", "the older place `e/a` of n=a is the key of n=a of dataset `e`"),
        ("d/{n}", &["d/{n}"], "e/{n}", "the older place `d/a` of n=a is the key of the same item"),
        ("d/{n}", &["old"], "e/{n}", "the older place `old` of n=b is an older place of n=a"),
        ("d/{n}", &["o/{n}", "o/{n}"], "e/{n}", "the older place `o/a` of n=a is an older place of the same item"),
    ] {
        let problems = sample(key, also, other).problems();
        assert!(problems.contains(message), "{problems}");
    }
}

#[test]
fn ids_depend_on_dataset_and_values_and_not_on_the_key() {
    let sample = |key: &str| {
        Sample::new(Files::default())
            .list("season", &["1"])
            .calendar("day", "2024-10-01", "2024-10-01", Every::Days(1), zone("UTC"))
            .dataset("d", key, &["season", "day"])
    };
    let id = expanded(&sample("{season}/{day}")).id(ItemIx(0));
    assert_eq!(id, expanded(&sample("other/{day:%Y%m%d}-{season}")).id(ItemIx(0)));
    assert_eq!(id, ItemId::of("d", ["1", "2024-10-01"]));
}

#[test]
fn dates_are_written_as_their_format_says_even_with_slashes() {
    let sample =
        Sample::new(Files::default()).calendar("hour", "2024-10-01T09", "2024-10-01T10", Every::Hours(1), zone("America/New_York"));
    let expected = expanded(&sample.dataset("d", "{hour:%Y/%m/%d}/{hour:%-H}", &["hour"]));
    assert_eq!(keys(&expected)[0], "2024/10/01/9");
    let values = expected.values(ItemIx(0));
    let shown: Vec<_> = values.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(shown, [("hour", "2024-10-01T09"), ("hour.start", "2024-10-01T09:00:00-04:00"), ("hour.end", "2024-10-01T10:00:00-04:00")]);
}

#[test]
fn a_column_with_the_name_of_a_dimension_is_shown_qualified() {
    let files = Files::of([("g.csv", "id,season\n1,24\n")]);
    let sample = Sample::new(files).table("game", "g.csv", "id", &[]).list("season", &["all"]);
    let sample = sample.dataset("d", "{game.season}/{season.value}/{id}", &["game", "season"]);
    let expected = expanded(&sample);
    assert_eq!(keys(&expected), ["24/all/1"]);
    let names: Vec<_> = expected.values(ItemIx(0)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["id", "game.season", "game", "season.value"]);
}

#[test]
fn items_with_one_key_are_refused_with_what_the_key_lacks() {
    let rows: String = (0..1_230).map(|game| format!("{game},2024-25\n")).collect();
    let files = Files::of([("g.csv", format!("game_id,season\n{rows}").as_str())]);
    let sample = Sample::new(files).table("game", "g.csv", "game_id", &[]).dataset("box_scores", "bbref/{season}.html", &["game"]);
    let told = sample.problems();
    assert!(told.contains("dataset `box_scores`: key `bbref/{season}.html` does not mention `game_id`"), "{told}");
    assert!(told.contains("1,230 items would write to 1 object, for example game=0 and game=1"), "{told}");
    assert!(told.contains("hint: add `{game_id}` to the key"), "{told}");

    let lists = Sample::new(Files::default()).list("season", &["1", "2"]).list("team", &["a", "b", "c"]);
    let told = lists.dataset("d", "x/{season}", &["season", "team"]).problems();
    assert!(told.contains("does not mention `team` -- 6 items would write to 2 objects"), "{told}");
    assert!(told.contains("add `{team}` to the key, or use `for: season`"), "{told}");
}

#[test]
fn a_date_format_that_is_too_coarse_is_found() {
    let sample = Sample::new(Files::default()).calendar("day", "2024-10-01", "2024-10-31", Every::Days(1), zone("UTC"));
    let told = sample.dataset("d", "x/{day:%Y-%m}", &["day"]).problems();
    assert!(told.contains("two items have the key `x/2024-10`: day=2024-10-01 and day=2024-10-02"), "{told}");
    assert!(told.contains("31 items would write to 1 object"), "{told}");
}

#[test]
fn two_datasets_never_share_a_key() {
    let sample = Sample::new(Files::default()).list("a", &["1", "2"]).list("b", &["2", "3"]);
    let told = sample.dataset("one", "x/{a}.json", &["a"]).dataset("two", "x/{b}.json", &["b"]).problems();
    assert!(told.contains("datasets `one` (a=2) and `two` (b=2) both have an item with the key `x/2.json`"), "{told}");
}

#[test]
fn values_that_would_leave_their_segment_are_refused_with_their_row() {
    let files = Files::of([("g.csv", "id,team\n1,a\n2,../etc\n3,\n")]);
    let sample = Sample::new(files).table("game", "g.csv", "id", &[]).dataset("d", "x/{team}/{id}", &["game"]);
    let told = sample.problems();
    assert!(told.contains("no key for game=2: `team` is `../etc`, and `/` would make two segments of it -- g.csv:3"), "{told}");
    assert!(told.contains("no key for game=3: `team` is null -- g.csv:4"), "{told}");
    let dots = Sample::new(Files::default()).list("a", &["..", "ok"]).dataset("d", "x/{a}/y", &["a"]).problems();
    assert!(dots.contains("has `..` as a segment"), "{dots}");
    let long = Sample::new(Files::default()).list("a", &["x".repeat(1_100).as_str()]).dataset("d", "{a}", &["a"]).problems();
    assert!(long.contains("its key has 1100 bytes, and 1024 are allowed"), "{long}");
}

#[test]
fn a_dimension_without_values_is_a_problem_and_said_once() {
    let told = Sample::new(Files::default()).list("a", &[]).dataset("d", "{a}", &["a"]).dataset("e", "e/{a}", &["a"]).problems();
    assert_eq!(told.lines().count(), 1);
    assert!(told.contains("dimension `a` has no values"), "{told}");
    assert!(Sample::new(Files::default()).list("a", &["x", "x"]).problems().contains("`x` is listed twice"));
}

#[test]
fn prefixes_are_as_few_as_cover_every_key() {
    let sample = Sample::new(Files::default()).list("a", &["1"]).dataset("d1", "espn/x/{a}", &["a"]).dataset("d2", "espn/{a}", &["a"]);
    let sample = sample.dataset("d3", "espn/y/z-{a}", &["a"]).dataset("d4", "bbref/{a}", &["a"]);
    assert_eq!(expanded(&sample).prefixes(), ["bbref/", "espn/"]);
}

#[test]
fn rows_of_tables_are_counted_for_surprises() {
    let files = Files::of([("g.csv", "id\n1\n2\n")]);
    let expected = expanded(&Sample::new(files).table("game", "g.csv", "id", &[]).list("a", &["1"]).dataset("d", "{id}", &["game"]));
    assert_eq!(expected.table_rows(), &[("game".to_string(), 2)].into());
}

#[test]
fn due_and_priority_are_worked_out_per_item() {
    let files = Files::of([("g.csv", "id,tip\n1,2024-11-30 19:00\n2,\n")]);
    let sample = Sample::new(files).table("game", "g.csv", "id", &[("at", "from tip time %Y-%m-%d %H:%M zone America/New_York")]);
    let due = sample.expression(&["game"], "game.at + 2h", Role::Due);
    let urgent = sample.expression(&["game"], "overdue < 7d and reason == 'missing'", Role::Priority);
    let expected = expanded(&sample.dataset("d", "{id}", &["game"]));
    let now = "2024-12-01T00:00:00Z".parse().unwrap();
    let scope = expected.scope(ItemIx(0), now);
    let at = due.instant(&scope).unwrap();
    assert_eq!(at, Some("2024-12-01T02:00:00Z".parse().unwrap()));
    assert!(urgent.holds(&scope.with_due(at).with_reason(Reason::Missing)).unwrap());
    assert!(!urgent.holds(&scope.with_due(at).with_reason(Reason::Stale)).unwrap());
    assert_eq!(due.instant(&expected.scope(ItemIx(1), now)).unwrap(), None, "a null tip has no due");
    assert!(!urgent.holds(&expected.scope(ItemIx(1), now).with_reason(Reason::Missing)).unwrap());
}

// ------------------------------------------------------------------------------------------------------- properties

/// Values that look alike when put side by side: dashes and digits, and a few odd characters.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab1-]{1,3}", 1 => "[a é%+~#.-]{1,4}".prop_filter("a segment of dots", |text| !text.trim_matches('.').is_empty())]
}

fn distinct_values() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(value(), 1..5).prop_map(|values| values.into_iter().collect())
}

#[derive(Clone, Debug)]
struct World {
    a: Vec<String>,
    b: Vec<String>,
    /// Id, and another column.
    rows: Vec<(String, String)>,
    keys: [usize; 2],
}

/// Separators that values contain too, so that keys can be split in many ways.
const KEYS: [(&str, &[&str]); 11] = [
    ("x/{a}-{b}", &["a", "b"]),
    ("x/{id}-{a}/{b}", &["t", "a", "b"]),
    ("{b}a{a}", &["a", "b"]),
    ("y/{id}/{other}-{a}", &["t", "a"]),
    ("y/{day:%Y/%m/%d}-{a}", &["day", "a"]),
    ("z{a}1{id}-{day}", &["a", "t", "day"]),
    ("x/{a}/{b}/1", &["a", "b"]),
    ("x/{day:%Y}/{other}/{id}.{day}", &["day", "t"]),
    ("{day:%d}/{id}/{a}a", &["day", "t", "a"]),
    ("y/{b}/{day:%m}/{b}/{day:%Y/%m/%d}", &["b", "day"]),
    ("y/{other}/{more}/{a}", &["t", "a"]),
];

fn world() -> impl Strategy<Value = World> {
    let rows = prop::collection::btree_map(value(), value(), 1..4).prop_map(|rows| rows.into_iter().collect());
    (distinct_values(), distinct_values(), rows, [0..KEYS.len(), 0..KEYS.len()]).prop_map(|(a, b, rows, keys)| World { a, b, rows, keys })
}

/// Rows are told apart by this and the other column together, or not at all.
fn more(id: &str) -> &str {
    let id = id.trim_matches('.');
    &id[..id.chars().next().map_or(0, char::len_utf8)]
}

impl World {
    fn sample(&self) -> Sample {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["id", "other", "more"]).unwrap();
        self.rows.iter().for_each(|(id, other)| writer.write_record([id.as_str(), other, more(id)]).unwrap());
        let csv = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let texts = |values: &[String]| values.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let (a, b) = (texts(&self.a), texts(&self.b));
        let sample = Sample::new(Files::of([("t.csv", csv.as_str())]))
            .list("a", &a.iter().map(String::as_str).collect::<Vec<_>>())
            .list("b", &b.iter().map(String::as_str).collect::<Vec<_>>())
            .table("t", "t.csv", "id", &[])
            .calendar("day", "2024-10-31", "2024-11-01", Every::Days(1), zone("UTC"));
        let [first, second] = self.keys.map(|key| KEYS[key]);
        sample.dataset("first", first.0, first.1).dataset("second", second.0, second.1)
    }

    /// Every key of both datasets, by nested loops and plain replacing.
    fn keys(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (template, dimensions) in self.keys.map(|key| KEYS[key]) {
            let mut keys = vec![template.to_string()];
            for dimension in dimensions {
                let replaced = |key: &String| -> Vec<String> {
                    match *dimension {
                        "a" => self.a.iter().map(|value| key.replace("{a}", value)).collect(),
                        "b" => self.b.iter().map(|value| key.replace("{b}", value)).collect(),
                        "day" => [["2024", "10", "31"], ["2024", "11", "01"]]
                            .map(|[year, month, day]| {
                                let key = key.replace("{day:%Y/%m/%d}", &format!("{year}/{month}/{day}")).replace("{day:%Y}", year);
                                let key = key.replace("{day:%m}", month).replace("{day:%d}", day);
                                key.replace("{day}", &format!("{year}-{month}-{day}"))
                            })
                            .into(),
                        _ => self
                            .rows
                            .iter()
                            .map(|(id, other)| key.replace("{id}", id).replace("{other}", other).replace("{more}", more(id)))
                            .collect(),
                    }
                };
                keys = keys.iter().flat_map(replaced).collect();
            }
            all.extend(keys);
        }
        all
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_key_finds_its_item_and_no_other(world in world(), mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3, "[ab1/-]"), 24)) {
        let brute = world.keys();
        let mut owners: HashMap<&str, Vec<usize>> = HashMap::new();
        brute.iter().enumerate().for_each(|(item, key)| owners.entry(key).or_default().push(item));
        let shared = owners.values().filter(|items| items.len() > 1).count();
        match world.sample().expand("2024-12-01T00:00:00Z") {
            Err(problems) => prop_assert!(shared > 0, "refused without two items of one key: {problems:#?}"),
            Ok(expected) => {
                prop_assert_eq!(shared, 0, "two items with one key are expected");
                prop_assert_eq!(keys(&expected), brute.clone());
                let mut finder = expected.finder();
                for (item, key) in brute.iter().enumerate() {
                    prop_assert_eq!(expected.find(key), Some(ItemIx(item as u32)));
                    prop_assert_eq!(finder.find(key), Some(ItemIx(item as u32)));
                }
                for (which, place, how, with) in mutations {
                    let mut key: Vec<char> = which.get(&brute).chars().collect();
                    let place = place.index(key.len());
                    match how {
                        0 => { key.remove(place); }
                        1 => key.insert(place, with.chars().next().unwrap()),
                        _ => key[place] = with.chars().next().unwrap(),
                    }
                    let key: String = key.into_iter().collect();
                    let owner = owners.get(key.as_str()).map(|items| ItemIx(items[0] as u32));
                    prop_assert_eq!(expected.find(&key), owner, "{}", key);
                    prop_assert_eq!(finder.find(&key), owner, "{}", key);
                }
            }
        }
    }
}

// -------------------------------------------------------------------------------------------------------- real input

/// The folder with real schedules, where there is one beside the repository.
fn schedules() -> Option<Folder> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dev/nba_schedules");
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return None;
    }
    Some(Folder(folder))
}

struct Folder(std::path::PathBuf);

impl Folder {
    fn files(&self, names: &[&str]) -> Files {
        Files(names.iter().map(|name| (name.to_string(), std::fs::read(self.0.join(name)).unwrap())).collect())
    }
}

#[test]
fn a_published_schedule_becomes_items_with_tip_off_times() {
    let Some(folder) = schedules() else { return };
    let columns = [("tip", "from Date time %d/%m/%Y %H:%M zone UTC"), ("ends_at", "is tip + 3h")];
    let files = folder.files(&["nba-2023-UTC.csv", "nba-2024-UTC.csv"]);
    let sample = Sample::new(files).table("game", "nba-2024-UTC.csv", "Match Number", &columns);
    let due = sample.expression(&["game"], "ends_at + 2h", Role::Due);
    let sample =
        sample.dataset_where("plays", "{tip:%Y/%m/%d}/{Home Team}-{Away Team}.json", &["game"], Some("`Home Team` != 'Boston Celtics'"));
    let expected = expanded(&sample);
    assert_eq!(expected.table_rows()["game"], 1_200);
    assert_eq!(expected.len(), 1_160, "40 of a team's 41 home games were known");
    let first = expected.find("2024/10/23/Los Angeles Lakers-Minnesota Timberwolves.json").expect("the second game of the season");
    assert_eq!(
        due.instant(&expected.scope(first, "2024-12-01T00:00:00Z".parse().unwrap())).unwrap(),
        Some("2024-10-23T07:00:00Z".parse().unwrap())
    );
    assert_eq!(expected.find("2024/10/22/Boston Celtics-New York Knicks.json"), None);
}

#[test]
fn two_seasons_in_one_glob_need_more_than_the_match_number() {
    let Some(folder) = schedules() else { return };
    let files = folder.files(&["nba-2023-UTC.csv", "nba-2024-UTC.csv"]);
    let told = Sample::new(files).table("game", "nba-*-UTC.csv", "Match Number", &[]).dataset("d", "{Match Number}", &["game"]).problems();
    assert!(told.contains("is the id of an earlier row too: nba-2023-UTC.csv:2"), "{told}");
    assert!(told.contains("more problems like these"), "{told}");
}

#[test]
fn ids_of_real_games_keep_their_zeros_and_kinds_are_compared_as_text() {
    let Some(folder) = schedules() else { return };
    let files = folder.files(&["nba_2016_17_full_schedule.csv"]);
    let columns = [("tip", "from tip_eastern time %Y-%m-%dT%H:%M:%S zone America/New_York")];
    let sample =
        Sample::new(files).table("game", "nba_2016_17_full_schedule.csv", "game_id", &columns).list("quarter", &["q1", "q2", "q3", "q4"]);
    let sample = sample.dataset_where("box", "box/{game_id}/{quarter}.json", &["game", "quarter"], Some("season_type == 'Regular Season'"));
    let expected = expanded(&sample);
    assert_eq!(expected.len(), 4 * 1_230);
    assert!(expected.find("box/0021600001/q1.json").is_some());
    assert_eq!(expected.find("box/21600001/q1.json"), None, "the zeros belong to the id");
    assert_eq!(expected.find("box/0011600001/q1.json"), None, "a preseason game");
}
