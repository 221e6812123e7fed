//! A restore: the milestones are moved to the store that the backup was taken of, and there made what the backup says. What
//! that displaces is kept, and backed up first.

use std::collections::HashSet;

use milescale_core::backend::{Backend, Engine, InUse};
use milescale_core::id::Id;
use milescale_storage::backup::{Backup, Metadata};
use milescale_storage::error::Problem;
use milescale_storage::store::{Draft, Milestone, Seen, Store};

use crate::backup;
use crate::context::{Context, Error};
use crate::level::there;
use crate::told::word;

/// How often a milestone that somebody writes just now is tried.
const TRIES: usize = 20;

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The store in use by then.
    pub into: InUse,
    /// The backup of what was there before.
    pub displaced: String,
    /// Milestones that were written.
    pub written: u64,
    /// Milestones that were taken out, for the backup has none of them.
    pub taken_out: u64,
}

/// The store that a word of BACKUP_ID means.
pub fn store_of(word: &str) -> Option<InUse> {
    Some(match word {
        "file" => InUse { backend: Backend::File, engine: None },
        "hybrid" => InUse { backend: Backend::Hybrid, engine: None },
        "sqlite" => InUse::new(Backend::Database, Engine::Sqlite),
        "postgresql" => InUse::new(Backend::Database, Engine::Postgresql),
        _ => return None,
    })
}

/// Makes the store in use what a backup says. The caller holds the migration's lock and has moved the milestones to the
/// store that the backup was taken of.
///
/// # Errors
/// When the backup is damaged or holds what cannot be written: then nothing was changed. Later, some milestones are
/// restored and others not; it can be repeated.
pub fn restore(metadata: &Metadata, in_use: InUse, context: &mut Context<'_>) -> Result<Restored, Error> {
    let source = Backup::open(context.workspace, metadata)?;
    check(&source, context)?;
    let mut target = context.open(in_use)?;
    let displaced = keep_what_is_there(&mut *target, in_use, context)?;
    let mut restored = Restored { into: in_use, displaced, written: 0, taken_out: 0 };
    for name in source.ids() {
        context.go_on()?;
        let Ok(id) = name.parse::<Id>() else { continue };
        if write(&source.get(name)?, &id, &mut *target, context)? {
            restored.written += 1;
        }
    }
    let wanted: HashSet<&str> = source.ids().collect();
    for id in target.ids()?.into_iter().filter(|id| !wanted.contains(id.as_str())) {
        context.go_on()?;
        let Ok(id) = id.parse::<Id>() else { continue };
        if let Some(there) = there(target.get(&id))? {
            target.remove(&id, there.digest(), context.now())?;
            restored.taken_out += 1;
        }
    }
    target.derive((context.clock)())?;
    Ok(restored)
}

/// Refuses a backup with a milestone that cannot be written, before anything is.
fn check(source: &Backup, context: &Context<'_>) -> Result<(), Error> {
    for id in source.ids() {
        let milestone = source.get(id)?;
        let place = milestone.place.clone();
        Draft::of(milestone, context.now())
            .map_err(|flaw| Error::Refused(format!("{place}: {id}: {flaw}; nothing was restored")))?;
    }
    Ok(())
}

fn keep_what_is_there(target: &mut dyn Store, in_use: InUse, context: &mut Context<'_>) -> Result<String, Error> {
    let from = word(in_use);
    Ok(backup::take(target, (from, from), context, &mut |_, _| None)?.id)
}

/// Writes one milestone, whatever stands there; what it displaces is kept by the store. Whether it was another one.
fn write(wanted: &Milestone, id: &Id, target: &mut dyn Store, context: &Context<'_>) -> Result<bool, Error> {
    let draft = Draft::of(wanted.clone(), context.now()).map_err(|flaw| Error::Refused(format!("{id}: {flaw}")))?;
    let mut tries = 0;
    loop {
        let there = there(target.get(id))?;
        if there.as_ref().is_some_and(|there| there.text == draft.text) {
            return Ok(false);
        }
        let seen = there.map_or(Seen::Nothing, |there| Seen::Text(there.digest()));
        match target.put(&draft, seen) {
            Ok(()) => return Ok(true),
            Err(error) if matches!(error.problem, Problem::Changed | Problem::Busy) && tries < TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}
