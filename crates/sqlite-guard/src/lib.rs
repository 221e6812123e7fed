//! Keeps SQLite from what a database, or somebody beside it, could lead it to.
//!
//! - **Folders.** A file of a folder that is [`Pinned`] is opened, made and removed through that open folder, whatever has its name by
//!   now, and nothing but regular files is opened there.
//! - **Super-journals.** A rollback journal may name a *super-journal*: the file that ties it to the journals of other databases. SQLite
//!   opens that file when it rolls back, opens the journals that it lists, and removes it in the end. Whoever may write beside a
//!   database can put such a journal there, and so let another user's SQLite remove any file. milescale never writes to two databases
//!   in one transaction, so it needs none: they are not opened. Rolling back then fails with `SQLITE_CANTOPEN`.
//! - **Each connection** of this process, whoever opens it, attaches no other database, takes no statement of any length, cannot write
//!   to its schema as if that were rows, and gives up a schema that takes too long to read. All together have a limit of memory.

mod beside;
mod calls;
mod opened;
mod pinned;

pub use opened::{Opened, opened};
pub use pinned::Pinned;

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

use libsqlite3_sys as ffi;

/// The name under which the file system is registered, for `SqliteConnectOptions::vfs`.
pub const NAME: &str = "milescale";

/// Bytes that all connections of this process may take of memory: a row, or a schema, of somebody else may be of any size.
pub const HEAP: i64 = 256 << 20;

/// How long the schema of a database may take to be read.
pub const OPENING: Duration = Duration::from_secs(3);

/// Bytes of a statement, a definition in a schema among them.
const STATEMENT: c_int = 4 << 20;

/// Letters of a pattern of LIKE and GLOB.
const PATTERN: c_int = 10_000;

/// Steps of SQLite's machine between two looks at the clock while a schema is read.
const STEPS: c_int = 1000;

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
    // SAFETY: no connection is open yet: each is opened after this.
    if let Err(code) = unsafe { calls::exchange(own) } {
        return code;
    }
    // SAFETY: may be called at any time.
    unsafe { ffi::sqlite3_hard_heap_limit64(HEAP) };
    // SAFETY: the function stays, and has the type that SQLite calls it by.
    let code = unsafe { ffi::sqlite3_auto_extension(Some(restrict)) };
    if code != ffi::SQLITE_OK {
        return code;
    }
    // SAFETY: it is not null, and a table of functions that SQLite has filled in; nobody writes to it any more.
    let mut guarded = unsafe { *own };
    guarded.pNext = ptr::null_mut();
    guarded.zName = c"milescale".as_ptr();
    guarded.xOpen = Some(open);
    guarded.xFullPathname = Some(full_path);
    // It is never given back: connections use it until the process ends.
    let guarded = Box::into_raw(Box::new(guarded));
    // SAFETY: the table is whole, its name ends with NUL, and both outlive the process's connections.
    unsafe { ffi::sqlite3_vfs_register(guarded, 0) }
}

thread_local! {
    /// When the connection was made that this thread has opened last.
    static OPENED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Restricts a new connection.
///
/// # Safety
/// Called by SQLite alone, with a connection that nobody else knows of yet.
unsafe extern "C" fn restrict(
    database: *mut ffi::sqlite3,
    _: *mut *mut c_char,
    _: *const ffi::sqlite3_api_routines,
) -> c_int {
    OPENED.set(Some(Instant::now()));
    // SAFETY: the connection is SQLite's. `ATTACH` is refused, and `VACUUM INTO` with it.
    unsafe { ffi::sqlite3_limit(database, ffi::SQLITE_LIMIT_ATTACHED, 0) };
    // SAFETY: as above.
    unsafe { ffi::sqlite3_limit(database, ffi::SQLITE_LIMIT_SQL_LENGTH, STATEMENT) };
    // SAFETY: as above. Each wildcard is a call within the one before, on a stack of two megabytes.
    unsafe { ffi::sqlite3_limit(database, ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN) };
    // SAFETY: as above. Whoever sets a handler of his own replaces this one.
    unsafe { ffi::sqlite3_progress_handler(database, STEPS, Some(has_taken_too_long), ptr::null_mut()) };
    // SAFETY: as above; this setting takes a number, and a place for the answer or none.
    unsafe { ffi::sqlite3_db_config(database, ffi::SQLITE_DBCONFIG_DEFENSIVE, 1 as c_int, ptr::null_mut::<c_int>()) }
}

/// Whether the connection of this thread is still opening after too long.
unsafe extern "C" fn has_taken_too_long(_: *mut c_void) -> c_int {
    c_int::from(OPENED.get().is_some_and(|opened| opened.elapsed() > OPENING))
}

/// The path of a file is what it is called by, where its folder is pinned.
///
/// # Safety
/// Called by SQLite alone, with what it promises of `xFullPathname`.
unsafe extern "C" fn full_path(_: *mut ffi::sqlite3_vfs, name: *const c_char, room: c_int, full: *mut c_char) -> c_int {
    // SAFETY: SQLite hands over a text of C.
    let text = unsafe { CStr::from_ptr(name) };
    if matches!(pinned::meant(text), pinned::Meant::Path) {
        let own = OWN.load(Ordering::Acquire);
        // SAFETY: `register_once` has put it there before SQLite knew of this function.
        return match unsafe { own.as_ref() }.and_then(|own| own.xFullPathname) {
            // SAFETY: the same arguments, for the file system that the function belongs to.
            Some(own_full_path) => unsafe { own_full_path(own, name, room, full) },
            None => ffi::SQLITE_CANTOPEN,
        };
    }
    let bytes = text.to_bytes_with_nul();
    if usize::try_from(room).map_or(true, |room| bytes.len() > room) {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: there is room for so much, and the two do not overlap.
    unsafe { ptr::copy_nonoverlapping(name, full, bytes.len()) };
    ffi::SQLITE_OK
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
