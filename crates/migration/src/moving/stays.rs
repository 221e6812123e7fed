//! Whether what was written into a database stands there: a trigger, or a constraint, may take out one milestone when another one is written.

use std::collections::BTreeSet;

use milescale_core::backend::InUse;
use milescale_document::id::Id;
use milescale_workspace::record::Old;

use super::pace::Pace;
use super::{Moving, sweep_target};
use crate::context::Error;
use crate::level::{Pair, there};
use crate::sweep::Holding;
use crate::{compare, copy};

impl Moving<'_, '_> {
    /// Compares once more where something differed, and was written since.
    ///
    /// # Errors
    /// That a milestone does not stay: then there is no switch.
    pub(super) fn stays(
        &mut self,
        pair: &mut Pair<'_>,
        mut differed: BTreeSet<String>,
        (old, how): (&Option<Old>, (InUse, Holding)),
        pace: &mut Pace,
    ) -> Result<(), Error> {
        let compared = compare::compare(pair, self.context, &mut |phase, done| pace.told(phase, done))?;
        let mut open = compared.differing;
        differed.extend(open.iter().cloned());
        copy::settle_all(pair, self.context, &mut open, &mut |pair, context| {
            sweep_target(old.as_ref(), how, pair, context)
        })?;
        let lost = missing(pair, &differed)?;
        if lost.is_empty() {
            return Ok(());
        }
        // One may have come just now.
        copy::settle(pair, self.context, &mut lost.clone())?;
        let lost = missing(pair, &differed)?;
        let Some(first) = lost.first() else { return Ok(()) };
        Err(Error::Refused(format!(
            "{}: not all milestones that were written there stay ({first}): a trigger or a constraint of the table takes one out when another \
             one is written. Drop that, or use another table",
            pair.target.name(),
        )))
    }
}

/// Those of these milestones that the source has and the target has not.
fn missing(pair: &mut Pair<'_>, of: &BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
    let known: BTreeSet<String> = pair.target.ids()?.into_iter().collect();
    let mut missing = BTreeSet::new();
    for id in of.iter().filter(|id| !known.contains(*id)) {
        let Ok(named) = id.parse::<Id>() else { continue };
        if there(pair.source.get(&named))?.is_some() && pair.target.archived(&named)?.is_none() {
            missing.insert(id.clone());
        }
    }
    Ok(missing)
}
