//! Reads keys backwards: the item that writes exactly this key, worked out from the key alone.
//!
//! A hash table of all keys takes seconds and a hundred megabytes for ten million of them, and every look builds it anew.
//! Nearly every template can be taken apart instead: `data/{day:%Y/%m/%d}/{name}.json` has a part of one length and one that
//! ends before a `.`, and what stands there names a value. A reader is made only where template and values together
//! prove three things: each key can be written, it can be split in one way only, and what it shows of a dimension names one
//! value of it. Whatever lacks one of them goes by a table of its keys ([`Keys`](super::keys::Keys)).
//!
//! Always true: a reader finds the item of every key that its writer writes, and none for any other text
//! (`what_a_reader_reads_is_what_its_writer_wrote`).

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::values::DimensionValues;
use super::writer::{Digits, KeyWriter, MOST_DIMENSIONS, ValuePart, WriterPart};
use crate::spec::template::{LONGEST_KEY_BYTES, is_sound_in_keys};

/// A template backwards.
#[derive(Debug)]
pub(super) struct KeyReader {
    begin: Box<[u8]>,
    end: Box<[u8]>,
    /// What lies between them, in the order in which it is taken off.
    steps: Vec<Step>,
    /// What names the value of each dimension that has more than one.
    names: Vec<Naming>,
    /// Other parts have to agree with it: places of values among the writer's.
    others: Vec<usize>,
}

#[derive(Debug)]
enum Step {
    /// This text.
    Front(Box<[u8]>),
    Back(Box<[u8]>),
    /// A value of so many bytes.
    FrontLong(usize, usize),
    BackLong(usize, usize),
    /// A value that ends before this byte, or begins behind it.
    FrontUntil(usize, u8),
    BackUntil(usize, u8),
    /// A value that is all there is left.
    Rest(usize),
}

#[derive(Debug)]
struct Naming {
    dimension: usize,
    /// How many values it has.
    size: u32,
    /// Places of values among the writer's.
    by: Vec<usize>,
    lookup: Arc<Lookup>,
}

/// Values of a dimension by one of their texts, or by some of them together.
#[derive(Debug)]
pub(super) struct Lookup {
    by_text: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// What all texts of one column have in common.
#[derive(Clone, Copy, Debug)]
struct Traits {
    shortest: usize,
    longest: usize,
    /// Which bytes occur.
    bytes: [u64; 4],
    /// Each of them can stand in a key, whatever is beside it.
    are_sound: bool,
}

/// A dimension of the config, one of its columns, and the format it is written in.
type ColumnName = (usize, u16, Option<String>);

/// What is known of columns. Datasets share them.
#[derive(Default)]
pub(super) struct Columns {
    traits: HashMap<ColumnName, Traits>,
    /// `None`: two values have the same texts.
    lookups: HashMap<Vec<ColumnName>, Option<Arc<Lookup>>>,
}

impl KeyReader {
    /// `None`: it cannot be proven that keys of this writer can be read. `of`: the places of `dimensions` in the whole config.
    pub fn of(writer: &KeyWriter, of: &[usize], dimensions: &[&DimensionValues], columns: &mut Columns) -> Option<KeyReader> {
        let (begin, end) = writer.ends();
        let mut parts: Vec<Part<'_>> = Vec::new();
        let mut parsed: Vec<(&ValuePart, Traits)> = Vec::new();
        for part in &writer.parts {
            match part {
                WriterPart::Literal(text) if text.is_empty() => {}
                WriterPart::Literal(text) => parts.push(Part::Literal(text.as_bytes())),
                WriterPart::Value(value) => {
                    parts.push(Part::Value(parsed.len()));
                    parsed.push((value, columns.traits(of, dimensions, value)));
                }
            }
        }
        let longest: usize = parts.iter().map(|part| part.longest(&parsed)).sum();
        if parsed.is_empty() || longest > LONGEST_KEY_BYTES || !parsed.iter().all(|(_, traits)| traits.are_sound) {
            return None;
        }
        let inner = &parts[usize::from(!begin.is_empty())..parts.len() - usize::from(!end.is_empty())];
        let steps = steps(inner, &parsed)?;
        let values: Vec<&ValuePart> = parsed.into_iter().map(|(value, _)| value).collect();
        let mut names = Vec::new();
        for (dimension, own) in dimensions.iter().enumerate() {
            // What has one value only needs no name.
            if own.len() != 1 {
                names.push(Naming::of(dimension, &values, of, dimensions, columns)?);
            }
        }
        let is_other = |at: &usize| !names.iter().any(|naming: &Naming| naming.by.contains(at));
        let others = (0..values.len()).filter(is_other).collect();
        Some(KeyReader { begin: begin.as_bytes().into(), end: end.as_bytes().into(), steps, names, others })
    }

    /// The place of each dimension's value. `near`: those of a key that may lie before this one.
    pub fn read(&self, writer: &KeyWriter, dimensions: &[&DimensionValues], key: &[u8], near: Option<&Digits>) -> Option<Digits> {
        let between = self.begin.len()..key.len().checked_sub(self.end.len())?;
        let (begin, rest) = key.split_at_checked(between.start)?;
        let (inner, end) = rest.split_at_checked(between.len()).filter(|_| between.start <= between.end)?;
        if !is_same(begin, &self.begin) || !is_same(end, &self.end) {
            return None;
        }
        let mut found: [&[u8]; MOST_VALUES] = [&[]; MOST_VALUES];
        self.split(inner, &mut found)?;
        let mut parts: [Option<&ValuePart>; MOST_VALUES] = [None; MOST_VALUES];
        writer.values().zip(&mut parts).for_each(|(value, part)| *part = Some(value));
        let says =
            |at: usize, digit: u32| parts[at].is_some_and(|part| is_same(part.text(dimensions, digit as usize).as_bytes(), found[at]));
        let mut digits = [0; MOST_DIMENSIONS];
        for naming in &self.names {
            let is_it = |digit: u32| naming.by.iter().all(|at| says(*at, digit));
            let near = near.and_then(|near| {
                let same = near[naming.dimension];
                let next = if same + 1 < naming.size { same + 1 } else { 0 };
                [same, next].into_iter().find(|digit| is_it(*digit))
            });
            digits[naming.dimension] = near.or_else(|| naming.lookup.find(naming.by.iter().map(|at| found[*at]), is_it))?;
        }
        let agrees = |at: &usize| parts[*at].is_some_and(|part| says(*at, digits[usize::from(part.of.dimension)]));
        self.others.iter().all(agrees).then_some(digits)
    }

    fn split<'k>(&self, key: &'k [u8], found: &mut [&'k [u8]; MOST_VALUES]) -> Option<()> {
        let mut rest = key;
        for step in &self.steps {
            match step {
                Step::Front(text) => {
                    let (front, behind) = rest.split_at_checked(text.len())?;
                    rest = is_same(front, text).then_some(behind)?;
                }
                Step::Back(text) => {
                    let (before, back) = rest.split_at_checked(rest.len().checked_sub(text.len())?)?;
                    rest = is_same(back, text).then_some(before)?;
                }
                Step::FrontLong(value, length) => (found[*value], rest) = rest.split_at_checked(*length)?,
                Step::BackLong(value, length) => {
                    (rest, found[*value]) = rest.split_at_checked(rest.len().checked_sub(*length)?)?;
                }
                Step::FrontUntil(value, stop) => {
                    let at = memchr::memchr(*stop, rest).unwrap_or(rest.len());
                    (found[*value], rest) = rest.split_at(at);
                }
                Step::BackUntil(value, stop) => {
                    let at = memchr::memrchr(*stop, rest).map_or(0, |at| at + 1);
                    (rest, found[*value]) = rest.split_at(at);
                }
                Step::Rest(value) => (found[*value], rest) = (rest, &[]),
            }
        }
        rest.is_empty().then_some(())
    }
}

/// A template with more variables goes by a table.
const MOST_VALUES: usize = 16;

enum Part<'a> {
    Literal(&'a [u8]),
    /// Its place among the values.
    Value(usize),
}

impl Part<'_> {
    fn longest(&self, values: &[(&ValuePart, Traits)]) -> usize {
        match self {
            Part::Literal(text) => text.len(),
            Part::Value(at) => values[*at].1.longest,
        }
    }
}

/// From the front as far as each part says by itself where it ends, then from the back; at most one value may be left.
fn steps(parts: &[Part<'_>], values: &[(&ValuePart, Traits)]) -> Option<Vec<Step>> {
    if values.len() > MOST_VALUES {
        return None;
    }
    let (mut from, mut to, mut steps) = (0, parts.len(), Vec::new());
    while from < to {
        match &parts[from] {
            Part::Literal(text) => steps.push(Step::Front((*text).into())),
            Part::Value(value) => {
                let traits = &values[*value].1;
                match (traits.length(), parts[from + 1..to].first()) {
                    (Some(length), _) => steps.push(Step::FrontLong(*value, length)),
                    (None, Some(Part::Literal(next))) if !traits.has(next[0]) => steps.push(Step::FrontUntil(*value, next[0])),
                    _ => break,
                }
            }
        }
        from += 1;
    }
    while from < to {
        match &parts[to - 1] {
            Part::Literal(text) => steps.push(Step::Back((*text).into())),
            Part::Value(value) => {
                let traits = &values[*value].1;
                match (traits.length(), parts[from..to - 1].last()) {
                    (Some(length), _) => steps.push(Step::BackLong(*value, length)),
                    (None, Some(Part::Literal(last))) if !traits.has(last[last.len() - 1]) => {
                        steps.push(Step::BackUntil(*value, last[last.len() - 1]));
                    }
                    _ => break,
                }
            }
        }
        to -= 1;
    }
    match &parts[from..to] {
        [] => {}
        [Part::Value(value)] => steps.push(Step::Rest(*value)),
        _ => return None,
    }
    Some(steps)
}

impl Traits {
    fn of<'a>(texts: impl Iterator<Item = &'a str>, is_format: bool) -> Traits {
        let mut traits = Traits { shortest: usize::MAX, longest: 0, bytes: [0; 4], are_sound: true };
        for text in texts {
            traits.shortest = traits.shortest.min(text.len());
            traits.longest = traits.longest.max(text.len());
            for byte in text.bytes() {
                traits.bytes[usize::from(byte >> 6)] |= 1 << (byte & 63);
            }
            traits.are_sound &= is_sound_in_keys(text, is_format);
        }
        traits
    }

    /// If all have the same.
    fn length(&self) -> Option<usize> {
        (self.shortest == self.longest).then_some(self.longest)
    }

    fn has(&self, byte: u8) -> bool {
        self.bytes[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }
}

impl Naming {
    /// One text of the dimension if it names the value alone, else all together.
    fn of(dimension: usize, values: &[&ValuePart], of: &[usize], dimensions: &[&DimensionValues], columns: &mut Columns) -> Option<Naming> {
        let own: Vec<usize> = (0..values.len()).filter(|at| usize::from(values[*at].of.dimension) == dimension).collect();
        let size = dimensions[dimension].len() as u32;
        let alone = own.iter().map(|at| vec![*at]);
        let together = (own.len() > 1).then(|| own.clone());
        alone.chain(together).find_map(|by| {
            let parts: Vec<&ValuePart> = by.iter().map(|at| values[*at]).collect();
            Some(Naming { dimension, size, lookup: columns.lookup(of, dimensions, &parts)?, by })
        })
    }
}

impl Columns {
    fn traits(&mut self, of: &[usize], dimensions: &[&DimensionValues], part: &ValuePart) -> Traits {
        let traits = || Traits::of(part.texts(dimensions), part.var.format.is_some());
        *self.traits.entry(column_name(of, part)).or_insert_with(traits)
    }

    fn lookup(&mut self, of: &[usize], dimensions: &[&DimensionValues], parts: &[&ValuePart]) -> Option<Arc<Lookup>> {
        let names = parts.iter().map(|part| column_name(of, part)).collect();
        self.lookups.entry(names).or_insert_with(|| Lookup::of(dimensions, parts).map(Arc::new)).clone()
    }
}

fn column_name(of: &[usize], part: &ValuePart) -> ColumnName {
    (of[usize::from(part.of.dimension)], part.of.column, part.var.format.clone())
}

impl Lookup {
    /// `parts`: some, of one dimension. `None`: two values have the same texts.
    fn of(dimensions: &[&DimensionValues], parts: &[&ValuePart]) -> Option<Lookup> {
        let count = dimensions[usize::from(parts[0].of.dimension)].len();
        let hasher = DefaultHashBuilder::default();
        let texts = |digit: u32| parts.iter().map(move |part| part.text(dimensions, digit as usize).as_bytes());
        let mut by_text = HashTable::with_capacity(count);
        for digit in 0..count as u32 {
            let hash = hash_of(&hasher, texts(digit));
            match by_text.entry(hash, |other| texts(*other).eq(texts(digit)), |other| hash_of(&hasher, texts(*other))) {
                Entry::Vacant(free) => drop(free.insert(digit)),
                Entry::Occupied(_) => return None,
            }
        }
        Some(Lookup { by_text, hasher })
    }

    fn find<'k>(&self, texts: impl Iterator<Item = &'k [u8]>, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.by_text.find(hash_of(&self.hasher, texts), |digit| is_it(*digit)).copied()
    }
}

/// Most of what is compared here is shorter than a call of the library's function is long.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) => a_first == b_first && a_last == b_last && (a.len() <= 16 || a == b),
        _ => a.iter().zip(b).all(|(a, b)| a == b),
    }
}

fn hash_of<'k>(hasher: &DefaultHashBuilder, texts: impl Iterator<Item = &'k [u8]>) -> u64 {
    let mut hash = hasher.build_hasher();
    for text in texts {
        hash.write(text);
        // No byte of a text.
        hash.write_u8(0xff);
    }
    hash.finish()
}
