//! What a trial that died has left.

use super::{CLEARS_FOR, SCRATCH};
use crate::durable;
use crate::folder::{File, Kind};
use crate::{Place, Workspace};

/// Folders below `active/` that are looked at.
const FOLDERS: usize = 10_000;

/// The folders that may hold milestones, below `active/`.
pub(super) fn folders_below(active: &Place, goes_on: &dyn Fn() -> bool) -> Vec<Place> {
    let (mut found, mut open) = (Vec::new(), vec![active.clone()]);
    while let Some(folder) = open.pop().filter(|_| goes_on()) {
        for entry in folder.entries_or_none() {
            let is_hidden = entry.name.as_encoded_bytes().starts_with(b".");
            if !is_hidden && entry.kind == Kind::Folder && found.len() < FOLDERS {
                open.push(folder.join(&entry.name));
                found.push(folder.join(&entry.name));
            }
        }
    }
    found
}

/// Removes what trials that died have left in a workspace, where nobody tries anything just now. Whether nothing is left that it can
/// remove: what takes too long, or goes on when a stop is asked for, is left for the next time.
pub fn clear_leftovers(workspace: &Workspace) -> bool {
    if !workspace.trying().exists() {
        return true;
    }
    let own = workspace.own();
    // Held until all is removed: nobody begins a trial meanwhile.
    let Some(_alone) = own.open_folder().ok().map(File::from).filter(|lock| lock.try_lock().is_ok()) else {
        return true;
    };
    let active = workspace.active();
    let goes_on = workspace.stop().goes_on_for(CLEARS_FOR);
    let below = folders_below(&active, &goes_on);
    let folders = [
        active,
        workspace.completed(),
        workspace.config_folder(),
        workspace.displaced(),
        workspace.retired(),
        workspace.backups(),
        workspace.folder(),
        own,
    ];
    for folder in folders.iter().chain(&below) {
        remove_leftovers(folder, &goes_on);
    }
    let is_done = goes_on();
    if is_done {
        let _ = durable::remove(&workspace.trying());
    }
    is_done
}

/// Removes what a trial that died has left in a folder.
pub(super) fn remove_leftovers(folder: &Place, goes_on: &dyn Fn() -> bool) {
    for entry in folder.entries_or_none() {
        if goes_on() && entry.name.as_encoded_bytes().starts_with(SCRATCH.as_bytes()) {
            let _ = durable::remove_folder(&folder.join(&entry.name), goes_on);
        }
    }
}
