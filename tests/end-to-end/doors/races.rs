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

/// Ends the exchanges when it goes.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a round again and again beside such exchanges, for as long as a race lasts. How many commands ran, and how many exchanges.
fn beside_exchanges(one: &Path, other: &Path, mut round: impl FnMut() -> u64) -> (u64, u64) {
    let (stop, exchanged, began, mut runs) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now(), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| exchange(one, other, &stop, &exchanged));
        // Also where the round fails: a scope waits for its threads.
        let _ends = Ends(&stop);
        while began.elapsed() < lasts() {
            runs += round();
        }
    });
    (runs, exchanged.load(Ordering::Relaxed))
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
    // It runs before names are exchanged: one that cannot take its lock at the start does not begin.
    let mut daemon = workspace.daemon(["--interval", "1"]);
    let (runs, exchanges) = beside_exchanges(&inside, &beside, || {
        for arguments in VERBS {
            let said = bounded(&workspace, arguments);
            assert!(!said.out.contains("CANARY of"), "{place}, {arguments:?}: {said:?}");
        }
        assert!(daemon.runs(), "{place}: the daemon goes on, whatever names somebody exchanges: {:?}", daemon.log());
        VERBS.len() as u64
    });
    drop(daemon);
    let touched = watched.events();
    assert_eq!(outside.print(), before, "{place}: nothing outside has changed");
    (runs, exchanges, touched)
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

#[test]
fn a_database_that_is_exchanged_for_a_link_is_never_another_one() {
    let (workspace, outside) = (workspace(), Outside::new());
    workspace.milestones("m", 5);
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    fs::copy(workspace.path("enterprise.db"), outside.path("folder/enterprise.db")).unwrap();
    let beside = workspace.path("beside");
    symlink(outside.path("folder/enterprise.db"), &beside).unwrap();
    let watched = Watched::new(&[outside.path("folder")]);
    let verbs = [&["milestone", "list"][..], &["milestone", "put", "m-0"], &["milestone", "show", "m-1"], &["check"]];
    let (runs, exchanges) = beside_exchanges(&workspace.path("enterprise.db"), &beside, || {
        for arguments in verbs {
            bounded(&workspace, arguments);
        }
        verbs.len() as u64
    });
    let touched = watched.events();
    assert_eq!(touched, 0, "{runs} commands beside {exchanges} exchanges");
    door(
        "D5, D7",
        "a database exchanged with a link to one outside without a pause",
        format!("{runs} commands beside {exchanges} exchanges: 0 opens, reads and writes outside"),
    );
}

/// SQLite makes and removes a journal beside the database, long after it has opened that.
#[test]
fn a_folder_that_is_exchanged_while_a_transaction_lasts_keeps_its_journal() {
    let (workspace, outside) = (workspace(), Outside::new());
    workspace.milestones("m", 3);
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    let slow = "CREATE TRIGGER slow AFTER INSERT ON milestones BEGIN SELECT (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 \
                FROM c WHERE n < 9000000) SELECT count(*) FROM c); END";
    workspace.sqlite("enterprise.db", slow);
    let theirs = outside.path("folder");
    fs::copy(workspace.path("enterprise.db"), theirs.join("enterprise.db")).unwrap();
    fs::write(theirs.join("enterprise.db-journal"), "somebody else's").unwrap();
    let before = outside.print();
    let link = workspace.root().join("link");
    symlink(&theirs, &link).unwrap();
    let put = std::thread::scope(|scope| {
        let put = scope.spawn(|| bounded(&workspace, &["milestone", "put", "m-9"]));
        milescale_testkit::until("the journal", || workspace.path("enterprise.db-journal").exists().then_some(()));
        renameat_with(CWD, workspace.path(""), CWD, &link, RenameFlags::EXCHANGE).unwrap();
        put.join().unwrap()
    });
    assert_eq!(outside.print(), before, "{put:?}");
    renameat_with(CWD, workspace.root().join(".milestones"), CWD, &link, RenameFlags::EXCHANGE).unwrap();
    assert!(!workspace.path("enterprise.db-journal").exists(), "{put:?}");
    door(
        "D6, D7",
        "`.milestones` exchanged with a link to another workspace while a transaction lasts",
        "its journal stays whole",
    );
}

/// A folder that keeps others out is exchanged with one that lets them in, while what is in it is copied, moved and replaced: whose a copy
/// is, is told by where its original lies.
#[test]
fn d8_a_private_folder_that_is_exchanged_keeps_its_files_private() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = workspace();
    let (secret, open) = (workspace.path("active/secret"), workspace.path("active/zz"));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (folder, bits) in [(&secret, 0o700), (&open, 0o777)] {
        fs::create_dir(folder).unwrap();
        mode(folder, bits);
    }
    mode(&workspace.path(""), 0o755);
    // Whatever has the name: what is written lies in the private one.
    let opened = fs::File::open(&secret).unwrap();
    let private = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened));
    let fill = |round: u64| {
        for number in 0..4 {
            let path = Path::new(&private).join(format!("s{round}-{number}.yaml"));
            let _ = fs::write(&path, format!("title: SECRET {round}\nstatus: active\n"));
            let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o644));
        }
    };
    let (mut round, mut found, mut copies) = (0, Vec::new(), 0);
    let (runs, exchanges) = beside_exchanges(&secret, &open, || {
        round += 1;
        fill(round);
        let first = format!("s{round}-0");
        let mut ran = 0;
        for arguments in [
            &["milestone", "archive", &first][..],
            &["milestone", "put", &format!("s{round}-1")],
            &["migrate", "hybrid", "--yes"],
            &["migrate", "file", "--yes"],
            &["check"],
        ] {
            bounded(&workspace, arguments);
            ran += 1;
        }
        copies += readable_by_others(&workspace.path(""), &[&secret, &open], &mut found);
        ran
    });
    assert!(found.is_empty(), "{found:?}");
    door(
        "D8",
        "a private folder exchanged with an open one without a pause, beside archive, put, moves and backups",
        format!("{runs} commands beside {exchanges} exchanges, {copies} copies: 0 that others may read"),
    );
}

/// How many files outside of these folders hold a secret, and those of them that others may read.
fn readable_by_others(folder: &Path, but: &[&Path], found: &mut Vec<String>) -> u64 {
    use std::os::unix::fs::PermissionsExt;
    let mut count = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            count += if but.contains(&&*path) { 0 } else { readable_by_others(&path, but, found) };
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(6).any(|it| it == b"SECRET")) {
            count += 1;
            if metadata.permissions().mode() & 0o044 != 0 {
                found.push(format!("{} {:o}", path.display(), metadata.permissions().mode()));
            }
        }
    }
    count
}
