//! Migrations in the engine: what a crash left is recovered before anything is looked at, old stores are swept, and a
//! recommendation is carried out where the configuration says so.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use milescale_core::backend::{Backend, Engine as Database, InUse};
use milescale_core::config::Choice;
use milescale_core::decision::Decision;
use milescale_core::migration::Phase;
use milescale_document::timestamp;
use milescale_migration::{Context, Error, Recovered, Said, Told, Wish, migrate, plan, recover};
use milescale_sensing::watch::Hints;
use milescale_storage::postgres::waits_for_consent;
use milescale_workspace::Workspace;
use milescale_workspace::record::Record;

use super::teller::Teller;
use super::{Engine, Mode};
use crate::note::Note;
use crate::sources::{Moment, earlier};
use crate::state::Tries;
use crate::sweeps::NOT_FOLLOWED;

/// Attempts of one pair before it is left to a person.
const ATTEMPTS: u32 = 3;

/// Cycles after a start before milescale migrates by itself: the figures of a start may be those of a bad moment.
const FIRST_CYCLES: u32 = 2;

/// How long an old store must have been out of reach before that is said.
const UNSWEPT_FOR: Duration = Duration::from_secs(2);

/// When to look again at a change that has not stood still, where nothing else says so.
const LOOK_AGAIN: Duration = Duration::from_millis(400);

/// Seconds in which so many automatic migrations may be.
const DAY: i64 = 24 * 3600;

impl Engine {
    /// Recovers what a crash has left, where no other process is at work. Whether there was something.
    pub(super) fn recover(&mut self) -> bool {
        if self.mode == Mode::ReadOnly || !self.workspace.own().is_folder() {
            return false;
        }
        let Some(_lock) = self.sweeps.take_lock(&self.workspace) else { return false };
        let mut teller = Teller::of(&mut self.output, &self.config, &self.sources, self.decision.as_ref());
        let mut tell = |told| teller.tell(&told);
        let recovered = recover(
            Said::Nothing,
            &mut Context {
                workspace: &self.workspace,
                config: self.config.config(),
                clock: SystemTime::now,
                stop: &|| self.workspace.stop().is_asked(),
                tell: &mut tell,
            },
        );
        let why_not = match &recovered {
            // One that is stuck is told as that.
            Ok(Recovered::Stuck(why)) if !is_stuck(&self.workspace) => Some(why.clone()),
            Ok(_) | Err(Error::Stopped) => None,
            Err(error) => Some(format!("the interrupted migration cannot be recovered: {error}")),
        };
        self.sweeps.recovered(why_not, &self.workspace);
        match recovered {
            Ok(recovered) => !matches!(recovered, Recovered::Nothing | Recovered::Stuck(_)),
            Err(error) => {
                tracing::error!(%error, "what an interrupted migration left cannot be recovered now");
                false
            }
        }
    }

    /// Recovers where a migration was interrupted meanwhile, and sweeps old stores. When to look again.
    pub(super) fn look_after_old_stores(&mut self, hints: &Hints, record: &io::Result<Record>) -> Option<Duration> {
        if self.mode == Mode::ReadOnly {
            if let (Ok(record), Some(followed)) = (record, self.sources.followed_store()) {
                self.sweeps.look_for_record(record, &self.workspace, followed);
            }
            return None;
        }
        let interrupted = record.as_ref().is_ok_and(|record| record.intent.is_some());
        if !interrupted && record.is_ok() {
            self.sweeps.recovered(None, &self.workspace);
        }
        let locked_out = self.sweeps.locked_out().is_some() && hints.cycle;
        if (interrupted || locked_out) && self.recover() {
            return Some(Duration::from_millis(10));
        }
        let stop = self.stop.clone();
        // What the events name is the store in use at the look.
        let mut teller = Teller::of(&mut self.output, &self.config, &self.sources, self.decision.as_ref());
        let mut tell = |told| teller.tell(&told);
        let mut context = Context {
            workspace: &self.workspace,
            config: self.config.config(),
            clock: SystemTime::now,
            stop: &|| stop.is_asked(),
            tell: &mut tell,
        };
        let again = match self.sources.followed_store() {
            Some(followed) => self.sweeps.pass(record, followed, hints, &mut context),
            None => {
                self.sweeps.cannot(record, &self.workspace);
                None
            }
        };
        let imported = teller.has_imported;
        self.say_what_cannot_be_swept();
        // What was brought over changes the figures.
        if imported { earlier(again, Some(Duration::from_millis(10))) } else { again }
    }

    /// Brings over what was written to old stores, and waits for so long at most until it has stood still: for who looks only
    /// once.
    pub fn bring_over(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        loop {
            let record = Record::load(&self.workspace);
            let again = self.look_after_old_stores(&Hints::everything(), &record);
            let left = end.saturating_duration_since(Instant::now());
            if self.sweeps.is_settled() || left.is_zero() || self.stop.is_asked() {
                return;
            }
            std::thread::sleep(again.unwrap_or(LOOK_AGAIN).min(left));
        }
    }

    /// Says which old stores cannot be swept, each once, and which can be again.
    fn say_what_cannot_be_swept(&mut self) {
        let now = self.sweeps.problems();
        self.unswept_since.retain(|place, _| now.contains_key(place));
        let mut notes = Vec::new();
        for (place, reason) in &now {
            let since = self.unswept_since.entry(place.clone()).or_insert_with(Instant::now);
            let is_due = !self.waits || since.elapsed() >= UNSWEPT_FOR;
            if is_due && !self.state.unswept.contains_key(place) {
                self.state.unswept.insert(place.clone(), reason.clone());
                notes.push(Note::SourceUnavailable { source: place.clone(), reason: reason.clone() });
            }
        }
        let mended: Vec<String> = self.state.unswept.keys().filter(|it| !now.contains_key(*it)).cloned().collect();
        for source in mended {
            self.state.unswept.remove(&source);
            notes.push(Note::SourceRecovered { source });
        }
        self.say_all(&notes);
    }

    /// What cannot be swept, in words: of an engine that only reads, as the last one that writes has found it.
    pub(crate) fn unswept(&self) -> Vec<String> {
        let problems = if self.mode == Mode::ReadOnly {
            self.last_unswept()
        } else {
            let mut problems = self.sweeps.problems();
            // While a switch is being followed, that is so for a moment.
            problems.retain(|place, why| why != NOT_FOLLOWED || self.state.unswept.contains_key(place));
            problems
        };
        problems.into_iter().map(|(place, reason)| format!("{place}: {reason}")).collect()
    }

    /// What the last engine that writes could not sweep, but for what is over: stores that are no old ones any more, a move that
    /// was undone, a store in use that can be read again; and what this one has found without sweeping.
    fn last_unswept(&self) -> BTreeMap<String, String> {
        let mut problems = self.state.unswept.clone();
        let is_read = self.sources.is_read();
        problems.retain(|_, why| !is_read || why != NOT_FOLLOWED);
        if let Ok(record) = Record::load(&self.workspace) {
            let [lock, own] =
                [self.workspace.migration_lock(), self.workspace.record()].map(|path| self.workspace.shown(&path));
            let is_old = |place: &str| record.swept().any(|old| old.name == place);
            problems.retain(|place, _| *place == lock || *place == own && record.intent.is_some() || is_old(place));
        }
        problems.extend(self.sweeps.problems());
        problems
    }

    fn say_told(&mut self, told: &Told) {
        Teller::of(&mut self.output, &self.config, &self.sources, self.decision.as_ref()).tell(told);
    }

    /// Attempts of milescale's own at the pair that is recommended that failed, and why the last one did.
    pub(crate) fn failed_attempts(&self) -> (u32, Option<String>) {
        self.state.tries.as_ref().map_or((0, None), |tries| (tries.failed, Some(tries.reason.clone())))
    }

    /// Whether people have paused automatic migrations.
    pub(crate) fn is_paused(&self) -> bool {
        // Whatever has the name: what cannot be read is no word to go on.
        self.workspace.paused().status_of_name().is_ok()
    }

    /// Whether a recommended move is milescale's to carry out, by itself. `None`: it is a person's.
    pub(super) fn is_automatic(&self, decision: &Decision, pair: (Backend, Backend)) -> bool {
        let config = self.config.config();
        let may = config.migration.auto_migrate && config.backend == Choice::Auto && !self.is_paused();
        let upwards = pair.1 > pair.0 || config.migration.auto_downscale;
        let left = self.state.tries.as_ref().is_none_or(|tries| tries.pair != pair || tries.failed < ATTEMPTS);
        may && upwards && left && !decision.stale
    }

    /// Whether it may be carried out now.
    pub(super) fn may_begin(&mut self, pair: (Backend, Backend), moment: Moment) -> bool {
        let kept_back = self.kept_back(pair, moment);
        if let Some(tries) = self.state.tries.as_mut().filter(|tries| tries.pair == pair && tries.wait > 0) {
            tries.wait -= 1;
        }
        kept_back.is_none()
    }

    /// The sentence that gives consent to the server of a move, where that is missing.
    fn lacks_consent(&self, pair: (Backend, Backend)) -> Option<String> {
        let database = &self.config.config().database;
        let is_there = pair.1 == Backend::Database && database.engine == Database::Postgresql;
        is_there.then(|| waits_for_consent(&self.workspace, database)).flatten()
    }

    /// Warns of a recommended move that waits for consent, once.
    pub(super) fn warn_of_missing_consent(&mut self, pair: (Backend, Backend)) {
        let lacking = self.lacks_consent(pair).filter(|_| self.config.config().migration.auto_migrate);
        if let Some(why) = lacking.as_ref().filter(|_| lacking != self.warned) {
            tracing::warn!(%why, "the recommended move waits");
        }
        self.warned = lacking;
    }

    /// What keeps a recommended move from being carried out now, in words, where `auto_migrate` is on.
    pub(crate) fn kept_back(&self, pair: (Backend, Backend), moment: Moment) -> Option<String> {
        let migration = &self.config.config().migration;
        if !migration.auto_migrate {
            return None;
        }
        if let Choice::Pinned(pinned) = self.config.config().backend {
            return Some(format!("the configuration pins {pinned}; `backend: auto` lets milescale move by itself"));
        }
        if self.is_paused() {
            return Some("automatic migrations are paused; `milescale resume` lets them go on".to_owned());
        }
        if pair.1 < pair.0 && !migration.auto_downscale {
            return Some("a smaller backend is taken by itself only with auto_downscale".to_owned());
        }
        // Not tried, and so no attempt is lost before somebody has said it.
        if let Some(sentence) = self.lacks_consent(pair) {
            return Some(sentence);
        }
        if let Some(tries) = self.state.tries.as_ref().filter(|tries| tries.pair == pair) {
            let failed = format!("{} attempts failed, the last because: {}", tries.failed, tries.reason);
            if tries.failed >= ATTEMPTS {
                return Some(failed);
            }
            if tries.wait > 0 {
                return Some(format!("{failed}; the next one follows after {} more cycles", tries.wait));
            }
        }
        if self.waits && self.cycles < FIRST_CYCLES {
            return Some("nothing moves in the first cycles after a start".to_owned());
        }
        match Record::load(&self.workspace) {
            Err(error) => Some(format!("{}: {error}", self.workspace.shown(&self.workspace.record()))),
            Ok(record) if record.intent.is_some() => Some("another migration is under way".to_owned()),
            Ok(record) => self.daily_limit(&record, moment),
        }
    }

    /// Whether so many moves of milescale's own were made within a day that no other one may be.
    fn daily_limit(&self, record: &Record, moment: Moment) -> Option<String> {
        let limit = self.config.config().migration.automatic_per_day;
        let now = moment.timestamp();
        // What lies ahead was written while the clock was wrong, and says nothing of today.
        let is_of_today = |ended: jiff::Timestamp| (0..DAY).contains(&(now.as_second() - ended.as_second()));
        let own = record.past.iter().filter(|past| past.automatic && past.failed.is_none());
        let recent = own.filter(|past| timestamp::from_text(&past.ended).is_some_and(is_of_today)).count() as u64;
        (recent >= limit).then(|| {
            format!(
                "{recent} automatic migrations were made within the last 24 hours, and migration.automatic_per_day is \
                 {limit}"
            )
        })
    }

    /// Carries out the move that is due. `stop` is asked between any two milestones; `progress` is told how far it is.
    pub fn migrate(&mut self, stop: &dyn Fn() -> bool, progress: &mut dyn FnMut(&Told)) {
        let Some(pair) = self.wanted.take() else { return };
        let (Some(from), engine) = (self.sources.current().0, self.config.config().database.engine) else { return };
        if from.backend != pair.0 {
            return;
        }
        let to = InUse::new(pair.1, engine);
        let Some(_lock) = self.sweeps.take_lock(&self.workspace) else {
            if let Some(reason) = self.sweeps.locked_out() {
                progress(&Told::Failed { from, to, reason });
            }
            return;
        };
        // Before the lock was ours, another command may have moved them: the next cycle goes by that.
        let record = Record::load(&self.workspace);
        if record.is_ok_and(|record| record.intent.is_some() || record.epoch > self.sources.epoch()) {
            return;
        }
        match self.carry_out(from, to, stop, progress) {
            Ok(()) => self.state.tries = None,
            // It was not its fault, and nothing has changed.
            Err(_) if stop() => {}
            Err(reason) => {
                tracing::error!(%from, %to, reason, "the migration failed; {from} is in use as before");
                let failed = self.state.tries.take().filter(|tries| tries.pair == pair).map_or(1, |it| it.failed + 1);
                self.state.tries = Some(Tries { pair, failed, wait: 1 << failed, reason });
            }
        }
        self.save();
    }

    fn carry_out(
        &mut self,
        from: InUse,
        to: InUse,
        stop: &dyn Fn() -> bool,
        progress: &mut dyn FnMut(&Told),
    ) -> Result<(), String> {
        let record = Record::load(&self.workspace).map_err(|error| error.to_string())?;
        let environment = self.config.environment().clone();
        let wish = Wish {
            from,
            to,
            engine_of_environment: environment.database_type,
            url_of_environment: environment.database_url,
            // To take over what another program has filled is a person's to say.
            adopt: None,
            automatic: true,
            restores: false,
        };
        let (workspace, config) = (self.workspace.clone(), self.config.config().clone());
        let mut tell = |told: Told| {
            progress(&told);
            self.say_told(&told);
        };
        let mut context =
            Context { workspace: &workspace, config: &config, clock: SystemTime::now, stop, tell: &mut tell };
        let plan = plan(&wish, &record, &mut context).map_err(|error| error.to_string())?;
        if !plan.is_possible() {
            let reason = plan.obstacles_text();
            (context.tell)(Told::Failed { from, to, reason: reason.clone() });
            return Err(reason);
        }
        let done = migrate(&wish, &plan, &mut context).map_err(|error| error.to_string())?;
        tracing::info!(%from, %to, milestones = done.milestones, seconds = done.seconds, "migrated");
        Ok(())
    }
}

/// Whether a migration is stuck, and waits for a person.
fn is_stuck(workspace: &Workspace) -> bool {
    let intent = Record::load(workspace).ok().and_then(|record| record.intent);
    intent.is_some_and(|intent| intent.phase == Phase::Stuck)
}
