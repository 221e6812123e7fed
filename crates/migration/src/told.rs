//! What a migration tells while it runs: data that becomes scale events, lines on a terminal, the service manager's status.

use std::time::Duration;

use milescale_core::backend::{Engine, InUse};
use milescale_core::base::Side;
use milescale_core::line::EventName;
use milescale_core::migration::Phase;
use serde_json::{Value, json};

/// Ids listed in one event; the rest is a count.
const LISTED: usize = 20;

/// How far a phase is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The phase.
    pub phase: Phase,
    /// Milestones done in it.
    pub done: u64,
    /// Milestones there are.
    pub total: u64,
    /// Milestones a second.
    pub per_second: f64,
    /// Seconds to go in this phase.
    pub seconds_left: u64,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A migration has begun.
    Started {
        /// From where.
        from: InUse,
        /// To where.
        to: InUse,
        /// Milestones there are.
        milestones: u64,
        /// Whether milescale began it by itself.
        automatic: bool,
    },
    /// How far it is.
    Progress(InUse, InUse, Progress),
    /// It is done.
    Completed {
        /// From where.
        from: InUse,
        /// To where.
        to: InUse,
        /// Milestones that were compared, on both sides.
        milestones: u64,
        /// Its backup.
        backup: Option<String>,
        /// Seconds that it took.
        seconds: f64,
        /// Milliseconds for which the milestone verbs were kept out.
        paused_ms: f64,
        /// How long each phase took.
        phases: Vec<(Phase, Duration)>,
    },
    /// It failed before the switch.
    Failed {
        /// From where.
        from: InUse,
        /// To where.
        to: InUse,
        /// Why.
        reason: String,
    },
    /// What an unfinished one left was cleared, or kept for a person.
    RolledBack {
        /// From where.
        from: InUse,
        /// To where.
        to: InUse,
        /// Why it was undone.
        reason: String,
        /// Whether its target is kept for a person to look at.
        target_kept: bool,
    },
    /// That failed.
    Stuck {
        /// From where.
        from: InUse,
        /// To where.
        to: InUse,
        /// Why, and what to do.
        reason: String,
    },
    /// A content is in conflict with what is current, and kept.
    Conflict {
        /// The milestone.
        id: String,
        /// Where it is kept.
        kept_as: String,
        /// Where it stood.
        place: String,
        /// Where what is current stands.
        current: String,
        /// Why it was not taken over.
        reason: String,
    },
    /// Changes of an old store that are in the store in use now.
    Imported(Side, Vec<String>),
    /// Changes of an old store that wait for a person.
    Held {
        /// The old store.
        side: Side,
        /// The milestones.
        ids: Vec<String>,
        /// Milestones of the same batch that were brought over before there were so many.
        imported_before: Vec<String>,
        /// Whether they appeared in a store that is retired.
        is_retired: bool,
    },
    /// Milestones of an old store that nothing is done about: their ids, and what was seen of them.
    Reported(Side, Vec<(String, String)>),
}

impl Told {
    /// The event that says it.
    pub fn event(&self) -> EventName {
        match self {
            Self::Started { .. } => EventName::MigrationStarted,
            Self::Progress(..) => EventName::MigrationProgress,
            Self::Completed { .. } => EventName::MigrationCompleted,
            Self::Failed { .. } => EventName::MigrationFailed,
            Self::RolledBack { .. } => EventName::MigrationRolledBack,
            Self::Stuck { .. } => EventName::MigrationStuck,
            Self::Conflict { .. } => EventName::WriteConflict,
            Self::Imported(..) => EventName::ChangesImported,
            Self::Held { .. } => EventName::ChangesHeld,
            Self::Reported(..) => EventName::ChangesReported,
        }
    }

    /// The event's details.
    pub fn details(&self) -> Value {
        let ways = |from: &InUse, to: &InUse| json!({ "from": word(*from), "to": word(*to) });
        let mut details = match self {
            Self::Started { from, to, .. }
            | Self::Progress(from, to, _)
            | Self::Completed { from, to, .. }
            | Self::Failed { from, to, .. }
            | Self::RolledBack { from, to, .. }
            | Self::Stuck { from, to, .. } => ways(from, to),
            _ => json!({}),
        };
        let more = match self {
            Self::Started { milestones, automatic, .. } => json!({ "milestones": milestones, "automatic": automatic }),
            Self::Progress(_, _, it) => json!({
                "phase": it.phase, "done": it.done, "total": it.total, "per_second": whole(it.per_second),
                "seconds_left": it.seconds_left,
            }),
            Self::Completed { milestones, backup, seconds, paused_ms, phases, .. } => json!({
                "milestones": milestones, "backup": backup, "duration_ms": whole(seconds * 1000.0),
                "paused_ms": whole(*paused_ms), "phases_ms": phases_ms(phases),
            }),
            Self::Failed { reason, .. } | Self::Stuck { reason, .. } => json!({ "reason": reason }),
            Self::RolledBack { reason, target_kept, .. } => json!({ "reason": reason, "target_kept": target_kept }),
            Self::Conflict { id, kept_as, place, current, reason } => {
                json!({ "id": id, "kept_as": kept_as, "place": place, "current": current, "reason": reason })
            }
            Self::Imported(side, ids) => {
                json!({ "side": side, "count": ids.len(), "ids": ids.iter().take(LISTED).collect::<Vec<_>>() })
            }
            Self::Held { side, ids, imported_before, is_retired } => json!({
                "side": side, "count": ids.len(), "ids": ids.iter().take(LISTED).collect::<Vec<_>>(),
                "imported_before": imported_before, "retired": is_retired,
            }),
            Self::Reported(side, seen) => {
                let listed = seen.iter().take(LISTED).map(|(id, what)| json!({ "id": id, "what": what }));
                json!({ "side": side, "count": seen.len(), "milestones": listed.collect::<Vec<_>>() })
            }
        };
        if let (Some(details), Value::Object(more)) = (details.as_object_mut(), more) {
            details.extend(more);
        }
        details
    }
}

/// A store's word in BACKUP_ID and events.
pub(crate) fn word(store: InUse) -> &'static str {
    store.backend.store_word(store.engine.unwrap_or(Engine::Sqlite))
}

/// The phases' words with their milliseconds.
fn phases_ms(phases: &[(Phase, Duration)]) -> Value {
    phases.iter().map(|(phase, took)| (phase.as_str().to_owned(), json!(whole(took.as_secs_f64() * 1000.0)))).collect()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a figure to be read, never negative")]
pub(crate) fn whole(number: f64) -> u64 {
    number.max(0.0).round() as u64
}
