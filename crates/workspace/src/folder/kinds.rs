//! What lies in a folder, and what a file is opened for.

use std::ffi::OsString;
use std::io;

use rustix::fs::{FileType, OFlags};

/// What lies under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symlink.
    Link,
    /// A FIFO, a socket, a device.
    Other,
}

impl Kind {
    pub(super) fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// What lies under it.
    pub kind: Kind,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To be read.
    Read,
    /// To be written, at its beginning; it is there.
    Write,
    /// To be read and written; it is there.
    Change,
    /// To be read, and written at its end; made where it is missing.
    Append,
}

impl Use {
    pub(super) fn flags(self) -> OFlags {
        match self {
            Self::Read => OFlags::RDONLY,
            Self::Write => OFlags::WRONLY,
            Self::Change => OFlags::RDWR,
            Self::Append => OFlags::RDWR | OFlags::APPEND,
        }
    }
}

/// Why a place is not opened.
#[derive(Debug)]
pub(super) struct NotTrusted(pub(super) String);

impl std::fmt::Display for NotTrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotTrusted {}

/// Whether an error says that a place was not reached because a symlink in it, or its owner, is not trusted. It says what to do.
pub fn is_about_trust(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<NotTrusted>)
}
