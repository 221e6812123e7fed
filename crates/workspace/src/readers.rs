//! Who may read what holds a copy of something else: nobody who could not read the original (contract §10).

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::Stat;
#[cfg(target_os = "linux")]
use rustix::io::Errno;

use crate::folder::{File, Metadata, Permissions, Place, status_in, system};

/// The bits of a mode by which a group, and everybody, may read a file.
const GROUP: u32 = 0o040;
const EVERYBODY: u32 = 0o004;

/// The bit by which a group may write it.
const GROUP_WRITES: u32 = 0o020;

/// Those who may read all of some files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readers {
    /// The one user that all of them belong to.
    owner: Option<u32>,
    /// The one group of all of them, where it may read each.
    group: Option<u32>,
    everybody: bool,
    /// The group may write each, too.
    group_writes: bool,
    of: Of,
}

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

/// Those who may read all that was read since [`Readers::forget_noted`].
static NOTED: Mutex<Readers> = Mutex::new(Readers::ALL);

/// Whether somebody asks for them: to look at a list of rights costs a call for each file.
static IS_NOTING: AtomicBool = AtomicBool::new(false);

impl Readers {
    /// Those of nothing: whoever else may.
    pub const ALL: Self = Self { everybody: true, group_writes: true, of: Of::Nothing, ..Self::NONE };

    /// The process's own user alone, for what is a copy of nothing.
    pub const OWN: Self = Self { of: Of::Own, ..Self::NONE };

    /// Nobody whom two originals have in common: it stays with the process's user, whoever the folder belongs to.
    pub const NONE: Self = Self { owner: None, group: None, everybody: false, group_writes: false, of: Of::Originals };

    /// Begins to note whose files are read.
    pub fn forget_noted() {
        *NOTED.lock().unwrap_or_else(PoisonError::into_inner) = Self::ALL;
        IS_NOTING.store(true, Ordering::Relaxed);
    }

    /// Notes those of a file that is open: another one may have had its name when that was looked at, and may have it again.
    pub fn note(self) {
        if !IS_NOTING.load(Ordering::Relaxed) {
            return;
        }
        let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = noted.and(self);
    }

    /// The same of an open file. Where it has a list of rights, the bits of its group say what the list allows at most, and to whom they
    /// do not say: such a group is left out.
    pub(crate) fn note_open(file: impl AsFd, status: &Stat) {
        if IS_NOTING.load(Ordering::Relaxed) {
            let readers = Self::of_status(status);
            #[cfg(target_os = "linux")]
            let has_list = {
                // There is room for none: one that is there is an error of its own.
                let found = rustix::fs::fgetxattr(file, "system.posix_acl_access", &mut [0_u8; 1][..]);
                !matches!(found, Ok(0) | Err(Errno::NODATA | Errno::OPNOTSUPP))
            };
            #[cfg(not(target_os = "linux"))]
            let has_list = {
                let _ = file;
                false
            };
            let with_list = Self { group: None, group_writes: false, everybody: false, ..readers };
            if has_list { with_list.note() } else { readers.note() }
        }
    }

    /// Those of all that was read meanwhile; nothing more is noted.
    pub fn noted() -> Self {
        IS_NOTING.store(false, Ordering::Relaxed);
        *NOTED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of one file.
    pub fn of(file: &Metadata) -> Self {
        Self::of_mode(file.mode(), file.uid(), file.gid())
    }

    /// The same by its name beneath an open folder; `None` where there is none.
    pub fn at_in(folder: impl AsFd, name: &CStr) -> Option<Self> {
        Some(Self::of_status(&status_in(folder, name).ok()?))
    }

    /// The same of what the system says of it.
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
            group_writes: mode & (GROUP | GROUP_WRITES) == GROUP | GROUP_WRITES,
            ..Self::NONE
        }
    }

    /// Those of a folder's files, as far as the folder lets them in.
    #[must_use]
    pub fn within(self, folder: &Metadata) -> Self {
        if self.of == Of::Nothing {
            return self;
        }
        // To enter a folder is the bit beside the one to write.
        let enters = |read: u32| folder.mode() & (read >> 2) != 0;
        let group = self.group.filter(|group| enters(EVERYBODY) || enters(GROUP) && folder.gid() == *group);
        Self { group, everybody: self.everybody && enters(EVERYBODY), ..self }
    }

    /// Whether somebody whom the workspace lets in may not read what has these readers and lies in a folder of it: nothing of that is
    /// repeated in messages, which are kept in files for all.
    pub fn leave_out_some(self, folder: &Place) -> bool {
        let (Ok(inner), Ok(outer)) = (folder.status(), folder.folder().place().status()) else { return true };
        self.within(&inner).leave_out_some_of(&outer)
    }

    /// Those who may read both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self { of: Of::Nothing, .. }, other) => other,
            (this, Self { of: Of::Nothing, .. }) => this,
            (this, other) => Self {
                owner: this.owner.filter(|owner| other.owner == Some(*owner)),
                group: this.group.filter(|group| other.group == Some(*group)),
                everybody: this.everybody && other.everybody,
                group_writes: this.group_writes && other.group_writes,
                of: if this.of == other.of { this.of } else { Of::Originals },
            },
        }
    }

    fn leave_out_some_of(self, folder: &Metadata) -> bool {
        let is_groups = self.everybody || self.group == Some(folder.gid());
        let enters = |read: u32| folder.mode() & (read >> 2) != 0;
        // Root reads everything anyway.
        let is_owners = is_groups || self.owner == Some(folder.uid()) || folder.uid() == 0;
        enters(EVERYBODY) && !self.everybody || enters(GROUP) && !is_groups || !is_owners
    }

    /// Whether somebody else may read a file.
    pub fn are_exceeded_by(self, file: &Metadata) -> bool {
        let (group, everybody) = (file.mode() & GROUP != 0, file.mode() & EVERYBODY != 0);
        everybody && !self.everybody || group && !self.everybody && self.group != Some(file.gid())
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

    /// Lets a file that nobody else could read be theirs, once it is whole.
    pub(crate) fn open_to(self, file: &File, folder: impl AsFd) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(self.mode() & !umask()))?;
        self.settle(file, folder)
    }

    /// Lets a new file, made with that mode in a folder, be theirs: what its group may read belongs to that group, or is not for it.
    pub(crate) fn settle(self, file: &File, folder: impl AsFd) -> io::Result<()> {
        if self.of == Of::Nothing {
            give_to_owner_of(folder, file);
            return Ok(());
        }
        // What the folder gives to others by itself, as a list of rights does, was not the original's to give.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fremovexattr(file, "system.posix_acl_access");
        let metadata = file.metadata()?;
        // Only root may give files away; without that right the writer owns what it wrote.
        let is_root = rustix::process::geteuid().is_root();
        if let Some(owner) = self.owner.filter(|owner| is_root && *owner != metadata.uid()) {
            let _ = fchown(file, Some(owner), None);
        }
        // What is for the process's own user is, as root, for whoever the folder belongs to.
        if self.of == Of::Own {
            give_to_owner_of(&folder, file);
        }
        let Some(group) = self.group.filter(|_| !self.everybody || self.group_writes) else { return Ok(()) };
        if metadata.gid() != group && fchown(file, None, Some(group)).is_err() {
            let kept = if self.everybody { 0o7744 } else { 0o7700 };
            file.set_permissions(Permissions::from_mode(metadata.mode() & kept))?;
        }
        Ok(())
    }
}

/// The bits that the process's user gives to no new file. To ask the system for them is to change them for a moment.
fn umask() -> u32 {
    let status = system::text("/proc/self/status").unwrap_or_default();
    let said = status.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
    said.unwrap_or(0o022)
}

/// Gives what root has made to the owner of the folder that it lies in: a command that root has run once, for a workspace of somebody
/// else's, keeps nobody out of it.
pub(crate) fn give_to_owner_of(folder: impl AsFd, made: impl AsFd) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (Ok(folder), Ok(ours)) = (rustix::fs::fstat(folder), rustix::fs::fstat(&made)) else { return };
    if ours.st_uid == 0 && folder.st_uid != 0 {
        let (owner, group) = (rustix::fs::Uid::from_raw(folder.st_uid), rustix::fs::Gid::from_raw(folder.st_gid));
        let _ = rustix::fs::fchown(made, Some(owner), Some(group));
    }
}

#[cfg(test)]
mod tests {
    use super::Readers;

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
            let metadata = fs::metadata(folder.path()).unwrap();
            let group = std::os::unix::fs::MetadataExt::gid(&metadata);
            readers(1, Some(group), true).within(&metadata).mode()
        };
        assert_eq!([mode(0o755), mode(0o750), mode(0o700)], [0o644, 0o640, 0o600]);
    }
}
