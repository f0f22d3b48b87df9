//! Templates: `espn/{season}/{game_id}.json`, for keys, urls, argv and paths of files.
//!
//! A key template is read in two directions: items are written with it, and a key in the lake belongs to the item
//! that writes exactly it. So nothing may leave its place: a value with `/` would become two segments, `..` another
//! folder, and in `{a}{b}` nobody could say where `a` ends. What a filled-in text may contain is decided here, for
//! the expansion and for collectors alike (`no_value_leaves_its_segment`).
//!
//! A template holds names, not places: a collector's serves several datasets, and tables may reorder their columns.
//! Which names there are is told by [`Template::check`].

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::expression::time;
use super::names::{Kind, LanguageError, Names};

/// What a template is for: decides how values are written and which are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Values verbatim; nothing that leaves its path segment; two variables need a literal between them.
    Key,
    /// Values percent-encoded.
    Url,
    /// Values verbatim; `{out}` is the place to write to; null is empty.
    Argv,
    /// Of a file: values verbatim, and nothing that leaves its path segment. What is written between them may go anywhere.
    Path,
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    text: String,
    purpose: Purpose,
    parts: Vec<TemplatePart>,
    vars: Vec<TemplateVar>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TemplatePart {
    Literal(String),
    /// Place in the template's variables.
    Var(usize),
}

/// One `{…}` of a template.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateVar {
    /// `a` or `a.b`, as written between the braces, without the format.
    pub name: String,
    /// strftime, behind the colon.
    pub format: Option<String>,
    pub offset: usize,
    pub length: usize,
}

/// Why a template cannot be filled for an item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FillError {
    /// The variable's name; empty if the whole text is wrong.
    pub var: String,
    pub message: String,
}

/// S3's limit, and enough for everybody else.
pub const LONGEST_KEY_BYTES: usize = 1_024;

/// Everything but RFC 3986's unreserved characters.
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The literal text of a date format may be part of a path.
const DATE_IN_URL: &AsciiSet = &IN_URL.remove(b'/').remove(b':');

impl Template {
    /// Reads the text alone; [`Template::check`] tells whether a dataset has the names.
    pub fn parse(text: &str, purpose: Purpose) -> Result<Template, Vec<LanguageError>> {
        let mut reader = Reader { text, purpose, parts: Vec::new(), vars: Vec::new(), errors: Vec::new() };
        reader.read();
        let mut template = Template { text: text.to_string(), purpose, parts: reader.parts, vars: reader.vars };
        let mut errors = reader.errors;
        template.parts.retain(|part| !matches!(part, TemplatePart::Literal(text) if text.is_empty()));
        match purpose {
            Purpose::Key => template.check_key(&mut errors),
            Purpose::Path => template.check_path(&mut errors),
            Purpose::Url | Purpose::Argv => {}
        }
        if errors.is_empty() { Ok(template) } else { Err(errors) }
    }

    /// Names that `names` lacks, formats on what is no time, values that have no text.
    pub fn check(&self, names: &Names) -> Vec<LanguageError> {
        self.vars.iter().filter(|var| !self.is_out(var)).filter_map(|var| check_var(var, names)).collect()
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Each `{…}` in order, `{out}` too.
    pub fn vars(&self) -> &[TemplateVar] {
        &self.vars
    }

    pub(crate) fn parts(&self) -> &[TemplatePart] {
        &self.parts
    }

    /// What every filled-in text begins with.
    pub fn literal_prefix(&self) -> &str {
        match self.parts.first() {
            Some(TemplatePart::Literal(text)) => text,
            _ => "",
        }
    }

    /// For fingerprints: differs when the text does, on every machine alike.
    pub fn digest(&self) -> u64 {
        u64::from_le_bytes(*blake3::hash(self.text.as_bytes()).as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }

    /// For one item. `values`: name and text as `Expected::values` gives them; no text is null.
    pub fn fill(&self, values: &[(String, String)]) -> Result<String, FillError> {
        let filled = self.fill_many(&[values], None)?;
        self.whole().check(&filled)?;
        Ok(filled)
    }

    /// What holds of every text that this template is filled to.
    pub(crate) fn whole(&self) -> Whole {
        match self.purpose {
            Purpose::Key => Whole::Key,
            Purpose::Path => Whole::Path { written_dots: dots(&self.outline()) },
            Purpose::Url | Purpose::Argv => Whole::Anything,
        }
    }

    /// Its literal text, with a mark for each value.
    fn outline(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            TemplatePart::Literal(text) => text.as_str(),
            TemplatePart::Var(_) => "\u{fffc}",
        });
        parts.collect()
    }

    fn check_path(&self, errors: &mut Vec<LanguageError>) {
        let outline = self.outline();
        let mut fail = |message: &str, hint: &str| {
            let (message, hint) = (message.to_owned(), Some(hint.to_owned()));
            errors.push(LanguageError { offset: 0, length: self.text.len().max(1), message, hint });
        };
        if outline.is_empty() || outline.ends_with('/') || matches!(outline.rsplit('/').next(), Some("." | "..")) {
            fail("it names no file", "write where the command leaves the file of one item: `out/{game_id}.html`");
        }
        if outline.chars().any(char::is_control) {
            fail("a control character in a path", "leave it out");
        }
    }

    /// For a batch: each variable becomes the distinct values in item order, joined by commas. With more than one item
    /// no value may have a comma of its own. `out` is what `{out}` stands for.
    pub fn fill_many(&self, items: &[&[(String, String)]], out: Option<&str>) -> Result<String, FillError> {
        let mut filled = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            match part {
                TemplatePart::Literal(text) => filled.push_str(text),
                TemplatePart::Var(at) if self.is_out(&self.vars[*at]) => filled.push_str(out.unwrap_or_default()),
                TemplatePart::Var(at) => self.fill_var(&self.vars[*at], items, &mut filled)?,
            }
        }
        Ok(filled)
    }

    fn fill_var(&self, var: &TemplateVar, items: &[&[(String, String)]], filled: &mut String) -> Result<(), FillError> {
        let mut seen: Vec<Cow<'_, str>> = Vec::with_capacity(items.len().min(64));
        let mut distinct = hashbrown::HashSet::new();
        for item in items {
            let text = var.text_in(item)?;
            if items.len() > 1 && text.contains(',') {
                let message = format!("`{}` is `{text}`: a comma inside a value of a batch; read $ADCE_ITEMS instead", var.name);
                return Err(FillError { var: var.name.clone(), message });
            }
            if distinct.insert(text.clone()) {
                seen.push(text);
            }
        }
        for (at, text) in seen.iter().enumerate() {
            if at > 0 {
                filled.push(',');
            }
            write_value(self.purpose, var, text, filled)?;
        }
        Ok(())
    }

    /// Whether it says where to write to.
    pub fn names_out(&self) -> bool {
        self.vars.iter().any(|var| self.is_out(var))
    }

    fn is_out(&self, var: &TemplateVar) -> bool {
        self.purpose == Purpose::Argv && var.name == "out" && var.format.is_none()
    }

    fn check_key(&self, errors: &mut Vec<LanguageError>) {
        let mut fail = |offset, length, message: String, hint: &str| {
            errors.push(LanguageError { offset, length, message, hint: Some(hint.into()) });
        };
        for pair in self.parts.windows(2) {
            let [TemplatePart::Var(first), TemplatePart::Var(second)] = pair else { continue };
            let (first, second) = (&self.vars[*first], &self.vars[*second]);
            let message = format!("nothing stands between `{{{}}}` and `{{{}}}`", first.name, second.name);
            let hint = "put a `/`, `-` or `_` between them: otherwise nobody can say where one ends; one date takes one `{…}`";
            fail(first.offset, second.offset + second.length - first.offset, message, hint);
        }
        let outline = self.outline();
        if outline.is_empty() {
            fail(0, 1, "a key without a character".into(), "write where the items lie: `espn/{season}/{game_id}.json`");
        }
        if let Some(segment) = outline.split('/').find(|segment| matches!(*segment, "." | "..")) {
            let offset = self.text.find(segment).unwrap_or(0);
            fail(offset, segment.len(), format!("`{segment}` is no name for a folder or file"), "leave the segment out");
        }
        if let Some(control) = outline.chars().find(|c| c.is_control()) {
            let offset = self.text.find(control).unwrap_or(0);
            fail(offset, control.len_utf8(), format!("a control character ({control:?}) in a key"), "leave it out");
        }
        if outline.len() > LONGEST_KEY_BYTES {
            fail(0, self.text.len(), format!("longer than {LONGEST_KEY_BYTES} bytes, whatever the values"), "shorten the key");
        }
    }
}

/// Appends one value as `purpose` wants it; `text` without a character is null.
pub(crate) fn write_value(purpose: Purpose, var: &TemplateVar, text: &str, filled: &mut String) -> Result<(), FillError> {
    let refuse = |message: String| Err(FillError { var: var.name.clone(), message });
    match purpose {
        Purpose::Argv => filled.push_str(text),
        _ if text.is_empty() => return refuse(format!("`{}` is null", var.name)),
        Purpose::Url if matches!(text, "." | "..") => return refuse(format!("`{}` is `{text}`, which a url drops", var.name)),
        Purpose::Url => {
            let encode = if var.format.is_some() { DATE_IN_URL } else { IN_URL };
            filled.extend(utf8_percent_encode(text, encode));
        }
        Purpose::Key | Purpose::Path => {
            if var.format.is_none() && text.contains('/') {
                return refuse(format!("`{}` is `{text}`, and `/` would make two segments of it", var.name));
            }
            if let Some(control) = text.chars().find(|c| c.is_control()) {
                return refuse(format!("`{}` is {text:?}, with a control character ({control:?})", var.name));
            }
            filled.push_str(text);
        }
    }
    Ok(())
}

/// Whether this value can stand in a key, whatever stands beside it: [`write_value`] takes it, and no segment with it is `.` or `..`.
pub(crate) fn is_sound_in_keys(text: &str, is_format: bool) -> bool {
    let is_sound = |piece: &str| piece.bytes().any(|byte| byte != b'.');
    let is_whole = if is_format { text.split('/').all(is_sound) } else { !text.contains('/') && is_sound(text) };
    is_whole && !text.chars().any(char::is_control)
}

/// What only shows in a whole text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whole {
    Key,
    /// Segments that are `.` or `..`: those that the template itself has, and no other.
    Path {
        written_dots: usize,
    },
    Anything,
}

impl Whole {
    pub(crate) fn check(self, text: &str) -> Result<(), FillError> {
        match self {
            Whole::Key => check_whole_key(text),
            Whole::Path { written_dots } if dots(text) != written_dots => {
                Err(FillError { var: String::new(), message: format!("a value makes `.` or `..` a segment of its path `{text}`") })
            }
            Whole::Path { .. } | Whole::Anything => Ok(()),
        }
    }
}

fn dots(path: &str) -> usize {
    path.split('/').filter(|segment| matches!(*segment, "." | "..")).count()
}

fn check_whole_key(key: &str) -> Result<(), FillError> {
    let refuse = |message: String| Err(FillError { var: String::new(), message });
    if key.len() > LONGEST_KEY_BYTES {
        return refuse(format!("its key has {} bytes, and {LONGEST_KEY_BYTES} are allowed", key.len()));
    }
    match key.split('/').find(|segment| matches!(*segment, "." | "..")) {
        Some(segment) => refuse(format!("its key `{key}` has `{segment}` as a segment")),
        None => Ok(()),
    }
}

impl TemplateVar {
    /// The value's text in this template's format.
    fn text_in<'a>(&self, values: &'a [(String, String)]) -> Result<Cow<'a, str>, FillError> {
        let named = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
        let unqualified = || self.name.split_once('.').and_then(|(_, column)| named(column));
        let Some(text) = named(&self.name).or_else(unqualified) else {
            return Err(FillError { var: self.name.clone(), message: format!("nothing here is called `{}`", self.name) });
        };
        match &self.format {
            Some(format) if !text.is_empty() => self.reformat(text, format).map(Cow::Owned),
            _ => Ok(Cow::Borrowed(text)),
        }
    }

    fn reformat(&self, text: &str, format: &str) -> Result<String, FillError> {
        let message = || format!("`{}` is `{text}`, which is no time", self.name);
        let time = read_text(text).ok_or_else(|| FillError { var: self.name.clone(), message: message() })?;
        Ok(formatted(&time, format))
    }
}

/// A calendar's value, or an instant as [`instant_text`] writes it.
fn read_text(text: &str) -> Option<Zoned> {
    if let Ok((civil, _)) = time::civil(text) {
        let has_offset = Pieces::parse(text).is_ok_and(|pieces| pieces.offset().is_some());
        if !has_offset {
            return civil.to_zoned(TimeZone::UTC).ok();
        }
    }
    let offset = Pieces::parse(text).ok()?.to_numeric_offset()?;
    Some(text.parse::<Timestamp>().ok()?.to_zoned(TimeZone::fixed(offset)))
}

/// The plain text of an instant: RFC 3339, at the zone's offset.
pub(crate) fn instant_text(time: Timestamp, zone: &TimeZone) -> String {
    if *zone == TimeZone::UTC { time.to_string() } else { formatted(&time.to_zoned(zone.clone()), "%Y-%m-%dT%H:%M:%S%.f%:z") }
}

/// `format` was checked when its template was read.
pub(crate) fn formatted(time: &Zoned, format: &str) -> String {
    BrokenDownTime::from(time).to_string(format).unwrap_or_default()
}

fn check_var(var: &TemplateVar, names: &Names) -> Option<LanguageError> {
    let error = |message, hint| Some(LanguageError { offset: var.offset, length: var.length, message, hint });
    let kind = match names.resolve(&var.name) {
        Err(wrong) => return error(wrong.message, wrong.hint),
        Ok(found) => found.kind,
    };
    match (&var.format, kind) {
        (_, Kind::Unknown) | (None, Kind::Text | Kind::Cell | Kind::Number | Kind::Time) | (Some(_), Kind::Time) => None,
        (None, kind) => error(format!("`{}` is {}, which has no text", var.name, kind.words()), None),
        (Some(format), Kind::Cell) => {
            let hint = format!("give the column a type: `columns: {{ {0}: {{ from: {0}, time: \"%Y-%m-%d\", zone: UTC }} }}`", var.name);
            error(format!("`{}` is no time, so `{format}` cannot format it", var.name), Some(hint))
        }
        (Some(format), _) => error(format!("`{}` is no time, so `{format}` cannot format it", var.name), None),
    }
}

/// Splits the text at its braces.
struct Reader<'a> {
    text: &'a str,
    purpose: Purpose,
    parts: Vec<TemplatePart>,
    vars: Vec<TemplateVar>,
    errors: Vec<LanguageError>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let (mut at, mut literal) = (0, String::new());
        while let Some(found) = self.text[at..].find(['{', '}']) {
            literal.push_str(&self.text[at..at + found]);
            at += found;
            let rest = &self.text[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                literal.push_str(&rest[..1]);
                at += 2;
            } else if rest.starts_with('}') {
                self.fail(at, 1, "a `}` without its `{`".into(), Some("for a literal brace write `}}`"));
                at += 1;
            } else {
                self.parts.push(TemplatePart::Literal(std::mem::take(&mut literal)));
                at += self.variable(at);
            }
        }
        literal.push_str(&self.text[at..]);
        self.parts.push(TemplatePart::Literal(literal));
    }

    /// The `{…}` at this place; its length.
    fn variable(&mut self, offset: usize) -> usize {
        let rest = &self.text[offset..];
        let Some(length) = rest[1..].find(['{', '}']).filter(|at| rest[at + 1..].starts_with('}')).map(|at| at + 2) else {
            self.fail(offset, 1, "a `{` that is never closed".into(), Some("for a literal brace write `{{`"));
            return 1;
        };
        let inside = &rest[1..length - 1];
        let (name, format) = match inside.split_once(':') {
            Some((name, format)) => (name, Some(format)),
            None => (inside, None),
        };
        if name.is_empty() {
            self.fail(offset, length, "no name between the braces".into(), Some("for literal braces write `{{}}`"));
        }
        if name.contains(['"', '\'', '\n']) {
            let message = format!("`{}` looks like text with braces, not like a variable", &rest[..length]);
            self.fail(offset, length, message, Some("for a literal brace write `{{` or `}}`"));
        } else if let Some(format) = format {
            self.check_format(offset + 2 + name.len(), format);
        }
        self.parts.push(TemplatePart::Var(self.vars.len()));
        self.vars.push(TemplateVar { name: name.into(), format: format.map(String::from), offset, length });
        length
    }

    fn check_format(&mut self, offset: usize, format: &str) {
        let hint = Some("formats are strftime's: `{day:%Y/%m/%d}`, `{hour:%-H}`");
        let sample = DateTime::constant(2024, 11, 3, 1, 30, 0, 0).to_zoned(TimeZone::UTC).expect("lies in every calendar");
        match BrokenDownTime::from(&sample).to_string(format) {
            _ if !format.contains('%') => self.fail(offset, format.len(), format!("`{format}` has no `%`, so it formats nothing"), hint),
            Err(error) => self.fail(offset, format.len(), format!("`{format}` is no date format: {error}"), hint),
            Ok(text) if matches!(self.purpose, Purpose::Key | Purpose::Path) && (text.is_empty() || text.chars().any(char::is_control)) => {
                self.fail(
                    offset,
                    format.len(),
                    format!("`{format}` gives nothing that can stand in a {}", if self.purpose == Purpose::Key { "key" } else { "path" }),
                    hint,
                );
            }
            Ok(_) => {}
        }
    }

    fn fail(&mut self, offset: usize, length: usize, message: String, hint: Option<&str>) {
        self.errors.push(LanguageError { offset, length: length.max(1), message, hint: hint.map(String::from) });
    }
}

#[cfg(test)]
mod tests;
