//! A migration from its first step to its last: each is written down before it begins, a failure before the switch clears
//! the target, and after the switch there is only forward.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::context::{Context, Error};
use crate::level::{Pair, there, there_as};
use crate::plan::{Plan, Wish};
use crate::retire::{dealt_with, sweep_retired, watch_retired};
use crate::sweep::{Holding, Sweeper};
use crate::told::{Told, word};
use crate::{backup, compare, copy};

pub(crate) mod adopt;
mod after;
mod commit;
mod journal;
mod pace;
mod stays;
mod turn;
mod undo;
mod unfinished;

pub(crate) use commit::engine_of_file;

use milescale_core::backend::InUse;
use milescale_core::base::Side;
use milescale_core::migration::{Ended, Phase, next};
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_storage::archived_before::ArchivedBefore;
use milescale_storage::ledger;
use milescale_storage::store::Store;
use milescale_workspace::identity::Identity;
use milescale_workspace::record::{Adopting, Intent, Old, Record};
use milescale_workspace::switch;
use pace::Pace;

/// How long an old target is swept before it is filled.
const SWEEP_FOR: Duration = Duration::from_secs(15);

/// A migration that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// From where.
    pub from: InUse,
    /// To where.
    pub to: InUse,
    /// Its backup.
    pub backup: Option<String>,
    /// Milestones compared.
    pub milestones: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// For how long the milestone verbs were kept out.
    pub paused: Duration,
    /// What could not be done after the switch, and is done later.
    pub later: Option<String>,
}

/// A source that was left: watched since before it was copied, so that only what was written meanwhile need be looked at.
pub(crate) struct Left {
    store: Box<dyn Store>,
    /// What could not be brought over any more.
    late: BTreeSet<String>,
}

/// A migration under way.
pub(crate) struct Moving<'a, 'b> {
    pub(crate) context: &'a mut Context<'b>,
    pub(crate) record: Record,
    pub(crate) from: InUse,
    pub(crate) to: InUse,
    /// How long each phase took that is over, and when the one under way began.
    pub(crate) took: Vec<(Phase, Duration)>,
    pub(crate) since: Instant,
}

/// Moves the milestones. The caller holds the migration's lock, has recovered, and a plan without obstacles.
///
/// # Errors
/// Why it was not done: then the old store is in use as before, but where that is not known.
pub fn migrate(wish: &Wish, plan: &Plan, context: &mut Context<'_>) -> Result<Done, Error> {
    let (from, to, automatic, milestones) = (wish.from, wish.to, wish.automatic, plan.milestones);
    // An empty target is simply filled.
    let adopt = wish.adopt.filter(|_| plan.adopting.is_some());
    let started = Instant::now();
    let mut record = context.record()?;
    let identity = Identity::of_or_drawn(context.workspace)
        .map_err(|error| Error::own(&context.workspace.shown(&context.workspace.identity()), &error))?;
    // Files that were retired are not in their place any more.
    let is_there = |old: &Old| old.side != Side::Files || old.retired.is_none();
    let was_old = from.side() != to.side()
        && !plan.target_is_another
        && record.known(to.side(), from.side()).as_ref().is_some_and(is_there);
    let (epoch, begun) = (record.epoch + 1, context.stamp());
    record.intent = Some(Intent {
        epoch,
        phase: Phase::BackingUp,
        from,
        to,
        workspace: identity.number,
        started: begun,
        backup: None,
        target_was_old: was_old,
        engine_before: None,
        prepared: None,
        automatic,
        stuck: None,
        failed: None,
        adopt: adopt.map(|how| Adopting { how, begun: false }),
    });
    context.save(&record)?;
    let mut moving = Moving { context, record, from, to, took: Vec::new(), since: started };
    (moving.context.tell)(Told::Started { from, to, milestones, automatic });
    let mut pace = Pace::new(from, to, milestones);
    match moving.until_switched(milestones, &mut pace) {
        Ok((milestones, paused, left)) => {
            let backup = moving.intent().and_then(|intent| intent.backup.clone());
            let later = moving.after_switch(left).err().map(|error| error.to_string());
            let seconds = started.elapsed().as_secs_f64();
            let paused_ms = paused.as_secs_f64() * 1000.0;
            let phases = std::mem::take(&mut moving.took);
            let told = Told::Completed { from, to, milestones, backup: backup.clone(), seconds, paused_ms, phases };
            (moving.context.tell)(told);
            Ok(Done { from, to, backup, milestones, seconds, paused, later })
        }
        Err(error) => {
            if !matches!(error, Error::Unknown(_)) {
                moving.undo(&error.to_string(), false);
            }
            Err(error)
        }
    }
}

/// Takes out of a place that was retired what came there since and is in the store in use by now, as it is: the move brings it.
fn take_out_equal(source: &mut dyn Store, target: &mut dyn Store, context: &Context<'_>) -> Result<(), Error> {
    for id in target.ids()? {
        context.go_on()?;
        let Ok(id) = id.parse::<Id>() else { continue };
        let Some(there) = there(target.get(&id))? else { continue };
        if there_as(source, id.as_str())?.is_some_and(|ours| holds(&ours, &there)) {
            match target.remove(&id, there.digest(), context.now()) {
                // Somebody writes or moves it just now: then it stands in the way.
                Err(error) if error.is_passing() => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// Whether a milestone holds all that another one of its id does.
pub(crate) fn holds(ours: &Milestone, other: &Milestone) -> bool {
    !ours.said().differs(&other.said()) && (other.text == ours.text || !other.has_comments_beyond(&ours.text))
}

impl Moving<'_, '_> {
    pub(crate) fn intent(&self) -> Option<&Intent> {
        self.record.intent.as_ref()
    }

    /// Goes into the next phase: it is written down first.
    pub(crate) fn advance(&mut self, ended: Ended) -> Result<Phase, Error> {
        let illegal = |what: String| Error::Own(format!(".milescale/migration.json: {what}"));
        let intent = self.record.intent.as_mut().ok_or_else(|| illegal("no migration is under way".to_owned()))?;
        let phase = next(intent.phase, ended).map_err(|error| illegal(error.to_string()))?;
        let phase = phase.ok_or_else(|| illegal("the migration is over".to_owned()))?;
        let before = std::mem::replace(&mut intent.phase, phase);
        self.took.push((before, self.since.elapsed()));
        self.since = Instant::now();
        self.context.save(&self.record)?;
        Ok(phase)
    }

    /// Backup, copy, comparison and switch. How many milestones were compared, how long the verbs were kept out, and the source
    /// where a part of it will do for the first sweep.
    fn until_switched(&mut self, planned: u64, pace: &mut Pace) -> Result<(u64, Duration, Option<Left>), Error> {
        let (from, to) = (self.from.side(), self.to.side());
        let mut source = self.context.open(self.from)?;
        let mut target = self.context.open(self.to)?;
        // Whoever began to write before the intent was there has ended after this; who comes later notes what it writes.
        let turn = switch::alone(self.context.workspace, turn::PATIENCE)?;
        let cleared = switch::clear_dirty(self.context.workspace);
        drop(turn);
        if from == Side::Files && to != Side::Files {
            let epoch = self.intent().map_or(0, |intent| intent.epoch);
            ArchivedBefore::note(self.context.workspace, epoch)?;
        }
        cleared.map_err(|error| Error::own(".milescale/dirty.jsonl", &error))?;
        if self.context.config.migration.backup_before_migration {
            self.back_up(&mut *source, pace)?;
        }
        self.advance(Ended::Done)?;
        if from == to {
            return self.same_files(&mut *target, pace).map(|(count, paused)| (count, paused, None));
        }
        let target_was_old = self.intent().is_some_and(|intent| intent.target_was_old);
        self.fill(&mut *source, &mut *target, target_was_old, pace)?;
        self.advance(Ended::Done)?;
        let mut pair = Pair::new((&mut *source, from), (&mut *target, to), target_was_old);
        pair.take_over = self.take_over();
        let compared = compare::compare(&mut pair, self.context, &mut |phase, done| pace.told(phase, done))?;
        copy::refuse_a_shrunk_source(&*pair.source, planned, compared.count)?;
        let mut open = compared.differing;
        let first = open.clone();
        let old = self.old_target();
        let how = (self.from, self.holding());
        copy::settle_all(&mut pair, self.context, &mut open, &mut |pair, context| {
            sweep_target(old.as_ref(), how, pair, context)
        })?;
        if to != Side::Files && !first.is_empty() {
            self.stays(&mut pair, first, (&old, how), pace)?;
        }
        // Of a target that is taken over nothing is known before the first sweep has compared all of it.
        if self.take_over().is_none() {
            pair.target.ledger()?.complete(from)?;
        }
        pair.target.derive((self.context.clock)())?;
        if let Some(old) = self.old_target() {
            let context = &*self.context;
            watch_retired(&old, context.workspace, context.now(), &mut |files| {
                context.go_on()?;
                dealt_with(files, pair.source)
            })?;
        }
        // Before the rename: a command that comes between the two has to take it for the one in use.
        pair.target.become_used()?;
        let (paused, late) = self.switch(&mut pair)?;
        // In a new target each milestone has its base. In an old one those that were the same may have none.
        self.tell_kept(&mut pair);
        let left = (!target_was_old && self.take_over().is_none()).then_some(Left { store: source, late });
        Ok((compared.count, paused, left))
    }

    fn back_up(&mut self, source: &mut dyn Store, pace: &mut Pace) -> Result<(), Error> {
        let ways = (word(self.from), word(self.to));
        let metadata = backup::take(source, ways, None, self.context, &mut |phase, done| pace.told(phase, done))?;
        if let Some(intent) = &mut self.record.intent {
            intent.backup = Some(metadata.id);
        }
        self.context.save(&self.record)
    }

    /// `file` and `hybrid` have the same files: only the index is brought up to date.
    fn same_files(&mut self, target: &mut dyn Store, pace: &mut Pace) -> Result<(u64, Duration), Error> {
        target.nobody_else_uses_it();
        target.derive((self.context.clock)())?;
        self.advance(Ended::Done)?;
        let count = target.ids()?.len() as u64;
        if let Some(told) = pace.told(Phase::Comparing, count) {
            (self.context.tell)(told);
        }
        // Files that were written meanwhile are mended like any other difference.
        target.derive((self.context.clock)())?;
        let started = Instant::now();
        let switch = self.prepared()?;
        let turn = switch::alone(self.context.workspace, turn::PATIENCE)?;
        self.commit(&switch)?;
        drop(turn);
        Ok((count, started.elapsed()))
    }

    /// Fills the target and catches up with what was written meanwhile.
    fn fill(
        &mut self,
        source: &mut dyn Store,
        target: &mut dyn Store,
        target_was_old: bool,
        pace: &mut Pace,
    ) -> Result<(), Error> {
        let (from, to) = (self.from.side(), self.to.side());
        if let Some(old) = self.old_target() {
            sweep_retired(&old, self.from, source, self.context)?;
        }
        let number = self.intent().map_or(0, |intent| intent.epoch);
        target.prepare()?;
        if target_was_old || self.take_over().is_some() {
            target.let_in_only_readers(from)?;
        }
        // Files stay read-only until they are in use: an exchange needs no right to write them.
        if to != Side::Files {
            target.refuse_writes(None)?;
        }
        journal::discard_others(self.context.workspace, number, to)?;
        let take_over = self.take_over();
        if take_over.is_some() {
            self.begin_to_take_over(target)?;
        } else if !target_was_old {
            target.nobody_else_uses_it();
            // What an earlier attempt left for a person to look at.
            target.clear(from, self.context.now())?;
            if self.record.is_retired(to) {
                take_out_equal(source, target, self.context)?;
            }
        }
        journal::begin(self.context.workspace, number, to)?;
        let others: Vec<Side> = self.record.old.iter().map(|old| old.side).filter(|side| *side != to).collect();
        let old = self.old_target();
        let how = (self.from, self.holding());
        let mut pair = Pair::new((source, from), (target, to), target_was_old);
        pair.take_over = take_over;
        pair.source.touched((self.context.clock)())?;
        if take_over.is_some() {
            let compared = compare::compare(&mut pair, self.context, &mut |_, done| pace.told(Phase::Copying, done))?;
            let mut open = compared.differing;
            copy::settle_all(&mut pair, self.context, &mut open, &mut |_, _| Ok(()))?;
        } else if target_was_old {
            sweep_target(old.as_ref(), how, &mut pair, self.context)?;
            pair.target.ledger()?.forget(from)?;
            let compared = compare::compare(&mut pair, self.context, &mut |_, done| pace.told(Phase::Copying, done))?;
            let mut open = compared.differing;
            copy::settle_all(&mut pair, self.context, &mut open, &mut |pair, context| {
                sweep_target(old.as_ref(), how, pair, context)
            })?;
        } else {
            copy::load(&mut pair, number, self.context, &mut |phase, done| pace.told(phase, done))?;
        }
        for other in others {
            ledger::copy(pair.source.ledger()?, pair.target.ledger()?, other)?;
        }
        ledger::copy_earlier(pair.source.ledger()?, pair.target.ledger()?)?;
        let mut open = BTreeSet::new();
        copy::catch_up(&mut pair, self.context, &mut open)?;
        copy::settle_all(&mut pair, self.context, &mut open, &mut |pair, context| {
            sweep_target(old.as_ref(), how, pair, context)
        })?;
        self.tell_kept(&mut pair);
        Ok(())
    }

    /// Tells what is kept of a target that is taken over.
    fn tell_kept(&mut self, pair: &mut Pair<'_>) {
        pair.kept.drain(..).for_each(|told| (self.context.tell)(told));
    }

    /// Whether a batch of the target's waits: it does until a person says otherwise, and none has said that of a move of
    /// milescale's own.
    fn holding(&self) -> Holding {
        let is_automatic = self.intent().is_some_and(|intent| intent.automatic);
        if is_automatic { Holding::Batches } else { Holding::Nothing }
    }

    /// The target as an old store, where it is one.
    fn old_target(&self) -> Option<Old> {
        let was_old = self.intent().is_some_and(|intent| intent.target_was_old);
        // Files that were retired are no old target, and are swept all the same.
        self.record.known(self.to.side(), self.from.side()).filter(|old| was_old || old.side == Side::Files)
    }
}

/// Sweeps a target that is an old store until nothing waits.
fn sweep_target(
    old: Option<&Old>,
    (in_use, holding): (InUse, Holding),
    pair: &mut Pair<'_>,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let Some(old) = old else { return Ok(()) };
    let store = context.open(old.was)?;
    let mut sweeper = Sweeper::new(Old { retired: None, ..old.clone() }, store, in_use);
    sweeper.until_still(&mut *pair.source, holding, SWEEP_FOR, context)?;
    pair.empty.extend(sweeper.into_empty());
    Ok(())
}
