//! Contents that were replaced in a table of PostgreSQL, kept for as long as files are.

use jiff::Timestamp;
use milescale_document::timestamp;
use milescale_workspace::error::StoreError;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::connection::Hurry;
use super::documents::time;
use crate::store::Store as _;

/// Rows removed at once: a write stays as short as that of one milestone.
const REMOVED: usize = 5;

impl PostgresStore {
    /// Removes those of which `is_over` says that they were kept for long enough.
    pub(super) fn purge(&mut self, is_over: &mut dyn FnMut(&str, Timestamp) -> bool) -> Result<(), StoreError> {
        self.adopt()?;
        let rows = self.read(async |client, table| {
            let select = format!("SELECT number, {} FROM {}milescale_displaced", time("at"), table.prefix());
            let rows = client.query_typed(&select, &[]).await?;
            let row = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
            Ok(rows.iter().map(row).collect::<Result<Vec<(i64, Option<String>)>, tokio_postgres::Error>>()?)
        })?;
        let mut over = Vec::new();
        for (number, at) in rows {
            let recorded = at.as_deref().and_then(timestamp::from_text);
            if recorded.is_some_and(|recorded| is_over(&format!("postgresql/{number}"), recorded)) {
                over.push(number);
            }
        }
        for numbers in over.chunks(REMOVED) {
            self.write(Hurry::Yes, async |client, table| {
                let delete = format!("DELETE FROM {}milescale_displaced WHERE number = ANY($1)", table.prefix());
                Ok(client.execute_typed(&delete, &[(&numbers, Type::INT8_ARRAY)]).await?)
            })?;
        }
        Ok(())
    }
}
