//! What the environment says to every client of PostgreSQL: read once by the command, handed down as data.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where `storage.database.url` in force was read, so that an error blames the right place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UrlFrom {
    /// `storage-config.yaml`.
    #[default]
    File,
    /// `DATABASE_URL`.
    Environment,
}

impl UrlFrom {
    /// The name of the place, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "storage.database.url",
            Self::Environment => "DATABASE_URL",
        }
    }
}

/// The environment as libpq takes it: defaults for what an address does not say.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ClientEnvironment {
    /// The variables whose names begin with `PG`; `PGPASSWORD` is a secret.
    pub variables: BTreeMap<String, String>,
    /// The person's own folder, where `.pgpass` and `.pg_service.conf` lie.
    pub home: Option<PathBuf>,
    /// The name that the system knows the person by: the default for the user of the database.
    pub login: String,
}

impl ClientEnvironment {
    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for ClientEnvironment {
    /// Shows names only: a value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.variables.keys()).finish()
    }
}
