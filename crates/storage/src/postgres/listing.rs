//! Lists and searches: the server leaves out what is certain not to be wanted, and what is left is judged as it is everywhere.

use milescale_core::milestone::{Columns, DEFAULT_PRIORITY};
use milescale_core::value::Value;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::documents::{Table, row, time};
use super::schema::ACTIVE;
use crate::outline::{Needle, Outline, Wanted};
use crate::row::Row;
use crate::threads::in_threads;

/// The keys that a list shows, in the order in which they are read.
const SHOWN: [&str; 4] = ["title", "status", "priority", "created_at"];

impl Table {
    /// What a list shows of the rows that may be wanted: outlines of those that are objects, and the others as they are.
    pub(super) async fn list(&self, client: &Client, wanted: &Wanted) -> Result<Vec<Result<Outline, Row>>, Error> {
        let shown = SHOWN.map(|key| format!("(data->'{key}')::text")).join(", ");
        let select = format!(
            "SELECT id::text, CASE WHEN jsonb_typeof(data) = 'object' THEN NULL ELSE coalesce(data::text, '') END, {}, {}, \
             NULL::bytea, NULL::text, {shown}, (data->'timeline'->'estimated_start')::text FROM {}milestones \
             WHERE ($1 IS NULL OR data->>'status' = $1) AND ($1 IS NOT NULL OR $3 OR {ACTIVE}) \
             AND ($2 IS NULL OR $2 = '{DEFAULT_PRIORITY}' OR data->>'priority' = $2) ORDER BY id",
            time("created_at"),
            time("updated_at"),
            self.prefix
        );
        let Wanted { status, priority, all, .. } = wanted;
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(status, Type::TEXT), (priority, Type::TEXT), (all, Type::BOOL)];
        in_threads(client.query_typed(&select, &values).await?, |row| listed(&row)).into_iter().collect()
    }

    /// The rows in which a needle may stand, without their kept texts.
    pub(super) async fn search(&self, client: &Client, needle: &Needle) -> Result<Vec<Row>, Error> {
        // Without a collation the server's letters are ASCII's, whatever its locale.
        let is_not_ascii = |text: &str| format!("octet_length({text}) <> length({text})");
        let select = format!(
            "SELECT m.id::text, m.data::text, {}, {}, NULL::bytea, NULL::text FROM {}milestones m WHERE $1 IS NULL \
             OR (m.data::text COLLATE \"C\") ILIKE $1 OR (m.id COLLATE \"C\") ILIKE $1 {} ORDER BY m.id",
            time("m.created_at"),
            time("m.updated_at"),
            self.prefix,
            if needle.has_strange_capitals() {
                format!("OR {} OR {}", is_not_ascii("m.data::text"), is_not_ascii("m.id"))
            } else {
                String::new()
            }
        );
        let pattern = needle.pattern('\\');
        in_threads(client.query_typed(&select, &[(&pattern, Type::TEXT)]).await?, |found| row(&found))
            .into_iter()
            .collect()
    }
}

/// The outline of a row, but for its place; of one that is no object the row.
fn listed(found: &tokio_postgres::Row) -> Result<Result<Outline, Row>, Error> {
    let whole = row(found)?;
    if whole.data.is_some() {
        return Ok(Err(whole));
    }
    // As if they were all of the document: what stands elsewhere in it is not shown.
    let value = |at: usize| -> Result<Value, Error> {
        let text: Option<&str> = found.try_get(at)?;
        Ok(text.and_then(|text| Value::from_json(text).ok()).unwrap_or(Value::Null))
    };
    let mut entries = Vec::with_capacity(SHOWN.len() + 1);
    for (number, key) in SHOWN.into_iter().enumerate() {
        entries.push((key.to_owned(), value(6 + number)?));
    }
    let start = ("estimated_start".to_owned(), value(6 + SHOWN.len())?);
    entries.push(("timeline".to_owned(), Value::Mapping(vec![start])));
    let columns = |id: &str| Columns::of(id, &Value::Mapping(entries));
    Ok(Ok(whole.outline(columns)))
}
