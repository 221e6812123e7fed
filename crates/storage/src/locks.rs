//! The courtesy of adapters: a folder `locks/ID.lock/` while somebody writes a milestone (contract §2).
//!
//! Nothing of milescale's is safe because of it, and a lock that stays in the way is said, not waited for for ever.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use milescale_core::id::Id;
use milescale_core::timestamp;

use crate::durable;
use crate::read::{Symlinks, read_regular};
use crate::workspace::Workspace;

/// A lock older than this whose process is not alive here is left over.
const STALE_AFTER: Duration = Duration::from_mins(10);

/// How often a lock that somebody holds is tried.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock {
    folder: PathBuf,
}

/// Who has a lock that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The lock, as people read it.
    pub place: String,
    /// The process that it names.
    pub pid: Option<u32>,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = self.pid.map_or_else(|| "another program".to_owned(), |pid| format!("process {pid}"));
        write!(f, "{}: {by} is writing this milestone; try again, or remove the folder if nobody is", self.place)
    }
}

impl std::error::Error for Held {}

/// Takes the lock of a milestone, waiting for so long. `Ok(None)`: no lock can be made here, and none is needed.
pub fn take(workspace: &Workspace, id: &Id, now: Timestamp, patience: Duration) -> Result<Option<Lock>, Held> {
    let folder = path(workspace, id.as_str());
    if durable::create_folder(&workspace.locks()).is_err() {
        return Ok(None);
    }
    let end = Instant::now() + patience;
    let wall = SystemTime::try_from(now).unwrap_or(SystemTime::UNIX_EPOCH);
    loop {
        match durable::create_lock_folder(&folder) {
            Ok(()) => {
                // For people and adapters; without them the lock is as good.
                let _ = durable::publish(&folder.join("pid"), format!("{}\n", std::process::id()).as_bytes());
                let _ =
                    durable::publish(&folder.join("timestamp"), format!("{}\n", timestamp::to_text(now)).as_bytes());
                return Ok(Some(Lock { folder }));
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Ok(None),
            Err(_) if is_left_over(&folder, wall) => durable::remove_lock_folder(&folder),
            Err(_) if Instant::now() >= end => {
                return Err(Held { place: workspace.shown(&folder), pid: pid(&folder) });
            }
            Err(_) => std::thread::sleep(TRY_EVERY),
        }
    }
}

/// Whether somebody is writing this milestone.
pub(crate) fn is_held(workspace: &Workspace, id: &str, now: SystemTime) -> bool {
    // An id of a database need not be a file's name.
    let folder = path(workspace, id);
    !id.contains('/') && folder.is_dir() && !is_left_over(&folder, now)
}

fn path(workspace: &Workspace, id: &str) -> PathBuf {
    workspace.locks().join(format!("{id}.lock"))
}

fn is_left_over(folder: &Path, now: SystemTime) -> bool {
    let made = text(folder, "timestamp").and_then(|text| SystemTime::try_from(timestamp::from_text(&text)?).ok());
    let made = made.or_else(|| folder.metadata().and_then(|metadata| metadata.modified()).ok());
    let old = made.and_then(|made| now.duration_since(made).ok()).is_some_and(|age| age > STALE_AFTER);
    let alive = pid(folder).and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
    old && alive.is_none_or(|pid| rustix::process::test_kill_process(pid).is_err())
}

fn pid(folder: &Path) -> Option<u32> {
    text(folder, "pid")?.trim().parse().ok()
}

fn text(folder: &Path, name: &str) -> Option<String> {
    let (content, _) = read_regular(&folder.join(name), Symlinks::Refuse, 4096).ok()?;
    String::from_utf8(content).ok()
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Somebody may have removed it, and taken it anew: only what is ours goes.
        if pid(&self.folder) == Some(std::process::id()) {
            durable::remove_lock_folder(&self.folder);
        }
    }
}
