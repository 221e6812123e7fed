//! A milestone that was archived on one side and is in use on the other stands in one place, and only what was changed counts.

use milescale_testkit::Workspace;

use super::super::super::milestones::{put, sqlite3};
use super::super::super::workspace;
use super::{done, files, listed, rename};

/// A workspace with `m1` and two others, moved to SQLite.
fn moved() -> Workspace {
    let workspace = workspace();
    for id in ["m1", "n1", "n2"] {
        assert_eq!(put(&workspace, &[id], &format!("id: {id}\ntitle: first\nstatus: active\n")).code, 0);
    }
    done(&workspace, &["migrate", "database", "--yes"]);
    workspace
}

/// The same, where the file of `m1` was moved to the archive, and its row is archived for it.
fn archived_for_its_file() -> Workspace {
    let workspace = moved();
    rename(&workspace, "active/m1.yaml", "completed/m1.yaml");
    done(&workspace, &["import"]);
    workspace
}

/// Writes a value into the row of `m1`, as an adapter does.
fn set(workspace: &Workspace, key: &str, value: &str) {
    let update = format!("UPDATE milestones SET data = json_set(data, '$.{key}', '{value}') WHERE id = 'm1'");
    sqlite3(workspace, "enterprise.db", &update);
}

/// Where `m1` stands among the files.
fn places(workspace: &Workspace) -> Vec<String> {
    let of = |folder: &str| files(&workspace.path(folder)).into_iter().map(move |(name, _)| name);
    let active = of("active").map(|name| format!("active/{name}"));
    let all = active.chain(of("completed").map(|name| format!("completed/{name}")));
    all.filter(|name| name.ends_with("/m1.yaml")).collect()
}

fn conflicts(workspace: &Workspace) -> usize {
    workspace.events_named("write_conflict").len()
}

#[test]
fn l22_unarchive_changes_the_status_of_a_file_that_was_archived_in_its_place() {
    for (to, more, status) in [("file", &[][..], "active"), ("hybrid", &["--status", "planned"], "planned")] {
        let workspace = moved();
        done(&workspace, &["milestone", "archive", "m1"]);
        done(&workspace, &["migrate", to, "--yes"]);
        assert!(workspace.read("active/m1.yaml").contains("archived"), "its old file stays in its place");
        let stale = ["milestone", "unarchive", "m1", "--if-match", &"0".repeat(64)];
        assert!(workspace.run(stale).err.contains("changed meanwhile"), "{to}");
        let said = done(&workspace, &[&["milestone", "unarchive", "m1"], more].concat());
        assert!(!said.out.contains("not archived"), "{to}: {said:?}");
        assert_eq!(workspace.read("active/m1.yaml"), format!("id: m1\ntitle: first\nstatus: {status}\n"), "{to}");
        let said = done(&workspace, &["milestone", "unarchive", "m1", "--status", "paused"]);
        assert!(said.out.contains("not archived"), "{to}: twice is done twice: {said:?}");
        done(&workspace, &["migrate", "database", "--yes"]);
        assert_eq!(listed(&workspace, &["list"]), ["m1", "n1", "n2"], "{to}");
        assert_eq!(conflicts(&workspace), 0, "{to}");
    }
}

/// The file is edited and goes to the archive, and the row is changed: what was kept of it is taken.
#[test]
fn l21_what_is_taken_of_a_conflict_leaves_no_file_in_the_archive() {
    let workspace = moved();
    set(&workspace, "title", "of the row");
    rename(&workspace, "active/m1.yaml", "completed/m1.yaml");
    workspace.write("completed/m1.yaml", "id: m1\ntitle: of the file\nstatus: active\n");
    done(&workspace, &["import"]);
    let list = done(&workspace, &["conflicts", "list", "--json"]).json();
    done(&workspace, &["conflicts", "resolve", list[0]["name"].as_str().unwrap(), "--take-kept"]);
    assert!(places(&workspace).is_empty(), "it is a row again");
    assert_eq!(listed(&workspace, &["list", "--all"]), ["m1", "n1", "n2"]);
    done(&workspace, &["check"]);
    done(&workspace, &["rollback", "--yes"]);
    assert_eq!(places(&workspace), ["active/m1.yaml"]);
    assert!(workspace.read("active/m1.yaml").contains("of the file"));
    done(&workspace, &["milestone", "archive", "m1"]);
    assert_eq!(places(&workspace), ["completed/m1.yaml"]);
}

/// An adapter sets the row in use again that was archived for its file: moved back, the file is in its place again.
#[test]
fn l21_a_row_in_use_again_takes_its_file_out_of_the_archive() {
    for (to, title) in [("file", "first"), ("hybrid", "of the row")] {
        let workspace = archived_for_its_file();
        set(&workspace, "status", "active");
        set(&workspace, "title", title);
        // What fails brings it there too, and is no change.
        let mut failing = workspace.command(["migrate", to, "--yes"]);
        failing.env("LD_PRELOAD", super::super::super::faults::shim());
        failing.env("FAULT", "rename:1:EIO").env("FAULT_PATH", "storage-backend.txt");
        assert_eq!(failing.output().unwrap().status.code(), Some(1), "{to}");
        done(&workspace, &["import"]);
        assert_eq!(listed(&workspace, &["list"]), ["m1", "n1", "n2"], "{to}");
        done(&workspace, &["migrate", to, "--yes"]);
        assert_eq!(places(&workspace), ["active/m1.yaml"], "{to}");
        assert!(workspace.read("active/m1.yaml").contains(title), "{to}");
        done(&workspace, &["milestone", "archive", "m1"]);
        done(&workspace, &["milestone", "unarchive", "m1"]);
        assert_eq!((places(&workspace), conflicts(&workspace)), (vec!["active/m1.yaml".to_owned()], 0), "{to}");
    }
}

/// The archived file still says that it is active, and its row that it is archived: an edit of the row alone is an edit.
#[test]
fn e12_an_edit_of_the_row_of_what_lies_in_the_archive_is_no_conflict() {
    for (key, is_checked) in [("title", false), ("title", true), ("status", true)] {
        let workspace = archived_for_its_file();
        done(&workspace, &["rollback", "--yes"]);
        assert_eq!(workspace.read("completed/m1.yaml"), "id: m1\ntitle: first\nstatus: active\n");
        if is_checked {
            done(&workspace, &["check"]);
        }
        set(&workspace, key, "paused");
        done(&workspace, &["import"]);
        assert_eq!(conflicts(&workspace), 0, "{key} {is_checked}");
        assert!(done(&workspace, &["milestone", "show", "m1"]).out.contains("paused"), "{key} {is_checked}");
        assert_eq!(places(&workspace).len(), 1, "{key} {is_checked}");
        done(&workspace, &["import"]);
        assert_eq!(workspace.events_named("changes_imported").len(), 2, "{key} {is_checked}: the archiving, the edit");
    }
}

/// Both sides are changed: that is a conflict as ever. So is an edit of the row of what was taken out of the archive.
#[test]
fn e12_an_edit_of_both_sides_of_what_lies_in_the_archive_is_a_conflict() {
    for is_unarchived in [false, true] {
        let workspace = archived_for_its_file();
        done(&workspace, &["rollback", "--yes"]);
        done(&workspace, &["check"]);
        if is_unarchived {
            done(&workspace, &["milestone", "unarchive", "m1"]);
        } else {
            workspace.append("completed/m1.yaml", "lesson: learned\n");
        }
        done(&workspace, &["import"]);
        assert_eq!(conflicts(&workspace), 0, "{is_unarchived}: only one side was changed");
        set(&workspace, "title", "of the row");
        done(&workspace, &["import"]);
        assert_eq!(conflicts(&workspace), 1, "{is_unarchived}");
        assert!(done(&workspace, &["milestone", "show", "m1"]).out.contains("first"), "{is_unarchived}");
    }
}

/// What lies in the archive of adapters is in the way as in the archive of ours: another id's file would be the second one.
#[test]
fn l21_an_id_lies_in_the_archive_once_in_whatever_layout() {
    for place in ["m1.yaml", "m1/m1.yaml", "m1/definition.yaml", "2026/m1.yaml"] {
        let (workspace, there) = (moved(), format!("completed/{place}"));
        workspace.write(&there, "id: m1\ntitle: earlier\n");
        set(&workspace, "status", "archived");
        done(&workspace, &["rollback", "--yes"]);
        assert!(workspace.read("active/m1.yaml").contains("archived"), "{place}: it stays in its place");
        let said = workspace.run(["milestone", "archive", "m1"]);
        assert!(said.code != 0 && said.err.contains(&there), "{place}: {said:?}");
        assert_eq!(workspace.read(&there), "id: m1\ntitle: earlier\n", "{place}");
        // Changed where it is not in use: it is taken over, and stays in its place.
        set(&workspace, "status", "active");
        done(&workspace, &["import"]);
        set(&workspace, "title", "of the row");
        set(&workspace, "status", "archived");
        done(&workspace, &["import"]);
        assert!(workspace.read("active/m1.yaml").contains("of the row"), "{place}");
        assert_eq!(files(&workspace.path("completed")).len(), 1, "{place}");
    }
}

/// A move to files that fails leaves what it has written into the archive as dealt with: nobody has moved it there.
#[test]
fn l22_a_row_in_use_again_after_a_move_that_failed_is_not_archived_for_its_file() {
    // The title is changed before the move, or with the status, which a move that fails in the middle has begun to bring back.
    for (path, fault, is_before) in [
        ("storage-backend.txt", "rename:1:EIO", true),
        ("storage-backend.txt", "rename:1:kill", true),
        ("active/m1.yaml", "rename:1:EIO", false),
        ("active/m1.yaml", "rename:1:kill", false),
    ] {
        let workspace = archived_for_its_file();
        set(&workspace, "title", "of the row");
        if !is_before {
            set(&workspace, "status", "active");
        }
        let mut failing = workspace.command(["migrate", "file", "--yes"]);
        failing.env("LD_PRELOAD", super::super::super::faults::shim()).env("FAULT", fault).env("FAULT_PATH", path);
        assert!(!failing.output().unwrap().status.success(), "{path} {fault}");
        if is_before {
            if fault.ends_with("kill") {
                done(&workspace, &["check"]);
            }
            set(&workspace, "status", "active");
        }
        done(&workspace, &["import"]);
        assert_eq!(listed(&workspace, &["list"]), ["m1", "n1", "n2"], "{path} {fault}");
        done(&workspace, &["migrate", "file", "--yes"]);
        assert_eq!(places(&workspace), ["active/m1.yaml"], "{path} {fault}");
        assert_eq!(conflicts(&workspace), 0, "{path} {fault}");
    }
}

/// A row was archived, and the file in use goes to the archive for it, also where that dies in between.
#[test]
fn l20_an_import_that_dies_before_the_move_to_the_archive_is_finished() {
    for fault in ["rename:1:kill", "rename:1:EIO"] {
        let workspace = moved();
        done(&workspace, &["rollback", "--yes"]);
        set(&workspace, "title", "done");
        set(&workspace, "status", "archived");
        let mut dying = workspace.command(["import"]);
        dying.env("LD_PRELOAD", super::super::super::faults::shim());
        dying.env("FAULT", fault).env("FAULT_PATH", "completed/m1.yaml");
        // What fails once is looked at again, by this command or the next one.
        dying.output().unwrap();
        assert_eq!(places(&workspace), ["active/m1.yaml"], "{fault}");
        // Whatever somebody adds meanwhile goes there with it.
        workspace.append("active/m1.yaml", "# ours\n");
        done(&workspace, &["import"]);
        assert_eq!(places(&workspace), ["completed/m1.yaml"], "{fault}");
        assert!(workspace.read("completed/m1.yaml").contains("done"), "{fault}");
        assert!(workspace.read("completed/m1.yaml").contains("# ours"), "{fault}");
        // Taken out again by a person, it stays.
        done(&workspace, &["milestone", "unarchive", "m1"]);
        done(&workspace, &["import"]);
        assert_eq!((places(&workspace), conflicts(&workspace)), (vec!["active/m1.yaml".to_owned()], 0), "{fault}");
    }
}

/// What has its name in the archive and is no file stops neither a verb nor a move.
#[test]
fn l20_a_folder_in_the_place_of_an_archived_file_is_in_nobodys_way() {
    let workspace = moved();
    std::fs::create_dir_all(workspace.path("completed/m1.yaml")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", workspace.path("completed/n1.yaml")).unwrap();
    done(&workspace, &["milestone", "archive", "m1"]);
    std::fs::remove_file(workspace.path("active/m1.yaml")).unwrap();
    done(&workspace, &["import"]);
    done(&workspace, &["migrate", "file", "--yes"]);
    assert_eq!(places(&workspace), ["completed/m1/m1.yaml"]);
    done(&workspace, &["milestone", "archive", "n1"]);
    assert!(workspace.path("completed/n1/n1.yaml").exists() && !workspace.path("active/n1.yaml").exists());
    assert_eq!(listed(&workspace, &["list", "--all"]), ["m1", "n1", "n2"]);
    done(&workspace, &["milestone", "unarchive", "n1"]);
    done(&workspace, &["migrate", "database", "--yes"]);
    assert_eq!(listed(&workspace, &["list"]), ["n1", "n2"]);
}

/// A definition that lies in no folder of its own is a file like any other.
#[test]
fn l22_a_definition_in_no_folder_has_the_id_of_its_name() {
    let workspace = moved();
    done(&workspace, &["rollback", "--yes"]);
    workspace.write("completed/definition.yaml", "title: foo\n");
    assert_eq!(listed(&workspace, &["list", "--all"]), ["definition", "m1", "n1", "n2"]);
    assert!(done(&workspace, &["milestone", "show", "definition"]).out.contains("foo"));
    done(&workspace, &["milestone", "unarchive", "definition"]);
    done(&workspace, &["milestone", "archive", "definition"]);
    assert!(workspace.read("completed/definition.yaml").contains("foo"));
}

/// A comment in an archived file that its row has not is nowhere else: the file stays, also where the milestone is in use.
#[test]
fn l22_a_comment_in_an_archived_file_stays_when_its_row_is_taken_out() {
    let workspace = archived_for_its_file();
    workspace.append("completed/m1.yaml", "# a lesson\n");
    done(&workspace, &["milestone", "unarchive", "m1"]);
    assert!(workspace.read("completed/m1.yaml").contains("# a lesson"));
    workspace.run(["milestone", "unarchive", "m1"]);
    assert!(workspace.read("completed/m1.yaml").contains("# a lesson"));
    assert_eq!(listed(&workspace, &["list"]), ["m1", "n1", "n2"]);
}

/// A file in use that was moved to the archive by hand was changed, as by the verb: an edit of the other side is a conflict.
#[test]
fn l21_a_file_that_was_moved_to_the_archive_by_hand_stays_there() {
    for by_hand in [true, false] {
        let workspace = moved();
        done(&workspace, &["migrate", "file", "--yes"]);
        if by_hand {
            rename(&workspace, "active/m1.yaml", "completed/m1.yaml");
        } else {
            done(&workspace, &["milestone", "archive", "m1"]);
        }
        set(&workspace, "title", "edited");
        done(&workspace, &["import"]);
        assert_eq!((conflicts(&workspace), places(&workspace)), (1, vec!["completed/m1.yaml".to_owned()]), "{by_hand}");
    }
}

/// Comments that were put into a row, whose file is then moved to the archive, go there with the row; an edit of the file there is
/// a conflict with them.
#[test]
fn l22_comments_of_an_archived_row_go_to_the_archive_with_it() {
    for is_edited in [false, true] {
        let workspace = moved();
        let digest = done(&workspace, &["milestone", "show", "m1", "--digest"]).out;
        let text = "id: m1\ntitle: first # ours\nstatus: active\n";
        assert_eq!(put(&workspace, &["m1", "--if-match", digest.trim()], text).code, 0);
        rename(&workspace, "active/m1.yaml", "completed/m1.yaml");
        done(&workspace, &["import"]);
        if is_edited {
            workspace.append("completed/m1.yaml", "# theirs\n");
        }
        done(&workspace, &["migrate", "file", "--yes"]);
        assert_eq!(workspace.read("completed/m1.yaml"), text.replace("active", "archived"), "{is_edited}");
        assert_eq!(conflicts(&workspace), usize::from(is_edited));
    }
}

/// Comments of either side that the other has not got are not its to replace: not by a file that goes to the archive and back, not
/// by an edit of a row that is archived as its file is.
#[test]
fn l22_comments_stay_where_a_file_goes_to_the_archive_and_back() {
    for (text, edited) in [
        ("id: m1\ntitle: first # ours\nstatus: active\n", ""),
        ("id: m1\ntitle: first # ours\nstatus: active\n", "title: edited\n"),
        ("id: m1\ntitle: first\nstatus: active\n", ""),
    ] {
        let workspace = workspace();
        let commented = "# old\nid: m1\ntitle: first\nstatus: active\n";
        assert_eq!(put(&workspace, &["m1"], commented).code, 0);
        done(&workspace, &["migrate", "database", "--yes"]);
        let digest = done(&workspace, &["milestone", "show", "m1", "--digest"]).out;
        assert_eq!(put(&workspace, &["m1", "--if-match", digest.trim()], text).code, 0);
        rename(&workspace, "active/m1.yaml", "completed/m1.yaml");
        done(&workspace, &["import"]);
        rename(&workspace, "completed/m1.yaml", "active/m1.yaml");
        if !edited.is_empty() {
            workspace.save("active/m1.yaml", edited);
        }
        done(&workspace, &["import"]);
        let there = done(&workspace, &["milestone", "show", "m1"]).out;
        assert!(there.contains("# ours") == text.contains("# ours") && !there.contains("# old"), "{text} {there}");
        assert_eq!(conflicts(&workspace), usize::from(!edited.is_empty()), "{text}");
    }
}

#[test]
fn l22_comments_of_an_archived_file_are_not_replaced_by_an_edit_of_its_row() {
    let workspace = moved();
    done(&workspace, &["migrate", "file", "--yes"]);
    done(&workspace, &["check"]);
    let text = workspace.read("active/m1.yaml");
    std::fs::create_dir_all(workspace.path("completed")).unwrap();
    workspace.write(
        "completed/m1.yaml",
        format!("{}# ours\n", text.replace("active", "archived\ncompleted_at: 2026-11-29")),
    );
    std::fs::remove_file(workspace.path("active/m1.yaml")).unwrap();
    set(&workspace, "status", "archived");
    done(&workspace, &["import"]);
    set(&workspace, "title", "edited");
    done(&workspace, &["import"]);
    assert!(workspace.read("completed/m1.yaml").contains("# ours"));
    assert_eq!(conflicts(&workspace), 1);
}

/// What lay in the archive before the files were left stays there, and the other milestone of its id is kept.
#[test]
fn l22_what_lay_in_the_archive_before_is_not_replaced() {
    for is_checked in [false, true] {
        let workspace = workspace();
        assert_eq!(put(&workspace, &["m2"], "title: m2\n").code, 0);
        workspace.write("completed/m1.yaml", "# old\nid: m1\ntitle: old\n");
        done(&workspace, &["migrate", "database", "--yes"]);
        workspace.save("active/m1.yaml", "id: m1\ntitle: new\n");
        done(&workspace, &["check"]);
        done(&workspace, &["milestone", "archive", "m1"]);
        std::fs::remove_file(workspace.path("active/m1.yaml")).unwrap();
        if is_checked {
            done(&workspace, &["check"]);
        }
        done(&workspace, &["migrate", "file", "--yes"]);
        assert_eq!(workspace.read("completed/m1.yaml"), "# old\nid: m1\ntitle: old\n", "{is_checked}");
        let kept = workspace.events_named("write_conflict");
        let kept = kept.last().unwrap()["details"]["kept_as"].as_str().unwrap();
        let kept = workspace.read(kept.trim_start_matches(".milestones/"));
        assert!(kept.contains("title: new"), "{is_checked}: {kept}");
    }
}
