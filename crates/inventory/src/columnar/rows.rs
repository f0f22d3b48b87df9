//! A Parquet file as JSON Lines, for tables.

use adce_core::time::Timestamp;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::{BATCH_ROWS, Times};

/// Writes a value of one column.
type Write<'a> = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<(), String> + 'a>;

/// What is wrong with the file comes back in words.
pub(crate) fn as_json_lines(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let reading = std::panic::AssertUnwindSafe(|| read(Bytes::from(bytes)));
    // The library panics at some damage.
    let read = std::panic::catch_unwind(reading);
    read.unwrap_or_else(|_| Err("it is damaged in a way that its reader does not survive".into()))
}

fn read(bytes: Bytes) -> Result<Vec<u8>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("it is no whole Parquet file: {error}");
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(|error| wrong(&error))?;
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|error| wrong(&error))?;
    let mut lines = Vec::new();
    for batch in reader {
        write(&batch.map_err(|error| wrong(&error))?, &mut lines)?;
    }
    Ok(lines)
}

fn write(batch: &RecordBatch, lines: &mut Vec<u8>) -> Result<(), String> {
    let names: Vec<String> = batch.schema().fields().iter().map(|field| quoted(field.name())).collect();
    let columns = batch.columns().iter().map(column).collect::<Result<Vec<Write<'_>>, String>>()?;
    for row in 0..batch.num_rows() {
        for (at, (name, column)) in names.iter().zip(&columns).enumerate() {
            lines.push(if at == 0 { b'{' } else { b',' });
            lines.extend_from_slice(name.as_bytes());
            lines.push(b':');
            match batch.column(at).is_null(row) {
                true => lines.extend_from_slice(b"null"),
                false => column(row, lines)?,
            }
        }
        lines.extend_from_slice(if names.is_empty() { b"{}\n" } else { b"}\n" });
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn column(array: &ArrayRef) -> Result<Write<'_>, String> {
    Ok(match array.data_type() {
        DataType::Utf8 => texts(array.as_string::<i32>(), |array, row| array.value(row)),
        DataType::LargeUtf8 => texts(array.as_string::<i64>(), |array, row| array.value(row)),
        DataType::Utf8View => texts(array.as_string_view(), |array, row| array.value(row)),
        // Many writers leave out that it is a text.
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            Box::new(move |row, lines| {
                match std::str::from_utf8(array.value(row)) {
                    Ok(text) => lines.extend_from_slice(quoted(text).as_bytes()),
                    Err(_) => lines.extend_from_slice(b"[]"),
                }
                Ok(())
            })
        }
        DataType::Boolean => plain(array.as_boolean(), |array, row| array.value(row).to_string()),
        DataType::Int8 => numbers::<Int8Type>(array),
        DataType::Int16 => numbers::<Int16Type>(array),
        DataType::Int32 => numbers::<Int32Type>(array),
        DataType::Int64 => numbers::<Int64Type>(array),
        DataType::UInt8 => numbers::<UInt8Type>(array),
        DataType::UInt16 => numbers::<UInt16Type>(array),
        DataType::UInt32 => numbers::<UInt32Type>(array),
        DataType::UInt64 => numbers::<UInt64Type>(array),
        DataType::Float16 => floats(array, |array, row| f64::from(array.as_primitive::<Float16Type>().value(row))),
        DataType::Float32 => floats(array, |array, row| {
            // By its own digits: 0.1 is not 0.10000000149.
            array.as_primitive::<Float32Type>().value(row).to_string().parse().unwrap_or(f64::NAN)
        }),
        DataType::Float64 => floats(array, |array, row| array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal32(..) => plain(array.as_primitive::<Decimal32Type>(), |array, row| array.value_as_string(row)),
        DataType::Decimal64(..) => plain(array.as_primitive::<Decimal64Type>(), |array, row| array.value_as_string(row)),
        DataType::Decimal128(..) => plain(array.as_primitive::<Decimal128Type>(), |array, row| array.value_as_string(row)),
        DataType::Decimal256(..) => plain(array.as_primitive::<Decimal256Type>(), |array, row| array.value_as_string(row)),
        DataType::Timestamp(_, zone) => {
            let times = Times::of(array).ok_or("a column of times cannot be read")?;
            let is_instant = zone.is_some();
            Box::new(move |row, lines| {
                let time =
                    times.micros(row).and_then(|micros| Timestamp::from_microsecond(micros).ok()).ok_or("a time is out of bounds")?;
                let text = time.to_string();
                let text = if is_instant { text.as_str() } else { text.trim_end_matches('Z') };
                lines.extend_from_slice(quoted(text).as_bytes());
                Ok(())
            })
        }
        kind if kind.is_nested() => Box::new(|_, lines| {
            lines.extend_from_slice(b"[]");
            Ok(())
        }),
        _ => {
            let options = FormatOptions::new();
            let formatter = ArrayFormatter::try_new(array, &options).map_err(|error| error.to_string())?;
            let shown: Vec<String> = (0..array.len()).map(|row| quoted(&formatter.value(row).to_string())).collect();
            Box::new(move |row, lines| {
                lines.extend_from_slice(shown[row].as_bytes());
                Ok(())
            })
        }
    })
}

fn texts<'a, A: 'a>(array: &'a A, value: impl Fn(&'a A, usize) -> &'a str + 'a) -> Write<'a> {
    Box::new(move |row, lines| {
        lines.extend_from_slice(quoted(value(array, row)).as_bytes());
        Ok(())
    })
}

fn plain<'a, A: 'a>(array: &'a A, value: impl Fn(&'a A, usize) -> String + 'a) -> Write<'a> {
    Box::new(move |row, lines| {
        lines.extend_from_slice(value(array, row).as_bytes());
        Ok(())
    })
}

fn numbers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Write<'_>
where
    T::Native: std::fmt::Display,
{
    let array = array.as_primitive::<T>();
    Box::new(move |row, lines| {
        lines.extend_from_slice(array.value(row).to_string().as_bytes());
        Ok(())
    })
}

/// What is no number is null.
fn floats<'a>(array: &'a ArrayRef, value: impl Fn(&'a ArrayRef, usize) -> f64 + 'a) -> Write<'a> {
    Box::new(move |row, lines| {
        let number = value(array, row);
        let text = if number.is_finite() { number.to_string() } else { "null".into() };
        lines.extend_from_slice(text.as_bytes());
        Ok(())
    })
}
