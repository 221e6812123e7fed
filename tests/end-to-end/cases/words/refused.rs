//! A store in use that refuses to be written: what is said of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use milescale_testkit::Workspace;

use super::{on_server, said, text, with_milestones};

fn put(workspace: &Workspace, id: &str) -> String {
    let file = workspace.root().join("draft.yaml");
    fs::write(&file, format!("id: {id}\ntitle: changed\n")).unwrap();
    let digest = text(workspace, 0, &format!("milestone show {id} --digest"));
    text(workspace, 1, &format!("milestone put {id} {} --if-match {}", file.display(), digest.trim()))
}

#[test]
fn a_right_that_a_server_does_not_give_is_named_by_doctor_and_put() {
    let (server, workspace) = on_server();
    for (right, table) in [("UPDATE", "milestones"), ("INSERT", "milescale_changes")] {
        server.psql("plans", &format!("REVOKE {right} ON {table} FROM ada"));
        let refused = put(&workspace, "m-1");
        assert!(refused.contains(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO")), "{refused}");
        let told = text(&workspace, 1, "doctor");
        assert!(told.contains(table) && told.to_lowercase().contains("grant"), "{right} {table}: {told}");
        server.psql("plans", &format!("GRANT {right} ON {table} TO ada"));
    }
    let told = said(&workspace, "doctor").out;
    assert!(!told.to_lowercase().contains("grant "), "{told}");
}

#[test]
fn a_database_that_this_account_may_not_write_is_named_by_doctor_needs_root() {
    let workspace = with_milestones();
    text(&workspace, 0, "migrate database --yes");
    assert!(Command::new("chown").args(["-R", "65533:65533"]).arg(workspace.root()).status().unwrap().success());
    let database = workspace.path("enterprise.db");
    chown(&database, Some(0), Some(0)).unwrap();
    fs::set_permissions(&database, fs::Permissions::from_mode(0o644)).unwrap();
    let mut somebody = Workspace::at(workspace.root(), crate::BINARY);
    somebody.wrapper =
        ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups"].map(str::to_owned).to_vec();
    let told = text(&somebody, 1, "doctor");
    assert!(told.contains("enterprise.db: it cannot be read and written: this user may not write it"), "{told}");
    // And so is the folder of backups, which each move needs.
    for mode in [0o755, 0o555] {
        fs::set_permissions(workspace.path("backups"), fs::Permissions::from_mode(mode)).unwrap();
        let told = text(&somebody, 1, "doctor");
        let is_named = told.contains("backups: nothing can be made there");
        assert_eq!(is_named, mode == 0o555, "{told}");
    }
}

#[test]
fn a_damaged_file_of_bases_is_named_by_doctor() {
    let workspace = with_milestones();
    for to in ["database", "file"] {
        text(&workspace, 0, &format!("migrate {to} --yes"));
    }
    text(&workspace, 0, "doctor");
    assert!(workspace.path(".milescale/base.db").exists());
    workspace
        .write(".milescale/base.db", "no database at all, and longer than what a header of SQLite takes: ".repeat(40));
    let told = text(&workspace, 1, "doctor");
    assert!(told.contains(".milescale/base.db") && told.contains("remove it: what differs"), "{told}");
    fs::remove_file(workspace.path(".milescale/base.db")).unwrap();
    text(&workspace, 0, "doctor");
    assert!(!workspace.path(".milescale/base.db").exists(), "a reader makes none");
}
