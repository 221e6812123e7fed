//! Files of the store in use and of milescale's own that are damaged: what is said of them, and that the way named works.

use std::fs;

use super::{text, with_milestones};

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
