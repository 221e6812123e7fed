//! What is done to places.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags, RawMode, RenameFlags, Stat, openat, statat};
use rustix::io::Errno;

use super::kinds::{Entry, Kind, is_about_trust};
use super::opening::{Parent, behind, wait_for};
use super::walk::End;
use super::{Folder, Metadata, Place};
use crate::layout::OWN_FOLDER;
use crate::readers::{For, give_new, keep_private};
use crate::rights::List;
use crate::ways::leads_elsewhere;

/// The mode of a new folder, before the caller's umask: never one that all may write.
const NEW_FOLDER: u32 = 0o775;

/// How a handle of what lies under a name is opened, with which nothing can be read or written.
#[cfg(target_os = "linux")]
pub(super) const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// There `O_SYMLINK` opens the symlink itself.
#[cfg(not(target_os = "linux"))]
pub(super) const HANDLE: OFlags = OFlags::from_bits_retain(0x0020_0000).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

#[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation, reason = "the types differ by platform")]
pub(crate) fn mode_of(mode: u32) -> Mode {
    Mode::from_raw_mode(mode as RawMode)
}

/// An open file by a name that the kernel resolves by itself, where the system has such names.
pub(crate) fn by_descriptor(file: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}

impl Place {
    /// What lies there; of a symlink that is trusted, what it leads to.
    ///
    /// # Errors
    /// Of kind `NotFound` where nothing is.
    pub fn status(&self) -> io::Result<Metadata> {
        let metadata = self.status_of_name()?;
        if !metadata.is_symlink() {
            return Ok(metadata);
        }
        let followed = self.followed()?;
        if followed != *self {
            return followed.status();
        }
        let (parent, _) = self.parent_and_name()?;
        match self.trusted_end(parent.as_fd()) {
            Ok(Some((End { folder, name }, _))) => {
                let name = name.as_deref().unwrap_or(OsStr::new("."));
                Metadata::of(&File::from(openat(&folder, name, HANDLE, Mode::empty())?))
            }
            Err(error) if is_about_trust(&error) => Ok(metadata),
            Ok(None) => Ok(metadata),
            Err(error) => Err(error),
        }
    }

    /// What lies there, be it a symlink.
    pub fn status_of_name(&self) -> io::Result<Metadata> {
        Metadata::of(&self.handle()?)
    }

    /// A handle of what lies there, with which nothing can be read or written.
    pub(crate) fn handle(&self) -> io::Result<File> {
        if self.inside().as_os_str().is_empty() {
            return Ok(File::from(self.folder().opened()?.try_clone()?));
        }
        let (parent, name) = self.parent_and_name()?;
        Ok(File::from(openat(&parent, name, HANDLE, Mode::empty())?))
    }

    /// Whether anything lies there, as far as can be seen; a symlink is something.
    pub fn exists(&self) -> bool {
        self.is_there().unwrap_or(false)
    }

    /// Whether anything lies there; a symlink is something.
    pub fn is_there(&self) -> io::Result<bool> {
        if self.inside().as_os_str().is_empty() {
            return match self.folder().opened() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                other => other.map(|_| true),
            };
        }
        let found = self
            .parent_and_name()
            .and_then(|(parent, name)| statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from));
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// Whether a folder lies there, or a trusted symlink to one.
    pub fn is_folder(&self) -> bool {
        self.opened().is_ok()
    }

    /// Where the file behind a trusted symlink is; the place itself where it is none.
    ///
    /// # Errors
    /// When it is a symlink that is not trusted.
    pub fn real(&self) -> io::Result<Self> {
        let (parent, _) = match self.parent_and_name() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self.clone()),
            other => other?,
        };
        let followed = self.followed()?;
        if followed != *self {
            return followed.real();
        }
        let Some((End { folder, name }, target)) = self.trusted_end(parent.as_fd())? else { return Ok(self.clone()) };
        let status = statat(&folder, name.as_deref().unwrap_or(OsStr::new(".")), AtFlags::SYMLINK_NOFOLLOW);
        status.map_err(|error| behind(&target, &error.into()))?;
        // For people, and for the watcher; what is done goes through the open folder.
        let path = std::fs::read_link(by_descriptor(&folder))
            .or_else(|_| std::fs::canonicalize(self.parent().path().join(target.parent().unwrap_or(Path::new("")))))?;
        let place = Folder::opened_as(path, folder).place();
        Ok(name.map_or(place.clone(), |name| place.join(name)))
    }

    /// Why what lies there is not reached, where that is a symlink that nobody has trusted.
    pub fn untrusted(&self) -> Option<io::Error> {
        let (parent, _) = self.parent_and_name().ok()?;
        self.trusted_end(parent.as_fd()).err().filter(is_about_trust)
    }

    /// What a symlink says; `None` where none lies there.
    pub fn link_target(&self) -> Option<PathBuf> {
        let (parent, name) = self.parent_and_name().ok()?;
        super::opening::target_of(&parent, name)
    }

    /// Gives an open file without a name this one. Never over anything.
    pub fn name_file(&self, file: &File) -> Result<(), io::Error> {
        let (parent, name) = self.parent_and_name()?;
        Ok(rustix::fs::linkat(rustix::fs::CWD, by_descriptor(file), &parent, name, AtFlags::SYMLINK_FOLLOW)?)
    }

    /// Gives it a second name. Never over anything.
    pub fn link_as(&self, to: &Self) -> io::Result<()> {
        let ((from_folder, from), (to_folder, name)) = (self.parent_and_name()?, to.parent_and_name()?);
        self.before_it_leaves((&from_folder, from), to)?;
        Ok(rustix::fs::linkat(&from_folder, from, &to_folder, name, AtFlags::empty())?)
    }

    /// What leaves its folder, which is open, takes the protection of that with it. What gets a second name does, too.
    fn before_it_leaves(&self, (folder, name): (&Parent, &OsStr), to: &Self) -> io::Result<()> {
        // In milescale's own folder lies what has the rights that it is to have, whatever the folder's are.
        if self.parent() == to.parent() || self.inside().starts_with(OWN_FOLDER) {
            return Ok(());
        }
        // Of one folder that lets everybody in, and lies in the workspace's own, that is known at once.
        let is_near = self.inside().components().nth(2).is_none() && self.folder() == to.folder();
        if is_near
            && !leads_elsewhere(&self.parent())
            && !leads_elsewhere(&to.parent())
            && rustix::fs::fstat(folder)?.st_mode & 0o011 == 0o011
            && List::of_open(folder).is_none()
        {
            return Ok(());
        }
        match openat(folder, name, HANDLE, Mode::empty()) {
            Ok(handle) => keep_private(&File::from(handle), self, to),
            // Whoever renames it hears of that.
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames, over whatever has the name `to`.
    pub fn rename(&self, to: &Self) -> io::Result<()> {
        let ((from_folder, from), (to_folder, name)) = (self.parent_and_name()?, to.parent_and_name()?);
        self.before_it_leaves((&from_folder, from), to)?;
        Ok(rustix::fs::renameat(&from_folder, from, &to_folder, name)?)
    }

    /// Renames as these flags say.
    pub fn rename_with(&self, to: &Self, flags: RenameFlags) -> io::Result<()> {
        let ((from_folder, from), (to_folder, name)) = (self.parent_and_name()?, to.parent_and_name()?);
        self.before_it_leaves((&from_folder, from), to)?;
        if flags.contains(RenameFlags::EXCHANGE) {
            to.before_it_leaves((&to_folder, name), self)?;
        }
        Ok(rustix::fs::renameat_with(&from_folder, from, &to_folder, name, flags)?)
    }

    /// Removes a file, or a symlink.
    pub fn remove_file(&self) -> io::Result<()> {
        let (parent, name) = self.parent_and_name()?;
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?)
    }

    /// Makes a folder.
    pub fn make_folder(&self) -> io::Result<()> {
        if self.inside().as_os_str().is_empty() {
            let path = self.folder().path();
            if self.folder().is_named() {
                return std::fs::create_dir_all(path);
            }
            // The folder above is the one that a person has named: no symlink of somebody else's leads to another one meanwhile.
            let above = self.folder().open_above()?;
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            rustix::fs::mkdirat(&above, name, mode_of(NEW_FOLDER))?;
            // Under sudo it belongs to who has called it, whose folder it is made in.
            if self.folder().trust().is_own(rustix::fs::fstat(&above)?.st_uid) {
                self.give_new(above);
            }
            return Ok(());
        }
        let (parent, name) = self.parent_and_name()?;
        rustix::fs::mkdirat(&parent, name, mode_of(NEW_FOLDER)).map_err(|error| self.told(error.into()))?;
        self.give_new(parent);
        Ok(())
    }

    /// Gives this folder, which was just made in another one, to whom that belongs. Another one may have the name by now: one that somebody
    /// has put things into is not given away.
    fn give_new(&self, parent: impl AsFd) {
        if let Ok(made) = self.open_folder()
            && rustix::fs::Dir::read_from(&made)
                .is_ok_and(|entries| entries.flatten().all(|entry| [c".", c".."].contains(&entry.file_name())))
        {
            give_new(parent, made, NEW_FOLDER, For::Workspace);
        }
    }

    /// Removes an empty folder.
    pub fn remove_empty_folder(&self) -> io::Result<()> {
        let (parent, name) = self.parent_and_name()?;
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }

    /// Removes a folder with all that is in it, for as long as somebody lets it go on; else the error is of kind `Interrupted`, and what
    /// is left is still there. A symlink in it is removed, never followed.
    pub fn remove_folder(&self, goes_on: &dyn Fn() -> bool) -> io::Result<()> {
        // One way to the folder for all of its files, which may be many.
        let folder = self.opened()?;
        for entry in self.entries()? {
            if !goes_on() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let removed = match entry.kind {
                Kind::Folder => self.join(&entry.name).remove_folder(goes_on),
                _ => rustix::fs::unlinkat(&folder, &entry.name, AtFlags::empty()).map_err(io::Error::from),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        drop(folder);
        self.remove_empty_folder()
    }

    /// What lies in a folder, in the order of the file system.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let folder = self.opened()?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not tell.
                FileType::Unknown => match statat(&folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(status) => FileType::from_raw_mode(status.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                },
                kind => kind,
            };
            entries.push(Entry { name: name.to_owned(), kind: Kind::of(kind) });
        }
        Ok(entries)
    }

    /// The same, of a folder that may be missing or unreadable: then nothing.
    pub fn entries_or_none(&self) -> Vec<Entry> {
        self.entries().unwrap_or_default()
    }

    /// Opens a folder, for what works with open folders itself.
    pub fn open_folder(&self) -> io::Result<OwnedFd> {
        match self.opened()? {
            Parent::Top(folder) => folder.try_clone(),
            Parent::Below(folder) => Ok(folder),
        }
    }

    /// Waits until the names in the folder of this place are on the disk.
    pub fn sync_parent(&self) -> io::Result<()> {
        if self.inside().as_os_str().is_empty() {
            return Ok(wait_for(self.folder().open_above()?)?);
        }
        Ok(wait_for(self.parent_and_name()?.0)?)
    }

    /// Waits until the names in a folder are on the disk.
    pub fn sync_folder(&self) -> io::Result<()> {
        Ok(wait_for(self.opened()?)?)
    }

    /// Waits until everything that was written to the file system of a folder is on the disk.
    pub fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.opened()?)?)
    }

    /// Whether this process may use what lies there so.
    pub fn access(&self, access: Access) -> io::Result<()> {
        if self.inside().as_os_str().is_empty() {
            return Ok(rustix::fs::accessat(self.folder().opened()?, ".", access, AtFlags::EACCESS)?);
        }
        let (parent, name) = self.parent_and_name()?;
        Ok(rustix::fs::accessat(parent, name, access, AtFlags::EACCESS)?)
    }
}

/// Sets the mode of a regular file beneath an open folder by its handle: a symlink that comes under the name meanwhile leads nowhere, and
/// `wanted` is asked about the very file that gets it, whatever had the name before. It says nothing where the mode is to stay; bits
/// beyond those to read, write and execute are never given.
///
/// # Errors
/// When it cannot be set; of kind `NotFound` where there is no regular file of this name.
pub fn set_mode_in(folder: impl AsFd, inside: &CStr, wanted: impl FnOnce(&Metadata) -> Option<u32>) -> io::Result<()> {
    let (handle, metadata) = handle_in(folder, inside)?;
    wanted(&metadata).map_or(Ok(()), |mode| set_mode_of(&handle, mode & 0o777))
}

/// A handle of a regular file beneath an open folder, with which nothing can be read or written.
pub(crate) fn handle_in(folder: impl AsFd, inside: &CStr) -> io::Result<(File, Metadata)> {
    let (below, name) = super::below(&folder, inside)?;
    let folder = below.as_ref().map_or(folder.as_fd(), AsFd::as_fd);
    let handle = File::from(openat(folder, name, HANDLE, Mode::empty())?);
    let metadata = Metadata::of(&handle)?;
    if metadata.is_file() { Ok((handle, metadata)) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Sets the mode of an open file, or of what a handle is of, with which nothing can be read or written.
pub(crate) fn set_mode_of(handle: &File, mode: u32) -> io::Result<()> {
    match handle.set_permissions(std::fs::Permissions::from_mode(mode)) {
        // A handle sets no mode itself; its name in /proc does.
        #[cfg(target_os = "linux")]
        Err(error) if Errno::from_io_error(&error) == Some(Errno::BADF) => {
            Ok(rustix::fs::chmod(by_descriptor(handle), mode_of(mode))?)
        }
        other => other,
    }
}

/// Gives an open file, or what a handle is of, to a group.
pub(crate) fn set_group_of(handle: &File, group: u32) -> io::Result<()> {
    let group = Some(rustix::fs::Gid::from_raw(group));
    match rustix::fs::fchown(handle, None, group) {
        #[cfg(target_os = "linux")]
        Err(Errno::BADF) => Ok(rustix::fs::chownat(handle, c"", None, group, AtFlags::EMPTY_PATH)?),
        other => Ok(other?),
    }
}

/// What lies under a name beneath an open folder, be it a symlink. None is followed.
pub fn status_in(folder: impl AsFd, inside: &CStr) -> io::Result<Stat> {
    let (below, name) = super::below(&folder, inside)?;
    let folder = below.as_ref().map_or(folder.as_fd(), AsFd::as_fd);
    Ok(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
}
