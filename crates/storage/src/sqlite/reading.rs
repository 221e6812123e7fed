//! Reading rows of documents: one, or all in short pages.

use std::ops::ControlFlow;

use milescale_document::yaml;
use milescale_workspace::error::StoreError;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Encode, QueryBuilder, Row as _, Sqlite as Driver, SqliteConnection, Type};

use super::documents::SqliteStore;
use super::{Onward, Others, Page, has_table};
use crate::budget::{Room, fitting};
use crate::row::{Row, has_id};
use crate::scan::BATCH;
use crate::threads::ahead;

/// Whether a row's kept text is read with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    With,
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
        let (mut after, limit, bytes) = (Onward::<Vec<u8>>::new(), self.sqlite.page(), self.sqlite.page_bytes());
        self.sqlite.pages_until_last(
            async |connection| {
                let page = page(connection, kept, after.at().map(Vec::as_slice), limit, bytes).await?;
                after.to(page.rows.last().map(|row| row.id.clone()))?;
                Ok(page)
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
        let mut room = Room::new(BATCH);
        self.rows(kept, |row| {
            let is_full = room.fills(row.bytes());
            waiting.push(row);
            if is_full {
                room = Room::new(BATCH);
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

/// Which rows come next: those with an id, in their order. SQLite sorts texts before blobs.
pub(super) fn range(id: &str, after: Option<&[u8]>) -> String {
    // The empty text is an id that a row may have.
    let first = if after.is_some() { ">" } else { ">=" };
    format!("{} AND {id} {first} CAST(?1 AS TEXT) AND {id} < x'' ORDER BY {id}", has_id(id))
}

/// The next rows: so many at most, and so many bytes. One that has more comes alone.
async fn page(
    connection: &mut SqliteConnection,
    kept: Kept,
    after: Option<&[u8]>,
    limit: i64,
    bytes: u64,
) -> Result<Page<Row>, sqlx::Error> {
    let (range, from) = (range("m.id", after), after.unwrap_or_default());
    let select = format!("{} WHERE {range} LIMIT ?2", small_columns(kept, bytes / limit.unsigned_abs().max(1)));
    let found = sqlx::query(AssertSqlSafe(select)).bind(from).bind(limit).fetch_all(&mut *connection).await?;
    let mut rows = Vec::with_capacity(found.len());
    for row in &found {
        if is_large(row)? {
            break;
        }
        rows.push(plain_row(row)?);
    }
    if rows.len() == found.len() {
        return Ok(Page::of(rows, limit));
    }
    if !rows.is_empty() {
        return Ok(Page::cut(rows));
    }
    let sizes = format!("SELECT {} AS size {} WHERE {range} LIMIT ?2", size(kept), table(kept));
    let cut = cut(connection, &sizes, from, limit, bytes).await?;
    let select = AssertSqlSafe(format!("{} WHERE {range} LIMIT ?2", columns(kept)));
    let rows = sqlx::query(select).bind(from).bind(cut.unwrap_or(limit)).fetch_all(connection).await?;
    let rows = rows.iter().map(plain_row).collect::<Result<_, _>>()?;
    Ok(if cut.is_some() { Page::cut(rows) } else { Page::of(rows, limit) })
}

/// What is read of a row without its texts where those have more than so many bytes: see [`is_large`]. Bytes, for no type and no
/// encoding is certain.
pub(super) fn small_columns(kept: Kept, most: u64) -> String {
    let (size, table) = (size(kept), table(kept));
    let small = |column: &str| format!("CASE WHEN {size} > {most} THEN NULL ELSE {column} END");
    let texts = match kept {
        Kept::With => format!("{}, t.data_digest", small("t.text")),
        Kept::Without => "NULL, NULL".to_owned(),
    };
    format!(
        "SELECT CAST(m.id AS BLOB), {}, CAST(m.created_at AS TEXT), CAST(m.updated_at AS TEXT), {texts}, {size} > {most} {table}",
        small("CAST(m.data AS BLOB)")
    )
}

/// Whether a row of [`small_columns`] has more, and has to be read anew.
pub(super) fn is_large(row: &SqliteRow) -> Result<bool, sqlx::Error> {
    row.try_get(6)
}

/// How many of the next rows there is room for, where that is fewer than the limit. `sizes` selects what each takes as `size`, after
/// `?1` and with the limit `?2`.
pub(super) async fn cut<'q, F>(
    connection: &mut SqliteConnection,
    sizes: &str,
    from: F,
    limit: i64,
    bytes: u64,
) -> Result<Option<i64>, sqlx::Error>
where
    F: Encode<'q, Driver> + Type<Driver> + Copy + 'q,
{
    let sum = AssertSqlSafe(format!("SELECT {SUM} FROM ({sizes})"));
    let sum: i64 = sqlx::query_scalar(sum).bind(from).bind(limit).fetch_one(&mut *connection).await?;
    if sum.unsigned_abs() <= bytes {
        return Ok(None);
    }
    let sizes = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sizes.to_owned())).bind(from).bind(limit);
    let sizes = sizes.fetch_all(connection).await?;
    let count = fitting(Room::of(sizes.len(), bytes), sizes.iter().map(|size| size.unsigned_abs()));
    Ok(i64::try_from(count).ok().filter(|count| *count < limit))
}

/// The sum of sizes.
const SUM: &str = "coalesce(sum(size), 0)";

/// The bytes of a row, of which SQLite reads no more than the header for it.
fn size(kept: Kept) -> &'static str {
    match kept {
        Kept::With => "(ifnull(octet_length(m.data), 0) + ifnull(octet_length(t.text), 0))",
        Kept::Without => "ifnull(octet_length(m.data), 0)",
    }
}

/// Where rows are read from.
fn table(kept: Kept) -> &'static str {
    match kept {
        Kept::With => "FROM milestones m LEFT JOIN milescale_texts t ON t.id = m.id",
        Kept::Without => "FROM milestones m",
    }
}

/// What is read of a row; bytes, for no type and no encoding is certain. Of one that is larger than a milestone may be, no text.
fn columns(kept: Kept) -> String {
    // Twice the limit: what a row keeps beside its data may be as large.
    small_columns(kept, 2 * yaml::SIZE_LIMIT)
}

pub(super) async fn one(connection: &mut SqliteConnection, kept: Kept, id: &[u8]) -> Result<Option<Row>, sqlx::Error> {
    let select = AssertSqlSafe(format!("{} WHERE m.id = CAST(?1 AS TEXT)", columns(kept)));
    sqlx::query(select).bind(id).fetch_optional(connection).await?.as_ref().map(plain_row).transpose()
}

/// The rows of the first ids, as many as there is room for, and how many ids that were.
pub(super) async fn several(
    connection: &mut SqliteConnection,
    kept: Kept,
    ids: &[String],
    bytes: u64,
) -> Result<(Vec<Row>, usize), sqlx::Error> {
    let mut count = ids.len();
    while count > 1 {
        let mut sum =
            QueryBuilder::<Driver>::new(format!("SELECT {SUM} FROM (SELECT {} AS size {}", size(kept), table(kept)));
        among(&mut sum, &ids[..count]);
        let sum: i64 = sum.push(")").build_query_scalar().fetch_one(&mut *connection).await?;
        if sum.unsigned_abs() <= bytes {
            break;
        }
        count /= 2;
    }
    let mut select = QueryBuilder::<Driver>::new(columns(kept));
    among(&mut select, &ids[..count]);
    let rows = select.build().fetch_all(connection).await?;
    Ok((rows.iter().map(plain_row).collect::<Result<_, _>>()?, count))
}

/// Restricts a statement to rows with these ids.
fn among(statement: &mut QueryBuilder<Driver>, ids: &[String]) {
    let mut list = statement.push(" WHERE m.id IN (").separated(", ");
    for id in ids {
        list.push_bind(id);
    }
    statement.push(")");
}

pub(super) fn plain_row(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let kept = match row.try_get::<Option<Vec<u8>>, _>(4)? {
        Some(text) => Some((text, row.try_get(5)?)),
        None => None,
    };
    Ok(Row {
        id: row.try_get::<Option<Vec<u8>>, _>(0)?.unwrap_or_default(),
        data: row.try_get(1)?,
        created_at: row.try_get(2)?,
        updated_at: row.try_get(3)?,
        is_too_large: is_large(row)?,
        kept,
    })
}
