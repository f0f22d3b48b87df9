//! Tables as people export them, good and bad, down to the line that a message names.

use crate::coverage::sample::{Files, Sample};
use crate::coverage::{ItemIx, header};
use crate::spec::{DimensionKind, Duplicates};

fn keys(sample: &Sample) -> Vec<String> {
    let expected = sample.expand("2024-12-01T00:00:00Z").unwrap_or_else(|problems| panic!("{problems:#?}"));
    let key = |item: ItemIx| {
        let mut key = String::new();
        expected.key(item, &mut key);
        key
    };
    expected.items().map(key).collect()
}

/// One table `game` of one file, and a dataset with this key.
fn games(csv: &str, columns: &[(&str, &str)], key: &str) -> Sample {
    Sample::new(Files::of([("games.csv", csv)])).table("game", "games.csv", "id", columns).dataset("plays", key, &["game"])
}

fn problems(csv: &str, columns: &[(&str, &str)]) -> String {
    games(csv, columns, "{id}").problems()
}

#[test]
fn cells_are_copied_byte_by_byte() {
    let sample = games("id,team\n0011600001,New York\n002,\" a+b~#%é \"\n", &[], "{id}/{team}");
    assert_eq!(keys(&sample), ["0011600001/New York", "002/ a+b~#%é "]);
}

#[test]
fn a_byte_order_mark_windows_line_ends_and_blank_lines_change_nothing() {
    let sample = games("\u{feff}id,team\r\n1,a\r\n\r\n2,b\r\n\r\n", &[], "{id}/{team}");
    assert_eq!(keys(&sample), ["1/a", "2/b"]);
    let broken = problems("\u{feff}id,team\r\n1,a\r\n\r\n2,b,c\r\n", &[]);
    assert_eq!(
        broken, "games.csv:4: this row has 3 fields, and the header has 2 (hint: a comma inside a field needs quotes around it)",
        "the line is right behind blank ones"
    );
}

#[test]
fn lines_are_right_behind_fields_with_line_ends_in_them() {
    let broken = problems("id,team\n1,\"a\nb\"\n2,b,c\n", &[]);
    assert!(broken.starts_with("games.csv:4:"), "{broken}");
}

#[test]
fn bad_files_are_named_with_line_and_a_way_out() {
    assert_eq!(problems("", &[]), "games.csv:1: `games.csv` is empty (hint: expected a line with the column names)");
    assert!(problems("id,team\n", &[]).contains("dimension `game` has no values"));
    assert!(problems("game_id,team\n1,a\n", &[]).contains("have no column `id` (hint: there are `game_id`, `team`)"));
    assert!(problems("id;team\n1;a\n", &[]).contains("fields are separated by commas, not ';'"));
    assert!(problems("id,id\n1,a\n", &[]).contains("`games.csv` has two columns named `id`"));
    assert!(problems("id,team\n1,a\n,b\n", &[]).starts_with("games.csv:3: this row has no `id`"));
    let sample = Sample::new(Files::default()).table("game", "gone/*.csv", "id", &[]).dataset("plays", "{id}", &["game"]);
    assert!(sample.problems().contains("no file matches `gone/*.csv`"));
    let mut utf16 = Files::default();
    utf16.0.insert("games.csv".into(), b"\xff\xfei\0d\0\n\0".to_vec());
    assert!(
        Sample::new(utf16).table("game", "games.csv", "id", &[]).dataset("d", "{id}", &["game"]).problems().contains("save it as UTF-8")
    );
    let mut latin = Files::default();
    latin.0.insert("games.csv".into(), b"id,team\n1,M\xfcnchen\n2,\xff\n".to_vec());
    let latin = Sample::new(latin).table("game", "games.csv", "id", &[]).dataset("d", "{id}", &["game"]).problems();
    assert_eq!(latin, "games.csv:2: this row is not UTF-8\ngames.csv:3: this row is not UTF-8");
}

#[test]
fn a_duplicate_id_names_both_lines() {
    let twice = problems("id,team\n1,a\n2,b\n1,c\n", &[]);
    assert!(twice.starts_with("games.csv:4: `id` `1` is the id of an earlier row too: games.csv:2"), "{twice}");
}

#[test]
fn of_duplicates_the_last_is_kept_or_the_largest_by_a_column() {
    let csv = "id,team,rev\n1,a,10\n2,b,1\n1,c,9\n";
    let kept = |by: Option<&str>| {
        let duplicates = Duplicates::KeepLast { by: by.map(String::from) };
        let files = Files::of([("games.csv", csv)]);
        keys(&Sample::new(files).table_with("game", "games.csv", "id", &[], duplicates).dataset("d", "{id}/{team}", &["game"]))
    };
    assert_eq!(kept(None), ["2/b", "1/c"]);
    assert_eq!(kept(Some("rev")), ["1/a", "2/b"], "10 is more than 9, though not as text");
}

#[test]
fn typed_columns_are_read_in_their_zone_and_bad_dates_named() {
    let columns = [("tip", "from Date time %d/%m/%Y %H:%M zone America/New_York"), ("ends_at", "is tip + 3h")];
    let sample = games("id,Date\n1,24/10/2023 19:30\n2,\n", &columns, "{id}");
    let expected = sample.expand("2024-12-01T00:00:00Z").unwrap();
    let values = expected.values(ItemIx(0));
    let text = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
    assert_eq!(text("tip"), Some("2023-10-24T19:30:00-04:00"));
    assert_eq!(text("ends_at"), Some("2023-10-24T22:30:00-04:00"), "a derived time keeps the zone");
    assert_eq!(text("Date"), None, "renamed columns have their new name only");
    assert_eq!(expected.values(ItemIx(1)).iter().find(|(name, _)| name == "tip").unwrap().1, "", "an empty cell is null");

    let bad = problems("id,Date\n1,24/10/2023 19:30\n2,2023-10-24\n3,31/02/2023 10:00\n", &columns);
    assert_eq!(bad.lines().count(), 2, "all at once: {bad}");
    assert!(bad.starts_with("games.csv:3: column `Date`: `2023-10-24` does not fit `%d/%m/%Y %H:%M`"), "{bad}");
    let naive = problems("id,Date\n1,24/10/2023\n", &[("tip", "from Date time %d/%m/%Y")]);
    assert!(naive.contains("`24/10/2023` has no offset, and its column no `zone:` (hint: add `zone: UTC`"), "{naive}");
    let with_offset = games("id,Date\n1,24/10/2023 +0200\n", &[("tip", "from Date time %d/%m/%Y%n%z")], "{tip:%Y-%m-%dT%H%z}");
    assert_eq!(keys(&with_offset), ["2023-10-23T22+0000"]);
}

#[test]
fn derived_columns_may_follow_from_each_other_but_not_in_a_circle() {
    let tip = ("tip", "from Date time %Y-%m-%d zone UTC");
    let chain = [("late", "is ends_at + 1d"), ("ends_at", "is tip + 3h"), tip];
    assert_eq!(keys(&games("id,Date\n1,2024-10-01\n", &chain, "{late:%Y-%m-%dT%H}")), ["2024-10-02T03"]);
    let circle = [("a", "is b + 1h"), ("b", "is c + 1h"), ("c", "is a + 1h"), ("d", "is a + 1h")];
    let told = problems("id,Date\n1,2024-10-01\n", &circle);
    assert!(told.contains("derived from each other in a circle: `b` from `c` from `a` from `b`"), "{told}");
    assert!(problems("id\n1\n", &[("a", "is a + 1h")]).contains("column `a` is derived from itself"));
}

#[test]
fn a_cell_that_a_derived_column_cannot_read_names_its_row() {
    let told = problems("id,tip\n1,2024-10-01T00:00Z\n2,soon\n3,2024-10-01\n", &[("late", "is tip + 1h")]);
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.starts_with("games.csv:3: `tip`: `soon` cannot be read as a time"), "{told}");
    assert!(told.contains("games.csv:4: `tip`: `2024-10-01` is a time without a zone"), "{told}");
}

#[test]
fn long_lists_of_problems_are_cut_and_counted() {
    let rows: String = (0..1_500).map(|row| format!("{row},x,y\n")).collect();
    let told = problems(&format!("id,team\n{rows}"), &[]);
    assert_eq!(told.lines().count(), 20);
    assert!(told.contains("and 1,480 more problems like these"), "{told}");
}

#[test]
fn files_of_one_table_may_order_their_columns_as_they_like() {
    let files = Files::of([("s/1.csv", "id,team,city\n1,a,x\n"), ("s/2.csv", "city,id,team\ny,2,b\n")]);
    let sample = Sample::new(files).table("game", "s/*.csv", "id", &[]).dataset("d", "{id}/{team}/{city}", &["game"]);
    assert_eq!(keys(&sample), ["1/a/x", "2/b/y"]);
}

#[test]
fn a_column_that_one_file_lacks_matters_only_to_those_who_use_it() {
    let files = || Files::of([("s/1.csv", "id,kind\n1,a\n"), ("s/2.csv", "id\n2\n")]);
    let table = |key, only| Sample::new(files()).table("game", "s/*.csv", "id", &[]).dataset_where("d", key, &["game"], only);
    assert_eq!(keys(&table("{id}", None)), ["1", "2"]);
    let told = table("{id}", Some("kind == 'a'")).problems();
    assert_eq!(told, "s/2.csv:1: `s/2.csv` has no column `kind`, which dataset `d` uses");
    let no_id = Sample::new(Files::of([("s/1.csv", "id\n1\n"), ("s/2.csv", "game\n2\n")])).table("game", "s/*.csv", "id", &[]);
    assert!(no_id.dataset("d", "{id}", &["game"]).problems().contains("s/2.csv:1: `s/2.csv` has no column `id`"));
}

#[test]
fn headers_are_known_before_rows_are_read() {
    let sample = games("id,,Home Team\n1,x,y\n", &[], "{Home Team}");
    let DimensionKind::Table(table) = &sample.spec.dimensions["game"].kind else { panic!("it is a table") };
    assert_eq!(header(table, &sample.files).unwrap(), ["id", "Home Team"], "a column without a name cannot be used");
    assert_eq!(keys(&sample), ["y"]);
}

/// As [`games`], of files in JSON Lines.
fn lines(files: &[(&str, &str)], key: &str) -> Sample {
    let mut known = Files::default();
    files.iter().for_each(|(name, text)| drop(known.0.insert(name.to_string(), text.as_bytes().to_vec())));
    Sample::new(known).table("game", "g/*.jsonl", "id", &[]).dataset("plays", key, &["game"])
}

#[test]
fn json_lines_are_rows_and_their_numbers_keep_their_digits() {
    let one = "{\"id\": \"0011\", \"week\": 07.50}\n".replace("07.50", "7.50") + "\n{\"week\": 8, \"id\": 12}\n";
    let sample =
        lines(&[("g/a.jsonl", &one), ("g/b.jsonl", "{\"id\":\"13\",\"week\":\"9\",\"more\":{}}\n"), ("g/c.jsonl", "")], "{id}/{week}");
    assert_eq!(keys(&sample), ["0011/7.50", "12/8", "13/9"]);
}

#[test]
fn json_lines_that_are_no_rows_are_named_with_their_line() {
    let told = |text: &str| lines(&[("g/a.jsonl", text)], "{id}").problems();
    assert!(told("{\"id\":1}\n{\"id\":\n").starts_with("g/a.jsonl:2: this row is no JSON: EOF"));
    assert!(told("{\"id\":1}\n\n[1]\n").starts_with("g/a.jsonl:3: this row is no JSON object"));
    assert!(told("{\"id\":1}\n{\"n\":2}\n").starts_with("g/a.jsonl:2: this row has no `id`"));
    assert!(told("{\"id\":1}\n{\"id\":\"1\"}\n").starts_with("g/a.jsonl:2: `id` `1` is the id of an earlier row too: g/a.jsonl:1"));
    assert!(told("").contains("have no column `id`"));
}

#[test]
fn an_object_in_a_cell_is_wrong_only_where_somebody_uses_it() {
    let text = "{\"id\":1,\"teams\":null}\n{\"id\":2,\"teams\":{\"home\":\"x\"}}\n";
    assert_eq!(keys(&lines(&[("g/a.jsonl", text)], "{id}")), ["1", "2"]);
    let used = lines(&[("g/a.jsonl", text)], "{id}/{teams}").problems();
    assert!(used.contains("g/a.jsonl:2: column `teams` holds an object or a list here, and dataset `plays` uses it"), "{used}");
}
