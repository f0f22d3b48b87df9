//! Streams a body into a file that is there whole or not at all.
//!
//! The disk is written off the runtime's threads, in large pieces. A landing that is dropped before
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

    pub(crate) async fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(chunk);
        if self.waiting.len() < PIECE_BYTES {
            return Ok(());
        }
        let (piece, writer, path, compress) = self.take();
        let written = off_the_runtime(move || {
            let mut writer = writer.map_or_else(|| Writer::create(&path, compress), Ok)?;
            writer.write(&piece)?;
            Ok((writer, piece))
        });
        let (writer, mut piece) = written.await?;
        piece.clear();
        self.waiting = piece;
        self.file = Some(writer);
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> io::Result<()> {
        let (piece, writer, path, compress) = self.take();
        let written = off_the_runtime(move || {
            let mut writer = writer.map_or_else(|| Writer::create(&path, compress), Ok)?;
            writer.write(&piece)?;
            writer.end()
        });
        written.await?;
        self.is_whole = true;
        Ok(())
    }

    fn take(&mut self) -> (Vec<u8>, Option<Writer>, PathBuf, Option<Compression>) {
        (std::mem::take(&mut self.waiting), self.file.take(), self.path.clone(), self.compress)
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

/// Runs what may wait for a disk.
pub(crate) async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|why| Err(io::Error::other(why)))
}
