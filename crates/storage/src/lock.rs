//! The daemon's lock: a kernel lock held for the daemon's life, so that a crash can never leave it behind.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct Held {
    file: File,
}

impl Held {
    /// Whether the locked file still has this name. If not, the lock keeps nobody out.
    pub fn is_at(&self, path: &Path) -> bool {
        match (self.file.metadata(), path.metadata()) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Taken(Held),
    /// Another process has it; the process id that it wrote, where it can be read.
    Busy(Option<u32>),
}

/// Tries to take the lock, and writes this process's id into its file.
pub fn try_take(path: &Path) -> io::Result<Attempt> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())?;
            Ok(Attempt::Taken(Held { file }))
        }
        Err(TryLockError::WouldBlock) => Ok(Attempt::Busy(owner(&mut file))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a process holds the lock: its id, or `Some(None)` where that cannot be read. `None`: nobody, or no lock file.
///
/// Looking takes the lock for an instant; a daemon that starts in this instant tries again.
pub fn holder(path: &Path) -> Option<Option<u32>> {
    let mut file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(owner(&mut file)),
        _ => None,
    }
}

fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
