//! The figures of contract §4, and the observation that decisions are made from.

use jiff::Timestamp;
use milescale_document::decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::backend::Backend;

/// What the store of the current backend says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreFigures {
    /// Milestones that count.
    pub milestone_count: u64,
    /// Tasks with an enabled kiro workflow, over the milestones counted.
    pub kiro_enabled_count: u64,
    /// Entries of `dependencies.requires`, over the milestones counted.
    pub dependency_count: u64,
}

/// Truncated means of one operation's durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OperationTimes {
    /// Over the last 100 events.
    pub average: i64,
    /// Over the last 10 events.
    pub recent: i64,
}

/// What the log of storage events says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogFigures {
    /// Distinct users of the last 60 minutes.
    pub concurrent_users: u64,
    /// Distinct users of the last 1440 minutes.
    pub team_size: u64,
    /// Reads.
    pub read: OperationTimes,
    /// Writes.
    pub write: OperationTimes,
    /// Queries.
    pub query: OperationTimes,
}

/// Load of the machine in whole percent; `None` where there is no such figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachineFigures {
    /// Busy share of all processors since the last sample.
    pub cpu_usage_percent: Option<u64>,
    /// Memory in use, of the machine or of the control group's limit.
    pub memory_usage_percent: Option<u64>,
    /// Busy share of the device that holds the workspace since the last sample.
    pub disk_io_percent: Option<u64>,
}

/// All figures; a part that was never read is `None`, one that cannot be read now holds its last value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// From the store.
    pub store: Option<StoreFigures>,
    /// From the log of storage events.
    pub log: Option<LogFigures>,
    /// Seconds since the marker was modified; 0 without it and when it lies ahead.
    pub backend_age_seconds: Option<u64>,
    /// The machine.
    #[serde(default)]
    pub machine: MachineFigures,
}

impl Figures {
    /// The same without what is another one at every instant: the load of the machine, and the age but for its hours.
    #[must_use]
    pub fn lasting(self) -> Self {
        let backend_age_seconds = self.backend_age_hours().map(|hours| hours * 3600);
        Self { backend_age_seconds, machine: MachineFigures::default(), ..self }
    }

    /// Whole hours since the marker was modified.
    pub fn backend_age_hours(&self) -> Option<u64> {
        self.backend_age_seconds.map(|seconds| seconds / 3600)
    }

    /// Milestones + 2 × kiro + dependencies + 3 × team.
    pub fn complexity_score(&self) -> Option<u64> {
        let (store, log) = (self.store?, self.log?);
        let kiro = store.kiro_enabled_count.saturating_mul(2);
        let team = log.team_size.saturating_mul(3);
        let sum = store.milestone_count.saturating_add(kiro).saturating_add(store.dependency_count);
        Some(sum.saturating_add(team))
    }

    /// Distinct users of the last hour.
    pub fn concurrent_users(&self) -> Option<u64> {
        self.log.map(|log| log.concurrent_users)
    }

    /// Milestones that count.
    pub fn milestone_count(&self) -> Option<u64> {
        self.store.map(|store| store.milestone_count)
    }

    /// Mean of the last ten queries in milliseconds.
    pub fn recent_query_time(&self) -> Option<i64> {
        self.log.map(|log| log.query.recent)
    }
}

/// Why a figure is not of now.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stale {
    /// The source that cannot be read: a path in the workspace, or what else it is.
    pub source: String,
    /// Why it cannot be read, and what to do.
    pub reason: String,
}

/// Everything that one decision is made from, read at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// When.
    pub now: Timestamp,
    /// The backend in use; `None` where none is known.
    pub current: Option<Backend>,
    /// Why nothing may be decided although figures may be there (a marker that names no backend).
    pub undecidable: Option<String>,
    /// The figures.
    pub figures: Figures,
    /// Sources that could not be read; empty when all figures are of now.
    pub stale: Vec<Stale>,
}

/// What came before an observation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// `avg_query_time_ms` of the last metrics entries, oldest first.
    pub query_times: Vec<Decimal>,
}
