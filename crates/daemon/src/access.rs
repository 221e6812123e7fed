//! The store in use for a command that reads or writes one milestone: found without looking at all of them.

use std::time::SystemTime;

use milescale_core::backend::{Backend, InUse};
use milescale_storage::lock;
use milescale_storage::marker::{self, Word};
use milescale_storage::open::Which;
use milescale_storage::store::Store;
use milescale_storage::workspace::Workspace;

use crate::config::{ConfigKeeper, Environment};
use crate::state::State;
use crate::status;

/// A changed marker must have stood so long before a command goes by it.
const STANDS_AFTER: std::time::Duration = std::time::Duration::from_secs(2);

/// The store in use, opened.
#[derive(Debug)]
pub struct Access {
    /// Which one.
    pub in_use: InUse,
    /// The store.
    pub store: Box<dyn Store>,
    /// Why nothing may be written now, where that is so.
    pub only_read: Option<String>,
}

impl Access {
    /// Finds and opens it. Nothing is read of it yet.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn open(workspace: &Workspace, environment: Environment) -> Result<Self, String> {
        let config = ConfigKeeper::start(workspace.clone(), environment);
        let (named, just_changed) = named(workspace, &config)?;
        let followed = State::load(workspace).map_err(|error| {
            format!("{}: it cannot be read ({}); run `milescale check`", workspace.shown(&workspace.state()), error.0)
        })?;
        let in_use = followed.followed.unwrap_or(named);
        let store = Which::of(in_use, config.config()).open(workspace, 0).map_err(|error| error.to_string())?;
        let only_read = if in_use == named {
            other_than_the_daemons(workspace, &*store)
        } else {
            let why = if just_changed { "has just been changed" } else { "was changed" };
            Some(format!(
                "the marker or the engine {why} to {named}, which is not followed: {in_use} is in use. `milescale check` \
                 follows it if it holds every milestone, `milescale doctor` says what to do"
            ))
        };
        Ok(Self { in_use, store, only_read })
    }
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
fn other_than_the_daemons(workspace: &Workspace, store: &dyn Store) -> Option<String> {
    lock::holder(&workspace.daemon_lock())?;
    let published = status::published(workspace).ok()?;
    let theirs = published["store"].as_str().filter(|theirs| !theirs.is_empty())?;
    (theirs != store.name()).then(|| {
        format!(
            "the running daemon keeps the milestones in {theirs}, and this command would write to {}; set DATABASE_TYPE \
             and DATABASE_URL alike for both",
            store.name()
        )
    })
}
