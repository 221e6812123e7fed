//! Filling the target: at once where it is empty, one by one where it is an old store, and then what was written
//! meanwhile, until a pass finds nothing new.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use milescale_core::migration::Phase;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone, Packed};
use milescale_storage::scan::scan_as;
use milescale_storage::store::{Store, Touched};

use crate::context::{Context, Error};
use crate::level::{Leveled, Pair};
use crate::on_the_way::on_the_way;
use crate::told::Told;

/// Milestones whose bases are read at once.
const AHEAD: usize = 100;

/// Passes over what was written meanwhile, at most.
const PASSES: usize = 50;

/// How long a milestone that cannot be brought over now is tried.
const PATIENCE: Duration = Duration::from_secs(10);

/// Milestones that cannot be brought over, named in one error.
const NAMED: usize = 5;

/// More than this part of the source missing at once, and it is taken for a source that is not there.
const MISSING_PART: u64 = 20;

/// And more than this many.
const MISSING: u64 = 5;

/// Fills an empty target. How many milestones.
///
/// # Errors
/// Whatever stops it: the target then holds a part.
pub(crate) fn load(
    pair: &mut Pair<'_>,
    number: u64,
    context: &mut Context<'_>,
    progress: &mut dyn FnMut(Phase, u64) -> Option<Told>,
) -> Result<u64, Error> {
    let now = context.now();
    let Pair { source, target, from, .. } = pair;
    let (mut sending, received) = on_the_way(Packed::bytes);
    let mut count = 0;
    thread::scope(|scope| {
        let reader = thread::Builder::new().spawn_scoped(scope, move || -> Result<(), Error> {
            let pack = |milestone| packed(milestone, now);
            // The other end is gone where it failed or was stopped.
            scan_as(&mut **source, pack, &mut |packed| {
                packed.map_or(ControlFlow::Continue(()), |packed| sending.send(packed))
            })?;
            sending.end();
            Ok(())
        });
        let reader = reader.map_err(|error| Error::no_thread(&error))?;
        let mut milestones = received.map_while(|packed| {
            context.go_on().ok()?;
            count += 1;
            if let Some(told) = progress(Phase::Copying, count) {
                (context.tell)(told);
            }
            Some(packed)
        });
        let loaded = target.load(&mut milestones, *from, number);
        drop(milestones);
        let read = reader.join().unwrap_or_else(|_| Err(Error::Own("the reader of the source panicked".to_owned())));
        context.go_on()?;
        read?;
        Ok(loaded?)
    })
}

/// A milestone to be loaded; one that cannot be read now (a file that is being written) is left for the passes that follow.
fn packed(milestone: Milestone, now: Timestamp) -> Option<Packed> {
    let place = milestone.place.clone();
    let draft = Draft::of(milestone, now).inspect_err(|flaw| tracing::debug!(place, %flaw, "not brought over yet"));
    draft.ok().map(Packed::of)
}

/// Brings over what was written meanwhile, until a pass finds nothing new or only what writers that never pause have just
/// written. What could not be brought over.
pub(crate) fn catch_up(
    pair: &mut Pair<'_>,
    context: &mut Context<'_>,
    open: &mut BTreeSet<String>,
) -> Result<(), Error> {
    for _ in 0..PASSES {
        open.extend(touched(pair, context)?);
        if settle(pair, context, open)? == 0 {
            break;
        }
    }
    Ok(())
}

/// The milestones that may have changed in the source since it was asked last.
pub(crate) fn touched(pair: &mut Pair<'_>, context: &mut Context<'_>) -> Result<BTreeSet<String>, Error> {
    let ids = match pair.source.touched((context.clock)())? {
        Touched::Ids(ids) => ids,
        Touched::Everything => pair.source.ids()?.into_iter().chain(pair.target.ids()?).collect(),
    };
    refuse_a_lost_source(pair, &ids)?;
    Ok(ids)
}

/// Whether so many of so many are missing that nobody is taken to have meant it: more than 5, and more than 5 %.
pub(crate) fn is_an_accident(missing: u64, of: u64) -> bool {
    missing > MISSING.max(of / MISSING_PART)
}

/// A branch change that empties the folder is not the end of so many milestones.
fn refuse_a_lost_source(pair: &mut Pair<'_>, ids: &BTreeSet<String>) -> Result<(), Error> {
    // What is in a target that is taken over, and not in the source, was never there.
    if ids.len() as u64 <= MISSING || pair.take_over.is_some() {
        return Ok(());
    }
    let there: BTreeSet<String> = pair.source.ids()?.into_iter().collect();
    let known: BTreeSet<String> = pair.target.ids()?.into_iter().collect();
    let mut missing = 0;
    for id in ids.iter().filter(|id| known.contains(*id) && !there.contains(*id)) {
        // One that was archived meanwhile is not lost.
        let is_archived = match id.parse::<Id>() {
            Ok(id) => pair.source.archived(&id)?.is_some(),
            Err(_) => false,
        };
        missing += usize::from(!is_archived);
    }
    if !is_an_accident(missing as u64, known.len() as u64) {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "source_unavailable: {missing} of {} milestones are missing in {} at once; if they are meant to be gone, migrate \
         again",
        known.len(),
        pair.source.name()
    )))
}

/// A source that has lost many milestones since the plan counted them is taken for one that is not there.
pub(crate) fn refuse_a_shrunk_source(source: &dyn Store, planned: u64, found: u64) -> Result<(), Error> {
    if !is_an_accident(planned.saturating_sub(found), planned) {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "source_unavailable: {} has {found} milestones, and had {planned} when the migration was planned; if the others \
         are meant to be gone, migrate again",
        source.name()
    )))
}

/// Levels milestones; those that cannot be now stay in the set. How many had to be written.
pub(crate) fn settle(
    pair: &mut Pair<'_>,
    context: &mut Context<'_>,
    open: &mut BTreeSet<String>,
) -> Result<u64, Error> {
    let leveled = settle_each(pair, context, open);
    // Also where it was stopped in the middle.
    let noted = pair.note_bases();
    let count = leveled?;
    noted.map(|()| count)
}

fn settle_each(pair: &mut Pair<'_>, context: &mut Context<'_>, open: &mut BTreeSet<String>) -> Result<u64, Error> {
    let mut written = 0;
    // Each stays in the set until it is level: the source tells only once that it has changed.
    let ids: Vec<String> = open.iter().cloned().collect();
    for ids in ids.chunks(AHEAD) {
        pair.level_some(ids, context, &mut |id, leveled| match leveled {
            Leveled::NotYet(why) => tracing::debug!(id, why, "not brought over yet"),
            leveled => {
                written += u64::from(leveled == Leveled::Done);
                open.remove(id);
            }
        })?;
    }
    Ok(written)
}

/// Levels milestones until none is left, for a while. `sweep` looks at what was written into an old target.
///
/// # Errors
/// What is left then, with why.
pub(crate) fn settle_all(
    pair: &mut Pair<'_>,
    context: &mut Context<'_>,
    open: &mut BTreeSet<String>,
    sweep: &mut dyn FnMut(&mut Pair<'_>, &mut Context<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        settle(pair, context, open)?;
        if open.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            break;
        }
        if pair.target_was_old {
            sweep(pair, context)?;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let mut named = Vec::new();
    let first: Vec<String> = open.iter().take(NAMED).cloned().collect();
    pair.level_some(&first, context, &mut |_, leveled| {
        if let Leveled::NotYet(why) = leveled {
            named.push(why);
        }
    })?;
    pair.note_bases()?;
    let more = if open.len() > named.len() { format!(" and {} more", open.len() - named.len()) } else { String::new() };
    Err(Error::Refused(format!("{} milestones cannot be brought over: {}{more}", open.len(), named.join("; "))))
}
