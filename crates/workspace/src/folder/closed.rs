//! What keeps this user from milescale's own files and folders, and who can change that: those of a team are everybody's.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use milescale_document::text::harmless;
use rustix::fs::Access;

use super::kinds::{Kind, is_about_trust};
use super::{Place, system};
use crate::layout::OWN_FOLDER;

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
        let is_own = self.inside().starts_with(OWN_FOLDER);
        if error.kind() != io::ErrorKind::PermissionDenied || !is_own || is_about_trust(&error) {
            return error;
        }
        let above = self.inside().ancestors().take_while(|it| it.starts_with(OWN_FOLDER));
        let closed =
            above.map(|inside| self.folder().place().join(inside)).find_map(|place| Some((place.is_closed()?, place)));
        let Some(((reason, step), place)) = closed else { return error };
        io::Error::new(error.kind(), format!("{error}; {}: {reason}: {step}", shown(place.inside())))
    }

    /// Why this user may not use what is there, where that is so, and what to do.
    fn is_closed(&self) -> Option<(String, String)> {
        let there = self.status_of_name().ok()?;
        // A file is replaced: it is enough to read it.
        let (how, bits) =
            if there.is_dir() { (Access::WRITE_OK | Access::EXEC_OK, "g+rwx") } else { (Access::READ_OK, "g+rw") };
        self.access(how).err().filter(|error| error.kind() == io::ErrorKind::PermissionDenied)?;
        let owner = system::name_of_user(there.uid());
        let what = if there.is_dir() { "write there" } else { "read it" };
        Some((
            format!("it belongs to {owner}, and this user may not {what}"),
            format!("let {owner} run `chmod {bits} {}`, and use `umask 002`", shown(self.inside())),
        ))
    }
}

fn shown(inside: &Path) -> String {
    harmless(&format!(".milestones/{}", inside.display()))
}
