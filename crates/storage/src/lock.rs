//! Kernel locks, which go with the process that holds them, so that a crash can never leave one behind: the daemon's, held
//! for its life, and that of the writers of milestone files.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

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
///
/// The file that is held is open for reading only, so that the file system can be made read-only meanwhile, and so that
/// a lock that is there already can be taken on one that is.
pub fn try_take(path: &Path) -> io::Result<Attempt> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            File::open(path)?
        }
        other => other?,
    };
    match file.try_lock() {
        Ok(()) => {
            // The id is for people: without it the lock is as good.
            if let Ok(mut open) = OpenOptions::new().write(true).truncate(true).open(path) {
                let _ = writeln!(open, "{}", std::process::id());
            }
            Ok(Attempt::Taken(Held { file }))
        }
        Err(TryLockError::WouldBlock) => Ok(Attempt::Busy(owner(&file))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a lock is held by one process alone or by several at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// By one alone.
    Alone,
    /// By any number of those who share it.
    Shared,
}

/// Takes the lock, waiting for at most so long; `None` when another process has it all that time. The file is made where
/// it is missing; its folder must be there.
pub fn wait_for(path: &Path, share: Share, patience: Duration) -> io::Result<Option<Held>> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let end = Instant::now() + patience;
    loop {
        let tried = match share {
            Share::Alone => file.try_lock(),
            Share::Shared => file.try_lock_shared(),
        };
        match tried {
            Ok(()) => return Ok(Some(Held { file })),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Whether a process holds the lock: its id, or `Some(None)` where that cannot be read. `None`: nobody, or no lock file.
///
/// Looking takes the lock for an instant; a daemon that starts in this instant tries again.
pub fn holder(path: &Path) -> Option<Option<u32>> {
    let file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(owner(&file)),
        _ => None,
    }
}

fn owner(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
