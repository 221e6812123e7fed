//! The backup of a store in use: read in short pieces while others write, and consistent all the same, for what they
//! touched meanwhile is read again until nothing more was.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::ops::ControlFlow;

use milescale_core::backend::Engine;
use milescale_core::migration::Phase;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_storage::archive::Archive;
use milescale_storage::files::{readers_of_a_server, readers_of_all};
use milescale_storage::store::{Store, Touched};
use milescale_workspace::backup::{Backup, Metadata, Writer};

use crate::compare::hash;
use crate::context::{Context, Error};
use crate::level::{readable, there};
use crate::told::Told;

/// How often what was touched meanwhile is read again at most: writers that never pause do not keep a backup from ending.
const PASSES: usize = 5;

/// Takes a backup of a store, and of those milestones that lie in `completed/` and are in the backup that is to be `restored`; of
/// what else lies there it has the ids. `ways` are the words of BACKUP_ID.
///
/// # Errors
/// When the store cannot be read, the disk does not take it, or somebody asked to stop: then nothing stays of it.
pub(crate) fn take(
    store: &mut dyn Store,
    ways: (&str, &str),
    restored: Option<&Backup>,
    context: &mut Context<'_>,
    progress: &mut dyn FnMut(Phase, u64) -> Option<Told>,
) -> Result<Metadata, Error> {
    let folder = context.workspace.shown(&context.workspace.backups());
    let failed = |error: io::Error| Error::own(&format!("the backup cannot be written into {folder}"), &error);
    let readers = match ways.0.parse() {
        Ok(Engine::Postgresql) => readers_of_a_server(context.workspace),
        _ => readers_of_all(context.workspace)?,
    };
    let mut writer = Writer::begin(context.workspace, readers, ways.0, ways.1, context.now()).map_err(failed)?;
    match fill(store, &mut writer, restored, context, progress) {
        Ok(count) => writer.finish(count, &store.name(), ways, context.now()).map_err(failed),
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
    restored: Option<&Backup>,
    context: &mut Context<'_>,
    progress: &mut dyn FnMut(Phase, u64) -> Option<Told>,
) -> Result<u64, Error> {
    let failed = |error: io::Error| Error::own("the backup cannot be written", &error);
    store.touched((context.clock)())?;
    let mut archive = Archive::new(context.workspace);
    let mut in_archive = archived_ids(&archive);
    // What was written of each milestone, by short hashes: what is touched and the same is not written again.
    let (mut written, mut result): (HashMap<u64, u64>, Result<(), Error>) = (HashMap::new(), Ok(()));
    store.scan(&mut |milestone: Milestone| {
        let others = others(&mut archive, &in_archive, &milestone);
        result = context.go_on().and_then(|()| writer.add(&milestone, &others).map_err(failed));
        written.insert(hash(&milestone.id), hash(&milestone.text));
        if let Some(told) = progress(Phase::BackingUp, written.len() as u64) {
            (context.tell)(told);
        }
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result?;
    for _ in 0..PASSES {
        let ids = match store.touched((context.clock)())? {
            Touched::Ids(ids) => ids,
            Touched::Everything => store.ids()?.into_iter().collect(),
        };
        let mut is_still = true;
        for id in ids {
            context.go_on()?;
            let Ok(named) = id.parse::<Id>() else { continue };
            match there(store.get(&named))? {
                Some(milestone) => {
                    let content = hash(&milestone.text);
                    if written.insert(hash(&id), content) != Some(content) {
                        let others = others(&mut archive, &in_archive, &milestone);
                        writer.add(&milestone, &others).map_err(failed)?;
                        is_still = false;
                    }
                }
                None => {
                    if written.remove(&hash(&id)).is_some() {
                        writer.gone(&id).map_err(failed)?;
                        is_still = false;
                    }
                }
            }
        }
        if is_still {
            break;
        }
    }
    // Before and after: what comes back from there meanwhile, or goes there, is in one of the two, or was read.
    in_archive.extend(archived_ids(&archive));
    let restored = restored.into_iter().flat_map(|restored| restored.ids().map(|id| (id, restored.others(id))));
    for (id, others_then) in restored.filter_map(|(id, others)| Some((id.parse::<Id>().ok()?, others))) {
        context.go_on()?;
        if written.contains_key(&hash(id.as_str())) {
            continue;
        }
        // One that is refused is not displaced either.
        if let Some(milestone) = readable(archive.archived_but(&id, others_then))? {
            let others = others(&mut archive, &in_archive, &milestone);
            writer.add_archived(&milestone, &others).map_err(failed)?;
            written.insert(hash(id.as_str()), hash(&milestone.text));
        }
    }
    for id in in_archive.iter().filter(|id| !written.contains_key(&hash(id))) {
        writer.in_archive(id).map_err(failed)?;
    }
    Ok(written.len() as u64)
}

/// The digests of what lies in `completed/` under the id of a milestone and is another document.
fn others(archive: &mut Archive, in_archive: &BTreeSet<String>, milestone: &Milestone) -> Vec<Digest> {
    let Some(id) = in_archive.get(&milestone.id).and_then(|id| id.parse::<Id>().ok()) else { return Vec::new() };
    let is_it = |it: &Milestone| {
        it.text == milestone.text
            || milestone.value.as_ref().is_ok_and(|value| it.is_same_milestone(&milestone.text, value))
    };
    archive.others(&id, &is_it).unwrap_or_default()
}

/// The ids of what lies in `completed/`. Where that cannot be read, the backup is none of it: it stops no move.
fn archived_ids(archive: &Archive) -> BTreeSet<String> {
    let ids = archive.ids().inspect_err(|error| tracing::warn!(%error, "the backup does not say what is archived"));
    ids.unwrap_or_default().into_iter().collect()
}
