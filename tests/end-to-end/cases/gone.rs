//! A store, a marker or a folder that somebody has removed: what is told of it, and that there is a way on from each.

use std::fs;
use std::process::{Command, Stdio};

use milescale_testkit::{Postgres, Workspace};

/// A workspace whose files were looked at once, with a server where one is given.
fn workspace(server: Option<&Postgres>) -> Workspace {
    let workspace = crate::workspace();
    workspace.milestones("m", 3);
    if let Some(server) = server {
        let text = format!("storage:\n  database:\n    type: postgresql\n    url: \"{}\"\n", server.url());
        workspace.write("config/storage-config.yaml", text);
    }
    done(&workspace, "check");
    workspace
}

fn workspace_on(server: &Postgres) -> Workspace {
    workspace(Some(server))
}

fn said(workspace: &Workspace, arguments: &str) -> milescale_testkit::Said {
    workspace.run(arguments.split(' '))
}

fn done(workspace: &Workspace, arguments: &str) -> String {
    let said = said(workspace, arguments);
    assert_eq!(said.code, 0, "{arguments}: {said:?}");
    said.out
}

fn refused(workspace: &Workspace, arguments: &str) -> String {
    let said = said(workspace, arguments);
    assert_eq!(said.code, 1, "{arguments}: {said:?}");
    format!("{}{}", said.out, said.err)
}

fn put(workspace: &Workspace, id: &str, text: &str) {
    let mut child = workspace.command(["milestone", "put", id]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), text.as_bytes()).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

fn newest_backup(workspace: &Workspace) -> String {
    let found = serde_json::from_str::<serde_json::Value>(&done(workspace, "backups list --json")).unwrap();
    found.as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
}

/// The store in use is gone: every command says so and where to look, `doctor` names the backup and the old store, and
/// `restore` makes the store anew.
fn is_restored(workspace: &Workspace, remove: impl Fn(), other: &str) {
    let backup = newest_backup(workspace);
    remove();
    let commands =
        ["milestone list", "milestone show m-0", "milestone export", "migrate hybrid --yes", "rollback --yes"];
    for command in commands {
        let text = refused(workspace, command);
        assert!(text.contains("milescale doctor"), "{command}: {text}");
    }
    let told = refused(workspace, "doctor");
    let ways = [format!("milescale restore {backup}"), format!("write {other} into .milestones/config")];
    for part in ["does not exist any more"].into_iter().chain(ways.iter().map(String::as_str)) {
        assert!(told.contains(part), "{part}: {told}");
    }
    done(workspace, &format!("restore {backup} --yes"));
    done(workspace, "check");
    assert_eq!(done(workspace, "milestone list").lines().count(), 3);
    assert_eq!(done(workspace, "conflicts"), "no conflicts\n");
    let status = workspace.status();
    assert_eq!((&status["milestone_count"], &status["stale"]), (&3.into(), &false.into()), "{status}");
    // What is written to the old store is brought over as before.
    let told = said(workspace, "doctor").out;
    assert!(!told.contains("not brought over") && !told.contains("exist any more"), "{told}");
}

#[test]
fn a_removed_database_of_sqlite_is_restored() {
    let workspace = workspace(None);
    done(&workspace, "migrate database --yes");
    is_restored(&workspace, || fs::remove_file(workspace.path("enterprise.db")).unwrap(), "file");
    workspace.save("active/m-1.yaml", "id: m-1\ntitle: saved later\n");
    done(&workspace, "import");
    assert!(done(&workspace, "milestone show m-1").contains("saved later"));
}

#[test]
fn a_removed_folder_of_files_is_restored_and_never_moved_as_empty() {
    let workspace = workspace(None);
    for to in ["database", "file"] {
        done(&workspace, &format!("migrate {to} --yes"));
    }
    done(&workspace, "check");
    let remove = || fs::remove_dir_all(workspace.path("active")).unwrap();
    remove();
    for command in ["migrate database --dry-run", "migrate database --yes", "rollback --yes", "init"] {
        let text = refused(&workspace, command);
        assert!(text.contains("the folder is gone, and it held milestones"), "{command}: {text}");
    }
    // The last store proves nothing: the other one is followed at a person's word only.
    workspace.write("config/storage-backend.txt", "database\n");
    workspace.age_marker(1);
    done(&workspace, "check");
    assert_eq!(workspace.status()["current_backend"], "file");
    workspace.write("config/storage-backend.txt", "file\n");
    fs::create_dir(workspace.path("active")).unwrap();
    is_restored(&workspace, remove, "database");
}

#[test]
fn a_dropped_table_is_restored() {
    let server = Postgres::start();
    let workspace = workspace(Some(&server));
    done(&workspace, "migrate database --yes");
    is_restored(&workspace, || drop(server.psql("plans", "DROP TABLE milestones CASCADE")), "file");
}

#[test]
fn another_store_is_followed_at_a_persons_word_and_takes_writes_again() {
    let workspace = workspace(None);
    done(&workspace, "migrate database --yes");
    fs::remove_file(workspace.path("enterprise.db")).unwrap();
    said(&workspace, "check");
    workspace.write("config/storage-backend.txt", "file\n");
    let told = said(&workspace, "doctor --fix --yes").out;
    assert!(told.contains("file is in use from now on"), "{told}");
    // The last store may only be away, until a person says that it is gone.
    done(&workspace, "retire sqlite --yes");
    assert!(done(&workspace, "doctor").contains("\n0 wrong"));
    let mode = fs::metadata(workspace.path("active/m-0.yaml")).unwrap().permissions();
    assert!(!mode.readonly() && !workspace.path("active/MOVED-TO-A-DATABASE.txt").exists());
}

#[test]
fn a_lost_marker_is_written_back_by_the_command_that_doctor_names() {
    let workspace = workspace(None);
    done(&workspace, "migrate database --yes");
    // The files do not hold it, so that they are not followed.
    put(&workspace, "new", "id: new\n");
    let lose = || fs::remove_file(workspace.path("config/storage-backend.txt")).unwrap();
    lose();
    let told = refused(&workspace, "doctor");
    assert!(told.contains("`milescale migrate database` writes the marker again"), "{told}");
    assert!(!told.contains("milescale init"), "{told}");
    let plan = done(&workspace, "migrate database --dry-run");
    assert!(plan.contains("is written back") && plan.contains("nothing stands against it"), "{plan}");
    done(&workspace, "migrate database --yes");
    assert_eq!(workspace.read("config/storage-backend.txt").trim(), "database");
    lose();
    done(&workspace, "init");
    assert_eq!(workspace.read("config/storage-backend.txt").trim(), "database", "what is in use goes on being it");
    done(&workspace, "milestone show new");
}

#[test]
fn an_old_database_that_was_removed_is_ended_by_retiring_it() {
    let workspace = workspace(None);
    for to in ["database", "file"] {
        done(&workspace, &format!("migrate {to} --yes"));
    }
    fs::remove_file(workspace.path("enterprise.db")).unwrap();
    done(&workspace, "check");
    let told = refused(&workspace, "doctor");
    assert!(told.contains("`milescale retire sqlite --gone`") && told.contains("1 wrong"), "{told}");
    assert!(!told.contains("is an old store: what is written there is brought over"), "{told}");
    let told = done(&workspace, "retire sqlite --gone --yes");
    assert!(told.contains("did not exist any more"), "{told}");
    done(&workspace, "check");
    done(&workspace, "doctor");
    done(&workspace, "migrate database --yes");
    let mut count = Command::new("sqlite3");
    count.arg(workspace.path("enterprise.db")).arg("SELECT count(*) FROM milestones");
    assert_eq!(count.output().unwrap().stdout, b"3\n");
}

/// A server that nobody starts again does not answer: a person says that it is gone.
#[test]
fn an_old_server_that_is_gone_for_good_is_ended_at_a_persons_word() {
    let server = Postgres::start();
    let workspace = workspace(Some(&server));
    done(&workspace, "migrate database --engine postgresql --yes");
    done(&workspace, "migrate file --yes");
    let told = refused(&workspace, "retire postgresql --gone --yes");
    assert!(told.contains("is there, and not gone"), "{told}");
    drop(server);
    let told = refused(&workspace, "retire postgresql --yes");
    assert!(told.contains("`milescale retire postgresql --gone` ends it"), "{told}");
    let told = done(&workspace, "retire postgresql --gone --yes");
    assert!(told.contains("could not be asked") && told.contains("no server listens there"), "{told}");
    done(&workspace, "check");
    let told = said(&workspace, "doctor").out;
    assert!(told.contains("is an old store, retired since") && !told.contains("--gone"), "{told}");
}

/// A database that this user may not read is not gone: nobody ends it for that, be it an old store or the one in use.
#[test]
fn a_store_that_is_closed_to_who_asks_is_not_taken_for_gone_needs_root() {
    let workspace = workspace(None);
    for to in ["database", "file"] {
        done(&workspace, &format!("migrate {to} --yes"));
    }
    assert!(Command::new("chown").args(["-R", "65533:65533"]).arg(workspace.root()).status().unwrap().success());
    let database = workspace.path("enterprise.db");
    std::os::unix::fs::chown(&database, Some(0), Some(0)).unwrap();
    fs::set_permissions(&database, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut somebody = Workspace::at(workspace.root(), crate::BINARY);
    let wrapper = ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups"];
    somebody.wrapper = wrapper.map(str::to_owned).to_vec();
    let told = refused(&somebody, "retire sqlite --gone --yes");
    assert!(told.contains("is not gone, but closed to this user") && told.contains("may not read"), "{told}");
    // In use, with a marker that names the files.
    std::os::unix::fs::chown(&database, Some(65533), Some(65533)).unwrap();
    done(&somebody, "migrate database --yes");
    std::os::unix::fs::chown(&database, Some(0), Some(0)).unwrap();
    workspace.write("config/storage-backend.txt", "file\n");
    let told = refused(&somebody, "doctor --fix --yes");
    assert!(told.contains("this user may not read and write it") && !told.contains("is in use from now on"), "{told}");
    let named = somebody.run(["status"]).out;
    assert!(named.contains("database"), "{named}");
}

/// The folder of an old store goes away: it is named, and nothing that it held is taken for removed; it ends at a person's word.
#[test]
fn an_old_store_whose_folder_is_gone_is_named_and_can_be_ended() {
    let workspace = workspace(None);
    done(&workspace, "migrate database --yes");
    let away = workspace.root().join("away");
    fs::rename(workspace.path("active"), &away).unwrap();
    let told = refused(&workspace, "doctor");
    assert!(told.contains("active: this old store does not exist any more") && told.contains("retire files"), "{told}");
    fs::rename(&away, workspace.path("active")).unwrap();
    assert!(done(&workspace, "doctor").contains("\n0 wrong"));
    fs::remove_dir_all(workspace.path("active")).unwrap();
    let told = done(&workspace, "retire files --gone --yes");
    assert!(!told.contains("is there, and not gone"), "{told}");
    assert!(done(&workspace, "doctor").contains("\n0 wrong"));
    done(&workspace, "migrate file --yes");
    assert!(workspace.path("active/m-0.yaml").exists());
}

/// A move that dies at this call on this path.
fn dies(workspace: &Workspace, arguments: &str, fault: &str, path: &str) {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    crate::faults::dies(workspace, &arguments, fault, path);
}

/// The dead move is ended, and so many milestones are there.
fn is_over(workspace: &Workspace, milestones: usize, way: &str) {
    assert_eq!(done(workspace, "milestone list").lines().count(), milestones, "{way}");
    let record = workspace.read(".milescale/migration.json");
    assert!(record.contains("\"intent\": null"), "{way}: {record}");
}

fn remove_database(workspace: &Workspace) {
    for ending in ["", "-wal", "-shm", "-journal"] {
        drop(fs::remove_file(workspace.path(format!("enterprise.db{ending}"))));
    }
}

/// A move out of the store in use is dead, and then that store is gone: the ways on that `doctor` names are there all the same.
#[test]
fn a_dead_move_out_of_a_store_that_is_gone_stands_in_no_way() {
    for way in ["restore", "follow"] {
        let workspace = workspace(None);
        done(&workspace, "migrate database --yes");
        sqlite(&workspace, "UPDATE milestones SET data = json_set(data, '$.title', 'later') WHERE id = 'm-1'");
        dies(&workspace, "migrate file --yes", "rename:1:kill", "storage-backend.txt");
        let backup = newest_backup(&workspace);
        remove_database(&workspace);
        let told = refused(&workspace, "migrate hybrid --yes");
        assert!(told.contains("cannot be undone yet, because database on sqlite cannot be reached"), "{told}");
        assert!(refused(&workspace, "doctor").contains(&format!("milescale restore {backup}")));
        if way == "restore" {
            done(&workspace, &format!("restore {backup} --yes"));
        } else {
            workspace.write("config/storage-backend.txt", "file\n");
            // The store that is gone is an old one then.
            refused(&workspace, "doctor --fix --yes");
        }
        is_over(&workspace, 3, way);
    }
}

/// The same with a table of a server: the unfinished target is left alone, for it may hold all that there is, and doctor names it.
#[test]
fn a_dead_move_out_of_a_table_that_is_dropped_leaves_its_target_alone() {
    let server = Postgres::start();
    for (number, target) in ["file", "sqlite"].into_iter().enumerate() {
        let workspace = workspace(None);
        let database = format!("dropped_{number}");
        let url = server.database(&database);
        server.psql(&database, "ALTER SCHEMA public OWNER TO ada");
        let configuration = format!(
            "storage:\n  database: {{type: postgresql, url: {url:?}}}\n  migration: {{backup_before_migration: false}}\n"
        );
        workspace.write("config/storage-config.yaml", configuration);
        done(&workspace, "migrate database --yes");
        put(&workspace, "m-9", "title: nowhere else\n");
        if target == "file" {
            dies(&workspace, "migrate file --yes", "rename:1:kill", "storage-backend.txt");
        } else {
            dies(&workspace, "migrate database --engine sqlite --yes", "rename:1:kill", "storage-config.yaml");
        }
        server.psql(&database, "DROP TABLE milestones");
        said(&workspace, "check");
        let told = refused(&workspace, "doctor");
        assert!(told.contains("with the 4 milestones that it holds"), "{target}: {told}");
        if target == "file" {
            workspace.write("config/storage-backend.txt", "file\n");
        } else {
            let text = workspace.read("config/storage-config.yaml");
            workspace.write("config/storage-config.yaml", text.replace("type: postgresql", "type: sqlite"));
        }
        refused(&workspace, "doctor --fix --yes");
        is_over(&workspace, 4, target);
    }
}

/// The folder of files is lost while a move out of it is unfinished, and comes back from an older copy: what only the target holds is kept
/// before that is cleared. Nobody makes the folder anew meanwhile.
#[test]
fn what_only_an_unfinished_target_holds_is_kept_when_an_older_source_comes_back() {
    for (is_known, backed_up) in [(true, false), (false, false), (true, true)] {
        let workspace = crate::workspace();
        workspace.milestones("m", 30);
        workspace.write(
            "config/storage-config.yaml",
            format!("storage:\n  migration: {{backup_before_migration: {backed_up}}}\n"),
        );
        if is_known {
            done(&workspace, "check");
        }
        dies(&workspace, "migrate database --yes", "rename:1:kill", "storage-backend.txt");
        if backed_up {
            // What came since the backup, as a move brings it over.
            sqlite(
                &workspace,
                "UPDATE milestones SET data = json_set(data, '$.title', 'since') WHERE id IN ('m-7', 'm-3')",
            );
        }
        let (active, aside) = (workspace.path("active"), workspace.path("aside"));
        fs::rename(&active, &aside).unwrap();
        let told = refused(&workspace, "migrate hybrid --yes");
        assert!(told.contains("because file cannot be reached"), "{told}");
        let told = refused(&workspace, "doctor");
        assert!(told.contains("write database into") && told.contains("with the 30 milestones"), "{told}");
        refused(&workspace, "milestone put new");
        fs::remove_file(aside.join("m-7.yaml")).unwrap();
        fs::write(aside.join("m-3.yaml"), "title: older\n").unwrap();
        fs::rename(&aside, &active).unwrap();
        done(&workspace, "check");
        let conflicts = done(&workspace, "conflicts list");
        let kept = |id: &str| conflicts.lines().any(|line| line.contains(&format!("  {id}: ")));
        assert!(kept("m-7") && kept("m-3") && conflicts.lines().count() == 2, "{conflicts}");
    }
}

/// A folder of files that never was holds none: a move that died out of it is undone.
#[test]
fn a_dead_move_out_of_a_folder_that_never_was_is_undone() {
    let workspace = crate::workspace();
    fs::remove_dir(workspace.path("active")).unwrap();
    dies(&workspace, "migrate database --yes", "rename:1:kill", "storage-backend.txt");
    done(&workspace, "check");
    done(&workspace, "migrate hybrid --yes");
}

/// A move into a store is dead, be it a new or an old one, and then that store is gone: a person ends it.
#[test]
fn a_dead_move_into_a_store_that_is_gone_is_ended_by_retiring_it() {
    let workspace = workspace(None);
    done(&workspace, "migrate database --yes");
    done(&workspace, "migrate file --yes");
    workspace.save("active/m-1.yaml", "id: m-1\ntitle: later\n");
    dies(&workspace, "migrate database --yes", "rename:1:kill", "storage-backend.txt");
    remove_database(&workspace);
    let told = refused(&workspace, "migrate hybrid --yes");
    assert!(told.contains("`milescale retire sqlite --gone` ends that"), "{told}");
    done(&workspace, "retire sqlite --gone --yes");
    done(&workspace, "migrate hybrid --yes");

    // On a server, into a table that was none before.
    let server = Postgres::start();
    let workspace = workspace_on(&server);
    dies(&workspace, "migrate database --yes", "rename:1:kill", "storage-backend.txt");
    drop(server);
    let told = refused(&workspace, "migrate hybrid --yes");
    assert!(told.contains("`milescale retire postgresql --gone` ends that"), "{told}");
    done(&workspace, "retire postgresql --gone --yes");
    done(&workspace, "migrate hybrid --yes");
    assert_eq!(done(&workspace, "milestone list").lines().count(), 3);
}

/// A move has switched and died, and then the store that it came to is gone: the ways on that `doctor` names are there.
#[test]
fn a_dead_move_that_has_switched_to_a_store_that_is_gone_stands_in_no_way() {
    for way in ["restore", "follow"] {
        let workspace = workspace(None);
        dies(&workspace, "migrate database --yes", "rename:1:killafter", "storage-backend.txt");
        let backup = newest_backup(&workspace);
        remove_database(&workspace);
        // It finds the switch and cannot finish it.
        said(&workspace, "check");
        let told = refused(&workspace, "doctor");
        assert!(told.contains(&format!("milescale restore {backup}")) && told.contains("write file into"), "{told}");
        if way == "restore" {
            done(&workspace, &format!("restore {backup} --yes"));
        } else {
            workspace.write("config/storage-backend.txt", "file\n");
            refused(&workspace, "doctor --fix --yes");
        }
        is_over(&workspace, 3, way);
    }
}

/// A move has switched and died, and the store that it left is gone: no other old store waits for that.
#[test]
fn a_store_that_was_left_and_is_gone_keeps_no_other_one_waiting() {
    let server = Postgres::start();
    let workspace = workspace(Some(&server));
    done(&workspace, "migrate database --yes");
    dies(&workspace, "migrate database --engine sqlite --yes", "rename:1:killafter", "storage-config.yaml");
    drop(server);
    fs::remove_file(workspace.path("active/m-1.yaml")).unwrap();
    workspace.save("active/m-1.yaml", "id: m-1\ntitle: of the old files\n");
    done(&workspace, "check");
    assert!(done(&workspace, "milestone show m-1").contains("of the old files"));
    done(&workspace, "retire postgresql --gone --yes");
}

/// Another file has been put in the place of the one in use.
#[test]
fn a_file_in_the_place_of_the_one_in_use_is_gone_on_with_at_a_persons_word() {
    let workspace = workspace(None);
    done(&workspace, "migrate database --yes");
    done(&workspace, "check");
    let database = workspace.path("enterprise.db");
    let dump = Command::new("sqlite3").arg(&database).arg(".dump milestones").output().unwrap().stdout;
    remove_database(&workspace);
    let mut shell = Command::new("sqlite3").arg(&database).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(shell.stdin.as_mut().unwrap(), &dump).unwrap();
    assert!(shell.wait().unwrap().success());
    assert!(refused(&workspace, "milestone list").contains("`milescale doctor --fix` goes on with this one"));
    done(&workspace, "doctor --fix --yes");
    assert_eq!(done(&workspace, "milestone list").lines().count(), 3);
    put(&workspace, "new", "title: new\n");
    done(&workspace, "migrate file --yes");
}

fn sqlite(workspace: &Workspace, sql: &str) {
    workspace.sqlite("enterprise.db", sql);
}

/// Acts while the database is not there, and puts it back whole.
fn while_away(workspace: &Workspace, act: impl FnOnce()) {
    sqlite(workspace, "PRAGMA wal_checkpoint(TRUNCATE)");
    let (database, away) = (workspace.path("enterprise.db"), workspace.root().join("away.db"));
    fs::rename(&database, &away).unwrap();
    act();
    fs::rename(&away, &database).unwrap();
}

/// A store that was followed without and ended as gone is there again, and is written to: `import` keeps what it holds.
#[test]
fn a_store_that_comes_back_after_its_end_is_asked_by_import() {
    let workspace = workspace(None);
    done(&workspace, "migrate database --yes");
    while_away(&workspace, || {
        workspace.write("config/storage-backend.txt", "file\n");
        refused(&workspace, "doctor --fix --yes");
        done(&workspace, "retire sqlite --gone --yes");
    });
    sqlite(&workspace, "INSERT INTO milestones(id, data) VALUES ('late', '{\"title\": \"late\"}')");
    done(&workspace, "import");
    assert!(done(&workspace, "conflicts").contains("late: the store in use does not have it"));
}

/// What a dead move has written into an old store that was gone then is no edit of anybody's when it comes back.
#[test]
fn what_a_dead_move_wrote_into_a_store_that_comes_back_is_no_change() {
    let workspace = workspace(None);
    done(&workspace, "migrate database --yes");
    done(&workspace, "migrate file --yes");
    let before = workspace.read("active/m-1.yaml");
    workspace.save("active/m-1.yaml", "id: m-1\ntitle: for a while\n");
    // Before the base of what it wrote is noted.
    dies(&workspace, "migrate database --yes", "create:1:kill", ".milescale/base.db-journal");
    let row = "SELECT data FROM milestones WHERE id = 'm-1'";
    let row = Command::new("sqlite3").arg(workspace.path("enterprise.db")).arg(row).output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&row).contains("for a while"));
    while_away(&workspace, || {
        done(&workspace, "retire sqlite --gone --yes");
        workspace.save("active/m-1.yaml", &before);
    });
    done(&workspace, "check");
    done(&workspace, "import");
    assert_eq!(workspace.read("active/m-1.yaml"), before);
    assert!(done(&workspace, "conflicts").contains("no conflicts"));
}
