//! Whose the files are that are read while a copy of all of them is made.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::Stat;

use super::Readers;
use crate::folder::{Metadata, Place, folders_up_to, numbers};

/// Those who may read all that was read since [`Readers::forget_noted`].
static NOTED: Mutex<Noted> = Mutex::new(Noted { readers: Readers::ALL, outer: None, known: BTreeMap::new() });

/// What is noted.
struct Noted {
    readers: Readers,
    /// The outermost folder.
    outer: Option<Metadata>,
    /// Folders that files were read in, by their numbers, with those that they lie in.
    known: BTreeMap<(u64, u64), Option<Vec<Metadata>>>,
}

/// Whether somebody asks for them: to look at a list of rights costs a call for each file.
static IS_NOTING: AtomicBool = AtomicBool::new(false);

impl Readers {
    /// Begins to note whose files are read, in a folder.
    pub fn forget_noted(folder: &Place) {
        let outer = folder.status().ok();
        *NOTED.lock().unwrap_or_else(PoisonError::into_inner) =
            Noted { readers: Self::ALL, outer, known: BTreeMap::new() };
        IS_NOTING.store(true, Ordering::Relaxed);
    }

    /// Notes those of a file that is open: another one may have had its name when that was looked at, and may have it again.
    pub fn note(self) {
        if !IS_NOTING.load(Ordering::Relaxed) {
            return;
        }
        let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
        noted.readers = noted.readers.and(self);
    }

    /// The same of a file that was opened in an open folder: the folders that it lies in count, whatever has their names by now.
    pub(crate) fn note_open(file: impl AsFd, status: &Stat, folder: impl AsFd) {
        if IS_NOTING.load(Ordering::Relaxed) {
            let readers = Self::of_open(file, status);
            // Behind a symlink, which somebody has trusted, what lies above it has been looked at.
            readers.in_folder(folder).unwrap_or(readers).note();
        }
    }

    /// The same of a file that was opened at a place; in an open folder, where it is known which.
    pub(crate) fn note_at(file: &Metadata, folder: Option<impl AsFd>, place: &Place) {
        if IS_NOTING.load(Ordering::Relaxed) {
            let readers = Self::of(file);
            // For each of many files all that it lies in would be asked anew otherwise.
            let known = folder.and_then(|folder| readers.wherever().in_folder(folder));
            known.unwrap_or_else(|| readers.as_placed(place)).note();
        }
    }

    /// Those of a file in an open folder, as far as that and those above it let them in; `None` where it lies behind a symlink.
    fn in_folder(self, folder: impl AsFd) -> Option<Self> {
        let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
        let Noted { outer: Some(outer), known, .. } = &mut *noted else { return Some(Self::NONE) };
        let Ok(status) = rustix::fs::fstat(&folder) else { return Some(Self::NONE) };
        #[allow(clippy::useless_conversion, reason = "the types differ by platform")]
        let of_folder = (u64::try_from(status.st_dev).unwrap_or_default(), u64::from(status.st_ino));
        let folders = match known.entry(of_folder) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => match folders_up_to(&folder, numbers(outer)) {
                Ok(folders) => new.insert(folders),
                Err(_) => return Some(Self::NONE),
            },
        };
        folders.as_ref().map(|folders| self.in_folders(folders, outer))
    }

    /// Those of all that was read meanwhile; nothing more is noted.
    pub fn noted() -> Self {
        IS_NOTING.store(false, Ordering::Relaxed);
        NOTED.lock().unwrap_or_else(PoisonError::into_inner).readers
    }
}
