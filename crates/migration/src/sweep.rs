//! Old stores: what was written to them since they were left is brought into the store in use, kept as a conflict, held for
//! a person, or reported, as the table of contract §8 says.

mod judged;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use milescale_core::backend::InUse;
use milescale_core::base::{Content, Side, Verdict};
use milescale_core::digest::Digest;
use milescale_storage::ledger::AT_ONCE;
use milescale_storage::record::Old;
use milescale_storage::store::{Store, Touched};

use crate::context::{Context, Error};
use crate::told::Told;

/// How long a file must have stood still before it is taken over.
const STILL_FOR: Duration = Duration::from_secs(2);

/// How long a milestone of a database must have been gone: two looks.
const GONE_FOR: Duration = Duration::from_secs(1);

/// When a change that has not stood still for long enough is looked at again.
const AGAIN: Duration = Duration::from_millis(200);

/// More changed files than this at once are a pull or a branch, and wait for a person.
const AT_ONCE_AT_MOST: usize = 5;

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
}

/// A change that was seen and is not dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// The text's digest; `None`: gone.
    text: Option<Digest>,
    since: Instant,
}

/// The sweeper of one old store.
#[derive(Debug)]
pub struct Sweeper {
    old: Old,
    store: Box<dyn Store>,
    /// The side of the store in use.
    to: Side,
    /// Changes that wait to have stood still.
    open: HashMap<String, Seen>,
    /// Changes that wait for a person: the text's digest.
    held: BTreeMap<String, Option<Digest>>,
}

impl Sweeper {
    /// The sweeper of an old store, for the store in use. `held` are the changes that were held before, by id.
    pub fn new(old: Old, store: Box<dyn Store>, in_use: InUse, held: BTreeMap<String, Option<Digest>>) -> Self {
        Self { old, store, to: in_use.side(), open: HashMap::new(), held }
    }

    /// The same, which looks at these in its first pass whatever the store tells.
    #[must_use]
    pub(crate) fn looking_at(mut self, ids: BTreeSet<String>) -> Self {
        self.open.extend(ids.into_iter().map(|id| (id, Seen { text: None, since: Instant::now() })));
        self
    }

    /// The old store.
    pub fn old(&self) -> &Old {
        &self.old
    }

    /// Takes over which changes wait for a person: another command may have changed that.
    pub fn hold(&mut self, held: BTreeMap<String, Option<Digest>>) {
        self.held = held;
    }

    /// The changes that wait for a person.
    pub fn held(&self) -> &BTreeMap<String, Option<Digest>> {
        &self.held
    }

    pub(crate) fn store(&mut self) -> &mut dyn Store {
        &mut *self.store
    }

    fn side(&self) -> Side {
        self.old.side
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
        for id in self.candidates(current, context)? {
            self.open.entry(id).or_insert(Seen { text: None, since: Instant::now() });
        }
        if holding == Holding::Nothing {
            let now = Instant::now();
            let released = std::mem::take(&mut self.held);
            self.open.extend(released.into_keys().map(|id| (id, Seen { text: None, since: now })));
        }
        self.judge_open(current, holding, context)
    }

    /// Looks again and again until nothing waits or has to be held, for so long at most. All passes together; `waiting` is what
    /// was left then.
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
            if swept.waiting == 0 || swept.held > 0 || Instant::now() >= end {
                return Ok(Swept { imported, conflicts, ..swept });
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Ids that may differ from their base.
    fn candidates(&mut self, current: &mut dyn Store, context: &mut Context<'_>) -> Result<BTreeSet<String>, Error> {
        match self.store.touched((context.clock)())? {
            Touched::Ids(ids) => Ok(ids),
            Touched::Everything => self.all_differing(current),
        }
    }

    /// All of the old store, compared with its base.
    fn all_differing(&mut self, current: &mut dyn Store) -> Result<BTreeSet<String>, Error> {
        let side = self.side();
        let (mut differing, mut there_are, mut batch) = (BTreeSet::new(), HashSet::new(), Vec::new());
        let mut failed = Ok(());
        let mut compare = |batch: &mut Vec<(String, Content)>| -> Result<(), Error> {
            let ids: Vec<String> = batch.iter().map(|(id, _)| id.clone()).collect();
            let known = current.ledger()?.bases(side, &ids)?;
            for (id, content) in batch.drain(..) {
                if known.get(&id).is_none_or(|known| known.content.text != content.text) {
                    differing.insert(id);
                }
            }
            Ok(())
        };
        self.store.scan_contents(&mut |id, content| {
            there_are.insert(id.clone());
            batch.push((id, content));
            if batch.len() >= AT_ONCE {
                failed = compare(&mut batch);
            }
            if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        failed?;
        compare(&mut batch)?;
        let mut after: Option<String> = None;
        loop {
            let page = current.ledger()?.page(side, after.as_deref(), AT_ONCE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            differing.extend(page.into_iter().map(|(id, _)| id).filter(|id| !there_are.contains(id)));
        }
        Ok(differing)
    }

    /// Judges what is open, and does what has stood still for long enough.
    fn judge_open(
        &mut self,
        current: &mut dyn Store,
        holding: Holding,
        context: &mut Context<'_>,
    ) -> Result<Swept, Error> {
        let mut due = Vec::new();
        let mut changed = 0;
        for id in self.open.keys().cloned().collect::<Vec<_>>() {
            context.go_on()?;
            let judged = judged::Judged::of(&id, self.side(), &mut *self.store, current)?;
            let Some(seen) = self.open.get_mut(&id) else { continue };
            let now = Instant::now();
            if seen.text != judged.text {
                *seen = Seen { text: judged.text, since: now };
            }
            match judged.verdict {
                Verdict::Nothing => {
                    self.open.remove(&id);
                    self.held.remove(&id);
                    continue;
                }
                Verdict::Advance => {}
                _ if self.held.get(&id).is_some_and(|held| *held == judged.text) => {
                    self.open.remove(&id);
                    continue;
                }
                _ => changed += usize::from(judged.text.is_some()),
            }
            if judged.verdict == Verdict::Advance || self.has_stood(&id, &judged) {
                due.push(judged);
            }
        }
        let holds = holding == Holding::Batches
            && self.side() == Side::Files
            && self.to != Side::Files
            && changed > AT_ONCE_AT_MOST;
        let mut act = judged::Act::new(&self.old, current, context);
        let mut held = Vec::new();
        for judged in due {
            if holds && judged.text.is_some() && judged.verdict != Verdict::Advance {
                self.open.remove(&judged.id);
                held.push(judged.id.clone());
                self.held.insert(judged.id, judged.text);
            } else if act.carry_out(&judged)? {
                self.open.remove(&judged.id);
                self.held.remove(&judged.id);
            }
        }
        let mut swept = act.finish();
        swept.waiting = self.open.len() as u64;
        swept.held = self.held.len() as u64;
        if !held.is_empty() {
            (context.tell)(Told::Held(self.side(), held));
        }
        Ok(swept)
    }

    fn has_stood(&self, id: &str, judged: &judged::Judged) -> bool {
        let wait = match (self.side(), judged.text) {
            (Side::Files, _) => STILL_FOR,
            (_, None) => GONE_FOR,
            // A row that is committed is whole.
            (_, Some(_)) => Duration::ZERO,
        };
        self.open.get(id).is_some_and(|seen| seen.since.elapsed() >= wait)
    }
}
