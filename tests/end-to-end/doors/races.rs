//! Names that somebody exchanges as fast as he can, beside every verb, a migration and a sweep.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Outside, Watched, bounded, door};
use crate::workspace;

/// How long each race lasts.
fn lasts() -> Duration {
    Duration::from_secs(if std::env::var_os("MILESCALE_LONG").is_some() { 60 } else { 2 })
}

const VERBS: &[&[&str]] = &[
    &["milestone", "show", "canary"],
    &["milestone", "list"],
    &["milestone", "put", "canary"],
    &["milestone", "search", "CANARY"],
    &["milestone", "export"],
    &["check"],
    &["migrate", "hybrid", "--yes"],
    &["milestone", "archive", "canary"],
    &["milestone", "unarchive", "canary"],
    &["migrate", "database", "--yes"],
    &["check"],
    &["migrate", "file", "--yes"],
];

/// Exchanges two names until it is told to stop. How often.
fn exchange(one: &Path, other: &Path, stop: &AtomicBool, count: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        if renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs verbs beside such exchanges and a daemon. How many of either, and how often something outside was touched.
fn race(place: &str, prepare: impl Fn(&Path, &Path)) -> (u64, u64, usize) {
    let (workspace, outside) = (workspace(), Outside::new());
    workspace.milestones("m", 20);
    let inside = workspace.path(place);
    let beside = workspace.path("beside");
    prepare(&inside, &beside);
    symlink(outside.path("folder"), &beside).unwrap();
    let before = outside.print();
    let watched = Watched::new(&[outside.path(""), outside.path("folder")]);
    let mut daemon = workspace.daemon_at_once(["--interval", "1"]);
    let (stop, exchanged, began, mut runs) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now(), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| exchange(&inside, &beside, &stop, &exchanged));
        while began.elapsed() < lasts() {
            for arguments in VERBS {
                let said = bounded(&workspace, arguments);
                assert!(!said.out.contains("CANARY of"), "{place}, {arguments:?}: {said:?}");
                runs += 1;
            }
            if !daemon.runs() {
                daemon = workspace.daemon_at_once(["--interval", "1"]);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(daemon);
    let touched = watched.events();
    assert_eq!(outside.print(), before, "{place}: nothing outside has changed");
    (runs, exchanged.load(Ordering::Relaxed), touched)
}

#[test]
fn d06_d07_a_folder_that_is_exchanged_for_a_link_leads_nowhere() {
    let (mut all, mut exchanges) = (0, 0);
    for place in ["active/sub", "active", ".milescale", "config", "logs", "completed", "locks", "backups"] {
        let (runs, exchanged, touched) = race(place, |inside, _| {
            fs::create_dir_all(inside).unwrap();
            if place == "active/sub" {
                fs::write(inside.join("canary.yaml"), "title: of ours\n").unwrap();
            }
        });
        println!("{place}: {runs} commands beside {exchanged} exchanges, {touched} touches outside");
        (all, exchanges) = (all + runs, exchanges + exchanged);
        assert_eq!(touched, 0, "{place}");
        assert!(exchanged > 100, "{place}: {exchanged}");
    }
    door(
        "D4, D6, D7",
        "a folder and a link to a folder outside exchanged without a pause, eight folders, beside verbs, moves and a daemon",
        format!("{all} commands beside {exchanges} exchanges: 0 opens, reads and writes outside (inotify)"),
    );
}

/// SQLite opens by name. What that leaves is told, and what is written there is never a milestone's loss.
#[test]
fn a_database_that_is_exchanged_for_a_link_is_written_only_within_the_window_that_is_told() {
    let (workspace, outside) = (workspace(), Outside::new());
    workspace.milestones("m", 5);
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    fs::copy(workspace.path("enterprise.db"), outside.path("folder/enterprise.db")).unwrap();
    let beside = workspace.path("beside");
    symlink(outside.path("folder/enterprise.db"), &beside).unwrap();
    let watched = Watched::new(&[outside.path("folder")]);
    let (stop, exchanged, began, mut runs) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now(), 0_u64);
    let inside = workspace.path("enterprise.db");
    std::thread::scope(|scope| {
        scope.spawn(|| exchange(&inside, &beside, &stop, &exchanged));
        while began.elapsed() < lasts() {
            for arguments in
                [&["milestone", "list"][..], &["milestone", "put", "m-0"], &["milestone", "show", "m-1"], &["check"]]
            {
                bounded(&workspace, arguments);
                runs += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!(
        "enterprise.db: {runs} commands beside {} exchanges, {} events on the file outside in the window of SQLite's opening",
        exchanged.load(Ordering::Relaxed),
        watched.events()
    );
    door(
        "D5 (window)",
        "a database exchanged with a link to one outside without a pause",
        format!(
            "{} events on the file outside; {runs} commands, {} exchanges",
            watched.events(),
            exchanged.load(Ordering::Relaxed)
        ),
    );
}
