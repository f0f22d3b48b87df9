//! The folder of an attempt: `items.jsonl` for the command to read, `out/` for it to fill.
//!
//! Made with as few system calls as there are files, because this is done thousands of times a second. Nothing that is
//! no plain file counts as staged: a link could point anywhere.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use adce_core::ports::{Order, OrderItem};
use adce_core::sets::SetPlace;
use adce_core::spec::Output;
use serde::Serialize;
use serde::ser::SerializeMap;

use crate::command::folder::{Kind, entries};
use crate::command::output::readable;
use crate::command::workplaces::{Skeleton, Workplaces};

/// More strange files than this are only counted.
const STRAYS_NAMED: usize = 100;

/// What was found in `out/` after the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Staged {
    /// By place of the item in the order: the file and its size.
    pub(crate) files: HashMap<usize, (PathBuf, u64)>,
    /// By place of an item that is a set: its files and their sizes, ordered by name.
    pub(crate) sets: BTreeMap<usize, Vec<(PathBuf, u64)>>,
    /// Relative to `out/`.
    pub(crate) strays: Vec<String>,
    pub(crate) strays_not_named: u64,
    /// Relative to `out/`, which is among them as the empty path.
    pub(crate) folders: HashSet<PathBuf>,
    /// By place of the item in the order: what was found where its file was to be picked up.
    pub(crate) not_there: HashMap<usize, String>,
    /// The file is what the command printed.
    pub(crate) is_printed: bool,
}

#[derive(Serialize)]
struct ItemLine<'a> {
    item: String,
    key: &'a str,
    out: &'a Path,
    dataset: &'a str,
    reason: &'static str,
    values: Values<'a>,
}

struct Values<'a>(&'a [(String, String)]);

impl Serialize for Values<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, text) in self.0 {
            map.serialize_entry(name, text)?;
        }
        map.end()
    }
}

/// Writes `items.jsonl` and makes every folder in which an item's file will lie.
pub(crate) fn prepare(order: &Order, workplaces: &Workplaces) -> io::Result<Skeleton> {
    let mut skeleton = match workplaces.begin(order) {
        Some(skeleton) => skeleton,
        None => {
            own_folder(&order.folder)?;
            Skeleton::default()
        }
    };
    let out = order.out_folder();
    make_folder(&out, Path::new(""), &mut skeleton.folders)?;
    let mut lines = Vec::with_capacity(256 * order.items.len());
    for item in &order.items {
        let path = order.staged_path(item);
        if order.collector.output != Output::Direct {
            let folder = if item.set.is_some() { Some(path.as_path()) } else { path.parent() };
            let parent = folder.and_then(|folder| folder.strip_prefix(&out).ok());
            make_folder(&out, parent.unwrap_or(Path::new("")), &mut skeleton.folders)?;
        }
        write_line(&mut lines, item, &path)?;
    }
    write_items(&order.folder.join("items.jsonl"), &lines)?;
    Ok(skeleton)
}

/// Whoever gave the order may have made it already.
pub(crate) fn own_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => fs::create_dir_all(folder),
        made_or_not => made_or_not,
    }
}

/// What we have not made does not exist: no call is made to find out. `folder` is relative to `out`.
fn make_folder(out: &Path, folder: &Path, made: &mut HashSet<PathBuf>) -> io::Result<()> {
    if made.contains(folder) {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folder(out, parent, made)?;
    }
    fs::create_dir(out.join(folder))?;
    made.insert(folder.to_owned());
    Ok(())
}

/// A link in its place is not followed: it was not made by us. An earlier attempt's file is written over and then cut, because
/// emptying it first would free its block, and a disk that discards freed blocks makes the attempt wait for that.
fn write_items(path: &Path, lines: &[u8]) -> io::Result<()> {
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).custom_flags(no_link).open(path)?;
    file.write_all(lines)?;
    if file.metadata()?.len() > lines.len() as u64 { file.set_len(lines.len() as u64) } else { Ok(()) }
}

fn write_line(lines: &mut Vec<u8>, item: &OrderItem, out: &Path) -> io::Result<()> {
    let line = ItemLine {
        item: item.item.to_string(),
        key: &item.key,
        out,
        dataset: &item.dataset,
        reason: item.reason.word(),
        values: Values(&item.values),
    };
    serde_json::to_writer(&mut *lines, &line)?;
    lines.push(b'\n');
    Ok(())
}

/// Looks through `out/`.
pub(crate) fn look(order: &Order) -> io::Result<Staged> {
    let objects = order.items.iter().enumerate().filter(|(_, item)| item.set.is_none());
    let expected: HashMap<PathBuf, usize> = objects.map(|(at, item)| (order.staged_path(item), at)).collect();
    let sets = Sets::of(order);
    let out = order.out_folder();
    let mut staged = Staged::default();
    let mut folders = vec![out.clone()];
    while let Some(folder) = folders.pop() {
        staged.folders.insert(folder.strip_prefix(&out).unwrap_or(&folder).to_owned());
        let mut found = Vec::new();
        entries(&folder, |name, kind| found.push((folder.join(name), kind)))?;
        for (path, kind) in found {
            match (expected.get(&path), kind) {
                (Some(item), Kind::File) => {
                    let size = fs::symlink_metadata(&path)?.len();
                    staged.files.insert(*item, (path, size));
                }
                (_, Kind::Folder) => folders.push(path),
                (None, Kind::File) if let Some(item) = sets.item_of(&folder, &path) => {
                    let size = fs::symlink_metadata(&path)?.len();
                    staged.sets.entry(item).or_default().push((path, size));
                }
                _ => staged.stray(&path, &out),
            }
        }
    }
    staged.strays.sort();
    staged.sets.values_mut().for_each(|files| files.sort());
    Ok(staged)
}

/// Items that are sets of objects, by the folder in which their parts are staged.
struct Sets<'a>(HashMap<PathBuf, Vec<(usize, SetPlace<'a>)>>);

impl<'a> Sets<'a> {
    fn of(order: &'a Order) -> Self {
        let mut sets: HashMap<PathBuf, Vec<_>> = HashMap::new();
        for (at, item) in order.items.iter().enumerate() {
            if let Some(place) = item.set_place() {
                sets.entry(order.staged_path(item)).or_default().push((at, place));
            }
        }
        Sets(sets)
    }

    /// The item that this file is a part, or the marker, of.
    fn item_of(&self, folder: &Path, file: &Path) -> Option<usize> {
        let name = file.file_name()?.to_str()?;
        let here = self.0.get(folder)?;
        here.iter().find(|(_, place)| place.member(&format!("{}{name}", place.folder())).is_some()).map(|(at, _)| *at)
    }
}

impl Staged {
    fn stray(&mut self, path: &Path, out: &Path) {
        if self.strays.len() == STRAYS_NAMED {
            self.strays_not_named += 1;
            return;
        }
        let name = path.strip_prefix(out).unwrap_or(path);
        self.strays.push(readable(&name.to_string_lossy()));
    }
}
