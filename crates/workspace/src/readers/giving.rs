//! Files that are given to those for whom they are: whose they are first, and then what those may.

use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::sync::OnceLock;

use super::{Of, Readers, writes_in};
use crate::folder::{File, Metadata, Permissions, handle_in, mode_of, set_group_of, set_mode_of, system};
use crate::rights::List;
use rustix::fs::FileType;

impl Readers {
    /// The mode of a new file until it belongs to those to whom it is to belong: before that, nobody else opens it.
    pub(crate) fn mode_at_first(self) -> u32 {
        if self.of == Of::Nothing { self.mode() } else { 0o600 }
    }

    /// Lets a file that nobody else could read be theirs, once it is whole.
    pub(crate) fn open_to(self, file: &File, folder: impl AsFd) -> io::Result<()> {
        self.settle(file, &folder, For::Readers)?;
        if self.of == Of::Nothing {
            let taken = taken_in(folder, Metadata::of(file)?.gid(), For::Readers);
            file.set_permissions(Permissions::from_mode(self.mode() & !taken))?;
        }
        Ok(())
    }

    /// Lets a file beneath an open folder be theirs, where it is the one that is meant, by its handle alone.
    ///
    /// # Errors
    /// When its rights cannot be set.
    pub fn take_over_in(self, folder: impl AsFd, name: &CStr, is_it: impl FnOnce(&Metadata) -> bool) -> io::Result<()> {
        let (handle, now) = handle_in(&folder, name)?;
        if !is_it(&now) {
            return Ok(());
        }
        if now.list().is_some() {
            // Without its list, what that allowed at most would be its group's.
            set_mode_of(&handle, now.mode() & 0o700)?;
            List::take_from(&handle);
        }
        self.let_in(&handle, folder)
    }

    /// Lets a new file, made with [`Readers::mode_at_first`] in a folder, be theirs.
    pub(crate) fn settle(self, file: &File, folder: impl AsFd, what: For) -> io::Result<()> {
        if self.of == Of::Nothing {
            give_new(folder, file, self.mode(), what);
            return Ok(());
        }
        List::take_from(file);
        // Only root may give files away; without that right the writer owns what it wrote.
        if let Some(owner) = self.owner.filter(|_| rustix::process::geteuid().is_root()) {
            let _ = fchown(file, Some(owner), None);
        }
        // What is for the process's own user is, as root, for whoever the folder belongs to.
        if self.of == Of::Own {
            give_to_owner_of(&folder, file);
        }
        self.let_in(file, folder)
    }

    /// Lets them read a file that has its owner: first it belongs to their group, then that may read it. What another group could read
    /// for an instant, it could open. Where it cannot be their group's, it is for no group.
    fn let_in(self, file: &File, folder: impl AsFd) -> io::Result<()> {
        let now = Metadata::of(file)?;
        if let Some(audience) = self.audience {
            if now.mode() & 0o077 != 0 {
                set_mode_of(file, now.mode() & 0o700)?;
            }
            // Where the file system keeps no lists it stays its owner's.
            let _ = audience.give_to(file, now.uid(), now.gid());
            return Ok(());
        }
        let is_groups = |group| now.gid() == group || set_group_of(file, group).is_ok();
        let (kept, group) = match self.group.filter(|_| !self.everybody || self.group_writes) {
            Some(group) if is_groups(group) => (0o777, group),
            Some(_) if self.everybody => (0o744, now.gid()),
            Some(_) => (0o700, now.gid()),
            None => (0o777, now.gid()),
        };
        // Those who may read the original may read this, whatever the writer gives of new files.
        let mode = self.mode() & kept & !taken_in(folder, group, For::Workspace);
        if now.mode() & 0o777 == mode { Ok(()) } else { set_mode_of(file, mode) }
    }
}

/// The bits that the process's user gives to no new file. To ask the system for them is to change them for a moment; they stay as they are
/// while milescale runs.
fn umask() -> u32 {
    static UMASK: OnceLock<u32> = OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = system::text("/proc/self/status").unwrap_or_default();
        let said = status.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
        said.unwrap_or(0o022)
    })
}

/// Whom something new in a folder is for, where a group shares that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Everybody who uses the workspace: milescale's folders, files of state and logs, and copies of what those may read anyway.
    Workspace,
    /// Whoever its writer lets read it, by the umask.
    Readers,
}

impl For {
    /// The bits of a group that shares the folder which the umask does not take. Its members can put another file into the place anyway, and
    /// those that they share have to stay theirs: one member's umask is no reason to keep the others out.
    fn kept(self) -> u32 {
        match self {
            Self::Readers if umask() & 0o040 == 0 => 0o020,
            Self::Readers => 0,
            Self::Workspace => 0o070,
        }
    }
}

/// The bits that a new file of a group does not get in a folder.
fn taken_in(folder: impl AsFd, group: u32, what: For) -> u32 {
    let kept = umask() & what.kept();
    // Where nothing is to be kept, nothing is asked of the folder.
    if kept != 0 && shares(folder, group) { umask() & !kept } else { umask() }
}

/// Whether a group shares a folder. Where its sticky bit is set, no member replaces another one's files.
#[allow(clippy::useless_conversion, reason = "the types differ by platform")]
fn shares(folder: impl AsFd, group: u32) -> bool {
    rustix::fs::fstat(&folder).is_ok_and(|it| {
        let mode = u32::from(it.st_mode);
        let is_free = mode & 0o1000 == 0 || rustix::process::geteuid().is_root();
        is_free && writes_in(group, (mode, it.st_gid), || List::of_open(folder))
    })
}

/// Gives what was just made in a folder, with a mode, to those who use that folder.
pub(crate) fn give_new(folder: impl AsFd, made: impl AsFd, mode: u32, what: For) {
    give_to_owner_of(&folder, &made);
    let_group_in(&folder, &made, mode, what);
    if what == For::Workspace {
        let_named_in(folder, made);
    }
}

/// Lets those into something new of milescale's who are named in the list of rights of the folder that it lies in, and that one's owner.
#[allow(clippy::useless_conversion, reason = "the types differ by platform")]
fn let_named_in(folder: impl AsFd, made: impl AsFd) {
    let Some(list) = List::of_open(&folder).filter(|_| List::of_open(&made).is_none()) else { return };
    let (Ok(above), Ok(ours)) = (rustix::fs::fstat(&folder), rustix::fs::fstat(&made)) else { return };
    let is_folder = FileType::from_raw_mode(ours.st_mode) == FileType::Directory;
    let given = list.give_to(&made, ours.st_gid != above.st_gid, Some(above.st_uid));
    if given.is_ok() && !is_folder {
        // What is done in a folder is none of what is done with a file.
        let _ = rustix::fs::fchmod(made, mode_of(u32::from(ours.st_mode) & 0o604 | 0o060));
    }
}

/// Lets a group that shares a folder use what was just made in it with a mode for that group.
#[allow(clippy::useless_conversion, reason = "the types differ by platform")]
fn let_group_in(folder: impl AsFd, made: impl AsFd, mode: u32, what: For) {
    let Ok(ours) = rustix::fs::fstat(&made) else { return };
    let now = u32::from(ours.st_mode) & 0o7777;
    let wanted = mode & 0o070;
    if now | wanted == now {
        return;
    }
    let mode = now | wanted & what.kept();
    if mode != now && shares(folder, ours.st_gid) && List::of_open(&made).is_none() {
        let _ = rustix::fs::fchmod(made, mode_of(mode));
    }
}

/// Gives what root has made to the owner of the folder that it lies in: a command that root has run once, for a workspace of somebody
/// else's, keeps nobody out of it.
fn give_to_owner_of(folder: impl AsFd, made: impl AsFd) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (Ok(folder), Ok(ours)) = (rustix::fs::fstat(folder), rustix::fs::fstat(&made)) else { return };
    if ours.st_uid == 0 && folder.st_uid != 0 {
        let (owner, group) = (rustix::fs::Uid::from_raw(folder.st_uid), rustix::fs::Gid::from_raw(folder.st_gid));
        let _ = rustix::fs::fchown(made, Some(owner), Some(group));
    }
}
