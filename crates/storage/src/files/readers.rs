//! Who may read all milestones of a workspace.

use std::os::unix::fs::MetadataExt;

use milescale_core::base::Side;
use milescale_sqlite_guard::{Opened, opened};
use milescale_workspace::error::StoreError;
use milescale_workspace::readers::Readers;
use milescale_workspace::{Place, Workspace};

use super::{FileStore, walk};
use crate::threads::in_shares;

/// Those who may read every milestone file and the databases that hold milestones: what holds a copy of all is for nobody else.
///
/// # Errors
/// When a folder cannot be read.
pub fn readers_of_all(workspace: &Workspace) -> Result<Readers, StoreError> {
    let mut all = Readers::ALL;
    for folder in [workspace.active(), workspace.completed()] {
        let mut found = Readers::ALL;
        walk::walk_below(workspace, &folder, &mut |batch| {
            let below = milescale_workspace::folder::File::from(
                batch.folder.try_clone().map_err(unreadable(workspace, &folder))?,
            );
            let below = below.metadata().map_err(unreadable(workspace, &folder))?;
            let of = |number: usize| Readers::at_in(batch.folder, batch.name(number));
            let shares = in_shares(batch.len(), |numbers| numbers.filter_map(of).fold(Readers::ALL, Readers::and));
            found = shares.into_iter().fold(found, Readers::and).within(&below);
            Ok(())
        })?;
        if let Ok(metadata) = folder.status() {
            found = found.within(&metadata);
        }
        all = all.and(found);
    }
    for database in [workspace.enterprise_db(), workspace.index_db()] {
        all = all.and(of_database(&database));
    }
    Ok(all)
}

/// Those who may read a database: the one that has its name at this instant, and those that are open and had it.
fn of_database(database: &Place) -> Readers {
    let Ok(place) = database.real() else { return Readers::ALL };
    let now = place.status().ok();
    let is_it = |it: &Opened| now.as_ref().is_some_and(|now| (now.dev(), now.ino()) == (it.device, it.inode));
    let opened = opened(place.name());
    let others = opened.iter().filter(|it| !is_it(it)).map(|it| Readers::of_mode(it.mode, it.user, it.group));
    others.chain(now.as_ref().map(Readers::of)).fold(Readers::ALL, Readers::and)
}

impl FileStore {
    /// What comes from another store is for those who may read that one. Who may before.
    pub(super) fn make_for_those_of(&mut self, side: Side) -> Readers {
        let readers = self.readers_of(side).and(self.made_for);
        std::mem::replace(&mut self.made_for, readers)
    }

    /// Those who may read a store; of a server that is not known here.
    pub(super) fn readers_of(&self, side: Side) -> Readers {
        if side == Side::Sqlite { of_database(&self.workspace().enterprise_db()) } else { Readers::ALL }
    }
}

fn unreadable<'a>(
    workspace: &'a Workspace,
    folder: &'a milescale_workspace::Place,
) -> impl Fn(std::io::Error) -> StoreError + 'a {
    move |error| StoreError::io(workspace.shown(folder), "it cannot be looked at", &error)
}
