//! Retiring an old store: it refuses writes with a message, is not swept any more, and nothing of it is dropped.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use milescale_core::backend::InUse;
use milescale_core::base::Side;
use milescale_document::milestone::Milestone;
use milescale_storage::files;
use milescale_storage::ledger::{AT_ONCE, Earlier, Known, was_earlier};
use milescale_storage::presence::Presence;
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::error::StoreError;
use milescale_workspace::record::Old;

use crate::context::{Context, Error};
use crate::level::there_as;
use crate::recover::presence;
use crate::sweep::{Holding, Sweeper};

/// How long what was written last is waited for.
const STILL_WITHIN: Duration = Duration::from_secs(15);

/// How often files are moved that are saved again meanwhile.
const ROUNDS: usize = 5;

/// What a retired store says to who writes to it.
pub(crate) fn message(in_use: InUse) -> String {
    format!("{}{in_use}; this store is retired", files::NOTE_OF_RETIRING)
}

/// Moves the files of an old store to the retired ones. Each is judged with the content that was moved, and so is what is saved
/// under its name meanwhile: it is moved in turn.
pub(crate) fn retire_files(
    old: &Old,
    in_use: InUse,
    current: &mut dyn Store,
    note: &str,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    for _ in 0..ROUNDS {
        let moved = files::retire(context.workspace, &old.epoch.to_string(), note, context.now(), &mut |file| {
            let known = current.ledger()?.bases(Side::Files, std::slice::from_ref(&file.id))?;
            is_dealt_with(file, known.get(&file.id), &mut *current)
        })?;
        // A new look: what is not in its place any more is compared as it lies among the retired ones.
        let mut sweeper = Sweeper::new(old.clone(), context.open(old.was)?, in_use);
        let swept = sweeper.until_still(current, Holding::Nothing, STILL_WITHIN, context)?;
        if moved == 0 && swept.waiting == 0 {
            return Ok(());
        }
    }
    Err(Error::Refused(format!("{} is written to all the time; stop that first", old.name)))
}

/// Whether what a retired file holds is, or was, what both sides had in common.
pub(crate) fn is_dealt_with(
    file: &Milestone,
    known: Option<&Known>,
    current: &mut dyn Store,
) -> Result<bool, StoreError> {
    let is_base = known.is_some_and(|known| known.content.text == file.digest());
    Ok(is_base || was_earlier(current.ledger()?, Side::Files, file)? == Earlier::Yes)
}

/// What was written into files that are retired is brought into the store in use before it is left.
pub(crate) fn sweep_retired(
    old: &Old,
    in_use: InUse,
    current: &mut dyn Store,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    if files::Retired::of(context.workspace, old)?.is_none() {
        return Ok(());
    }
    let mut sweeper = Sweeper::new(old.clone(), context.open(old.was)?, in_use);
    sweeper.until_still(current, Holding::Batches, STILL_WITHIN, context).map(drop)
}

/// The ids of those of some retired files whose content is known elsewhere.
pub(crate) type DealtWith<'a> = dyn FnMut(&[Milestone]) -> Result<HashSet<String>, Error> + 'a;

/// Files are about to be in use, and the retired ones no old store any more: they are watched as what was displaced is.
pub(crate) fn watch_retired(
    old: &Old,
    workspace: &Workspace,
    now: Timestamp,
    dealt_with: &mut DealtWith<'_>,
) -> Result<(), Error> {
    let Some(retired) = files::Retired::of(workspace, old)? else { return Ok(()) };
    for ids in retired.ids().chunks(AT_ONCE) {
        let mut there = Vec::new();
        for id in ids.iter().filter_map(|id| id.parse().ok()) {
            there.extend(retired.get(&id)?);
        }
        let dealt_with = dealt_with(&there)?;
        for file in &there {
            retired.watch(file, dealt_with.contains(&file.id), now)?;
        }
    }
    Ok(retired.sync()?)
}

/// Those of these retired files that the store in use has dealt with, as its bases say.
pub(crate) fn dealt_with(files: &[Milestone], current: &mut dyn Store) -> Result<HashSet<String>, Error> {
    let ids: Vec<String> = files.iter().map(|file| file.id.clone()).collect();
    let bases = current.ledger()?.bases(Side::Files, &ids)?;
    let mut found = HashSet::new();
    for file in files {
        let is_known = is_dealt_with(file, bases.get(&file.id), current)?;
        if is_known || there_as(current, &file.id)?.is_some_and(|there| there.text == file.text) {
            found.insert(file.id.clone());
        }
    }
    Ok(found)
}

/// What retiring an old store came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retired {
    /// It refuses writes; so many last changes were brought over.
    After(u64),
    /// There was no such store any more: nothing of it could be brought over.
    Gone,
    /// It could not be asked, for this reason, and is gone as a person says.
    Unasked(String),
}

/// Retires an old store, after a last sweep. The caller holds the migration's lock. `is_gone`: a person says that it does not exist
/// any more; then it need not answer.
///
/// # Errors
/// When there is no such old store, when changes of it wait for a person, or it cannot be written; where it is there though it is to
/// be gone.
pub fn retire(
    (side, is_gone): (Side, bool),
    in_use: InUse,
    held: u64,
    context: &mut Context<'_>,
) -> Result<Retired, Error> {
    let mut record = context.record()?;
    if side == in_use.side() {
        return Err(Error::Refused(format!("{in_use} is in use, and no old store that could be retired")));
    }
    let Some(old) = record.swept().find(|old| old.side == side).cloned() else {
        let is_retired = record.old.iter().any(|old| old.side == side);
        let why = if is_retired { "is retired already" } else { "is no old store that could be retired" };
        return Err(Error::Refused(format!("{side} {why}")));
    };
    if held > 0 {
        return Err(Error::Refused(format!(
            "{held} changes in {} wait for a person: say `milescale import` first, or put the files back",
            old.name
        )));
    }
    let retired = if is_gone { retire_gone(&old, context)? } else { retire_known(&old, in_use, context)? };
    let stamp = context.stamp();
    for it in record.old.iter_mut().filter(|it| it.side == side) {
        it.retired = Some(stamp.clone());
    }
    context.save(&record)?;
    Ok(retired)
}

/// One that does not exist any more, as a person says. Another store that stands at its address now is none of ours.
fn retire_gone(old: &Old, context: &Context<'_>) -> Result<Retired, Error> {
    let (side, name) = (old.side, &old.name);
    match presence(old.was, context) {
        Presence::There => {
            Err(Error::Refused(format!("{name} is there, and not gone; `milescale retire {side}` retires it")))
        }
        Presence::Closed(why) => Err(Error::Refused(format!("{name} is not gone, but closed to this user. {why}"))),
        Presence::Gone => Ok(Retired::Gone),
        Presence::Away(why) => Ok(Retired::Unasked(why)),
    }
}

fn retire_known(old: &Old, in_use: InUse, context: &mut Context<'_>) -> Result<Retired, Error> {
    let mut store = context.open(old.was)?;
    let end = format!("Where it is gone for good, `milescale retire {} --gone` ends it", old.side);
    let gone = |error: StoreError| StoreError { cause: format!("{}. {end}", error.cause), ..error };
    if let Some(why) = store.is_another().map_err(gone)? {
        let (place, name) = (store.name(), &old.name);
        return Err(Error::Refused(format!("{place}: {why}; put back what named the old store {name}. {end}")));
    }
    if store.exists().map_err(gone)? { retire_existing(old, store, in_use, context) } else { Ok(Retired::Gone) }
}

fn retire_existing(
    old: &Old,
    store: Box<dyn Store>,
    in_use: InUse,
    context: &mut Context<'_>,
) -> Result<Retired, Error> {
    let mut current = context.open(in_use)?;
    let mut sweeper = Sweeper::new(old.clone(), store, in_use);
    let swept = sweeper.until_still(&mut *current, Holding::Batches, STILL_WITHIN, context)?;
    if swept.held > 0 {
        return Err(Error::Refused(format!("{} changes in {} wait for `milescale import`", swept.held, old.name)));
    }
    if swept.failing > 0 {
        return Err(Error::Refused(format!(
            "{} milestones in {} cannot be brought over; `milescale doctor` names them",
            swept.failing, old.name
        )));
    }
    if swept.waiting > 0 {
        return Err(Error::Refused(format!("{} is written to all the time; stop that first", old.name)));
    }
    let message = message(in_use);
    if old.side == Side::Files {
        retire_files(old, in_use, &mut *current, &format!("{message}\n"), context)?;
    } else {
        sweeper.store().refuse_writes(Some(&message))?;
    }
    Ok(Retired::After(swept.imported))
}
