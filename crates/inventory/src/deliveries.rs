//! Where reports are delivered: the newest that is whole, with its files at hand.
//!
//! AWS puts data files into `data/`, and when all of them are there `manifest.json` and its checksum into a folder named after
//! the time. So a report is whole when manifest and checksum agree and each file is there with the size and MD5 that the
//! manifest says. Anything else is refused with the name of the file, and the next older one is asked
//! (`a_report_is_whole_or_refused_with_the_files_name`).
//!
//! Files in a bucket are fetched once, into a folder of their own, under the name of their checksum; those of a local
//! folder are read where they lie. A file is checked once for as long as it stays as it is.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use adce_core::ports::{Lake, LakeError};
use adce_core::report::{Damaged, Newest, Refused, Reports};
use adce_core::time::{SignedDuration, Timestamp};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use md5::{Digest, Md5};

use crate::manifest::{DataFile, MANIFEST_BYTES_MAX, Manifest};
use crate::reading::{LocalFile, WholeReport, each};

/// Reports come daily or weekly; of older ones all are looked through.
const RECENT_DAYS: i64 = 10;

/// Where so many in a row cannot be believed, older ones will not help.
const REFUSED_MAX: usize = 5;

const FETCHED_AT_ONCE: usize = 4;

/// What another report left among the fetched files goes after that: somebody may still be reading it.
const LEFTOVERS_AFTER: Duration = Duration::from_secs(3_600);

/// A folder with dated folders in it.
pub struct Shelf {
    lake: Arc<dyn Lake>,
    /// Empty, or ends in `/`.
    folder: String,
    local: Option<PathBuf>,
}

impl Shelf {
    /// `lake`: the whole bucket, for manifests name their files from its root.
    pub fn bucket(lake: Arc<dyn Lake>, folder: &str) -> Shelf {
        Shelf { lake, folder: folder.to_owned(), local: None }
    }

    /// `lake`: that folder.
    pub fn folder(lake: Arc<dyn Lake>, folder: &Path) -> Shelf {
        Shelf { lake, folder: String::new(), local: Some(folder.to_owned()) }
    }

    /// Where a file may lie that a manifest names: at its key, or below the folder if somebody moved or copied all of it.
    fn places(&self, key: &str) -> impl Iterator<Item = String> {
        let below = std::iter::successors(Some(key), |rest| rest.split_once('/').map(|(_, rest)| rest));
        let below: Vec<String> = below.filter(|rest| !rest.is_empty()).map(|rest| format!("{}{rest}", self.folder)).collect();
        std::iter::once(key.to_owned()).filter(|_| self.local.is_none()).chain(below)
    }
}

/// Deliveries of one inventory configuration.
pub struct Deliveries {
    shelf: Shelf,
    /// Fetched files go here; nothing else lies there.
    fetched: PathBuf,
    /// Local files that were found to be what their manifest says, as they were then.
    checked: Mutex<HashMap<PathBuf, Seen>>,
}

#[derive(Clone, PartialEq)]
struct Seen {
    size: u64,
    modified: Option<SystemTime>,
    md5: String,
}

/// Why one report is not to be had.
enum Trouble {
    Damaged(Damaged),
    /// Nobody can look there now.
    Lake(LakeError),
}

impl From<Damaged> for Trouble {
    fn from(damaged: Damaged) -> Self {
        Trouble::Damaged(damaged)
    }
}

impl From<LakeError> for Trouble {
    fn from(error: LakeError) -> Self {
        Trouble::Lake(error)
    }
}

/// What a dated folder has in it.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    manifest: bool,
    checksum: bool,
}

#[async_trait]
impl Reports for Deliveries {
    async fn newest(&self, bucket: &str, but: &[String], now: Timestamp) -> Result<Newest, LakeError> {
        let mut found = Newest::default();
        // Tomorrow, too: clocks differ.
        for back in -1..RECENT_DAYS {
            let day = now.checked_sub(SignedDuration::from_hours(24 * back)).unwrap_or(now);
            self.among(&day.strftime("%Y-%m-%d").to_string(), bucket, but, &mut found).await?;
            if found.report.is_some() || found.refused.len() >= REFUSED_MAX {
                return Ok(found);
            }
        }
        self.among("", bucket, but, &mut found).await?;
        Ok(found)
    }
}

impl Deliveries {
    pub fn new(shelf: Shelf, fetched: impl Into<PathBuf>) -> Deliveries {
        Deliveries { shelf, fetched: fetched.into(), checked: Mutex::default() }
    }

    /// The newest whole one of those whose names begin so.
    async fn among(&self, begin: &str, bucket: &str, but: &[String], found: &mut Newest) -> Result<(), LakeError> {
        for (name, parts) in self.dated(begin).await?.into_iter().rev() {
            if but.contains(&name) || found.refused.iter().any(|refused| refused.name == name) {
                continue;
            }
            match self.whole(&name, parts, bucket).await {
                Ok(report) => {
                    found.report = Some(Arc::new(report));
                    return Ok(());
                }
                Err(Trouble::Lake(error)) => return Err(error),
                Err(Trouble::Damaged(why)) => found.refused.push(Refused { name, why }),
            }
            if found.refused.len() >= REFUSED_MAX {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn dated(&self, begin: &str) -> Result<BTreeMap<String, Parts>, LakeError> {
        let mut dated: BTreeMap<String, Parts> = BTreeMap::new();
        let folder = self.shelf.folder.as_str();
        let mut see = |object: adce_core::object::Object| {
            let Some((name, file)) = object.key.strip_prefix(folder).and_then(|rest| rest.split_once('/')) else { return };
            if !is_dated(name) {
                return;
            }
            match file {
                "manifest.json" => dated.entry(name.to_owned()).or_default().manifest = true,
                "manifest.checksum" => dated.entry(name.to_owned()).or_default().checksum = true,
                _ => {}
            }
        };
        self.shelf.lake.list(&format!("{folder}{begin}"), &mut see).await?;
        Ok(dated)
    }

    /// The report of this name, with all its files at hand.
    async fn whole(&self, name: &str, parts: Parts, bucket: &str) -> Result<WholeReport, Trouble> {
        let missing = |file: &str| Damaged { file: format!("{name}/{file}"), what: "it is not there; the delivery has not ended".into() };
        if !parts.manifest {
            return Err(missing("manifest.json").into());
        }
        if !parts.checksum {
            return Err(missing("manifest.checksum").into());
        }
        let file = format!("{name}/manifest.json");
        let damaged = |what: String| Damaged { file: file.clone(), what };
        let written = self.small(&file).await?;
        let checksum = self.small(&format!("{name}/manifest.checksum")).await?;
        let checksum = String::from_utf8_lossy(&checksum).trim().to_ascii_lowercase();
        let md5 = hex(&Md5::digest(&written));
        if checksum != md5 {
            return Err(damaged(format!("its MD5 is {md5}, and `manifest.checksum` says {}", shortened(&checksum))).into());
        }
        let manifest = Manifest::parse(&written).map_err(damaged)?;
        if manifest.bucket != bucket {
            return Err(damaged(format!("it tells of the bucket `{}`, and the lake is in `{bucket}`", manifest.bucket)).into());
        }
        let fetching: Vec<_> = manifest.files.iter().map(|file| self.at_hand(file).boxed()).collect();
        let at_hand: Vec<Result<AtHand, Trouble>> = futures::stream::iter(fetching).buffered(FETCHED_AT_ONCE).collect().await;
        let at_hand = at_hand.into_iter().collect::<Result<Vec<AtHand>, Trouble>>()?;
        self.clear_away(&at_hand);
        self.checked(name, manifest, at_hand).await.map_err(Trouble::Damaged)
    }

    /// Off the runtime's threads: a checksum over gigabytes takes seconds.
    async fn checked(&self, name: &str, manifest: Manifest, at_hand: Vec<AtHand>) -> Result<WholeReport, Damaged> {
        let name = name.to_owned();
        let done = tokio::task::spawn_blocking(move || {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            each(&at_hand, cores, AtHand::check)?;
            let files = at_hand.iter().map(AtHand::in_place).collect();
            let report = WholeReport::new(&name, &manifest, files)?;
            Ok((report, at_hand))
        });
        let (report, at_hand) = match done.await {
            Ok(done) => done?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.extend(at_hand.into_iter().filter_map(|file| Some((file.local.path, file.seen?))));
        Ok(report)
    }

    /// A file of a dated folder.
    async fn small(&self, file: &str) -> Result<Vec<u8>, Trouble> {
        let damaged = |what: String| Damaged { file: file.to_owned(), what };
        let key = format!("{}{file}", self.shelf.folder);
        let there = self.shelf.lake.head(&key).await?.ok_or_else(|| damaged("it is not there any more".into()))?;
        if there.size > MANIFEST_BYTES_MAX {
            return Err(damaged(format!("{} bytes are more than any manifest has", there.size)).into());
        }
        let read = |path: &Path| fs::read(path).map_err(|error| damaged(format!("it cannot be read: {error}")));
        if let Some(root) = &self.shelf.local {
            return Ok(read(&root.join(&key))?);
        }
        let copy = self.temporary(&hex(&Md5::digest(file.as_bytes())))?;
        let fetched = self.shelf.lake.download(&key, &copy).await;
        let bytes = fetched.map_err(Trouble::Lake).and_then(|_| Ok(read(&copy)?));
        let _ = fs::remove_file(&copy);
        bytes
    }

    /// A data file as a local one, of the right size.
    async fn at_hand(&self, file: &DataFile) -> Result<AtHand, Trouble> {
        let damaged = |what: String| Damaged { file: file.key.clone(), what };
        let local = |path: PathBuf| LocalFile { name: file.key.clone(), path };
        let fetched = self.fetched.join(&file.md5);
        if self.shelf.local.is_none() && fs::metadata(&fetched).is_ok_and(|there| there.len() == file.size) {
            return Ok(AtHand { local: local(fetched), size: file.size, md5: file.md5.clone(), seen: None, becomes: None, known: true });
        }
        let Some((key, size)) = self.find(&file.key).await? else {
            return Err(damaged("the manifest names it, and it is not there".into()).into());
        };
        if size != file.size {
            return Err(damaged(format!("it has {size} bytes, and the manifest says {}", file.size)).into());
        }
        let (path, becomes) = match &self.shelf.local {
            Some(root) => (root.join(key), None),
            None => {
                let copy = self.temporary(&file.md5)?;
                self.shelf.lake.download(&key, &copy).await?;
                (copy, Some(fetched))
            }
        };
        let seen = becomes.is_none().then(|| Seen { size, modified: modified(&path), md5: file.md5.clone() });
        let known = seen.is_some() && self.checked.lock().unwrap_or_else(PoisonError::into_inner).get(&path) == seen.as_ref();
        Ok(AtHand { local: local(path), size: file.size, md5: file.md5.clone(), seen, becomes, known })
    }

    /// The first place at which a file of this key lies, and its size.
    async fn find(&self, key: &str) -> Result<Option<(String, u64)>, LakeError> {
        for place in self.shelf.places(key) {
            match self.shelf.lake.head(&place).await {
                Ok(Some(object)) => return Ok(Some((place, object.size))),
                Ok(None) | Err(LakeError::BadKey { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// A new file among the fetched ones, of this process alone.
    fn temporary(&self, name: &str) -> Result<PathBuf, LakeError> {
        // What lies beside the state is for nobody else.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.fetched);
        let what = || format!("folder `{}`", self.fetched.display());
        made.map_err(|error| LakeError::NoRoom { what: what(), detail: error.to_string() })?;
        Ok(self.fetched.join(format!("{name}.{}.part", std::process::id())))
    }

    /// Fetched files of other reports go.
    fn clear_away(&self, wanted: &[AtHand]) {
        if self.shelf.local.is_some() {
            return;
        }
        for entry in fs::read_dir(&self.fetched).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_wanted = wanted.iter().any(|file| file.local.path == path || file.becomes.as_ref() == Some(&path));
            let age = modified(&path).and_then(|at| at.elapsed().ok());
            if !is_wanted && age.is_some_and(|age| age > LEFTOVERS_AFTER) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// A data file of the right size on this machine.
struct AtHand {
    local: LocalFile,
    size: u64,
    md5: String,
    /// Of a file in its own place: as it was found.
    seen: Option<Seen>,
    /// Of a file that was just fetched: where it goes when it is found right.
    becomes: Option<PathBuf>,
    /// It was checked before.
    known: bool,
}

impl AtHand {
    /// Where it is when it was checked.
    fn in_place(&self) -> LocalFile {
        LocalFile { path: self.becomes.clone().unwrap_or_else(|| self.local.path.clone()), ..self.local.clone() }
    }

    fn check(&self) -> Result<(), Damaged> {
        if self.known {
            return Ok(());
        }
        let checked = self.compare();
        match (&checked, &self.becomes) {
            (Ok(()), Some(place)) => fs::rename(&self.local.path, place).map_err(|error| self.local.damaged(error.to_string())),
            (Err(_), Some(_)) => {
                let _ = fs::remove_file(&self.local.path);
                checked
            }
            (_, None) => checked,
        }
    }

    fn compare(&self) -> Result<(), Damaged> {
        let (md5, size) = digest(&self.local.path).map_err(|error| self.local.damaged(format!("it cannot be read: {error}")))?;
        if size != self.size {
            return Err(self.local.damaged(format!("it has {size} bytes, and the manifest says {}", self.size)));
        }
        if md5 != self.md5 {
            return Err(self.local.damaged(format!("its MD5 is {md5}, and the manifest says {}", self.md5)));
        }
        Ok(())
    }
}

fn digest(path: &Path) -> io::Result<(String, u64)> {
    let (mut file, mut digest, mut size) = (File::open(path)?, Md5::new(), 0);
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok((hex(&digest.finalize()), size)),
            read => {
                digest.update(&block[..read]);
                size += read as u64;
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// `2025-01-09T01-00Z`
fn is_dated(name: &str) -> bool {
    let shape = b"dddd-dd-ddTdd-ddZ";
    let fits = |(byte, shape): (u8, &u8)| if *shape == b'd' { byte.is_ascii_digit() } else { byte == *shape };
    name.len() == shape.len() && name.bytes().zip(shape).all(fits)
}

fn shortened(text: &str) -> String {
    if text.is_empty() { "nothing".into() } else { text.chars().take(40).collect() }
}
