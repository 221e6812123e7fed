//! A milestone that was archived on one side and is in use on the other stands in one place, and only what was changed counts.

use milescale_testkit::Workspace;

use super::super::super::milestones::put;
use super::super::super::workspace;
use super::{done, listed};

/// A workspace with `m1` and two others, moved to SQLite.
fn moved() -> Workspace {
    let workspace = workspace();
    for id in ["m1", "n1", "n2"] {
        assert_eq!(put(&workspace, &[id], &format!("id: {id}\ntitle: first\nstatus: active\n")).code, 0);
    }
    done(&workspace, &["migrate", "database", "--yes"]);
    workspace
}

fn conflicts(workspace: &Workspace) -> usize {
    workspace.events_named("write_conflict").len()
}

#[test]
fn l22_unarchive_changes_the_status_of_a_file_that_was_archived_in_its_place() {
    for (to, more, status) in [("file", &[][..], "active"), ("hybrid", &["--status", "planned"], "planned")] {
        let workspace = moved();
        done(&workspace, &["milestone", "archive", "m1"]);
        done(&workspace, &["migrate", to, "--yes"]);
        assert!(workspace.read("active/m1.yaml").contains("archived"), "its old file stays in its place");
        let stale = ["milestone", "unarchive", "m1", "--if-match", &"0".repeat(64)];
        assert!(workspace.run(stale).err.contains("changed meanwhile"), "{to}");
        let said = done(&workspace, &[&["milestone", "unarchive", "m1"], more].concat());
        assert!(!said.out.contains("not archived"), "{to}: {said:?}");
        assert_eq!(workspace.read("active/m1.yaml"), format!("id: m1\ntitle: first\nstatus: {status}\n"), "{to}");
        let said = done(&workspace, &["milestone", "unarchive", "m1", "--status", "paused"]);
        assert!(said.out.contains("not archived"), "{to}: twice is done twice: {said:?}");
        done(&workspace, &["migrate", "database", "--yes"]);
        assert_eq!(listed(&workspace, &["list"]), ["m1", "n1", "n2"], "{to}");
        assert_eq!(conflicts(&workspace), 0, "{to}");
    }
}
