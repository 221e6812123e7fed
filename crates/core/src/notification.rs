//! The notification of contract §7: what a recommendation that waits for a person says.

use jiff::Timestamp;
use milescale_document::timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Choice, Config};
use crate::decision::{Cause, Decision};
use crate::figures::Figures;

/// `config/migration-notification.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the keys are the contract's, section 7")]
pub struct Notification {
    pub migration_recommendation: Recommendation,
    pub metrics: Metrics,
    pub actions: Actions,
    pub risk_assessment: Risk,
}

/// What is recommended, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the keys are the contract's, section 7")]
pub struct Recommendation {
    pub timestamp: String,
    pub current_backend: String,
    pub recommended_backend: String,
    pub reason: String,
    pub confidence: u8,
}

/// The figures that it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the keys are the contract's, section 7")]
pub struct Metrics {
    pub milestone_count: Option<u64>,
    pub concurrent_users: Option<u64>,
    pub complexity_score: Option<u64>,
    pub avg_query_time_ms: Option<i64>,
}

/// What a person can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the keys are the contract's, section 7")]
pub struct Actions {
    pub manual_command: String,
    pub auto_enable: String,
}

/// What it would cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the keys are the contract's, section 7")]
pub struct Risk {
    pub migration_time_estimate: String,
    pub downtime_required: bool,
    pub rollback_available: bool,
}

/// What a notification says beside the figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// A command that works as it stands.
    pub command: String,
    /// Why `auto_migrate` does not carry it out, where it is on and that is not plain.
    pub why_not: Option<String>,
    /// How long it may take.
    pub estimate: String,
}

impl Notification {
    /// The notification of a decision that recommends; `None` for any other.
    pub fn of(now: Timestamp, config: &Config, decision: &Decision, figures: &Figures, said: Saying) -> Option<Self> {
        let (current, optimal) = decision.recommended_move()?;
        let causes: Vec<String> = decision.causes.iter().map(Cause::words).collect();
        let mut reason = causes.join("; ");
        if let Choice::Pinned(pinned) = config.backend {
            reason.push_str(&format!("; storage.backend pins {pinned}, so nothing moves by itself"));
        }
        if let Some(why_not) = &said.why_not {
            reason.push_str(&format!("; {why_not}"));
        }
        let auto_enable = if config.migration.auto_migrate {
            "auto_migrate is already on; reason says why it waits for you"
        } else {
            "set storage.migration.auto_migrate to true in .milestones/config/storage-config.yaml"
        };
        Some(Self {
            migration_recommendation: Recommendation {
                timestamp: timestamp::to_text(now),
                current_backend: current.as_str().to_owned(),
                recommended_backend: optimal.as_str().to_owned(),
                reason,
                confidence: decision.confidence?,
            },
            metrics: Metrics {
                milestone_count: figures.milestone_count(),
                concurrent_users: figures.concurrent_users(),
                complexity_score: figures.complexity_score(),
                avg_query_time_ms: figures.recent_query_time(),
            },
            actions: Actions { manual_command: said.command, auto_enable: auto_enable.to_owned() },
            risk_assessment: Risk {
                migration_time_estimate: said.estimate,
                downtime_required: false,
                rollback_available: true,
            },
        })
    }

    /// Whether two notifications say the same, their timestamps aside.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let mut other = other.clone();
        other.migration_recommendation.timestamp.clone_from(&self.migration_recommendation.timestamp);
        *self == other
    }
}
