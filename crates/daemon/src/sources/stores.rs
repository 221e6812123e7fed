//! The store in use among the sources: which one it is, looked at, tended.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use milescale_core::backend::InUse;
use milescale_core::config::Config;
use milescale_migration::take_lock;
use milescale_sensing::watch::Hints;
use milescale_storage::store::{Extent, Occasion, Survey};
use milescale_workspace::Workspace;
use milescale_workspace::backup;
use milescale_workspace::displaced;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::keeping::NewDay;
use milescale_workspace::record::Record;

use super::opened::Opened;
use super::proof;
use super::{Moment, RETRY_AFTER, Sources, earlier};
use crate::access::lost_files;
use crate::engine::Mode;
use crate::follow::Standing;
use crate::note::Note;

/// How long another command is waited for that holds the migration's lock.
const PATIENCE: Duration = Duration::from_millis(100);

/// When to look again at a file that was read within a clock tick of its last change.
const FRESH_AFTER: Duration = Duration::from_millis(2100);

/// When to look again at everything once folders have come or gone.
const NEW_FOLDER_AFTER: Duration = Duration::from_millis(100);

/// A store whose figures take long to read is read again by itself at most this part of the time.
const AT_MOST_ONE_IN: u32 = 10;

/// How it begins that the index does not take what the files say.
const TAKES_NOT: &str = "it takes not what the files say";

/// That the index did not take what the files say, as it was said last: another process may have tried.
pub(super) fn refused_before(said: &BTreeMap<String, String>, workspace: &Workspace) -> Option<(String, String)> {
    let place = workspace.shown(&workspace.index_db());
    said.get(&place).filter(|why| why.starts_with(TAKES_NOT)).map(|why| (place, why.clone()))
}

impl Sources {
    /// Follows a store that was named, if it holds what the last one did. Asked again whenever that may have changed.
    pub(super) fn prove(
        &mut self,
        named: InUse,
        hints: &Hints,
        moment: Moment,
        config: &Config,
        notes: &mut Vec<Note>,
    ) -> Standing {
        // What a move of milescale's own has named is no change by hand.
        if self.is_blind {
            let reason =
                format!("it names {named}; whether a move did that is not known while its record cannot be read");
            return Standing::Stale { current: self.follower.followed(), reason };
        }
        let asked = hints.everything || hints.marker || hints.config || hints.database;
        if let Some((refused, reason)) = self.follower.refused().filter(|(refused, _)| *refused == named && !asked) {
            tracing::trace!(%refused, "still not followed");
            return Standing::Stale { current: self.follower.followed(), reason: reason.clone() };
        }
        let Some(in_use) = self.follower.followed() else { return Standing::Follows(named) };
        // Who only looks writes nothing down: whoever follows for good does.
        let lock = (self.mode == Mode::Writing).then(|| take_lock(&self.workspace, PATIENCE));
        if let Some(Ok(None)) = lock {
            self.is_held_up = true;
            let reason = format!("the marker names {named}, and another command is at work");
            return Standing::Stale { current: Some(in_use), reason };
        }
        let followed = self.store.as_ref().map(|opened| &*opened.store);
        let proven = proof::proves(&self.workspace, followed, in_use, named, config).and_then(|mut proof| {
            if let Some(lock) = lock {
                let _lock = lock.map_err(|error| format!("the migration's lock cannot be taken ({error})"))?;
                self.epoch = proof.follow(&self.workspace, (in_use, named), moment.timestamp(), notes)?;
            }
            Ok(proof)
        });
        match proven {
            Ok(proof) => {
                self.store = Some(proof.opened);
                (self.figures.store, self.surveyed, self.store_failed) = (None, None, None);
                self.follower.adopt(named, notes)
            }
            // What could not be read because of a stop says nothing.
            Err(reason) if self.workspace.stop().is_asked() => {
                Standing::Stale { current: self.follower.followed(), reason }
            }
            Err(why) => self.follower.refuse(named, &why, notes),
        }
    }

    /// Goes along with a switch of milescale's own, whichever process has made it.
    pub(super) fn follow_the_switch(&mut self, record: &io::Result<Record>) {
        match record {
            Ok(Record { epoch, in_use: Some(in_use), .. }) if *epoch > self.epoch => {
                self.epoch = *epoch;
                self.follower.switched(*in_use);
                (self.store, self.surveyed, self.store_failed, self.store_missed) = (None, None, None, true);
            }
            // Whichever it was, the switch has written marker and configuration.
            Ok(record) if record.is_lost() && record.epoch > self.epoch => {
                self.epoch = record.epoch;
                self.follower.forget();
                (self.store, self.surveyed, self.store_failed, self.store_missed) = (None, None, None, true);
            }
            Ok(record) if self.follower.followed().is_none() => {
                if let Some(in_use) = record.last_known() {
                    self.follower.switched(in_use);
                }
            }
            Ok(_) => {}
            Err(error) => {
                let place = self.shown(&self.workspace.record());
                self.unavailable.insert(place, format!("it cannot be read: {error}"));
            }
        }
    }

    pub(super) fn look_at_store(&mut self, hints: &Hints, moment: Moment, config: &Config) -> Option<Duration> {
        let missed = std::mem::replace(&mut self.store_missed, true);
        let Standing::Follows(in_use) = self.standing else { return None };
        let named = !hints.milestones.is_empty() || hints.database || hints.config || hints.cycle;
        if let Some(wait) = self.not_yet(moment).filter(|_| !hints.everything && !named) {
            if let Some((place, cause)) = &self.store_failed {
                self.unavailable.insert(place.clone(), cause.clone());
                return Some(wait);
            }
            if !missed {
                self.store_missed = false;
                return Some(wait);
            }
        }
        let extent = if hints.everything || missed {
            Extent::Everything
        } else {
            Extent::Paths(hints.milestones.iter().cloned().collect())
        };
        let survey = self.survey(in_use, &extent, moment, config);
        let ended = Instant::now();
        let took = ended.duration_since(moment.instant);
        self.surveyed = Some((ended, took));
        match survey {
            Ok(Survey { figures, widened, fresh }) => {
                self.store_failed = None;
                if extent == Extent::Everything || widened {
                    self.seen_all = Some(ended);
                }
                // The watch of a new folder may have been set only after it was looked into.
                self.store_missed = widened;
                self.follower.read_in_full(in_use);
                self.figures.store = Some(figures);
                self.fresh = fresh.into_iter().collect();
                let fresh = (!self.fresh.is_empty()).then_some(FRESH_AFTER);
                earlier(fresh, self.store_missed.then_some(NEW_FOLDER_AFTER))
            }
            // The store has not failed: nobody waited for its answer.
            Err(StoreError { problem: Problem::Stopped, .. }) => None,
            Err(StoreError { place, cause, .. }) => {
                self.unavailable.insert(place.clone(), cause.clone());
                self.store_failed = Some((place, cause));
                Some(pause(took))
            }
        }
    }

    /// How long the store is left alone still, so that one that takes long, or answers nothing, is not asked all the time.
    fn not_yet(&self, moment: Moment) -> Option<Duration> {
        let (ended, took) = self.surveyed?;
        let due = ended + if self.store_failed.is_some() { pause(took) } else { took * (AT_MOST_ONE_IN - 1) };
        due.checked_duration_since(moment.instant).filter(|wait| !wait.is_zero())
    }

    fn survey(
        &mut self,
        in_use: InUse,
        extent: &Extent,
        moment: Moment,
        config: &Config,
    ) -> Result<Survey, StoreError> {
        if let Some(lost) = lost_files(&self.workspace, in_use) {
            return Err(lost);
        }
        let remembered = self.figures.store.map_or(0, |store| store.milestone_count);
        let opened = Opened::open(self.store.take(), &self.workspace, in_use, config, remembered)?;
        let store = &mut self.store.insert(opened).store;
        store.survey(extent, moment.wall)
    }

    /// Looks after the store in use, under the daemon's lock: milescale's own tables, what is derived, what was displaced.
    /// What is to be overwritten is noted; [`Sources::mend`] does it, once it was said. When to look again.
    pub(crate) fn tend(&mut self, moment: Moment, notes: &mut Vec<Note>) -> Option<Duration> {
        if !self.store_is_read() {
            return None;
        }
        let store = &mut self.store.as_mut()?.store;
        match store.differing(moment.wall) {
            Ok((due, again)) => {
                if !due.is_empty() {
                    notes.push(Note::IndexMended(due));
                }
                again
            }
            Err(error) => {
                tracing::warn!(%error, "the index cannot be compared with the files");
                None
            }
        }
    }

    /// Says what has become unavailable, and what has come back.
    pub(super) fn say_unavailable(&mut self, notes: &mut Vec<Note>) {
        for (source, reason) in &self.unavailable {
            if self.said.insert(source.clone(), reason.clone()).is_none() {
                notes.push(Note::SourceUnavailable { source: source.clone(), reason: reason.clone() });
            }
        }
        let recovered: Vec<String> =
            self.said.keys().filter(|source| !self.unavailable.contains_key(*source)).cloned().collect();
        for source in recovered {
            self.said.remove(&source);
            notes.push(Note::SourceRecovered { source });
        }
    }

    /// Mends what was noted.
    pub(crate) fn mend(&mut self) {
        let mended = self.store.as_mut().map_or(Ok(()), |opened| opened.store.mend());
        self.index_refuses = None;
        if let Err(error) = mended {
            tracing::warn!(%error, "the index is not mended yet");
            if error.problem == Problem::Refused {
                let cause = "milestones are missing in it, or stand there as they were; drop what somebody has put there, or remove the file: it is \
                             built anew";
                self.index_refuses = Some((error.place, format!("{TAKES_NOT} ({}): {cause}", error.cause)));
            }
        }
    }

    /// What a cycle does beside its look: milescale's own tables are made, ids remembered, displaced contents looked at.
    /// The first failure is that of the store's tables, the second that of what is kept for some days, the third that of the ids.
    pub(crate) fn tend_each_cycle(&mut self, moment: Moment) -> [io::Result<()>; 3] {
        // Those that were written to are announced with the other conflicts.
        let reviewed = displaced::review(&self.workspace, moment.wall).map(drop);
        let follows = self.store_is_read();
        let adopted = self.store.as_mut().filter(|_| follows).map(|opened| opened.store.adopt());
        let reviewed = reviewed.and(self.purge(moment, matches!(adopted, Some(Ok(())))));
        let Some(opened) = self.store.as_mut().filter(|_| follows) else { return [Ok(()), reviewed, Ok(())] };
        let adopted = match adopted {
            Some(Err(error)) if error.problem != Problem::Stopped => Err(io::Error::other(error.to_string())),
            _ => Ok(()),
        };
        let kept = self.last_ids.keep(&self.workspace, opened);
        let facts = opened.store.keep_facts(Occasion::Cycle).map_err(|error| io::Error::other(error.to_string()));
        [adopted, reviewed, kept.and(facts)]
    }

    /// Counts the days, and once a day removes what has been kept for long enough; in the store too where it has its tables.
    fn purge(&mut self, moment: Moment, has_tables: bool) -> io::Result<()> {
        let measured = self.day_began.map(|began| moment.instant.duration_since(began));
        let Some(mut day) = NewDay::begin(&self.workspace, moment.timestamp(), measured)? else { return Ok(()) };
        displaced::purge(&self.workspace, moment.wall, &mut day)?;
        backup::see(&self.workspace, &mut day)?;
        if let Some(opened) = self.store.as_mut().filter(|_| has_tables)
            && let Err(error) = opened.store.purge_kept(&mut |name, kept| day.is_over(name, kept))
        {
            tracing::warn!(%error, "contents that were kept for long enough cannot be removed");
        }
        day.end(&self.workspace)?;
        // A process that lives on goes by a clock that nobody sets.
        self.day_began = Some(moment.instant);
        Ok(())
    }

    /// Keeps what makes the next start quick.
    pub(crate) fn close(&mut self) {
        let Some(opened) = &mut self.store else { return };
        if let Err(error) = opened.store.keep_facts(Occasion::End) {
            tracing::warn!(%error, "the next start reads everything");
        }
    }
}

/// When to try again after a look that failed and took so long.
fn pause(took: Duration) -> Duration {
    RETRY_AFTER.max(took * (AT_MOST_ONE_IN - 1))
}
