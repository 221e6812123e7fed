//! The backup of a store in use: read in short pieces while others write, and consistent all the same, for what they
//! touched meanwhile is read again until nothing more was.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;

use milescale_core::id::Id;
use milescale_core::migration::Phase;
use milescale_storage::backup::{Metadata, Writer};
use milescale_storage::store::{Milestone, Store, Touched};

use crate::context::{Context, Error};
use crate::level::there;
use crate::told::Told;

/// How often what was touched meanwhile is read again at most: writers that never pause do not keep a backup from ending.
const PASSES: usize = 5;

/// Takes a backup of a store. `ways` are the words of BACKUP_ID; `total` is how many milestones to expect.
///
/// # Errors
/// When the store cannot be read, the disk does not take it, or somebody asked to stop: then nothing stays of it.
pub(crate) fn take(
    store: &mut dyn Store,
    ways: (&str, &str),
    restore: &str,
    context: &mut Context<'_>,
    progress: &mut dyn FnMut(Phase, u64) -> Option<Told>,
) -> Result<Metadata, Error> {
    let failed = |error: io::Error| Error::own("the backup cannot be written", &error);
    let mut writer = Writer::begin(context.workspace, ways.0, ways.1, context.now()).map_err(failed)?;
    match fill(store, &mut writer, context, progress) {
        Ok(count) => writer.finish(count, &store.name(), restore, ways, context.now()).map_err(failed),
        Err(error) => {
            if let Err(also) = writer.abandon() {
                tracing::warn!(%also, "what there is of the backup cannot be removed");
            }
            Err(error)
        }
    }
}

fn fill(
    store: &mut dyn Store,
    writer: &mut Writer,
    context: &mut Context<'_>,
    progress: &mut dyn FnMut(Phase, u64) -> Option<Told>,
) -> Result<u64, Error> {
    let failed = |error: io::Error| Error::own("the backup cannot be written", &error);
    store.touched((context.clock)())?;
    let (mut there_are, mut result): (HashSet<String>, Result<(), Error>) = (HashSet::new(), Ok(()));
    store.scan(&mut |milestone: Milestone| {
        result = context.go_on().and_then(|()| writer.add(&milestone).map_err(failed));
        there_are.insert(milestone.id);
        if let Some(told) = progress(Phase::BackingUp, there_are.len() as u64) {
            (context.tell)(told);
        }
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result?;
    for _ in 0..PASSES {
        let ids = match store.touched((context.clock)())? {
            Touched::Ids(ids) if ids.is_empty() => break,
            Touched::Ids(ids) => ids,
            Touched::Everything => store.ids()?.into_iter().collect(),
        };
        for id in ids {
            context.go_on()?;
            let Ok(named) = id.parse::<Id>() else { continue };
            match there(store.get(&named))? {
                Some(milestone) => {
                    writer.add(&milestone).map_err(failed)?;
                    there_are.insert(id);
                }
                None => {
                    writer.gone(&id).map_err(failed)?;
                    there_are.remove(&id);
                }
            }
        }
    }
    Ok(there_are.len() as u64)
}
