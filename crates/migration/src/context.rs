//! What every step works with: the workspace, the configuration, the clock, the word to stop, and who is told.

use std::io;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use milescale_core::backend::InUse;
use milescale_core::config::Config;
use milescale_document::timestamp;
use milescale_storage::open::Which;
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::durable;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::lock::{self, Held, Share};
use milescale_workspace::record::Record;

use crate::told::Told;

/// Why a step did not do what it is for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A store could not do it.
    #[error("{0}")]
    Store(StoreError),
    /// milescale's own files could not be read or written.
    #[error("{0}")]
    Own(String),
    /// It may not be done, and why.
    #[error("{0}")]
    Refused(String),
    /// Nobody can tell now whether the switch has happened: nothing is undone, and the recovery looks again.
    #[error(
        "{0}; it is not known whether the other store is in use by now: `milescale check` looks again and finishes the move, or undoes it"
    )]
    Unknown(String),
    /// Somebody asked to stop.
    #[error("it was asked to stop")]
    Stopped,
}

impl From<StoreError> for Error {
    /// A store that was asked to stop has not failed.
    fn from(error: StoreError) -> Self {
        if error.problem == Problem::Stopped { Self::Stopped } else { Self::Store(error) }
    }
}

impl Error {
    /// Whether the same may be done in a moment: another program had it, or has changed it.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_passing())
    }

    /// Whether a store does not do it, now or later.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Store(error) if error.problem == Problem::Refused)
    }

    /// The system lets this process begin no thread.
    pub(crate) fn no_thread(error: &io::Error) -> Self {
        Self::Own(format!(
            "no thread can be begun ({error}): raise the limit of processes (ulimit -u, TasksMax), and try again"
        ))
    }

    /// A file of milescale's own.
    pub(crate) fn own(what: &str, error: &io::Error) -> Self {
        Self::Own(format!("{what}: {error}"))
    }
}

/// What every step works with.
pub struct Context<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// The configuration in force.
    pub config: &'a Config,
    /// The wall clock.
    pub clock: fn() -> SystemTime,
    /// Whether to stop; asked between any two milestones.
    pub stop: &'a dyn Fn() -> bool,
    /// Who is told what happened.
    pub tell: &'a mut dyn FnMut(Told),
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("workspace", self.workspace).finish_non_exhaustive()
    }
}

impl Context<'_> {
    /// The wall clock, as an instant.
    pub fn now(&self) -> Timestamp {
        Timestamp::try_from((self.clock)()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    pub(crate) fn stamp(&self) -> String {
        timestamp::to_text(self.now())
    }

    /// Ends the step where somebody asked to stop.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        if (self.stop)() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Opens a store.
    pub(crate) fn open(&self, store: InUse) -> Result<Box<dyn Store>, Error> {
        Ok(Which::of(store, self.config).open(self.workspace, 0)?)
    }

    pub(crate) fn record(&self) -> Result<Record, Error> {
        Record::load(self.workspace)
            .map_err(|error| Error::own(&self.workspace.shown(&self.workspace.record()), &error))
    }

    /// Writes the record, durably.
    pub(crate) fn save(&self, record: &Record) -> Result<(), Error> {
        let shown = self.workspace.shown(&self.workspace.record());
        record.save(self.workspace).map_err(|error| Error::own(&shown, &error))
    }
}

/// Takes the migration's lock: held for the life of a migration, a recovery or a sweep.
///
/// # Errors
/// When it cannot be had; `Ok(None)` where another process has it for all of `patience`.
pub fn take_lock(workspace: &Workspace, patience: Duration) -> io::Result<Option<Held>> {
    durable::create_own_folder(workspace)?;
    lock::wait_for(&workspace.migration_lock(), Share::Alone, patience, workspace.stop())
}
