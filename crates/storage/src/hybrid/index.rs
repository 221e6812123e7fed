//! `index.db`: an index that is derived from the files, and that other programs read and write too.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use milescale_workspace::durable;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::layout::Workspace;
use milescale_workspace::readers::Readers;
use rustix::fs::Access;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row as _, Sqlite as Driver, SqliteConnection};

use super::known::Known;
use super::mend::Pair;
use super::row::IndexRow;
use crate::files::readers_of_all;
use crate::sqlite::{
    Changed, Changes, Growth, INDEX_ROW, Make, Onward, Opened, Sqlite, flaw_of_ids, has_table, missing_columns,
};

/// The table (contract §2).
const TABLE: &str = "CREATE TABLE IF NOT EXISTS milestones (id TEXT PRIMARY KEY, title TEXT, status TEXT, priority TEXT, \
                     created_at TEXT, updated_at TEXT, file_path TEXT)";

/// Its indexes.
const INDEXES: &[&str] = &[
    "CREATE INDEX IF NOT EXISTS idx_milestones_status ON milestones (status)",
    "CREATE INDEX IF NOT EXISTS idx_milestones_priority ON milestones (priority)",
    "CREATE INDEX IF NOT EXISTS idx_milestones_created_at ON milestones (created_at)",
];

/// Its columns.
const COLUMNS: &[&str] = &["id", "title", "status", "priority", "created_at", "updated_at", "file_path"];

/// How the name of one begins in `.milescale` that was no database.
pub const SET_ASIDE: &str = "index.unreadable-";

/// The same of one that not all could read who may read the files, or that who moves may not write.
pub const BEFORE: &str = "index.before-";

/// What to do about a damaged one.
const DAMAGED: &str = "; remove it: the files are the truth, and the next `milescale check` builds it anew";

/// Rows in one statement while it is built.
const BUILT_AT_ONCE: usize = 500;

/// Rows read at once: they are small.
const ROWS: i64 = 100;

/// The index of one workspace.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) workspace: Workspace,
    pub(super) sqlite: Sqlite,
    known: Option<Known>,
    /// How often a look has found something changed.
    pub(super) changes: u64,
    /// Whether others may rely on the file that is there.
    pub(super) is_in_use: bool,
}

impl Index {
    pub(super) fn new(workspace: &Workspace) -> Result<Self, StoreError> {
        let sqlite = Sqlite::new(workspace, workspace.index_db(), DAMAGED)?;
        Ok(Self { workspace: workspace.clone(), sqlite, known: None, changes: 0, is_in_use: true })
    }

    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self { sqlite: self.sqlite.with_timeout(timeout), ..self }
    }

    /// Opens it; `false` where there is no index: no file, an empty one, one that is no database, or no table.
    pub(super) fn is_there(&mut self) -> Result<bool, StoreError> {
        match self.opened() {
            Err(error) if error.problem == Problem::Corrupt && self.sqlite.is_no_database() => {
                self.sqlite.close();
                self.known = None;
                Ok(false)
            }
            other => other,
        }
    }

    /// Sets the file aside. It is derived, so it is built anew; what it is, a person may want to see.
    fn set_aside(&mut self, begin: &str) -> Result<(), StoreError> {
        self.sqlite.close();
        let (index, own) = (self.workspace.index_db(), self.workspace.own());
        let moved =
            durable::create_own_folder(&self.workspace).and_then(|()| durable::set_aside(&index, &own, (begin, ".db")));
        moved.map(drop).map_err(|error| {
            let action = "it is not used, and cannot be set aside";
            StoreError::io(&self.sqlite.shown, action, &error)
        })
    }

    /// Lets an index of before be for those who may read the files, and nobody else. One that not all of them could read is set aside: what was
    /// removed from it stands in its free pages still.
    pub(super) fn let_in_only_readers(&mut self) -> Result<(), StoreError> {
        // Once it was read, that was asked.
        let Some(index) = self.workspace.index_db().status().ok().filter(|_| self.known.is_none()) else {
            return Ok(());
        };
        if self.sqlite.is_no_database() {
            return self.set_aside(SET_ASIDE);
        }
        let readers = readers_of_all(&self.workspace)?;
        let is_narrower = index.len() > 0 && !readers.are_among(Readers::of(&index));
        // Nor is one used that its owner may not read any more; or, before a move, one that this user may not write.
        let folder = self
            .workspace
            .folder()
            .status()
            .map_err(|error| StoreError::io(&self.sqlite.shown, "its folder cannot be looked at", &error))?;
        let is_closed = || {
            let open = self.workspace.index_db().access(Access::READ_OK | Access::WRITE_OK);
            open.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        if is_narrower || !readers.let_in_owner_of(&index, &folder) || !self.is_in_use && is_closed() {
            return self.set_aside(BEFORE);
        }
        self.sqlite.open(Make::IfMissing)?;
        self.sqlite.let_in_only(readers)
    }

    fn opened(&mut self) -> Result<bool, StoreError> {
        if !self.sqlite.holds_something()? {
            self.sqlite.close();
            self.known = None;
            return Ok(false);
        }
        if self.sqlite.open(Make::Never)? == Opened::Anew {
            self.known = None;
        }
        if !self.sqlite.run(async |connection| has_table(connection, "milestones").await)? {
            self.known = None;
            return Ok(false);
        }
        self.check_shape().map(|()| true)
    }

    /// Makes it where it is not there, and writes these rows, all at once.
    pub(super) fn build(&mut self, rows: &[(String, IndexRow)]) -> Result<(), StoreError> {
        self.let_in_only_readers()?;
        self.sqlite.open(Make::IfMissing)?;
        let changes = Changes::begin(&mut self.sqlite)?;
        let was_there = self.sqlite.run(async |connection| has_table(connection, "milestones").await)?;
        self.sqlite.write(async |connection| {
            Growth::begin_with(connection, rows.len() as u64 * INDEX_ROW).await?;
            sqlx::query(TABLE).execute(&mut *connection).await?;
            for rows in rows.chunks(BUILT_AT_ONCE) {
                upsert_many(connection, rows).await?;
            }
            // Afterwards: an index that grows row by row takes half as long again.
            for statement in INDEXES {
                sqlx::query(*statement).execute(&mut *connection).await?;
            }
            Ok(())
        })?;
        self.check_shape()?;
        self.changes += 1;
        if was_there {
            self.known = None;
            return Ok(());
        }
        // What others have written since is told by the version of the file: then all is read again.
        let mut known = Known::since(changes);
        for (id, row) in rows {
            known.insert(&self.workspace, Some(id.clone()), row);
        }
        self.known = Some(known);
        Ok(())
    }

    fn check_shape(&mut self) -> Result<(), StoreError> {
        let missing = self.sqlite.run(async |connection| missing_columns(connection, COLUMNS).await)?;
        if !missing.is_empty() {
            let cause =
                format!("the table milestones has no column {}; it is no index of milestones", missing.join(", "));
            return Err(self.sqlite.error(Problem::Corrupt, cause));
        }
        match self.sqlite.run(async |connection| flaw_of_ids(connection).await)? {
            Some(flaw) => Err(self.sqlite.error(Problem::Corrupt, format!("{flaw}{DAMAGED}"))),
            None => Ok(()),
        }
    }

    /// Makes the log of changes where it is not there.
    pub(super) fn adopt(&mut self) -> Result<(), StoreError> {
        Changes::keep_log(&mut self.sqlite)
    }

    /// What the rows say now; only what has changed is read.
    pub(super) fn look(&mut self) -> Result<&Known, StoreError> {
        // An error in the middle makes everything be read the next time.
        let known = match self.known.take() {
            Some(mut known) => match known.changes.since(&mut self.sqlite)? {
                Changed::Nothing => known,
                Changed::Rows(ids) => {
                    self.changes += 1;
                    for id in ids {
                        let id = String::from_utf8_lossy(&id).into_owned();
                        match self.row(&id)? {
                            Some(row) => known.insert(&self.workspace, Some(id), &row),
                            None => known.remove(&id),
                        }
                    }
                    known
                }
                Changed::Everything => self.read_everything()?,
            },
            None => self.read_everything()?,
        };
        Ok(self.known.insert(known))
    }

    fn read_everything(&mut self) -> Result<Known, StoreError> {
        self.changes += 1;
        let mut known = Known::since(Changes::begin(&mut self.sqlite)?);
        let (workspace, mut after) = (&self.workspace, Onward::new());
        self.sqlite.pages(
            ROWS,
            async |connection| {
                let rows = page(connection, after.at().copied()).await?;
                after.to(rows.last().map(|(number, ..)| *number))?;
                Ok(rows)
            },
            |(_, id, row)| {
                known.insert(workspace, id, &row);
                ControlFlow::Continue(())
            },
        )?;
        Ok(known)
    }

    /// One row.
    pub(super) fn row(&mut self, id: &str) -> Result<Option<IndexRow>, StoreError> {
        self.sqlite.run(async |connection| one(connection, id).await)
    }

    fn wrote(&mut self) {
        if let Some(known) = &mut self.known {
            known.changes.own_writes = true;
        }
    }

    /// Writes rows, each in place of the one with its id.
    pub(super) fn put(&mut self, rows: &[(String, IndexRow)]) -> Result<(), StoreError> {
        self.wrote();
        self.sqlite.write(async |connection| {
            Growth::begin_with(connection, rows.len() as u64 * INDEX_ROW).await?;
            for (id, row) in rows {
                upsert(connection, id, row).await?;
            }
            Ok(())
        })
    }

    /// Writes or removes a row if it still is what was seen. Whether it was.
    pub(super) fn mend(
        &mut self,
        id: &str,
        seen: Option<&IndexRow>,
        wanted: Option<&IndexRow>,
    ) -> Result<bool, StoreError> {
        self.wrote();
        self.sqlite.write(async |connection| {
            if one(connection, id).await?.as_ref() != seen {
                return Ok(false);
            }
            match wanted {
                Some(wanted) => upsert(connection, id, wanted).await?,
                None => delete(connection, id).await?,
            }
            Ok(true)
        })
    }

    /// Writes or removes rows, all at once, each where it still is what was seen.
    pub(super) fn mend_all(&mut self, pairs: &BTreeMap<String, Pair>) -> Result<(), StoreError> {
        self.wrote();
        self.sqlite.write(async |connection| {
            Growth::begin_with(connection, pairs.len() as u64 * INDEX_ROW).await?;
            for (id, (seen, wanted)) in pairs {
                if one(connection, id).await? == *seen {
                    match wanted {
                        Some(wanted) => upsert(connection, id, wanted).await?,
                        None => delete(connection, id).await?,
                    }
                }
            }
            Ok(())
        })
    }

    /// Removes a row; one that is gone is no error.
    pub(super) fn remove(&mut self, id: &str) -> Result<(), StoreError> {
        self.wrote();
        self.sqlite.write(async |connection| Ok(delete(connection, id).await?))
    }
}

async fn upsert(connection: &mut SqliteConnection, id: &str, row: &IndexRow) -> Result<(), sqlx::Error> {
    upsert_many(connection, &[(id.to_owned(), row.clone())]).await
}

async fn upsert_many(connection: &mut SqliteConnection, rows: &[(String, IndexRow)]) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO milestones (id, title, status, priority, created_at, updated_at, file_path) ";
    let mut upsert = QueryBuilder::<Driver>::new(insert);
    upsert.push_values(rows, |mut values, (id, row)| {
        values.push_bind(id).push_bind(&row.title).push_bind(&row.status).push_bind(&row.priority);
        values.push_bind(&row.created_at).push_bind(&row.updated_at).push_bind(&row.file_path);
    });
    upsert.push(
        " ON CONFLICT (id) DO UPDATE SET title = excluded.title, status = excluded.status, priority = excluded.priority, \
         created_at = excluded.created_at, updated_at = excluded.updated_at, file_path = excluded.file_path",
    );
    upsert.build().execute(connection).await.map(drop)
}

async fn delete(connection: &mut SqliteConnection, id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM milestones WHERE id = ?").bind(id).execute(connection).await.map(drop)
}

async fn one(connection: &mut SqliteConnection, id: &str) -> Result<Option<IndexRow>, sqlx::Error> {
    let select = AssertSqlSafe(format!("SELECT rowid, {TEXTS} FROM milestones WHERE id = ?"));
    let row = sqlx::query(select).bind(id).fetch_optional(connection).await?;
    row.as_ref().map(|row| Ok(index_row(row)?.2)).transpose()
}

pub(super) const TEXTS: &str = "CASE WHEN typeof(id) = 'text' THEN CAST(id AS BLOB) END, CAST(title AS BLOB), CAST(status AS BLOB), \
                     CAST(priority AS BLOB), CAST(created_at AS BLOB), CAST(updated_at AS BLOB), CAST(file_path AS BLOB)";

async fn page(
    connection: &mut SqliteConnection,
    after: Option<i64>,
) -> Result<Vec<(i64, Option<String>, IndexRow)>, sqlx::Error> {
    let select = format!("SELECT rowid, {TEXTS} FROM milestones WHERE rowid > ? ORDER BY rowid LIMIT ?");
    let query = sqlx::query(AssertSqlSafe(select)).bind(after.unwrap_or(i64::MIN)).bind(ROWS);
    query.fetch_all(connection).await?.iter().map(index_row).collect()
}

pub(super) fn index_row(row: &SqliteRow) -> Result<(i64, Option<String>, IndexRow), sqlx::Error> {
    let text = |at: usize| -> Result<Option<String>, sqlx::Error> {
        let lossy = |bytes: std::string::FromUtf8Error| String::from_utf8_lossy(bytes.as_bytes()).into_owned();
        let bytes: Option<Vec<u8>> = row.try_get(at)?;
        Ok(bytes.map(|bytes| String::from_utf8(bytes).unwrap_or_else(lossy)))
    };
    let read = IndexRow {
        title: text(2)?,
        status: text(3)?,
        priority: text(4)?,
        created_at: text(5)?,
        updated_at: text(6)?,
        file_path: text(7)?,
    };
    Ok((row.try_get(0)?, text(1)?, read))
}
