//! Streams a body into a file that is there whole or not at all.
//!
//! The disk is written in large pieces, on the attempt's own thread, which may block. A landing that is dropped before
//! [`Landing::finish`] removes its file: half a body looks like a small item.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use adce_core::spec::Compression;
use flate2::write::GzEncoder;

/// Bytes that wait in memory before the disk is bothered.
const PIECE_BYTES: usize = 512 << 10;

pub(crate) struct Landing {
    path: PathBuf,
    compress: Option<Compression>,
    /// Made with the first piece.
    file: Option<Writer>,
    waiting: Vec<u8>,
    is_whole: bool,
}

enum Writer {
    AsSent(File),
    Gzip(GzEncoder<File>),
}

impl Landing {
    pub(crate) fn at(path: &Path, compress: Option<Compression>) -> Self {
        Landing { path: path.to_owned(), compress, file: None, waiting: Vec::new(), is_whole: false }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(chunk);
        if self.waiting.len() >= PIECE_BYTES {
            self.file = Some(self.written()?);
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.written()?.end()?;
        self.is_whole = true;
        Ok(())
    }

    /// The file, with everything in it that has come so far.
    fn written(&mut self) -> io::Result<Writer> {
        let mut writer = match self.file.take() {
            Some(writer) => writer,
            None => Writer::create(&self.path, self.compress)?,
        };
        writer.write(&self.waiting)?;
        self.waiting.clear();
        Ok(writer)
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.is_whole {
            // There is none if nothing was written yet.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Writer {
    fn create(path: &Path, compress: Option<Compression>) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(match compress {
            None => Writer::AsSent(file),
            Some(Compression::Gzip) => Writer::Gzip(GzEncoder::new(file, flate2::Compression::default())),
        })
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        match self {
            Writer::AsSent(file) => file.write_all(piece),
            Writer::Gzip(encoder) => encoder.write_all(piece),
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Writer::AsSent(_) => Ok(()),
            Writer::Gzip(encoder) => encoder.finish().map(drop),
        }
    }
}
