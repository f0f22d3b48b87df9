//! Row groups of Parquet files.

use std::sync::Arc;

use adce_core::report::{Damaged, Rows};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::{BATCH_ROWS, Tells, Wanted};
use crate::reading::LocalFile;

/// One row group.
pub(crate) struct Piece {
    file: LocalFile,
    wanted: Arc<Wanted>,
    metadata: ArrowReaderMetadata,
    row_group: usize,
}

/// The end of a file says where everything is.
fn open(file: &LocalFile) -> Result<(Wanted, ArrowReaderMetadata), Damaged> {
    let damaged = |error: parquet::errors::ParquetError| file.damaged(format!("it is no whole Parquet file: {error}"));
    let metadata = ArrowReaderMetadata::load(&file.open()?, ArrowReaderOptions::new().with_skip_arrow_metadata(true)).map_err(damaged)?;
    let names = metadata.schema().fields().iter().map(|field| field.name().as_str());
    let wanted = Wanted::of(names).map_err(|what| file.damaged(what))?;
    // Views borrow from the decoded page where a text would be copied out of it.
    let names = wanted.names();
    let as_views = metadata.schema().fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 | DataType::Binary if names.contains(&field.name().as_str()) => {
            Arc::new(Field::new(field.name(), DataType::Utf8View, field.is_nullable()))
        }
        _ => field.clone(),
    });
    let schema = Arc::new(Schema::new(as_views.collect::<Vec<_>>()));
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options).map_err(damaged)?;
    Ok((wanted, metadata))
}

pub(crate) fn tells(file: &LocalFile) -> Result<Tells, Damaged> {
    Ok(open(file)?.0.tells())
}

pub(crate) fn pieces(files: &[LocalFile]) -> Result<Vec<Piece>, Damaged> {
    let mut pieces = Vec::new();
    for file in files {
        let (wanted, metadata) = open(file)?;
        let wanted = Arc::new(wanted);
        let groups = 0..metadata.metadata().num_row_groups();
        pieces.extend(groups.map(|row_group| Piece { file: file.clone(), wanted: wanted.clone(), metadata: metadata.clone(), row_group }));
    }
    Ok(pieces)
}

impl Piece {
    pub fn file(&self) -> &LocalFile {
        &self.file
    }

    pub fn read(&self, rows: Rows<'_>) -> Result<(), Damaged> {
        let damaged = |what: String| self.file.damaged(format!("row group {}: {what}", self.row_group));
        // A file of its own: a copy of one would share its place with the other threads.
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.open()?, self.metadata.clone());
        let mask = ProjectionMask::columns(builder.parquet_schema(), self.wanted.names());
        let reader = builder.with_projection(mask).with_row_groups(vec![self.row_group]).with_batch_size(BATCH_ROWS).build();
        for batch in reader.map_err(|error| damaged(error.to_string()))? {
            let batch = batch.map_err(|error| damaged(error.to_string()))?;
            self.wanted.hand_over(&batch, rows).map_err(damaged)?;
        }
        Ok(())
    }
}
