//! The check of `doctor` on backups: each is read and compared with what was written.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use milescale_document::text::in_command;
use milescale_workspace::Workspace;
use milescale_workspace::backup;
use rustix::fs::Access;

use super::checks::{finding, ok};
use super::{Finding, Level};

/// How long backups are compared with their digests at most.
const PATIENCE: Duration = Duration::from_secs(4);

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
    // All of them together have so much time: one may have any size.
    let began = Instant::now();
    let mut findings = Vec::new();
    for (id, read) in found {
        let goes_on = || began.elapsed() < PATIENCE;
        let verified = read.and_then(|it| backup::verify_while(workspace, &it, &goes_on));
        match verified {
            Ok(()) => {}
            Err(_) if !goes_on() => {
                let what =
                    format!("{shown}/{id}: whether it is what was written was not looked at, for that takes long");
                let means = "Nothing is known to be wrong with it.";
                let advice = format!("`milescale backups show {}` compares it.", in_command(&id));
                findings.push(finding(Level::Note, what, means, advice));
                break;
            }
            Err(why) => {
                let kept = workspace.backups().join(&id).join(backup::MILESTONES);
                let is_closed =
                    kept.access(Access::READ_OK).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
                findings.push(if is_closed {
                    closed(format!("{shown}/{id}: this user may not read it"))
                } else {
                    damaged(why)
                });
            }
        }
    }
    if findings.is_empty() { ok(format!("{count} backups are what was written")) } else { findings }
}

fn closed(what: String) -> Finding {
    finding(
        Level::Note,
        what,
        "It holds what not all may read, or was made by a user who keeps files private.",
        "Restore it as the user who owns it, or have that user give you the right to read it.",
    )
}

fn damaged(what: String) -> Finding {
    finding(
        Level::Wrong,
        what,
        "Nothing is restored from this backup; the milestones in use are another matter.",
        "Put it back from a copy of yours, or remove its folder.",
    )
}
