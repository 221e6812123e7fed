//! Writes that fail and processes that die in them, by a shim under the C library (tests/faults/shim.c).

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

use milescale_testkit::{Workspace, takes};

use super::recommendation::recommended;
use super::{BINARY, repository};

/// The shim, compiled once a process.
pub(super) fn shim() -> PathBuf {
    compiled("shim.so", &fs::read_to_string(repository().join("tests/faults/shim.c")).unwrap())
}

/// A library to be loaded before others, compiled once a process.
pub(super) fn compiled(name: &str, source: &str) -> PathBuf {
    static FOLDER: OnceLock<Mutex<tempfile::TempDir>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| Mutex::new(tempfile::tempdir().unwrap())).lock().unwrap();
    let library = folder.path().join(name);
    if !library.exists() {
        let path = library.with_extension("c");
        fs::write(&path, source).unwrap();
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(path).arg("-ldl").status();
        assert!(compiled.unwrap().success());
    }
    library
}

/// The same workspace with a fault to come.
pub(super) fn with_fault(root: &std::path::Path, fault: &str) -> Workspace {
    let mut workspace = Workspace::at(root, BINARY);
    let shim = shim().to_str().unwrap().to_owned();
    workspace.environment = vec![
        ("LD_PRELOAD".to_owned(), shim),
        ("FAULT".to_owned(), fault.to_owned()),
        ("FAULT_PATH".to_owned(), "/.milestones/".to_owned()),
    ];
    workspace
}

/// Runs a command that a fault ends.
pub(super) fn dies(workspace: &Workspace, arguments: &[&str], fault: &str, path: &str) {
    let mut command = workspace.command(arguments);
    command.env("LD_PRELOAD", shim()).env("FAULT", fault).env("FAULT_PATH", path);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), None, "{arguments:?} {fault} at {path}: it did not die");
}

/// The operations of a `check` that writes a line of each kind, the notification and the memory; one a line, as the shim
/// names them.
fn operations() -> Vec<String> {
    let workspace = recommended();
    let mut counting = with_fault(workspace.root(), "any:0:count");
    let log = workspace.root().join("operations");
    counting.environment.push(("FAULT_LOG".to_owned(), log.to_str().unwrap().to_owned()));
    assert_eq!(counting.run(["check"]).code, 0);
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_must_last_is_synced_before_its_rename_and_its_folder_after() {
    let operations = operations();
    for name in ["state.json", "migration-notification.yaml"] {
        let rename = operations
            .iter()
            .position(|line| line.contains("rename") && line.contains(name))
            .unwrap_or_else(|| panic!("{name} is renamed into place: {operations:#?}"));
        let kinds: Vec<&str> = operations[rename - 3..=rename + 1].iter().map(|line| kind(line)).collect();
        assert_eq!(kinds, ["create", "write", "fsync", "rename", "fsync"], "{name}: {operations:#?}");
    }
}

#[test]
fn a_line_is_one_write() {
    let operations = operations();
    for (log, lines) in [("scale-events.jsonl", 2), ("performance-metrics.jsonl", 1)] {
        let writes = operations.iter().filter(|line| kind(line) == "write" && line.contains(log)).count();
        assert_eq!(writes, lines, "{log}: {operations:#?}");
    }
}

fn kind(line: &str) -> &'static str {
    ["create", "write", "fsync", "rename", "unlink"].into_iter().find(|kind| line.contains(kind)).unwrap_or("other")
}

#[test]
fn dying_at_any_write_leaves_a_workspace_that_goes_on() {
    let count = operations().len();
    assert!(count > 10, "{count} operations");
    for what in ["kill", "killafter", "torn"] {
        for number in (1..=count).filter(|number| takes(*number, 3)) {
            let workspace = recommended();
            let died = with_fault(workspace.root(), &format!("any:{number}:{what}")).run(["check"]);
            let said = workspace.run(["check"]);
            assert_eq!(said.code, 0, "{what} {number}: {died:?} {said:?}");
            assert!(said.out.contains("recommended: file → hybrid"), "{what} {number}: {said:?}");
            assert!(workspace.read("config/migration-notification.yaml").ends_with("rollback_available: true\n"));
            let text = workspace.read("logs/scale-events.jsonl");
            let torn = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_err()).count();
            assert!(torn <= usize::from(what == "torn"), "{what} {number}: {text}");
            assert!(text.contains("migration_recommended"), "{what} {number}: said at least once: {text}");
            assert!(!text.contains("state_unreadable"), "{what} {number}: {text}");
            let left: Vec<_> =
                fs::read_dir(workspace.path("config")).unwrap().map(|it| it.unwrap().file_name()).collect();
            assert_eq!(left.len(), 3, "{what} {number}: what a crash left is removed: {left:?}");
        }
    }
}

#[test]
fn a_failed_sync_is_no_success_and_leaves_the_old_file() {
    let workspace = recommended();
    workspace.run(["check"]);
    let before = workspace.read(".milescale/state.json");
    fs::remove_file(workspace.path("active/m-1.yaml")).unwrap();
    let failed = with_fault(workspace.root(), "fsync:1:EIO+").run(["check"]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.err.contains("cannot be written: Input/output error"), "{failed:?}");
    assert_eq!(workspace.read(".milescale/state.json"), before);
    assert_eq!(workspace.run(["check"]).code, 0);
    assert_ne!(workspace.read(".milescale/state.json"), before);
}

#[test]
fn dying_in_init_at_any_write_leaves_one_that_can_be_repeated() {
    for number in 1..100 {
        let workspace = Workspace::empty(BINARY);
        let died = with_fault(workspace.root(), &format!("any:{number}:kill")).run(["init"]);
        assert_eq!(workspace.run(["init"]).code, 0, "{number}");
        assert_eq!(workspace.read("config/storage-backend.txt"), "file\n");
        assert_eq!(workspace.run(["config", "check"]).code, 0, "{number}");
        assert!(!workspace.events_named("scale_detection_initialized").is_empty());
        if died.code == 0 {
            assert!(number > 10, "{number} operations");
            return;
        }
    }
    panic!("init has more operations than thought");
}

const OLD: &str = "# old\nid: a\nn: 1\n";
const NEW: &str = "# new\nid: a\nn: 2\n";

/// A workspace on a backend with one milestone, and the digest of its text.
fn with_milestone(marker: &str) -> (Workspace, String) {
    let workspace = Workspace::empty(BINARY);
    workspace.write("config/storage-backend.txt", marker);
    if marker == "database" {
        let table = "CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)";
        workspace.sqlite("enterprise.db", table);
    }
    assert_eq!(workspace.run(["init"]).code, 0);
    fs::write(workspace.root().join("old.yaml"), OLD).unwrap();
    fs::write(workspace.root().join("new.yaml"), NEW).unwrap();
    assert_eq!(workspace.run(["milestone", "put", "a", "old.yaml"]).code, 0);
    let digest = workspace.run(["milestone", "show", "a", "--digest"]).out.trim().to_owned();
    (workspace, digest)
}

/// Wherever a `put` dies, the old or the new text is there, whole; what it replaced is kept; and it can be repeated.
#[test]
fn dying_in_put_at_any_write_loses_nothing() {
    for marker in ["file", "hybrid", "database"] {
        for what in ["kill", "killafter"] {
            for number in (1..200).filter(|number| takes(*number, 3)) {
                let (workspace, digest) = with_milestone(marker);
                let put = ["milestone", "put", "a", "new.yaml", "--if-match", &digest];
                let died = with_fault(workspace.root(), &format!("any:{number}:{what}")).run(put);
                let shown = workspace.run(["milestone", "show", "a"]).out;
                assert!(shown == OLD || shown == NEW, "{marker} {what} {number}: {shown:?} {died:?}");
                assert!(died.code != 0 || shown == NEW, "{marker} {what} {number}: done is done");
                if shown == NEW && marker != "database" {
                    let kept = fs::read_dir(workspace.path(".milescale/displaced")).unwrap();
                    let kept: Vec<_> = kept.map(|it| fs::read_to_string(it.unwrap().path()).unwrap()).collect();
                    assert!(kept.iter().any(|text| text == OLD), "{marker} {what} {number}: {kept:?}");
                }
                // A lock that the dead left behind is respected for ten minutes only; people remove it.
                let _ = fs::remove_dir_all(workspace.path("locks/a.lock"));
                let digest = workspace.run(["milestone", "show", "a", "--digest"]).out.trim().to_owned();
                let again = workspace.run(["milestone", "put", "a", "old.yaml", "--if-match", &digest]);
                assert_eq!(again.code, 0, "{marker} {what} {number}: {again:?}");
                if died.code == 0 {
                    assert!(number > 8, "{marker}: {number} operations");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_put_whose_syncs_fail_is_no_success() {
    for marker in ["file", "database"] {
        let (workspace, digest) = with_milestone(marker);
        let put = ["milestone", "put", "a", "new.yaml", "--if-match", &digest];
        let failed = with_fault(workspace.root(), "fsync:1:EIO+").run(put);
        assert_eq!(failed.code, 1, "{marker}: {failed:?}");
        assert_eq!(workspace.run(["milestone", "show", "a"]).out, OLD, "{marker}");
        assert_eq!(workspace.run(put).code, 0, "{marker}");
    }
}

#[test]
fn both_contents_are_synced_before_they_are_exchanged_and_both_folders_after() {
    let (workspace, digest) = with_milestone("file");
    let mut counting = with_fault(workspace.root(), "any:0:count");
    let log = workspace.root().join("operations");
    counting.environment.push(("FAULT_LOG".to_owned(), log.to_str().unwrap().to_owned()));
    assert_eq!(counting.run(["milestone", "put", "a", "new.yaml", "--if-match", &digest]).code, 0);
    let log = fs::read_to_string(log).unwrap();
    let operations: Vec<&str> = log.lines().filter(|line| !line.contains(" mode ")).collect();
    let exchange = operations.iter().position(|line| line.contains("rename") && line.contains("active/a.yaml"));
    let exchange = exchange.unwrap_or_else(|| panic!("{operations:#?}"));
    let kinds: Vec<&str> = operations[exchange - 5..=exchange + 2].iter().map(|line| kind(line)).collect();
    let expected = ["write", "fsync", "rename", "fsync", "fsync", "rename", "fsync", "fsync"];
    assert_eq!(kinds, expected, "{operations:#?}");
}
