//! What of an old store may differ from its base.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::time::SystemTime;

use jiff::SignedDuration;
use milescale_core::base::{Content, Side};
use milescale_storage::files::Retired;
use milescale_storage::ledger::AT_ONCE;
use milescale_storage::store::{Store, Touched};

use super::Sweeper;
use super::memory::{NAMELESS, OfSide};
use crate::context::{Context, Error};
use crate::told::Told;

/// How long before the end of a retiring a file may have been written that its last look did not see.
const BEFORE: SignedDuration = SignedDuration::from_mins(10);

impl Sweeper {
    /// Finds what may differ from its base. What the store tells once is kept until it was dealt with.
    pub(super) fn find_candidates(
        &mut self,
        current: &mut dyn Store,
        memory: &mut OfSide,
        context: &mut Context<'_>,
    ) -> Result<(), Error> {
        // First, so that a change after it is seen by the look at everything or by the next one.
        match self.store.touched_in_archive((context.clock)()) {
            Ok(ids) => self.consider(ids),
            Err(error) => tracing::warn!(%error, "changes in the archive are not seen until it can be read"),
        }
        match self.store.touched((context.clock)())? {
            Touched::Ids(ids) => self.consider(ids),
            Touched::Everything => self.all = true,
        }
        if self.all {
            self.name_nameless(memory, context)?;
            let of = (self.side(), self.is_retired());
            let differing = all_differing(&mut *self.store, of, current, context)?;
            self.consider(differing.ids);
            // What waits may have been put back: then it differs no more.
            self.consider(memory.held.keys().cloned());
            self.all = false;
        }
        if self.old.watches_retired_files(context.now())
            && let Some(since) = self.old.retired_at().and_then(|at| SystemTime::try_from(at - BEFORE).ok())
        {
            let retired = Retired::open(context.workspace, &self.old.epoch.to_string())?;
            self.consider(retired.written_since(since));
        }
        Ok(())
    }

    /// Names rows that no id can name, each state of them once.
    fn name_nameless(&mut self, memory: &mut OfSide, context: &mut Context<'_>) -> Result<(), Error> {
        let nameless = self.store.nameless()?;
        if let Some(why) = nameless.as_ref().filter(|_| memory.nameless != nameless) {
            let what = format!("it cannot be brought over: {why}");
            (context.tell)(Told::Reported(self.side(), vec![(NAMELESS.to_owned(), what)]));
        }
        memory.nameless = nameless;
        Ok(())
    }
}

/// What of an old store is not as its base says.
#[derive(Debug, Default)]
pub(super) struct Differing {
    pub(super) ids: BTreeSet<String>,
    /// Those among them that stand several times.
    pub(super) doubled: BTreeSet<String>,
}

/// All of an old store, compared with its base.
pub(super) fn all_differing(
    store: &mut dyn Store,
    (side, is_retired): (Side, bool),
    current: &mut dyn Store,
    context: &Context<'_>,
) -> Result<Differing, Error> {
    let (mut differing, mut there_are, mut batch) = (Differing::default(), HashSet::new(), Vec::new());
    let mut failed = Ok(());
    let mut compare = |batch: &mut Vec<(String, Content)>| -> Result<(), Error> {
        context.go_on()?;
        let ids: Vec<String> = batch.iter().map(|(id, _)| id.clone()).collect();
        let known = current.ledger()?.bases(side, &ids)?;
        for (id, content) in batch.drain(..) {
            if known.get(&id).is_none_or(|known| known.content.text != content.text) {
                differing.ids.insert(id);
            }
        }
        Ok(())
    };
    store.scan_contents(&mut |id, content| {
        if !there_are.insert(id.clone()) {
            differing.doubled.insert(id.clone());
        }
        batch.push((id, content));
        if batch.len() >= AT_ONCE {
            failed = compare(&mut batch);
        }
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed?;
    compare(&mut batch)?;
    differing.ids.extend(differing.doubled.iter().cloned());
    // What was retired is gone from its place.
    if is_retired {
        return Ok(differing);
    }
    let mut after: Option<String> = None;
    loop {
        let page = current.ledger()?.page(side, after.as_deref(), AT_ONCE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        differing.ids.extend(page.into_iter().map(|(id, _)| id).filter(|id| !there_are.contains(id)));
    }
    Ok(differing)
}
