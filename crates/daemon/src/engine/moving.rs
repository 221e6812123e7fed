//! Migrations in the engine: what a crash left is recovered before anything is looked at, old stores are swept, and a
//! recommendation is carried out where the configuration says so.

use std::io;
use std::time::{Duration, SystemTime};

use milescale_core::backend::{Backend, InUse};
use milescale_core::config::Choice;
use milescale_core::decision::Decision;
use milescale_migration::{Context, Recovered, Told, Wish, migrate, plan, recover, take_lock};
use milescale_sensing::watch::Hints;
use milescale_storage::record::Record;

use super::{Engine, Mode};
use crate::sources::{Moment, earlier};
use crate::state::Tries;

/// Attempts of one pair before it is left to a person.
const ATTEMPTS: u32 = 3;

/// Cycles after a start before milescale migrates by itself: the figures of a start may be those of a bad moment.
const FIRST_CYCLES: u32 = 2;

/// Seconds in which so many automatic migrations may be.
const DAY: i64 = 24 * 3600;

impl Engine {
    /// Recovers what a crash has left, where no other process is at work. Whether there was something.
    pub(super) fn recover(&mut self) -> bool {
        if self.mode == Mode::ReadOnly || !self.workspace.own().is_dir() {
            return false;
        }
        let Ok(Some(_lock)) = take_lock(&self.workspace, Duration::ZERO) else { return false };
        let mut told = Vec::new();
        let recovered = {
            let mut tell = |it| told.push(it);
            let config = self.config.config();
            let context = Context {
                workspace: &self.workspace,
                config,
                clock: SystemTime::now,
                stop: &|| false,
                tell: &mut tell,
            };
            let mut context = context;
            recover(false, &mut context)
        };
        self.say_told(told);
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
            return None;
        }
        let interrupted = record.as_ref().is_ok_and(|record| record.intent.is_some());
        if interrupted && self.recover() {
            return Some(Duration::from_millis(10));
        }
        let mut told = Vec::new();
        let config = self.config.config();
        let again = match self.sources.followed_store() {
            Some((in_use, store)) => {
                self.sweeps.pass(&self.workspace, config, record, (in_use, store), hints, &mut told)
            }
            None => None,
        };
        let imported = told.iter().any(|it| matches!(it, Told::Imported(..)));
        self.say_told(told);
        // What was brought over changes the figures.
        if imported { earlier(again, Some(Duration::from_millis(10))) } else { again }
    }

    pub(super) fn say_told(&mut self, told: Vec<Told>) {
        for it in told {
            let (event, details) = (it.event(), it.details());
            match it {
                Told::Failed { .. } | Told::Stuck { .. } | Told::Conflict { .. } | Told::Held(..) => {
                    tracing::warn!(%details, "{}", event.as_str());
                }
                _ => tracing::info!(%details, "{}", event.as_str()),
            }
            self.say(event, details);
        }
    }

    /// Attempts of milescale's own at the pair that is recommended that failed, and why the last one did.
    pub(crate) fn failed_attempts(&self) -> (u32, Option<String>) {
        self.state.tries.as_ref().map_or((0, None), |tries| (tries.failed, Some(tries.reason.clone())))
    }

    /// Whether people have paused automatic migrations.
    pub(crate) fn is_paused(&self) -> bool {
        self.workspace.paused().exists()
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
        if self.waits && self.cycles < FIRST_CYCLES {
            return false;
        }
        if let Some(tries) = self.state.tries.as_mut().filter(|tries| tries.pair == pair && tries.wait > 0) {
            tries.wait -= 1;
            return false;
        }
        let Ok(record) = Record::load(&self.workspace) else { return false };
        let now = moment.timestamp();
        let recent = record.past.iter().filter(|past| past.automatic && past.failed.is_none()).filter(|past| {
            let ended = milescale_core::timestamp::from_text(&past.ended);
            ended.is_some_and(|ended| now.as_second() - ended.as_second() < DAY)
        });
        record.intent.is_none() && (recent.count() as u64) < self.config.config().migration.automatic_per_day
    }

    /// Carries out the move that is due. `stop` is asked between any two milestones; `progress` is told how far it is.
    pub fn migrate(&mut self, stop: &dyn Fn() -> bool, progress: &mut dyn FnMut(&Told)) {
        let Some(pair) = self.wanted.take() else { return };
        let (Some(from), engine) = (self.sources.current().0, self.config.config().database.engine) else { return };
        if from.backend != pair.0 {
            return;
        }
        let to = InUse::new(pair.1, engine);
        let Ok(Some(_lock)) = take_lock(&self.workspace, Duration::ZERO) else { return };
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
        };
        let (workspace, config) = (self.workspace.clone(), self.config.config().clone());
        let mut tell = |told: Told| {
            progress(&told);
            self.say_told(vec![told]);
        };
        let mut context =
            Context { workspace: &workspace, config: &config, clock: SystemTime::now, stop, tell: &mut tell };
        let plan = plan(&wish, &record, &mut context).map_err(|error| error.to_string())?;
        if !plan.is_possible() {
            let reason = plan.obstacles_text();
            self.say_told(vec![Told::Failed { from, to, reason: reason.clone() }]);
            return Err(reason);
        }
        let done = migrate(from, to, plan.milestones, true, &mut context).map_err(|error| error.to_string())?;
        tracing::info!(%from, %to, milestones = done.milestones, seconds = done.seconds, "migrated");
        Ok(())
    }
}
