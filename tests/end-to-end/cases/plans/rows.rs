//! Rows and columns of other programs in SQLite.

use super::{done, obstacles, plan, sqlite};
use milescale_testkit::Workspace;

/// A workspace on a database that other programs have made.
fn on_database(sql: &str) -> Workspace {
    let workspace = super::super::super::workspace();
    workspace.write("config/storage-backend.txt", "database\n");
    sqlite(&workspace, sql);
    workspace
}

#[test]
fn l24_rows_without_a_text_id_count_and_stand_against_a_move() {
    let table = "CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT);";
    let workspace = on_database(&format!(
        "{table} INSERT INTO milestones(id, data) VALUES ('a', '{{\"title\":\"A\"}}'), (NULL, '{{\"title\":\"1\"}}'),
         (x'4d2d31', '{{\"title\":\"2\"}}')"
    ));
    done(&workspace, &["check"]);
    assert_eq!(workspace.status()["milestone_count"], 3);
    let said = obstacles(&plan(&workspace, &["file"]));
    assert!(said.contains("2 rows have no id that is a text of at most 1024 bytes (rowid 2, 3); give them"), "{said}");
    assert!(
        workspace.run(["doctor"]).out.contains("2 rows have no id that is a text of at most 1024 bytes (rowid 2, 3)")
    );
    assert_eq!(workspace.run(["migrate", "file", "--yes"]).code, 1);
    sqlite(&workspace, "DELETE FROM milestones WHERE id IS NULL OR typeof(id) = 'blob'");
    done(&workspace, &["migrate", "file", "--yes"]);
    assert_eq!(workspace.status()["milestone_count"], 1);
}

#[test]
fn l24_an_integer_primary_key_counts_and_stands_against_a_move() {
    let workspace = on_database(
        "CREATE TABLE milestones(id INTEGER PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT);
         INSERT INTO milestones(data) VALUES ('{\"title\":\"A\",\"status\":\"active\"}'),
         ('{\"title\":\"B\",\"status\":\"archived\"}'), ('{\"title\":\"C\"}')",
    );
    done(&workspace, &["check"]);
    assert_eq!(workspace.status()["milestone_count"], 2);
    assert!(
        workspace
            .run(["doctor"])
            .out
            .contains("3 rows have no id that is a text of at most 1024 bytes (rowid 1, 2, 3)")
    );
    assert!(obstacles(&plan(&workspace, &["file"])).contains("rowid 1, 2, 3"));
    // What changes there is seen as well, by a daemon that has read all before.
    let daemon = workspace.daemon(["--interval", "1"]);
    sqlite(&workspace, "INSERT INTO milestones(data) VALUES ('{\"title\":\"D\"}')");
    daemon.until("milestone_count", 3);
    sqlite(&workspace, "UPDATE milestones SET data = '{\"status\":\"archived\"}' WHERE id = 1");
    daemon.until("milestone_count", 2);
}

#[test]
fn e05_what_other_programs_added_to_a_table_of_sqlite_is_named_or_tried() {
    let workspace = super::with_files(&["a", "b"]);
    workspace.write("active/b.yaml", "title: b\nstatus: odd\n");
    let table = |more: &str, id: &str| {
        for name in
            sqlite(&workspace, "SELECT type || ' milestones' FROM sqlite_master WHERE name = 'milestones'").lines()
        {
            sqlite(&workspace, &format!("DROP {name}"));
        }
        sqlite(
            &workspace,
            &format!("CREATE TABLE milestones(id {id}, data TEXT, created_at TEXT, updated_at TEXT{more})"),
        );
    };
    let said = || obstacles(&plan(&workspace, &["database"]));
    table("", "TEXT PRIMARY KEY");
    assert_eq!(said(), "", "a table as adapters make it");
    table(", owner TEXT NOT NULL", "TEXT PRIMARY KEY");
    assert!(said().contains("its column owner must not be NULL and has no default"), "{}", said());
    table("", "TEXT");
    assert!(said().contains("its column id is not unique"), "{}", said());
    table("", "INTEGER PRIMARY KEY");
    assert!(said().contains("its column id is not declared as TEXT"), "{}", said());
    table(", CHECK (json_extract(data, '$.status') <> 'odd')", "TEXT PRIMARY KEY");
    assert!(
        said().contains("active/b.yaml: .milestones/enterprise.db would refuse it: CHECK constraint"),
        "{}",
        said()
    );
    assert_eq!(said().lines().count(), 1, "{}", said());
    sqlite(
        &workspace,
        "DROP TABLE milestones; CREATE VIEW milestones AS SELECT 1 id, 2 data, 3 created_at, 4 updated_at",
    );
    assert!(said().contains("milestones is a view and no table"), "{}", said());
    table(", owner TEXT NOT NULL DEFAULT 'nobody'", "TEXT PRIMARY KEY");
    sqlite(&workspace, "CREATE UNIQUE INDEX titles ON milestones(json_extract(data, '$.title'))");
    done(&workspace, &["migrate", "database", "--yes"]);
}
