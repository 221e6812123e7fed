//! Reading many rows.

use std::ops::ControlFlow;

use super::{PAGE, PostgresStore};
use crate::error::StoreError;
use crate::outline::{self, Outline, Wanted};
use crate::row::{Row, visit_all};
use crate::store::Milestone;

impl PostgresStore {
    /// Hands over what each row comes to in the server's order of ids.
    pub(super) fn scan_each<R: Send>(
        &mut self,
        of: impl Fn(Row) -> R + Sync,
        visit: &mut dyn FnMut(R) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        loop {
            let rows = self.read(async |client, table| Ok(table.page(client, after.as_deref(), PAGE).await?))?;
            if rows.is_empty() {
                return Ok(());
            }
            after = rows.last().map(|row| String::from_utf8_lossy(&row.id).into_owned());
            if visit_all(rows, &of, &mut *visit).is_break() {
                return Ok(());
            }
        }
    }

    pub(super) fn list_wanted(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        let shown = self.connection.shown().to_owned();
        let rows = self.read(async |client, table| Ok(table.list(client, wanted).await?))?;
        let takes = |milestone: &Milestone| wanted.takes(&milestone.columns);
        let _ = visit_all(rows, |row| row.found(&shown, &takes), &mut outline::shown(visit));
        Ok(())
    }

    pub(super) fn find_all(
        &mut self,
        takes: &(dyn Fn(&Milestone) -> bool + Sync),
        visit: &mut dyn FnMut(Outline),
    ) -> Result<(), StoreError> {
        let shown = self.connection.shown().to_owned();
        self.scan_each(|row| row.found(&shown, takes), &mut outline::shown(visit))
    }
}
