//! The base of old stores in SQLite: beside the documents, or in a file of its own where milestone files are in use.

use std::collections::HashMap;

use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_workspace::Workspace;
use milescale_workspace::error::StoreError;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite as Driver, SqliteConnection};

use super::{Make, Opened, Sqlite};
use crate::ledger::{Entry, Former, Known, Ledger};

/// The tables. The value of an earlier content is as [`Former`] says.
pub(super) const TABLES: &[&str] = &[
    "CREATE TABLE IF NOT EXISTS milescale_base (side TEXT NOT NULL, id TEXT NOT NULL, value BLOB NOT NULL, \
     text BLOB NOT NULL, noted TEXT, PRIMARY KEY (side, id)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS milescale_sides (side TEXT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS milescale_earlier (id TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (id, value)) \
     WITHOUT ROWID",
];

/// The names of the tables.
pub(super) const NAMES: &[&str] = &["milescale_base", "milescale_sides", "milescale_earlier"];

/// Sets bases, within a transaction that the caller holds.
pub(super) async fn set(
    connection: &mut SqliteConnection,
    side: Side,
    bases: &[(String, Known)],
) -> Result<(), sqlx::Error> {
    for bases in bases.chunks(crate::ledger::AT_ONCE) {
        let mut insert =
            QueryBuilder::<Driver>::new("INSERT OR REPLACE INTO milescale_base (side, id, value, text, noted) ");
        insert.push_values(bases, |mut values, (id, Known { content, noted })| {
            values.push_bind(side.as_str());
            values.push_bind(id);
            values.push_bind(content.value.as_bytes().as_slice());
            values.push_bind(content.text.as_bytes().as_slice());
            values.push_bind(noted.as_deref());
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Notes what was reported of a milestone.
async fn note(connection: &mut SqliteConnection, side: Side, id: &str, noted: &str) -> Result<(), sqlx::Error> {
    let update = "UPDATE milescale_base SET noted = ? WHERE side = ? AND id = ?";
    sqlx::query(update).bind(noted).bind(side.as_str()).bind(id).execute(connection).await.map(drop)
}

/// Sets the base of one milestone, and what is noted of it.
pub(super) async fn enter(connection: &mut SqliteConnection, id: &str, entry: &Entry) -> Result<(), sqlx::Error> {
    set(connection, entry.side, &[(id.to_owned(), entry.known.clone())]).await
}

/// Says that the base of a side is there in full.
pub(super) async fn complete(connection: &mut SqliteConnection, side: Side) -> Result<(), sqlx::Error> {
    let insert = "INSERT OR IGNORE INTO milescale_sides (side) VALUES (?)";
    sqlx::query(insert).bind(side.as_str()).execute(connection).await.map(drop)
}

/// What a ledger does on an open connection to a file that has its tables.
pub(super) trait OnSqlite {
    /// The connection, open, with the tables.
    fn ready(&mut self) -> Result<&mut Sqlite, StoreError>;
}

impl<T: OnSqlite> Ledger for T {
    fn is_complete(&mut self, side: Side) -> Result<bool, StoreError> {
        self.ready()?.run(async |connection| {
            let select = "SELECT 1 FROM milescale_sides WHERE side = ?";
            Ok(sqlx::query(select).bind(side.as_str()).fetch_optional(connection).await?.is_some())
        })
    }

    fn complete(&mut self, side: Side) -> Result<(), StoreError> {
        self.ready()?.write(async |connection| Ok(complete(connection, side).await?))
    }

    fn forget(&mut self, side: Side) -> Result<(), StoreError> {
        self.ready()?.write(async |connection| {
            for delete in ["DELETE FROM milescale_sides WHERE side = ?", "DELETE FROM milescale_base WHERE side = ?"] {
                sqlx::query(delete).bind(side.as_str()).execute(&mut *connection).await?;
            }
            Ok(())
        })
    }

    fn bases(&mut self, side: Side, ids: &[String]) -> Result<HashMap<String, Known>, StoreError> {
        let mut found = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(crate::ledger::AT_ONCE) {
            self.ready()?.run(async |connection| {
                let mut select =
                    QueryBuilder::<Driver>::new("SELECT id, value, text, noted FROM milescale_base WHERE side = ");
                select.push_bind(side.as_str()).push(" AND id IN (");
                let mut list = select.separated(", ");
                for id in ids {
                    list.push_bind(id);
                }
                select.push(")");
                for row in select.build().fetch_all(connection).await? {
                    found.extend(known(&row)?);
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    fn page(&mut self, side: Side, after: Option<&str>, limit: usize) -> Result<Vec<(String, Known)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.ready()?.run(async |connection| {
            let select = "SELECT id, value, text, noted FROM milescale_base
                          WHERE side = ?1 AND (?2 IS NULL OR id > ?2) ORDER BY id LIMIT ?3";
            let query = sqlx::query(select).bind(side.as_str()).bind(after).bind(limit);
            let rows = query.fetch_all(connection).await?;
            let known = rows.iter().map(known).collect::<Result<Vec<_>, _>>()?;
            Ok(known.into_iter().flatten().collect())
        })
    }

    fn set(&mut self, side: Side, bases: &[(String, Known)]) -> Result<(), StoreError> {
        self.ready()?.write(async |connection| Ok(set(connection, side, bases).await?))
    }

    fn unset(&mut self, side: Side, id: &str) -> Result<(), StoreError> {
        self.ready()?.write(async |connection| {
            let delete = "DELETE FROM milescale_base WHERE side = ? AND id = ?";
            sqlx::query(delete).bind(side.as_str()).bind(id).execute(connection).await?;
            Ok(())
        })
    }

    fn note(&mut self, side: Side, noted: &[(String, String)]) -> Result<(), StoreError> {
        self.ready()?.write(async |connection| {
            for (id, noted) in noted {
                self::note(connection, side, id, noted).await?;
            }
            Ok(())
        })
    }

    fn earlier(&mut self, after: Option<&(String, Former)>, limit: usize) -> Result<Vec<(String, Former)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.ready()?.run(async |connection| {
            let select = "SELECT id, value FROM milescale_earlier WHERE ?1 IS NULL OR (id, value) > (?1, ?2)
                          ORDER BY id, value LIMIT ?3";
            let query = sqlx::query(select)
                .bind(after.map(|(id, _)| id))
                .bind(after.map(|(_, former)| former.to_bytes()))
                .bind(limit);
            let mut found = Vec::new();
            for row in query.fetch_all(connection).await? {
                let bytes: Vec<u8> = row.try_get(1)?;
                if let Some(former) = Former::from_bytes(&bytes) {
                    found.push((row.try_get(0)?, former));
                }
            }
            Ok(found)
        })
    }

    fn remember(&mut self, earlier: &[(String, Former)]) -> Result<(), StoreError> {
        self.ready()?.write(async |connection| {
            for earlier in earlier.chunks(crate::ledger::AT_ONCE) {
                let mut insert = QueryBuilder::<Driver>::new("INSERT OR IGNORE INTO milescale_earlier (id, value) ");
                insert.push_values(earlier, |mut values, (id, former)| {
                    values.push_bind(id);
                    values.push_bind(former.to_bytes());
                });
                insert.build().execute(&mut *connection).await?;
            }
            Ok(())
        })
    }

    fn formers(&mut self, id: &str, value: Digest) -> Result<Vec<Former>, StoreError> {
        self.ready()?.run(async |connection| {
            let select = "SELECT value FROM milescale_earlier WHERE id = ? AND value BETWEEN ? AND ?";
            let (first, last) = Former::range_of(value);
            let found = sqlx::query_scalar(select).bind(id).bind(first).bind(last).fetch_all(connection).await?;
            Ok(found.iter().filter_map(|bytes: &Vec<u8>| Former::from_bytes(bytes)).collect())
        })
    }
}

/// A base; `None` where it is damaged, which is as if there was none.
fn known(row: &SqliteRow) -> Result<Option<(String, Known)>, sqlx::Error> {
    let (value, text): (Vec<u8>, Vec<u8>) = (row.try_get(1)?, row.try_get(2)?);
    let content = Digest::from_bytes(&value).zip(Digest::from_bytes(&text));
    let (id, noted) = (row.try_get(0)?, row.try_get(3)?);
    Ok(content.map(|(value, text)| (id, Known { content: Content { value, text }, noted })))
}

/// The ledger in a file of its own, for milestone files.
#[derive(Debug)]
pub(crate) struct LedgerFile {
    sqlite: Sqlite,
}

impl LedgerFile {
    /// The ledger of a workspace; its file is made when it is first needed.
    pub(crate) fn new(workspace: &Workspace) -> Result<Self, StoreError> {
        Ok(Self {
            sqlite: Sqlite::new(
                workspace,
                workspace.base_db(),
                "; remove it: what differs between files and an old store is a conflict then, and nothing is lost",
            )?,
        })
    }
}

impl OnSqlite for LedgerFile {
    fn ready(&mut self) -> Result<&mut Sqlite, StoreError> {
        if self.sqlite.open(Make::IfMissing)? != Opened::AsItWas {
            self.sqlite.write(async |connection| {
                for statement in TABLES {
                    sqlx::query(*statement).execute(&mut *connection).await?;
                }
                Ok(())
            })?;
        }
        Ok(&mut self.sqlite)
    }
}
