//! Stripes of ORC files.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use adce_core::report::{Damaged, Rows};
use orc_rust::arrow_reader::ArrowReaderBuilder;
use orc_rust::projection::ProjectionMask;

use super::{BATCH_ROWS, Tells, Wanted};
use crate::reading::LocalFile;

/// One stripe.
pub(crate) struct Piece {
    file: LocalFile,
    wanted: Arc<Wanted>,
    /// Bytes of the file in which just this stripe begins.
    range: Range<usize>,
}

fn open(file: &LocalFile) -> Result<(Wanted, ArrowReaderBuilder<File>), Damaged> {
    let builder = ArrowReaderBuilder::try_new(file.open()?);
    let builder = builder.map_err(|error| file.damaged(format!("it is no whole ORC file: {error}")))?;
    let columns = builder.file_metadata().root_data_type().children().iter();
    let wanted = Wanted::of(columns.map(|column| column.name())).map_err(|what| file.damaged(what))?;
    Ok((wanted, builder))
}

pub(crate) fn tells(file: &LocalFile) -> Result<Tells, Damaged> {
    Ok(open(file)?.0.tells())
}

pub(crate) fn pieces(files: &[LocalFile]) -> Result<Vec<Piece>, Damaged> {
    let mut pieces = Vec::new();
    for file in files {
        let (wanted, builder) = open(file)?;
        let wanted = Arc::new(wanted);
        pieces.extend(builder.file_metadata().stripe_metadatas().iter().map(|stripe| {
            let begins = usize::try_from(stripe.offset()).unwrap_or(usize::MAX);
            Piece { file: file.clone(), wanted: wanted.clone(), range: begins..begins.saturating_add(1) }
        }));
    }
    Ok(pieces)
}

impl Piece {
    pub fn file(&self) -> &LocalFile {
        &self.file
    }

    pub fn read(&self, rows: Rows<'_>) -> Result<(), Damaged> {
        let damaged = |what: String| self.file.damaged(format!("stripe at byte {}: {what}", self.range.start));
        let (_, builder) = open(&self.file)?;
        let mask = ProjectionMask::named_roots(builder.file_metadata().root_data_type(), &self.wanted.names());
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).with_file_byte_range(self.range.clone()).build();
        for batch in reader {
            let batch = batch.map_err(|error| damaged(error.to_string()))?;
            self.wanted.hand_over(&batch, rows).map_err(damaged)?;
        }
        Ok(())
    }
}
