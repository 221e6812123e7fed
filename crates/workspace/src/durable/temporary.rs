//! Files that have no final name yet: where they are made, and how those that a crash left are told and removed.
//!
//! A writer holds a kernel lock on its temporary file until the file has its final name. The lock goes with the process,
//! in whatever container it ran: so a temporary file that can be locked is a left-over. It is removed, never opened for
//! writing: it may be a second name of a file that is in use.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
#[cfg(target_os = "linux")]
use rustix::fs::{CWD, Mode};

use super::names::{Outcome, inode_of, link, rename_new, synced};
use crate::process;
use crate::random;

/// How every temporary name begins.
const PREFIX: &str = ".milescale-tmp-";

/// Random bytes of a name.
const RANDOM_BYTES: usize = 16;

/// A temporary file of a milescale before this one, named by its process, is no left-over before this age.
const OLD_NAMES_AFTER: Duration = Duration::from_mins(10);

/// A file that is being written; removed when dropped before it has its final name.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) file: File,
    path: PathBuf,
    is_placed: bool,
}

impl Temporary {
    /// Makes one in the folder of `path`, under a name that cannot be guessed.
    pub(super) fn beside(path: &Path) -> io::Result<Self> {
        loop {
            let path = path.with_file_name(format!("{PREFIX}{}", random::hexadecimal::<RANDOM_BYTES>()?));
            let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            // Where locks are not known, left-overs stay.
            let _ = file.try_lock();
            // Before it was locked, another process may have taken it for a left-over.
            if file.metadata()?.nlink() > 0 {
                return Ok(Self { file, path, is_placed: false });
            }
        }
    }

    /// Its temporary name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames it over whatever has the name `to`. Not synced.
    pub(super) fn replace(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.is_placed = true;
        Ok(())
    }

    /// Gives it a name that nothing has, durably.
    pub(super) fn become_new(mut self, to: &Path) -> io::Result<Outcome> {
        let outcome = rename_new(&self.path, to)?;
        self.is_placed = true;
        Ok(outcome)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens a new file without a name in the folder of `path`, of which a crash leaves nothing. `None` where the file system or
/// the kernel knows no such files.
#[cfg(target_os = "linux")]
pub(super) fn without_name(path: &Path) -> Option<File> {
    let mode = Mode::from_raw_mode(0o666);
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, path.parent()?, flags, mode).ok()?);
    // Without /proc it could never get a name.
    link_of(&file).symlink_metadata().is_ok().then_some(file)
}

/// Other kernels know no files without a name.
#[cfg(not(target_os = "linux"))]
pub(super) fn without_name(_: &Path) -> Option<File> {
    None
}

/// Gives a file without a name one that nothing has, durably.
pub(super) fn name(file: &File, path: &Path) -> io::Result<Outcome> {
    let ours = inode_of(&file.metadata()?);
    Ok(match link(&link_of(file), path, ours)? {
        Outcome::Done => synced(path, path),
        other => other,
    })
}

fn link_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Removes what a crash left in `folder`. Best effort: what stays does no harm. `now` is the wall clock.
pub(super) fn remove_leftovers(folder: &Path, now: SystemTime) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) {
            let _ = remove_leftover(&entry.path(), rest, now);
        }
    }
}

fn remove_leftover(path: &Path, rest: &str, now: SystemTime) -> io::Result<()> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || file.try_lock().is_err() {
        return Ok(());
    }
    // PID-N: the milescale that wrote it locked nothing.
    if let Some((pid, _)) = rest.split_once('-') {
        let modified = metadata.modified()?;
        let recent = now.duration_since(modified).is_ok_and(|age| age < OLD_NAMES_AFTER);
        let lives = pid.parse().is_ok_and(|pid| process::lives_since(pid, modified));
        if !process::is_before_boot(modified) && (recent || lives) {
            return Ok(());
        }
    }
    fs::remove_file(path)
}
