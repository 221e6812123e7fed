//! Lists of rights (POSIX ACLs), as the kernel keeps them.

use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, setxattr};

pub(super) const LIST: &str = "system.posix_acl_access";

/// Which user or group an entry is about that names none.
pub(super) const NOBODY: u32 = u32::MAX;

/// One entry: who, what, which of them.
pub(super) fn entry_of_rights((who, may, which): (u16, u16, u32)) -> Vec<u8> {
    [&who.to_le_bytes()[..], &may.to_le_bytes()[..], &which.to_le_bytes()[..]].concat()
}

pub(super) fn list_of_rights(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    [2_u32.to_le_bytes().to_vec(), entries.iter().copied().flat_map(entry_of_rights).collect()].concat()
}

/// A list by which one other user may read, and the file's group may not, though the bits of its mode say so.
pub(super) fn one_reader_named(user: u32) -> Vec<u8> {
    list_of_rights(&[(1, 6, NOBODY), (2, 4, user), (4, 0, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY)])
}

/// Gives a file or folder a list. `false`: the file system has none.
pub(super) fn give_list(path: &Path, name: &str, list: &[u8]) -> bool {
    setxattr(path, name, list, XattrFlags::empty()).is_ok()
}

pub(super) fn list_at(path: &Path) -> Option<Vec<u8>> {
    let mut value = vec![0; 1000];
    let length = getxattr(path, LIST, &mut *value).ok()?;
    value.truncate(length);
    Some(value)
}
