//! A store that a person has named by hand and that was proven to hold what the last one does: written down as a cutover, so
//! that the last one is an old store from then on, with what it holds as its base.

use std::collections::HashMap;

use milescale_core::backend::InUse;
use milescale_core::base::{Content, Side};
use milescale_storage::archived_before::ArchivedBefore;
use milescale_storage::ledger::{self, AT_ONCE, Known};
use milescale_storage::record::{Old, Record};
use milescale_storage::store::Store;
use milescale_storage::workspace::Workspace;

use crate::context::Error;
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
}

/// Writes it down. The number that it has among the cutovers. The caller holds the migration's lock, and has recovered.
///
/// # Errors
/// When it cannot be written: then the last store is in use as before.
pub fn follow(workspace: &Workspace, named: (InUse, &mut dyn Store), last: Last<'_>) -> Result<u64, Error> {
    let failed = |error: std::io::Error| Error::own(&workspace.shown(&workspace.record()), &error);
    let mut record = Record::load(workspace).map_err(failed)?;
    if record.intent.is_some() {
        return Err(Error::Refused("a migration is under way".to_owned()));
    }
    let (named, store) = named;
    if let Some(left) = last.store {
        let side = last.in_use.side();
        for other in record.old.iter().map(|old| old.side).filter(|other| *other != side && *other != named.side()) {
            ledger::copy(left.ledger()?, store.ledger()?, other)?;
        }
        ledger::copy_earlier(left.ledger()?, store.ledger()?)?;
        store.ledger()?.forget(side)?;
        let contents: Vec<_> = last.contents.iter().map(|(id, it)| (id.clone(), Known::from(*it))).collect();
        for contents in contents.chunks(AT_ONCE) {
            store.ledger()?.set(side, contents)?;
        }
        store.ledger()?.complete(side)?;
        store.refuse_writes(None)?;
        if let Err(error) = left.leave() {
            tracing::warn!(%error, "the store that is left gets no mark");
        }
        let (epoch, name) = (record.epoch + 1, left.name());
        if side == Side::Files {
            ArchivedBefore::note(workspace, epoch)?;
        }
        // What was said of it when it was an old store before says nothing now.
        Memory::forget(side, workspace).map_err(Error::Own)?;
        record.old.retain(|old| old.side != side && old.side != named.side());
        record.old.push(Old { side, was: last.in_use, name, epoch, backup: None, retired: None });
    }
    record.epoch += 1;
    record.in_use = Some(named);
    if let Err(error) = record.save(workspace) {
        // It may be there all the same, and is what counts from then on.
        let is_there = |there: Record| there.epoch == record.epoch && there.in_use == record.in_use;
        if !Record::load(workspace).is_ok_and(is_there) {
            return Err(failed(error));
        }
        tracing::warn!(%error, "the record of moves is written, and may not outlive a power cut");
    }
    Memory::forget(named.side(), workspace).map_err(Error::Own)?;
    Ok(record.epoch)
}
