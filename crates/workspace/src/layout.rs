//! Where everything lies under a workspace (contract §2).

use std::io;
use std::path::{Path, PathBuf};

use milescale_document::text::{harmless, in_command};

use crate::folder::{Folder, Place, system};
use crate::stop::Stop;
use crate::trust::Trust;

/// The folder that holds every file of contract §2.
pub const FOLDER: &str = ".milestones";

/// The folder of milescale's own runtime files.
pub const OWN_FOLDER: &str = ".milescale";

/// The folder of marker and configuration, in the folder of a workspace.
pub const CONFIG_FOLDER: &str = "config";

/// The marker, in the folder of a workspace.
pub const MARKER: &str = "config/storage-backend.txt";

/// What `.gitignore` says in it.
pub const OWN_GITIGNORE: &str = "# milescale's own runtime files\n*\n";

/// A workspace: the folder that holds `.milestones/`, and the word to stop for all who work on it. `.milestones/` is opened when
/// something in it is first reached; clones share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    root: PathBuf,
    folder: Folder,
    stop: Stop,
}

macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident = $path:expr;)*) => {
        impl Workspace { $($(#[$doc])* pub fn $name(&self) -> Place { self.folder().join($path) })* }
    };
}

paths! {
    /// The milestones that count.
    active = "active";
    /// The archive: milestones that count no more.
    completed = "completed";
    /// Marker, configuration, notification.
    config_folder = "config";
    /// The marker: which backend is in use.
    marker = MARKER;
    /// What people set.
    config_file = "config/storage-config.yaml";
    /// A recommendation that waits for a person.
    notification = "config/migration-notification.yaml";
    /// The last one that was withdrawn.
    previous_notification = "config/migration-notification.previous.yaml";
    /// The three logs.
    logs = "logs";
    /// Lines of adapters.
    storage_events = "logs/storage-events.jsonl";
    /// One line a cycle.
    metrics = "logs/performance-metrics.jsonl";
    /// What milescale says.
    scale_events = "logs/scale-events.jsonl";
    /// milescale's own runtime files.
    own = OWN_FOLDER;
    /// Keeps git away from the runtime files.
    own_gitignore = ".milescale/.gitignore";
    /// The ids that the store in use held when it was last read in full.
    last_ids = ".milescale/last-ids.json";
    /// What is known of the milestone files, for the next start.
    facts = ".milescale/facts";
    /// Contents of milestones that a write of milescale replaced, for a while.
    displaced = ".milescale/displaced";
    /// Which of them were looked at, as they are.
    displaced_looked = ".milescale/displaced-looked.json";
    /// Contents that are in conflict with what is current, until a person has seen them.
    conflicts = ".milescale/conflicts";
    /// The SQLite index of the hybrid backend.
    index_db = "index.db";
    /// The SQLite documents of the database backend.
    enterprise_db = "enterprise.db";
    /// Folders that mark milestones as being written.
    locks = "locks";
    /// The days that milescale has counted, and on which it first saw what is kept for so many of them.
    days = ".milescale/days.json";
    /// Held by the one daemon.
    daemon_lock = ".milescale/daemon.lock";
    /// The number that says which workspace this is.
    identity = ".milescale/identity";
    /// The tokens of this workspace's writes on shared servers.
    tokens = ".milescale/tokens";
    /// Held while that list is read to be changed.
    tokens_lock = ".milescale/tokens.lock";
    /// Held for the life of a migration, a recovery, or a sweep of old stores.
    migration_lock = ".milescale/migration.lock";
    /// Held by the milestone verbs while they write, shared, and by the switch, alone.
    switch_lock = ".milescale/switch.lock";
    /// Taken before the switch's lock, so that those who come later wait behind the switch.
    switch_gate = ".milescale/switch.gate";
    /// What is in use, what was, and the migration under way.
    record = ".milescale/migration.json";
    /// How often milescale has switched.
    switches = ".milescale/switches";
    /// The milestones that the milestone verbs have written during a migration.
    dirty = ".milescale/dirty.jsonl";
    /// What the move under way is about to write into its target.
    move_journal = ".milescale/move-journal.jsonl";
    /// Milestone files of the move under way, before each gets its name in `active/` or `completed/`.
    incoming = ".milescale/incoming";
    /// What lay in the archive of files when they were left.
    archived_before = ".milescale/archived-before.json";
    /// While it is there, something is being tried, or what was tried may have left scratch folders.
    trying = ".milescale/trying";
    /// A change of an old store that is just being brought into milestone files.
    importing = ".milescale/importing.json";
    /// Changes of old stores that wait for a person.
    held = ".milescale/held.json";
    /// What else the sweeping of old stores remembers.
    sweeps = ".milescale/sweeps.json";
    /// While it is there, milescale migrates nothing by itself.
    paused = ".milescale/paused.json";
    /// The base of old stores, where milestone files are in use.
    base_db = ".milescale/base.db";
    /// Milestone files that a person, or the configuration, has retired.
    retired = ".milescale/retired";
    /// Which of them were looked at, as they are.
    retired_looked = ".milescale/retired-looked.json";
    /// The server of PostgreSQL that was used last, and its newest timeline.
    timeline = ".milescale/postgresql.json";
    /// The restore under way, or what a death has left of one.
    restoring = ".milescale/restore.json";
    /// Backups.
    backups = "backups";
    /// What stands beside milestone files that are not in use any more.
    moved_note = "active/MOVED-TO-A-DATABASE.txt";
    /// The modes that milestone files had before they became read-only.
    modes = ".milescale/modes.json";
    /// Held by milescale while it replaces a milestone file.
    write_lock = ".milescale/write.lock";
    /// Held while a person decides a conflict.
    resolving_lock = ".milescale/resolving.lock";
    /// What must outlive a restart.
    state = ".milescale/state.json";
    /// What the daemon knows now.
    published = ".milescale/status.json";
    /// The last configuration that was valid.
    last_good_config = ".milescale/last-good-config.yaml";
}

impl Workspace {
    /// The workspace at `root`, whether or not there is one.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self::trusting(root, Trust::default())
    }

    /// The same, with what is trusted in it.
    pub fn trusting(root: impl Into<PathBuf>, trust: Trust) -> Self {
        let root = root.into();
        let folder = Folder::of_workspace(root.join(FOLDER), trust);
        Self { root, folder, stop: Stop::default() }
    }

    /// The word to stop, which every wait on this workspace and its clones hears.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The nearest folder from `start` upwards that holds `.milestones/`, as git finds `.git`.
    pub fn find(start: &Path) -> Option<&Path> {
        start.ancestors().find(|folder| system::is_folder(folder.join(FOLDER)))
    }

    /// The path of the folder that holds `.milestones/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `.milestones/`.
    pub fn folder(&self) -> Place {
        self.folder.place()
    }

    /// Whether there is a folder `.milestones` now. Where another one has its name since it was opened, that one is used from now
    /// on: who works on for long asks before each piece of work.
    pub fn is_there(&self) -> bool {
        self.look_again().is_ok()
    }

    /// The same, with why it cannot be used.
    ///
    /// # Errors
    /// Of kind `NotFound` where there is none; what says of trust what to do where that is missing
    /// ([`is_about_trust`](crate::folder::is_about_trust)).
    pub fn look_again(&self) -> io::Result<()> {
        self.folder.look_again().map(drop)
    }

    /// In the middle of a piece of work: whether it is still the same folder.
    ///
    /// # Errors
    /// As [`Workspace::look_again`], and where another one has the name.
    pub fn is_still_the_same(&self) -> io::Result<()> {
        self.folder.is_still_the_same()
    }

    /// From now on another folder that gets the name is used, where one is found at a look: a daemon outlives a checkout.
    pub fn follow_its_name(&self) {
        self.folder.follow_its_name();
    }

    /// `.milestones/` as what everything in it is reached through.
    pub fn capability(&self) -> &Folder {
        &self.folder
    }

    /// A place as people read it: relative to the workspace where it lies in it, control characters escaped.
    pub fn shown(&self, place: &Place) -> String {
        self.shown_path(&place.path())
    }

    /// The same of a path.
    pub fn shown_path(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        harmless(&inside.to_string_lossy())
    }

    /// A command line of milescale for this workspace, which works as it stands from any folder: none of the path is a command itself.
    pub fn command(&self, verb: &str) -> String {
        format!("milescale {verb} --workspace {}", in_command(&self.root))
    }
}
