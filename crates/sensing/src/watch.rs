//! Changes of files, as hints: what they say makes somebody look, and only what is then seen counts.
//!
//! Watched are the workspace's own folder (so that a new `.milestones/` is noticed), `.milestones/`, `config/`, `logs/`,
//! `active/` and each folder below it. A watch holds on to the folder it was set on, not to the name: [`Watch::arm`], called
//! before every full look, moves it when another folder has taken the name, and sets one on what is new. Each is set on
//! one folder: a recursive one would look at every file once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use milescale_workspace::folder::{Kind, system};
use milescale_workspace::{Place, Workspace};
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, RemoveKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};

/// More changed milestones than this, and everything is looked at instead.
const PATHS: usize = 256;

/// The paths that matter, as events name them. All are absolute.
#[derive(Debug, Clone)]
struct Paths {
    /// `.milestones/`.
    folder: PathBuf,
    /// The milestones.
    active: PathBuf,
    /// The folder of marker and configuration.
    config_folder: PathBuf,
    /// The configuration.
    config_file: PathBuf,
    /// The marker.
    marker: PathBuf,
    /// The folder of the logs.
    logs: PathBuf,
    /// The log of storage events.
    storage_events: PathBuf,
}

impl Paths {
    fn of(workspace: &Workspace) -> Self {
        Self {
            folder: workspace.folder().path(),
            active: workspace.active().path(),
            config_folder: workspace.config_folder().path(),
            config_file: workspace.config_file().path(),
            marker: workspace.marker().path(),
            logs: workspace.logs().path(),
            storage_events: workspace.storage_events().path(),
        }
    }
}

/// What may have changed since the hints were taken last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a place that may have changed")]
pub struct Hints {
    /// Anything: a folder was replaced, or the kernel dropped events.
    pub everything: bool,
    /// A cycle is due, and what the watch vouches for need not be looked at.
    pub cycle: bool,
    /// The configuration.
    pub config: bool,
    /// The marker.
    pub marker: bool,
    /// The log of storage events.
    pub log: bool,
    /// A database of SQLite in `.milestones/`.
    pub database: bool,
    /// These milestone files, or folders of them.
    pub milestones: BTreeSet<PathBuf>,
}

impl Hints {
    /// Those that name everything.
    pub fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes in other hints.
    pub fn merge(&mut self, other: Self) {
        self.everything |= other.everything;
        self.cycle |= other.cycle;
        self.config |= other.config;
        self.marker |= other.marker;
        self.log |= other.log;
        self.database |= other.database;
        self.milestones.extend(other.milestones);
        if self.milestones.len() > PATHS {
            self.everything = true;
            self.milestones.clear();
        }
    }
}

/// The watch could not be set, so that changes are found by looking only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: changes cannot be watched: {cause}; until they can, milescale looks by itself")]
pub struct NotWatched {
    /// The folder.
    pub path: String,
    /// Why, and what to do.
    pub cause: String,
}

/// Where hints gather until they are taken.
pub struct Inbox {
    hints: Mutex<Hints>,
    /// The system has refused a watch since this was last asked.
    refused: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Inbox {
    /// An empty one. `wake` is called, from another thread, whenever there are new hints.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { hints: Mutex::default(), refused: AtomicBool::new(false), wake: Box::new(wake) }
    }

    /// Takes the hints that have gathered.
    pub fn take(&self) -> Hints {
        std::mem::take(&mut self.hints.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, hints: Hints) {
        if !hints.is_empty() {
            self.hints.lock().unwrap_or_else(PoisonError::into_inner).merge(hints);
            (self.wake)();
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("hints", &self.hints).finish_non_exhaustive()
    }
}

/// The watch.
#[derive(Debug)]
pub struct Watch {
    watcher: RecommendedWatcher,
    workspace: Workspace,
    /// The last arming has set a watch, so that what was there before it was not told.
    has_set: bool,
    /// Which folder, by device and inode, is watched under a name.
    armed: BTreeMap<PathBuf, (u64, u64)>,
    inbox: Arc<Inbox>,
}

impl Watch {
    /// A watch that is not armed yet; its hints go to `inbox`.
    ///
    /// # Errors
    /// When the system gives no watch at all.
    pub fn new(workspace: Workspace, inbox: Arc<Inbox>) -> Result<Self, NotWatched> {
        let (out, classify) = (Arc::clone(&inbox), Paths::of(&workspace));
        let handler = move |event: notify::Result<Event>| match event {
            Ok(event) => out.put(hints_of(&event, &classify)),
            Err(error) => {
                // A new folder that could not be watched, perhaps: arming again tells.
                tracing::debug!(%error, "the watcher reports an error");
                out.refused.store(true, Ordering::Release);
                out.put(Hints::everything());
            }
        };
        // The watcher begins a thread without a look at whether it could, and panics later where it could not.
        std::thread::Builder::new()
            .spawn(|| {})
            .and_then(|tried| tried.join().map_err(|_| std::io::Error::other("it fell")))
            .map_err(|error| NotWatched {
                path: workspace.root().display().to_string(),
                cause: format!(
                    "no thread can be begun for it ({error}); raise the limit of processes (TasksMax, ulimit -u)"
                ),
            })?;
        let watcher = RecommendedWatcher::new(handler, Config::default().with_follow_symlinks(false))
            .map_err(|error| not_watched(workspace.root(), &error))?;
        Ok(Self { watcher, workspace, has_set: false, armed: BTreeMap::new(), inbox })
    }

    /// Sets the watch on folders that are new under their name. Called before a full look, nothing can change unseen
    /// between the two.
    ///
    /// # Errors
    /// The last folder that is there and cannot be watched; the others are.
    pub fn arm(&mut self) -> Result<(), NotWatched> {
        let (workspace, active) = (self.workspace.clone(), self.workspace.active());
        let mut result = Ok(());
        self.has_set = false;
        if self.inbox.refused.swap(false, Ordering::AcqRel) {
            self.armed.clear();
        }
        self.let_go_what_is_gone(&active);
        // Another folder may have the name by now.
        let _ = workspace.is_there();
        let root = system::status(workspace.root()).ok().filter(system::Metadata::is_dir);
        self.set(workspace.root(), root.as_ref().map(identity), &mut result);
        let mut places = vec![workspace.folder(), workspace.config_folder(), workspace.logs(), active.clone()];
        while let Some(place) = places.pop() {
            // What is behind a symlink that nobody has trusted does not count, so it is not watched either.
            let folder = place.status().ok().filter(|it| it.is_dir());
            // Set before what is below is listed: a folder that comes later is told of.
            self.set(&place.path(), folder.as_ref().map(|it| identity(it)), &mut result);
            if let Some(folder) = folder.filter(|_| place.below(&active).is_some()) {
                places.extend(below(&place, &folder));
            }
        }
        result
    }

    /// Whether every watch had been set before the last arming: then what was not told has not happened.
    pub fn was_set_before(&self) -> bool {
        !self.has_set
    }

    /// Ends the watches of folders below `active` that have other names now. Before new ones are set: a folder has one watch,
    /// whatever its names.
    fn let_go_what_is_gone(&mut self, active: &Place) {
        let top = active.path();
        let is_gone = |(path, before): &(&PathBuf, &(u64, u64))| {
            let inside = path.strip_prefix(&top).ok();
            inside.is_some_and(|it| active.join(it).status().ok().as_ref().map(|it| identity(it)) != Some(**before))
        };
        let gone: Vec<_> =
            self.armed.iter().filter(is_gone).map(|(path, identity)| (path.clone(), *identity)).collect();
        for (path, identity) in gone {
            let _ = self.watcher.unwatch(&path);
            self.armed.retain(|_, other| *other != identity);
        }
    }

    /// Sets the watch on one folder, unless it is set.
    fn set(&mut self, path: &Path, now: Option<(u64, u64)>, result: &mut Result<(), NotWatched>) {
        if self.armed.get(path).copied() == now {
            return;
        }
        self.armed.remove(path);
        // The folder that had the name may be gone, and its watch with it.
        let _ = self.watcher.unwatch(path);
        let Some(identity) = now else { return };
        match self.watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.has_set = true;
                self.armed.insert(path.to_owned(), identity);
            }
            Err(error) => {
                let _ = self.watcher.unwatch(path);
                *result = Err(not_watched(path, &error));
            }
        }
    }
}

/// The folders in a folder of milestones, hidden ones left out. One that cannot be listed is the look's matter.
fn below(place: &Place, metadata: &system::Metadata) -> Vec<Place> {
    // Each folder in it is a link to it: without any, nothing need be listed. Some of the others say 2 whatever is in it.
    if metadata.nlink() == 2 && is_told_of_all(place) {
        return Vec::new();
    }
    let folders = place
        .entries_or_none()
        .into_iter()
        .filter(|entry| !entry.name.as_encoded_bytes().starts_with(b".") && entry.kind == Kind::Folder);
    folders.map(|entry| place.join(&entry.name)).collect()
}

/// Device and inode.
fn identity(metadata: &system::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// File systems of this machine's own, by their magic numbers: what changes there changes through this kernel, which tells
/// it. Over a network others write unseen.
#[cfg(target_os = "linux")]
const OF_THIS_MACHINE: &[u64] = &[
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0x0102_1994, // tmpfs
    0x2fc1_2fc1, // ZFS
    0x794c_7630, // overlayfs
    0xf2f5_2010, // F2FS
    0xca45_1a4e, // bcachefs
];

/// Whether every change in a folder is told, so that what was not told has not happened.
pub fn is_told_of_all(folder: &Place) -> bool {
    #[cfg(target_os = "linux")]
    {
        let kind = folder
            .open_folder()
            .ok()
            .and_then(|it| rustix::fs::fstatfs(it).ok())
            .and_then(|it| u64::try_from(it.f_type).ok());
        kind.is_some_and(|kind| OF_THIS_MACHINE.contains(&(kind & 0xffff_ffff)))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        false
    }
}

fn not_watched(path: &Path, error: &notify::Error) -> NotWatched {
    let cause = match error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the limit of watched folders is reached; raise fs.inotify.max_user_watches".to_owned()
        }
        notify::ErrorKind::Io(ref cause) => format!("{cause}; the limits fs.inotify.* may be reached"),
        _ => error.to_string(),
    };
    NotWatched { path: path.display().to_string(), cause }
}

fn hints_of(event: &Event, paths: &Paths) -> Hints {
    if event.need_rescan() {
        return Hints::everything();
    }
    let mut hints = Hints::default();
    // Reading a file changes nothing; our own looks would wake us for ever.
    if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) {
        return hints;
    }
    let is_folder = matches!(event.kind, EventKind::Create(CreateKind::Folder));
    let is_file = matches!(event.kind, EventKind::Create(CreateKind::File) | EventKind::Remove(RemoveKind::File));
    for path in &event.paths {
        let Paths { folder, active, config_folder, logs, .. } = paths;
        if [folder, active, config_folder, logs].contains(&path) {
            hints.everything = true;
        } else if path.starts_with(active) {
            // A new folder is not watched yet.
            hints.everything |= is_folder && !is_hidden(path);
            // What is a file for certain and no milestone changes no figure: editors leave many.
            if !(is_file && path.extension().is_none_or(|extension| extension != "yaml")) {
                hints.milestones.insert(path.clone());
            }
        } else {
            // A symlink of a mounted configuration, which is exchanged for one to newer files.
            let is_of_mount = path.parent() == Some(config_folder)
                && path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
            hints.config |= *path == paths.config_file || is_of_mount;
            hints.marker |= *path == paths.marker || is_of_mount;
            hints.log |= *path == paths.storage_events;
            // Opening and closing a database, as every reader does, changes nothing in it.
            hints.database |= !matches!(event.kind, EventKind::Access(_)) && is_database(path, folder);
        }
    }
    hints
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a path is that of a database or of its journal.
fn is_database(path: &Path, folder: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.parent() == Some(folder) && ["index.db", "enterprise.db"].iter().any(|database| name.starts_with(database))
}

#[cfg(test)]
mod tests;
