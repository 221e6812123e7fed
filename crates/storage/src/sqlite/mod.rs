//! SQLite, through sqlx: one connection to a file that other programs use too.
//!
//! The `sqlite3` shell does not wait for a lock, it fails. So reads are short key ranges with pauses between them, a write
//! is one row in a transaction of its own, and the journal stays as the file has it (a rollback journal where milescale
//! makes the file), with `synchronous=EXTRA`: the one setting with which no acknowledged commit was lost by a power cut.

mod audience;
mod bound;
mod changes;
mod displaced;
mod documents;
mod expected;
mod facts;
mod failure;
mod growth;
mod ledger;
mod listing;
mod moving;
mod onward;
mod opening;
mod pace;
mod reading;
mod schema;
mod shape;
mod trial;
mod write;

pub(crate) use changes::{Changed, Changes};
pub use documents::SqliteStore;
pub(crate) use growth::{Growth, INDEX_ROW};
pub(crate) use ledger::LedgerFile;
pub(crate) use onward::Onward;
pub(crate) use opening::Opened;
pub(crate) use schema::{flaw_of_ids, has_table, missing_columns};

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use milescale_sqlite_guard::Pinned;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::stop::Stop;
use milescale_workspace::{Place, Workspace};
use sqlx::{Connection, SqliteConnection};

use crate::budget;
use crate::runtime::OwnRuntime;
use bound::Bound;
use pace::Pace;

/// How long milescale waits for a lock of another program.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The oldest SQLite whose commits are trusted; the bundled one is never older.
const OLDEST: &str = "3.51.3";

/// Rows of documents read at once: a read lock of well below 2 ms.
const PAGE: i64 = 50;

/// And where a read lock keeps nobody waiting.
const LARGE_PAGE: i64 = 250;

/// Rows that are on their way from SQLite's thread: all of a page, so that its lock does not wait for who reads it.
const ROWS_ON_THE_WAY: usize = 1024;

/// Whether a file that is missing is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// A missing or empty file is an error: nothing is known.
    Never,
    /// It is made.
    IfMissing,
}

/// Whether others may be writing while milescale reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// They may: reads pause, so that their writes are seldom refused.
    MayWrite,
    /// They may, and a person waits for what is read: short reads without pauses.
    MayWriteMeanwhile,
    /// Nobody knows of the file yet.
    AreNotThere,
}

/// Rows that were read at once.
pub(crate) struct Page<R> {
    rows: Vec<R>,
    /// Whether none were left after them when it was read.
    is_last: bool,
}

impl<R> Page<R> {
    /// A page that is the last one unless it has as many rows as were asked for.
    fn of(rows: Vec<R>, full: i64) -> Self {
        let is_last = i64::try_from(rows.len()).is_ok_and(|count| count < full);
        Self { rows, is_last }
    }

    /// A page that was cut by bytes: it tells nothing of what comes after it.
    fn cut(rows: Vec<R>) -> Self {
        Self { rows, is_last: false }
    }
}

/// A database file, and the connection to it while there is one.
pub(crate) struct Sqlite {
    runtime: OwnRuntime,
    /// Its place; that of what a trusted symlink leads to is asked for when it is opened.
    place: Place,
    /// The folder that it was opened in, and its name there: SQLite does all that it does in that very folder.
    opened_in: Option<(Pinned, OsString)>,
    /// The path as people read it.
    pub(crate) shown: String,
    /// What to do where the file is damaged.
    remedy: &'static str,
    connection: Option<SqliteConnection>,
    /// What a statement may take.
    timeout: Duration,
    workspace: Workspace,
    stop: Stop,
    /// The bound of the open connection's statements.
    bound: Bound,
    /// Device and inode of the file that is open: another one may take its name.
    identity: (u64, u64),
    /// The version of the definitions that were looked at.
    defined: Option<i64>,
    pub(crate) others: Others,
    pace: Pace,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Where the file is.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// A file that is opened when it is first needed.
    pub(crate) fn new(workspace: &Workspace, place: Place, remedy: &'static str) -> Result<Self, StoreError> {
        let (shown, stop) = (workspace.shown(&place), workspace.stop().clone());
        let runtime =
            OwnRuntime::new().map_err(|error| StoreError::io(&shown, "a runtime cannot be started", &error))?;
        Ok(Self {
            runtime,
            place,
            opened_in: None,
            shown,
            remedy,
            connection: None,
            timeout: bound::USUAL,
            bound: Bound::new(bound::USUAL, stop.clone()),
            workspace: workspace.clone(),
            stop,
            identity: (0, 0),
            defined: None,
            others: Others::MayWrite,
            pace: Pace::default(),
        })
    }

    /// The same with what a statement may take.
    pub(crate) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Lets the file go.
    pub(crate) fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            // What a failed close leaves behind goes with the process.
            let _ = self.runtime.block_on(connection.close());
        }
        self.opened_in = None;
    }

    /// Runs statements on the open connection. How long they took is what the next pause is measured by.
    pub(crate) fn run<R>(
        &mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<R, sqlx::Error>,
    ) -> Result<R, StoreError> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(self.error(Problem::Unavailable, "the database is not open"));
        };
        match self.runtime.block_on(self.bound.within(work(connection))) {
            Ok(Ok(done)) => Ok(done),
            Err(why) => {
                // Its thread is dead or hangs: to close it would be to wait for it. It may still undo what it has begun.
                drop(self.connection.take());
                std::mem::forget(self.opened_in.take());
                Err(self.error(Problem::Unavailable, why))
            }
            Ok(Err(error)) => {
                let error = self.failed(&error);
                if matches!(error.problem, Problem::Unavailable | Problem::Corrupt) {
                    self.close();
                }
                Err(error)
            }
        }
    }

    /// Runs a transaction that writes: the write lock is taken first, and on any error nothing of it stays.
    pub(crate) fn write<R>(
        &mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<R, WriteError>,
    ) -> Result<R, StoreError> {
        let (place, identity, shown) = (self.place.clone(), self.identity, self.shown.clone());
        let done = self.run(async |connection| {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
            // Somebody may have kept the lock to exchange names meanwhile.
            let done = match work_on_it(&mut *connection, (&place, identity, &shown), work).await {
                Ok(done) => match sqlx::query("COMMIT").execute(&mut *connection).await {
                    Ok(_) => return Ok(Ok(done)),
                    Err(error) => Err(WriteError::Sqlite(error)),
                },
                Err(error) => Err(error),
            };
            // A failed commit may have rolled back by itself: then this has nothing to do.
            let _ = sqlx::query("ROLLBACK").execute(&mut *connection).await;
            match done {
                Err(WriteError::Sqlite(error)) => Err(error),
                Err(WriteError::Store(error)) => Ok(Err(error)),
                Ok(done) => Ok(Ok(done)),
            }
        });
        self.pace.wrote(&self.place);
        done?
    }

    /// Rows of documents to be read at once.
    pub(crate) fn page(&self) -> i64 {
        if self.others == Others::AreNotThere { LARGE_PAGE } else { PAGE }
    }

    /// Bytes of documents to be read at once.
    pub(crate) fn page_bytes(&self) -> u64 {
        if self.others == Others::AreNotThere { budget::BYTES } else { budget::BYTES_UNDER_LOCK }
    }

    /// Takes the write lock and keeps it, until [`Sqlite::release`]. A moment is waited for it, no longer.
    pub(crate) fn hold(&mut self) -> Result<(), StoreError> {
        self.run(async |connection| {
            sqlx::query("PRAGMA busy_timeout = 100").execute(&mut *connection).await?;
            let held = sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await;
            let patience = format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis());
            sqlx::query(sqlx::AssertSqlSafe(patience)).execute(&mut *connection).await?;
            held.map(drop)
        })
    }

    /// Lets it go; nothing was written.
    pub(crate) fn release(&mut self) {
        // One that was not held, or went with its connection, is released.
        let _ = self.run(async |connection| sqlx::query("ROLLBACK").execute(connection).await);
    }

    /// Reads page after page until one has less than `full`, with pauses in between so that other programs get their turn. The
    /// end is the first page that is not full, not an empty one: who writes all the time would keep pages from being empty.
    pub(crate) fn pages<R>(
        &mut self,
        full: i64,
        mut page: impl AsyncFnMut(&mut SqliteConnection) -> Result<Vec<R>, sqlx::Error>,
        each: impl FnMut(R) -> std::ops::ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.pages_until_last(async |connection| page(connection).await.map(|rows| Page::of(rows, full)), each)
    }

    /// The same, where each page says whether it is the last.
    pub(crate) fn pages_until_last<R>(
        &mut self,
        mut page: impl AsyncFnMut(&mut SqliteConnection) -> Result<Page<R>, sqlx::Error>,
        mut each: impl FnMut(R) -> std::ops::ControlFlow<()>,
    ) -> Result<(), StoreError> {
        loop {
            let started = Instant::now();
            let Page { rows, is_last } = self.run(async |connection| Patient(Box::pin(page(connection))).await)?;
            let took = started.elapsed();
            for row in rows {
                if each(row).is_break() {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
            if self.others == Others::MayWrite {
                let pause = self.pace.pause(&self.place, took, started);
                let since = started.elapsed().saturating_sub(took);
                self.stop.sleep(pause.saturating_sub(since));
            }
            if self.stop.is_asked() {
                return Err(StoreError::stopped(self.shown.clone()));
            }
        }
    }

    pub(crate) fn error(&self, problem: Problem, cause: impl Into<String>) -> StoreError {
        StoreError::new(problem, &self.shown, cause)
    }
}

/// Works on a database that is locked, where it still has its name.
async fn work_on_it<R>(
    connection: &mut SqliteConnection,
    (place, identity, shown): (&Place, (u64, u64), &str),
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<R, WriteError>,
) -> Result<R, WriteError> {
    if Sqlite::identity_of(place).is_ok_and(|now| now == identity) {
        Growth::begin(connection).await?;
        return work(connection).await;
    }
    let cause = "another file has its name by now, and nothing was written; try again";
    Err(WriteError::Store(StoreError::new(Problem::Busy, shown, cause)))
}

/// How each database of SQLite begins.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Whether a file holds something that is no database of SQLite. What cannot be read may be one, and an empty file is one.
pub fn is_no_database(place: &Place) -> bool {
    let mut begin = Vec::new();
    let read = place.open().and_then(|(file, _)| file.take(MAGIC.len() as u64).read_to_end(&mut begin));
    read.is_ok() && !begin.is_empty() && begin != MAGIC
}

/// Work on rows that another thread sends: it looks for them now and then. To be woken for each would cost that thread, which
/// holds a lock meanwhile, more than the row itself.
struct Patient<F>(Pin<Box<F>>);

/// How long rows gather.
const GATHERING: Duration = Duration::from_micros(20);

impl<F: Future> Future for Patient<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<F::Output> {
        let polled = self.0.as_mut().poll(context);
        if polled.is_pending() {
            std::thread::sleep(GATHERING);
        }
        polled
    }
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(crate) enum WriteError {
    Sqlite(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|number| number.parse().unwrap_or_default()).collect()
}
