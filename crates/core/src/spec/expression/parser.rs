//! From words to a tree. Precedence, loosest first: `or`, `and`, `not`, one comparison, `+ -`.

use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::lexer::{Token, Word};
use super::time::{self, Fineness};
use super::{LanguageError, Names, Role, Var};

/// A part of the expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) node: Node,
    pub(super) offset: usize,
    pub(super) length: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Text(String),
    Number(f64),
    Span(SignedDuration),
    Time(jiff::Timestamp, Fineness),
    Now,
    /// Start of today in this zone.
    Today(TimeZone),
    Overdue,
    Due,
    Reason,
    Dataset,
    /// Place in the expression's variables.
    Var(usize),
    /// The first part is added too.
    Sum(Vec<(Sign, Part)>),
    Compare(Comparison, Box<Part>, Box<Part>),
    In(Box<Part>, Vec<Part>),
    IsNull(Box<Part>),
    Not(Box<Part>),
    And(Vec<Part>),
    Or(Vec<Part>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Parentheses and `not` may be nested so deep: the tree is walked by recursion.
const DEEPEST: usize = 64;

pub(super) struct Parser<'a> {
    words: &'a [Word],
    at: usize,
    end: usize,
    depth: usize,
    role: Role,
    names: &'a Names,
    pub(super) vars: Vec<Var>,
    /// Complaints that do not keep the parser from going on.
    pub(super) errors: Vec<LanguageError>,
}

type Parsed = Result<Part, LanguageError>;

impl<'a> Parser<'a> {
    pub(super) fn new(text: &str, words: &'a [Word], role: Role, names: &'a Names) -> Self {
        Parser { words, at: 0, end: text.len(), depth: 0, role, names, vars: Vec::new(), errors: Vec::new() }
    }

    pub(super) fn whole(&mut self) -> Parsed {
        let part = self.or()?;
        match self.words.get(self.at) {
            None => Ok(part),
            Some(word) => Err(self.unexpected(word)),
        }
    }

    fn or(&mut self) -> Parsed {
        self.chain("or", Self::and, Node::Or)
    }

    fn and(&mut self) -> Parsed {
        self.chain("and", Self::not, Node::And)
    }

    fn chain(&mut self, keyword: &str, mut next: impl FnMut(&mut Self) -> Parsed, make: fn(Vec<Part>) -> Node) -> Parsed {
        let first = next(self)?;
        let mut parts = vec![first];
        while self.take_keyword(keyword) {
            parts.push(next(self)?);
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let (offset, length) = spanned(&parts[0], &parts[parts.len() - 1]);
        Ok(Part { node: make(parts), offset, length })
    }

    fn not(&mut self) -> Parsed {
        let offset = self.here();
        if !self.take_keyword("not") {
            return self.comparison();
        }
        let part = self.deeper(Self::not)?;
        let length = part.offset + part.length - offset;
        Ok(Part { node: Node::Not(Box::new(part)), offset, length })
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.sum()?;
        let Some(word) = self.words.get(self.at) else { return Ok(left) };
        if let Some(comparison) = comparison(&word.token) {
            self.at += 1;
            let right = self.sum()?;
            let (offset, length) = spanned(&left, &right);
            self.refuse_second_comparison()?;
            return Ok(Part { node: Node::Compare(comparison, Box::new(left), Box::new(right)), offset, length });
        }
        match &word.token {
            Token::Word(keyword) if keyword == "in" => self.list(left),
            Token::Word(keyword) if keyword == "is" => self.is_null(left),
            Token::Word(keyword) if keyword == "not" => {
                let hint = "write `not x in […]` or `x is not null`";
                Err(error(word, "`not` stands before what it negates".into(), Some(hint.into())))
            }
            _ => Ok(left),
        }
    }

    fn refuse_second_comparison(&self) -> Result<(), LanguageError> {
        match self.words.get(self.at) {
            Some(word) if comparison(&word.token).is_some() => {
                let hint = "join two comparisons with `and`: `a < b and b < c`";
                Err(error(word, "comparisons are not chained".into(), Some(hint.into())))
            }
            _ => Ok(()),
        }
    }

    fn list(&mut self, left: Part) -> Parsed {
        let keyword = self.at;
        self.at += 1;
        if !self.take_symbol("[") {
            let hint = "write the values in brackets: `kind in ['2', '3']`";
            return Err(self.expected_here("`[` behind `in`", Some(hint)));
        }
        let mut values = Vec::new();
        while !self.take_symbol("]") {
            if !values.is_empty() && !self.take_symbol(",") {
                return Err(self.expected_here("`,` or `]`", None));
            }
            values.push(self.sum()?);
        }
        if values.is_empty() {
            self.errors.push(error(&self.words[keyword], "an empty list: nothing is ever in it".into(), None));
        }
        let offset = left.offset;
        let length = self.behind() - offset;
        Ok(Part { node: Node::In(Box::new(left), values), offset, length })
    }

    fn is_null(&mut self, left: Part) -> Parsed {
        self.at += 1;
        let negated = self.take_keyword("not");
        if !self.take_keyword("null") {
            return Err(self.expected_here("`null` or `not null` behind `is`", Some("to compare values, write `==`")));
        }
        let offset = left.offset;
        let length = self.behind() - offset;
        let part = Part { node: Node::IsNull(Box::new(left)), offset, length };
        Ok(if negated { Part { node: Node::Not(Box::new(part)), offset, length } } else { part })
    }

    fn sum(&mut self) -> Parsed {
        let first = self.primary()?;
        let mut parts = vec![(Sign::Plus, first)];
        loop {
            let sign = if self.take_symbol("+") {
                Sign::Plus
            } else if self.take_symbol("-") {
                Sign::Minus
            } else {
                break;
            };
            parts.push((sign, self.primary()?));
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0).1);
        }
        let (offset, length) = spanned(&parts[0].1, &parts[parts.len() - 1].1);
        Ok(Part { node: Node::Sum(parts), offset, length })
    }

    fn primary(&mut self) -> Parsed {
        let Some(word) = self.words.get(self.at) else { return Err(self.expected_here("a value", None)) };
        self.at += 1;
        let plain = |node| Ok(Part { node, offset: word.offset, length: word.length });
        match &word.token {
            Token::Text(text) => plain(Node::Text(text.clone())),
            Token::Number(number) => plain(Node::Number(*number)),
            Token::Span(span) => plain(Node::Span(*span)),
            Token::Date(date) => plain(self.time(date, word)),
            Token::Symbol("(") => self.parentheses(),
            Token::Symbol("-") => self.negative(word),
            Token::Symbol(_) => {
                self.at -= 1;
                Err(self.unexpected(word))
            }
            Token::Quoted(_) => self.name(word),
            Token::Word(name) => match name.as_str() {
                "null" => plain(Node::Null),
                "and" | "or" | "in" | "is" | "not" => {
                    self.at -= 1;
                    Err(self.expected_here("a value", None))
                }
                "time" if self.take_symbol("(") => self.time_call(word),
                _ if self.is_symbol(".") => self.name(word),
                _ => match self.builtin(name, word) {
                    Some(node) => plain(node),
                    None => self.name(word),
                },
            },
        }
    }

    fn parentheses(&mut self) -> Parsed {
        let offset = self.words[self.at - 1].offset;
        let part = self.deeper(Self::or)?;
        if !self.take_symbol(")") {
            return Err(self.expected_here("`)`", None));
        }
        Ok(Part { offset, length: self.behind() - offset, ..part })
    }

    fn negative(&mut self, minus: &Word) -> Parsed {
        let Some(word) = self.words.get(self.at) else { return Err(self.expected_here("a number or a duration", None)) };
        let node = match word.token {
            Token::Number(number) => Node::Number(-number),
            Token::Span(span) => Node::Span(-span),
            _ => return Err(self.expected_here("a number or a duration behind `-`", None)),
        };
        self.at += 1;
        Ok(Part { node, offset: minus.offset, length: self.behind() - minus.offset })
    }

    /// Words with a fixed meaning, where this role has them.
    fn builtin(&mut self, name: &str, word: &Word) -> Option<Node> {
        let (node, roles): (Node, &[Role]) = match name {
            "now" => (Node::Now, &[Role::Due, Role::After, Role::Since, Role::Priority, Role::Bound, Role::Select]),
            "today" => {
                let zone = self.names.zone().cloned().unwrap_or(TimeZone::UTC);
                (Node::Today(zone), &[Role::Due, Role::After, Role::Since, Role::Priority, Role::Bound, Role::Select])
            }
            "due" => (Node::Due, &[Role::After]),
            "overdue" => (Node::Overdue, &[Role::Priority, Role::Select]),
            "reason" => (Node::Reason, &[Role::Priority, Role::Select]),
            "dataset" => (Node::Dataset, &[Role::Select]),
            _ => return None,
        };
        if roles.contains(&self.role) {
            if name == "today" && !matches!(self.role, Role::Bound | Role::Since) && self.names.zone().is_none() {
                let message = "`today` needs a zone, and nothing here has one".to_string();
                let hint = "use `now`, or give a calendar or a typed column of this dataset a `zone:`";
                self.errors.push(error(word, message, Some(hint.into())));
            }
            return Some(node);
        }
        // Elsewhere the word is free for a column.
        if self.names.resolve(name).is_ok_and(|found| found.var.is_some()) {
            return None;
        }
        let hint = match name {
            "now" | "today" => "what belongs to a dataset must not change with the time of day; use `due` or `priority` for that",
            "due" => "`due` is known in `expires` and `fresh`; in `priority`, `overdue` is now − due",
            _ => "`overdue` and `reason` are known in `priority`",
        };
        self.errors.push(error(word, format!("`{name}` cannot be used in {}", self.role.words()), Some(hint.into())));
        Some(node)
    }

    fn time_call(&mut self, word: &Word) -> Parsed {
        let node = match self.words.get(self.at) {
            Some(Word { token: Token::Text(text), .. }) => {
                let inner = &self.words[self.at];
                self.at += 1;
                self.time(text, inner)
            }
            _ => return Err(self.expected_here("a quoted time: `time(\"2024-10-01\")`", None)),
        };
        if !self.take_symbol(")") {
            return Err(self.expected_here("`)`", None));
        }
        Ok(Part { node, offset: word.offset, length: self.behind() - word.offset })
    }

    fn time(&mut self, text: &str, word: &Word) -> Node {
        let read = match self.role {
            Role::Bound => time::read_civil(text),
            Role::Since => time::read(text, Some(self.names.zone().unwrap_or(&TimeZone::UTC))),
            _ => time::read(text, self.names.zone()),
        };
        match read {
            Ok((time, fineness)) => Node::Time(time, fineness),
            Err((message, hint)) => {
                self.errors.push(error(word, message, hint));
                Node::Time(jiff::Timestamp::UNIX_EPOCH, Fineness::Day)
            }
        }
    }

    /// `a`, `` `a` ``, `a.b` and every mixture of them; the first word was taken.
    fn name(&mut self, first: &Word) -> Parsed {
        let mut name = spelled(first).unwrap_or_default().to_string();
        if self.take_symbol(".") {
            let Some(second) = self.words.get(self.at).and_then(spelled) else {
                return Err(self.expected_here("a column's name behind `.`", None));
            };
            name = format!("{name}.{second}");
            self.at += 1;
        }
        let (offset, length) = (first.offset, self.behind() - first.offset);
        self.vars.push(Var { name, offset, length });
        Ok(Part { node: Node::Var(self.vars.len() - 1), offset, length })
    }

    fn deeper(&mut self, next: fn(&mut Self) -> Parsed) -> Parsed {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.expected_here("fewer parentheses", Some("an expression is nested at most 64 deep")));
        }
        let part = next(self)?;
        self.depth -= 1;
        Ok(part)
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let taken = matches!(self.words.get(self.at), Some(Word { token: Token::Word(word), .. }) if word == keyword);
        self.at += usize::from(taken);
        taken
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.words.get(self.at), Some(Word { token: Token::Symbol(found), .. }) if *found == symbol)
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let taken = self.is_symbol(symbol);
        self.at += usize::from(taken);
        taken
    }

    fn here(&self) -> usize {
        self.words.get(self.at).map_or(self.end, |word| word.offset)
    }

    /// End of the last word that was taken.
    fn behind(&self) -> usize {
        self.words[self.at - 1].offset + self.words[self.at - 1].length
    }

    fn expected_here(&self, what: &str, hint: Option<&str>) -> LanguageError {
        let (offset, length) = self.words.get(self.at).map_or((self.end, 1), |word| (word.offset, word.length));
        let message = match self.at >= self.words.len() {
            true => format!("expected {what}, but the expression ends"),
            false => format!("expected {what}"),
        };
        LanguageError { offset, length, message, hint: hint.map(String::from) }
    }

    fn unexpected(&self, word: &Word) -> LanguageError {
        match &word.token {
            Token::Symbol(symbol) => error(word, format!("`{symbol}` cannot stand here"), None),
            Token::Word(keyword) if ["in", "is", "and", "or", "not"].contains(&keyword.as_str()) => {
                error(word, format!("`{keyword}` cannot stand here"), Some("use parentheses to say what belongs together".into()))
            }
            _ => error(word, "expected `and`, `or`, an operator or the end".into(), Some("names with blanks go in backticks".into())),
        }
    }
}

fn comparison(token: &Token) -> Option<Comparison> {
    let Token::Symbol(symbol) = token else { return None };
    Some(match *symbol {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn spelled(word: &Word) -> Option<&str> {
    match &word.token {
        Token::Word(name) | Token::Quoted(name) => Some(name),
        _ => None,
    }
}

fn spanned(first: &Part, last: &Part) -> (usize, usize) {
    (first.offset, last.offset + last.length - first.offset)
}

fn error(word: &Word, message: String, hint: Option<String>) -> LanguageError {
    LanguageError { offset: word.offset, length: word.length.max(1), message, hint }
}
