//! The courtesy of adapters: a folder `locks/ID.lock/` while somebody writes a milestone (contract §2).
//!
//! Nothing of milescale's is safe because of it, and a lock that stays in the way is said, not waited for for ever.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use milescale_document::id::Id;
use milescale_document::timestamp;

use crate::durable;
use crate::folder::is_about_trust;
use crate::process;
use crate::read::read_regular;
use crate::{Place, Workspace};

/// A lock older than this whose process is not alive here is left over.
const STALE_AFTER: Duration = Duration::from_mins(10);

/// How often a lock that somebody holds is tried.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// The files in the folder of a lock.
const PID: &str = "pid";
const TIMESTAMP: &str = "timestamp";

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    folder: Place,
    /// Device and inode of the folder that was made.
    made: Option<(u64, u64)>,
    now: SystemTime,
}

/// Why a lock could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Somebody has it.
    Held {
        /// The lock, as people read it.
        place: String,
        /// The process that it names.
        pid: Option<u32>,
    },
    /// The folder of the locks is a symlink that is not followed: why, and what lets it be.
    Elsewhere(String),
    /// It is left over, and cannot be removed.
    LeftOver {
        /// The lock, as people read it.
        place: String,
        /// Why not.
        reason: String,
    },
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held { place, pid } => {
                let by = pid.map_or_else(|| "another program".to_owned(), |pid| format!("process {pid}"));
                write!(
                    f,
                    "{place}: {by} is writing this milestone, or has died doing so; try again: a lock that nobody removes is \
                     taken over after ten minutes, or remove the folder if nobody writes"
                )
            }
            Self::Elsewhere(why) => f.write_str(why),
            Self::LeftOver { place, reason } => write!(
                f,
                "{place}: it was left by a process that is gone, and cannot be removed ({reason}); nothing was written. \
                 Remove the folder with all that is in it, as its owner or as root, and try again"
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// Takes the lock of a milestone, waiting for so long. `Ok(None)`: no lock can be made here, and none is needed.
pub fn take(workspace: &Workspace, id: &Id, now: Timestamp, patience: Duration) -> Result<Option<Lock>, Refused> {
    let folder = path(workspace, id.as_str());
    if let Err(error) = durable::create_folder(&workspace.locks()) {
        // Others may keep their locks behind a symlink: without them nobody knows who writes.
        return if is_about_trust(&error) { Err(Refused::Elsewhere(error.to_string())) } else { Ok(None) };
    }
    let end = Instant::now() + patience;
    let wall = SystemTime::try_from(now).unwrap_or(SystemTime::UNIX_EPOCH);
    let files = [(PID, format!("{}\n", std::process::id())), (TIMESTAMP, format!("{}\n", timestamp::to_text(now)))];
    loop {
        match durable::create_lock_folder(&folder, &files) {
            Ok(()) => return Ok(Some(Lock { made: inode(&folder), folder, now: wall })),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Ok(None),
            Err(_) => {}
        }
        let left_over = is_left_over(&folder, wall);
        let removed = if left_over { durable::remove_lock_folder(&folder, wall) } else { Ok(()) };
        if Instant::now() >= end {
            let place = workspace.shown(&folder);
            return Err(match removed {
                Err(error) => Refused::LeftOver { place, reason: error.to_string() },
                Ok(()) => Refused::Held { place, pid: pid(&folder) },
            });
        }
        if !left_over || removed.is_err() {
            std::thread::sleep(TRY_EVERY);
        }
    }
}

/// Whether somebody is writing this milestone.
pub fn is_held(workspace: &Workspace, id: &str, now: SystemTime) -> bool {
    // An id of a database need not be a file's name.
    let folder = path(workspace, id);
    !id.contains('/') && folder.is_folder() && !is_left_over(&folder, now)
}

fn path(workspace: &Workspace, id: &str) -> Place {
    workspace.locks().join(format!("{id}.lock"))
}

/// A lock from before the machine was started is nobody's. One whose process is gone, or whose number another program has
/// now, is respected for ten minutes: the process may be in another container.
fn is_left_over(folder: &Place, now: SystemTime) -> bool {
    let written = text(folder, TIMESTAMP).and_then(|text| SystemTime::try_from(timestamp::from_text(&text)?).ok());
    let Some(made) = written.or_else(|| folder.status_of_name().and_then(|metadata| metadata.modified()).ok()) else {
        return false;
    };
    let old = now.duration_since(made).is_ok_and(|age| age > STALE_AFTER);
    process::is_before_boot(made) || old && !pid(folder).is_some_and(|pid| process::lives_since(pid, made))
}

fn inode(folder: &Place) -> Option<(u64, u64)> {
    folder.status_of_name().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn pid(folder: &Place) -> Option<u32> {
    text(folder, PID)?.trim().parse().ok()
}

fn text(folder: &Place, name: &str) -> Option<String> {
    let (content, _) = read_regular(&folder.join(name), 4096).ok()?;
    String::from_utf8(content).ok()
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Somebody may have removed it, and taken it anew: only what is ours goes.
        if self.made.is_some() && inode(&self.folder) == self.made {
            let _ = durable::remove_lock_folder(&self.folder, self.now);
        }
    }
}
