//! Reading many rows.

use std::ops::ControlFlow;

use super::{PAGE, PostgresStore};
use crate::error::StoreError;
use crate::row::Row;
use crate::threads::ahead;

impl PostgresStore {
    /// Hands over the rows, many at once, in the server's order of ids; the server looks for the next ones meanwhile.
    pub(super) fn batches(&mut self, batch: impl FnMut(Vec<Row>) -> ControlFlow<()>) -> Result<(), StoreError> {
        ahead(1, |send| self.pages(send), batch)
    }

    fn pages(&mut self, send: &mut dyn FnMut(Vec<Row>) -> ControlFlow<()>) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        loop {
            let rows = self.read(async |client, table| Ok(table.page(client, after.as_deref(), PAGE).await?))?;
            if rows.is_empty() {
                return Ok(());
            }
            after = rows.last().map(|row| String::from_utf8_lossy(&row.id).into_owned());
            if send(rows).is_break() {
                return Ok(());
            }
        }
    }
}
