//! The store of milestone files: what lies in `active/`, remembered between looks so that only changed files are read.

mod columns;
mod displaced;
mod moving;
mod store;
mod texts;
mod walk;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use milescale_core::document::Flaw;
use milescale_core::facts::Facts;
use milescale_core::figures::StoreFigures;
use milescale_core::milestone::Columns;

use crate::error::{Problem, StoreError};
use crate::read::{Stamp, Symlinks, read_regular};
use crate::sqlite::LedgerFile;
use crate::store::Extent;
use crate::workspace::Workspace;
use crate::yaml;

pub(crate) use columns::ColumnsHash;
pub use displaced::{Overwritten, review};
pub use moving::retire;

/// A file changed this short a time before it was read may change again without a new stamp: it is read again.
const CLOCK_TICK_NANOSECONDS: i64 = 2_000_000_000;

/// One milestone file as it was last read.
#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    /// Read so soon after its last change that the stamp proves nothing.
    fresh: bool,
    kiro_enabled: u32,
    requires: u32,
    /// What an index should say of it.
    columns: ColumnsHash,
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
    workspace: Workspace,
    active: PathBuf,
    entries: HashMap<Box<Path>, Entry>,
    look: u32,
    /// How many files were read or forgotten: grows when something may have changed.
    changes: u64,
    /// Milestones that were there before this process looked; guards against taking a lost folder for an empty one.
    remembered: u64,
    /// Ids whose files were read or forgotten since somebody asked, once somebody has.
    touched: Option<BTreeSet<String>>,
    /// The base of old stores, once it was needed.
    ledger: Option<LedgerFile>,
}

impl FileStore {
    /// The store in `active/`; nothing is read yet. `remembered` is the last known number of milestones, 0 if none is.
    pub fn new(workspace: Workspace, remembered: u64) -> Self {
        Self {
            active: workspace.active(),
            workspace,
            entries: HashMap::new(),
            look: 0,
            changes: 0,
            remembered,
            touched: None,
            ledger: None,
        }
    }

    /// Looks and remembers what is there. Whether the look was widened to everything.
    fn look(&mut self, extent: &Extent, now: SystemTime) -> Result<bool, StoreError> {
        if let Extent::Paths(paths) = extent {
            let mut folder_among_them = false;
            for path in paths {
                folder_among_them |= self.look_at(path, now)? == Found::Folder;
            }
            if !folder_among_them {
                return Ok(false);
            }
        }
        self.look_at_everything(now)?;
        Ok(*extent != Extent::Everything)
    }

    fn look_at_everything(&mut self, now: SystemTime) -> Result<(), StoreError> {
        let files = match walk::milestone_files(&self.workspace)? {
            Some(files) => files,
            None if self.entries.is_empty() && self.remembered == 0 => Vec::new(),
            None => {
                let cause = "the folder is gone, and it held milestones; put it back, or make an empty one if they \
                             are meant to be gone";
                return Err(StoreError::new(Problem::Unavailable, self.workspace.shown(&self.active), cause));
            }
        };
        self.look = self.look.wrapping_add(1);
        for path in files {
            self.read(path, now)?;
        }
        let (look, before) = (self.look, self.entries.len());
        let touched = &mut self.touched;
        self.entries.retain(|path, entry| {
            let is_there = entry.seen == look;
            if let Some(touched) = touched.as_mut().filter(|_| !is_there) {
                touched.insert(id_of(path));
            }
            is_there
        });
        self.changes += (before - self.entries.len()) as u64;
        self.entries.shrink_to(self.entries.len() * 2);
        self.remembered = self.entries.len() as u64;
        Ok(())
    }

    /// One path that somebody changed.
    fn look_at(&mut self, path: &Path, now: SystemTime) -> Result<Found, StoreError> {
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
        self.changes += u64::from(was_file);
        if was_file {
            self.touch(inside);
        }
        if was_file || !self.entries.keys().any(|path| path.starts_with(inside)) { Found::File } else { Found::Folder }
    }

    fn read(&mut self, inside: Box<Path>, now: SystemTime) -> Result<(), StoreError> {
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
        self.changes += 1;
        self.touch(&inside);
        match read_regular(&path, Symlinks::Refuse, yaml::SIZE_LIMIT) {
            Ok((content, metadata)) => {
                let stamp = Stamp::of(&metadata);
                let (facts, columns, remark) = match yaml::parse(&content) {
                    Ok(document) => {
                        let facts = Facts::of(document.tree());
                        let columns = ColumnsHash::of(&Columns::of(&id_of(&inside), document.tree()));
                        let remark = other_id(&facts, &inside);
                        (facts, columns, remark)
                    }
                    Err(flaw) => (Facts::default(), ColumnsHash::unknown(), Some(Box::new(Remark::Flawed(flaw)))),
                };
                let fresh = nanoseconds(now).saturating_sub(stamp.changed()) < CLOCK_TICK_NANOSECONDS;
                let Facts { kiro_enabled, requires, .. } = facts;
                self.entries
                    .insert(inside, Entry { stamp, fresh, kiro_enabled, requires, columns, remark, seen: look });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if is_the_machines_fault(&error) => {
                let place = self.workspace.shown(&path);
                return Err(StoreError::new(Problem::Unavailable, place, error.to_string()));
            }
            Err(error) => {
                // It is there, so it counts; its stamp matches nothing, so that every look tries it again.
                let flaw = Flaw { position: None, reason: format!("it cannot be read: {error}") };
                let remark = Some(Box::new(Remark::Flawed(flaw)));
                let (stamp, columns) = (Stamp::default(), ColumnsHash::unknown());
                let entry = Entry { stamp, fresh: true, kiro_enabled: 0, requires: 0, columns, remark, seen: look };
                self.entries.insert(inside, entry);
            }
        }
        Ok(())
    }

    fn touch(&mut self, inside: &Path) {
        if let Some(touched) = &mut self.touched {
            touched.insert(id_of(inside));
        }
    }

    /// The files that another look is due at.
    fn fresh_paths(&self) -> Vec<PathBuf> {
        self.entries.iter().filter(|(_, entry)| entry.fresh).map(|(path, _)| self.active.join(path)).collect()
    }

    /// What one file, by its path in `active/`, adds to the figures: kiro and dependencies; `None` without the file.
    pub(crate) fn adds(&self, inside: &Path) -> Option<(u32, u32)> {
        self.entries.get(inside).map(|entry| (entry.kiro_enabled, entry.requires))
    }

    /// A number that stays the same while no look finds a change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// What the last look found: the path in `active/` of each file, and what an index should say of it.
    pub(crate) fn found(&self) -> impl Iterator<Item = (&Path, ColumnsHash)> {
        self.entries.iter().map(|(path, entry)| (&**path, entry.columns))
    }

    /// The figures of what is remembered.
    fn figures(&self) -> StoreFigures {
        let sum = |of: fn(&Entry) -> u32| self.entries.values().map(|entry| u64::from(of(entry))).sum();
        StoreFigures {
            milestone_count: self.entries.len() as u64,
            kiro_enabled_count: sum(|entry| entry.kiro_enabled),
            dependency_count: sum(|entry| entry.requires),
        }
    }

    /// A path in `active/` as people read it.
    fn shown(&self, path: &Path) -> String {
        self.workspace.shown(&self.active.join(path))
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
