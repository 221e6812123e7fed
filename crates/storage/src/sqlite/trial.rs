//! What stands against a move out of SQLite or into it: rows without a name, and what other programs have added to the table.

use std::ops::ControlFlow;
use std::path::Path;

use milescale_core::base::Side;
use milescale_document::milestone::Packed;
use milescale_document::timestamp;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::trial::Hindrance;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::audience::MOVE_AWAY;
use super::documents::{DAMAGED, SqliteStore};
use super::facts::{NAMED, NAMELESS_ADVICE, nameless};
use super::growth::Growth;
use super::{Onward, Sqlite};

use super::schema::DOCUMENTS;
use crate::row::has_id;
use crate::store::Against;

/// Refused milestones after which no more are tried.
const REFUSED_AT_MOST: usize = 100;

/// Rows that are looked for by their ids at once: a read lock of well below 2 ms.
const LOOKED_AT: i64 = 500;

/// The columns that milescale writes.
const OURS: &str = "('id', 'data', 'created_at', 'updated_at')";

impl SqliteStore {
    /// Rows that no other store could keep, for they have no name, and those that are not found.
    pub(super) fn against_leaving(&mut self) -> Result<Against, StoreError> {
        Ok(Against { hindrances: self.hidden_rows()?, ..Against::default() })
    }

    pub(super) fn hidden_rows(&mut self) -> Result<Vec<Hindrance>, StoreError> {
        let mut hidden = Vec::from_iter(self.rows_without_id()?);
        hidden.extend(self.rows_astray()?);
        Ok(hidden)
    }

    /// Rows that no id can name.
    pub(super) fn rows_without_id(&mut self) -> Result<Option<Hindrance>, StoreError> {
        self.open(super::Make::Never)?;
        let (mut count, mut numbers) = (0, Vec::new());
        self.nameless_rows(|number, _| {
            count += 1;
            numbers.extend(number.filter(|_| numbers.len() < NAMED));
        })?;
        let place = format!("{}, table milestones", self.sqlite.shown);
        Ok((count > 0).then(|| Hindrance::new(place, nameless(count, &numbers), NAMELESS_ADVICE)))
    }

    /// That rows are not found by their id, where that is so.
    fn rows_astray(&mut self) -> Result<Option<Hindrance>, StoreError> {
        let astray = self.astray()?;
        let hindrance = || {
            let place = format!("{}, table milestones", self.sqlite.shown);
            let reason = format!(
                "rows are not found by their id, {astray} in all: an index of the table is damaged, and reading by it leaves them out"
            );
            let do_this = "have it made anew (`sqlite3 FILE`, REINDEX milestones), after a copy of the file";
            Hindrance::new(place, reason, do_this)
        };
        Ok((astray > 0).then(hindrance))
    }

    /// Rows that the table has and that are not found by their id. Where each is found, the index of ids is in order, and reading in
    /// the order of ids leads to all.
    fn astray(&mut self) -> Result<u64, StoreError> {
        self.open(super::Make::Never)?;
        let is_indexed = self.sqlite.run(async |connection| {
            let select = "SELECT EXISTS (SELECT 1 FROM pragma_index_list('milestones') AS l WHERE NOT partial
                          AND (SELECT lower(name) FROM pragma_index_info(l.name) WHERE seqno = 0) = 'id')";
            sqlx::query_scalar::<_, bool>(select).fetch_one(connection).await
        })?;
        if !is_indexed || !self.shape.has_rowids || !self.shape.keeps_texts {
            return Ok(0);
        }
        let select = format!(
            "SELECT rowid, typeof(id) = 'text' AND {} AND NOT EXISTS (SELECT 1 FROM milestones AS m WHERE m.id = s.id)
             FROM (SELECT rowid, id FROM milestones NOT INDEXED WHERE rowid > ?1 ORDER BY rowid LIMIT ?2) AS s",
            has_id("id")
        );
        let (mut after, mut astray) = (Onward::new(), 0);
        self.sqlite.pages(
            LOOKED_AT,
            async |connection| {
                let from = after.at().copied().unwrap_or(i64::MIN);
                let rows = sqlx::query(AssertSqlSafe(select.clone())).bind(from).bind(LOOKED_AT);
                let rows = rows.fetch_all(connection).await?;
                after.to(rows.last().map(|row| row.try_get(0)).transpose()?)?;
                rows.iter().map(|row| row.try_get(1)).collect()
            },
            |is_astray: bool| {
                astray += u64::from(is_astray);
                ControlFlow::Continue(())
            },
        )?;
        Ok(astray)
    }

    /// What keeps a table of other programs from being filled, as its definition says.
    pub(super) fn against_filling(&mut self) -> Result<Against, StoreError> {
        self.open(super::Make::Never)?;
        let place = format!("{}, table milestones", self.sqlite.shown);
        let mut against = Against::default();
        let mut hinders = |reason: String, do_this: &str| {
            against.hindrances.push(Hindrance::new(&place, reason, do_this));
        };
        if let Some(why) = self.sqlite.stays_for_others(self.sqlite.readers_of_side(Side::Files)?)? {
            hinders(why.to_owned(), MOVE_AWAY);
        }
        if !self.shape.keeps_texts {
            hinders("its column id is not declared as TEXT, and ids are texts".to_owned(), "make it TEXT PRIMARY KEY");
        }
        let names = |select: String| {
            async move |connection: &mut SqliteConnection| -> Result<Vec<String>, sqlx::Error> {
                sqlx::query_scalar(AssertSqlSafe(select)).fetch_all(connection).await
            }
        };
        let needed = names(format!(
            "SELECT name FROM pragma_table_xinfo('milestones') WHERE \"notnull\" AND dflt_value IS NULL AND hidden = 0
             AND NOT pk AND lower(name) NOT IN {OURS}"
        ));
        for column in self.sqlite.run(needed)? {
            hinders(
                format!("its column {column} must not be NULL and has no default, and milescale does not know it"),
                "give it a default, or let it be NULL",
            );
        }
        let unique = names(
            "SELECT name FROM pragma_index_list('milestones') AS l WHERE \"unique\" AND NOT partial AND
             (SELECT group_concat(lower(name)) FROM pragma_index_info(l.name)) = 'id'"
                .to_owned(),
        );
        if self.shape.keeps_texts && self.sqlite.run(unique)?.is_empty() {
            hinders("its column id is not unique".to_owned(), "make it TEXT PRIMARY KEY");
        }
        let computed = names(format!(
            "SELECT name FROM pragma_table_xinfo('milestones') WHERE hidden IN (2, 3) AND lower(name) IN {OURS}"
        ));
        for column in self.sqlite.run(computed)? {
            hinders(format!("its column {column} is generated and cannot be written"), "make it a plain column");
        }
        let foreign = names(format!(
            "SELECT \"from\" FROM pragma_foreign_key_list('milestones') WHERE lower(\"from\") IN {OURS}"
        ));
        for column in self.sqlite.run(foreign)? {
            hinders(format!("its column {column} refers to another table"), "drop that reference");
        }
        let goes = names(
            "SELECT \"from\" FROM pragma_foreign_key_list('milestones') WHERE lower(\"table\") = 'milestones'
             AND upper(on_delete) NOT IN ('NO ACTION', 'RESTRICT')"
                .to_owned(),
        );
        for column in self.sqlite.run(goes)? {
            hinders(
                format!("its column {column} lets one milestone go, or change, when another one goes"),
                "drop that reference, or let it do nothing (ON DELETE NO ACTION)",
            );
        }
        let triggers = names(
            "SELECT name FROM sqlite_schema WHERE lower(type) = 'trigger' AND tbl_name = 'milestones' COLLATE NOCASE
             AND name NOT GLOB 'milescale_*' ORDER BY name"
                .to_owned(),
        );
        let triggers = self.sqlite.run(triggers)?;
        if !triggers.is_empty() {
            against
                .notes
                .push(format!("{place}: triggers of other programs run on each write: {}", triggers.join(", ")));
        }
        Ok(against)
    }

    /// Whether other programs have given the table more than adapters do.
    pub(super) fn is_of_others(&mut self) -> Result<bool, StoreError> {
        let schema = self.definitions()?;
        // However it is written: where it is none of adapters', rows are tried before they are brought.
        let plain = |sql: &str| -> String {
            let kept: String = sql.chars().filter(|it| !it.is_whitespace() && *it != '"').collect();
            kept.to_ascii_lowercase().replace("ifnotexists", "")
        };
        let ours = plain(DOCUMENTS);
        Ok(schema.iter().any(|(kind, sql)| match kind.as_str() {
            "table" => plain(sql) != ours,
            _ => true,
        }))
    }

    /// The definitions of the table and of what belongs to it, but for milescale's own.
    fn definitions(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        self.open(super::Make::Never)?;
        let found: Vec<(String, String)> = self.sqlite.run(async |connection| {
            let select =
                "SELECT lower(type), sql FROM sqlite_schema WHERE tbl_name = 'milestones' COLLATE NOCASE AND sql NOT NULL
                          AND name NOT GLOB 'milescale_*' ORDER BY lower(type) = 'trigger', lower(type) = 'index'";
            let rows = sqlx::query(select).fetch_all(connection).await?;
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
        })?;
        // SQLite reads the first statement of such a text; to carry it out would be to carry out all.
        match found.iter().find(|(kind, sql)| kind != "trigger" && !is_one_statement(sql)) {
            Some((kind, _)) => Err(self.sqlite.error(
                Problem::Corrupt,
                format!("the definition of a {kind} of milestones has more than one statement; somebody has written into sqlite_schema"),
            )),
            None => Ok(found),
        }
    }

    /// Inserts all into a table of the same definition, in a database of its own that goes when it is closed.
    pub(super) fn try_all(
        &mut self,
        milestones: &mut dyn Iterator<Item = Packed>,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let definitions = self.definitions()?;
        let mut scratch = Sqlite::new(&self.workspace, self.sqlite.place.clone(), DAMAGED)?;
        scratch.connection = Some(scratch.connected(Path::new(""))?);
        let refused = scratch.run(async |connection| {
            for (kind, sql) in definitions {
                // What a trigger needs beside the table is not there: it is named in the plan.
                if kind != "trigger" {
                    sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
                }
            }
            sqlx::query("BEGIN").execute(&mut *connection).await?;
            Growth::begin(connection).await?;
            let mut refused = Vec::new();
            for row in milestones {
                if let Err(error) = insert(connection, &row).await {
                    let said = error.as_database_error().map(|error| error.message().to_owned());
                    refused.push((row.id.to_string(), said.unwrap_or_else(|| error.to_string())));
                    if refused.len() >= REFUSED_AT_MOST {
                        break;
                    }
                }
            }
            Ok(refused)
        });
        scratch.close();
        refused
    }
}

/// Whether a text of SQL has no `;` but in names, texts and comments.
fn is_one_statement(sql: &str) -> bool {
    let mut rest = sql.chars();
    while let Some(letter) = rest.next() {
        let ends = match letter {
            ';' => return false,
            '\'' | '"' | '`' => letter,
            '[' => ']',
            '-' if rest.as_str().starts_with('-') => '\n',
            '/' if rest.as_str().starts_with('*') => {
                let Some((_, after)) = rest.as_str()[1..].split_once("*/") else { return true };
                rest = after.chars();
                continue;
            }
            _ => continue,
        };
        // A quote that is doubled ends one text and begins the next.
        if !rest.any(|it| it == ends) {
            return true;
        }
    }
    true
}

async fn insert(connection: &mut SqliteConnection, row: &Packed) -> Result<(), sqlx::Error> {
    let updated = timestamp::to_text(row.updated);
    sqlx::query("INSERT OR ABORT INTO milestones (id, data, created_at, updated_at) VALUES (?, ?, ?, ?)")
        .bind(row.id.as_str())
        .bind(&row.data)
        .bind(row.created_at.as_deref().unwrap_or(&updated))
        .bind(&updated)
        .execute(connection)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_definition_is_one_statement() {
        for (sql, is_one) in [
            ("CREATE TABLE a(b)", true),
            ("CREATE TABLE a(b DEFAULT 'x;''y', \"c;\", [d;], `e;`) -- ; \n", true),
            ("CREATE TABLE a(b /* ; */ TEXT)", true),
            ("CREATE TABLE a(b);", false),
            ("CREATE TABLE a(b); ATTACH 'x' AS y", false),
            ("CREATE TABLE a(b DEFAULT 'x'); --", false),
            ("CREATE TABLE a(b /* ' */); ATTACH 'x' AS y", false),
            ("CREATE TABLE a(b -- '\n); ATTACH 'x' AS y", false),
            ("CREATE TABLE a([b']); ATTACH 'x' AS y", false),
        ] {
            assert_eq!(super::is_one_statement(sql), is_one, "{sql}");
        }
    }
}
