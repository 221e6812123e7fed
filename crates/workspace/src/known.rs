//! What milescale's record says of a store, so that another one in its place is not taken for it.

use std::io;

use milescale_core::backend::InUse;
use milescale_core::base::Side;

use crate::Workspace;
use crate::record::{Intent, Record};

/// What the record says of the store of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is in use.
    InUse,
    /// It was in use before.
    Old,
    /// Nothing was moved here yet: whoever is in use was found so.
    Unwritten,
    /// Nothing, or it is just being filled.
    Not,
}

impl Known {
    /// What the record of a workspace says.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(workspace: &Workspace, side: Side) -> io::Result<Self> {
        let record = Record::load(workspace)?;
        let is_filled = |it: &Intent| it.to.side() == side && !it.target_was_old;
        Ok(if record.intent.as_ref().is_some_and(is_filled) {
            Self::Not
        } else if record.in_use.map(InUse::side) == Some(side) {
            Self::InUse
        } else if record.old.iter().any(|old| old.side == side) {
            Self::Old
        } else if record.in_use.is_none() {
            Self::Unwritten
        } else {
            Self::Not
        })
    }
}
