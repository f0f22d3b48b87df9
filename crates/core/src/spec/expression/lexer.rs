//! From the text of an expression to its words, each with its place. All unreadable words are reported at once.

use jiff::SignedDuration;

use super::{LanguageError, Role};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword: the parser decides by position.
    Word(String),
    /// A name in backticks: never a keyword.
    Quoted(String),
    Text(String),
    Number(f64),
    Span(SignedDuration),
    /// A bare date; only calendar bounds have these.
    Date(String),
    Symbol(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    pub(super) token: Token,
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// Longer ones first: `<=` is not `<` and `=`.
const SYMBOLS: [&str; 14] = ["==", "!=", "<=", ">=", "<", ">", "+", "-", "(", ")", "[", "]", ",", "."];

/// Written by people who know other languages, with what to write here.
const FOREIGN: [(&str, &str); 7] = [("&&", "and"), ("||", "or"), ("=~", "=="), ("<>", "!="), ("=", "=="), ("!", "not"), ("≠", "!=")];

pub(super) fn words(text: &str, role: Role) -> Result<Vec<Word>, Vec<LanguageError>> {
    let mut lexer = Lexer { text, role, at: 0, words: Vec::new(), errors: Vec::new() };
    while lexer.at < text.len() {
        lexer.next_word();
    }
    if lexer.errors.is_empty() { Ok(lexer.words) } else { Err(lexer.errors) }
}

struct Lexer<'a> {
    text: &'a str,
    role: Role,
    at: usize,
    words: Vec<Word>,
    errors: Vec<LanguageError>,
}

impl Lexer<'_> {
    fn next_word(&mut self) {
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return };
        if first.is_whitespace() {
            self.at += first.len_utf8();
        } else if first.is_ascii_digit() {
            self.number_or_span();
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            self.push(Token::Word(rest[..length].to_string()), length);
        } else if first == '$' && self.role == Role::Claim {
            self.path();
        } else if matches!(first, '\'' | '"' | '`') {
            self.quoted(first);
        } else if let Some((foreign, ours)) = FOREIGN.iter().find(|(foreign, _)| rest.starts_with(foreign) && !self.is_symbol(foreign)) {
            self.fail(foreign.len(), format!("`{foreign}` is not part of the language"), Some(format!("write `{ours}`")));
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.push(Token::Symbol(symbol), symbol.len());
        } else {
            let hint = "an expression has names, 'text', numbers, durations, `+ - == != < <= > >= in is and or not`, parentheses";
            self.fail(first.len_utf8(), format!("`{first}` is not part of the language"), Some(hint.into()));
        }
    }

    /// `=` begins `==`, `!` begins `!=`: only alone are they foreign.
    fn is_symbol(&self, foreign: &str) -> bool {
        let rest = &self.text[self.at..];
        SYMBOLS.iter().any(|symbol| rest.starts_with(symbol) && symbol.len() > foreign.len())
    }

    /// A path in a JSON text, up to what can be in none; what is wrong within is told by whoever reads it.
    fn path(&mut self) {
        let rest = &self.text[self.at..];
        let (mut length, mut bracket) = (1, None);
        for c in rest[1..].chars() {
            bracket = match (bracket, c) {
                (None, '[') => Some(']'),
                (Some(']'), '\'' | '"') => Some(c),
                (Some(end), c) if end == c && c != ']' => Some(']'),
                (Some(']'), ']') => None,
                (Some(end), _) => Some(end),
                (None, c) if c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '$') => None,
                (None, _) => break,
            };
            length += c.len_utf8();
        }
        self.push(Token::Quoted(rest[..length].to_string()), length);
    }

    fn quoted(&mut self, quote: char) {
        let rest = &self.text[self.at + 1..];
        let Some(length) = rest.find(quote) else {
            let message = format!("a {quote} that is never closed");
            return self.fail(self.text.len() - self.at, message, Some(format!("close it with {quote}")));
        };
        let inside = rest[..length].to_string();
        if quote == '`' && inside.is_empty() {
            return self.fail(2, "a name without a character".into(), None);
        }
        self.push(if quote == '`' { Token::Quoted(inside) } else { Token::Text(inside) }, length + 2);
    }

    fn number_or_span(&mut self) {
        let rest = &self.text[self.at..];
        if let Some(length) = date_length(rest) {
            return self.date(length);
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let fraction = rest[digits..].strip_prefix('.').map(|after| after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len()));
        let number = digits + fraction.filter(|length| *length > 0).map_or(0, |length| length + 1);
        let unit = rest[number..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len() - number);
        let length = number + unit;
        if unit == 0 {
            return match rest[..number].parse::<f64>().ok().filter(|value| value.is_finite()) {
                Some(value) => self.push(Token::Number(value), number),
                None => self.fail(number, format!("`{}` is too large a number", &rest[..number]), None),
            };
        }
        match span(&rest[..number], &rest[number..length]) {
            Ok(span) => self.push(Token::Span(span), length),
            Err((message, hint)) => self.fail(length, message, hint),
        }
    }

    fn date(&mut self, length: usize) {
        let date = self.text[self.at..self.at + length].to_string();
        if matches!(self.role, Role::Bound | Role::Since) {
            return self.push(Token::Date(date), length);
        }
        let hint = format!("write `time(\"{date}\")`; for a text, '{date}'");
        self.fail(length, format!("`{date}` would be a subtraction of numbers"), Some(hint));
    }

    fn push(&mut self, token: Token, length: usize) {
        self.words.push(Word { token, offset: self.at, length });
        self.at += length;
    }

    fn fail(&mut self, length: usize, message: String, hint: Option<String>) {
        self.errors.push(LanguageError { offset: self.at, length: length.max(1), message, hint });
        self.at += length.max(1);
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
    }
}

/// Length of `2024-10`, `2024-10-01`, `2024-10-01T05`, `2024-10-01T05:30`, `2024-10-01T05:30:00` at the start.
fn date_length(text: &str) -> Option<usize> {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let alike = |(seen, form): (&u8, &u8)| if *form == b'0' { seen.is_ascii_digit() } else { seen == form };
    let length = text.as_bytes().iter().zip(FORM).take_while(|pair| alike(*pair)).count();
    let whole = [19, 16, 13, 10, 7].into_iter().find(|whole| length >= *whole)?;
    let goes_on = text[whole..].starts_with(|c: char| c.is_alphanumeric() || c == ':' || c == '_');
    (!goes_on).then_some(whole)
}

fn span(number: &str, unit: &str) -> Result<SignedDuration, (String, Option<String>)> {
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "y" => 365 * 86_400,
        _ => {
            let hint = match unit {
                "mo" | "month" | "months" => "a month has no fixed length: write `30d` or `31d`".to_string(),
                _ => "units are s, m, h, d, w and y (365 days); join several with `+`: `1h + 30m`".to_string(),
            };
            return Err((format!("`{number}{unit}` is no duration"), Some(hint)));
        }
    };
    let exact = match number.split_once('.') {
        None => number.parse::<i64>().ok().and_then(|number| number.checked_mul(seconds)).map(SignedDuration::from_secs),
        Some(_) => number.parse::<f64>().ok().and_then(|number| SignedDuration::try_from_secs_f64(number * seconds as f64).ok()),
    };
    let within = exact.filter(|span| span.as_secs() <= LONGEST_SECONDS);
    within.ok_or_else(|| (format!("`{number}{unit}` is too long"), Some("the longest duration is 10,000 years".into())))
}

/// So that sums of durations cannot overflow before they meet a time.
const LONGEST_SECONDS: i64 = 10_000 * 365 * 86_400;
