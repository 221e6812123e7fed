//! A restore loses nothing: not what others write beside it, not what is archived, not what cannot be parsed, and not where it
//! dies half way.

mod older;
mod refused;

use std::fs;
use std::process::{Command, Stdio};

use milescale_testkit::{Said, Workspace};

use super::super::faults::shim;
use super::super::milestones::sqlite3;
use super::super::{BINARY, workspace};

fn done(workspace: &Workspace, arguments: &[&str]) -> Said {
    let said = workspace.run(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
    said
}

/// Milestones that are in files, titled `backup`, and the name of a backup that holds them. It is of the store that `way` leads to.
fn backed_up(ids: &[&str], way: &[&str]) -> (Workspace, String) {
    let workspace = workspace();
    for id in ids {
        workspace.write(format!("active/{id}.yaml"), "title: backup\nstatus: planned\n");
    }
    done(&workspace, &[way, &["--yes"]].concat());
    done(&workspace, &["migrate", if way == ["migrate", "hybrid"] { "file" } else { "hybrid" }, "--yes"]);
    let from = if way == ["migrate", "hybrid"] { "file" } else { "sqlite" };
    let backup = backups(&workspace).into_iter().find(|it| it.contains(&format!("-{from}-to-"))).unwrap();
    (workspace, backup)
}

fn backups(workspace: &Workspace) -> Vec<String> {
    let list = done(workspace, &["backups", "list", "--json"]).json();
    list.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

/// Restores, and what is said of it.
fn restored(workspace: &Workspace, backup: &str) -> serde_json::Value {
    done(workspace, &["restore", backup, "--yes", "--json"]).json()
}

fn titles(workspace: &Workspace) -> String {
    let list = done(workspace, &["milestone", "list", "--all", "--json"]).json();
    let word = |it: &serde_json::Value, key: &str| it[key].as_str().unwrap_or("-").to_owned();
    let of = |it| ["id", "title", "status"].map(|key| word(it, key)).join(" ");
    list.as_array().unwrap().iter().map(of).collect::<Vec<_>>().join("; ")
}

/// What the files hold that are archived.
fn archive(workspace: &Workspace) -> Vec<String> {
    let Ok(entries) = fs::read_dir(workspace.path("completed")) else { return Vec::new() };
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

const FILES: &[&str] = &["migrate", "hybrid"];
const SQLITE: &[&str] = &["migrate", "database", "--engine", "sqlite"];

/// Restores while `meet` runs, between the backup of what is there and the first write.
fn restore_beside(workspace: &Workspace, backup: &str, meet: &str) -> serde_json::Value {
    let mut command = workspace.command(["restore", backup, "--yes", "--json"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:meetafter").env("FAULT_PATH", "/backups/migration-");
    let said = command.env("FAULT_MEET", meet).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    // Only where the milestones are what the backup says is all well.
    let stays = told["left"].as_array().unwrap().len();
    assert_eq!(said.status.code(), Some(i32::from(stays > 0)), "{said:?}");
    told
}

/// The shell's words that write a milestone with a verb.
fn put(workspace: &Workspace, id: &str, text: &str, seen: Option<&str>) -> String {
    let seen = seen.map(|seen| format!("--if-match {seen}")).unwrap_or_default();
    let root = workspace.root().display();
    format!("printf '{text}\\n' | '{BINARY}' --workspace '{root}' milestone put {id} {seen} > /dev/null || exit 1; ")
}

#[test]
fn what_is_put_beside_a_restore_is_kept_and_named() {
    for way in [FILES, SQLITE] {
        let (workspace, backup) = backed_up(&["a", "b"], way);
        // On the store that the backup is of, so that the restore is what meets the other program.
        restored(&workspace, &backup);
        let seen = done(&workspace, &["milestone", "show", "b", "--digest"]).out;
        let new = put(&workspace, "n", "title: new\\nstatus: planned", None);
        let meet = put(&workspace, "b", "title: acknowledged", Some(seen.trim())) + &new;
        let said = restore_beside(&workspace, &backup, &meet);
        assert_eq!((&said["written"], &said["taken_out"]), (&1.into(), &0.into()), "{said}");
        assert_eq!(said["left"][0]["id"], "n", "{said}");
        assert_eq!(titles(&workspace), "a backup planned; b backup planned; n new planned");
        let conflicts = done(&workspace, &["conflicts", "list", "--json"]).json();
        assert_eq!(conflicts.as_array().unwrap().len(), 1, "{conflicts}");
        let kept = done(&workspace, &["conflicts", "show", conflicts[0]["name"].as_str().unwrap()]).out;
        assert!(kept.contains("acknowledged"), "{kept}");
        assert_eq!(workspace.events_named("write_conflict").len(), 1);
    }
}

#[test]
fn a_milestone_that_was_archived_since_is_restored_once_and_goes_back_whole() {
    let (workspace, backup) = backed_up(&["a"], FILES);
    workspace.write("active/a.yaml", "title: since\nstatus: planned\n");
    done(&workspace, &["milestone", "archive", "a"]);
    let archived = archive(&workspace);
    let displaced = restored(&workspace, &backup)["backup"].as_str().unwrap().to_owned();
    assert_eq!((titles(&workspace).as_str(), archive(&workspace).len()), ("a backup planned", 0));
    // What it displaced is in its backup, and goes back to where it lay.
    restored(&workspace, &displaced);
    assert_eq!((titles(&workspace).as_str(), archive(&workspace)), ("a since archived", archived));
    assert!(!workspace.path("active/a.yaml").exists());
    done(&workspace, &["milestone", "unarchive", "a"]);
    done(&workspace, &["milestone", "archive", "a"]);
}

#[test]
fn an_archived_file_is_no_second_one_beside_a_row() {
    let (workspace, backup) = backed_up(&["a"], SQLITE);
    // In files, then, and archived there.
    done(&workspace, &["milestone", "archive", "a"]);
    assert_eq!(archive(&workspace).len(), 1);
    let displaced = restored(&workspace, &backup)["backup"].as_str().unwrap().to_owned();
    assert_eq!((titles(&workspace).as_str(), archive(&workspace).len()), ("a backup planned", 0));
    assert_eq!(sqlite3(&workspace, "enterprise.db", "SELECT count(*) FROM milestones").trim(), "1");
    restored(&workspace, &displaced);
    assert_eq!(titles(&workspace), "a backup archived");
}

#[test]
fn an_archived_row_is_not_made_again_where_its_file_lies_in_the_archive() {
    let workspace = workspace();
    workspace.write("active/x.yaml", "title: x\nstatus: planned\n");
    done(&workspace, &[SQLITE, &["--yes"]].concat());
    fs::write(workspace.root().join("new.yaml"), "title: backup\nstatus: planned\n").unwrap();
    done(&workspace, &["milestone", "put", "arch", "new.yaml"]);
    done(&workspace, &["milestone", "archive", "arch"]);
    done(&workspace, &["migrate", "file", "--yes"]);
    let backup = backups(&workspace).into_iter().find(|it| it.contains("-sqlite-to-file")).unwrap();
    restored(&workspace, &backup);
    assert_eq!(titles(&workspace), "arch backup archived; x x planned");
}

#[test]
fn what_is_taken_of_a_conflict_is_no_second_one_beside_an_archived_file() {
    let workspace = workspace();
    workspace.write("active/a.yaml", "title: first\nstatus: planned\n");
    done(&workspace, &[SQLITE, &["--yes"]].concat());
    sqlite3(&workspace, "enterprise.db", "UPDATE milestones SET data = '{\"title\":\"row\",\"status\":\"planned\"}'");
    workspace.save("active/a.yaml", "title: kept\nstatus: planned\n");
    done(&workspace, &["import"]);
    done(&workspace, &["migrate", "file", "--yes"]);
    done(&workspace, &["milestone", "archive", "a"]);
    done(&workspace, &[SQLITE, &["--yes"]].concat());
    assert_eq!((titles(&workspace).as_str(), archive(&workspace).len()), ("a row archived", 1));
    let conflicts = done(&workspace, &["conflicts", "list", "--json"]).json();
    done(&workspace, &["conflicts", "resolve", conflicts[0]["name"].as_str().unwrap(), "--take-kept"]);
    assert_eq!((titles(&workspace).as_str(), archive(&workspace).len()), ("a kept planned", 0));
}

#[test]
fn what_cannot_be_parsed_goes_back_byte_for_byte() {
    let (workspace, backup) = backed_up(&["a"], FILES);
    let bad = b"title: \"a week's work\n  - x: [\xff\n";
    workspace.write("active/bad.yaml", bad);
    workspace.write("active/good.yaml", "title: good\nstatus: planned\n");
    let said = restored(&workspace, &backup);
    assert_eq!(said["taken_out"], 2, "{said}");
    let said = restored(&workspace, said["backup"].as_str().unwrap());
    assert_eq!((&said["written"], said["failed"].as_array().unwrap().len()), (&2.into(), 0), "{said}");
    assert_eq!(fs::read(workspace.path("active/bad.yaml")).unwrap(), bad);
    assert!(titles(&workspace).contains("good good planned"));
}

#[test]
fn what_no_database_takes_is_named_and_the_rest_is_restored() {
    let workspace = workspace();
    workspace.write("active/a.yaml", "title: a\nstatus: planned\n");
    workspace.write("active/b.yaml", "title: b\nstatus: planned\n");
    done(&workspace, &[SQLITE, &["--yes"]].concat());
    sqlite3(
        &workspace,
        "enterprise.db",
        "INSERT INTO milestones(id, data) VALUES ('bad', 'no json'), ('no/id', '{\"title\":\"t\"}')",
    );
    let first = backups(&workspace).remove(0);
    // The restore moves to files; what cannot go there stops it, and nothing has changed.
    let refused = workspace.run(["restore", &first, "--yes"]);
    assert!(refused.code == 1 && !workspace.path(".milescale/restore.json").exists(), "{refused:?}");
    let backup = backup_of_rows(&workspace, &first);
    let said = workspace.run(["restore", &backup, "--yes", "--json"]);
    let told = said.json();
    assert_eq!(said.code, 1, "{said:?}");
    assert_eq!((&told["written"], &told["failed"][0]["id"]), (&1.into(), &"bad".into()), "{told}");
    let left = told["left"].as_array().unwrap();
    assert_eq!(left.iter().map(|it| it["id"].as_str().unwrap()).collect::<Vec<_>>(), ["no/id"], "{told}");
    assert_eq!(sqlite3(&workspace, "enterprise.db", "SELECT data FROM milestones WHERE id = 'bad'").trim(), "no json");
    assert_eq!(sqlite3(&workspace, "enterprise.db", "SELECT count(*) FROM milestones").trim(), "4", "a, b, bad, no/id");
}

/// Writes a backup of rows that holds `a` in another content, `b` as it is, and one that is no JSON. Its name.
fn backup_of_rows(workspace: &Workspace, like: &str) -> String {
    let name = "migration-20200101-000000-sqlite-to-file";
    let line = |id: &str, text: &str| format!("{}\n", serde_json::json!({ "id": id, "place": id, "text": text }));
    let lines =
        [line("a", "title: restored\n"), line("b", "title: b\nstatus: planned\n"), line("bad", "no: [json")].concat();
    let milestones = format!("backups/{name}/milestones.jsonl");
    workspace.write(&milestones, &lines);
    let sum = Command::new("sha256sum").arg(workspace.path(&milestones)).output().unwrap();
    let digest = String::from_utf8_lossy(&sum.stdout[..64]).into_owned();
    let mut metadata = workspace.run(["backups", "show", like, "--json"]).json();
    for (key, value) in
        [("id", name.into()), ("from", "sqlite".into()), ("size_bytes", lines.len().into()), ("sha256", digest.into())]
    {
        let _: Option<serde_json::Value> = metadata.as_object_mut().unwrap().insert(key.to_owned(), value);
    }
    workspace.write(format!("backups/{name}/backup-metadata.yaml"), metadata.to_string());
    name.to_owned()
}

/// Restores, and dies at a rename in a folder.
fn dies(workspace: &Workspace, backup: &str, path: &str) {
    let mut command = workspace.command(["restore", backup, "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:killafter").env("FAULT_PATH", path);
    assert!(!command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
}

/// What `status` and `doctor` say of a restore that is not over.
fn unfinished(workspace: &Workspace) -> Option<String> {
    let said = workspace.status()["migration"]["unfinished_restore"].as_str().map(str::to_owned);
    let doctor = workspace.run(["doctor", "--json"]).json();
    let findings = doctor["findings"].as_array().unwrap();
    assert_eq!(findings.iter().any(|it| it["what"].as_str() == said.as_deref()), said.is_some(), "{doctor}");
    said
}

#[test]
fn a_restore_that_died_half_way_is_named_until_it_is_finished_or_taken_back() {
    let (workspace, backup) = backed_up(&["a", "b", "c"], FILES);
    let since = "a since planned; b since planned; c since planned";
    let edit =
        || ["a", "b", "c"].map(|id| workspace.write(format!("active/{id}.yaml"), "title: since\nstatus: planned\n"));
    edit();
    dies(&workspace, &backup, "/active/");
    let before = backups(&workspace).into_iter().rfind(|it| it.contains("-file-to-file")).unwrap();
    let said = unfinished(&workspace).unwrap();
    for command in [&backup, &before].map(|it| format!("`milescale restore {it}`")) {
        assert!(said.contains(&command), "{said}");
    }
    let told = restored(&workspace, &backup);
    assert_eq!((&told["written"], &told["interrupted"]), (&2.into(), &serde_json::json!([before])), "{told}");
    assert_eq!(unfinished(&workspace), None);
    restored(&workspace, &before);
    assert_eq!(titles(&workspace), since);
    dies(&workspace, &backup, "/active/");
    let before = backups(&workspace).into_iter().rfind(|it| it.contains("-file-to-file")).unwrap();
    assert!(unfinished(&workspace).is_some());
    restored(&workspace, &before);
    assert_eq!((titles(&workspace).as_str(), unfinished(&workspace)), (since, None));
}

#[test]
fn a_restore_that_died_after_its_move_is_named() {
    let (workspace, backup) = backed_up(&["a"], SQLITE);
    workspace.write("active/a.yaml", "title: since\nstatus: planned\n");
    // The backup of what it displaces gets its name after the move.
    dies(&workspace, &backup, "-sqlite-to-sqlite");
    assert_eq!(workspace.status()["current_backend"], "database");
    assert!(unfinished(&workspace).unwrap().contains(&format!("`milescale restore {backup}` finishes it")));
    restored(&workspace, &backup);
    assert_eq!((titles(&workspace).as_str(), unfinished(&workspace)), ("a backup planned", None));
}

/// What lay in the archive when the backup was taken, and is in use since, goes back there; what is new since is taken out, and
/// both are named.
#[test]
fn what_lay_in_the_archive_goes_back_there() {
    for (to, from) in [("hybrid", "file"), ("database", "sqlite")] {
        let workspace = workspace();
        workspace.write("active/a.yaml", "title: a\nstatus: planned\n");
        workspace.write("completed/2024/e.yaml", "title: e\nstatus: completed\n");
        workspace.write("completed/f.yaml", "title: f\nstatus: archived\n");
        done(&workspace, &["migrate", to, "--yes"]);
        if to == "database" {
            done(&workspace, &["migrate", "file", "--yes"]);
            done(&workspace, &["migrate", "database", "--yes"]);
        }
        let backup = backups(&workspace).into_iter().find(|it| it.contains(&format!("-{from}-to-"))).unwrap();
        done(&workspace, &["milestone", "unarchive", "e"]);
        let fresh = "title: since\nstatus: planned\n";
        fs::write(workspace.root().join("new.yaml"), fresh).unwrap();
        let seen = done(&workspace, &["milestone", "show", "e", "--digest"]).out;
        done(&workspace, &["milestone", "put", "e", "new.yaml", "--if-match", seen.trim()]);
        done(&workspace, &["milestone", "put", "n", "new.yaml"]);
        let said = done(&workspace, &["restore", &backup, "--yes"]).out;
        assert!(said.contains("1 (n) taken out, 1 moved back to the archive (e)"), "{to}: {said}");
        assert_eq!(titles(&workspace), "a a planned; e since archived; f f archived", "{to}");
        assert_eq!(done(&workspace, &["milestone", "list"]).out.lines().count(), 1, "{to}");
        // Once more, and nothing is left to do.
        let said = restored(&workspace, &backup);
        assert_eq!((&said["taken_out"], &said["archived_ids"]), (&0.into(), &serde_json::json!([])), "{to}: {said}");
    }
}

/// One that was put in use beside an archived one of its id is new since: the archive is as it was.
#[test]
fn one_beside_what_lay_in_the_archive_is_taken_out() {
    let workspace = workspace();
    workspace.write("active/a.yaml", "title: a\nstatus: planned\n");
    workspace.write("completed/e.yaml", "title: e\nstatus: archived\n");
    done(&workspace, &["migrate", "hybrid", "--yes"]);
    let backup = backups(&workspace).remove(0);
    workspace.write("active/e.yaml", "title: since\nstatus: planned\n");
    assert_eq!(restored(&workspace, &backup)["taken_out_ids"], serde_json::json!(["e"]));
    assert_eq!(titles(&workspace), "a a planned; e e archived");
}

/// Comments are what a backup says as well, also those of an archived milestone.
#[test]
fn comments_of_an_archived_milestone_are_restored() {
    let workspace = workspace();
    workspace.write("active/a.yaml", "title: a # before\n");
    done(&workspace, &["migrate", "database", "--engine", "sqlite", "--yes"]);
    done(&workspace, &["milestone", "archive", "a"]);
    fs::remove_file(workspace.path("active/a.yaml")).unwrap();
    done(&workspace, &["migrate", "file", "--yes"]);
    let text = workspace.read("completed/a.yaml");
    assert!(text.contains("# before"), "{text}");
    workspace.save("completed/a.yaml", text.replace("before", "after"));
    done(&workspace, &["migrate", "database", "--engine", "sqlite", "--yes"]);
    let all = backups(&workspace);
    restored(&workspace, all.iter().find(|it| it.contains("-sqlite-to-file")).unwrap());
    assert_eq!(done(&workspace, &["milestone", "show", "a"]).out, text);
}

/// What others have written to an old store before comes before a restore: it is displaced with the rest, and comes no second time.
#[test]
fn what_was_written_to_an_old_store_before_a_restore_is_displaced_by_it() {
    let workspace = workspace();
    for id in ["a", "b"] {
        workspace.write(format!("active/{id}.yaml"), "title: backup\nstatus: planned\n");
    }
    done(&workspace, &["migrate", "database", "--yes"]);
    done(&workspace, &["migrate", "file", "--yes"]);
    let backup = backups(&workspace).into_iter().find(|it| it.contains("-file-to-")).unwrap();
    let before = titles(&workspace);
    sqlite3(
        &workspace,
        "enterprise.db",
        "UPDATE milestones SET data = json_set(data, '$.title', 'pending') WHERE id = 'a'",
    );
    restored(&workspace, &backup);
    assert_eq!(titles(&workspace), before);
    done(&workspace, &["check"]);
    assert_eq!(titles(&workspace), before, "not brought over a second time");
}
