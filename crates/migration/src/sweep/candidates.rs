//! What of an old store may differ from its base.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::id::Id;
use milescale_storage::archive::Archive;
use milescale_storage::files::{Retired, Unlooked};
use milescale_storage::ledger::{AT_ONCE, Known};
use milescale_storage::store::{Store, Touched};
use milescale_workspace::looked::Looked;

use super::Sweeper;
use super::memory::{NAMELESS, OfSide};
use super::noted::is_looked_at_again;
use crate::context::{Context, Error};
use crate::level::{there, there_as};
use crate::retire::is_dealt_with;
use crate::told::Told;

/// How often all of an old store is looked at, at most, and how many times as long as that took lies between two looks. Nothing
/// tells of what a store in use lacks that went back: it was restored, with its bases. And triggers on a server tell nothing of
/// what a session writes that has them off, one that replicates, or restores a dump: so those looks are oftener.
const LOOK_AT_ALL_EVERY: Duration = Duration::from_secs(10);
const SHARE_OF_LOOKS: u32 = 500;
const SHARE_OF_LOOKS_AT_SERVERS: u32 = 200;

/// How often retired files are looked through at most.
const ASK_RETIRED_EVERY: Duration = Duration::from_secs(5);

/// What a sweeper knows of the files that were retired.
#[derive(Debug, Default)]
pub(super) struct AtRetired {
    /// When they were looked through last.
    asked: Option<Instant>,
    /// Which of them were looked at as they are, once that was asked for.
    looked: Option<Looked>,
    /// Those that are not dealt with.
    looking_at: Vec<(Unlooked, Due)>,
}

/// What is to be done about a retired file that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// It is dealt with as it is.
    Nothing,
    /// It is judged, if no other one comes into its place before that.
    Judging,
}

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
        if self.all || self.is_due_for_all() {
            let started = Instant::now();
            self.all = true;
            self.name_nameless(memory, context)?;
            let of = (self.side(), self.is_retired());
            let differing = all_differing(&mut *self.store, of, current, context)?;
            self.consider(differing.ids);
            // What waits may have been put back: then it differs no more.
            self.consider(memory.held.keys().cloned());
            self.all = false;
            self.looked = Some((Instant::now(), started.elapsed()));
        }
        if self.side() == Side::Files {
            self.find_in_retired(current, context)?;
        }
        Ok(())
    }

    /// Whether nothing but a look at all of the store would tell of some changes, and it is time for one.
    fn is_due_for_all(&self) -> bool {
        let is_server = self.side() == Side::Postgresql;
        let share = if is_server { SHARE_OF_LOOKS_AT_SERVERS } else { SHARE_OF_LOOKS };
        let is_asked = is_server || !self.is_retired();
        is_asked && self.looked.is_none_or(|(at, took)| at.elapsed() >= (took * share).max(LOOK_AT_ALL_EVERY))
    }

    /// Finds what was written into retired files, now and then: nothing tells of it.
    fn find_in_retired(&mut self, current: &mut dyn Store, context: &Context<'_>) -> Result<(), Error> {
        let is_soon = self.retired.asked.is_some_and(|asked| asked.elapsed() < ASK_RETIRED_EVERY);
        let retired = if is_soon { None } else { Retired::of(context.workspace, &self.old)? };
        // Without a base, what was retired would seem to differ.
        let Some(retired) = retired else { return Ok(()) };
        if !current.ledger()?.is_complete(self.side())? {
            return Ok(());
        }
        self.retired.asked = Some(Instant::now());
        let looked = self.retired.looked.get_or_insert_with(|| Looked::at_retired(context.workspace));
        let unlooked = retired.unlooked(looked);
        self.retired.looking_at.clear();
        for found in unlooked.chunks(AT_ONCE) {
            context.go_on()?;
            let ids: Vec<String> = found.iter().map(|it| it.id.clone()).collect();
            let bases = current.ledger()?.bases(Side::Files, &ids)?;
            for found in found {
                self.look_at_retired(&retired, found, bases.get(&found.id), current, context)?;
            }
        }
        Ok(())
    }

    fn look_at_retired(
        &mut self,
        retired: &Retired,
        found: &Unlooked,
        known: Option<&Known>,
        current: &mut dyn Store,
        context: &Context<'_>,
    ) -> Result<(), Error> {
        let Ok(id) = found.id.parse::<Id>() else { return Ok(()) };
        // What cannot be read is named when it is judged.
        if let Ok(Some(file)) = &retired.get(&id) {
            let is_base = known.is_some_and(|known| known.content.text == file.digest());
            // Where another one is in its place, that one is judged, and this one is kept unless it was dealt with.
            let is_beside = !is_base && there(self.store.get(&id))?.is_some();
            if is_beside && !is_dealt_with(file, known, current)? {
                retired.watch(file, false, context.now())?;
                // Before it is noted, which may outlive a power cut.
                retired.sync()?;
                self.retired.looked.iter_mut().for_each(|looked| found.note_watched(retired, looked));
                return Ok(());
            }
            if is_base || is_beside {
                self.retired.looking_at.push((found.clone(), Due::Nothing));
                return Ok(());
            }
        }
        self.consider([found.id.clone()]);
        self.retired.looking_at.push((found.clone(), Due::Judging));
        Ok(())
    }

    /// Notes which retired files were dealt with, as they were when they were found.
    pub(super) fn note_looked(&mut self, memory: &OfSide, context: &Context<'_>) {
        let Some(mut looked) = self.retired.looked.take() else { return };
        let mut looking_at = std::mem::take(&mut self.retired.looking_at);
        looking_at.retain(|(it, due)| {
            let waits = self.open.contains_key(&it.id) || memory.failing.contains_key(&it.id);
            // Where another one is in its place by now, that one may have been judged: this one is looked at once more.
            if !waits && (*due == Due::Nothing || matches!(there_as(&mut *self.store, &it.id), Ok(None))) {
                it.note(&mut looked, (context.clock)());
            }
            waits
        });
        self.retired.looking_at = looking_at;
        looked.keep();
        self.retired.looked = Some(looked);
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
            // What was archived for its file and stands in its place again was moved back; what was on its way to the archive in use
            // when something ended it is not there yet.
            let is_as_known = |known: &Known| known.content.text == content.text && !is_looked_at_again(known);
            if !known.get(&id).is_some_and(is_as_known) {
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
    // Without a base nothing tells what went from its place to the archive.
    if side == Side::Files && !current.ledger()?.is_complete(side)? {
        differing.ids.extend(Archive::new(context.workspace).ids()?.into_iter().filter(|id| !there_are.contains(id)));
    }
    let mut after: Option<String> = None;
    loop {
        context.go_on()?;
        let page = current.ledger()?.page(side, after.as_deref(), AT_ONCE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        differing.ids.extend(page.into_iter().map(|(id, _)| id).filter(|id| !there_are.contains(id)));
    }
    Ok(differing)
}
