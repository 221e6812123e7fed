//! The store of milestone files: what lies in `active/`, remembered between looks so that only changed files are read.

mod walk;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use milescale_core::document::Flaw;
use milescale_core::facts::Facts;
use milescale_core::figures::StoreFigures;

use crate::read::{Stamp, Symlinks, read_regular};
use crate::yaml;

/// A file changed this short a time before it was read may change again without a new stamp: it is read again.
const CLOCK_TICK_NANOSECONDS: i64 = 2_000_000_000;

/// How much of the store a look takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// Every folder; of the files those that changed.
    Everything,
    /// These paths, each within `active/`. A path that turns out to be a folder widens the look to everything.
    Paths(Vec<PathBuf>),
}

/// How far a look went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As far as asked.
    AsAsked,
    /// To everything, because a path was that of a folder.
    Widened,
}

/// The store cannot be read, so that its last figures are stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// What cannot be read.
    pub path: PathBuf,
    /// Why, and what to do.
    pub reason: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for Unavailable {}

/// One milestone file as it was last read.
#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    /// Read so soon after its last change that the stamp proves nothing.
    fresh: bool,
    kiro_enabled: u32,
    requires: u32,
    /// What a person should know of it; rare, so boxed.
    remark: Option<Box<Remark>>,
    /// The look that saw it last.
    seen: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Remark {
    Flawed(Flaw),
    OtherId(Box<str>),
}

/// The milestone files of one workspace.
#[derive(Debug)]
pub struct FileStore {
    active: PathBuf,
    entries: HashMap<Box<Path>, Entry>,
    look: u32,
    /// Milestones that were there before this process looked; guards against taking a lost folder for an empty one.
    remembered: u64,
}

impl FileStore {
    /// The store in `active`; nothing is read yet. `remembered` is the last known number of milestones, 0 if none is.
    pub fn new(active: PathBuf, remembered: u64) -> Self {
        Self { active, entries: HashMap::new(), look: 0, remembered }
    }

    /// Looks at the store and remembers what is there. `now` is the wall clock.
    ///
    /// # Errors
    /// When folders cannot be read, or `active/` is gone though it held milestones: then nothing remembered changes.
    pub fn survey(&mut self, extent: &Extent, now: SystemTime) -> Result<Reach, Unavailable> {
        let mut reach = Reach::AsAsked;
        if let Extent::Paths(paths) = extent {
            let mut folder_among_them = false;
            for path in paths {
                folder_among_them |= self.look_at(path, now)? == Found::Folder;
            }
            if !folder_among_them {
                return Ok(reach);
            }
            reach = Reach::Widened;
        }
        self.look_at_everything(now).map(|()| reach)
    }

    fn look_at_everything(&mut self, now: SystemTime) -> Result<(), Unavailable> {
        let files = match walk::milestone_files(&self.active)? {
            Some(files) => files,
            None if self.entries.is_empty() && self.remembered == 0 => Vec::new(),
            None => {
                return Err(Unavailable {
                    path: self.active.clone(),
                    reason: "the folder is gone, and it held milestones; put it back, or make an empty one if they \
                             are meant to be gone"
                        .to_owned(),
                });
            }
        };
        self.look = self.look.wrapping_add(1);
        for path in files {
            self.read(path, now)?;
        }
        let look = self.look;
        self.entries.retain(|_, entry| entry.seen == look);
        self.entries.shrink_to(self.entries.len() * 2);
        self.remembered = self.entries.len() as u64;
        Ok(())
    }

    /// One path that somebody changed.
    fn look_at(&mut self, path: &Path, now: SystemTime) -> Result<Found, Unavailable> {
        let Ok(inside) = path.strip_prefix(&self.active) else { return Ok(Found::Folder) };
        if inside.iter().any(is_hidden) {
            return Ok(Found::File);
        }
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => Ok(Found::Folder),
            Ok(metadata) if metadata.is_file() && walk::is_milestone(inside) => {
                self.read(inside.into(), now)?;
                Ok(Found::File)
            }
            Ok(_) => Ok(self.forget(inside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(self.forget(inside)),
            Err(_) => Ok(Found::Folder),
        }
    }

    /// Drops what is no milestone any more. A folder's name may stand for all that was in it.
    fn forget(&mut self, inside: &Path) -> Found {
        let was_file = self.entries.remove(inside).is_some();
        if was_file || !self.entries.keys().any(|path| path.starts_with(inside)) { Found::File } else { Found::Folder }
    }

    fn read(&mut self, inside: Box<Path>, now: SystemTime) -> Result<(), Unavailable> {
        let path = self.active.join(&inside);
        let look = self.look;
        if let Some(entry) = self.entries.get_mut(&inside) {
            // A file that vanished since it was listed is dropped by the look, for `seen` stays behind.
            let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
            if metadata.is_file() && entry.stamp == Stamp::of(&metadata) && !entry.fresh {
                entry.seen = look;
                return Ok(());
            }
        }
        match read_regular(&path, Symlinks::Refuse, yaml::SIZE_LIMIT) {
            Ok((content, metadata)) => {
                let stamp = Stamp::of(&metadata);
                let (facts, remark) = match yaml::parse(&content) {
                    Ok(document) => {
                        let facts = Facts::of(document.tree());
                        let remark = other_id(&facts, &inside);
                        (facts, remark)
                    }
                    Err(flaw) => (Facts::default(), Some(Box::new(Remark::Flawed(flaw)))),
                };
                let fresh = nanoseconds(now).saturating_sub(stamp.changed()) < CLOCK_TICK_NANOSECONDS;
                let Facts { kiro_enabled, requires, .. } = facts;
                self.entries.insert(inside, Entry { stamp, fresh, kiro_enabled, requires, remark, seen: look });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if is_the_machines_fault(&error) => {
                return Err(Unavailable { path, reason: error.to_string() });
            }
            Err(error) => {
                // It is there, so it counts; its stamp matches nothing, so that every look tries it again.
                let flaw = Flaw { position: None, reason: format!("it cannot be read: {error}") };
                let remark = Some(Box::new(Remark::Flawed(flaw)));
                let stamp = Stamp::default();
                self.entries
                    .insert(inside, Entry { stamp, fresh: true, kiro_enabled: 0, requires: 0, remark, seen: look });
            }
        }
        Ok(())
    }

    /// Whether a file was read so soon after its last change that another look is due.
    pub fn wants_another_look(&self) -> bool {
        self.entries.values().any(|entry| entry.fresh)
    }

    /// The files that another look is due at.
    pub fn fresh_paths(&self) -> impl Iterator<Item = PathBuf> {
        self.entries.iter().filter(|(_, entry)| entry.fresh).map(|(path, _)| self.active.join(path))
    }

    /// The figures of what is remembered.
    pub fn figures(&self) -> StoreFigures {
        let sum = |of: fn(&Entry) -> u32| self.entries.values().map(|entry| u64::from(of(entry))).sum();
        StoreFigures {
            milestone_count: self.entries.len() as u64,
            kiro_enabled_count: sum(|entry| entry.kiro_enabled),
            dependency_count: sum(|entry| entry.requires),
        }
    }

    /// The milestones that count and add nothing else, by path in `active/`.
    pub fn flawed(&self) -> BTreeMap<PathBuf, Flaw> {
        self.remarks()
            .filter_map(|(path, remark)| match remark {
                Remark::Flawed(flaw) => Some((path.to_owned(), flaw.clone())),
                Remark::OtherId(_) => None,
            })
            .collect()
    }

    /// Files whose `id:` is not their name, by path in `active/`.
    pub fn other_ids(&self) -> BTreeMap<PathBuf, String> {
        self.remarks()
            .filter_map(|(path, remark)| match remark {
                Remark::OtherId(id) => Some((path.to_owned(), id.to_string())),
                Remark::Flawed(_) => None,
            })
            .collect()
    }

    /// Ids that several files in different folders have, and the files.
    pub fn duplicates(&self) -> BTreeMap<String, Vec<PathBuf>> {
        let mut by_name: HashMap<&OsStr, Vec<&Path>> = HashMap::new();
        // One folder has each name once: the common case costs no map.
        if self.entries.keys().all(|path| path.parent().is_none_or(|folder| folder.as_os_str().is_empty())) {
            return BTreeMap::new();
        }
        for path in self.entries.keys() {
            by_name.entry(path.file_name().unwrap_or_default()).or_default().push(path);
        }
        by_name.retain(|_, paths| paths.len() > 1);
        by_name
            .into_iter()
            .map(|(name, mut paths)| {
                paths.sort();
                (id_of(Path::new(name)), paths.into_iter().map(Path::to_path_buf).collect())
            })
            .collect()
    }

    fn remarks(&self) -> impl Iterator<Item = (&Path, &Remark)> {
        self.entries.iter().filter_map(|(path, entry)| Some((&**path, entry.remark.as_deref()?)))
    }
}

/// What a path turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// A milestone file, or nothing that counts: dealt with.
    File,
    /// A folder: only a look at everything tells.
    Folder,
}

/// A milestone's id: its file's name without `.yaml`.
pub fn id_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".yaml").unwrap_or(&name).to_owned()
}

fn other_id(facts: &Facts, path: &Path) -> Option<Box<Remark>> {
    let declared = facts.declared_id.as_deref()?;
    (declared != id_of(path)).then(|| Box::new(Remark::OtherId(declared.into())))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Errors that say nothing about the file: the next look may do better, and until then nothing is known.
fn is_the_machines_fault(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let faults = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::STALE];
    error.raw_os_error().is_some_and(|code| faults.iter().any(|fault| fault.raw_os_error() == code))
}

fn nanoseconds(instant: SystemTime) -> i64 {
    let since = instant.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
