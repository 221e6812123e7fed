//! What SQLite makes beside a database, a journal above all, holds rows of it: it is for those who may read the database, and nobody else.
//!
//! SQLite itself gives it the database's mode. Where that has a list of rights, or belongs to another group than what its user makes, the mode
//! says something else of the new file.

use std::ffi::{CStr, CString, c_int};
use std::os::fd::{AsRawFd, BorrowedFd};

/// How the names of such files end.
const ENDS: [&[u8]; 3] = [b"-journal", b"-wal", b"-shm"];

/// The database that a name belongs to; `None` for a name of its own.
pub(crate) fn database_of(name: &CStr) -> Option<CString> {
    let name = name.to_bytes();
    let database = ENDS.iter().find_map(|end| name.strip_suffix(*end))?;
    CString::new(database).ok()
}

/// Gives a new file what its database has of a group and of a list. The bits of a mode that it may have.
pub(crate) fn make_like(folder: BorrowedFd<'_>, database: &CStr, file: c_int) -> libc::mode_t {
    const OWNERS: libc::mode_t = 0o700;
    let (Some(theirs), Some(ours)) = (status_in(folder, database), status_of(file)) else { return OWNERS };
    // SAFETY: an open file.
    let is_of_group =
        ours.st_gid == theirs.st_gid || unsafe { libc::fchown(file, libc::uid_t::MAX, theirs.st_gid) } == 0;
    let is_listed = give_list(folder, database, file, is_of_group);
    if is_of_group && is_listed { 0o777 } else { OWNERS }
}

fn status_in(folder: BorrowedFd<'_>, name: &CStr) -> Option<libc::stat> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: an open folder, a name, and room for what is said of it.
    let code =
        unsafe { libc::fstatat(folder.as_raw_fd(), name.as_ptr(), status.as_mut_ptr(), libc::AT_SYMLINK_NOFOLLOW) };
    // SAFETY: it is filled in where the call did not fail.
    (code == 0).then(|| unsafe { status.assume_init() })
}

/// What the system says of an open file.
pub(crate) fn status_of(file: c_int) -> Option<libc::stat> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: an open file, and room for what is said of it.
    let code = unsafe { libc::fstat(file, status.as_mut_ptr()) };
    // SAFETY: it is filled in where the call did not fail.
    (code == 0).then(|| unsafe { status.assume_init() })
}

/// The name of a list of rights.
#[cfg(target_os = "linux")]
const LIST: &CStr = c"system.posix_acl_access";

/// Gives a new file the list that its database has, or takes away what the folder has given it. Whether that is so now.
#[cfg(target_os = "linux")]
fn give_list(folder: BorrowedFd<'_>, database: &CStr, file: c_int, is_of_group: bool) -> bool {
    let mut path = format!("/proc/self/fd/{}/", folder.as_raw_fd()).into_bytes();
    path.extend(database.to_bytes());
    let Ok(path) = CString::new(path) else { return false };
    let mut list = [0_u8; 4096];
    // SAFETY: two texts, and room of that length.
    let length = unsafe { libc::lgetxattr(path.as_ptr(), LIST.as_ptr(), list.as_mut_ptr().cast(), list.len()) };
    let Ok(length) = usize::try_from(length) else {
        let is_none = matches!(
            std::io::Error::last_os_error().raw_os_error(),
            Some(libc::ENODATA | libc::EOPNOTSUPP | libc::ENOENT)
        );
        // SAFETY: an open file and a text.
        unsafe { libc::fremovexattr(file, LIST.as_ptr()) };
        return is_none && !has_list(file);
    };
    // SAFETY: an open file, a text, and a list of that length.
    is_of_group && unsafe { libc::fsetxattr(file, LIST.as_ptr(), list.as_ptr().cast(), length, 0) } == 0
}

/// Whether an open file has a list of rights.
#[cfg(target_os = "linux")]
pub(crate) fn has_list(file: c_int) -> bool {
    // SAFETY: an open file and a text; there is room for nothing, and only the length is asked for.
    unsafe { libc::fgetxattr(file, LIST.as_ptr(), std::ptr::null_mut(), 0) > 0 }
}

#[cfg(not(target_os = "linux"))]
fn give_list(_: BorrowedFd<'_>, _: &CStr, _: c_int, _: bool) -> bool {
    true
}

/// There lists are looked at nowhere yet.
#[cfg(not(target_os = "linux"))]
pub(crate) fn has_list(_: c_int) -> bool {
    false
}
