//! A workspace that may be a copy, or whose server went back: what concerns a server waits until a person says what it is.

use milescale_core::backend::{Backend, Engine, InUse};
use milescale_core::base::Side;
use milescale_workspace::durable;
use milescale_workspace::error::Problem;
use milescale_workspace::identity::{Identity, Settled};
use milescale_workspace::record::Record;
use milescale_workspace::switch;

use crate::context::{Context, Error};

/// Whether anything of this workspace's is on a shared server, as far as its record and the store in use say.
fn is_shared(record: &Record, in_use: Option<InUse>) -> bool {
    let intent = record.intent.iter().flat_map(|intent| [intent.from, intent.to]);
    let stores = intent.chain(record.in_use).chain(in_use).chain(record.old.iter().map(|old| old.was));
    stores.map(InUse::side).any(|side| side == Side::Postgresql)
}

fn server() -> InUse {
    InUse::new(Backend::Database, Engine::Postgresql)
}

/// Refuses to undo or to finish what a move did on a server, where this workspace may not write there: it may be a copy
/// made in the middle of the move, and its original goes on with it. Nothing is changed then.
pub(crate) fn leave_the_original_alone(context: &Context<'_>) -> Result<(), Error> {
    let workspace = context.workspace;
    let failed = |error: std::io::Error| Error::own(&workspace.shown(&workspace.identity()), &error);
    if Identity::of(workspace).map_err(failed)?.is_some() {
        // A new place that raises no doubt is remembered, and a copy that has nothing on a server is a workspace.
        Identity::of_or_drawn(workspace).map_err(failed)?;
    }
    let record = context.record()?;
    match record.intent {
        Some(intent) if intent.to.side() == Side::Postgresql => {
            let mut store = context.open(intent.to)?;
            // A server that lets nobody in, or that nobody has consented to, is no reason to go on either.
            match store.exists().and_then(|_| store.standing()) {
                Err(error) if error.problem == Problem::Refused => Err(error.into()),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Why this workspace may not write on its server; `None`: it may, or has nothing on one.
///
/// # Errors
/// When the record cannot be read, or the server not asked.
pub fn in_question(in_use: Option<InUse>, context: &Context<'_>) -> Result<Option<String>, Error> {
    if !is_shared(&context.record()?, in_use) {
        return Ok(None);
    }
    match context.open(server())?.standing() {
        Err(error) if error.problem == Problem::Refused => Ok(Some(error.to_string())),
        other => other.map(|()| None).map_err(Error::from),
    }
}

/// This workspace goes on with its number and with what stands on the server; a copy of it is refused from then on. Where that is no
/// store in use, what it holds may be of before, and nobody's edit: it has no base any more, and where it differs both are kept. The caller holds the migration's lock.
///
/// # Errors
/// When the server cannot be reached: then nothing is changed.
pub fn go_on(in_use: Option<InUse>, context: &Context<'_>) -> Result<(), Error> {
    let mut store = is_shared(&context.record()?, in_use).then(|| context.open(server())).transpose()?;
    let is_there = store.as_mut().map_or(Ok(false), |store| store.exists())?;
    settle(Settled::GoesOn, context)?;
    let Some(store) = store.as_mut().filter(|_| is_there) else { return Ok(()) };
    // Whether it went back, is another one of a dump, or was written by a copy, nobody can tell for sure.
    if let Some(in_use) = in_use.filter(|in_use| in_use.side() != Side::Postgresql) {
        context.open(in_use)?.ledger()?.forget(Side::Postgresql)?;
    }
    store.take_over().map(drop).map_err(Error::from)
}

/// This workspace is another one from now on: it gets a number of its own and lets go what its original has on the server.
/// The caller holds the migration's lock.
///
/// # Errors
/// When milescale's own files cannot be written: then it is asked again.
pub fn separate(context: &Context<'_>) -> Result<(), Error> {
    let workspace = context.workspace;
    let mut record = context.record()?;
    record.old.retain(|old| old.side != Side::Postgresql);
    if let Some(intent) = record.intent.take_if(|intent| intent.to.side() == Side::Postgresql)
        && let Some(prepared) = &intent.prepared
    {
        // A copy's own: its marker goes on naming what it named when it was copied.
        switch::discard(workspace, prepared).map_err(|error| Error::own("the prepared switch", &error))?;
    }
    context.save(&record)?;
    for path in [workspace.held(), workspace.sweeps()] {
        durable::remove(&path).map_err(|error| Error::own(&workspace.shown(&path), &error))?;
    }
    settle(Settled::Separate, context)
}

fn settle(settled: Settled, context: &Context<'_>) -> Result<(), Error> {
    let workspace = context.workspace;
    let done = Identity::settle(workspace, settled);
    done.map(drop).map_err(|error| Error::own(&workspace.shown(&workspace.identity()), &error))
}
