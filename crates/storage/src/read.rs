//! Reading small files that other programs write: never a FIFO, a device or, where it matters, a symlink; never more
//! than a limit.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// Whether a symlink at the end of a path is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symlinks {
    /// It is: a person may keep a configuration or a log elsewhere.
    Follow,
    /// It is not: text from a milestone's place must come from a milestone's place.
    Refuse,
}

/// Which content a file had: two equal stamps, taken more than a clock tick after the last write, mean equal content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified: i64,
    changed: i64,
}

impl Stamp {
    /// The stamp of a file.
    pub fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Nanoseconds since 1970 of the last change of content or metadata, which no program can set.
    pub fn changed(&self) -> i64 {
        self.changed
    }
}

/// Opens a regular file for reading; anything else is an error of kind `InvalidInput` that says what it is.
pub fn open_regular(path: &Path, symlinks: Symlinks) -> io::Result<(File, Metadata)> {
    // Without NONBLOCK a FIFO would hang the open for ever.
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if symlinks == Symlinks::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a symlink, which is not followed here"));
        }
        other => other?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder" } else { "a FIFO, socket or device" };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, expected a regular file")));
    }
    Ok((file, metadata))
}

/// Reads a whole regular file of at most `limit` bytes; a larger one is an error of kind `FileTooLarge`.
pub fn read_regular(path: &Path, symlinks: Symlinks, limit: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let (file, metadata) = open_regular(path, symlinks)?;
    let too_large =
        || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than the limit of {} MiB", limit >> 20));
    if metadata.len() > limit {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(too_large());
    }
    Ok((content, metadata))
}
