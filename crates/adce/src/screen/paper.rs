//! Standard output: buffered, as wide as the terminal, and content when the reader has seen enough (`adce gaps | head`).

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use console::Term;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;

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
