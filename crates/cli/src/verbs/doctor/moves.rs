//! What `doctor` says of migrations.

use milescale_core::base::Side;
use milescale_daemon::status::Status;
use milescale_document::text::{counted, harmless};

use super::checks::{finding, or_ok};
use super::{Finding, Level};

/// What was moved, what is under way, what waits for a person.
pub(super) fn all(status: &Status) -> Vec<Finding> {
    let moves = &status.migration;
    let mut findings = Vec::new();
    if let Some(why) = &moves.stuck {
        findings.push(finding(
            Level::Wrong,
            format!("a migration is stuck: {why}"),
            "The store in use is as it was, and nothing is migrated until this is dealt with.",
            "Mend what the line says, then `milescale doctor --fix` tries again.",
        ));
    } else if let Some(phase) = moves.phase {
        let (level, do_this) = if status.config.problems.is_empty() {
            (Level::Note, "The daemon or `milescale check` does that by itself.")
        } else {
            (Level::Wrong, "Mend config/storage-config.yaml first; then the daemon or `milescale check` does that.")
        };
        findings.push(finding(
            level,
            format!("a migration is under way, or was interrupted, in the phase {phase}"),
            "One that was interrupted is undone before its switch, and finished after it.",
            do_this,
        ));
    }
    if let Some(what) = &moves.unfinished_restore {
        findings.push(finding(
            Level::Wrong,
            what.clone(),
            "It is under way, or was interrupted. What was there before is in the backup that it made first.",
            "Where no `milescale restore` runs, give one of the commands that the line names.",
        ));
    }
    if moves.held > 0 {
        findings.push(finding(
            Level::Wrong,
            format!("{} changes of an old store wait for a person: {}", moves.held, names(&moves.held_milestones)),
            "So many files changed at once (a pull, a branch), or they appeared in a retired store. The store in use keeps \
             what it has.",
            "`milescale import` brings them over; or put the files back as they were.",
        ));
    }
    findings.extend(moves.failing_milestones.iter().map(|(side, id, why)| {
        finding(
            Level::Wrong,
            harmless(&format!("{id} of {side} cannot be brought over: {why}")),
            "What the old store holds of it stays there, and the store in use keeps what it has.",
            "Mend what the line says; milescale tries again by itself.",
        )
    }));
    if moves.conflicts > 0 {
        findings.push(finding(
            Level::Wrong,
            format!("{} in conflict with what is current", counted(moves.conflicts, "content is", "contents are")),
            "Both are kept; what is current is in the store in use.",
            "`milescale conflicts` names them, `milescale conflicts resolve` decides.",
        ));
    }
    findings.extend(moves.problems.iter().map(|problem| {
        finding(
            Level::Wrong,
            problem.clone(),
            "What other programs write to old stores is not brought over, and moves may be refused, until that is mended.",
            "Mend what the line says; milescale notices by itself.",
        )
    }));
    if moves.paused {
        findings.push(finding(
            Level::Note,
            "automatic migrations are paused",
            "Watching and recommending go on.",
            "`milescale resume` lets them go on.",
        ));
    }
    if let Some(why) = moves.waits_because.as_ref().filter(|_| moves.last_failure.is_none() && !moves.paused) {
        findings.push(finding(
            Level::Note,
            format!("the recommended move is not carried out by itself: {why}"),
            "Watching and recommending go on.",
            "`milescale migrate BACKEND` moves the milestones at once.",
        ));
    }
    if let Some(why) = &moves.last_failure {
        findings.push(finding(
            Level::Wrong,
            format!("{} attempts to migrate failed, the last because: {why}", moves.failed_attempts),
            "The store in use is as it was. After three attempts it is left to a person.",
            "Mend what the line says; `milescale migrate BACKEND --dry-run` tells all that stands against it.",
        ));
    }
    // One that something stands against is named above.
    let is_told = |name: &str| moves.problems.iter().any(|problem| problem.starts_with(&format!("{name}: ")));
    for old in moves.old_stores.iter().filter(|old| !is_told(&old.name)) {
        let what = match &old.retired {
            Some(since) => format!("{} is an old store, retired since {since}", old.name),
            None => format!("{} is an old store: what is written there is brought over", old.name),
        };
        findings.push(finding(Level::Ok, what, "", ""));
    }
    or_ok(findings, "no migration is under way, and nothing of one waits")
}

/// Milestones of old stores, named for people.
fn names(milestones: &[(Side, String)]) -> String {
    let names: Vec<String> = milestones.iter().map(|(side, id)| format!("{id} ({side})")).collect();
    harmless(&names.join(", "))
}
