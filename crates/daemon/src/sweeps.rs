//! Old stores looked after by the daemon: swept when something changed in them, and with each cycle.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use milescale_core::backend::InUse;
use milescale_core::base::Side;
use milescale_core::config::Config;
use milescale_migration::{Context, Error, Holding, Sweeper, Told, held, take_lock};
use milescale_sensing::watch::Hints;
use milescale_storage::open::Which;
use milescale_storage::record::{Old, Record};
use milescale_storage::store::Store;
use milescale_storage::workspace::Workspace;

use crate::sources::earlier;

/// When to look again at a change that has not stood for long enough.
const AGAIN: Duration = Duration::from_millis(400);

/// How often a server is asked, which tells nothing by itself.
const ASK_SERVER_EVERY: Duration = Duration::from_secs(2);

/// When to try again where a store cannot be read, or another command is at work.
const RETRY: Duration = Duration::from_secs(2);

/// The sweepers of the old stores.
#[derive(Debug, Default)]
pub(crate) struct Sweeps {
    sweepers: Vec<Sweeper>,
    /// Something may have changed since the last pass.
    due: bool,
    /// When the servers were asked last.
    asked: Option<Instant>,
    /// Old stores that cannot be swept now, and why.
    problems: Vec<String>,
}

impl Sweeps {
    /// Old stores that cannot be swept now, and why.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether another look is due because of a change that waits.
    pub(crate) fn is_settled(&self) -> bool {
        !self.due
    }

    /// Sweeps what is due into the store in use; `record` is what milescale had moved when the look began. When to look
    /// again without a hint.
    pub(crate) fn pass(
        &mut self,
        workspace: &Workspace,
        config: &Config,
        record: &io::Result<Record>,
        (in_use, current): (InUse, &mut dyn Store),
        hints: &Hints,
        told: &mut Vec<Told>,
    ) -> Option<Duration> {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                self.problems = vec![format!("{}: {error}", workspace.shown(&workspace.record()))];
                return Some(RETRY);
            }
        };
        // What a person has changed by hand has no base: nothing is brought over then.
        if record.in_use != Some(in_use) || record.intent.is_some() || record.swept().next().is_none() {
            self.sweepers.clear();
            self.problems.clear();
            return None;
        }
        let server = record.swept().any(|old| old.side == Side::Postgresql);
        let ask = server && self.asked.is_none_or(|asked| asked.elapsed() >= ASK_SERVER_EVERY);
        self.due |=
            hints.everything || hints.cycle || hints.database || hints.config || !hints.milestones.is_empty() || ask;
        let next = server.then_some(ASK_SERVER_EVERY);
        if !self.due {
            return next;
        }
        // Another command may be at work, which sweeps too.
        let Ok(Some(_lock)) = take_lock(workspace, Duration::ZERO) else { return Some(AGAIN) };
        // Before the lock was ours, another command may have moved the milestones: the next look goes by that.
        if !Record::load(workspace).is_ok_and(|now| now == *record) {
            return Some(AGAIN);
        }
        if ask {
            self.asked = Some(Instant::now());
        }
        self.know(record, workspace, config, in_use);
        let mut context =
            Context { workspace, config, clock: SystemTime::now, stop: &|| false, tell: &mut |it| told.push(it) };
        let again = self.sweep(current, &mut context);
        self.due = again.is_some();
        earlier(again, next)
    }

    /// Opens what is to be swept, and lets go what is not any more.
    fn know(&mut self, record: &Record, workspace: &Workspace, config: &Config, in_use: InUse) {
        self.problems.clear();
        self.sweepers.retain(|sweeper| record.swept().any(|old| old == sweeper.old()));
        let new: Vec<Old> =
            record.swept().filter(|old| self.sweepers.iter().all(|it| it.old() != *old)).cloned().collect();
        for old in new {
            match Which::of(old.was, config).open(workspace, 0) {
                Ok(store) => self.sweepers.push(Sweeper::new(old, store, in_use, std::collections::BTreeMap::new())),
                Err(error) => self.problems.push(format!("the old store {} cannot be swept: {error}", old.name)),
            }
        }
    }

    fn sweep(&mut self, current: &mut dyn Store, context: &mut Context<'_>) -> Option<Duration> {
        let mut held_now = match held::load(context.workspace) {
            Ok(held) => held,
            Err(error) => {
                self.problems.push(format!(".milescale/held.json: {error}"));
                return Some(RETRY);
            }
        };
        let before = held_now.clone();
        let mut again = None;
        for sweeper in &mut self.sweepers {
            sweeper.hold(held_now.remove(&sweeper.old().side).unwrap_or_default());
            match sweeper.pass(current, Holding::Batches, context) {
                Ok(swept) if swept.waiting > 0 => again = earlier(again, Some(AGAIN)),
                Ok(_) => {}
                Err(Error::Stopped) => again = earlier(again, Some(AGAIN)),
                Err(error) => {
                    self.problems.push(format!("the old store {} cannot be swept: {error}", sweeper.old().name));
                    again = earlier(again, Some(RETRY));
                }
            }
            held_now.insert(sweeper.old().side, sweeper.held().clone());
        }
        held_now.retain(|_, held| !held.is_empty());
        if held_now != before
            && let Err(error) = held::save(context.workspace, &held_now)
        {
            self.problems.push(format!(".milescale/held.json: {error}"));
        }
        again
    }
}
