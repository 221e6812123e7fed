//! Names that change: what became of it is looked at, never assumed, for an error may come after the effect.

use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::sync_folder;
use super::temporary::Temporary;
use crate::folder::{File, Metadata, Place, system};
use crate::readers::Readers;

/// What became of a change of names. With an [`io::Error`] in its place, nothing has changed.
#[derive(Debug)]
#[must_use = "a change that is not known to be on the disk is no success"]
pub enum Outcome {
    /// It happened, and is on the disk.
    Done,
    /// It happened, and whether it outlives a power cut is not known.
    Unsynced(io::Error),
    /// Whether it happened cannot be seen.
    Unknown(io::Error),
}

impl Outcome {
    /// For callers to whom everything but [`Outcome::Done`] is a failure: they keep what they have, and look again.
    pub fn durably(self) -> io::Result<()> {
        match self {
            Self::Done => Ok(()),
            Self::Unsynced(error) | Self::Unknown(error) => Err(error),
        }
    }

    /// For callers that go on once it happened: whether it is on the disk.
    ///
    /// # Errors
    /// When it cannot be seen whether it happened.
    pub fn seen(self) -> io::Result<io::Result<()>> {
        match self {
            Self::Done => Ok(Ok(())),
            Self::Unsynced(error) => Ok(Err(error)),
            Self::Unknown(error) => Err(error),
        }
    }
}

/// What a file is known by, whatever its name.
pub(super) type Inode = (u64, u64);

pub(super) fn inode_of(metadata: &system::Metadata) -> Inode {
    (metadata.dev(), metadata.ino())
}

fn inode(path: &Place) -> io::Result<Inode> {
    path.status_of_name().map(|metadata| inode_of(&metadata))
}

/// Puts `prepared` in the place of `path`, and what was there in the place of `prepared`, in one step: at every instant
/// both contents are there, each under one of the two names. Nobody else may rename `prepared`.
///
/// # Errors
/// When nothing was exchanged; of kind `Unsupported` where the file system cannot do it.
pub fn exchange(prepared: &Place, path: &Place) -> io::Result<Outcome> {
    let ours = inode(prepared)?;
    match prepared.rename_with(path, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(synced(path, prepared)),
        Err(error) if is_unsupported(&error) => Err(cannot_exchange()),
        Err(error) => looked(prepared, ours, error, || synced(path, prepared)),
    }
}

/// Renames, never over anything.
///
/// # Errors
/// When nothing was renamed; of kind `AlreadyExists` where something has the name `to`.
pub fn rename_new(from: &Place, to: &Place) -> io::Result<Outcome> {
    let done = without_replacing(from, to)?;
    Ok(match done {
        Outcome::Done => synced(to, from),
        other => other,
    })
}

/// Like [`rename_new`], not synced.
pub(super) fn without_replacing(from: &Place, to: &Place) -> io::Result<Outcome> {
    let metadata = from.status_of_name()?;
    match from.rename_with(to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Outcome::Done),
        Err(error) if is_unsupported(&error) => in_two_steps(from, to, &metadata),
        Err(error) => looked(from, inode_of(&metadata), error, || Outcome::Done),
    }
}

/// Where the file system knows no rename that never replaces: a link does not replace either. A folder is only ever
/// renamed over an empty one.
fn in_two_steps(from: &Place, to: &Place, metadata: &Metadata) -> io::Result<Outcome> {
    let ours = inode_of(metadata);
    if metadata.is_dir() {
        if to.is_there()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        return match from.rename(to) {
            Ok(()) => Ok(Outcome::Done),
            Err(error) => looked(from, ours, error, || Outcome::Done),
        };
    }
    if let Outcome::Unknown(error) = linked(from.link_as(to), to, ours)? {
        return Ok(Outcome::Unknown(error));
    }
    let Err(error) = from.remove_file() else { return Ok(Outcome::Done) };
    if inode(from).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(Outcome::Done);
    }
    // Two names of one file are none too few: the new one goes again.
    if inode(to).is_ok_and(|there| there == ours) && to.remove_file().is_ok() {
        return Err(error);
    }
    Ok(Outcome::Unknown(error))
}

/// Gives a file without a name one that nothing has. Not synced.
pub(super) fn name_file(file: &File, to: &Place) -> io::Result<Outcome> {
    let ours = inode_of(&file.metadata()?);
    linked(to.name_file(file), to, ours)
}

/// What became of a second name.
fn linked(linked: io::Result<()>, to: &Place, ours: Inode) -> io::Result<Outcome> {
    let Err(error) = linked else { return Ok(Outcome::Done) };
    match inode(to) {
        Ok(there) if there == ours => Ok(Outcome::Done),
        Ok(_) => Err(error),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Err(error),
        Err(_) => Ok(Outcome::Unknown(error)),
    }
}

/// What an error means for a name that only this process renames: as long as it is there, nothing has happened.
fn looked(
    ours_was_at: &Place,
    ours: Inode,
    error: io::Error,
    happened: impl FnOnce() -> Outcome,
) -> io::Result<Outcome> {
    match inode(ours_was_at) {
        Ok(there) if there == ours => Err(error),
        Ok(_) => Ok(happened()),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(happened()),
        Err(_) => Ok(Outcome::Unknown(error)),
    }
}

/// A change of names is on the disk only once its folders are.
pub(super) fn synced(path: &Place, other: &Place) -> Outcome {
    let same = path.parent() == other.parent();
    match sync_folder(path).and_then(|()| if same { Ok(()) } else { sync_folder(other) }) {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Unsynced(error),
    }
}

/// Gives a file a second name that nothing has, or that name in place of its own where it can have no second one (it belongs to
/// somebody else, or the file system knows no links). Not synced.
///
/// # Errors
/// When it has not got it.
pub fn second_name(path: &Place, name: &Place) -> io::Result<Outcome> {
    match linked(path.link_as(name), name, inode(path)?) {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            without_replacing(path, name)
        }
        other => other,
    }
}

/// How file systems and kernels say that they do not know a kind of rename.
fn is_unsupported(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|it| [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].contains(&it))
}

fn cannot_exchange() -> io::Error {
    let message = "this file system cannot exchange two files in one step, and without that a save of another program \
                   could be lost; move .milestones to ext4, XFS, Btrfs or APFS, or use a database \
                   (`milescale migrate database`)";
    io::Error::new(io::ErrorKind::Unsupported, message)
}

/// Whether two files in `folder` can be exchanged in one step, without which no milestone file is replaced. Tried with two
/// empty files of its own, which are gone when it returns.
///
/// # Errors
/// When it cannot be tried: no file can be made there.
pub fn can_exchange(folder: &Place) -> io::Result<bool> {
    let beside = folder.join("any");
    let (one, other) = (Temporary::beside(&beside, Readers::OWN)?, Temporary::beside(&beside, Readers::OWN)?);
    match one.place().rename_with(other.place(), RenameFlags::EXCHANGE) {
        Ok(()) => Ok(inode(one.place())? == inode_of(&other.file.metadata()?)),
        Err(error) if is_unsupported(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
