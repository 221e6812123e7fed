//! Folders that SQLite reaches by their descriptors.
//!
//! SQLite names each file by its path: the database, and beside it a journal, which it makes, opens and removes. Whoever may rename a
//! folder on the way could lead each of these steps to another folder. So the path that SQLite gets is none of the file system's: it
//! begins with [`PREFIX`] and the number of an open folder, and what SQLite asks the system for is done in that folder
//! ([`crate::calls`]).

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::opened::OpenedIn;

/// How the paths begin. No file system has it: without the guard SQLite finds nothing there.
const PREFIX: &str = "/milescale-pinned/";

/// The open folders by their numbers. A number is never given twice.
#[derive(Default)]
struct Folders {
    given: u64,
    open: HashMap<u64, Arc<Open>>,
}

/// An open folder, and what SQLite has opened in it.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) folder: OwnedFd,
    pub(crate) opened: Mutex<OpenedIn>,
}

static FOLDERS: LazyLock<Mutex<Folders>> = LazyLock::new(Mutex::default);

/// An open folder, for as long as this is kept. After that SQLite finds nothing at its paths.
#[derive(Debug)]
pub struct Pinned {
    number: u64,
    folder: Arc<Open>,
}

impl Pinned {
    /// Pins a folder.
    pub fn new(folder: OwnedFd) -> Self {
        let folder = Arc::new(Open { folder, opened: Mutex::default() });
        let mut folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        folders.given += 1;
        let number = folders.given;
        folders.open.insert(number, Arc::clone(&folder));
        Self { number, folder }
    }

    /// The path of a file in it, for SQLite alone.
    #[must_use]
    pub fn path(&self, name: &OsStr) -> PathBuf {
        Path::new(PREFIX).join(self.number.to_string()).join(name)
    }

    /// The open folder.
    #[must_use]
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.folder.as_fd()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&self.number);
    }
}

/// What a path of SQLite's means.
pub(crate) enum Meant<'a> {
    /// It is one of the file system's.
    Path,
    /// A name in an open folder.
    In(Arc<Open>, &'a CStr),
    /// A folder that is not pinned any more, or no plain name.
    Nothing,
}

/// Hands over what was opened in each folder that is pinned.
pub(crate) fn each_opened(each: &mut dyn FnMut(&OpenedIn)) {
    let folders: Vec<_> = {
        let folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        folders.open.values().cloned().collect()
    };
    for it in folders {
        each(&it.opened.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What a path means that SQLite asks the system for.
pub(crate) fn meant(path: &CStr) -> Meant<'_> {
    let Some(rest) = path.to_bytes_with_nul().strip_prefix(PREFIX.as_bytes()) else { return Meant::Path };
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let number = std::str::from_utf8(&rest[..end]).ok().and_then(|digits| digits.parse::<u64>().ok());
    let name = match &rest[end..] {
        [0] => Some(c"."),
        [b'/', name @ ..] => CStr::from_bytes_with_nul(name).ok(),
        _ => None,
    };
    let (Some(number), Some(name)) = (number, name) else { return Meant::Nothing };
    if name.is_empty() || name.to_bytes().contains(&b'/') || name == c".." {
        return Meant::Nothing;
    }
    let folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
    folders.open.get(&number).map_or(Meant::Nothing, |folder| Meant::In(Arc::clone(folder), name))
}

#[cfg(test)]
mod tests {
    use super::{Meant, Pinned, meant};
    use std::ffi::{CString, OsStr};

    #[test]
    fn a_path_means_a_plain_name_in_a_folder_that_is_pinned() {
        let folder = tempfile::tempdir().unwrap();
        let open = || std::fs::File::open(folder.path()).unwrap().into();
        let (one, two) = (Pinned::new(open()), Pinned::new(open()));
        let is = |path: &str| match meant(&CString::new(path).unwrap()) {
            Meant::Path => "a path".to_owned(),
            Meant::Nothing => "nothing".to_owned(),
            Meant::In(_, name) => name.to_str().unwrap().to_owned(),
        };
        let path = one.path(OsStr::new("a.db"));
        let path = path.to_str().unwrap();
        assert_ne!(path, two.path(OsStr::new("a.db")).to_str().unwrap());
        assert_eq!((is(path), is("/tmp/a.db")), ("a.db".to_owned(), "a path".to_owned()));
        assert_eq!(is(path.rsplit_once('/').unwrap().0), ".");
        for odd in ["/b", "/../a", "x"] {
            assert_eq!(is(&format!("{path}{odd}")), if odd == "x" { "a.dbx" } else { "nothing" });
        }
        let (path, above) = (path.to_owned(), path.replace("a.db", ".."));
        assert_eq!(is(&above), "nothing");
        drop(one);
        assert_eq!(is(&path), "nothing");
    }
}
