//! Targets that another program has filled.

use std::process::Stdio;

use milescale_testkit::{Postgres, Workspace};
use serde_json::json;

use super::super::super::faults::{dies, shim};
use super::{configure, done, obstacles, plan, sqlite, with_files};

/// Whose rename is the switch.
const MARKER: &str = "/config/storage-backend.txt";

/// Where no milescale has been yet.
fn unknown(workspace: &Workspace) {
    std::fs::remove_dir_all(workspace.path(".milescale")).unwrap();
    workspace.write("config/storage-backend.txt", "database\n");
}

/// Files, and a database that another program has filled: `same` is equal, `other` differs, `files` is missing there, `rows` is
/// only there.
fn filled() -> Workspace {
    let workspace = with_files(&["same", "other", "files"]);
    sqlite(
        &workspace,
        "CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT);
         INSERT INTO milestones(id, data) VALUES ('same', '{\"title\": \"same\", \"status\": \"active\"}'),
         ('other', '{\"title\":\"theirs\"}'), ('rows', '{\"title\":\"rows\"}')",
    );
    workspace
}

/// A move that takes the database over, with the source's contents, and fails as it renames the marker: by an error, or a kill.
fn fails_at_the_switch(workspace: &Workspace, how: &str) {
    let mut command = workspace.command(["migrate", "database", "--adopt", "--source-wins", "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", format!("rename:1:{how}"));
    command.env("FAULT_PATH", "/config/storage-backend.txt").stdout(Stdio::null()).stderr(Stdio::null());
    assert!(!command.status().unwrap().success());
}

fn rows(workspace: &Workspace) -> String {
    sqlite(workspace, "SELECT id || ' ' || data FROM milestones ORDER BY id")
}

const COUNTS: &str = r#"{"equal":1,"missing":1,"different":1,"only_in_target":1}"#;

#[test]
fn l26_a_database_of_others_is_taken_over_and_each_difference_is_kept() {
    let workspace = filled();
    let refused = obstacles(&plan(&workspace, &["database"]));
    assert!(refused.contains("`milescale migrate database --engine sqlite --adopt`"), "{refused}");
    let before = rows(&workspace);
    let counted = plan(&workspace, &["database", "--adopt"]);
    assert_eq!((counted["adopting"].to_string().as_str(), &counted["obstacles"]), (COUNTS, &json!([])));
    assert_eq!(rows(&workspace), before, "a dry run changes nothing");
    done(&workspace, &["migrate", "database", "--adopt", "--yes"]);
    let status = workspace.status();
    assert_eq!((&status["current_backend"], &status["milestone_count"]), (&json!("database"), &json!(4)), "{status}");
    assert_eq!(sqlite(&workspace, "SELECT data FROM milestones WHERE id = 'other'"), "{\"title\":\"theirs\"}");
    assert_eq!(done(&workspace, &["milestone", "show", "files"]).out, "# of files\ntitle: files\nstatus: active\n");
    let conflicts = done(&workspace, &["conflicts", "list", "--json"]).json();
    let kept = conflicts["conflicts"].as_array().or(conflicts.as_array()).unwrap();
    assert_eq!((kept.len(), &kept[0]["id"], &kept[0]["side"]), (1, &json!("other"), &json!("files")), "{conflicts}");
    let kept = done(&workspace, &["conflicts", "show", kept[0]["name"].as_str().unwrap()]);
    assert_eq!(kept.out, "# of other\ntitle: other\nstatus: active\n");
    // From then on the files are an old store as any.
    workspace.save("active/same.yaml", "# of same\ntitle: same\nstatus: done\n");
    done(&workspace, &["import"]);
    assert_eq!(done(&workspace, &["milestone", "show", "same"]).out, "# of same\ntitle: same\nstatus: done\n");
    done(&workspace, &["rollback", "--yes"]);
    assert_eq!(workspace.read("active/other.yaml"), "title: theirs\n");
}

#[test]
fn l26_a_workspace_that_another_program_moved_comes_back_to_its_files() {
    let workspace = filled();
    unknown(&workspace);
    let refused = obstacles(&plan(&workspace, &["hybrid"]));
    assert!(refused.contains("`milescale migrate hybrid --adopt`"), "{refused}");
    assert_eq!(plan(&workspace, &["file", "--adopt", "--source-wins"])["adopting"].to_string(), COUNTS);
    done(&workspace, &["migrate", "file", "--adopt", "--source-wins", "--yes"]);
    assert_eq!(workspace.read("active/same.yaml"), "# of same\ntitle: same\nstatus: active\n", "equal files stay");
    assert_eq!(workspace.read("active/other.yaml"), "title: theirs\n");
    assert_eq!(workspace.read("active/rows.yaml"), "title: rows\n");
    assert_eq!(workspace.status()["milestone_count"], 4);
    let told = workspace.events_named("write_conflict");
    assert_eq!((told.len(), &told[0]["details"]["id"]), (1, &json!("other")), "{told:?}");
    let kept = told[0]["details"]["kept_as"].as_str().unwrap().trim_start_matches(".milestones/").to_owned();
    assert_eq!(workspace.read(kept), "# of other\ntitle: other\nstatus: active\n");
}

/// The marker cannot be renamed: what was inserted goes, what was written over comes back, and the rest was never touched.
#[test]
fn l26_a_move_that_fails_leaves_a_target_of_others_as_it_was() {
    for options in [&["--adopt"][..], &["--adopt", "--source-wins"]] {
        for what in ["EIO", "kill"] {
            let workspace = filled();
            let before = rows(&workspace);
            let mut command = workspace.command([&["migrate", "database", "--yes"], options].concat());
            command.env("LD_PRELOAD", shim()).env("FAULT", format!("rename:1:{what}"));
            command.env("FAULT_PATH", "/config/storage-backend.txt").stdout(Stdio::null()).stderr(Stdio::null());
            assert_ne!(command.status().unwrap().code(), Some(0), "{options:?}");
            // What died is undone by the next command.
            workspace.run(["check"]);
            assert_eq!(workspace.read("config/storage-backend.txt").trim(), "file", "{options:?} {what}");
            assert_eq!(rows(&workspace), before, "{options:?} {what}");
            assert_eq!(workspace.run(["conflicts", "list"]).out.matches("other").count(), 0, "{options:?} {what}");
            done(&workspace, &[&["migrate", "database", "--yes"], options].concat());
        }
    }
}

/// The source is edited between copying and comparing, so the row is written twice before the death.
/// The files come back older than what a dead move has taken along: what it brought is kept before the target's own comes back.
#[test]
fn what_only_a_target_of_others_holds_is_kept_when_an_older_source_comes_back() {
    for backed_up in [false, true] {
        let workspace = filled();
        let before = rows(&workspace);
        let text = format!("storage:\n  migration: {{backup_before_migration: {backed_up}}}\n");
        workspace.write("config/storage-config.yaml", text);
        fails_at_the_switch(&workspace, "kill");
        std::fs::remove_file(workspace.path("active/files.yaml")).unwrap();
        workspace.write("active/other.yaml", "title: older\n");
        done(&workspace, &["check"]);
        assert_eq!(rows(&workspace), before, "the target is what it was");
        let conflicts = done(&workspace, &["conflicts", "list"]).out;
        let kept = |id: &str| conflicts.contains(&format!("  {id}: it stood in the target of a move that was undone"));
        assert_eq!((kept("files"), kept("other"), kept("same")), (!backed_up, !backed_up, false), "{conflicts}");
    }
}

#[test]
fn l26_a_move_that_fails_gives_back_what_it_wrote_over_twice() {
    let workspace = filled();
    let before = rows(&workspace);
    let mut command = workspace.command(["migrate", "database", "--adopt", "--source-wins", "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:5:meet").env("FAULT_THEN", "1:kill");
    let other = workspace.path("active/other.yaml");
    command.env("FAULT_MEET", format!("echo 'title: edited' > {}", other.display()));
    command.env("FAULT_PATH", "/migration.json").stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(command.status().unwrap().code(), None);
    assert!(rows(&workspace).contains("edited"), "it was written twice: {}", rows(&workspace));
    workspace.run(["check"]);
    assert_eq!(rows(&workspace), before);
    assert_eq!(workspace.run(["conflicts", "list"]).out.matches("other").count(), 0);
}

/// What another program has written need not say its id; it comes back as it was.
#[test]
fn l26_a_move_that_fails_gives_back_a_row_that_says_another_id() {
    let workspace = filled();
    sqlite(&workspace, "UPDATE milestones SET data = '{\"id\":\"o-1\",\"title\":\"theirs\"}' WHERE id = 'other'");
    let before = rows(&workspace);
    fails_at_the_switch(&workspace, "EIO");
    assert_eq!(rows(&workspace), before);
}

/// What it wrote over is listed until the move is over: an undo goes by that.
#[test]
fn l26_what_a_move_wrote_over_is_not_resolved_before_it_is_over() {
    let workspace = filled();
    let before = rows(&workspace);
    fails_at_the_switch(&workspace, "kill");
    let listed = workspace.run(["conflicts", "list", "--json"]).json();
    let name = listed[0]["name"].as_str().unwrap();
    for how in ["--take-kept", "--keep-current"] {
        let said = workspace.run(["conflicts", "resolve", name, how]);
        assert!(said.code == 1 && said.err.contains("`milescale check` finishes or undoes"), "{said:?}");
    }
    workspace.run(["check"]);
    assert_eq!(rows(&workspace), before);
}

/// What it wrote over is kept for another reason already, and comes back all the same.
#[test]
fn l26_a_move_that_fails_gives_back_what_was_a_conflict_before() {
    let kept = |workspace: &Workspace| workspace.run(["conflicts", "list", "--json"]).json()[0].clone();
    let before = filled();
    done(&before, &["migrate", "database", "--adopt", "--source-wins", "--yes"]);
    let name = kept(&before)["name"].as_str().unwrap().to_owned();
    let workspace = filled();
    let rows_before = rows(&workspace);
    for suffix in ["", ".json"] {
        let text = before.read(format!(".milescale/conflicts/{name}{suffix}"));
        workspace.write(format!(".milescale/conflicts/{name}{suffix}"), text.replace("it stood in", "earlier in"));
    }
    fails_at_the_switch(&workspace, "EIO");
    assert_eq!(rows(&workspace), rows_before);
    assert_eq!(kept(&workspace)["name"], name.as_str(), "the conflict of before stays");
}

#[test]
fn e02_a_table_that_adapters_filled_is_taken_over_without_columns() {
    let server = Postgres::start();
    server.psql(
        "plans",
        "SET ROLE ada; CREATE TABLE milestones(id text primary key, data jsonb, created_at timestamp default now(),
         updated_at timestamp default now()); INSERT INTO milestones(id, data) VALUES ('same',
         '{\"title\": \"same\", \"status\": \"active\"}'), ('other', '{\"title\": \"theirs\"}'), ('rows', '{}')",
    );
    let workspace = with_files(&["same", "other", "files"]);
    configure(&workspace, &server.url(), "");
    let to = ["database", "--engine", "postgresql", "--adopt"];
    assert_eq!(plan(&workspace, &to)["adopting"].to_string(), COUNTS);
    done(&workspace, &[&["migrate", "--yes"], &to[..]].concat());
    assert_eq!(workspace.status()["milestone_count"], 4);
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'milestones'";
    assert_eq!(server.psql("plans", columns), "4");
    assert_eq!(workspace.events_named("write_conflict").len(), 1);
    assert_eq!(server.psql("plans", "SELECT data->>'title' FROM milestones WHERE id = 'other'"), "theirs");
}

/// Comments of files that a row of the same values has not are brought there, however many; a row has others, and one of the two is
/// kept as every difference is.
#[test]
fn l26_comments_beside_the_same_values_are_brought_or_kept() {
    let ids: Vec<String> = (0..8).map(|number| format!("m-{number}")).collect();
    for (options, shown, kept) in [
        (&["--adopt"][..], "# of the row\ntitle: both\n", "title: both # of the file\n"),
        (&["--adopt", "--source-wins"], "title: both # of the file\n", "# of the row\ntitle: both\n"),
    ] {
        let workspace = with_files(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        workspace.write("active/both.yaml", "title: both # of the file\n");
        let rows = ids.iter().map(|id| format!("('{id}', '{{\"title\":\"{id}\",\"status\":\"active\"}}'), "));
        let tables = "CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT);
                      CREATE TABLE milescale_texts (id TEXT PRIMARY KEY, text BLOB NOT NULL, data_digest TEXT NOT NULL);
                      INSERT INTO milescale_texts VALUES('both', CAST('# of the row\ntitle: both\n' AS BLOB), '2:');";
        let rows: String = rows.collect();
        let insert = format!("INSERT INTO milestones(id, data) VALUES {rows} ('both', '{{\"title\":\"both\"}}')");
        sqlite(&workspace, &format!("{tables}{insert}"));
        let counted = plan(&workspace, &[&["database"], options].concat())["adopting"].to_string();
        assert_eq!(counted, r#"{"equal":8,"missing":0,"different":1,"only_in_target":0}"#);
        done(&workspace, &[&["migrate", "database", "--yes"], options].concat());
        done(&workspace, &["check"]);
        for id in &ids {
            let text = format!("# of {id}\ntitle: {id}\nstatus: active\n");
            assert_eq!(done(&workspace, &["milestone", "show", id]).out, text);
        }
        assert!(workspace.events_named("changes_held").is_empty());
        assert_eq!(done(&workspace, &["milestone", "show", "both"]).out, shown);
        let told = workspace.events_named("write_conflict");
        assert_eq!((told.len(), &told[0]["details"]["id"]), (1, &json!("both")), "{told:?}");
        let path = told[0]["details"]["kept_as"].as_str().unwrap().trim_start_matches(".milestones/").to_owned();
        assert_eq!(workspace.read(path), kept);
    }
}

/// What a move that failed has left to be looked at is milescale's own, and older than what was written since: it is not taken over,
/// nor followed.
#[test]
fn what_a_failed_move_has_left_is_no_other_programs() {
    let workspace = with_files(&["edited", "archived", "removed", "touched"]);
    workspace.write("config/storage-config.yaml", "storage:\n  migration: {rollback_on_failure: false}\n");
    done(&workspace, &["check"]);
    let mut command = workspace.command(["migrate", "database", "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:ENOSPC").env("FAULT_PATH", "storage-backend.txt");
    assert!(!command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    assert!(rows(&workspace).contains("removed"), "it was kept");
    workspace.save("active/edited.yaml", "title: edited\nstatus: active\nnew: 1\n");
    done(&workspace, &["milestone", "archive", "archived"]);
    std::fs::remove_file(workspace.path("active/removed.yaml")).unwrap();
    workspace.write("config/storage-backend.txt", "database\n");
    workspace.age_marker(1);
    workspace.run(["check"]);
    assert!(workspace.run(["status"]).out.contains("have an older content there"), "{:?}", workspace.run(["status"]));
    workspace.write("config/storage-backend.txt", "file\n");
    sqlite(&workspace, "UPDATE milestones SET data = '{\"title\":\"theirs\"}' WHERE id = 'touched'");
    let planned = plan(&workspace, &["database", "--adopt"]);
    assert_eq!(
        planned["adopting"],
        json!({"equal": 0, "missing": 1, "different": 1, "only_in_target": 0}),
        "{planned}"
    );
    done(&workspace, &["migrate", "database", "--adopt", "--yes"]);
    let now = rows(&workspace);
    assert!(now.contains("\"new\":1") && now.contains("theirs") && !now.contains("removed"), "{now}");
    assert!(!now.contains("archived {") || now.contains("\"archived\""), "{now}");
}

/// What another program has written over a milestone that such a move had brought is named where the move is undone.
#[test]
fn what_was_written_into_a_target_that_is_not_taken_over_after_all_is_named() {
    let workspace = filled();
    dies(&workspace, &["migrate", "database", "--adopt", "--yes"], "rename:1:kill", MARKER);
    sqlite(&workspace, "UPDATE milestones SET data = '{\"title\":\"an edit\"}' WHERE id = 'files'");
    done(&workspace, &["check"]);
    assert!(rows(&workspace).contains("an edit"), "it stands there");
    let told = done(&workspace, &["conflicts"]).out;
    assert!(told.contains("files: it was written into the target of a move that was undone"), "{told}");
}

/// Files without comments are taken over, and the store in use has the same values with some: they are brought over.
#[test]
fn comments_around_equal_values_come_into_files_that_are_taken_over() {
    for how in [&["--adopt"][..], &["--adopt", "--source-wins"]] {
        let workspace = with_files(&["a"]);
        let bare = "title: a\nstatus: active\n";
        workspace.save("active/a.yaml", format!("# by hand\n{bare}"));
        done(&workspace, &["migrate", "database", "--yes"]);
        done(&workspace, &["retire", "files", "--yes"]);
        workspace.save("active/a.yaml", bare);
        done(&workspace, &[&["migrate", "file", "--yes"], how].concat());
        assert_eq!(workspace.read("active/a.yaml"), format!("# by hand\n{bare}"), "{how:?}");
        assert_eq!(done(&workspace, &["conflicts"]).out, "no conflicts\n", "{how:?}");
    }
}

/// A move that was undone leaves a conflict about what another program has changed since; the next one, which has the same number, gives
/// back nothing of it.
#[test]
fn an_undo_gives_back_nothing_that_an_earlier_move_kept() {
    let workspace = filled();
    dies(&workspace, &["migrate", "database", "--adopt", "--source-wins", "--yes"], "rename:1:kill", MARKER);
    sqlite(&workspace, "UPDATE milestones SET data = '{\"title\":\"second\"}' WHERE id = 'other'");
    done(&workspace, &["check"]);
    assert!(
        rows(&workspace).contains("second")
            && done(&workspace, &["conflicts"]).out.contains("other: it stood in the target")
    );
    // It comes to what the source holds.
    sqlite(&workspace, "UPDATE milestones SET data = '{\"title\":\"other\",\"status\":\"active\"}' WHERE id = 'other'");
    let before = rows(&workspace);
    dies(&workspace, &["migrate", "database", "--adopt", "--yes"], "rename:1:kill", MARKER);
    done(&workspace, &["check"]);
    assert_eq!(rows(&workspace), before);
    assert!(done(&workspace, &["conflicts"]).out.contains("other: it stood in the target"));
}
