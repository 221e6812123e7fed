//! The table of keys: what `config show`, the schema and the reading of a document all go by.

use super::{Choice, Config, FilesAfter};
use crate::backend::{Backend, Engine};

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number from `least` to `most`.
    Count {
        /// The smallest value.
        least: u64,
        /// The largest value.
        most: u64,
    },
    /// `true` or `false`.
    Flag,
    /// Any text; a secret in it is masked wherever it is shown.
    Text,
}

impl Kind {
    /// What is expected, in words that end an error message.
    pub fn expected(self) -> String {
        match self {
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Count { least, most: MOST } => format!("a whole number of at least {least}, without quotes"),
            Self::Count { least, most } => format!("a whole number from {least} to {most}, without quotes"),
            Self::Flag => "true or false, without quotes".to_owned(),
            Self::Text => "a text".to_owned(),
        }
    }
}

/// A value of one key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Value {
    /// For [`Kind::Word`] and [`Kind::Text`].
    Text(String),
    /// For [`Kind::Count`].
    Count(u64),
    /// For [`Kind::Flag`].
    Flag(bool),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) if text.is_empty() => f.write_str("\"\""),
            Self::Text(text) => f.write_str(text),
            Self::Count(count) => write!(f, "{count}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// One key of the configuration.
pub struct Key {
    /// Its path, dots between the parts.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is for, one sentence.
    pub about: &'static str,
    /// Why setting it changes nothing in this version, where that is so.
    pub without_effect: Option<&'static str>,
    /// Reads it off a configuration.
    pub get: fn(&Config) -> Value,
    /// Sets it. The value has been checked against `kind`.
    pub(super) set: fn(&mut Config, Value),
}

/// The key of a path.
pub fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The largest number of a key without a limit of its own: what every JSON reader takes exactly.
const MOST: u64 = 9_007_199_254_740_991;
const POSITIVE: Kind = Kind::Count { least: 1, most: MOST };
const REFERENCE: Option<&str> = Some("milescale has no such cache; other programs may read it");

macro_rules! count {
    ($path:literal, $kind:expr, $about:literal, $effect:expr, $($field:ident).+) => {
        Key {
            path: $path,
            kind: $kind,
            about: $about,
            without_effect: $effect,
            get: |config| Value::Count(config.$($field).+),
            set: |config, value| if let Value::Count(count) = value { config.$($field).+ = count },
        }
    };
}

macro_rules! flag {
    ($path:literal, $about:literal, $effect:expr, $($field:ident).+) => {
        Key {
            path: $path,
            kind: Kind::Flag,
            about: $about,
            without_effect: $effect,
            get: |config| Value::Flag(config.$($field).+),
            set: |config, value| if let Value::Flag(flag) = value { config.$($field).+ = flag },
        }
    };
}

/// Every key, in the order of the file.
pub static KEYS: &[Key] = &[
    Key {
        path: "storage.backend",
        kind: Kind::Word(&["auto", "file", "hybrid", "database"]),
        about: "auto lets the figures decide; a backend pins it: watched, never migrated by itself.",
        without_effect: None,
        get: |config| {
            Value::Text(match config.backend {
                Choice::Auto => "auto".to_owned(),
                Choice::Pinned(backend) => backend.to_string(),
            })
        },
        set: |config, value| {
            if let Value::Text(word) = value {
                config.backend = word.parse::<Backend>().map_or(Choice::Auto, Choice::Pinned);
            }
        },
    },
    count!(
        "storage.thresholds.milestone_count.file_to_hybrid",
        POSITIVE,
        "From this many milestones on, hybrid fits better than file.",
        None,
        milestone_count.file_to_hybrid
    ),
    count!(
        "storage.thresholds.milestone_count.hybrid_to_database",
        POSITIVE,
        "From this many milestones on, database fits better than hybrid.",
        None,
        milestone_count.hybrid_to_database
    ),
    count!(
        "storage.thresholds.concurrent_users.file_to_hybrid",
        POSITIVE,
        "From this many users in an hour on, hybrid fits better than file.",
        None,
        concurrent_users.file_to_hybrid
    ),
    count!(
        "storage.thresholds.concurrent_users.hybrid_to_database",
        POSITIVE,
        "From this many users in an hour on, database fits better than hybrid.",
        None,
        concurrent_users.hybrid_to_database
    ),
    Key {
        path: "storage.database.type",
        kind: Kind::Word(&["sqlite", "postgresql"]),
        about: "The engine of the database backend; DATABASE_TYPE in the environment wins over it.",
        without_effect: None,
        get: |config| Value::Text(config.database.engine.as_str().to_owned()),
        set: |config, value| {
            if let Value::Text(word) = value
                && let Ok(engine) = word.parse::<Engine>()
            {
                config.database.engine = engine;
            }
        },
    },
    Key {
        path: "storage.database.url",
        kind: Kind::Text,
        about: "Where the PostgreSQL server is; DATABASE_URL in the environment wins over it.",
        without_effect: None,
        get: |config| Value::Text(config.database.url.clone()),
        set: |config, value| {
            if let Value::Text(url) = value {
                config.database.url = url;
            }
        },
    },
    Key {
        path: "storage.database.schema",
        kind: Kind::Text,
        about: "The schema of the table in PostgreSQL; empty for the one that the server's search path says.",
        without_effect: None,
        get: |config| Value::Text(config.database.schema.clone()),
        set: |config, value| {
            if let Value::Text(schema) = value {
                config.database.schema = schema;
            }
        },
    },
    count!(
        "storage.database.pool_size",
        Kind::Count { least: 1, most: 1000 },
        "A key of other programs.",
        Some("milescale uses one connection; other programs may read it"),
        database.pool_size
    ),
    flag!("storage.performance.cache_enabled", "A key of other programs.", REFERENCE, performance.cache_enabled),
    count!("storage.performance.cache_ttl", POSITIVE, "A key of other programs.", REFERENCE, performance.cache_ttl),
    count!(
        "storage.performance.query_timeout",
        Kind::Count { least: 1, most: 86_400 },
        "Seconds that a statement of a database may take.",
        None,
        performance.query_timeout
    ),
    flag!(
        "storage.migration.auto_migrate",
        "Move the milestones by itself when the confidence reaches 80.",
        None,
        migration.auto_migrate
    ),
    flag!(
        "storage.migration.auto_downscale",
        "Move by itself to a smaller backend too.",
        None,
        migration.auto_downscale
    ),
    flag!(
        "storage.migration.backup_before_migration",
        "Take a backup before a migration.",
        None,
        migration.backup_before_migration
    ),
    flag!(
        "storage.migration.rollback_on_failure",
        "Remove the unfinished target of a failed migration.",
        None,
        migration.rollback_on_failure
    ),
    Key {
        path: "storage.migration.files_after",
        kind: Kind::Word(&["keep", "retire"]),
        about: "After a move to a database: keep the YAML files, read-only, or retire them to .milescale/retired/.",
        without_effect: None,
        get: |config| {
            Value::Text(match config.migration.files_after {
                FilesAfter::Keep => "keep".to_owned(),
                FilesAfter::Retire => "retire".to_owned(),
            })
        },
        set: |config, value| {
            if let Value::Text(word) = value {
                config.migration.files_after = if word == "retire" { FilesAfter::Retire } else { FilesAfter::Keep };
            }
        },
    },
    count!(
        "storage.migration.automatic_per_day",
        Kind::Count { least: 1, most: 1000 },
        "How often milescale moves the data by itself within 24 hours at most.",
        None,
        migration.automatic_per_day
    ),
    count!(
        "storage.monitoring.interval",
        Kind::Count { least: 1, most: 86_400 },
        "Seconds between two cycles.",
        None,
        monitoring.interval
    ),
    count!(
        "storage.monitoring.rotate_at_mib",
        Kind::Count { least: 1, most: 4096 },
        "MiB at which scale-events.jsonl and performance-metrics.jsonl are rotated.",
        None,
        monitoring.rotate_at_mib
    ),
    count!(
        "storage.monitoring.rotated_files",
        Kind::Count { least: 1, most: 100 },
        "Rotated files kept of each of the two.",
        None,
        monitoring.rotated_files
    ),
];
