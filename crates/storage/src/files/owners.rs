//! Whose the milestone files are.

use std::ffi::CStr;

use milescale_workspace::Workspace;
use milescale_workspace::error::StoreError;
use milescale_workspace::folder::status_in;

use super::walk;

/// The bits of a mode that let somebody write.
const WRITE_BITS: u32 = 0o222;

/// The writable milestone files of other users, whose modes only those may change; as people read them.
///
/// # Errors
/// When a folder cannot be read.
#[allow(clippy::useless_conversion, reason = "the types differ by platform")]
pub fn files_of_others(workspace: &Workspace) -> Result<Vec<String>, StoreError> {
    let user = rustix::process::geteuid();
    if user.is_root() {
        return Ok(Vec::new());
    }
    let (active, mut found, mut scratch) = (workspace.active(), Vec::new(), std::path::PathBuf::new());
    walk::walk(workspace, &mut |batch| {
        for number in 0..batch.len() {
            let name: &CStr = batch.name(number);
            let status = status_in(batch.folder, name);
            let is_theirs =
                status.is_ok_and(|it| it.st_uid != user.as_raw() && u32::from(it.st_mode) & WRITE_BITS != 0);
            if is_theirs {
                found.push(workspace.shown(&active.join(batch.path(number, &mut scratch))));
            }
        }
        Ok(())
    })?;
    found.sort();
    Ok(found)
}
