//! Things that happened and are worth a line: each becomes one scale event and one log line.

use milescale_core::backend::InUse;
use milescale_core::config::Problem;
use milescale_core::line::EventName;
use milescale_document::document::Flaw;
use milescale_sensing::log::BadLines;
use milescale_storage::store::Difference;
use serde_json::{Value, json};

/// Paths listed in one event; the rest is a count.
const LISTED: usize = 20;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Note {
    BackendChanged {
        from: InUse,
        to: InUse,
        adopted: bool,
        reason: String,
    },
    SourceUnavailable {
        source: String,
        reason: String,
    },
    SourceRecovered {
        source: String,
    },
    /// Paths as people read them.
    MilestonesUnparsable(Vec<(String, Flaw)>),
    MilestonesMended(Vec<String>),
    LogLinesUnreadable {
        file: String,
        bad: BadLines,
    },
    ConfigReloaded {
        file: String,
        changed: Vec<&'static str>,
        from_defaults: bool,
    },
    ConfigRejected {
        file: String,
        problems: Vec<Problem>,
    },
    StateUnreadable {
        reason: String,
        kept_as: String,
    },
    IndexMended(Vec<Difference>),
    /// A milestone, and where the content in conflict is kept.
    WriteConflict {
        id: String,
        kept_as: String,
        reason: &'static str,
    },
}

impl Note {
    /// The event that says it.
    pub(crate) fn event(&self) -> EventName {
        match self {
            Self::BackendChanged { .. } => EventName::BackendChanged,
            Self::SourceUnavailable { .. } => EventName::SourceUnavailable,
            Self::SourceRecovered { .. } => EventName::SourceRecovered,
            Self::MilestonesUnparsable(_) => EventName::MilestonesUnparsable,
            Self::MilestonesMended(_) => EventName::MilestonesMended,
            Self::LogLinesUnreadable { .. } => EventName::LogLinesUnreadable,
            Self::ConfigReloaded { .. } => EventName::ConfigReloaded,
            Self::ConfigRejected { .. } => EventName::ConfigRejected,
            Self::StateUnreadable { .. } => EventName::StateUnreadable,
            Self::IndexMended(_) => EventName::IndexMended,
            Self::WriteConflict { .. } => EventName::WriteConflict,
        }
    }

    /// The event's details.
    pub(crate) fn details(&self) -> Value {
        match self {
            Self::BackendChanged { from, to, adopted, reason } => {
                json!({ "from": from.backend, "to": to.backend, "from_engine": from.engine, "to_engine": to.engine,
                        "adopted": adopted, "reason": reason })
            }
            Self::SourceUnavailable { source, reason } => json!({ "source": source, "reason": reason }),
            Self::SourceRecovered { source } => json!({ "source": source }),
            Self::MilestonesUnparsable(flawed) => {
                let listed: Vec<Value> = flawed
                    .iter()
                    .take(LISTED)
                    .map(|(path, flaw)| {
                        let position = flaw.position;
                        json!({ "path": path, "line": position.map(|it| it.line),
                                "column": position.map(|it| it.column), "reason": flaw.reason })
                    })
                    .collect();
                json!({ "count": flawed.len(), "milestones": listed })
            }
            Self::MilestonesMended(paths) => {
                json!({ "count": paths.len(), "paths": paths.iter().take(LISTED).collect::<Vec<_>>() })
            }
            Self::LogLinesUnreadable { file, bad } => json!({ "file": file, "count": bad.count, "lines": bad.lines }),
            Self::ConfigReloaded { file, changed, from_defaults } => {
                json!({ "file": file, "changed": changed, "defaults": from_defaults })
            }
            Self::ConfigRejected { file, problems } => {
                let first = problems.first().and_then(|problem| problem.position);
                json!({ "file": file, "line": first.map(|it| it.line), "column": first.map(|it| it.column),
                        "problems": problems.iter().take(LISTED).map(ToString::to_string).collect::<Vec<_>>() })
            }
            Self::IndexMended(differences) => {
                json!({ "count": differences.len(), "milestones": differences.iter().take(LISTED).collect::<Vec<_>>() })
            }
            Self::WriteConflict { id, kept_as, reason } => json!({ "id": id, "kept_as": kept_as, "reason": reason }),
            Self::StateUnreadable { reason, kept_as } => json!({ "reason": reason, "kept_as": kept_as }),
        }
    }

    /// Writes the log line.
    pub(crate) fn log(&self) {
        let (event, details) = (self.event().as_str(), self.details());
        match self {
            Self::SourceRecovered { .. } | Self::MilestonesMended(_) | Self::ConfigReloaded { .. } => {
                tracing::info!(%details, "{event}");
            }
            Self::BackendChanged { adopted: true, .. } => tracing::info!(%details, "{event}"),
            _ => tracing::warn!(%details, "{event}"),
        }
    }
}
