//! Lists from the index.

use std::ops::ControlFlow;

use milescale_core::milestone::{Columns, DEFAULT_PRIORITY, instant};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::index::{Index, IndexRow, TEXTS, index_row};
use crate::error::StoreError;
use crate::outline::{Outline, Wanted};
use crate::sqlite::Others;
use crate::workspace::Workspace;

impl Index {
    /// Hands over what a list is to show of the rows that count, in the order of ids.
    pub(super) fn list(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        let (workspace, mut after) = (&self.workspace, None::<String>);
        // Many rows at once and no pauses: a person waits, and others are kept waiting no longer in sum.
        let pauses = std::mem::replace(&mut self.sqlite.others, Others::AreNotKeptWaiting);
        let listed = self.sqlite.pages(
            async |connection| {
                let (rows, last) = list_page(connection, wanted, after.as_deref()).await?;
                let is_last = last.is_none();
                after = last;
                Ok(if is_last { Vec::new() } else { vec![rows] })
            },
            |rows| {
                for (id, row) in rows {
                    if let Some(outline) = row.counts().then(|| row.outline(workspace, id)) {
                        visit(outline);
                    }
                }
                ControlFlow::Continue(())
            },
        );
        self.sqlite.others = pauses;
        listed
    }
}

impl IndexRow {
    /// What a list shows of it.
    fn outline(self, workspace: &Workspace, id: String) -> Outline {
        let place = workspace.shown(&workspace.active().join(self.inside_active(workspace, &id)));
        let Self { title, status, priority, created_at, updated_at, .. } = self;
        let columns = Columns {
            title: title.filter(|title| !title.is_empty()).unwrap_or_else(|| id.clone()),
            status,
            priority: priority.unwrap_or_else(|| DEFAULT_PRIORITY.to_owned()),
            created_at: created_at.as_deref().and_then(instant),
        };
        let updated_at = updated_at.as_deref().and_then(instant);
        Outline { id, columns, updated_at, place, flaw: None }
    }
}

/// Rows that are looked at in one statement of a list: a read lock of well below 2 ms.
const LISTED_AT_ONCE: i64 = 1000;

/// Of the next rows those that are wanted, and the last id that was looked at; `None` where none is left.
async fn list_page(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    after: Option<&str>,
) -> Result<(Vec<(String, IndexRow)>, Option<String>), sqlx::Error> {
    let next = "SELECT max(id) FROM (SELECT id FROM milestones WHERE typeof(id) = 'text' AND (?1 IS NULL OR id > ?1) ORDER \
                BY id LIMIT ?2)";
    let last: Option<String> =
        sqlx::query_scalar(next).bind(after).bind(LISTED_AT_ONCE).fetch_one(&mut *connection).await?;
    let Some(last) = last else { return Ok((Vec::new(), None)) };
    let select = format!(
        "SELECT rowid, {TEXTS} FROM milestones WHERE (?1 IS NULL OR id > ?1) AND id <= ?2 AND (?3 IS NULL OR +status = ?3) \
         AND (?3 IS NOT NULL OR ?5 OR +status IS NOT 'archived') AND (?4 IS NULL OR ifnull(+priority, 'medium') = ?4) \
         ORDER BY id"
    );
    let query = sqlx::query(AssertSqlSafe(select)).bind(after).bind(&last);
    let query = query.bind(&wanted.status).bind(&wanted.priority).bind(wanted.all);
    let rows = query.fetch_all(connection).await?;
    let rows = rows.iter().map(index_row).map(|row| row.map(|(_, id, row)| (id.unwrap_or_default(), row)));
    Ok((rows.collect::<Result<_, _>>()?, Some(last)))
}
