//! Migrations and what belongs to them, for the commands: each takes the migration's lock, recovers first what a crash has
//! left, and says what it does in the scale events.

mod anew;
mod back;
mod bringing;
mod follow;
mod gone;
mod identity;

use std::io;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use milescale_core::backend::{Backend, Engine, InUse};
use milescale_core::base::Side;
use milescale_core::config::{Choice, Config};
use milescale_core::line::{EventName, ScaleEvent};
use milescale_core::migration::Adopt;
use milescale_migration::{
    Context, Done, Holding, Memory, Plan, Recovered, Restored, Retired, Said, Told, Wish, migrate, plan, recover,
    restore, retire, store_of, take_lock,
};
use milescale_storage::open::Which;
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::backup::{Backup, Metadata};
use milescale_workspace::durable;
use milescale_workspace::jsonl::{self, Rotation};
use milescale_workspace::lock::Held;
use milescale_workspace::record::Record;
use milescale_workspace::restoring::Restoring;
use serde_json::Value;

pub use follow::Unproven;
pub use gone::Gone;

use crate::access::{in_use, lost_files, other_than_the_daemons};
use crate::config::{ConfigKeeper, Environment};
use crate::sources::opened::LastIds;

/// How long another command of milescale's is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long changes are waited for that have not stood still for long enough.
const STILL_WITHIN: Duration = Duration::from_secs(30);

/// The wall clock.
fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Who carries out commands on a workspace.
#[derive(Debug)]
pub struct Mover {
    workspace: Workspace,
    environment: Environment,
    keeper: ConfigKeeper,
}

/// The migration's lock, held, and what was found under it.
#[derive(Debug)]
struct Begun {
    /// The workspace as it is since: what was recovered may have put another store in use.
    now: Mover,
    recovered: Recovered,
    _held: Held,
}

impl Mover {
    /// Opens a workspace. Nothing is looked at yet.
    pub fn new(workspace: Workspace, environment: Environment) -> Self {
        let keeper = ConfigKeeper::start(workspace.clone(), environment.clone());
        Self { workspace, environment, keeper }
    }

    /// The workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        self.keeper.config()
    }

    /// The backend that the configuration pins, where it does.
    pub fn pinned(&self) -> Option<Backend> {
        match self.config().backend {
            Choice::Auto => None,
            Choice::Pinned(backend) => Some(backend),
        }
    }

    /// The store in use.
    ///
    /// # Errors
    /// Why it is not known, in words.
    pub fn in_use(&self) -> Result<InUse, String> {
        in_use(&self.workspace, &self.keeper).map(|(in_use, ..)| in_use)
    }

    /// The store that marker and configuration name, where that is not the one in use.
    ///
    /// # Errors
    /// Why one of them is not known, in words.
    pub fn named_instead(&self) -> Result<Option<InUse>, String> {
        let (in_use, named, _) = in_use(&self.workspace, &self.keeper)?;
        Ok(Some(named).filter(|named| *named != in_use))
    }

    /// The store that a backend and an engine mean here.
    pub fn store(&self, backend: Backend, engine: Option<Engine>) -> InUse {
        InUse::new(backend, engine.unwrap_or(self.config().database.engine))
    }

    /// The store that was in use before the last migration.
    ///
    /// # Errors
    /// When there was none.
    pub fn before(&self) -> Result<InUse, String> {
        self.has_record()?;
        let record = self.record()?;
        let last = record.past.iter().rev().find(|past| past.failed.is_none());
        last.map(|past| past.from).ok_or_else(|| "no migration of milescale's was done here yet".to_owned())
    }

    /// The record of migrations.
    pub fn record(&self) -> Result<Record, String> {
        let shown = self.workspace.shown(&self.workspace.record());
        Record::load(&self.workspace).map_err(|error| format!("{shown}: {error}"))
    }

    /// What a migration would do. Changes nothing.
    pub fn plan(&self, to: InUse, adopt: Option<Adopt>, stop: &dyn Fn() -> bool) -> Result<Plan, String> {
        let (mut silent, from, record) = (|_| {}, self.in_use()?, self.record()?);
        self.is_there(from)?;
        let mut context = self.context(stop, &mut silent);
        plan(&self.wish(from, to, adopt), &record, &mut context).map_err(|error| error.to_string())
    }

    /// The changes of an old store that wait for `milescale import`; none of another one.
    ///
    /// # Errors
    /// When what is remembered of them cannot be read.
    pub fn held(&self, side: Side) -> Result<Vec<String>, String> {
        let is_old = self.record()?.old.iter().any(|old| old.side == side);
        let memory = Memory::load(&self.workspace)?;
        Ok(memory.held_ids(side).filter(|_| is_old).map(str::to_owned).collect())
    }

    fn wish(&self, from: InUse, to: InUse, adopt: Option<Adopt>) -> Wish {
        Wish {
            from,
            to,
            engine_of_environment: self.environment.database_type.clone(),
            url_of_environment: self.environment.database_url.clone(),
            adopt,
            automatic: false,
            restores: false,
        }
    }

    fn context<'a>(&'a self, stop: &'a dyn Fn() -> bool, tell: &'a mut dyn FnMut(Told)) -> Context<'a> {
        Context { workspace: &self.workspace, config: self.config(), clock: SystemTime::now, stop, tell }
    }

    /// Takes the migration's lock and recovers what a crash has left. What was known before may be another workspace's by then:
    /// whoever acts goes by [`Begun::now`].
    fn begin(&self, said: Said, tell: &mut dyn FnMut(Told)) -> Result<Begun, String> {
        let shown = self.workspace.shown(&self.workspace.migration_lock());
        let held = take_lock(&self.workspace, PATIENCE).map_err(|error| format!("{shown}: {error}"))?;
        let held = held.ok_or_else(|| format!("{shown}: another migration is under way; wait for its end"))?;
        if let Some(why) = self.other_than_the_daemons()? {
            return Err(why);
        }
        let mut tell = self.saying(tell);
        let recovered = recover(said, &mut self.context(&|| false, &mut tell)).map_err(|error| error.to_string())?;
        Ok(Begun { now: self.anew(), recovered, _held: held })
    }

    /// The same for who cannot go on where something is stuck.
    fn begin_unless_stuck(&self, said: Said, tell: &mut dyn FnMut(Told)) -> Result<Begun, String> {
        match self.begin(said, tell)? {
            Begun { recovered: Recovered::Stuck(why), .. } => Err(why),
            begun => Ok(begun),
        }
    }

    /// The same workspace, with its configuration read anew.
    fn anew(&self) -> Self {
        Self::new(self.workspace.clone(), self.environment.clone())
    }

    /// Recovers what a crash has left, so that what is asked and decided next goes by what is in use. The workspace since then,
    /// and whether an interrupted migration was finished.
    ///
    /// # Errors
    /// When the migration's lock cannot be had, or something is stuck: why, in words.
    pub fn recovered(&self, tell: &mut dyn FnMut(Told)) -> Result<(Self, bool), String> {
        let Begun { now, recovered, .. } = self.begin_unless_stuck(Said::Nothing, tell)?;
        Ok((now, recovered == Recovered::Finished))
    }

    fn other_than_the_daemons(&self) -> Result<Option<String>, String> {
        let store = self.open(self.in_use()?);
        Ok(store.ok().and_then(|store| other_than_the_daemons(&self.workspace, &*store)))
    }

    /// Says in the scale events what is told, and hands it on.
    fn saying<'a>(&'a self, tell: &'a mut dyn FnMut(Told)) -> impl FnMut(Told) + 'a {
        move |told| {
            self.say(told.event(), told.details());
            tell(told);
        }
    }

    /// Writes a scale event. The daemon rotates the log.
    pub fn say(&self, event: EventName, details: Value) {
        let current = self.in_use().ok().map(|in_use| in_use.backend);
        let line = ScaleEvent::new(now(), event, current, None, details);
        let path = self.workspace.scale_events();
        // The daemon and `check` announce again what is lost of conflicts; how far a migration is needs not last.
        let must_last = !matches!(event, EventName::WriteConflict | EventName::MigrationProgress);
        let written = durable::create_folder(&self.workspace.logs())
            .and_then(|_| jsonl::append(&path, &line, Rotation { at_bytes: u64::MAX, files: 1 }))
            .and_then(|()| if must_last { jsonl::sync(&path) } else { Ok(()) });
        if let Err(error) = written {
            tracing::error!(%error, event = event.as_str(), "the event cannot be written");
        }
    }

    /// Migrates. `adopt` says how a target is taken over that another program has filled.
    ///
    /// # Errors
    /// Why it was not done, in words; all obstacles at once.
    pub fn migrate(
        &self,
        to: InUse,
        adopt: Option<Adopt>,
        stop: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(Told),
    ) -> Result<Done, String> {
        let begun = self.begin_unless_stuck(Said::Nothing, tell)?;
        let wish = begun.now.wish(begun.now.in_use()?, to, adopt);
        begun.now.migrate_now(&wish, stop, tell)
    }

    /// Migrates under the migration's lock.
    fn migrate_now(&self, wish: &Wish, stop: &dyn Fn() -> bool, tell: &mut dyn FnMut(Told)) -> Result<Done, String> {
        let (from, to, record) = (wish.from, wish.to, self.record()?);
        if let Some(named) = self.named_instead()?.filter(|named| *named != to) {
            return Err(format!(
                "marker and configuration name {named}, and {from} is in use: other programs may write to {named}. \
                 `{}` moves the milestones there, `{}` writes back what stood there before",
                named.command(),
                from.command()
            ));
        }
        self.is_there(from)?;
        let mut tell = self.saying(tell);
        let mut context = self.context(stop, &mut tell);
        let plan = plan(wish, &record, &mut context).map_err(|error| error.to_string())?;
        if !plan.is_possible() {
            return Err(plan.obstacles_text());
        }
        if from.side() == Side::Files {
            LastIds::note(&self.workspace, from, self.config())?;
        }
        migrate(wish, &plan, &mut context).map_err(|error| error.to_string())
    }

    /// Refuses to take the files of a folder that was lost for none at all.
    ///
    /// # Errors
    /// Where that folder is the store in use: what to do.
    pub fn is_there(&self, in_use: InUse) -> Result<(), String> {
        lost_files(&self.workspace, in_use).map_or(Ok(()), |lost| Err(lost.to_string()))
    }

    /// Restores a backup: moves the milestones to the store that it was taken of, and makes them there what it says. A store in
    /// use that does not exist any more is made anew, and gets them itself.
    ///
    /// # Errors
    /// Why it was not done, in words.
    pub fn restore(
        &self,
        metadata: &Metadata,
        stop: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(Told),
    ) -> Result<Restored, String> {
        // All of it is read before anything moves: what is damaged changes nothing.
        Backup::open(&self.workspace, metadata).map_err(|error| error.to_string())?;
        let mut into = store_of(&metadata.from).ok_or_else(|| format!("{}: from names no store", metadata.id))?;
        // A person wants the store in use made anew: an unfinished move out of it cannot go by what it held.
        let said = self.gone()?.map_or(Said::Nothing, |gone| Said::IsGone(gone.in_use.side()));
        let begun = self.begin_unless_stuck(said, tell)?;
        let mut after = begun.now;
        let gone = after.gone()?;
        let is_anew = gone.is_some();
        // It comes into use for this: nobody relies on who may read it.
        let mut is_new = is_anew;
        if let Some(gone) = gone {
            if gone.is_in_the_way {
                return Err(format!("{}. {}", gone.what(), gone.do_this()));
            }
            // Nothing can be moved out of it.
            into = gone.in_use;
            after.noted(&metadata.id, || after.make_anew(into))?;
        } else if after.in_use()? != into {
            let wish = Wish { restores: true, ..after.wish(after.in_use()?, into, None) };
            after.noted(&metadata.id, || after.migrate_now(&wish, stop, tell))?;
            is_new = true;
            // The configuration may have changed with the move.
            after = after.anew();
        }
        // What others have written before comes before it, and is among what it displaces. A store that was made anew has nothing
        // yet that this could be judged by.
        if !is_anew && let Err(error) = after.bring_over(Holding::Batches, stop, tell) {
            tracing::warn!(error, "what was written to old stores is not brought over before the restore");
        }
        let mut tell = after.saying(tell);
        restore(metadata, into, is_new, &mut after.context(stop, &mut tell)).map_err(|error| {
            let half_done = Restoring::load(&after.workspace).ok().flatten();
            half_done.map_or_else(|| error.to_string(), |restoring| format!("{error}\n{}", restoring.sentence()))
        })
    }

    /// Does what comes before a restore, which a death after it would leave undone: that is written down first. What fails has
    /// changed nothing.
    fn noted<R>(&self, backup: &str, act: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
        let shown = self.workspace.shown(&self.workspace.restoring());
        let failed = |error: io::Error| format!("{shown}: {error}");
        let earlier = Restoring::load(&self.workspace).map_err(failed)?;
        Restoring::begin(backup, earlier.clone(), now()).save(&self.workspace).map_err(failed)?;
        let done = act();
        if done.is_err() {
            let put_back = match earlier {
                Some(earlier) => earlier.save(&self.workspace),
                None => Restoring::discard(&self.workspace),
            };
            put_back.map_err(failed)?;
        }
        done
    }

    /// Makes the store in use anew, which does not exist any more, with nothing in it.
    fn make_anew(&self, in_use: InUse) -> Result<(), String> {
        if let Some(named) = self.named_instead()? {
            return Err(format!(
                "{in_use} is in use and does not exist any more, and marker and configuration name {named}: `milescale doctor \
                 --fix` follows {named} at your word, `{}` writes back what stood there before; restore then",
                in_use.command()
            ));
        }
        self.open(in_use)?.prepare().map_err(|error| error.to_string())
    }

    fn open(&self, store: InUse) -> Result<Box<dyn Store>, String> {
        Which::of(store, self.config()).open(&self.workspace, 0).map_err(|error| error.to_string())
    }

    /// Retires an old store, or one that is gone as a person says.
    pub fn retire(
        &self,
        (side, is_gone): (Side, bool),
        stop: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(Told),
    ) -> Result<Retired, String> {
        let said = if is_gone { Said::IsGone(side) } else { Said::Nothing };
        let begun = self.begin(said, tell)?;
        begun.now.has_record()?;
        if is_gone && begun.recovered == Recovered::Undone && !begun.now.is_old_store(side)? {
            return Ok(Retired::Gone);
        }
        let in_use = begun.now.in_use()?;
        let waiting = Memory::load(&self.workspace)?.held(side);
        let mut tell = begun.now.saying(tell);
        let mut context = begun.now.context(stop, &mut tell);
        retire((side, is_gone), in_use, waiting, &mut context).map_err(|error| error.to_string())
    }

    /// Whether the old store of a side is retired.
    ///
    /// # Errors
    /// When the record of moves cannot be read.
    pub fn is_retired(&self, side: Side) -> Result<bool, String> {
        Ok(self.record()?.is_retired(side))
    }

    fn is_old_store(&self, side: Side) -> Result<bool, String> {
        Ok(self.record()?.old.iter().any(|old| old.side == side))
    }

    /// Tries again what is stuck, at a person's word.
    pub fn unstick(&self, tell: &mut dyn FnMut(Told)) -> Result<Recovered, String> {
        self.begin(Said::TryAgain, tell).map(|begun| begun.recovered)
    }
}
