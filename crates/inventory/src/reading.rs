//! A whole report, read on all processors.
//!
//! What is worked on at a time is a file, or a part of one where its format has parts (row groups, stripes); whoever is
//! done takes the next. A report of one CSV file is unpacked by one thread and taken apart by another.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use adce_core::report::{Damaged, Report, ReportHead, Rows};
use flate2::read::MultiGzDecoder;

use crate::csv;
use crate::manifest::{CsvColumns, Format, Manifest};

/// A data file, at hand.
#[derive(Clone, Debug)]
pub(crate) struct LocalFile {
    /// As messages show it.
    pub name: String,
    pub path: PathBuf,
}

impl LocalFile {
    pub fn open(&self) -> Result<File, Damaged> {
        File::open(&self.path).map_err(|error| self.damaged(format!("it cannot be read: {error}")))
    }

    pub fn damaged(&self, what: impl Into<String>) -> Damaged {
        Damaged { file: self.name.clone(), what: what.into() }
    }
}

pub(crate) struct WholeReport {
    head: ReportHead,
    files: Vec<LocalFile>,
    how: How,
}

enum How {
    Csv(CsvColumns),
    #[cfg(feature = "columnar")]
    Orc,
    #[cfg(feature = "columnar")]
    Parquet,
}

impl WholeReport {
    /// `files`: as the manifest names them, in its order.
    pub fn new(name: &str, manifest: &Manifest, files: Vec<LocalFile>) -> Result<WholeReport, Damaged> {
        let (how, tells_modified, tells_etag) = match manifest.format {
            Format::Csv => {
                let columns = CsvColumns::of(&manifest.schema);
                let columns = columns.map_err(|what| Damaged { file: format!("{name}/manifest.json"), what })?;
                (How::Csv(columns), columns.modified.is_some(), columns.etag.is_some())
            }
            #[cfg(feature = "columnar")]
            format => {
                let tells = files.iter().map(|file| match format {
                    Format::Orc => calmly(file, || crate::columnar::orc::tells(file)),
                    _ => calmly(file, || crate::columnar::parquet::tells(file)),
                });
                let tells = tells.collect::<Result<Vec<_>, _>>()?;
                let how = if format == Format::Orc { How::Orc } else { How::Parquet };
                (how, tells.iter().all(|tells| tells.modified), tells.iter().all(|tells| tells.etag))
            }
            #[cfg(not(feature = "columnar"))]
            format => {
                let what = format!("it is in {}, and this adce was built without the feature `columnar`", format.word());
                return Err(Damaged { file: format!("{name}/manifest.json"), what });
            }
        };
        let head = ReportHead {
            name: name.to_owned(),
            created: manifest.created,
            format: manifest.format.word(),
            files: manifest.files.len() as u64,
            bytes: manifest.files.iter().map(|file| file.size).sum(),
            tells_modified,
            tells_etag,
        };
        Ok(WholeReport { head, files, how })
    }
}

impl Report for WholeReport {
    fn head(&self) -> &ReportHead {
        &self.head
    }

    fn read(&self, rows: Rows<'_>) -> Result<(), Damaged> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        match &self.how {
            How::Csv(columns) => {
                // With a file for each core there is nobody to unpack ahead.
                let ahead = self.files.len() < cores;
                each(&self.files, cores, |file| {
                    let unpacked = unpacked(file)?;
                    match ahead {
                        true => thread::scope(|scope| csv::read(&file.name, Ahead::of(unpacked, scope), columns, rows)),
                        false => csv::read(&file.name, unpacked, columns, rows),
                    }
                })
            }
            #[cfg(feature = "columnar")]
            How::Orc => {
                each(&crate::columnar::orc::pieces(&self.files)?, cores, |piece| calmly_told(piece.file(), rows, |rows| piece.read(rows)))
            }
            #[cfg(feature = "columnar")]
            How::Parquet => each(&crate::columnar::parquet::pieces(&self.files)?, cores, |piece| {
                calmly_told(piece.file(), rows, |rows| piece.read(rows))
            }),
        }
    }
}

#[cfg(feature = "columnar")]
const UNSURVIVED: &str = "it is damaged in a way that its reader does not survive";

/// The libraries behind these formats panic at some damage. That is one more file that cannot be read, and no bug of ours.
#[cfg(feature = "columnar")]
fn calmly<T>(file: &LocalFile, read: impl FnOnce() -> Result<T, Damaged>) -> Result<T, Damaged> {
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err(file.damaged(UNSURVIVED)))
}

/// As [`calmly`]; but a panic of whoever hears of rows is just that.
#[cfg(feature = "columnar")]
fn calmly_told(file: &LocalFile, rows: Rows<'_>, read: impl FnOnce(Rows<'_>) -> Result<(), Damaged>) -> Result<(), Damaged> {
    let told = AtomicBool::new(false);
    let telling = |page: &[adce_core::report::ReportRow<'_>]| {
        told.store(true, Ordering::Relaxed);
        rows(page);
        told.store(false, Ordering::Relaxed);
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&telling))) {
        Err(panicked) if told.load(Ordering::Relaxed) => std::panic::resume_unwind(panicked),
        Err(_) => Err(file.damaged(UNSURVIVED)),
        Ok(read) => read,
    }
}

/// AWS packs CSV with gzip; a name that ends otherwise is as it is.
fn unpacked(file: &LocalFile) -> Result<Box<dyn Read + Send>, Damaged> {
    let open = file.open()?;
    Ok(if file.name.ends_with(".gz") {
        Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(256 << 10, open)))
    } else {
        Box::new(open)
    })
}

/// Does all of it on so many threads; the first that fails ends it.
pub(crate) fn each<T: Sync>(pieces: &[T], cores: usize, work: impl Fn(&T) -> Result<(), Damaged> + Sync) -> Result<(), Damaged> {
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failed: Mutex<Option<Damaged>> = Mutex::new(None);
    let worker = || {
        while !over.load(Ordering::Relaxed) {
            let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            if let Err(damaged) = work(piece) {
                over.store(true, Ordering::Relaxed);
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(damaged);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..cores.min(pieces.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// What another thread reads ahead, some blocks at a time.
struct Ahead {
    blocks: Receiver<io::Result<Vec<u8>>>,
    /// Blocks that were read go back and are filled again.
    back: SyncSender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
}

impl Ahead {
    const BLOCK: usize = 256 << 10;
    const BLOCKS: usize = 4;

    fn of<'scope>(mut from: impl Read + Send + 'scope, scope: &'scope thread::Scope<'scope, '_>) -> Ahead {
        let (to_reader, blocks) = sync_channel::<io::Result<Vec<u8>>>(Self::BLOCKS);
        let (back, emptied) = sync_channel::<Vec<u8>>(Self::BLOCKS + 2);
        // It ends with the file, or when nobody takes its blocks any more.
        scope.spawn(move || {
            loop {
                let mut block = emptied.try_recv().unwrap_or_default();
                block.resize(Self::BLOCK, 0);
                let filled = fill(&mut from, &mut block);
                let is_over = !matches!(&filled, Ok(length) if *length == Self::BLOCK);
                let sent = to_reader.send(filled.map(|length| {
                    block.truncate(length);
                    block
                }));
                if is_over || sent.is_err() {
                    return;
                }
            }
        });
        Ahead { blocks, back, block: Vec::new(), at: 0 }
    }
}

fn fill(from: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Read for Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            match self.blocks.recv() {
                Ok(block) => {
                    let done = std::mem::replace(&mut self.block, block?);
                    self.at = 0;
                    let _ = self.back.try_send(done);
                }
                Err(_) => return Ok(0),
            }
        }
        let most = into.len().min(self.block.len() - self.at);
        into[..most].copy_from_slice(&self.block[self.at..self.at + most]);
        self.at += most;
        Ok(most)
    }
}

#[cfg(all(test, feature = "columnar"))]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_panics_is_a_damaged_file_and_a_listener_that_panics_is_a_bug() {
        let file = LocalFile { name: "a.orc".into(), path: "/a.orc".into() };
        let silent = |_: &[adce_core::report::ReportRow<'_>]| {};
        let told = calmly_told(&file, &silent, |_| panic!("index out of bounds")).unwrap_err();
        assert_eq!(told.to_string(), format!("`a.orc`: {UNSURVIVED}"));
        assert_eq!(calmly::<()>(&file, || panic!("index out of bounds")), Err(file.damaged(UNSURVIVED)));
        let ours = |_: &[adce_core::report::ReportRow<'_>]| panic!("ours");
        let reading = || {
            calmly_told(&file, &ours, |rows| {
                rows(&[]);
                Ok(())
            })
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(reading)).is_err());
    }
}
