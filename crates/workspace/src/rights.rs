//! Lists of rights (POSIX ACLs): where a file has one, the bits of its group say what the list allows at most, and not to whom.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CStr;
use std::hash::Hash;
use std::io;
use std::os::fd::AsFd;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Different ones that are remembered, of lists and of audiences. Of what comes after them nobody is known to be in it.
const MOST: usize = 1000;

/// Entries of what several files have in common: more than that nobody has set by hand, and each is compared with each.
const MOST_ENTRIES: usize = 64;

/// A list of rights. Equal lists are equal; to compare them costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List(usize);

/// Those that were seen, by their numbers.
static LISTS: LazyLock<Remembered<Box<[u8]>>> = LazyLock::new(Remembered::default);

/// Who an entry is about, as the kernel writes it.
const OWNER: u16 = 1;
const USER: u16 = 2;
const OWN_GROUP: u16 = 4;
const GROUP: u16 = 8;
const AT_MOST: u16 = 16;
const OTHERS: u16 = 32;

/// What an entry allows.
const READS: u16 = 4;
const WRITES: u16 = 2;
const ENTERS: u16 = 1;

impl List {
    /// One that cannot be read, or is one too many: nobody is known to be in it.
    pub(crate) const UNKNOWN: Self = Self(usize::MAX);

    /// That of an open file or folder.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_open(file: impl AsFd) -> Option<Self> {
        Self::found(|value| match rustix::fs::fgetxattr(&file, NAME, &mut *value) {
            // A handle with which nothing can be read: its name in /proc tells.
            Err(Errno::BADF) => rustix::fs::getxattr(by_descriptor(&file), NAME, value),
            other => other,
        })
    }

    /// That of what has a name beneath an open folder. No symlink is followed at its end.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_named(folder: impl AsFd, name: &CStr) -> Option<Self> {
        let path = by_descriptor(folder).join(OsStr::from_bytes(name.to_bytes()));
        Self::found(|value| rustix::fs::lgetxattr(&path, NAME, value))
    }

    #[cfg(target_os = "linux")]
    fn found(get: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Option<Self> {
        let mut value = [0; 4096];
        match get(&mut value) {
            Ok(0) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT | Errno::BADF) => None,
            Ok(length) => Some(LISTS.number_of(value[..length].into()).map_or(Self::UNKNOWN, Self)),
            Err(_) => Some(Self::UNKNOWN),
        }
    }

    /// Gives it to a file, in the place of its mode. `without_group`: what its own group may was meant for another one. `former`: the owner
    /// that the list stood for, where the file has another one: he is named in it from now on.
    ///
    /// # Errors
    /// When the file system does not take it, or it is not known.
    pub(crate) fn give_to(self, file: impl AsFd, without_group: bool, former: Option<u32>) -> io::Result<()> {
        let mut value = self.value().ok_or(io::ErrorKind::Unsupported)?.into_vec();
        if let Some(former) = former {
            name_in(&mut value, former);
        }
        if without_group {
            for entry in value[HEAD..].chunks_exact_mut(ENTRY) {
                if entry[..2] == OWN_GROUP.to_le_bytes() {
                    entry[2..4].fill(0);
                }
            }
        }
        set(file, &value)
    }

    /// Takes the list from a file: what a folder gives by itself was not always the original's to give.
    pub(crate) fn take_from(file: impl AsFd) {
        #[cfg(target_os = "linux")]
        if rustix::fs::fremovexattr(&file, NAME) == Err(Errno::BADF) {
            let _ = rustix::fs::removexattr(by_descriptor(file), NAME);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = file;
    }

    fn value(self) -> Option<Box<[u8]>> {
        LISTS.get(self.0)
    }

    /// The entries, each with no more than the list allows at most: who, which of them, what they may. `None` for one that is not
    /// understood.
    fn entries(self) -> Option<Vec<(u16, u32, u16)>> {
        let value = self.value()?;
        let (head, rest) = value.split_at_checked(HEAD)?;
        if head != VERSION.to_le_bytes() || rest.len() % ENTRY != 0 {
            return None;
        }
        let number = |bytes: &[u8]| u16::from_le_bytes([bytes[0], bytes[1]]);
        let which = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let entries: Vec<_> =
            rest.chunks_exact(ENTRY).map(|it| (number(&it[..2]), which(&it[4..8]), number(&it[2..4]))).collect();
        let at_most = entries.iter().find(|it| it.0 == AT_MOST).map_or(u16::MAX, |it| it.2);
        let capped = |(who, which, may): (u16, u32, u16)| match who {
            USER | GROUP | OWN_GROUP => (who, which, may & at_most),
            _ => (who, which, may),
        };
        Some(entries.into_iter().map(capped).collect())
    }
}

/// Who may read something, and who of them may write it, each by name. Equal ones are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Audience(usize);

/// Those that were seen, by their numbers.
static AUDIENCES: LazyLock<Remembered<People>> = LazyLock::new(Remembered::default);

/// The people of an audience. Who is in no entry may what `others` may, unless an entry is about a group: they may be in that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct People {
    users: BTreeMap<u32, u16>,
    groups: BTreeMap<u32, u16>,
    others: u16,
}

impl People {
    fn of_user(&self, user: u32) -> u16 {
        self.users.get(&user).copied().unwrap_or_else(|| self.of_others())
    }

    fn of_group(&self, group: u32) -> u16 {
        self.groups.get(&group).copied().unwrap_or_else(|| self.of_others())
    }

    /// What everybody may who has no entry of their own, whichever groups they are in.
    fn of_others(&self) -> u16 {
        self.groups.values().fold(self.others, |all, may| all & may)
    }

    /// What somebody may at most who has no entry of their own, by the groups that they are in.
    fn at_most(&self) -> u16 {
        self.groups.values().fold(self.others, |all, may| all | may)
    }

    fn both(&self, other: &Self) -> Option<Self> {
        let users = self.users.keys().chain(other.users.keys()).map(|it| (*it, self.of_user(*it) & other.of_user(*it)));
        let groups =
            self.groups.keys().chain(other.groups.keys()).map(|it| (*it, self.of_group(*it) & other.of_group(*it)));
        let both =
            Self { users: users.collect(), groups: groups.collect(), others: self.of_others() & other.of_others() };
        both.shortened()
    }

    /// Without the entries that say what all others may anyway: what many files have in common names few. Whom an entry keeps out stays in
    /// it where a group reads that he may be in. `None` where there are more than a list of rights can have.
    fn shortened(mut self) -> Option<Self> {
        let others = self.others;
        self.groups.retain(|_, may| *may != others);
        let of_others = self.of_others();
        let most = self.at_most();
        self.users.retain(|_, may| *may != of_others || *may != most);
        (self.users.len() + self.groups.len() <= MOST_ENTRIES).then_some(self)
    }

    /// Whether a user reads it by name or, for all that is known, by a group or as all do.
    fn may_read(&self, user: u32) -> bool {
        self.users.get(&user).copied().unwrap_or_else(|| self.at_most()) & READS != 0
    }

    fn is_among(&self, other: &Self) -> bool {
        let reads = |may: u16| may & READS != 0;
        self.users.iter().all(|(it, may)| !reads(*may) || reads(other.of_user(*it)))
            && self.groups.iter().all(|(it, may)| !reads(*may) || reads(other.of_group(*it)))
            && (!reads(self.of_others()) || reads(other.of_others()))
            // Whom the others keep out by name may be in a group that reads here.
            && other.users.iter().all(|(it, may)| reads(*may) || !self.may_read(*it))
    }
}

impl Audience {
    /// Nobody.
    pub(crate) const NOBODY: Self = Self(usize::MAX);

    /// Those of a file: its owner, its group, all others, by its list where it has one. A file that nobody may write says nothing of who may.
    pub(crate) fn of_file(mode: u32, owner: u32, group: u32, list: Option<List>) -> Self {
        Self::of(mode, owner, group, list, |may, is_read_only| {
            let writes = if is_read_only && may & READS != 0 { WRITES } else { may & WRITES };
            may & READS | writes
        })
    }

    /// Those whom a folder lets in, who may do there what they may.
    pub(crate) fn of_folder(mode: u32, owner: u32, group: u32, list: Option<List>) -> Self {
        Self::of(mode, owner, group, list, |may, _| if may & ENTERS == 0 { 0 } else { READS | WRITES })
    }

    fn of(mode: u32, owner: u32, group: u32, list: Option<List>, may: impl Fn(u16, bool) -> u16) -> Self {
        let bits = |shift: u32| u16::try_from(mode >> shift & 7).unwrap_or_default();
        let is_read_only = mode & 0o222 == 0;
        let may = |bits: u16| may(bits, is_read_only);
        let mut people = People::default();
        match list {
            None => {
                people.users.insert(owner, may(bits(6)));
                people.groups.insert(group, may(bits(3)));
                people.others = may(bits(0));
            }
            Some(list) => {
                let Some(entries) = list.entries() else { return Self::NOBODY };
                for (who, which, bits) in entries {
                    match who {
                        OWNER => drop(people.users.insert(owner, may(bits))),
                        USER if which != owner => drop(people.users.insert(which, may(bits))),
                        OWN_GROUP => *people.groups.entry(group).or_default() |= may(bits),
                        GROUP => *people.groups.entry(which).or_default() |= may(bits),
                        OTHERS => people.others = may(bits),
                        _ => {}
                    }
                }
            }
        }
        Self::known(people)
    }

    fn known(people: People) -> Self {
        AUDIENCES.number_of(people).map_or(Self::NOBODY, Self)
    }

    fn people(self) -> People {
        AUDIENCES.get(self.0).unwrap_or_default()
    }

    /// Whether a user reads it by name, or because all do.
    pub(crate) fn has_user(self, user: u32) -> bool {
        self.people().of_user(user) & READS != 0
    }

    /// Those who are in both.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        self.people().both(&other.people()).map_or(Self::NOBODY, Self::known)
    }

    /// Whether all who read the one read the other.
    pub(crate) fn is_among(self, other: Self) -> bool {
        self == other || self.people().is_among(&other.people())
    }

    /// Gives a file that belongs to somebody a list by which these read it. Its owner does in any case.
    ///
    /// # Errors
    /// When the file system does not take it.
    pub(crate) fn give_to(self, file: impl AsFd, owner: u32, group: u32) -> io::Result<()> {
        let people = self.people();
        let is_owners_alone = people.users.iter().all(|(it, may)| *it == owner || *may == 0)
            && people.groups.values().all(|may| *may == 0)
            && people.others == 0;
        if is_owners_alone {
            return Ok(());
        }
        let others = people.of_others();
        let mut entries = vec![(OWNER, u32::MAX, READS | WRITES)];
        entries.extend(people.users.iter().filter(|(it, _)| **it != owner).map(|(it, may)| (USER, *it, *may)));
        entries.push((OWN_GROUP, u32::MAX, people.of_group(group)));
        entries.extend(people.groups.iter().filter(|(it, _)| **it != group).map(|(it, may)| (GROUP, *it, *may)));
        let at_most = entries.iter().skip(1).fold(0, |all, (_, _, may)| all | may);
        entries.push((AT_MOST, u32::MAX, at_most));
        entries.push((OTHERS, u32::MAX, others));
        let mut value = VERSION.to_le_bytes().to_vec();
        for (who, which, may) in entries {
            value.extend([who.to_le_bytes(), may.to_le_bytes()].concat());
            value.extend(which.to_le_bytes());
        }
        set(file, &value)
    }
}

/// What was seen, each by a number.
#[derive(Debug)]
struct Remembered<T>(Mutex<(HashMap<T, usize>, Vec<T>)>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::new((HashMap::new(), Vec::new())))
    }
}

impl<T: Clone + Eq + Hash> Remembered<T> {
    /// The number of one; `None` where they are too many.
    fn number_of(&self, it: T) -> Option<usize> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (numbers, all) = &mut *known;
        if let Some(number) = numbers.get(&it) {
            return Some(*number);
        }
        (all.len() < MOST).then(|| {
            all.push(it.clone());
            numbers.insert(it, all.len() - 1);
            all.len() - 1
        })
    }

    /// The one of a number.
    fn get(&self, number: usize) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.get(number).cloned()
    }
}

/// Lets a user do by name what the owner of a list may.
fn name_in(list: &mut Vec<u8>, user: u32) {
    let may_of = |it: &[u8]| u16::from_le_bytes([it[2], it[3]]);
    let is = |it: &[u8], who: u16| it[..2] == who.to_le_bytes();
    let Some(at) = list[HEAD..].chunks_exact(ENTRY).position(|it| is(it, OWNER)) else { return };
    let may = may_of(&list[HEAD + at * ENTRY..]);
    let at_most = list[HEAD..].chunks_exact(ENTRY).find(|it| is(it, AT_MOST)).map_or(u16::MAX, may_of);
    let mut is_named = false;
    for entry in list[HEAD..].chunks_exact_mut(ENTRY) {
        if is(entry, USER) || is(entry, OWN_GROUP) || is(entry, GROUP) {
            // What the list allows at most grows with him: nobody else gets more by it.
            let capped = at_most & may_of(entry);
            entry[2..4].copy_from_slice(&capped.to_le_bytes());
        }
        let is_his = is(entry, USER) && entry[4..8] == user.to_le_bytes();
        is_named |= is_his;
        if is_his || is(entry, AT_MOST) {
            let both = may | may_of(entry);
            entry[2..4].copy_from_slice(&both.to_le_bytes());
        }
    }
    if !is_named {
        let end = HEAD + (at + 1) * ENTRY;
        let entry = [USER.to_le_bytes(), may.to_le_bytes()].concat().into_iter().chain(user.to_le_bytes());
        list.splice(end..end, entry);
    }
}

/// Gives a file a list.
fn set(file: impl AsFd, value: &[u8]) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fsetxattr(&file, NAME, value, rustix::fs::XattrFlags::empty()) {
        Err(Errno::BADF) => rustix::fs::setxattr(by_descriptor(file), NAME, value, rustix::fs::XattrFlags::empty())?,
        other => other?,
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, value);
    Ok(())
}

#[cfg(target_os = "linux")]
use {crate::folder::by_descriptor, rustix::io::Errno, std::ffi::OsStr, std::os::unix::ffi::OsStrExt};

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

#[cfg(test)]
mod tests {
    use super::{Audience, LISTS, List, VERSION, name_in};

    const NOBODY: u32 = u32::MAX;

    /// A list of entries: who, what, which.
    fn list(entries: &[(u16, u16, u32)]) -> Option<List> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (who, may, which) in entries {
            value.extend([who.to_le_bytes(), may.to_le_bytes()].concat());
            value.extend(which.to_le_bytes());
        }
        LISTS.number_of(value.into()).map(List)
    }

    /// One that names users, who may do so much, with what its group may and what the list allows at most.
    fn naming(users: &[u32], may: u16, group: u16, at_most: u16) -> Option<List> {
        let mut entries = vec![(1, 6, NOBODY)];
        entries.extend(users.iter().map(|user| (2, may, *user)));
        entries.extend([(4, group, NOBODY), (16, at_most, NOBODY), (32, 0, NOBODY)]);
        list(&entries)
    }

    #[test]
    fn a_former_owner_is_named_and_nobody_else_gets_more() {
        let mut value = naming(&[8], 6, 6, 4).and_then(List::value).unwrap().into_vec();
        name_in(&mut value, 7);
        let [eight, seven] = [(2, 4, 8), (2, 6, 7)];
        let now = list(&[(1, 6, NOBODY), seven, eight, (4, 4, NOBODY), (16, 6, NOBODY), (32, 0, NOBODY)]);
        assert_eq!(Some(&value[..]), now.and_then(List::value).as_deref());
        // Once he is, he is not named twice.
        let before = value.clone();
        name_in(&mut value, 7);
        assert_eq!(value, before);
    }

    #[test]
    fn who_reads_both_is_in_the_audience_of_a_copy() {
        let file = |owner: u32, list: Option<List>| Audience::of_file(0o660, owner, owner, list);
        // Two who share a folder: each owns what he made, and both are named.
        let both = naming(&[7, 8], 6, 0, 6);
        let shared = file(7, both).and(file(8, both));
        assert!(shared.is_among(file(7, both)) && file(7, both).is_among(shared));
        let read_only = Audience::of_file(0o440, 7, 7, naming(&[7, 8], 6, 0, 4));
        assert!(file(8, both).and(read_only) == file(7, both).and(file(8, both)), "who may write it is not said");
        // One who is named in one of them only.
        let third = file(7, naming(&[7, 8, 9], 4, 0, 4));
        assert!(shared.is_among(third) && !third.is_among(shared) && third.and(shared).is_among(shared));
        // The list allows nothing at most; a plain file is for all.
        assert!(file(7, naming(&[8, 9], 6, 6, 0)).is_among(Audience::of_file(0o600, 7, 7, None)));
        let plain = Audience::of_file(0o644, 7, 7, None);
        assert!(shared.is_among(plain) && !plain.is_among(shared));
        // A group that may not, though all others may.
        let but_a_group = Audience::of_file(0o604, 7, 60, None);
        assert!(!plain.is_among(but_a_group) && but_a_group.is_among(plain));
        assert!(Audience::NOBODY.is_among(shared) && !shared.is_among(Audience::NOBODY));
        // Whom one file keeps out by name, though his group may read it, reads no copy of two.
        let but_one = file(7, list(&[(1, 6, NOBODY), (2, 0, 9), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY)]));
        let of_group = Audience::of_file(0o640, 7, 7, None);
        let both = but_one.and(of_group);
        assert!(!both.has_user(9) && both.is_among(but_one) && both.is_among(of_group));
        assert!(but_one.is_among(of_group) && !of_group.is_among(but_one), "he may be in the group");
        let with_all = Audience::of_file(0o644, 7, 7, None).and(but_one);
        assert!(with_all.is_among(but_one) && !with_all.has_user(9));
        // More names than anybody sets by hand: nobody.
        let many = |from: u32| file(7, naming(&(from..from + 60).collect::<Vec<_>>(), 0, 4, 4));
        assert_eq!(many(100).and(many(200)), Audience::NOBODY);
        // Whom a folder lets in.
        let folder = Audience::of_folder(0o770, 7, 7, naming(&[8], 7, 0, 7));
        assert!(third.and(folder).is_among(shared));
    }
}
