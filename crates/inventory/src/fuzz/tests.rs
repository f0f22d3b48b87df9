use std::io::Write;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::Config;

use super::*;

/// One edit: where, what, and with which.
type Edit = (Index, u8, u8, Index);

/// What is worth putting anywhere.
const PIECES: [&[u8]; 24] = [
    b"{",
    b"}",
    b"{{",
    b"}}",
    b"[",
    b"]",
    b"\"",
    b"\\u0000",
    b"\\",
    b",",
    b":",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xc3\xa9",
    b"..",
    b"/",
    b"null",
    b"-1",
    b"18446744073709551616",
    b"1e400",
    b"PAR1",
];

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for (at, kind, with, which) in edits {
        let at = at.index(bytes.len() + 1);
        let until = bytes.len().min(at + usize::from(*with) % 9);
        let piece = PIECES[which.index(PIECES.len())];
        match kind % 6 {
            0 if at < bytes.len() => bytes[at] ^= with | 1,
            1 => drop(bytes.splice(at..until, [])),
            2 => drop(bytes.splice(at..at, piece.iter().copied())),
            3 => drop(bytes.splice(at..until, piece.iter().copied())),
            4 => bytes.truncate(at),
            _ => {
                let again = bytes[at..until].repeat(usize::from(*with));
                drop(bytes.splice(at..at, again));
            }
        }
    }
    bytes
}

/// One of these, damaged here and there; now and then it is whole, or nothing but chance.
fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let near = (select(seeds), vec(any::<Edit>(), 0..6)).prop_map(|(seed, edits)| edited(seed, &edits));
    prop_oneof![20 => near, 1 => vec(any::<u8>(), 0..200)]
}

fn hold(cases: u32, seeds: Vec<Vec<u8>>, entry: fn(&[u8])) {
    seeds.iter().for_each(|seed| entry(seed));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let held = runner.run(&damaged(seeds), |bytes| {
        let entered = std::panic::catch_unwind(|| entry(&bytes));
        prop_assert!(entered.is_ok(), "{}", bytes.escape_ascii());
        Ok(())
    });
    held.unwrap_or_else(|why| panic!("{why}"));
}

/// Real ones, where they are; the tests have some of their own besides.
fn real(folder: &str, end: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dev").join(folder);
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("{} is not here", folder.display());
        return Vec::new();
    };
    let mut files: Vec<_> = files.flatten().map(|file| file.path()).filter(|path| path.to_string_lossy().ends_with(end)).collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

#[cfg(feature = "columnar")]
fn parquet_of(ids: &[&str]) -> Vec<u8> {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};

    let ids: ArrayRef = Arc::new(StringArray::from(ids.to_vec()));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter((0..ids.len() as i64).map(|number| (number % 2 == 0).then_some(number))));
    let batch = RecordBatch::try_from_iter([("id", ids), ("number", numbers)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn a_template_is_understood_or_refused_in_its_place() {
    let seeds = [
        "espn/{season}/{game_id}.json",
        "{day:%Y%m%d}/{hour:%-H}.gz",
        "https://x.example/a?b={game.id}&c={{d}}",
        "part-*.parquet",
        "out/{a}-{b}.html",
        "{a}{b}",
    ];
    hold(20_000, texts(&seeds), template);
}

#[test]
fn a_manifest_is_sane_or_refused() {
    let own = r#"{"sourceBucket":"nba","destinationBucket":"arn:aws:s3:::reports","version":"2016-11-30","creationTimestamp":"1514944800000","fileFormat":"CSV","fileSchema":"Bucket, Key, VersionId, IsLatest, Size","files":[{"key":"data/0.csv.gz","size":9,"MD5checksum":"f11166069f1990abeb9c97ace9cdfabc"}]}"#;
    let seeds = texts(&[own]).into_iter().chain(real("s3_inventory_aws", "manifest.json")).chain(real("s3_inventory_aws", "csv.json"));
    hold(8_000, seeds.collect(), manifest);
}

#[test]
fn an_event_is_understood_or_refused_and_what_is_around_it_changes_nothing() {
    let own = [
        r#"{"Records":[{"eventTime":"2024-01-01T00:00:00.000Z","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a+b%2Fc","size":3,"eTag":"e","sequencer":"0A"}}}]}"#,
        r#"{"specversion":"1.0","type":"x","source":"y","data":{"Records":[]}}"#,
        r#"[{"Event":"s3:TestEvent"}]"#,
    ];
    hold(8_000, texts(&own).into_iter().chain(real("s3_events", ".json")).collect(), event);
}

#[test]
fn a_table_is_read_whole_or_refused() {
    let csv = "id,at,name\n1,2024-10-01,\"a, b\"\n2,,\"two\nlines\"\n";
    let json = "{\"id\": \"1\", \"n\": 1.10, \"list\": [1]}\n\n{\"n\": null, \"id\": 2}\n";
    let with_kind = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
    let mut seeds = vec![
        with_kind(0, csv.as_bytes()),
        with_kind(0, b"\xef\xbb\xbfid\r\n1\r\n"),
        with_kind(1, json.as_bytes()),
        with_kind(2, &gzip(csv)),
        with_kind(3, &gzip(json)),
    ];
    #[cfg(feature = "columnar")]
    seeds.extend([with_kind(4, &zstd::encode_all(csv.as_bytes(), 1).unwrap()), with_kind(5, &parquet_of(&["a", "b", "c"]))]);
    seeds.dedup();
    hold(4_000, seeds, table);
}

#[cfg(feature = "columnar")]
#[test]
fn a_whole_parquet_is_valid_and_a_damaged_one_is_survived() {
    let seeds = [parquet_of(&["a"]), parquet_of(&["a", "b", "c", "d"])].into_iter().chain(real("s3_inventory_aws", ".parquet"));
    let seeds: Vec<Vec<u8>> = seeds.collect();
    assert!(seeds.iter().all(|whole| valid::check(&Validity::Parquet, &mut &whole[..]).is_ok()));
    hold(3_000, seeds, parquet);
}

/// The harness can tell.
#[test]
#[should_panic(expected = "id\\n\\x00")]
fn what_does_not_hold_is_told_with_its_bytes() {
    hold(4_000, texts(&["id\n"]), |bytes| assert!(!bytes.windows(4).any(|four| four == b"id\n\0"), "it does not hold"));
}
