//! Lists of rights (POSIX ACLs): where a file has one, the bits of its group say what the list allows at most, and not to whom.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, PoisonError};

/// A list of rights. Equal lists are equal; to compare them costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List(u16);

/// Different lists that are remembered.
const MOST: usize = 1000;

/// Those that were seen, by their numbers.
static SEEN: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// Who an entry is about, as the kernel writes it.
const USER: u16 = 2;
const OWN_GROUP: u16 = 4;
const GROUP: u16 = 8;
const AT_MOST: u16 = 16;
const OTHERS: u16 = 32;

/// What an entry allows.
const READS: u16 = 4;
const ENTERS: u16 = 1;

/// One entry: who, which of them, and what they may.
type Entry = (u16, u32, u16);

impl List {
    /// One that cannot be read, or is one too many: nobody is known to be in it.
    pub(crate) const UNKNOWN: Self = Self(u16::MAX);

    /// That of an open file or folder.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_open(file: impl AsFd) -> Option<Self> {
        Self::found(|value| match rustix::fs::fgetxattr(&file, NAME, &mut *value) {
            // A handle with which nothing can be read: its name in /proc tells.
            Err(Errno::BADF) => {
                rustix::fs::getxattr(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()), NAME, value)
            }
            other => other,
        })
    }

    /// That of what has a name beneath an open folder. No symlink is followed at its end.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_named(folder: impl AsFd, name: &CStr) -> Option<Self> {
        let path = [format!("/proc/self/fd/{}/", folder.as_fd().as_raw_fd()).as_bytes(), name.to_bytes()].concat();
        Self::found(|value| rustix::fs::lgetxattr(&*path, NAME, value))
    }

    #[cfg(target_os = "linux")]
    fn found(get: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Option<Self> {
        let mut value = [0; 4096];
        match get(&mut value) {
            Ok(0) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT | Errno::BADF) => None,
            Ok(length) => Some(Self::known(&value[..length])),
            Err(_) => Some(Self::UNKNOWN),
        }
    }

    #[cfg(target_os = "linux")]
    fn known(value: &[u8]) -> Self {
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let number = seen.iter().position(|it| **it == *value).unwrap_or(seen.len());
        if number == MOST {
            return Self::UNKNOWN;
        }
        if number == seen.len() {
            seen.push(value.into());
        }
        u16::try_from(number).map_or(Self::UNKNOWN, Self)
    }

    /// Gives it to a file, in the place of its mode. `without_group`: what its own group may was meant for another one.
    ///
    /// # Errors
    /// When the file system does not take it, or it is not known.
    pub(crate) fn give_to(self, file: impl AsFd, without_group: bool) -> io::Result<()> {
        let value = self.value().ok_or(io::ErrorKind::Unsupported)?;
        let mut entries = value;
        if without_group {
            for entry in entries[HEAD..].chunks_exact_mut(ENTRY) {
                if entry[..2] == OWN_GROUP.to_le_bytes() {
                    entry[2..4].fill(0);
                }
            }
        }
        #[cfg(target_os = "linux")]
        rustix::fs::fsetxattr(file, NAME, &entries, rustix::fs::XattrFlags::empty())?;
        #[cfg(not(target_os = "linux"))]
        let _ = (file, entries);
        Ok(())
    }

    /// Takes the list from a file: what a folder gives by itself was not always the original's to give.
    pub(crate) fn take_from(file: impl AsFd) {
        #[cfg(target_os = "linux")]
        if rustix::fs::fremovexattr(&file, NAME) == Err(Errno::BADF) {
            let _ = rustix::fs::removexattr(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()), NAME);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = file;
    }

    fn value(self) -> Option<Box<[u8]>> {
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).get(usize::from(self.0)).cloned()
    }

    /// The entries, each with no more than the list allows at most; `None` for one that is not understood.
    fn entries(self) -> Option<Vec<Entry>> {
        let value = self.value()?;
        let (head, rest) = value.split_at_checked(HEAD)?;
        if head != VERSION.to_le_bytes() || rest.len() % ENTRY != 0 {
            return None;
        }
        let number = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
        let which = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let entries: Vec<Entry> =
            rest.chunks_exact(ENTRY).map(|it| (number(&it[..2]), which(&it[4..8]), number(&it[2..4]))).collect();
        let at_most = entries.iter().find(|it| it.0 == AT_MOST).map_or(u16::MAX, |it| it.2);
        let capped = |(who, which, may): Entry| match who {
            USER | GROUP | OWN_GROUP => (who, which, may & at_most),
            _ => (who, which, may),
        };
        Some(entries.into_iter().map(capped).collect())
    }

    /// Whether everybody whom this list of a file lets read it is let in by that of a folder; `of_one_group`: the file's own group is
    /// the folder's.
    pub(crate) fn readers_enter(self, folder: Self, of_one_group: bool) -> bool {
        let reads = |entry: &Entry| entry.2 & READS != 0;
        all_have(self, folder, of_one_group, reads, ENTERS)
    }

    /// The other way round: whether everybody whom this list of a folder lets in may read a file with that one.
    pub(crate) fn entering_read(self, file: Self, of_one_group: bool) -> bool {
        let enters = |entry: &Entry| entry.2 & ENTERS != 0;
        all_have(self, file, of_one_group, enters, READS)
    }
}

/// Whether all others of one list who may something may something else by another list.
fn all_have(one: List, other: List, of_one_group: bool, may: impl Fn(&Entry) -> bool, right: u16) -> bool {
    let (Some(one), Some(other)) = (one.entries(), other.entries()) else { return false };
    let has = |who: u16, which: u32| other.iter().any(|it| it.0 == who && it.1 == which && it.2 & right != 0);
    one.iter().filter(|it| may(it)).all(|&(who, which, _)| match who {
        USER | GROUP => has(who, which),
        OWN_GROUP => of_one_group && other.iter().any(|it| it.0 == OWN_GROUP && it.2 & right != 0),
        OTHERS => other.iter().any(|it| it.0 == OTHERS && it.2 & right != 0),
        _ => true,
    })
}

#[cfg(target_os = "linux")]
use rustix::io::Errno;

/// How the kernel names a list.
#[cfg(target_os = "linux")]
const NAME: &str = "system.posix_acl_access";

/// Bytes before the entries, of which there is a version; and of an entry.
const HEAD: usize = 4;
const ENTRY: usize = 8;
const VERSION: u32 = 2;

#[cfg(not(target_os = "linux"))]
impl List {
    /// There they are looked at nowhere yet.
    pub(crate) fn of_open(_: impl AsFd) -> Option<Self> {
        None
    }

    /// As for an open one.
    pub(crate) fn of_named(_: impl AsFd, _: &CStr) -> Option<Self> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{ENTRY, HEAD, List, VERSION};

    /// A list of entries: who, what, which.
    fn list(entries: &[(u16, u16, u32)]) -> List {
        let mut value = Vec::with_capacity(HEAD + ENTRY * entries.len());
        value.extend(VERSION.to_le_bytes());
        for (who, may, which) in entries {
            value.extend(who.to_le_bytes());
            value.extend(may.to_le_bytes());
            value.extend(which.to_le_bytes());
        }
        List::known(&value)
    }

    #[test]
    fn whom_a_list_lets_in_another_one_lets_in_too_or_not() {
        const NOBODY: u32 = u32::MAX;
        let file = |group: u16, at_most: u16, named: &[u32]| {
            let mut entries = vec![(1, 6, NOBODY)];
            entries.extend(named.iter().map(|user| (2, 6, *user)));
            entries.extend([(4, group, NOBODY), (16, at_most, NOBODY), (32, 0, NOBODY)]);
            list(&entries)
        };
        let folder = |named: &[u32]| {
            let mut entries = vec![(1, 7, NOBODY)];
            entries.extend(named.iter().map(|user| (2, 7, *user)));
            entries.extend([(4, 0, NOBODY), (16, 7, NOBODY), (32, 0, NOBODY)]);
            list(&entries)
        };
        assert_eq!(file(0, 6, &[7]), file(0, 6, &[7]));
        assert!(file(0, 6, &[7]).readers_enter(folder(&[7, 8]), true));
        assert!(!file(0, 6, &[7, 9]).readers_enter(folder(&[7, 8]), true));
        assert!(file(0, 0, &[7, 9]).readers_enter(folder(&[7, 8]), true), "the list allows nothing at most");
        assert!(!file(4, 6, &[7]).readers_enter(folder(&[7, 8]), true), "the group does not enter");
        assert!(folder(&[7]).entering_read(file(0, 6, &[7, 8]), true));
        assert!(!folder(&[7, 8]).entering_read(file(0, 6, &[7]), true));
        assert!(!List::UNKNOWN.readers_enter(folder(&[7]), true));
    }
}
