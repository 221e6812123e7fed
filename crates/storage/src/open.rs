//! Which store a backend is.

use std::time::Duration;

use milescale_core::backend::{Backend, Engine, InUse};
use milescale_core::config::{Config, Database};
use milescale_workspace::Workspace;
use milescale_workspace::error::StoreError;

use crate::files::FileStore;
use crate::hybrid::HybridStore;
use crate::postgres::{PostgresStore, Timeouts};
use crate::sqlite::SqliteStore;
use crate::store::Store;

/// A backend, with all that says where it is: two that are equal are the same store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    backend: Backend,
    /// Where it is, where the backend is a database.
    database: Option<Database>,
    statement_timeout: Duration,
    reconnects_for: Duration,
}

impl Which {
    /// What a store in use is under a configuration; its engine is its own, whatever the configuration says by now.
    pub fn of(in_use: InUse, config: &Config) -> Self {
        Self {
            backend: in_use.backend,
            database: in_use.engine.map(|engine| Database { engine, ..config.database.clone() }),
            statement_timeout: Duration::from_secs(config.performance.query_timeout),
            reconnects_for: Duration::ZERO,
        }
    }

    /// The same for a command that a person waits for: a server that is just starting is waited for so long.
    #[must_use]
    pub fn patiently(self, reconnects_for: Duration) -> Self {
        Self { reconnects_for, ..self }
    }

    /// Opens the store. Nothing is read or connected to yet; `remembered` is the last known number of milestones, 0 if
    /// none is.
    ///
    /// # Errors
    /// When the configuration does not say where it is.
    pub fn open(&self, workspace: &Workspace, remembered: u64) -> Result<Box<dyn Store>, StoreError> {
        Ok(match (self.backend, &self.database) {
            (Backend::Hybrid, _) => {
                Box::new(HybridStore::new(workspace, remembered)?.with_timeout(self.statement_timeout))
            }
            (Backend::Database, Some(database)) if database.engine == Engine::Postgresql => {
                let timeouts = Timeouts { statement: self.statement_timeout, reconnect: self.reconnects_for };
                Box::new(PostgresStore::at(workspace, database, timeouts)?)
            }
            (Backend::Database, _) => Box::new(SqliteStore::new(workspace)?.with_timeout(self.statement_timeout)),
            (Backend::File, _) => Box::new(FileStore::new(workspace.clone(), remembered)),
        })
    }
}
