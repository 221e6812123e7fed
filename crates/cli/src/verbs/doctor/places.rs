//! The check of `doctor` on the folders and files that milescale replaces by renames: tried on files of its own.

use milescale_core::backend::{Backend, InUse};
use milescale_core::base::Side;
use milescale_workspace::Workspace;
use milescale_workspace::folder::Kind;
use milescale_workspace::trial::{Hindrance, Use, hindrances};

use super::checks::{finding, or_ok};
use super::{Finding, Level};

/// Symlinks in the places of milescale, which are not followed. Those of milestones are another check's.
pub(super) fn links(workspace: &Workspace) -> Vec<Finding> {
    let folders = [workspace.folder(), workspace.config_folder(), workspace.logs(), workspace.own()];
    let links = folders.iter().flat_map(|folder| {
        let entries = folder.entries_or_none().into_iter().filter(|entry| entry.kind == Kind::Link);
        entries.filter_map(|entry| folder.join(entry.name).untrusted())
    });
    let found = links.map(|error| {
        finding(
            Level::Wrong,
            error.to_string(),
            "What it leads to is neither read nor written.",
            "Do what the line says.",
        )
    });
    or_ok(found.collect(), "no symlink among milescale's own files but those that you trust")
}

pub(super) fn all(workspace: &Workspace, in_use: Option<InUse>) -> Vec<Finding> {
    // Before the first command that writes there is nothing to try in, and a reader makes nothing.
    if !workspace.own().is_folder() {
        return Vec::new();
    }
    let means =
        "A move that needs it is refused before anything changes; milestones that cannot be exchanged are not written.";
    let mut uses = vec![Use::Marker, Use::Configuration, Use::Milestones, Use::Backup];
    uses.extend(in_use.and_then(database));
    let found = hindrances(workspace, &uses);
    let found = found.into_iter().map(|Hindrance { place, reason, do_this }| {
        finding(Level::Wrong, format!("{place}: {reason}"), means, format!("To mend it: {do_this}."))
    });
    or_ok(found.collect(), "milescale can replace marker, configuration and milestone files, and make backups")
}

/// The database file of the store in use.
fn database(in_use: InUse) -> Option<Use> {
    match (in_use.backend, in_use.side()) {
        (Backend::Hybrid, _) => Some(Use::Index),
        (_, Side::Sqlite) => Some(Use::Documents),
        _ => None,
    }
}
