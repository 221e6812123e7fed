//! Opening a database file: made and looked at through the workspace's folder, opened by SQLite in the very same folder, and compared.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use milescale_sqlite_guard::{OPENING, Pinned};
use milescale_workspace::Place;
use milescale_workspace::durable::set_mode_in;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::{Metadata, status_in};
use milescale_workspace::readers::Readers;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::bound::{self, Bound};
use super::schema::{flaw_of_tables, version};
use super::{BUSY_TIMEOUT, Make, OLDEST, Others, ROWS_ON_THE_WAY, Sqlite, is_no_database, numbers};
use crate::files::{readers_of_all, readers_of_files};

/// The bits of a mode by which others than the owner read and write.
const RIGHTS_OF_OTHERS: u32 = 0o077;

/// Why a file that was there before is not filled.
const OF_A_STRANGER: &str = "it belongs to somebody who may not read the milestones";
const FOR_OTHERS: &str = "others may read it than may read the milestones";

impl Sqlite {
    /// Whether there is a file with something in it.
    ///
    /// # Errors
    /// When that cannot be told, and where something else has the name.
    pub(crate) fn holds_something(&self) -> Result<bool, StoreError> {
        match self.place.status() {
            Ok(metadata) if metadata.is_file() => Ok(metadata.len() > 0),
            Ok(metadata) if metadata.is_symlink() => {
                // By now it may be none, where somebody exchanges names.
                let cause = self
                    .place
                    .open()
                    .err()
                    .map_or_else(|| "it was a symlink a moment ago; try again".to_owned(), |it| it.to_string());
                Err(self.error(Problem::Refused, cause))
            }
            Ok(_) => Err(self.error(Problem::Corrupt, "it is no regular file; expected a database of SQLite")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.error(Problem::Unavailable, error.to_string())),
        }
    }

    /// Whether the file holds something that is no database of SQLite, as one that was overwritten does.
    pub(crate) fn is_no_database(&self) -> bool {
        is_no_database(&self.place)
    }

    /// Opens the file where it is not open, or where another file has its name now. Whether it was opened anew.
    pub(crate) fn open(&mut self, make: Make) -> Result<bool, StoreError> {
        if !self.holds_something()? && make == Make::Never {
            self.close();
            let what =
                if self.place.exists() { "is empty, as `sqlite3` makes it when it only reads" } else { "is missing" };
            let cause =
                format!("the database {what}; put it back, or see `milescale doctor` for the ways on without it");
            return Err(self.error(Problem::Unavailable, cause));
        }
        self.check_beside()?;
        if self.connection.is_some() && self.identity_now().is_ok_and(|identity| identity == self.identity) {
            return self.check_definitions().map(|()| false);
        }
        self.close();
        let (folder, name) = self.folder_to_open(make)?;
        let connection = self.connected(&folder.path(&name))?;
        // Its name may have gone to another file of the folder in between.
        let is_the_same = identity_in(&folder, &name).is_ok_and(|identity| identity == self.identity);
        self.connection = Some(connection);
        self.opened_in = Some((folder, name));
        if !is_the_same {
            self.close();
            return Err(self.error(Problem::Busy, "another file took its name at that instant; try again"));
        }
        self.defined = None;
        self.check_definitions().map(|()| true)
    }

    /// Whether what the database defines can be used, where that is not what was looked at last.
    fn check_definitions(&mut self) -> Result<(), StoreError> {
        let defined = Some(self.run(async |connection| version(connection).await)?);
        if defined == self.defined {
            return Ok(());
        }
        if let Some(flaw) = self.run(async |connection| flaw_of_tables(connection).await)? {
            self.close();
            return Err(self.error(Problem::Corrupt, flaw));
        }
        self.defined = defined;
        Ok(())
    }

    /// A connection of this process: bounded before it has read anything. Without a path it has a database of its own, which goes when
    /// it is closed: in a temporary file, where it is too large for memory.
    pub(super) fn connected(&mut self, path: &Path) -> Result<SqliteConnection, StoreError> {
        bound::watch_threads();
        self.bound = Bound::new(self.timeout, self.stop.clone());
        let (bound, thread) = (self.bound.clone(), self.bound.thread.clone());
        let guarded = milescale_sqlite_guard::register();
        let guarded =
            guarded.map_err(|code| self.error(Problem::Unavailable, format!("SQLite does not start: code {code}")))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .vfs(guarded)
            .create_if_missing(path.as_os_str().is_empty())
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Extra)
            .foreign_keys(!path.as_os_str().is_empty())
            .row_buffer_size(ROWS_ON_THE_WAY)
            .thread_name(move |_| thread.clone())
            .disable_statement_logging();
        let opened = self.runtime.block_on(self.bound.within(async {
            let mut connection = SqliteConnection::connect_with(&options).await?;
            // What a schema names is read before anything else is asked for, while the guard looks at the clock.
            sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&mut connection).await?;
            let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await?;
            connection.lock_handle().await?.set_progress_handler(bound::STEPS, move || bound.goes_on());
            Ok((connection, version))
        }));
        let opened = opened.map_err(|why| self.error(Problem::Unavailable, why))?;
        let (connection, version) = opened.map_err(|error| {
            if is_interrupted(&error) {
                let limit = OPENING.as_secs();
                let cause = format!("to read what tables it has takes more than {limit} s; look at it with `sqlite3`");
                return self.error(Problem::Corrupt, cause);
            }
            self.failed(&error)
        })?;
        if numbers(&version) < numbers(OLDEST) {
            return Err(self.error(Problem::Refused, format!("SQLite {version} is older than {OLDEST}; not used")));
        }
        Ok(connection)
    }

    /// Whether what SQLite finds beside the file is what it expects there. The guard opens nothing else; here it is said what it is.
    fn check_beside(&self) -> Result<(), StoreError> {
        for suffix in ["-journal", "-wal", "-shm"] {
            let beside = self.place.with_name(format!("{}{suffix}", self.place.name_text()));
            let refused = |cause: &str| Err(StoreError::new(Problem::Corrupt, self.workspace.shown(&beside), cause));
            let Ok(metadata) = beside.status_of_name() else { continue };
            if !metadata.is_file() {
                return refused("it is no regular file, and SQLite would open it; remove it");
            }
            if suffix == "-journal" && !may_be_of(&beside, &metadata, self.place.status().map_or(0, |it| it.len())) {
                return refused(
                    "it is far larger than its database, or begins as none that SQLite writes; open the database once with `sqlite3`, \
                     which undoes what was under way, and see whether it is as you expect it",
                );
            }
            if suffix == "-journal" && names_another(&beside) {
                return refused(
                    "it belongs to a transaction over several databases, and SQLite would remove the file that it names; look at it \
                     with `sqlite3`, as the user whose program has left it, or remove it",
                );
            }
        }
        Ok(())
    }

    /// Takes the rights of all others from the open file, where nobody knows of it yet. Its mode before, and whose it is.
    pub(super) fn close_to_others(&mut self) -> Result<Option<(u32, Readers)>, StoreError> {
        if self.others != Others::AreNotThere {
            return Ok(None);
        }
        let before = self.place.status().map_err(|error| self.error(Problem::Unavailable, error.to_string()))?;
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
        let there = self.place.status().map_err(|error| self.error(Problem::Unavailable, error.to_string()))?;
        if readers.are_exceeded_by(&there) {
            return self.let_in_only(readers.and(Readers::of(&there)));
        }
        self.check_owner(readers, &there)
    }

    /// Those who may read what the file is to be filled with: the milestone files that there are, or for want of any what is the user's own.
    pub(super) fn readers_of_what_comes(&self) -> Result<Readers, StoreError> {
        let readers = readers_of_files(&self.workspace)?;
        Ok(if readers == Readers::ALL { Readers::OWN } else { readers })
    }

    /// Why the file, which was there before, cannot be for its readers alone.
    pub(super) fn stays_for_others(&self, readers: Readers) -> Result<Option<&'static str>, StoreError> {
        let failed = |error: io::Error| self.error(Problem::Unavailable, error.to_string());
        let (there, folder) = (self.place.status().map_err(failed)?, self.place.parent().status().map_err(failed)?);
        let may_change = Readers::is_ours(&there) || rustix::process::geteuid().is_root();
        Ok(if readers.let_in_owner_of(&there, &folder) {
            (readers.are_exceeded_by(&there) && !may_change).then_some(FOR_OTHERS)
        } else {
            Some(OF_A_STRANGER)
        })
    }

    /// Whether the file, which is in use, is read by none but these: it is neither closed to those who use it, nor filled with what is not
    /// for them.
    pub(super) fn is_for_no_more_than(&self, readers: Readers) -> Result<(), StoreError> {
        let failed = |error: io::Error| self.error(Problem::Unavailable, error.to_string());
        let (there, folder) = (self.place.status().map_err(failed)?, self.place.parent().status().map_err(failed)?);
        if readers.let_in_owner_of(&there, &folder) && !readers.are_exceeded_by(&there) {
            return Ok(());
        }
        Err(self.error(
            Problem::Refused,
            "not all who may read this database may read what is to be written, and nothing was written; let them read that (chmod, chgrp), \
             or take the right to read the database from the others (chmod o-r, g-r), and try again",
        ))
    }

    fn let_in(&self, readers: Readers, (folder, name): (&Pinned, &OsString)) -> Result<(), StoreError> {
        let there = self.place.status().map_err(|error| self.error(Problem::Unavailable, error.to_string()))?;
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

    /// Whether the owner of the file may read what is written into it.
    fn check_owner(&self, readers: Readers, there: &Metadata) -> Result<(), StoreError> {
        let folder = self.place.parent().status();
        let folder = folder.map_err(|error| self.error(Problem::Unavailable, error.to_string()))?;
        if readers.let_in_owner_of(there, &folder) {
            return Ok(());
        }
        Err(self.is_anothers(OF_A_STRANGER))
    }

    fn is_anothers(&self, why: &str) -> StoreError {
        self.error(Problem::Refused, format!("{why}, and nothing was written into it; move it away, and try again"))
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

    /// Device and inode of the file that has the name now.
    fn identity_now(&self) -> io::Result<(u64, u64)> {
        Self::identity_of(&self.place)
    }

    pub(super) fn identity_of(place: &Place) -> io::Result<(u64, u64)> {
        place.status().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// The folder that SQLite is to open the file in, and its name there; it was made or looked at through the workspace's folder.
    fn folder_to_open(&mut self, make: Make) -> Result<(Pinned, OsString), StoreError> {
        let unavailable = |this: &Self, error: &io::Error| this.error(Problem::Unavailable, error.to_string());
        // One that is there and empty, somebody may have made for this.
        let filled_for = match self.place.status() {
            _ if make == Make::Never => None,
            Ok(there) if there.len() > 0 => None,
            Ok(_) => Some(readers_of_all(&self.workspace)?),
            Err(_) => {
                let readers = readers_of_all(&self.workspace)?;
                match self.place.make_for(readers) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(readers),
                    other => other.map(|_| None).map_err(|error| unavailable(self, &error))?,
                }
            }
        };
        let real = self.place.real().map_err(|error| unavailable(self, &error))?;
        self.identity = self.identity_now().map_err(|error| unavailable(self, &error))?;
        let folder = real.parent().open_folder().map_err(|error| unavailable(self, &error))?;
        let (folder, name) = (Pinned::new(folder), real.name().to_owned());
        if identity_in(&folder, &name).ok() != Some(self.identity) {
            return Err(self.error(Problem::Busy, "its folder was replaced at that instant; try again"));
        }
        filled_for.map_or(Ok(()), |readers| self.let_in(readers, (&folder, &name)))?;
        Ok((folder, name))
    }
}

/// The last bytes of a journal that names another one above it.
const ABOVE_IT: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// Bytes of a journal besides what it keeps of the database.
const BESIDE_ITS_PAGES: u64 = 16 << 20;

/// Where the size of a sector stands in it.
const SECTOR: u64 = 20;

/// Whether a journal may be one of a database of that size: it keeps each page once, and begins with a sector of a disk.
fn may_be_of(journal: &Place, metadata: &Metadata, database: u64) -> bool {
    if metadata.len() > database.saturating_mul(2).saturating_add(BESIDE_ITS_PAGES) {
        return false;
    }
    // A journal that is no journal begins with something else, and is left alone by SQLite.
    let mut begin = [0; 4];
    match journal.open().and_then(|(file, _)| file.read_exact_at(&mut begin, SECTOR)) {
        Ok(()) => matches!(u32::from_be_bytes(begin), 0 | 512..=65_536),
        Err(_) => true,
    }
}

/// Whether a journal names another file. One that is gone names none; of one that cannot be read nothing is known.
fn names_another(journal: &Place) -> bool {
    let mut end = [0; ABOVE_IT.len()];
    match journal.open() {
        Err(error) => error.kind() != io::ErrorKind::NotFound,
        Ok((_, metadata)) if metadata.len() < end.len() as u64 => false,
        Ok((file, metadata)) => {
            let at = metadata.len() - ABOVE_IT.len() as u64;
            file.read_exact_at(&mut end, at).is_err() || end == ABOVE_IT
        }
    }
}

/// Device and inode of what has a name in a folder, as SQLite finds it.
#[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions, reason = "the types differ by platform")]
fn identity_in(folder: &Pinned, name: &OsStr) -> io::Result<(u64, u64)> {
    let c_name = CString::new(name.as_bytes())?;
    let status = status_in(folder.folder(), &c_name)?;
    // What is read of it is for those who may read it.
    Readers::of_status_in(&status, folder.folder(), &c_name).note();
    Ok((u64::try_from(status.st_dev).unwrap_or_default(), status.st_ino))
}

/// Whether SQLite says that it was asked to end.
fn is_interrupted(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "9")
}
