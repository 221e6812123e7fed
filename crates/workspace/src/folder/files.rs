//! Opening files, and making new ones: regular files, and nothing else.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::acts::{by_descriptor, mode_of};
use super::kinds::Use;
use super::opening::{Parent, behind};
use super::walk::End;
use super::{Metadata, Place};
use crate::layout::{MARKER, OWN_FOLDER};
use crate::readers::{For, Readers, give_new};

/// How every file is opened: nothing waits, no symlink is followed, no terminal becomes ours.
const ALWAYS: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// What milescale keeps for all who use a workspace: folders, and the marker.
const FOR_ALL: [&str; 4] = [OWN_FOLDER, "backups", "logs", MARKER];

/// The mode of a new file, before the caller's umask: never one that all may write, whatever that says.
const NEW_FILE: u32 = 0o664;

pub(super) fn no_regular_file(is_folder: bool) -> io::Error {
    let what = if is_folder { "a folder" } else { "a FIFO, socket or device" };
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, expected a regular file"))
}

/// An open file, where it is a regular one.
fn regular(file: File) -> io::Result<(File, Metadata)> {
    let metadata = Metadata::of(&file)?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(no_regular_file(metadata.is_dir())) }
}

impl Place {
    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// Of kind `InvalidInput` for anything else, which is not opened.
    pub fn open(&self) -> io::Result<(File, Metadata)> {
        self.open_for(Use::Read)
    }

    /// The same, with the open folder that it was opened in; none where its name is a symlink.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub(crate) fn open_in_folder(&self) -> io::Result<((File, Metadata), Option<impl AsFd + use<>>)> {
        self.opened_for(Use::Read).map_err(|error| self.told(error))
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// Of kind `InvalidInput` for anything else, which is not opened.
    pub fn open_for(&self, what: Use) -> io::Result<(File, Metadata)> {
        self.opened_for(what).map(|(opened, _)| opened).map_err(|error| self.told(error))
    }

    fn opened_for(&self, what: Use) -> io::Result<((File, Metadata), Option<Parent>)> {
        let (parent, name) = self.parent_and_name()?;
        let status = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if what == Use::Append => {
                let flags = what.flags() | ALWAYS | OFlags::CREATE | OFlags::EXCL;
                match openat(&parent, name, flags, mode_of(NEW_FILE)) {
                    // Another process was first.
                    Err(Errno::EXIST) => statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?,
                    other => {
                        let file = other?;
                        give_new(&parent, &file, NEW_FILE, For::Workspace);
                        return Ok((regular(File::from(file))?, Some(parent)));
                    }
                }
            }
            other => other?,
        };
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => {
                let opened = openat(&parent, name, what.flags() | ALWAYS, Mode::empty());
                Ok((self.file(opened, &parent)?, Some(parent)))
            }
            FileType::Symlink
                if let followed = self.followed()?
                    && followed != *self =>
            {
                let opened = followed.open_for(what);
                // A link to nowhere is not the same as no file.
                let opened = opened.map_err(|error| {
                    if error.kind() == io::ErrorKind::NotFound { behind(followed.inside(), &error) } else { error }
                })?;
                Ok((opened, None))
            }
            FileType::Symlink => {
                let (end, target) = self.trusted_end(parent.as_fd())?.ok_or(io::ErrorKind::NotFound)?;
                Ok((open_trusted(&end, &target, what)?, None))
            }
            kind => Err(no_regular_file(kind == FileType::Directory)),
        }
    }

    /// What was opened; where a symlink has come under the name meanwhile, that it is one.
    fn file(&self, opened: Result<OwnedFd, Errno>, parent: &Parent) -> io::Result<(File, Metadata)> {
        match opened {
            Err(Errno::LOOP) => {
                self.trusted_end(parent.as_fd())?;
                Err(io::ErrorKind::NotFound.into())
            }
            other => regular(File::from(other?)),
        }
    }

    /// Makes a new file and opens it for writing. Others may read it as far as `mode` and the umask let them.
    ///
    /// # Errors
    /// Of kind `AlreadyExists` where anything has the name.
    pub fn make_with(&self, mode: u32) -> io::Result<File> {
        let (parent, name) = self.parent_and_name()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | ALWAYS;
        let made = openat(&parent, name, flags, mode_of(mode));
        let file = File::from(made.map_err(|error| self.told(error.into()))?);
        give_new(parent, &file, mode, self.is_for());
        Ok(file)
    }

    /// The same, of a file that all may read whom the umask lets.
    pub fn make(&self) -> io::Result<File> {
        self.make_with(NEW_FILE)
    }

    /// The same, of a file for these readers.
    pub fn make_for(&self, readers: Readers) -> io::Result<File> {
        let (parent, name) = self.parent_and_name()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | ALWAYS;
        let made = openat(&parent, name, flags, mode_of(readers.mode_at_first()));
        let file = File::from(made.map_err(|error| self.told(error.into()))?);
        readers.settle(&file, parent, self.is_for())?;
        Ok(file)
    }

    /// Whom a new file at this place is for, that is a copy of nothing.
    fn is_for(&self) -> For {
        let is_for_all = FOR_ALL.iter().any(|folder| self.inside().starts_with(folder));
        if is_for_all { For::Workspace } else { For::Readers }
    }

    /// Opens a new file without a name in the folder of this place, of which a crash leaves nothing. `None` where the file system
    /// or the kernel knows no such files.
    pub fn make_without_name(&self, readers: Readers) -> Option<File> {
        #[cfg(target_os = "linux")]
        {
            let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
            let (parent, _) = self.parent_and_name().ok()?;
            let file = File::from(openat(&parent, ".", flags, mode_of(readers.mode_at_first())).ok()?);
            readers.settle(&file, parent, self.is_for()).ok()?;
            // Without /proc it could never get a name.
            rustix::fs::lstat(by_descriptor(&file)).is_ok().then_some(file)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = readers;
            None
        }
    }
}

/// Opens what a trusted symlink leads to, where that is a regular file.
fn open_trusted(end: &End, target: &Path, what: Use) -> io::Result<(File, Metadata)> {
    let (folder, name) = (&end.folder, end.name.as_deref().unwrap_or(OsStr::new(".")));
    let status = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| behind(target, &error.into()))?;
    let kind = FileType::from_raw_mode(status.st_mode);
    if kind != FileType::RegularFile {
        return Err(no_regular_file(kind == FileType::Directory));
    }
    regular(File::from(openat(folder, name, what.flags() | ALWAYS, Mode::empty())?))
}
