//! The log of changes of a table: which rows somebody has written since it was last read.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use milescale_workspace::error::StoreError;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::schema::has_log;
use super::{Onward, Sqlite, schema};
use crate::row::has_id;

/// Entries read at once: a read lock of well below 2 ms.
const ENTRIES: i64 = 500;

/// More changed rows than this, and all are read again.
const MANY: usize = 20_000;

/// More entries than this, be they of the same rows, and all are read again as well: it is quicker.
const MANY_ENTRIES: i64 = 200_000;

/// Entries that are kept for others who read the log.
const KEPT: i64 = 100_000;

/// Entries dropped at a time.
const DROPPED_AT_ONCE: i64 = 500;

/// How long a call drops entries at most.
const DROPS_FOR: Duration = Duration::from_millis(200);

/// Up to where a table is known.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Up to where the log was read; `None` where there is no log.
    read_to: Option<i64>,
    /// `PRAGMA data_version` before the last look: the same number later means that nobody else has written.
    version: i64,
    /// milescale itself has written since.
    pub(crate) own_writes: bool,
}

/// What has changed since.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Nothing,
    /// These rows; some may be gone.
    Rows(BTreeSet<Vec<u8>>),
    /// Only reading everything tells.
    Everything,
}

impl Changes {
    /// Begins, before everything is read: what is written meanwhile is told by the next [`Changes::since`].
    pub(crate) fn begin(sqlite: &mut Sqlite) -> Result<Self, StoreError> {
        let version = version(sqlite)?;
        let read_to = sqlite.run(async |connection| {
            if !has_log(connection).await? {
                return Ok(None);
            }
            let newest = "SELECT ifnull(max(number), 0) FROM milescale_changes";
            sqlx::query_scalar(newest).fetch_one(connection).await.map(Some)
        })?;
        Ok(Self { read_to, version, own_writes: false })
    }

    /// What has changed since the last call. An error leaves it to be asked again.
    pub(crate) fn since(&mut self, sqlite: &mut Sqlite) -> Result<Changed, StoreError> {
        let version = version(sqlite)?;
        if version == self.version && !self.own_writes {
            return Ok(Changed::Nothing);
        }
        let Some(since) = self.read_to else { return Ok(Changed::Everything) };
        if sqlite.run(async |connection| has_gap(connection, since).await)? {
            return Ok(Changed::Everything);
        }
        let (mut changed, mut nameless, mut to) = (BTreeSet::new(), false, since);
        let mut onward = Onward::new();
        sqlite.pages(
            ENTRIES,
            async |connection| {
                let select = format!(
                    "SELECT number, CASE WHEN typeof(id) = 'text' AND {} THEN CAST(id AS BLOB) END FROM milescale_changes
                     WHERE number > ? ORDER BY number LIMIT ?",
                    has_id("id")
                );
                let rows = sqlx::query(AssertSqlSafe(select)).bind(to).bind(ENTRIES).fetch_all(connection).await?;
                to = rows.last().map_or(Ok(to), |row| row.try_get(0))?;
                onward.to((!rows.is_empty()).then_some(to))?;
                rows.iter().map(|row| row.try_get(1)).collect()
            },
            |id: Option<Vec<u8>>| {
                match id {
                    Some(id) => drop(changed.insert(id)),
                    None => nameless = true,
                }
                if changed.len() > MANY { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        )?;
        if nameless || changed.len() > MANY {
            return Ok(Changed::Everything);
        }
        (self.read_to, self.version, self.own_writes) = (Some(to), version, false);
        Ok(Changed::Rows(changed))
    }

    /// Makes the log where it is not there, and drops entries that are old enough, a few at a time.
    pub(crate) fn keep_log(sqlite: &mut Sqlite) -> Result<(), StoreError> {
        if !sqlite.run(async |connection| has_log(connection).await)? {
            return sqlite.write(async |connection| Ok(schema::make_log(connection).await?));
        }
        let began = Instant::now();
        while began.elapsed() < DROPS_FOR {
            let surplus = "SELECT ifnull(max(number) - min(number), 0) >= ? FROM milescale_changes";
            let surplus: bool = sqlite.run(async |connection| {
                sqlx::query_scalar(surplus).bind(KEPT + DROPPED_AT_ONCE).fetch_one(connection).await
            })?;
            if !surplus {
                break;
            }
            sqlite.write(async |connection| {
                let delete =
                    "DELETE FROM milescale_changes WHERE number < (SELECT min(number) FROM milescale_changes) + ?";
                sqlx::query(delete).bind(DROPPED_AT_ONCE).execute(connection).await?;
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn version(sqlite: &mut Sqlite) -> Result<i64, StoreError> {
    sqlite.run(async |connection| sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await)
}

/// Whether entries after this one may be missing, dropped unread, or are too many; or the log was emptied and counts anew.
async fn has_gap(connection: &mut SqliteConnection, since: i64) -> Result<bool, sqlx::Error> {
    if !has_log(connection).await? {
        return Ok(true);
    }
    let ends = "SELECT min(number), ifnull(max(number), 0) FROM milescale_changes";
    let ends = sqlx::query(ends).fetch_one(connection).await?;
    let (oldest, newest): (Option<i64>, i64) = (ends.try_get(0)?, ends.try_get(1)?);
    Ok(newest < since
        || newest.saturating_sub(since) > MANY_ENTRIES
        || oldest.is_some_and(|oldest| oldest > since.saturating_add(1)))
}
