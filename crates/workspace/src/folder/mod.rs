//! The one way to the file system.
//!
//! A [`Folder`] is opened once; a [`Place`] is a plain name beneath it. Whatever is done to a place is done through open folders:
//! no symlink is followed, nothing above the folder can be named, and nothing but regular files and folders is opened. So a
//! workspace that somebody else has prepared, or changes at this instant, leads nowhere else (contract §10).
//!
//! A symlink leads somewhere only where a person has trusted it, and a workspace of somebody else is entered only then: [`Trust`]. Files of the system, which no workspace names, are
//! the matter of [`system`].

mod acts;
mod closed;
mod files;
mod kinds;
mod metadata;
mod opening;
mod socket;
pub mod system;
mod upward;
mod walk;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use milescale_document::text::harmless;
use rustix::fs::Stat;

use crate::trust::Trust;

pub use std::fs::{File, Permissions, TryLockError};

pub(crate) use acts::{by_descriptor, handle_in, mode_of, set_group_of, set_mode_of};
pub use acts::{set_mode_in, status_in};
pub use kinds::{Entry, Kind, Use, is_about_trust};
pub use metadata::Metadata;
pub use opening::below;
pub use socket::{Socket, unknown_user};
pub use upward::folders_up_to;
pub(crate) use upward::numbers;
pub use walk::{read_named, real_folder};

/// A folder that everything is reached through. Clones are the same folder.
#[derive(Clone)]
pub struct Folder(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// Whether the last part of its path may be a symlink, and whoever owns it: a person has named it.
    is_named: bool,
    trust: Trust,
    opened: Mutex<Option<Arc<OwnedFd>>>,
    /// The folder that it lies in, as it was opened.
    above: Mutex<Option<walk::Identity>>,
    /// Another folder that gets the name is used from then on.
    follows_its_name: AtomicBool,
}

/// What has become of the folder of a path since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// It is the same one, or is opened only now.
    Same,
    /// Another one has its name; that one is used from now on.
    Replaced,
}

impl Folder {
    /// The folder of a path that a person has named: symlinks in it are followed. Nothing is touched yet.
    pub fn named(path: impl Into<PathBuf>) -> Self {
        Self::new(path.into(), true, Trust::default())
    }

    /// The folder `.milestones` in the folder that a person has named. It is no symlink and the caller's own, and so are the
    /// folders of the configuration and of milescale's own files in it, but for what is trusted.
    pub(crate) fn of_workspace(path: PathBuf, trust: Trust) -> Self {
        Self::new(path, false, trust)
    }

    fn new(path: PathBuf, is_named: bool, trust: Trust) -> Self {
        let (opened, above, follows_its_name) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { path, is_named, trust, opened, above, follows_its_name }))
    }

    /// One that is open already, with a path for people.
    fn opened_as(path: PathBuf, folder: OwnedFd) -> Self {
        let new = Self::new(path, true, Trust::default());
        *new.0.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(folder));
        new
    }

    /// From now on another folder that gets the name is used instead of the one that had it: by what works on for long, and begins anew
    /// after each look.
    pub(crate) fn follow_its_name(&self) {
        self.0.follows_its_name.store(true, Ordering::Relaxed);
    }

    /// Its path, for people and for what takes nothing else.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether a person has named it.
    fn is_named(&self) -> bool {
        self.0.is_named
    }

    /// The place of the folder itself.
    pub fn place(&self) -> Place {
        Place { folder: self.clone(), inside: PathBuf::new() }
    }

    /// What is trusted.
    pub fn trust(&self) -> &Trust {
        &self.0.trust
    }

    /// The folder that a person has named, which this one lies in.
    fn root(&self) -> &Path {
        self.0.path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Notes the open folder that it lies in.
    fn lies_in(&self, above: walk::Identity) {
        *self.0.above.lock().unwrap_or_else(PoisonError::into_inner) = Some(above);
    }

    /// What may be followed on the way that a trusted symlink leads.
    fn may_follow(&self) -> impl Fn(BorrowedFd<'_>, &OsStr, &Stat) -> io::Result<()> {
        let above = *self.0.above.lock().unwrap_or_else(PoisonError::into_inner);
        walk::may_follow_outside(above, self.root())
    }

    /// The open folder.
    fn opened(&self) -> io::Result<Arc<OwnedFd>> {
        let mut opened = self.0.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = &*opened {
            return Ok(Arc::clone(opened));
        }
        let folder = Arc::new(self.open()?);
        *opened = Some(Arc::clone(&folder));
        Ok(folder)
    }

    /// Compares the open folder with its path. What works on for long calls this before each piece of work.
    ///
    /// # Errors
    /// When there is no folder of that path any more, or it cannot be opened: nothing is reached through the old one then. Where another
    /// one has the name, and this one does not follow it: then what was begun in the old one ends there.
    pub fn look_again(&self) -> io::Result<Since> {
        self.compared(self.0.follows_its_name.load(Ordering::Relaxed))
    }

    /// The same in the middle of a piece of work, which goes on in the same folder or not at all.
    ///
    /// # Errors
    /// As [`Folder::look_again`], and where another folder has the name.
    pub fn is_still_the_same(&self) -> io::Result<()> {
        self.compared(false).map(drop)
    }

    fn compared(&self, follows: bool) -> io::Result<Since> {
        let mut opened = self.0.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let before = opened.take();
        let now = match self.open() {
            Err(error) if !follows => {
                *opened = before;
                return Err(error);
            }
            other => other?,
        };
        let is_same = match &before {
            None => true,
            Some(before) => {
                let (before, now) = (rustix::fs::fstat(before)?, rustix::fs::fstat(&now)?);
                (before.st_dev, before.st_ino) == (now.st_dev, now.st_ino)
            }
        };
        if !is_same && !follows {
            *opened = before;
            let path = harmless(&self.path().to_string_lossy());
            return Err(io::Error::other(format!(
                "another folder has the name {path} now; nothing more is done here: run the command again"
            )));
        }
        *opened = Some(Arc::new(now));
        Ok(if is_same { Since::Same } else { Since::Replaced })
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folder").field(&self.0.path).finish()
    }
}

impl PartialEq for Folder {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for Folder {}

/// A name beneath a folder. It may be there or not.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    folder: Folder,
    /// Plain parts; anything else in it makes every act an error.
    inside: PathBuf,
}

impl Place {
    /// A name in a folder that a person has named, as an option of a command does.
    pub fn named(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = Folder::named(folder).place();
        path.file_name().map_or(folder.clone(), |name| folder.join(name))
    }

    /// A name beneath it. One with parts that are not plain (`..`, `/`) is no place: every act on it is an error.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> Self {
        if name.as_ref().as_os_str().is_empty() {
            return self.clone();
        }
        // Joined as bytes: an absolute path would take the place of the whole.
        let mut inside = self.inside.as_os_str().to_owned();
        if !inside.is_empty() {
            inside.push("/");
        }
        inside.push(name.as_ref());
        Self { folder: self.folder.clone(), inside: inside.into() }
    }

    /// The folder that it lies in; that of a folder itself is the folder.
    #[must_use]
    pub fn parent(&self) -> Self {
        let inside = self.inside.parent().map(Path::to_owned).unwrap_or_default();
        Self { folder: self.folder.clone(), inside }
    }

    /// Another name beside it.
    #[must_use]
    pub fn with_name(&self, name: impl AsRef<Path>) -> Self {
        self.parent().join(name)
    }

    /// Its last part.
    pub fn name(&self) -> &OsStr {
        self.inside.file_name().unwrap_or_default()
    }

    /// The same, as text.
    pub fn name_text(&self) -> String {
        self.name().to_string_lossy().into_owned()
    }

    /// What leads to it from the folder.
    pub fn inside(&self) -> &Path {
        &self.inside
    }

    /// What leads to it from another place in the same folder.
    pub fn below(&self, other: &Self) -> Option<&Path> {
        self.inside.strip_prefix(&other.inside).ok().filter(|_| self.folder == other.folder)
    }

    /// Its whole path, for people and for what takes nothing else: SQLite, the watcher.
    pub fn path(&self) -> PathBuf {
        if self.inside.as_os_str().is_empty() {
            self.folder.path().to_owned()
        } else {
            self.folder.path().join(&self.inside)
        }
    }

    /// The folder that it is beneath.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Whether each part is a plain name.
    fn check(&self) -> io::Result<()> {
        let bytes = self.inside.as_os_str().as_bytes();
        let is_plain = self.inside.components().all(|part| matches!(part, Component::Normal(_)));
        if is_plain && !bytes.contains(&0) && bytes.len() < LONGEST {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain name"))
    }
}

/// The longest name beneath a folder, in bytes: as the system's.
const LONGEST: usize = 4096;

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.path()).finish()
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.folder.path(), &self.inside).cmp(&(other.folder.path(), &other.inside))
    }
}
