//! Writing documents into SQLite, within a transaction that the caller holds.

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::kept::mark;
use milescale_document::milestone::{Draft, Milestone, Packed};
use milescale_document::timestamp;
use milescale_workspace::error::{Problem, StoreError};
use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite, SqliteConnection};

use super::growth::Growth;
use super::schema::Defined;
use super::{WriteError, ledger};
use crate::budget::{Room, next_ones};
use crate::row::{Altered, stays, suppressed};

/// Rows in one statement of a bulk load.
const ROWS: usize = 500;

/// Whether a write has taken other milestones with it, as a trigger, a constraint or a reference of the table may say: nothing else keeps
/// them. Asked before it and after, in its transaction.
#[derive(Debug)]
pub(super) struct Rows {
    defined: Defined,
    /// How many there were, where a write may do more than it says.
    before: Option<i64>,
}

impl Rows {
    pub(super) async fn before(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let defined = Defined::look(connection).await?;
        let before = if defined.is_plain { None } else { Some(count(connection).await?) };
        Ok(Self { defined, before })
    }

    /// # Errors
    /// When there are fewer than those and `more`.
    pub(super) async fn are_there(
        &self,
        more: i64,
        connection: &mut SqliteConnection,
        place: &str,
    ) -> Result<(), WriteError> {
        let Some(before) = self.before else { return Ok(()) };
        let lost = before + more - count(connection).await?;
        if lost <= 0 {
            return Ok(());
        }
        let cause = format!(
            "a trigger, a constraint or a reference of the table would take {lost} other milestones with it, which are kept nowhere; nothing \
             was written. Drop that, or use another table"
        );
        Err(WriteError::Store(StoreError::new(Problem::Refused, place, cause)))
    }
}

async fn count(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM milestones").fetch_one(connection).await
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
    let there = sqlx::query_scalar("SELECT CAST(data AS BLOB) FROM milestones WHERE id = ?")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    if written.rows_affected() > 1 {
        return Err(several(place, id));
    }
    let Some(there): Option<Option<Vec<u8>>> = there.filter(|_| written.rows_affected() > 0) else {
        return Err(WriteError::Store(suppressed(place, &draft.id)));
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
    place: &str,
) -> Result<(), WriteError> {
    sqlx::query("INSERT OR ABORT INTO milescale_displaced (id, at, text) VALUES (?, ?, ?)")
        .bind(&before.id)
        .bind(timestamp::to_text(now))
        .bind(&before.text)
        .execute(&mut *connection)
        .await?;
    keep_hidden(connection, &before.id, Some(before), None, now).await?;
    match delete_row(connection, &before.id).await? {
        0 => Err(WriteError::Store(stays(place, &before.id))),
        1 => Ok(()),
        _ => Err(several(place, &before.id)),
    }
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
