//! Who may read what holds a copy of something else: nobody who could not read the original (contract §10).

mod giving;
mod noted;

pub(crate) use giving::{For, give_new};

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::fs::Stat;

use crate::folder::{File, Metadata, Place, numbers, set_mode_of, status_in, system};
use crate::rights::{Audience, List};
use crate::ways::{Ways, leads_elsewhere};

/// The bits of a mode by which a group, and everybody, may read a file.
const GROUP: u32 = 0o040;
const EVERYBODY: u32 = 0o004;

/// The bit by which a group may write it.
const GROUP_WRITES: u32 = 0o020;

/// Those who may read all of some files.
#[derive(Debug, Clone, Copy)]
pub struct Readers {
    /// The one user that all of them belong to.
    owner: Option<u32>,
    /// The one group of all of them, where it may read each.
    group: Option<u32>,
    everybody: bool,
    /// The group may write each, too.
    group_writes: bool,
    /// Where one of them has a list of rights: those who may read each by name, and nobody else.
    audience: Option<Audience>,
    of: Of,
    /// The numbers of the one file whose they are, where that is known: what has its name meanwhile may be another one, in another folder.
    file: Option<(u64, u64)>,
}

impl PartialEq for Readers {
    fn eq(&self, other: &Self) -> bool {
        let whom = |it: &Self| (it.owner, it.group, it.everybody, it.group_writes, it.audience, it.of);
        whom(self) == whom(other)
    }
}

impl Eq for Readers {}

/// What the readers are those of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Of nothing yet: whoever else may.
    Nothing,
    /// Of what is a copy of nothing: as root, it is for whoever the folder belongs to.
    Own,
    /// Of originals.
    Originals,
}

impl Readers {
    /// Those of nothing: whoever else may.
    pub const ALL: Self = Self { everybody: true, group_writes: true, of: Of::Nothing, ..Self::NONE };

    /// The process's own user alone, for what is a copy of nothing.
    pub const OWN: Self = Self { of: Of::Own, ..Self::NONE };

    /// Nobody whom two originals have in common: it stays with the process's user, whoever the folder belongs to.
    pub const NONE: Self = Self {
        owner: None,
        group: None,
        everybody: false,
        group_writes: false,
        audience: None,
        of: Of::Originals,
        file: None,
    };

    /// Those of a file in these folders, of which one that lets in the same as the outermost keeps nobody out.
    pub(crate) fn in_folders(self, folders: &[Metadata], outer: &Metadata) -> Self {
        folders.iter().filter(|folder| !folder.lets_in_the_same(outer)).fold(self, Self::within)
    }

    /// The same, wherever the file lies.
    #[must_use]
    pub(crate) fn wherever(self) -> Self {
        Self { file: None, ..self }
    }

    /// The numbers of the one file whose they are.
    pub(crate) fn file(self) -> Option<(u64, u64)> {
        self.file
    }

    /// Those of an open file.
    fn of_open(file: impl AsFd, status: &Stat) -> Self {
        Self::of_status_and(status, || List::of_open(file))
    }

    #[allow(clippy::useless_conversion, reason = "the types differ by platform")]
    fn of_status_and(status: &Stat, list: impl FnOnce() -> Option<List>) -> Self {
        Self::of_status(status).with(u32::from(status.st_mode), status.st_gid, list)
    }

    /// Those of one file.
    pub fn of(file: &Metadata) -> Self {
        let readers = Self::of_mode(file.mode(), file.uid(), file.gid());
        Self { file: Some(numbers(file)), ..readers.with(file.mode(), file.gid(), || file.list()) }
    }

    /// The same by its name beneath an open folder; `None` where there is none.
    pub fn at_in(folder: impl AsFd, name: &CStr) -> Option<Self> {
        let status = status_in(&folder, name).ok()?;
        Some(Self::of_status_in(&status, folder, name))
    }

    /// The same where the system was asked about that name already.
    pub fn of_status_in(status: &Stat, folder: impl AsFd, name: &CStr) -> Self {
        Self::of_status_and(status, || List::of_named(folder, name))
    }

    /// Those of a file that may have a list of rights: the bits of its group say what that allows at most, and to whom they do not say.
    fn with(self, mode: u32, group: u32, list: impl FnOnce() -> Option<List>) -> Self {
        // Where the group may not read it, the list lets nobody read it either.
        let list = self.group.and_then(|_| list());
        let Some((list, owner)) = list.zip(self.owner) else { return self };
        self.named(Audience::of_file(mode, owner, group, Some(list)))
    }

    /// Those of an audience, and nobody else.
    fn named(self, audience: Audience) -> Self {
        Self { group: None, group_writes: false, everybody: false, audience: Some(audience), ..self }
    }

    /// The same by name.
    fn by_name(self) -> Audience {
        self.audience.unwrap_or_else(|| {
            let mode = 0o600 | self.group.map_or(0, |_| if self.group_writes { 0o060 } else { 0o040 });
            let mode = mode | if self.everybody { 0o004 } else { 0 };
            self.owner
                .map_or(Audience::NOBODY, |owner| Audience::of_file(mode, owner, self.group.unwrap_or(u32::MAX), None))
        })
    }

    /// The same by what the system says of it, which does not say whether it has a list.
    #[allow(clippy::useless_conversion, reason = "the types differ by platform")]
    pub fn of_status(status: &Stat) -> Self {
        Self::of_mode(u32::from(status.st_mode), status.st_uid, status.st_gid)
    }

    /// The same by mode, owner and group.
    pub fn of_mode(mode: u32, owner: u32, group: u32) -> Self {
        Self {
            owner: Some(owner),
            group: (mode & GROUP != 0).then_some(group),
            // Of some files the group alone may not read: everybody is nobody's group.
            everybody: mode & (GROUP | EVERYBODY) == GROUP | EVERYBODY,
            // Of a file that nobody may write nothing is known of who may: milescale makes old ones so.
            group_writes: mode & GROUP != 0 && (mode & GROUP_WRITES != 0 || mode & 0o222 == 0),
            ..Self::NONE
        }
    }

    /// Those of a folder's files, as far as the folder lets them in.
    #[must_use]
    pub fn within(self, folder: &Metadata) -> Self {
        if self.of == Of::Nothing {
            return self;
        }
        // To enter a folder is the bit beside the one to write. The folder's own group enters by its own bit alone, whatever others may.
        let enters = |read: u32| folder.mode() & (read >> 2) != 0 && folder.mode() & (GROUP >> 2) != 0;
        if self.audience.is_some() || folder.list().is_some() {
            return self.named(self.by_name().and(let_in_by(folder)));
        }
        let group = self.group.filter(|group| enters(EVERYBODY) || enters(GROUP) && folder.gid() == *group);
        Self { group, everybody: self.everybody && enters(EVERYBODY), ..self }
    }

    /// The same in a folder whose group writes there: it may put another file into the place of each, and so may write what is made of them.
    #[must_use]
    pub fn shared_in(self, folder: &Metadata) -> Self {
        let shares = self.group.is_some_and(|group| is_shared_by(group, folder));
        Self { group_writes: self.group_writes || shares, ..self }
    }

    /// Those of a file at a place, as far as the folders on the way to it let them in ([`Ways`]).
    #[must_use]
    pub fn as_placed(self, place: &Place) -> Self {
        Ways::default().readers(self, place).wherever()
    }

    /// Those of a file in a folder, as far as that and each one above it let them in.
    #[must_use]
    pub fn below_all_of(self, folder: &Place) -> Self {
        folder.with_those_above().map_or(Self::NONE, |folders| folders.iter().fold(self, Self::within))
    }

    /// Whether these are among others, and no more.
    pub fn are_among(self, others: Self) -> bool {
        if self.audience.is_some() || others.audience.is_some() {
            return self.by_name().is_among(others.by_name());
        }
        let of_group = self.group.is_none() || others.group == self.group || others.everybody;
        of_group && (!self.everybody || others.everybody)
    }

    /// Whether somebody whom the workspace lets in may not read a file of it that has these readers: nothing of that is repeated in
    /// messages, which are kept in files for all.
    pub fn leave_out_some(self, file: &Place) -> bool {
        self.leave_out_some_on(&mut Ways::default(), file)
    }

    /// The same, for one of many files.
    pub fn leave_out_some_on(self, ways: &mut Ways, file: &Place) -> bool {
        let readers = ways.readers(self, file);
        // Of whom nothing is known, they may be left out.
        if ways.outer(file).is_none_or(|outer| readers.leave_out_some_of(outer)) {
            return true;
        }
        // Where messages are kept behind a symlink, the folders above the workspace keep nobody from them.
        let elsewhere = ways.elsewhere(file);
        !elsewhere.is_empty() && {
            let readers = readers.below_all_of(&file.parent());
            elsewhere.iter().any(|folder| folder.as_ref().is_none_or(|folder| readers.leave_out_some_of(folder)))
        }
    }

    /// Whether all who read messages may read what is at a place.
    pub fn are_all_at(place: &Place, ways: &mut Ways) -> bool {
        place.status().is_ok_and(|status| !Self::of(&status).leave_out_some_on(ways, place))
    }

    /// Those who may read both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self { of: Of::Nothing, .. }, other) => other,
            (this, Self { of: Of::Nothing, .. }) => this,
            (this, other) if this.audience.is_some() || other.audience.is_some() => Self {
                owner: this.owner.filter(|owner| other.owner == Some(*owner)),
                ..Self::NONE.named(this.by_name().and(other.by_name()))
            },
            (this, other) => Self {
                owner: this.owner.filter(|owner| other.owner == Some(*owner)),
                group: this.group.filter(|group| other.group == Some(*group)),
                everybody: this.everybody && other.everybody,
                group_writes: this.group_writes && other.group_writes,
                audience: None,
                of: if this.of == other.of { this.of } else { Of::Originals },
                file: None,
            },
        }
    }

    fn leave_out_some_of(self, folder: &Metadata) -> bool {
        if self.audience.is_some() || folder.list().is_some() {
            return !let_in_by(folder).is_among(self.by_name());
        }
        let is_groups = self.everybody || self.group == Some(folder.gid());
        let enters = |read: u32| folder.mode() & (read >> 2) != 0;
        // Root reads everything anyway.
        let is_owners = is_groups || self.owner == Some(folder.uid()) || folder.uid() == 0;
        enters(EVERYBODY) && !self.everybody || enters(GROUP) && !is_groups || !is_owners
    }

    /// Whether somebody else may read a file.
    pub fn are_exceeded_by(self, file: &Metadata) -> bool {
        if file.list().is_some() || self.audience.is_some() {
            let theirs = Audience::of_file(file.mode(), file.uid(), file.gid(), file.list());
            return !theirs.is_among(self.by_name());
        }
        let (group, everybody) = (file.mode() & GROUP != 0, file.mode() & EVERYBODY != 0);
        everybody && !self.everybody || group && !self.everybody && self.group != Some(file.gid())
    }

    /// Whether a file is the process's own user's.
    pub fn is_ours(file: &Metadata) -> bool {
        file.uid() == rustix::process::geteuid().as_raw()
    }

    /// Whether the owner of a file in a folder is one of them, or the process's own user: whose it is, reads it, whatever its mode says.
    pub fn let_in_owner_of(self, file: &Metadata, folder: &Metadata) -> bool {
        let owner = file.uid();
        if Self::is_ours(file) || self.owner == Some(owner) {
            return true;
        }
        if let Some(audience) = self.audience {
            return audience.has_user(owner);
        }
        match self.of {
            Of::Nothing => true,
            Of::Own => owner == folder.uid(),
            // Those who share a folder by its group make databases in turn. What group a file has says nothing of its owner; what folder it
            // lies in does: there he could make it.
            Of::Originals => {
                let makes_files = |group| folder.mode() & 0o002 == 0 && is_shared_by(group, folder);
                let is_member = |group| system::is_in_group(owner, group).unwrap_or_else(|| makes_files(group));
                self.everybody || self.group.is_some_and(is_member)
            }
        }
    }

    /// Whether they are those of a list of rights.
    pub fn has_list(self) -> bool {
        self.audience.is_some_and(|it| it != Audience::NOBODY)
    }

    /// The mode of a file that they may read, before the umask.
    pub fn mode(self) -> u32 {
        match self {
            Self { of: Of::Nothing, .. } => 0o664,
            Self { everybody, group: Some(_), group_writes: true, .. } => {
                if everybody {
                    0o664
                } else {
                    0o660
                }
            }
            Self { everybody: true, .. } => 0o644,
            Self { group: Some(_), .. } => 0o640,
            _ => 0o600,
        }
    }
}

/// Whether a group writes in a folder, which has this mode and group. In a list of rights, the bit for that says what the list allows at most,
/// and nothing of the group.
fn writes_in(group: u32, (mode, of_folder): (u32, u32), list: impl FnOnce() -> Option<List>) -> bool {
    mode & 0o020 != 0 && of_folder == group && list().is_none()
}

fn is_shared_by(group: u32, folder: &Metadata) -> bool {
    writes_in(group, (folder.mode(), folder.gid()), || folder.list())
}

/// Those whom a folder lets in, by name.
fn let_in_by(folder: &Metadata) -> Audience {
    Audience::of_folder(folder.mode(), folder.uid(), folder.gid(), folder.list())
}

/// Takes from a file that is about to leave its folder what the folders on the way to it have kept from others, where those of its new place
/// would not.
///
/// # Errors
/// When its mode cannot be set: then it is not to be moved.
pub(crate) fn keep_private(handle: &File, from: &Place, to: &Place) -> io::Result<()> {
    let file = match Metadata::of(handle) {
        Ok(file) if file.is_file() => file,
        _ => return Ok(()),
    };
    let Some(hidden) = hidden(&file, from, to) else { return Ok(()) };
    if file.list().is_some() && hidden & GROUP != 0 {
        List::take_from(handle);
    }
    set_mode_of(handle, file.mode() & 0o777 & !hidden).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => io::Error::new(error.kind(), format!("{}; {}", stays(&file), CLOSE_ALL)),
        _ => error,
    })
}

/// Why a file stays in its folder.
pub(crate) fn stays(file: &Metadata) -> String {
    format!(
        "its folder lets in fewer users than the workspace does, and only {} may take from it what those others would get with it",
        system::name_of_user(file.uid())
    )
}

/// What to do about a file that stays in its folder.
pub(crate) const CLOSE_ALL: &str = "run milescale as that user, or close the whole workspace, as that folder is, to those whom it keeps out (chmod o-rwx .milestones, or g-rwx where its group is kept out; its owner may)";

/// The bits of a file's mode that its folder, and those above it, make nothing of, and those of another place would not.
pub(crate) fn hidden(file: &Metadata, from: &Place, to: &Place) -> Option<u32> {
    narrows(Readers::of(file), from, to)
}

/// The same of a file with these readers.
pub(crate) fn narrows(readers: Readers, from: &Place, to: &Place) -> Option<u32> {
    if readers.are_among(Readers::NONE) {
        return None;
    }
    // Behind a trusted symlink it is the folders above the target that keep others out, and not those above the workspace.
    let is_elsewhere = leads_elsewhere(from) || leads_elsewhere(to);
    let placed = |place: &Place| {
        if is_elsewhere {
            return readers.below_all_of(&place.parent());
        }
        // Whether it lies where it comes from, is looked at as well.
        let readers = if place == from { readers } else { readers.wherever() };
        let placed = readers.as_placed(place);
        // What lies in another folder than the workspace is kept by that one as well.
        let outer = (from.folder() != to.folder()).then(|| place.folder().place().status());
        outer.map_or(placed, |outer| outer.map_or(Readers::NONE, |outer| placed.within(&outer)))
    };
    let here = placed(from);
    if placed(to).are_among(here) {
        return None;
    }
    let of_group = if here.group.is_none() && !here.everybody { 0o070 } else { 0 };
    let of_others = if here.everybody { 0 } else { 0o007 };
    Some(of_group | of_others)
}

#[cfg(test)]
mod tests {
    use super::Readers;
    use crate::Place;

    fn readers(owner: u32, group: Option<u32>, everybody: bool) -> Readers {
        Readers { owner: Some(owner), group, everybody, ..Readers::NONE }
    }

    #[test]
    fn a_copy_of_several_is_for_those_who_may_read_each() {
        let all = [readers(1, Some(5), true), readers(1, Some(5), false), readers(2, Some(5), true)];
        let modes = |these: &[Readers]| these.iter().fold(Readers::ALL, |sum, it| sum.and(*it)).mode();
        assert_eq!(modes(&[]), 0o664, "no original: whatever the umask says");
        assert_eq!(modes(&all[..1]), 0o644);
        assert_eq!(modes(&all), 0o640);
        let shared = Readers { group_writes: true, ..all[0] };
        assert_eq!((modes(&[shared]), modes(&[shared, all[0]])), (0o664, 0o644));
        assert_eq!(modes(&[Readers { everybody: false, ..shared }]), 0o660);
        assert_eq!(modes(&[all[0], readers(1, Some(6), false)]), 0o600, "no group may read both");
        assert_eq!(Readers::ALL.and(Readers::OWN).mode(), 0o600);
        assert_eq!(all[0].and(all[2]).owner, None);
        let private = |owner: u32| readers(owner, None, false);
        let both = private(0).and(private(7));
        assert!(both == Readers::NONE && both != Readers::OWN, "it is not given to the folder's owner");
        assert!(Readers::OWN.and(private(7)) == Readers::NONE && Readers::OWN.and(Readers::ALL) == Readers::OWN);
    }

    #[test]
    fn a_folder_that_nobody_may_enter_hides_what_is_in_it() {
        use std::fs;
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |mode: u32| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let metadata = Place::named(folder.path()).status().unwrap();
            let group = std::os::unix::fs::MetadataExt::gid(&*metadata);
            readers(1, Some(group), true).within(&metadata).mode()
        };
        assert_eq!([mode(0o755), mode(0o750), mode(0o700)], [0o644, 0o640, 0o600]);
    }
}
