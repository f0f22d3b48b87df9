//! References between tables: a column whose cells must be values of another dimension.
//!
//! A game whose team nobody knows is a slip in one of two files, and would be asked for under a name that upstream does not have. So it is an
//! error, with the file and the line of the row. Of a derived table nothing can be said before all of it is collected: what refers to
//! one is not checked.

use hashbrown::{HashMap, HashSet};

use super::expected::Wrong;
use super::values::DimensionValues;
use crate::spec::problem::Problem;
use crate::spec::{DimensionKind, Spec};

/// All cells that are no value of the dimension that they refer to. `places`: of the dimensions that could be read.
pub(super) fn problems(spec: &Spec, dimensions: &[DimensionValues], places: &HashMap<&str, usize>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, dimension) in &spec.dimensions {
        let (DimensionKind::Table(table), Some(at)) = (&dimension.kind, places.get(name.as_str())) else { continue };
        let values = &dimensions[*at];
        let Some(rows) = values.rows() else { continue };
        for rule in &table.columns {
            let Some((other, known)) = rule.references.as_ref().and_then(|other| Some((other, places.get(other.as_str())?))) else {
                continue;
            };
            if spec.dimensions[other].is_derived() {
                continue;
            }
            let Some(column) = values.names.columns().iter().position(|column| column.name == rule.name) else { continue };
            let known = &dimensions[*known];
            let text = |of: &dyn Fn(&mut String)| {
                let mut text = String::new();
                of(&mut text);
                text
            };
            let ids: HashSet<String> = (0..known.len()).map(|at| text(&|text| known.write_canonical(at, text))).collect();
            let mut wrong = Wrong::default();
            for row in 0..rows.len() {
                let cell = text(&|text| rows.write(column, row, text));
                if !cell.is_empty() && !ids.contains(&cell) {
                    wrong.add(|| {
                        let problem = Problem::error(&rule.at, format!("`{}` `{cell}` is no value of `{other}`", rule.name));
                        Problem { at: Some(rows.place(row)), ..problem }.hint(format!("add it to `{other}`, or correct this row"))
                    });
                }
            }
            problems.extend(wrong.into_result(()).err().unwrap_or_default());
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Files, Sample};

    #[test]
    fn a_cell_that_refers_to_nothing_is_an_error_with_its_file_and_line() {
        let files = [("games.csv", "id,home\n1,BOS\n2,\n3,LAX\n4,LAL\n"), ("teams.csv", "team,city\nBOS,Boston\nLAL,Los Angeles\n")];
        let sample = |refers: &str| {
            let mut sample = Sample::new(Files::of(files)).table("team", "teams.csv", "team", &[]).list("side", &["BOS", "LAX", "LAL"]);
            sample = sample.table("game", "games.csv", "id", &[("home", "from home")]).dataset("d", "{id}", &["game"]);
            if let crate::spec::DimensionKind::Table(table) = &mut sample.spec.dimensions["game"].kind {
                table.columns[0].references = Some(refers.into());
            }
            sample
        };
        assert_eq!(
            sample("team").problems(),
            "games.csv:4: `home` `LAX` is no value of `team` (hint: add it to `team`, or correct this row)"
        );
        assert_eq!(
            sample("side").expand("2024-12-01T00:00:00Z").unwrap().len(),
            4,
            "a list has values, too, and an empty cell refers to nothing"
        );
    }
}
