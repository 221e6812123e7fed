//! How much larger a transaction may make a database: a trigger of somebody else's could fill the disk with one milestone.

use milescale_workspace::error::StoreError;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::Sqlite;

/// Bytes by which a transaction may make a database larger besides what it had, whatever is written.
const ANYWAY: u64 = 256 << 20;

/// Bytes in the database for each one that is written: in rows, texts, bases, indexes, and what triggers of an application keep.
const TIMES: u64 = 16;

/// What a row of an index of files may take there, with its indexes.
pub(crate) const INDEX_ROW: u64 = 256;

/// The growth that a transaction is allowed. It begins with as much as the database has.
#[derive(Debug)]
pub(crate) struct Growth {
    pages: u64,
    page_size: u64,
    written: u64,
}

impl Growth {
    /// Begins; the transaction has begun.
    pub(crate) async fn begin(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let select = "SELECT c.page_count, s.page_size FROM pragma_page_count c, pragma_page_size s";
        let row = sqlx::query(select).fetch_one(&mut *connection).await?;
        let (pages, page_size): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let growth = Self { pages: pages.unsigned_abs(), page_size: page_size.unsigned_abs().max(512), written: 0 };
        growth.set(connection).await.map(|()| growth)
    }

    /// The same, where so many bytes are about to be written.
    pub(crate) async fn begin_with(connection: &mut SqliteConnection, bytes: u64) -> Result<(), sqlx::Error> {
        Self::begin(connection).await?.allow(connection, bytes).await
    }

    /// So many more bytes are about to be written.
    pub(crate) async fn allow(&mut self, connection: &mut SqliteConnection, bytes: u64) -> Result<(), sqlx::Error> {
        self.written = self.written.saturating_add(bytes);
        self.set(connection).await
    }

    async fn set(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let more = (self.written.saturating_mul(TIMES).saturating_add(ANYWAY)) / self.page_size;
        // The most that SQLite knows.
        let most = self.pages.saturating_mul(2).saturating_add(more).min(4_294_967_294);
        let set = format!("PRAGMA max_page_count = {most}");
        sqlx::query(AssertSqlSafe(set)).fetch_one(connection).await.map(drop)
    }
}

impl Sqlite {
    /// What to say where a database is full.
    pub(super) fn is_full(&self, message: &str) -> StoreError {
        let cause = format!(
            "{message}; the disk is full, or what is written, with what the triggers of its tables add to it, would make the file more \
             than twice as large: look at those triggers, or make room"
        );
        self.error(milescale_workspace::error::Problem::Unavailable, cause)
    }
}
