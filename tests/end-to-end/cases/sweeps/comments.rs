//! Comments in old files: writes like any other.

use super::super::super::milestones::put;
use super::super::kept;
use super::{check, data, edit, moved, put_over, sql, told};

#[test]
fn a_comment_beside_a_change_in_the_store_in_use_is_kept_and_named() {
    let workspace = moved(3);
    sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"of the row\"}' WHERE id IN ('m-0', 'm-1')");
    sql(&workspace, "DELETE FROM milestones WHERE id = 'm-2'");
    for id in ["m-1", "m-2"] {
        let path = format!("active/{id}.yaml");
        let text = workspace.read(&path);
        workspace.save(&path, format!("{text}# do not ship\n"));
    }
    check(&workspace);
    check(&workspace);
    assert_eq!(told(&workspace, "write_conflict"), ["m-1", "m-2"], "each once, and what nobody wrote is none");
    assert!(data(&workspace, "m-1").contains("of the row"));
    assert_eq!(workspace.run(["rollback", "--yes"]).code, 0);
    assert_eq!(kept(&workspace).iter().filter(|text| text.ends_with("# do not ship\n")).count(), 2);
}

/// Comments that were put into the store in use are nowhere else: an edit of the other side does not replace them.
#[test]
fn a_comment_in_the_store_in_use_is_not_replaced_by_an_edit_of_the_other_side() {
    for edited in ["title: edited\n", "title: mended\n# of the file\n"] {
        let workspace = moved(2);
        let mended = if edited.contains("mended") { "mended" } else { "first 0" };
        let seen = workspace.run(["milestone", "show", "m-0", "--digest"]).out;
        let text = format!("title: {mended} # of the row\n");
        assert_eq!(put(&workspace, &["m-0", "--if-match", seen.trim()], &text).code, 0);
        workspace.save("active/m-0.yaml", edited);
        // Another program writes a row anew with the same values: its text is nobody's.
        sql(&workspace, "UPDATE milestones SET data = '{ \"title\":  \"first 1\" }' WHERE id = 'm-1'");
        workspace.save("active/m-1.yaml", "title: edited\n");
        check(&workspace);
        check(&workspace);
        assert_eq!(told(&workspace, "write_conflict"), ["m-0"], "{edited}");
        assert!(workspace.run(["milestone", "show", "m-0"]).out.contains("# of the row"), "{edited}");
        assert!(data(&workspace, "m-1").contains("edited"), "{edited}");
        assert_eq!(kept(&workspace), [edited]);
    }
}

/// The same where files are in use, which somebody comments with an editor, and the other side is a row.
#[test]
fn a_comment_in_a_file_in_use_is_not_replaced_by_an_edit_of_a_row() {
    let workspace = moved(1);
    super::migrate(&workspace, "file");
    workspace.save("active/m-0.yaml", "title: first 0 # of the file\n");
    check(&workspace);
    sql(&workspace, "UPDATE milestones SET data = '{\"title\": \"of the row\"}' WHERE id = 'm-0'");
    assert_eq!(workspace.run(["import"]).code, 0);
    assert_eq!(told(&workspace, "write_conflict"), ["m-0"]);
    assert_eq!(workspace.read("active/m-0.yaml"), "title: first 0 # of the file\n");
}

/// A comment that comes between the sweep of a move and its writing, beside a row that was changed.
#[test]
fn a_comment_that_comes_during_a_move_back_is_kept_and_named() {
    let strikes = ["write:1:meet", "write:2:meet", "fsync:1:meet", "fsync:2:meet", "fsync:3:meet"];
    let is_met = |strike: &str| {
        let workspace = moved(2);
        sql(&workspace, "UPDATE milestones SET data = '{\"title\": \"of the row\"}' WHERE id = 'm-0'");
        let file = workspace.path("active/m-0.yaml");
        let meet = format!("chmod u+w {0}; echo '# late' >> {0}", file.display());
        let mut move_back = workspace.command(["migrate", "file", "--yes"]);
        move_back.env("LD_PRELOAD", super::super::super::faults::shim());
        move_back.env("FAULT", strike).env("FAULT_PATH", "move-journal").env("FAULT_MEET", meet);
        assert!(move_back.status().unwrap().success(), "{strike}");
        check(&workspace);
        assert!(workspace.read("active/m-0.yaml").contains("of the row"), "{strike}");
        kept(&workspace).iter().any(|text| text.contains("# late"))
    };
    assert!(strikes.into_iter().filter(|strike| is_met(strike)).count() > 1, "it was met, and each time it is kept");
}

/// Another program has written the rows, or the same values on both sides: nobody wrote the row's text, and the file's stays.
#[test]
fn comments_of_files_stay_where_a_row_of_the_same_values_has_none() {
    let workspace = crate::workspace();
    workspace.write("active/m-0.yaml", "# ours\ntitle: first # keep\n");
    workspace.write("active/m-1.yaml", "# ours\ntitle: 'first'\n");
    let table = "CREATE TABLE milestones (id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)";
    sql(&workspace, &format!("{table}; INSERT INTO milestones (id, data) VALUES ('m-0', '{{\"title\":\"first\"}}')"));
    assert_eq!(workspace.run(["migrate", "database", "--adopt", "--yes"]).code, 0);
    sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"done\"}' WHERE id = 'm-1'");
    workspace.save("active/m-1.yaml", "# ours\ntitle: 'done'\n");
    check(&workspace);
    check(&workspace);
    assert_eq!(told(&workspace, "write_conflict"), [""; 0]);
    super::migrate(&workspace, "file");
    assert_eq!(workspace.read("active/m-0.yaml"), "# ours\ntitle: first # keep\n");
    assert_eq!(workspace.read("active/m-1.yaml"), "# ours\ntitle: 'done'\n");
}

/// The same comments on both sides are level; then only what is changed counts. New on both sides with other comments is not.
#[test]
fn comments_that_both_sides_have_got_are_level() {
    let workspace = moved(2);
    for (id, after) in [("m-0", "title: second\n"), ("m-1", "title: first 1\n")] {
        let both = format!("# hello\n{}", workspace.read(format!("active/{id}.yaml")));
        put_over(&workspace, id, &both);
        workspace.save(format!("active/{id}.yaml"), &both);
        check(&workspace);
        check(&workspace);
        put_over(&workspace, id, after);
        check(&workspace);
        assert_eq!(told(&workspace, "write_conflict"), [""; 0], "{id}");
        assert_eq!(workspace.run(["milestone", "show", id]).out, after);
    }
    assert_eq!(put(&workspace, &["new"], "# of the row\ntitle: new\n").code, 0);
    workspace.save("active/new.yaml", "# of the file\ntitle: new\n");
    check(&workspace);
    check(&workspace);
    assert_eq!(told(&workspace, "write_conflict"), ["new"]);
    assert_eq!(kept(&workspace), ["# of the file\ntitle: new\n"]);
}

/// What a move that failed has written into an old file is nobody's edit, also where only comments were new.
#[test]
fn comments_that_a_failed_move_has_brought_are_not_brought_back() {
    for fault in ["rename:1:EIO", "rename:1:kill"] {
        let workspace = moved(1);
        put_over(&workspace, "m-0", "# hello\ntitle: first 0\n");
        let mut failing = workspace.command(["migrate", "file", "--yes"]);
        failing.env("LD_PRELOAD", super::super::super::faults::shim());
        failing.env("FAULT", fault).env("FAULT_PATH", "storage-backend.txt");
        assert!(!failing.output().unwrap().status.success(), "{fault}");
        check(&workspace);
        assert!(workspace.read("active/m-0.yaml").contains("# hello"), "{fault}");
        put_over(&workspace, "m-0", "title: first 0\n");
        check(&workspace);
        check(&workspace);
        assert_eq!(workspace.run(["milestone", "show", "m-0"]).out, "title: first 0\n", "{fault}");
        assert_eq!(told(&workspace, "write_conflict"), [""; 0], "{fault}");
    }
}

/// A value of before with a comment that never was there is an edit; the text of before is a checkout.
#[test]
fn a_value_of_before_with_comments_of_its_own_is_an_edit() {
    let workspace = moved(3);
    edit(&workspace, 0..3, "second");
    check(&workspace);
    let edited = "title: first 0 # do not ship\n";
    workspace.save("active/m-0.yaml", edited);
    // What the store in use got since is not replaced by it either.
    put_over(&workspace, "m-1", "title: third\n");
    workspace.save("active/m-1.yaml", "title: first 1 # do not ship\n");
    workspace.save("active/m-2.yaml", "title: first 2\n");
    check(&workspace);
    check(&workspace);
    assert_eq!(workspace.run(["milestone", "show", "m-0"]).out, edited);
    assert_eq!(told(&workspace, "write_conflict"), ["m-1"]);
    assert_eq!(kept(&workspace), ["title: first 1 # do not ship\n"]);
    assert_eq!(workspace.run(["milestone", "show", "m-2"]).out, "title: second\n", "a checkout");
    super::migrate(&workspace, "file");
    assert_eq!(workspace.read("active/m-0.yaml"), edited);
}

/// A milescale of before remembered the values of earlier contents alone: nobody can tell if the comments are new.
#[test]
fn a_value_of_before_whose_texts_are_not_known_is_kept() {
    let workspace = moved(2);
    edit(&workspace, 0..2, "second");
    check(&workspace);
    sql(&workspace, "UPDATE milescale_earlier SET value = substr(value, 1, 32)");
    workspace.save("active/m-0.yaml", "title: first 0 # do not ship\n");
    workspace.save("active/m-1.yaml", "title: first 1\n");
    check(&workspace);
    check(&workspace);
    assert_eq!(told(&workspace, "write_conflict"), ["m-0"]);
    assert_eq!(kept(&workspace), ["title: first 0 # do not ship\n"]);
    assert_eq!(workspace.run(["milestone", "show", "m-0"]).out, "title: second\n");
}

/// What was put takes comments out, also where nothing but the values is left.
#[test]
fn comments_that_a_put_takes_out_do_not_come_back() {
    let workspace = crate::workspace();
    for id in ["m-0", "m-1"] {
        workspace.write(format!("active/{id}.yaml"), "# ours\ntitle: first\n");
    }
    super::migrate(&workspace, "database");
    for id in ["m-0", "m-1"] {
        put_over(&workspace, id, "title: first\n");
    }
    workspace.save("active/m-1.yaml", "title: edited\n");
    check(&workspace);
    check(&workspace);
    assert_eq!(told(&workspace, "write_conflict"), ["m-1"]);
    super::migrate(&workspace, "file");
    assert_eq!(workspace.read("active/m-0.yaml"), "title: first\n");
}
