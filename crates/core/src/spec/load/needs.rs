//! `needs`: which items of other datasets an item is made from.

use indexmap::IndexMap;

use super::{Loader, entries};
use crate::coverage::{CellOf, circle};
use crate::spec::decode::Text;
use crate::spec::names::Names;
use crate::spec::problem::{Place, Problem, known_names};
use crate::spec::raw::RawNeeds;
use crate::spec::{Dataset, Dimension, DimensionKind, Needed};

impl Loader<'_> {
    /// Once all datasets are there: each may need any other one.
    pub(super) fn needs(&mut self, dimensions: &IndexMap<String, Dimension>, datasets: &mut IndexMap<String, Dataset>) {
        let raw = self.raw;
        for (name, raw) in entries(raw.datasets.0.as_ref()) {
            let Some(needs) = raw.as_ref().and_then(|raw| raw.needs.as_ref()) else { continue };
            let what = format!("dataset `{}`: `needs`", name.text);
            let given: Vec<(&str, &Place, Option<&Text>)> = match needs {
                RawNeeds::Names(names) => names.as_slice().iter().map(|text| (text.text.as_str(), &text.at, None)).collect(),
                RawNeeds::Map(map) => map.entries.iter().map(|(name, text)| (name.text.as_str(), &name.at, text.as_ref())).collect(),
            };
            let needed: Vec<Needed> = given
                .into_iter()
                .filter_map(|(other, at, within)| self.need(&what, (other, at), within, dimensions, (datasets, &name.text)))
                .collect();
            if let Some(dataset) = datasets.get_mut(&name.text) {
                dataset.needs = needed;
            }
        }
        self.feeders(dimensions, datasets);
        self.refuse_circles(dimensions, datasets);
    }

    /// The dataset of each derived table must be there, and have what its columns name of its items.
    fn feeders(&mut self, dimensions: &IndexMap<String, Dimension>, datasets: &IndexMap<String, Dataset>) {
        for (dimension, rows) in dimensions.values().filter_map(|dimension| Some((dimension, dimension.rows()?))) {
            let what = format!("dimension `{}`", dimension.name);
            if !self.raw.datasets.0.as_ref().is_some_and(|all| all.has(&rows.dataset)) {
                let known = self.raw.datasets.0.as_ref().map(|all| all.names()).unwrap_or_default();
                let hint = known_names(&rows.dataset, "dataset", &known);
                self.error_with(&rows.at, format!("{what}: there is no dataset `{}`", rows.dataset), hint);
                continue;
            }
            let Some(feeder) = datasets.get(&rows.dataset) else { continue };
            let names = Names::new(feeder.dimensions.iter().filter_map(|name| self.names.get(name).cloned()).collect());
            for (column, of) in &rows.columns {
                if let CellOf::Item(name) = of
                    && let Err(wrong) = names.resolve(name)
                {
                    let message = format!("{what}: column `{column}`: of the items of `{}`: {}", feeder.name, wrong.message);
                    let problem = Problem::error(&rows.at, message);
                    self.problems
                        .push(Problem { hint: wrong.hint.or_else(|| Some("a place in the row begins with `$`".into())), ..problem });
                }
            }
        }
    }

    fn need(
        &mut self,
        what: &str,
        (other, at): (&str, &Place),
        within: Option<&Text>,
        dimensions: &IndexMap<String, Dimension>,
        (datasets, own): (&IndexMap<String, Dataset>, &str),
    ) -> Option<Needed> {
        if !self.raw.datasets.0.as_ref().is_some_and(|all| all.has(other)) {
            let known = self.raw.datasets.0.as_ref().map(|all| all.names()).unwrap_or_default();
            self.problems
                .push(Problem::error(at, format!("{what}: there is no dataset `{other}`")).hint(known_names(other, "dataset", &known)));
            return None;
        }
        // What is wrong with one of the two was said.
        let (parent, child) = (datasets.get(other)?, datasets.get(own)?);
        if parent.set.as_ref().is_some_and(|set| set.done.is_none()) {
            let message = format!("{what}: nothing says when a set of `{other}` is whole, nor when it became another one");
            self.error_with(at, message, "give that dataset a marker: `done: _SUCCESS`");
            return None;
        }
        let mut pairs = Vec::new();
        for words in within.iter().flat_map(|text| text.text.split(" and ")) {
            let text = within.expect("its words are of a text");
            let [inner, "in", outer] = words.split_whitespace().collect::<Vec<_>>()[..] else {
                let message = format!("{what}: `{}`: expected a period in a period, such as `hour in day`", text.text);
                self.error_with(&text.at, message, "dimensions of one name match by themselves: `needs: [events]`");
                return None;
            };
            let is_calendar = |name: &str| matches!(dimensions.get(name), Some(Dimension { kind: DimensionKind::Calendar(_), .. }));
            for (name, whose) in [(inner, parent), (outer, child)] {
                if !whose.dimensions.iter().any(|of| of == name) {
                    let message = format!("{what}: `{}`: dataset `{}` is not for `{name}`", text.text, whose.name);
                    let known: Vec<&str> = whose.dimensions.iter().map(String::as_str).collect();
                    self.error_with(
                        &text.at,
                        message,
                        format!("{}; first stands the other dataset's", known_names(name, "dimension", &known)),
                    );
                    return None;
                }
                if !is_calendar(name) {
                    self.error_with(
                        &text.at,
                        format!("{what}: `{}`: `{name}` is no calendar", text.text),
                        "only a period lies in a period",
                    );
                    return None;
                }
            }
            pairs.push((inner.to_owned(), outer.to_owned()));
        }
        Some(Needed { dataset: other.to_owned(), within: pairs, at: at.clone() })
    }

    /// What is made from itself, however far around, is never made.
    fn refuse_circles(&mut self, dimensions: &IndexMap<String, Dimension>, datasets: &mut IndexMap<String, Dataset>) {
        let fed_by = |dataset: &Dataset| {
            let rows = dataset.dimensions.iter().filter_map(|name| dimensions.get(name)?.rows());
            rows.map(|rows| (rows.dataset.clone(), rows.at.clone())).collect::<Vec<_>>()
        };
        let feeds = |dataset: &Dataset| {
            let needed = dataset.needs.iter().map(|needed| needed.dataset.clone());
            needed.chain(fed_by(dataset).into_iter().map(|(by, _)| by)).collect()
        };
        while let Some(found) = circle(datasets.values(), &feeds) {
            let (first, named) = (&found[0], found.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>());
            let at = datasets[first].needs.iter().find(|needed| needed.dataset == found[1]).map(|needed| needed.at.clone());
            let message = match found.len() {
                2 => format!("dataset {} needs itself", named[0]),
                _ => format!("these datasets need each other in a circle: {}", named.join(" needs ")),
            };
            let at = at.or_else(|| fed_by(&datasets[first]).into_iter().find(|(by, _)| *by == found[1]).map(|(_, at)| at));
            self.error_with(&at.unwrap_or_default(), message, "what is made from itself is never made: take one of them out");
            datasets.shift_remove(first);
        }
    }
}
