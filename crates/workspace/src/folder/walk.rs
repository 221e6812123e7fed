//! Following a path that leads through symlinks, part by part, with a say at each of them.
//!
//! The kernel would follow a whole path at once, through whatever lies on the way at that instant.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use milescale_document::text::harmless;
use rustix::fs::{CWD, FileType, Mode, Stat, fstat, openat};
use rustix::io::Errno;

use super::acts::{HANDLE, by_descriptor};
use super::files::no_regular_file;
use super::kinds::NotTrusted;
use super::opening::{FOLDER, PLAIN_FOLDER, open_searchable, target_of};
use super::{Folder, Metadata, Place, system};
use crate::durable;
use crate::read::read_regular;
use crate::trust::Trust;

/// Symlinks on one way at most, as the kernel's.
const LINKS: usize = 40;

/// Where a path ends.
pub(super) struct End {
    /// The open folder that its last part lies in.
    pub(super) folder: OwnedFd,
    /// The last part, which was no symlink; `None` where the path ends with a folder's own name.
    pub(super) name: Option<OsString>,
}

/// Who says whether a symlink is followed, by the folder that it lies in, its name, and what the system says of it.
pub(super) type MayFollow<'a> = &'a dyn Fn(BorrowedFd<'_>, &OsStr, &Stat) -> io::Result<()>;

/// Follows a path from an open folder to the folder that its last part lies in.
pub(super) fn walk(at: BorrowedFd<'_>, path: &Path, may_follow: MayFollow<'_>) -> io::Result<End> {
    let mut parts = VecDeque::new();
    // Where a path says from where it leads, nothing else need be open to this user.
    let start = if path.is_absolute() { "/" } else { "." };
    let mut folder =
        openat(at, start, FOLDER, Mode::empty()).or_else(|error| at.try_clone_to_owned().map_err(|_| error))?;
    push(&mut parts, path);
    let mut links = 0;
    while let Some(part) = parts.pop_front() {
        if part == "/" || part == ".." {
            folder = open_searchable(&folder, &part, FOLDER)?;
            continue;
        }
        // One handle for both: what is asked about is what is read.
        let handle = match openat(&folder, &*part, HANDLE, Mode::empty()) {
            Err(_) if parts.is_empty() => return Ok(End { folder, name: Some(part) }),
            other => other?,
        };
        let status = fstat(&handle)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Symlink {
            may_follow(folder.as_fd(), &part, &status)?;
            links += 1;
            #[cfg(target_os = "linux")]
            let target = target_of(&handle, OsStr::new(""));
            #[cfg(not(target_os = "linux"))]
            let target = target_of(&folder, &part);
            let Some(target) = target.filter(|_| links <= LINKS) else {
                return Err(Errno::LOOP.into());
            };
            push(&mut parts, &target);
        } else if parts.is_empty() {
            return Ok(End { folder, name: Some(part) });
        } else {
            folder = open_searchable(&folder, &part, PLAIN_FOLDER)?;
        }
    }
    Ok(End { folder, name: None })
}

/// Puts the parts of a path before those that are left.
fn push(parts: &mut VecDeque<OsString>, path: &Path) {
    for part in path.components().rev().filter(|part| *part != Component::CurDir) {
        parts.push_front(part.as_os_str().to_owned());
    }
}

/// Opens the folder at the end of an absolute or relative path that a person has named, or that was found from there: a symlink on the way
/// is followed where root or the caller has made it, for any other user could have put it there since.
pub(super) fn open_named(path: &Path, is_own: &dyn Fn(u32) -> bool) -> io::Result<OwnedFd> {
    open_end(&walk_named(path, is_own, &|_| Ok(false))?)
}

/// The same to the folder that its last part lies in. Nor is a symlink followed that lies where whoever has prepared a workspace could put it.
fn walk_named(
    path: &Path,
    is_own: &dyn Fn(u32) -> bool,
    may_be_brought: &dyn Fn(BorrowedFd<'_>) -> io::Result<bool>,
) -> io::Result<End> {
    let may_follow = |folder: BorrowedFd<'_>, _: &OsStr, link: &Stat| {
        if is_own(link.st_uid) {
            if !may_be_brought(folder)? {
                return Ok(());
            }
            let message = format!(
                "{} leads through a symlink in the workspace, which may have come with it, and is not followed; name what you mean by itself",
                harmless(&path.to_string_lossy())
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, NotTrusted(message)));
        }
        let message = format!(
            "{} leads through a symlink of {}, and is not followed; name what you mean by itself",
            harmless(&path.to_string_lossy()),
            system::name_of_user(link.st_uid)
        );
        Err(io::Error::new(io::ErrorKind::PermissionDenied, NotTrusted(message)))
    };
    walk(CWD, path, &may_follow)
}

/// Reads a regular file that a person has named; it leads through no symlink that another user could have put there, or that may have come with
/// the workspace of this folder.
///
/// # Errors
/// As [`system::read`]; when it does lead through one.
pub fn read_named(path: &Path, workspace: &Folder, limit: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let End { folder, name } = workspace.walk_named(path)?;
    let name = name.ok_or_else(|| no_regular_file(true))?;
    let folder = Folder::opened_as(path.parent().unwrap_or(Path::new("/")).to_owned(), folder);
    read_regular(&folder.place().join(name), limit)
}

impl Folder {
    fn walk_named(&self, path: &Path) -> io::Result<End> {
        let above = self.open_above().and_then(identity).ok();
        walk_named(path, &|owner| self.trust().is_own(owner), &|folder| lies_beneath(folder, above))
    }
}

impl Place {
    /// Where a file is, or is to be, which a person may keep elsewhere behind a symlink of theirs. No symlink leads to it that another user
    /// could have put there.
    ///
    /// # Errors
    /// When one does ([`is_about_trust`](super::is_about_trust)), or its folder is not there.
    pub fn of_person(path: &Path, trust: &Trust) -> io::Result<Self> {
        let End { folder, name } = walk_named(path, &|owner| trust.is_own(owner), &|_| Ok(false))?;
        let name = name.ok_or_else(|| no_regular_file(true))?;
        Ok(Folder::opened_as(path.parent().unwrap_or(Path::new("/")).to_owned(), folder).place().join(name))
    }

    /// A folder that a person has named, to write into: it is made where it is not there. It leads through no symlink that another user could
    /// have put there, now or later, or that may have come with the workspace of this folder.
    ///
    /// # Errors
    /// When it does lead through one, or cannot be made.
    pub fn of_folder_named(path: &Path, workspace: &Folder) -> io::Result<Self> {
        match workspace.walk_named(path).and_then(|end| open_end(&end)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let name = path.file_name().ok_or(error)?;
                let folder = Self::of_folder_named(above, workspace)?.join(name);
                durable::create_folder(&folder)?;
                Ok(folder)
            }
            opened => Ok(Folder::opened_as(path.to_owned(), opened?).place()),
        }
    }
}

impl Folder {
    /// A folder that is there, where a person keeps what is theirs; no symlink leads to it that another user could have put there.
    ///
    /// # Errors
    /// When one does ([`is_about_trust`](super::is_about_trust)), or there is none.
    pub fn of_person(path: &Path, trust: &Trust) -> io::Result<Self> {
        Ok(Self::opened_as(path.to_owned(), open_named(path, &|owner| trust.is_own(owner))?))
    }
}

/// The path without symlinks of a folder that a person has named; it leads through no symlink that another user could have put there.
///
/// # Errors
/// When there is none, or it does lead through one ([`is_about_trust`](super::is_about_trust)).
pub fn real_folder(path: &Path, trust: &Trust) -> io::Result<PathBuf> {
    let folder = open_named(path, &|owner| trust.is_own(owner))?;
    std::fs::read_link(by_descriptor(&folder)).or_else(|_| std::fs::canonicalize(path))
}

/// Opens the folder at an end.
pub(super) fn open_end(end: &End) -> io::Result<OwnedFd> {
    match &end.name {
        None => end.folder.try_clone(),
        Some(name) => Ok(open_searchable(&end.folder, name, PLAIN_FOLDER)?),
    }
}

/// That a trusted symlink leads through another one inside the workspace's own folder, which whoever prepares that may set.
pub(super) fn may_follow_outside(
    root: Option<Identity>,
    path: &Path,
) -> impl Fn(BorrowedFd<'_>, &OsStr, &Stat) -> io::Result<()> {
    move |folder, name, _| {
        if !lies_beneath(folder, root)? {
            return Ok(());
        }
        let message = format!(
            "{} in {} on the way there is one too, which is not followed, for whoever prepares a workspace may set it",
            harmless(&name.to_string_lossy()),
            harmless(&path.to_string_lossy())
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, NotTrusted(message)))
    }
}

/// File system and number of a folder.
pub(super) type Identity = (u64, u64);

/// What tells an open folder from any other one.
#[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions, reason = "the types differ by platform")]
pub(super) fn identity(folder: impl AsFd) -> io::Result<Identity> {
    let status = fstat(folder)?;
    Ok((u64::try_from(status.st_dev).unwrap_or_default(), status.st_ino))
}

/// Folders above each other at most.
pub(super) const DEPTH: usize = 4096;

/// Whether a folder is another one or lies beneath it. One whose folders above cannot be looked at may.
fn lies_beneath(folder: BorrowedFd<'_>, root: Option<Identity>) -> io::Result<bool> {
    let Some(root) = root else { return Ok(true) };
    let mut here = identity(folder)?;
    let mut above = folder.try_clone_to_owned()?;
    for _ in 0..DEPTH {
        if here == root {
            return Ok(true);
        }
        above = match open_searchable(&above, OsStr::new(".."), FOLDER) {
            Ok(above) => above,
            Err(_) => return Ok(true),
        };
        let now = identity(&above)?;
        if now == here {
            return Ok(false);
        }
        here = now;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::folder::{Folder, Since};

    #[test]
    fn a_folder_that_is_replaced_is_followed_only_by_what_begins_anew() {
        let above = tempfile::tempdir().unwrap();
        let path = |name: &str| above.path().join(name);
        let exchange = || {
            fs::rename(path("plans"), path("between")).unwrap();
            fs::rename(path("other"), path("plans")).unwrap();
            fs::rename(path("between"), path("other")).unwrap();
        };
        for name in ["plans", "other"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("name"), name).unwrap();
        }
        let folder = Folder::named(path("plans"));
        let read =
            || fs::read_to_string(format!("/proc/self/fd/{}/name", folder.opened().unwrap().as_raw_fd())).unwrap();
        assert_eq!(folder.look_again().unwrap(), Since::Same);
        exchange();
        let error = folder.look_again().unwrap_err().to_string();
        assert!(error.contains("another folder has the name"), "{error}");
        assert!(folder.is_still_the_same().is_err() && read() == "plans", "it goes on in the old one");
        exchange();
        folder.is_still_the_same().unwrap();
        folder.follow_its_name();
        exchange();
        assert!(folder.is_still_the_same().is_err() && read() == "plans");
        assert_eq!(folder.look_again().unwrap(), Since::Replaced);
        assert_eq!(read(), "other");
    }

    use std::os::fd::AsRawFd;
}
