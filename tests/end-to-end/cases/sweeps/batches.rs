//! Sweeps of `check`, and batches that come slowly.

use std::time::Duration;

use milescale_testkit::{Workspace, until};

use super::{check, data, edit, is_named, moved, rows_with, told};

#[test]
fn l15_check_brings_over_what_was_written_since() {
    let workspace = moved(9);
    edit(&workspace, 0..3, "edited");
    check(&workspace);
    assert_eq!(rows_with(&workspace, "edited"), 3, "by one check, with nothing else running");
    assert_eq!(told(&workspace, "changes_imported"), ["m-0", "m-1", "m-2"]);
    assert!(workspace.run(["doctor"]).out.contains("0 wrong"));
}

#[test]
fn l14_a_batch_is_one_also_where_it_comes_over_several_checks() {
    let workspace = moved(12);
    edit(&workspace, 0..3, "pulled");
    check(&workspace);
    assert_eq!(rows_with(&workspace, "pulled"), 3, "three files are edits");
    edit(&workspace, 3..6, "pulled");
    check(&workspace);
    assert_eq!(rows_with(&workspace, "pulled"), 3, "six are a batch, from the sixth on");
    let held = workspace.until_event("changes_held", 1);
    assert_eq!(held["details"]["ids"], serde_json::json!(["m-3", "m-4", "m-5"]));
    assert_eq!(held["details"]["imported_before"], serde_json::json!(["m-0", "m-1", "m-2"]));
    assert!(is_named(&workspace, "m-4 (files)"));
    // What follows them is of the same batch.
    edit(&workspace, 6..7, "pulled");
    check(&workspace);
    assert_eq!(workspace.status()["migration"]["held"], 4);
    let said = workspace.run(["import", "--json"]).json();
    assert_eq!((&said["imported"], &said["failing"]), (&4.into(), &0.into()));
    // A person has decided: the next edit is one.
    edit(&workspace, 8..9, "pulled");
    check(&workspace);
    assert!(data(&workspace, "m-8").contains("pulled"));
}

#[test]
fn l14_files_that_are_saved_one_by_one_are_held_to_the_last() {
    let workspace = moved(12);
    let daemon = workspace.daemon(["--interval", "600"]);
    for number in 0..12 {
        edit(&workspace, [number], "pulled");
        std::thread::sleep(Duration::from_millis(350));
    }
    // On a machine that stood still, some stood still for long enough before the sixth was seen.
    let held = || daemon.published().pointer("/migration/held").and_then(serde_json::Value::as_u64).unwrap_or(0);
    until("all of them", || (held() + rows_with(&workspace, "pulled") as u64 == 12).then_some(()));
    assert!(held() >= 7, "from the sixth on all are held: {}", held());
    let late = (7..12).map(|number| format!("m-{number}"));
    late.for_each(|id| assert!(!data(&workspace, &id).contains("pulled"), "{id}"));
}

/// Nine milestones, pulled, which wait for a person.
fn held(count: usize) -> Workspace {
    let workspace = moved(count);
    edit(&workspace, 0..9, "pulled");
    check(&workspace);
    assert_eq!(workspace.status()["migration"]["held"], 9);
    workspace
}

#[test]
fn l14_a_move_back_says_before_that_a_batch_comes_with_it() {
    let workspace = held(12);
    let plan = workspace.run(["migrate", "file", "--dry-run"]);
    let note = "9 of them wait for `milescale import` (m-0, m-1, m-2, m-3, m-4, …)";
    assert!(plan.code == 0 && plan.out.contains(note), "{plan:?}");
    let said = workspace.run(["rollback", "--yes"]);
    let note = "9 changes of files wait for `milescale import` and come with this move: m-0, m-1, m-2, m-3, m-4, …";
    assert!(said.code == 0 && said.err.contains(note), "{said:?}");
    assert_eq!(workspace.status()["migration"]["held"], 0);
    assert!(workspace.read("active/m-8.yaml").contains("pulled"));
}

#[test]
fn l14_a_move_that_no_person_asked_for_leaves_a_batch_to_one() {
    let workspace = held(36);
    workspace.age_marker(30);
    workspace.append("logs/performance-metrics.jsonl", "{\"performance\":{\"avg_query_time_ms\":600}}\n".repeat(10));
    let query = "{\"timestamp\":\"2026-01-01T00:00:00Z\",\"details\":{\"operation\":\"query\",\"duration_ms\":600}}\n";
    workspace.append("logs/storage-events.jsonl", query.repeat(10));
    let config = workspace.read("config/storage-config.yaml").replace("auto_migrate: false", "auto_migrate: true");
    let config = config.replace("auto_downscale: false", "auto_downscale: true");
    workspace.write("config/storage-config.yaml", config);
    let said = workspace.run(["check"]);
    assert!(said.code == 1 && said.err.contains("9 changes in"), "{said:?}");
    let failed = workspace.events_named("migration_failed").pop().unwrap();
    let reason = failed["details"]["reason"].as_str().unwrap();
    assert!(reason.contains("9 changes in") && reason.contains("wait for a person"), "{reason}");
    assert_eq!((workspace.read("config/storage-backend.txt").trim(), rows_with(&workspace, "pulled")), ("database", 0));
}

#[test]
fn what_waited_is_told_no_more_once_its_store_is_followed_by_hand() {
    let workspace = moved(9);
    edit(&workspace, 0..9, "pulled");
    check(&workspace);
    assert_eq!(workspace.status()["migration"]["held"], 9);
    workspace.write("config/storage-backend.txt", "file\n");
    workspace.age_marker(1);
    check(&workspace);
    let status = workspace.status();
    assert_eq!((&status["current_backend"], &status["migration"]["held"]), (&"file".into(), &0.into()), "{status}");
    assert!(!workspace.path(".milescale/held.json").exists());
    let said = workspace.run(["migrate", "hybrid", "--yes"]);
    assert!(said.code == 0 && !said.err.contains("milescale import"), "{said:?}");
}

/// A move dies once it has switched; nobody knows for how long others have gone on writing to the files since.
#[test]
fn a_batch_after_a_death_is_held_as_any_other() {
    let workspace = crate::workspace();
    workspace.milestones("m", 12);
    crate::faults::dies(&workspace, &["migrate", "database", "--yes"], "rename:1:killafter", "storage-backend.txt");
    edit(&workspace, 0..8, "pulled");
    check(&workspace);
    assert_eq!((rows_with(&workspace, "pulled"), workspace.status()["migration"]["held"].clone()), (0, 8.into()));
    assert_eq!(workspace.run(["import", "--json"]).json()["imported"], 8);
}
