//! What a move back would find in an old store: judged as a sweep judges it, and nothing is changed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;

use milescale_core::base::Verdict;
use milescale_storage::ledger::AT_ONCE;
use milescale_storage::store::Store;
use milescale_workspace::error::StoreError;
use milescale_workspace::record::Old;
use milescale_workspace::trial::Hindrance;

use super::candidates::all_differing;
use super::judged::{Finding, Judging};
use crate::context::{Context, Error};
use crate::level::there;

/// What of an old store differs, and what comes of it.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// What no sweep can take and no move can write over.
    pub(crate) in_the_way: Vec<Hindrance>,
    /// Changes that a move brings into the store in use before it goes back.
    pub(crate) changes: Vec<String>,
    /// Milestones that are empty there.
    pub(crate) empty: Vec<String>,
    /// Milestones that both sides had and the store in use has no more: a move takes them out there.
    pub(crate) gone: Vec<String>,
    /// Milestones that both sides had.
    pub(crate) shared: usize,
}

/// Judges all of an old store that is not as its base says, and what the store in use has gained since.
pub(crate) fn pending(
    old: &Old,
    store: &mut dyn Store,
    current: &mut dyn Store,
    context: &Context<'_>,
) -> Result<Pending, Error> {
    let differing = all_differing(store, (old.side, false), current, context)?;
    let mut ids = differing.ids;
    let (mut pending, gained) = against_bases(old, store, current)?;
    ids.extend(gained);
    let mut judging = Judging::begin(old, context.workspace, &*store, current)?;
    judging.duplicates = places(store, &differing.doubled)?;
    let ids = Vec::from_iter(ids);
    for ids in ids.chunks(AT_ONCE) {
        judging.read_bases(ids, current)?;
        for id in ids {
            context.go_on()?;
            match judging.judge(id, store, current) {
                Ok(judged) => match judged.finding {
                    Finding::Cannot(reason) => {
                        let (place, do_this) = (store.name(), String::new());
                        pending.in_the_way.push(Hindrance { place, reason, do_this });
                    }
                    Finding::Empty(_) => pending.empty.push(judged.id),
                    Finding::Verdict(verdict) if is_change(verdict) => pending.changes.push(judged.id),
                    Finding::Verdict(_) => {}
                },
                // Somebody writes it just now: the move looks again.
                Err(error) if error.is_passing() => {}
                Err(Error::Store(StoreError { place, cause: reason, .. })) => {
                    let do_this = "mend it there; where you may not read it, let its owner do that, or run this as that user. Where nobody \
                                   needs it, take it out"
                        .to_owned();
                    pending.in_the_way.push(Hindrance { place, reason, do_this });
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(pending)
}

fn is_change(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Import
        | Verdict::TakeText
        | Verdict::Insert
        | Verdict::Conflict
        | Verdict::ImportAndArchive
        | Verdict::KeepAndArchive => true,
        Verdict::Nothing
        | Verdict::Advance
        | Verdict::ReportGone
        | Verdict::Archive
        | Verdict::ReportEarlier
        | Verdict::ReportBack => false,
    }
}

/// The ids of the store in use against those that both sides had: what is gone there and stands in the old one; and what it has
/// and never had in common with that, where something else may stand under its id.
fn against_bases(
    old: &Old,
    store: &mut dyn Store,
    current: &mut dyn Store,
) -> Result<(Pending, HashSet<String>), Error> {
    let (mut pending, mut after) = (Pending::default(), None::<String>);
    let mut here: HashSet<String> = current.ids()?.into_iter().collect();
    loop {
        let page = current.ledger()?.page(old.side, after.as_deref(), AT_ONCE)?;
        let Some((last, _)) = page.last() else { return Ok((pending, here)) };
        after = Some(last.clone());
        pending.shared += page.len();
        for (id, _) in page {
            if here.remove(&id) {
                continue;
            }
            let Ok(named) = id.parse() else { continue };
            // What cannot be read there is named with its reason elsewhere.
            if there(store.get(&named)).is_ok_and(|there| there.is_some()) && current.held(&named)?.is_none() {
                pending.gone.push(id);
            }
        }
    }
}

/// Where ids stand that were read several times. One that was only being renamed stands in one place.
pub(crate) fn places(
    store: &mut dyn Store,
    doubled: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if doubled.is_empty() {
        return Ok(places);
    }
    store.scan_sizes(&mut |id, place, _| {
        if doubled.contains(&id) {
            places.entry(id).or_default().push(place);
        }
        ControlFlow::Continue(())
    })?;
    places.retain(|_, places| places.len() > 1);
    Ok(places)
}
