//! Which files count: regular files in `active/` and its subfolders whose names end in `.yaml`, nothing that begins
//! with a dot, no symlink followed (contract §2).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::is_hidden;
use crate::error::{Problem, StoreError};
use crate::workspace::Workspace;

/// The milestone files below `active/`, relative to it; `None` where there is no such folder.
///
/// # Errors
/// When a folder cannot be read: a part of the truth is none.
pub(super) fn milestone_files(workspace: &Workspace) -> Result<Option<Vec<Box<Path>>>, StoreError> {
    let active = &workspace.active();
    let unreadable = |path: &Path, error: &io::Error| {
        let cause = match error.kind() {
            io::ErrorKind::PermissionDenied => format!("{error}; give milescale's user the right to list it"),
            _ => error.to_string(),
        };
        StoreError::new(Problem::Unavailable, workspace.shown(path), cause)
    };
    match active.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            let cause = "it is not a folder (symlinks are not followed); make it one";
            return Err(StoreError::new(Problem::Unavailable, workspace.shown(active), cause));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(active, &error)),
    }
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        match list(active, &folder, &mut files, &mut folders) {
            // Removed between being listed and being opened.
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.as_os_str().is_empty() => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&active.join(folder), &error)),
            Ok(()) => {}
        }
    }
    Ok(Some(files))
}

fn list(active: &Path, folder: &Path, files: &mut Vec<Box<Path>>, folders: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(active.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        if is_hidden(&name) {
            continue;
        }
        let kind = match entry.file_type() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let path = folder.join(name);
        if kind.is_dir() {
            folders.push(path);
        } else if kind.is_file() && is_milestone(&path) {
            files.push(path.into());
        }
    }
    Ok(())
}

/// Whether a regular file of this name counts.
pub(super) fn is_milestone(path: &Path) -> bool {
    path.file_name().is_some_and(|name| !is_hidden(name) && name.as_encoded_bytes().ends_with(b".yaml"))
}
