//! Milestone files that milescale has moved to `.milescale/retired/`: they are still what their old store held.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_workspace::displaced;
use milescale_workspace::error::StoreError;
use milescale_workspace::folder::Kind;
use milescale_workspace::looked::{Looked, STILL_FOR};
use milescale_workspace::read::Stamp;
use milescale_workspace::record::Old;
use milescale_workspace::{Place, Workspace};

use super::{FileStore, id_at, is_hidden, moving, walk};

/// The files that one retiring has moved.
#[derive(Debug)]
pub struct Retired {
    workspace: Workspace,
    store: FileStore,
    files: HashMap<String, Place>,
}

/// A retired file that was not looked at since it was written.
#[derive(Debug, Clone)]
pub struct Unlooked {
    /// The milestone's.
    pub id: String,
    name: PathBuf,
    stamp: Stamp,
}

impl Unlooked {
    /// Notes that what is written into it is looked for elsewhere from now on.
    pub fn note_watched(&self, retired: &Retired, looked: &mut Looked) {
        if let Ok(metadata) = retired.workspace.retired().join(&self.name).status_of_name() {
            looked.note(&self.name, Stamp::of(&metadata));
        }
    }

    /// Notes that what it holds was dealt with, unless it may change again without a new stamp.
    pub fn note(&self, looked: &mut Looked, now: SystemTime) {
        if self.stamp.age(now) >= STILL_FOR {
            looked.note(&self.name, self.stamp);
        }
    }
}

impl Retired {
    /// Finds them; `name` is that of their folder. None is no error.
    pub fn open(workspace: &Workspace, name: &str) -> Result<Self, StoreError> {
        let mut files = HashMap::new();
        let mut folders = vec![workspace.retired().join(name)];
        while let Some(folder) = folders.pop() {
            list(&folder, &mut folders, &mut files)
                .map_err(|error| StoreError::io(workspace.shown(&folder), "it cannot be listed", &error))?;
        }
        Ok(Self { workspace: workspace.clone(), store: FileStore::new(workspace.clone(), 0), files })
    }

    /// Those of an old store, where files of it were retired, also by a retiring that did not end.
    pub fn of(workspace: &Workspace, old: &Old) -> Result<Option<Self>, StoreError> {
        let name = old.epoch.to_string();
        let is_there = old.side == Side::Files && workspace.retired().join(&name).is_folder();
        is_there.then(|| Self::open(workspace, &name)).transpose()
    }

    /// Those that are not as they were when they were looked at last.
    pub fn unlooked(&self, looked: &mut Looked) -> Vec<Unlooked> {
        let folder = self.workspace.retired();
        let unlooked = |(id, path): (&String, &Place)| {
            let name = path.below(&folder).unwrap_or(path.inside());
            let status = path.status_of_name().ok()?;
            let stamp = Stamp::of(&status);
            (!looked.is_as_before(name, stamp)).then(|| Unlooked { id: id.clone(), name: name.to_owned(), stamp })
        };
        let found = self.files.iter().filter_map(unlooked).collect();
        looked.forget_others();
        found
    }

    /// Whether another file of an id was retired before it, and lies beside it.
    pub fn has_earlier(&self, id: &Id) -> bool {
        self.files.get(id.as_str()).is_some_and(|path| moving::beside(path, 1).exists())
    }

    /// Where the file of an id lies.
    pub(super) fn path(&self, id: &str) -> Option<&Place> {
        self.files.get(id)
    }

    /// The ids of all of them.
    pub fn ids(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    /// Goes on watching one when nothing sweeps it any more: what is written into it from `now` on is a conflict, and so is
    /// what it holds where that was not dealt with. On the disk after [`Retired::sync`].
    ///
    /// # Errors
    /// When it cannot be watched.
    pub fn watch(&self, file: &Milestone, is_dealt_with: bool, now: Timestamp) -> Result<(), StoreError> {
        let Some(path) = self.files.get(&file.id) else { return Ok(()) };
        displaced::watch(&self.workspace, file, path, is_dealt_with, now)
    }

    /// Syncs what says which are watched.
    ///
    /// # Errors
    /// When that fails.
    pub fn sync(&self) -> Result<(), StoreError> {
        displaced::sync(&self.workspace)
    }

    /// One of them.
    pub fn get(&self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        let Some(path) = self.files.get(id.as_str()) else { return Ok(None) };
        let content = self.store.content(path)?;
        Ok(content.map(|(text, metadata)| self.store.milestone(path, text, Stamp::of(&metadata))))
    }
}

fn list(folder: &Place, folders: &mut Vec<Place>, files: &mut HashMap<String, Place>) -> io::Result<()> {
    let entries = match folder.entries() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let path = folder.join(&entry.name);
        if entry.kind == Kind::Folder && !is_hidden(&entry.name) {
            folders.push(path);
        } else if entry.kind == Kind::File && walk::is_milestone(path.inside()) {
            files.insert(id_at(&path), path);
        }
    }
    Ok(())
}
