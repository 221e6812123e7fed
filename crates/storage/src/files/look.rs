//! Looking at the files: all of them, or those that somebody changed. Only what is not known to be unchanged is read.

use std::ffi::CStr;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use milescale_document::columns::Columns;
use milescale_document::document::Flaw;
use milescale_document::gathered::Gathered;
use milescale_document::yaml;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::read::{Reader, Stamp};
use milescale_workspace::readers::Readers;
use milescale_workspace::ways::Ways;
use milescale_workspace::{Place, Workspace};

use super::scan::{c_path, dated};
use super::table::{Known, Table};
use super::walk::{self, Batch};
use super::{ColumnsHash, FileStore, Remark, id_of, is_hidden, with_id};
use crate::store::Extent;
use crate::threads::in_shares;

/// Why a milestone counts as one that cannot be parsed, where its text is not for all.
const NOT_FOR_ALL: &str = "its text cannot be parsed; what is wrong is not said here, for not all who read this may read the file: \
                           `milescale milestone list` shows it";

/// What was read of a file.
struct Found {
    known: Known,
    remark: Option<Remark>,
    is_fresh: bool,
    /// What an index says of it, where that was asked for.
    said: Option<Box<Said>>,
    /// Who may read the file.
    readers: Readers,
}

/// Who is told what an index says of a file: its path in `active/`, the columns, and when it was last written.
type Tell<'a> = &'a mut dyn FnMut(&Path, Columns, Option<String>);

/// The columns of a file, and when it was last written.
type Said = (Columns, Option<String>);

/// What a path turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A milestone file, or nothing that counts: dealt with.
    File,
    /// A folder: only a look at everything tells.
    Folder,
}

impl FileStore {
    /// Looks and remembers what is there. Whether the look was widened to everything.
    pub(super) fn look(&mut self, extent: &Extent, now: SystemTime) -> Result<bool, StoreError> {
        if let Extent::Paths(paths) = extent {
            let mut folder_among_them = false;
            for path in paths {
                folder_among_them |= self.look_at(path, now)? == Kind::Folder;
            }
            if !folder_among_them {
                return Ok(false);
            }
        }
        self.look_at_everything(now, None)?;
        Ok(*extent != Extent::Everything)
    }

    /// Reads every file, remembers what is there, and hands over what an index says of each: its path in `active/`, the
    /// columns, and when it was last written. In no order.
    pub(crate) fn look_and_tell(&mut self, now: SystemTime, tell: Tell<'_>) -> Result<(), StoreError> {
        self.look_at_everything(now, Some(tell))
    }

    fn look_at_everything(&mut self, now: SystemTime, mut tell: Option<Tell<'_>>) -> Result<(), StoreError> {
        if self.look == 0 && self.table.is_empty() {
            self.recall();
        }
        self.look = self.look.wrapping_add(1);
        self.ways = Ways::default();
        let (workspace, look) = (self.workspace.clone(), self.look);
        let is_there = walk::walk(&workspace, &mut |batch| {
            let changed = changed_files(&self.table, batch, look, now, tell.is_some());
            self.table.make_room_for(changed.len());
            changed.into_iter().try_for_each(|(path, mut found)| {
                if let Some(tell) = &mut tell {
                    let said = found.as_mut().ok().and_then(|found| found.said.take()).map(|said| *said);
                    let (columns, updated_at) = said.unwrap_or_else(|| (Columns::unreadable(&id_of(&path)), None));
                    let is_gone = found.as_ref().err().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
                    if !is_gone {
                        tell(&path, columns, updated_at);
                    }
                }
                self.take_in(path, found, look)
            })
        })?;
        if !is_there && (!self.table.is_empty() || self.remembered != 0) {
            return Err(lost_folder(&self.workspace));
        }
        let (changes, touched) = (&mut self.changes, &mut self.touched);
        self.table.forget_unseen(look, |path| {
            *changes += 1;
            if let Some(touched) = touched {
                touched.insert(id_of(path));
            }
        });
        self.remembered = self.table.len() as u64;
        Ok(())
    }

    /// One path that somebody changed.
    fn look_at(&mut self, path: &Path, now: SystemTime) -> Result<Kind, StoreError> {
        self.ways = Ways::default();
        let active = self.active.path();
        let Ok(inside) = path.strip_prefix(&active) else { return Ok(Kind::Folder) };
        if inside.iter().any(is_hidden) {
            return Ok(Kind::File);
        }
        match self.active.join(inside).status_of_name() {
            Ok(metadata) if metadata.is_dir() => Ok(Kind::Folder),
            Ok(metadata) if metadata.is_file() && walk::is_milestone(inside) => {
                let stamp = Stamp::of(&metadata);
                if !self.table.find(inside).is_some_and(|remembered| remembered.is_unchanged(stamp, self.look)) {
                    let found = read_path(&self.active, inside, now);
                    self.take_in(inside.into(), found, self.look)?;
                }
                Ok(Kind::File)
            }
            Ok(_) => Ok(self.forget(inside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(self.forget(inside)),
            Err(_) => Ok(Kind::Folder),
        }
    }

    /// Drops what is no milestone any more. A folder's name may stand for all that was in it.
    fn forget(&mut self, inside: &Path) -> Kind {
        let was_file = self.table.remove(inside);
        self.changes += u64::from(was_file);
        if was_file {
            self.touch(inside);
        }
        if was_file || !self.table.has_below(inside) { Kind::File } else { Kind::Folder }
    }

    /// Remembers what was read.
    fn take_in(&mut self, path: Box<Path>, found: io::Result<Found>, look: u32) -> Result<(), StoreError> {
        let found = match found {
            Ok(found) => found,
            // A file that vanished since it was listed is forgotten by the look, which has not seen it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if is_the_machines_fault(&error) => {
                let place = self.workspace.shown(&self.active.join(path));
                return Err(StoreError::new(Problem::Unavailable, place, error.to_string()));
            }
            Err(error) => {
                // It is there, so it counts; its stamp matches nothing, so that every look tries it again.
                let flaw = Flaw { position: None, reason: format!("it cannot be read: {error}") };
                let (stamp, columns) = (Stamp::default(), ColumnsHash::unknown());
                let known = Known { stamp, columns, kiro_enabled: 0, requires: 0 };
                Found { known, remark: Some(Remark::Flawed(flaw)), is_fresh: true, said: None, readers: Readers::ALL }
            }
        };
        self.changes += 1;
        self.touch(&path);
        let remark = found.remark.map(|remark| self.for_all(remark, found.readers, &path));
        self.table.insert(path, found.known, remark, found.is_fresh, look);
        Ok(())
    }

    /// What may be said of a file where all can read it: of one that is not for all, nothing of its text.
    fn for_all(&mut self, remark: Remark, readers: Readers, inside: &Path) -> Remark {
        if readers == Readers::ALL || !readers.leave_out_some_on(&mut self.ways, &self.active.join(inside)) {
            return remark;
        }
        match remark {
            Remark::Flawed(Flaw { position, .. }) => Remark::Flawed(Flaw { position, reason: NOT_FOR_ALL.to_owned() }),
            Remark::OtherId(_) => Remark::OtherId("…".into()),
        }
    }

    fn touch(&mut self, inside: &Path) {
        if let Some(touched) = &mut self.touched {
            touched.insert(id_of(inside));
        }
    }

    /// The files that another look is due at.
    pub(super) fn fresh_paths(&self) -> Vec<PathBuf> {
        self.table.fresh().map(|path| self.active.join(path).path()).collect()
    }
}

/// That `active/` is gone and held milestones.
pub fn lost_folder(workspace: &Workspace) -> StoreError {
    let cause = "the folder is gone, and it held milestones; put it back, make an empty one if they are meant to be gone, or \
                 see `milescale doctor` for the ways on without it";
    StoreError::new(Problem::Unavailable, workspace.shown(&workspace.active()), cause)
}

/// Reads those of some files that are not known to be unchanged, with as many threads as are worth it.
/// `columns`: all of them, with what an index says.
fn changed_files(
    table: &Table,
    batch: &Batch<'_>,
    look: u32,
    now: SystemTime,
    columns: bool,
) -> Vec<(Box<Path>, io::Result<Found>)> {
    let part = |numbers: Range<usize>| {
        let (mut reader, mut scratch, mut changed) = (Reader::default(), PathBuf::new(), Vec::new());
        let mut next = 0;
        for number in numbers {
            let (name, path) = (batch.name(number), batch.path(number, &mut scratch));
            // One that is not known is read in any case.
            if let Some(remembered) = table.find_next(path, &mut next).filter(|_| !columns) {
                match Stamp::at(batch.folder, name) {
                    Ok(Some(stamp)) if remembered.is_unchanged(stamp, look) => continue,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    _ => {}
                }
            }
            let found = read(&mut reader, batch.folder, name, path, now, columns);
            changed.push((Box::from(path), found));
        }
        changed
    };
    in_shares(batch.len(), part).into_iter().flatten().collect()
}

fn read_path(active: &Place, inside: &Path, now: SystemTime) -> io::Result<Found> {
    read(&mut Reader::default(), active.open_folder()?, &c_path(inside)?, inside, now, false)
}

/// Reads one file.
fn read(
    reader: &mut Reader,
    folder: impl AsFd,
    name: &CStr,
    path: &Path,
    now: SystemTime,
    columns: bool,
) -> io::Result<Found> {
    let (content, stamp, readers) = reader.read_with_readers(folder, name, yaml::SIZE_LIMIT)?;
    let is_fresh = stamp.is_fresh(now);
    let gathered = match yaml::gather(content) {
        Ok(gathered) => gathered,
        Err(flaw) => {
            let known = Known { stamp, columns: ColumnsHash::unknown(), kiro_enabled: 0, requires: 0 };
            let said = columns.then(|| Box::new(dated(Columns::unreadable(&id_of(path)), stamp)));
            return Ok(Found { known, remark: Some(Remark::Flawed(flaw)), is_fresh, said, readers });
        }
    };
    let Gathered { kiro_enabled, requires, .. } = gathered;
    let (hash, remark, said) = with_id(path, |id| {
        let other = gathered.id.as_deref().filter(|declared| *declared != id);
        let said = columns.then(|| Box::new(dated(Columns::of_gathered(id, &gathered), stamp)));
        (ColumnsHash::of_gathered(id, &gathered), other.map(|declared| Remark::OtherId(declared.into())), said)
    });
    Ok(Found { known: Known { stamp, columns: hash, kiro_enabled, requires }, remark, is_fresh, said, readers })
}

/// Errors that say nothing about the file: the next look may do better, and until then nothing is known.
fn is_the_machines_fault(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let faults = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::STALE];
    error.raw_os_error().is_some_and(|code| faults.iter().any(|fault| fault.raw_os_error() == code))
}
