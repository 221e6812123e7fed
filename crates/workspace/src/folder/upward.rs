//! The folders that something lies in, by open folders alone: names may be exchanged at any instant by whoever writes in a folder, and what
//! a folder lies in, it says itself.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, openat};

use super::acts::HANDLE;
use super::{File, Metadata, Place};

/// Folders in one another at most.
const DEEPEST: usize = 4096;

/// What a file or folder is known by, whatever its names: device and inode.
pub(crate) fn numbers(it: &Metadata) -> (u64, u64) {
    (it.dev(), it.ino())
}

/// The folders that an open folder lies in, itself first, up to one that has these numbers and is not among them; `None`: it does not lie
/// in that.
///
/// # Errors
/// When one of them cannot be looked at.
pub fn folders_up_to(folder: impl AsFd, top: (u64, u64)) -> io::Result<Option<Vec<Metadata>>> {
    let (mut at, mut found) = (File::from(openat(folder, ".", HANDLE, Mode::empty())?), Vec::new());
    for _ in 0..DEEPEST {
        let it = Metadata::of(&at)?;
        if numbers(&it) == top {
            return Ok(Some(found));
        }
        let above = File::from(openat(&at, "..", HANDLE, Mode::empty())?);
        // Nothing lies above the root.
        if numbers(&Metadata::of(&above)?) == numbers(&it) {
            return Ok(None);
        }
        found.push(it);
        at = above;
    }
    Ok(None)
}

impl Place {
    /// What lies there, with the folders that it lies in, the nearest first, up to the outermost, which is not among them. `None`: it is a
    /// symlink, or lies behind one that leads elsewhere.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(crate) fn lies_in(&self) -> io::Result<Option<(Metadata, Vec<Metadata>)>> {
        if self.inside().as_os_str().is_empty() {
            return Ok(None);
        }
        let (parent, name) = self.parent_and_name()?;
        let it = Metadata::of(&File::from(openat(&parent, name, HANDLE, Mode::empty())?))?;
        if it.is_symlink() {
            return Ok(None);
        }
        let top = Metadata::of(&File::from(self.folder().opened()?.try_clone()?))?;
        Ok(folders_up_to(&parent, numbers(&top))?.map(|folders| (it, folders)))
    }
}
