//! A store that a person has named by hand and that was proven to hold what the last one does: written down as a cutover, so
//! that the last one is an old store from then on, with what it holds as its base.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use milescale_core::backend::InUse;
use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::milestone::Milestone;
use milescale_storage::archived_before::ArchivedBefore;
use milescale_storage::ledger::{self, AT_ONCE, Known};
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::record::{Old, Record};

use crate::context::Error;
use crate::level::archived::known_as;
use crate::level::there_as;
use crate::retire::{dealt_with, watch_retired};
use crate::sweep::memory::Memory;

/// The store that was in use before.
#[derive(Debug)]
pub struct Last<'a> {
    /// Which one.
    pub in_use: InUse,
    /// The store, where its milestones are not the named one's too.
    pub store: Option<&'a mut dyn Store>,
    /// What it holds, all of it: equal to what the named store holds, or kept; or what the two have in common.
    pub contents: &'a HashMap<String, Content>,
    /// What lies in the archive for rows that the named store has archived: it was dealt with.
    pub archived: &'a [(String, Content)],
}

/// Writes it down. The number that it has among the cutovers. The caller holds the migration's lock, and has recovered.
///
/// # Errors
/// When it cannot be written: then the last store is in use as before.
pub fn follow(
    workspace: &Workspace,
    named: (InUse, &mut dyn Store),
    last: Last<'_>,
    now: Timestamp,
) -> Result<u64, Error> {
    let mut record = record(workspace)?;
    let (named, store) = named;
    if let Some(left) = last.store {
        let side = last.in_use.side();
        for other in record.old.iter().map(|old| old.side).filter(|other| *other != side && *other != named.side()) {
            ledger::copy(left.ledger()?, store.ledger()?, other)?;
        }
        ledger::copy_earlier(left.ledger()?, store.ledger()?)?;
        store.ledger()?.forget(side)?;
        let mut contents: Vec<_> = last.contents.iter().map(|(id, it)| (id.clone(), Known::from(*it))).collect();
        contents.extend(last.archived.iter().map(|(id, it)| (id.clone(), known_as(*it, true))));
        for contents in contents.chunks(AT_ONCE) {
            store.ledger()?.set(side, contents)?;
        }
        store.ledger()?.complete(side)?;
        store.refuse_writes(None)?;
        if let Some(old) = record.old.iter().find(|old| old.side == named.side()) {
            watch_retired(old, workspace, now, &mut |files| dealt_with(files, &mut *left))?;
        }
        if let Err(error) = left.leave() {
            tracing::warn!(%error, "the store that is left gets no mark");
        }
        if side == Side::Files {
            let same = last.archived.iter().map(|(id, _)| id.as_str()).collect();
            ArchivedBefore::note_read(workspace, record.epoch + 1, &same, last.contents)?;
        }
        leave(&mut record, workspace, (last.in_use, left.name()), named)?;
    }
    store.become_used()?;
    write_down(record, workspace, named)
}

/// Follows a store at a person's word, though the last one cannot be read now: it is an old store of whose contents nothing is
/// known from then on, so that whatever it holds otherwise is kept once it can be read again. `last` is what it was, and its
/// name. The number that the change has among the cutovers. The caller holds the migration's lock, and has recovered.
///
/// # Errors
/// When it cannot be written: then the last store is in use as before.
pub fn follow_unread(
    workspace: &Workspace,
    named: (InUse, &mut dyn Store),
    last: (InUse, String),
    now: Timestamp,
) -> Result<u64, Error> {
    let mut record = record(workspace)?;
    let (named, store) = named;
    // As an old store it may have refused writes.
    store.refuse_writes(None)?;
    // It is known by milescale's own tables from then on.
    store.adopt()?;
    let side = last.0.side();
    if side != named.side() {
        store.ledger()?.forget(side)?;
        if let Some(old) = record.old.iter().find(|old| old.side == named.side()) {
            // Whatever stands there otherwise was not dealt with, as far as anybody knows.
            watch_retired(old, workspace, now, &mut |files| Ok(standing(files, store)))?;
        }
        if side == Side::Files {
            ArchivedBefore::note_all(workspace, record.epoch + 1)?;
        }
        leave(&mut record, workspace, last, named)?;
    }
    store.become_used()?;
    write_down(record, workspace, named)
}

/// Those of these contents that the store holds.
fn standing(files: &[Milestone], store: &mut dyn Store) -> HashSet<String> {
    let stands = |file: &&Milestone| {
        let there = there_as(store, &file.id).ok().flatten();
        there.is_some_and(|there| there.text == file.text)
    };
    files.iter().filter(stands).map(|file| file.id.clone()).collect()
}

fn failed(workspace: &Workspace, error: &std::io::Error) -> Error {
    Error::own(&workspace.shown(&workspace.record()), error)
}

fn record(workspace: &Workspace) -> Result<Record, Error> {
    let record = Record::load(workspace).map_err(|error| failed(workspace, &error))?;
    if record.intent.is_some() {
        return Err(Error::Refused("a migration is under way; try again once it has ended".to_owned()));
    }
    Ok(record)
}

/// The last store is an old one from now on, and the named one is none any more.
fn leave(record: &mut Record, workspace: &Workspace, (was, name): (InUse, String), named: InUse) -> Result<(), Error> {
    let side = was.side();
    // What was said of it when it was an old store before says nothing now.
    Memory::forget(side, workspace).map_err(Error::Own)?;
    record.old.retain(|old| old.side != side && old.side != named.side());
    record.old.push(Old { side, was, name, epoch: record.epoch + 1, backup: None, retired: None });
    Ok(())
}

fn write_down(mut record: Record, workspace: &Workspace, named: InUse) -> Result<u64, Error> {
    record.epoch += 1;
    record.in_use = Some(named);
    if let Err(error) = record.save(workspace) {
        // It may be there all the same, and is what counts from then on.
        let is_there = |there: Record| there.epoch == record.epoch && there.in_use == record.in_use;
        if !Record::load(workspace).is_ok_and(is_there) {
            return Err(failed(workspace, &error));
        }
        tracing::warn!(%error, "the record of moves is written, and may not outlive a power cut");
    }
    Memory::forget(named.side(), workspace).map_err(Error::Own)?;
    Ok(record.epoch)
}
