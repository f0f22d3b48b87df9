//! Listens to what a command prints: words for adce, and the log.
//!
//! A child whose pipe is full stops working, and one that prints gigabytes must not fill a disk. So everything is read
//! as fast as it comes, and the log keeps its head and its tail.
//!
//! Always true: memory is bounded whatever is printed (`gigabytes_become_head_tail_and_a_count`); output that is no
//! text and lines without an end are log like any other (`lines_of_any_length_and_bytes_of_any_kind_are_log`).

use std::sync::Arc;

use adce_core::figures::counted;
use adce_core::ports::Clock;

use crate::command::contract::{Heard, MARK, Words, shortened};
use crate::command::log::{Log, Speaker};
use crate::redact::Redactor;

/// Longer lines cannot be ours; they are logged in pieces.
const LONGEST_LINE_BYTES: usize = 256 << 10;
const LONGEST_LAST_LINE_BYTES: usize = 400;

/// The words and the log of one attempt.
pub(crate) struct Output {
    pub(crate) words: Words,
    redactor: Redactor,
    log: Log,
    clock: Arc<dyn Clock>,
    stdout: Stream,
    stderr: Stream,
    /// Bytes that came by the pipes.
    pub(crate) fed: u64,
    /// Lines that were meant for adce: what is wrong with the first of them, and how many there were.
    misunderstood: Option<(String, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Stdout,
    Stderr,
}

impl From {
    fn speaker(self) -> Speaker {
        match self {
            From::Stdout => Speaker::Out,
            From::Stderr => Speaker::Err,
        }
    }
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
    pub(crate) fn new(words: Words, redactor: Redactor, keep: usize, clock: Arc<dyn Clock>) -> Self {
        let (stdout, stderr) = (Stream::default(), Stream::default());
        Output { words, redactor, log: Log::keeping(keep), clock, stdout, stderr, fed: 0, misunderstood: None }
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
            self.record(from.speaker(), &stream.partial[..cut]);
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
                true => self.record(from.speaker(), &line),
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
            self.record(from.speaker(), &rest[..start]);
            self.marked_line(from, &rest[start..end]);
            rest = &rest[end..];
        }
        self.record(from.speaker(), rest);
    }

    fn marked_line(&mut self, from: From, line: &[u8]) {
        match self.words.hear(line) {
            Heard::Understood => {}
            Heard::Log => self.record(from.speaker(), line),
            Heard::Complaint(why) => {
                self.record(from.speaker(), line);
                self.complain(&why);
                self.misunderstood.get_or_insert((why, 0)).1 += 1;
            }
        }
    }

    /// A remark of adce's own, in the log where it belongs.
    pub(crate) fn complain(&mut self, text: &str) {
        // It may hold a text of many lines: a log has one line for it.
        let text = shortened(text, 2_000).replace('\n', " ");
        self.record(Speaker::Adce, format!("{text}\n").as_bytes());
    }

    fn record(&mut self, by: Speaker, text: &[u8]) {
        if !text.is_empty() {
            self.log.push(self.clock.now().wall, by, &self.redactor.bytes(text));
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

    /// The last line that says something: of stderr, else of stdout. Without secrets, and without what would move the cursor
    /// of whoever reads it.
    pub(crate) fn last_line(&self) -> Option<String> {
        let readable = |stream: &Stream| readable(&String::from_utf8_lossy(&stream.last_line)).trim().to_owned();
        [&self.stderr, &self.stdout].into_iter().map(readable).find(|line| !line.is_empty())
    }

    /// What was said to adce and meant nothing to it; `None`: nothing was.
    pub(crate) fn misunderstood(&self) -> Option<String> {
        let (first, lines) = self.misunderstood.as_ref()?;
        let first = self.redact(&shortened(first, 200).replace('\n', " "));
        Some(if *lines == 1 { first } else { format!("{first}, and {} like it", counted(lines - 1, "line")) })
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        self.redactor.text(text)
    }

    /// `None`: nothing was said at all.
    pub(crate) fn log(&self) -> Option<Vec<u8>> {
        self.log.text()
    }

    fn stream(&mut self, from: From) -> &mut Stream {
        match from {
            From::Stdout => &mut self.stdout,
            From::Stderr => &mut self.stderr,
        }
    }
}

/// On one line, and without what would move the cursor of whoever reads it.
pub(crate) fn readable(text: &str) -> String {
    let spaced = text.chars().map(|letter| if matches!(letter, '\n' | '\r' | '\t') { ' ' } else { letter });
    spaced.filter(|letter| !letter.is_control()).collect()
}

/// Only standard output speaks to us.
fn mark_in(from: From, block: &[u8]) -> Option<usize> {
    match from {
        From::Stdout => memchr::memmem::find(block, MARK),
        From::Stderr => None,
    }
}

#[cfg(test)]
mod tests {
    use adce_core::time::{BootId, Boottime, Now, Timestamp};

    use super::*;
    use crate::command::contract::Claim;

    const KEEP: usize = 300;

    fn output(secrets: &[&str]) -> Output {
        let secrets: Vec<String> = secrets.iter().map(|secret| secret.to_string()).collect();
        Output::new(Words::on(["k"]), Redactor::of(&secrets), KEEP, Arc::new(StandsStill))
    }

    struct StandsStill;

    #[async_trait::async_trait]
    impl Clock for StandsStill {
        fn now(&self) -> Now {
            Now { wall: Timestamp::UNIX_EPOCH, boot: Boottime::default() }
        }

        fn boot_id(&self) -> BootId {
            BootId("none".into())
        }

        async fn sleep_until(&self, _until: Boottime) {
            std::future::pending().await
        }
    }

    /// Without the time, which every line has.
    fn log(output: &Output) -> String {
        let text = output.log().unwrap_or_default();
        let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_prefix(b"1970-01-01T00:00:00.000Z ").unwrap());
        lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn a_word_is_heard_however_the_pipe_cuts_it() {
        let text = b"hello\n{\"adce\":1,\"key\":\"k\",\"outcome\":\"absent\"}\nbye";
        for piece in 1..=text.len() {
            let mut output = output(&[]);
            text.chunks(piece).for_each(|chunk| output.feed(From::Stdout, chunk));
            output.finish();
            assert_eq!(output.words.about(0).map(|word| word.outcome), Some(Claim::Absent), "in pieces of {piece}");
            assert_eq!(log(&output), "out hello\nout bye\n");
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
        assert!(log.starts_with("out 0123456789abcdef\n") && log.ends_with("cdef\nout 0123456789abcdef\n"), "{log}");
        let kept = log.matches("out 0123456789abcdef\n").count();
        assert_eq!(kept, 2 * (KEEP / (line.len() + 30)), "head and tail are as full as whole lines make them");
        assert!(log.contains(&format!("adce {} bytes of output are left out here\n", (10_000 - kept) * line.len())), "{log}");
        assert!(output.log().unwrap().len() < 2 * KEEP + 80);
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
        let raw = output.log().unwrap();
        assert!(raw.starts_with(b"1970-01-01T00:00:00.000Z out \xff\xfexxx"));
        let log = log(&output);
        assert!(log.ends_with("[redacted]{\"adce\":1,\"key\":\"k\",\"outcome\":\"done\"}\nout end\n"), "{log}");
        let left_out: usize = log.split_once("adce ").unwrap().1.split_once(' ').unwrap().0.parse().unwrap();
        assert!(left_out > 3 * LONGEST_LINE_BYTES - 2 * KEEP && raw.len() < 2 * KEEP + 80, "{left_out}");
    }

    #[test]
    fn secrets_never_reach_the_log_or_the_last_line() {
        let mut output = output(&["hunter2"]);
        output.feed(From::Stderr, b"GET /?token=hun");
        output.feed(From::Stderr, b"ter2 failed\n");
        assert_eq!(log(&output), "err GET /?token=[redacted] failed\n");
        assert_eq!(output.last_line().as_deref(), Some("GET /?token=[redacted] failed"));
    }

    #[test]
    fn the_last_line_moves_nobodys_cursor() {
        let mut output = output(&[]);
        output.feed(From::Stdout, b"said before\n");
        output.feed(From::Stderr, b"\0\0\0\0\n");
        assert_eq!(output.last_line().as_deref(), Some("said before"), "what only controls a terminal says nothing");
        output.feed(From::Stderr, b"\x1b[2Jgone\x07\n");
        assert_eq!(output.last_line().as_deref(), Some("[2Jgone"));
    }

    #[test]
    fn a_line_that_cannot_be_used_is_logged_with_the_reason() {
        let mut output = output(&[]);
        output.feed(From::Stdout, b"{\"adce\":1,\"key\":\"other\",\"outcome\":\"done\"}\n");
        assert!(log(&output).contains("}\nadce ignored an outcome for `other`"));
    }
}
