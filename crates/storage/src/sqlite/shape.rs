//! The shape of the table of documents, which other programs may have made.

use std::ops::ControlFlow;

use milescale_workspace::error::{Problem, StoreError};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::documents::SqliteStore;
use super::reading::cut;
use super::{Onward, Page};
use crate::row::{Row, has_id};

/// What is known of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    /// Its column `id` keeps texts as texts: a text that looks like a number is not made one.
    pub(super) keeps_texts: bool,
    /// Its rows have numbers.
    pub(super) has_rowids: bool,
}

impl Shape {
    pub(super) async fn of(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        // The index of its primary key is such a table itself. To ask for a list of tables works out the columns of each view.
        let select = "SELECT EXISTS (SELECT 1 FROM pragma_index_list('milestones') AS i WHERE origin = 'pk'
                      AND NOT EXISTS (SELECT 1 FROM sqlite_schema AS s WHERE s.name = i.name))";
        let without_rowids: bool = sqlx::query_scalar(select).fetch_one(&mut *connection).await?;
        let select = "SELECT upper(type) FROM pragma_table_info('milestones') WHERE name = 'id' COLLATE NOCASE";
        let declared: Option<String> = sqlx::query_scalar(select).fetch_optional(connection).await?;
        let declared = declared.unwrap_or_default();
        let is_text = ["CHAR", "CLOB", "TEXT"].iter().any(|word| declared.contains(word));
        Ok(Self { keeps_texts: is_text && !declared.contains("INT"), has_rowids: !without_rowids })
    }
}

/// Whether the table's name is taken, be it by a view.
pub(super) async fn is_taken(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let select =
        "SELECT 1 FROM sqlite_schema WHERE lower(type) IN ('table', 'view') AND name = 'milestones' COLLATE NOCASE";
    Ok(sqlx::query(select).fetch_optional(connection).await?.is_some())
}

impl SqliteStore {
    /// Hands over the rows whose id is no text, or one that no milestone could have, with their numbers.
    pub(super) fn nameless_rows(&mut self, mut each: impl FnMut(Option<i64>, Row)) -> Result<(), StoreError> {
        let (shape, limit, bytes) = (self.shape.clone(), self.sqlite.page(), self.sqlite.page_bytes());
        let number = if shape.has_rowids { "rowid" } else { "NULL" };
        // The index of ids has them at both ends of the texts.
        let at_the_ends = |columns: &str| {
            format!(
                "SELECT {columns} FROM milestones WHERE id IS NULL UNION ALL SELECT {columns} FROM milestones WHERE id >= x''
                 UNION ALL SELECT {columns} FROM milestones WHERE id < x'' AND NOT {}",
                has_id("id")
            )
        };
        let no_id = format!("NOT (typeof(id) = 'text' AND {})", has_id("id"));
        let next = format!("FROM milestones WHERE rowid > ?1 AND {no_id} ORDER BY rowid LIMIT ?2");
        let everywhere = format!("SELECT rowid, CAST(data AS BLOB) {next}");
        let sizes = format!("SELECT ifnull(octet_length(data), 0) AS size {next}");
        // Where there are more than fit into memory at once, all rows are looked through in pages.
        let sum = format!(
            "SELECT coalesce(sum(ifnull(octet_length(data), 0) + 64), 0) FROM ({})",
            if shape.keeps_texts { at_the_ends("data") } else { format!("SELECT data FROM milestones WHERE {no_id}") }
        );
        let is_known_small = async |connection: &mut SqliteConnection| -> Result<bool, sqlx::Error> {
            let sum: i64 = sqlx::query_scalar(AssertSqlSafe(sum.clone())).fetch_one(connection).await?;
            Ok(sum.unsigned_abs() <= bytes)
        };
        let is_small = (shape.keeps_texts || !shape.has_rowids) && self.sqlite.run(is_known_small)?;
        let in_pages = !is_small && shape.has_rowids;
        if !is_small && !in_pages {
            let cause = "its rows without an id are too many or too large to be read; give them texts as ids";
            return Err(self.sqlite.error(Problem::Corrupt, cause));
        }
        let select = match (in_pages, shape.keeps_texts) {
            (true, _) => everywhere,
            (false, true) => at_the_ends(&format!("{number}, CAST(data AS BLOB)")),
            (false, false) => format!("SELECT NULL, CAST(data AS BLOB) FROM milestones WHERE {no_id}"),
        };
        let mut after = Onward::new();
        self.sqlite.pages_until_last(
            async |connection| {
                let from = after.at().copied().unwrap_or(i64::MIN);
                let cut = if in_pages { cut(connection, &sizes, from, limit, bytes).await? } else { None };
                let query = sqlx::query(AssertSqlSafe(select.clone()));
                let query = if in_pages { query.bind(from).bind(cut.unwrap_or(limit)) } else { query };
                let rows = query.fetch_all(connection).await?;
                let rows: Vec<(Option<i64>, Option<Vec<u8>>)> = rows
                    .iter()
                    .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                    .collect::<Result<_, sqlx::Error>>()?;
                after.to(rows.last().and_then(|(number, _)| *number))?;
                Ok(if cut.is_some() {
                    Page::cut(rows)
                } else {
                    Page::of(rows, if in_pages { limit } else { i64::MAX })
                })
            },
            |(number, data)| {
                each(number, Row { data, ..Row::default() });
                ControlFlow::Continue(())
            },
        )
    }
}
