//! Which store a backend is.

use std::time::Duration;

use milescale_core::backend::{Backend, Engine, InUse};
use milescale_core::config::Config;

use crate::error::StoreError;
use crate::files::FileStore;
use crate::hybrid::HybridStore;
use crate::postgres::PostgresStore;
use crate::sqlite::SqliteStore;
use crate::store::Store;
use crate::workspace::Workspace;

/// A backend, with all that says where it is: two that are equal are the same store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    backend: Backend,
    /// Engine, URL and schema, where the backend is a database.
    database: Option<(Engine, String, String)>,
    statement_timeout: Duration,
}

impl Which {
    /// What a store in use is under a configuration; its engine is its own, whatever the configuration says by now.
    pub fn of(in_use: InUse, config: &Config) -> Self {
        let database = &config.database;
        Self {
            backend: in_use.backend,
            database: in_use.engine.map(|engine| (engine, database.url.clone(), database.schema.clone())),
            statement_timeout: Duration::from_secs(config.performance.query_timeout),
        }
    }

    /// Opens the store. Nothing is read or connected to yet; `remembered` is the last known number of milestones, 0 if
    /// none is.
    ///
    /// # Errors
    /// When the configuration does not say where it is.
    pub fn open(&self, workspace: &Workspace, remembered: u64) -> Result<Box<dyn Store>, StoreError> {
        Ok(match (self.backend, &self.database) {
            (Backend::Hybrid, _) => Box::new(HybridStore::new(workspace, remembered)?),
            (Backend::Database, Some((Engine::Postgresql, url, schema))) => {
                Box::new(PostgresStore::new(workspace, url, schema, self.statement_timeout)?)
            }
            (Backend::Database, _) => Box::new(SqliteStore::new(workspace)?),
            (Backend::File, _) => Box::new(FileStore::new(workspace.clone(), remembered)),
        })
    }
}
