//! Writes the keys of a dataset's items, or paths of files: a template with every name already looked up. Runs for millions
//! of items.

use hashbrown::HashMap;

use super::texts::Texts;
use super::values::DimensionValues;
use crate::spec::names::{LanguageError, Names, VarRef};
use crate::spec::template::{FillError, Purpose, Template, TemplatePart, TemplateVar, Whole, write_value};

/// A dataset spans at most so many dimensions.
pub(super) const MOST_DIMENSIONS: usize = 8;

/// One place per dimension of a dataset's `for`.
pub(super) type Digits = [u32; MOST_DIMENSIONS];

#[derive(Debug)]
pub(super) struct KeyWriter {
    pub(super) parts: Vec<WriterPart>,
    purpose: Purpose,
    whole: Whole,
}

#[derive(Debug)]
pub(super) enum WriterPart {
    Literal(String),
    Value(ValuePart),
}

/// What one value becomes in a key.
#[derive(Debug)]
pub(super) struct ValuePart {
    pub(super) of: VarRef,
    pub(super) var: TemplateVar,
    prepared: Option<Prepared>,
}

/// Texts that no dimension has as they are: dates in a format, typed columns. Each once, however many values have it.
#[derive(Debug)]
struct Prepared {
    texts: Texts,
    /// The text of each value.
    which: Vec<u32>,
}

impl KeyWriter {
    /// `dimensions`: those of the dataset's `for`, as in `names`.
    pub(super) fn new(template: &Template, names: &Names, dimensions: &[&DimensionValues]) -> Result<KeyWriter, Vec<LanguageError>> {
        let errors = template.check(names);
        if !errors.is_empty() {
            return Err(errors);
        }
        let part = |part: &TemplatePart| match part {
            TemplatePart::Literal(text) => Some(WriterPart::Literal(text.clone())),
            TemplatePart::Var(at) => {
                let var = template.vars()[*at].clone();
                let of = names.resolve(&var.name).ok()?.var?;
                let values = dimensions[usize::from(of.dimension)];
                let is_stored = var.format.is_none() && values.stores_text(of.column);
                let prepared = if is_stored { None } else { Some(Prepared::of(values, of.column, var.format.as_deref())?) };
                Some(WriterPart::Value(ValuePart { of, var, prepared }))
            }
        };
        Ok(KeyWriter { parts: template.parts().iter().filter_map(part).collect(), purpose: template.purpose(), whole: template.whole() })
    }

    /// Appends the key, refusing what would leave its place.
    pub(super) fn write(&self, dimensions: &[&DimensionValues], digits: &Digits, key: &mut String) -> Result<(), FillError> {
        let before = key.len();
        for part in &self.parts {
            match part {
                WriterPart::Literal(text) => key.push_str(text),
                WriterPart::Value(part) => write_value(self.purpose, &part.var, part.text(dimensions, part.digit(digits)), key)?,
            }
        }
        self.whole.check(&key[before..])
    }

    /// Appends a key of which it is known that it can be written.
    pub(super) fn write_known(&self, dimensions: &[&DimensionValues], digits: &Digits, key: &mut String) {
        for part in &self.parts {
            key.push_str(match part {
                WriterPart::Literal(text) => text,
                WriterPart::Value(part) => part.text(dimensions, part.digit(digits)),
            });
        }
    }

    /// What every key begins with, and what every key ends with. The two may overlap only if there is no variable.
    pub(super) fn ends(&self) -> (&str, &str) {
        (self.parts.first().map_or("", WriterPart::literal), self.parts.last().map_or("", WriterPart::literal))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &ValuePart> {
        self.parts.iter().filter_map(|part| match part {
            WriterPart::Literal(_) => None,
            WriterPart::Value(value) => Some(value),
        })
    }

    /// The columns that keys show.
    pub(super) fn vars(template: &Template, names: &Names) -> Vec<VarRef> {
        template.vars().iter().filter_map(|var| names.resolve(&var.name).ok()?.var).collect()
    }
}

impl WriterPart {
    fn literal(&self) -> &str {
        match self {
            WriterPart::Literal(text) => text,
            WriterPart::Value(_) => "",
        }
    }
}

impl ValuePart {
    fn digit(&self, digits: &Digits) -> usize {
        digits[usize::from(self.of.dimension)] as usize
    }

    /// The text of one value; empty is null.
    pub(super) fn text<'a>(&'a self, dimensions: &[&'a DimensionValues], at: usize) -> &'a str {
        match &self.prepared {
            Some(prepared) => prepared.texts.get(prepared.which[at] as usize),
            None => dimensions[usize::from(self.of.dimension)].text(self.of.column, at).unwrap_or_default(),
        }
    }

    /// Every text once if they are prepared, else every value's.
    pub(super) fn texts<'a>(&'a self, dimensions: &[&'a DimensionValues]) -> impl Iterator<Item = &'a str> {
        let values = dimensions[usize::from(self.of.dimension)];
        let count = self.prepared.as_ref().map_or(values.len(), |prepared| prepared.texts.len());
        (0..count).map(move |at| match &self.prepared {
            Some(prepared) => prepared.texts.get(at),
            None => values.text(self.of.column, at).unwrap_or_default(),
        })
    }
}

impl Prepared {
    /// `None`: more text than one column can have.
    fn of(values: &DimensionValues, column: u16, format: Option<&str>) -> Option<Prepared> {
        let (mut texts, mut known) = (Texts::default(), HashMap::<String, u32>::new());
        let mut text_of = |at: usize| {
            let text = match format {
                Some(format) => values.formatted(column, at, format).unwrap_or_default(),
                None => {
                    let mut text = String::new();
                    values.write(column, at, &mut text);
                    text
                }
            };
            if let Some(which) = known.get(&text) {
                return Some(*which);
            }
            texts.push(&text).ok()?;
            let which = known.len() as u32;
            known.insert(text, which);
            Some(which)
        };
        let which = (0..values.len()).map(&mut text_of).collect::<Option<Vec<u32>>>()?;
        Some(Prepared { texts, which })
    }
}
