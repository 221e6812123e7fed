//! A workspace with a store of one kind.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_core::figures::StoreFigures;
use milescale_document::digest::Digest;
use milescale_document::milestone::Draft;
use milescale_storage::files::FileStore;
use milescale_storage::hybrid::HybridStore;
use milescale_storage::postgres::PostgresStore;
use milescale_storage::sqlite::SqliteStore;
use milescale_storage::store::{Extent, Seen, Store};
use milescale_testkit::Postgres;
use milescale_workspace::Workspace;
use milescale_workspace::durable;
use milescale_workspace::move_journal::MoveJournal;

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Files,
    Hybrid,
    Sqlite,
    Postgres,
}

pub(crate) struct Bench {
    folder: tempfile::TempDir,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) kind: Kind,
}

impl Bench {
    pub(crate) fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let postgres = (kind == Kind::Postgres).then(Postgres::start);
        let bench = Self { folder, postgres, kind };
        std::fs::create_dir_all(bench.path("active")).unwrap();
        durable::create_own_folder(&bench.workspace()).unwrap();
        MoveJournal::begin(&bench.workspace(), 1, Side::Files).unwrap();
        let none = bench.store().load(&mut std::iter::empty(), Side::Files, 1).unwrap();
        assert_eq!(none, 0);
        bench
    }

    pub(crate) fn workspace(&self) -> Workspace {
        Workspace::at(self.folder.path())
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.workspace().folder().join(path).path()
    }

    /// The store, opened anew.
    pub(crate) fn store(&self) -> Box<dyn Store> {
        let workspace = self.workspace();
        match self.kind {
            Kind::Files => Box::new(FileStore::new(workspace, 0)),
            Kind::Hybrid => Box::new(HybridStore::new(&workspace, 0).unwrap()),
            Kind::Sqlite => Box::new(SqliteStore::new(&workspace).unwrap()),
            Kind::Postgres => {
                let url = self.postgres.as_ref().unwrap().url();
                Box::new(PostgresStore::new(&workspace, &url, "", Duration::from_secs(10)).unwrap())
            }
        }
    }
}

pub(crate) fn draft(id: &str, text: &str) -> Draft {
    Draft::new(id.parse().unwrap(), text.as_bytes().to_vec(), Timestamp::now()).unwrap()
}

pub(crate) fn put(store: &mut dyn Store, id: &str, text: &str) {
    let seen = store.get(&id.parse().unwrap()).map_or(Seen::Nothing, |there| Seen::Text(there.digest()));
    store.put(&draft(id, text), seen).unwrap();
}

pub(crate) fn figures(store: &mut dyn Store) -> StoreFigures {
    store.survey(&Extent::Everything, SystemTime::now()).unwrap().figures
}

impl Bench {
    /// Contents that milescale has replaced and keeps.
    pub(crate) fn displaced(&self) -> std::collections::BTreeSet<String> {
        match self.kind {
            Kind::Files | Kind::Hybrid => std::fs::read_dir(self.path(".milescale/displaced"))
                .map(|entries| entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect())
                .unwrap_or_default(),
            Kind::Sqlite => {
                let rows = self.sqlite3("enterprise.db", "SELECT hex(text) FROM milescale_displaced");
                rows.lines().map(unhex).collect()
            }
            Kind::Postgres => {
                let rows = self.psql("SELECT encode(text, 'hex') FROM milescale_displaced");
                rows.lines().map(unhex).collect()
            }
        }
    }

    /// Whether a file with this content was taken out of its place, whatever is in it now.
    pub(crate) fn was_displaced(&self, text: &str) -> bool {
        let digits = &Digest::of(text.as_bytes()).to_string()[..16];
        let Ok(entries) = std::fs::read_dir(self.path(".milescale/displaced")) else { return false };
        entries
            .map(|entry| entry.unwrap().file_name())
            .any(|name| name.to_str().unwrap().split('-').nth(1) == Some(digits))
    }

    /// Drops the texts that a database keeps beside its values.
    pub(crate) fn forget_texts(&self) {
        if self.kind == Kind::Sqlite {
            self.sqlite3("enterprise.db", "DELETE FROM milescale_texts");
        }
        if self.kind == Kind::Postgres {
            self.psql("DELETE FROM milescale_texts");
        }
    }

    /// What the shell of PostgreSQL prints.
    pub(crate) fn psql(&self, sql: &str) -> String {
        self.postgres.as_ref().unwrap().psql("plans", sql)
    }

    /// What the shell of SQLite prints.
    pub(crate) fn sqlite3(&self, file: &str, sql: &str) -> String {
        let output = std::process::Command::new("sqlite3").arg(self.path(file)).arg(sql).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn unhex(text: &str) -> String {
    let bytes =
        text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}
