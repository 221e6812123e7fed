//! Contents that an old side had before, and stores in use that went back.

use std::fs;

use milescale_testkit::until;

use super::{check, data, edit, migrate, moved, put_over, sql, told};

/// What stood in files alone, in conflict or imported, was never in the row: there it is an edit.
#[test]
fn what_another_side_had_is_no_earlier_content() {
    for is_in_conflict in [false, true] {
        let workspace = moved(1);
        if is_in_conflict {
            put_over(&workspace, "m-0", "title: put\n");
        }
        for title in ["of the file", "of the file too"] {
            edit(&workspace, [0], title);
            check(&workspace);
        }
        let conflicts = told(&workspace, "write_conflict").len();
        assert_eq!(conflicts, if is_in_conflict { 2 } else { 0 });
        migrate(&workspace, "file");
        sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"of the file\"}'");
        check(&workspace);
        assert!(workspace.read("active/m-0.yaml").contains("of the file"), "{is_in_conflict}");
        assert!(!workspace.read("active/m-0.yaml").contains("too"), "{is_in_conflict}");
        assert_eq!(told(&workspace, "changes_reported"), [""; 0], "{is_in_conflict}");
    }
}

/// A checkout takes no comment out that came since, be the values the same.
#[test]
fn a_checkout_of_a_text_without_a_comment_is_reported() {
    let workspace = moved(2);
    let before = workspace.read("active/m-0.yaml");
    for id in ["m-0", "m-1"] {
        workspace
            .save(format!("active/{id}.yaml"), format!("# agreed\n{}", workspace.read(format!("active/{id}.yaml"))));
    }
    check(&workspace);
    put_over(&workspace, "m-1", "# agreed\ntitle: put\n");
    workspace.save("active/m-0.yaml", &before);
    workspace.save("active/m-1.yaml", before.replace('0', "1"));
    check(&workspace);
    assert_eq!(workspace.run(["milestone", "show", "m-0"]).out, format!("# agreed\n{before}"));
    assert_eq!(
        (told(&workspace, "changes_reported"), told(&workspace, "write_conflict")),
        (vec!["m-0".to_owned(), "m-1".to_owned()], vec![])
    );
    migrate(&workspace, "file");
    assert_eq!(workspace.read("active/m-0.yaml"), format!("# agreed\n{before}"));
    assert_eq!(workspace.read("active/m-1.yaml"), "# agreed\ntitle: put\n");
}

/// A database in use is restored from a copy, with its bases: a daemon that runs brings over again what it lacks.
#[test]
fn what_a_database_in_use_lacks_that_went_back_is_brought_again() {
    let workspace = moved(1);
    let daemon = workspace.daemon(["--interval", "1"]);
    daemon.until("milestone_count", 1);
    let copy = workspace.root().join("copy.db");
    sql(&workspace, &format!("VACUUM INTO '{}'", copy.display()));
    workspace.save("active/m-0.yaml", "title: edited\n");
    let is_edited = || data(&workspace, "m-0").contains("edited").then_some(());
    until("the edit", is_edited);
    sql(&workspace, &format!(".restore {}", copy.display()));
    until("the edit again", is_edited);
    fs::remove_file(copy).unwrap();
}
