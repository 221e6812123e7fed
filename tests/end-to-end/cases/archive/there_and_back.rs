//! Files of an old store that go to the archive and come back: many at once, with a death in between, without a base.

use std::fs;

use milescale_testkit::{Workspace, until};

use super::super::super::faults::{shim, with_fault};
use super::super::super::milestones::{put, sqlite3};
use super::super::super::workspace;
use super::{done, exported, listed, rename};

/// A workspace with as many milestones, moved to SQLite.
fn moved(count: usize) -> Workspace {
    let workspace = workspace();
    for number in 1..=count {
        assert_eq!(put(&workspace, &[&format!("m{number}")], &format!("id: m{number}\nstatus: active\n")).code, 0);
    }
    done(&workspace, &["migrate", "database", "--yes"]);
    workspace
}

fn status(workspace: &Workspace, id: &str) -> String {
    let select = format!("SELECT json_extract(data, '$.status') FROM milestones WHERE id = '{id}'");
    sqlite3(workspace, "enterprise.db", &select).trim().to_owned()
}

fn set(workspace: &Workspace, id: &str, key: &str, value: &str) {
    let update = format!("UPDATE milestones SET data = json_set(data, '$.{key}', '{value}') WHERE id = '{id}'");
    sqlite3(workspace, "enterprise.db", &update);
}

/// Moves the file of each milestone between `active/` and `completed/`.
fn move_all(workspace: &Workspace, count: usize, from: &str, to: &str) {
    for number in 1..=count {
        rename(workspace, &format!("{from}/m{number}.yaml"), &format!("{to}/m{number}.yaml"));
    }
}

#[test]
fn e12_a_batch_of_moves_to_the_archive_waits_and_so_does_one_back() {
    let workspace = moved(7);
    move_all(&workspace, 7, "active", "completed/2026");
    done(&workspace, &["check"]);
    assert_eq!(listed(&workspace, &["list"]).len(), 7);
    assert_eq!(workspace.events_named("changes_held").len(), 1);
    // The other branch again: nothing waits any more.
    move_all(&workspace, 7, "completed/2026", "active");
    done(&workspace, &["check"]);
    assert!(!workspace.path(".milescale/held.json").exists(), "they are as they were");
    move_all(&workspace, 7, "active", "completed/2026");
    done(&workspace, &["import"]);
    assert_eq!(listed(&workspace, &["list"]).len(), 0, "a person has said so");
    move_all(&workspace, 7, "completed/2026", "active");
    done(&workspace, &["check"]);
    assert_eq!(listed(&workspace, &["list"]).len(), 0);
    done(&workspace, &["import"]);
    assert_eq!(listed(&workspace, &["list"]).len(), 7);
    assert!(workspace.events_named("write_conflict").is_empty());
}

#[test]
fn l23_what_is_moved_back_from_the_archive_is_in_use_again() {
    let workspace = moved(3);
    move_all(&workspace, 3, "active", "completed");
    done(&workspace, &["check"]);
    let all = ["m1", "m2", "m3"];
    for arguments in [&["list", "--all"][..], &["search", "--all", "m"]] {
        assert_eq!(listed(&workspace, arguments), all, "{arguments:?}");
    }
    assert_eq!(exported(&workspace, &[]).len(), 3);
    set(&workspace, "m2", "of", "the row");
    done(&workspace, &["milestone", "unarchive", "m3"]);
    // It was a row again, and its file was taken out of the archive.
    fs::remove_file(workspace.path("completed/m3.yaml")).unwrap_or_default();
    workspace.write("active/m3.yaml", "id: m3\nstatus: active\n");
    for id in ["m1", "m2"] {
        rename(&workspace, &format!("completed/{id}.yaml"), &format!("active/{id}.yaml"));
    }
    done(&workspace, &["check"]);
    assert_eq!(listed(&workspace, &["list"]), ["m1", "m3"]);
    assert_eq!(status(&workspace, "m2"), "archived", "it has something else archived");
    let reported = workspace.events_named("changes_reported");
    assert_eq!(reported.len(), 1, "{reported:?}");
    assert!(reported[0].to_string().contains("milestone unarchive"), "{reported:?}");
    done(&workspace, &["check"]);
    assert_eq!(workspace.events_named("changes_reported").len(), 1, "it is said once");
    // Another move there is a new one.
    move_all(&workspace, 3, "active", "completed");
    done(&workspace, &["check"]);
    assert!(listed(&workspace, &["list"]).is_empty());
    assert!(workspace.events_named("write_conflict").is_empty());
}

/// A row that an adapter has archived has no comments: those of its file are exported beside it.
#[test]
fn l23_an_export_has_the_comments_of_an_archived_file() {
    let workspace = moved(1);
    rename(&workspace, "active/m1.yaml", "completed/m1.yaml");
    done(&workspace, &["check"]);
    workspace.write("completed/m1.yaml", "# why: it was done\nid: m1\nstatus: archived\n");
    done(&workspace, &["milestone", "export", "--dir", "copy"]);
    let beside = fs::read_to_string(workspace.root().join("copy/completed/m1.yaml")).unwrap();
    assert!(beside.contains("# why") && workspace.root().join("copy/m1.yaml").exists());
    assert_eq!(exported(&workspace, &[]).len(), 1, "values are the same");
    assert_eq!(listed(&workspace, &["list", "--all"]), ["m1"]);
}

#[test]
fn l23_a_daemon_sees_a_file_come_back_from_the_archive() {
    let workspace = moved(1);
    let daemon = workspace.daemon(["--interval", "1"]);
    rename(&workspace, "active/m1.yaml", "completed/m1.yaml");
    until("the archiving", || (status(&workspace, "m1") == "archived").then_some(()));
    rename(&workspace, "completed/m1.yaml", "active/m1.yaml");
    until("the way back", || (status(&workspace, "m1") == "active").then_some(()));
    drop(daemon);
}

/// A sweep dies after the commit that archives: a person's `unarchive` after it stays.
#[test]
fn l21_what_a_person_takes_out_of_the_archive_after_a_death_stays_out() {
    let is_noted = "SELECT count(*) FROM milescale_base WHERE id = 'm1' AND side = 'files' AND noted LIKE 'archived%'";
    for edit in ["", "lesson: learned\n"] {
        let workspace = moved(1);
        set(&workspace, "m1", "of", "the row");
        rename(&workspace, "active/m1.yaml", "completed/m1.yaml");
        workspace.append("completed/m1.yaml", edit);
        // What is told is told before it is noted: it dies in telling, each time later, until it has archived.
        for death in 1..10 {
            let mut dying = workspace.command(["import"]);
            dying.env("LD_PRELOAD", shim()).env("FAULT", format!("any:{death}:killafter"));
            dying.env("FAULT_PATH", "scale-events.jsonl").output().unwrap();
            if status(&workspace, "m1") == "archived" {
                break;
            }
        }
        assert_eq!(sqlite3(&workspace, "enterprise.db", is_noted).trim(), "1", "{edit:?}: both, or none");
        done(&workspace, &["milestone", "unarchive", "m1"]);
        done(&workspace, &["import"]);
        assert_eq!(status(&workspace, "m1"), "active", "{edit:?}");
        assert!(!workspace.events_named("changes_imported").is_empty(), "it is told");
    }
}

#[test]
fn l23_without_a_base_what_lies_in_the_archive_is_compared_all_the_same() {
    for is_noted in [true, false] {
        let workspace = moved(3);
        sqlite3(&workspace, "enterprise.db", "DROP TABLE milescale_base; DROP TABLE milescale_sides");
        if !is_noted {
            fs::remove_file(workspace.path(".milescale/archived-before.json")).unwrap();
        }
        rename(&workspace, "active/m1.yaml", "completed/m1.yaml");
        workspace.append("completed/m1.yaml", "lesson: learned\n");
        rename(&workspace, "active/m2.yaml", "completed/2026/m2.yaml");
        for _ in 0..2 {
            done(&workspace, &["import"]);
            let named = workspace.events_named("write_conflict");
            assert_eq!((named.len(), &named[0]["details"]["id"]), (1, &"m1".into()), "{named:?}");
            let archived = if is_noted { "archived" } else { "active" };
            let found = ["m1", "m2", "m3"].map(|id| status(&workspace, id));
            assert_eq!(found, [archived, archived, "active"], "{is_noted}");
        }
    }
}

/// Moves to files, where the file of `m2` is moved to the archive at the `call`-th commit of the bases, after `first` was run in its
/// folder. The exit status, and whether there was such a file; `None`: there are not so many commits.
fn archived_during_a_move(workspace: &Workspace, call: usize, first: &str) -> Option<(i32, bool)> {
    let mut faulty = with_fault(workspace.root(), &format!("unlink:{call}:meet"));
    faulty.environment.retain(|(name, _)| name != "FAULT_PATH");
    let [from, to] = ["active", "completed"].map(|folder| workspace.path(format!("{folder}/m2.yaml")));
    let (met, moved) = (workspace.root().join("met"), workspace.root().join("moved"));
    let [active, from, to, ran, done_so] =
        [from.parent().unwrap(), &from, &to, &met, &moved].map(|path| path.to_str().unwrap());
    let meet = format!("touch {ran}; cd {active}; test -e {from} && {first} && mv {from} {to} && touch {done_so}");
    let variables = [("FAULT_MEET", meet), ("FAULT_PATH", "/base.db-journal".to_owned())];
    faulty.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    let code = faulty.run(["migrate", "file", "--yes"]).code;
    met.exists().then(|| (code, moved.exists()))
}

/// A file that is as its row goes to the archive, at each commit of the bases during a move to files, old ones and new ones.
#[test]
fn what_is_moved_to_the_archive_during_a_move_to_files_stays_there() {
    for is_new in [false, true] {
        let mut moved_at = Vec::new();
        for call in 1.. {
            let workspace = moved(3);
            if is_new {
                done(&workspace, &["retire", "files", "--yes"]);
            }
            // It may be refused for what it met.
            let Some((_, is_moved)) = archived_during_a_move(&workspace, call, "true") else { break };
            done(&workspace, &["check"]);
            done(&workspace, &["import"]);
            if is_moved {
                moved_at.push(call);
                let in_files = workspace.read("config/storage-backend.txt").trim() == "file";
                // What a move that was undone had brought is gone with it.
                let expected: &[&str] = if is_new && !in_files { &["m1", "m2", "m3"] } else { &["m1", "m3"] };
                assert_eq!(listed(&workspace, &["list"]), expected, "{is_new} at {call}");
                assert!(!workspace.path("active/m2.yaml").exists(), "{is_new} at {call}");
            }
        }
        assert!(!moved_at.is_empty(), "{is_new}: no call was met");
    }
}

/// What is edited in new files and moved to the archive during the move there is brought again, and the edit is named.
#[test]
fn what_is_edited_and_moved_to_the_archive_during_a_move_to_files_is_kept() {
    let mut kept_at = Vec::new();
    for call in 1.. {
        let workspace = moved(3);
        done(&workspace, &["retire", "files", "--yes"]);
        let edit = "echo 'late: edit' >> m2.yaml";
        let Some((code, is_moved)) = archived_during_a_move(&workspace, call, edit) else { break };
        if is_moved && code == 0 {
            kept_at.push(call);
            let kept = workspace.events_named("write_conflict");
            assert_eq!(kept.len(), 1, "at {call}: {kept:?}");
            let kept = kept[0]["details"]["kept_as"].as_str().unwrap().trim_start_matches(".milestones/").to_owned();
            assert!(workspace.read(kept).ends_with("late: edit\n"), "at {call}");
        }
    }
    assert!(!kept_at.is_empty(), "no call was met");
}
