//! The checks of `doctor`. Each looks at one thing and says something about it, also when all is well.

use std::path::Path;

use milescale_core::backend::InUse;
use milescale_daemon::Gone;
use milescale_daemon::status::Status;
use milescale_document::text::harmless;
use milescale_document::timestamp;
use milescale_migration::network_file_system;
use milescale_storage::files::{self, Odd};
use milescale_storage::hybrid;
use milescale_workspace::folder::{Kind, system};
use milescale_workspace::read::CANNOT_BE_READ;
use milescale_workspace::switch;
use milescale_workspace::{Place, Workspace};

use super::super::status::Daemon;
use super::{Finding, Level, backups, moves, places, stores};

pub(super) fn all(
    workspace: &Workspace,
    status: &Status,
    daemon: &Daemon,
    in_use: Option<InUse>,
    gone: Option<&Gone>,
) -> Vec<Finding> {
    [
        stores::sources(status, gone),
        milestones(status),
        odd_names(workspace),
        store(status),
        config(status),
        moves::all(status),
        stores::marker(workspace, status),
        logs(status),
        own(workspace, status),
        backups::all(workspace),
        file_system(workspace),
        places::links(workspace),
        places::all(workspace, in_use),
        watch_limits(workspace),
        vec![running(status, daemon)],
    ]
    .concat()
}

pub(super) fn finding(
    level: Level,
    what: impl Into<String>,
    means: impl Into<String>,
    do_this: impl Into<String>,
) -> Finding {
    Finding { level, what: what.into(), means: means.into(), do_this: do_this.into() }
}

pub(super) fn ok(what: impl Into<String>) -> Vec<Finding> {
    vec![finding(Level::Ok, what, "", "")]
}

/// The findings, or one that says that all is well.
pub(super) fn or_ok(findings: Vec<Finding>, what: &str) -> Vec<Finding> {
    if findings.is_empty() { ok(what) } else { findings }
}

fn milestones(status: &Status) -> Vec<Finding> {
    let milestones = &status.milestones;
    let mut findings: Vec<Finding> = milestones
        .first_unparsable
        .iter()
        .map(|it| {
            finding(
                Level::Wrong,
                format!("{}: {}", it.path, it.flaw),
                "It counts as a milestone and adds nothing to the other figures.",
                "Mend the file in an editor, or let whom it belongs to do that; nothing of it was changed.",
            )
        })
        .collect();
    let more = milestones.unparsable.saturating_sub(findings.len() as u64);
    if more > 0 {
        findings.push(finding(Level::Wrong, format!("{more} more milestones cannot be parsed"), "", ""));
    }
    findings.extend(milestones.duplicate_ids.iter().map(|(id, paths)| {
        finding(
            Level::Wrong,
            format!("the id {id} stands twice: {}", paths.join(", ")),
            "A milestone's id is its file's name, so these are one milestone twice; no migration starts.",
            "Rename all but one, or remove them.",
        )
    }));
    findings.extend(milestones.other_ids.iter().map(|(path, name, id)| {
        finding(
            Level::Note,
            format!("{path}: its id: says {id}"),
            format!("Its id is {name}, the file's name."),
            "Rename the file or change its id: if programs are to find it under both.",
        )
    }));
    or_ok(findings, "every milestone can be parsed, and each id stands once")
}

fn store(status: &Status) -> Vec<Finding> {
    let Some(improvement) = status.store_improvement else { return Vec::new() };
    vec![finding(
        Level::Note,
        format!("{}: the table lacks {improvement}", status.store),
        "The figures are right, and computed from every row each time.",
        "`milescale doctor --fix` adds them; the table is written anew, and other programs wait meanwhile.",
    )]
}

/// Odd names that are named one by one.
const ODD: usize = 20;

/// Files in `active/` whose names look meant.
fn odd_names(workspace: &Workspace) -> Vec<Finding> {
    let found = files::odd_names(workspace);
    let named = |odd: &Odd| {
        finding(
            Level::Note,
            format!("{}: {}", odd.place, odd.why),
            "Milestones are the regular files in active/ whose names end in .yaml, and a name is an id.",
            "Rename it or put the file itself there, if it is to be one.",
        )
    };
    let mut findings: Vec<Finding> = found.iter().take(ODD).map(named).collect();
    if found.len() > ODD {
        findings.push(finding(Level::Note, format!("and {} more such names", found.len() - ODD), "", ""));
    }
    findings
}

fn config(status: &Status) -> Vec<Finding> {
    let config = &status.config;
    let problems = config.problems.iter().map(|problem| {
        finding(
            Level::Wrong,
            format!("{}: {problem}", config.file),
            "The file is not in force; the last good configuration is, and nothing migrates after a restart.",
            "Mend it; `milescale config check` tells when it is right.",
        )
    });
    let warnings = config.warnings.iter().map(|warning| {
        finding(
            Level::Note,
            format!("{}: {warning}", config.file),
            "It changes nothing.",
            "Remove it, or write it as the nearest key.",
        )
    });
    let mut findings: Vec<Finding> = problems.chain(warnings).collect();
    if let Some(pinned) = status.pinned
        && pinned.as_str() != status.current_backend
    {
        findings.push(finding(
            Level::Note,
            format!("storage.backend pins {pinned}, and {} is in use", status.current_backend),
            "A pin moves nothing by itself.",
            "Set storage.backend to auto or to the backend in use.",
        ));
    }
    or_ok(findings, "the configuration is valid")
}

fn logs(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(stamp) = &status.log_stamp_ahead {
        findings.push(finding(
            Level::Note,
            format!("logs/storage-events.jsonl has stamps that lie ahead, up to {stamp}"),
            "Their users count until an hour and a day after that.",
            "Set the clock of the machine that writes them.",
        ));
    }
    if status.log_lines_cut > 0 {
        findings.push(finding(
            Level::Note,
            format!("{} lines of logs/storage-events.jsonl were cut by a loss of power", status.log_lines_cut),
            "The disk has NULs in their place; they take no place in any figure.",
            "Nothing: `milescale check` or the daemon replaces the NULs by blanks.",
        ));
    }
    let unreadable = status.log_lines_unreadable - status.log_lines_cut;
    if unreadable > 0 {
        findings.push(finding(
            Level::Note,
            format!("{unreadable} lines of logs/storage-events.jsonl are no JSON objects"),
            "They take no place in any figure.",
            "`milescale events --event log_lines_unreadable` tells which; see to the adapter that writes them.",
        ));
    }
    if status.log_stamps_unreadable > 0 {
        let last = status.log_last_unreadable_stamp.as_deref();
        let shown = last.map_or_else(|| "none".to_owned(), |stamp| format!("\"{}\"", harmless(stamp)));
        let count = status.log_stamps_unreadable;
        findings.push(finding(
            Level::Note,
            format!("{count} events of logs/storage-events.jsonl have no readable timestamp; the last has {shown}"),
            "Their users count neither as concurrent users nor for the team; their durations count.",
            "Let the adapter write RFC 3339, such as \"2026-11-28T04:05:06Z\"; without a zone it is UTC.",
        ));
    }
    or_ok(findings, "the log of storage events is in order")
}

fn own(workspace: &Workspace, status: &Status) -> Vec<Finding> {
    let mut findings: Vec<Finding> = status
        .output_problems
        .iter()
        .map(|problem| {
            let (means, do_this) = if problem.contains(CANNOT_BE_READ) {
                ("What milescale keeps by it stays as it is.", "Do what the line says.")
            } else if problem.contains("--fix identity") || problem.contains("never written to") {
                ("Nothing is written there until that is decided.", "Do what the line says.")
            } else {
                (
                    "What milescale has to say waits in its memory and in its log.",
                    "Make room on the disk, or give milescale's user the right to write there.",
                )
            };
            finding(Level::Wrong, problem.clone(), means, do_this)
        })
        .collect();
    findings.extend(set_aside(workspace));
    for (path, folder) in [(workspace.folder(), ".milestones"), (workspace.logs(), "logs")] {
        if path.access(rustix::fs::Access::WRITE_OK).is_err() {
            findings.push(finding(
                Level::Wrong,
                format!("{folder} cannot be written by this user"),
                "Nothing can be said or remembered there.",
                "Run milescale as the user who owns it, or make the file system writable.",
            ));
        }
    }
    findings.extend(workspace.own().closed_folders().into_iter().map(|(folder, reason, step)| {
        let means = "What is to be kept there cannot be: writes are refused, and moves.";
        finding(Level::Wrong, format!("{}: {reason}", workspace.shown(&folder)), means, format!("To mend it: {step}."))
    }));
    or_ok(findings, "milescale can write its own folders")
}

/// How the names of indexes begin that were set aside, with why they were.
const INDEXES: [(&str, &str); 2] = [
    (hybrid::SET_ASIDE, "the index was no database and was set aside"),
    (
        hybrid::BEFORE,
        "the index of before was set aside: not all could read it who may read the milestones, or its writer could not write it",
    ),
];

/// Files that milescale could not use, and keeps for a person.
fn set_aside(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for entry in workspace.own().entries_or_none() {
        let (name, shown) = (entry.name.to_string_lossy(), workspace.shown(&workspace.own().join(&entry.name)));
        if name.starts_with("state.unreadable-") {
            findings.push(finding(
                Level::Wrong,
                format!("{shown}: milescale's memory could not be read and was set aside"),
                "Announcements may have been repeated; figures that could not be read since then have no last value.",
                "Look at the file if you like, then remove it.",
            ));
        } else if let Some((_, why)) = INDEXES.iter().find(|(begin, _)| name.starts_with(begin)) {
            findings.push(finding(
                Level::Note,
                format!("{shown}: {why}"),
                "It was built anew from the files; nothing is lost.",
                "Look at the file if you like, then remove it.",
            ));
        } else if name.starts_with(switch::CAME_OUT) {
            findings.push(finding(
                Level::Wrong,
                format!("{shown}: a configuration that somebody saved during a migration is not in force"),
                "It came out of the switch of a migration that died, or a program that had it open wrote into it afterwards; the one in use \
                 says something else.",
                "Compare it with config/storage-config.yaml, take over what you want, then remove it.",
            ));
        }
    }
    findings
}

fn file_system(workspace: &Workspace) -> Vec<Finding> {
    network_file_system(&workspace.folder()).map_or_else(
        || ok("the workspace lies on a local file system"),
        |name| {
            vec![finding(
                Level::Wrong,
                format!("the workspace lies on {name}, a network file system"),
                "Changes made on other machines are not seen at once, and no promise of milescale holds there.",
                "Keep the workspace on a local disk of the machine where milescale runs.",
            )]
        },
    )
}

fn watch_limits(workspace: &Workspace) -> Vec<Finding> {
    let read = |name: &str| -> Option<u64> {
        system::text(Path::new("/proc/sys/fs/inotify").join(name)).ok()?.trim().parse().ok()
    };
    let Some(limit) = read("max_user_watches") else { return Vec::new() };
    let needed = folders_below(&workspace.active()) + 4;
    if needed * 2 > limit {
        return vec![finding(
            Level::Wrong,
            format!("{needed} folders are to be watched, and fs.inotify.max_user_watches is {limit} for all programs"),
            "Where the limit is reached, milescale finds changes by looking, which costs more.",
            "Raise it: sysctl fs.inotify.max_user_watches=524288",
        )];
    }
    ok(format!("{needed} folders are to be watched, well below the limit of {limit}"))
}

fn folders_below(folder: &Place) -> u64 {
    let mut count = 0;
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        count += 1;
        let entries = folder.entries_or_none().into_iter();
        folders.extend(entries.filter(|it| it.kind == Kind::Folder).map(|it| folder.join(it.name)));
    }
    count
}

fn running(status: &Status, daemon: &Daemon) -> Finding {
    if !daemon.status.running {
        return finding(
            Level::Note,
            "no daemon looks after this workspace",
            "Nothing is measured or said until one does, or until `milescale check` is run.",
            "Start `milescale run`, best as a service (see the manual).",
        );
    }
    let pid = daemon.status.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    let now = timestamp::from_text(&status.looked_at);
    let last = daemon.status.last_cycle.as_deref().and_then(timestamp::from_text);
    let (Some(now), Some(last), Some(interval)) = (now, last, daemon.status.interval) else {
        return finding(Level::Note, format!("the daemon{pid} runs and has not finished its first cycle"), "", "");
    };
    #[allow(clippy::cast_precision_loss, reason = "seconds of a life")]
    let silent = timestamp::seconds_between(last, now) as f64;
    if silent > interval * 2.0 + 60.0 {
        return finding(
            Level::Wrong,
            format!("the daemon{pid} runs, but its last cycle was {silent} s ago, with an interval of {interval} s"),
            "It hangs, perhaps in a file system that does not answer.",
            "Look at its log; restart it.",
        );
    }
    if let Some(why) = &daemon.status.not_watching {
        return finding(Level::Wrong, why.clone(), "", "Raise the limit; milescale notices by itself.");
    }
    finding(Level::Ok, format!("the daemon{pid} runs"), "", "")
}
