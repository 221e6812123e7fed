//! Reading many rows.

use std::ops::ControlFlow;

use super::{PAGE, PostgresStore};
use crate::error::StoreError;
use crate::outline::{Outline, Wanted};
use crate::row::{Row, outlines};
use crate::store::Milestone;

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

    pub(super) fn list_wanted(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        let shown = self.connection.shown().to_owned();
        let rows = self.read(async |client, table| Ok(table.list(client, wanted).await?))?;
        let takes = |milestone: &Milestone| wanted.takes(&milestone.columns);
        outlines(rows, &shown, &takes).into_iter().for_each(visit);
        Ok(())
    }

    pub(super) fn find_all(
        &mut self,
        takes: &(dyn Fn(&Milestone) -> bool + Sync),
        visit: &mut dyn FnMut(Outline),
    ) -> Result<(), StoreError> {
        let shown = self.connection.shown().to_owned();
        self.batches(|rows| {
            outlines(rows, &shown, takes).into_iter().for_each(&mut *visit);
            ControlFlow::Continue(())
        })
    }
}
