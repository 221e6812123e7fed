//! The switch: the one durable rename that makes another store the one in use, and the lock that keeps milescale's own
//! writers out for that instant.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use milescale_core::backend::{Backend, Engine};
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use serde::{Deserialize, Serialize};

use crate::config_exchange;
use crate::config_exchange::Around;
use crate::config_file;
use crate::displaced;
use crate::durable;
use crate::error::{Problem, StoreError};
use crate::jsonl::{self, Rotation};
use crate::lock::{self, Held, Share};
use crate::read::read_regular;
use crate::record::Prepared;
use crate::{Place, Workspace};

/// The lock is held by this process until this is dropped.
#[derive(Debug)]
pub struct Turn {
    _gate: Option<Held>,
    _lock: Held,
}

/// Keeps the switch away while a milestone verb finds the store in use and writes to it; many may at once.
///
/// # Errors
/// When a switch takes longer than `patience`, or the lock cannot be had.
pub fn share(workspace: &Workspace, patience: Duration) -> Result<Turn, StoreError> {
    // Behind the gate waits who comes while a switch waits: so verbs that never pause cannot keep it away.
    let gate = take(workspace, &workspace.switch_gate(), Share::Shared, patience)?;
    let lock = take(workspace, &workspace.switch_lock(), Share::Shared, patience)?;
    drop(gate);
    Ok(Turn { _gate: None, _lock: lock })
}

/// Keeps all milestone verbs out.
///
/// # Errors
/// When one takes longer than `patience`, or the lock cannot be had.
pub fn alone(workspace: &Workspace, patience: Duration) -> Result<Turn, StoreError> {
    let gate = take(workspace, &workspace.switch_gate(), Share::Alone, patience)?;
    let lock = take(workspace, &workspace.switch_lock(), Share::Alone, patience)?;
    Ok(Turn { _gate: Some(gate), _lock: lock })
}

fn take(workspace: &Workspace, path: &Place, share: Share, patience: Duration) -> Result<Held, StoreError> {
    let failed = |error: io::Error| StoreError::io(workspace.shown(path), "it cannot be locked", &error);
    durable::create_own_folder(workspace).map_err(failed)?;
    lock::wait_for(path, share, patience, workspace.stop()).map_err(failed)?.ok_or_else(|| {
        if workspace.stop().is_asked() {
            return StoreError::stopped(workspace.shown(path));
        }
        let cause = format!("another milescale holds it for more than {} s; try again", patience.as_secs());
        StoreError::new(Problem::Busy, workspace.shown(path), cause)
    })
}

/// Notes that a milestone verb is about to write this milestone while a migration is under way.
pub fn note_dirty(workspace: &Workspace, id: &Id) -> io::Result<()> {
    jsonl::append(&workspace.dirty(), &id.as_str(), Rotation { at_bytes: u64::MAX, files: 1 })
}

/// The milestones noted since the list was last cleared.
pub fn dirty(workspace: &Workspace) -> io::Result<Vec<String>> {
    let text = match read_regular(&workspace.dirty(), 16 << 20) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?.0,
    };
    let mut ids: Vec<String> =
        text.split(|byte| *byte == b'\n').filter_map(|it| serde_json::from_slice(it).ok()).collect();
    ids.sort();
    ids.dedup();
    Ok(ids)
}

/// Clears the list. Under the switch's lock only.
pub fn clear_dirty(workspace: &Workspace) -> io::Result<()> {
    // One that is back after a power cut costs a look at milestones that are the same.
    durable::discard(&workspace.dirty())
}

/// What names the store in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Marker(Backend),
    Engine(Engine),
}

/// A switch that is prepared: its file lies beside the one that it replaces.
#[derive(Debug)]
pub struct Switch {
    workspace: Workspace,
    prepared: Prepared,
    from: Place,
    to: Place,
}

/// A prepared configuration: its digest, that of what it replaces, and the engine that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedConfig {
    content: Digest,
    replaces: Digest,
    engine: Engine,
}

impl Switch {
    /// Prepares to name another backend.
    pub fn to_backend(workspace: &Workspace, backend: Backend, epoch: u64) -> Result<Self, StoreError> {
        Self::prepare(workspace, Target::Marker(backend), epoch)
    }

    /// Prepares to name another engine. Nothing else of the configuration changes.
    pub fn to_engine(workspace: &Workspace, engine: Engine, epoch: u64) -> Result<Self, StoreError> {
        Self::prepare(workspace, Target::Engine(engine), epoch)
    }

    fn prepare(workspace: &Workspace, target: Target, epoch: u64) -> Result<Self, StoreError> {
        let real = |place: Place| {
            place
                .real()
                .map_err(|error| StoreError::io(workspace.shown(&place), "the switch cannot be prepared", &error))
        };
        let mut like = None;
        let (to, content, config) = match target {
            Target::Marker(backend) => (real(workspace.marker())?, format!("{backend}\n").into_bytes(), None),
            Target::Engine(engine) => {
                let path = workspace.config_file();
                let shown = workspace.shown(&path);
                let refused = |cause: String| StoreError::new(Problem::Refused, shown.clone(), cause);
                let found = config_file::text_and_file(&path).map_err(|problem| refused(problem.to_string()))?;
                // Whose it is to be says the very file that has the text.
                let (text, file) = found.unzip();
                like = file;
                let replaces = text.as_deref().map(Digest::of);
                let content = config_exchange::with_engine(text.unwrap_or_default(), engine).map_err(refused)?;
                let config =
                    replaces.map(|replaces| PreparedConfig { content: Digest::of(&content), replaces, engine });
                (real(path)?, content, config)
            }
        };
        let failed = |error: io::Error| StoreError::io(workspace.shown(&to), "the switch cannot be prepared", &error);
        let folder = to.parent();
        durable::create_folder(&folder).map_err(failed)?;
        let kind = if matches!(target, Target::Marker(_)) { BACKEND } else { ENGINE };
        let name = format!("{PREFIX}{epoch}-{kind}");
        let from = folder.join(&name);
        durable::discard(&from).map_err(failed)?;
        let like = like.or_else(|| to.status().ok().filter(|_| matches!(target, Target::Marker(_))));
        let like = like.as_ref().map(|file| durable::Like { file, at: &to });
        durable::prepare(&from, &content, like).map_err(failed)?;
        let inode = from.status_of_name().map_err(failed)?.ino();
        Ok(Self { workspace: workspace.clone(), prepared: Prepared { name, inode, config }, from, to })
    }

    /// What to write down before [`Switch::commit`].
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Does it: once it returns, the other store is the one in use, whatever happens.
    ///
    /// # Errors
    /// After one, [`has_happened`] tells.
    pub fn commit(&self, clock: fn() -> SystemTime) -> io::Result<()> {
        if let Some(PreparedConfig { content, replaces, engine }) = self.prepared.config {
            return config_exchange::exchange(
                Around { workspace: &self.workspace, clock },
                &self.from,
                &self.to,
                (content, replaces),
                engine,
            );
        }
        if self.prepared.name.ends_with(ENGINE) {
            // There was no configuration: one that a person makes now is not written over.
            return durable::rename_new(&self.from, &self.to).and_then(durable::Outcome::durably).map_err(|error| {
                let made = error.kind() == io::ErrorKind::AlreadyExists;
                if made { io::Error::other("it was made meanwhile; try again") } else { error }
            });
        }
        // A marker is one word of milescale's.
        match durable::rename(&self.from, &self.to) {
            Ok(true) => Ok(()),
            Ok(false) => Err(io::Error::new(io::ErrorKind::NotFound, "the prepared file is gone")),
            Err(error) => Err(error),
        }
    }
}

/// How the name of a prepared file begins, and how it ends.
const PREFIX: &str = ".milescale-switch-";
const BACKEND: &str = "backend";
const ENGINE: &str = "engine";

/// How the name begins, in milescale's own folder, of a configuration that came out of a switch and is not in force.
pub const CAME_OUT: &str = "came-out";

/// Whether a name is that of a prepared file.
fn is_prepared(name: &str) -> bool {
    let parts = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(epoch, kind)| epoch.parse::<u64>().is_ok() && [BACKEND, ENGINE].contains(&kind))
}

/// Where a prepared file lies while the switch has not happened.
///
/// # Errors
/// Where the name is none that milescale gives: of a file of state nothing else is touched, wherever a trusted symlink leads.
fn place(workspace: &Workspace, prepared: &Prepared) -> io::Result<Place> {
    if !is_prepared(&prepared.name) {
        let cause = "the prepared file that it names is none of milescale's; put the record back from a copy of yours, or move it away";
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {cause}", workspace.shown(&workspace.record())),
        ));
    }
    let replaces = if prepared.name.ends_with(BACKEND) { workspace.marker() } else { workspace.config_file() };
    Ok(replaces.real()?.with_name(&prepared.name))
}

/// Whether a prepared switch has happened: its file is not there any more under the prepared name, or holds what has come out.
pub fn has_happened(workspace: &Workspace, prepared: &Prepared) -> io::Result<bool> {
    let place = place(workspace, prepared)?;
    if let Some(config) = prepared.config {
        let there = config_exchange::text_of(&place)?;
        return Ok(there.is_none_or(|there| Digest::of(&there) != config.content));
    }
    place.is_there().map(|is_there| !is_there)
}

/// Whether a prepared switch is one to this engine. Where there was no configuration, it is not known.
pub fn names(prepared: &Prepared, engine: Engine) -> bool {
    prepared.config.is_some_and(|config| config.engine == engine)
}

/// Deals with what came out where a switch has happened, and death came before that was done.
pub fn settle(workspace: &Workspace, prepared: &Prepared, clock: fn() -> SystemTime) -> io::Result<()> {
    let Some(PreparedConfig { content, replaces, engine }) = prepared.config else { return Ok(()) };
    let place = place(workspace, prepared)?;
    config_exchange::settle(
        Around { workspace, clock },
        &place,
        &workspace.config_file().real()?,
        (content, replaces),
        engine,
    )
}

/// Removes a prepared file that will not be used.
pub fn discard(workspace: &Workspace, prepared: &Prepared) -> io::Result<()> {
    durable::discard(&place(workspace, prepared)?)
}

/// How long prepared files that are not used are dealt with at a time.
const DISCARDS_FOR: Duration = Duration::from_secs(2);

/// Removes the prepared files of migrations that are over: all but those that are named. A configuration among them may be a
/// person's edit that came out of an exchange: it is set aside in milescale's own folder, unless it says what the one in use
/// says. `under_way` is the number of a migration that has not ended: what it did not write down was never exchanged.
pub fn discard_others(
    workspace: &Workspace,
    prepared: &[&Prepared],
    under_way: Option<u64>,
    now: SystemTime,
) -> io::Result<()> {
    let unwritten = under_way.map(|epoch| format!("{PREFIX}{epoch}-"));
    let goes_on = workspace.stop().goes_on_for(DISCARDS_FOR);
    for replaces in [workspace.marker(), workspace.config_file()] {
        let Ok(folder) = replaces.real().map(|it| it.parent()) else { continue };
        for entry in folder.entries_or_none() {
            let path = folder.join(&entry.name);
            let name = path.name_text();
            // What takes too long is left for the next time.
            if !goes_on() {
                return Ok(());
            }
            if !name.starts_with(PREFIX) || prepared.iter().any(|prepared| name.starts_with(&prepared.name)) {
                continue;
            }
            let is_ours =
                name.ends_with(BACKEND) || unwritten.as_ref().is_some_and(|unwritten| name.starts_with(unwritten));
            if is_ours {
                durable::discard(&path)?;
            } else if let Some(known) = says_nothing_new(workspace, &path)? {
                displaced::watch_configuration(workspace, &path, known, now)?;
            } else {
                displaced::came_out(workspace, &path, &name)?;
            }
        }
    }
    Ok(())
}

/// The digest of a prepared configuration that differs from the one in use by its engine at most, or is gone.
fn says_nothing_new(workspace: &Workspace, path: &Place) -> io::Result<Option<Digest>> {
    let current = config_exchange::text_of(&workspace.config_file().real()?)?.unwrap_or_default();
    let there = config_exchange::text_of(path)?.unwrap_or_default();
    let as_current = |engine| config_exchange::with_engine(current.clone(), engine).is_ok_and(|text| text == there);
    let says_nothing =
        there.is_empty() || there == current || [Engine::Sqlite, Engine::Postgresql].into_iter().any(as_current);
    Ok(says_nothing.then(|| Digest::of(&there)))
}
