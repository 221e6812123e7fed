//! Workspaces that vanish, move, fill up or cannot be written.

use std::fs;
use std::process::Command;

use milescale_testkit::{Workspace, until};

use super::{BINARY, workspace};

const NEVER: [&str; 2] = ["--interval", "86400"];

#[test]
fn removed_and_made_again_as_a_checkout_does() {
    let workspace = workspace();
    workspace.milestones("m", 5);
    let daemon = workspace.daemon(NEVER);
    daemon.until("milestone_count", 5);
    let away = workspace.root().join("away");
    for _ in 0..3 {
        fs::rename(workspace.path(""), &away).unwrap();
        daemon.until_logged("source_unavailable");
        assert!(!workspace.path("").exists(), "what is gone is not made anew");
        let status = workspace.run(["--workspace", ".", "status"]);
        assert!(status.code == 2 && status.err.contains("there is no folder .milestones here"), "{status:?}");
        fs::rename(&away, workspace.path("")).unwrap();
        daemon.until("stale", false);
    }
    fs::remove_dir_all(workspace.path("")).unwrap();
    fs::create_dir_all(workspace.path("active")).unwrap();
    workspace.milestones("n", 2);
    daemon.until("milestone_count", 2);
    // The lock went with the folder: it is held again, so that no second daemon starts.
    until("the lock", || (workspace.daemon_at_once(NEVER).ended().0 == 1).then_some(()));
    workspace.until_event("source_recovered", 1);
    workspace.write("active/new/o.yaml", "id: o");
    daemon.until("milestone_count", 3);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn active_gone_is_stale_and_comes_back() {
    let workspace = workspace();
    workspace.milestones("m", 5);
    let daemon = workspace.daemon(NEVER);
    daemon.until("milestone_count", 5);
    fs::rename(workspace.path("active"), workspace.path("elsewhere")).unwrap();
    let event = workspace.until_event("source_unavailable", 1);
    assert_eq!(event["details"]["source"], ".milestones/active");
    daemon.until("stale", true);
    assert_eq!(daemon.published()["milestone_count"], 5);
    assert_eq!(daemon.stop().0, 0);
    let daemon = workspace.daemon(NEVER);
    assert_eq!(daemon.published()["milestone_count"], 5, "remembered across restarts");
    assert_eq!(workspace.events_named("source_unavailable").len(), 1, "said once");
    fs::rename(workspace.path("elsewhere"), workspace.path("active")).unwrap();
    workspace.until_event("source_recovered", 1);
    daemon.until("stale", false);
    workspace.write("active/more.yaml", "id: more");
    daemon.until("milestone_count", 6);
}

#[test]
fn a_moved_workspace_is_missed_until_it_is_back() {
    let above = tempfile::tempdir().unwrap();
    let (here, there) = (above.path().join("here"), above.path().join("there"));
    fs::create_dir(&here).unwrap();
    let workspace = Workspace::at(&here, BINARY);
    workspace.run(["init"]);
    workspace.milestones("m", 2);
    let daemon = workspace.daemon(["--interval", "1"]);
    daemon.until("milestone_count", 2);
    fs::rename(&here, &there).unwrap();
    daemon.until_logged("source_unavailable");
    assert!(!here.exists());
    fs::rename(&there, &here).unwrap();
    workspace.write("active/back.yaml", "id: back");
    daemon.until("milestone_count", 3);
    workspace.until_event("source_recovered", 1);
}

/// A small file system in memory, gone with the test.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).status();
        assert!(status.unwrap().success());
        Self(folder)
    }

    fn remount(&self, how: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(self.0.path()).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_said_once_and_nothing_that_was_said_is_lost_needs_root() {
    let disk = Mounted::new("512k");
    let workspace = Workspace::at(disk.0.path(), BINARY);
    workspace.run(["init"]);
    workspace.milestones("m", 3);
    let daemon = workspace.daemon(["--interval", "0.1"]);
    let filler = workspace.root().join("filler");
    let _ = fs::write(&filler, vec![0; 1 << 20]);
    // A page that is not full yet takes some more lines.
    daemon.until_logged("cannot be written");
    daemon.until_logged("logs/scale-events.jsonl");
    let lines = |text: &str| daemon.log().lines().filter(|line| line.contains(text)).count();
    let cycles = lines("cycle verdict");
    until("five more cycles", || (lines("cycle verdict") > cycles + 5).then_some(()));
    let said = lines("cannot be written; milescale goes on and tries again file=\"logs/scale-events.jsonl\"");
    assert!(said <= 2, "once for half a line, once for none: {}", daemon.log());
    let whole = || {
        let text = workspace.read("logs/scale-events.jsonl");
        text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count()
    };
    let written = whole();
    fs::remove_file(&filler).unwrap();
    daemon.until_logged("can be written again");
    // Those that waited come first, then new ones.
    until("what waited", || (whole() > written + 6).then_some(()));
    let torn = workspace
        .read("logs/scale-events.jsonl")
        .lines()
        .filter(|line| serde_json::from_str::<serde_json::Value>(line).is_err())
        .count();
    assert!(torn <= 1, "at most the half line that the full disk left, ended before the next: {torn}");
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn a_read_only_workspace_is_watched_all_the_same_needs_root() {
    let disk = Mounted::new("4m");
    let workspace = Workspace::at(disk.0.path(), BINARY);
    workspace.run(["init"]);
    workspace.milestones("m", 3);
    let daemon = workspace.daemon(["--interval", "0.5"]);
    daemon.until("milestone_count", 3);
    disk.remount("ro");
    daemon.until_logged("Read-only file system");
    let status = workspace.status();
    assert_eq!(status["milestone_count"], 3);
    assert_eq!(workspace.run(["doctor"]).code, 1);
    assert_eq!(workspace.run(["init"]).code, 0, "nothing is missing, so nothing is written");
    disk.remount("rw");
    daemon.until_logged("can be written again");
    workspace.write("active/more.yaml", "id: more");
    daemon.until("milestone_count", 4);
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn a_start_on_a_read_only_disk_watches_and_says_what_it_cannot_needs_root() {
    let disk = Mounted::new("4m");
    let workspace = Workspace::at(disk.0.path(), BINARY);
    workspace.run(["init"]);
    disk.remount("ro");
    let daemon = workspace.daemon_at_once(["--interval", "0.5"]);
    daemon.until_logged("Read-only file system");
    daemon.until_logged("cycle verdict=optimal");
    let (code, log) = workspace.daemon_at_once(NEVER).ended();
    assert!(code == 1 && log.contains("another milescale"), "{log}");
    disk.remount("rw");
    daemon.until_logged("can be written again");
    assert_eq!(daemon.stop().0, 0);
}
