//! Keeps what a command prints: all of a short output, head and tail of a long one.
//!
//! A child whose pipe is full stops working, and one that prints gigabytes must not fill a disk. So everything is read
//! as fast as it comes, and of the middle only its size is kept.
//!
//! Always true: memory is bounded whatever is printed (`gigabytes_become_head_tail_and_a_count`); output that is no
//! text and lines without an end are log like any other (`lines_of_any_length_and_bytes_of_any_kind_are_log`).

use crate::command::contract::{Heard, MARK, Words, shortened};
use crate::redact::Redactor;

/// Longer lines cannot be ours; they are logged in pieces.
const LONGEST_LINE_BYTES: usize = 256 << 10;
const LONGEST_LAST_LINE_BYTES: usize = 400;

/// The words and the log of one attempt.
pub(crate) struct Output {
    pub(crate) words: Words,
    redactor: Redactor,
    log: HeadTail,
    stdout: Stream,
    stderr: Stream,
    /// Bytes that came by the pipes.
    pub(crate) fed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Stdout,
    Stderr,
}

/// One pipe's unfinished line.
#[derive(Default)]
struct Stream {
    partial: Vec<u8>,
    /// The beginning of this line is in the log already.
    in_long_line: bool,
    /// For the message of a failure: a traceback's last line says most.
    last_line: Vec<u8>,
}

impl Output {
    /// `keep`: so many bytes of the beginning, and as many of the end.
    pub(crate) fn new(words: Words, redactor: Redactor, keep: usize) -> Self {
        Output { words, redactor, log: HeadTail::new(keep), stdout: Stream::default(), stderr: Stream::default(), fed: 0 }
    }

    pub(crate) fn feed(&mut self, from: From, chunk: &[u8]) {
        self.fed += chunk.len() as u64;
        let mut stream = std::mem::take(self.stream(from));
        match memchr::memrchr(b'\n', chunk) {
            Some(end) => {
                let (lines, rest) = chunk.split_at(end + 1);
                self.lines(from, &mut stream, lines);
                stream.partial.extend_from_slice(rest);
            }
            None => stream.partial.extend_from_slice(chunk),
        }
        if stream.partial.len() > LONGEST_LINE_BYTES {
            let cut = self.redactor.safe_cut(&stream.partial);
            self.record(&stream.partial[..cut]);
            stream.partial.drain(..cut);
            stream.in_long_line = true;
        }
        *self.stream(from) = stream;
    }

    /// `chunk` ends with a line end.
    fn lines(&mut self, from: From, stream: &mut Stream, chunk: &[u8]) {
        let mut rest = chunk;
        if !stream.partial.is_empty() || stream.in_long_line {
            let first_end = memchr::memchr(b'\n', chunk).map_or(chunk.len(), |at| at + 1);
            stream.partial.extend_from_slice(&chunk[..first_end]);
            let line = std::mem::take(&mut stream.partial);
            match std::mem::take(&mut stream.in_long_line) {
                true => self.record(&line),
                false => self.whole_lines(from, &line),
            }
            rest = &chunk[first_end..];
            self.remember_last_line(stream, &line);
        }
        self.whole_lines(from, rest);
        self.remember_last_line(stream, rest);
    }

    /// Blocks without our mark, nearly all of a flood, are never looked at line by line.
    fn whole_lines(&mut self, from: From, block: &[u8]) {
        let mut rest = block;
        while let Some(mark) = mark_in(from, rest) {
            let start = memchr::memrchr(b'\n', &rest[..mark]).map_or(0, |at| at + 1);
            let end = memchr::memchr(b'\n', &rest[mark..]).map_or(rest.len(), |at| mark + at + 1);
            self.record(&rest[..start]);
            self.marked_line(&rest[start..end]);
            rest = &rest[end..];
        }
        self.record(rest);
    }

    fn marked_line(&mut self, line: &[u8]) {
        match self.words.hear(line) {
            Heard::Understood => {}
            Heard::Log => self.record(line),
            Heard::Complaint(why) => {
                self.record(line);
                self.complain(&why);
            }
        }
    }

    /// A remark of adce's own, in the log where it belongs.
    pub(crate) fn complain(&mut self, text: &str) {
        self.record(format!("[adce] {}\n", shortened(text, 2_000)).as_bytes());
    }

    fn record(&mut self, text: &[u8]) {
        if !text.is_empty() {
            self.log.push(&self.redactor.bytes(text));
        }
    }

    /// Both pipes have ended: what stands after the last line end counts too.
    pub(crate) fn finish(&mut self) {
        for from in [From::Stdout, From::Stderr] {
            let unfinished = !self.stream(from).partial.is_empty();
            if unfinished {
                self.feed(from, b"\n");
                // Nobody printed it.
                self.fed -= 1;
            }
        }
    }

    /// Redacted before it is cut, so that no half of a secret stays.
    fn remember_last_line(&self, stream: &mut Stream, lines: &[u8]) {
        let mut end = lines.len();
        while end > 0 {
            let start = memchr::memrchr(b'\n', &lines[..end - 1]).map_or(0, |at| at + 1);
            let line = lines[start..end].trim_ascii();
            if !line.is_empty() && !line.starts_with(b"{\"adce\"") {
                let line = self.redactor.bytes(line);
                stream.last_line = line[..line.len().min(LONGEST_LAST_LINE_BYTES)].to_vec();
                return;
            }
            end = start;
        }
    }

    /// The last line that says something: of stderr, else of stdout. Without secrets.
    pub(crate) fn last_line(&self) -> Option<String> {
        let line = [&self.stderr, &self.stdout].into_iter().map(|stream| &stream.last_line).find(|line| !line.is_empty())?;
        Some(String::from_utf8_lossy(line).into_owned())
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        self.redactor.text(text)
    }

    /// `None`: nothing was said at all.
    pub(crate) fn log(&self) -> Option<Vec<u8>> {
        (self.log.total > 0).then(|| self.log.text())
    }

    fn stream(&mut self, from: From) -> &mut Stream {
        match from {
            From::Stdout => &mut self.stdout,
            From::Stderr => &mut self.stderr,
        }
    }
}

/// Only standard output speaks to us.
fn mark_in(from: From, block: &[u8]) -> Option<usize> {
    match from {
        From::Stdout => memchr::memmem::find(block, MARK),
        From::Stderr => None,
    }
}

/// The first and the last bytes of a text, and how many there were.
struct HeadTail {
    keep: usize,
    head: Vec<u8>,
    /// A ring once it is full; `next` is where the next byte goes.
    tail: Vec<u8>,
    next: usize,
    total: u64,
}

impl HeadTail {
    fn new(keep: usize) -> Self {
        HeadTail { keep, head: Vec::new(), tail: Vec::new(), next: 0, total: 0 }
    }

    fn push(&mut self, text: &[u8]) {
        self.total += text.len() as u64;
        let into_head = text.len().min(self.keep - self.head.len());
        self.head.extend_from_slice(&text[..into_head]);
        let rest = &text[into_head..];
        self.push_tail(&rest[rest.len().saturating_sub(self.keep)..]);
    }

    fn push_tail(&mut self, mut text: &[u8]) {
        let growing = text.len().min(self.keep - self.tail.len());
        self.tail.extend_from_slice(&text[..growing]);
        text = &text[growing..];
        while !text.is_empty() {
            let piece = text.len().min(self.keep - self.next);
            self.tail[self.next..self.next + piece].copy_from_slice(&text[..piece]);
            self.next = (self.next + piece) % self.keep;
            text = &text[piece..];
        }
    }

    fn text(&self) -> Vec<u8> {
        let mut text = self.head.clone();
        let left_out = self.total - self.head.len() as u64 - self.tail.len() as u64;
        if left_out > 0 {
            text.extend_from_slice(format!("\n[adce] {left_out} bytes of output are left out here\n").as_bytes());
        }
        text.extend_from_slice(&self.tail[self.next..]);
        text.extend_from_slice(&self.tail[..self.next]);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::contract::Claim;

    const KEEP: usize = 100;

    fn output(secrets: &[&str]) -> Output {
        let secrets: Vec<String> = secrets.iter().map(|secret| secret.to_string()).collect();
        Output::new(Words::on(["k"]), Redactor::of(&secrets), KEEP)
    }

    fn log(output: &Output) -> String {
        String::from_utf8_lossy(&output.log().unwrap_or_default()).into_owned()
    }

    #[test]
    fn a_word_is_heard_however_the_pipe_cuts_it() {
        let text = b"hello\n{\"adce\":1,\"key\":\"k\",\"outcome\":\"absent\"}\nbye";
        for piece in 1..=text.len() {
            let mut output = output(&[]);
            text.chunks(piece).for_each(|chunk| output.feed(From::Stdout, chunk));
            output.finish();
            assert_eq!(output.words.about(0).map(|word| word.outcome), Some(Claim::Absent), "in pieces of {piece}");
            assert_eq!(log(&output), "hello\nbye\n");
            assert_eq!(output.last_line().as_deref(), Some("bye"));
        }
    }

    #[test]
    fn words_on_stderr_are_log() {
        let mut output = output(&[]);
        output.feed(From::Stderr, b"{\"adce\":1,\"key\":\"k\",\"outcome\":\"done\"}\n");
        assert_eq!(output.words.about(0), None);
        assert!(log(&output).contains("done"));
    }

    #[test]
    fn gigabytes_become_head_tail_and_a_count() {
        let mut output = output(&[]);
        let line = b"0123456789abcdef\n";
        for _ in 0..10_000 {
            output.feed(From::Stdout, line);
        }
        let log = log(&output);
        assert!(log.starts_with("0123456789abcdef\n") && log.ends_with("cdef\n0123456789abcdef\n"), "{log}");
        let left_out = 10_000 * line.len() - 2 * KEEP;
        assert!(log.contains(&format!("[adce] {left_out} bytes of output are left out here")), "{log}");
        assert!(log.len() < 2 * KEEP + 80);
    }

    #[test]
    fn lines_of_any_length_and_bytes_of_any_kind_are_log() {
        let mut output = output(&["secret"]);
        output.feed(From::Stdout, b"\xff\xfe");
        for _ in 0..(3 * LONGEST_LINE_BYTES / 5) {
            output.feed(From::Stdout, b"xxxxx");
        }
        output.feed(From::Stdout, b"secr");
        output.feed(From::Stdout, b"et{\"adce\":1,\"key\":\"k\",\"outcome\":\"done\"}\nend");
        output.finish();
        assert_eq!(output.words.about(0), None, "the rest of a long line is not a line");
        assert!(output.log.total > 3 * LONGEST_LINE_BYTES as u64);
        let log = output.log().unwrap();
        assert!(log.starts_with(b"\xff\xfexxx"));
        assert!(log.ends_with(b"[redacted]{\"adce\":1,\"key\":\"k\",\"outcome\":\"done\"}\nend\n"));
    }

    #[test]
    fn secrets_never_reach_the_log_or_the_last_line() {
        let mut output = output(&["hunter2"]);
        output.feed(From::Stderr, b"GET /?token=hun");
        output.feed(From::Stderr, b"ter2 failed\n");
        assert_eq!(log(&output), "GET /?token=[redacted] failed\n");
        assert_eq!(output.last_line().as_deref(), Some("GET /?token=[redacted] failed"));
    }

    #[test]
    fn a_line_that_cannot_be_used_is_logged_with_the_reason() {
        let mut output = output(&[]);
        output.feed(From::Stdout, b"{\"adce\":1,\"key\":\"other\",\"outcome\":\"done\"}\n");
        assert!(log(&output).contains("[adce] ignored an outcome for `other`"));
    }
}
