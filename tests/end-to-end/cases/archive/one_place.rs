//! A milestone that was archived on one side and is in use on the other stands in one place, and only what was changed counts.

use milescale_testkit::Workspace;

use super::super::super::milestones::{put, sqlite3};
use super::super::super::workspace;
use super::{done, files, listed, rename};

/// A workspace with `m1` and two others, moved to SQLite.
fn moved() -> Workspace {
    let workspace = workspace();
    for id in ["m1", "n1", "n2"] {
        assert_eq!(put(&workspace, &[id], &format!("id: {id}\ntitle: first\nstatus: active\n")).code, 0);
    }
    done(&workspace, &["migrate", "database", "--yes"]);
    workspace
}

/// Writes a value into the row of `m1`, as an adapter does.
fn set(workspace: &Workspace, key: &str, value: &str) {
    let update = format!("UPDATE milestones SET data = json_set(data, '$.{key}', '{value}') WHERE id = 'm1'");
    sqlite3(workspace, "enterprise.db", &update);
}

/// Where `m1` stands among the files.
fn places(workspace: &Workspace) -> Vec<String> {
    let of = |folder: &str| files(&workspace.path(folder)).into_iter().map(move |(name, _)| name);
    let active = of("active").map(|name| format!("active/{name}"));
    let all = active.chain(of("completed").map(|name| format!("completed/{name}")));
    all.filter(|name| name.ends_with("/m1.yaml")).collect()
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

/// The file is edited and goes to the archive, and the row is changed: what was kept of it is taken.
#[test]
fn l21_what_is_taken_of_a_conflict_leaves_no_file_in_the_archive() {
    let workspace = moved();
    set(&workspace, "title", "of the row");
    rename(&workspace, "active/m1.yaml", "completed/m1.yaml");
    workspace.write("completed/m1.yaml", "id: m1\ntitle: of the file\nstatus: active\n");
    done(&workspace, &["import"]);
    let list = done(&workspace, &["conflicts", "list", "--json"]).json();
    done(&workspace, &["conflicts", "resolve", list[0]["name"].as_str().unwrap(), "--take-kept"]);
    assert!(places(&workspace).is_empty(), "it is a row again");
    assert_eq!(listed(&workspace, &["list", "--all"]), ["m1", "n1", "n2"]);
    done(&workspace, &["check"]);
    done(&workspace, &["rollback", "--yes"]);
    assert_eq!(places(&workspace), ["active/m1.yaml"]);
    assert!(workspace.read("active/m1.yaml").contains("of the file"));
    done(&workspace, &["milestone", "archive", "m1"]);
    assert_eq!(places(&workspace), ["completed/m1.yaml"]);
}
