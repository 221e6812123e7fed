//! Reading many rows.

use std::ops::ControlFlow;
use std::pin::pin;

use futures_util::TryStreamExt;
use milescale_workspace::error::StoreError;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::documents::{Table, row};
use super::{PAGE, PostgresStore};
use crate::budget::{BYTES, Room, fitting};
use crate::row::{LONGEST_ID, Row, has_id};
use crate::scan::BATCH;
use crate::threads::ahead;

/// What the server says of the bytes of a row. Of a small document it is the size that is stored, perhaps compressed; a larger one
/// is measured: what has been compressed by a hundred would make an answer that nobody has room for.
const STORED: &str =
    "CASE WHEN pg_column_size(m.data) > 2000 THEN octet_length(m.data::text) ELSE pg_column_size(m.data) END";

impl PostgresStore {
    /// Hands over the rows, many at once, in the server's order of ids; the server looks for the next ones meanwhile.
    pub(super) fn batches(&mut self, batch: impl FnMut(Vec<Row>) -> ControlFlow<()>) -> Result<(), StoreError> {
        ahead(1, |send| self.pages(send), batch)
    }

    fn pages(&mut self, send: &mut dyn FnMut(Vec<Row>) -> ControlFlow<()>) -> Result<(), StoreError> {
        let (mut after, mut stored) = (None::<String>, BYTES);
        loop {
            let rows = self.read(async |client, table| {
                let limit = table.fitting(client, after.as_deref(), stored).await?;
                let rows = table.page(client, after.as_deref(), limit).await?;
                stored = next_bytes(stored, limit, &rows);
                Ok(rows)
            })?;
            if rows.is_empty() {
                return Ok(());
            }
            after = rows.last().map(|row| String::from_utf8_lossy(&row.id).into_owned());
            if send(rows).is_break() {
                return Ok(());
            }
        }
    }

    /// Hands over the rows with these ids, as many at once as there is room for, in no order.
    pub(super) fn each_of(&mut self, ids: &[String], mut each: impl FnMut(Vec<Row>)) -> Result<(), StoreError> {
        for ids in ids.chunks(BATCH) {
            let sizes = self.read(async |client, table| Ok(table.sizes(client, ids).await?))?;
            let mut rest = sizes.as_slice();
            while !rest.is_empty() {
                let count = fitting(Room::new(BATCH), rest.iter().map(|(_, bytes)| *bytes));
                let ids: Vec<&str> = rest[..count].iter().map(|(id, _)| id.as_str()).collect();
                self.read(async |client, table| {
                    let select = format!("{} WHERE m.id = ANY($1)", table.select());
                    Ok(in_batches(client, &select, &[(&ids, Type::TEXT_ARRAY)], &mut each).await?)
                })?;
                rest = &rest[count..];
            }
        }
        Ok(())
    }
}

/// The stored bytes of the next page, by what the rows of this one have: the server compresses what is large.
fn next_bytes(stored: u64, limit: i64, rows: &[Row]) -> u64 {
    let count = u64::try_from(rows.len()).unwrap_or_default();
    match u64::try_from(limit) {
        Ok(limit) if count < limit => (stored / limit * count).max(1),
        _ => stored.saturating_mul(2).min(BYTES),
    }
}

/// Hands over the rows of a statement, as many at once as there is room for.
async fn in_batches(
    client: &Client,
    select: &str,
    values: &[(&(dyn ToSql + Sync), Type)],
    each: &mut impl FnMut(Vec<Row>),
) -> Result<(), Error> {
    let (mut waiting, mut room) = (Vec::new(), Room::new(BATCH));
    let values = values.iter().map(|(value, kind)| (*value, kind.clone()));
    let mut found = pin!(client.query_typed_raw(select, values).await?);
    while let Some(found) = found.try_next().await? {
        let row = row(&found)?;
        let is_full = room.fills(row.bytes());
        waiting.push(row);
        if is_full {
            room = Room::new(BATCH);
            each(std::mem::take(&mut waiting));
        }
    }
    each(waiting);
    Ok(())
}

impl Table {
    /// How many of the next rows there is room for, by their stored bytes; none where none is left.
    async fn fitting(&self, client: &Client, after: Option<&str>, bytes: u64) -> Result<i64, Error> {
        let select = format!(
            "SELECT count(*) FROM (SELECT sum(size) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS together, \
             row_number() OVER (ORDER BY id) AS number FROM (SELECT m.id, {} WHERE {} ORDER BY m.id LIMIT $2) AS next) AS sums \
             WHERE together <= $3 OR number = 1",
            self.sized(),
            range(after),
        );
        let (limit, bytes) = (PAGE, i64::try_from(bytes).unwrap_or(i64::MAX));
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(&after, Type::TEXT), (&limit, Type::INT8), (&bytes, Type::INT8)];
        client.query_typed_one(&select, &values).await?.try_get(0)
    }

    /// The next rows, so many at most. Where they turn out to have too many bytes, the rest of them is left for the next page.
    async fn page(&self, client: &Client, after: Option<&str>, limit: i64) -> Result<Vec<Row>, Error> {
        let select = format!("{} WHERE {} ORDER BY m.id LIMIT $2", self.select(), range(after));
        let values: [(&(dyn ToSql + Sync), Type); 2] = [(&after, Type::TEXT), (&limit, Type::INT8)];
        let (mut rows, mut room) = (Vec::new(), Room::new(BATCH));
        let mut found = pin!(client.query_typed_raw(&select, values).await?);
        while let Some(found) = found.try_next().await? {
            let row = row(&found)?;
            let is_full = room.fills(row.bytes());
            rows.push(row);
            if is_full {
                break;
            }
        }
        Ok(rows)
    }

    /// The ids of these that are there, with their bytes.
    async fn sizes(&self, client: &Client, ids: &[String]) -> Result<Vec<(String, u64)>, Error> {
        let select = format!("SELECT m.id::text, {} WHERE m.id = ANY($1)", self.sized());
        let rows = client.query_typed(&select, &[(&ids, Type::TEXT_ARRAY)]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<_, i64>(1)?.unsigned_abs()))).collect()
    }

    /// What selects the bytes of rows, and from where.
    fn sized(&self) -> String {
        let data = format!("coalesce({STORED}, 0)");
        let prefix = &self.prefix;
        if self.has_own() {
            format!(
                "({data} + coalesce(octet_length(t.text), 0))::bigint AS size FROM {prefix}milestones m \
                 LEFT JOIN {prefix}milescale_texts t ON t.id = m.id"
            )
        } else {
            format!("{data}::bigint AS size FROM {prefix}milestones m")
        }
    }
}

/// Which rows come next.
fn range(after: Option<&str>) -> String {
    format!("{} AND {}", if after.is_some() { "m.id > $1" } else { "$1 IS NULL" }, has_id("m.id"))
}

/// How many rows have no id, which a table of others may allow, with what to do about them; `None` where there are none.
pub(super) async fn nameless(client: &Client, table: &Table) -> Result<Option<(String, &'static str)>, Error> {
    let select =
        format!("SELECT count(*), count(id) FROM {}milestones WHERE ({}) IS NOT TRUE", table.prefix(), has_id("id"));
    let row = client.query_typed_one(&select, &[]).await?;
    let (count, long): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let which = if long > 0 { format!(" ({long} have one of more than {LONGEST_ID} bytes)") } else { String::new() };
    Ok((count > 0)
        .then(|| (format!("{count} rows have no id{which}"), "give them one, or take them out, after a copy")))
}

#[cfg(test)]
mod tests {
    use super::next_bytes;
    use crate::budget::BYTES;
    use crate::row::Row;

    #[test]
    fn a_page_has_fewer_stored_bytes_once_they_turned_out_to_be_compressed() {
        let rows = |count: usize| (0..count).map(|_| Row::default()).collect::<Vec<_>>();
        assert_eq!(next_bytes(BYTES, 10, &rows(10)), BYTES);
        assert_eq!(next_bytes(1000, 10, &rows(2)), 200);
        assert_eq!(next_bytes(1000, 10, &rows(10)), 2000);
        assert_eq!(next_bytes(5, 10, &rows(1)), 1);
    }
}
