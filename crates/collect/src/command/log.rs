//! The log of an attempt: each line with its time and who said it; all of a short one, head and tail of a long one.
//!
//! ```text
//! 2025-03-09T14:00:04.123Z out fetching 401
//! 2025-03-09T14:00:04.967Z err Traceback (most recent call last):
//! 2025-03-09T14:00:05.001Z adce `box/402` was staged, but is no key of this task (or no plain file)
//! ```
//!
//! A line has the time at which it was whole. What is printed is kept as it came, in the pieces in which it came, and only
//! what is left at the end is taken apart into lines: in a flood nearly nothing is.
//!
//! Always true: head and tail have at most `keep` bytes each, stamps and all, and what is missing between them is counted
//! to the byte (`gigabytes_become_head_tail_and_a_count`).

use std::collections::VecDeque;

use adce_core::time::Timestamp;

/// `2025-03-09T14:00:04.123Z adce `, the longest.
const STAMP_BYTES: usize = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    Out,
    Err,
    Adce,
}

impl Speaker {
    fn word(self) -> &'static str {
        match self {
            Speaker::Out => "out",
            Speaker::Err => "err",
            Speaker::Adce => "adce",
        }
    }
}

pub(crate) struct Log {
    /// Bytes of the head, and as many of the tail.
    keep: usize,
    head: Vec<Piece>,
    head_bytes: usize,
    head_is_full: bool,
    tail: VecDeque<Piece>,
    tail_bytes: usize,
    /// Of all that was ever said.
    total: u64,
}

/// Some lines, or a part of a long one.
struct Piece {
    at: Timestamp,
    by: Speaker,
    text: Vec<u8>,
    /// In the log, with stamps.
    bytes: usize,
}

impl Piece {
    fn new(at: Timestamp, by: Speaker, text: &[u8]) -> Self {
        Piece { at, by, text: text.to_vec(), bytes: bytes_in_log(text) }
    }

    fn write(&self, log: &mut Vec<u8>) {
        let stamp = format!("{} {} ", self.at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"), self.by.word());
        for line in self.text.split_inclusive(|byte| *byte == b'\n') {
            log.extend_from_slice(stamp.as_bytes());
            log.extend_from_slice(line);
        }
        if !self.text.is_empty() && !self.text.ends_with(b"\n") {
            log.push(b'\n');
        }
    }
}

fn bytes_in_log(text: &[u8]) -> usize {
    let ends = memchr::memchr_iter(b'\n', text).count();
    let unfinished = usize::from(!text.is_empty() && !text.ends_with(b"\n"));
    text.len() + unfinished + (ends + unfinished) * STAMP_BYTES
}

impl Log {
    pub(crate) fn keeping(keep: usize) -> Self {
        let (head, tail) = (Vec::new(), VecDeque::new());
        Log { keep, head, head_bytes: 0, head_is_full: false, tail, tail_bytes: 0, total: 0 }
    }

    pub(crate) fn push(&mut self, at: Timestamp, by: Speaker, text: &[u8]) {
        self.total += text.len() as u64;
        let into_head = if self.head_is_full { 0 } else { self.fits_into_head(text) };
        if into_head > 0 {
            let piece = Piece::new(at, by, &text[..into_head]);
            self.head_bytes += piece.bytes;
            self.head.push(piece);
        }
        let rest = &text[into_head..];
        if rest.is_empty() {
            return;
        }
        self.head_is_full = true;
        let piece = Piece::new(at, by, &rest[rest.len().saturating_sub(self.keep)..]);
        self.tail_bytes += piece.bytes;
        self.tail.push_back(piece);
        while let Some(first) = self.tail.front().map(|piece| piece.bytes).filter(|first| self.tail_bytes - first >= self.keep) {
            self.tail_bytes -= first;
            self.tail.pop_front();
        }
    }

    /// Bytes of whole lines; of a line that alone is too long, its beginning.
    fn fits_into_head(&self, text: &[u8]) -> usize {
        let room = self.keep - self.head_bytes;
        if bytes_in_log(text) <= room {
            return text.len();
        }
        let (mut fits, mut bytes) = (0, 0);
        for end in memchr::memchr_iter(b'\n', text) {
            bytes += end + 1 - fits + STAMP_BYTES;
            if bytes > room {
                break;
            }
            fits = end + 1;
        }
        match (fits, self.head.is_empty()) {
            (0, true) => room.saturating_sub(STAMP_BYTES + 1).min(text.len()),
            (fits, _) => fits,
        }
    }

    /// `None`: nothing was said at all.
    pub(crate) fn text(&self) -> Option<Vec<u8>> {
        if self.total == 0 {
            return None;
        }
        let mut log = Vec::with_capacity(self.head_bytes + self.tail_bytes.min(self.keep));
        self.head.iter().for_each(|piece| piece.write(&mut log));
        let mut tail = self.tail.iter();
        let first = tail.next().map(|first| self.cut(first));
        let kept: usize = self.head.iter().chain(&first).chain(tail.clone()).map(|piece| piece.text.len()).sum();
        let left_out = self.total - kept as u64;
        if let (Some(first), true) = (&first, left_out > 0) {
            let remark = format!("{left_out} bytes of output are left out here\n");
            Piece::new(first.at, Speaker::Adce, remark.as_bytes()).write(&mut log);
        }
        first.iter().chain(tail).for_each(|piece| piece.write(&mut log));
        Some(log)
    }

    /// The end of the first piece of the tail, so that all of the tail is no longer than what is kept.
    fn cut(&self, first: &Piece) -> Piece {
        let room = self.keep - (self.tail_bytes - first.bytes).min(self.keep);
        let (mut from, mut bytes) = (0, first.bytes);
        while bytes > room {
            match memchr::memchr(b'\n', &first.text[from..]) {
                Some(end) if from + end + 1 < first.text.len() => {
                    bytes -= end + 1 + STAMP_BYTES;
                    from += end + 1;
                }
                // One long line: the end of it.
                _ => {
                    from = (first.text.len() - from).min(room.saturating_sub(STAMP_BYTES + 1)).abs_diff(first.text.len());
                    break;
                }
            }
        }
        Piece::new(first.at, first.by, &first.text[from..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_741_528_804_000 + millis).unwrap()
    }

    #[test]
    fn each_line_has_its_time_and_its_speaker() {
        let mut log = Log::keeping(1_000);
        log.push(at(123), Speaker::Out, b"one\ntwo\n");
        log.push(at(967), Speaker::Err, b"\n");
        log.push(at(1_000), Speaker::Adce, b"three");
        let expected = "2025-03-09T14:00:04.123Z out one\n2025-03-09T14:00:04.123Z out two\n2025-03-09T14:00:04.967Z err \n\
                        2025-03-09T14:00:05.000Z adce three\n";
        assert_eq!(String::from_utf8(log.text().unwrap()).unwrap(), expected);
        assert_eq!(Log::keeping(10).text(), None);
    }

    proptest! {
        /// Whole lines, in their order, no more than may be kept, and every byte is there or counted.
        #[test]
        fn what_is_kept_is_bounded_and_what_is_not_is_counted(
            keep in 60_usize..400,
            pieces in prop::collection::vec(prop::collection::vec(0_usize..60, 1..6), 0..30),
        ) {
            let mut log = Log::keeping(keep);
            let mut said = Vec::new();
            for lines in &pieces {
                let mut text = Vec::new();
                for length in lines {
                    let line = format!("{:x<length$}\n", said.len());
                    text.extend_from_slice(line.as_bytes());
                    said.push(line);
                }
                log.push(at(0), Speaker::Out, &text);
            }
            let text = String::from_utf8(log.text().unwrap_or_default()).unwrap();
            let (mut kept, mut left_out, mut last) = (0, 0, None);
            for line in text.lines() {
                let (_, line) = line.split_once("Z ").unwrap();
                if let Some(remark) = line.strip_prefix("adce ") {
                    left_out = remark.split_once(" bytes of output are left out here").unwrap().0.parse().unwrap();
                    continue;
                }
                let line = format!("{}\n", line.strip_prefix("out ").unwrap());
                kept += line.len();
                if let Some(number) = said.iter().position(|said| *said == line) {
                    prop_assert!(last.is_none_or(|last| last < number), "out of order");
                    last = Some(number);
                }
            }
            prop_assert!(text.len() <= 2 * keep + 80, "{} of {keep}", text.len());
            let all: usize = said.iter().map(String::len).sum();
            // Half of a line that is too long has a line end of its own.
            prop_assert!((all..=all + 2).contains(&(kept + left_out)), "{all} {kept} {left_out}");
            prop_assert!(left_out > 0 || kept >= all);
        }
    }
}
