//! What goes along with a write: rows that triggers and references take out, by the server's own count of what its session did.

use jiff::Timestamp;
use milescale_document::timestamp;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::connection::Failed;
use super::documents::Table;
use crate::row::{COLUMNS_OF_OTHERS, takes_along, takes_others};

/// Rows that the session has taken out so far of the table, and taken out or changed of those that refer to it.
#[derive(Debug, Clone, Copy)]
struct Gone {
    rows: i64,
    beside: i64,
}

/// What the table has that may take out more than a statement says, asked before the statements of a transaction; nothing changes it
/// until that ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Along {
    /// What was gone before; `None`: nothing of it can take anything along.
    before: Option<Gone>,
}

/// The table with its parts, and the tables that refer to it, in `whole` and `beside`.
const TABLES: &str = "WITH RECURSIVE whole AS (SELECT to_regclass($1)::oid AS oid
      UNION SELECT i.inhrelid FROM pg_inherits i JOIN whole w ON i.inhparent = w.oid),
    beside AS (SELECT c.conrelid AS oid FROM pg_constraint c JOIN whole w ON c.contype = 'f' AND c.confrelid = w.oid
      UNION SELECT c.conrelid FROM pg_constraint c JOIN beside b ON c.contype = 'f' AND c.confrelid = b.oid)";

/// The server counts over transactions until it has told its statistics, which it does between them: only a difference within one says
/// anything. A row that changes its partition is taken out of one and written into another.
const GONE: &str = "(SELECT (sum(taken) - CASE WHEN count(*) > 1 THEN least(sum(taken), sum(pg_stat_get_xact_tuples_inserted(oid))) ELSE 0 END)::bigint
      FROM whole, LATERAL (SELECT pg_stat_get_xact_tuples_deleted(oid) AS taken) it),
    (SELECT coalesce(sum(pg_stat_get_xact_tuples_deleted(oid) + pg_stat_get_xact_tuples_updated(oid)), 0)::bigint
      FROM beside WHERE oid NOT IN (SELECT oid FROM whole))";

/// Whether any trigger is not milescale's; the server's own for references are among them.
const MAY: &str = "EXISTS (SELECT FROM pg_trigger g JOIN whole w ON g.tgrelid = w.oid JOIN pg_class k ON k.oid = w.oid JOIN pg_proc p ON p.oid = g.tgfoid
    WHERE NOT (p.pronamespace = k.relnamespace AND p.proname IN ('milescale_log', 'milescale_refuse')))";

/// What the server says of these tables.
async fn asked(client: &Client, table: &Table, what: &str) -> Result<Row, Error> {
    client.query_typed_one(&format!("{TABLES} SELECT {what}"), &[(&table.named("milestones"), Type::TEXT)]).await
}

impl Along {
    pub(super) async fn before(client: &Client, table: &Table) -> Result<Self, Error> {
        let row = asked(client, table, &format!("{MAY}, {GONE}")).await?;
        let gone = Gone { rows: row.try_get(1)?, beside: row.try_get(2)? };
        Ok(Self { before: row.try_get::<_, bool>(0)?.then_some(gone) })
    }

    /// Whether no more has gone than so many rows that were meant to: nothing else keeps what goes along. A server that is told not to count
    /// (`track_counts`) tells nothing.
    ///
    /// # Errors
    /// When more has: what, and what to do.
    pub(super) async fn is_only(
        self,
        (own, which): (i64, &str),
        client: &Client,
        (table, place): (&Table, &str),
    ) -> Result<(), Failed> {
        let Some(before) = self.before else { return Ok(()) };
        let row = asked(client, table, GONE).await?;
        let (rows, beside): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let others = rows - before.rows - own;
        if others > 0 {
            return Err(takes_others(place, others).into());
        }
        if own > 0 && beside > before.beside {
            return Err(takes_along(place, which, beside - before.beside).into());
        }
        Ok(())
    }
}

impl Table {
    /// Those of these milestones to which rows of other tables refer, each with one of these tables, as far as this user may see that.
    pub(super) async fn referred(&self, client: &Client, ids: &[String]) -> Result<Vec<(String, String)>, Error> {
        let select = format!(
            "{TABLES} SELECT c.conrelid::regclass::text, quote_ident(a.attname), quote_ident(f.attname) FROM pg_constraint c
             JOIN whole w ON c.contype = 'f' AND c.confrelid = w.oid AND cardinality(c.conkey) = 1
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
             JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
             WHERE c.conrelid NOT IN (SELECT oid FROM whole) AND has_column_privilege(c.conrelid, a.attnum, 'SELECT')
               AND NOT row_security_active(c.conrelid)"
        );
        let mut found = Vec::new();
        for row in client.query_typed(&select, &[(&self.named("milestones"), Type::TEXT)]).await? {
            let (table, column, to): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let select = format!(
                "SELECT m.id::text FROM {} m WHERE m.id = ANY($1) AND EXISTS (SELECT FROM {table} r WHERE r.{column} = m.{to}) ORDER BY m.id",
                self.named("milestones")
            );
            for row in client.query_typed(&select, &[(&ids, Type::TEXT_ARRAY)]).await? {
                found.push((row.try_get(0)?, table.clone()));
            }
        }
        Ok(found)
    }

    /// Keeps what a row that goes has in columns of other programs.
    pub(super) async fn keep_columns(&self, client: &Client, id: &str, now: Timestamp) -> Result<(), Error> {
        let keep = format!(
            "INSERT INTO {0}milescale_displaced (id, at, text) SELECT m.id, $2::text::timestamp, \
             convert_to('{COLUMNS_OF_OTHERS}' || more::text || chr(10), 'UTF8') FROM {0}milestones m, \
             LATERAL (SELECT jsonb_object_agg(key, value) AS more FROM jsonb_each(to_jsonb(m) - ARRAY['id', 'data', 'created_at', \
             'updated_at', 'milescale_active', 'milescale_kiro', 'milescale_requires']) WHERE value <> 'null') it \
             WHERE m.id = $1 AND more IS NOT NULL",
            self.prefix()
        );
        let at = timestamp::to_text(now);
        client.execute_typed(&keep, &[(&id, Type::TEXT), (&at, Type::TEXT)]).await.map(drop)
    }
}
