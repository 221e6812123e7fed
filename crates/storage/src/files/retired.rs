//! Milestone files that milescale has moved to `.milescale/retired/`: they are still what their old store held.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use milescale_core::id::Id;

use super::{FileStore, displaced, id_of, is_hidden, walk};
use crate::error::StoreError;
use crate::read::Stamp;
use crate::store::Milestone;
use crate::workspace::Workspace;

/// The files that one retiring has moved.
#[derive(Debug)]
pub struct Retired {
    workspace: Workspace,
    store: FileStore,
    files: HashMap<String, PathBuf>,
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

    /// The ids of those that were written to at an instant or later.
    pub fn written_since(&self, since: SystemTime) -> Vec<String> {
        let is_written = |path: &Path| {
            let modified = path.symlink_metadata().and_then(|metadata| metadata.modified());
            modified.is_ok_and(|modified| modified >= since)
        };
        self.files.iter().filter(|(_, path)| is_written(path)).map(|(id, _)| id.clone()).collect()
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

fn list(folder: &Path, folders: &mut Vec<PathBuf>, files: &mut HashMap<String, PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() && !is_hidden(&entry.file_name()) {
            folders.push(path);
        } else if kind.is_file() && walk::is_milestone(&path) {
            files.insert(id_of(&path), path);
        }
    }
    Ok(())
}
