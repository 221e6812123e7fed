//! Whose the milestone files are.

use std::ffi::CStr;

use milescale_workspace::error::StoreError;
use milescale_workspace::folder::status_in;
use milescale_workspace::{Place, Workspace};
use rustix::fs::Access;

use super::walk;

/// The bits of a mode that let somebody write.
const WRITE_BITS: u32 = 0o222;

/// The bit of a mode that lets everybody read.
const READABLE_BY_ALL: u32 = 0o004;

/// The writable milestone files of other users, whose modes only those may change; as people read them.
///
/// # Errors
/// When a folder cannot be read.
pub fn files_of_others(workspace: &Workspace) -> Result<Vec<String>, StoreError> {
    of_others(workspace, |mode, _| mode & WRITE_BITS != 0)
}

/// The milestone files of other users that this one may not read; as people read them.
///
/// # Errors
/// When a folder cannot be read.
pub fn unreadable_files(workspace: &Workspace) -> Result<Vec<String>, StoreError> {
    of_others(workspace, |mode, file| mode & READABLE_BY_ALL == 0 && file.access(Access::READ_OK).is_err())
}

/// Milestone files of other users, by mode and place.
#[allow(clippy::useless_conversion, reason = "the types differ by platform")]
fn of_others(workspace: &Workspace, is_wanted: impl Fn(u32, &Place) -> bool) -> Result<Vec<String>, StoreError> {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return Ok(Vec::new());
    }
    let (active, mut found, mut scratch) = (workspace.active(), Vec::new(), std::path::PathBuf::new());
    walk::walk(workspace, &mut |batch| {
        for number in 0..batch.len() {
            let name: &CStr = batch.name(number);
            let Ok(status) = status_in(batch.folder, name) else { continue };
            if status.st_uid == user.as_raw() {
                continue;
            }
            let file = active.join(batch.path(number, &mut scratch));
            if is_wanted(u32::from(status.st_mode), &file) {
                found.push(workspace.shown(&file));
            }
        }
        Ok(())
    })?;
    found.sort();
    Ok(found)
}
