//! The log of changes of the table: which rows somebody has written since it was last read.
//!
//! Numbers are drawn when a row is logged and seen when its transaction commits, which may be in another order. So each
//! entry carries its transaction, and what is read again is everything from the oldest transaction on that was still
//! under way at the last reading, without the entries that were seen already.

use std::collections::BTreeSet;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::begin::literal;
use super::documents::Table;
use super::schema::{close, own_by_owner_of};
use crate::row::{has_id, quoted};
use crate::store::Touched;

/// Entries that are kept for others who read the log.
const KEPT: i64 = 100_000;

/// Entries dropped at a time: a short transaction.
const DROPPED_AT_ONCE: i64 = 10_000;

/// Up to where the log was read.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// The oldest transaction that was under way then.
    oldest: i64,
    /// Entries of it and later ones that were read.
    read: BTreeSet<i64>,
    /// The newest entry that was read.
    newest: i64,
}

/// The body of the function that appends an id to the log. It runs with its owner's rights, so that no program needs more than it has;
/// therefore it writes to one table that its owner has made, for one table, whoever calls it, and to none on which somebody else's trigger would run
/// with the same rights; nor does it look at an id of a type whose conversion somebody else could have written. A schema's owner can replace both.
fn body(schema: &str) -> String {
    let log = format!("{}.milescale_changes", quoted(schema));
    let (named, log_text) = (literal(&format!("{}.milestones", quoted(schema))), literal(&log));
    format!(
        "BEGIN IF coalesce(pg_partition_root(TG_RELID), TG_RELID) IS DISTINCT FROM to_regclass({named}) \
         OR NOT EXISTS (SELECT FROM pg_class c \
         JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = to_regclass({log_text}) AND c.relkind = 'r' \
         AND r.rolname = current_user) THEN RETURN NULL; END IF; \
         IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass({log_text})) \
         OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = to_regclass({log_text})) THEN \
         RAISE EXCEPTION 'somebody has put a trigger or rule on the table milescale_changes, which would run with the rights of its owner; \
drop that'; END IF; \
         IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = TG_RELID AND attname = 'id' \
         AND atttypid IN ('text'::regtype, 'varchar'::regtype)) THEN INSERT INTO {log} (id) VALUES (NULL); RETURN NULL; END IF; \
         IF TG_OP = 'TRUNCATE' THEN INSERT INTO {log} (id) VALUES (NULL); RETURN NULL; END IF; \
         IF TG_OP <> 'INSERT' THEN INSERT INTO {log} (id) VALUES (OLD.id::text); END IF; \
         IF TG_OP = 'INSERT' OR (TG_OP = 'UPDATE' AND NEW.id IS DISTINCT FROM OLD.id) THEN \
         INSERT INTO {log} (id) VALUES (NEW.id::text); END IF; RETURN NULL; END"
    )
}

/// What makes the log. Nobody else may call its function.
pub(super) fn make(table: &Table) -> String {
    let (prefix, body) = (table.prefix(), literal(&body(&table.used)));
    let (log, function) = (format!("{prefix}milescale_changes"), format!("{prefix}milescale_log()"));
    let own = own_by_owner_of(&log, &table.named("milestones"), &[("TABLE", &log), ("FUNCTION", &function)]);
    format!(
        "CREATE TABLE IF NOT EXISTS {prefix}milescale_changes (number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
         id TEXT, by BIGINT NOT NULL DEFAULT txid_current()); \
         CREATE INDEX IF NOT EXISTS milescale_changes_by ON {prefix}milescale_changes (by); \
         CREATE OR REPLACE FUNCTION {prefix}milescale_log() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
         SET search_path = pg_catalog, pg_temp AS {body}; \
         {own}; \
         REVOKE ALL ON FUNCTION {prefix}milescale_log() FROM PUBLIC; \
         DROP TRIGGER IF EXISTS milescale_log ON {prefix}milestones; \
         CREATE TRIGGER milescale_log AFTER INSERT OR UPDATE OR DELETE ON {prefix}milestones \
         FOR EACH ROW EXECUTE FUNCTION {prefix}milescale_log(); \
         DROP TRIGGER IF EXISTS milescale_log_truncate ON {prefix}milestones; \
         CREATE TRIGGER milescale_log_truncate AFTER TRUNCATE ON {prefix}milestones \
         FOR EACH STATEMENT EXECUTE FUNCTION {prefix}milescale_log(); {}",
        close(prefix)
    )
}

/// Whether the table of the log is there, with or without triggers that write it.
pub(super) async fn has_table(client: &Client, table: &Table) -> Result<bool, Error> {
    let log = format!("{}milescale_changes", table.prefix());
    client.query_typed_one("SELECT to_regclass($1) IS NOT NULL", &[(&log, Type::TEXT)]).await?.try_get(0)
}

/// Whether the log is there with its triggers, and with the function of this version.
pub(super) async fn is_there(client: &Client, table: &Table) -> Result<bool, Error> {
    let select =
        "SELECT to_regclass($1) IS NOT NULL AND (SELECT count(*) FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
                  WHERE tgrelid = to_regclass($2) AND tgqual IS NULL AND tgattr = ''
                  AND (tgname, tgtype) IN (('milescale_log', 29), ('milescale_log_truncate', 32))
                  AND tgenabled <> 'D' AND p.prosrc = $3 AND p.prosecdef
                  AND p.proowner = (SELECT relowner FROM pg_class WHERE oid = to_regclass($1))) = 2";
    let (log, milestones) = (format!("{}milescale_changes", table.prefix()), format!("{}milestones", table.prefix()));
    let body = body(&table.used);
    let values: [(&(dyn ToSql + Sync), Type); 3] = [(&log, Type::TEXT), (&milestones, Type::TEXT), (&body, Type::TEXT)];
    client.query_typed_one(select, &values).await?.try_get(0)
}

/// The mark of now: what is written from here on is told by [`since`].
pub(super) async fn begin(client: &Client, table: &Table) -> Result<Mark, Error> {
    let oldest = oldest(client).await?;
    let newest = format!("SELECT coalesce(max(number), 0) FROM {}milescale_changes", table.prefix());
    let newest = client.query_typed_one(&newest, &[]).await?.try_get(0)?;
    // Entries of transactions that are under way are read again, though they may be seen already: a look too many.
    Ok(Mark { oldest, read: BTreeSet::new(), newest })
}

/// What was written since the mark, which moves on.
pub(super) async fn since(client: &Client, table: &Table, mark: &Mark) -> Result<(Touched, Mark), Error> {
    let newest = format!("SELECT coalesce(max(number), 0) FROM {}milescale_changes", table.prefix());
    let newest: i64 = client.query_typed_one(&newest, &[]).await?.try_get(0)?;
    // Taken before the entries are read: what commits in between is read again next time.
    let oldest = oldest(client).await?;
    // The log was emptied, or entries were dropped that may not have been read. Or another server has the address by now, with
    // what was dumped on the one of before, and draws lower numbers for its transactions.
    if newest < mark.newest || oldest < mark.oldest || pruned(client, table).await? >= mark.oldest {
        return Ok((Touched::Everything, begin(client, table).await?));
    }
    let select = format!(
        "SELECT number, CASE WHEN {} THEN id END, by, id IS NULL FROM {}milescale_changes WHERE by >= $1 ORDER BY number LIMIT {}",
        has_id("id"),
        table.prefix(),
        KEPT + 1
    );
    let rows = client.query_typed(&select, &[(&mark.oldest, Type::INT8)]).await?;
    // To read all again is quicker than so many entries, be they of the same rows.
    if i64::try_from(rows.len()).unwrap_or(i64::MAX) > KEPT {
        return Ok((Touched::Everything, begin(client, table).await?));
    }
    let (mut ids, mut read, mut newest, mut all) = (BTreeSet::new(), BTreeSet::new(), mark.newest, false);
    for row in &rows {
        let (number, id, by): (i64, Option<String>, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let is_of_all: bool = row.try_get(3)?;
        newest = newest.max(number);
        if by >= oldest {
            read.insert(number);
        }
        if !mark.read.contains(&number) {
            match id {
                Some(id) => drop(ids.insert(id)),
                // What is too long for an id is none.
                None => all |= is_of_all,
            }
        }
    }
    let mark = Mark { oldest, read, newest };
    Ok((if all { Touched::Everything } else { Touched::Ids(ids) }, mark))
}

/// The newest transaction whose entries may have been dropped.
async fn pruned(client: &Client, table: &Table) -> Result<i64, Error> {
    if !table.has_own() {
        return Ok(0);
    }
    let select = format!("SELECT coalesce(max(pruned), 0) FROM {}milescale_meta", table.prefix());
    client.query_typed_one(&select, &[]).await?.try_get(0)
}

/// Whether there are enough entries that are old enough to be dropped, and milescale's user may drop them: who only reads leaves that
/// to whoever writes.
pub(super) async fn is_long(client: &Client, table: &Table) -> Result<bool, Error> {
    let name = format!("{}milescale_changes", table.prefix());
    let select = format!(
        "SELECT coalesce(max(number) - min(number), 0) >= $1 AND has_table_privilege($2, 'DELETE') FROM {name}"
    );
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&(KEPT + DROPPED_AT_ONCE), Type::INT8), (&name, Type::TEXT)];
    client.query_typed_one(&select, &values).await?.try_get(0)
}

/// Drops a few entries that are old enough, and notes of which transactions; `false`: there are none. Entries of a
/// transaction that others may still see as under way stay. Those with a number that no transaction here has are of
/// another life of the database.
pub(super) async fn prune(client: &Client, table: &Table) -> Result<bool, Error> {
    let drop = format!(
        "WITH now AS (SELECT txid_current_snapshot() AS it), \
         old AS (SELECT number FROM {0}milescale_changes, now \
             WHERE number < (SELECT max(number) - {KEPT} FROM {0}milescale_changes) \
             AND (by < txid_snapshot_xmin(it) OR by > txid_snapshot_xmax(it)) ORDER BY number LIMIT {DROPPED_AT_ONCE}), \
         gone AS (DELETE FROM {0}milescale_changes WHERE number IN (SELECT number FROM old) RETURNING by), \
         newest AS (SELECT coalesce(max(by) FILTER (WHERE by < txid_snapshot_xmin(it)), 0) AS by, count(*) AS count \
             FROM gone, now) \
         UPDATE {0}milescale_meta SET pruned = greatest(pruned, newest.by) FROM newest WHERE newest.count > 0",
        table.prefix()
    );
    Ok(client.execute_typed(&drop, &[]).await? > 0)
}

async fn oldest(client: &Client) -> Result<i64, Error> {
    client.query_typed_one("SELECT txid_snapshot_xmin(txid_current_snapshot())", &[]).await?.try_get(0)
}
