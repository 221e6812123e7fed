//! Contents that were replaced in a database of SQLite, kept in a table for as long as files are.

use std::ops::ControlFlow;

use jiff::Timestamp;
use milescale_document::timestamp;
use milescale_workspace::error::StoreError;
use sqlx::{QueryBuilder, Row as _, Sqlite as Driver};

use super::documents::SqliteStore;
use super::onward::Onward;
use crate::store::Store as _;

/// Rows looked at at once: a read lock of well below 2 ms.
const LOOKED_AT: i64 = 500;

/// Rows removed at once: a write stays as short as that of one milestone.
const REMOVED: usize = 5;

impl SqliteStore {
    /// Removes those of which `is_over` says that they were kept for long enough.
    pub(super) fn purge(&mut self, is_over: &mut dyn FnMut(&str, Timestamp) -> bool) -> Result<(), StoreError> {
        self.adopt()?;
        let (mut after, mut over) = (Onward::new(), Vec::new());
        self.sqlite.pages(
            LOOKED_AT,
            async |connection| {
                let select = "SELECT number, at FROM milescale_displaced WHERE number > ? ORDER BY number LIMIT ?";
                let rows = sqlx::query(select).bind(after.at().copied().unwrap_or(0_i64));
                let rows = rows.bind(LOOKED_AT).fetch_all(connection).await?;
                after.to(rows.last().map(|row| row.try_get(0)).transpose()?)?;
                rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
            },
            |(number, at): (i64, Option<String>)| {
                let recorded = at.and_then(|at| timestamp::from_text(&at));
                if recorded.is_some_and(|recorded| is_over(&format!("sqlite/{number}"), recorded)) {
                    over.push(number);
                }
                ControlFlow::Continue(())
            },
        )?;
        for numbers in over.chunks(REMOVED) {
            self.sqlite.write(async |connection| {
                let mut delete = QueryBuilder::<Driver>::new("DELETE FROM milescale_displaced WHERE number IN (");
                let mut list = delete.separated(", ");
                for number in numbers {
                    list.push_bind(number);
                }
                delete.push(")");
                delete.build().execute(connection).await?;
                Ok(())
            })?;
        }
        Ok(())
    }
}
