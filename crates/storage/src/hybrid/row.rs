//! A row of the index: what it says of a milestone, and which file it names.

use std::path::{Path, PathBuf};

use milescale_document::columns::{Columns, DEFAULT_PRIORITY, instant};
use milescale_workspace::Place;
use milescale_workspace::layout::{FOLDER, Workspace};

use crate::files::ColumnsHash;

/// A row as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct IndexRow {
    pub(super) title: Option<String>,
    pub(super) status: Option<String>,
    pub(super) priority: Option<String>,
    pub(super) created_at: Option<String>,
    pub(super) updated_at: Option<String>,
    pub(super) file_path: Option<String>,
}

impl IndexRow {
    /// The row that a milestone file should have.
    pub(super) fn of(workspace: &Workspace, path: &Place, columns: Columns, updated_at: Option<String>) -> Self {
        let Columns { title, status, priority, created_at } = columns;
        let inside = from_root(workspace, path);
        Self {
            title: Some(title),
            status,
            priority: Some(priority),
            created_at,
            updated_at,
            file_path: Some(inside.to_string_lossy().into_owned()),
        }
    }

    /// What it says of the milestone, to be compared with what its document says. When it was written is each program's own
    /// matter, and so is when the milestone came to be where its document does not say.
    pub(super) fn said(&self, created_is_told: bool) -> ColumnsHash {
        ColumnsHash::of(&Columns {
            title: self.title.clone().unwrap_or_default(),
            status: self.status.clone(),
            priority: self.priority.clone().unwrap_or_else(|| DEFAULT_PRIORITY.to_owned()),
            created_at: self.created_at.as_deref().and_then(instant).filter(|_| created_is_told),
        })
    }

    /// Whether it names this file.
    pub(super) fn names(&self, workspace: &Workspace, path: &Place) -> bool {
        let inside = from_root(workspace, path);
        self.file_path.as_deref().is_some_and(|named| *named == *inside.to_string_lossy())
    }

    /// Whether it counts: its path has `active` in it, in any ASCII case.
    pub(super) fn counts(&self) -> bool {
        self.file_path.as_deref().is_some_and(|path| path.to_ascii_lowercase().contains("active"))
    }

    /// The path in `active/` that it names.
    pub(super) fn inside_active(&self, workspace: &Workspace, id: &str) -> PathBuf {
        let named = self.file_path.as_deref().unwrap_or_default();
        let root = workspace.root().to_string_lossy();
        let relative = named.strip_prefix(&*root).map_or(named, |rest| rest.trim_start_matches('/'));
        let relative = relative.strip_prefix("./").unwrap_or(relative);
        let inside = relative.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix("/active/"));
        inside.map_or_else(|| PathBuf::from(format!("{id}.yaml")), PathBuf::from)
    }
}

/// The path of a place from the folder that holds `.milestones/`, as the index has it.
fn from_root(workspace: &Workspace, place: &Place) -> PathBuf {
    let path = place.path();
    path.strip_prefix(workspace.root()).map_or_else(|_| path.clone(), Path::to_owned)
}
