//! What is written to a store that is not in use any more: the table of contract §8 with a real daemon and real shells.

use std::fs;
use std::process::Command;
use std::time::Duration;

use milescale_testkit::{Postgres, until};

use super::Moved;

/// A statement in the `sqlite3` shell, as an adapter runs it.
fn sqlite(moved: &Moved, sql: &str) -> String {
    moved.workspace.sqlite("enterprise.db", sql)
}

fn data(moved: &Moved, id: &str) -> String {
    sqlite(moved, &format!("SELECT data FROM milestones WHERE id = '{id}'"))
}

/// Ten milestones, moved from files to SQLite.
fn moved_to_sqlite() -> Moved {
    let moved = Moved::new(None, "", 10);
    let said = moved.migrate("sqlite");
    assert_eq!(said.code, 0, "{said:?}");
    moved
}

fn conflicts(moved: &Moved) -> Vec<serde_json::Value> {
    serde_json::from_value(moved.workspace.run(["conflicts", "list", "--json"]).json()).unwrap()
}

#[test]
fn an_adapter_that_read_file_and_writes_later_is_brought_over_within_seconds() {
    let moved = moved_to_sqlite();
    let daemon = moved.workspace.daemon(["--interval", "600"]);
    let started = std::time::Instant::now();
    moved.workspace.save("active/m-1.yaml", "# late\nid: m-1\ntitle: late\n");
    moved.workspace.save("active/new.yaml", "id: new\ntitle: from an old habit\n");
    until("both in the database", || {
        (data(&moved, "m-1").contains("late") && data(&moved, "new").contains("habit")).then_some(())
    });
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(
        moved.workspace.run(["milestone", "show", "m-1"]).out,
        "# late\nid: m-1\ntitle: late\n",
        "with its comment"
    );
    daemon.until("milestone_count", 11);
    assert!(conflicts(&moved).is_empty());
    // Going back, the files are what is current, and nothing was written twice.
    drop(daemon);
    let before = moved.dump();
    assert_eq!(moved.workspace.run(["rollback", "--yes"]).code, 0);
    assert_eq!(moved.dump(), before);
    assert_eq!(moved.workspace.read("active/m-1.yaml"), "# late\nid: m-1\ntitle: late\n");
}

#[test]
fn a_row_changed_and_then_a_file_saved_from_an_old_read_is_a_conflict_that_keeps_both() {
    let moved = moved_to_sqlite();
    let daemon = moved.workspace.daemon(["--interval", "600"]);
    sqlite(&moved, "UPDATE milestones SET data = '{\"title\":\"of the row\"}' WHERE id = 'm-0'");
    moved.workspace.save("active/m-0.yaml", "title: of the file\n");
    let event = moved.workspace.until_event("write_conflict", 1);
    assert_eq!(
        (&event["details"]["id"], &event["details"]["reason"]),
        (&"m-0".into(), &"both sides were changed".into())
    );
    assert_eq!(data(&moved, "m-0"), "{\"title\":\"of the row\"}");
    let found = conflicts(&moved);
    let name = found[0]["name"].as_str().unwrap();
    assert!(event["details"]["kept_as"].as_str().unwrap().ends_with(name));
    assert_eq!(moved.workspace.run(["conflicts", "show", name]).out, "title: of the file\n");
    daemon.until("/migration/conflicts", 1);
    assert!(moved.workspace.run(["doctor"]).out.contains("1 content is in conflict"));
    // Once said, it is not said again; a person decides.
    moved.workspace.run(["import"]);
    assert_eq!(moved.workspace.events_named("write_conflict").len(), 1);
    assert_eq!(moved.workspace.run(["conflicts", "resolve", name, "--take-kept"]).code, 0);
    assert!(data(&moved, "m-0").contains("of the file") && conflicts(&moved).is_empty());
    // From there on, both sides are equal again: an edit of the file is an edit.
    moved.workspace.save("active/m-0.yaml", "title: of the file, again\n");
    until("the edit", || data(&moved, "m-0").contains("again").then_some(()));
}

#[test]
fn a_row_deleted_stays_deleted_and_a_file_deleted_deletes_nothing() {
    let moved = moved_to_sqlite();
    let daemon = moved.workspace.daemon(["--interval", "600"]);
    sqlite(&moved, "DELETE FROM milestones WHERE id = 'm-0'");
    fs::remove_file(moved.workspace.path("active/m-1.yaml")).unwrap();
    let event = moved.workspace.until_event("changes_reported", 1);
    assert_eq!(event["details"]["milestones"][0]["id"], "m-1");
    daemon.until("milestone_count", 9);
    assert_eq!(sqlite(&moved, "SELECT count(*) FROM milestones WHERE id IN ('m-0', 'm-1')"), "1");
    // A file of a deleted row that is changed then: kept, for nobody knows.
    moved.workspace.save("active/m-0.yaml", "title: still wanted?\n");
    let event = moved.workspace.until_event("write_conflict", 1);
    assert_eq!(event["details"]["reason"], "it was changed there, and is gone in the store in use");
    drop(daemon);
    // Going back takes the deleted one out of its place, and brings the other one.
    assert_eq!(moved.workspace.run(["rollback", "--yes"]).code, 0);
    assert!(!moved.workspace.path("active/m-0.yaml").exists() && moved.workspace.path("active/m-1.yaml").exists());
}

#[test]
fn a_file_moved_to_the_finished_ones_is_archived() {
    let moved = moved_to_sqlite();
    let daemon = moved.workspace.daemon(["--interval", "600"]);
    fs::create_dir_all(moved.workspace.path("completed")).unwrap();
    fs::rename(moved.workspace.path("active/m-2.yaml"), moved.workspace.path("completed/m-2.yaml")).unwrap();
    until("the archiving", || data(&moved, "m-2").contains("\"archived\"").then_some(()));
    daemon.until("milestone_count", 9);
}

#[test]
fn many_changes_at_once_wait_for_a_person() {
    let moved = moved_to_sqlite();
    let daemon = moved.workspace.daemon(["--interval", "600"]);
    for number in 0..8 {
        moved.workspace.save(format!("active/m-{number}.yaml"), format!("title: pulled {number}\n"));
    }
    let held = moved.workspace.until_event("changes_held", 1);
    assert_eq!(held["details"]["count"], 8);
    daemon.until("/migration/held", 8);
    assert!(!data(&moved, "m-0").contains("pulled"));
    // One that is put back waits no more, and a restart forgets none.
    moved.workspace.save("active/m-7.yaml", super::document(7));
    daemon.until("/migration/held", 7);
    drop(daemon);
    let daemon = moved.workspace.daemon(["--interval", "600"]);
    daemon.until("/migration/held", 7);
    assert!(!data(&moved, "m-0").contains("pulled"));
    let said = moved.workspace.run(["import", "--json"]).json();
    assert_eq!((&said["imported"], &said["conflicts"]), (&7.into(), &0.into()));
    assert!(data(&moved, "m-0").contains("pulled"));
    daemon.until("/migration/held", 0);
    assert_eq!(moved.workspace.events_named("changes_held").len(), 1);
}

#[test]
fn an_earlier_content_is_a_checkout_and_no_edit() {
    let moved = moved_to_sqlite();
    let _daemon = moved.workspace.daemon(["--interval", "600"]);
    let first = moved.workspace.read("active/m-0.yaml");
    moved.workspace.save("active/m-0.yaml", "title: second\n");
    until("the edit", || data(&moved, "m-0").contains("second").then_some(()));
    moved.workspace.save("active/m-0.yaml", &first);
    let event = moved.workspace.until_event("changes_reported", 1);
    assert!(event["details"]["milestones"][0]["what"].as_str().unwrap().contains("earlier content"));
    assert!(data(&moved, "m-0").contains("second"));
}

#[test]
fn half_a_file_is_never_taken_over() {
    let moved = moved_to_sqlite();
    let _daemon = moved.workspace.daemon(["--interval", "600"]);
    // Half a mapping is valid YAML; the writer goes on within the two seconds that a file must stand still.
    for half in ["title: half\n", "title: half\nstatus: active\n", "title: half\nstatus: active\nlast: true\n"] {
        let written = std::time::Instant::now();
        moved.workspace.write("active/m-0.yaml", half);
        std::thread::sleep(Duration::from_millis(900));
        let found = data(&moved, "m-0");
        // On a machine that has stood still meanwhile the file has too.
        assert!(!found.contains("half") || written.elapsed() > Duration::from_secs(2), "{half}");
    }
    until("the whole", || data(&moved, "m-0").contains("last").then_some(()));
    // One that stays broken is kept and named, and replaces nothing; an empty one is nothing.
    moved.workspace.write("active/m-1.yaml", "title: [\n");
    moved.workspace.write("active/m-2.yaml", "");
    let event = moved.workspace.until_event("write_conflict", 1);
    assert_eq!(event["details"]["id"], "m-1");
    assert!(data(&moved, "m-2").contains("Milestone 2"));
}

#[test]
fn a_row_of_an_old_database_is_brought_into_the_files() {
    let server = Postgres::start();
    for store in ["sqlite", "postgresql"] {
        let moved = Moved::new(Some(&server), store, 5);
        assert_eq!(moved.migrate(store).code, 0);
        assert_eq!(moved.migrate("hybrid").code, 0);
        let daemon = moved.workspace.daemon(["--interval", "600"]);
        let shell = |sql: &str| match store {
            "sqlite" => drop(sqlite(&moved, &sql.replace("TABLE", "milestones"))),
            _ => drop(server.psql("plans", &sql.replace("TABLE", "postgresql.milestones"))),
        };
        // Twenty minutes or twenty hours later: a shell that read `database` before.
        shell("UPDATE TABLE SET data = '{\"title\":\"from a shell\"}' WHERE id = 'm-1'");
        shell("INSERT INTO TABLE VALUES ('new', '{\"title\":\"new in a shell\"}', '2026-01-01', '2026-01-01')");
        until("both in files", || {
            let there = |path: &str, text: &str| moved.workspace.read(path).contains(text);
            (there("active/m-1.yaml", "from a shell") && there("active/new.yaml", "new in a shell")).then_some(())
        });
        daemon.until("milestone_count", 6);
        // Changed on both sides: what is in use stays, the row's content is kept.
        moved.workspace.save("active/m-2.yaml", "title: of the file\n");
        shell("UPDATE TABLE SET data = '{\"title\":\"of the row\"}' WHERE id = 'm-2'");
        moved.workspace.until_event("write_conflict", 1);
        assert_eq!(moved.workspace.read("active/m-2.yaml"), "title: of the file\n");
    }
}

#[test]
fn milescales_own_writes_are_no_edits() {
    let moved = moved_to_sqlite();
    assert_eq!(moved.workspace.run(["rollback", "--yes"]).code, 0);
    assert_eq!(moved.migrate("sqlite").code, 0);
    let daemon = moved.workspace.daemon(["--interval", "0.3"]);
    moved.workspace.run(["milestone", "archive", "m-0"]);
    daemon.until("milestone_count", 9);
    let cycles = moved.workspace.events_named("scale_status").len();
    moved.workspace.until_event("scale_status", cycles + 10);
    for event in ["changes_imported", "changes_reported", "changes_held", "write_conflict"] {
        assert!(moved.workspace.events_named(event).is_empty(), "{event}");
    }
}

#[test]
fn a_lost_base_makes_every_difference_a_conflict() {
    let moved = moved_to_sqlite();
    sqlite(&moved, "DELETE FROM milescale_sides");
    sqlite(&moved, "DELETE FROM milescale_base");
    moved.workspace.save("active/m-0.yaml", "title: changed\n");
    let said = moved.workspace.run(["import", "--json"]).json();
    assert_eq!(
        (&said["imported"], &said["conflicts"]),
        (&0.into(), &1.into()),
        "equal ones are equal, the other is kept"
    );
    assert!(data(&moved, "m-0").contains("Milestone 0"));
}

#[test]
fn a_rollback_brings_along_what_was_not_swept_yet() {
    let moved = moved_to_sqlite();
    // No daemon: nobody has swept these.
    moved.workspace.save("active/m-0.yaml", "# c\ntitle: edited in the old place\n");
    sqlite(&moved, "UPDATE milestones SET data = '{\"title\":\"of the row\"}' WHERE id = 'm-1'");
    moved.workspace.save("active/m-1.yaml", "title: of the file\n");
    sqlite(&moved, "UPDATE milestones SET data = '{\"title\":\"only in the row\"}' WHERE id = 'm-2'");
    let said = moved.workspace.run(["rollback", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(moved.workspace.read("active/m-0.yaml"), "# c\ntitle: edited in the old place\n");
    assert_eq!(moved.workspace.read("active/m-1.yaml"), "title: of the row\n");
    assert_eq!(moved.workspace.read("active/m-2.yaml"), "title: only in the row\n");
    let found = conflicts(&moved);
    assert_eq!((found.len(), &found[0]["id"]), (1, &"m-1".into()));
}

#[test]
fn a_retired_store_refuses_writes_with_a_message_and_keeps_everything() {
    let server = Postgres::start();
    for store in ["sqlite", "postgresql"] {
        let moved = Moved::new(Some(&server), store, 4);
        assert_eq!(moved.migrate(store).code, 0);
        assert_eq!(moved.migrate("file").code, 0);
        let said = moved.workspace.run(["retire", store, "--yes"]);
        assert_eq!(said.code, 0, "{said:?}");
        let sql = "DELETE FROM TABLE";
        let refused = match store {
            "sqlite" => Command::new("sqlite3")
                .arg(moved.workspace.path("enterprise.db"))
                .arg(sql.replace("TABLE", "milestones"))
                .output(),
            _ => server.client("plans").args(["-c", &sql.replace("TABLE", "postgresql.milestones")]).output(),
        };
        let refused = refused.unwrap();
        assert!(!refused.status.success());
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(why.contains("milescale: these milestones were moved to file"), "{why}");
        // It can be moved to again.
        assert_eq!(moved.migrate(store).code, 0);
        assert_eq!(moved.dump().lines().count(), 4);
    }
    let moved = moved_to_sqlite();
    let before = moved.dump();
    assert_eq!(moved.workspace.run(["retire", "files", "--yes"]).code, 0);
    assert!(!moved.workspace.path("active/m-0.yaml").exists());
    assert!(moved.workspace.path(".milescale/retired/1/m-0.yaml").exists());
    assert_eq!(moved.migrate("file").code, 0);
    assert_eq!(moved.dump(), before);
}
