//! What the system says of a file or folder.

use std::fs;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;

use super::File;
use crate::rights::List;

/// What the system says of a file or folder, with its list of rights.
#[derive(Debug, Clone)]
pub struct Metadata {
    status: fs::Metadata,
    list: Option<List>,
}

impl Metadata {
    /// That of an open file or folder, or of a handle of one.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn of(file: &File) -> io::Result<Self> {
        let status = file.metadata()?;
        // A symlink has none.
        let list = if status.is_symlink() { None } else { List::of_open(file) };
        Ok(Self { status, list })
    }

    /// The list of rights; `None` where the mode says everything.
    pub fn list(&self) -> Option<List> {
        self.list
    }

    /// Whether two let in the same others.
    pub(crate) fn lets_in_the_same(&self, other: &Self) -> bool {
        let rights = |it: &Self| (it.mode() & 0o777, it.uid(), it.gid(), it.list);
        rights(self) == rights(other) && self.list != Some(List::UNKNOWN)
    }
}

impl Deref for Metadata {
    type Target = fs::Metadata;

    fn deref(&self) -> &fs::Metadata {
        &self.status
    }
}
