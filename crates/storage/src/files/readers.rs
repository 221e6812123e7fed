//! Who may read all milestones of a workspace.

use std::os::unix::fs::MetadataExt;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use milescale_core::base::Side;
use milescale_sqlite_guard::{Opened, opened};
use milescale_workspace::error::StoreError;
use milescale_workspace::readers::Readers;
use milescale_workspace::ways::{Ways, leads_elsewhere};
use milescale_workspace::{Place, Workspace};

use super::{FileStore, walk};
use crate::threads::in_shares;

/// Those who may read every milestone file, retired ones included, and the databases that hold milestones: what holds a copy of all is for
/// nobody else.
///
/// # Errors
/// When a folder cannot be read.
pub fn readers_of_all(workspace: &Workspace) -> Result<Readers, StoreError> {
    // An index is a copy itself.
    let all = readers_of_files(workspace)?.and(of_database(&workspace.enterprise_db()));
    // What is copied to behind a symlink is not kept by the folders above the workspace any more.
    let holders = [
        workspace.own(),
        workspace.backups(),
        workspace.active(),
        workspace.completed(),
        workspace.conflicts(),
        workspace.displaced(),
        workspace.retired(),
        workspace.incoming(),
        workspace.base_db(),
        workspace.index_db(),
        workspace.enterprise_db(),
    ];
    Ok(if holders.iter().any(leads_elsewhere) { all.below_all_of(&workspace.folder()) } else { all })
}

/// Those who may read every milestone file, whatever databases there are.
///
/// # Errors
/// When the files cannot be listed.
pub fn readers_of_files(workspace: &Workspace) -> Result<Readers, StoreError> {
    let (mut all, mut ways) = (Readers::ALL, Ways::default());
    for folder in [workspace.active(), workspace.completed(), workspace.retired()] {
        walk::walk_below(workspace, &folder, &mut |batch| {
            let of = |number: usize| Readers::at_in(batch.folder, batch.name(number));
            let shares = in_shares(batch.len(), |numbers| numbers.filter_map(of).fold(Readers::ALL, Readers::and));
            let found = shares.into_iter().fold(Readers::ALL, Readers::and);
            // All of a batch lie in one folder.
            let at = if batch.inside.as_os_str().is_empty() { folder.clone() } else { folder.join(batch.inside) };
            all = all.and(ways.readers_in(found, batch.folder, &at));
            Ok(())
        })?;
    }
    Ok(workspace.folder().status().map_or(all, |folder| all.shared_in(&folder)))
}

/// Those for whom what comes from a server is. Who may read what is there, that says itself: it is for those who may read all that is here, or
/// for the caller alone.
pub fn readers_of_a_server(workspace: &Workspace) -> Readers {
    let all = readers_of_all(workspace).unwrap_or(Readers::NONE);
    if all == Readers::ALL { Readers::OWN } else { all }
}

/// Those who may read a database: the one that has its name at this instant, and those that are open and had it.
fn of_database(database: &Place) -> Readers {
    let Ok(place) = database.real() else { return Readers::ALL };
    // An empty one is a copy of nothing.
    let now = place.status().ok().filter(|it| it.len() > 0);
    let is_it = |it: &Opened| now.as_ref().is_some_and(|now| (now.dev(), now.ino()) == (it.device, it.inode));
    let opened = opened(place.name());
    let others = opened.iter().filter(|it| !is_it(it)).map(|it| {
        // What its list says is not known any more.
        let mode = if it.has_list { it.mode & !0o077 } else { it.mode };
        Readers::of_mode(mode, it.user, it.group)
    });
    others.chain(now.as_ref().map(|now| Readers::of(now).as_placed(database))).fold(Readers::ALL, Readers::and)
}

/// How long the readers of what is here count as known, while milestones come from a server one by one.
const KNOWN_FOR: Duration = Duration::from_secs(5);

impl FileStore {
    /// Remembers who may read what is made from now on.
    pub(crate) fn make_new_for(&mut self, readers: Readers) {
        (self.made_for, self.replaced_for) = (readers, readers);
    }

    /// What comes from another store is for those who may read that one. Who may before.
    pub(super) fn make_for_those_of(&mut self, side: Side) -> (Readers, Readers) {
        let (before, readers) = ((self.made_for, self.replaced_for), self.readers_of(side));
        self.made_for = readers.and(self.made_for);
        if side != Side::Postgresql {
            self.replaced_for = readers.and(self.replaced_for);
        }
        before
    }

    /// Those who may read a store.
    pub(super) fn readers_of(&self, side: Side) -> Readers {
        match side {
            Side::Files => Readers::ALL,
            Side::Sqlite => of_database(&self.workspace().enterprise_db()),
            Side::Postgresql => self.readers_of_a_server(),
        }
    }

    fn readers_of_a_server(&self) -> Readers {
        let mut known = self.of_server.lock().unwrap_or_else(PoisonError::into_inner);
        match *known {
            Some((at, readers)) if at.elapsed() < KNOWN_FOR => readers,
            _ => {
                let readers = readers_of_a_server(self.workspace());
                *known = Some((Instant::now(), readers));
                readers
            }
        }
    }
}
