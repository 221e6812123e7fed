//! The archive as who keeps a conflict asks it: what lies there beside the two contents.

use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_workspace::conflicts::Beside;
use milescale_workspace::readers::Readers;

use crate::archive::Archive;

impl Beside for Archive {
    fn others(&mut self, id: &Id, is_it: &dyn Fn(&Milestone) -> bool) -> Option<Vec<Digest>> {
        Self::others(self, id, is_it)
    }

    fn readers(&mut self) -> Readers {
        self.readers_of_all()
    }
}
