//! Old stores looked after by the daemon: swept when something changed in them, and with each cycle.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use milescale_core::backend::InUse;
use milescale_core::base::Side;
use milescale_core::config::Config;
use milescale_migration::{Context, Error, Holding, Sweeper, take_lock};
use milescale_sensing::watch::Hints;
use milescale_storage::files::is_noted_as_moved;
use milescale_storage::open::Which;
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::lock::Held;
use milescale_workspace::record::{LOST, Old, Record};

use crate::sources::earlier;

/// When to look again at a change that has not stood for long enough.
const AGAIN: Duration = Duration::from_millis(400);

/// How often a server is asked, which tells nothing by itself.
const ASK_SERVER_EVERY: Duration = Duration::from_secs(2);

/// How often files that were just retired are looked at.
const LOOK_AT_RETIRED_EVERY: Duration = Duration::from_secs(10);

/// When to try again where a store cannot be read, or another command is at work.
const RETRY: Duration = Duration::from_secs(2);

/// Why nothing is brought over from any old store.
pub(crate) const NOT_FOLLOWED: &str =
    "what is written there is not brought over: the store in use cannot be read, or is not followed";

/// The sweepers of the old stores.
#[derive(Debug, Default)]
pub(crate) struct Sweeps {
    sweepers: Vec<Sweeper>,
    /// Something may have changed since the last pass.
    due: bool,
    /// When the servers were asked last.
    asked: Option<Instant>,
    /// When the old stores were looked at last.
    looked: Option<Instant>,
    /// What cannot be swept now, by its place, and why.
    problems: BTreeMap<String, String>,
    /// Why the migration's lock cannot be had, where that is so: its place, and why.
    locked_out: Option<(String, String)>,
    /// Why what an interrupted migration left cannot be recovered, where that is so: its place, and why.
    unrecovered: Option<(String, String)>,
    /// That the record of milescale's moves is gone, where that is so: what says so, and what that means.
    lost_record: Option<(String, String)>,
}

impl Sweeps {
    /// What cannot be swept now, by its place, and why.
    pub(crate) fn problems(&self) -> BTreeMap<String, String> {
        let mut problems = self.problems.clone();
        problems.extend(self.locked_out.clone());
        problems.extend(self.unrecovered.clone());
        problems.extend(self.lost_record.clone());
        problems
    }

    /// Remembers why an interrupted migration cannot be recovered, or that nothing stands against it.
    pub(crate) fn recovered(&mut self, why_not: Option<String>, workspace: &Workspace) {
        self.unrecovered = why_not.map(|why| (workspace.shown(&workspace.record()), why));
    }

    /// Finds out whether the record of milescale's moves is gone: a database in use says itself that one has filled it,
    /// and a note beside files in use that one has left them.
    pub(crate) fn look_for_record(
        &mut self,
        record: &Record,
        workspace: &Workspace,
        (in_use, current): (InUse, &mut dyn Store),
    ) {
        let told = if in_use.side() == Side::Files && (record.is_blank() || is_of_before(record, in_use)) {
            let noted = is_noted_as_moved(workspace).map_err(|error| error.to_string());
            noted.map(|noted| noted.then(|| left_database(workspace)))
        } else if !record.is_blank() {
            Ok(None)
        } else {
            let sides = current.filled_from().map_err(|error| error.to_string());
            sides.map(|sides| sides.first().map(|side| lost_record(workspace, *side, &current.name())))
        };
        let known = || record.is_lost().then(|| (workspace.shown(&workspace.record()), record_is_lost()));
        let begin = if record.is_lost() { BEGIN } else { "" };
        let lost = told.map(|told| told.map(|(place, why)| (place, format!("{why}{begin}"))).or_else(known));
        match lost {
            Ok(lost) => self.lost_record = lost,
            Err(error) => tracing::debug!(%error, "whether a move has filled or left the store in use is not known"),
        }
    }

    /// Whether an interrupted migration could not be recovered.
    pub(crate) fn is_unrecovered(&self) -> bool {
        self.unrecovered.is_some()
    }

    /// Whether another look is due because of a change that waits.
    pub(crate) fn is_settled(&self) -> bool {
        !self.due
    }

    /// Why the migration's lock cannot be had, in words.
    pub(crate) fn locked_out(&self) -> Option<String> {
        self.locked_out.as_ref().map(|(place, why)| format!("{place}: {why}"))
    }

    /// The store in use cannot be read: nothing can be brought over.
    pub(crate) fn cannot(&mut self, record: &io::Result<Record>, workspace: &Workspace) {
        self.problems = match record {
            Ok(record) => record.swept().map(|old| (old.name.clone(), NOT_FOLLOWED.to_owned())).collect(),
            Err(error) => BTreeMap::from([(workspace.shown(&workspace.record()), error.to_string())]),
        };
    }

    /// Takes the migration's lock. `None`: another process has it, or it cannot be had, which is remembered.
    pub(crate) fn take_lock(&mut self, workspace: &Workspace) -> Option<Held> {
        let taken = take_lock(workspace, Duration::ZERO);
        self.locked_out = taken
            .as_ref()
            .err()
            .map(|error| (workspace.shown(&workspace.migration_lock()), format!("it cannot be locked: {error}")));
        taken.ok().flatten()
    }

    /// Sweeps what is due into the store in use; `record` is what milescale had moved when the look began. When to look
    /// again without a hint.
    pub(crate) fn pass(
        &mut self,
        record: &io::Result<Record>,
        (in_use, current): (InUse, &mut dyn Store),
        hints: &Hints,
        context: &mut Context<'_>,
    ) -> Option<Duration> {
        let workspace = context.workspace;
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                self.problems = BTreeMap::from([(workspace.shown(&workspace.record()), error.to_string())]);
                return Some(RETRY);
            }
        };
        // What a person has changed by hand has no base: nothing is brought over then.
        if record.in_use != Some(in_use) || record.intent.is_some() || record.old.is_empty() {
            self.sweepers.clear();
            self.problems.clear();
            self.due = false;
            if hints.everything || hints.cycle || !record.is_blank() {
                self.look_for_record(record, workspace, (in_use, current));
            }
            return None;
        }
        self.lost_record = None;
        if in_use.side() == Side::Files && (hints.everything || hints.cycle) {
            self.look_for_record(record, workspace, (in_use, &mut *current));
        }
        let server = record.swept().any(|old| old.side == Side::Postgresql);
        let ask = server && self.asked.is_none_or(|asked| asked.elapsed() >= ASK_SERVER_EVERY);
        self.due |=
            hints.everything || hints.cycle || hints.database || hints.config || !hints.milestones.is_empty() || ask;
        // Nothing tells of a write into a file that was retired.
        let retired = record.old.iter().any(|old| old.watches_retired_files(context.now()));
        let ask_retired = retired && self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AT_RETIRED_EVERY);
        self.due |= ask_retired;
        let next = earlier(server.then_some(ASK_SERVER_EVERY), retired.then_some(LOOK_AT_RETIRED_EVERY));
        if !self.due {
            return next;
        }
        // Another command may be at work, which sweeps too.
        let Some(_lock) = self.take_lock(workspace) else {
            return Some(if self.locked_out.is_some() { RETRY } else { AGAIN });
        };
        // Before the lock was ours, another command may have moved the milestones: the next look goes by that.
        if !Record::load(workspace).is_ok_and(|now| now == *record) {
            return Some(AGAIN);
        }
        if ask {
            self.asked = Some(Instant::now());
        }
        self.looked = Some(Instant::now());
        self.problems.clear();
        let opened = self.know(record, workspace, context.config, in_use);
        let again = earlier(opened, self.sweep(current, hints, context));
        self.due = again.is_some();
        earlier(again, next)
    }

    /// Opens what is to be swept, and lets go what is not any more. When to try again.
    fn know(&mut self, record: &Record, workspace: &Workspace, config: &Config, in_use: InUse) -> Option<Duration> {
        self.sweepers.retain(|sweeper| record.old.iter().any(|old| old == sweeper.old()));
        let new: Vec<Old> =
            record.old.iter().filter(|old| self.sweepers.iter().all(|it| it.old() != *old)).cloned().collect();
        let mut again = None;
        for old in new {
            match Which::of(old.was, config).open(workspace, 0) {
                Ok(store) => self.sweepers.push(Sweeper::new(old, store, in_use)),
                // One that is retired may be gone for good.
                Err(error) if old.retired.is_some() => tracing::debug!(%error, "a retired store is not looked at"),
                Err(error) => {
                    self.problems.insert(old.name.clone(), not_swept(&old, &error.to_string()));
                    again = Some(RETRY);
                }
            }
        }
        again
    }

    fn sweep(&mut self, current: &mut dyn Store, hints: &Hints, context: &mut Context<'_>) -> Option<Duration> {
        let mut again = None;
        for sweeper in &mut self.sweepers {
            let is_retired = sweeper.old().retired.is_some();
            // Nobody asks a server for each change what was written to a store that refuses writes.
            if is_retired && sweeper.old().side == Side::Postgresql && !hints.cycle {
                continue;
            }
            match sweeper.pass(current, Holding::Batches, context) {
                Ok(swept) if swept.waiting > 0 => again = earlier(again, Some(AGAIN)),
                Ok(_) => {}
                Err(Error::Stopped) => again = earlier(again, Some(AGAIN)),
                Err(error) if is_retired => tracing::debug!(%error, "a retired store is not looked at"),
                Err(error) => {
                    let is_gone = sweeper.store().is_gone();
                    let old = sweeper.old();
                    let why = if is_gone { gone(old) } else { not_swept(old, &error.to_string()) };
                    self.problems.insert(old.name.clone(), why);
                    again = earlier(again, Some(RETRY));
                }
            }
        }
        again
    }
}

/// Whether a record knows of no move into a database, and of no change by hand: where a note of such a move stands beside the files
/// all the same, it was put back from a copy of before that.
fn is_of_before(record: &Record, in_use: InUse) -> bool {
    record.in_use == Some(in_use) && record.intent.is_none() && record.old.iter().all(|old| old.side == Side::Files)
}

/// Why a store cannot be swept; its name stands before that already.
pub(crate) fn not_swept(old: &Old, error: &str) -> String {
    let why = error.strip_prefix(&old.name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(error);
    format!("it cannot be swept: {why}")
}

/// That an old store does not exist any more, and what to do about that.
pub(crate) fn gone(old: &Old) -> String {
    let side = old.side;
    format!("this old store does not exist any more; put it back, or end it with `milescale retire {side} --gone`")
}

/// What ends that it is said that the record of moves is lost.
const BEGIN: &str = "; or `milescale doctor --fix` begins a new record, and what other stores hold stays where it is";

/// That the record of milescale's moves is gone, or of before the last one, and what to do about that.
pub(crate) fn record_is_lost() -> String {
    format!(
        "{LOST}: what is written to other stores than the one in use is \
         not brought over. Put the record of now back from a copy of yours; or `milescale migrate BACKEND --adopt` takes over what \
         another store holds{BEGIN}"
    )
}

/// That the record of milescale's moves is gone, and what to do about that.
fn lost_record(workspace: &Workspace, from: Side, store: &str) -> (String, String) {
    let back = match from {
        Side::Files => "file".to_owned(),
        Side::Sqlite | Side::Postgresql => format!("database --engine {from}"),
    };
    let record = workspace.shown(&workspace.record());
    let why = format!(
        "a move has filled it from {from}, as it says, and milescale's record of its moves, {record}, is gone: what is written to {from} is \
         not brought over any more. Put the record back from a copy of yours; or `milescale migrate {back} --adopt --dry-run` \
         shows what differs, and without --dry-run takes that over"
    );
    (format!("{store}, table milescale_sides"), why)
}

/// That files are in use which a move has left, as the note beside them says, with its record gone, and what to do about that.
fn left_database(workspace: &Workspace) -> (String, String) {
    let record = workspace.shown(&workspace.record());
    let why = format!(
        "a move to a database has left these files, as this note says, and milescale's record of its moves, {record}, is gone or of before that: what \
         was written in the database is not here. Put the record and the marker back from copies of yours; or \
         `milescale migrate database --adopt --dry-run` shows what differs (with `--engine postgresql` where it was on a server), and \
         without --dry-run takes that over; or remove the note, if nothing in the database is wanted"
    );
    (workspace.shown(&workspace.moved_note()), why)
}
