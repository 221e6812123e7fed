//! The reference's own trigger, end to end: growth over the thresholds, `auto_migrate`, a confidence over 80, and the move.

use std::fs;
use std::process::Command;

use milescale_testkit::until;

use super::super::recommendation::recommend;
use super::{Moved, contents};

/// A workspace that recommends `hybrid`, and may move by itself.
fn automatic(more: &str) -> Moved {
    let moved = Moved::new(None, "", 0);
    recommend(&moved.workspace);
    moved.configure(&format!("  migration:\n    auto_migrate: true\n{more}"));
    moved
}

/// New milestones, as an adapter makes them where `hybrid` is in use: a file and its row.
fn grow(moved: &Moved, count: usize) {
    let mut rows = String::from("BEGIN;");
    for number in 0..count {
        let (id, file) = (format!("grown-{number}"), format!("active/grown-{number}.yaml"));
        moved.workspace.write(&file, format!("# kept {number}\nid: {id}\ntitle: t\n"));
        rows.push_str(&format!(
            "INSERT OR REPLACE INTO milestones VALUES ('{id}', 't', NULL, 'medium', NULL, NULL, '.milestones/{file}');"
        ));
    }
    rows.push_str("COMMIT;");
    let shell = Command::new("sqlite3")
        .args(["-cmd", ".timeout 5000"])
        .arg(moved.workspace.path("index.db"))
        .arg(rows)
        .status();
    assert!(shell.unwrap().success());
}

#[test]
fn growth_moves_file_to_hybrid_to_database_by_itself() {
    let moved = automatic("");
    let workspace = &moved.workspace;
    let daemon = workspace.daemon(["--interval", "0.3"]);
    let done = workspace.until_event("migration_completed", 1);
    assert_eq!((&done["details"]["from"], &done["details"]["to"]), (&"file".into(), &"hybrid".into()));
    daemon.until("current_backend", "hybrid");
    daemon.until("status", "optimal");
    // The new backend has been in use for a while, and the plan has grown.
    grow(&moved, 120);
    let files = contents(&workspace.path("active"));
    let before = moved.dump();
    workspace.append(
        "logs/storage-events.jsonl",
        "{\"details\":{\"operation\":\"query\",\"duration_ms\":1100}}\n".repeat(10),
    );
    workspace.append("logs/performance-metrics.jsonl", "{\"performance\":{\"avg_query_time_ms\":1100}}\n".repeat(10));
    workspace.age_marker(30);
    let done = workspace.until_event("migration_completed", 2);
    assert_eq!((&done["details"]["from"], &done["details"]["to"]), (&"hybrid".into(), &"sqlite".into()));
    daemon.until("current_backend", "database");
    assert_eq!(moved.named(), "sqlite");
    assert_eq!(moved.dump(), before);
    let (code, log) = daemon.stop();
    assert_eq!(code, 0, "{log}");
    // The story, as `tail -f scale-events.jsonl` tells it.
    let story: Vec<String> = workspace
        .events()
        .iter()
        .map(|event| event["event"].as_str().unwrap().to_owned())
        .filter(|event| {
            event.starts_with("migration_") && event != "migration_monitoring" && event != "migration_progress"
        })
        .collect();
    let one = ["migration_recommended", "migration_started", "migration_completed"];
    assert_eq!(story, [one, one].concat());
    assert!(
        workspace
            .events()
            .iter()
            .filter(|it| it["event"] == "migration_started")
            .all(|it| it["details"]["automatic"] == true)
    );
    assert!(!workspace.path("config/migration-notification.yaml").exists(), "nobody was asked");
    // And back, byte for byte.
    assert_eq!(workspace.run(["rollback", "--yes"]).code, 0);
    assert!(contents(&workspace.path("active")) == files);
}

#[test]
fn nothing_moves_in_the_first_cycles_while_paused_or_on_a_pin() {
    let moved = automatic("");
    let workspace = &moved.workspace;
    assert_eq!(workspace.run(["pause"]).code, 0);
    let daemon = workspace.daemon(["--interval", "0.2"]);
    workspace.until_event("migration_recommended", 1);
    let cycles = workspace.events_named("scale_status").len();
    workspace.until_event("scale_status", cycles + 6);
    assert!(workspace.events_named("migration_started").is_empty(), "paused");
    until("the notification", || workspace.path("config/migration-notification.yaml").exists().then_some(()));
    assert!(workspace.read("config/migration-notification.yaml").contains("automatic migrations are paused"));
    daemon.until("/migration/paused", true);
    let (code, _) = daemon.stop();
    assert_eq!(code, 0);
    // A restart does not forget it.
    let daemon = workspace.daemon(["--interval", "0.2"]);
    let cycles = workspace.events_named("scale_status").len();
    workspace.until_event("scale_status", cycles + 6);
    assert!(workspace.events_named("migration_started").is_empty(), "still paused");
    assert_eq!(workspace.run(["resume"]).code, 0);
    workspace.until_event("migration_completed", 1);
    daemon.until("current_backend", "hybrid");
    let paused: Vec<_> =
        workspace.events_named("migrations_paused").iter().map(|it| it["details"]["paused"].clone()).collect();
    assert_eq!(paused, [true, false]);

    let pinned = automatic("  backend: file\n");
    let daemon = pinned.workspace.daemon(["--interval", "0.2"]);
    let cycles = pinned.workspace.events_named("scale_status").len();
    pinned.workspace.until_event("scale_status", cycles + 6);
    assert!(pinned.workspace.events_named("migration_started").is_empty());
    drop(daemon);
}

#[test]
fn a_failed_move_is_tried_three_times_and_then_left_to_a_person() {
    // `hybrid` is derived in index.db; where something else has its name, nothing can be.
    let moved = automatic("");
    let workspace = &moved.workspace;
    fs::create_dir(workspace.path("index.db")).unwrap();
    let daemon = workspace.daemon(["--interval", "0.1"]);
    workspace.until_event("migration_failed", 3);
    until("the notification", || {
        workspace.read("config/migration-notification.yaml").contains("3 attempts failed").then_some(())
    });
    let cycles = workspace.events_named("scale_status").len();
    workspace.until_event("scale_status", cycles + 20);
    assert_eq!(workspace.events_named("migration_failed").len(), 3, "and no more");
    assert_eq!(moved.named(), "file");
    daemon.until("/migration/failed_attempts", 3);
    assert!(workspace.run(["doctor"]).out.contains("3 attempts to migrate failed"));
    // A person mends it, and moves.
    fs::remove_dir(workspace.path("index.db")).unwrap();
    assert_eq!(workspace.run(["migrate", "hybrid", "--yes"]).code, 0);
    daemon.until("current_backend", "hybrid");
}

#[test]
fn check_moves_too_and_at_most_so_often_a_day() {
    let moved = automatic("    automatic_per_day: 1\n");
    let workspace = &moved.workspace;
    let said = workspace.run(["check"]);
    assert!(said.out.contains("⚡ Initiating automatic scale migration...\n"), "{said:?}");
    assert!(said.out.contains("✅ Migration completed: file → hybrid, 36 milestones"), "{said:?}");
    assert_eq!(moved.named(), "hybrid");
    grow(&moved, 100);
    workspace.append("logs/performance-metrics.jsonl", "{\"performance\":{\"avg_query_time_ms\":600}}\n".repeat(10));
    workspace.age_marker(30);
    let said = workspace.run(["check"]);
    assert!(said.out.contains("recommended: hybrid → database") && !said.out.contains('⚡'), "{said:?}");
    assert_eq!(moved.named(), "hybrid");
}

#[test]
fn a_stop_before_the_switch_undoes_the_move_at_once() {
    // A machine that stands still between the progress and the stop lets a small move end: then a larger one.
    assert!([3000, 9000, 27_000].into_iter().any(is_undone_by_a_stop), "each move was faster than its stop");
}

/// Stops the daemon once it copies. Whether that was before the switch; where it was not, the move is done.
fn is_undone_by_a_stop(count: usize) -> bool {
    let moved = Moved::new(None, "", count);
    moved.configure("  migration:\n    auto_migrate: true\n  thresholds:\n    milestone_count: {file_to_hybrid: 5, hybrid_to_database: 10}\n");
    let workspace = &moved.workspace;
    workspace.age_marker(30);
    workspace.append(
        "logs/storage-events.jsonl",
        "{\"details\":{\"operation\":\"query\",\"duration_ms\":1100}}\n".repeat(10),
    );
    workspace.append("logs/performance-metrics.jsonl", "{\"performance\":{\"avg_query_time_ms\":1100}}\n".repeat(10));
    let before = moved.dump();
    let daemon = workspace.daemon_at_once(["--interval", "0.2"]);
    workspace.until_event("migration_progress", 1);
    let (code, log) = daemon.stop();
    assert_eq!(code, 0, "{log}");
    assert_eq!(moved.dump(), before);
    assert!(workspace.read(".milescale/migration.json").contains("\"intent\": null"));
    if moved.named() == "sqlite" {
        return false;
    }
    assert_eq!(moved.named(), "file");
    assert_eq!(workspace.until_event("migration_rolled_back", 1)["details"]["reason"], "it was asked to stop");
    // It was nobody's failure: it is carried out once the daemon runs again.
    let daemon = workspace.daemon_at_once(["--interval", "0.2"]);
    workspace.until_event("migration_completed", 1);
    drop(daemon);
    assert_eq!(moved.dump(), before);
    true
}
