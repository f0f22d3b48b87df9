//! Items of which a person knows that upstream does not have them: the files of `absent.known`.
//!
//! They are read in any format that a table may have. Without them every hole of an archive is asked for until `absent.after`
//! has passed, and again for ever after each lost state. They are lists under version control, so who says so, when and why stands
//! beside each, and taking a line out makes the item a gap again.
//!
//! Always true: a line that cannot be read is an error with its file and line, because half a list looks like holes that
//! were closed (`a_bad_line_is_an_error_with_its_place`); a key that nobody expects is a warning, because schedules change.

use std::collections::{BTreeMap, HashMap};

use super::expected::{Expected, ItemIx};
use super::table::{
    BYTE_ORDER_MARK, Cell, Complaints, Layout, TableError, TableFile, TableFiles, at_line, each_row, newlines_before_text, read_columns,
    read_header, reader, unreadable_record,
};
use crate::spec::Spec;
use crate::spec::names::nearest;
use crate::spec::problem::{Place, Problem, Severity};

/// The columns that adce reads, and writes into a new file. `date` and `by` may be empty.
pub const KNOWN_COLUMNS: [&str; 4] = ["key", "reason", "date", "by"];

/// What a line says of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAbsent {
    pub at: Place,
    pub reason: String,
    /// `2025-03-09`, or empty.
    pub date: String,
    pub by: String,
}

/// By item; what does not fit is told by `check`.
#[derive(Debug, Default)]
pub(super) struct Known {
    items: HashMap<u32, KnownAbsent>,
    warnings: Vec<Problem>,
}

impl Expected {
    /// A person knows that upstream does not have it.
    pub fn known_absent(&self, item: ItemIx) -> Option<&KnownAbsent> {
        // Nearly always nobody knows of any.
        if self.known.items.is_empty() { None } else { self.known.items.get(&item.0) }
    }

    /// What is odd about the files that were read, and no mistake.
    pub fn warnings(&self) -> &[Problem] {
        &self.known.warnings
    }

    /// Reads the lists of all datasets.
    pub(super) fn with_known(mut self, spec: &Spec, files: &dyn TableFiles) -> Result<Expected, Vec<Problem>> {
        // Several datasets may share a list.
        let mut lists: BTreeMap<&str, (Vec<usize>, &Place)> = BTreeMap::new();
        for (at, dataset) in self.datasets().iter().enumerate() {
            if let Some(known) = spec.datasets.get(dataset.name()).and_then(|dataset| dataset.known.as_ref()) {
                lists.entry(&known.path).or_insert_with(|| (Vec::new(), &known.at)).0.push(at);
            }
        }
        let (mut known, mut problems) = (Known::default(), Vec::new());
        for (path, (datasets, at)) in lists {
            match files.read(path) {
                Ok(found) => found.iter().for_each(|file| problems.extend(self.read_known(file, &datasets, &mut known))),
                Err(TableError::NoFile(_)) => known.warnings.push(
                    Problem::warning(at, format!("`absent.known`: there is no `{path}` yet, so nothing is known to be absent"))
                        .hint("`adce mark-absent KEY --reason …` makes it"),
                ),
                Err(error) => problems.push(Problem::error(at, error.to_string())),
            }
        }
        if problems.is_empty() {
            self.known = known;
            Ok(self)
        } else {
            Err(problems)
        }
    }

    /// All that is wrong with one list of these datasets.
    fn read_known(&self, file: &TableFile, datasets: &[usize], known: &mut Known) -> Vec<Problem> {
        let mut problems = Complaints::default();
        let header = read_columns(file, &mut problems);
        let is_csv = file.layout() == Layout::Csv;
        let column = |name: &str| header.iter().position(|column| column == name);
        // A list of no lines says nothing of anything.
        if problems.is_empty() && (is_csv || !header.is_empty()) {
            for needed in KNOWN_COLUMNS[..2].iter().filter(|needed| column(needed).is_none()) {
                let problem = at_line(&file.name, &file.bytes, 1, format!("`{}` has no column `{needed}`", file.name));
                let columns = KNOWN_COLUMNS.join(",");
                let wanted = || if is_csv { format!("its first line is `{columns}`") } else { format!("its columns are `{columns}`") };
                problems.add(problem.hint(nearest(needed, header.clone()).unwrap_or_else(wanted)));
            }
        }
        let (Some(key), Some(reason)) = (column("key"), column("reason")) else {
            return problems.into_result(()).err().unwrap_or_default();
        };
        let columns = Columns { key, reason, date: column("date"), by: column("by") };
        let lines =
            if is_csv { csv_lines(file, &header, &columns, &mut problems) } else { json_lines(file, &header, &columns, &mut problems) };
        for (line, told) in lines {
            if let Err(wrong) = self.know(file, line, told, datasets, known) {
                problems.add(*wrong);
            }
        }
        problems.into_result(()).err().unwrap_or_default()
    }

    /// What one line says; or what is wrong with it.
    fn know(&self, file: &TableFile, line: u64, told: Told, datasets: &[usize], known: &mut Known) -> Result<(), Box<Problem>> {
        let said = |message: String| at_line(&file.name, &file.bytes, line, message);
        let (key, reason, date, by) = (told.key.as_str(), told.reason.trim(), told.date.trim(), told.by.trim());
        if key.is_empty() || reason.is_empty() {
            let missing = if key.is_empty() { "key" } else { "reason" };
            return Err(Box::new(said(format!("this line has no {missing}")).hint(ONE_A_LINE)));
        }
        if !date.is_empty() && date.parse::<jiff::civil::Date>().is_err() {
            return Err(Box::new(said(format!("`{date}` is no date")).hint("write it as 2025-03-09")));
        }
        match self.find(key).map(|item| (item, self.dataset_of(item))) {
            Some((item, dataset)) if datasets.contains(&dataset) => {
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                let at = Place { file: file.name.as_str().into(), line, column: 1, length: 1 };
                let entry = KnownAbsent { at, reason: reason.into(), date: date.into(), by: by.into() };
                known.items.entry(item.0).or_insert(entry);
            }
            Some((_, dataset)) => {
                let message = format!("`{key}` is of dataset `{}`, which does not read this list", self.datasets()[dataset].name());
                let hint = format!("give that dataset `absent: {{ known: {} }}`, or a list of its own", file.name);
                known.warnings.push(Problem { severity: Severity::Warning, hint: Some(hint), ..said(message) });
            }
            None => known.warnings.push(Problem {
                severity: Severity::Warning,
                hint: Some("take the line out, or correct the key".into()),
                ..said(format!("no dataset expects `{key}`, which is said to be absent"))
            }),
        }
        Ok(())
    }
}

const ONE_A_LINE: &str = "one object a line: its key, and the reason";

/// Where in a line is what.
struct Columns {
    key: usize,
    reason: usize,
    date: Option<usize>,
    by: Option<usize>,
}

/// As it stands there.
struct Told {
    key: String,
    reason: String,
    date: String,
    by: String,
}

impl Columns {
    fn told<'c>(&self, cell: impl Fn(usize) -> &'c str) -> Told {
        let text = |at: Option<usize>| at.map_or(String::new(), |at| cell(at).to_owned());
        Told { key: text(Some(self.key)), reason: text(Some(self.reason)), date: text(self.date), by: text(self.by) }
    }
}

fn csv_lines(file: &TableFile, header: &[String], columns: &Columns, problems: &mut Complaints) -> Vec<(u64, Told)> {
    let mut lines = Vec::new();
    let skipped = file.bytes.len() - file.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&file.bytes).len();
    let mut reader = reader(&file.bytes);
    let mut record = csv::StringRecord::new();
    let mut is_header = true;
    loop {
        let (byte, line) = (reader.position().byte() as usize + skipped, reader.position().line());
        let line = line + newlines_before_text(&file.bytes, byte);
        let mut wrong = |message: String, hint: &str| problems.add(at_line(&file.name, &file.bytes, line, message).hint(hint));
        match reader.read_record(&mut record) {
            Ok(false) => return lines,
            Ok(true) if std::mem::take(&mut is_header) => {}
            Ok(true) if record.len() != header.len() => {
                let message = format!("this line has {} fields, and the first one has {}", record.len(), header.len());
                wrong(message, "a comma inside a field needs quotes around it");
            }
            Ok(true) => lines.push((line, columns.told(|at| &record[at]))),
            Err(error) => wrong(unreadable_record(&error), ONE_A_LINE),
        }
    }
}

/// Of JSON Lines, and of what was made such.
fn json_lines(file: &TableFile, header: &[String], columns: &Columns, problems: &mut Complaints) -> Vec<(u64, Told)> {
    let mut lines = Vec::new();
    let mut row = |line: u64, cells: &[Cell<'_>]| {
        let cell = |at: usize| match &cells[at] {
            Cell::Text(text) => text.as_ref(),
            Cell::Null | Cell::Nested => "",
        };
        lines.push((line, columns.told(cell)));
    };
    each_row(file, header, &mut row, problems);
    lines
}

/// Whether a line can be added to a list of this name: packed ones and Parquet are written as a whole.
pub fn takes_lines(name: &str) -> bool {
    ![".gz", ".zst", ".zstd", ".parquet"].iter().any(|end| name.ends_with(end))
}

/// The columns of a list that is there; none: it has no first line.
pub fn known_columns(file: &TableFile) -> Vec<String> {
    let mut problems = Complaints::default();
    let header = read_header(file, &mut problems);
    if problems.is_empty() { header } else { Vec::new() }
}

/// A line for a list of this name, in the order of its columns; `header` is its first line, or empty for a new list. Other columns are
/// left empty. JSON Lines have none of both.
pub fn known_line(name: &str, header: &[String], key: &str, entry: &KnownAbsent) -> Vec<u8> {
    if (TableFile { name: name.to_owned(), bytes: Vec::new() }).layout() == Layout::JsonLines {
        let line = serde_json::json!({ "key": key, "reason": entry.reason, "date": entry.date, "by": entry.by });
        return format!("{line}\n").into_bytes();
    }
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    let cell = |column: &str| match column {
        "key" => key,
        "reason" => &entry.reason,
        "date" => &entry.date,
        "by" => &entry.by,
        _ => "",
    };
    let wrote = if header.is_empty() {
        writer.write_record(KNOWN_COLUMNS).and_then(|()| writer.write_record(KNOWN_COLUMNS.map(cell)))
    } else {
        writer.write_record(header.iter().map(|column| cell(column)))
    };
    wrote.expect("memory takes every line");
    writer.into_inner().expect("memory takes every line")
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Files, Sample};
    use super::super::{Coverage, Evidence, Observation, gaps};
    use super::*;
    use crate::gap::Gap;
    use crate::ids::ItemId;
    use crate::record::Closed;
    use crate::spec::KnownFile;

    const NOW: &str = "2024-12-01T00:00:00Z";

    /// Two datasets, of which `d` reads `holes.csv`, with this in it.
    fn sample(list: Option<&[u8]>) -> Sample {
        let mut files = Files::default();
        list.into_iter().for_each(|list| drop(files.0.insert("holes.csv".into(), list.to_vec())));
        let mut sample = Sample::new(files).list("n", &["a", "b", "c,d"]).dataset("d", "d/{n}", &["n"]).dataset("e", "e/{n}", &["n"]);
        let at = Place { file: "adce.yaml".into(), line: 9, column: 3, length: 9 };
        sample.spec.datasets.get_mut("d").unwrap().known = Some(KnownFile { path: "holes.csv".into(), at });
        sample
    }

    fn known(expected: &Expected) -> Vec<String> {
        let known = expected.items().filter_map(|item| {
            let mut key = String::new();
            expected.key(item, &mut key);
            let known = expected.known_absent(item)?;
            Some(format!("{key} {} {} {} {}", known.at.line, known.reason, known.date, known.by))
        });
        known.collect()
    }

    #[test]
    fn what_a_list_names_is_known_with_reason_date_and_author() {
        let list = "\u{feff}by,key,more,reason,date\r\nann,d/b,x,\"lost, says the archive\",2025-03-09\r\n\r\n,\"d/c,d\",,never made,\r\n";
        let expected = sample(Some(list.as_bytes())).expand(NOW).unwrap();
        assert_eq!(known(&expected), ["d/b 2 lost, says the archive 2025-03-09 ann", "d/c,d 4 never made  "]);
        assert_eq!(expected.warnings(), []);
    }

    /// As one list in JSON Lines, which a Parquet is made, too.
    fn in_json(list: &[u8]) -> Sample {
        let mut sample = sample(None);
        sample.files.0.insert("holes.jsonl".into(), list.to_vec());
        sample.spec.datasets.get_mut("d").unwrap().known.as_mut().unwrap().path = "holes.jsonl".into();
        sample
    }

    #[test]
    fn a_list_may_be_json_lines_and_its_bad_lines_have_their_place() {
        let list = b"{\"key\": \"d/b\", \"reason\": \"lost\", \"date\": \"2025-03-09\", \"by\": null}\n\n{\"reason\": \"never made\", \"key\": \"d/c,d\"}\n";
        assert_eq!(known(&in_json(list).expand(NOW).unwrap()), ["d/b 1 lost 2025-03-09 ", "d/c,d 3 never made  "]);
        assert_eq!(known(&in_json(b"").expand(NOW).unwrap()), Vec::<String>::new(), "it says nothing of anything");
        let bad: [(&[u8], &str, &str); 4] = [
            (b"{\"item\": 1, \"reason\": \"x\"}", "has no column `key`", "holes.jsonl:1"),
            (b"{\"key\": \"d/a\", \"reason\": \"x\"}\n{\"key\": \"d/b\"}", "this line has no reason", "holes.jsonl:2"),
            (b"{\"key\": \"d/a\", \"reason\": [\"x\"]}", "this line has no reason", "holes.jsonl:1"),
            (b"{\"key\": \"d/a\", \"reason\": \"x\"", "this row is no JSON", "holes.jsonl:1"),
        ];
        for (list, message, place) in bad {
            let problems = in_json(list).expand(NOW).unwrap_err();
            let text = problems.iter().map(|problem| problem.to_string()).collect::<Vec<_>>().join("\n");
            assert!(text.starts_with("error: ") && text.contains(message) && text.contains(place), "{text}");
        }
    }

    #[test]
    fn a_line_that_is_added_to_json_lines_reads_back() {
        let entry = KnownAbsent { at: Place::default(), reason: "a \"quote\"".into(), date: "2025-03-09".into(), by: "ann".into() };
        let list = known_line("holes.jsonl", &[], "d/c,d", &entry);
        assert_eq!(known(&in_json(&list).expand(NOW).unwrap()), ["d/c,d 1 a \"quote\" 2025-03-09 ann"]);
        assert_eq!(["a.csv", "a.jsonl", "a.csv.gz", "a.parquet"].map(takes_lines), [true, true, false, false]);
    }

    #[test]
    fn a_key_that_nobody_expects_is_a_warning_and_so_is_a_list_that_is_not_there() {
        let expected = sample(Some(b"key,reason\nd/z,gone\ne/a,gone\nd/a,gone\n")).expand(NOW).unwrap();
        assert_eq!(known(&expected), ["d/a 4 gone  "]);
        let warnings: Vec<String> = expected.warnings().iter().map(|warning| warning.to_string()).collect();
        assert!(warnings[0].starts_with("warning: no dataset expects `d/z`") && warnings[0].contains("holes.csv:2"), "{warnings:?}");
        assert!(warnings[1].starts_with("warning: `e/a` is of dataset `e`") && warnings[1].contains("holes.csv:3"), "{warnings:?}");
        let expected = sample(None).expand(NOW).unwrap();
        assert_eq!((known(&expected).len(), expected.warnings().len()), (0, 1));
        assert!(expected.warnings()[0].to_string().contains("there is no `holes.csv` yet"), "{:?}", expected.warnings());
    }

    #[test]
    fn a_bad_line_is_an_error_with_its_place() {
        let bad: [(&[u8], &str, &str); 8] = [
            (b"", "is empty", "holes.csv:1"),
            (b"key;reason\n", "has no commas", "holes.csv:1"),
            (b"item,reason\n", "has no column `key`", "holes.csv:1"),
            (b"key,reason\nd/a\n", "this line has 1 fields, and the first one has 2", "holes.csv:2"),
            (b"key,reason\nd/a,ok\n,why\n", "this line has no key", "holes.csv:3"),
            (b"key,reason\n\nd/a, \n", "this line has no reason", "holes.csv:3"),
            (b"key,reason,date\nd/a,why,09.03.2025\n", "`09.03.2025` is no date", "holes.csv:2"),
            (b"key,reason\nd/\xff,why\n", "this row is not UTF-8", "holes.csv:2"),
        ];
        for (list, message, place) in bad {
            let problems = sample(Some(list)).expand(NOW).unwrap_err();
            let text = problems.iter().map(|problem| problem.to_string()).collect::<Vec<_>>().join("\n");
            assert!(text.starts_with("error: ") && text.contains(message) && text.contains(place), "{text}");
        }
    }

    #[test]
    fn a_gap_is_closed_by_a_list_also_where_nobody_could_look() {
        let now = crate::coverage::sample::at(NOW);
        let (records, mut open) = (HashMap::new(), HashMap::new());
        let before = sample(None);
        let diff = |sample: &Sample, listed: bool, open: &HashMap<ItemId, Gap>| {
            let expected = sample.expand(NOW).unwrap();
            let mut look = Observation::new(&expected, &sample.spec);
            for prefix in expected.prefixes() {
                look.begin(prefix, now);
                if listed { look.prefix_complete(prefix) } else { look.prefix_failed(prefix) }
            }
            let inventory = look.finish();
            let evidence =
                Evidence { spec: &sample.spec, expected: &expected, inventory: &inventory, records: &records, open, accepted: None };
            gaps(&evidence, &Coverage::of(&evidence, now).unwrap(), now)
        };
        diff(&before, true, &open).apply_to(&mut open);
        assert_eq!(open.len(), 6);
        for listed in [true, false] {
            let closed = diff(&sample(Some(b"key,reason\nd/a,gone\n")), listed, &open).closed;
            let of_a = open.values().find(|gap| gap.key == "d/a").unwrap().id;
            assert_eq!(closed, [(of_a, Closed::Absent)], "listed: {listed}");
        }
    }

    #[test]
    fn a_line_that_is_written_reads_back_whatever_it_says() {
        let entry =
            |reason: &str| KnownAbsent { at: Place::default(), reason: reason.into(), date: "2025-03-09".into(), by: "o'hara".into() };
        let mut list = known_line("holes.csv", &[], "d/c,d", &entry("a \"quote\", and a comma"));
        list.extend(known_line("holes.csv", &KNOWN_COLUMNS.map(String::from), "d/a", &entry("plain")));
        let expected = sample(Some(&list)).expand(NOW).unwrap();
        assert_eq!(known(&expected), ["d/a 3 plain 2025-03-09 o'hara", "d/c,d 2 a \"quote\", and a comma 2025-03-09 o'hara"]);
        let other: Vec<String> = ["note", "reason", "key"].map(String::from).into();
        assert_eq!(known_line("holes.csv", &other, "d/a", &entry("plain")), b",plain,d/a\n");
    }
}
