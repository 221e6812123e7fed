//! What a crash left: before the switch the target is cleared and nothing else has changed, after it there is only forward.
//! No journal stands for proof: what is copied again is read again.

use milescale_core::backend::{Backend, InUse};
use milescale_core::base::Side;
use milescale_core::migration::Phase;
use milescale_storage::presence::Presence;
use milescale_workspace::backup;
use milescale_workspace::marker::{self, Word};
use milescale_workspace::record::Intent;
use milescale_workspace::switch;

use crate::context::{Context, Error};
use crate::identity::leave_the_original_alone;
use crate::moving::{Moving, engine_of_file};

/// What a person has said of what an interrupted migration left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// What is stuck is to be tried again.
    TryAgain,
    /// The store of this side does not exist any more.
    IsGone(Side),
}

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

/// Recovers. The caller holds the migration's lock.
///
/// # Errors
/// When milescale's own files cannot be read or written: then nothing was done.
pub fn recover(said: Said, context: &mut Context<'_>) -> Result<Recovered, Error> {
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
        Phase::Stuck if said == Said::Nothing => return Ok(Recovered::Stuck(intent.stuck.unwrap_or_default())),
        Phase::Stuck => {
            if let Some(intent) = &mut moving.record.intent {
                intent.phase = Phase::Scrapping;
            }
        }
        Phase::Switching if happened => moving.switched(),
        _ => {}
    }
    if happened {
        // Whatever becomes of what follows, everybody goes by the store that is in use.
        if let Some(intent) = &mut moving.record.intent {
            intent.phase = Phase::Sweeping;
        }
        moving.context.save(&moving.record)?;
    }
    if happened || intent.phase == Phase::Sweeping {
        // Nothing can be brought over into what does not exist any more: the store that was left is an old one like any other.
        if said == Said::IsGone(to.side()) && presence(to, moving.context).may_be_gone() {
            moving.end()?;
        } else {
            moving.after_switch(None)?;
        }
        return Ok(Recovered::Finished);
    }
    let gone = match said {
        Said::IsGone(side) => {
            [from, to].into_iter().find(|it| it.side() == side && presence(*it, moving.context).may_be_gone())
        }
        Said::Nothing | Said::TryAgain => None,
    };
    if gone.is_none() {
        moving.refuses_what_is_in_use()?;
    }
    moving.undo("it was interrupted before the switch", gone.is_some());
    let was_stopped = moving.context.workspace.stop().is_asked();
    match moving.record.intent.take() {
        None => Ok(Recovered::Undone),
        Some(Intent { stuck: Some(why), .. }) => Ok(Recovered::Stuck(why)),
        Some(_) if was_stopped => Err(Error::Stopped),
        Some(_) => Ok(Recovered::Stuck(not_yet((from, to), moving.context))),
    }
}

/// Whether a store that this workspace knows exists, as far as this user is told.
pub(crate) fn presence(known: InUse, context: &Context<'_>) -> Presence {
    match context.open(known) {
        Ok(mut store) => Presence::of(&mut *store, known.side()),
        Err(error) => Presence::Away(error.to_string()),
    }
}

/// Why an unfinished target is still there, where nothing is wrong but that a store cannot be reached.
fn not_yet((from, to): (InUse, InUse), context: &Context<'_>) -> String {
    let of_both = [to, from].map(|it| (it, presence(it, context)));
    if let Some(why) = of_both.iter().find_map(|(_, it)| if let Presence::Closed(why) = it { Some(why) } else { None })
    {
        return format!(
            "an unfinished migration to {to} cannot be undone yet; the next command or cycle tries again. {why}"
        );
    }
    let is_away =
        |(it, presence): &&(InUse, Presence)| (*it == from || it.side() != Side::Files) && presence.may_be_gone();
    let ends = |side: Side| match side {
        Side::Files => String::new(),
        side => format!(". Where it is gone for good, `milescale retire {side} --gone` ends that"),
    };
    let (which, ends) = match of_both.iter().find(is_away) {
        Some((away, _)) if *away == from => {
            (from.to_string(), ". Where it is gone for good, `milescale doctor` names the ways on".to_owned())
        }
        Some((away, _)) => (away.to_string(), ends(away.side())),
        None => ("the store of its target".to_owned(), ends(to.side())),
    };
    format!(
        "an unfinished migration to {to} cannot be undone yet, because {which} cannot be reached; the next command or cycle tries \
         again{ends}"
    )
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
