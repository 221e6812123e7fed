//! Several of one id in the archive, and what a comparison of archived texts cannot read.

use std::fs;

use milescale_testkit::Workspace;

use super::super::super::milestones::{put, sqlite3};
use super::super::super::workspace;
use super::super::kept;
use super::{done, rename};

fn data(workspace: &Workspace, id: &str) -> String {
    sqlite3(workspace, "enterprise.db", &format!("SELECT data FROM milestones WHERE id = '{id}'"))
}

/// An older one lies there in another folder: what comes beside it was moved there, with its edit or without.
#[test]
fn l23_what_is_archived_beside_an_older_one_is_judged() {
    for edit in ["", "lesson: learned\n"] {
        let workspace = workspace();
        workspace.write("active/a.yaml", "id: a\ntitle: newer\n");
        workspace.write("completed/2025/a.yaml", "id: a\ntitle: older\nstatus: archived\n");
        workspace.write("completed/2024/a.yaml", "id: a\ntitle: oldest\nstatus: archived\n");
        done(&workspace, &["migrate", "database", "--yes"]);
        rename(&workspace, "active/a.yaml", "completed/2026/a.yaml");
        workspace.write("completed/2026/a.yaml", format!("id: a\ntitle: newer\n{edit}"));
        for _ in 0..2 {
            done(&workspace, &["import"]);
            let data = data(&workspace, "a");
            assert!(data.contains("newer") && data.contains("archived"), "{edit}: {data}");
            assert_eq!(data.contains("learned"), !edit.is_empty(), "{data}");
        }
        // An edit where it lies is one of it, and not of the older ones.
        workspace.append("completed/2026/a.yaml", "more: true\n");
        for _ in 0..2 {
            done(&workspace, &["import"]);
            assert!(data(&workspace, "a").contains("more") && data(&workspace, "a").contains("newer"), "{edit}");
        }
        assert!(workspace.events_named("write_conflict").is_empty() && kept(&workspace).concat().is_empty());
        assert!(
            workspace.events_named("changes_reported").is_empty(),
            "{:?}",
            workspace.events_named("changes_reported")
        );
        for (year, title) in [("2025", "older"), ("2024", "oldest")] {
            assert!(workspace.read(format!("completed/{year}/a.yaml")).contains(title));
        }
    }
}

/// The comments of a row that is archived are nowhere else where its file in the archive has others: they are kept when the files
/// are followed.
#[test]
fn l16_comments_of_an_archived_row_are_kept_where_files_are_followed() {
    let workspace = workspace();
    assert_eq!(put(&workspace, &["a"], "id: a\ntitle: one\nstatus: active\n").code, 0);
    assert_eq!(put(&workspace, &["b"], "id: b\n").code, 0);
    done(&workspace, &["migrate", "database", "--yes"]);
    let text = "# of the row\nid: a\ntitle: one\nstatus: active\n";
    let digest = done(&workspace, &["milestone", "show", "a", "--digest"]).out;
    assert_eq!(put(&workspace, &["a", "--if-match", digest.trim()], text).code, 0);
    rename(&workspace, "active/a.yaml", "completed/a.yaml");
    done(&workspace, &["import"]);
    done(&workspace, &["check"]);
    workspace.write("config/storage-backend.txt", "file\n");
    done(&workspace, &["check"]);
    assert_eq!(workspace.status()["current_backend"], "file", "{:?}", workspace.events());
    assert!(kept(&workspace).concat().contains("# of the row"), "{:?}", workspace.events());
    assert_eq!(workspace.events_named("write_conflict").len(), 1);
}

/// The same the other way: what the file of an archived row says in comments alone is an edit of it, and is brought over.
#[test]
fn l16_comments_of_an_archived_file_are_brought_over_where_a_database_is_followed() {
    let workspace = workspace();
    done(&workspace, &["migrate", "database", "--yes"]);
    assert_eq!(put(&workspace, &["a"], "id: a\ntitle: one\nstatus: archived\n").code, 0);
    assert_eq!(put(&workspace, &["b"], "id: b\n").code, 0);
    // As another program leaves it.
    sqlite3(&workspace, "enterprise.db", "DELETE FROM milescale_texts");
    done(&workspace, &["migrate", "hybrid", "--yes"]);
    workspace.save("completed/a.yaml", workspace.read("completed/a.yaml") + "# of the file\n");
    workspace.write("config/storage-backend.txt", "database\n");
    done(&workspace, &["check"]);
    assert_eq!(workspace.status()["current_backend"], "database", "{:?}", workspace.events());
    done(&workspace, &["milestone", "unarchive", "a"]);
    done(&workspace, &["migrate", "file", "--yes"]);
    assert!(workspace.read("active/a.yaml").contains("# of the file"), "{:?}", workspace.events());
}

/// A milestone that says another id cannot be written archived, so that nothing shows that two of its texts are the same.
#[test]
fn l22_texts_that_say_another_id_are_not_taken_for_the_same() {
    let workspace = workspace();
    workspace.write("active/a.yaml", "id: other\ntitle: one # ours\nstatus: archived\n");
    workspace.write("active/b.yaml", "id: b\n");
    done(&workspace, &["migrate", "database", "--yes"]);
    done(&workspace, &["retire", "files", "--yes"]);
    workspace.write("completed/a.yaml", "id: other\ntitle: one\nstatus: archived\n");
    done(&workspace, &["rollback", "--yes"]);
    let files = ["active/a.yaml", "completed/a.yaml"].map(|path| fs::read_to_string(workspace.path(path)));
    let held: String = files.into_iter().flatten().chain([kept(&workspace).concat()]).collect();
    assert!(held.contains("# ours"), "{held:?} {:?}", workspace.events());
}

/// The rows that are archived are in the archive of the files too: followed by hand, they are the same, and an edit is one of them.
#[test]
fn l22_an_edit_of_an_archived_row_of_a_followed_store_is_no_conflict() {
    let workspace = workspace();
    assert_eq!(put(&workspace, &["b"], "id: b\n").code, 0);
    done(&workspace, &["migrate", "database", "--yes"]);
    assert_eq!(put(&workspace, &["a"], "id: a\nstatus: archived\n").code, 0);
    done(&workspace, &["migrate", "file", "--yes"]);
    workspace.write("config/storage-backend.txt", "database\n");
    workspace.age_marker(1);
    done(&workspace, &["check"]);
    assert_eq!(workspace.status()["current_backend"], "database", "{:?}", workspace.events());
    sqlite3(&workspace, "enterprise.db", "UPDATE milestones SET data = json_set(data, '$.more', 1) WHERE id = 'a'");
    done(&workspace, &["migrate", "file", "--yes"]);
    assert!(workspace.read("completed/a.yaml").contains("more: 1"));
    assert!(kept(&workspace).concat().is_empty(), "{:?}", workspace.events());
}

/// An older one lay in the archive when the files were left. What milescale itself takes out of the archive, or a person, lets that one
/// come to nobody's sight: it is not the milestone's own, whatever was archived for its file before.
#[test]
fn l21_an_older_one_is_not_taken_for_a_milestone_that_left_the_archive() {
    for way in ["unarchive", "remove", "restore", "rollback", "pull", "edit"] {
        let workspace = workspace();
        workspace.write("active/a.yaml", "id: a\ntitle: newer # ours\n");
        workspace.write("active/b.yaml", "id: b\n");
        if way != "pull" {
            workspace.write("completed/2025/a.yaml", "id: a\ntitle: older\nstatus: archived\n");
        }
        done(&workspace, &["migrate", "database", "--yes"]);
        rename(&workspace, "active/a.yaml", "completed/a.yaml");
        done(&workspace, &["import"]);
        assert!(data(&workspace, "a").contains("archived"), "{way}");
        if way == "remove" {
            fs::remove_file(workspace.path("completed/a.yaml")).unwrap();
        } else if way == "restore" {
            let backup = done(&workspace, &["backups", "list", "--json"]).json()[0]["id"].as_str().unwrap().to_owned();
            done(&workspace, &["restore", &backup, "--yes"]);
        } else {
            done(&workspace, &["milestone", "unarchive", "a"]);
        }
        if way == "rollback" {
            done(&workspace, &["rollback", "--yes"]);
        }
        for _ in 0..2 {
            done(&workspace, &["import"]);
        }
        if way == "pull" || way == "edit" {
            workspace.write("completed/2025/a.yaml", "id: a\ntitle: pulled\nstatus: archived\n");
            for _ in 0..2 {
                done(&workspace, &["import"]);
            }
            assert!(kept(&workspace).concat().contains("pulled"), "{way}: it is named");
        }
        let there = done(&workspace, &["milestone", "show", "a"]).out;
        assert!(there.contains("newer # ours") && !there.contains("older"), "{way}: {there}");
        if workspace.status()["current_backend"] == "database" {
            done(&workspace, &["migrate", "file", "--force", "--yes"]);
        }
        assert!(workspace.path("completed/2025/a.yaml").exists(), "{way}: it stays where it lay");
        assert!(
            kept(&workspace).concat().is_empty() || ["remove", "pull", "edit"].contains(&way),
            "{way}: {}",
            kept(&workspace).concat()
        );
    }
}

/// A milestone that lies in the folder of another one is one, where it says its id.
#[test]
fn l23_a_milestone_in_the_folder_of_another_one_is_archived() {
    let workspace = workspace();
    for id in ["a", "b"] {
        workspace.write(format!("active/{id}.yaml"), format!("id: {id}\ntitle: {id}\n"));
    }
    workspace.write("completed/a/a.yaml", "id: a\n");
    workspace.write("completed/a/notes.yaml", "no: milestone\n");
    done(&workspace, &["migrate", "database", "--yes"]);
    rename(&workspace, "active/b.yaml", "completed/a/b.yaml");
    workspace.append("completed/a/b.yaml", "lesson: learned\n");
    done(&workspace, &["import"]);
    assert!(data(&workspace, "b").contains("learned") && data(&workspace, "b").contains("archived"));
    let listed = done(&workspace, &["milestone", "list", "--all"]).out;
    assert!(!listed.contains("notes"), "{listed}");
}
