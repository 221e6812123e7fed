//! Opening folders part by part, and what a symlink in between means.

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use milescale_document::text::{harmless, in_command};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fsync, openat, syncfs};
use rustix::io::Errno;

use super::kinds::NotTrusted;
use super::walk::{End, identity, open_end, open_named, walk};
use super::{Folder, Place, system};
use crate::layout::OWN_FOLDER;
use crate::trust::{WHOLE, can_be_trusted};

/// The open folder that a place lies in.
pub(super) enum Parent {
    /// The folder itself.
    Top(Arc<OwnedFd>),
    /// One beneath it.
    Below(OwnedFd),
}

impl AsFd for Parent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Top(folder) => folder.as_fd(),
            Self::Below(folder) => folder.as_fd(),
        }
    }
}

pub(super) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
pub(super) const PLAIN_FOLDER: OFlags = FOLDER.union(OFlags::NOFOLLOW);

/// Opens a folder. One that may be searched and not listed is opened for that.
pub(super) fn open_searchable(at: impl AsFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    match openat(&at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => openat(at, name, OFlags::PATH | flags, Mode::empty()),
        other => other,
    }
}

/// Waits until the names in an open folder are on the disk. For one that may be written to and not listed, nothing less than all of
/// its file system can be waited for, through a file without a name.
pub(super) fn wait_for(folder: impl AsFd) -> Result<(), Errno> {
    match fsync(&folder) {
        Err(Errno::BADF) => {
            let unnamed = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
            syncfs(openat(folder, ".", unnamed, Mode::RUSR | Mode::WUSR)?)
        }
        other => other,
    }
}

/// Opens a folder that is no symlink.
fn open_plain(at: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    open_searchable(at, name, PLAIN_FOLDER)
}

/// The same for several parts, in one step where the kernel knows how.
#[cfg(target_os = "linux")]
fn open_beneath(at: BorrowedFd<'_>, inside: &Path) -> Option<Result<OwnedFd, Errno>> {
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(at, inside, FOLDER, Mode::empty(), resolve) {
        // An older kernel, or a filter of system calls; or one of the folders may not be listed: part by part.
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::AGAIN | Errno::LOOP | Errno::NOTDIR) => None,
        other => Some(other),
    }
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(_: BorrowedFd<'_>, _: &Path) -> Option<Result<OwnedFd, Errno>> {
    None
}

/// The open folder of a name that may lead through folders beneath one that is open (`None`: through none), and its last part. No
/// symlink is followed.
///
/// # Errors
/// Of kind `NotFound` where something else than a folder is in between: then there is nothing of this name.
pub fn below(at: impl AsFd, inside: &CStr) -> io::Result<(Option<OwnedFd>, &CStr)> {
    let bytes = inside.to_bytes_with_nul();
    let Some(slash) = bytes.iter().rposition(|byte| *byte == b'/') else { return Ok((None, inside)) };
    let (folder, name) = (Path::new(OsStr::from_bytes(&bytes[..slash])), &bytes[slash + 1..]);
    let name = CStr::from_bytes_with_nul(name).unwrap_or_default();
    if !folder.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain name"));
    }
    let opened = match open_beneath(at.as_fd(), folder) {
        Some(opened) => opened,
        None => part_by_part(at.as_fd(), folder),
    };
    match opened {
        Err(Errno::LOOP | Errno::NOTDIR) => Err(io::ErrorKind::NotFound.into()),
        other => Ok((Some(other?), name)),
    }
}

fn part_by_part(at: BorrowedFd<'_>, folder: &Path) -> Result<OwnedFd, Errno> {
    let mut below = None::<OwnedFd>;
    for part in folder.components() {
        below = Some(open_plain(below.as_ref().map_or(at, AsFd::as_fd), part.as_os_str())?);
    }
    below.ok_or(Errno::NOENT)
}

/// What a symlink says; `None` where it is none.
pub(super) fn target_of(at: impl AsFd, name: &OsStr) -> Option<PathBuf> {
    let target = rustix::fs::readlinkat(at, name, Vec::new()).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
}

/// How many symlinks lead to each other at most.
const LINKS: usize = 8;

/// What else has to be the caller's own beside `.milestones/` itself.
const GUARDED: [&str; 2] = ["config", OWN_FOLDER];

impl Folder {
    /// Opens the folder that it lies in, or will lie in.
    pub(super) fn open_above(&self) -> io::Result<OwnedFd> {
        open_named(self.root(), &|owner| self.trust().is_own(owner))
    }

    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        let (path, above) = (self.path(), self.root());
        let (Some(name), false) = (path.file_name(), self.is_named()) else {
            return Ok(open_searchable(CWD, path.as_os_str(), FOLDER)?);
        };
        let above = open_named(above, &|owner| self.trust().is_own(owner))?;
        self.lies_in(identity(&above)?);
        let folder = self.step(above.as_fd(), name, Path::new(WHOLE), LINKS)?;
        self.check_owner(&folder)?;
        Ok(folder)
    }

    /// Whether the folder, and what decides in it what happens, are the caller's own, or trusted.
    fn check_owner(&self, folder: &OwnedFd) -> io::Result<()> {
        let trust = self.trust();
        let whole = (self.path().to_owned(), rustix::fs::fstat(folder)?.st_uid);
        let guarded = GUARDED.iter().filter_map(|name| {
            let status = rustix::fs::statat(folder, *name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            Some((self.path().join(name), status.st_uid))
        });
        let foreign = std::iter::once(whole).chain(guarded).find(|(_, owner)| !trust.is_own(*owner));
        let Some((path, owner)) = foreign.filter(|_| !trust.has_workspace(self.root())) else { return Ok(()) };
        let shown = |path: &Path| harmless(&path.to_string_lossy());
        let message = format!(
            "{} belongs to {}, and may lead you to do what they want; if you trust it, `milescale trust {}`{}",
            shown(&path),
            system::name_of_user(owner),
            in_command(self.root()),
            self.problems_of_trust()
        );
        Err(io::Error::new(io::ErrorKind::PermissionDenied, NotTrusted(message)))
    }

    /// Why trust that was given may not be seen, in parentheses.
    fn problems_of_trust(&self) -> String {
        let problems = self.trust().problems();
        if problems.is_empty() { String::new() } else { format!(" ({})", problems.join("; ")) }
    }

    /// Opens one part of a path. `inside` is what leads to it from the folder.
    fn step(&self, at: BorrowedFd<'_>, name: &OsStr, inside: &Path, left: usize) -> io::Result<OwnedFd> {
        match open_plain(at, name) {
            Err(error @ (Errno::LOOP | Errno::NOTDIR)) => match target_of(at, name) {
                Some(target) if let Some(there) = self.trusted_inside(inside, &target) => {
                    if left == 0 {
                        return Err(behind(&target, &Errno::LOOP.into()));
                    }
                    // What else is linked on the way has to be trusted too.
                    match self.descend_within(&there, left - 1).map_err(|error| behind(&target, &error))? {
                        Parent::Below(folder) => Ok(folder),
                        Parent::Top(folder) => folder.try_clone(),
                    }
                }
                Some(target) if self.trust().has_link(self.root(), inside, &target) => {
                    let opened = walk(at, &target, &self.may_follow()).and_then(|end| open_end(&end));
                    opened.map_err(|error| behind(&target, &error))
                }
                Some(target) => Err(self.leads_elsewhere(inside, &target)),
                None => Err(error.into()),
            },
            other => Ok(other?),
        }
    }

    /// That a symlink is not followed, with what lets it be.
    pub(super) fn leads_elsewhere(&self, inside: &Path, target: &Path) -> io::Error {
        let is_whole = inside == Path::new(WHOLE);
        let shown = |path: &Path| harmless(&path.to_string_lossy());
        let what = if is_whole { self.path() } else { inside };
        let mut message = format!("{} is a symlink to {}, and is not followed", shown(what), shown(target));
        if !self.is_named() && !can_be_trusted(inside) {
            message += "; put there what it leads to";
        } else if !self.is_named() {
            message += &format!(
                "; put there what it leads to, or, if you trust it, `milescale trust {} --link {}`{}",
                in_command(self.root()),
                in_command(inside),
                self.problems_of_trust()
            );
        }
        io::Error::new(io::ErrorKind::InvalidInput, NotTrusted(message))
    }

    /// Where a symlink leads that is trusted and stays inside.
    pub(super) fn trusted_inside(&self, name: &Path, target: &Path) -> Option<PathBuf> {
        let there = crate::trust::inside(name, target)?;
        self.trust().has_link(self.root(), name, target).then_some(there)
    }

    /// Opens a folder beneath.
    fn descend(&self, inside: &Path) -> io::Result<Parent> {
        self.descend_within(inside, LINKS)
    }

    fn descend_within(&self, inside: &Path, left: usize) -> io::Result<Parent> {
        let top = self.opened()?;
        if inside.as_os_str().is_empty() {
            return Ok(Parent::Top(top));
        }
        if inside.components().nth(1).is_some()
            && let Some(opened) = open_beneath(top.as_fd(), inside)
        {
            return Ok(Parent::Below(opened?));
        }
        let (mut below, mut leads) = (None::<OwnedFd>, PathBuf::new());
        for part in inside.components() {
            leads.push(part);
            let at = below.as_ref().map_or(top.as_fd(), AsFd::as_fd);
            below = Some(self.step(at, part.as_os_str(), &leads, left)?);
        }
        Ok(below.map_or(Parent::Top(top), Parent::Below))
    }
}

/// What to say where what a trusted symlink leads to cannot be reached. A link to nowhere is not the same as no file.
pub(super) fn behind(target: &Path, error: &io::Error) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "there is nothing there".to_owned(),
        _ => error.to_string(),
    };
    let target = harmless(&target.to_string_lossy());
    let message = format!("it is a symlink to {target}, and {why}; put the file itself there, or remove the link");
    io::Error::other(message)
}

impl Place {
    /// The open folder that it lies in, and its name there. The folder's own place lies in itself, as `.`.
    pub(super) fn parent_and_name(&self) -> io::Result<(Parent, &OsStr)> {
        self.check()?;
        let name = self.inside().file_name().unwrap_or(OsStr::new("."));
        Ok((self.folder().descend(self.inside().parent().unwrap_or(Path::new("")))?, name))
    }

    /// The folder of this place, opened.
    pub(super) fn opened(&self) -> io::Result<Parent> {
        self.check()?;
        self.folder().descend(self.inside())
    }

    /// The place that it leads to where its last part is a symlink that is trusted and stays inside; itself where it is none, or one
    /// that leads out.
    pub(super) fn followed(&self) -> io::Result<Self> {
        let mut place = self.clone();
        for _ in 0..LINKS {
            let (parent, name) = place.parent_and_name()?;
            let Some(target) = target_of(parent.as_fd(), name) else { return Ok(place) };
            let Some(there) = self.folder().trusted_inside(place.inside(), &target) else { return Ok(place) };
            place = self.folder().place().join(there);
        }
        Err(behind(self.inside(), &Errno::LOOP.into()))
    }

    /// Where its last part is a symlink that is trusted, where that leads, and what it says; an error where it is one that is not, or
    /// leads to nothing.
    pub(super) fn trusted_end(&self, parent: BorrowedFd<'_>) -> io::Result<Option<(End, PathBuf)>> {
        let Some(target) = target_of(parent, self.name()) else { return Ok(None) };
        let folder = self.folder();
        if !folder.trust().has_link(folder.root(), self.inside(), &target) {
            return Err(self.folder().leads_elsewhere(self.inside(), &target));
        }
        let end = walk(parent, &target, &folder.may_follow()).map_err(|error| behind(&target, &error))?;
        Ok(Some((end, target)))
    }
}
