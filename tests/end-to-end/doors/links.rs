//! Each kind of link, and of what else is no regular file, in each place, under each command: a matrix that is generated.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use milescale_testkit::{Workspace, seed_of_commit, takes};

use super::{Outside, Watched, bounded, copy_of, door, is_root};
use crate::workspace;

/// Folders of a workspace.
const FOLDERS: &[&str] = &[
    "active",
    "completed",
    "config",
    "logs",
    "locks",
    "backups",
    ".milescale",
    ".milescale/displaced",
    ".milescale/conflicts",
    ".milescale/retired",
    ".milescale/incoming",
    "active/sub",
    "completed/2026",
];

/// Files of a workspace.
const FILES: &[&str] = &[
    "config/storage-backend.txt",
    "config/storage-config.yaml",
    "config/migration-notification.yaml",
    "config/migration-notification.previous.yaml",
    "logs/storage-events.jsonl",
    "logs/performance-metrics.jsonl",
    "logs/scale-events.jsonl",
    "logs/scale-events.jsonl.1",
    "index.db",
    "index.db-journal",
    "index.db-wal",
    "enterprise.db",
    "enterprise.db-journal",
    "enterprise.db-wal",
    "active/MOVED-TO-A-DATABASE.txt",
    "active/m-0.yaml",
    "active/linked.yaml",
    "completed/m-9.yaml",
    "locks/m-0.lock",
    ".milescale/.gitignore",
    ".milescale/last-ids.json",
    ".milescale/facts",
    ".milescale/displaced-looked.json",
    ".milescale/days.json",
    ".milescale/daemon.lock",
    ".milescale/identity",
    ".milescale/tokens",
    ".milescale/tokens.lock",
    ".milescale/migration.lock",
    ".milescale/switch.lock",
    ".milescale/switch.gate",
    ".milescale/migration.json",
    ".milescale/switches",
    ".milescale/dirty.jsonl",
    ".milescale/move-journal.jsonl",
    ".milescale/archived-before.json",
    ".milescale/trying",
    ".milescale/importing.json",
    ".milescale/held.json",
    ".milescale/sweeps.json",
    ".milescale/paused.json",
    ".milescale/base.db",
    ".milescale/retired-looked.json",
    ".milescale/postgresql.json",
    ".milescale/restore.json",
    ".milescale/modes.json",
    ".milescale/write.lock",
    ".milescale/resolving.lock",
    ".milescale/state.json",
    ".milescale/status.json",
    ".milescale/last-good-config.yaml",
];

/// Every command that reads or writes a workspace.
const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["doctor"],
    &["milestone", "list"],
    &["milestone", "show", "m-0"],
    &["milestone", "show", "linked"],
    &["milestone", "search", "CANARY"],
    &["milestone", "export"],
    &["milestone", "put", "m-new"],
    &["milestone", "archive", "m-0"],
    &["milestone", "unarchive", "m-9"],
    &["check"],
    &["init"],
    &["dashboard"],
    &["events"],
    &["config", "show"],
    &["config", "check"],
    &["backups", "list"],
    &["conflicts"],
    &["import"],
    &["pause"],
    &["resume"],
    &["migrate", "hybrid", "--yes"],
    &["migrate", "database", "--yes"],
    &["doctor", "--fix", "--yes"],
    &["migrate", "file", "--yes"],
    &["backups", "prune", "--yes"],
    &["rollback", "--yes"],
    &["retire", "files", "--yes"],
    &["check"],
];

/// What is put in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A symlink to what stood there, moved outside: if it were followed, all would go on as before.
    ToTheSame,
    ToAFile,
    ToAFolder,
    ToNothing,
    Fifo,
    Socket,
    /// That reads without end.
    Device,
}

const KINDS: [Kind; 7] =
    [Kind::ToTheSame, Kind::ToAFile, Kind::ToAFolder, Kind::ToNothing, Kind::Fifo, Kind::Socket, Kind::Device];

fn remove(path: &Path) {
    if path.symlink_metadata().is_ok_and(|it| it.is_dir()) {
        fs::remove_dir_all(path).unwrap();
    } else {
        let _ = fs::remove_file(path);
    }
}

/// Puts it there. What has to be kept as long as it is there.
fn put(kind: Kind, path: &Path, outside: &Outside) -> Option<UnixListener> {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let same = outside.path("same");
    if kind == Kind::ToTheSame && path.exists() {
        // Between two file systems no rename moves it.
        let moved = Command::new("cp").arg("-a").arg(path).arg(&same).status().unwrap();
        assert!(moved.success());
    }
    remove(path);
    let run = |program: &str, arguments: &[&str]| {
        assert!(Command::new(program).arg(path).args(arguments).status().unwrap().success(), "{program}");
    };
    match kind {
        Kind::ToTheSame => symlink(same, path).unwrap(),
        Kind::ToAFile => symlink(outside.path("canary.yaml"), path).unwrap(),
        Kind::ToAFolder => symlink(outside.path("folder"), path).unwrap(),
        Kind::ToNothing => symlink(outside.path("nothing"), path).unwrap(),
        Kind::Fifo => run("mkfifo", &[]),
        Kind::Device => run("mknod", &["c", "1", "5"]),
        // A name of a socket is short.
        Kind::Socket => {
            let bound = outside.path("s");
            let listener = UnixListener::bind(&bound).unwrap();
            fs::rename(&bound, path).or_else(|_| fs::copy("/dev/null", path).map(drop)).unwrap();
            return Some(listener);
        }
    }
    None
}

/// A workspace that has moved to a database and back, so that nearly everything is there that can be.
fn with_a_history(in_use: &str) -> Workspace {
    let workspace = workspace();
    workspace.milestones("m", 3);
    workspace.write("completed/m-9.yaml", "id: m-9\nstatus: archived\n");
    workspace.write("active/sub/deep.yaml", "id: deep\n");
    for arguments in [&["migrate", "hybrid", "--yes"][..], &["migrate", "database", "--yes"], &["check"]] {
        assert_eq!(workspace.run(arguments).code, 0, "{arguments:?}");
    }
    if in_use == "file" {
        assert_eq!(workspace.run(["migrate", "file", "--yes"]).code, 0);
        assert_eq!(workspace.run(["check"]).code, 0);
    }
    workspace
}

/// Every so many of the matrix, all in the long form.
fn one_in() -> usize {
    if std::env::var_os("MILESCALE_LONG").is_some() { 1 } else { 40 }
}

#[test]
fn d03_d05_d15_nothing_outside_is_reached_by_any_kind_of_link_in_any_place_by_any_command() {
    let (mut point, mut tried, mut runs) = (seed_of_commit(), 0, 0);
    for in_use in ["file", "database"] {
        let template = with_a_history(in_use);
        for place in FOLDERS.iter().chain(FILES) {
            for kind in KINDS {
                point += 1;
                if !takes(point, one_in()) || kind == Kind::Device && !is_root() {
                    continue;
                }
                tried += 1;
                runs += COMMANDS.len();
                one(&template, in_use, place, kind);
            }
        }
    }
    println!("links and other kinds: {tried} in their places, {runs} commands, 0 bytes outside");
    assert!(tried > 8);
    door(
        "D3, D5, D15",
        "links to a file, a folder, nothing, to what was there; FIFO, device, socket: each in place of each file and folder, each verb",
        format!("{tried} places, {runs} commands; 0 opens, reads and writes outside (inotify); none waits"),
    );
}

/// All folders outside.
fn folders_of(outside: &Outside) -> Vec<PathBuf> {
    let found = Command::new("find").arg(outside.path("")).args(["-type", "d"]).output().unwrap();
    String::from_utf8_lossy(&found.stdout).lines().map(PathBuf::from).collect()
}

fn one(template: &Workspace, in_use: &str, place: &str, kind: Kind) {
    let (workspace, outside) = (copy_of(template), Outside::new());
    let path = workspace.path(place);
    let _kept = put(kind, &path, &outside);
    println!("{kind:?} in {place}, {in_use} in use");
    let before = outside.print();
    let watched = Watched::new(&folders_of(&outside));
    for arguments in COMMANDS {
        let began = std::time::Instant::now();
        let said = bounded(&workspace, arguments);
        assert!(began.elapsed().as_secs() < 10, "{kind:?} in {place}, {in_use} in use, {arguments:?}");
        let what = format!("{kind:?} in {place}, {in_use} in use, {arguments:?}: {said:?}");
        assert_eq!(watched.events(), 0, "{what}");
        assert!(!said.out.contains("CANARY of") && !said.err.contains("CANARY of"), "{what}");
    }
    assert_eq!(outside.print(), before, "{kind:?} in {place}, {in_use} in use");
    // Once it is gone, and what was moved is back, milestones are read and written as before.
    remove(&path);
    if kind == Kind::ToTheSame && outside.path("same").exists() {
        assert!(Command::new("cp").arg("-a").arg(outside.path("same")).arg(&path).status().unwrap().success());
    }
}

#[test]
fn what_is_linked_is_named_with_the_command_that_lets_it_be_and_that_command_does() {
    for place in ["logs", "backups", "locks", "completed", "config/storage-config.yaml", "index.db"] {
        let (workspace, outside) = (copy_of(&with_a_history("file")), Outside::new());
        put(Kind::ToTheSame, &workspace.path(place), &outside);
        let said = bounded(&workspace, &["doctor"]);
        let named = format!("--link {place}");
        assert!(said.out.contains(&named), "{place}: {said:?}");
        assert_eq!(bounded(&workspace, &["trust", "--link", place]).code, 0);
        let said = bounded(&workspace, &["doctor"]);
        assert!(!said.out.contains(&named), "{place}: {said:?}");
        for arguments in [&["check"][..], &["milestone", "put", "m-0"], &["migrate", "hybrid", "--yes"]] {
            let said = bounded(&workspace, arguments);
            assert!(!said.err.contains("symlink"), "{place}, {arguments:?}: {said:?}");
        }
        assert!(workspace.path(place).is_symlink(), "{place}: the link stays one");
        let said = bounded(&workspace, &["trust", "--link", place, "--remove"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(bounded(&workspace, &["doctor"]).out.contains(&named), "{place}");
    }
    door("D5", "a link is named with the command that trusts it, which does; the link stays", "6 places");
}

#[test]
fn what_a_link_stands_in_the_way_of_is_said_before_anything_is_done() {
    let elsewhere = tempfile::tempdir().unwrap();
    let linked = |workspace: &Workspace, name: &str, target: &Path| {
        let path = workspace.path(name);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        symlink(target, path).unwrap();
    };
    for (name, to) in [("completed", "database"), ("backups", "database"), (".milescale/displaced", "file")] {
        for target in [elsewhere.path(), Path::new("/nonexistent")] {
            let workspace = workspace();
            workspace.milestones("m", 2);
            if to == "file" {
                assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
            }
            linked(&workspace, name, target);
            let said = workspace.run(["migrate", to, "--dry-run"]);
            assert!(said.code == 1 && said.out.contains(&format!("{name} is a symlink to")), "{name}: {said:?}");
        }
    }
    // Somebody who keeps the locks elsewhere is asked, and not passed by.
    let workspace = workspace();
    fs::create_dir(elsewhere.path().join("m.lock")).unwrap();
    linked(&workspace, "locks", elsewhere.path());
    workspace.write("put.yaml", "title: put\n");
    let put = || workspace.run(["milestone", "put", "m", ".milestones/put.yaml"]);
    let said = put();
    assert!(said.code == 1 && said.err.contains("milescale trust") && said.err.contains("--link locks"), "{said:?}");
    assert_eq!(workspace.run(["trust", "--link", "locks"]).code, 0);
    let said = put();
    assert!(said.code == 1 && said.err.contains("is writing this milestone"), "{said:?}");
    fs::remove_dir(elsewhere.path().join("m.lock")).unwrap();
    assert_eq!(put().code, 0);
    // What is remembered may lie elsewhere: it stays where it is until that is known.
    linked(&workspace, ".milescale/state.json", &elsewhere.path().join("state.json"));
    for _ in 0..2 {
        let said = workspace.run(["check"]);
        assert!(said.code == 1 && said.err.contains("--link .milescale/state.json"), "{said:?}");
    }
}

#[test]
fn a_workspace_that_is_a_link_itself_is_refused_until_it_is_trusted() {
    let (inside, outer) = (workspace(), tempfile::tempdir().unwrap());
    symlink(inside.path(""), outer.path().join(".milestones")).unwrap();
    let through = Workspace::within(outer, crate::BINARY);
    let said = bounded(&through, &["status"]);
    assert!(said.code == 1 && said.err.contains("--link .milestones"), "{said:?}");
    assert_eq!(bounded(&through, &["trust", "--link", ".milestones"]).code, 0);
    assert_eq!(bounded(&through, &["status"]).code, 0);
    let other = workspace();
    fs::remove_file(through.root().join(".milestones")).unwrap();
    symlink(other.path(""), through.root().join(".milestones")).unwrap();
    assert_eq!(bounded(&through, &["status"]).code, 1, "it leads elsewhere by now");
}

#[test]
fn a_trusted_link_leads_through_no_other_one_of_the_workspaces_folder() {
    let outside = Outside::new();
    for (name, kept) in [("logs", "applogs"), ("active", "plans"), ("config/storage-config.yaml", "conf/c.yaml")] {
        let workspace = workspace();
        workspace.milestones("m", 2);
        let (place, kept) = (workspace.path(name), workspace.root().join(kept));
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::rename(&place, &kept).unwrap();
        let up = "../".repeat(name.split('/').count());
        symlink(format!("{up}{}", kept.strip_prefix(workspace.root()).unwrap().display()), &place).unwrap();
        assert_eq!(bounded(&workspace, &["trust", "--link", name]).code, 0);
        let said = bounded(&workspace, &["check"]);
        assert!(said.code == 0 && !said.err.contains("symlink"), "{name}: {said:?}");
        // Whoever prepares the workspace turns a folder on the way, or what is at its end, into a link.
        let turned = if name.contains('/') { kept.parent().unwrap() } else { &*kept };
        fs::rename(turned, workspace.root().join("before")).unwrap();
        fs::write(outside.path("c.yaml"), "storage: {}\n").unwrap();
        symlink(outside.path(""), turned).unwrap();
        let before = outside.print();
        for arguments in [
            &["check"][..],
            &["milestone", "list"],
            &["milestone", "put", "m-9"],
            &["migrate", "database", "--yes"],
            &["rollback", "--yes"],
            &["doctor"],
        ] {
            let said = bounded(&workspace, arguments);
            assert!(!format!("{}{}", said.out, said.err).contains("CANARY"), "{name}, {arguments:?}: {said:?}");
            assert_eq!(outside.print(), before, "{name}, {arguments:?}");
        }
        let said = bounded(&workspace, &["doctor"]).out;
        assert!(said.contains("is one too, which is not followed"), "{name}: {said}");
    }
    door("D5", "trusted links whose way leads through the workspace's folder, where a link is put", "0 followed");
}
