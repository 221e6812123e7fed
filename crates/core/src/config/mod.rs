//! The configuration (contract §3): the values in force, and how a document becomes them.

mod client;
mod interpret;
mod keys;
mod schema;

pub use client::{ClientEnvironment, UrlFrom};
pub use interpret::{Interpreted, Problem, examine, interpret};
pub use keys::{KEYS, Key, Kind, Value, key};
pub use schema::json_schema;

use serde::{Deserialize, Serialize};

use crate::backend::{Backend, Engine};

/// `storage.backend`: follow the figures, or stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The figures decide.
    #[default]
    Auto,
    /// Pinned: watched, never migrated by itself.
    Pinned(Backend),
}

/// From which value on a larger backend fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// `hybrid` from here on.
    pub file_to_hybrid: u64,
    /// `database` from here on; above `file_to_hybrid`.
    pub hybrid_to_database: u64,
}

impl Steps {
    /// The value from which `backend` fits; `None` for `file`, which fits from nothing on.
    pub fn of(&self, backend: Backend) -> Option<u64> {
        match backend {
            Backend::File => None,
            Backend::Hybrid => Some(self.file_to_hybrid),
            Backend::Database => Some(self.hybrid_to_database),
        }
    }
}

/// `storage.database`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Which program keeps the documents.
    pub engine: Engine,
    /// Where the server is; may hold a password, which is never shown.
    pub url: String,
    /// The schema of the table in PostgreSQL; empty for the one that the server's search path says.
    pub schema: String,
    /// No effect in milescale.
    pub pool_size: u64,
    /// Where `url` was read.
    #[serde(skip)]
    pub url_from: UrlFrom,
    /// What the environment adds to it.
    #[serde(skip)]
    pub client: ClientEnvironment,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            engine: Engine::Sqlite,
            url: String::new(),
            schema: String::new(),
            pool_size: 10,
            url_from: UrlFrom::default(),
            client: ClientEnvironment::default(),
        }
    }
}

/// `storage.migration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key that people set to true or false")]
pub struct Migration {
    /// Move by itself when the confidence reaches 80.
    pub auto_migrate: bool,
    /// Also to a smaller backend.
    pub auto_downscale: bool,
    /// Take a backup first.
    pub backup_before_migration: bool,
    /// Remove an unfinished target.
    pub rollback_on_failure: bool,
    /// What becomes of milestone files after a move to a database.
    pub files_after: FilesAfter,
    /// How often milescale moves the data by itself within 24 hours at most.
    pub automatic_per_day: u64,
}

/// `storage.migration.files_after`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilesAfter {
    /// They stay where they are, read-only, with a note.
    #[default]
    Keep,
    /// They are moved to `.milescale/retired/`.
    Retire,
}

/// `storage.performance`: keys of the reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Performance {
    /// No effect in milescale.
    pub cache_enabled: bool,
    /// No effect in milescale.
    pub cache_ttl: u64,
    /// Seconds a statement may take.
    pub query_timeout: u64,
}

/// `storage.monitoring`: milescale's own section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitoring {
    /// Seconds between two cycles.
    pub interval: u64,
    /// MiB at which one of milescale's two logs is rotated.
    pub rotate_at_mib: u64,
    /// Rotated files kept of each log.
    pub rotated_files: u64,
}

/// Everything people can set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// `storage.backend`.
    pub backend: Choice,
    /// `storage.thresholds.milestone_count`.
    pub milestone_count: Steps,
    /// `storage.thresholds.concurrent_users`.
    pub concurrent_users: Steps,
    /// `storage.database`.
    pub database: Database,
    /// `storage.performance`.
    pub performance: Performance,
    /// `storage.migration`.
    pub migration: Migration,
    /// `storage.monitoring`.
    pub monitoring: Monitoring,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: Choice::Auto,
            milestone_count: Steps { file_to_hybrid: 25, hybrid_to_database: 100 },
            concurrent_users: Steps { file_to_hybrid: 5, hybrid_to_database: 20 },
            database: Database::default(),
            performance: Performance { cache_enabled: true, cache_ttl: 300, query_timeout: 30 },
            migration: Migration {
                auto_migrate: false,
                auto_downscale: false,
                backup_before_migration: true,
                rollback_on_failure: true,
                files_after: FilesAfter::Keep,
                automatic_per_day: 2,
            },
            monitoring: Monitoring { interval: 300, rotate_at_mib: 10, rotated_files: 5 },
        }
    }
}
