//! Comments in old files: writes like any other.

use std::fs;

use super::{check, data, moved, sql, told};

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
    let kept = fs::read_dir(workspace.path(".milescale/conflicts")).unwrap();
    let texts = kept.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    assert_eq!(texts.filter(|text| text.ends_with("# do not ship\n")).count(), 2);
}
