use std::io::Write;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema};

use super::*;

struct One(TableFile);

impl TableFiles for One {
    fn read(&self, _: &str) -> Result<Vec<TableFile>, TableError> {
        Ok(vec![self.0.clone()])
    }
}

fn read(name: &str, bytes: Vec<u8>) -> Result<String, TableError> {
    let read = Decoded(One(TableFile { name: name.into(), bytes })).read(name)?;
    assert_eq!(read[0].name, name);
    Ok(String::from_utf8(read[0].bytes.clone()).unwrap())
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn file(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let fields: Vec<Field> = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let mut written = Vec::new();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(&mut written, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    written
}

#[test]
fn what_a_name_says_is_packed_is_unpacked() {
    let text = "id,day\n0011,2024-10-22\n";
    assert_eq!(read("s/a.csv", text.into()).unwrap(), text);
    assert_eq!(read("s/a.csv.gz", gzip(text)).unwrap(), text);
    assert_eq!(read("lake:s/a.jsonl.zst", ::zstd::encode_all(text.as_bytes(), 0).unwrap()).unwrap(), text);
}

#[test]
fn a_parquet_file_is_a_line_a_row() {
    let bytes = file(vec![
        ("game_id", Arc::new(StringArray::from(vec![Some("0011"), None, Some("a\"b")]))),
        ("n", Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(-1), None]))),
        ("small", Arc::new(Int32Array::from(vec![1, 2, 3]))),
        ("as_float", Arc::new(Float64Array::from(vec![Some(401_705_123.0), Some(0.1), Some(f64::NAN)]))),
        ("short", Arc::new(Float32Array::from(vec![0.1, 2.0, f32::INFINITY]))),
        ("price", Arc::new(Decimal128Array::from(vec![110, -5, 0]).with_precision_and_scale(10, 2).unwrap())),
        ("done", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("day", Arc::new(Date32Array::from(vec![20_018, 0, -1]))),
        ("tip", Arc::new(TimestampMillisecondArray::from(vec![1_729_639_800_000, 1, 0]).with_timezone("UTC"))),
        ("naive", Arc::new(TimestampMicrosecondArray::from(vec![1_729_639_800_000_000, 0, 1]))),
        (
            "nested",
            Arc::new(StructArray::from(vec![(
                Arc::new(Field::new("x", DataType::Int32, false)),
                Arc::new(Int32Array::from(vec![1, 2, 3])) as ArrayRef,
            )])),
        ),
    ]);
    let expected = "\
        {\"game_id\":\"0011\",\"n\":9223372036854775807,\"small\":1,\"as_float\":401705123,\"short\":0.1,\"price\":1.10,\"done\":true,\
        \"day\":\"2024-10-22\",\"tip\":\"2024-10-22T23:30:00Z\",\"naive\":\"2024-10-22T23:30:00\",\"nested\":[]}\n\
        {\"game_id\":null,\"n\":-1,\"small\":2,\"as_float\":0.1,\"short\":2,\"price\":-0.05,\"done\":null,\
        \"day\":\"1970-01-01\",\"tip\":\"1970-01-01T00:00:00.001Z\",\"naive\":\"1970-01-01T00:00:00\",\"nested\":[]}\n\
        {\"game_id\":\"a\\\"b\",\"n\":null,\"small\":3,\"as_float\":null,\"short\":null,\"price\":0.00,\"done\":false,\
        \"day\":\"1969-12-31\",\"tip\":\"1970-01-01T00:00:00Z\",\"naive\":\"1970-01-01T00:00:00.000001\",\"nested\":[]}\n";
    assert_eq!(read("s/games.parquet", bytes).unwrap(), expected);
}

#[test]
fn a_damaged_table_is_refused_by_its_name() {
    let packed = gzip("id\n1\n2\n");
    let squeezed = ::zstd::encode_all(&b"id\n1\n2\n"[..], 0).unwrap();
    let columns = file(vec![("id", Arc::new(Int32Array::from((0..1_000).collect::<Vec<i32>>())))]);
    std::panic::set_hook(Box::new(|_| {}));
    for (name, whole) in [("a.csv.gz", packed), ("a.csv.zst", squeezed), ("a.parquet", columns)] {
        for cut in 1..whole.len().min(200) {
            let told = read(name, whole[..whole.len() - cut].to_vec()).unwrap_err();
            assert!(matches!(&told, TableError::Unreadable { file, .. } if file == name), "{told}");
        }
        for at in 0..whole.len().min(600) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            // Not every byte matters; none makes it panic.
            let _ = Decoded(One(TableFile { name: name.into(), bytes: damaged })).read(name);
        }
    }
    let _ = std::panic::take_hook();
}
