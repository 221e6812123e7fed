//! Reading rows of documents: one, or all in short pages.

use std::ops::ControlFlow;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _, Sqlite as Driver, SqliteConnection};

use super::documents::SqliteStore;
use super::{Others, has_table};
use crate::error::StoreError;
use crate::row::Row;
use crate::scan::BATCH;
use crate::threads::ahead;

/// Whether a row's kept text is read with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    With,
    /// No, but the times are.
    Timed,
    Without,
}

impl SqliteStore {
    /// Whether there are kept texts to read.
    pub(super) fn kept(&mut self) -> Result<Kept, StoreError> {
        let there =
            self.has_own || self.sqlite.run(async |connection| has_table(connection, "milescale_texts").await)?;
        Ok(if there { Kept::With } else { Kept::Without })
    }

    /// Hands over each row whose id is a text, in the order of ids.
    pub(super) fn rows(&mut self, kept: Kept, mut each: impl FnMut(Row) -> ControlFlow<()>) -> Result<(), StoreError> {
        let (mut after, limit) = (None::<Vec<u8>>, self.sqlite.page());
        self.sqlite.pages(
            limit,
            async |connection| {
                let rows = page(connection, kept, after.as_deref(), limit).await?;
                after = rows.last().map(|row| row.id.clone());
                Ok(rows)
            },
            &mut each,
        )
    }

    /// Hands over the rows whose id is a text, many at once, in the order of ids. Where nobody else writes, the next ones are
    /// read meanwhile; else not, for who holds a read lock should not have to wait for a processor.
    pub(super) fn batches(
        &mut self,
        kept: Kept,
        mut batch: impl FnMut(Vec<Row>) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if self.sqlite.others == Others::AreNotThere {
            return ahead(1, |send| self.gathered(kept, send), batch);
        }
        self.gathered(kept, &mut batch)
    }

    fn gathered(&mut self, kept: Kept, batch: &mut dyn FnMut(Vec<Row>) -> ControlFlow<()>) -> Result<(), StoreError> {
        let (mut waiting, mut stopped) = (Vec::with_capacity(BATCH), ControlFlow::Continue(()));
        self.rows(kept, |row| {
            waiting.push(row);
            if waiting.len() == BATCH {
                stopped = batch(std::mem::replace(&mut waiting, Vec::with_capacity(BATCH)));
            }
            stopped
        })?;
        if stopped.is_continue() && !waiting.is_empty() {
            let _ = batch(waiting);
        }
        Ok(())
    }
}

/// Which rows come next: those whose id is a text, in their order. SQLite sorts texts before blobs.
pub(super) fn range(id: &str, after: Option<&[u8]>) -> String {
    // The empty text is an id that a row may have.
    let first = if after.is_some() { ">" } else { ">=" };
    format!("{id} {first} CAST(?1 AS TEXT) AND {id} < x'' ORDER BY {id}")
}

async fn page(
    connection: &mut SqliteConnection,
    kept: Kept,
    after: Option<&[u8]>,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    let select = AssertSqlSafe(format!("{} WHERE {} LIMIT ?2", columns(kept), range("m.id", after)));
    let query = sqlx::query(select).bind(after.unwrap_or_default()).bind(limit);
    query.fetch_all(connection).await?.iter().map(plain_row).collect()
}

/// What is read of a row; bytes, for no type and no encoding is certain.
pub(super) fn columns(kept: Kept) -> &'static str {
    match kept {
        Kept::With => {
            "SELECT CAST(m.id AS BLOB), CAST(m.data AS BLOB), CAST(m.created_at AS TEXT), CAST(m.updated_at AS TEXT), \
             t.text, t.data_digest FROM milestones m LEFT JOIN milescale_texts t ON t.id = m.id"
        }
        Kept::Timed => {
            "SELECT CAST(m.id AS BLOB), CAST(m.data AS BLOB), CAST(m.created_at AS TEXT), CAST(m.updated_at AS TEXT) FROM \
             milestones m"
        }
        Kept::Without => "SELECT CAST(m.id AS BLOB), CAST(m.data AS BLOB), NULL, NULL FROM milestones m",
    }
}

pub(super) async fn one(connection: &mut SqliteConnection, kept: Kept, id: &[u8]) -> Result<Option<Row>, sqlx::Error> {
    let select = AssertSqlSafe(format!("{} WHERE m.id = CAST(?1 AS TEXT)", columns(kept)));
    sqlx::query(select).bind(id).fetch_optional(connection).await?.as_ref().map(plain_row).transpose()
}

pub(super) async fn several(
    connection: &mut SqliteConnection,
    kept: Kept,
    ids: &[String],
) -> Result<Vec<Row>, sqlx::Error> {
    let mut select = QueryBuilder::<Driver>::new(columns(kept));
    let mut list = select.push(" WHERE m.id IN (").separated(", ");
    for id in ids {
        list.push_bind(id);
    }
    select.push(")").build().fetch_all(connection).await?.iter().map(plain_row).collect()
}

pub(super) fn plain_row(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let kept = match (row.len() > 4).then(|| row.try_get::<Option<Vec<u8>>, _>(4)).transpose()?.flatten() {
        Some(text) => Some((text, row.try_get(5)?)),
        None => None,
    };
    Ok(Row {
        id: row.try_get::<Option<Vec<u8>>, _>(0)?.unwrap_or_default(),
        data: row.try_get(1)?,
        created_at: row.try_get(2)?,
        updated_at: row.try_get(3)?,
        kept,
    })
}
