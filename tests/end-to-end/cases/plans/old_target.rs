//! A target that is an old store: what stands there and was not brought over.

use milescale_testkit::{Postgres, Workspace};

use super::{configure, done, obstacles, plan, sqlite, with_files};

const MARKER: &str = "config/storage-backend.txt";

/// A workspace that was moved, so that the store before is an old one.
fn moved(ways: &[&[&str]]) -> Workspace {
    let workspace = with_files(&["m-1", "m-2", "m-3"]);
    for way in ways {
        done(&workspace, way);
    }
    workspace
}

const TO_DATABASE: &[&str] = &["migrate", "database", "--yes"];
const TO_FILES: &[&str] = &["migrate", "file", "--yes"];

/// Sweeps, and asserts that the id is named where a person looks, in one event.
fn is_named(workspace: &Workspace, id: &str) {
    done(workspace, &["check"]);
    done(workspace, &["check"]);
    let named = |event: &&serde_json::Value| event["details"]["milestones"].to_string().contains(id);
    assert_eq!(workspace.events_named("changes_reported").iter().filter(named).count(), 1, "{id}");
    assert!(workspace.status()["migration"]["failing_milestones"].to_string().contains(id), "{id}");
    assert!(workspace.run(["doctor"]).out.contains(&format!("wrong {id} of ")), "{id}");
}

/// Asserts that a plan says this and no move begins, and that nothing stands against it once that is mended.
fn stops_until(workspace: &Workspace, to: &str, why: &str, mend: impl FnOnce()) {
    let (before, said) = (workspace.read(MARKER), obstacles(&plan(workspace, &[to])));
    assert!(said.contains(why), "{said}");
    let refused = workspace.run(["migrate", to, "--yes"]);
    assert!(refused.code == 1 && refused.err.contains(why), "{refused:?}");
    assert_eq!(workspace.read(MARKER), before);
    assert!(workspace.events_named("migration_rolled_back").is_empty(), "none has begun");
    mend();
    assert_eq!(obstacles(&plan(workspace, &[to])), "");
    done(workspace, &["migrate", to, "--yes"]);
}

#[test]
fn l09_files_that_are_empty_are_named_and_stop_no_move_back() {
    let workspace = moved(&[TO_DATABASE]);
    for file in ["active/new.yaml", "active/m-1.yaml"] {
        workspace.save(file, "");
    }
    is_named(&workspace, "new");
    is_named(&workspace, "m-1");
    let plan = plan(&workspace, &["file"]);
    assert_eq!(obstacles(&plan), "");
    assert!(plan["notes"].to_string().contains("2 milestones are empty in .milestones/active (m-1, new)"), "{plan}");
    done(&workspace, &["rollback", "--yes"]);
    assert_eq!(workspace.read(MARKER).trim(), "file");
    assert!(workspace.read("active/m-1.yaml").contains("title: m-1"));
    assert!(!workspace.path("active/new.yaml").exists());
    assert_eq!(workspace.status()["migration"]["failing"], 0, "files are no old side any more");
}

#[test]
fn l09_rows_that_are_empty_are_named_and_stop_no_move_back() {
    let workspace = moved(&[TO_DATABASE, TO_FILES]);
    sqlite(
        &workspace,
        "UPDATE milestones SET data = NULL WHERE id = 'm-3'; INSERT INTO milestones(id, data) VALUES('new', '')",
    );
    is_named(&workspace, "m-3");
    is_named(&workspace, "new");
    assert_eq!(obstacles(&plan(&workspace, &["database"])), "");
    done(&workspace, TO_DATABASE);
    assert!(sqlite(&workspace, "SELECT data FROM milestones WHERE id = 'm-3'").contains("\"title\":\"m-3\""));
    assert_eq!(sqlite(&workspace, "SELECT count(*) FROM milestones"), "3");
}

#[test]
fn l09_rows_of_a_server_that_are_empty_stop_no_move_back() {
    let server = Postgres::start();
    let workspace = with_files(&["m-1", "m-2", "m-3"]);
    configure(&workspace, &server.url(), "public");
    let to_server: &[&str] = &["migrate", "database", "--engine", "postgresql", "--yes"];
    done(&workspace, to_server);
    done(&workspace, TO_FILES);
    server.psql(
        "plans",
        "UPDATE public.milestones SET data = NULL WHERE id = 'm-3'; INSERT INTO public.milestones(id) VALUES('new')",
    );
    is_named(&workspace, "m-3");
    is_named(&workspace, "new");
    done(&workspace, to_server);
    assert_eq!(server.psql("plans", "SELECT data->>'title' FROM public.milestones WHERE id = 'm-3'"), "m-3");
    assert_eq!(server.psql("plans", "SELECT count(*) FROM public.milestones"), "3");
}

#[test]
fn l09_an_id_that_cannot_be_one_in_an_old_database_stands_against_a_move() {
    let workspace = moved(&[TO_DATABASE, TO_FILES]);
    sqlite(&workspace, "INSERT INTO milestones(id, data) VALUES('a/b', '{\"title\":\"slash\"}')");
    stops_until(&workspace, "database", "\"a/b\" is no id", || {
        sqlite(&workspace, "UPDATE milestones SET id = 'a-b' WHERE id = 'a/b'");
    });
    assert_eq!(sqlite(&workspace, "SELECT id FROM milestones WHERE data LIKE '%slash%'"), "a-b");
}

#[test]
fn l09_what_is_no_file_under_an_old_name_stands_against_a_move() {
    let workspace = moved(&[TO_DATABASE]);
    let (known, gained) = (workspace.path("active/m-3.yaml"), workspace.path("active/m-4.yaml"));
    workspace.write("new.yaml", "title: four\n");
    done(&workspace, &["milestone", "put", "m-4", &workspace.path("new.yaml").display().to_string()]);
    std::fs::remove_file(&known).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &known).unwrap();
    std::fs::create_dir(&gained).unwrap();
    let said = obstacles(&plan(&workspace, &["file"]));
    assert!(said.contains("m-4.yaml: it cannot be read: it is a folder"), "{said}");
    stops_until(
        &workspace,
        "file",
        "m-3.yaml: it cannot be read: active/m-3.yaml is a symlink to /etc/hostname",
        || {
            std::fs::remove_file(&known).unwrap();
            std::fs::remove_dir(&gained).unwrap();
        },
    );
    assert!(workspace.read("active/m-3.yaml").contains("m-3") && workspace.read("active/m-4.yaml").contains("four"));
}

#[test]
fn l09_an_id_that_stands_twice_among_old_files_stands_against_a_move() {
    let workspace = moved(&[TO_DATABASE]);
    workspace.write("active/sub/m-3.yaml", "title: another\n");
    is_named(&workspace, "m-3");
    stops_until(&workspace, "file", "active/sub/m-3.yaml: the id stands several times", || {
        std::fs::remove_file(workspace.path("active/sub/m-3.yaml")).unwrap();
    });
    assert_eq!(workspace.status()["migration"]["failing"], 0);
}

/// Many rows were deleted: a move back would take their files out of `active/`.
#[test]
fn l09_what_is_gone_in_the_store_in_use_stops_a_move_back() {
    let ids = ["m-0", "m-1", "m-2", "m-3", "m-4", "m-5", "m-6", "m-7"];
    let workspace = with_files(&ids);
    done(&workspace, TO_DATABASE);
    sqlite(&workspace, "DELETE FROM milestones WHERE id < 'm-5'");
    assert_eq!(obstacles(&plan(&workspace, &["file"])), "", "five may be");
    sqlite(&workspace, "DELETE FROM milestones WHERE id = 'm-5'");
    // A backup that is restored there says itself what is to be.
    let backup = std::fs::read_dir(workspace.path("backups")).unwrap().next().unwrap().unwrap().file_name();
    done(&workspace, &["restore", backup.to_str().unwrap(), "--yes"]);
    assert_eq!(workspace.read(MARKER), "file\n");
    done(&workspace, TO_DATABASE);
    sqlite(&workspace, "DELETE FROM milestones WHERE id < 'm-6'");
    stops_until(&workspace, "file", "6 of 8 milestones", || {
        // They are meant to be gone.
        for id in &ids[..6] {
            std::fs::remove_file(workspace.path(format!("active/{id}.yaml"))).unwrap();
        }
    });
    assert!(workspace.path("active/m-7.yaml").exists() && !workspace.path("active/m-0.yaml").exists());
}
