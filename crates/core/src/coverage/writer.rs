//! Writes the keys of a dataset's items, or paths of files: a template with every name already looked up. Runs for millions
//! of items.

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
    parts: Vec<WriterPart>,
    purpose: Purpose,
    whole: Whole,
}

#[derive(Debug)]
enum WriterPart {
    Literal(String),
    /// The plain text of a column.
    Plain(VarRef, TemplateVar),
    /// A calendar's values in one format, by place.
    Prepared(u16, Texts, TemplateVar),
    /// A typed column of a table.
    Formatted(VarRef, String, TemplateVar),
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
                let var = &template.vars()[*at];
                let found = names.resolve(&var.name).ok()?.var?;
                let of = dimensions[usize::from(found.dimension)];
                Some(match &var.format {
                    None => WriterPart::Plain(found, var.clone()),
                    Some(format) if of.is_calendar() => {
                        let all: Vec<_> = (0..of.len()).map(|at| of.formatted(found.column, at, format).unwrap_or_default()).collect();
                        let texts = Texts::of(all.iter().map(String::as_str)).ok()?;
                        WriterPart::Prepared(found.dimension, texts, var.clone())
                    }
                    Some(format) => WriterPart::Formatted(found, format.clone(), var.clone()),
                })
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
                WriterPart::Plain(var, of) => {
                    let (values, at) = (dimensions[usize::from(var.dimension)], digits[usize::from(var.dimension)] as usize);
                    match values.text(var.column, at) {
                        Some(text) => write_value(self.purpose, of, text, key)?,
                        None => {
                            let mut text = String::new();
                            values.write(var.column, at, &mut text);
                            write_value(self.purpose, of, &text, key)?;
                        }
                    }
                }
                WriterPart::Prepared(dimension, texts, of) => {
                    write_value(self.purpose, of, texts.get(digits[usize::from(*dimension)] as usize), key)?;
                }
                WriterPart::Formatted(var, format, of) => {
                    let (values, at) = (dimensions[usize::from(var.dimension)], digits[usize::from(var.dimension)] as usize);
                    let text = values.formatted(var.column, at, format).unwrap_or_default();
                    write_value(self.purpose, of, &text, key)?;
                }
            }
        }
        self.whole.check(&key[before..])
    }

    /// The columns that keys show.
    pub(super) fn vars(template: &Template, names: &Names) -> Vec<VarRef> {
        template.vars().iter().filter_map(|var| names.resolve(&var.name).ok()?.var).collect()
    }
}
