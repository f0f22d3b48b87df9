//! Files that commands leave for adce to take: no two items share one, or the file of one would be published as the
//! other's object; and none lies in the lake, or to take it would make a gap of an object.
//!
//! Only where a collector has `pick_up` does this cost anything: some bytes an item while the items are expanded.

use std::path::Path;

use hashbrown::HashMap;

use super::build::Wrong;
use super::{Across, ExpectedDataset, ItemIx, describe};
use crate::coverage::values::DimensionValues;
use crate::coverage::writer::KeyWriter;
use crate::figures::grouped;
use crate::spec::problem::Problem;
use crate::spec::{Collector, LakeUrl, Output, PickUp, Spec, absolute};

pub(super) fn problems(spec: &Spec, datasets: &[ExpectedDataset], dimensions: &[DimensionValues]) -> Vec<Problem> {
    let lake = match &spec.lake {
        LakeUrl::Folder(folder) => Some(folder.as_path()),
        LakeUrl::S3 { .. } => None,
    };
    let mut paths = Paths { dimensions, lake, taken: HashMap::new(), problems: Vec::new() };
    for dataset in datasets {
        let collector = spec.datasets[dataset.name()].collector.as_ref().and_then(|name| spec.collectors.get(name));
        if let Some(collector) = collector
            && let Output::PickUp(pick_up) = &collector.output
        {
            paths.add(dataset, datasets, collector, pick_up);
        }
    }
    paths.problems
}

/// The first 128 bits of a path's BLAKE3: equal ones are one path.
type Digest = [u8; 16];

struct Paths<'a> {
    dimensions: &'a [DimensionValues],
    /// If it is a folder of this machine.
    lake: Option<&'a Path>,
    /// The item to which a path belongs.
    taken: HashMap<Digest, u32>,
    problems: Vec<Problem>,
}

/// What of one dataset is written where others are.
#[derive(Default)]
struct Shared {
    /// The path, and the first two items that have it.
    first: Option<(String, u32, u32)>,
    latecomers: u64,
}

impl Paths<'_> {
    fn add(&mut self, dataset: &ExpectedDataset, datasets: &[ExpectedDataset], collector: &Collector, pick_up: &PickUp) {
        let across = Across::new(self.dimensions, &dataset.dimensions);
        // Names that are wrong were told when the config was read.
        let Ok(writer) = KeyWriter::new(&pick_up.path, &dataset.names, across.as_slice()) else { return };
        // If all of them lie there, that was told when the config was read.
        let begins_there = |lake: &&Path| absolute(&collector.cwd, pick_up.path.literal_prefix()).starts_with(lake);
        let lake = self.lake.filter(|lake| !begins_there(lake));
        let (mut wrong, mut shared, mut path) = (Wrong::default(), Shared::default(), String::new());
        let (mut in_the_lake, mut first_in_the_lake) = (0, None);
        for item in dataset.items() {
            path.clear();
            let digits = dataset.digits(item);
            if let Err(error) = writer.write(across.as_slice(), &digits, &mut path) {
                wrong.add(|| {
                    let of = format!("dataset `{}` ({})", dataset.name(), describe(&across, &digits));
                    let message = format!("{}: no path for {of}: {}", said(collector, pick_up), error.message);
                    Problem::error(&pick_up.at, message).hint("leave such items out with `where`, or use another column")
                });
                continue;
            }
            let whole = absolute(&collector.cwd, &path);
            if lake.is_some_and(|lake| whole.starts_with(lake)) {
                in_the_lake += 1;
                first_in_the_lake.get_or_insert_with(|| (path.clone(), item.0));
                continue;
            }
            let earlier = *self.taken.entry(digest(&whole)).or_insert(item.0);
            if earlier != item.0 {
                shared.latecomers += 1;
                shared.first.get_or_insert_with(|| (path.clone(), earlier, item.0));
            }
        }
        self.problems.extend(wrong.into_result(()).err().unwrap_or_default());
        if let Some((path, item)) = &first_in_the_lake {
            let of = self.named(*item, datasets);
            let message = format!("{}: the file `{path}` of {of} lies in the lake itself", said(collector, pick_up));
            let problem = Problem::error(&pick_up.at, message).hint("a command that writes to the lake has `output: direct`");
            self.problems.push(match in_the_lake {
                1 => problem,
                many => problem.note(format!("{} items have a file there", grouped(many))),
            });
        }
        if let Some((path, earlier, item)) = &shared.first {
            let (earlier, item) = (self.named(*earlier, datasets), self.named(*item, datasets));
            let message = format!("{}: two items have the file `{path}`: {earlier} and {item}", said(collector, pick_up));
            let problem = Problem::error(&pick_up.at, message).hint("put more into the path, so that no two items have the same");
            self.problems.push(match shared.latecomers {
                1 => problem,
                many => problem.note(format!("{} items have a file that is another's", grouped(many))),
            });
        }
    }

    fn named(&self, item: u32, datasets: &[ExpectedDataset]) -> String {
        let dataset = &datasets[datasets.partition_point(|dataset| dataset.items.end <= item)];
        let across = Across::new(self.dimensions, &dataset.dimensions);
        format!("`{}` ({})", dataset.name(), describe(&across, &dataset.digits(ItemIx(item))))
    }
}

fn digest(path: &Path) -> Digest {
    *blake3::hash(path.as_os_str().as_encoded_bytes()).as_bytes().first_chunk().expect("a hash has 32 bytes")
}

fn said(collector: &Collector, pick_up: &PickUp) -> String {
    format!("collector `{}`: `pick_up: {}`", collector.name, pick_up.path.text())
}
