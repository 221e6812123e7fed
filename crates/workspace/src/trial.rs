//! Trials: what a move does to files, tried on files of milescale's own before anything is copied.
//!
//! Each trial works in a scratch folder with a hidden name, which counts for nobody, and takes it away again.

mod closed;
mod leftovers;
mod mounts;

use std::cell::Cell;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::Access;
use rustix::io::Errno;

use crate::durable;
use crate::folder::{File, Metadata};
use crate::random;
use crate::readers::{CLOSE_ALL, Readers, hidden, narrows, stays};
use crate::{Place, Workspace};
pub use leftovers::clear_leftovers;
use leftovers::{folders_below, remove_leftovers};
use mounts::{held_in_place, mount};

/// How the name of a scratch folder begins.
const SCRATCH: &str = ".milescale-try-";

/// The bit of a folder's mode that keeps files of others from being renamed.
const STICKY: u32 = 0o1000;

/// A thing that a move cannot do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hindrance {
    /// Where: a path or a table.
    pub place: String,
    /// Why.
    pub reason: String,
    /// What to do.
    pub do_this: String,
}

impl Hindrance {
    /// One from its parts.
    pub fn new(place: impl Into<String>, reason: impl Into<String>, do_this: impl Into<String>) -> Self {
        Self { place: place.into(), reason: reason.into(), do_this: do_this.into() }
    }
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The marker is replaced.
    Marker,
    /// The configuration is replaced.
    Configuration,
    /// Milestone files are exchanged and moved away.
    Milestones,
    /// Milestone files stay where they are, with a note beside them.
    Note,
    /// The index is written.
    Index,
    /// An index is made, or one of before used again.
    NewIndex,
    /// The documents in SQLite are written.
    Documents,
    /// A backup is written.
    Backup,
}

/// How long what trials have left is removed at a time.
const CLEARS_FOR: Duration = Duration::from_secs(4);

/// Tries what is written in each folder concerned. Leaves nothing behind, and touches no file of others.
pub fn hindrances(workspace: &Workspace, uses: &[Use]) -> Vec<Hindrance> {
    let own = workspace.own();
    let mut trial = Trial { workspace, found: Vec::new(), is_alone: false, exchanges: true, left: Rc::default() };
    if let Err(error) = durable::create_own_folder(workspace) {
        trial.failed(&own, "it cannot be made", &error);
        return trial.found;
    }
    // One that died has perhaps tried what this one does not.
    trial.left.set(!clear_leftovers(workspace));
    // For the next start, which looks through the folders only where it is there. Where it cannot be made, the trial says so.
    let _ = durable::create(&workspace.trying(), b"");
    // Shared by those who try; who has it alone may clear what a crash has left.
    let lock = own.open_folder().map(File::from);
    trial.is_alone = lock.as_ref().is_ok_and(|lock| lock.try_lock().is_ok());
    trial.folder(&own, true);
    trial.closed(&own);
    if let Ok(lock) = &lock {
        let _ = lock.try_lock_shared();
    }
    for it in uses {
        match it {
            Use::Marker => trial.replaced(&workspace.marker()),
            Use::Configuration => {
                trial.replaced(&workspace.config_file());
                trial.stays(&workspace.config_file());
            }
            Use::Milestones => trial.milestones(),
            Use::Note => {
                trial.folder(&workspace.active(), false);
                // What lies there comes along.
                trial.reached(&workspace.completed());
            }
            Use::Index => trial.database(&workspace.index_db()),
            Use::NewIndex => {
                trial.folder(&workspace.folder(), false);
                trial.kept_by_sticky_bit(&workspace.index_db());
            }
            Use::Documents => trial.database(&workspace.enterprise_db()),
            Use::Backup => trial.folder(&workspace.backups(), false),
        }
    }
    // Where others try as well, one of them may die: who comes next looks.
    if !trial.left.get() && lock.as_ref().is_ok_and(|lock| lock.try_lock().is_ok()) {
        let _ = durable::remove(&workspace.trying());
    }
    drop(lock);
    let mut seen = Vec::new();
    trial.found.retain(|it| {
        !seen.contains(it) && {
            seen.push(it.clone());
            true
        }
    });
    trial.found
}

struct Trial<'a> {
    workspace: &'a Workspace,
    found: Vec<Hindrance>,
    /// No other trial is under way.
    is_alone: bool,
    /// As far as is known, two files can be exchanged.
    exchanges: bool,
    /// Whether a scratch folder could not be removed.
    left: Rc<Cell<bool>>,
}

/// A scratch folder, removed when dropped.
struct Scratch {
    path: Place,
    /// Said where it cannot be.
    left: Rc<Cell<bool>>,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = durable::remove_folder(&self.path, &|| true) {
            tracing::debug!(path = %self.path.path().display(), %error, "a scratch folder stays until the next start");
            self.left.set(true);
        }
    }
}

impl Scratch {
    /// A new file in it.
    fn file(&self, name: &str) -> io::Result<Place> {
        let path = self.path.join(name);
        durable::publish(&path, b"a trial of milescale's\n").map(|()| path)
    }
}

impl Trial<'_> {
    /// Tries in one folder what milescale does in all of them: files are made, renamed over each other and, perhaps,
    /// exchanged.
    fn folder(&mut self, folder: &Place, exchanged: bool) {
        let folder = nearest(folder);
        let Some(scratch) = self.scratch(&folder) else { return };
        let renamed = scratch.file("one").and_then(|one| {
            let two = scratch.file("two")?;
            durable::rename(&two, &one)?;
            durable::rename_new(&one, &scratch.path.join("three"))?.durably()?;
            scratch.file("four")
        });
        match renamed {
            Err(error) if is_unsupported(&error) => self.cannot_exchange(&folder),
            Err(error) => self.failed(&folder, "no file can be written and renamed there", &error),
            Ok(four) if exchanged => {
                let exchanged = durable::exchange(&four, &scratch.path.join("three"));
                self.exchanged(&folder, exchanged);
            }
            Ok(_) => {}
        }
    }

    /// Looks whether what has the name of a folder is one.
    fn reached(&mut self, folder: &Place) {
        if let (Ok(_), Err(error)) = (folder.status_of_name(), folder.open_folder()) {
            self.failed(folder, "nothing can be read or written there", &error);
        }
    }

    fn exchanged<T>(&mut self, folder: &Place, exchanged: io::Result<T>) {
        match exchanged {
            Ok(_) => {}
            Err(error) if is_unsupported(&error) => self.cannot_exchange(folder),
            Err(error) => self.failed(folder, "no file can be exchanged there", &error),
        }
    }

    fn cannot_exchange(&mut self, folder: &Place) {
        // One folder says it for all.
        if !std::mem::replace(&mut self.exchanges, false) {
            return;
        }
        let place = self.workspace.shown(folder);
        self.found.push(Hindrance::new(
            place,
            "its file system cannot exchange two files in one step (renameat2), so a save of another program could be lost",
            "move the workspace to a file system that can: ext4, XFS, btrfs, tmpfs",
        ));
    }

    /// Tries what replaces marker or configuration.
    fn replaced(&mut self, path: &Place) {
        // A person may keep it elsewhere, behind a symlink that is trusted: that stays one.
        let path = match path.real() {
            Ok(path) => path,
            Err(error) => return self.failed(path, "it cannot be replaced", &error),
        };
        let folder = path.parent();
        self.folder(&folder, false);
        if let Some((reason, do_this)) = held_in_place(&path) {
            self.found.push(Hindrance::new(self.workspace.shown(&path), reason, do_this));
        }
        self.kept_by_sticky_bit(&path);
    }

    /// Looks whether the sticky bit of its folder keeps a file from being replaced.
    fn kept_by_sticky_bit(&mut self, path: &Place) {
        let folder = path.parent();
        let both = folder.status().and_then(|folder| Ok((folder, path.status()?)));
        if both.is_ok_and(|(folder, file)| is_kept_by_sticky_bit(&folder, Some(&file))) {
            self.sticky(&folder);
        }
    }

    /// Tries what is done to milestone files: each is exchanged with one in milescale's own folder.
    fn milestones(&mut self) {
        let (active, completed) = (self.workspace.active(), self.workspace.completed());
        self.exchanged_with_own(&active);
        self.exchanged_with_own(&completed);
        self.reached(&self.workspace.displaced());
        let of_active = mount(&active);
        let below = folders_below(&active, &|| !self.workspace.stop().is_asked());
        for folder in [&active, &completed].into_iter().chain(&below) {
            self.kept(folder);
        }
        for folder in below {
            if mount(&folder) != of_active {
                self.exchanged_with_own(&folder);
            } else if let Err(error) = folder.access(Access::WRITE_OK | Access::EXEC_OK) {
                self.failed(&folder, "no file can be written there", &error);
            } else if folder.status().is_ok_and(|it| is_kept_by_sticky_bit(&it, None)) {
                self.sticky(&folder);
            }
        }
    }

    fn exchanged_with_own(&mut self, folder: &Place) {
        let folder = nearest(folder);
        let own = self.workspace.own();
        let (Some(scratch), Some(in_own)) = (self.scratch(&folder), self.scratch(&own)) else { return };
        let both = scratch.file("one").and_then(|one| Ok((one, in_own.file("other")?)));
        let (one, other) = match both {
            Ok(both) => both,
            Err(error) => return self.failed(&folder, "no file can be written there", &error),
        };
        let out = in_own.path.join("out");
        let done = durable::exchange(&other, &one).map(drop).and_then(|()| durable::rename_new(&one, &out).map(drop));
        match done {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => {
                let shown = self.workspace.shown(&own);
                self.found.push(Hindrance::new(
                    self.workspace.shown(&folder),
                    format!(
                        "it lies on another file system or mount than {shown}, and milestones are replaced by renames \
                         between the two"
                    ),
                    "mount all of .milestones in one, not folders of it",
                ));
            }
            done => self.exchanged(&folder, done),
        }
        if folder.status().is_ok_and(|it| is_kept_by_sticky_bit(&it, None)) {
            self.sticky(&folder);
        }
    }

    /// Looks whether files of others stay in their folder, which lets in fewer users than the workspace does.
    fn kept(&mut self, folder: &Place) {
        let (out, any) = (self.workspace.own().join("out"), folder.join("any"));
        let Ok(there) = folder.status() else { return };
        let all = Readers::of_mode(0o664, there.uid(), there.gid());
        if rustix::process::geteuid().is_root() || narrows(all, &any, &out).is_none() {
            return;
        }
        for entry in folder.entries_or_none().into_iter().take_while(|_| !self.workspace.stop().is_asked()) {
            if self.stays(&folder.join(&entry.name)) {
                return;
            }
        }
    }

    /// Whether a file of another user stays where it is.
    fn stays(&mut self, place: &Place) -> bool {
        let Ok(file) = place.status_of_name() else { return false };
        let own = self.workspace.own().join("out");
        let is_free = rustix::process::geteuid().is_root() || Readers::is_ours(&file) || !file.is_file();
        let stays_there = !is_free && hidden(&file, place, &own).is_some();
        if stays_there {
            self.found.push(Hindrance::new(self.workspace.shown(place), stays(&file), CLOSE_ALL));
        }
        stays_there
    }

    fn sticky(&mut self, folder: &Place) {
        let place = self.workspace.shown(folder);
        let reason = "its sticky bit keeps files of other users from being replaced";
        self.found.push(Hindrance::new(place, reason, "take it away: chmod -t"));
    }

    fn scratch(&mut self, folder: &Place) -> Option<Scratch> {
        if self.is_alone {
            remove_leftovers(folder, &self.workspace.stop().goes_on_for(CLEARS_FOR / 4));
        }
        let made = random::hexadecimal::<16>().and_then(|digits| {
            let path = folder.join(format!("{SCRATCH}{digits}"));
            durable::create_folder(&path).map(|_| Scratch { path, left: Rc::clone(&self.left) })
        });
        made.map_err(|error| self.failed(folder, "nothing can be made there", &error)).ok()
    }

    fn failed(&mut self, place: &Place, what: &str, error: &io::Error) {
        let (reason, do_this) = match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => ("it lies on a read-only file system or mount", "mount it writable"),
            io::ErrorKind::PermissionDenied => (
                "this user may not write it",
                "run milescale as the user who owns it, or give the group the right to write",
            ),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ("there is no room", "make room first"),
            _ => {
                let place = self.workspace.shown(place);
                self.found.push(Hindrance::new(place, format!("{what}: {error}"), "mend that first"));
                return;
            }
        };
        self.found.push(Hindrance::new(self.workspace.shown(place), format!("{what}: {reason}"), do_this));
    }
}

/// Whether a folder's sticky bit keeps this user from renaming a file of another.
fn is_kept_by_sticky_bit(folder: &Metadata, file: Option<&Metadata>) -> bool {
    let user = rustix::process::geteuid().as_raw();
    folder.mode() & STICKY != 0 && user != 0 && folder.uid() != user && file.is_none_or(|file| file.uid() != user)
}

fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// The folder, or the nearest above it that is there: the others are made in it.
fn nearest(folder: &Place) -> Place {
    let mut nearest = folder.clone();
    // What has the name and is no folder is named by whoever tries to write there.
    while nearest.status_of_name().is_err() && nearest.parent() != nearest {
        nearest = nearest.parent();
    }
    nearest
}
