//! The calls that SQLite reaches the file system by, done in an open folder where the path means one.
//!
//! There nothing is followed, and only a regular file is opened: SQLite would wait for a FIFO for ever.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{OnceLock, PoisonError};

use libsqlite3_sys as ffi;

use crate::pinned::{Meant, meant};
use crate::{beside, opened};

type Open = unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int;
type Stat = unsafe extern "C" fn(*const c_char, *mut libc::stat) -> c_int;
type Access = unsafe extern "C" fn(*const c_char, c_int) -> c_int;
/// Any of them, as SQLite keeps it.
type Any = unsafe extern "C" fn();
type Fchown = unsafe extern "C" fn(c_int, libc::uid_t, libc::gid_t) -> c_int;
type Fchmod = unsafe extern "C" fn(c_int, libc::mode_t) -> c_int;
type Unlink = unsafe extern "C" fn(*const c_char) -> c_int;
type Mmap = unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, c_int, libc::off_t) -> *mut c_void;

/// How much of the file that is shared beside a database in WAL mode is mapped, which whoever has the database open can make as large as he
/// likes: as much as 32 GiB of a write-ahead log need.
const SHARED_AT_MOST: u64 = 64 << 20;

/// SQLite's own calls, for all other paths.
struct Own {
    open: Open,
    stat: Stat,
    access: Access,
    unlink: Unlink,
    fchown: Fchown,
    fchmod: Fchmod,
    mmap: Mmap,
}

static OWN: OnceLock<Own> = OnceLock::new();

/// Puts the calls below in the place of SQLite's own.
///
/// # Errors
/// SQLite's code, where one cannot be exchanged.
///
/// # Safety
/// `vfs` is SQLite's file system for Unix, and no connection is open.
pub(crate) unsafe fn exchange(vfs: *mut ffi::sqlite3_vfs) -> Result<(), c_int> {
    // SAFETY: the caller's.
    let table = unsafe { &*vfs };
    let (Some(get), Some(set)) = (table.xGetSystemCall, table.xSetSystemCall) else { return Err(ffi::SQLITE_ERROR) };
    let call = |name: &CStr| {
        // SAFETY: it is asked about a name.
        unsafe { get(vfs, name.as_ptr()) }.ok_or(ffi::SQLITE_ERROR)
    };
    let (own_open, own_stat, own_access, own_unlink) =
        (call(c"open")?, call(c"stat")?, call(c"access")?, call(c"unlink")?);
    let own = Own {
        // SAFETY: os_unix.c calls what has this name with these types.
        open: unsafe { std::mem::transmute::<unsafe extern "C" fn(), Open>(own_open) },
        // SAFETY: as above.
        stat: unsafe { std::mem::transmute::<unsafe extern "C" fn(), Stat>(own_stat) },
        // SAFETY: as above.
        access: unsafe { std::mem::transmute::<unsafe extern "C" fn(), Access>(own_access) },
        // SAFETY: as above.
        unlink: unsafe { std::mem::transmute::<unsafe extern "C" fn(), Unlink>(own_unlink) },
        // SAFETY: as above.
        fchown: unsafe { std::mem::transmute::<unsafe extern "C" fn(), Fchown>(call(c"fchown")?) },
        // SAFETY: as above.
        fchmod: unsafe { std::mem::transmute::<unsafe extern "C" fn(), Fchmod>(call(c"fchmod")?) },
        // SAFETY: as above.
        mmap: unsafe { std::mem::transmute::<unsafe extern "C" fn(), Mmap>(call(c"mmap")?) },
    };
    if OWN.set(own).is_err() {
        return Ok(());
    }
    let ours: [(&CStr, Any); 7] = [
        // SAFETY: os_unix.c calls it with the types that it has.
        (c"mmap", unsafe { std::mem::transmute::<Mmap, Any>(mmap) }),
        // SAFETY: os_unix.c calls it with the types that it has.
        (c"fchown", unsafe { std::mem::transmute::<Fchown, Any>(fchown) }),
        // SAFETY: as above.
        (c"fchmod", unsafe { std::mem::transmute::<Fchmod, Any>(fchmod) }),
        // SAFETY: os_unix.c calls it with the types that it has.
        (c"open", unsafe { std::mem::transmute::<Open, Any>(open) }),
        // SAFETY: as above.
        (c"stat", unsafe { std::mem::transmute::<Stat, Any>(stat) }),
        // SAFETY: as above.
        (c"access", unsafe { std::mem::transmute::<Access, Any>(access) }),
        // SAFETY: as above.
        (c"unlink", unsafe { std::mem::transmute::<Unlink, Any>(unlink) }),
    ];
    for (name, call) in ours {
        // SAFETY: a function that stays, of the type that SQLite calls it by.
        let code = unsafe { set(vfs, name.as_ptr(), Some(call)) };
        if code != ffi::SQLITE_OK {
            return Err(code);
        }
    }
    Ok(())
}

/// Fails as a call of the system does.
fn fail(number: c_int) -> c_int {
    #[cfg(target_os = "linux")]
    // SAFETY: it is this thread's own number.
    let place = unsafe { libc::__errno_location() };
    #[cfg(not(target_os = "linux"))]
    // SAFETY: it is this thread's own number.
    let place = unsafe { libc::__error() };
    // SAFETY: as above.
    unsafe { *place = number };
    -1
}

/// What a path means, else the number of an error.
///
/// # Safety
/// `path` is a text of C that outlives the result, as SQLite's are.
unsafe fn of<'a>(path: *const c_char) -> Meant<'a> {
    if path.is_null() {
        return Meant::Nothing;
    }
    // SAFETY: the caller's.
    meant(unsafe { CStr::from_ptr(path) })
}

unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: SQLite hands over a path.
    match (unsafe { of(path) }, OWN.get()) {
        (Meant::In(folder, name), _) => {
            MADE.set(None);
            let flags = flags | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
            let Ok(mode) = libc::c_uint::try_from(mode) else { return fail(libc::EINVAL) };
            // What lies beside a database is for its user alone until it has the database's rights.
            let database = beside::database_of(name);
            let mode = if database.is_some() { mode & 0o700 } else { mode };
            let there = |flags: c_int| {
                // SAFETY: an open folder and a name.
                unsafe { libc::openat(folder.folder.as_raw_fd(), name.as_ptr(), flags, mode) }
            };
            // What is there and what is made are told apart: SQLite gives the latter to the database's owner, with its mode.
            let mut file = there(flags & !libc::O_CREAT);
            let mut is_made = false;
            if file < 0
                && flags & libc::O_CREAT != 0
                && std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOENT)
            {
                file = there(flags | libc::O_EXCL);
                is_made = file >= 0;
            }
            if file < 0 {
                return file;
            }
            let status = beside::status_of(file);
            let kind = status.map(|status| status.st_mode & libc::S_IFMT);
            if is_made {
                let most = database.as_ref().map_or(0o777, |it| beside::make_like(folder.folder.as_fd(), it, file));
                MADE.set(Some((file, most)));
            }
            // What lies beside a database has no readers of its own.
            if let Some(status) = status.filter(|_| kind == Some(libc::S_IFREG) && database.is_none()) {
                let mut opened = folder.opened.lock().unwrap_or_else(PoisonError::into_inner);
                opened::note(&mut opened, name, &status, beside::has_list(file));
            }
            if kind == Some(libc::S_IFREG) || kind == Some(libc::S_IFDIR) && name == c"." {
                return file;
            }
            // SAFETY: it was opened above, and nobody else knows of it.
            unsafe { libc::close(file) };
            fail(libc::EACCES)
        }
        (Meant::Path, Some(own)) => {
            // SAFETY: the same arguments, for SQLite's own call.
            unsafe { (own.open)(path, flags, mode) }
        }
        _ => fail(libc::EACCES),
    }
}

thread_local! {
    /// The file that this thread has made last, where it has opened none since, and the bits of a mode that it may have.
    static MADE: std::cell::Cell<Option<(c_int, libc::mode_t)>> = const { std::cell::Cell::new(None) };
}

/// Maps a part of a file, up to [`SHARED_AT_MOST`].
unsafe extern "C" fn mmap(
    at: *mut c_void,
    bytes: usize,
    access: c_int,
    flags: c_int,
    file: c_int,
    begin: libc::off_t,
) -> *mut c_void {
    let end = u64::try_from(begin).ok().and_then(|begin| begin.checked_add(bytes as u64));
    let (Some(own), true) = (OWN.get(), end.is_some_and(|end| end <= SHARED_AT_MOST)) else {
        fail(libc::ENOMEM);
        return libc::MAP_FAILED;
    };
    // SAFETY: what SQLite asks for, of the call that it would ask.
    unsafe { (own.mmap)(at, bytes, access, flags, file, begin) }
}

/// Gives a file away that was just made. One that was there stays whose it is: it may be another file of that name.
unsafe extern "C" fn fchown(file: c_int, user: libc::uid_t, group: libc::gid_t) -> c_int {
    match (OWN.get(), MADE.get()) {
        (Some(own), Some((made, _))) if made == file => {
            // SAFETY: the same arguments, for SQLite's own call.
            unsafe { (own.fchown)(file, user, group) }
        }
        _ => 0,
    }
}

/// Sets the mode of a file that was just made, as for [`fchown`].
unsafe extern "C" fn fchmod(file: c_int, mode: libc::mode_t) -> c_int {
    match (OWN.get(), MADE.get()) {
        (Some(own), Some((its, bits))) if its == file => {
            // SAFETY: the same file, and no more than that mode.
            unsafe { (own.fchmod)(file, mode & bits) }
        }
        _ => 0,
    }
}

unsafe extern "C" fn stat(path: *const c_char, status: *mut libc::stat) -> c_int {
    // SAFETY: SQLite hands over a path.
    match (unsafe { of(path) }, OWN.get()) {
        (Meant::In(folder, name), _) => {
            // SAFETY: an open folder, a name, and SQLite's room.
            unsafe { libc::fstatat(folder.folder.as_raw_fd(), name.as_ptr(), status, libc::AT_SYMLINK_NOFOLLOW) }
        }
        (Meant::Path, Some(own)) => {
            // SAFETY: the same arguments, for SQLite's own call.
            unsafe { (own.stat)(path, status) }
        }
        _ => fail(libc::EACCES),
    }
}

unsafe extern "C" fn access(path: *const c_char, mode: c_int) -> c_int {
    // SAFETY: SQLite hands over a path.
    match (unsafe { of(path) }, OWN.get()) {
        (Meant::In(folder, name), _) => {
            // SAFETY: an open folder and a name.
            unsafe { libc::faccessat(folder.folder.as_raw_fd(), name.as_ptr(), mode, 0) }
        }
        (Meant::Path, Some(own)) => {
            // SAFETY: the same arguments, for SQLite's own call.
            unsafe { (own.access)(path, mode) }
        }
        _ => fail(libc::EACCES),
    }
}

unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: SQLite hands over a path.
    match (unsafe { of(path) }, OWN.get()) {
        (Meant::In(folder, name), _) => {
            // SAFETY: an open folder and a name.
            unsafe { libc::unlinkat(folder.folder.as_raw_fd(), name.as_ptr(), 0) }
        }
        (Meant::Path, Some(own)) => {
            // SAFETY: the same argument, for SQLite's own call.
            unsafe { (own.unlink)(path) }
        }
        _ => fail(libc::EACCES),
    }
}
