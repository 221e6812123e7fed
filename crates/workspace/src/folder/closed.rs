//! What keeps this user from milescale's own files and folders, and who can change that: those of a team are everybody's.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use milescale_document::text::{harmless, in_command};
use rustix::fs::Access;

use super::kinds::{Kind, is_about_trust};
use super::{Place, system};
use crate::layout::{CONFIG_FOLDER, FOLDER, MARKER, OWN_FOLDER};

impl Place {
    /// The folders in this one that this user may not write into, and what is to be done about each: a reason and a step.
    pub fn closed_folders(&self) -> Vec<(Self, String, String)> {
        let folders = self.entries_or_none().into_iter().filter(|entry| entry.kind == Kind::Folder);
        let closed = |place: Self| {
            let (reason, step) = place.is_closed()?;
            Some((place, reason, step))
        };
        folders.filter_map(|entry| closed(self.join(&entry.name))).collect()
    }

    /// An error about a file of milescale's own that this user may not have, with who can change that.
    pub(super) fn told(&self, error: io::Error) -> io::Error {
        // A marker or configuration that a member has made for himself is named as well.
        let is_own =
            [OWN_FOLDER, CONFIG_FOLDER, "backups", "logs"].iter().any(|folder| self.inside().starts_with(folder));
        if error.kind() != io::ErrorKind::PermissionDenied || !is_own || is_about_trust(&error) {
            return error;
        }
        let above = self.inside().ancestors().take_while(|it| !it.as_os_str().is_empty());
        let closed =
            above.map(|inside| self.folder().place().join(inside)).find_map(|place| Some((place.is_closed()?, place)));
        let Some(((reason, step), place)) = closed else { return error };
        io::Error::new(error.kind(), format!("{error}; {}: {reason}: {step}", shown(place.inside())))
    }

    /// Why this user may not use what is there, where that is so, and what to do.
    fn is_closed(&self) -> Option<(String, String)> {
        let there = self.status_of_name().ok()?;
        // A file is replaced: it is enough to read it.
        let (how, bits, what) = if there.is_dir() {
            (Access::WRITE_OK | Access::EXEC_OK, "g+rwx", "write there")
        } else {
            (Access::READ_OK, "g+rw", "read it")
        };
        self.access(how).err().filter(|error| error.kind() == io::ErrorKind::PermissionDenied)?;
        let owner = system::name_of_user(there.uid());
        // Whoever shares the folder may have named it.
        let place = in_command(&Path::new(FOLDER).join(self.inside()));
        let reason = format!("it belongs to {owner}, and this user may not {what}");
        let unless = if self.holds_contents() { ", where nothing there is private" } else { "" };
        let step = if !there.is_dir() && self.holds_contents() {
            // Whoever is told to open it would open what is private.
            format!("it may hold what {owner} keeps private, and only {owner} can say whether it is for you")
        } else if is_in(there.gid()) && there.list().is_none() {
            format!("let {owner} run `chmod {bits} {place}`{unless}, and use `umask 002`")
        } else {
            // A group of its owner's need not be one of this user's, and in a list of rights its bits are those of all who are named.
            let (user, may) = (rustix::process::geteuid().as_raw(), bits.trim_start_matches("g+"));
            format!("let {owner} name you there (`setfacl -m u:{user}:{may} {place}`){unless}")
        };
        Some((reason, step))
    }

    /// Whether what is there may hold the text of a milestone.
    fn holds_contents(&self) -> bool {
        let contents = ["conflicts", "displaced", "retired", "incoming", "base.db"];
        let is_kept = |rest: &Path| contents.iter().any(|it| rest.starts_with(it));
        // A configuration may be private; a marker says one word.
        let is_configuration = self.inside().starts_with(CONFIG_FOLDER) && self.inside() != Path::new(MARKER);
        is_configuration
            || self.inside().starts_with("backups")
            || self.inside().strip_prefix(OWN_FOLDER).is_ok_and(is_kept)
    }
}

/// Whether this process is in a group.
fn is_in(group: u32) -> bool {
    let groups = rustix::process::getgroups().unwrap_or_default();
    rustix::process::getegid().as_raw() == group || groups.iter().any(|it| it.as_raw() == group)
}

fn shown(inside: &Path) -> String {
    harmless(&format!(".milestones/{}", inside.display()))
}
