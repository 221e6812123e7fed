//! What is being brought over while a process may die.

use std::collections::{BTreeMap, BTreeSet};

use milescale_core::base::{Side, Verdict};
use milescale_storage::store::Store;

use super::judged::{Finding, Judged};
use super::memory::{Memory, OfSide};
use super::noted::is_noted_archived;
use crate::context::{Context, Error};
use crate::told::Told;

/// Notes durably what is about to be brought over, so that it is told even where this process dies in between.
pub(super) fn note(due: &[Judged], side: Side, memory: &mut Memory, context: &Context<'_>) -> Result<(), Error> {
    let is_brought = |judged: &&Judged| {
        let Finding::Verdict(verdict) = &judged.finding else { return false };
        matches!(verdict, Verdict::Import | Verdict::Insert | Verdict::TakeText | Verdict::ImportAndArchive)
    };
    let brought = due.iter().filter(is_brought).filter_map(|it| Some((it.id.clone(), it.content()?.value)));
    let brought: BTreeMap<_, _> = brought.collect();
    let is_archived = |judged: &&Judged| {
        matches!(judged.finding, Finding::Verdict(Verdict::Archive | Verdict::KeepAndArchive))
            && !judged.is_current_archived()
    };
    let archiving: BTreeSet<_> = due.iter().filter(is_archived).map(|it| it.id.clone()).collect();
    if brought.is_empty() && archiving.is_empty() {
        return Ok(());
    }
    let memory_of = memory.of(side);
    (memory_of.under_way, memory_of.archiving) = (brought, archiving);
    memory.save(context.workspace).map_err(Error::Own)
}

/// Bases that are asked for at once.
const ASKED_AT_ONCE: usize = 1000;

/// Tells what a process that died had brought over: its base says so.
pub(super) fn tell_what_was(
    side: Side,
    current: &mut dyn Store,
    memory: &mut OfSide,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    if memory.under_way.is_empty() && memory.archiving.is_empty() {
        return Ok(());
    }
    let mut brought = Vec::new();
    let mut ids = memory.under_way.keys().chain(&memory.archiving);
    // Whoever may write in the workspace may have written down any number of them.
    loop {
        let some: Vec<String> = ids.by_ref().take(ASKED_AT_ONCE).cloned().collect();
        if some.is_empty() {
            break;
        }
        let bases = current.ledger()?.bases(side, &some)?;
        let is_brought = |id: &String| {
            bases.get(id).is_some_and(|known| match memory.under_way.get(id) {
                Some(value) => known.content.value == *value,
                None => is_noted_archived(known.noted.as_deref()),
            })
        };
        brought.extend(some.into_iter().filter(is_brought));
        context.go_on()?;
    }
    if !brought.is_empty() {
        (context.tell)(Told::Imported(side, brought));
    }
    memory.under_way.clear();
    memory.archiving.clear();
    Ok(())
}
