//! What milescale knew and was removed, and figures that are not of now.

use std::fs;
use std::process::Command;

use milescale_testkit::{Postgres, Workspace};

use super::{configure, on_server, said, text, with_milestones};

/// The record of a move is gone: that is said, and the way named brings the old files' changes over.
fn record_is_missed(workspace: &Workspace, remove: impl Fn(), way: &str) {
    text(workspace, 0, "check");
    remove();
    let file = workspace.path("active/m-1.yaml");
    fs::remove_file(&file).unwrap();
    workspace.save("active/m-1.yaml", "id: m-1\ntitle: saved later\n");
    for (code, command) in [(1, "doctor"), (0, "status"), (0, "check"), (1, "doctor")] {
        let told = text(workspace, code, command);
        assert_eq!(
            told.matches("record of its moves, .milestones/.milescale/migration.json, is gone").count(),
            1,
            "{told}"
        );
        assert!(told.contains(&format!("`milescale {way} --adopt --dry-run`")), "{command}: {told}");
    }
    let plan = text(workspace, 0, &format!("{way} --adopt --dry-run"));
    assert!(plan.contains("1 are different"), "{plan}");
    text(workspace, 0, &format!("{way} --adopt --yes"));
    assert!(!said(workspace, "doctor").out.contains("record of its moves"));
    text(workspace, 0, "check");
    assert!(text(workspace, 0, "milestone show m-1").contains("saved later"));
}

#[test]
fn a_record_that_was_removed_is_missed_and_what_differs_is_taken_over() {
    let workspace = with_milestones();
    text(&workspace, 0, "migrate database --yes");
    let remove = || fs::remove_dir_all(workspace.path(".milescale")).unwrap();
    record_is_missed(&workspace, remove, "migrate file");
    // Nothing of milescale's is made in a database of others.
    let workspace = with_milestones();
    let table = "CREATE TABLE milestones (id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)";
    let mut shell = Command::new("sqlite3");
    assert!(shell.arg(workspace.path("enterprise.db")).arg(table).status().unwrap().success());
    workspace.write("config/storage-backend.txt", "database\n");
    assert!(!said(&workspace, "doctor").out.contains("record of its moves"));
}

#[test]
fn a_record_that_was_removed_with_the_marker_is_missed_where_files_are_in_use_again() {
    for marker in [None, Some("file\n")] {
        let workspace = with_milestones();
        text(&workspace, 0, "migrate database --yes");
        let digest = text(&workspace, 0, "milestone show m-1 --digest").trim().to_owned();
        let new = workspace.root().join("new.yaml");
        fs::write(&new, "id: m-1\ntitle: written in the database\n").unwrap();
        text(&workspace, 0, &format!("milestone put m-1 {} --if-match {digest}", new.display()));
        fs::remove_file(workspace.path(".milescale/migration.json")).unwrap();
        match marker {
            Some(text) => workspace.write("config/storage-backend.txt", text),
            None => fs::remove_file(workspace.path("config/storage-backend.txt")).unwrap(),
        }
        for (code, command) in [(1, "doctor"), (0, "status"), (0, "check"), (1, "doctor")] {
            let told = text(&workspace, code, command);
            assert_eq!(
                told.matches("MOVED-TO-A-DATABASE.txt: a move to a database has left these files").count(),
                1,
                "{told}"
            );
            assert!(told.contains("`milescale migrate database --adopt --dry-run`"), "{command}: {told}");
        }
        text(&workspace, 0, "migrate database --adopt --yes");
        assert!(text(&workspace, 0, "milestone show m-1").contains("written in the database"));
        assert!(!said(&workspace, "doctor").out.contains("record of its moves"));
    }
    // Who removes the note wants nothing of the database.
    let workspace = with_milestones();
    text(&workspace, 0, "migrate database --yes");
    fs::remove_dir_all(workspace.path(".milescale")).unwrap();
    fs::remove_file(workspace.path("active/MOVED-TO-A-DATABASE.txt")).unwrap();
    workspace.write("config/storage-backend.txt", "file\n");
    assert!(!said(&workspace, "doctor").out.contains("record of its moves"));
}

/// A copy of before the last move is put back in its place: nothing goes by it, least of all a retiring of what is in use.
#[test]
fn a_record_of_before_the_last_move_says_nothing() {
    const LOST: &str = "record of its moves is gone, or of before the last move";
    let workspace = with_milestones();
    text(&workspace, 0, "migrate database --yes");
    let record = workspace.path(".milescale/migration.json");
    let copy = fs::read(&record).unwrap();
    text(&workspace, 0, "migrate file --yes");
    text(&workspace, 0, "check");
    fs::write(&record, copy).unwrap();
    for command in ["retire files --yes", "import", "rollback --yes", "migrate hybrid --yes"] {
        let told = text(&workspace, 1, command);
        assert!(told.contains(LOST), "{command}: {told}");
    }
    for (code, command) in [(0, "check"), (0, "status"), (1, "doctor")] {
        let told = text(&workspace, code, command);
        assert!(told.contains(LOST) && !told.contains("active is an old store"), "{command}: {told}");
    }
    assert!(workspace.path("active/m-0.yaml").exists() && workspace.path("active/m-1.yaml").exists());
    // A new one is begun at a person's word, and moves go by it.
    text(&workspace, 0, "doctor --fix --yes");
    text(&workspace, 0, "doctor");
    text(&workspace, 0, "migrate hybrid --yes");
    assert!(text(&workspace, 0, "milestone show m-1").contains("m-1"));
}

/// A move that was begun without a record, and did not switch, leaves it as lost as it was.
#[test]
fn a_record_stays_lost_until_a_switch() {
    let workspace = with_milestones();
    text(&workspace, 0, "migrate database --yes");
    text(&workspace, 0, "check");
    fs::remove_file(workspace.path(".milescale/migration.json")).unwrap();
    crate::faults::dies(&workspace, &["migrate", "file", "--adopt", "--yes"], "rename:1:kill", "storage-backend.txt");
    text(&workspace, 0, "check");
    assert!(text(&workspace, 1, "doctor").contains("record of its moves"));
    assert!(text(&workspace, 1, "rollback --yes").contains("record of its moves"));
    text(&workspace, 0, "migrate file --adopt --yes");
    text(&workspace, 0, "doctor");
}

/// Which store the last cycle saw says nothing where milescale has switched since.
#[test]
fn what_the_last_switch_made_the_store_in_use_stays_that_without_its_record() {
    let workspace = with_milestones();
    text(&workspace, 0, "check");
    text(&workspace, 0, "migrate database --yes");
    let edit = "UPDATE milestones SET data = json_set(data, '$.title', 'later') WHERE id = 'm-1'";
    let mut shell = Command::new("sqlite3");
    assert!(shell.arg(workspace.path("enterprise.db")).arg(edit).status().unwrap().success());
    fs::remove_file(workspace.path(".milescale/migration.json")).unwrap();
    assert!(text(&workspace, 0, "milestone show m-1").contains("later"));
    // The move that ends it is known as milescale's own.
    text(&workspace, 0, "migrate file --adopt --yes");
    let new = workspace.root().join("new.yaml");
    fs::write(&new, "title: new\n").unwrap();
    text(&workspace, 0, &format!("milestone put new {}", new.display()));
    assert_eq!(said(&workspace, "conflicts").out.lines().count(), 1, "{:?}", said(&workspace, "conflicts"));
}

#[test]
fn a_record_of_a_move_to_a_server_is_missed_too() {
    let (_server, workspace) = on_server();
    let remove = || fs::remove_file(workspace.path(".milescale/migration.json")).unwrap();
    record_is_missed(&workspace, remove, "migrate file");
}

#[test]
fn figures_that_are_not_of_now_are_no_verdict_of_now() {
    let workspace = with_milestones();
    text(&workspace, 0, "migrate database --yes");
    text(&workspace, 0, "check");
    let database = workspace.path("enterprise.db");
    fs::rename(&database, workspace.root().join("away.db")).unwrap();
    let stale = said(&workspace, "status --json --exit-code");
    let status = stale.json();
    assert_eq!((stale.code, &status["milestone_count"], &status["stale"]), (12, &2.into(), &true.into()), "{status}");
    assert!(status["unavailable_because"].to_string().contains("the database is missing"), "{status}");
    assert_eq!(said(&workspace, "status --exit-code").code, 12);
    fs::rename(workspace.root().join("away.db"), &database).unwrap();
    let status = said(&workspace, "status --json --exit-code");
    assert!(status.code != 12 && status.json()["unavailable_because"] == serde_json::json!([]), "{status:?}");
}

#[test]
fn the_way_to_take_a_store_over_names_its_engine() {
    let server = Postgres::start();
    let workspace = with_milestones();
    configure(&workspace, &format!("storage:\n  database:\n    url: \"{}\"\n", server.url()));
    text(&workspace, 0, "migrate database --yes");
    server.psql(
        "plans",
        "SET ROLE ada; CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB NOT NULL, created_at TIMESTAMPTZ DEFAULT now(),
         updated_at TIMESTAMPTZ DEFAULT now()); INSERT INTO milestones (id, data) VALUES ('other', '{\"id\": \"other\"}')",
    );
    let plan = text(&workspace, 1, "migrate database --engine postgresql --dry-run");
    assert!(plan.contains("`milescale migrate database --engine postgresql --adopt`"), "{plan}");
    assert!(plan.contains("1 reason why it cannot be done"), "{plan}");
    // A store that was in use before the record was lost.
    text(&workspace, 0, "check");
    fs::remove_file(workspace.path(".milescale/migration.json")).unwrap();
    let plan = text(&workspace, 1, "migrate file --dry-run");
    assert!(plan.contains("`milescale migrate file --adopt`") && !plan.contains("another database"), "{plan}");
}

/// A backup of the folder from before the last move is put over it: the record is a true one of then, and what was written in the database
/// since is named by the note that the move has left.
#[test]
fn a_folder_of_before_the_last_move_hides_nothing_of_the_database() {
    for files_after in ["keep", "retire"] {
        let workspace = with_milestones();
        let text_of_it = format!("storage:\n  migration: {{files_after: {files_after}}}\n");
        workspace.write("config/storage-config.yaml", text_of_it);
        text(&workspace, 0, "migrate hybrid --yes");
        let archive = workspace.root().join("backup.tar");
        let tar = |how: &str| {
            let mut command = std::process::Command::new("tar");
            command.args([how, archive.to_str().unwrap(), "-C", workspace.root().to_str().unwrap(), ".milestones"]);
            assert!(command.status().unwrap().success());
        };
        tar("-cf");
        text(&workspace, 0, "migrate database --yes");
        let digest = text(&workspace, 0, "milestone show m-1 --digest").trim().to_owned();
        let new = workspace.root().join("new.yaml");
        fs::write(&new, "id: m-1\ntitle: written in the database\n").unwrap();
        text(&workspace, 0, &format!("milestone put m-1 {} --if-match {digest}", new.display()));
        tar("-xf");
        workspace.age_marker(1);
        for (code, command) in [(0, "check"), (0, "status"), (1, "doctor")] {
            let told = text(&workspace, code, command);
            let place = "MOVED-TO-A-DATABASE.txt: a move to a database has left these files";
            assert!(told.contains(place), "{files_after}, {command}: {told}");
        }
        let told = text(&workspace, 1, "migrate database --yes");
        assert!(!told.contains("move that file away") && !told.contains("take them out"), "{told}");
        text(&workspace, 0, "migrate database --adopt --yes");
        assert!(text(&workspace, 0, "milestone show m-1").contains("written in the database"));
        assert!(!said(&workspace, "doctor").out.contains("MOVED-TO"));
    }
}
