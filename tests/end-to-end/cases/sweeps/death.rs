//! What was done is told, also where the process dies.

use std::process::Command;
use std::time::{Duration, Instant};

use milescale_testkit::{Workspace, until};

use super::{check, edit, files_in, migrate, moved, sql, told};

/// Runs `check` under `strace`, which kills it as it begins its `n`-th write to the log of events.
fn killed_at_line(workspace: &Workspace, n: usize) {
    let log = workspace.path("logs/scale-events.jsonl");
    let check = workspace.command(["check"]);
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=write", "-P"]).arg(&log);
    traced.args(["-e", &format!("inject=write:error=EIO:signal=KILL:when={n}")]);
    traced.arg(check.get_program()).args(check.get_args()).current_dir(workspace.root());
    assert!(!traced.output().unwrap().status.success());
}

#[test]
fn p09_what_a_death_leaves_unsaid_is_said_by_the_next() {
    let each = |line: usize| {
        let workspace = moved(5);
        sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"of the row\"}' WHERE id = 'm-0'");
        edit(&workspace, [0], "of the file");
        edit(&workspace, [1], "edited");
        std::fs::remove_file(workspace.path("active/m-2.yaml")).unwrap();
        killed_at_line(&workspace, line);
        check(&workspace);
        let named = |event: &str, id: &str| told(&workspace, event).iter().any(|told| told == id);
        assert!(named("write_conflict", "m-0"), "killed at line {line}");
        assert!(named("changes_imported", "m-1"), "killed at line {line}");
        assert!(named("changes_reported", "m-2"), "killed at line {line}");
    };
    // The conflict, what was imported, what was reported.
    std::thread::scope(|scope| {
        for line in 1..=3 {
            scope.spawn(move || each(line));
        }
    });
}

/// Conflicts that take a while.
const COUNT: usize = 400;

/// So many rows of an old store in conflict with the files in use.
fn in_conflict(count: usize) -> Workspace {
    let workspace = moved(count);
    migrate(&workspace, "file");
    for number in 0..count {
        workspace.write(format!("active/m-{number}.yaml"), format!("title: of the file {number}\n"));
    }
    sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"of the row\"}'");
    workspace
}

#[test]
fn l33_a_stop_is_heard_among_many_conflicts_and_none_is_lost() {
    let workspace = in_conflict(COUNT);
    let daemon = workspace.daemon_at_once(["--interval", "600"]);
    workspace.until_event("write_conflict", 1);
    let asked = Instant::now();
    assert_eq!(daemon.stop().0, 0);
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert!(files_in(&workspace.path(".milescale/conflicts")).len() < 2 * COUNT);
    let _daemon = workspace.daemon_at_once(["--interval", "600"]);
    until("all of them", || {
        let kept = files_in(&workspace.path(".milescale/conflicts"));
        (kept.iter().filter(|name| name.ends_with(".yaml")).count() == COUNT).then_some(())
    });
}

/// The row is changed again after an import that died between file and base: both are edits of the same side.
#[test]
fn p08_an_edit_after_an_import_that_died_is_no_conflict() {
    let workspace = moved(2);
    migrate(&workspace, "file");
    sql(&workspace, "UPDATE milestones SET data = '{\"title\": \"second\"}' WHERE id = 'm-0'");
    let mut dying = workspace.command(["import"]);
    dying.env("LD_PRELOAD", super::super::super::faults::shim());
    dying.env("FAULT", "unlink:1:kill").env("FAULT_PATH", "importing.json");
    assert_eq!(dying.output().unwrap().status.code(), None);
    // As if the base were of before, too: what the note says is all that is known.
    let base = workspace.path(".milescale/base.db");
    let before = "UPDATE milescale_base SET value = x'00', text = x'00' WHERE id = 'm-0'";
    assert!(Command::new("sqlite3").arg(base).arg(before).status().unwrap().success());
    sql(&workspace, "UPDATE milestones SET data = '{\"title\": \"third\"}' WHERE id = 'm-0'");
    check(&workspace);
    assert_eq!(told(&workspace, "write_conflict"), [""; 0]);
    assert!(workspace.read("active/m-0.yaml").contains("third"));
}
