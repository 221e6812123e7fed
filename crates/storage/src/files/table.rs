//! The milestone files as they were last read, and what they add up to.
//!
//! A hundred thousand of them are remembered in about twelve megabytes: entries lie in one vector, found by a table of
//! their numbers; sums are kept as entries come and go, so that one changed file costs one entry.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashTable;
use milescale_core::figures::StoreFigures;
use milescale_workspace::read::Stamp;

use super::{ColumnsHash, Remark};

/// What is remembered of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// Which content it was; [`Stamp::default`] matches none, so that every look reads the file again.
    pub(super) stamp: Stamp,
    /// What an index should say of it.
    pub(super) columns: ColumnsHash,
    /// Tasks with kiro.
    pub(super) kiro_enabled: u32,
    /// Entries of `dependencies.requires`.
    pub(super) requires: u32,
}

#[derive(Debug)]
struct Entry {
    /// Its path in `active/`.
    path: Box<Path>,
    known: Known,
    /// The look that saw it last.
    seen: AtomicU32,
}

/// What is known of one file.
pub(super) struct Remembered<'a> {
    entry: &'a Entry,
    is_fresh: bool,
}

impl Remembered<'_> {
    /// Whether the file still is what it was when it was read; then this look has seen it.
    pub(super) fn is_unchanged(&self, stamp: Stamp, look: u32) -> bool {
        let same = self.entry.known.stamp == stamp && !self.is_fresh;
        if same {
            self.entry.seen.store(look, Ordering::Relaxed);
        }
        same
    }
}

/// The bytes: a path's own comparison and hash look at its components.
fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

fn hash_of(hasher: &RandomState, path: &Path) -> u64 {
    hasher.hash_one(bytes(path))
}

/// All files.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    numbers: HashTable<u32>,
    hasher: RandomState,
    figures: StoreFigures,
    /// Read so soon after their last change that the stamp proves nothing.
    fresh: BTreeSet<Box<Path>>,
    /// What a person should know of some; rare.
    remarks: BTreeMap<Box<Path>, Remark>,
    /// Files in subfolders.
    nested: usize,
    /// How many entries have come or gone.
    generation: u64,
}

fn is_nested(path: &Path) -> bool {
    bytes(path).contains(&b'/')
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The figures of all.
    pub(super) fn figures(&self) -> StoreFigures {
        self.figures
    }

    /// A number that stays the same while no file comes or goes.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn fresh(&self) -> impl Iterator<Item = &Path> {
        self.fresh.iter().map(|path| &**path)
    }

    pub(super) fn is_fresh(&self, path: &Path) -> bool {
        !self.fresh.is_empty() && self.fresh.contains(path)
    }

    pub(super) fn remarks(&self) -> impl Iterator<Item = (&Path, &Remark)> {
        self.remarks.iter().map(|(path, remark)| (&**path, remark))
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().map(|entry| &*entry.path)
    }

    /// Those whose content is known and about which a person need know nothing.
    pub(super) fn settled(&self) -> impl Iterator<Item = (&Path, &Known)> {
        self.all().filter(|(path, _)| !self.is_fresh(path) && !self.remarks.contains_key(*path))
    }

    /// Whether some are in subfolders.
    pub(super) fn has_nested(&self) -> bool {
        self.nested > 0
    }

    /// Makes room for so many more. Doubling would keep room for as many again.
    pub(super) fn make_room_for(&mut self, count: usize) {
        if self.entries.capacity() - self.entries.len() < count {
            self.entries.reserve_exact(count.max(self.entries.len() / 8 + 16));
        }
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.numbers.reserve(count, |&number| hash_of(hasher, &entries[number as usize].path));
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Path, &Known)> {
        self.entries.iter().map(|entry| (&*entry.path, &entry.known))
    }

    fn hash(&self, path: &Path) -> u64 {
        hash_of(&self.hasher, path)
    }

    fn number(&self, path: &Path) -> Option<usize> {
        let found =
            self.numbers.find(self.hash(path), |&number| bytes(&self.entries[number as usize].path) == bytes(path));
        found.map(|&number| number as usize)
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Known> {
        self.number(path).map(|number| &self.entries[number].known)
    }

    /// What is known of a file, to be compared with what is there. Files come in the same order in each look: so `next` says
    /// where this one is, but for changes, and is told where the one after it will be.
    pub(super) fn find_next(&self, path: &Path, next: &mut usize) -> Option<Remembered<'_>> {
        let is_next = self.entries.get(*next).is_some_and(|entry| bytes(&entry.path) == bytes(path));
        let number = if is_next { *next } else { self.number(path)? };
        *next = number + 1;
        Some(self.remembered(number))
    }

    /// What is known of a file.
    pub(super) fn find(&self, path: &Path) -> Option<Remembered<'_>> {
        self.number(path).map(|number| self.remembered(number))
    }

    fn remembered(&self, number: usize) -> Remembered<'_> {
        let entry = &self.entries[number];
        Remembered { entry, is_fresh: self.is_fresh(&entry.path) }
    }

    /// Takes in what was read of a file.
    pub(super) fn insert(&mut self, path: Box<Path>, known: Known, remark: Option<Remark>, is_fresh: bool, look: u32) {
        match remark {
            Some(remark) => drop(self.remarks.insert(path.clone(), remark)),
            None if !self.remarks.is_empty() => drop(self.remarks.remove(&path)),
            None => {}
        }
        if is_fresh {
            self.fresh.insert(path.clone());
        } else if !self.fresh.is_empty() {
            self.fresh.remove(&path);
        }
        self.figures.kiro_enabled_count += u64::from(known.kiro_enabled);
        self.figures.dependency_count += u64::from(known.requires);
        if let Some(number) = self.number(&path) {
            let entry = &mut self.entries[number];
            let before = std::mem::replace(&mut entry.known, known);
            *entry.seen.get_mut() = look;
            self.subtract(before);
            return;
        }
        self.figures.milestone_count += 1;
        self.generation += 1;
        self.nested += usize::from(is_nested(&path));
        self.make_room_for(1);
        let (hash, number) = (self.hash(&path), u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.entries.push(Entry { path, known, seen: AtomicU32::new(look) });
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.numbers.insert_unique(hash, number, |&number| hash_of(hasher, &entries[number as usize].path));
    }

    fn subtract(&mut self, known: Known) {
        self.figures.kiro_enabled_count -= u64::from(known.kiro_enabled);
        self.figures.dependency_count -= u64::from(known.requires);
    }

    /// Whether a folder of this path has files.
    pub(super) fn has_below(&self, folder: &Path) -> bool {
        self.nested > 0 && self.paths().any(|path| path.starts_with(folder) && path != folder)
    }

    /// Forgets a file. Whether it was known.
    pub(super) fn remove(&mut self, path: &Path) -> bool {
        let Some(number) = self.number(path) else { return false };
        self.remove_number(number);
        true
    }

    fn remove_number(&mut self, number: usize) -> Box<Path> {
        let hash = self.hash(&self.entries[number].path);
        if let Ok(found) = self.numbers.find_entry(hash, |&it| it as usize == number) {
            found.remove();
        }
        let Entry { path, known, .. } = self.entries.swap_remove(number);
        if let Some(moved) = self.entries.get(number) {
            let (hash, was) = (self.hash(&moved.path), self.entries.len());
            if let Some(it) = self.numbers.find_mut(hash, |&it| it as usize == was) {
                *it = u32::try_from(number).unwrap_or(u32::MAX);
            }
        }
        self.subtract(known);
        self.figures.milestone_count -= 1;
        self.generation += 1;
        self.nested -= usize::from(is_nested(&path));
        self.remarks.remove(&path);
        self.fresh.remove(&path);
        path
    }

    /// Forgets every file that a look has not seen, and tells each.
    pub(super) fn forget_unseen(&mut self, look: u32, mut gone: impl FnMut(&Path)) {
        let mut number = 0;
        while number < self.entries.len() {
            if *self.entries[number].seen.get_mut() == look {
                number += 1;
            } else {
                gone(&self.remove_number(number));
            }
        }
        if self.entries.capacity() > 2 * self.entries.len() + 64 {
            self.entries.shrink_to(self.entries.len() + 16);
            let (entries, hasher) = (&self.entries, &self.hasher);
            self.numbers.shrink_to(entries.len(), |&number| hash_of(hasher, &entries[number as usize].path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Known, Table};
    use crate::files::ColumnsHash;
    use milescale_workspace::read::Stamp;

    fn known(kiro_enabled: u32) -> Known {
        Known { stamp: Stamp::default(), columns: ColumnsHash::unknown(), kiro_enabled, requires: 2 }
    }

    #[test]
    fn sums_follow_what_comes_changes_and_goes() {
        let mut table = Table::default();
        for number in 0..1000 {
            table.insert(Path::new(&format!("{number}.yaml")).into(), known(1), None, number % 2 == 0, 1);
        }
        table.insert(Path::new("7.yaml").into(), known(5), None, false, 2);
        assert!(table.remove(Path::new("0.yaml")) && !table.remove(Path::new("0.yaml")));
        let figures = table.figures();
        assert_eq!((figures.milestone_count, figures.kiro_enabled_count, figures.dependency_count), (999, 1003, 1998));
        let mut gone = 0;
        table.forget_unseen(2, |_| gone += 1);
        assert_eq!((gone, table.len(), table.fresh().count()), (998, 1, 0));
        assert_eq!(table.get(Path::new("7.yaml")), Some(&known(5)));
        assert_eq!((table.figures().milestone_count, table.figures().kiro_enabled_count), (1, 5));
    }

    #[test]
    fn a_file_is_found_whatever_the_order_in_which_it_is_looked_for() {
        let mut table = Table::default();
        let path = |number: u32| format!("{number}.yaml");
        for number in 0..10 {
            table.insert(Path::new(&path(number)).into(), known(number), None, false, 1);
        }
        let mut next = 0;
        for number in [0, 1, 2, 9, 20, 3, 4, 4, 0, 9, 5] {
            let found = table.find_next(Path::new(&path(number)), &mut next).map(|it| it.entry.known);
            assert_eq!(found, (number < 10).then(|| known(number)), "{number}");
        }
    }

    #[test]
    fn an_entry_is_small() {
        assert!(size_of::<super::Entry>() <= 80, "{}", size_of::<super::Entry>());
    }
}
