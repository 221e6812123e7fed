//! What others do while milestones are moved, and what happens between a crash and the next start.

use std::fs;
use std::process::{Command, Stdio};

use milescale_testkit::{Postgres, Workspace, until};

use super::super::faults::shim;
use super::{BINARY, Moved, contents, shell};

/// Starts a migration and waits until it is in a phase.
fn started(moved: &Moved, to: &'static str, phase: &str) -> std::process::Child {
    let mut command = moved.workspace.command(Moved::arguments(to));
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until(phase, || {
        let progress = moved.workspace.events_named("migration_progress");
        progress.iter().any(|it| it["details"]["phase"] == phase).then_some(())
    });
    child
}

fn ended(child: std::process::Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_branch_that_empties_the_folder_in_the_middle_stops_the_move() {
    for phase in ["backing_up", "copying", "comparing"] {
        let moved = Moved::new(None, "", 3000);
        let (active, away) = (moved.workspace.path("active"), moved.workspace.path("away"));
        let before = moved.dump();
        let child = started(&moved, "sqlite", phase);
        fs::rename(&active, &away).unwrap();
        fs::create_dir(&active).unwrap();
        let (code, said) = ended(child);
        if code == 0 {
            // The switch was faster: then everything is there.
            assert_eq!(moved.dump(), before, "{phase}");
            continue;
        }
        assert!(said.contains("source_unavailable") || said.contains("the folder is gone"), "{phase}: {said}");
        assert_eq!(moved.named(), "file");
        fs::remove_dir(&active).unwrap();
        fs::rename(&away, &active).unwrap();
        let said = moved.migrate("sqlite");
        assert_eq!(said.code, 0, "{phase}: {said:?}");
        assert_eq!(moved.dump(), before, "{phase}");
    }
}

#[test]
fn many_files_renamed_during_a_pass_lose_nothing() {
    let moved = Moved::new(None, "", 600);
    let before = moved.dump();
    let (active, stop) = (moved.workspace.path("active"), std::sync::atomic::AtomicBool::new(false));
    fs::create_dir(active.join("sub")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for (from, to) in [("", "sub/"), ("sub/", "")] {
                    for number in 0..600 {
                        let name = |folder: &str| active.join(format!("{folder}m-{number}.yaml"));
                        let _ = fs::rename(name(from), name(to));
                    }
                }
            }
        });
        let said = ["sqlite", "hybrid", "sqlite", "file"].map(|to| moved.migrate(to));
        // First, for the scope waits for who renames.
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for said in said {
            assert!(said.code == 0 || said.err.contains("nothing was moved"), "{said:?}");
            assert!(!said.err.contains("is stuck") && !said.err.contains("cannot be cleared"), "{said:?}");
        }
    });
    until("nothing left to bring over", || {
        let said = moved.workspace.run(["import", "--json"]).json();
        (said["imported"] == 0 && said["conflicts"] == 0).then_some(())
    });
    assert_eq!(moved.dump(), before, "{}", moved.named());
}

/// The marker says `database` and the process is dead; then an hour of edits on both sides; then a start.
#[test]
fn a_crash_right_after_the_switch_rolls_forward_over_an_hour_of_edits() {
    let moved = Moved::new(None, "", 5);
    let mut command = moved.workspace.command(Moved::arguments("sqlite"));
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:killafter").env("FAULT_PATH", "storage-backend.txt");
    assert!(!command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    assert_eq!(moved.named(), "sqlite");
    // milescale's own verbs wait for the recovery, and say so.
    let said = moved.workspace.run(["milestone", "archive", "m-0"]);
    assert!(said.code == 1 && said.err.contains("nothing was written"), "{said:?}");
    shell(
        &moved,
        "enterprise.db",
        "UPDATE milestones SET data = '{\"title\":\"of the row\"}' WHERE id IN ('m-1', 'm-2')",
    );
    moved.workspace.save("active/m-2.yaml", "title: of the file\n");
    moved.workspace.save("active/m-3.yaml", "title: only in the file\n");
    let daemon = moved.workspace.daemon(["--interval", "600"]);
    daemon.until("current_backend", "database");
    let data = |id: &str| shell(&moved, "enterprise.db", &format!("SELECT data FROM milestones WHERE id = '{id}'"));
    until("the edit", || data("m-3").contains("only in the file").then_some(()));
    assert!(data("m-1").contains("of the row") && data("m-2").contains("of the row"));
    assert_eq!(moved.workspace.until_event("write_conflict", 1)["details"]["id"], "m-2");
    assert!(moved.workspace.read(".milescale/migration.json").contains("\"intent\": null"));
    assert_eq!(moved.workspace.run(["milestone", "archive", "m-0"]).code, 0);
}

/// `cp -r` of a workspace in the middle of a migration: each goes on for itself, and the copy touches nothing of the original.
#[test]
fn a_copy_made_in_the_middle_undoes_nothing_of_its_original() {
    let server = Postgres::start();
    for (phase, path) in [("before the switch", ".milescale-switch-"), ("after it", "storage-backend.txt")] {
        for to in ["sqlite", "postgresql"] {
            let moved = Moved::new(Some(&server), &format!("{to} {phase}"), 5);
            let before = moved.dump();
            let mut command = moved.workspace.command(Moved::arguments(to));
            command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:killafter").env("FAULT_PATH", path);
            assert!(!command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
            let above = tempfile::tempdir().unwrap();
            let root = above.path().join("copy");
            let copied = Command::new("cp").arg("-a").arg(moved.workspace.root()).arg(&root).status().unwrap();
            assert!(copied.success());
            let copy = Workspace::at(&root, BINARY);
            let of_copy = copy.run(["check"]);
            let of_original = moved.workspace.run(["check"]);
            assert_eq!(of_original.code, 0, "{to} {phase}: {of_original:?}");
            assert_eq!(moved.dump(), before, "{to} {phase}: the original");
            assert!(moved.workspace.read(".milescale/migration.json").contains("\"intent\": null"));
            if to == "sqlite" {
                // Nothing of it is on a server: it is another workspace, and has recovered for itself.
                assert_ne!(
                    copy.read(".milescale/identity"),
                    moved.workspace.read(".milescale/identity"),
                    "{of_copy:?}"
                );
            }
            assert_eq!(contents(&copy.path("active")).len(), contents(&moved.workspace.path("active")).len());
            if to == "postgresql" && phase == "after it" {
                // The copy names a table that is not its own: it is not written to.
                let said = copy.run(["milestone", "archive", "m-0"]);
                assert!(said.code == 1 && said.err.contains("nothing was written"), "{said:?}");
                assert!(copy.run(["doctor"]).out.contains("may be a copy"), "{of_copy:?}");
                assert_eq!(moved.dump(), before);
            }
        }
    }
}

#[test]
fn a_second_workspace_does_not_take_the_first_ones_table() {
    let server = Postgres::start();
    let (one, other) = (Moved::new(Some(&server), "shared", 3), Moved::new(Some(&server), "shared", 4));
    assert_eq!(one.migrate("postgresql").code, 0);
    let before = one.dump();
    let said = other.migrate("postgresql");
    assert!(said.code == 1 && said.err.contains("belongs to the workspace"), "{said:?}");
    assert_eq!((other.named().as_str(), one.dump()), ("file", before));
}

#[test]
fn an_environment_that_says_something_else_is_no_ground_for_a_move() {
    let server = Postgres::start();
    let mut moved = Moved::new(Some(&server), "", 3);
    moved.workspace.environment = vec![("DATABASE_TYPE".to_owned(), "sqlite".to_owned())];
    let said = moved.migrate("postgresql");
    assert!(said.code == 1 && said.err.contains("DATABASE_TYPE: the environment says sqlite"), "{said:?}");
    moved.workspace.environment = vec![("DATABASE_URL".to_owned(), "postgresql://elsewhere/x".to_owned())];
    let said = moved.migrate("postgresql");
    assert!(said.code == 1 && said.err.contains("DATABASE_URL: it is another one"), "{said:?}");
    // A running daemon with another environment than the command's: nothing is written.
    moved.workspace.environment = Vec::new();
    assert_eq!(moved.migrate("sqlite").code, 0);
    let daemon = moved.workspace.daemon(["--interval", "600"]);
    daemon.until("current_backend", "database");
    let mut command = moved.workspace.command(["migrate", "file", "--yes"]);
    let said = command.env("DATABASE_TYPE", "postgresql").output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("nothing was moved"), "{said}");
    assert_eq!(moved.named(), "sqlite");
    drop(daemon);
    // Neither is it for words about a marker that nobody has changed.
    for arguments in [&["milestone", "archive", "m-0"][..], &["migrate", "database", "--engine", "sqlite", "--yes"]] {
        let mut command = moved.workspace.command(arguments);
        let said = command.env("DATABASE_TYPE", "postgresql").output().unwrap();
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        let why = "DATABASE_TYPE in this environment says postgresql, and database on sqlite is in use: unset it";
        assert!(!said.status.success() && told.contains(why), "{told}");
    }
}

#[test]
fn a_word_written_by_hand_moves_nothing_and_can_be_made_true_or_taken_back() {
    let moved = Moved::new(None, "", 5);
    let daemon = moved.workspace.daemon(["--interval", "600"]);
    let before = moved.dump();
    moved.workspace.write("config/storage-backend.txt", "database\n");
    let event = moved.workspace.until_event("backend_changed", 1);
    assert_eq!(event["details"]["adopted"], false);
    let said = moved.workspace.run(["milestone", "archive", "m-0"]);
    assert!(said.code == 1 && said.err.contains("nothing was written"), "{said:?}");
    // Somewhere else than either: refused, for others may write to what the marker names.
    let said = moved.migrate("hybrid");
    assert!(said.code == 1 && said.err.contains("marker and configuration name database on sqlite"), "{said:?}");
    // Taken back.
    assert_eq!(moved.workspace.run(["migrate", "file", "--yes"]).code, 0);
    assert_eq!(moved.named(), "file");
    daemon.until("stale", false);
    // Made true.
    moved.workspace.write("config/storage-backend.txt", "database\n");
    moved.workspace.until_event("backend_changed", 3);
    let said = moved.migrate("sqlite");
    assert_eq!(said.code, 0, "{said:?}");
    daemon.until("current_backend", "database");
    daemon.until("stale", false);
    assert_eq!(moved.dump(), before);
}

#[test]
fn what_an_adapter_writes_into_the_target_is_never_cleared_or_overwritten() {
    let moved = Moved::new(None, "", 3000);
    let child = started(&moved, "sqlite", "comparing");
    let written = Command::new("sqlite3")
        .args(["-cmd", ".timeout 5000"])
        .arg(moved.workspace.path("enterprise.db"))
        .arg("INSERT INTO milestones VALUES ('stranger', '{\"title\":\"s\"}', NULL, NULL)")
        .status()
        .unwrap();
    assert!(written.success());
    let (code, said) = ended(child);
    let there = shell(&moved, "enterprise.db", "SELECT data FROM milestones WHERE id = 'stranger'");
    assert_eq!(there, "{\"title\":\"s\"}", "{said}");
    if code != 0 {
        assert!(said.contains("stranger"), "{said}");
        assert_eq!(shell(&moved, "enterprise.db", "SELECT count(*) FROM milestones"), "1", "the rest is cleared");
        let said = moved.migrate("sqlite");
        assert!(
            said.code == 1 && said.err.contains("neither empty nor an old store") && said.err.contains("stranger"),
            "{said:?}"
        );
        shell(&moved, "enterprise.db", "DELETE FROM milestones");
        assert_eq!(moved.migrate("sqlite").code, 0);
    }
}

#[test]
fn an_index_is_rebuilt_while_an_adapter_inserts() {
    let moved = Moved::new(None, "", 300);
    assert_eq!(moved.migrate("hybrid").code, 0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let added = std::thread::scope(|scope| {
        let adapter = scope.spawn(|| {
            let mut added = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let id = format!("added-{added}");
                moved.workspace.save(format!("active/{id}.yaml"), format!("id: {id}\ntitle: {id}\n"));
                shell(
                    &moved,
                    "index.db",
                    &format!("INSERT OR REPLACE INTO milestones VALUES ('{id}', '{id}', NULL, 'medium', NULL, NULL, '.milestones/active/{id}.yaml')"),
                );
                added += 1;
            }
            added
        });
        for to in ["file", "hybrid", "file", "hybrid"] {
            let said = moved.migrate(to);
            assert_eq!(said.code, 0, "{said:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        adapter.join().unwrap()
    });
    let count = shell(&moved, "index.db", "SELECT count(*) FROM milestones");
    assert_eq!(count.parse::<usize>().unwrap(), 300 + added);
    assert_eq!(moved.dump().lines().count(), 300 + added, "the index says what the files say");
}

/// Two edits of one size within a clock tick: with times cut to whole minutes nothing but the content tells.
#[test]
fn two_edits_of_one_size_within_a_tick_are_two_edits() {
    let ticks = tempfile::tempdir().unwrap();
    let library = ticks.path().join("ticks.so");
    let source = super::repository().join("tests/faults/ticks.c");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(built.unwrap().success());
    let moved = Moved::new(None, "", 40);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for number in 0..40 {
                    // The same inode, the same size.
                    moved
                        .workspace
                        .write(format!("active/m-{number}.yaml"), format!("title: round {:04}\n", round % 10_000));
                }
                round += 1;
            }
        });
        let mut command = moved.workspace.command(Moved::arguments("sqlite"));
        let said = command.env("LD_PRELOAD", &library).output().unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(said.status.success(), "{said:?}");
    });
    until("nothing left to bring over", || {
        let said = moved.workspace.run(["import", "--json"]).json();
        (said["imported"] == 0 && said["conflicts"] == 0).then_some(())
    });
    for number in 0..40 {
        let row = shell(&moved, "enterprise.db", &format!("SELECT data FROM milestones WHERE id = 'm-{number}'"));
        let file = moved.workspace.read(format!("active/m-{number}.yaml"));
        assert!(row.contains(file.trim().strip_prefix("title: ").unwrap()), "{row} {file}");
    }
}

/// An undo that fails is a state of its own: said everywhere, nothing more is tried, and the old store is in use as before.
#[test]
fn an_undo_that_fails_is_stuck_until_a_person_has_mended_it() {
    let moved = Moved::new(None, "", 5);
    let before = moved.dump();
    let mut command = moved.workspace.command(Moved::arguments("sqlite"));
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:kill").env("FAULT_PATH", "storage-backend.txt");
    assert!(!command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    // The unfinished target is damaged before the next start.
    moved.workspace.write("enterprise.db", "this is no database, and long enough to be taken for one that is damaged");
    let daemon = moved.workspace.daemon(["--interval", "0.2"]);
    let stuck = moved.workspace.until_event("migration_stuck", 1);
    assert!(stuck["details"]["reason"].as_str().unwrap().contains("enterprise.db"), "{stuck}");
    daemon.until("/migration/phase", "stuck");
    let cycles = moved.workspace.events_named("scale_status").len();
    moved.workspace.until_event("scale_status", cycles + 5);
    assert_eq!(moved.workspace.events_named("migration_stuck").len(), 1, "said once, and nothing more is tried");
    assert!(moved.workspace.run(["status"]).out.contains("stuck: "));
    assert!(moved.workspace.run(["doctor"]).out.contains("a migration is stuck"));
    assert!(moved.migrate("hybrid").err.contains("cannot be cleared"), "no other migration");
    assert_eq!((moved.named().as_str(), moved.dump()), ("file", before.clone()));
    assert_eq!(moved.workspace.run(["milestone", "show", "m-0"]).code, 0);
    fs::remove_file(moved.workspace.path("enterprise.db")).unwrap();
    assert_eq!(moved.workspace.run(["doctor", "--fix"]).code, 2, "it asks, and there is no terminal");
    moved.workspace.run(["doctor", "--fix", "--yes"]);
    moved.workspace.until_event("migration_rolled_back", 1);
    assert_eq!(moved.migrate("sqlite").code, 0);
    assert_eq!(moved.dump(), before);
}
