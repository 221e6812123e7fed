//! Whether a store that a workspace knows is there, and for whom: "gone", "away" and "closed to this user" are three answers.

use milescale_core::base::Side;
use milescale_workspace::error::Problem;

use crate::store::Store;

/// Whether a store exists, as far as this user is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    There,
    /// It does not, or another store has its address.
    Gone,
    /// It cannot be reached, or is not to be read as a store, for this reason: a person may know that it is gone.
    Away(String),
    /// It is there, or its server answers, and does not let this user see it, for this reason. That is no sign of its being gone.
    Closed(String),
}

impl Presence {
    /// Asks the store.
    pub fn of(store: &mut dyn Store, side: Side) -> Self {
        let asked = store.exists().and_then(|exists| Ok(exists && store.is_another()?.is_none()));
        match asked {
            Ok(true) => Self::There,
            Ok(false) => Self::Gone,
            // Of a file it is known whether it is there. One that this user may not read can be all that there is of its milestones.
            Err(error) => match (error.problem, side) {
                (Problem::Corrupt, _) | (Problem::Unavailable, Side::Postgresql) => Self::Away(error.to_string()),
                _ => Self::Closed(error.to_string()),
            },
        }
    }

    /// Whether a person's word that it is gone is taken.
    pub fn may_be_gone(&self) -> bool {
        matches!(self, Self::Gone | Self::Away(_))
    }
}
