//! An older document of the same id that lies in the archive is another one: where the milestone in use has left its place, neither
//! a restore nor a conflict that is decided takes it for that.

use std::fs;

use milescale_testkit::Workspace;

use super::super::super::milestones::sqlite3;
use super::super::super::workspace;
use super::{FILES, SQLITE, backups, done, restored, titles};

const OLDER: &str = "title: older # of another year\nstatus: archived\n";

/// A workspace with a milestone in use and an older one of its id in the archive, and a backup of that store.
fn beside(way: &[&str], older: &str) -> (Workspace, String) {
    let workspace = workspace();
    workspace.write("active/a.yaml", "title: backup\nstatus: planned\n");
    workspace.write("active/b.yaml", "title: other\n");
    workspace.write(format!("completed/{older}"), OLDER);
    done(&workspace, &[way, &["--yes"]].concat());
    if way == SQLITE {
        done(&workspace, &["migrate", "file", "--yes"]);
    }
    let from = if way == SQLITE { "-sqlite-to-" } else { "-file-to-" };
    let backup = backups(&workspace).into_iter().find(|it| it.contains(from)).unwrap();
    (workspace, backup)
}

#[test]
fn a_restore_leaves_an_older_document_in_the_archive() {
    for (way, older) in [(FILES, "a.yaml"), (FILES, "2024/a.yaml"), (SQLITE, "a.yaml"), (SQLITE, "2024/a.yaml")] {
        let (workspace, backup) = beside(way, older);
        fs::remove_file(workspace.path("active/a.yaml")).unwrap();
        done(&workspace, &["check"]);
        let displaced = restored(&workspace, &backup)["backup"].as_str().unwrap().to_owned();
        assert_eq!(workspace.read(format!("completed/{older}")), OLDER, "{way:?} {older}");
        let all = titles(&workspace);
        assert!(all.contains("a backup planned") && all.contains("a older archived"), "{way:?} {older}: {all}");
        // And back: what was there before is there, and the older one as well.
        restored(&workspace, &displaced);
        assert_eq!(workspace.read(format!("completed/{older}")), OLDER, "{way:?} {older}");
        assert_eq!(titles(&workspace), "a older archived; b other -", "{way:?} {older}");
    }
}

/// What was archived beside it since is the milestone: it is restored once, and the older one stays.
#[test]
fn what_was_archived_beside_an_older_one_is_restored_once() {
    let (workspace, backup) = beside(FILES, "2024/a.yaml");
    fs::remove_file(workspace.path("active/a.yaml")).unwrap();
    workspace.save("completed/a.yaml", "title: since # mine\nstatus: archived\n");
    let displaced = restored(&workspace, &backup)["backup"].as_str().unwrap().to_owned();
    assert_eq!(titles(&workspace), "a backup planned; a older archived; b other -");
    assert!(!workspace.path("completed/a.yaml").exists());
    assert_eq!(workspace.read("completed/2024/a.yaml"), OLDER);
    // One id goes to the archive once: where another document lies there, that is said, and the backup stays.
    let said = workspace.run(["restore", &displaced, "--yes"]);
    assert!(said.code == 1 && said.err.contains("Rename one of the two"), "{said:?}");
    assert_eq!(titles(&workspace), "a backup planned; a older archived; b other -");
}

#[test]
fn what_is_taken_of_a_conflict_leaves_an_older_document_in_the_archive() {
    for (to, older) in
        [("file", "a.yaml"), ("file", "2024/a.yaml"), ("database", "a.yaml"), ("database", "2024/a.yaml")]
    {
        let workspace = workspace();
        workspace.write("active/a.yaml", "title: first\nstatus: planned\n");
        workspace.write(format!("completed/{older}"), OLDER);
        done(&workspace, &[SQLITE, &["--yes"]].concat());
        sqlite3(
            &workspace,
            "enterprise.db",
            "UPDATE milestones SET data = '{\"title\":\"row\",\"status\":\"planned\"}'",
        );
        workspace.save("active/a.yaml", "title: kept\nstatus: planned\n");
        done(&workspace, &["import"]);
        if to == "file" {
            done(&workspace, &["migrate", "file", "--yes"]);
            fs::remove_file(workspace.path("active/a.yaml")).unwrap();
        } else {
            sqlite3(&workspace, "enterprise.db", "DELETE FROM milestones");
        }
        let conflicts = done(&workspace, &["conflicts", "list", "--json"]).json();
        let name = conflicts[0]["name"].as_str().unwrap();
        // Also where nobody noted what lay there, as older versions did not.
        if older == "a.yaml" {
            fs::remove_file(workspace.path(format!(".milescale/conflicts/{name}.json"))).unwrap();
        }
        let said = done(&workspace, &["conflicts", "resolve", name, "--take-kept"]).out;
        assert!(said.contains("there was no other content"), "{said}");
        assert_eq!(workspace.read(format!("completed/{older}")), OLDER, "{to} {older}");
        assert_eq!(titles(&workspace), "a kept planned; a older archived", "{to} {older}");
    }
}
