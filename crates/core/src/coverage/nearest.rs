//! Where a key stops being like those that are expected: for whoever asks why an object counts for nothing.
//!
//! Each dataset's template is read along the key, each value against those that the dimension has, until nothing goes on
//! as the key does. Where a text can be split in several ways all of them are tried, and the one that comes furthest tells.
//! Values of one dimension belong together: behind `{season}` only the games of that season are a `{game_id}`.
//!
//! This is for messages about single keys. Whether a key is expected, [`Expected::find`] decides alone, and what it finds
//! has no miss (`what_is_expected_misses_nothing`).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::expected::{Expected, ExpectedDataset};
use super::values::DimensionValues;
use super::writer::MOST_DIMENSIONS;
use crate::spec::Spec;
use crate::spec::names::VarRef;
use crate::spec::template::{Template, TemplatePart};

/// Variables that are read along one key, all splits together: enough for any key that a person would recognise.
const MOST_READINGS: u32 = 256;

/// How far a key is like those of one dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    pub dataset: String,
    /// The key template that was read along the key, as written.
    pub template: String,
    /// Bytes of the key that are as they should be; always between two characters.
    pub at: usize,
    /// What should follow there.
    pub wanted: Wanted,
}

/// What a key should go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The template's own text.
    Text(String),
    /// One of a name's values.
    Value {
        name: String,
        /// Those before and behind what stands there, in the order of their letters.
        near: Vec<String>,
        /// It is a value of this name, but none of the rest of the key's.
        elsewhere: Option<String>,
    },
    /// Nothing: the key is longer than it should be.
    End,
    /// Nothing: the key is one of the template's, and `where` leaves its item out.
    LeftOut,
}

impl fmt::Display for Wanted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Text(text) => write!(out, "`{text}` should follow"),
            Wanted::Value { name, elsewhere: Some(value), .. } => {
                write!(out, "`{value}` is a `{name}`, but not one that belongs to what stands before it")
            }
            Wanted::Value { name, near, elsewhere: None } => {
                write!(out, "a `{name}` should follow")?;
                match near.as_slice() {
                    [] => write!(out, ", and there is none"),
                    [one] => write!(out, ", the nearest is `{one}`"),
                    several => write!(out, ", the nearest are `{}`", several.join("` and `")),
                }
            }
            Wanted::End => out.write_str("the key should end"),
            Wanted::LeftOut => out.write_str("all of it fits, but `where` leaves the item out"),
        }
    }
}

/// Where the dataset that this key comes closest to stops being like it. `None`: it is expected, or not even its first
/// character fits anywhere.
pub fn nearest(expected: &Expected, spec: &Spec, key: &str) -> Option<Miss> {
    misses(expected, spec, key).into_iter().next()
}

/// The same for each dataset that is like the key at all, the closest first.
pub fn misses(expected: &Expected, spec: &Spec, key: &str) -> Vec<Miss> {
    if expected.find(key).is_some() {
        return Vec::new();
    }
    let miss = |of: &ExpectedDataset| {
        let template = &spec.datasets.get(of.name())?.key;
        let (at, wanted) = stop(expected, of, template, key)?;
        Some(Miss { dataset: of.name().to_owned(), template: template.text().to_owned(), at, wanted })
    };
    let mut misses: Vec<Miss> = expected.datasets().iter().filter_map(miss).collect();
    misses.sort_by_key(|miss| Reverse(miss.at));
    misses
}

/// `None`: nothing of the key fits.
fn stop(expected: &Expected, of: &ExpectedDataset, template: &Template, key: &str) -> Option<(usize, Wanted)> {
    let parts = template.parts().iter().map(|part| match part {
        TemplatePart::Literal(text) => Some(Part::Text(text)),
        TemplatePart::Var(at) => {
            let var = &template.vars()[*at];
            let found = of.names().resolve(&var.name).ok()?.var?;
            Some(Part::Value { name: &var.name, var: found, format: var.format.as_deref() })
        }
    });
    let parts: Vec<Part<'_>> = parts.collect::<Option<_>>()?;
    let mut reading = Reading { key, parts, dimensions: expected.dimensions_of(of).collect(), readings: 0, furthest: None };
    reading.read(0, 0, &Places::default());
    let Stop { at, wanted, .. } = reading.furthest?;
    (at > 0).then_some((at, wanted))
}

enum Part<'a> {
    Text(&'a str),
    Value { name: &'a str, var: VarRef, format: Option<&'a str> },
}

/// Of each dimension the values that the key can mean by now; `None`: any.
type Places = [Option<Rc<[u32]>>; MOST_DIMENSIONS];

struct Stop {
    at: usize,
    part: usize,
    wanted: Wanted,
}

struct Reading<'a> {
    key: &'a str,
    parts: Vec<Part<'a>>,
    dimensions: Vec<&'a DimensionValues>,
    readings: u32,
    furthest: Option<Stop>,
}

impl Reading<'_> {
    fn read(&mut self, part: usize, at: usize, places: &Places) {
        let rest = &self.key[at..];
        match self.parts.get(part) {
            None if rest.is_empty() => self.stopped(at, part, || Wanted::LeftOut),
            None => self.stopped(at, part, || Wanted::End),
            Some(Part::Text(text)) => match common(text, rest) {
                all if all == text.len() => self.read(part + 1, at + all, places),
                some => {
                    let wanted = text[some..].to_owned();
                    self.stopped(at + some, part, || Wanted::Text(wanted));
                }
            },
            Some(Part::Value { .. }) => self.read_value(part, at, places),
        }
    }

    fn read_value(&mut self, part: usize, at: usize, places: &Places) {
        self.readings += 1;
        let Part::Value { name, var, .. } = self.parts[part] else { return };
        if self.readings > MOST_READINGS {
            return;
        }
        let dimension = usize::from(var.dimension);
        let shelf = self.shelf(part, at, places[dimension].as_deref());
        let elsewhere = match (shelf.fits.is_empty(), &places[dimension]) {
            (true, Some(_)) => self.shelf(part, at, None).fits.pop_last().map(|(value, _)| value),
            _ => None,
        };
        let near: Vec<String> = shelf.before.into_iter().chain(shelf.behind).collect();
        let rest = &self.key[at..];
        let far = near.iter().map(|value| common(value, rest)).max().unwrap_or(0);
        let name = name.to_owned();
        self.stopped(at + far, part, || Wanted::Value { name, near, elsewhere });
        // The longest first: it is what a person would read.
        for (value, of) in shelf.fits.into_iter().rev() {
            let mut places = places.clone();
            places[dimension] = Some(of.into());
            self.read(part + 1, at + value.len(), &places);
        }
    }

    /// How the values stand to what follows in the key. `among`: only these.
    fn shelf(&self, part: usize, at: usize, among: Option<&[u32]>) -> Shelf {
        let Part::Value { var, format, .. } = self.parts[part] else { return Shelf::default() };
        let (values, rest) = (self.dimensions[usize::from(var.dimension)], &self.key[at..]);
        let mut shelf = Shelf::default();
        let mut own = String::new();
        let mut each = |place: u32| {
            let text = match (format, values.text(var.column, place as usize)) {
                (None, Some(text)) => text,
                (None, None) => {
                    own.clear();
                    values.write(var.column, place as usize, &mut own);
                    &own
                }
                (Some(format), _) => {
                    own = values.formatted(var.column, place as usize, format).unwrap_or_default();
                    &own
                }
            };
            shelf.put(text, place, rest);
        };
        match among {
            Some(places) => places.iter().copied().for_each(&mut each),
            None => (0..values.len() as u32).for_each(&mut each),
        }
        shelf
    }

    fn stopped(&mut self, at: usize, part: usize, wanted: impl FnOnce() -> Wanted) {
        if self.furthest.as_ref().is_none_or(|furthest| (furthest.at, furthest.part) < (at, part)) {
            self.furthest = Some(Stop { at, part, wanted: wanted() });
        }
    }
}

/// Values beside the rest of a key.
#[derive(Default)]
struct Shelf {
    /// Those that the rest begins with, each with its places.
    fits: BTreeMap<String, Vec<u32>>,
    /// The last of the others that comes before the rest in the order of letters, and the first that comes behind it: no
    /// other has more of its beginning.
    before: Option<String>,
    behind: Option<String>,
}

impl Shelf {
    fn put(&mut self, value: &str, place: u32, rest: &str) {
        if value.is_empty() {
            return;
        }
        if rest.starts_with(value) {
            match self.fits.get_mut(value) {
                Some(places) => places.push(place),
                None => drop(self.fits.insert(value.to_owned(), vec![place])),
            }
        } else if value < rest {
            if self.before.as_deref().is_none_or(|before| before < value) {
                self.before = Some(value.to_owned());
            }
        } else if self.behind.as_deref().is_none_or(|behind| value < behind) {
            self.behind = Some(value.to_owned());
        }
    }
}

/// Bytes of the characters that both begin with.
fn common(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(a, b)| a == b).map(|(same, _)| same.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{Files, Sample, zone};
    use super::*;
    use crate::spec::Every;

    fn games() -> (Spec, Expected) {
        let files = Files::of([("games.csv", "game_id,season,kind\n401,2023-24,2\n402,2023-24,1\n501,2024-25,2\n5011,2024-25,2\n")]);
        let sample = Sample::new(files)
            .table("game", "games.csv", "game_id", &[])
            .calendar("day", "2024-10-30", "2024-11-02", Every::Days(1), zone("UTC"))
            .dataset_where("play", "espn/play/{season}/{game_id}.json", &["game"], Some("kind == '2'"))
            .dataset("schedule", "espn/schedule/{day:%Y%m%d}.csv", &["day"])
            .dataset("names", "{day}-ü/{game_id}", &["day", "game"]);
        let expected = sample.expand("2024-12-01T00:00:00Z").unwrap_or_else(|problems| panic!("{problems:#?}"));
        (sample.spec, expected)
    }

    /// `play 12: …`; the place is where the key is cut.
    fn told(key: &str) -> String {
        let (spec, expected) = games();
        match nearest(&expected, &spec, key) {
            Some(miss) => format!("{}: {}| {}", miss.dataset, &key[..miss.at], miss.wanted),
            None => "nothing".into(),
        }
    }

    #[test]
    fn the_place_where_matching_stops_is_told_with_what_should_stand_there() {
        for (key, wanted) in [
            ("espn/play/2023-24/401.jsn", "play: espn/play/2023-24/401.js| `on` should follow"),
            ("espn/play/2023-24/401", "play: espn/play/2023-24/401| `.json` should follow"),
            ("espn/play/2023-24/401.json.gz", "play: espn/play/2023-24/401.json| the key should end"),
            ("espn/play/2025-26/401.json", "play: espn/play/202| a `season` should follow, the nearest is `2024-25`"),
            ("espn/play/2024-24/x", "play: espn/play/2024-2| a `season` should follow, the nearest are `2023-24` and `2024-25`"),
            ("espn/play/2023-24/402.json", "play: espn/play/2023-24/402.json| all of it fits, but `where` leaves the item out"),
            ("espn/schedule/20241103.csv", "schedule: espn/schedule/2024110| a `day` should follow, the nearest is `20241102`"),
            ("espn/sched/20241101.csv", "schedule: espn/sched| `ule/` should follow"),
            ("Espn/play", "nothing"),
            ("", "nothing"),
            ("espn/play/2023-24/401.json", "nothing"),
        ] {
            assert_eq!(told(key), wanted, "{key}");
        }
    }

    #[test]
    fn a_value_of_another_row_is_told_as_one() {
        let told = told("espn/play/2023-24/501.json");
        assert_eq!(told, "play: espn/play/2023-24/| `501` is a `game_id`, but not one that belongs to what stands before it");
    }

    #[test]
    fn the_split_that_comes_furthest_tells() {
        // `501` fits, too, and `1.json` would not follow it.
        assert_eq!(told("espn/play/2024-25/5011.txt"), "play: espn/play/2024-25/5011.| `json` should follow");
    }

    #[test]
    fn a_place_is_never_in_the_middle_of_a_character() {
        // `ö` and `ü` begin with the same byte.
        assert_eq!(told("2024-11-01-ö/401"), "names: 2024-11-01-| `ü/` should follow");
    }

    proptest! {
        #[test]
        fn what_is_expected_misses_nothing(item in 0..19_u32, cut in 0..40_usize, put in "[a-z0-9/.ü-]{0,3}") {
            let (spec, expected) = games();
            let mut key = String::new();
            expected.key(super::super::ItemIx(item % expected.len() as u32), &mut key);
            prop_assert_eq!(nearest(&expected, &spec, &key), None);
            // And what is nearly expected is told as far as it is.
            let cut = (0..=cut.min(key.len())).rev().find(|at| key.is_char_boundary(*at)).unwrap();
            let other = format!("{}{put}", &key[..cut]);
            if let (None, true) = (expected.find(&other), cut > 0) {
                let miss = nearest(&expected, &spec, &other).expect("it begins as it should");
                prop_assert!(miss.at >= cut, "`{}`: {:?}", other, miss);
            }
        }
    }
}
