//! In which folders most of many keys lie, in bounded memory: a space-saving sketch.
//!
//! Always true: a folder with more than a sixty-fourth of all keys is among those that are told, no count is less than what
//! it counts, and it is too high by `over` at most (`whoever_has_many_keys_is_told`).

use hashbrown::HashMap;

/// How many folders are counted at a time.
pub const MOST_FOLDERS: usize = 64;

/// Keys by folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    counted: HashMap<Box<str>, Folder>,
}

/// One folder and the keys in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folder {
    pub keys: u64,
    /// So many of them may be another folder's, that was given up for this one.
    pub over: u64,
}

impl Folders {
    pub fn add(&mut self, key: &str) {
        let name = folder_of(key);
        if let Some(folder) = self.counted.get_mut(name) {
            folder.keys += 1;
            return;
        }
        let mut over = 0;
        if self.counted.len() >= MOST_FOLDERS {
            // Of equals the last by name, so that the same keys in the same order give the same folders.
            let least = self.counted.iter().min_by(|(a, x), (b, y)| (x.keys, b).cmp(&(y.keys, a)));
            if let Some((least, folder)) = least.map(|(least, folder)| (least.clone(), *folder)) {
                self.counted.remove(&least);
                over = folder.keys;
            }
        }
        self.counted.insert(name.into(), Folder { keys: over + 1, over });
    }

    /// Those with the most keys first.
    pub fn sorted(&self) -> Vec<(&str, Folder)> {
        let mut all: Vec<(&str, Folder)> = self.counted.iter().map(|(name, folder)| (&**name, *folder)).collect();
        all.sort_by(|(a, x), (b, y)| (y.keys - y.over).cmp(&(x.keys - x.over)).then_with(|| a.cmp(b)));
        all
    }
}

/// With its slash; empty for what lies at the top.
fn folder_of(key: &str) -> &str {
    &key[..key.rfind('/').map_or(0, |slash| slash + 1)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whoever_has_many_keys_is_told(keys in proptest::collection::vec((0..200_u32, 0..4_u32), 0..3_000)) {
            let mut folders = Folders::default();
            let mut exact: BTreeMap<String, u64> = BTreeMap::new();
            for (folder, skew) in &keys {
                // Few folders with much, many with little.
                let name = format!("f{}/", if *skew == 0 { *folder } else { folder % 7 });
                folders.add(&format!("{name}x"));
                *exact.entry(name).or_default() += 1;
            }
            let told = folders.sorted();
            prop_assert!(told.len() <= MOST_FOLDERS);
            for (name, folder) in &told {
                let exact = exact[*name];
                prop_assert!(folder.keys >= exact && folder.keys - folder.over <= exact, "{}: {:?} of {}", name, folder, exact);
            }
            for (name, count) in exact.iter().filter(|(_, count)| **count * MOST_FOLDERS as u64 > keys.len() as u64) {
                prop_assert!(told.iter().any(|(told, _)| told == name), "{} of {} keys are in {}", count, keys.len(), name);
            }
        }
    }

    #[test]
    fn a_folder_is_what_stands_before_the_last_slash() {
        let mut folders = Folders::default();
        ["a/b/c", "a/b/d", "top", "a//x"].iter().for_each(|key| folders.add(key));
        let named: Vec<(&str, u64)> = folders.sorted().into_iter().map(|(name, folder)| (name, folder.keys)).collect();
        assert_eq!(named, [("a/b/", 2), ("", 1), ("a//", 1)]);
    }
}
