//! What is counted by: which bucket each value of a dimension belongs to.

use hashbrown::HashMap;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};

use super::super::expected::{Expected, ExpectedDataset};
use super::super::values::DimensionValues;
use super::{RollupAxis, RollupError};
use crate::spec::Spec;
use crate::spec::expression::{Value, time};
use crate::spec::names::{Kind, VarRef};
use crate::time::Timestamp;

/// Something that items are counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Axis {
    Source,
    Dataset,
    /// A dimension, or a column of one, as in expressions; with a pace by the day, week, … that its time lies in.
    Named(String, Option<Pace>),
}

/// Stretches of time that calendars have names for, in the zone of whatever is counted by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pace {
    Hour,
    Day,
    /// ISO 8601: from Monday on, the first one of a year has its first Thursday.
    Week,
    Month,
    Year,
}

impl Pace {
    pub const ALL: [Pace; 5] = [Pace::Hour, Pace::Day, Pace::Week, Pace::Month, Pace::Year];

    pub fn word(self) -> &'static str {
        match self {
            Pace::Hour => "hour",
            Pace::Day => "day",
            Pace::Week => "week",
            Pace::Month => "month",
            Pace::Year => "year",
        }
    }

    fn of_word(word: &str) -> Option<Pace> {
        Pace::ALL.into_iter().find(|pace| pace.word() == word)
    }

    fn label(self, civil: DateTime) -> String {
        let format = match self {
            Pace::Hour => "%Y-%m-%dT%H",
            Pace::Day => "%Y-%m-%d",
            Pace::Week => "%G-W%V",
            Pace::Month => "%Y-%m",
            Pace::Year => "%Y",
        };
        civil.strftime(format).to_string()
    }

    /// The first day of the stretch that a day lies in, and of the next one.
    fn days(self, date: Date) -> Option<(Date, Date)> {
        let first = match self {
            Pace::Hour | Pace::Day => date,
            Pace::Week => date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days()).ok()?,
            Pace::Month => date.first_of_month(),
            Pace::Year => date.first_of_year(),
        };
        let next = match self {
            Pace::Hour | Pace::Day => first.checked_add(1.day()),
            Pace::Week => first.checked_add(1.week()),
            Pace::Month => first.checked_add(1.month()),
            Pace::Year => first.checked_add(1.year()),
        };
        Some((first, next.ok()?))
    }
}

impl Axis {
    /// `season`, `game.season`, `source`, `dataset`, `month`, `tip:week`.
    pub fn parse(text: &str) -> Result<Axis, RollupError> {
        match text.rsplit_once(':') {
            None if text == "source" => Ok(Axis::Source),
            None if text == "dataset" => Ok(Axis::Dataset),
            None => Ok(Axis::Named(text.to_owned(), None)),
            Some((name, word)) => match Pace::of_word(word) {
                Some(pace) => Ok(Axis::Named(name.to_owned(), Some(pace))),
                None => Err(RollupError {
                    message: format!("`{text}`: there is no `{word}` of a time"),
                    hint: Some(format!("times are counted by hour, day, week, month or year: `{name}:month`")),
                }),
            },
        }
    }

    /// What it is for this dataset.
    pub(super) fn finds(&self, expected: &Expected, of: &ExpectedDataset) -> Result<Found, RollupError> {
        let (name, pace) = match self {
            Axis::Source => return Ok(Found::Source),
            Axis::Dataset => return Ok(Found::Dataset),
            Axis::Named(name, pace) => (name, *pace),
        };
        match (of.names().resolve(name), pace, Pace::of_word(name)) {
            (Ok(found), pace, _) => {
                let var = found.var.ok_or_else(|| RollupError { message: format!("nothing here is called `{name}`"), hint: None })?;
                if pace.is_some() && found.kind != Kind::Time {
                    let message = format!("`{name}` of `{}` is {}, and no time", of.name(), found.kind.words());
                    let hint = "give the column a type: `columns: { tip: { from: tip, time: \"%Y-%m-%d\", zone: UTC } }`";
                    return Err(RollupError { message, hint: Some(hint.into()) });
                }
                Ok(Found::Column(var, pace))
            }
            (Err(_), None, Some(pace)) => match time_of(expected, of) {
                Some(var) => Ok(Found::Column(var, Some(pace))),
                None => Err(RollupError {
                    message: format!("`{}` has neither a calendar nor a column that is a time, so nothing of it has a {name}", of.name()),
                    hint: None,
                }),
            },
            (Err(error), ..) => {
                let RollupError { message, hint } = error.into();
                Err(RollupError { message: format!("dataset `{}`: {message}", of.name()), hint })
            }
        }
    }
}

/// The time that a dataset's items are of: its first calendar, else the first column that is one.
fn time_of(expected: &Expected, of: &ExpectedDataset) -> Option<VarRef> {
    let calendar = expected.dimensions_of(of).position(DimensionValues::is_calendar);
    let var = |dimension: usize, column: usize| VarRef { dimension: dimension as u16, column: column as u16 };
    calendar.map(|dimension| var(dimension, 0)).or_else(|| {
        of.names().dimensions().iter().enumerate().find_map(|(dimension, names)| {
            let column = names.columns().iter().position(|column| column.kind == Kind::Time)?;
            Some(var(dimension, column))
        })
    })
}

/// More buckets than a person looks through.
const MANY: usize = 62;
/// As many as fit beside another axis.
const FEW: usize = 40;

/// What a person would want to see a dataset by who has not said it: its time, by the month if that is long, and beside it what
/// has a few values; without a time two that have.
pub fn usual_axes(expected: &Expected, of: &ExpectedDataset) -> Vec<Axis> {
    let time = time_of(expected, of).map(|var| {
        let values = expected.dimensions_of(of).nth(usize::from(var.dimension)).expect("it was found there");
        let pace = (!values.is_calendar() || values.len() > MANY).then_some(Pace::Month);
        (Axis::Named(of.names().display(var), pace), var)
    });
    let few = expected.dimensions_of(of).enumerate().filter_map(|(dimension, values)| {
        // A row's id is a name of its own.
        let tells = |column: &usize| values.rows().is_none() || *column != usize::from(values.names.main());
        let columns = (0..values.names.columns().len()).filter(|_| !values.is_calendar()).filter(tells);
        let column = columns.into_iter().find(|column| has_few(values, *column as u16))?;
        Some(Axis::Named(of.names().display(VarRef { dimension: dimension as u16, column: column as u16 }), None))
    });
    let all: Vec<Axis> = few.take(if time.is_some() { 1 } else { 2 }).chain(time.map(|(axis, _)| axis)).collect();
    match (all.is_empty(), of.names().dimensions().first()) {
        (true, Some(first)) => vec![Axis::Named(of.names().display(VarRef { dimension: 0, column: first.main() }), None)],
        _ => all,
    }
}

/// More than one value and not too many.
fn has_few(values: &DimensionValues, column: u16) -> bool {
    if values.names.columns()[usize::from(column)].kind == Kind::Time {
        return false;
    }
    let mut met = hashbrown::HashSet::new();
    let mut text = String::new();
    for at in 0..values.len() {
        text.clear();
        values.write(column, at, &mut text);
        if !met.contains(&text) {
            met.insert(text.clone());
        }
        if met.len() > FEW {
            return false;
        }
    }
    met.len() > 1
}

/// What an axis is for one dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Source,
    Dataset,
    Column(VarRef, Option<Pace>),
}

/// Where a dataset's items go on one axis.
pub(super) enum Place {
    All(u32),
    ByDigit { dimension: usize, buckets: Vec<u32> },
}

/// Buckets of one axis while they are found.
#[derive(Default)]
pub(super) struct Buckets {
    labels: Vec<Option<String>>,
    by_label: HashMap<String, u32>,
    without: Option<u32>,
    /// What they were of first: as long as that is all they are of, its order is theirs.
    of: Option<Origin>,
    mixed: bool,
    name: Option<String>,
    pace: Option<Pace>,
}

#[derive(PartialEq, Eq)]
enum Origin {
    Spec,
    /// A dimension's own values, by name.
    Dimension(String),
    Other,
}

impl Buckets {
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    fn bucket(&mut self, label: Option<&str>) -> u32 {
        if let Some(known) = label.map_or(self.without, |label| self.by_label.get(label).copied()) {
            return known;
        }
        let bucket = self.labels.len() as u32;
        self.labels.push(label.map(str::to_owned));
        match label {
            Some(label) => drop(self.by_label.insert(label.to_owned(), bucket)),
            None => self.without = Some(bucket),
        }
        bucket
    }

    fn comes_from(&mut self, origin: Origin) {
        self.mixed |= self.of.as_ref().is_some_and(|of| *of != origin) || origin == Origin::Other;
        self.of.get_or_insert(origin);
    }

    pub(super) fn place(&mut self, found: Found, expected: &Expected, spec: &Spec, of: &ExpectedDataset) -> Place {
        let (var, pace) = match found {
            Found::Source | Found::Dataset => {
                self.comes_from(Origin::Spec);
                let source = spec.datasets.get(of.name()).and_then(|dataset| dataset.source.as_deref());
                return Place::All(self.bucket(if found == Found::Dataset { Some(of.name()) } else { source }));
            }
            Found::Column(var, pace) => (var, pace),
        };
        let dimension = usize::from(var.dimension);
        let values = expected.dimensions_of(of).nth(dimension).expect("names are of the dataset's own dimensions");
        let own = pace.is_none() && var.column == values.names.main();
        self.comes_from(if own { Origin::Dimension(values.names.name().to_owned()) } else { Origin::Other });
        let name = of.names().display(var);
        self.name.get_or_insert(match pace {
            Some(pace) => format!("{name}:{}", pace.word()),
            None => name,
        });
        self.pace = pace;
        let buckets = match pace {
            Some(pace) => self.by_pace(values, var.column, pace),
            None => self.by_text(values, var.column),
        };
        Place::ByDigit { dimension, buckets }
    }

    fn by_text(&mut self, values: &DimensionValues, column: u16) -> Vec<u32> {
        let mut own = String::new();
        let mut before: Option<(String, u32)> = None;
        let mut bucket = |at: usize| {
            let text = match values.text(column, at) {
                Some(text) => text,
                None => {
                    own.clear();
                    values.write(column, at, &mut own);
                    &own
                }
            };
            match &before {
                Some((same, bucket)) if same == text => *bucket,
                _ => {
                    let bucket = self.bucket(Some(text).filter(|text| !text.is_empty()));
                    before = Some((text.to_owned(), bucket));
                    bucket
                }
            }
        };
        (0..values.len()).map(&mut bucket).collect()
    }

    fn by_pace(&mut self, values: &DimensionValues, column: u16, pace: Pace) -> Vec<u32> {
        if let (0, Some(names)) = (column, values.civil_names()) {
            return names.map(|civil| self.bucket(Some(&pace.label(civil)))).collect();
        }
        let zone = values.zone(column);
        let mut stretches = Stretches { known: Vec::new(), zone, pace };
        let bucket = |at: usize| match values.value(column, at) {
            Value::Time(time) => stretches.bucket(time, self),
            _ => self.bucket(None),
        };
        (0..values.len()).map(bucket).collect()
    }

    /// Puts them in order; each one's new place, by the old.
    pub(super) fn sort(&mut self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.labels.len() as u32).collect();
        if self.mixed {
            order.sort_by(|a, b| natural(self.labels[*a as usize].as_deref(), self.labels[*b as usize].as_deref()));
        } else {
            // Without a value comes last in any case.
            order.sort_by_key(|at| self.labels[*at as usize].is_none());
        }
        self.labels = order.iter().map(|at| self.labels[*at as usize].take()).collect();
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, at)| places[*at as usize] = place as u32);
        places
    }

    pub(super) fn into_axis(self, axis: &Axis) -> RollupAxis {
        let name = self.name.unwrap_or_else(|| match axis {
            Axis::Source => "source".into(),
            Axis::Dataset => "dataset".into(),
            Axis::Named(name, None) => name.clone(),
            Axis::Named(name, Some(pace)) => format!("{name}:{}", pace.word()),
        });
        RollupAxis { name, pace: self.pace, buckets: self.labels }
    }
}

/// Numbers as such, other texts by their letters, nothing last.
fn natural(a: Option<&str>, b: Option<&str>) -> std::cmp::Ordering {
    match (a, b) {
        (Some(a), Some(b)) => match (time::read_number(a), time::read_number(b)) {
            (Some(x), Some(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
            // Numbers before words, or one order could contradict another.
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => a.cmp(b),
        },
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

/// Neighbours as one: the first and the last of them.
pub(super) fn spanning(neighbours: &[Option<String>]) -> Option<String> {
    let named = || neighbours.iter().flatten();
    match (named().next(), named().next_back()) {
        (Some(first), Some(last)) if first != last => Some(format!("{first} … {last}")),
        (first, _) => first.cloned(),
    }
}

/// Stretches of time that were met: most times of a table lie in few of them, and a calendar is asked once for each.
struct Stretches {
    /// From, until, bucket; in order.
    known: Vec<(Timestamp, Timestamp, u32)>,
    zone: TimeZone,
    pace: Pace,
}

impl Stretches {
    fn bucket(&mut self, time: Timestamp, buckets: &mut Buckets) -> u32 {
        let behind = self.known.partition_point(|(from, ..)| *from <= time);
        if let Some((_, until, bucket)) = behind.checked_sub(1).map(|at| self.known[at])
            && time < until
        {
            return bucket;
        }
        let zoned = time.to_zoned(self.zone.clone());
        let bucket = buckets.bucket(Some(&self.pace.label(zoned.datetime())));
        // An hour may come twice in a day.
        if let Some((from, until)) = self.reaches(&zoned).filter(|_| self.pace != Pace::Hour) {
            self.known.insert(behind, (from, until, bucket));
        }
        bucket
    }

    fn reaches(&self, zoned: &Zoned) -> Option<(Timestamp, Timestamp)> {
        let (first, next) = self.pace.days(zoned.date())?;
        let begins = |date: Date| Some(date.to_zoned(self.zone.clone()).ok()?.timestamp());
        Some((begins(first)?, begins(next)?))
    }
}
