//! What stands in a target that is an old store, and was not brought over.

use std::collections::HashSet;

use milescale_core::base::Side;
use milescale_storage::ledger::AT_ONCE;
use milescale_storage::store::Store;
use milescale_workspace::record::Old;

use super::named;
use crate::context::{Context, Error};
use crate::copy::is_an_accident;
use crate::level::there_as;
use crate::plan::{Plan, Wish};
use crate::sweep::batch;
use crate::sweep::memory::Memory;
use crate::sweep::pending::{Pending, pending};

/// Obstacles that are named.
const NAMED: usize = 20;

pub(super) fn look(
    plan: &mut Plan,
    wish: &Wish,
    (old, ids): (&Old, &[String]),
    (source, target): (&mut dyn Store, &mut dyn Store),
    context: &Context<'_>,
) -> Result<(), Error> {
    let old = Old { retired: None, ..old.clone() };
    let Pending { in_the_way, changes, empty, gone, shared } = pending(&old, target, source, context)?;
    plan.hindered(&in_the_way[..in_the_way.len().min(NAMED)]);
    if in_the_way.len() > NAMED {
        let reason = format!("{} more milestones there cannot be brought over", in_the_way.len() - NAMED);
        plan.obstacle(&target.name(), None, reason, "mend the first, and plan again");
    }
    if !wish.restores && is_an_accident(gone.len() as u64, shared as u64) {
        let reason = format!(
            "{} of {shared} milestones that stand there are gone in {} ({}), and a move would take them out",
            gone.len(),
            source.name(),
            named(&gone)
        );
        let do_this = "put them back, from a backup or by `milescale restore`; or take them out there too, if they are meant \
                       to be gone";
        plan.obstacle(&target.name(), None, reason, do_this);
    }
    stays_for_others(plan, (ids, &changes), (source, target))?;
    if !empty.is_empty() {
        plan.notes.push(format!(
            "{} milestones are empty in {} ({}): they are written over, or taken out where {} has none of that id",
            empty.len(),
            target.name(),
            named(&empty),
            source.name()
        ));
    }
    brought_along(plan, wish, &old, (&changes, target), context)
}

/// Milestones that the move takes out there, and to which rows of other tables refer: nothing keeps these.
fn stays_for_others(
    plan: &mut Plan,
    (ids, changes): (&[String], &[String]),
    (source, target): (&mut dyn Store, &mut dyn Store),
) -> Result<(), Error> {
    let stay: HashSet<String> = source.ids()?.into_iter().chain(changes.iter().cloned()).collect();
    let go: Vec<String> = ids.iter().filter(|id| !stay.contains(*id)).cloned().collect();
    let mut referred = Vec::new();
    for ids in go.chunks(AT_ONCE) {
        referred.extend(target.referred(ids)?);
    }
    let named = referred.iter().take(NAMED);
    for (id, table) in named {
        let reason = format!(
            "rows of the table {table} there refer to {id}, which is gone in {}, and would go with it, or keep it there",
            source.name()
        );
        plan.obstacle(
            &target.name(),
            None,
            reason,
            "take these rows out, or let them refer to something else; or put the milestone back",
        );
    }
    Ok(())
}

/// Changes at which the move would fail, as the last sweep did: they are as they were then.
fn refused(
    plan: &mut Plan,
    old: &Old,
    (changes, target): (&[String], &mut dyn Store),
    memory: &Memory,
) -> Result<(), Error> {
    let failing = memory.failing(old.side).filter(|(id, _)| changes.iter().any(|change| change == id));
    for (id, failing) in failing.take(NAMED) {
        let now = there_as(target, id)?;
        if now.map(|now| now.digest()) == failing.text {
            let reason = format!("what {id} has there cannot be brought over: {}", failing.why);
            let do_this = format!("mend that, or put back in {} what it had before", old.name);
            plan.obstacle(&old.name, None, reason, &do_this);
        }
    }
    Ok(())
}

/// Changes that the move brings over: whoever asks for it is told before.
fn brought_along(
    plan: &mut Plan,
    wish: &Wish,
    old: &Old,
    (changes, target): (&[String], &mut dyn Store),
    context: &Context<'_>,
) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    let memory = Memory::load(context.workspace).map_err(Error::Own)?;
    refused(plan, old, (changes, target), &memory)?;
    let held: Vec<String> = changes.iter().filter(|id| memory.holds(old.side, id)).cloned().collect();
    let what = format!("{} changes in {} are not brought over yet ({})", changes.len(), old.name, named(changes));
    let is_batch = old.side == Side::Files && changes.len() > batch::AT_MOST;
    if wish.automatic && (!held.is_empty() || is_batch) {
        let do_this = "`milescale import` brings them over; or put back what stood there";
        plan.obstacle(&plan.target.clone(), None, format!("{what}, and wait for a person"), do_this);
        return Ok(());
    }
    let waits = match held.len() {
        0 => String::new(),
        count => format!("; {count} of them wait for `milescale import` ({})", named(&held)),
    };
    plan.notes.push(format!("{what}: they come with this move{waits}"));
    Ok(())
}
