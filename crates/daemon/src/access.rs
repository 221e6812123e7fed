//! The store in use for a command that reads or writes one milestone: found without looking at all of them.

use std::time::{Duration, SystemTime};

use milescale_core::backend::{Backend, InUse};
use milescale_core::base::Side;
use milescale_storage::files;
use milescale_storage::open::Which;
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::error::StoreError;
use milescale_workspace::lock;
use milescale_workspace::marker::{self, Word};
use milescale_workspace::record::Record;

use crate::config::{ConfigKeeper, Environment};
use crate::sources::opened::LastIds;
use crate::state::State;
use crate::status;

/// A changed marker must have stood so long before a command goes by it.
const STANDS_AFTER: Duration = Duration::from_secs(2);

/// How long a server that is just starting is waited for, before anything was sent to it.
const RECONNECTS_FOR: Duration = Duration::from_secs(10);

/// The store in use, opened.
#[derive(Debug)]
pub struct Access {
    /// Which one.
    pub in_use: InUse,
    /// The store.
    pub store: Box<dyn Store>,
    /// Why nothing may be written now, where that is so.
    pub only_read: Option<String>,
    /// Whether a migration is under way: then it has to know what is written.
    pub is_moving: bool,
}

impl Access {
    /// Finds and opens it. Nothing is read of it yet.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn open(workspace: &Workspace, environment: Environment) -> Result<Self, String> {
        Self::open_with(workspace, environment, RECONNECTS_FOR)
    }

    /// The same for who does not wait for a server that is just starting.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn open_at_once(workspace: &Workspace, environment: Environment) -> Result<Self, String> {
        Self::open_with(workspace, environment, Duration::ZERO)
    }

    fn open_with(workspace: &Workspace, environment: Environment, reconnects_for: Duration) -> Result<Self, String> {
        let config = ConfigKeeper::start(workspace.clone(), environment);
        let (in_use, named, just_changed) = in_use(workspace, &config)?;
        if let Some(lost) = lost_files(workspace, in_use) {
            return Err(lost.to_string());
        }
        let store = Which::of(in_use, config.config())
            .patiently(reconnects_for)
            .open(workspace, 0)
            .map_err(|error| error.to_string())?;
        let only_read = if in_use == named {
            other_than_the_daemons(workspace, &*store)
        } else if let Some(why) = config.contradicted(in_use) {
            Some(why)
        } else {
            let why = if just_changed { "has just been changed" } else { "was changed" };
            Some(format!(
                "the marker or the engine {why} to {named}, which is not followed: {in_use} is in use. `milescale check` \
                 follows it if it holds every milestone, `{}` writes back what stood there before",
                in_use.command()
            ))
        };
        let is_moving = record(workspace)?.intent.is_some();
        Ok(Self { in_use, store, only_read, is_moving })
    }
}

/// That `active/` is gone though the store in use, which is its files, held milestones when it was read last, as far as that
/// is known. Read by itself such a store would look empty.
pub(crate) fn lost_files(workspace: &Workspace, in_use: InUse) -> Option<StoreError> {
    let held_some = || LastIds::written_down(workspace).ok().flatten().is_some_and(|ids| !ids.is_empty());
    let is_lost = in_use.side() == Side::Files && workspace.active().status_of_name().is_err() && held_some();
    is_lost.then(|| files::lost_folder(workspace))
}

/// The store in use, the store that marker and configuration name, and whether that is very recent.
pub(crate) fn in_use(workspace: &Workspace, config: &ConfigKeeper) -> Result<(InUse, InUse, bool), String> {
    let (named, just_changed) = named(workspace, config)?;
    let state = State::load(workspace).map_err(|error| {
        let advice = if error.is_elsewhere { "" } else { "; run `milescale check`" };
        format!("{}: it cannot be read ({}){advice}", workspace.shown(&workspace.state()), error.reason)
    })?;
    let in_use = record(workspace)?.in_use_after(state.followed, state.epoch).unwrap_or(named);
    Ok((in_use, named, just_changed))
}

fn record(workspace: &Workspace) -> Result<Record, String> {
    let shown = workspace.shown(&workspace.record());
    Record::load(workspace).map_err(|error| format!("{shown}: it cannot be read: {error}"))
}

/// The store that marker and configuration name, and whether that is very recent.
fn named(workspace: &Workspace, config: &ConfigKeeper) -> Result<(InUse, bool), String> {
    let shown = workspace.shown(&workspace.marker());
    let marker = marker::read(&workspace.marker()).map_err(|error| format!("{shown}: it cannot be read: {error}"))?;
    let backend = match marker.word {
        Word::Missing => Backend::File,
        Word::Backend(backend) => backend,
        Word::Empty => return Err(format!("{shown}: it is empty; write file, hybrid or database into it")),
        Word::Unknown(unknown) => return Err(format!("{shown}: {unknown}")),
    };
    let age = marker.modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    Ok((InUse::new(backend, config.config().database.engine), age.is_some_and(|age| age < STANDS_AFTER)))
}

/// Two environments that name two databases must not both write.
pub(crate) fn other_than_the_daemons(workspace: &Workspace, store: &dyn Store) -> Option<String> {
    lock::holder(&workspace.daemon_lock())?;
    let published = status::published(workspace).ok()?;
    // A daemon that has not seen the last switch yet does not contradict it.
    let epoch = Record::load(workspace).ok()?.epoch;
    if published["migration"]["followed_switch"].as_u64() != Some(epoch) {
        return None;
    }
    let theirs = published["store"].as_str().filter(|theirs| !theirs.is_empty())?;
    (theirs != store.name()).then(|| {
        format!(
            "the running daemon keeps the milestones in {theirs}, and this command would write to {}; set DATABASE_TYPE \
             and DATABASE_URL alike for both",
            store.name()
        )
    })
}
