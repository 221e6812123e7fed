//! The figures of the table, which somebody may make anew at any time.

use milescale_core::figures::StoreFigures;
use milescale_document::document::Flaw;
use milescale_workspace::error::{Problem, StoreError};
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::documents::{count, text};
use crate::row::place;

/// Rows named; the rest is a count.
const NAMED: i64 = 50;

/// How often a table is looked at anew.
const ANEW: usize = 3;

impl PostgresStore {
    /// The figures; `None`: the table was made anew since it was looked at.
    fn survey_table(&mut self) -> Result<Option<StoreFigures>, StoreError> {
        let looked = self.read(async |client, table| {
            if !table.is_as_found(client).await? {
                return Ok(None);
            }
            let row = client.query_typed_one(&table.figures(), &[]).await?;
            let figures = StoreFigures {
                milestone_count: count(&row, 0)?,
                kiro_enabled_count: count(&row, 1)?,
                dependency_count: count(&row, 2)?,
            };
            let flawed = client.query_typed(&table.flawed(), &[(&NAMED, Type::INT8)]).await?;
            Ok(Some((figures, flawed.iter().map(|row| text(row, 0)).collect::<Result<Vec<_>, _>>()?)))
        })?;
        let Some((figures, flawed)) = looked else { return Ok(None) };
        let reason = || Flaw { position: None, reason: "data is no JSON object; write one into it".to_owned() };
        let shown = self.connection.shown();
        self.flawed = flawed.into_iter().flatten().map(|id| (place(shown, &id), reason())).collect();
        Ok(Some(figures))
    }

    /// The figures, also of a table that was made anew.
    pub(super) fn survey_any(&mut self) -> Result<StoreFigures, StoreError> {
        for _ in 0..ANEW {
            match self.survey_table() {
                Ok(Some(figures)) => return Ok(figures),
                Ok(None) => self.table.forget(),
                Err(error) if error.problem == Problem::Corrupt && !self.table.is_known() => self.open()?,
                Err(error) => return Err(error),
            }
        }
        let cause = "it is made anew all the time; try again";
        Err(StoreError::new(Problem::Busy, self.connection.shown(), cause))
    }
}
