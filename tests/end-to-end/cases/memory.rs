//! Memory is bounded by bytes, not by numbers of milestones.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use milescale_testkit::{Postgres, Workspace};

use super::super::workspace;

/// Milestones, bytes of each, and the most that a command may have, in megabytes: what holds all of them a few times has more.
const MILESTONES: usize = 24;
const BYTES: usize = 1_000_000;
const MOST: u64 = 70;

/// A plan with a long comment, which is quick to read.
fn large(number: usize, note: &str) -> String {
    let line = format!("# {}\n", "the move is verified before the storage changes; ".repeat(4));
    format!("title: plan {number}\nstatus: planned\n# {note}\n{}", line.repeat(BYTES / line.len()))
}

/// A workspace of large milestones, and small ones between them.
fn with_large_ones() -> Workspace {
    let workspace = workspace();
    for number in 0..MILESTONES {
        workspace.write(format!("active/m-{number:02}.yaml"), large(number, "as it was"));
        for small in 0..30 {
            workspace.write(format!("active/m-{number:02}-{small}.yaml"), "title: small\nstatus: planned\n");
        }
    }
    workspace
}

/// Runs a command to its end. The most memory that it had at once, in megabytes.
fn peak(workspace: &Workspace, arguments: &[&str]) -> u64 {
    let mut command = workspace.command(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
    let (path, mut peak) = (format!("/proc/{}/status", child.id()), 0);
    let ended = loop {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let high = high.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(high.unwrap_or_default());
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(ended.success(), "{arguments:?}: {ended}");
    println!("{arguments:?}: {} MB", peak / 1024);
    peak / 1024
}

fn is_bounded(workspace: &Workspace, arguments: &[&str]) {
    let peak = peak(workspace, arguments);
    assert!(peak < MOST, "{arguments:?} took {peak} MB");
}

#[test]
fn l31_a_move_from_files_to_sqlite_and_what_is_read_there_is_bounded() {
    let workspace = with_large_ones();
    is_bounded(&workspace, &["milestone", "export"]);
    is_bounded(&workspace, &["migrate", "database", "--engine", "sqlite", "--yes"]);
    is_bounded(&workspace, &["milestone", "search", "plan"]);
    is_bounded(&workspace, &["milestone", "list", "--status", "planned"]);
    is_bounded(&workspace, &["check"]);
}

#[test]
fn l31_a_sweep_of_many_large_changes_is_bounded() {
    let workspace = with_large_ones();
    is_bounded(&workspace, &["migrate", "database", "--engine", "sqlite", "--yes"]);
    for number in 0..MILESTONES {
        workspace.save(format!("active/m-{number:02}.yaml"), large(number, "changed since"));
    }
    is_bounded(&workspace, &["import"]);
    let imported = workspace.events_named("changes_imported");
    let counts = imported.iter().map(|event| event["details"]["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), MILESTONES as u64);
    assert_eq!(workspace.events_named("write_conflict"), [] as [serde_json::Value; 0]);
    is_bounded(&workspace, &["rollback", "--yes"]);
    assert_eq!(workspace.read("active/m-07.yaml"), large(7, "changed since"));
}

#[test]
fn l31_a_move_to_postgresql_and_back_is_bounded() {
    let server = Postgres::start();
    let mut workspace = with_large_ones();
    workspace.environment.push(("DATABASE_URL".to_owned(), server.url()));
    is_bounded(&workspace, &["migrate", "database", "--engine", "postgresql", "--yes"]);
    is_bounded(&workspace, &["milestone", "search", "plan"]);
    is_bounded(&workspace, &["migrate", "file", "--yes"]);
    assert_eq!(workspace.read("active/m-07.yaml"), large(7, "as it was"));
}
