//! Lists from the index.

use std::ops::ControlFlow;

use milescale_document::columns::{Columns, DEFAULT_PRIORITY, instant};
use milescale_workspace::Workspace;
use milescale_workspace::error::StoreError;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::index::{Index, TEXTS, index_row};
use super::row::IndexRow;
use crate::outline::{Outline, Wanted};
use crate::sqlite::{Onward, Others, Sqlite};
use crate::threads::ahead;

/// Pages that wait to become outlines.
const PAGES_AHEAD: usize = 64;

impl Index {
    /// Hands over what a list is to show of the rows that count, in the order of ids.
    pub(super) fn list(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        // Many rows at once and no pauses: a person waits, and others are kept waiting no longer in sum.
        let pauses = std::mem::replace(&mut self.sqlite.others, Others::MayWriteMeanwhile);
        let (workspace, sqlite, mut found) = (&self.workspace, &mut self.sqlite, Vec::new());
        // What was found becomes outlines while the next rows are looked for.
        let listed = ahead(
            PAGES_AHEAD,
            |send| send_wanted(sqlite, wanted, send),
            |rows: Vec<(String, IndexRow)>| {
                let counting = rows.into_iter().filter(|(_, row)| row.counts());
                found.extend(counting.map(|(id, row)| row.outline(workspace, id)));
                ControlFlow::Continue(())
            },
        );
        self.sqlite.others = pauses;
        listed?;
        found.sort_unstable_by(|one: &Outline, other| one.id.cmp(&other.id));
        found.into_iter().for_each(visit);
        Ok(())
    }
}

/// Sends the rows that are wanted, page by page.
fn send_wanted(
    sqlite: &mut Sqlite,
    wanted: &Wanted,
    send: &mut dyn FnMut(Vec<(String, IndexRow)>) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut after = Onward::new();
    sqlite.pages(
        1,
        async |connection| {
            let (rows, last) = list_page(connection, wanted, after.at().copied().unwrap_or(i64::MIN)).await?;
            after.to(last)?;
            Ok(last.map(|_| rows).into_iter().collect())
        },
        send,
    )
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
const LISTED_AT_ONCE: i64 = 2000;

/// Of the next rows those that are wanted, and the last that was looked at; `None` where none is left.
async fn list_page(
    connection: &mut SqliteConnection,
    wanted: &Wanted,
    after: i64,
) -> Result<(Vec<(String, IndexRow)>, Option<i64>), sqlx::Error> {
    let next = "SELECT max(rowid) FROM (SELECT rowid FROM milestones WHERE rowid > ? ORDER BY rowid LIMIT ?)";
    let last: Option<i64> =
        sqlx::query_scalar(next).bind(after).bind(LISTED_AT_ONCE).fetch_one(&mut *connection).await?;
    let Some(last) = last else { return Ok((Vec::new(), None)) };
    // In the order in which they lie: that of ids would cost a search for each.
    let select = format!(
        "SELECT rowid, {TEXTS} FROM milestones WHERE rowid > ?1 AND rowid <= ?2 AND typeof(id) = 'text' \
         AND (?3 IS NULL OR +status = ?3) AND (?3 IS NOT NULL OR ?5 OR +status IS NOT 'archived') \
         AND (?4 IS NULL OR ifnull(+priority, 'medium') = ?4)"
    );
    let query = sqlx::query(AssertSqlSafe(select)).bind(after).bind(last);
    let query = query.bind(&wanted.status).bind(&wanted.priority).bind(wanted.all);
    let rows = query.fetch_all(connection).await?;
    let rows = rows.iter().map(index_row).map(|row| row.map(|(_, id, row)| (id.unwrap_or_default(), row)));
    Ok((rows.collect::<Result<_, _>>()?, Some(last)))
}
