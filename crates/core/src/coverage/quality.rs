//! Sizes that look wrong although nothing is missing: above `max_size`, or far from what is usual in the dataset.
//!
//! A page "please try again later" of the right size class, or a file with a day's rows twice, is no gap by any rule that
//! adce can be sure of. So this warns, by name, and never makes a gap.
//!
//! Usual is the median, and far is what differs from it by a factor that is large beside the spread of the others: by more
//! than six times their median deviation, on a scale of factors, and at least fourfold. Sizes are counted in steps of 3 %,
//! so the memory is a few kilobytes for any number of objects, and the median is right to within a step
//! (`the_median_is_right_to_within_a_step`).

use super::expected::{Expected, ItemIx};
use super::inventory::Inventory;
use super::state::Sight;
use crate::spec::Spec;

/// Objects that are named, of each kind.
pub const NAMED: usize = 5;
/// Fewer objects have no usual size.
const FEWEST: u64 = 20;
/// Steps to a doubling.
const STEPS: usize = 1 << STEP_BITS;
const STEP_BITS: u32 = 5;
/// Fourfold.
const LEAST_FACTOR: usize = 2 * STEPS;
/// Six standard deviations of what is spread evenly, if a deviation is 1.4826 medians of it: as much as 1 in 10^9 by chance.
const DEVIATIONS: f64 = 6.0 * 1.4826;

/// What is strange about the sizes of one dataset's objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Bytes that half of the objects have at most; `None`: there are too few.
    pub usual_bytes: Option<u64>,
    pub oversized: Strange,
    pub unusual: Strange,
}

/// Objects of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strange {
    pub objects: u64,
    /// The first of them by key, with their bytes.
    pub named: Vec<(String, u64)>,
}

impl Strange {
    fn add(&mut self, expected: &Expected, item: ItemIx, bytes: u64) {
        self.objects += 1;
        if self.named.len() < NAMED {
            let mut key = String::new();
            expected.key(item, &mut key);
            self.named.push((key, bytes));
        }
    }
}

/// Of each dataset, in the order of [`Expected::datasets`].
pub fn quality(expected: &Expected, spec: &Spec, inventory: &Inventory) -> Vec<Quality> {
    let of = |dataset: &super::ExpectedDataset| {
        let rules = &spec.datasets[dataset.name()];
        // A set that may be empty and is tells nothing of what is usual.
        let least = spec.least_bytes(rules).max(1);
        let sizes = || {
            dataset.items().filter_map(|item| match inventory.sight(item) {
                Sight::There(found) if found.size >= least => Some((item, found.size)),
                _ => None,
            })
        };
        let mut scale = Scale::new();
        sizes().for_each(|(_, bytes)| scale.add(bytes));
        let usual = scale.usual();
        let mut quality = Quality { usual_bytes: usual.map(|usual| usual.bytes()), ..Quality::default() };
        for (item, bytes) in sizes() {
            if rules.max_size.is_some_and(|most| bytes > most) {
                quality.oversized.add(expected, item, bytes);
            } else if usual.is_some_and(|usual| usual.is_far(bytes)) {
                quality.unusual.add(expected, item, bytes);
            }
        }
        quality
    };
    expected.datasets().iter().map(of).collect()
}

/// How many objects have about so many bytes.
struct Scale {
    steps: Vec<u64>,
    objects: u64,
}

/// Median and spread, in steps.
#[derive(Clone, Copy, Debug)]
struct Usual {
    step: usize,
    far: usize,
}

impl Usual {
    fn is_far(self, bytes: u64) -> bool {
        step_of(bytes).abs_diff(self.step) > self.far
    }

    fn bytes(self) -> u64 {
        bytes_of(self.step)
    }
}

impl Scale {
    fn new() -> Scale {
        Scale { steps: vec![0; 64 * STEPS], objects: 0 }
    }

    fn add(&mut self, bytes: u64) {
        self.steps[step_of(bytes)] += 1;
        self.objects += 1;
    }

    fn usual(&self) -> Option<Usual> {
        if self.objects < FEWEST {
            return None;
        }
        let half = self.objects.div_ceil(2);
        let step = first_with(half, self.steps.iter().copied())?;
        let at = |step: Option<usize>| step.and_then(|step| self.steps.get(step)).copied().unwrap_or(0);
        let around = (0..self.steps.len()).map(|off| match off {
            0 => self.steps[step],
            off => at(step.checked_sub(off)) + at(Some(step + off)),
        });
        let deviation = first_with(half, around)?;
        let far = (deviation as f64 * DEVIATIONS).ceil() as usize;
        Some(Usual { step, far: far.max(LEAST_FACTOR) })
    }
}

/// Where the sum reaches so many.
fn first_with(many: u64, counts: impl Iterator<Item = u64>) -> Option<usize> {
    let mut sum = 0;
    counts.enumerate().find_map(|(at, count)| {
        sum += count;
        (sum >= many).then_some(at)
    })
}

/// Sizes grow by the same factor from step to step, near enough: the highest bit and the five behind it.
fn step_of(bytes: u64) -> usize {
    let bytes = bytes.max(1);
    let high = bytes.ilog2();
    let behind = (u128::from(bytes) << STEP_BITS >> high) as usize & (STEPS - 1);
    high as usize * STEPS + behind
}

/// The least size of a step.
fn bytes_of(step: usize) -> u64 {
    let (high, behind) = (step / STEPS, (step % STEPS) as u128);
    ((((1 << STEP_BITS) + behind) << high) >> STEP_BITS) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Observation;
    use super::super::sample::{Files, Sample, at};
    use super::*;
    use crate::object::Object;

    fn of(sizes: &[u64], max_size: Option<u64>) -> (Quality, Vec<u64>) {
        of_at_least(10, sizes, max_size)
    }

    fn of_at_least(min_size: u64, sizes: &[u64], max_size: Option<u64>) -> (Quality, Vec<u64>) {
        let names: Vec<String> = (0..sizes.len()).map(|at| format!("{at:04}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut sample = Sample::new(Files::default()).list("n", &names).dataset("d", "d/{n}", &["n"]);
        sample.spec.datasets["d"].max_size = max_size;
        sample.spec.datasets["d"].min_size = min_size;
        let expected = sample.expand("2024-12-01T00:00:00Z").unwrap();
        let now = at("2024-12-01T00:00:00Z");
        let mut look = Observation::new(&expected, &sample.spec);
        look.begin("d/", now);
        for (name, size) in names.iter().zip(sizes) {
            look.object(&Object { key: format!("d/{name}"), size: *size, last_modified: now, etag: String::new() });
        }
        look.prefix_complete("d/");
        let quality = quality(&expected, &sample.spec, &look.finish()).swap_remove(0);
        let named = quality.unusual.named.iter().map(|(_, bytes)| *bytes).collect();
        (quality, named)
    }

    #[test]
    fn what_is_far_from_the_others_is_named_and_what_varies_is_not() {
        // Around 1,000 bytes, give or take a tenth; then twice that, and ten times.
        let mut sizes: Vec<u64> = (0..100).map(|at| 950 + at).collect();
        sizes.extend([2_000, 10_000, 90, 5]);
        let (quality, named) = of(&sizes, None);
        assert_eq!(named, [10_000, 90], "twice the usual is nothing strange, and 5 bytes are a gap");
        assert_eq!((quality.unusual.objects, quality.oversized.objects), (2, 0));
        // Where sizes differ by the hundredfold anyway, tenfold is not far.
        let sizes: Vec<u64> = (0..100).map(|at| 100 << (at % 7)).chain([30_000]).collect();
        assert_eq!(of(&sizes, None).1, [0_u64; 0]);
        // All alike: fourfold is far.
        let sizes: Vec<u64> = [1_000; 50].into_iter().chain([3_900, 4_200]).collect();
        assert_eq!(of(&sizes, None).1, [4_200]);
    }

    #[test]
    fn a_set_that_may_be_empty_and_is_has_no_strange_size() {
        let sizes: Vec<u64> = [1_000; 50].into_iter().chain([0, 1]).collect();
        assert_eq!(of_at_least(0, &sizes, None).1, [1]);
        assert_eq!(of_at_least(0, &[0; 50], None).0.usual_bytes, None);
    }

    #[test]
    fn few_objects_have_no_usual_size() {
        let (quality, named) = of(&[100, 100, 100, 100_000], Some(50_000));
        assert_eq!((quality.usual_bytes, named.len(), quality.oversized.objects), (None, 0, 1));
    }

    #[test]
    fn what_is_too_large_is_told_once_and_the_first_are_named() {
        let sizes: Vec<u64> = [1_000; 50].into_iter().chain([9_000; 8]).collect();
        let (quality, _) = of(&sizes, Some(8_999));
        assert_eq!((quality.oversized.objects, quality.oversized.named.len(), quality.unusual.objects), (8, NAMED, 0));
    }

    proptest! {
        #[test]
        fn the_median_is_right_to_within_a_step(sizes in proptest::collection::vec(10..1_000_000_000_u64, 20..60)) {
            let (quality, _) = of(&sizes, None);
            let mut sorted = sizes.clone();
            sorted.sort_unstable();
            let median = sorted[(sorted.len() - 1) / 2] as f64;
            let told = quality.usual_bytes.unwrap() as f64;
            prop_assert!(told <= median && told * 1.04 + 1.0 >= median, "{} is told for {}", told, median);
        }

        #[test]
        fn a_step_begins_where_it_says(bytes in 1..u64::MAX) {
            let least = bytes_of(step_of(bytes));
            prop_assert!(least <= bytes && step_of(least) == step_of(bytes) && (least as f64) * 1.04 + 1.0 >= bytes as f64);
        }
    }
}
