//! Archived milestones on moves and on old sides.

use std::fs;

use milescale_testkit::{Workspace, until};

use super::super::super::faults::shim;
use super::super::super::milestones::{put, sqlite3};
use super::super::super::{BINARY, workspace};
use super::{done, files, listed, rename};

const TEXT: &str = "# of h1\nid: h1\ntitle: One   # kept\nstatus: active\n";

/// A workspace with `h1` and two others, moved to SQLite.
fn moved() -> Workspace {
    let workspace = workspace();
    assert_eq!(put(&workspace, &["h1"], TEXT).code, 0);
    for id in ["n1", "n2"] {
        assert_eq!(put(&workspace, &[id], &format!("id: {id}\nstatus: active\n")).code, 0);
    }
    done(&workspace, &["migrate", "database", "--yes"]);
    workspace
}

fn data(workspace: &Workspace, id: &str) -> String {
    sqlite3(workspace, "enterprise.db", &format!("SELECT data FROM milestones WHERE id = '{id}'"))
}

fn conflicts(workspace: &Workspace) -> Vec<serde_json::Value> {
    workspace.events_named("write_conflict")
}

#[test]
fn l20_a_file_moved_to_the_archive_on_the_old_side_stops_no_rollback() {
    for edit in ["", "completed_at: 2026-11-01\n"] {
        let workspace = moved();
        rename(&workspace, "active/h1.yaml", "completed/h1.yaml");
        workspace.write("completed/h1.yaml", format!("{TEXT}{edit}"));
        done(&workspace, &["import"]);
        assert!(data(&workspace, "h1").contains("archived"), "{edit:?}");
        assert!(done(&workspace, &["migrate", "file", "--dry-run"]).out.contains("nothing stands against"), "{edit:?}");
        done(&workspace, &["rollback", "--yes"]);
        assert_eq!(workspace.read("completed/h1.yaml"), format!("{TEXT}{edit}"), "it is the same milestone");
        assert_eq!((listed(&workspace, &["list"]), conflicts(&workspace)), (vec!["n1".into(), "n2".into()], vec![]));
        // Neither there nor on the way back anybody takes it for a change.
        done(&workspace, &["import"]);
        done(&workspace, &["migrate", "database", "--yes"]);
        done(&workspace, &["check"]);
        done(&workspace, &["milestone", "unarchive", "h1"]);
        assert!(data(&workspace, "h1").contains("\"active\"") && !workspace.path("completed/h1.yaml").exists());
        done(&workspace, &["import"]);
        assert!(data(&workspace, "h1").contains("\"active\""), "what came back stays");
        assert!(conflicts(&workspace).is_empty(), "{edit:?}");
    }
}

#[test]
fn l20_what_came_back_from_the_archive_is_not_archived_again() {
    let workspace = moved();
    rename(&workspace, "active/h1.yaml", "completed/h1.yaml");
    done(&workspace, &["import"]);
    done(&workspace, &["milestone", "unarchive", "h1"]);
    assert!(!workspace.path("completed/h1.yaml").exists(), "it is a row again");
    // Somebody has put the file back.
    workspace.write("completed/h1.yaml", TEXT);
    done(&workspace, &["import"]);
    assert_eq!(listed(&workspace, &["list"]), ["h1", "n1", "n2"]);
    assert!(conflicts(&workspace).is_empty());
}

#[test]
fn l21_an_active_row_and_an_archived_file_of_one_id_move_back_both() {
    let workspace = workspace();
    for id in ["h1", "n1"] {
        assert_eq!(put(&workspace, &[id], &TEXT.replace("h1", id)).code, 0);
    }
    done(&workspace, &["milestone", "archive", "h1"]);
    let archived = workspace.read("completed/h1.yaml");
    done(&workspace, &["migrate", "database", "--yes"]);
    assert_eq!(listed(&workspace, &["list", "--all"]), ["h1", "n1"], "the archive stays where it is");
    let refused = put(&workspace, &["h1"], "id: h1\ntitle: anew\n");
    assert!(refused.err.contains("milestone unarchive h1"), "{refused:?}");
    sqlite3(&workspace, "enterprise.db", "INSERT INTO milestones (id, data) VALUES ('h1', '{\"title\":\"anew\"}')");
    let plan = done(&workspace, &["migrate", "file", "--dry-run"]).out;
    assert!(plan.contains("nothing stands against"), "{plan}");
    done(&workspace, &["rollback", "--yes"]);
    assert!(workspace.read("active/h1.yaml").contains("anew"));
    assert_eq!(workspace.read("completed/h1.yaml"), archived);
    assert!(conflicts(&workspace).is_empty());
}

#[test]
fn l21_what_differs_from_the_archive_is_a_named_conflict_and_no_obstacle() {
    for to in ["file", "hybrid"] {
        let workspace = workspace();
        assert_eq!(put(&workspace, &["n1"], "id: n1\n").code, 0);
        workspace.write("completed/2024/h1.yaml", TEXT);
        done(&workspace, &["migrate", "database", "--yes"]);
        let other = r#"{"id":"h1","title":"Other","status":"archived"}"#;
        sqlite3(&workspace, "enterprise.db", &format!("INSERT INTO milestones (id, data) VALUES ('h1', '{other}')"));
        let plan = done(&workspace, &["migrate", to, "--dry-run"]).out;
        assert!(plan.contains("kept as a conflict") && plan.contains("h1"), "{plan}");
        done(&workspace, &["migrate", to, "--yes"]);
        let named = conflicts(&workspace);
        assert_eq!((named.len(), &named[0]["details"]["id"]), (1, &"h1".into()), "{named:?}");
        assert_eq!(files(&workspace.path("completed")), [("2024/h1.yaml".to_owned(), TEXT.to_owned())]);
        let kept = fs::read_to_string(workspace.root().join(named[0]["details"]["kept_as"].as_str().unwrap())).unwrap();
        assert!(kept.contains("Other") && kept.contains("archived"), "{kept}");
        done(&workspace, &["import"]);
        assert_eq!(conflicts(&workspace).len(), 1, "it is named once");
        let name = named[0]["details"]["kept_as"].as_str().unwrap().rsplit('/').next().unwrap();
        done(&workspace, &["conflicts", "resolve", name, "--take-kept"]);
        assert_eq!(files(&workspace.path("completed")), [("2024/h1.yaml".to_owned(), kept)], "where it lies");
    }
}

/// Its file was moved to the archive on the old side, with an edit or without, and the row was changed: moved back, the archive
/// holds what the store in use held, as `active/` would.
#[test]
fn l21_what_was_written_since_replaces_its_base_in_the_archive() {
    for (to, edit, conflicting) in [("file", "", 0), ("hybrid", "", 0), ("file", "of: the file\n", 1)] {
        let workspace = moved();
        let other = "UPDATE milestones SET data = json_set(data, '$.title', 'Other') WHERE id = 'h1'";
        sqlite3(&workspace, "enterprise.db", other);
        rename(&workspace, "active/h1.yaml", "completed/2024/h1.yaml");
        workspace.write("completed/2024/h1.yaml", format!("{TEXT}{edit}"));
        done(&workspace, &["import"]);
        assert_eq!(conflicts(&workspace).len(), conflicting, "{to} {edit:?}: {:?}", conflicts(&workspace));
        let plan = done(&workspace, &["migrate", to, "--dry-run"]).out;
        assert!(plan.contains("nothing stands against") && !plan.contains("kept as a conflict"), "{plan}");
        // What fails brings it there too, and nobody takes it for an edit.
        let mut failing = workspace.command(["migrate", to, "--yes"]);
        failing.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:EIO").env("FAULT_PATH", "storage-backend.txt");
        assert_eq!(failing.output().unwrap().status.code(), Some(1));
        done(&workspace, &["import"]);
        done(&workspace, &["migrate", to, "--yes"]);
        let archive = files(&workspace.path("completed"));
        assert_eq!((archive.len(), archive[0].0.as_str()), (1, "2024/h1.yaml"), "where it lies: {archive:?}");
        assert!(archive[0].1.contains("Other") && !archive[0].1.contains("of: the file"), "{archive:?}");
        assert!(!workspace.path("active/h1.yaml").exists());
        done(&workspace, &["import"]);
        assert_eq!(conflicts(&workspace).len(), conflicting, "{to} {edit:?}: {:?}", conflicts(&workspace));
        assert_eq!(workspace.events_named("changes_imported").len(), 1, "the archiving");
    }
}

#[test]
fn l21_an_archived_row_goes_to_the_archive_unless_its_old_file_stands() {
    let workspace = moved();
    done(&workspace, &["milestone", "archive", "n1"]);
    assert_eq!(put(&workspace, &["n3"], "id: n3\nstatus: archived\n").code, 0);
    let plan = done(&workspace, &["migrate", "file", "--dry-run", "--json"]).json();
    assert_eq!(plan["counted_again"], serde_json::json!(["n1"]), "{plan}");
    done(&workspace, &["rollback", "--yes"]);
    assert!(workspace.read("active/n1.yaml").contains("archived"));
    assert_eq!(workspace.read("completed/n3.yaml"), "id: n3\nstatus: archived\n");
    // Whoever archives it then moves it there.
    done(&workspace, &["milestone", "archive", "n1"]);
    assert!(workspace.path("completed/n1.yaml").exists() && !workspace.path("active/n1.yaml").exists());
    assert_eq!(listed(&workspace, &["list", "--all"]), ["h1", "n1", "n2", "n3"]);
}

#[test]
fn l23_a_file_moved_to_the_archive_in_any_layout_is_archived() {
    let workspace = moved();
    let daemon = workspace.daemon(["--interval", "600"]);
    rename(&workspace, "active/h1.yaml", "completed/h1/definition.yaml");
    rename(&workspace, "active/n1.yaml", "completed/n1/n1.yaml");
    rename(&workspace, "active/n2.yaml", "completed/some folder/definition.yaml");
    for id in ["h1", "n1", "n2"] {
        until("the archiving", || data(&workspace, id).contains("\"archived\"").then_some(()));
    }
    daemon.until("milestone_count", 0);
    assert!(workspace.events_named("changes_reported").is_empty());
    drop(daemon);
    done(&workspace, &["rollback", "--yes"]);
    assert!(conflicts(&workspace).is_empty());
    assert_eq!(listed(&workspace, &["list", "--all"]), ["h1", "n1", "n2"]);
}

#[test]
fn l23_a_file_moved_to_the_archive_with_an_edit_is_judged_by_it_and_archived() {
    let workspace = moved();
    rename(&workspace, "active/n1.yaml", "completed/n1.yaml");
    workspace.write("completed/n1.yaml", "id: n1\nstatus: completed\nlesson: learned\n");
    rename(&workspace, "active/n2.yaml", "completed/n2/definition.yaml");
    workspace.write("completed/n2/definition.yaml", "id: n2\nof: the file\n");
    sqlite3(&workspace, "enterprise.db", "UPDATE milestones SET data = '{\"of\":\"the row\"}' WHERE id = 'n2'");
    done(&workspace, &["import"]);
    let (one, two) = (data(&workspace, "n1"), data(&workspace, "n2"));
    assert!(one.contains("learned") && one.contains("\"archived\""), "{one}");
    assert!(two.contains("the row") && two.contains("\"archived\""), "{two}");
    let named = conflicts(&workspace);
    assert_eq!((named.len(), &named[0]["details"]["id"]), (1, &"n2".into()), "{named:?}");
    done(&workspace, &["import"]);
    assert_eq!(conflicts(&workspace).len(), 1);
}

/// The file of an archived milestone is edited where it lies, and after it was moved back and to the archive again.
#[test]
fn l23_an_edit_of_what_was_archived_before_is_brought_over() {
    let workspace = moved();
    for id in ["h1", "n1", "n2"] {
        rename(&workspace, &format!("active/{id}.yaml"), &format!("completed/{id}.yaml"));
    }
    done(&workspace, &["import"]);
    rename(&workspace, "completed/n1.yaml", "active/n1.yaml");
    done(&workspace, &["import"]);
    rename(&workspace, "active/n1.yaml", "completed/n1.yaml");
    sqlite3(
        &workspace,
        "enterprise.db",
        "UPDATE milestones SET data = json_set(data, '$.of', 'the row') WHERE id = 'n2'",
    );
    for id in ["h1", "n1", "n2"] {
        workspace.append(format!("completed/{id}.yaml"), "lesson: learned late\n");
    }
    done(&workspace, &["import"]);
    for id in ["h1", "n1"] {
        let data = data(&workspace, id);
        assert!(data.contains("learned late") && data.contains("\"archived\""), "{id}: {data}");
    }
    assert!(data(&workspace, "n2").contains("the row"));
    let named = conflicts(&workspace);
    assert_eq!((named.len(), &named[0]["details"]["id"]), (1, &"n2".into()), "{named:?}");
    // Once more, and nothing is brought or named another time.
    workspace.append("completed/h1.yaml", "more: true\n");
    done(&workspace, &["check"]);
    assert!(data(&workspace, "h1").contains("more"));
    let imported = workspace.events_named("changes_imported").len();
    done(&workspace, &["import"]);
    assert_eq!((conflicts(&workspace).len(), workspace.events_named("changes_imported").len()), (1, imported));
}

/// An older milestone of the same id lies in the archive while the files are left: what goes from `active/` was not moved there.
#[test]
fn l21_an_older_one_in_the_archive_replaces_no_row() {
    for way in ["retire", "files_after", "rm", "edited"] {
        let workspace = workspace();
        workspace.write("active/a.yaml", "id: a\ntitle: the newer one\n");
        workspace.write("completed/a.yaml", "id: a\ntitle: the older one\nstatus: archived\n");
        if way == "files_after" {
            workspace.write("config/storage-config.yaml", "storage: {migration: {files_after: retire}}\n");
        }
        done(&workspace, &["migrate", "database", "--yes"]);
        match way {
            "retire" => drop(done(&workspace, &["retire", "files", "--yes"])),
            "files_after" => {}
            _ => fs::remove_file(workspace.path("active/a.yaml")).unwrap(),
        }
        if way == "edited" {
            workspace.append("completed/a.yaml", "more: true\n");
        }
        for _ in 0..2 {
            done(&workspace, &["check"]);
            done(&workspace, &["import"]);
            let data = data(&workspace, "a");
            assert!(data.contains("newer") && !data.contains("archived"), "{way}: {data}");
        }
        let named = conflicts(&workspace);
        assert_eq!(named.len(), usize::from(way == "edited"), "{way}: {named:?}");
    }
}

/// While the daemon runs, which looks at the archive of an old store too.
#[test]
fn l23_a_daemon_sees_an_edit_in_the_archive() {
    let workspace = moved();
    let daemon = workspace.daemon(["--interval", "1"]);
    rename(&workspace, "active/h1.yaml", "completed/h1/definition.yaml");
    until("the archiving", || data(&workspace, "h1").contains("\"archived\"").then_some(()));
    workspace.append("completed/h1/definition.yaml", "lesson: learned late\n");
    until("the edit", || {
        let data = data(&workspace, "h1");
        (data.contains("learned late") && data.contains("\"archived\"")).then_some(())
    });
    // Taken out of the archive in the store in use, it is not archived again by a later edit.
    done(&workspace, &["milestone", "unarchive", "h1"]);
    workspace.append("completed/h1/definition.yaml", "id: h1\n");
    drop(daemon);
    for _ in 0..2 {
        done(&workspace, &["import"]);
        assert!(!data(&workspace, "h1").contains("\"archived\""));
    }
}

#[test]
fn l23_a_row_archived_on_the_old_side_is_archived_in_the_files() {
    let workspace = moved();
    done(&workspace, &["migrate", "hybrid", "--yes"]);
    workspace.write("completed/n2.yaml", "id: n2\nanother: true\n");
    let archive = "UPDATE milestones SET data = json_set(data, '$.status', 'archived') WHERE id IN ('n1', 'n2')";
    sqlite3(&workspace, "enterprise.db", archive);
    done(&workspace, &["import"]);
    assert!(workspace.read("completed/n1.yaml").contains("archived") && !workspace.path("active/n1.yaml").exists());
    assert_eq!(sqlite3(&workspace, "index.db", "SELECT id FROM milestones ORDER BY id"), "h1\nn2");
    // Another one lies there: it stays in its place.
    assert!(workspace.read("active/n2.yaml").contains("archived"));
    assert_eq!(workspace.read("completed/n2.yaml"), "id: n2\nanother: true\n");
    // And back again.
    sqlite3(&workspace, "enterprise.db", &archive.replace("'archived'", "'resumed'"));
    done(&workspace, &["import"]);
    assert!(workspace.read("active/n1.yaml").contains("resumed") && !workspace.path("completed/n1.yaml").exists());
    assert!(conflicts(&workspace).is_empty());
}

#[test]
fn l22_an_archived_milestone_stops_no_adoption_of_a_marker() {
    let workspace = moved();
    assert_eq!(put(&workspace, &["n3"], "id: n3\nstatus: archived\n").code, 0);
    rename(&workspace, "active/h1.yaml", "completed/h1.yaml");
    done(&workspace, &["import"]);
    workspace.write("completed/n3.yaml", "id: n3\nstatus: completed\n");
    done(&workspace, &["check"]);
    workspace.write("config/storage-backend.txt", "file\n");
    until("the adoption", || {
        done(&workspace, &["check"]);
        (workspace.status()["current_backend"] == "file").then_some(())
    });
    assert_eq!(listed(&workspace, &["list", "--all"]), ["h1", "n1", "n2", "n3"]);
}

/// The archive holds the same milestone with comments of its own, and the move fails once everything was brought.
#[test]
fn l06_an_undo_leaves_the_archive_as_it_was() {
    for to in ["file", "hybrid"] {
        let workspace = Workspace::empty(BINARY);
        workspace.write("config/storage-backend.txt", "database\n");
        sqlite3(
            &workspace,
            "enterprise.db",
            "CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT);
             INSERT INTO milestones (id, data) VALUES ('x', '{\"id\":\"x\",\"status\":\"archived\"}'),
             ('y', '{\"id\":\"y\",\"status\":\"archived\"}'), ('z', '{\"id\":\"z\"}')",
        );
        workspace.write("completed/x.yaml", "# comments\nid: x\nstatus: archived   # long ago\n");
        workspace.write("completed/z/definition.yaml", "id: z\n");
        done(&workspace, &["init"]);
        let before = files(&workspace.path("completed"));
        let mut command = workspace.command(["migrate", to, "--yes"]);
        command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:EIO").env("FAULT_PATH", "storage-backend.txt");
        let failed = command.output().unwrap();
        assert_eq!(failed.status.code(), Some(1), "{to}: {failed:?}");
        assert_eq!(workspace.events_named("migration_rolled_back").len(), 1, "{to}: {failed:?}");
        assert_eq!(files(&workspace.path("completed")), before, "{to}");
        assert_eq!(files(&workspace.path("active")), [], "{to}");
        done(&workspace, &["migrate", to, "--yes"]);
        assert_eq!(workspace.read("completed/x.yaml"), before[0].1, "{to}");
        assert!(workspace.path("completed/y.yaml").exists() && workspace.path("active/z.yaml").exists(), "{to}");
        assert!(conflicts(&workspace).is_empty(), "{to}");
    }
}
