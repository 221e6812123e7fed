//! Files that have no final name yet: where they are made, and how those that a crash left are told and removed.
//!
//! A writer holds a kernel lock on its temporary file until the file has its final name. The lock goes with the process,
//! in whatever container it ran: so a temporary file that can be locked is a left-over. It is removed, never opened for
//! writing: it may be a second name of a file that is in use.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use super::names::{Outcome, name_file, rename_new, synced};
use crate::folder::{File, Place};
use crate::process;
use crate::random;
use crate::readers::Readers;

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
    place: Place,
    is_placed: bool,
}

impl Temporary {
    /// Makes one in the folder of `path`, under a name that cannot be guessed.
    pub(super) fn beside(place: &Place, readers: Readers) -> io::Result<Self> {
        loop {
            let place = place.with_name(format!("{PREFIX}{}", random::hexadecimal::<RANDOM_BYTES>()?));
            let file = place.make_for(readers)?;
            // Where locks are not known, left-overs stay.
            let _ = file.try_lock();
            // Before it was locked, another process may have taken it for a left-over.
            if file.metadata()?.nlink() > 0 {
                return Ok(Self { file, place, is_placed: false });
            }
        }
    }

    /// Its temporary name.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Renames it over whatever has the name `to`. Not synced.
    pub(super) fn replace(mut self, to: &Place) -> io::Result<()> {
        self.place.rename(to)?;
        self.is_placed = true;
        Ok(())
    }

    /// Gives it a name that nothing has, durably.
    pub(super) fn become_new(mut self, to: &Place) -> io::Result<Outcome> {
        let outcome = rename_new(&self.place, to)?;
        self.is_placed = true;
        Ok(outcome)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_placed {
            let _ = self.place.remove_file();
        }
    }
}

/// Gives a file without a name one that nothing has, durably.
pub(super) fn name(file: &File, place: &Place) -> io::Result<Outcome> {
    Ok(match name_file(file, place)? {
        Outcome::Done => synced(place, place),
        other => other,
    })
}

/// Removes what a crash left in `folder`. Best effort: what stays does no harm. `now` is the wall clock.
pub(super) fn remove_leftovers(folder: &Place, now: SystemTime, goes_on: &dyn Fn() -> bool) {
    for entry in folder.entries_or_none() {
        if !goes_on() {
            return;
        }
        if let Some(rest) = entry.name.to_str().and_then(|name| name.strip_prefix(PREFIX)) {
            let _ = remove_leftover(&folder.join(&entry.name), rest, now);
        }
    }
}

fn remove_leftover(place: &Place, rest: &str, now: SystemTime) -> io::Result<()> {
    let (file, metadata) = place.open()?;
    if file.try_lock().is_err() {
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
    place.remove_file()
}
