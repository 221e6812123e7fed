//! Keeps SQLite from files that a database only names.
//!
//! A rollback journal may name a *super-journal*: the file that ties it to the journals of other databases. SQLite opens that file
//! when it rolls back, opens the journals that it lists, and removes it in the end. Whoever may write beside a database can put such
//! a journal there, and so let another user's SQLite remove any file. A look at the journal beforehand does not help: it may be put
//! there a moment later.
//!
//! milescale never writes to two databases in one transaction, so it needs no super-journal. This crate registers a copy of SQLite's
//! own file system that refuses to open one; all else is SQLite's. Rolling back then fails with `SQLITE_CANTOPEN`, and nothing is
//! removed.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use libsqlite3_sys as ffi;

/// The name under which the file system is registered, for `SqliteConnectOptions::vfs`.
pub const NAME: &str = "milescale";

/// SQLite's own file system, which does the work.
static OWN: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());

/// Registers the file system, once in a process.
///
/// # Errors
/// The code of SQLite, where it has no file system of its own or does not take another one.
pub fn register() -> Result<&'static str, i32> {
    static REGISTERED: OnceLock<c_int> = OnceLock::new();
    match *REGISTERED.get_or_init(register_once) {
        ffi::SQLITE_OK => Ok(NAME),
        code => Err(code),
    }
}

fn register_once() -> c_int {
    // SAFETY: may be called at any time, from any thread; what was done before is not done again.
    let begun = unsafe { ffi::sqlite3_initialize() };
    if begun != ffi::SQLITE_OK {
        return begun;
    }
    // SAFETY: null asks for the one that is used without a name. SQLite keeps it for as long as the process lives.
    let own = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
    if own.is_null() {
        return ffi::SQLITE_ERROR;
    }
    OWN.store(own, Ordering::Release);
    // SAFETY: it is not null, and a table of functions that SQLite has filled in; nobody writes to it any more.
    let mut guarded = unsafe { *own };
    guarded.pNext = ptr::null_mut();
    guarded.zName = c"milescale".as_ptr();
    guarded.xOpen = Some(open);
    // It is never given back: connections use it until the process ends.
    let guarded = Box::into_raw(Box::new(guarded));
    // SAFETY: the table is whole, its name ends with NUL, and both outlive the process's connections.
    unsafe { ffi::sqlite3_vfs_register(guarded, 0) }
}

/// Opens a file as SQLite does, but no super-journal.
///
/// # Safety
/// Called by SQLite alone, with what it promises of `xOpen`.
unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    given: *mut c_int,
) -> c_int {
    let own = OWN.load(Ordering::Acquire);
    // SAFETY: `register_once` has put it there before SQLite knew of this function.
    let own_open = unsafe { own.as_ref() }.and_then(|own| own.xOpen);
    match own_open {
        Some(own_open) if flags & ffi::SQLITE_OPEN_SUPER_JOURNAL == 0 => {
            // SAFETY: the same arguments, for the file system that the function belongs to; a file of the copy is as large.
            unsafe { own_open(own, name, file, flags, given) }
        }
        _ => {
            // SAFETY: SQLite hands over room for a file; one without methods was not opened, and is not closed.
            unsafe { (*file).pMethods = ptr::null() };
            ffi::SQLITE_CANTOPEN
        }
    }
}
