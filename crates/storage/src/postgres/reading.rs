//! Reading many rows.

use std::ops::ControlFlow;

use super::{PAGE, PostgresStore};
use crate::error::StoreError;
use crate::outline::{Outline, Wanted};
use crate::row::{Row, outlines, place};

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

    /// Hands over what is wanted, in the server's order of ids. The server leaves out what is certain not to be wanted.
    pub(super) fn list_wanted(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        let shown = self.connection.shown().to_owned();
        if let Some(needle) = &wanted.text {
            let rows = self.read(async |client, table| Ok(table.search(client, needle).await?))?;
            outlines(rows, &shown, wanted).into_iter().for_each(visit);
            return Ok(());
        }
        for listed in self.read(async |client, table| Ok(table.list(client, wanted).await?))? {
            let outline = match listed {
                Ok(outline) => wanted.takes_columns(&outline.columns).then_some(outline),
                Err(row) => row.found(&shown, wanted),
            };
            if let Some(outline) = outline {
                let place = place(&shown, &outline.id);
                visit(Outline { place, ..outline });
            }
        }
        Ok(())
    }
}
