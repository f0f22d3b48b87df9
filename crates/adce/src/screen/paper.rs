//! What a person or a program reads of a command. Content when the reader has seen enough (`adce gaps | head`): what was to
//! be done is done, and the exit code says how it went (`a_reader_who_has_seen_enough_changes_no_exit_code`).

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;

/// A line on standard output.
macro_rules! say {
    ($($words:tt)*) => { $crate::screen::say_line(format_args!($($words)*)) };
}

/// A line on standard error.
macro_rules! say_aside {
    ($($words:tt)*) => { $crate::screen::say_line_aside(format_args!($($words)*)) };
}

/// Something that was to stand on standard output does not, because it could not be written.
static SOMETHING_IS_UNSAID: AtomicBool = AtomicBool::new(false);

pub fn say_line(words: fmt::Arguments<'_>) {
    if let Err(failure) = heard(writeln!(io::stdout(), "{words}"))
        && !SOMETHING_IS_UNSAID.swap(true, Ordering::Relaxed)
    {
        say_aside!("error: standard output cannot be written: {failure}");
    }
}

pub fn say_line_aside(words: fmt::Arguments<'_>) {
    // If nobody hears this, nobody would hear of that.
    let _ = writeln!(io::stderr(), "{words}");
}

/// A full disk, not a reader who has seen enough.
pub fn something_is_unsaid() -> bool {
    SOMETHING_IS_UNSAID.load(Ordering::Relaxed)
}

/// Standard output for long texts: buffered, and as wide as the terminal.
pub struct Paper(BufWriter<StdoutLock<'static>>);

impl Paper {
    pub fn stdout() -> Self {
        Paper(BufWriter::with_capacity(64 * 1024, io::stdout().lock()))
    }

    /// Columns of the terminal; `None`: it is none.
    pub fn width(&self) -> Option<usize> {
        let terminal = Term::stdout();
        terminal.is_term().then(|| terminal.size_checked().map(|(_, columns)| usize::from(columns))).flatten()
    }

    /// One JSON text on a line of its own.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.write(|out| {
            serde_json::to_writer(&mut *out, value)?;
            writeln!(out)
        })
    }

    pub fn write(&mut self, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        heard(content(&mut self.0))
    }

    pub fn finish(mut self) -> Result<(), Failure> {
        heard(self.0.flush())
    }
}

fn heard(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::caused(Exit::Unfinished, &error)),
        Ok(()) => Ok(()),
    }
}
