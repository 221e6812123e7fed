//! Retiring, undoing, switching.

use std::fs;
use std::process::Stdio;

use milescale_testkit::Workspace;

use super::super::faults::{dies, shim};
use super::super::workspace;

fn put(workspace: &Workspace, id: &str, text: &str) {
    let draft = workspace.root().join("draft.yaml");
    fs::write(&draft, text).unwrap();
    let shown = workspace.run(["milestone", "show", id, "--digest"]);
    let mut arguments = vec!["milestone".to_owned(), "put".to_owned(), id.to_owned(), draft.display().to_string()];
    if shown.code == 0 {
        arguments.extend(["--if-match".to_owned(), shown.out.trim().to_owned()]);
    }
    let said = workspace.run(arguments);
    assert_eq!(said.code, 0, "{said:?}");
}

fn show(workspace: &Workspace, id: &str) -> String {
    let said = workspace.run(["milestone", "show", id]);
    assert_eq!(said.code, 0, "{said:?}");
    said.out
}

fn done(workspace: &Workspace, arguments: &[&str]) {
    let said = workspace.run(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
}

/// A workspace whose three milestones were moved along this way, with `n1` done since the first move.
fn moved_along(way: &[&str]) -> Workspace {
    let workspace = workspace();
    for id in ["n1", "n2", "n3"] {
        workspace.write(format!("active/{id}.yaml"), format!("# of {id}\ntitle: {id}\nstatus: planned\n"));
    }
    for (number, to) in way.iter().enumerate() {
        done(&workspace, &["migrate", to, "--yes"]);
        if number == 0 {
            put(&workspace, "n1", "# of n1\ntitle: n1\nstatus: done\n");
        }
    }
    workspace
}

const BEFORE: &str = "# of n1\ntitle: n1\nstatus: planned\n";

/// A move back dies once the old target was written; the old text is put again; nobody takes what the move wrote for an edit.
#[test]
fn p08_what_a_dead_move_wrote_into_an_old_target_is_no_edit() {
    for (to, fault, path) in [
        ("file", "rename:1:killafter", "active/n1.yaml"),
        ("hybrid", "rename:1:killafter", "active/n1.yaml"),
        ("file", "rename:1:kill", "storage-backend.txt"),
    ] {
        for next in [&["check"][..], &["import"], &["migrate", "file", "--yes"]] {
            let workspace = moved_along(&["database"]);
            dies(&workspace, &["migrate", to, "--yes"], fault, path);
            put(&workspace, "n1", BEFORE);
            done(&workspace, next);
            done(&workspace, &["import"]);
            assert_eq!(show(&workspace, "n1"), BEFORE, "{to}, {fault} at {path}, then {next:?}");
            let conflicts = workspace.events_named("write_conflict");
            assert!(conflicts.is_empty(), "{to}, {fault} at {path}, then {next:?}: {conflicts:?}");
        }
    }
}

/// The same where the old target is a database.
#[test]
fn p08_the_same_into_an_old_database() {
    // file → database → file: the database is an old store, whose base is what n1 was then.
    for (fault, path) in [("rename:1:kill", "storage-backend.txt"), ("create:1:kill", ".milescale/base.db-journal")] {
        let workspace = moved_along(&["database", "file"]);
        put(&workspace, "n1", BEFORE);
        dies(&workspace, &["migrate", "database", "--yes"], fault, path);
        put(&workspace, "n1", "# of n1\ntitle: n1\nstatus: done\n");
        done(&workspace, &["check"]);
        done(&workspace, &["import"]);
        assert_eq!(show(&workspace, "n1"), "# of n1\ntitle: n1\nstatus: done\n");
        assert!(workspace.events_named("write_conflict").is_empty());
    }
}

/// A change of an old database is brought into files that are in use; death comes between the file and its base.
#[test]
fn p08_what_an_import_wrote_is_not_brought_a_second_time() {
    for (fault, path) in [("rename:1:killafter", "active/n2.yaml"), ("rename:1:kill", "active/n2.yaml")] {
        let workspace = moved_along(&["database", "file"]);
        let before = show(&workspace, "n2");
        let edit = "UPDATE milestones SET data = json_set(data, '$.status', 'done') WHERE id = 'n2'";
        let said = std::process::Command::new("sqlite3").arg(workspace.path("enterprise.db")).arg(edit).status();
        assert!(said.unwrap().success());
        dies(&workspace, &["import"], fault, path);
        if fault.ends_with("killafter") {
            assert!(show(&workspace, "n2").contains("done"));
            put(&workspace, "n2", &before);
            done(&workspace, &["import"]);
            assert_eq!(show(&workspace, "n2"), before, "the acknowledged put stays");
        } else {
            done(&workspace, &["import"]);
            assert!(show(&workspace, "n2").contains("done"), "what was not written yet is brought");
        }
        assert!(workspace.events_named("write_conflict").is_empty());
    }
}

/// Death while new files are written or given their names: the next start clears what it brought, and the next move succeeds.
#[test]
fn p02_nothing_stays_of_files_that_a_dead_move_made() {
    for (fault, path) in [
        ("write:2:kill", "incoming/"),
        ("rename:1:kill", "active/"),
        ("rename:2:killafter", "active/"),
        ("fsync:1:kill", "incoming"),
    ] {
        let workspace = moved_along(&["database"]);
        done(&workspace, &["retire", "files", "--yes"]);
        let active =
            || fs::read_dir(workspace.path("active")).unwrap().map(|it| it.unwrap().file_name()).collect::<Vec<_>>();
        let before = active();
        dies(&workspace, &["migrate", "file", "--yes"], fault, path);
        put(&workspace, "n2", "title: put in between\n");
        done(&workspace, &["check"]);
        assert_eq!(active(), before, "{fault} at {path}");
        assert!(!workspace.path(".milescale/incoming").exists(), "{fault} at {path}");
        assert!(!workspace.path(".milescale/move-journal.jsonl").exists(), "{fault} at {path}");
        done(&workspace, &["migrate", "file", "--yes"]);
        assert_eq!(show(&workspace, "n1"), "# of n1\ntitle: n1\nstatus: done\n");
        assert_eq!(show(&workspace, "n2"), "title: put in between\n");
        assert!(workspace.events_named("write_conflict").is_empty());
    }
}

/// A try of the cutover that comes to nothing leaves what it wrote into an old target as a base: the next try goes on from it.
#[test]
fn p08_what_a_try_of_the_cutover_wrote_is_no_edit_for_the_next_one() {
    let workspace = moved_along(&["database"]);
    let set = |id: &str, data: &str| {
        let database = workspace.path("enterprise.db");
        format!(
            "sqlite3 -cmd '.timeout 5000' {} \"UPDATE milestones SET data = {data} WHERE id = '{id}'\"",
            database.display()
        )
    };
    let (good, bad) = (set("n1", "json_object('a', 1)"), set("n2", "'{'"));
    let (again, mended) = (set("n1", "json_object('a', 2)"), set("n2", "json_object('a', 3)"));
    let mut command = workspace.command(["migrate", "file", "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:meet").env("FAULT_PATH", ".milescale-switch-2-backend");
    command.env("FAULT_MEET", format!("{good}; {bad}; (sleep 1; {again}; {mended}) > /dev/null 2>&1 &"));
    let said = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!((show(&workspace, "n1"), show(&workspace, "n2")), ("a: 2\n".to_owned(), "a: 3\n".to_owned()));
    assert!(workspace.events_named("write_conflict").is_empty());
}

/// A foreign save over a file of an unfinished target is kept and named, and stands in no later move's way.
#[test]
fn p02_a_save_into_an_unfinished_target_is_kept() {
    let workspace = moved_along(&["database"]);
    done(&workspace, &["retire", "files", "--yes"]);
    dies(&workspace, &["migrate", "file", "--yes"], "rename:1:kill", "storage-backend.txt");
    workspace.save("active/n3.yaml", "title: saved there\n");
    done(&workspace, &["check"]);
    let told = workspace.until_event("write_conflict", 1);
    assert_eq!(told["details"]["id"], "n3");
    let kept = told["details"]["kept_as"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(workspace.root().join(kept)).unwrap(), "title: saved there\n");
    done(&workspace, &["migrate", "file", "--yes"]);
    assert!(show(&workspace, "n3").contains("of n3"));
}

/// What stands in `active/` after it was retired is in a move's way and says so; what comes between stays where it is.
#[test]
fn p02_an_undo_leaves_what_the_move_did_not_make() {
    let workspace = moved_along(&["database"]);
    done(&workspace, &["retire", "files", "--yes"]);
    workspace.save("active/n2.yaml", "title: made anew\n");
    let refused = workspace.run(["migrate", "file", "--dry-run"]);
    assert!(refused.code == 1 && refused.out.contains("n2") && refused.out.contains("--adopt"), "{refused:?}");
    fs::remove_file(workspace.path("active/n2.yaml")).unwrap();
    let mut command = workspace.command(["migrate", "file", "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:meet").env("FAULT_PATH", "active/n");
    command.env("FAULT_MEET", format!("echo 'title: came between' > {}", workspace.path("active/n2.yaml").display()));
    let said = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    assert!(!said.status.success());
    assert_eq!(workspace.read("active/n2.yaml"), "title: came between\n");
    assert!(!workspace.path("active/n1.yaml").exists() && !workspace.path("active/n3.yaml").exists());
    done(&workspace, &["check"]);
    assert_eq!(workspace.until_event("changes_held", 1)["details"]["ids"], serde_json::json!(["n2"]));
    done(&workspace, &["import"]);
    done(&workspace, &["migrate", "file", "--adopt", "--yes"]);
    assert_eq!(show(&workspace, "n2"), "title: came between\n");
}

/// Files that somebody moves at the instant in which an undo takes them out are found where they are then.
#[test]
fn p02_an_undo_takes_back_files_that_are_being_moved() {
    let workspace = moved_along(&["database"]);
    done(&workspace, &["retire", "files", "--yes"]);
    dies(&workspace, &["migrate", "file", "--yes"], "rename:1:kill", "storage-backend.txt");
    let active = workspace.path("active");
    assert!(active.join("n1.yaml").exists(), "it was written before the death");
    let mut command = workspace.command(["check"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:meet").env("FAULT_PATH", ".milescale/displaced");
    command.env("FAULT_MEET", format!("cd '{}' && mkdir sub && mv n*.yaml sub/", active.display()));
    let said = command.output().unwrap();
    assert!(said.status.success(), "{said:?}");
    assert!(active.join("sub").is_dir() && fs::read_dir(active.join("sub")).unwrap().next().is_none());
    assert!(workspace.events_named("write_conflict").is_empty());
    done(&workspace, &["migrate", "file", "--yes"]);
}

/// A move into an old target that fails takes out of it again what it has added.
#[test]
fn p02_a_failed_move_adds_nothing_to_an_old_target() {
    for (way, to) in [(&["database"][..], "file"), (&["database"], "hybrid"), (&["database", "file"], "database")] {
        let workspace = moved_along(way);
        put(&workspace, "new", "title: new\n");
        let holds_new = || {
            let rows = std::process::Command::new("sqlite3")
                .arg(workspace.path("enterprise.db"))
                .arg("SELECT count(*) FROM milestones WHERE id = 'new'")
                .output()
                .unwrap();
            if to == "database" { rows.stdout == b"1\n" } else { workspace.path("active/new.yaml").exists() }
        };
        dies(&workspace, &["migrate", to, "--yes"], "rename:1:kill", "storage-backend.txt");
        assert!(holds_new(), "{way:?} to {to}: it was written before the death");
        done(&workspace, &["check"]);
        assert!(!holds_new(), "{way:?} to {to}");
        assert!(show(&workspace, "new").contains("new"));
        done(&workspace, &["migrate", to, "--yes"]);
        assert!(holds_new() && workspace.events_named("write_conflict").is_empty(), "{way:?} to {to}");
    }
}

/// The disk reports an error of a commit that took effect: the row is looked at.
#[test]
fn p01_an_error_after_a_commit_of_sqlite_is_looked_at() {
    let workspace = moved_along(&["database"]);
    let shown = workspace.run(["milestone", "show", "n2", "--digest"]);
    let draft = workspace.root().join("draft.yaml");
    fs::write(&draft, "title: written\n").unwrap();
    let arguments = ["milestone", "put", "n2", draft.to_str().unwrap(), "--if-match", shown.out.trim()];
    for (fault, code) in [("create:1:EIO", 1), ("unlink:1:late-EIO", 0)] {
        let mut command = workspace.command(arguments);
        command.env("LD_PRELOAD", shim()).env("FAULT", fault).env("FAULT_PATH", "enterprise.db-journal");
        let said = command.output().unwrap();
        let err = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(code), "{fault}: {err}");
        assert_eq!(show(&workspace, "n2").contains("written"), code == 0, "{fault}");
        assert!(code == 0 || err.contains("nothing was written"), "{fault}: {err}");
    }
}

/// A move that fails leaves modes and note as they were.
#[test]
fn l21_a_failed_move_leaves_files_read_only_and_their_note() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = moved_along(&["database"]);
    let mode = || fs::metadata(workspace.path("active/n2.yaml")).unwrap().permissions().mode() & 0o777;
    let note = || fs::read_to_string(workspace.path("active/MOVED-TO-A-DATABASE.txt")).unwrap();
    let before = (mode(), note());
    assert_eq!(before.0, 0o444);
    dies(&workspace, &["migrate", "file", "--yes"], "rename:1:kill", "storage-backend.txt");
    done(&workspace, &["check"]);
    assert_eq!((mode(), note()), before);
    done(&workspace, &["migrate", "file", "--yes"]);
    assert_eq!(mode(), 0o644);
    assert!(!workspace.path("active/MOVED-TO-A-DATABASE.txt").exists());
}

/// Files that are retired by a move, with saves of other programs between one rename and the next: over a file that is still
/// there, over one that was moved, and into one that a program had open.
#[test]
fn l03_what_is_saved_while_files_are_retired_is_current() {
    let workspace = workspace();
    let text = "storage:\n  migration:\n    files_after: retire\n";
    workspace.write("config/storage-config.yaml", text);
    for number in 0..8 {
        workspace.write(format!("active/m{number}.yaml"), format!("title: m{number}\nstatus: planned\n"));
    }
    let saved = |id: &str| format!("title: {id}\nstatus: saved\n");
    let active = workspace.path("active");
    let over = |id: &str| {
        let (new, there) = (active.join(format!("{id}.new")), active.join(format!("{id}.yaml")));
        format!(
            "printf '{}' > {}; mv {} {}; ",
            saved(id).replace('\n', "\\n"),
            new.display(),
            new.display(),
            there.display()
        )
    };
    // At the fifth rename: m0 to m3 were moved, the others are still there.
    let retired = workspace.path(".milescale/retired/1");
    let (there, moved) = (active.join("m1.yaml"), retired.join("m1.yaml"));
    let into = format!(
        "file={}; [ -e \"$file\" ] || file={}; printf '{}' > \"$file\"; ",
        moved.display(),
        there.display(),
        saved("m1").replace('\n', "\\n")
    );
    let meet = [over("m0"), over("m6"), over("m7"), into].concat();
    let mut command = workspace.command(["migrate", "database", "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:5:meet").env("FAULT_PATH", "/retired/1/");
    command.env("FAULT_MEET", meet);
    let said = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    for id in ["m0", "m1", "m6", "m7"] {
        assert_eq!(show(&workspace, id), saved(id), "{id}: {}", String::from_utf8_lossy(&said.stderr));
    }
    assert!(show(&workspace, "m2").contains("planned"));
    // Who saved one that was moved already may not have known it: it is kept, and named.
    for event in workspace.events_named("write_conflict") {
        let kept = workspace.read(event["details"]["kept_as"].as_str().unwrap().trim_start_matches(".milestones/"));
        let id = event["details"]["id"].as_str().unwrap();
        assert!(
            ["m0", "m6", "m7"].contains(&id) && kept == format!("title: {id}\nstatus: planned\n"),
            "{event}: {kept}"
        );
    }
    let left: Vec<_> = fs::read_dir(&active).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["MOVED-TO-A-DATABASE.txt"]);
}

/// A program that had a file open while it was retired writes to it after the move.
#[test]
fn l03_what_is_written_into_a_retired_file_is_current() {
    use std::io::Write;
    let workspace = moved_along(&["database"]);
    let mut permissions = fs::metadata(workspace.path("active/n2.yaml")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(workspace.path("active/n2.yaml"), permissions).unwrap();
    let mut open = fs::OpenOptions::new().append(true).open(workspace.path("active/n2.yaml")).unwrap();
    done(&workspace, &["retire", "files", "--yes"]);
    open.write_all(b"written: late\n").unwrap();
    drop(open);
    done(&workspace, &["check"]);
    assert!(show(&workspace, "n2").contains("written: late"));
    assert!(workspace.events_named("write_conflict").is_empty() && workspace.events_named("changes_held").is_empty());
}

/// The note beside files is milescale's as long as nobody has written to it.
#[test]
fn a_note_that_a_person_has_written_stays() {
    for is_before in [true, false] {
        let workspace = workspace();
        workspace.write("active/a.yaml", "title: a\n");
        let (note, mine) = ("active/MOVED-TO-A-DATABASE.txt", "mine: ask first\n");
        if is_before {
            workspace.write(note, mine);
        }
        assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
        if !is_before {
            workspace.append(note, mine);
        }
        assert_eq!(workspace.run(["rollback", "--yes"]).code, 0);
        assert!(workspace.read(note).ends_with(mine), "{is_before}");
    }
}

/// Something that is no file stands where the note would: it is not read, which could wait for ever, and stays.
#[test]
fn a_fifo_in_the_place_of_the_note_holds_nobody_up() {
    let workspace = workspace();
    workspace.write("active/a.yaml", "title: a\n");
    let note = workspace.path("active/MOVED-TO-A-DATABASE.txt");
    assert!(std::process::Command::new("mkfifo").arg(&note).status().unwrap().success());
    for arguments in [["migrate", "database", "--yes"].as_slice(), &["rollback", "--yes"]] {
        assert_eq!(workspace.run(arguments).code, 0, "{arguments:?}");
    }
    assert!(note.exists());
}
