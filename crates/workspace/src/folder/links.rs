//! Symlinks that a person has trusted.

use std::path::{Path, PathBuf};

/// One: its name beneath the folder, and where it leads. One that leads elsewhere by now is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Its name beneath the folder; `.` is the folder itself.
    pub name: PathBuf,
    /// What it says.
    pub target: PathBuf,
}

/// All of one folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links(Vec<Link>);

impl Links {
    /// These.
    pub fn new(links: Vec<Link>) -> Self {
        Self(links)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a symlink of this name that leads there is trusted.
    pub(super) fn has(&self, name: &Path, target: &Path) -> bool {
        self.0.iter().any(|link| link.name == name && link.target == target)
    }
}
