//! Where milestones are kept: the backend, and for a database its engine.

use std::fmt;
use std::str::FromStr;

use milescale_document::text::glimpse;
use serde::{Deserialize, Serialize};

use crate::base::Side;

/// One of the three ways to keep milestones (contract §1), from the smallest to the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// One YAML file a milestone.
    File,
    /// The same files, and an SQLite index derived from them.
    Hybrid,
    /// Documents in SQLite or PostgreSQL.
    Database,
}

impl Backend {
    /// All backends, smallest first.
    pub const ALL: [Self; 3] = [Self::File, Self::Hybrid, Self::Database];

    /// The word that marker, lines and configuration use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Hybrid => "hybrid",
            Self::Database => "database",
        }
    }

    /// The word of BACKUP_ID, where a database goes by its engine (contract §2).
    pub const fn store_word(self, engine: Engine) -> &'static str {
        match self {
            Self::Database => engine.as_str(),
            other => other.as_str(),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBackend(pub String);

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a backend; expected file, hybrid or database", glimpse(&self.0))
    }
}

impl std::error::Error for UnknownBackend {}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|backend| backend.as_str() == word).ok_or_else(|| UnknownBackend(word.to_owned()))
    }
}

/// The program behind the `database` backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A file, `enterprise.db`.
    Sqlite,
    /// A server.
    Postgresql,
}

impl Engine {
    /// The word that configuration and `DATABASE_TYPE` use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgresql => "postgresql",
        }
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "sqlite" => Ok(Self::Sqlite),
            "postgresql" => Ok(Self::Postgresql),
            other => Err(format!("\"{}\" is not an engine; expected sqlite or postgresql", glimpse(other))),
        }
    }
}

/// A store in use: a backend, and for a database its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUse {
    /// The backend.
    pub backend: Backend,
    /// The engine of a database; `None` for the others.
    pub engine: Option<Engine>,
}

impl InUse {
    /// A backend, with this engine where it is a database.
    pub fn new(backend: Backend, engine: Engine) -> Self {
        Self { backend, engine: (backend == Backend::Database).then_some(engine) }
    }

    /// The command that moves the milestones there; of the store in use it writes back what names it.
    pub fn command(self) -> String {
        let engine = self.engine.map(|engine| format!(" --engine {}", engine.as_str())).unwrap_or_default();
        format!("milescale migrate {}{engine}", self.backend)
    }

    /// The side that holds its content: of `hybrid`, its files.
    pub fn side(self) -> Side {
        match (self.backend, self.engine) {
            (Backend::File | Backend::Hybrid, _) => Side::Files,
            (Backend::Database, Some(Engine::Postgresql)) => Side::Postgresql,
            (Backend::Database, _) => Side::Sqlite,
        }
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.engine {
            Some(engine) => write!(f, "{} on {}", self.backend, engine.as_str()),
            None => write!(f, "{}", self.backend),
        }
    }
}
