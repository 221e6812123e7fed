//! Opening a database file: made and looked at through the workspace's folder, opened by SQLite in the very same folder, and compared.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use milescale_sqlite_guard::{OPENING, Pinned};
use milescale_workspace::Place;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::{Metadata, status_in};
use milescale_workspace::readers::Readers;
use rustix::fs::Access;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::bound::{self, Bound};
use super::schema::{flaw_of_tables, version};
use super::{BUSY_TIMEOUT, Make, OLDEST, ROWS_ON_THE_WAY, Sqlite, is_no_database, numbers};
use crate::files::readers_of_all;

/// How a file is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// As when it was asked for last.
    AsItWas,
    /// It is the same file, and somebody has changed what it defines: what was seen of its tables may not hold any more.
    Redefined,
    /// It was not open, or another file had its name.
    Anew,
}

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

    /// Opens the file where it is not open, or where another file has its name now.
    pub(crate) fn open(&mut self, make: Make) -> Result<Opened, StoreError> {
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
            return self.check_definitions();
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
        self.check_definitions().map(|_| Opened::Anew)
    }

    /// Whether what the database defines can be used, where that is not what was looked at last.
    fn check_definitions(&mut self) -> Result<Opened, StoreError> {
        let defined = Some(self.run(async |connection| version(connection).await)?);
        if defined == self.defined {
            return Ok(Opened::AsItWas);
        }
        if let Some(flaw) = self.run(async |connection| flaw_of_tables(connection).await)? {
            self.close();
            return Err(self.error(Problem::Corrupt, flaw));
        }
        self.defined = defined;
        Ok(Opened::Redefined)
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
            let encoding: String = sqlx::query_scalar("PRAGMA encoding").fetch_one(&mut connection).await?;
            connection.lock_handle().await?.set_progress_handler(bound::STEPS, move || bound.goes_on());
            Ok((connection, version, encoding))
        }));
        let opened = opened.map_err(|why| self.error(Problem::Unavailable, why))?;
        let (connection, version, encoding) = opened.map_err(|error| {
            if is_interrupted(&error) {
                let limit = OPENING.as_secs();
                let cause = format!("to read what tables it has takes more than {limit} s; look at it with `sqlite3`");
                return self.error(Problem::Corrupt, cause);
            }
            self.failed(&error)
        })?;
        if encoding != "UTF-8" {
            let cause = format!(
                "its texts are {encoding}, and milescale reads UTF-8; write it anew (`sqlite3 FILE .dump`, into a new file) and put that in its place"
            );
            return Err(self.error(Problem::Corrupt, cause));
        }
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
            if beside.access(Access::READ_OK).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
                return refused(
                    "you may not read it, and what a program has written last may stand in it; let its owner open the database once with \
                     `sqlite3` and close it, or give you the right to read this file as well. Do not remove it",
                );
            }
            if suffix == "-journal" && names_another(&beside) {
                return refused(
                    "it belongs to a transaction over several databases, and SQLite would remove the file that it names; open the database \
                     once with `sqlite3`, as the user whose program has left it. Do not remove it: what the transaction has to give back \
                     stands in nothing else",
                );
            }
        }
        Ok(())
    }

    /// Whether what another program has written lies beside a database that is not there any more: SQLite would remove it. An index is derived.
    fn check_what_was_left(&self) -> Result<(), StoreError> {
        let is_gone = self.place.status().map_or(true, |there| there.len() == 0);
        if !is_gone || self.place != self.workspace.enterprise_db() {
            return Ok(());
        }
        for suffix in ["-wal", "-journal"] {
            let beside = self.place.with_name(format!("{}{suffix}", self.place.name_text()));
            let holds_something = suffix == "-wal" || undoes_something(&beside);
            if holds_something && beside.status_of_name().is_ok_and(|it| it.len() > 0) {
                let cause = "what a program has written last into a database that is not here any more stands in it, and would be lost; move it \
                             to that database, and open that once with `sqlite3`";
                return Err(StoreError::new(Problem::Refused, self.workspace.shown(&beside), cause));
            }
        }
        Ok(())
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
        if make != Make::Never {
            self.check_what_was_left()?;
        }
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

/// Where the number of pages that the database had stands in it.
const PAGES: u64 = 16;

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

/// Whether a journal is of a database that had pages before: of one that is made just now there is nothing to undo.
fn undoes_something(journal: &Place) -> bool {
    let mut pages = [0; 4];
    let read = journal.open().and_then(|(file, _)| file.read_exact_at(&mut pages, PAGES));
    read.is_ok() && pages != [0; 4]
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
