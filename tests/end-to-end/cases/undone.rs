//! What was undone leaves nothing behind: a move that failed, an edit that was taken back.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use milescale_testkit::Workspace;

use super::super::faults::shim;
use super::super::workspace;

/// A workspace on SQLite whose files are an old store.
fn moved(ids: &[&str]) -> Workspace {
    let workspace = workspace();
    for id in ids {
        workspace.write(format!("active/{id}.yaml"), text(id, "base"));
    }
    done(&workspace, &["migrate", "database", "--yes"]);
    workspace
}

fn text(id: &str, title: &str) -> String {
    format!("id: {id}\ntitle: {title}\nstatus: active\n")
}

fn done(workspace: &Workspace, arguments: &[&str]) {
    let said = workspace.run(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
}

/// A command that the shim strikes; how it ended is for the caller.
fn struck(workspace: &Workspace, arguments: &[&str], variables: &[(&str, &str)]) -> Option<i32> {
    let mut command: Command = workspace.command(arguments);
    command.env("LD_PRELOAD", shim()).envs(variables.iter().copied());
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code()
}

fn sqlite(workspace: &Workspace, sql: &str) {
    workspace.sqlite("enterprise.db", sql);
}

/// Sweeps what was written just now.
fn swept(workspace: &Workspace) {
    done(workspace, &["import"]);
    done(workspace, &["check"]);
}

#[test]
fn what_a_move_has_brought_to_the_archive_goes_with_its_undo() {
    for strike in ["any:1:kill", "any:1:ENOSPC"] {
        let workspace = moved(&["x"]);
        let new = workspace.root().join("new.yaml");
        fs::write(&new, text("finished", "once")).unwrap();
        done(&workspace, &["milestone", "put", "finished", "new.yaml"]);
        done(&workspace, &["milestone", "archive", "finished"]);
        let variables = [("FAULT", strike), ("FAULT_PATH", ".milescale-switch-")];
        assert_ne!(struck(&workspace, &["migrate", "file", "--yes"], &variables), Some(0), "{strike}");
        done(&workspace, &["check"]);
        assert!(!workspace.path("completed/finished.yaml").exists(), "{strike}: it is archived in the database");
        // Another program takes it out of the archive.
        sqlite(&workspace, "UPDATE milestones SET data = json_set(data, '$.status', 'active') WHERE id = 'finished'");
        swept(&workspace);
        let listed = workspace.run(["milestone", "list", "--all"]).out;
        let lines: Vec<_> = listed.lines().filter(|line| line.starts_with("finished")).collect();
        assert!(lines.len() == 1 && lines[0].contains("active"), "{strike}: {listed}");
    }
}

#[test]
fn an_undo_that_dies_takes_no_file_of_another_program() {
    let workspace = moved(&["x", "y"]);
    done(&workspace, &["retire", "files", "--yes"]);
    let path = workspace.path("active/y.yaml");
    let meet = format!("printf 'id: y\\ntitle: theirs\\n' > '{}'; kill -9 $PPID; sleep 0.2", path.display());
    let variables = [("FAULT", "rename:1:meet"), ("FAULT_PATH", "/active/y.yaml"), ("FAULT_MEET", meet.as_str())];
    assert_eq!(struck(&workspace, &["migrate", "file", "--yes"], &variables), None);
    // Each undo dies behind a removal of what has no name yet, until that is gone.
    let incoming = workspace.path(".milescale/incoming");
    for _ in 0..9 {
        let variables = [("FAULT", "unlink:1:killafter"), ("FAULT_PATH", "/.milescale/incoming")];
        struck(&workspace, &["check"], &variables);
        if !incoming.exists() {
            break;
        }
    }
    assert!(!incoming.exists());
    done(&workspace, &["check"]);
    assert_eq!(fs::read_to_string(path).unwrap(), "id: y\ntitle: theirs\n");
}

#[test]
fn files_that_were_put_back_wait_for_nobody() {
    let ids = ["m1", "m2", "m3", "m4", "m5", "m6"];
    let workspace = moved(&ids);
    let each = |title: &str| {
        for id in ids {
            workspace.save(format!("active/{id}.yaml"), text(id, title));
        }
        std::thread::sleep(Duration::from_millis(2100));
        done(&workspace, &["check"]);
    };
    each("another");
    assert_eq!(workspace.status()["migration"]["held"], 6);
    each("base");
    assert_eq!(workspace.status()["migration"]["held"], 0);
    done(&workspace, &["retire", "files", "--yes"]);
}

#[test]
fn an_edit_that_was_taken_back_stands_against_no_move() {
    let workspace = moved(&["m1", "m2"]);
    for title in ["edited", "base"] {
        workspace.save("active/m2.yaml", text("m2", title));
        swept(&workspace);
    }
    assert_eq!(workspace.events_named("changes_reported").len(), 1);
    done(&workspace, &["migrate", "file", "--yes"]);
    assert_eq!(workspace.read("active/m2.yaml"), text("m2", "edited"), "what was brought over last is current");
    for title in ["in the database", "edited"] {
        sqlite(
            &workspace,
            &format!("UPDATE milestones SET data = json_set(data, '$.title', '{title}') WHERE id = 'm2'"),
        );
        swept(&workspace);
    }
    done(&workspace, &["migrate", "database", "--yes"]);
    assert!(workspace.run(["milestone", "show", "m2"]).out.contains("in the database"));
}

/// Whatever somebody has written into a new target of a move that died is named once: what was changed there, what came there, and
/// what lies in the archive since, which no undo touches.
#[test]
fn what_others_have_written_into_a_new_target_is_named() {
    let workspace = moved(&["x", "y", "z"]);
    done(&workspace, &["milestone", "archive", "z"]);
    done(&workspace, &["retire", "files", "--yes"]);
    workspace.write("completed/2020/y.yaml", text("y", "of another year"));
    let long_ago = SystemTime::now() - Duration::from_hours(24);
    fs::File::options()
        .append(true)
        .open(workspace.path("completed/2020/y.yaml"))
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    let variables = [("FAULT", "any:1:kill"), ("FAULT_PATH", ".milescale-switch-")];
    assert_eq!(struck(&workspace, &["migrate", "file", "--yes"], &variables), None);
    fs::remove_file(workspace.path("active/x.yaml")).unwrap();
    for (path, title) in [("completed/x.yaml", "moved"), ("completed/z.yaml", "archived"), ("active/n.yaml", "new")] {
        workspace.save(path, format!("title: {title}\n"));
    }
    workspace.save("active/y.yaml", "title: changed\n");
    for _ in 0..2 {
        done(&workspace, &["check"]);
        let kept: Vec<_> =
            workspace.events_named("write_conflict").iter().map(|it| it["details"]["id"].clone()).collect();
        assert_eq!(kept, ["x", "z", "y"]);
    }
    done(&workspace, &["import"]);
    assert!(workspace.run(["milestone", "show", "n"]).out.contains("new"), "a new file where files are retired");
    assert_eq!(workspace.read("completed/2020/y.yaml"), text("y", "of another year"));
    for (path, title) in [("completed/x.yaml", "moved"), ("completed/z.yaml", "archived"), ("active/n.yaml", "new")] {
        assert_eq!(workspace.read(path), format!("title: {title}\n"));
    }
    assert!(!workspace.path("active/y.yaml").exists(), "it was brought, and is kept");
}

/// The same of rows.
#[test]
fn a_row_that_came_into_a_new_target_is_named() {
    let workspace = workspace();
    workspace.write("active/x.yaml", text("x", "base"));
    let variables = [("FAULT", "any:1:kill"), ("FAULT_PATH", ".milescale-switch-")];
    assert_eq!(struck(&workspace, &["migrate", "database", "--yes"], &variables), None);
    let rows = ["'n'", "'no/id'", "NULL"].map(|id| format!("({id}, '{{\"title\": \"new\"}}')")).join(", ");
    sqlite(&workspace, &format!("INSERT INTO milestones(id, data) VALUES {rows}"));
    done(&workspace, &["check"]);
    let reported = workspace.events_named("changes_reported")[0]["details"].to_string();
    assert!(reported.contains("no/id") && reported.contains("what has no id"), "{reported}");
    let conflicts = workspace.events_named("write_conflict");
    assert_eq!(conflicts.iter().map(|it| it["details"]["id"].clone()).collect::<Vec<_>>(), ["n"]);
}
