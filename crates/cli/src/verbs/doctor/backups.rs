//! The check of `doctor` on backups: each is read and compared with what was written.

use milescale_workspace::Workspace;
use milescale_workspace::backup;

use super::checks::{finding, ok};
use super::{Finding, Level};

pub(super) fn all(workspace: &Workspace) -> Vec<Finding> {
    let shown = workspace.shown(&workspace.backups());
    let found = match backup::list(workspace) {
        Ok(found) => found,
        Err(error) => {
            let means = "No backup can be listed, made or restored; the milestones in use are another matter.";
            return vec![finding(Level::Wrong, format!("{shown}: {error}"), means, "Do what the line says.")];
        }
    };
    if found.is_empty() {
        return Vec::new();
    }
    let count = found.len();
    let wrong = found.into_iter().filter_map(|(_, read)| read.and_then(|it| backup::verify(workspace, &it)).err());
    let findings: Vec<Finding> = wrong.map(damaged).collect();
    if findings.is_empty() { ok(format!("{count} backups are what was written")) } else { findings }
}

fn damaged(what: String) -> Finding {
    finding(
        Level::Wrong,
        what,
        "Nothing is restored from this backup; the milestones in use are another matter.",
        "Put it back from a copy of yours, or remove its folder.",
    )
}
