//! The statements on the table of documents. All are unnamed and typed: one way there and back each, nothing left behind.

use jiff::Timestamp;
use milescale_document::columns::read_instant;
use milescale_document::kept::mark;
use milescale_document::milestone::{Draft, Milestone};
use milescale_document::timestamp;
use milescale_workspace::error::{Problem, StoreError};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::begin::{SearchPath, literal};
use super::bulk::Time;
use super::connection::Failed;
use super::schema::{self, ACTIVE, FLAWED, KIRO, REQUIRES};
use super::shape;
use crate::row::{Altered, Row, has_id, quoted, stays};

/// The table, as it was found.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// What stands before the names of tables: a schema and a dot, or nothing where there is none.
    pub(super) prefix: String,
    /// The schema that is configured, or nothing for the one that the search path says.
    pub(super) schema: String,
    /// The schema that is used; nothing where there is none.
    pub(super) used: String,
    /// The search path of the session.
    pub(super) path: SearchPath,
    found: Option<Found>,
}

#[derive(Debug, Clone)]
struct Found {
    /// The table's number: another one is another table under its name.
    oid: Option<u32>,
    /// Columns of `milestones` with their types.
    columns: Vec<(String, String)>,
    has_meta: bool,
    has_own: bool,
    /// Why it is not used, whatever its columns are.
    not_used: Option<String>,
}

impl Table {
    pub(super) fn new(schema: &str) -> Self {
        let mut table = Self {
            prefix: String::new(),
            schema: schema.to_owned(),
            used: String::new(),
            path: SearchPath::default(),
            found: None,
        };
        table.uses(schema.to_owned());
        table
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn is_known(&self) -> bool {
        self.found.is_some()
    }

    pub(super) fn forget(&mut self) {
        self.found = None;
    }

    pub(super) fn has_own(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.has_own)
    }

    /// Whether the table of who it belongs to is there, of whatever version.
    pub(super) fn has_meta(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.has_meta)
    }

    /// Whether the name is that of the table that was looked at.
    pub(super) async fn is_as_found(&self, client: &Client) -> Result<bool, Error> {
        let found = self.found.as_ref().and_then(|found| found.oid);
        Ok(found.is_some() && self.oid(client).await? == found)
    }

    /// Whether that is the number of the table that was looked at.
    pub(super) fn is_found_as(&self, oid: Option<u32>) -> bool {
        self.found.as_ref().is_some_and(|found| found.oid == oid)
    }

    async fn oid(&self, client: &Client) -> Result<Option<u32>, Error> {
        Ok(self.find(client, "milestones").await?.map(|(_, oid)| oid))
    }

    /// What makes the table, and milescale's own beside it.
    pub(super) fn create(&self) -> String {
        let schema = if self.schema.is_empty() {
            String::new()
        } else {
            // Who may make tables in a schema need not have the right to make one.
            let name = quoted(&self.schema);
            let make = literal(&format!(
                "BEGIN IF to_regnamespace({}) IS NULL THEN CREATE SCHEMA {name}; END IF; END",
                literal(&name)
            ));
            format!("DO {make}; ")
        };
        format!("{schema}{}; {}", schema::create(&self.prefix), schema::own(&self.prefix))
    }

    /// The name of one of its tables, for a statement or for the server to look up.
    pub(super) fn named(&self, table: &str) -> String {
        format!("{}{table}", self.prefix)
    }

    pub(super) fn own(&self) -> String {
        schema::own(&self.prefix)
    }

    /// Looks at the shape of what is there.
    pub(super) async fn look(&mut self, client: &Client) -> Result<(), Failed> {
        let select = "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
                      WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
        let name = format!("{}milestones", self.prefix);
        let rows = client.query_typed(select, &[(&name, Type::TEXT)]).await?;
        let columns = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, Error>>()?;
        let select = "SELECT meta, meta AND to_regclass($1 || 'milescale_texts') IS NOT NULL
             AND to_regclass($1 || 'milescale_displaced') IS NOT NULL AND to_regclass($1 || 'milescale_earlier') IS NOT NULL
             AND to_regclass($1 || 'milescale_tokens') IS NOT NULL
             FROM (SELECT to_regclass($1 || 'milescale_meta') IS NOT NULL AS meta) AS it";
        let own = client.query_typed_one(select, &[(&self.prefix, Type::TEXT)]).await?;
        let oid = self.oid(client).await?;
        let not_used = shape::flaw(client, self, &name).await?;
        let (has_meta, has_own) = (own.try_get(0)?, own.try_get(1)?);
        self.found = Some(Found { oid, columns, has_meta, has_own, not_used });
        Ok(())
    }

    /// Whether the table is one of milestones.
    pub(super) fn fits(&mut self, shown: &str) -> Result<(), StoreError> {
        let columns = self.found.as_ref().map(|found| found.columns.as_slice()).unwrap_or_default();
        let wrong = |cause: String| StoreError::new(Problem::Corrupt, format!("{shown}, table milestones"), cause);
        let not_used = self.found.as_ref().and_then(|found| found.not_used.clone());
        let result = if let Some(why) = not_used {
            Err(StoreError::new(Problem::Refused, format!("{shown}, table milestones"), why))
        } else if columns.is_empty() {
            Err(wrong(
                "there is no such table; name the database and schema where it is, or see `milescale doctor` for the ways on \
                 without it"
                    .to_owned(),
            ))
        } else {
            let fits = |name: &str, types: &[&str]| {
                columns.iter().any(|(column, type_)| column == name && types.contains(&type_.as_str()))
            };
            let time = ["timestamp without time zone", "timestamp with time zone"];
            [
                ("id", &["text", "character varying"][..]),
                ("data", &["jsonb"]),
                ("created_at", &time),
                ("updated_at", &time),
            ]
            .iter()
            .find(|(name, types)| !fits(name, types))
            .map_or(Ok(()), |(name, types)| {
                Err(wrong(format!("it has no column {name} of type {}; it is not one of milestones", types[0])))
            })
        };
        if result.is_err() {
            self.found = None;
        }
        result
    }

    /// Adds the generated columns and their indexes.
    pub(super) fn generate(&self) -> String {
        schema::generate(&self.prefix)
    }

    /// What lets the server know the table's values.
    pub(super) fn analyze(&self) -> String {
        format!("SET LOCAL vacuum_cost_delay = 0; ANALYZE {}milestones", self.prefix)
    }

    /// Whether the generated columns are there.
    pub(super) fn is_generated(&self) -> bool {
        let columns = self.found.as_ref().map(|found| found.columns.as_slice()).unwrap_or_default();
        ["milescale_active", "milescale_kiro", "milescale_requires"]
            .iter()
            .all(|name| columns.iter().any(|(column, _)| column == name))
    }

    /// The figures: milestones, kiro, dependencies.
    pub(super) fn figures(&self) -> String {
        let (active, kiro, requires) = if self.is_generated() {
            ("milescale_active", "milescale_kiro", "milescale_requires")
        } else {
            (ACTIVE, KIRO, REQUIRES)
        };
        format!(
            "SELECT count(*), coalesce(sum({kiro}), 0)::bigint, coalesce(sum({requires}), 0)::bigint \
             FROM {}milestones WHERE {active}",
            self.prefix
        )
    }

    /// Ids of rows that are no object.
    pub(super) fn flawed(&self) -> String {
        format!("SELECT id::text FROM {}milestones WHERE {FLAWED} LIMIT $1", self.prefix)
    }

    pub(super) fn ids(&self) -> String {
        format!("SELECT id::text FROM {}milestones WHERE {} ORDER BY id", self.prefix, has_id("id"))
    }

    /// What is read of rows, with their kept texts where there are some.
    pub(super) fn select(&self) -> String {
        self.select_with(self.has_own())
    }

    /// What is read of rows, perhaps with their kept texts.
    pub(super) fn select_with(&self, texts: bool) -> String {
        let (kept, join) = if texts {
            ("t.text, t.data_digest", format!("LEFT JOIN {}milescale_texts t ON t.id = m.id", self.prefix))
        } else {
            ("NULL::bytea, NULL::text", String::new())
        };
        format!(
            "SELECT m.id::text, CASE WHEN {LARGE} THEN NULL ELSE m.data::text END, {}, {}, {kept}, {LARGE} FROM {}milestones m {join}",
            time("m.created_at"),
            time("m.updated_at"),
            self.prefix
        )
    }

    /// One row, perhaps locked.
    pub(super) async fn row(&self, client: &Client, id: &str, lock: &str) -> Result<Option<Row>, Error> {
        let select = format!("{} WHERE m.id = $1 {lock}", self.select());
        let found = client.query_typed_opt(&select, &[(&id, Type::TEXT)]).await?;
        found.as_ref().map(row).transpose()
    }

    /// Writes one row, with its text, and keeps what it replaces. What a trigger of the table makes of it is read back in the
    /// same transaction: then the text is not kept.
    pub(super) async fn put(&self, client: &Client, draft: &Draft, before: Option<&Milestone>) -> Result<Wrote, Error> {
        let (id, data, now) = (draft.id.as_str(), draft.value.to_json(), timestamp::to_text(draft.updated));
        // As an instant, as a bulk load has it: some that a document names have no spelling that the server reads.
        let created = Time(draft.columns.created_at.as_deref().and_then(read_instant).unwrap_or(draft.updated));
        let values: [(&(dyn ToSql + Sync), Type); 4] =
            [(&id, Type::TEXT), (&data, Type::TEXT), (&now, Type::TEXT), (&created, Type::TIMESTAMP)];
        let (statement, values) = if before.is_some() {
            (
                "UPDATE {}milestones SET data = $2::text::jsonb, updated_at = $3::text::timestamp WHERE id = $1",
                &values[..3],
            )
        } else {
            (
                "INSERT INTO {}milestones (id, data, updated_at, created_at) \
                 VALUES ($1, $2::text::jsonb, $3::text::timestamp, $4) ON CONFLICT (id) DO NOTHING",
                &values[..],
            )
        };
        let count = client.execute_typed(&statement.replacen("{}", &self.prefix, 1), values).await?;
        // The mark is of the row's own spelling, which is the server's.
        let select = format!("SELECT data::text FROM {}milestones WHERE id = $1", self.prefix);
        let there = client.query_typed_opt(&select, &[(&id, Type::TEXT)]).await?;
        let Some(there) = there else { return Ok(Wrote::Suppressed) };
        if count == 0 {
            return Ok(if before.is_some() { Wrote::Suppressed } else { Wrote::Nothing });
        }
        if let Some(before) = before {
            self.keep(client, before, draft.now).await?;
        }
        let spelled = there.try_get::<_, Option<String>>(0)?.unwrap_or_default();
        self.keep_hidden(client, id, before, Some(&draft.text), draft.now).await?;
        if let Some(altered) = Altered::of(draft, spelled.as_bytes()) {
            let delete = format!("DELETE FROM {}milescale_texts WHERE id = $1", self.prefix);
            client.execute_typed(&delete, &[(&id, Type::TEXT)]).await?;
            return Ok(Wrote::Altered(altered));
        }
        let upsert = format!(
            "INSERT INTO {}milescale_texts (id, text, data_digest) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET text = excluded.text, data_digest = excluded.data_digest",
            self.prefix
        );
        let mark = mark(spelled.as_bytes());
        client.execute_typed(&upsert, &[(&id, Type::TEXT), (&draft.text, Type::BYTEA), (&mark, Type::TEXT)]).await?;
        Ok(Wrote::All)
    }

    /// Keeps a content that is replaced.
    async fn keep(&self, client: &Client, before: &Milestone, now: Timestamp) -> Result<(), Error> {
        let insert = format!(
            "INSERT INTO {}milescale_displaced (id, at, text) VALUES ($1, $2::text::timestamp, $3)",
            self.prefix
        );
        let (id, at) = (before.id.as_str(), timestamp::to_text(now));
        client.execute_typed(&insert, &[(&id, Type::TEXT), (&at, Type::TEXT), (&before.text, Type::BYTEA)]).await?;
        Ok(())
    }

    /// Keeps the text of a row that another program has written since: its values are gone with that, and its comments stand
    /// nowhere else. `before` is the row as it was, and `after` its new text.
    async fn keep_hidden(
        &self,
        client: &Client,
        id: &str,
        before: Option<&Milestone>,
        after: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<(), Error> {
        if before.is_some_and(Milestone::says_its_text) {
            return Ok(());
        }
        let keep = format!(
            "INSERT INTO {0}milescale_displaced (id, at, text) SELECT id, $2::text::timestamp, text FROM {0}milescale_texts \
             WHERE id = $1 AND position('\\x23'::bytea IN text) > 0 AND text IS DISTINCT FROM $3 AND text IS DISTINCT FROM $4",
            self.prefix
        );
        let (at, text) = (timestamp::to_text(now), before.map(|before| &*before.text));
        let values: [(&(dyn ToSql + Sync), Type); 4] =
            [(&id, Type::TEXT), (&at, Type::TEXT), (&text, Type::BYTEA), (&after, Type::BYTEA)];
        client.execute_typed(&keep, &values).await.map(drop)
    }

    /// Removes a row, and keeps what it was.
    pub(super) async fn remove(&self, client: &Client, before: &Milestone, now: Timestamp) -> Result<(), Failed> {
        self.keep(client, before, now).await?;
        self.keep_hidden(client, &before.id, Some(before), None, now).await?;
        self.keep_columns(client, &before.id, now).await?;
        if self.delete(client, &before.id).await? { Ok(()) } else { Err(stays(&before.place, &before.id).into()) }
    }

    /// Removes a row with its text; `false`: a trigger of the table leaves that out, and both stay.
    pub(super) async fn delete(&self, client: &Client, id: &str) -> Result<bool, Error> {
        let delete = |name: &str| format!("DELETE FROM {}{name} WHERE id = $1", self.prefix);
        if client.execute_typed(&delete("milestones"), &[(&id, Type::TEXT)]).await? == 0 {
            return Ok(false);
        }
        client.execute_typed(&delete("milescale_texts"), &[(&id, Type::TEXT)]).await?;
        Ok(true)
    }
}

/// What became of a row that was written.
#[derive(Debug)]
pub(super) enum Wrote {
    /// It is as it was meant.
    All,
    /// Nothing: a row that was not seen is there.
    Nothing,
    /// Nothing, for a trigger of the table leaves it out.
    Suppressed,
    /// Something else stands there.
    Altered(Altered),
}

/// A column that is a time, as text.
pub(super) fn time(name: &str) -> String {
    format!("to_char({name}::timestamp, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
}

/// Whether a document is so large that it is not sent: as JSON twice the largest YAML. The server compresses by 255 at most.
const LARGE: &str = "(pg_column_size(m.data) > 65536 AND octet_length(m.data::text) > 33554432)";

pub(super) fn row(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let kept = match row.try_get::<_, Option<Vec<u8>>>(4)? {
        Some(text) => Some((text, row.try_get(5)?)),
        None => None,
    };
    Ok(Row {
        id: row.try_get::<_, String>(0)?.into_bytes(),
        data: row.try_get::<_, Option<String>>(1)?.map(String::into_bytes),
        created_at: row.try_get(2)?,
        updated_at: row.try_get(3)?,
        kept,
        is_too_large: row.try_get::<_, Option<bool>>(6)? == Some(true),
    })
}

pub(super) fn text(row: &tokio_postgres::Row, at: usize) -> Result<Option<String>, Error> {
    row.try_get(at)
}

pub(super) fn count(row: &tokio_postgres::Row, at: usize) -> Result<u64, Error> {
    row.try_get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or_default())
}
