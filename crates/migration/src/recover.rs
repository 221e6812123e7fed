//! What a crash left: before the switch the target is cleared and nothing else has changed, after it there is only forward.
//! No journal stands for proof: what is copied again is read again.

use milescale_core::backend::Backend;
use milescale_core::migration::Phase;
use milescale_workspace::backup;
use milescale_workspace::marker::{self, Word};
use milescale_workspace::record::Intent;
use milescale_workspace::switch;

use crate::context::{Context, Error};
use crate::identity::leave_the_original_alone;
use crate::moving::{Moving, engine_of_file};

/// Why an unfinished target is still there, where nothing is wrong but that its store cannot be reached.
const NOT_YET: &str = "an unfinished migration cannot be undone yet, because the store of its target cannot be reached; the \
                       next command or cycle tries again";

/// What there was to recover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovered {
    /// Nothing.
    Nothing,
    /// An unfinished migration was undone.
    Undone,
    /// A migration whose switch had happened was finished.
    Finished,
    /// One is stuck: why, and what to do.
    Stuck(String),
}

/// Recovers. The caller holds the migration's lock. `again`: a person asks that what is stuck is tried again.
///
/// # Errors
/// When milescale's own files cannot be read or written: then nothing was done.
pub fn recover(again: bool, context: &mut Context<'_>) -> Result<Recovered, Error> {
    leave_the_original_alone(context)?;
    let failed = |error: std::io::Error| Error::own("backups", &error);
    backup::remove_partial(context.workspace).map_err(failed)?;
    let record = context.record()?;
    // From here on an older milescale keeps out: it would not know what a journal means.
    if record.is_older() {
        context.save(&record)?;
    }
    let prepared: Vec<_> = record.intent.iter().flat_map(Intent::all_prepared).collect();
    let under_way = record.intent.as_ref().map(|intent| intent.epoch);
    switch::discard_others(context.workspace, &prepared, under_way, (context.clock)())
        .map_err(|error| Error::own("config", &error))?;
    let Some(intent) = record.intent.clone() else { return Ok(Recovered::Nothing) };
    let (from, to) = (intent.from, intent.to);
    let happened = intent.phase == Phase::Switching && has_switched(&intent, context)?;
    let mut moving = Moving { context, record, from, to, took: Vec::new(), since: std::time::Instant::now() };
    match intent.phase {
        Phase::Stuck if !again => return Ok(Recovered::Stuck(intent.stuck.unwrap_or_default())),
        Phase::Stuck => {
            if let Some(intent) = &mut moving.record.intent {
                intent.phase = Phase::Scrapping;
            }
        }
        Phase::Switching if happened => moving.switched(),
        _ => {}
    }
    if happened || intent.phase == Phase::Sweeping {
        moving.after_switch(None)?;
        return Ok(Recovered::Finished);
    }
    moving.undo("it was interrupted before the switch");
    let was_stopped = moving.context.workspace.stop().is_asked();
    match moving.record.intent.take() {
        None => Ok(Recovered::Undone),
        Some(Intent { stuck: Some(why), .. }) => Ok(Recovered::Stuck(why)),
        Some(_) if was_stopped => Err(Error::Stopped),
        Some(_) => Ok(Recovered::Stuck(NOT_YET.to_owned())),
    }
}

/// Whether the one rename has happened: its prepared file is gone, or somebody has written what it would have said, and
/// what it names was compared before that.
fn has_switched(intent: &Intent, context: &Context<'_>) -> Result<bool, Error> {
    let Some(prepared) = &intent.prepared else { return Ok(false) };
    let failed = |error: std::io::Error| Error::own("the prepared switch", &error);
    if switch::has_happened(context.workspace, prepared).map_err(failed)? {
        return Ok(true);
    }
    if intent.from.backend == Backend::Database && intent.to.backend == Backend::Database {
        return Ok(Some(engine_of_file(context)?) == intent.to.engine);
    }
    let marker = marker::read(&context.workspace.marker()).map_err(failed)?;
    Ok(marker.word == Word::Backend(intent.to.backend))
}
