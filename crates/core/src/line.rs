//! The lines that people tail (contract §6): shapes only; writing them is the stores' matter.

use jiff::Timestamp;
use milescale_document::timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::backend::Backend;
use crate::figures::{Figures, LogFigures};

/// A line of `logs/performance-metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetricsEntry {
    timestamp: String,
    backend: &'static str,
    performance: Performance,
    system: crate::figures::MachineFigures,
    scale: Scale,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(clippy::struct_field_names, reason = "the keys are the contract's")]
struct Performance {
    avg_read_time_ms: Option<i64>,
    avg_write_time_ms: Option<i64>,
    avg_query_time_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Scale {
    milestone_count: Option<u64>,
    concurrent_users: Option<u64>,
    complexity_score: Option<u64>,
}

impl MetricsEntry {
    /// The entry of one cycle. A figure never known becomes `null`.
    pub fn new(now: Timestamp, current: Option<Backend>, figures: &Figures) -> Self {
        let time = |of: fn(&LogFigures) -> i64| figures.log.as_ref().map(of);
        Self {
            timestamp: timestamp::to_text(now),
            backend: word(current),
            performance: Performance {
                avg_read_time_ms: time(|log| log.read.average),
                avg_write_time_ms: time(|log| log.write.average),
                avg_query_time_ms: time(|log| log.query.average),
            },
            system: figures.machine,
            scale: Scale {
                milestone_count: figures.milestone_count(),
                concurrent_users: figures.concurrent_users(),
                complexity_score: figures.complexity_score(),
            },
        }
    }
}

/// A line of `logs/scale-events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScaleEvent {
    timestamp: String,
    event: &'static str,
    current_backend: &'static str,
    optimal_backend: &'static str,
    details: Value,
}

impl ScaleEvent {
    /// An event; backends that are not known become `""`.
    pub fn new(
        now: Timestamp,
        event: EventName,
        current: Option<Backend>,
        optimal: Option<Backend>,
        details: Value,
    ) -> Self {
        Self {
            timestamp: timestamp::to_text(now),
            event: event.as_str(),
            current_backend: word(current),
            optimal_backend: word(optimal),
            details,
        }
    }
}

/// A line of `logs/storage-events.jsonl`, as the milestone verbs write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StorageEvent {
    timestamp: String,
    event: &'static str,
    milestone_id: String,
    user: String,
    backend: &'static str,
    details: Operation,
}

/// What a verb did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// `read`, `query` or `write`.
    pub operation: &'static str,
    /// Milliseconds that it took.
    pub duration_ms: u64,
    /// Whether it did what it was asked.
    pub success: bool,
}

impl StorageEvent {
    /// The event of one verb; `milestone` is `None` where several are meant.
    pub fn new(now: Timestamp, milestone: Option<&str>, user: String, backend: Backend, details: Operation) -> Self {
        Self {
            timestamp: timestamp::to_text(now),
            event: "performance_metric",
            milestone_id: milestone.unwrap_or("system").to_owned(),
            user,
            backend: backend.as_str(),
            details,
        }
    }
}

fn word(backend: Option<Backend>) -> &'static str {
    backend.map_or("", Backend::as_str)
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// The events of `logs/scale-events.jsonl`. Each is described, with its details, in docs/FORMATS.md.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventName { $($(#[$doc])* $name,)* }

        impl EventName {
            /// Every event there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word in the line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

events! {
    /// `init` was run on this workspace for the first time.
    Initialized = "scale_detection_initialized",
    /// The last line of every cycle.
    ScaleStatus = "scale_status",
    /// Another backend fits better, without the confidence to move.
    Monitoring = "migration_monitoring",
    /// A move is recommended; once per pair.
    Recommended = "migration_recommended",
    /// A migration has begun.
    MigrationStarted = "migration_started",
    /// How far a migration is.
    MigrationProgress = "migration_progress",
    /// A migration is done: the new store is in use and compared.
    MigrationCompleted = "migration_completed",
    /// A migration failed before the switch; the old store is in use as before.
    MigrationFailed = "migration_failed",
    /// A failed or interrupted migration was undone: its target is cleared.
    MigrationRolledBack = "migration_rolled_back",
    /// An undo failed: a person has to look.
    MigrationStuck = "migration_stuck",
    /// Changes on an old store that were brought into the store in use.
    ChangesImported = "changes_imported",
    /// Changes on an old store that wait until a person says `milescale import`.
    ChangesHeld = "changes_held",
    /// Milestones that are gone on an old store, or hold an earlier content there: nothing is done about it.
    ChangesReported = "changes_reported",
    /// Automatic migrations are paused, or no longer.
    MigrationsPaused = "migrations_paused",
    /// The marker names another backend.
    BackendChanged = "backend_changed",
    /// An edit of the configuration is in force.
    ConfigReloaded = "config_reloaded",
    /// An edit of the configuration is not valid; the last good one stays in force.
    ConfigRejected = "config_rejected",
    /// A source of figures cannot be read; its figures are stale.
    SourceUnavailable = "source_unavailable",
    /// It can be read again.
    SourceRecovered = "source_recovered",
    /// Rows of the index that did not say what their files say, and are about to be overwritten.
    IndexMended = "index_mended",
    /// A content is in conflict with what is current; it is kept.
    WriteConflict = "write_conflict",
    /// Milestones that cannot be parsed; they count and add nothing else.
    MilestonesUnparsable = "milestones_unparsable",
    /// Milestones that could not be parsed before and can be now, or are gone.
    MilestonesMended = "milestones_mended",
    /// Lines of the log of storage events that are no JSON objects.
    LogLinesUnreadable = "log_lines_unreadable",
    /// milescale's own memory could not be read and was set aside.
    StateUnreadable = "state_unreadable",
}
