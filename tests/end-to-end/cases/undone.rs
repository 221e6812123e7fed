//! What was undone leaves nothing behind: a move that failed, an edit that was taken back.

use std::fs;
use std::process::{Command, Stdio};

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
    let mut command = Command::new("sqlite3");
    command.args(["-cmd", ".timeout 5000"]).arg(workspace.path("enterprise.db")).arg(sql);
    assert!(command.stdout(Stdio::null()).status().unwrap().success(), "{sql}");
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
        std::thread::sleep(std::time::Duration::from_millis(2100));
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
