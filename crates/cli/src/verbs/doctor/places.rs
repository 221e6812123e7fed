//! The check of `doctor` on the folders and files that milescale replaces by renames: tried on files of its own.

use milescale_core::backend::{Backend, InUse};
use milescale_core::base::Side;
use milescale_workspace::Workspace;
use milescale_workspace::trial::{Hindrance, Use, hindrances};

use super::checks::{finding, or_ok};
use super::{Finding, Level};

pub(super) fn all(workspace: &Workspace, in_use: Option<InUse>) -> Vec<Finding> {
    // Before the first command that writes there is nothing to try in, and a reader makes nothing.
    if !workspace.own().is_folder() {
        return Vec::new();
    }
    let means =
        "A move that needs it is refused before anything changes; milestones that cannot be exchanged are not written.";
    let mut uses = vec![Use::Marker, Use::Configuration, Use::Milestones];
    uses.extend(in_use.and_then(database));
    let found = hindrances(workspace, &uses);
    let found = found.into_iter().map(|Hindrance { place, reason, do_this }| {
        finding(Level::Wrong, format!("{place}: {reason}"), means, format!("To mend it: {do_this}."))
    });
    or_ok(found.collect(), "milescale can replace marker, configuration and milestone files")
}

/// The database file of the store in use.
fn database(in_use: InUse) -> Option<Use> {
    match (in_use.backend, in_use.side()) {
        (Backend::Hybrid, _) => Some(Use::Index),
        (_, Side::Sqlite) => Some(Use::Documents),
        _ => None,
    }
}
