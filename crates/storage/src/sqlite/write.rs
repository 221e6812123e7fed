//! Writing documents into SQLite, within a transaction that the caller holds.

use jiff::{SignedDuration, Timestamp};
use milescale_core::digest::Digest;
use milescale_core::timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::WriteError;
use crate::row::KEPT_FOR_SECONDS;
use crate::store::{Draft, Milestone};

/// Rows in one statement of a bulk load.
const ROWS: usize = 500;

/// Writes one row, with its text, and keeps what it replaces.
pub(super) async fn put_row(
    connection: &mut SqliteConnection,
    draft: &Draft,
    before: Option<&Milestone>,
) -> Result<(), WriteError> {
    let (id, data, now) = (draft.id.as_str(), draft.value.to_json(), timestamp::to_text(draft.now));
    if let Some(before) = before {
        sqlx::query("UPDATE milestones SET data = ?, updated_at = ? WHERE id = ?")
            .bind(&data)
            .bind(&now)
            .bind(id)
            .execute(&mut *connection)
            .await?;
        sqlx::query("INSERT INTO milescale_displaced (id, at, text) VALUES (?, ?, ?)")
            .bind(id)
            .bind(&now)
            .bind(&before.text)
            .execute(&mut *connection)
            .await?;
        tidy(connection, draft.now).await?;
    } else {
        let created = draft.columns.created_at.as_deref().unwrap_or(&now);
        sqlx::query("INSERT INTO milestones (id, data, created_at, updated_at) VALUES (?, ?, ?, ?)")
            .bind(id)
            .bind(&data)
            .bind(created)
            .bind(&now)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("INSERT OR REPLACE INTO milescale_texts (id, text, data_digest) VALUES (?, ?, ?)")
        .bind(id)
        .bind(&draft.text)
        .bind(Digest::of(data.as_bytes()).to_string())
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// Removes a few contents that were kept long enough; never more than a few, so that a write stays short.
async fn tidy(connection: &mut SqliteConnection, now: Timestamp) -> Result<(), WriteError> {
    let oldest = now.checked_sub(SignedDuration::from_secs(KEPT_FOR_SECONDS)).unwrap_or(Timestamp::MIN);
    sqlx::query(
        "DELETE FROM milescale_displaced WHERE number IN (SELECT number FROM milescale_displaced ORDER BY number LIMIT 5)
         AND at < ?",
    )
    .bind(timestamp::to_text(oldest))
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Writes many new rows. How many.
pub(super) async fn insert_many(
    connection: &mut SqliteConnection,
    drafts: &mut dyn Iterator<Item = Draft>,
) -> Result<u64, sqlx::Error> {
    let mut count = 0;
    loop {
        let rows: Vec<(Draft, String)> =
            drafts.take(ROWS).map(|draft| (draft.value.to_json(), draft)).map(|(data, draft)| (draft, data)).collect();
        if rows.is_empty() {
            return Ok(count);
        }
        count += rows.len() as u64;
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO milestones (id, data, created_at, updated_at) ");
        insert.push_values(&rows, |mut values, (draft, data)| {
            let now = timestamp::to_text(draft.now);
            values.push_bind(draft.id.as_str());
            values.push_bind(data);
            values.push_bind(draft.columns.created_at.clone().unwrap_or_else(|| now.clone()));
            values.push_bind(now);
        });
        insert.build().execute(&mut *connection).await?;
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO milescale_texts (id, text, data_digest) ");
        insert.push_values(&rows, |mut values, (draft, data)| {
            values.push_bind(draft.id.as_str());
            values.push_bind(&draft.text);
            values.push_bind(Digest::of(data.as_bytes()).to_string());
        });
        insert.build().execute(&mut *connection).await?;
    }
}
