use adce_core::coverage::{Sight, TableError, TableFile, TableFiles, expand};
use adce_core::report::{Newest, Rows};
use adce_core::spec::{ConfigFile, load};
use adce_lake::LocalLake;
use async_trait::async_trait;

use super::*;

const NOW: &str = "2025-01-10T09:00:00Z";

struct NoTables;

impl TableFiles for NoTables {
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        Err(TableError::NoFile(pattern.into()))
    }
}

fn world(config: &str) -> (Arc<Spec>, Arc<Expected>) {
    let text = format!("lake: {{ url: s3://nba/lake, inventory: s3://reports/nba/ }}\n{config}");
    let loaded = load(&[ConfigFile { name: "adce.yaml".into(), text }], std::path::Path::new("/"), &|_| None, &NoTables);
    let spec = loaded.spec().unwrap_or_else(|problems| panic!("{problems:?}"));
    let expected = expand(&spec, &NoTables, NOW.parse().unwrap()).unwrap();
    (Arc::new(spec), Arc::new(expected))
}

struct Written {
    head: ReportHead,
    keys: Vec<&'static str>,
    damaged: bool,
}

fn written(name: &str, created: &str, keys: &[&'static str], damaged: bool) -> Arc<dyn Report> {
    let head = ReportHead {
        name: name.into(),
        created: created.parse().unwrap(),
        format: "CSV",
        files: 1,
        bytes: 1,
        tells_modified: true,
        tells_etag: true,
    };
    Arc::new(Written { head, keys: keys.to_vec(), damaged })
}

impl Report for Written {
    fn head(&self) -> &ReportHead {
        &self.head
    }

    fn read(&self, rows: Rows<'_>) -> Result<(), Damaged> {
        for key in &self.keys {
            rows(&[ReportRow { key, size: 9, modified_micros: Some(0), etag: Some("e") }]);
        }
        if self.damaged { Err(Damaged { file: "data/0.csv.gz".into(), what: "row 7: it ends".into() }) } else { Ok(()) }
    }
}

struct Shelf(Vec<Arc<dyn Report>>);

#[async_trait]
impl Reports for Shelf {
    async fn newest(&self, bucket: &str, but: &[String], _: Timestamp) -> Result<Newest, LakeError> {
        assert_eq!(bucket, "nba");
        let report = self.0.iter().find(|report| !but.contains(&report.head().name)).cloned();
        Ok(Newest { report, refused: Vec::new() })
    }
}

async fn read_newest(reports: Vec<Arc<dyn Report>>, spec: &Arc<Spec>, expected: &Arc<Expected>) -> (Reported, Option<Inventory>) {
    let reporting = Reporting { reports: Some(Arc::new(Shelf(reports))), ..Reporting::default() };
    newest(&reporting, spec, expected, None, NOW.parse().unwrap()).await
}

#[test]
fn keys_begin_alike_up_to_a_whole_character() {
    assert_eq!(beginning("espn/a", "espn/b"), "espn/");
    assert_eq!(beginning("espn", "espn/b"), "espn");
    assert_eq!(beginning("é", "è"), "");
    assert_eq!(beginning("", "x"), "");
}

#[tokio::test]
async fn a_report_that_turns_out_damaged_leaves_nothing_behind_and_the_next_older_one_is_read() {
    let (spec, expected) = world("dimensions: { n: [a, b] }\ndatasets: { d: { key: \"d/{n}\", for: n } }\n");
    let old = written("2025-01-09T01-00Z", "2025-01-09T01:00:00Z", &["lake/d/b", "other"], false);
    let new = written("2025-01-10T01-00Z", "2025-01-10T01:00:00Z", &["lake/d/a", "other"], true);
    let (reported, inventory) = read_newest(vec![new.clone(), old], &spec, &expected).await;
    let inventory = inventory.unwrap();
    let sight = |key: &str| inventory.sight(expected.find(key).unwrap());
    assert_eq!(sight("d/a"), Sight::NotThere, "only the damaged one has it");
    assert!(matches!(sight("d/b"), Sight::There(_)));
    assert_eq!(reported.report.unwrap().name, "2025-01-09T01-00Z");
    assert_eq!(reported.refused, ["the inventory report 2025-01-10T01-00Z is refused: `data/0.csv.gz`: row 7: it ends"]);
    let (reported, inventory) = read_newest(vec![new], &spec, &expected).await;
    assert!(inventory.is_none() && reported.report.is_none() && reported.prefixes.is_empty());
}

#[tokio::test]
async fn what_a_report_is_not_the_whole_truth_of_is_not_taken_from_it() {
    let (spec, expected) = world("dimensions: { n: [a, b] }\ndatasets: { d: { key: \"d/{n}\", for: n }, e: { key: \"e/{n}\", for: n } }\n");
    let filtered = written("2025-01-10T01-00Z", "2025-01-10T01:00:00Z", &["lake/d/a", "lake/d/x"], false);
    let (reported, inventory) = read_newest(vec![filtered], &spec, &expected).await;
    let inventory = inventory.unwrap();
    assert_eq!(reported.prefixes, ["d/"]);
    let sight = |key: &str| inventory.sight(expected.find(key).unwrap());
    assert!(matches!(sight("d/a"), Sight::There(_)));
    assert_eq!([sight("d/b"), sight("e/a")], [Sight::NotThere, Sight::NotSeen], "nothing was heard of the other prefix");
    assert_eq!(inventory.unexpected(0).objects, 1);
    // All that it shows lies deeper than the prefix, so its filter may have as well, and `b` been hidden: what it shows is not used for
    // half a picture.
    let deeper = written("2025-01-10T01-00Z", "2025-01-10T01:00:00Z", &["lake/d/a", "lake/d/abc"], false);
    let (reported, inventory) = read_newest(vec![deeper], &spec, &expected).await;
    let inventory = inventory.unwrap();
    assert_eq!((reported.prefixes.len(), inventory.unexpected(0).objects), (0, 0));
    assert_eq!(inventory.sight(expected.find("d/a").unwrap()), Sight::NotSeen);
}

#[tokio::test]
async fn what_was_seen_since_a_report_is_not_taken_back_by_it_and_what_was_seen_just_before_is_asked_for() {
    let (spec, expected) = world("dimensions: { n: [a, b, c, d, e] }\ndatasets: { d: { key: \"d/{n}\", for: n } }\n");
    let report = written("2025-01-09T01-00Z", "2025-01-09T01:00:00Z", &["lake/d/b", "lake/d/d", "other"], false);
    let (reported, inventory) = read_newest(vec![report], &spec, &expected).await;
    let mut inventory = inventory.unwrap();
    let seen = |key: &str, asked: &str, is_there: bool| {
        let asked: Timestamp = asked.parse().unwrap();
        let object = || Object { key: key.into(), size: 9, last_modified: asked, etag: "e".into() };
        (key.to_owned(), Seen { asked, object: is_there.then(object) })
    };
    let (since, before, long_before) = ("2025-01-09T07:00:00Z", "2025-01-08T20:00:00Z", "2025-01-07T20:00:00Z");
    let seen = [seen("d/a", since, true), seen("d/b", since, false), seen("d/c", before, true), seen("d/d", before, false)]
        .into_iter()
        .chain([seen("d/e", long_before, true)]);
    let reporting = Reporting { seen: seen.collect(), ..Reporting::default() };
    // What is asked for is there no more, and is there again.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("d/d"), "new").unwrap();
    let lake = LocalLake::new(folder.path().into());
    bring_up_to_date(&reported, &reporting, &lake, &spec, &expected, &mut inventory, NOW.parse().unwrap()).await;
    let is_there = |key: &str| match inventory.sight(expected.find(key).unwrap()) {
        Sight::There(found) => Some(found.size),
        Sight::NotThere | Sight::NotSeen => None,
    };
    assert_eq!([is_there("d/a"), is_there("d/b")], [Some(9), None], "nobody asks for what is known");
    assert_eq!([is_there("d/c"), is_there("d/d")], [None, Some(3)], "the lake was asked");
    assert_eq!(is_there("d/e"), None, "the report has had the time to know better");
}

#[tokio::test]
async fn so_many_keys_are_asked_for_and_no_more() {
    let numbers: Vec<String> = (0..ASKED_MAX + 200).map(|number| format!("n{number}")).collect();
    for (collector, beyond) in [("", Sight::NotSeen), (", collector: { command: [get] }", Sight::NotThere)] {
        let (spec, expected) = world(&format!(
            "dimensions: {{ n: [{}] }}\ndatasets: {{ d: {{ key: \"d/{{n}}\", for: n, due: \"time('2025-01-09T20:00:00Z')\"{collector} }} }}\n",
            numbers.join(", ")
        ));
        let report = written("2025-01-09T01-00Z", "2025-01-09T01:00:00Z", &["lake/d/n5", "other"], false);
        let (reported, inventory) = read_newest(vec![report], &spec, &expected).await;
        let mut inventory = inventory.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        std::fs::write(folder.path().join("d/n7"), "new").unwrap();
        let lake = LocalLake::new(folder.path().into());
        bring_up_to_date(&reported, &Reporting::default(), &lake, &spec, &expected, &mut inventory, NOW.parse().unwrap()).await;
        let sight = |number: usize| inventory.sight(expected.find(&format!("d/n{number}")).unwrap());
        assert!(matches!([sight(5), sight(7)], [Sight::There(_), Sight::There(_)]), "by the report, and by the lake");
        assert_eq!(sight(8), Sight::NotThere);
        let doubted = (0..numbers.len()).filter(|number| sight(*number) == Sight::NotSeen).count();
        assert_eq!((sight(numbers.len() - 1), doubted), (beyond, if collector.is_empty() { 199 } else { 0 }));
    }
}
