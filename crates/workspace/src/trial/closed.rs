//! What another user has closed: folders of milescale's own, and databases.

use std::io;

use rustix::fs::Access;

use super::{Hindrance, Trial};
use crate::Place;

impl Trial<'_> {
    /// Looks for folders among milescale's own that another user has closed.
    pub(super) fn closed(&mut self, own: &Place) {
        for (folder, reason, step) in own.closed_folders() {
            self.found.push(Hindrance::new(self.workspace.shown(&folder), reason, step));
        }
    }

    /// Tries what is written for a file of SQLite, which needs others beside it.
    pub(super) fn database(&mut self, path: &Place) {
        self.folder(&path.parent(), false);
        match path.access(Access::READ_OK | Access::WRITE_OK) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let do_this = "run milescale as the user who owns it, or let that user give the group the right (chmod g+rw) where no \
                               milestone in it is private";
                let place = self.workspace.shown(path);
                self.found.push(Hindrance::new(
                    place,
                    "it cannot be read and written: this user may not write it",
                    do_this,
                ));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.failed(path, "it cannot be read and written", &error);
            }
            _ => {}
        }
    }
}
