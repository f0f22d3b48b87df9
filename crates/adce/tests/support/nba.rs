//! A real collector's lake at five moments, from `../shared/data/dev/nba_stats_collection`. A fresh clone does not have
//! it; tests over it say so and are done.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

pub struct Collection {
    folder: PathBuf,
}

/// The lake after one of the collector's commits.
#[derive(Clone, Debug)]
pub struct State {
    /// As the change list writes it.
    pub as_of: String,
    /// Size by key.
    pub objects: HashMap<String, u64>,
}

impl Collection {
    pub fn find() -> Option<Collection> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dev/nba_stats_collection");
        if folder.is_dir() {
            Some(Collection { folder })
        } else {
            println!("skipped: {} is not here", folder.display());
            None
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn schedule(&self) -> PathBuf {
        self.folder.join("schedule.csv")
    }

    /// The five moments, oldest first.
    pub fn states(&self) -> Vec<State> {
        let mut text = String::new();
        let file = std::fs::File::open(self.folder.join("changes.csv.gz")).expect("the list of changes");
        GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
        let mut states: Vec<State> = Vec::new();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let [time, change, key, size, _etag] = fields[..] else { panic!("a line of changes: {line}") };
            if states.last().is_none_or(|state| state.as_of != time) {
                let objects = states.last().map(|state| state.objects.clone()).unwrap_or_default();
                states.push(State { as_of: time.to_owned(), objects });
            }
            let objects = &mut states.last_mut().expect("a state").objects;
            match change {
                "D" => objects.remove(key),
                _ => objects.insert(key.to_owned(), size.parse().expect("a size")),
            };
        }
        states
    }

    /// Files of the right sizes without content.
    pub fn write_lake(&self, lake: &Path, objects: &HashMap<String, u64>) {
        for (key, size) in objects {
            let path = lake.join(key);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            std::fs::File::create(path).expect("a file").set_len(*size).expect("a size");
        }
    }

    /// Every expected object with its size in `whole`: games of the schedule times their files.
    pub fn expected_sizes(&self, whole: &HashMap<String, u64>) -> Vec<(String, u64)> {
        let schedule = std::fs::read_to_string(self.schedule()).expect("the schedule");
        let mut expected = Vec::new();
        for row in schedule.lines().skip(1) {
            let mut fields = row.split(',');
            let (season, game) = (fields.next().expect("a season"), fields.next().expect("a game"));
            let mut keys = vec![format!("raw-data/playbyplay/{season}/{game}.csv"), format!("raw-data/playbyplayv2/{season}/{game}.csv")];
            keys.extend(["q1", "q2", "q3", "q4"].map(|quarter| format!("raw-data/boxscoretraditionalv2/{season}/{game}_{quarter}.csv")));
            expected.extend(keys.into_iter().map(|key| {
                let size = whole[&key];
                (key, size)
            }));
        }
        assert_eq!(expected.len(), 36_900);
        expected
    }
}
