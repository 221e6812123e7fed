//! Kernel locks, which go with the process that holds them, so that a crash can never leave one behind: the daemon's, held
//! for its life, and that of the writers of milestone files.

use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::time::{Duration, Instant};

use rustix::fs::Access;

use crate::folder::{File, Place, TryLockError, Use};
use crate::stop::Stop;

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct Held {
    file: File,
}

impl Held {
    /// Whether the locked file still has this name. If not, the lock keeps nobody out.
    pub fn is_at(&self, path: &Place) -> bool {
        path.status_of_name().is_ok_and(|there| self.is_on((there.dev(), there.ino())))
    }

    /// Whether another attempt met this very lock: its file had another name for a moment only.
    pub fn is_what_is_in_the_way(&self, busy: &Busy) -> bool {
        busy.file.metadata().is_ok_and(|theirs| self.is_on((theirs.dev(), theirs.ino())))
    }

    /// Whether the locked file is the one of this device and inode.
    fn is_on(&self, file: (u64, u64)) -> bool {
        self.file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == file)
    }
}

/// A lock that another process has, or another descriptor of this one.
#[derive(Debug)]
pub struct Busy {
    file: File,
}

impl Busy {
    /// The process id that its holder wrote, where it can be read.
    pub fn by(&self) -> Option<u32> {
        owner(&self.file)
    }
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours.
    Taken(Held),
    /// Another one has it.
    Busy(Busy),
}

/// Tries to take the lock, and writes this process's id into its file.
///
/// The file that is held is open for reading only, so that the file system can be made read-only meanwhile, and so that
/// a lock that is there already can be taken on one that is.
pub fn try_take(path: &Place) -> io::Result<Attempt> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => {
            // The id is for people: without it the lock is as good.
            if let Ok((mut open, _)) = path.open_for(Use::Write) {
                let _ = open.set_len(0).and_then(|()| writeln!(open, "{}", std::process::id()));
            }
            Ok(Attempt::Taken(Held { file }))
        }
        Err(TryLockError::WouldBlock) => Ok(Attempt::Busy(Busy { file })),
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

/// Takes the lock, waiting for at most so long; `None` when another process has it all that time, or for a moment after a
/// stop was asked for. The file is made where it is missing; its folder must be there.
///
/// # Errors
/// When the lock's file cannot be opened or made, or this process may not write beside it. That is never "busy".
pub fn wait_for(path: &Place, share: Share, patience: Duration, stop: &Stop) -> io::Result<Option<Held>> {
    let file = open(path)?;
    let start = Instant::now();
    let is_over = || start.elapsed() >= patience || stop.ends(start.elapsed());
    loop {
        let tried = match share {
            Share::Alone => file.try_lock(),
            Share::Shared => file.try_lock_shared(),
        };
        match tried {
            Ok(()) => return Ok(Some(Held { file })),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if is_over() => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Why this process could not take a lock whose file is there; `None` where it could, or there is no file.
///
/// # Errors
/// Never: the reason is the answer.
pub fn unusable(path: &Place) -> Option<io::Error> {
    path.status_of_name().ok()?;
    may_write_beside(path).ok()?;
    existing(path).err()
}

/// Opens a lock's file for reading, which suffices for a lock: several accounts may share a workspace. A missing one is
/// made, for whoever may read its folder.
fn open(path: &Place) -> io::Result<File> {
    may_write_beside(path)?;
    match existing(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path)?;
            existing(path)
        }
        other => other,
    }
}

fn existing(path: &Place) -> io::Result<File> {
    match path.open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let remedy = "its owner has to let you read it (`chmod a+r`), or remove it while no milescale runs";
            Err(io::Error::new(error.kind(), format!("{error}; {remedy}")))
        }
        other => other.map(|(file, _)| file),
    }
}

/// Makes a lock's file as the owner of its folder would: a command that root has run once keeps nobody out.
fn make(path: &Place) -> io::Result<()> {
    let made = path.make_with(0o644);
    let file = match made {
        // Another process was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    };
    let (ours, folder) = (file.metadata()?, path.parent().status()?);
    if (ours.uid(), ours.gid()) != (folder.uid(), folder.gid()) {
        // Only root may give files away; without that right the file is for those who may read it.
        let _ = fchown(&file, Some(folder.uid()), Some(folder.gid()));
    }
    Ok(())
}

/// Who may not write keeps nobody out who may. A disk that is read-only for everybody is another matter.
fn may_write_beside(path: &Place) -> io::Result<()> {
    let folder = path.parent();
    match folder.access(Access::WRITE_OK | Access::EXEC_OK) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let message = format!(
                "you may not write in {}; run it as the owner of that folder, or have yourself given the right",
                folder.path().display()
            );
            Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
        }
        _ => Ok(()),
    }
}

/// Whether a process holds the lock: its id, or `Some(None)` where that cannot be read. `None`: nobody, or no lock file.
///
/// Looking takes the lock for an instant; a daemon that starts in this instant tries again.
pub fn holder(path: &Place) -> Option<Option<u32>> {
    let (file, _) = path.open().ok()?;
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

#[cfg(test)]
mod tests {
    use super::{Attempt, Busy, Held, Place, try_take};

    fn taken(path: &Place) -> Held {
        match try_take(path).unwrap() {
            Attempt::Taken(held) => held,
            Attempt::Busy(busy) => panic!("{busy:?}"),
        }
    }

    fn busy(path: &Place) -> Busy {
        match try_take(path).unwrap() {
            Attempt::Busy(busy) => busy,
            Attempt::Taken(held) => panic!("{held:?}"),
        }
    }

    /// Whoever may write there may exchange names: what is met under the old name again is not another daemon.
    #[test]
    fn a_lock_knows_itself_by_its_file_and_another_one_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Place::named(&folder.path().join(name));
        let ours = taken(&at("lock"));
        at("lock").rename(&at("away")).unwrap();
        assert!(!ours.is_at(&at("lock")));
        at("away").rename(&at("lock")).unwrap();
        assert!(ours.is_at(&at("lock")) && ours.is_what_is_in_the_way(&busy(&at("lock"))));
        at("lock").rename(&at("away")).unwrap();
        let theirs = taken(&at("lock"));
        assert!(!ours.is_what_is_in_the_way(&busy(&at("lock"))) && theirs.is_what_is_in_the_way(&busy(&at("lock"))));
        assert_eq!(busy(&at("lock")).by(), Some(std::process::id()));
    }
}
