//! What source and target themselves say against a move.

use milescale_core::migration::Adopt;
use milescale_document::id::Id;
use milescale_storage::store::{Part, Store};

use crate::context::{Context, Error};
use crate::level::{there, there_as};
use crate::moving::{adopt, holds};
use crate::plan::Plan;

/// Milestones that the target would refuse and that are named.
const NAMED: usize = 20;

/// Takes over into the plan what a store says of its part.
pub(super) fn look(plan: &mut Plan, store: &mut dyn Store, part: Part) {
    match store.against(part) {
        Ok(against) => {
            plan.hindered(&against.hindrances);
            plan.notes.extend(against.notes);
        }
        Err(error) => plan.obstacle(&error.place, None, error.cause, ""),
    }
}

/// Whether every milestone has to be tried on the target; not where something stands against it anyway.
pub(crate) fn has_to_try(target: &mut dyn Store) -> bool {
    target.can_be_filled().is_ok()
        && target.against(Part::Target).is_ok_and(|against| against.hindrances.is_empty())
        // What cannot be told is found out, and said, by the trial.
        && target.may_refuse().unwrap_or(true)
}

/// Names the milestones that the target would refuse.
pub(crate) fn refused(plan: &mut Plan, source: &mut dyn Store, refused: &[(String, String)]) {
    for (id, why) in refused.iter().take(NAMED) {
        let there = id.parse().ok().and_then(|id| source.get(&id).ok());
        let place = there.map_or_else(|| id.clone(), |there| there.place);
        let reason = format!("{} would refuse it: {why}", plan.target);
        plan.obstacle(&place, None, reason, "change the milestone, or what refuses it");
    }
    if refused.len() > NAMED {
        let reason = format!("it would refuse {} more milestones", refused.len() - NAMED);
        plan.obstacle(&plan.target.clone(), None, reason, "mend the first, and plan again");
    }
}

/// Plans to take over a target that another program has filled.
pub(super) fn adopt(
    plan: &mut Plan,
    how: Adopt,
    (source, target): (&mut dyn Store, &mut dyn Store),
    strange: &[String],
    context: &Context<'_>,
) -> Result<(), Error> {
    let (comparison, against) = adopt::compare(source, target, strange, context)?;
    plan.obstacles.extend(against);
    let kept = match how {
        Adopt::TargetWins => "the target's content stays, and the source's is kept as a conflict",
        Adopt::SourceWins => "the source's content is taken, and the target's is kept as a conflict",
    };
    plan.notes.push(format!(
        "{} is taken over: {} milestones are equal, {} are missing there and are inserted, {} are different ({kept}), {} \
         are in the target only and stay",
        target.name(),
        comparison.equal,
        comparison.missing,
        comparison.different,
        comparison.only_in_target
    ));
    plan.adopting = Some(comparison);
    Ok(())
}

/// Whether the source holds all that these milestones of the target do.
pub(super) fn are_held(
    source: &mut dyn Store,
    target: &mut dyn Store,
    strange: &[String],
    context: &Context<'_>,
) -> Result<bool, Error> {
    for id in strange {
        context.go_on()?;
        let Ok(named) = id.parse::<Id>() else { return Ok(false) };
        let Some(there) = there(target.get(&named))? else { continue };
        if !there_as(source, id)?.is_some_and(|ours| holds(&ours, &there)) {
            return Ok(false);
        }
    }
    Ok(true)
}
