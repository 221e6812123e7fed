//! The folders that something lies in, by open folders alone: names may be exchanged at any instant by whoever writes in a folder, and what
//! a folder lies in, it says itself.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode, openat};

use super::acts::HANDLE;
use super::walk::{DEPTH, Identity, identity};
use super::{File, Metadata, Place};

/// What a file or folder is known by, whatever its names: device and inode.
pub(crate) fn numbers(it: &Metadata) -> Identity {
    (it.dev(), it.ino())
}

/// An open folder, and each one above it.
struct Upward {
    at: File,
    /// The one at hand was handed out: the next is above it.
    is_begun: bool,
}

impl Upward {
    fn from(folder: impl AsFd) -> io::Result<Self> {
        Ok(Self { at: File::from(openat(folder, ".", HANDLE, Mode::empty())?), is_begun: false })
    }

    /// Goes on to the folder above; `false`: this is the root, which lies in itself.
    fn rise(&mut self) -> io::Result<bool> {
        let above = File::from(openat(&self.at, "..", HANDLE, Mode::empty())?);
        let is_root = identity(&above)? == identity(&self.at)?;
        self.at = above;
        Ok(!is_root)
    }
}

impl Iterator for Upward {
    type Item = io::Result<Metadata>;

    fn next(&mut self) -> Option<Self::Item> {
        if std::mem::replace(&mut self.is_begun, true) {
            match self.rise() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Metadata::of(&self.at))
    }
}

/// The folders that an open folder lies in, itself first, up to one that has these numbers and is not among them; `None`: it does not lie
/// in that.
///
/// # Errors
/// When one of them cannot be looked at.
pub fn folders_up_to(folder: impl AsFd, top: (u64, u64)) -> io::Result<Option<Vec<Metadata>>> {
    let mut found = Vec::new();
    for folder in Upward::from(folder)?.take(DEPTH) {
        let folder = folder?;
        if numbers(&folder) == top {
            return Ok(Some(found));
        }
        found.push(folder);
    }
    Ok(None)
}

impl Place {
    /// What the system says of the folder that lies there, and of each above it, up to the outermost.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub(crate) fn with_those_above(&self) -> io::Result<Vec<Metadata>> {
        Upward::from(self.open_folder()?)?.collect()
    }

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
        let top = self.folder().place().status_of_name()?;
        Ok(folders_up_to(&parent, numbers(&top))?.map(|folders| (it, folders)))
    }
}
