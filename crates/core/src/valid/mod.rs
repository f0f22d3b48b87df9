//! Is this file what it claims to be? A block page with status 200, half a body and an empty answer all look like
//! success to whoever only asks whether an object exists; here they are told apart from the real thing.
//!
//! Every check reads the file once, in chunks, and holds a few kilobytes at most whatever its size (of a Parquet the last two
//! megabytes, of JSON what its rule names). What it finds is
//! said in words with numbers, because that message is all a person will see of the file.
//!
//! Always true: a rule that accepts a file accepts it whole, however the reads are cut
//! (`verdicts_do_not_depend_on_how_the_reads_are_cut`), and no proper beginning of an accepted JSON or gzip file with
//! brackets or a checksum at its end is accepted (`half_a_file_is_never_valid`).
//!
//! Not done here: deciding what follows from it (an attempt fails, a direct object becomes suspect).

mod csv;
mod json;
mod parquet;
mod text;

use std::borrow::Cow;
use std::io::{self, Read, Write};

use crate::figures::grouped;
use crate::spec::Validity;

/// Variants by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// The file is not what it should be: what was found and what was expected, in words, with its size.
    #[error("{0}")]
    Content(String),
    /// Nothing is known about the content.
    #[error("the file cannot be read")]
    Unreadable(#[source] io::Error),
}

/// Reads the whole file and says whether `rule` holds.
///
/// * `json`: one JSON text in UTF-8 (RFC 8259) and nothing behind it but whitespace; a byte-order mark is passed over.
/// * `json: "$.header.status == 'final'"`: such a text, of which the claim holds.
/// * `csv`: records of as many fields as the first one, of which none ends within quotes.
/// * `parquet`: its magic number at both ends, and a footer of the length that it says, which can be read.
/// * `gzip`: one or more members, each whole, with right checksum and length, and nothing behind the last one.
/// * `starts`: the text begins with these characters. A byte-order mark and whitespace before them are passed over,
///   unless `starts` itself begins with whitespace. `lacks`: these characters occur nowhere, compared byte by byte.
pub fn check(rule: &Validity, reader: &mut dyn Read) -> Result<(), Invalid> {
    let mut file = Watched { inner: reader, head: Vec::with_capacity(HEAD), bytes: 0, failed: None };
    let found = match rule {
        Validity::Json => json::check(None, &mut file),
        Validity::JsonHolds(claim) => json::check(Some(claim), &mut file),
        // A program is asked by whoever can start one.
        Validity::Command(_) => Ok(()),
        Validity::Csv => csv::check(&mut file),
        Validity::Parquet => parquet::check(&mut file),
        Validity::Gzip => gunzip(&mut file),
        Validity::Text { starts, lacks } => text::check(starts.as_deref(), lacks.as_deref(), &mut file),
    };
    let Err(problem) = found else {
        return Ok(());
    };
    if let Some(error) = file.failed.take() {
        return Err(Invalid::Unreadable(error));
    }
    io::copy(&mut file, &mut io::sink()).map_err(Invalid::Unreadable)?;
    Err(Invalid::Content(describe(problem, &file)))
}

/// As [`check`], for a file that adce itself compressed on its way into the lake (`compress: gzip`): the stream must be
/// whole, and the rule must hold for what is inside.
pub fn check_inside_gzip(rule: &Validity, reader: &mut dyn Read) -> Result<(), Invalid> {
    match rule {
        Validity::Gzip => check(rule, reader),
        _ => check(rule, &mut flate2::read::MultiGzDecoder::new(reader)),
    }
}

/// How many bytes are inside a gzip file, as far as it can be unpacked; counting stops at `enough`.
pub fn bytes_inside_gzip(reader: &mut dyn Read, enough: u64) -> io::Result<u64> {
    io::copy(&mut flate2::read::MultiGzDecoder::new(reader).take(enough), &mut io::sink())
}

/// Writes what is inside a gzip file.
pub fn unpack_gzip(reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<u64> {
    io::copy(&mut flate2::read::MultiGzDecoder::new(reader), writer)
}

fn gunzip(file: &mut Watched<'_>) -> Result<(), Problem> {
    let mut inside = flate2::read::MultiGzDecoder::new(&mut *file);
    let unpacked = io::copy(&mut inside, &mut io::sink());
    match unpacked {
        Ok(_) => Ok(()),
        Err(_) if !file.head.starts_with(&[0x1f, 0x8b]) => Err(Problem::Begins("gzip".into())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Problem::Inside("the gzip stream ends early".into())),
        Err(error) => Err(Problem::Inside(format!("the gzip stream is damaged ({error})"))),
    }
}

/// What a check found, before the size of the whole file is known.
enum Problem {
    /// Something else altogether; what was expected instead.
    Begins(Cow<'static, str>),
    /// The right kind of file, but not a whole or correct one.
    Inside(String),
}

fn describe(problem: Problem, file: &Watched<'_>) -> String {
    let bytes = grouped(file.bytes);
    match problem {
        Problem::Begins(expected) if file.bytes == 0 => format!("is empty, expected {expected}"),
        Problem::Begins(expected) => format!("begins with {}, expected {expected}; {bytes} B", shown(&file.head)),
        Problem::Inside(what) => format!("{what}; {bytes} B"),
    }
}

/// The first bytes as a person recognises them: a word or tag of text, or what kind of binary it is.
fn shown(head: &[u8]) -> String {
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    if head.starts_with(&[0x1f, 0x8b]) {
        return "gzip-compressed data".into();
    }
    let text = String::from_utf8_lossy(head);
    let line = text.trim_start().lines().next().unwrap_or_default();
    if line.is_empty() {
        return "nothing but whitespace".into();
    }
    let tag_ends = line.find('>').map(|at| at + 1);
    let visible = line[..tag_ends.unwrap_or(line.len())].chars().take(40);
    let visible: String = visible.map(|shown| if shown.is_control() { char::REPLACEMENT_CHARACTER } else { shown }).collect();
    format!("`{visible}`")
}

/// Bytes kept for the message: more than a person reads, enough to pass over indentation.
const HEAD: usize = 256;

/// Counts what passes and keeps its beginning, for the message; keeps a failure of the file itself apart from what the
/// checks say about its content.
struct Watched<'r> {
    inner: &'r mut dyn Read,
    head: Vec<u8>,
    bytes: u64,
    failed: Option<io::Error>,
}

impl Read for Watched<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(into) {
            Ok(read) => {
                let wanted = HEAD.saturating_sub(self.head.len()).min(read);
                self.head.extend_from_slice(&into[..wanted]);
                self.bytes += read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Gives at most `step` bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let step = self.1.min(into.len()).min(self.0.len());
            into[..step].copy_from_slice(&self.0[..step]);
            self.0 = &self.0[step..];
            Ok(step)
        }
    }

    fn verdict(rule: &Validity, content: &[u8]) -> Result<(), String> {
        check(rule, &mut &*content).map_err(|error| error.to_string())
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    fn claim() -> Validity {
        Validity::JsonHolds(crate::spec::Claim::parse("$.s.n == 4").unwrap())
    }

    /// A footer of version 2, an empty schema, no rows and no row groups, behind nothing.
    fn parquet() -> Vec<u8> {
        let footer = [0x15, 0x04, 0x19, 0x0c, 0x16, 0x00, 0x19, 0x0c, 0x28, 0x03, b'x', b'y', b'z', 0x00];
        [b"PAR1data".as_slice(), &footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat()
    }

    fn text(starts: &str, lacks: &str) -> Validity {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Validity::Text { starts: given(starts), lacks: given(lacks) }
    }

    #[test]
    fn messages_say_what_was_found() {
        let page = "<html><head><title>Access Denied</title></head></html>";
        for (rule, content, message) in [
            (Validity::Json, page.as_bytes(), "begins with `<html>`, expected JSON; 54 B"),
            (Validity::Json, b"", "is empty, expected JSON"),
            (Validity::Json, b" \n\t", "begins with nothing but whitespace, expected JSON; 3 B"),
            (Validity::Json, b"{\"a\": [1, 2", "the JSON ends early, in line 1, column 11; 11 B"),
            (Validity::Json, b"{\"a\": 1,}", "the JSON is wrong in line 1, column 9 (key must be a string); 9 B"),
            (Validity::Json, b"{\"a\": 1}\n<html>", "the JSON is followed by something else in line 2, column 1; 15 B"),
            (Validity::Json, b"[\"\xff\"]", "the JSON is not UTF-8 at byte 2; 5 B"),
            (Validity::Json, &gzip(b"{}"), "begins with gzip-compressed data, expected JSON; 22 B"),
            (Validity::Gzip, page.as_bytes(), "begins with `<html>`, expected gzip; 54 B"),
            (Validity::Gzip, b"", "is empty, expected gzip"),
            (text("<", ""), b"{\"error\": 1}", "begins with `{\"error\": 1}`, expected `<`; 12 B"),
            (text("<", ""), b"", "is empty, expected `<`"),
            (text("", "Access Denied"), page.as_bytes(), "has `Access Denied` at byte 19; 54 B"),
            (claim(), b"{\"s\": {\"n\": 3}}", "`$.s.n == 4` does not hold: `$.s.n` is 3; 15 B"),
            (claim(), b"{\"s\": {\"n\": 4}", "the JSON ends early, in line 1, column 14; 14 B"),
            (claim(), page.as_bytes(), "begins with `<html>`, expected JSON; 54 B"),
            (Validity::Csv, b"a,b\n1,2\n3", "the CSV has 1 fields in line 3, and 2 in its first; 9 B"),
            (Validity::Csv, b"a,b\n1,\"x\ny\"\n\n3,\"4", "the CSV ends within quotes that begin in the record of line 5; 17 B"),
            (Validity::Csv, page.as_bytes(), "begins with `<html>`, expected CSV; 54 B"),
            (Validity::Csv, b"", "is empty, expected CSV"),
            (Validity::Parquet, page.as_bytes(), "begins with `<html>`, expected Parquet; 54 B"),
            (Validity::Parquet, b"PAR1 half", "the Parquet ends early: it has no footer; 9 B"),
            (Validity::Parquet, b"PAR1\x63\x00\x00\x00PAR1", "the Parquet says that its footer has 99 B; 12 B"),
            (Validity::Parquet, b"PAR1junk\x04\x00\x00\x00PAR1", "the Parquet has a footer that cannot be read; 16 B"),
        ] {
            assert_eq!(verdict(&rule, content).unwrap_err(), message);
        }
    }

    #[test]
    fn whole_documents_are_valid() {
        for content in ["{}", " [1, 2.5e3, null, \"\\u00e9 é\"]\r\n", "\u{feff}{\"a\": {\"b\": []}}", "0", "\"text\""] {
            assert_eq!(verdict(&Validity::Json, content.as_bytes()), Ok(()), "{content}");
        }
        assert_eq!(verdict(&claim(), b" {\"s\": {\"x\": [1], \"n\": 4}, \"t\": {}}"), Ok(()));
        for content in ["a", "a,b\r\n1,2\r\n\r\n", "\u{feff}a,\"b \"\"quoted\"\",\nx\"\n5\" pipe,2", "a,b\n,\n\"\",\"\""] {
            assert_eq!(verdict(&Validity::Csv, content.as_bytes()), Ok(()), "{content}");
        }
        assert_eq!(verdict(&Validity::Parquet, &parquet()), Ok(()));
        let long = [b"PAR1".as_slice(), &vec![7; 3 << 20], &parquet()[4..]].concat();
        assert_eq!(verdict(&Validity::Parquet, &long), Ok(()));
        let two_members = [gzip(b"one"), gzip(b"")].concat();
        assert_eq!(verdict(&Validity::Gzip, &two_members), Ok(()));
        assert_eq!(verdict(&text("<?xml", "denied"), b"\xef\xbb\xbf\n  <?xml version='1.0'?>"), Ok(()));
        assert_eq!(verdict(&text("", ""), b""), Ok(()));
    }

    #[test]
    fn grammar_is_not_taken_lightly() {
        for content in
            ["{'a': 1}", "[01]", "[1 2]", "[\"tab\there\"]", "{\"a\"}", "nul", "NaN", "[1]]", "{} {}", "// c\n1", "\u{feff}\u{feff}1"]
        {
            assert!(verdict(&Validity::Json, content.as_bytes()).is_err(), "{content}");
        }
    }

    #[test]
    fn damaged_gzip_is_found_wherever_it_is() {
        let whole = gzip(&(0..20_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        for at in [whole.len() - 1, whole.len() - 6, whole.len() / 2] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            assert!(verdict(&Validity::Gzip, &damaged).is_err(), "byte {at}");
        }
        assert!(verdict(&Validity::Gzip, &[whole.as_slice(), b"<html>"].concat()).is_err());
    }

    #[test]
    fn half_a_file_is_never_valid() {
        let json = b"{\"a\": [1, {\"b\": \"\\u00e9 \xc3\xa9\"}], \"c\": true}";
        let packed = [gzip(b"one"), gzip(b"two")].concat();
        let first_member = gzip(b"one").len();
        for cut in 0..json.len() {
            assert!(verdict(&Validity::Json, &json[..cut]).is_err(), "cut at {cut}");
        }
        let (claimed, parquet) = (b"{\"s\": {\"n\": 4}}", parquet());
        for cut in 0..claimed.len() {
            assert!(verdict(&claim(), &claimed[..cut]).is_err(), "cut at {cut}");
        }
        for cut in 0..parquet.len() {
            assert!(verdict(&Validity::Parquet, &parquet[..cut]).is_err(), "cut at {cut}");
        }
        for cut in (0..packed.len()).filter(|&cut| cut != first_member) {
            assert!(verdict(&Validity::Gzip, &packed[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn verdicts_do_not_depend_on_how_the_reads_are_cut() {
        let long_word = text("", "aab");
        let spread = [vec![b'a'; 9_000], b"aab".to_vec(), vec![b'c'; 9_000]].concat();
        for (rule, content) in [
            (Validity::Json, "[\"é€𝄞\", 1, true]".as_bytes().to_vec()),
            (Validity::Json, b"[\"\xe2\x82\"]".to_vec()),
            (Validity::Json, b"\"\xf0\x9d\x84".to_vec()),
            (Validity::Gzip, [gzip(b"one"), gzip(b"two")].concat()),
            (text("<html", "Access Denied"), b"  <html>Access Denie Access Denied".to_vec()),
            (text(" <html", ""), b"\xef\xbb\xbf <html>".to_vec()),
            (long_word, spread),
            (claim(), b"{\"s\": {\"n\": 5}}".to_vec()),
            (Validity::Csv, b"a,\"b\"\"\n\"\n1".to_vec()),
            (Validity::Parquet, parquet()),
        ] {
            let whole = verdict(&rule, &content);
            for step in [1, 2, 3, 5, 4_096] {
                let cut = check(&rule, &mut Dribble(&content, step)).map_err(|error| error.to_string());
                assert_eq!(cut, whole, "{rule:?} in steps of {step}");
            }
        }
    }

    #[test]
    fn nesting_does_not_overflow_the_stack() {
        let deep = [vec![b'['; 300_000], vec![b']'; 300_000]].concat();
        assert_eq!(verdict(&Validity::Json, &deep), Ok(()));
    }

    #[test]
    fn what_adce_compressed_is_checked_inside() {
        let inside = |content: &[u8]| check_inside_gzip(&Validity::Json, &mut &*content).map_err(|error| error.to_string());
        assert_eq!(inside(&gzip(b"{}")), Ok(()));
        assert!(inside(&gzip(b"<html>")).is_err());
        assert!(inside(&gzip(b"{}")[..15]).is_err());
    }

    #[test]
    fn an_unreadable_file_is_not_called_invalid() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("disk on fire"))
            }
        }
        for rule in [Validity::Json, Validity::Gzip, Validity::Csv, Validity::Parquet, claim(), text("<", "")] {
            assert!(matches!(check(&rule, &mut Broken), Err(Invalid::Unreadable(_))), "{rule:?}");
        }
    }
}
