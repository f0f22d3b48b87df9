//! Rollups beside a grouping that asks each item for its names, one by one.

use std::collections::BTreeMap;

use jiff::civil;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::coverage::sample::{Files, Sample, zone};
use crate::gap::ItemState;
use crate::spec::Every;

const GAMES: &str = "id,season,kind,tip\n1,2023-24,2,2024-01-01 02:00\n2,2023-24,,2024-01-01 06:30\n3,2024-25,10,2024-12-30 23:59\n\
                     4,2024-25,9,\n5,2023-24,2,2024-11-03 05:30\n6,2024-25,2,2024-11-03 06:30\n7,,9,2024-03-10 07:30\n";
/// As `NAME` or `NAME:PACE`; with the datasets that know them.
const NAMES: [&str; 14] = [
    "team", "quarter", "game", "season", "kind", "day", "hour", "source", "dataset", "tip:day", "tip:week", "tip:hour", "month", "hour:day",
];

fn sample() -> Sample {
    let tip = ("tip", "from tip time %Y-%m-%d %H:%M zone UTC");
    let mut sample = Sample::new(Files::of([("games.csv", GAMES)]))
        .list("team", &["LAL", "ATL", "10", "9"])
        .list("quarter", &["q1", "q2", "q3", "q4"])
        .table("game", "games.csv", "id", &[tip])
        .calendar("day", "2024-10-30", "2024-11-05", Every::Days(1), zone("America/New_York"))
        .calendar("hour", "2024-11-02T20:00", "2024-11-03T08:00", Every::Hours(1), zone("America/New_York"))
        .dataset("plays", "plays/{id}/{quarter}", &["game", "quarter"])
        .dataset("box", "box/{day}/{team}/{quarter}", &["day", "team", "quarter"])
        .dataset("wide", "wide/{quarter}/{team}/{hour}", &["quarter", "team", "hour"])
        .dataset_where("some", "some/{team}/{id}/{quarter}", &["team", "game", "quarter"], Some("kind != '2' and team != 'ATL'"))
        .dataset_where("tips", "tips/{id}", &["game"], Some("tip is not null"));
    sample.spec.datasets["plays"].source = Some("espn".into());
    sample.spec.datasets["box"].source = Some("stats".into());
    sample.spec.datasets["some"].source = Some("espn".into());
    sample
}

/// The label of one item; `Err`: its dataset does not know the name.
fn label(expected: &Expected, spec: &Spec, item: super::super::ItemIx, by: &str) -> Result<Option<String>, ()> {
    let of = &expected.datasets()[expected.dataset_of(item)];
    let (name, pace) = match by.split_once(':') {
        Some((name, pace)) => (name, Some(pace)),
        None => (by, None),
    };
    let (name, pace) = match by {
        "source" => return Ok(spec.datasets[of.name()].source.clone()),
        "dataset" => return Ok(Some(of.name().into())),
        "month" | "day" | "hour" if expected.value(item, name).is_none() => {
            let time = ["day", "hour", "tip"].into_iter().find(|time| expected.value(item, time).is_some()).ok_or(())?;
            (time, Some(by))
        }
        _ => (name, pace),
    };
    let text = expected.value(item, name).ok_or(())?;
    let Some(pace) = pace.filter(|_| !text.is_empty()) else { return Ok(Some(text).filter(|text| !text.is_empty())) };
    let civil: civil::DateTime = match name {
        "day" => text.parse::<civil::Date>().unwrap().at(0, 0, 0, 0),
        "hour" => format!("{text}:00").parse().unwrap(),
        _ => text.parse::<jiff::Timestamp>().unwrap().to_zoned(TimeZone::UTC).datetime(),
    };
    let week = civil.date().iso_week_date();
    Ok(Some(match pace {
        "hour" => format!("{}T{:02}", civil.date(), civil.hour()),
        "day" => civil.date().to_string(),
        "week" => format!("{}-W{:02}", week.year(), week.week()),
        _ => civil.date().to_string()[..7].to_owned(),
    }))
}

type Groups = BTreeMap<Vec<Option<String>>, Counts>;

fn naive(expected: &Expected, spec: &Spec, coverage: &Coverage, datasets: &[usize], by: &[&str]) -> Groups {
    let mut groups = Groups::new();
    for item in datasets.iter().flat_map(|at| expected.datasets()[*at].items()) {
        if let Ok(labels) = by.iter().map(|by| label(expected, spec, item, by)).collect::<Result<Vec<_>, _>>() {
            *groups.entry(labels).or_default().of(coverage.state(item)) += 1;
        }
    }
    groups
}

fn groups(rollup: &Rollup) -> Groups {
    let owned = |values: Vec<Option<&str>>| values.into_iter().map(|value| value.map(str::to_owned)).collect();
    rollup.filled().map(|(values, counts)| (owned(values), *counts)).collect()
}

fn state(number: u8) -> ItemState {
    ItemState::ALL[usize::from(number)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_rollup_is_what_grouping_item_by_item_gives(
        seed in proptest::collection::vec(0..10_u8, 7..60),
        datasets in proptest::sample::subsequence(vec![0_usize, 1, 2, 3, 4], 1..=5),
        by in proptest::sample::subsequence(NAMES.to_vec(), 0..=3).prop_shuffle(),
        cuts in proptest::collection::vec(0..500_u32, 0..4),
    ) {
        let sample = sample();
        let expected = sample.expand("2024-12-01T00:00:00Z").unwrap_or_else(|problems| panic!("{problems:#?}"));
        let states = expected.items().map(|item| state(seed[item.0 as usize % seed.len()]));
        let coverage = Coverage::of_states(states.collect());
        let naive = naive(&expected, &sample.spec, &coverage, &datasets, &by);
        let axes: Vec<Axis> = by.iter().map(|by| Axis::parse(by).unwrap()).collect();
        match rollup(&expected, &sample.spec, &coverage, &datasets, &axes) {
            Ok(rollup) => {
                prop_assert_eq!(groups(&rollup), naive);
                // In pieces, too.
                let rolling = Rolling::new(&expected, &sample.spec, &datasets, &axes).unwrap();
                let mut ends: Vec<u32> = cuts.iter().map(|cut| cut % (expected.len() as u32 + 1)).collect();
                ends.extend([0, expected.len() as u32]);
                ends.sort_unstable();
                let pieces: Vec<_> = ends.windows(2).map(|piece| rolling.count(&coverage, piece[0]..piece[1])).collect();
                prop_assert_eq!(rolling.sum(pieces), rollup);
            }
            Err(_) => prop_assert!(naive.is_empty(), "something has these names"),
        }
    }

    #[test]
    fn putting_neighbours_together_loses_nobody(seed in proptest::collection::vec(0..10_u8, 7..60), axis in 0..2_usize, at_most in 1..9_usize) {
        let sample = sample();
        let expected = sample.expand("2024-12-01T00:00:00Z").unwrap_or_else(|problems| panic!("{problems:#?}"));
        let coverage = Coverage::of_states(expected.items().map(|item| state(seed[item.0 as usize % seed.len()])).collect());
        let axes = [Axis::Named("hour".into(), None), Axis::Named("team".into(), None)];
        let fine = rollup(&expected, &sample.spec, &coverage, &[2], &axes).unwrap();
        let (coarse, together) = fine.clone().coarsened(axis, at_most);
        prop_assert!(coarse.axes[axis].buckets.len() <= at_most);
        prop_assert_eq!(coarse.axes[axis].buckets.len(), fine.axes[axis].buckets.len().div_ceil(together));
        let sum = |rollup: &Rollup| rollup.cells.iter().fold(Counts::default(), |mut sum, counts| { sum += *counts; sum });
        prop_assert_eq!(sum(&coarse), sum(&fine));
        let teams = fine.axes[1].buckets.len();
        let first: Vec<&Counts> = match axis {
            0 => (0..together).map(|hour| &fine.cells[hour * teams]).collect(),
            _ => fine.cells[..together].iter().collect(),
        };
        let mut together = Counts::default();
        first.into_iter().for_each(|counts| together += *counts);
        prop_assert_eq!(coarse.cells[0], together);
    }
}

fn buckets(datasets: &[usize], by: &str) -> String {
    let sample = sample();
    let expected = sample.expand("2024-12-01T00:00:00Z").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let coverage = Coverage::of_states(vec![ItemState::Present; expected.len()]);
    match Axis::parse(by).and_then(|axis| rollup(&expected, &sample.spec, &coverage, datasets, &[axis])) {
        Ok(rollup) => {
            let axis = &rollup.axes[0];
            let named: Vec<&str> = axis.buckets.iter().map(|bucket| bucket.as_deref().unwrap_or("(none)")).collect();
            format!("{}: {}{}", axis.name, named.join(" "), rollup.left_out.iter().map(|out| format!(" -{out}")).collect::<String>())
        }
        Err(error) => format!("{error} ({})", error.hint.as_deref().unwrap_or_default()),
    }
}

#[test]
fn buckets_are_in_the_order_that_a_person_expects() {
    for (datasets, by, wanted) in [
        (&[1][..], "team", "team: LAL ATL 10 9"),
        (&[1, 2], "team", "team: LAL ATL 10 9"),
        (&[0], "id", "id: 1 2 3 4 5 6 7"),
        (&[0], "kind", "kind: 2 9 10 (none)"),
        (&[0], "season", "season: 2023-24 2024-25 (none)"),
        (&[0], "tip:week", "tip:week: 2024-W01 2024-W10 2024-W44 2025-W01 (none)"),
        (&[1], "week", "day:week: 2024-W44 2024-W45"),
        (&[2], "day", "hour:day: 2024-11-02 2024-11-03"),
        (&[0, 1, 2], "month", "tip:month: 2024-01 2024-03 2024-10 2024-11 2024-12 (none)"),
        (&[0, 1], "team", "team: LAL ATL 10 9 -plays"),
        (&[1], "source", "source: stats"),
        (&[0, 2], "source", "source: espn (none)"),
        (&[2, 0], "dataset", "dataset: wide plays"),
    ] {
        assert_eq!(buckets(datasets, by), wanted, "{datasets:?} by {by}");
    }
}

#[test]
fn what_cannot_be_counted_by_is_told_with_what_can() {
    for (datasets, by, wanted) in [
        (&[1][..], "teem", "dataset `box`: nothing here is called `teem` (did you mean `team`?)"),
        (
            &[1],
            "day:fortnight",
            "`day:fortnight`: there is no `fortnight` of a time (times are counted by hour, day, week, month or year: `day:month`)",
        ),
        (&[1], "season:month", "dataset `box`: nothing here is called `season`"),
    ] {
        assert!(buckets(datasets, by).starts_with(wanted), "{}", buckets(datasets, by));
    }
    assert!(buckets(&[0], "kind:month").starts_with("`kind` of `plays` is a text of a table or list, and no time"));
}

#[test]
fn who_names_nothing_sees_few_values_over_time() {
    let sample = sample();
    let expected = sample.expand("2024-12-01T00:00:00Z").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let usual = |dataset: usize| usual_axes(&expected, &expected.datasets()[dataset]);
    let plain = Sample::new(Files::default()).list("a", &["1", "2"]).list("b", &["1", "2"]).dataset("d", "{a}/{b}", &["a", "b"]);
    let of_lists = plain.expand("2024-12-01T00:00:00Z").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let named = |name: &str, pace| Axis::Named(name.into(), pace);
    assert_eq!(usual(0), [named("season", None), named("tip", Some(Pace::Month))]);
    assert_eq!(usual(1), [named("team", None), named("day", None)]);
    assert_eq!(usual_axes(&of_lists, &of_lists.datasets()[0]), [named("a", None), named("b", None)]);
    assert_eq!(usual(2), [named("quarter", None), named("hour", None)]);
}
