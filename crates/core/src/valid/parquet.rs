//! Whether a file is a whole Parquet: `PAR1` at both ends, and between the data and the last eight bytes a footer of the length
//! that they say, which is one Thrift structure with a version, a schema, a number of rows and row groups.
//!
//! Pages are not read: they have checksums of their own, if any, and half a file has no footer.

use std::io::{self, Read};

use super::{Problem, Watched};

const MAGIC: &[u8; 4] = b"PAR1";
/// Of a file whose footer is encrypted: nobody can look into it.
const ENCRYPTED: &[u8; 4] = b"PARE";
/// What is kept of a file's end: footers of thousands of columns and row groups. Of a longer one only its length is checked.
const TAIL: usize = 1 << 20;
const CHUNK: usize = 64 * 1024;

pub(super) fn check(file: &mut Watched<'_>) -> Result<(), Problem> {
    let mut tail: Vec<u8> = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => tail.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Problem::Inside(error.to_string())),
        }
        if tail.len() > 2 * TAIL {
            tail.drain(..tail.len() - TAIL);
        }
    }
    let magic = file.head.get(..4).unwrap_or(&file.head);
    if magic != MAGIC && magic != ENCRYPTED {
        return Err(Problem::Begins("Parquet".into()));
    }
    let early = || Problem::Inside("the Parquet ends early: it has no footer".into());
    let (before, end) = tail.split_at_checked(tail.len().wrapping_sub(8)).ok_or_else(early)?;
    let length = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    if &end[4..] != magic {
        return Err(early());
    }
    // The magic number, at least nothing, the footer, its length, the magic number.
    if length + 12 > file.bytes || length == 0 {
        return Err(Problem::Inside(format!("the Parquet says that its footer has {length} B")));
    }
    if magic == ENCRYPTED || length > before.len() as u64 {
        return Ok(());
    }
    let footer = &before[before.len() - length as usize..];
    let footer = Thrift { bytes: footer, depth: 0 };
    match footer.fields() {
        Some((fields, [])) if [1, 2, 3, 4].iter().all(|field| fields.contains(field)) => Ok(()),
        _ => Err(Problem::Inside("the Parquet has a footer that cannot be read".into())),
    }
}

/// The compact protocol of Thrift, passed over without being understood.
struct Thrift<'a> {
    bytes: &'a [u8],
    depth: u8,
}

impl<'a> Thrift<'a> {
    /// The structure's fields by number, and what is behind it. `None`: it is none.
    fn fields(mut self) -> Option<(Vec<i64>, &'a [u8])> {
        let found = self.structure()?;
        Some((found, self.bytes))
    }

    fn structure(&mut self) -> Option<Vec<i64>> {
        // A schema is a list, so nothing of a footer nests deep.
        self.depth = self.depth.checked_add(1).filter(|depth| *depth < 32)?;
        let (mut fields, mut last) = (Vec::new(), 0i64);
        loop {
            let header = self.byte()?;
            if header == 0 {
                break;
            }
            let number = match header >> 4 {
                0 => {
                    let zigzag = self.varint()? as i64;
                    (zigzag >> 1) ^ -(zigzag & 1)
                }
                step => last.checked_add(i64::from(step))?,
            };
            self.value(header & 15, false)?;
            fields.push(number);
            last = number;
        }
        self.depth -= 1;
        Some(fields)
    }

    fn value(&mut self, kind: u8, in_list: bool) -> Option<()> {
        match kind {
            // True and false; in a list each takes a byte.
            1 | 2 if in_list => self.byte().map(drop),
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            9 | 10 => {
                let header = self.byte()?;
                let count = if header >> 4 == 15 { self.varint()? } else { u64::from(header >> 4) };
                self.elements(count, |thrift| thrift.value(header & 15, true))
            }
            11 => {
                let count = self.varint()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                self.elements(count, |thrift| thrift.value(kinds >> 4, true).and_then(|()| thrift.value(kinds & 15, true)))
            }
            12 => self.structure().map(drop),
            _ => None,
        }
    }

    fn elements(&mut self, count: u64, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        // Each takes a byte at least: a damaged count ends with the footer.
        (0..count).try_for_each(|_| one(self))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, length: u64) -> Option<()> {
        self.bytes = self.bytes.get(usize::try_from(length).ok()?..)?;
        Some(())
    }
}
