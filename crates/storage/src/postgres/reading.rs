//! Reading many rows.

use std::ops::ControlFlow;

use super::{PAGE, PostgresStore};
use crate::error::StoreError;
use crate::row::Row;

impl PostgresStore {
    /// Hands over the rows, many at once, in the server's order of ids.
    pub(super) fn batches(&mut self, mut batch: impl FnMut(Vec<Row>) -> ControlFlow<()>) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        loop {
            let rows = self.read(async |client, table| Ok(table.page(client, after.as_deref(), PAGE).await?))?;
            if rows.is_empty() {
                return Ok(());
            }
            after = rows.last().map(|row| String::from_utf8_lossy(&row.id).into_owned());
            if batch(rows).is_break() {
                return Ok(());
            }
        }
    }
}
