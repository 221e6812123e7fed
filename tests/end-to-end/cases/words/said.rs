//! Sentences that name what to do next.

use std::fs;

use super::{text, with_milestones};

#[test]
fn a_milestone_that_is_there_already_is_replaced_by_the_option_that_put_names() {
    let workspace = with_milestones();
    let file = workspace.root().join("draft.yaml");
    fs::write(&file, "id: m-1\ntitle: other\n").unwrap();
    let put = format!("milestone put m-1 {}", file.display());
    for moved in [None, Some("migrate database --yes")] {
        if let Some(moved) = moved {
            text(&workspace, 0, moved);
        }
        let told = text(&workspace, 1, &put);
        let show = "milestone show --digest m-1";
        assert!(told.contains("pass --if-match") && told.contains(&format!("`milescale {show}`")), "{told}");
        assert!(told.contains("nothing was written"), "{told}");
        let digest = text(&workspace, 0, show);
        text(&workspace, 0, &format!("{put} --if-match {}", digest.trim()));
    }
}

#[test]
fn the_note_beside_files_that_were_left_stays_true() {
    let workspace = with_milestones();
    text(&workspace, 0, "migrate database --yes");
    let note = workspace.read("active/MOVED-TO-A-DATABASE.txt");
    assert!(!note.contains("sqlite") && note.contains("read-only"), "{note}");
    text(&workspace, 0, "rollback --yes");
    super::configure(&workspace, "storage:\n  migration:\n    files_after: retire\n");
    text(&workspace, 0, "migrate database --yes");
    let note = workspace.read("active/MOVED-TO-A-DATABASE.txt");
    assert!(!note.contains("read-only") && note.contains(".milescale/retired"), "{note}");
}
