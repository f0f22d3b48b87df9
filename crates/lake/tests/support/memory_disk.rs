//! A disk in memory that remembers what was synced, stops at any operation, and loses what a power cut may lose.
//!
//! A file system promises little: content is on disk after a sync of the file, names after a sync of their folder, and
//! everything else may or may not have reached it, in any combination. This disk keeps both versions of everything and
//! lets a test choose among the combinations.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use adce_lake::files::{Entry, Files, Kind, Stat, Written};
use nix::errno::Errno;

/// What became of the things that nobody synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerCut {
    /// All of them are lost.
    Strict,
    /// Names are there, content is not: what many file systems do to a rename that overtook its data.
    NamesWithoutContent,
    /// Names are there, and the first half of the content.
    NamesWithHalfTheContent,
    /// Nothing is lost: only the process died.
    Nothing,
    /// Each folder and each file decides for itself.
    Dice(u64),
}

/// A mistake of the code above that this disk can play, to show that a test would notice it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    None,
    ContentIsNotSynced,
    FoldersAreNotSynced,
    ContentIsSyncedAfterTheRename,
}

#[derive(Clone)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
struct State {
    nodes: HashMap<u64, Node>,
    next: u64,
    operations: u64,
    /// Every operation from this one on fails: the machine is off.
    off_from: Option<u64>,
    /// This one operation fails.
    fails: Option<(u64, Errno)>,
    mistake: Mistake,
    /// Files whose sync waits until the operation after the rename.
    late: Vec<u64>,
    renamed: bool,
    /// A folder that may not be read.
    closed: Option<PathBuf>,
}

#[derive(Clone)]
enum Node {
    File { now: Vec<u8>, synced: Vec<u8>, modified_ns: u32 },
    Folder { now: BTreeMap<String, u64>, synced: BTreeMap<String, u64> },
}

const ROOT: u64 = 1;

impl MemoryDisk {
    pub fn new(mistake: Mistake) -> Self {
        let root = Node::Folder { now: BTreeMap::new(), synced: BTreeMap::new() };
        let state = State {
            nodes: HashMap::from([(ROOT, root)]),
            next: ROOT + 1,
            operations: 0,
            off_from: None,
            fails: None,
            mistake,
            late: Vec::new(),
            renamed: false,
            closed: None,
        };
        MemoryDisk { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Makes a durable folder.
    pub fn with_folder(self, path: &str) -> Self {
        self.create_folder(Path::new(path)).unwrap();
        self.settle();
        self
    }

    /// Makes a durable file.
    pub fn with_file(self, path: &str, content: &[u8]) -> Self {
        self.state().create(Path::new(path), content.to_vec()).unwrap();
        self.settle();
        self
    }

    pub fn close_folder(&self, path: &str) {
        self.state().closed = Some(path.into());
    }

    pub fn settle(&self) {
        for node in self.state().nodes.values_mut() {
            match node {
                Node::File { now, synced, .. } => synced.clone_from(now),
                Node::Folder { now, synced } => synced.clone_from(now),
            }
        }
    }

    pub fn off_from(&self, operation: u64) {
        let mut state = self.state();
        state.operations = 0;
        state.off_from = Some(operation);
    }

    pub fn fail_at(&self, operation: u64, errno: Errno) {
        let mut state = self.state();
        state.operations = 0;
        state.fails = Some((operation, errno));
    }

    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state();
        match &state.nodes[&state.find(Path::new(path)).ok()?] {
            Node::File { now, .. } => Some(now.clone()),
            Node::Folder { .. } => None,
        }
    }

    pub fn names(&self, path: &str) -> Vec<String> {
        let state = self.state();
        match state.find(Path::new(path)).map(|node| &state.nodes[&node]) {
            Ok(Node::Folder { now, .. }) => now.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// What another machine finds on this disk.
    pub fn after(&self, cut: PowerCut) -> MemoryDisk {
        let mut state = self.state().clone();
        (state.operations, state.off_from, state.fails) = (0, None, None);
        for (inode, node) in &mut state.nodes {
            match node {
                Node::Folder { now, synced } if cut.loses_names(*inode) => now.clone_from(synced),
                Node::Folder { .. } => {}
                Node::File { now, synced, .. } if now != synced => cut.spoil(*inode, now, synced),
                Node::File { .. } => {}
            }
        }
        MemoryDisk { state: Arc::new(Mutex::new(state)) }
    }
}

impl PowerCut {
    fn loses_names(self, inode: u64) -> bool {
        match self {
            PowerCut::Strict => true,
            PowerCut::Dice(seed) => dice(seed, inode).is_multiple_of(2),
            _ => false,
        }
    }

    fn spoil(self, inode: u64, now: &mut Vec<u8>, synced: &[u8]) {
        let half = now.len() / 2;
        match self {
            PowerCut::Strict | PowerCut::NamesWithoutContent => *now = synced.to_vec(),
            PowerCut::NamesWithHalfTheContent => now.truncate(half),
            PowerCut::Nothing => {}
            PowerCut::Dice(seed) => match dice(seed, inode) % 3 {
                0 => *now = synced.to_vec(),
                1 => now.truncate(half),
                _ => {}
            },
        }
    }
}

/// SplitMix64: small, and the same on every machine.
fn dice(seed: u64, inode: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ inode.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        let at = self.operations;
        self.operations += 1;
        if self.off_from.is_some_and(|off| at >= off) {
            return Err(Errno::EIO.into());
        }
        if self.renamed {
            std::mem::take(&mut self.late).into_iter().for_each(|late| self.sync(late));
        }
        match self.fails {
            Some((operation, errno)) if operation == at => Err(errno.into()),
            _ => Ok(()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<u64> {
        let mut node = ROOT;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            match &self.nodes[&node] {
                Node::File { .. } => return Err(Errno::ENOTDIR.into()),
                Node::Folder { now, .. } => node = *now.get(name.to_str().unwrap()).ok_or(Errno::ENOENT)?,
            }
        }
        Ok(node)
    }

    fn folder_of<'a>(&mut self, path: &'a Path) -> io::Result<(&mut BTreeMap<String, u64>, &'a str)> {
        let parent = self.find(path.parent().unwrap())?;
        let name = path.file_name().and_then(OsStr::to_str).unwrap();
        match self.nodes.get_mut(&parent).unwrap() {
            Node::Folder { now, .. } => Ok((now, name)),
            Node::File { .. } => Err(Errno::ENOTDIR.into()),
        }
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<u64> {
        let inode = self.next;
        let (folder, name) = self.folder_of(path)?;
        if folder.contains_key(name) {
            return Err(Errno::EEXIST.into());
        }
        folder.insert(name.into(), inode);
        self.nodes.insert(inode, node);
        self.next += 1;
        Ok(inode)
    }

    fn create(&mut self, path: &Path, content: Vec<u8>) -> io::Result<u64> {
        let modified_ns = u32::try_from(self.next).unwrap();
        self.add(path, Node::File { now: content, synced: Vec::new(), modified_ns })
    }

    fn sync(&mut self, inode: u64) {
        match self.nodes.get_mut(&inode).unwrap() {
            Node::File { now, synced, .. } => synced.clone_from(now),
            Node::Folder { now, synced } => synced.clone_from(now),
        }
    }

    fn stat(&self, inode: u64) -> Stat {
        match &self.nodes[&inode] {
            Node::File { now, modified_ns, .. } => {
                Stat { kind: Kind::File, inode, size: now.len() as u64, modified_s: 1_700_000_000, modified_ns: *modified_ns }
            }
            Node::Folder { .. } => Stat { kind: Kind::Folder, inode, size: 0, modified_s: 1_700_000_000, modified_ns: 0 },
        }
    }

    fn shift(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.find(from)?;
        let (folder, name) = self.folder_of(to)?;
        folder.insert(name.into(), inode);
        let (folder, name) = self.folder_of(from)?;
        folder.remove(name);
        self.renamed = true;
        Ok(())
    }
}

impl Files for MemoryDisk {
    fn look(&self, path: &Path) -> io::Result<Stat> {
        let state = self.state();
        state.find(path).map(|inode| state.stat(inode))
    }

    fn look_through(&self, path: &Path) -> io::Result<(PathBuf, Stat)> {
        self.look(path).map(|stat| (path.to_owned(), stat))
    }

    fn entries(&self, folder: &Path, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        let state = self.state();
        if state.closed.as_deref() == Some(folder) {
            return Err(Errno::EACCES.into());
        }
        let Node::Folder { now, .. } = &state.nodes[&state.find(folder)?] else { return Err(Errno::ENOTDIR.into()) };
        for (name, inode) in now {
            let stat = state.stat(*inode);
            if each(Entry { name: OsStr::new(name), kind: stat.kind, stat: &|| Ok(stat) }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.add(path, Node::Folder { now: BTreeMap::new(), synced: BTreeMap::new() }).map(|_| ())
    }

    fn copy_new(&self, from: &Path, to: &Path) -> io::Result<Box<dyn Written>> {
        let mut state = self.state();
        state.step()?;
        let Node::File { now: content, .. } = state.nodes[&state.find(from)?].clone() else { return Err(Errno::EISDIR.into()) };
        let inode = state.create(to, Vec::new())?;
        for part in [content.len() / 2, content.len()] {
            state.step()?;
            let Some(Node::File { now, .. }) = state.nodes.get_mut(&inode) else { unreachable!("just made") };
            *now = content[..part].to_vec();
        }
        Ok(Box::new(OnMemoryDisk { disk: self.clone(), inode }))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inode = state.find(path)?;
        if state.mistake != Mistake::FoldersAreNotSynced {
            state.sync(inode);
        }
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        if state.find(to).is_ok() {
            return Err(Errno::EEXIST.into());
        }
        state.shift(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.shift(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let (folder, name) = state.folder_of(path)?;
        folder.remove(name).map(|_| ()).ok_or_else(|| Errno::ENOENT.into())
    }
}

struct OnMemoryDisk {
    disk: MemoryDisk,
    inode: u64,
}

impl Written for OnMemoryDisk {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        match state.mistake {
            Mistake::ContentIsNotSynced => {}
            Mistake::ContentIsSyncedAfterTheRename => state.late.push(self.inode),
            Mistake::None | Mistake::FoldersAreNotSynced => state.sync(self.inode),
        }
        Ok(())
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(self.disk.state().stat(self.inode))
    }
}
