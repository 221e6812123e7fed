//! Which files SQLite has open: what has their name now may be another one.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use crate::pinned;

/// A file as it was when SQLite opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Its file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Its kind and its rights.
    pub mode: u32,
    /// Its owner.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// It has a list of rights besides.
    pub has_list: bool,
}

/// Those that were opened in one folder, by their names.
pub(crate) type OpenedIn = Vec<(CString, Opened)>;

/// The databases of this name that SQLite has opened in folders that are pinned still.
#[must_use]
pub fn opened(name: &OsStr) -> Vec<Opened> {
    let mut found = Vec::new();
    pinned::each_opened(&mut |of_folder| {
        let of_name = of_folder.iter().filter(|(it, _)| it.to_bytes() == name.as_bytes());
        found.extend(of_name.map(|(_, opened)| *opened));
    });
    found
}

/// Notes one that is open now.
pub(crate) fn note(opened: &mut OpenedIn, name: &CStr, status: &libc::stat, has_list: bool) {
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_fallible_conversions,
        reason = "the types differ by platform"
    )]
    let now = Opened {
        device: u64::try_from(status.st_dev).unwrap_or_default(),
        inode: status.st_ino,
        mode: u32::from(status.st_mode),
        user: status.st_uid,
        group: status.st_gid,
        has_list,
    };
    match opened
        .iter_mut()
        .find(|(it, before)| **it == *name && (before.device, before.inode) == (now.device, now.inode))
    {
        Some((_, before)) => *before = now,
        None => opened.push((name.into(), now)),
    }
}
