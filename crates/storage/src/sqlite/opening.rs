//! Opening a database file: made and looked at through the workspace's folder, opened by SQLite by name, and compared.

use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use milescale_workspace::Place;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::system;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::bound::{self, Bound};
use super::schema::flaw_of_tables;
use super::{BUSY_TIMEOUT, Make, OLDEST, ROWS_ON_THE_WAY, Sqlite, is_no_database, numbers};
use crate::files::readers_of_all;

/// What all connections of this process may take of memory: a row of somebody else may be of any size.
const HEAP: &str = "PRAGMA hard_heap_limit = 268435456";

impl Sqlite {
    /// Whether there is a file with something in it.
    ///
    /// # Errors
    /// When that cannot be told, and where something else has the name.
    pub(crate) fn holds_something(&self) -> Result<bool, StoreError> {
        match self.place.status() {
            Ok(metadata) if metadata.is_file() => Ok(metadata.len() > 0),
            Ok(metadata) if metadata.is_symlink() => {
                let cause = self.place.open().err().map_or_else(String::new, |error| error.to_string());
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
            return Ok(false);
        }
        self.close();
        let path = self.path_to_open(make)?;
        bound::watch_threads();
        self.bound = Bound::new(self.timeout, self.stop.clone());
        let (bound, thread) = (self.bound.clone(), self.bound.thread.clone());
        let guarded = milescale_sqlite_guard::register();
        let guarded =
            guarded.map_err(|code| self.error(Problem::Unavailable, format!("SQLite does not start: code {code}")))?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .vfs(guarded)
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Extra)
            .row_buffer_size(ROWS_ON_THE_WAY)
            .thread_name(move |_| thread.clone())
            .disable_statement_logging();
        let opened = self.runtime.block_on(self.bound.within(async {
            let mut connection = SqliteConnection::connect_with(&options).await?;
            sqlx::query(sqlx::AssertSqlSafe(HEAP)).execute(&mut connection).await?;
            connection.lock_handle().await?.set_progress_handler(bound::STEPS, move || bound.goes_on());
            let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await?;
            Ok((connection, version))
        }));
        let opened = opened.map_err(|why| self.error(Problem::Unavailable, why))?;
        let (connection, version) = opened.map_err(|error| self.failed(&error))?;
        if numbers(&version) < numbers(OLDEST) {
            return Err(self.error(Problem::Refused, format!("SQLite {version} is older than {OLDEST}; not used")));
        }
        self.connection = Some(connection);
        self.path.clone_from(&path);
        // SQLite opens by name: what has the name now is compared with what had it before.
        if identity_of(&path).ok() != Some(self.identity) {
            self.close();
            return Err(self.error(Problem::Busy, "another file took its name at that instant; try again"));
        }
        if let Some(flaw) = self.run(async |connection| flaw_of_tables(connection).await)? {
            self.close();
            return Err(self.error(Problem::Corrupt, flaw));
        }
        Ok(true)
    }

    /// Whether what SQLite opens beside the file is harmless: it would wait for a FIFO for ever, and remove the file that a journal
    /// names as the one above it.
    fn check_beside(&self) -> Result<(), StoreError> {
        for suffix in ["-journal", "-wal", "-shm"] {
            let beside = self.place.with_name(format!("{}{suffix}", self.place.name_text()));
            let refused = |cause: &str| Err(StoreError::new(Problem::Corrupt, self.workspace.shown(&beside), cause));
            let Ok(metadata) = beside.status_of_name() else { continue };
            if !metadata.is_file() {
                return refused("it is no regular file, and SQLite would open it; remove it");
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

    /// Whether the file that is open still has its name, as SQLite finds it: beside that name its journal is made.
    pub(super) fn still_has_its_name(path: &Path, identity: (u64, u64)) -> bool {
        identity_of(path).ok() == Some(identity)
    }

    /// Device and inode of the file that has the name now.
    fn identity_now(&self) -> io::Result<(u64, u64)> {
        self.place.status().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// The path that SQLite is to open, of a file that was made or looked at through the workspace's folder.
    fn path_to_open(&mut self, make: Make) -> Result<PathBuf, StoreError> {
        let unavailable = |this: &Self, error: &io::Error| this.error(Problem::Unavailable, error.to_string());
        if make == Make::IfMissing && !self.place.exists() {
            let readers = readers_of_all(&self.workspace)?;
            match self.place.make_for(readers) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unavailable(self, &error)),
                _ => {}
            }
        }
        let real = self.place.real().map_err(|error| unavailable(self, &error))?;
        self.identity = self.identity_now().map_err(|error| unavailable(self, &error))?;
        let path = real.path();
        if identity_of(&path).ok() != Some(self.identity) {
            return Err(self.error(Problem::Busy, "its folder was replaced at that instant; try again"));
        }
        Ok(path)
    }
}

/// The last bytes of a journal that names another one above it.
const ABOVE_IT: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

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

/// Device and inode of what has a path, as SQLite finds it.
fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    system::status(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
