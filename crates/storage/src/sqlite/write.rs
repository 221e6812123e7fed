//! Writing documents into SQLite, within a transaction that the caller holds.

use std::hash::{BuildHasher, RandomState};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::kept::mark;
use milescale_document::milestone::{Draft, Milestone, Packed};
use milescale_document::timestamp;
use milescale_workspace::error::{Problem, StoreError};
use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite, SqliteConnection};

use super::growth::Growth;
use super::schema::{Defined, TakesOut};
use super::{WriteError, ledger};
use crate::budget::{Room, next_ones};
use crate::row::{
    Altered, COLUMNS_OF_OTHERS, LARGEST_BESIDE, LONGEST_ID, is_too_large_beside, quoted, stays, suppressed,
    takes_along, takes_others,
};

/// Rows in one statement of a bulk load.
const ROWS: usize = 500;

/// Whether a write has taken other milestones with it, as a trigger, a constraint or a reference of the table may say: nothing else keeps
/// them. Asked before it and after, in its transaction.
#[derive(Debug)]
pub(super) struct Rows {
    defined: Defined,
    /// Which there were, where a write may do more than it says.
    before: Option<Ids>,
    /// Columns of other programs, where rows are to go.
    columns: Vec<String>,
}

/// The ids of a table as numbers, in their order. Nobody knows beforehand which number an id has.
#[derive(Debug)]
struct Ids {
    keys: RandomState,
    numbers: Vec<u64>,
}

impl Ids {
    async fn of(connection: &mut SqliteConnection, keys: RandomState) -> Result<Self, sqlx::Error> {
        let mut numbers = Vec::new();
        // One that no milestone could have may be of any length: its beginning, and whether there is more, tell it from the others.
        let select = format!("SELECT substr(CAST(id AS BLOB), 1, {}) FROM milestones", LONGEST_ID + 1);
        let mut rows = sqlx::query_scalar(AssertSqlSafe(select)).fetch(connection);
        while let Some(id) = rows.try_next().await? {
            let id: Option<Vec<u8>> = id;
            numbers.push(keys.hash_one(id.unwrap_or_default().as_slice()));
        }
        drop(rows);
        numbers.sort_unstable();
        Ok(Self { keys, numbers })
    }

    /// How many of these are not among others, besides one for each of the ids that were meant to go.
    fn missing(self, others: &Self, gone: &[&str]) -> usize {
        let mut meant: Vec<u64> = gone.iter().map(|id| self.keys.hash_one(id.as_bytes())).collect();
        meant.sort_unstable();
        let (mut others, mut meant) = (others.numbers.iter().peekable(), meant.into_iter().peekable());
        let is_missing = |number: &u64| {
            while others.next_if(|other| *other < number).is_some() {}
            others.next_if_eq(&number).is_none()
        };
        let mut lost = 0;
        for number in self.numbers.into_iter().filter(is_missing) {
            while meant.next_if(|it| *it < number).is_some() {}
            lost += usize::from(meant.next_if_eq(&number).is_none());
        }
        lost
    }
}

impl Rows {
    /// `removes`: rows are to go.
    pub(super) async fn before(connection: &mut SqliteConnection, removes: bool) -> Result<Self, sqlx::Error> {
        let defined = Defined::look(connection).await?;
        let is_asked = defined.takes_out == TakesOut::Write || removes && defined.takes_out == TakesOut::Deletion;
        let before = if is_asked { Some(Ids::of(connection, RandomState::new()).await?) } else { None };
        let columns = if removes { columns_of_others(connection).await? } else { Vec::new() };
        Ok(Self { defined, before, columns })
    }

    /// Keeps what a row that is to go has in columns of other programs.
    ///
    /// # Errors
    /// When that is too large, or rows of other tables refer to the row so that they go with it, or change.
    pub(super) async fn keep_beside(
        &self,
        connection: &mut SqliteConnection,
        (id, now): (&str, Timestamp),
        place: &str,
    ) -> Result<(), WriteError> {
        let along = if self.defined.is_referred { referring(connection, id).await? } else { 0 };
        if along > 0 {
            return Err(WriteError::Store(takes_along(place, id, along)));
        }
        for column in &self.columns {
            keep_column(connection, column, (id, now), place).await?;
        }
        Ok(())
    }

    /// # Errors
    /// When one of them is not there any more, but for these, each as often as it was meant to go.
    pub(super) async fn are_there_but(
        self,
        gone: &[&str],
        connection: &mut SqliteConnection,
        place: &str,
    ) -> Result<(), WriteError> {
        let Some(before) = self.before else { return Ok(()) };
        let after = Ids::of(connection, before.keys.clone()).await?;
        match before.missing(&after, gone) {
            0 => Ok(()),
            lost => Err(WriteError::Store(takes_others(place, lost))),
        }
    }
}

/// That an id stands several times, of which milescale knows one.
fn several(place: &str, id: &str) -> WriteError {
    let cause =
        format!("its id {id} stands several times in the table; nothing was written: rename or remove all but one");
    WriteError::Store(StoreError::new(Problem::Refused, place, cause))
}

/// Writes one row, with its text, and keeps what it replaces. What a trigger of the table makes of it is read back: then the
/// text is not kept, and the answer says what it is.
pub(super) async fn put_row(
    connection: &mut SqliteConnection,
    draft: &Draft,
    before: Option<&Milestone>,
    (rows, place): (&Rows, &str),
) -> Result<Option<Altered>, WriteError> {
    let (id, data) = (draft.id.as_str(), draft.value.to_json());
    let (now, updated) = (timestamp::to_text(draft.now), timestamp::to_text(draft.updated));
    let or_abort = rows.defined.or_abort();
    let written = if let Some(before) = before {
        let update = format!("UPDATE {or_abort}milestones SET data = ?, updated_at = ? WHERE id = ?");
        let written =
            sqlx::query(AssertSqlSafe(update)).bind(&data).bind(&updated).bind(id).execute(&mut *connection).await?;
        sqlx::query("INSERT OR ABORT INTO milescale_displaced (id, at, text) VALUES (?, ?, ?)")
            .bind(id)
            .bind(&now)
            .bind(&before.text)
            .execute(&mut *connection)
            .await?;
        written
    } else {
        let created = draft.columns.created_at.as_deref().unwrap_or(&updated);
        let insert = format!("INSERT {or_abort}INTO milestones (id, data, created_at, updated_at) VALUES (?, ?, ?, ?)");
        sqlx::query(AssertSqlSafe(insert))
            .bind(id)
            .bind(&data)
            .bind(created)
            .bind(&updated)
            .execute(&mut *connection)
            .await?
    };
    let there = sqlx::query_scalar("SELECT CAST(data AS BLOB) FROM milestones WHERE id = ? AND typeof(id) = 'text'")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    if written.rows_affected() > 1 {
        return Err(several(place, id));
    }
    let Some(there): Option<Option<Vec<u8>>> = there.filter(|_| written.rows_affected() > 0) else {
        return Err(WriteError::Store(if written.rows_affected() > 0 && is_number(connection, id).await? {
            let cause = format!(
                "its column id makes a number of {id}; nothing was written. Make the table anew with id TEXT PRIMARY KEY"
            );
            StoreError::new(Problem::Corrupt, place, cause)
        } else {
            suppressed(place, &draft.id)
        }));
    };
    keep_hidden(connection, id, before, Some(&draft.text), draft.now).await?;
    if let Some(altered) = Altered::of(draft, &there.unwrap_or_default()) {
        sqlx::query("DELETE FROM milescale_texts WHERE id = ?").bind(id).execute(&mut *connection).await?;
        return Ok(Some(altered));
    }
    sqlx::query("INSERT OR REPLACE INTO milescale_texts (id, text, data_digest) VALUES (?, ?, ?)")
        .bind(id)
        .bind(&draft.text)
        .bind(mark(data.as_bytes()))
        .execute(&mut *connection)
        .await?;
    Ok(None)
}

/// Whether the column of ids has made another value of an id than a text.
async fn is_number(connection: &mut SqliteConnection, id: &str) -> Result<bool, sqlx::Error> {
    let select = "SELECT EXISTS (SELECT 1 FROM milestones WHERE id = ? AND typeof(id) <> 'text')";
    sqlx::query_scalar(select).bind(id).fetch_one(connection).await
}

/// Keeps the text of a row that another program has written since: its values are gone with that, and its comments stand nowhere
/// else. `before` is the row as it was, and `after` its new text.
async fn keep_hidden(
    connection: &mut SqliteConnection,
    id: &str,
    before: Option<&Milestone>,
    after: Option<&[u8]>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if before.is_some_and(Milestone::says_its_text) {
        return Ok(());
    }
    let keep = "INSERT OR ABORT INTO milescale_displaced (id, at, text) SELECT id, ?, text FROM milescale_texts \
                WHERE id = ? AND instr(text, x'23') > 0 AND text IS NOT ? AND text IS NOT ?";
    let text = before.map(|before| &*before.text);
    let keep = sqlx::query(keep).bind(timestamp::to_text(now)).bind(id).bind(text).bind(after);
    keep.execute(&mut *connection).await.map(drop)
}

/// Removes a row, and keeps what it was.
pub(super) async fn remove_row(
    connection: &mut SqliteConnection,
    before: &Milestone,
    now: Timestamp,
    (rows, place): (&Rows, &str),
) -> Result<(), WriteError> {
    sqlx::query("INSERT OR ABORT INTO milescale_displaced (id, at, text) VALUES (?, ?, ?)")
        .bind(&before.id)
        .bind(timestamp::to_text(now))
        .bind(&before.text)
        .execute(&mut *connection)
        .await?;
    keep_hidden(connection, &before.id, Some(before), None, now).await?;
    rows.keep_beside(connection, (&before.id, now), place).await?;
    match delete_row(connection, &before.id).await? {
        0 => Err(WriteError::Store(stays(place, &before.id))),
        1 => Ok(()),
        _ => Err(several(place, &before.id)),
    }
}

async fn columns_of_others(connection: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let select = "SELECT name FROM pragma_table_xinfo('milestones')
                  WHERE hidden = 0 AND lower(name) NOT IN ('id', 'data', 'created_at', 'updated_at')";
    sqlx::query_scalar(select).fetch_all(connection).await
}

/// Keeps what a row that goes has in a column of another program.
async fn keep_column(
    connection: &mut SqliteConnection,
    column: &str,
    (id, now): (&str, Timestamp),
    place: &str,
) -> Result<(), WriteError> {
    let value = quoted(column);
    let size = format!("SELECT max(octet_length({value})) FROM milestones WHERE id = ?");
    let size: Option<i64> = sqlx::query_scalar(AssertSqlSafe(size)).bind(id).fetch_one(&mut *connection).await?;
    let Some(size) = size else { return Ok(()) };
    if size > LARGEST_BESIDE {
        return Err(WriteError::Store(is_too_large_beside(place, id, column)));
    }
    let keep = format!(
        "INSERT OR ABORT INTO milescale_displaced (id, at, text) SELECT id, ?, CAST(? || CASE typeof({value}) WHEN 'blob'
         THEN json_quote(hex({value})) ELSE json_quote({value}) END || '}}' || char(10) AS BLOB) FROM milestones WHERE id = ? AND {value} NOT NULL"
    );
    let name = format!("{COLUMNS_OF_OTHERS}{{{}: ", serde_json::Value::from(column));
    let keep = sqlx::query(AssertSqlSafe(keep)).bind(timestamp::to_text(now)).bind(name).bind(id);
    keep.execute(&mut *connection).await?;
    Ok(())
}

/// How many rows of other tables refer to a row so that they go with it, or change.
async fn referring(connection: &mut SqliteConnection, id: &str) -> Result<i64, sqlx::Error> {
    let mut count = 0_i64;
    for reference in references(connection).await?.into_iter().filter(|it| !it.refuses) {
        count = count.saturating_add(reference.count(connection, id).await?);
    }
    Ok(count)
}

/// A column of another table that refers to milestones.
struct Reference {
    table: String,
    column: String,
    to: String,
    /// It lets no milestone go to which it refers.
    refuses: bool,
}

impl Reference {
    /// How many rows refer to this milestone.
    async fn count(&self, connection: &mut SqliteConnection, id: &str) -> Result<i64, sqlx::Error> {
        let (table, column, to) = (quoted(&self.table), quoted(&self.column), quoted(&self.to));
        let select =
            format!("SELECT count(*) FROM {table} WHERE {column} = (SELECT {to} FROM milestones WHERE id = ?)");
        sqlx::query_scalar(AssertSqlSafe(select)).bind(id).fetch_one(connection).await
    }
}

async fn references(connection: &mut SqliteConnection) -> Result<Vec<Reference>, sqlx::Error> {
    // Which column is meant where none is named, the key of the table says.
    let select = "SELECT s.name, f.\"from\", coalesce(f.\"to\", (SELECT k.name FROM pragma_table_info('milestones') AS k WHERE k.pk = f.seq + 1), 'id'),
                  f.on_delete IN ('NO ACTION', 'RESTRICT') FROM sqlite_schema AS s, pragma_foreign_key_list(s.name) AS f
                  WHERE lower(s.type) = 'table' AND lower(s.name) <> 'milestones' AND lower(f.\"table\") = 'milestones'";
    let references: Vec<(String, String, String, bool)> = sqlx::query_as(select).fetch_all(connection).await?;
    let of = |(table, column, to, refuses)| Reference { table, column, to, refuses };
    Ok(references.into_iter().map(of).collect())
}

/// Those of these milestones to which rows of other tables refer, each with one of these tables.
pub(super) async fn referred(
    connection: &mut SqliteConnection,
    ids: &[String],
) -> Result<Vec<(String, String)>, sqlx::Error> {
    let (references, mut found) = (references(connection).await?, Vec::new());
    for reference in &references {
        for id in ids {
            if reference.count(connection, id).await? > 0 {
                found.push((id.clone(), reference.table.clone()));
            }
        }
    }
    Ok(found)
}

/// Removes a row with its text. How many of its id there were.
pub(super) async fn delete_row(connection: &mut SqliteConnection, id: &str) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query("DELETE FROM milestones WHERE id = ?").bind(id).execute(&mut *connection).await?;
    if deleted.rows_affected() == 0 {
        return Ok(0);
    }
    sqlx::query("DELETE FROM milescale_texts WHERE id = ?").bind(id).execute(&mut *connection).await?;
    Ok(deleted.rows_affected())
}

/// Writes many new rows, and what they are as the base of the side that they come from. How many.
pub(super) async fn insert_many(
    connection: &mut SqliteConnection,
    milestones: &mut dyn Iterator<Item = Packed>,
    from: Side,
) -> Result<u64, sqlx::Error> {
    let (mut count, mut growth) = (0, Growth::begin(connection).await?);
    let or_abort = Defined::look(connection).await?.or_abort();
    loop {
        let rows = next_ones(Room::new(ROWS), milestones, Packed::bytes);
        if rows.is_empty() {
            ledger::complete(connection, from).await?;
            return Ok(count);
        }
        growth.allow(connection, rows.iter().map(Packed::bytes).sum()).await?;
        count += rows.len() as u64;
        let mut insert = QueryBuilder::<Sqlite>::new(format!(
            "INSERT {or_abort}INTO milestones (id, data, created_at, updated_at) "
        ));
        insert.push_values(&rows, |mut values, row| {
            let updated = timestamp::to_text(row.updated);
            values.push_bind(row.id.as_str());
            values.push_bind(&row.data);
            values.push_bind(row.created_at.clone().unwrap_or_else(|| updated.clone()));
            values.push_bind(updated);
        });
        insert.build().execute(&mut *connection).await?;
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO milescale_texts (id, text, data_digest) ");
        insert.push_values(&rows, |mut values, row| {
            values.push_bind(row.id.as_str());
            values.push_bind(&row.text);
            values.push_bind(&row.mark);
        });
        insert.build().execute(&mut *connection).await?;
        let bases: Vec<_> = rows.iter().map(|row| (row.id.to_string(), row.content.into())).collect();
        ledger::set(connection, from, &bases).await?;
    }
}
