//! Retired stores, and what milescale itself has moved.

use std::fs;

use super::{check, data, edit, is_named, migrate, moved, sql, told};

#[test]
fn l04_what_appears_on_a_retired_side_is_named_and_import_brings_it() {
    let workspace = moved(5);
    assert_eq!(workspace.run(["retire", "files", "--yes"]).code, 0);
    edit(&workspace, [3], "made anew");
    workspace.save("active/new.yaml", "title: from an old habit\n");
    check(&workspace);
    let held = workspace.until_event("changes_held", 1);
    assert_eq!(held["details"]["ids"], serde_json::json!(["m-3", "new"]));
    assert_eq!(held["details"]["retired"], true);
    assert!(is_named(&workspace, "m-3 (files)") && is_named(&workspace, "new (files)"));
    assert!(!data(&workspace, "m-3").contains("anew"), "a person decides");
    check(&workspace);
    assert_eq!(told(&workspace, "changes_held").len(), 2, "said once");
    assert_eq!(workspace.run(["import", "--json"]).json()["imported"], 2);
    assert!(data(&workspace, "m-3").contains("anew") && data(&workspace, "new").contains("habit"));
    assert!(told(&workspace, "changes_reported").is_empty(), "what was retired is not gone");
    assert!(workspace.run(["doctor"]).out.contains("0 wrong"));
}

#[test]
fn l04_a_row_in_a_retired_database_is_named_too() {
    let workspace = moved(3);
    migrate(&workspace, "file");
    assert_eq!(workspace.run(["retire", "sqlite", "--yes"]).code, 0);
    check(&workspace);
    assert!(workspace.events_named("changes_held").is_empty());
    // Somebody takes the refusal away.
    let triggers = sql(&workspace, "SELECT name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%RAISE%'");
    for name in triggers.lines() {
        sql(&workspace, &format!("DROP TRIGGER {name}"));
    }
    sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"late\"}' WHERE id = 'm-1'");
    check(&workspace);
    assert_eq!(told(&workspace, "changes_held"), ["m-1"]);
    assert!(is_named(&workspace, "m-1 (sqlite)"));
    assert_eq!(workspace.run(["import", "--json"]).json()["imported"], 1);
    assert!(workspace.read("active/m-1.yaml").contains("late"));
}

#[test]
fn p10_what_milescale_itself_has_retired_is_not_gone() {
    let workspace = moved(6);
    // A cut while retiring leaves some files here and some there.
    fs::create_dir_all(workspace.path(".milescale/retired/1/sub")).unwrap();
    for (id, to) in [("m-0", "m-0"), ("m-1", "sub/m-1"), ("m-2", "m-2")] {
        let to = workspace.path(format!(".milescale/retired/1/{to}.yaml"));
        fs::rename(workspace.path(format!("active/{id}.yaml")), to).unwrap();
    }
    fs::remove_file(workspace.path("active/m-5.yaml")).unwrap();
    // One of them was still being written to.
    fs::write(workspace.path(".milescale/retired/1/m-2.yaml"), "title: the last save\n").unwrap();
    // By `import`, which looks at everything, and by `check`.
    assert_eq!(workspace.run(["import"]).code, 0);
    check(&workspace);
    assert_eq!(told(&workspace, "changes_reported"), ["m-5"], "only what somebody else has removed");
    assert!(data(&workspace, "m-2").contains("the last save"));
}

#[test]
fn p10_what_a_move_back_has_archived_is_not_gone() {
    let workspace = moved(3);
    assert_eq!(workspace.run(["milestone", "archive", "m-1"]).code, 0);
    // A move back that is cut after this one: its file lies among the archived ones, as it is in the database.
    let archived = workspace.run(["milestone", "show", "m-1"]).out;
    workspace.write("completed/m-1.yaml", archived);
    fs::remove_file(workspace.path("active/m-1.yaml")).unwrap();
    assert_eq!(workspace.run(["import"]).code, 0);
    check(&workspace);
    assert!(told(&workspace, "changes_reported").is_empty(), "{:?}", workspace.events_named("changes_reported"));
}
