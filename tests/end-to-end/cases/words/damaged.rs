//! Files of the store in use and of milescale's own that are damaged: what is said of them, and that the way named works.

use std::fs;

use super::{said, text, with_milestones};

/// Bytes that are neither a database nor JSON.
const GARBAGE: &[u8] = &[0x5a; 20_000];

#[test]
fn a_database_that_is_damaged_is_moved_away_and_restored() {
    let workspace = with_milestones();
    text(&workspace, 0, "migrate database --yes");
    let database = workspace.path("enterprise.db");
    fs::write(&database, GARBAGE).unwrap();
    let told = text(&workspace, 1, "doctor");
    let backup = told.split("`milescale restore ").nth(1).unwrap().split('`').next().unwrap().to_owned();
    for part in ["First move .milestones/enterprise.db away", "its file is no database", "doctor --fix"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(told.matches("enterprise.db: ").count(), 1, "{told}");
    for command in [format!("restore {backup} --yes"), "rollback --yes".to_owned(), "milestone list".to_owned()] {
        let told = text(&workspace, 1, &command);
        assert!(told.contains("move ") && told.contains(" away"), "{command}: {told}");
        assert!(!told.contains("restore it from a backup"), "{command}: {told}");
    }
    fs::rename(&database, workspace.root().join("away.db")).unwrap();
    text(&workspace, 0, &format!("restore {backup} --yes"));
    assert_eq!(text(&workspace, 0, "milestone list").lines().count(), 2);
}

#[test]
fn an_index_that_is_no_database_is_set_aside_and_built_anew() {
    let workspace = with_milestones();
    let index = workspace.path("index.db");
    fs::write(&index, GARBAGE).unwrap();
    // A move to hybrid replaces it.
    assert!(text(&workspace, 0, "migrate hybrid --dry-run").contains("nothing stands against it"));
    text(&workspace, 0, "migrate hybrid --yes");
    fs::write(&index, GARBAGE).unwrap();
    assert_eq!(text(&workspace, 0, "milestone list").lines().count(), 2);
    text(&workspace, 0, "check");
    assert!(fs::read(&index).unwrap().starts_with(b"SQLite format 3"));
    assert_eq!(fs::read(workspace.path(".milescale/index.unreadable-2.db")).unwrap(), GARBAGE);
    assert_eq!(text(&workspace, 0, "milestone list").lines().count(), 2);
    assert!(text(&workspace, 0, "doctor").contains("index.unreadable-2.db: the index was no database"));
}

#[test]
fn a_file_of_milescales_own_that_is_damaged_is_named_with_the_step_that_works() {
    let workspace = with_milestones();
    for to in ["database", "file", "database"] {
        text(&workspace, 0, &format!("migrate {to} --yes"));
    }
    text(&workspace, 0, "check");
    let damage = |name: &str| {
        let path = workspace.path(".milescale").join(name);
        let before = fs::read(&path).unwrap_or_default();
        fs::write(&path, GARBAGE).unwrap();
        (path, before)
    };
    let (days, _) = damage("days.json");
    let told = text(&workspace, 1, "check");
    assert!(told.contains("days.json cannot be read: ") && told.contains("remove it"), "{told}");
    assert!(!told.contains("last-ids.json") && !told.contains("cannot be written"), "{told}");
    fs::remove_file(days).unwrap();
    text(&workspace, 0, "check");

    let (identity, number) = damage("identity");
    for command in ["doctor", "migrate file --dry-run"] {
        let told = text(&workspace, 1, command);
        assert!(told.contains("identity cannot be read: ") && told.contains("or remove it"), "{command}: {told}");
    }
    fs::remove_file(&identity).unwrap();
    text(&workspace, 0, "migrate file --dry-run");
    assert!(!said(&workspace, "doctor").out.contains("cannot be read"));
    fs::write(identity, number).unwrap();

    let (modes, _) = damage("modes.json");
    let told = text(&workspace, 0, "migrate file --yes");
    assert!(told.contains("modes.json cannot be read: ") && told.contains("remove it"), "{told}");
    fs::remove_file(modes).unwrap();
    text(&workspace, 0, "check");
    assert!(!fs::metadata(workspace.path("active/m-0.yaml")).unwrap().permissions().readonly());

    let (base, _) = damage("base.db");
    let told = text(&workspace, 0, "check");
    assert!(told.contains("base.db: ") && told.contains("remove it"), "{told}");
    fs::remove_file(base).unwrap();
    let told = text(&workspace, 0, "check");
    assert!(!told.contains("base.db"), "{told}");
}

#[test]
fn a_record_that_is_damaged_is_moved_away() {
    let workspace = with_milestones();
    text(&workspace, 0, "migrate database --yes");
    workspace.age_marker(1);
    let record = workspace.path(".milescale/migration.json");
    fs::write(&record, GARBAGE).unwrap();
    for command in ["check", "doctor", "status", "migrate file --dry-run"] {
        let said = said(&workspace, command);
        let told = format!("{}{}", said.out, said.err);
        assert!(told.contains("move it away and run `milescale check`"), "{command}: {told}");
        assert!(!told.contains("were changed") && !told.contains("`milescale migrate"), "{command}: {told}");
    }
    fs::rename(&record, workspace.root().join("away.json")).unwrap();
    text(&workspace, 0, "check");
    assert_eq!(workspace.status()["current_backend"], "database");
    assert!(!said(&workspace, "doctor").out.contains("cannot be read"));
}

/// An index that leaves a row out hides it from what reads by ids: `list` lacks it, and what takes along all that is there says so first.
#[test]
fn rows_that_an_index_hides_are_named_before_anything_is_taken_along() {
    let workspace = crate::workspace();
    workspace.write("config/storage-backend.txt", "database\n");
    let database = |sql: &str| crate::milestones::sqlite3(&workspace, "enterprise.db", sql);
    database(
        r#"CREATE TABLE milestones(id TEXT, data JSON, created_at TEXT, updated_at TEXT);
        CREATE UNIQUE INDEX by_id ON milestones(id) WHERE id <> 'm-1';
        INSERT INTO milestones(id, data) VALUES ('m-0', '{"title":"a"}'), ('m-1', '{"title":"b"}'), ('m-2', '{"title":"c"}');
        PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET sql = replace(sql, ' WHERE id <> ''m-1''', '') WHERE name = 'by_id'"#,
    );
    text(&workspace, 0, "check");
    assert_eq!(text(&workspace, 0, "milestone list").lines().count(), 2, "the index hides one");
    for command in ["milestone export", "doctor", "migrate file --yes"] {
        let told = text(&workspace, 1, command);
        let is_said = told.contains("rows are not found by their id, 1 in all") && told.contains("REINDEX milestones");
        assert!(is_said, "{command}: {told}");
    }
    assert!(!workspace.path("active/m-0.yaml").exists(), "nothing has moved");
    database("REINDEX milestones");
    assert_eq!(text(&workspace, 0, "milestone list").lines().count(), 3);
    text(&workspace, 0, "doctor");
    text(&workspace, 0, "migrate file --yes");
    assert!(workspace.path("active/m-1.yaml").exists());
}
