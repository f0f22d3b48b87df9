//! Answers that are kept, as files in a folder: what an engine before this one kept is there, and no more than it may be.
//!
//! Each file is a body, then what is known of it, then how long that is. It is written under another name and gets its own when it
//! is whole; it is read as a whole before it is asked about, and one that is not as it was written is removed
//! (`what_was_damaged_is_asked_for_anew`). Which URL it is of stands nowhere: its name is a digest. Nothing is synced: a power cut costs answers,
//! and they are asked for again.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use adce_core::kept::{Asked, Header, Keeping, KeptAnswer, KeptAnswers, Validators};
use serde::{Deserialize, Serialize};

/// One answer must not push out all others.
const SHARE_OF_ONE: u64 = 8;
/// Longer heads were refused when they came.
const HEAD_AT_MOST: u64 = 4 * crate::HEAD_AT_MOST as u64;
const LENGTH_BYTES: u64 = 8;

/// Answers in a folder of their own.
pub struct Answers {
    inside: Arc<Inside>,
}

struct Inside {
    folder: PathBuf,
    at_most: u64,
    index: Mutex<Index>,
}

/// What is there, and who was asked for last.
#[derive(Default)]
struct Index {
    by_name: HashMap<String, Entry>,
    by_use: BTreeMap<u64, String>,
    bytes: u64,
    uses: u64,
    parts: u64,
}

struct Entry {
    bytes: u64,
    used: u64,
}

/// Stands behind the body.
#[derive(Serialize, Deserialize)]
struct About {
    validators: Validators,
    variant: String,
    headers: Vec<Header>,
    bytes: u64,
    /// Of the body, and of these lines with this one empty.
    digest: String,
}

impl Answers {
    /// Opens the folder, or makes it, for its owner alone. `at_most`: bytes of all of them.
    pub fn open(folder: &Path, at_most: u64) -> io::Result<Answers> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut there: Vec<(SystemTime, String, u64)> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (name, about) = (entry.file_name().to_string_lossy().into_owned(), entry.metadata()?);
            match is_name(&name) {
                true => there.push((about.modified()?, name, about.len())),
                // Of one that never became whole.
                false if name.ends_with(PART) => fs::remove_file(entry.path())?,
                false => {}
            }
        }
        there.sort();
        let inside = Inside { folder: folder.to_owned(), at_most, index: Mutex::default() };
        for (_, name, bytes) in there {
            inside.add(name, bytes, None)?;
        }
        Ok(Answers { inside: Arc::new(inside) })
    }
}

const PART: &str = ".part";

fn is_name(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Inside {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// One is there, or comes from `part`; those that nobody asked for the longest make room.
    fn add(&self, name: String, bytes: u64, part: Option<&Path>) -> io::Result<()> {
        // Held meanwhile, or who makes room could remove what has just come.
        let mut index = self.index();
        part.map_or(Ok(()), |part| fs::rename(part, self.path(&name)))?;
        index.remove(&name);
        index.uses += 1;
        let used = index.uses;
        index.by_use.insert(used, name.clone());
        index.by_name.insert(name, Entry { bytes, used });
        index.bytes += bytes;
        while index.bytes > self.at_most {
            let Some(oldest) = index.by_use.first_key_value().map(|(_, name)| name.clone()) else { break };
            index.remove(&oldest);
            let _ = fs::remove_file(self.path(&oldest));
        }
        Ok(())
    }

    fn use_of(&self, name: &str) {
        let mut index = self.index();
        index.uses += 1;
        let used = index.uses;
        if let Some(entry) = index.by_name.get_mut(name) {
            let before = std::mem::replace(&mut entry.used, used);
            index.by_use.remove(&before);
            index.by_use.insert(used, name.to_owned());
        }
    }

    fn forget(&self, name: &str) {
        let mut index = self.index();
        index.remove(name);
        let _ = fs::remove_file(self.path(name));
    }

    fn read(&self, asked: &Asked) -> io::Result<KeptAnswer> {
        let mut body = File::open(self.path(&asked.name))?;
        let all = body.metadata()?.len();
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let mut length = [0; LENGTH_BYTES as usize];
        body.seek(SeekFrom::Start(all.checked_sub(LENGTH_BYTES).ok_or_else(damaged)?))?;
        body.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        let length = Some(length).filter(|length| *length <= HEAD_AT_MOST).ok_or_else(damaged)?;
        let bytes = all.checked_sub(LENGTH_BYTES + length).ok_or_else(damaged)?;
        let mut lines = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        body.seek(SeekFrom::Start(bytes))?;
        body.read_exact(&mut lines)?;
        let mut about: About = serde_json::from_slice(&lines).map_err(|_| damaged())?;
        let digest = std::mem::take(&mut about.digest);
        body.rewind()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader((&body).take(bytes))?;
        hasher.update(&serde_json::to_vec(&about)?);
        if about.bytes != bytes || hasher.finalize().to_hex().as_str() != digest {
            return Err(damaged());
        }
        if about.variant != asked.variant(&about.validators.vary) {
            return Err(io::ErrorKind::NotFound.into());
        }
        body.rewind()?;
        // Whoever comes after this engine is to know who was asked for last.
        let _ = body.set_modified(SystemTime::now());
        Ok(KeptAnswer { validators: about.validators, headers: about.headers, body, bytes })
    }
}

impl Index {
    fn remove(&mut self, name: &str) {
        if let Some(Entry { bytes, used }) = self.by_name.remove(name) {
            self.by_use.remove(&used);
            self.bytes -= bytes;
        }
    }
}

impl KeptAnswers for Answers {
    fn may_have(&self, asked: &Asked) -> bool {
        self.inside.index().by_name.contains_key(&asked.name)
    }

    fn find(&self, asked: &Asked) -> Option<KeptAnswer> {
        if !self.may_have(asked) {
            return None;
        }
        match self.inside.read(asked) {
            Ok(kept) => {
                self.inside.use_of(&asked.name);
                Some(kept)
            }
            // Of another variant; the next answer takes its place.
            Err(why) if why.kind() == io::ErrorKind::NotFound => None,
            Err(why) => {
                tracing::warn!(%why, "an answer that was kept is not as it was written, and is asked for anew");
                self.inside.forget(&asked.name);
                None
            }
        }
    }

    fn keep(&self, asked: &Asked, validators: Validators, headers: Vec<Header>) -> Option<Box<dyn Keeping>> {
        let part = {
            let mut index = self.inside.index();
            index.parts += 1;
            self.inside.folder.join(format!("{}-{}{PART}", asked.name, index.parts))
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let file = file.inspect_err(|why| tracing::warn!(%why, "an answer cannot be kept")).ok()?;
        let about = About { variant: asked.variant(&validators.vary), validators, headers, bytes: 0, digest: String::new() };
        let (inside, hasher) = (self.inside.clone(), blake3::Hasher::new());
        Some(Box::new(Coming { inside, name: asked.name.clone(), part: Part(part), file, hasher, about }))
    }

    fn forget(&self, asked: &Asked) {
        self.inside.forget(&asked.name);
    }
}

struct Coming {
    inside: Arc<Inside>,
    name: String,
    part: Part,
    file: File,
    hasher: blake3::Hasher,
    about: About,
}

/// Goes unless it got another name.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Keeping for Coming {
    fn push(&mut self, bytes: &[u8]) -> bool {
        self.about.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
        self.about.bytes <= self.inside.at_most / SHARE_OF_ONE && self.file.write_all(bytes).is_ok()
    }

    fn whole(mut self: Box<Self>) {
        if let Err(why) = self.end() {
            tracing::warn!(%why, "an answer cannot be kept");
        }
    }
}

impl Coming {
    fn end(&mut self) -> io::Result<()> {
        self.hasher.update(&serde_json::to_vec(&self.about)?);
        self.about.digest = self.hasher.finalize().to_hex().to_string();
        let mut lines = serde_json::to_vec(&self.about)?;
        let length = lines.len() as u64;
        lines.extend(length.to_le_bytes());
        self.file.write_all(&lines)?;
        self.inside.add(std::mem::take(&mut self.name), self.about.bytes + length + LENGTH_BYTES, Some(&self.part.0))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn asked(url: &str, language: &str) -> Asked {
        Asked::get(url, [("accept-language", language.as_bytes())].into_iter()).unwrap()
    }

    fn keep(answers: &Answers, asked: &Asked, vary: &[&str], body: &[u8]) -> bool {
        let vary = vary.iter().map(|name| (*name).to_owned()).collect();
        let validators = Validators { etag: Some("\"a\"".into()), last_modified: None, vary };
        let mut coming = answers.keep(asked, validators, vec![("x".into(), b"1".to_vec())]).unwrap();
        let takes = coming.push(&body[..body.len() / 2]) && coming.push(&body[body.len() / 2..]);
        if takes {
            coming.whole();
        }
        takes
    }

    fn body(answers: &Answers, asked: &Asked) -> Option<Vec<u8>> {
        answers.find(asked).map(|kept| {
            let mut read = Vec::new();
            kept.body.take(kept.bytes).read_to_end(&mut read).unwrap();
            assert_eq!((kept.headers, kept.validators.etag.as_deref()), (vec![("x".into(), b"1".to_vec())], Some("\"a\"")));
            read
        })
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_was_kept_is_there_for_the_same_request_and_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("answers");
        let answers = Answers::open(&place, 1 << 20).unwrap();
        let (german, english) = (asked("https://a/x", "de"), asked("https://a/x", "en"));
        assert!(keep(&answers, &german, &["accept-language"], b"guten Tag"));
        for answers in [&answers, &Answers::open(&place, 1 << 20).unwrap()] {
            assert_eq!(body(answers, &german).as_deref(), Some(&b"guten Tag"[..]));
            assert_eq!(body(answers, &english), None, "upstream has another one for it");
            assert_eq!(body(answers, &asked("https://a/y", "de")), None);
        }
        assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o700);
        let [file] = &files(&place)[..] else { panic!("one file") };
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!String::from_utf8_lossy(&fs::read(file).unwrap()).contains("https://a/x"), "where it came from is nobody's business");
    }

    #[test]
    fn what_was_damaged_is_asked_for_anew() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::open(folder.path(), 1 << 20).unwrap();
        let asked = asked("https://a/x", "de");
        let damages: [fn(&mut Vec<u8>); 6] = [
            |bytes| bytes.truncate(bytes.len() / 2),
            |bytes| bytes.truncate(3),
            |bytes| bytes.clear(),
            |bytes| bytes[2] ^= 1,
            // The body one shorter, and all else as it was.
            |bytes| *bytes = bytes.split_off(1),
            |bytes| bytes.extend([0xff; 8]),
        ];
        for damage in damages {
            assert!(keep(&answers, &asked, &[], b"a body"));
            let [file] = &files(folder.path())[..] else { panic!("one file") };
            let mut bytes = fs::read(file).unwrap();
            damage(&mut bytes);
            fs::write(file, bytes).unwrap();
            assert_eq!(body(&answers, &asked), None);
            assert!(files(folder.path()).is_empty(), "it is gone");
        }
    }

    #[test]
    fn there_is_never_more_than_there_may_be_and_who_was_asked_for_last_stays() {
        let folder = tempfile::tempdir().unwrap();
        const AT_MOST: u64 = 40_000;
        let answers = Answers::open(folder.path(), AT_MOST).unwrap();
        let first = asked("https://a/first", "de");
        assert!(keep(&answers, &first, &[], &[1; 4_000]));
        for number in 0..100 {
            assert!(keep(&answers, &asked(&format!("https://a/{number}"), "de"), &[], &[2; 4_000]));
            assert!(body(&answers, &first).is_some(), "it is asked for all the time");
            let bytes: u64 = files(folder.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
            assert!(bytes <= AT_MOST);
        }
        assert!(!keep(&answers, &asked("https://a/huge", "de"), &[], &[3; 6_000]), "more than an eighth");
        let smaller = Answers::open(folder.path(), 10_000).unwrap();
        assert!(files(folder.path()).len() == 2 && body(&smaller, &first).is_some());
    }

    #[test]
    fn half_an_answer_leaves_the_one_before_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let answers = Answers::open(folder.path(), 1 << 20).unwrap();
        let asked = asked("https://a/x", "de");
        assert!(keep(&answers, &asked, &[], b"before"));
        let mut half = answers.keep(&asked, Validators::default(), Vec::new()).unwrap();
        assert!(half.push(b"ha"));
        // As after a kill.
        fs::copy(files(folder.path()).iter().find(|file| file.to_string_lossy().ends_with(PART)).unwrap(), folder.path().join("dead.part"))
            .unwrap();
        drop(half);
        assert_eq!(body(&Answers::open(folder.path(), 1 << 20).unwrap(), &asked).as_deref(), Some(&b"before"[..]));
        assert_eq!(files(folder.path()).len(), 1);
    }
}
