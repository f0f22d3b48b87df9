//! Whether a text is a whole CSV (RFC 4180): records of as many fields as its first one, no quote that is never closed. Lines
//! may end in `\n`, `\r\n` or not at all; empty lines are passed over, and a quote within a bare field is a letter, as most
//! programs take it.

use std::io::{self, Read};

use super::{Problem, Watched};

const CHUNK: usize = 16 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) fn check(file: &mut Watched<'_>) -> Result<(), Problem> {
    let found = records(file);
    let head = file.head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&file.head).trim_ascii_start();
    // A page or a JSON error has lines, too, and each is one field.
    if matches!(head.first(), None | Some(b'<' | b'{')) || head.starts_with(&[0x1f, 0x8b]) {
        return Err(Problem::Begins("CSV".into()));
    }
    found
}

fn records(file: &mut Watched<'_>) -> Result<(), Problem> {
    let mut reader = Records { state: State::Start, line: 1, began: 1, fields: 1, is_empty: true, first: None };
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return reader.end(),
            Ok(read) => chunk[..read].iter().try_for_each(|byte| reader.byte(*byte))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Problem::Inside(error.to_string())),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Of a field.
    Start,
    Bare,
    Quoted,
    /// A quote within a quoted field: its end, or the first of two.
    Quote,
}

struct Records {
    state: State,
    line: u64,
    /// Line of the record's first byte.
    began: u64,
    fields: u64,
    is_empty: bool,
    /// Fields of the first record.
    first: Option<u64>,
}

impl Records {
    fn byte(&mut self, byte: u8) -> Result<(), Problem> {
        self.line += u64::from(byte == b'\n');
        self.state = match (self.state, byte) {
            (State::Quoted, b'"') => State::Quote,
            (State::Quoted, _) => State::Quoted,
            (State::Quote, b'"') => State::Quoted,
            (_, b'\n') => return self.record(),
            (_, 0) => return Err(Problem::Inside(format!("the CSV has a zero byte in line {}", self.line))),
            (_, b',') => {
                self.fields += 1;
                State::Start
            }
            (State::Start, b'"') => State::Quoted,
            (state, b'\r') => state,
            (_, _) => State::Bare,
        };
        self.is_empty &= byte == b'\r';
        Ok(())
    }

    fn record(&mut self) -> Result<(), Problem> {
        if !self.is_empty {
            let expected = *self.first.get_or_insert(self.fields);
            if self.fields != expected {
                let (fields, line) = (self.fields, self.began);
                return Err(Problem::Inside(format!("the CSV has {fields} fields in line {line}, and {expected} in its first")));
            }
        }
        (self.state, self.fields, self.is_empty, self.began) = (State::Start, 1, true, self.line);
        Ok(())
    }

    fn end(mut self) -> Result<(), Problem> {
        if self.state == State::Quoted {
            return Err(Problem::Inside(format!("the CSV ends within quotes that begin in the record of line {}", self.began)));
        }
        self.record()
    }
}
