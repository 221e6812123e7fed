//! The phases of a migration and which of them may follow which: one table, used by the running migration and by the
//! recovery after a crash.

use serde::{Deserialize, Serialize};

/// How far a migration is. Each is written down before what it names begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The old store is backed up; nothing else has changed.
    BackingUp,
    /// The target is filled; nobody reads it.
    Copying,
    /// Both stores are read again and compared.
    Comparing,
    /// The marker is about to be renamed, or just was: the prepared file tells.
    Switching,
    /// The new store is in use; the old side's last writes are brought over.
    Sweeping,
    /// The migration failed before the switch; its target is being cleared.
    Scrapping,
    /// That failed too: a person has to look, and nothing more is tried.
    Stuck,
}

impl Phase {
    /// The word in records, events and status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackingUp => "backing_up",
            Self::Copying => "copying",
            Self::Comparing => "comparing",
            Self::Switching => "switching",
            Self::Sweeping => "sweeping",
            Self::Scrapping => "scrapping",
            Self::Stuck => "stuck",
        }
    }

    /// Whether the old store is still the one in use, as far as the phase tells.
    pub const fn is_before_switch(self) -> bool {
        matches!(self, Self::BackingUp | Self::Copying | Self::Comparing | Self::Switching)
    }
}

/// How a target is taken over that another program has filled: where it differs, one of the two is current afterwards, and the
/// other is kept as a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adopt {
    /// What the target holds.
    TargetWins,
    /// What the source holds.
    SourceWins,
}

/// What ends a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It did what it is for.
    Done,
    /// It failed, was stopped, or the process died in it before anything changed for others.
    Failed,
}

/// What comes after a phase; `Ok(None)`: the migration is over.
///
/// # Errors
/// For what may not be: a switch is never undone, and from [`Phase::Stuck`] only a person leads out.
pub fn next(phase: Phase, ended: Ended) -> Result<Option<Phase>, Illegal> {
    Ok(Some(match (phase, ended) {
        (Phase::BackingUp, Ended::Done) => Phase::Copying,
        (Phase::Copying, Ended::Done) => Phase::Comparing,
        (Phase::Comparing, Ended::Done) => Phase::Switching,
        (Phase::Switching, Ended::Done) => Phase::Sweeping,
        (Phase::BackingUp | Phase::Copying | Phase::Comparing | Phase::Switching, Ended::Failed) => Phase::Scrapping,
        (Phase::Sweeping | Phase::Scrapping, Ended::Done) => return Ok(None),
        (Phase::Scrapping, Ended::Failed) => Phase::Stuck,
        (Phase::Sweeping, Ended::Failed) | (Phase::Stuck, _) => return Err(Illegal { phase, ended }),
    }))
}

/// A step that no migration may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Illegal {
    phase: Phase,
    ended: Ended,
}

impl std::fmt::Display for Illegal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "nothing may follow {} that ended as {:?}", self.phase.as_str(), self.ended)
    }
}

impl std::error::Error for Illegal {}

#[cfg(test)]
mod tests {
    use super::{Ended, Phase, next};

    #[test]
    fn all_goes_one_way_and_a_switch_is_never_undone() {
        let mut phase = Phase::BackingUp;
        let mut way = vec![phase];
        while let Some(after) = next(phase, Ended::Done).unwrap() {
            if phase.is_before_switch() {
                assert_eq!(next(phase, Ended::Failed), Ok(Some(Phase::Scrapping)));
            }
            phase = after;
            way.push(phase);
        }
        assert_eq!(way.len(), 5);
        assert!(next(Phase::Sweeping, Ended::Failed).is_err());
        assert_eq!(next(Phase::Scrapping, Ended::Failed), Ok(Some(Phase::Stuck)));
        assert!(next(Phase::Stuck, Ended::Done).is_err() && next(Phase::Stuck, Ended::Failed).is_err());
    }
}
