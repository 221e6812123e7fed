//! Old stores: what was written to them since they were left is brought into the store in use, kept as a conflict, held for
//! a person, or reported, as the table of contract §8 says.
//!
//! A candidate stays one until it was judged and that was carried out. So a pass that failed is repeated, and one milestone
//! that cannot be brought over stops only itself.

mod act;
pub(crate) mod batch;
mod candidates;
mod elsewhere;
mod failing;
mod judged;
pub(crate) mod memory;
pub(crate) mod noted;
pub(crate) mod pending;
mod under_way;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use milescale_core::backend::InUse;
use milescale_core::base::{Side, Verdict};
use milescale_document::digest::Digest;
use milescale_storage::budget::Room;
use milescale_storage::ledger::AT_ONCE;
use milescale_storage::store::Store;
use milescale_workspace::record::Old;

use crate::context::{Context, Error};
use act::Act;
use candidates::AtRetired;
use failing::Failures;
use judged::{Finding, Judged, Judging};
use memory::{Memory, OfSide};

/// How long a file must have stood still before it is taken over.
const STILL_FOR: Duration = Duration::from_secs(2);

/// How long a milestone of a database must have been gone: two looks.
const GONE_FOR: Duration = Duration::from_secs(1);

/// When a change that has not stood still for long enough is looked at again.
const AGAIN: Duration = Duration::from_millis(200);

/// When a milestone that could not be brought over is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Whether many changes at once wait for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// They do.
    Batches,
    /// They do not: a person has said `milescale import`, or they were made while the store was left.
    Nothing,
}

/// What a pass came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Swept {
    /// Milestones that were brought into the store in use.
    pub imported: u64,
    /// Contents that are kept as conflicts.
    pub conflicts: u64,
    /// Changes that are not old enough to be judged: another pass is due.
    pub waiting: u64,
    /// Changes that wait for a person.
    pub held: u64,
    /// Milestones that cannot be brought over.
    pub failing: u64,
}

/// A change that was seen and is not dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// The text's digest; `None`: gone.
    text: Option<Digest>,
    since: Instant,
}

/// The sweeper of one old store. What it remembers across processes, it reads and writes in each pass.
#[derive(Debug)]
pub struct Sweeper {
    old: Old,
    store: Box<dyn Store>,
    /// The side of the store in use.
    to: Side,
    /// Only a look at all of the store tells what changed in it.
    all: bool,
    /// When all of it was looked at last, and how long that took.
    looked: Option<(Instant, Duration)>,
    /// Changes that are not dealt with.
    open: HashMap<String, Seen>,
    /// When the last change of a file was seen.
    changed: Option<Instant>,
    /// When what cannot be brought over was tried last.
    tried: Option<Instant>,
    /// Those that have stood still and are empty.
    empty: BTreeSet<String>,
    retired: AtRetired,
}

impl Sweeper {
    /// The sweeper of an old store, for the store in use.
    pub fn new(old: Old, store: Box<dyn Store>, in_use: InUse) -> Self {
        let to = in_use.side();
        Self {
            old,
            store,
            to,
            all: false,
            looked: None,
            open: HashMap::new(),
            changed: None,
            tried: None,
            empty: BTreeSet::new(),
            retired: AtRetired::default(),
        }
    }

    /// The same, which looks at these in its first pass whatever the store tells.
    #[must_use]
    pub(crate) fn looking_at(mut self, ids: BTreeSet<String>) -> Self {
        self.consider(ids);
        self
    }

    /// The old store.
    pub fn old(&self) -> &Old {
        &self.old
    }

    /// The old store.
    pub fn store(&mut self) -> &mut dyn Store {
        &mut *self.store
    }

    /// What was found empty, and named: a move may write over it.
    pub(crate) fn into_empty(self) -> BTreeSet<String> {
        self.empty
    }

    fn side(&self) -> Side {
        self.old.side
    }

    /// Whether the store is retired: then what appears in it waits for a person, and what is gone from it is where it was put.
    fn is_retired(&self) -> bool {
        self.old.retired.is_some()
    }

    fn consider(&mut self, ids: impl IntoIterator<Item = String>) {
        let since = Instant::now();
        for id in ids {
            self.open.entry(id).or_insert(Seen { text: None, since });
        }
    }

    /// Looks at what changed in the old store since the last pass, the first time at all of it, and does what is due.
    ///
    /// # Errors
    /// When one of the stores cannot be read or written; what is not done then is done by a later pass.
    pub fn pass(
        &mut self,
        current: &mut dyn Store,
        holding: Holding,
        context: &mut Context<'_>,
    ) -> Result<Swept, Error> {
        let mut memory = Memory::load(context.workspace).map_err(Error::Own)?;
        let swept = self.pass_with(current, holding, &mut memory, context);
        // Whatever the pass came to: what was told is not told again.
        let saved = memory.save(context.workspace).map_err(Error::Own);
        let swept = swept?;
        saved.map(|()| swept)
    }

    fn pass_with(
        &mut self,
        current: &mut dyn Store,
        holding: Holding,
        memory: &mut Memory,
        context: &mut Context<'_>,
    ) -> Result<Swept, Error> {
        current.finish()?;
        let of_side = memory.of(self.side());
        under_way::tell_what_was(self.side(), current, of_side, context)?;
        // Without a base, all that differs in a retired database would seem to have appeared there: only a person asks for it.
        let is_asked = holding == Holding::Nothing;
        if !is_asked
            && self.is_retired()
            && self.side() != Side::Files
            && !current.ledger()?.is_complete(self.side())?
        {
            return Ok(Swept::default());
        }
        self.find_candidates(current, of_side, context)?;
        if self.tried.is_none_or(|tried| tried.elapsed() >= TRY_AGAIN_AFTER) {
            self.tried = Some(Instant::now());
            self.consider(of_side.failing.keys().cloned());
        }
        if holding == Holding::Nothing {
            of_side.recent = batch::Recent::default();
            self.consider(of_side.held.keys().cloned());
        }
        let swept = self.judge_open(current, holding, memory, context)?;
        self.note_looked(memory.of(self.side()), context);
        Ok(swept)
    }

    /// Looks again and again until nothing waits to have stood still, for so long at most. All passes together; `waiting` is
    /// what was left then.
    ///
    /// # Errors
    /// As [`Sweeper::pass`].
    pub fn until_still(
        &mut self,
        current: &mut dyn Store,
        holding: Holding,
        patience: Duration,
        context: &mut Context<'_>,
    ) -> Result<Swept, Error> {
        let end = Instant::now() + patience;
        let (mut imported, mut conflicts) = (0, 0);
        loop {
            let swept = self.pass(current, holding, context)?;
            imported += swept.imported;
            conflicts += swept.conflicts;
            if swept.waiting == 0 || Instant::now() >= end {
                return Ok(Swept { imported, conflicts, ..swept });
            }
            std::thread::sleep(AGAIN);
            context.go_on()?;
        }
    }

    /// Judges what is open, and does what has stood still for long enough.
    fn judge_open(
        &mut self,
        current: &mut dyn Store,
        holding: Holding,
        memory: &mut Memory,
        context: &mut Context<'_>,
    ) -> Result<Swept, Error> {
        let old = self.old.clone();
        let mut failed = Failures::default();
        let mut judging = Judging::begin(&old, context.workspace, &*self.store, current)?;
        let due = self.judge_each(&mut judging, current, holding, &mut failed, memory.of(old.side), context)?;
        // What was read was read of a store that may have been exchanged for another one since it was looked at: a server that was
        // restored, or failed over.
        if !due.is_empty() && !self.store.is_foreign()? {
            self.store.standing()?;
        }
        let due = self.hold_batches(due, holding, memory.of(old.side), context);
        under_way::note(&due, old.side, memory, context)?;
        let mut act = Act::new(&old, self.to, current, context);
        let ended = self.carry_out(due, &mut judging, &mut act, &mut failed, memory.of(old.side));
        // Also where the pass ends here: what was done is told.
        let told = act.finish(memory.of(old.side));
        self.name_failing(failed, memory.of(old.side), context);
        ended?;
        let (done, of_side) = (told?, memory.of(old.side));
        let (held, failing) = (of_side.held.len() as u64, of_side.failing_count());
        Ok(Swept { waiting: self.open.len() as u64, held, failing, ..done })
    }

    /// Judges what is open. What is to be carried out now, with as many of the milestones as there is room for.
    fn judge_each(
        &mut self,
        judging: &mut Judging<'_>,
        current: &mut dyn Store,
        holding: Holding,
        failed: &mut Failures,
        memory: &mut OfSide,
        context: &Context<'_>,
    ) -> Result<Vec<Judged>, Error> {
        let mut due = Vec::new();
        let mut open: Vec<String> = self.open.keys().cloned().collect();
        open.sort_unstable();
        let mut room = Room::new(usize::MAX);
        for ids in open.chunks(AT_ONCE) {
            judging.read_bases(ids, current)?;
            for id in ids {
                context.go_on()?;
                match judging.judge(id, &mut *self.store, current) {
                    Ok(judged) => due.extend(self.due(judged, holding, memory, context).map(|mut judged| {
                        if !room.takes(judged.bytes()) {
                            judged.let_go();
                        }
                        judged
                    })),
                    Err(error) if error.is_passing() => {}
                    Err(error) if !self.answer(current) => return Err(error),
                    // Too large, twice there, or not to be read: neither side is touched.
                    Err(error) if error.is_refusal() => {
                        due.extend(self.due(Judged::cannot(id, error.to_string()), holding, memory, context));
                    }
                    Err(error) => failed.add(id, None, &error),
                }
            }
        }
        Ok(due)
    }

    /// Carries out what is due. One that cannot be stops no other.
    fn carry_out(
        &mut self,
        due: Vec<Judged>,
        judging: &mut Judging<'_>,
        act: &mut Act<'_, '_>,
        failed: &mut Failures,
        memory: &mut OfSide,
    ) -> Result<(), Error> {
        for judged in due {
            act.go_on()?;
            if matches!(judged.finding, Finding::Empty(_)) {
                self.empty.insert(judged.id.clone());
            }
            let done = if judged.is_let_go() {
                let again = judging.judge_again(&judged, &mut *self.store, act.current());
                again.and_then(|again| again.map_or(Ok(false), |judged| act.carry_out(&judged)))
            } else {
                act.carry_out(&judged)
            };
            match done {
                Ok(true) => self.forget(&judged.id, memory),
                Ok(false) => {}
                Err(error) if error.is_passing() => {}
                Err(error) if self.answer(act.current()) => failed.add(&judged.id, judged.text, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What was judged, where it is to be carried out now.
    fn due(&mut self, judged: Judged, holding: Holding, memory: &mut OfSide, context: &Context<'_>) -> Option<Judged> {
        let now = Instant::now();
        let seen = self.open.get_mut(&judged.id)?;
        if seen.text != judged.text {
            *seen = Seen { text: judged.text, since: now };
        }
        let stands_since = seen.since;
        let is_gone = judged.text.is_none();
        match judged.finding {
            Finding::Verdict(Verdict::Advance) if !self.is_retired() => return Some(judged),
            Finding::Verdict(Verdict::Nothing | Verdict::Advance) => {
                self.forget(&judged.id, memory);
                return None;
            }
            _ if self.is_retired() && is_gone => {
                self.forget(&judged.id, memory);
                return None;
            }
            _ => {}
        }
        if holding == Holding::Batches {
            if memory.held.get(&judged.id).is_some_and(|held| *held == judged.text) {
                self.open.remove(&judged.id);
                return None;
            }
            if let Some(text) = judged.text.filter(|_| self.holds_batches(holding) && !judged.takes_text()) {
                memory.recent.see(&judged.id, text, &mut self.changed, context.now());
            }
        }
        let wait = match (self.side(), is_gone) {
            (Side::Files, _) => STILL_FOR,
            (_, true) => GONE_FOR,
            // A row that is committed is whole.
            (_, false) => Duration::ZERO,
        };
        (stands_since.elapsed() >= wait).then_some(judged)
    }

    /// A milestone that is dealt with.
    fn forget(&mut self, id: &str, memory: &mut OfSide) {
        self.open.remove(id);
        memory.held.remove(id);
        memory.failing.remove(id);
    }
}
