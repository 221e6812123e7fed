//! What names the store in use: the marker that somebody changes by hand, the configuration that somebody saves meanwhile.

mod configuration;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use milescale_testkit::{Postgres, Workspace, until};

use super::super::faults::shim;
use super::super::milestones::sqlite3;
use super::super::workspace;
use super::kept;

fn done(workspace: &Workspace, arguments: &[&str]) -> String {
    let said = workspace.run(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
    said.out
}

fn put(workspace: &Workspace, id: &str, text: &str) {
    let digest = done(workspace, &["milestone", "show", id, "--digest"]);
    let draft = workspace.root().join("draft.yaml");
    fs::write(&draft, text).unwrap();
    done(workspace, &["milestone", "put", id, draft.to_str().unwrap(), "--if-match", digest.trim()]);
}

/// Two milestones, moved to SQLite.
fn in_sqlite() -> Workspace {
    let workspace = workspace();
    for id in ["a", "b"] {
        workspace.write(format!("active/{id}.yaml"), format!("title: {id}\nstatus: planned\n"));
    }
    done(&workspace, &["migrate", "database", "--yes"]);
    workspace
}

/// A milestone in files, and the configuration, which names a server and is not at it yet.
fn beside(server: &Postgres) -> (Workspace, String) {
    let workspace = workspace();
    workspace.write("active/a.yaml", "title: a\n");
    let text = format!("# mine\nstorage:\n  database:\n    type: sqlite\n    url: \"{}\"\n", server.url());
    workspace.write("config/storage-config.yaml", &text);
    (workspace, text)
}

/// A move to the server dies once the configuration names the engine, and before the marker does.
fn die_between_configuration_and_marker(workspace: &Workspace) {
    let mut command = workspace.command(["migrate", "database", "--engine", "postgresql", "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:kill").env("FAULT_PATH", "/config/storage-backend.txt");
    assert!(!command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
}

fn oldest_backup(workspace: &Workspace) -> String {
    let entries = fs::read_dir(workspace.path("backups")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).min().unwrap()
}

fn adopted(workspace: &Workspace) -> Vec<bool> {
    let events = workspace.events_named("backend_changed");
    events.iter().map(|event| event["details"]["adopted"].as_bool().unwrap()).collect()
}

#[test]
fn l16_a_store_with_older_contents_is_not_followed() {
    let workspace = in_sqlite();
    put(&workspace, "a", "title: a\nstatus: done\n");
    workspace.write("config/storage-backend.txt", "file\n");
    done(&workspace, &["check"]);
    assert_eq!(adopted(&workspace), [false], "{:?}", workspace.events_named("backend_changed"));
    assert_eq!(workspace.status()["current_backend"], "database");
    assert!(done(&workspace, &["milestone", "show", "a"]).contains("done"));
}

/// Comments are contents too. Those of files are gone from rows that another program has written, and are nobody's edit there.
#[test]
fn l16_a_store_with_older_comments_is_not_followed() {
    let workspace = in_sqlite();
    put(&workspace, "a", "title: a\nstatus: planned\n# put\n");
    workspace.write("config/storage-backend.txt", "file\n");
    done(&workspace, &["check"]);
    assert_eq!(adopted(&workspace), [false], "{:?}", workspace.events_named("backend_changed"));
    assert!(done(&workspace, &["milestone", "show", "a"]).contains("# put"));

    let workspace = self::workspace();
    workspace.write("active/a.yaml", "# ours\ntitle: a\n");
    done(&workspace, &["check"]);
    let table = "CREATE TABLE milestones (id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)";
    sqlite3(
        &workspace,
        "enterprise.db",
        &format!("{table}; INSERT INTO milestones VALUES ('a', '{{\"title\":\"a\"}}', '', '')"),
    );
    workspace.write("config/storage-backend.txt", "database\n");
    done(&workspace, &["check"]);
    assert_eq!(adopted(&workspace), [true], "{:?}", workspace.events_named("backend_changed"));
    assert!(workspace.events_named("write_conflict").is_empty());
    done(&workspace, &["check"]);
    assert_eq!(done(&workspace, &["milestone", "show", "a"]), "# ours\ntitle: a\n", "the row takes them");
    done(&workspace, &["migrate", "file", "--yes"]);
    assert_eq!(workspace.read("active/a.yaml"), "# ours\ntitle: a\n");
}

/// A milestone that was archived since is an older content where it is in use.
#[test]
fn l16_a_store_where_something_is_in_use_that_was_archived_since_is_not_followed() {
    let workspace = in_sqlite();
    done(&workspace, &["migrate", "file", "--yes"]);
    done(&workspace, &["milestone", "archive", "a"]);
    workspace.write("config/storage-backend.txt", "database\n");
    done(&workspace, &["check"]);
    assert_eq!(adopted(&workspace), [false], "{:?}", workspace.events_named("backend_changed"));
    assert_eq!(workspace.status()["current_backend"], "file");
}

#[test]
fn l16_a_store_with_contents_of_its_own_is_followed_and_the_last_one_kept() {
    let workspace = in_sqlite();
    workspace.save("active/a.yaml", "title: by another program\nstatus: done\n");
    workspace.write("config/storage-backend.txt", "file\n");
    done(&workspace, &["check"]);
    assert_eq!(adopted(&workspace), [true], "{:?}", workspace.events_named("backend_changed"));
    let told = workspace.events_named("write_conflict");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["details"]["id"], "a");
    let kept = workspace.root().join(told[0]["details"]["kept_as"].as_str().unwrap());
    assert_eq!(fs::read_to_string(kept).unwrap(), "title: a\nstatus: planned\n");
    assert!(done(&workspace, &["milestone", "show", "a"]).contains("by another program"));
}

/// An id that is too long for one can be neither asked for nor written, and what it holds is kept all the same.
#[test]
fn l16_what_has_no_proper_id_is_kept_too() {
    let workspace = in_sqlite();
    let id = "x".repeat(210);
    let insert = format!("INSERT INTO milestones(id, data) VALUES ('{id}', '{{\"title\":\"of the row\"}}')");
    sqlite3(&workspace, "enterprise.db", &insert);
    workspace.write(format!("active/{id}.yaml"), "title: of the file\n");
    workspace.write("config/storage-backend.txt", "file\n");
    done(&workspace, &["check"]);
    assert_eq!(adopted(&workspace), [true], "{:?}", workspace.events_named("backend_changed"));
    let told = workspace.events_named("write_conflict");
    assert_eq!((told.len(), &told[0]["details"]["id"]), (1, &id.as_str().into()), "{told:?}");
    let kept = workspace.root().join(told[0]["details"]["kept_as"].as_str().unwrap());
    assert_eq!(fs::read_to_string(kept).unwrap(), "title: of the row\n");
}

#[test]
fn l16_what_cannot_be_compared_is_not_followed() {
    let workspace = in_sqlite();
    fs::rename(workspace.path("enterprise.db"), workspace.path("away.db")).unwrap();
    workspace.write("config/storage-backend.txt", "file\n");
    done(&workspace, &["check"]);
    assert_eq!(adopted(&workspace), [false]);
    let reason = workspace.events_named("backend_changed")[0]["details"]["reason"].to_string();
    assert!(reason.contains("cannot be read any more") && reason.contains("doctor --fix"), "{reason}");
}

#[test]
fn l16_a_person_may_follow_a_store_that_nothing_proves() {
    let workspace = in_sqlite();
    put(&workspace, "a", "title: a\nstatus: done\n");
    done(&workspace, &["check"]);
    workspace.write("active/c.yaml", "title: only here\n");
    fs::remove_file(workspace.path("active/b.yaml")).unwrap();
    fs::rename(workspace.path("enterprise.db"), workspace.path("away.db")).unwrap();
    workspace.write("config/storage-backend.txt", "file\n");
    done(&workspace, &["check"]);
    let said = workspace.run(["doctor", "--fix", "--yes"]).out;
    assert!(said.contains("file is in use from now on") && said.contains("1 milestones are missing: b"), "{said}");
    assert_eq!(adopted(&workspace), [false, true]);
    done(&workspace, &["check"]);
    assert_eq!(workspace.status()["current_backend"], "file");
    assert_eq!(workspace.status()["stale"], false);
    assert!(done(&workspace, &["milestone", "list"]).contains("only here"));
}

/// The last store was only away: whatever it holds otherwise is kept once it is back, for nothing is known of it. What was put
/// since it was read last is named before, and what is written to it later is swept like that of any old store.
#[test]
fn l16_what_the_last_store_holds_is_kept_once_it_is_back() {
    let workspace = in_sqlite();
    done(&workspace, &["check"]);
    put(&workspace, "a", "title: since the last look\nstatus: planned\n");
    let (database, away) = (workspace.path("enterprise.db"), workspace.path("away.db"));
    fs::rename(&database, &away).unwrap();
    workspace.write("config/storage-backend.txt", "file\n");
    done(&workspace, &["check"]);
    let said = workspace.run(["doctor", "--fix", "--yes"]).out;
    assert!(
        said.contains("what its milestones said last, is not known") && said.contains("retire sqlite --gone"),
        "{said}"
    );
    let away_now = workspace.run(["doctor"]).out;
    assert!(away_now.contains(".milestones/enterprise.db: this old store does not exist any more"), "{away_now}");
    fs::rename(&away, &database).unwrap();
    done(&workspace, &["check"]);
    assert!(kept(&workspace).concat().contains("since the last look"), "{}", kept(&workspace).concat());
    assert!(done(&workspace, &["milestone", "show", "a"]).contains("title: a\n"), "the store in use stays as it is");
    sqlite3(
        &workspace,
        "enterprise.db",
        "UPDATE milestones SET data = json_set(data, '$.title', 'later') WHERE id = 'b'",
    );
    done(&workspace, &["check"]);
    assert!(done(&workspace, &["milestone", "show", "b"]).contains("later"));
}

/// A store that is followed may have had files retired: who has one open still is heard, as after any move.
#[test]
fn l16_retired_files_are_watched_where_files_are_followed() {
    for is_away in [false, true] {
        let workspace = in_sqlite();
        let path = workspace.path("active/a.yaml");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut held = fs::OpenOptions::new().append(true).open(path).unwrap();
        done(&workspace, &["retire", "files", "--yes"]);
        for id in ["a", "b"] {
            workspace.write(format!("active/{id}.yaml"), format!("title: {id}\nstatus: planned\n"));
        }
        if is_away {
            fs::rename(workspace.path("enterprise.db"), workspace.path("away.db")).unwrap();
        }
        workspace.write("config/storage-backend.txt", "file\n");
        done(&workspace, &["check"]);
        if is_away {
            workspace.run(["doctor", "--fix", "--yes"]);
        }
        done(&workspace, &["check"]);
        assert_eq!(workspace.status()["current_backend"], "file");
        assert_eq!(kept(&workspace).concat(), "", "{is_away}");
        held.write_all(b"late: 1\n").unwrap();
        drop(held);
        // A file has to stand still for a while before it is judged.
        thread::sleep(Duration::from_millis(2100));
        done(&workspace, &["check"]);
        assert!(kept(&workspace).concat().contains("late: 1"), "{is_away}: {}", kept(&workspace).concat());
    }
}

/// A store that was named by hand is in use like any other: what is written to the last one later is brought over, and files
/// take writes again.
#[test]
fn l16_the_last_store_is_swept_once_another_one_is_followed() {
    let workspace = in_sqlite();
    workspace.write("config/storage-backend.txt", "file\n");
    done(&workspace, &["check"]);
    assert_eq!(adopted(&workspace), [true]);
    let update = "UPDATE milestones SET data = json_set(data, '$.title', 'later') WHERE id = 'a'; \
                  INSERT INTO milestones (id, data) VALUES ('new', '{}')";
    sqlite3(&workspace, "enterprise.db", update);
    done(&workspace, &["check"]);
    assert!(done(&workspace, &["milestone", "show", "a"]).contains("later"));
    assert!(done(&workspace, &["milestone", "list"]).contains("new"));
    assert!(workspace.events_named("write_conflict").is_empty());
    assert!(!fs::metadata(workspace.path("active/a.yaml")).unwrap().permissions().readonly());
    let status = done(&workspace, &["status"]);
    assert!(status.contains("enterprise.db") && !status.contains("old store .milestones/active"), "{status}");
    done(&workspace, &["migrate", "database", "--yes"]);
    done(&workspace, &["rollback", "--yes"]);
    assert!(done(&workspace, &["milestone", "show", "a"]).contains("later"));
}

/// A death right after the cutover: whatever command comes next goes by the store that is in use then.
#[test]
fn l16_commands_after_a_death_at_the_cutover_go_by_what_is_in_use() {
    let killed = || {
        let workspace = workspace();
        for id in ["a", "b"] {
            workspace.write(format!("active/{id}.yaml"), format!("title: {id}\nstatus: planned\n"));
        }
        done(&workspace, &["migrate", "hybrid", "--yes"]);
        done(&workspace, &["rollback", "--yes"]);
        put(&workspace, "a", "title: later\nstatus: planned\n");
        let mut command = workspace.command(["migrate", "database", "--yes"]);
        command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:killafter").env("FAULT_PATH", "storage-backend.txt");
        assert!(!command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        let row = "INSERT INTO milestones (id, data) VALUES ('row', '{}')";
        sqlite3(&workspace, "enterprise.db", row);
        workspace
    };
    let in_use = |workspace: &Workspace| workspace.status()["current_backend"].as_str().unwrap().to_owned();
    let listed = |workspace: &Workspace| done(workspace, &["milestone", "list"]);

    let workspace = killed();
    let said = done(&workspace, &["migrate", "database", "--yes"]);
    assert!(said.contains("is finished"), "{said}");
    assert_eq!(in_use(&workspace), "database");

    for back in [&["migrate", "file", "--yes"][..], &["rollback", "--yes"]] {
        let workspace = killed();
        done(&workspace, back);
        assert_eq!(in_use(&workspace), "file", "{back:?}");
        assert!(workspace.read("active/row.yaml").contains("{}"), "{back:?}: what the database held is there");
    }

    let workspace = killed();
    let backup = oldest_backup(&workspace);
    let said = done(&workspace, &["restore", &backup, "--yes"]);
    assert!(said.contains("restored on file"), "{said}");
    assert_eq!((in_use(&workspace), listed(&workspace).contains("later")), ("file".to_owned(), false));
    done(&workspace, &["check"]);
    assert!(!listed(&workspace).contains("later") && !listed(&workspace).contains("row"), "{}", listed(&workspace));
    assert!(workspace.events_named("write_conflict").is_empty());
}

/// A restore beside a move waits for it, and then restores what is in use.
#[test]
fn l16_a_restore_beside_a_move_goes_by_what_is_in_use_after_it() {
    let workspace = in_sqlite();
    done(&workspace, &["rollback", "--yes"]);
    put(&workspace, "a", "title: later\nstatus: planned\n");
    let backup = oldest_backup(&workspace);
    let reached = workspace.root().join("reached");
    let mut command = workspace.command(["migrate", "database", "--yes"]);
    command.env("LD_PRELOAD", shim()).env("FAULT", "rename:1:meet").env("FAULT_PATH", "storage-backend.txt");
    command.env("FAULT_MEET", format!("touch {}; sleep 1", reached.display()));
    let mut moving = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the cutover", || reached.exists().then_some(()));
    let said = done(&workspace, &["restore", &backup, "--yes"]);
    assert!(moving.wait().unwrap().success());
    assert!(said.contains("restored on file"), "{said}");
    assert_eq!(workspace.status()["current_backend"], "file");
    assert!(!done(&workspace, &["milestone", "show", "a"]).contains("later"));
}

/// A move that died before its switch says where it began, though no cycle has ever read that store.
#[test]
fn l16_a_store_that_is_named_by_hand_while_a_move_is_undone_is_not_followed() {
    let workspace = workspace();
    workspace.write("active/a.yaml", "title: a\n");
    put(&workspace, "a", "title: acknowledged\n");
    fs::remove_file(workspace.path(".milescale/state.json")).unwrap();
    let shimmed = |arguments: &[&str], fault: &str, path: &str, meet: &str| {
        let mut command = workspace.command(arguments);
        command.env("LD_PRELOAD", shim()).env("FAULT", fault).env("FAULT_PATH", path).env("FAULT_MEET", meet);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };
    let marker = workspace.path("config/storage-backend.txt");
    assert!(!shimmed(&["migrate", "database", "--yes"], "rename:1:kill", "storage-backend.txt", ""));
    let name_it = format!("echo database > {0}; touch -d '1 hour ago' {0}", marker.display());
    shimmed(&["check"], "rename:2:meetafter", "/migration.json", &name_it);
    assert_eq!(fs::read_to_string(&marker).unwrap(), "database\n");
    done(&workspace, &["check"]);
    assert_eq!(workspace.status()["current_backend"], "file");
    assert!(done(&workspace, &["milestone", "show", "a"]).contains("acknowledged"));
}
