//! Who may read the file of a database: those who may read what stands in it, and nobody else.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use milescale_core::base::Side;
use milescale_sqlite_guard::Pinned;
use milescale_workspace::durable::set_mode_in;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::Metadata;
use milescale_workspace::readers::Readers;

use super::{Others, Sqlite};
use crate::files::readers_of_files;

/// The bits of a mode by which others than the owner read and write.
const RIGHTS_OF_OTHERS: u32 = 0o077;

/// What to do about a file that is not filled: what stands in it alone is brought over before, or kept in it.
pub(super) const MOVE_AWAY: &str = "run `milescale check`, so that what can be brought over is, and then move it away with its -wal and -journal, and keep it: what \
                                    cannot be brought over, as `milescale doctor` says, is in it alone";

/// Why a file that was there before is not filled.
const OF_A_STRANGER: &str = "it belongs to somebody who may not read the milestones";
const FOR_OTHERS: &str = "others may read it than may read the milestones";

impl Sqlite {
    /// Takes the rights of all others from the open file, where nobody knows of it yet. Its mode before, and whose it is.
    pub(super) fn close_to_others(&mut self) -> Result<Option<(u32, Readers)>, StoreError> {
        if self.others != Others::AreNotThere {
            return Ok(None);
        }
        let before = self.status()?;
        if !Readers::is_ours(&before) {
            self.check_owner(self.readers_of_what_comes()?, &before)?;
        }
        self.set_mode(before.mode() & !RIGHTS_OF_OTHERS)?;
        Ok(Some((before.mode(), Readers::of(&before))))
    }

    /// Gives them back, as far as what was read meanwhile is for those who had them.
    pub(super) fn open_to_others(&mut self, before: Option<(u32, Readers)>) -> Result<(), StoreError> {
        let Some((mode, readers)) = before else { return Ok(()) };
        let both = readers.and(Readers::noted());
        if readers.has_list() {
            // Its list is there still; the bits of the group say what that allows at most.
            return if readers.are_among(both) { self.set_mode(mode) } else { self.give_to(both) };
        }
        self.set_mode(mode & (both.mode() | !RIGHTS_OF_OTHERS))
    }

    /// Lets the open file, which was there before, be for its readers and nobody else, before it holds what is theirs.
    pub(crate) fn let_in_only(&self, readers: Readers) -> Result<(), StoreError> {
        self.opened_in.as_ref().map_or(Ok(()), |(folder, name)| self.let_in(readers, (folder, name)))
    }

    /// Takes the right to read the open file from those who are none of these.
    pub(super) fn let_in_no_more_than(&self, readers: Readers) -> Result<(), StoreError> {
        let there = self.status()?;
        if readers.are_exceeded_by(&there) {
            return self.let_in_only(readers.and(Readers::of(&there)));
        }
        self.check_owner(readers, &there)
    }

    /// Those who may read what the file is to be filled with: the milestone files that there are, or for want of any what is the user's own.
    fn readers_of_what_comes(&self) -> Result<Readers, StoreError> {
        let readers = readers_of_files(&self.workspace)?;
        Ok(if readers == Readers::ALL { Readers::OWN } else { readers })
    }

    /// Those for whom a file of before has to be, before milestones of a side come into it. Where there are no files, nothing comes of them.
    pub(super) fn readers_of_side(&self, from: Side) -> Result<Readers, StoreError> {
        if from == Side::Postgresql { self.readers_of_what_comes() } else { readers_of_files(&self.workspace) }
    }

    /// Why the file, which was there before, cannot be for its readers alone.
    pub(super) fn stays_for_others(&self, readers: Readers) -> Result<Option<&'static str>, StoreError> {
        let there = self.status()?;
        let may_change = Readers::is_ours(&there) || rustix::process::geteuid().is_root();
        Ok(if self.let_in_owner(readers, &there)? {
            (readers.are_exceeded_by(&there) && !may_change).then_some(FOR_OTHERS)
        } else {
            Some(OF_A_STRANGER)
        })
    }

    /// Whether the file, which is in use, is read by none but these: it is neither closed to those who use it, nor filled with what is not
    /// for them.
    pub(super) fn is_for_no_more_than(&self, readers: Readers) -> Result<(), StoreError> {
        let there = self.status()?;
        if self.let_in_owner(readers, &there)? && !readers.are_exceeded_by(&there) {
            return Ok(());
        }
        Err(self.error(
            Problem::Refused,
            "not all who may read this database may read what is to be written, and nothing was written; let them read that (chmod, chgrp), \
             or take the right to read the database from the others (chmod o-r, g-r), and try again",
        ))
    }

    /// The same of the file of a name in an open folder.
    pub(super) fn let_in(&self, readers: Readers, (folder, name): (&Pinned, &OsString)) -> Result<(), StoreError> {
        let there = self.status()?;
        if (there.dev(), there.ino()) != self.identity {
            return Err(self.error(Problem::Busy, "another file took its name at that instant; try again"));
        }
        let is_wider = readers.are_exceeded_by(&there);
        self.check_owner(readers, &there)?;
        if !is_wider && readers.are_among(Readers::of(&there)) {
            return Ok(());
        }
        match self.give_in(readers, (folder, name)) {
            Err(_) if is_wider => Err(self.is_anothers(FOR_OTHERS)),
            other => other,
        }
    }

    /// What the system says of the file.
    fn status(&self) -> Result<Metadata, StoreError> {
        self.place.status().map_err(|error| self.error(Problem::Unavailable, error.to_string()))
    }

    /// Whether the owner of the file may read what is written into it.
    fn let_in_owner(&self, readers: Readers, there: &Metadata) -> Result<bool, StoreError> {
        let folder = self.place.parent().status();
        let folder = folder.map_err(|error| self.error(Problem::Unavailable, error.to_string()))?;
        Ok(readers.let_in_owner_of(there, &folder))
    }

    fn check_owner(&self, readers: Readers, there: &Metadata) -> Result<(), StoreError> {
        if self.let_in_owner(readers, there)? { Ok(()) } else { Err(self.is_anothers(OF_A_STRANGER)) }
    }

    fn is_anothers(&self, why: &str) -> StoreError {
        self.error(Problem::Refused, format!("{why}, and nothing was written into it; {MOVE_AWAY}; then try again"))
    }

    /// Gives the open file to its readers.
    pub(crate) fn give_to(&self, readers: Readers) -> Result<(), StoreError> {
        self.opened_in.as_ref().map_or(Ok(()), |(folder, name)| self.give_in(readers, (folder, name)))
    }

    fn give_in(&self, readers: Readers, (folder, name): (&Pinned, &OsString)) -> Result<(), StoreError> {
        let failed = |error: io::Error| self.error(Problem::Unavailable, format!("its rights cannot be set: {error}"));
        let name = CString::new(name.as_bytes()).map_err(|error| failed(error.into()))?;
        let is_it = |now: &Metadata| (now.dev(), now.ino()) == self.identity;
        readers.take_over_in(folder.folder(), &name, is_it).map_err(failed)
    }

    /// Sets the mode of the open file; it is not opened for that: to close it would be to let SQLite's locks go.
    fn set_mode(&self, mode: u32) -> Result<(), StoreError> {
        let failed = |error: io::Error| self.error(Problem::Unavailable, format!("its mode cannot be set: {error}"));
        let Some((folder, name)) = &self.opened_in else { return Ok(()) };
        let name = CString::new(name.as_bytes()).map_err(|error| failed(error.into()))?;
        let is_it = |now: &Metadata| (now.dev(), now.ino()) == self.identity;
        set_mode_in(folder.folder(), &name, |now| is_it(now).then_some(mode)).map_err(failed)
    }
}
