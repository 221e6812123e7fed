//! The switch of stores whose contents move: a quiet moment, the lock, what was written last, the rename.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use milescale_core::base::Side;
use milescale_storage::store::Touched;
use milescale_workspace::error::Problem;
use milescale_workspace::switch;

use super::Moving;
use crate::context::Error;
use crate::copy;
use crate::level::{Leveled, Pair};

/// How long milescale's own writers are waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a moment without writers is waited for.
const QUIET_WITHIN: Duration = Duration::from_secs(5);

/// How often the switch is tried, and for how long: who holds the table for longer is not waited for.
const TRIES: usize = 20;
const TRIED_FOR: Duration = Duration::from_secs(20);

/// Milestones that are brought over with one wait for the journal while others are kept out.
const AT_ONCE: usize = 10;

/// How long the milestone verbs are kept out by one try.
const AT_MOST: Duration = Duration::from_millis(150);

impl Moving<'_, '_> {
    /// Switches. How long the milestone verbs were kept out by the longest try, and what could not be brought over.
    pub(super) fn switch(&mut self, pair: &mut Pair<'_>) -> Result<(Duration, BTreeSet<String>), Error> {
        let mut late = BTreeSet::new();
        self.wait_for_quiet(pair, &mut late)?;
        let prepared = self.prepared()?;
        let (mut paused, mut why) = (Duration::ZERO, None);
        let began = Instant::now();
        for attempt in 0..TRIES {
            self.context.go_on()?;
            if began.elapsed() > TRIED_FOR {
                break;
            }
            if attempt > 0 {
                sleep(Duration::from_millis(100));
                self.catch_up_once(pair, &mut late)?;
            }
            let started = Instant::now();
            let turn = switch::alone(self.context.workspace, PATIENCE)?;
            let tried = self.try_to_switch(pair, &prepared, &mut late);
            drop(turn);
            paused = paused.max(started.elapsed());
            match tried {
                Ok(true) => return Ok((paused, late)),
                Ok(false) => {}
                Err(Error::Store(error)) if error.problem == Problem::Busy => why = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        let why = why.unwrap_or_else(|| "milestones are written all the time".to_owned());
        let why = why.trim_end_matches("; try again");
        Err(Error::Refused(format!("there was no moment for the switch: {why}; try again")))
    }

    /// Waits until nothing was written for a moment, but not for ever.
    fn wait_for_quiet(&mut self, pair: &mut Pair<'_>, late: &mut BTreeSet<String>) -> Result<(), Error> {
        let end = Instant::now() + QUIET_WITHIN;
        while !self.catch_up_once(pair, late)? && Instant::now() < end {
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Brings over what was written since; what cannot be brought over now stays among the late ones, for the source tells
    /// it only once. Whether there was nothing.
    fn catch_up_once(&mut self, pair: &mut Pair<'_>, late: &mut BTreeSet<String>) -> Result<bool, Error> {
        late.extend(copy::touched(pair, self.context)?);
        late.extend(self.dirty()?);
        let written = copy::settle(pair, self.context, late)?;
        Ok(written == 0 && late.is_empty())
    }

    /// Under the lock: what milescale's own verbs have written, and from a database what anybody has, for that is held
    /// still; then the rename. `false`: not all of it could be brought over in the time that others may be kept waiting.
    fn try_to_switch(
        &mut self,
        pair: &mut Pair<'_>,
        prepared: &switch::Switch,
        late: &mut BTreeSet<String>,
    ) -> Result<bool, Error> {
        let started = Instant::now();
        if pair.from != Side::Files {
            pair.source.hold()?;
            pair.is_held = true;
        }
        let brought = self.bring_the_last(pair, started, late);
        let done = match brought {
            Ok(true) => self.commit(prepared).map(|()| true),
            other => other,
        };
        if pair.from != Side::Files {
            pair.source.release();
            pair.is_held = false;
        }
        if !matches!(done, Ok(true)) {
            // What this try has written into an old target is nobody's change, for the next try and for an undo.
            pair.note_bases()?;
        }
        done
    }

    fn bring_the_last(
        &mut self,
        pair: &mut Pair<'_>,
        started: Instant,
        late: &mut BTreeSet<String>,
    ) -> Result<bool, Error> {
        // Of files only milescale's own writers are kept out: what others save now is swept.
        let mut due: BTreeSet<String> = self.dirty()?.into_iter().collect();
        if pair.from != Side::Files {
            // Its writers are held: how many milestones there are must not matter here.
            match pair.source.touched((self.context.clock)())? {
                Touched::Ids(ids) => late.extend(ids),
                Touched::Everything => {
                    let why = "its log of changes was emptied, or too much was written at once; try again";
                    return Err(Error::Refused(format!("{}: {why}", pair.source.name())));
                }
            }
            due.extend(late.iter().cloned());
        }
        // Each stays among the late ones until it is level, also where a store fails: the source does not tell it again.
        late.extend(due.iter().cloned());
        let (due, mut is_level): (Vec<String>, bool) = (due.into_iter().collect(), true);
        for ids in due.chunks(AT_ONCE) {
            if !is_level || started.elapsed() > AT_MOST {
                return Ok(false);
            }
            pair.level_some(ids, self.context, &mut |id, leveled| {
                if matches!(leveled, Leveled::NotYet(_)) {
                    is_level = false;
                } else {
                    late.remove(id);
                }
            })?;
        }
        Ok(is_level)
    }

    fn dirty(&self) -> Result<Vec<String>, Error> {
        switch::dirty(self.context.workspace).map_err(|error| Error::own(".milescale/dirty.jsonl", &error))
    }
}
