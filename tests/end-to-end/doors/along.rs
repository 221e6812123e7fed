//! What goes with a write that does not mean it: by triggers, references and constraints of a database, and what no reading finds.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use milescale_testkit::{Postgres, Said, Workspace};

use super::{bounded, door};
use crate::workspace;

/// A workspace with `m-0` to `m-2` in a database, and what runs SQL there.
fn in_a_database(server: Option<(&Postgres, &str)>) -> Workspace {
    let workspace = workspace();
    workspace.milestones("m", 3);
    if let Some((server, name)) = server {
        let url = server.database(name);
        let text = format!("storage:\n  database: {{type: postgresql, url: {url:?}}}\n");
        workspace.write("config/storage-config.yaml", text);
    }
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    workspace
}

/// Puts another text in the place of what is there.
fn replaced(workspace: &Workspace, id: &str) -> Said {
    let digest = workspace.run(["milestone", "show", "--digest", id]).out;
    bounded(workspace, &["milestone", "put", id, "--if-match", digest.trim()])
}

fn ids(workspace: &Workspace) -> String {
    let list = workspace.run(["milestone", "list", "--all"]).out;
    list.lines().filter_map(|line| line.split(' ').next()).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_a_trigger_would_take_with_a_write_stays() {
    let server = Postgres::start();
    let mut tried = 0;
    for (engine, triggers) in [
        (
            "sqlite",
            &[
                "CREATE TRIGGER t AFTER UPDATE ON milestones BEGIN DELETE FROM milestones WHERE id = 'm-2'; END",
                // Another row comes for the one that goes.
                "CREATE TRIGGER t AFTER UPDATE ON milestones BEGIN DELETE FROM milestones WHERE id = 'm-2';
                 INSERT OR IGNORE INTO milestones(id, data) VALUES ('dummy', '{}'); END",
                "CREATE UNIQUE INDEX u ON milestones(updated_at) WHERE updated_at = 'never';
                 UPDATE milestones SET updated_at = 'never' WHERE id = 'm-2';
                 CREATE TRIGGER t AFTER UPDATE ON milestones BEGIN
                 INSERT OR REPLACE INTO milestones(id, data, updated_at) VALUES ('dummy', '{}', 'never'); END",
            ][..],
        ),
        (
            "postgresql",
            &[
                "CREATE TRIGGER t AFTER UPDATE ON milestones FOR EACH STATEMENT EXECUTE FUNCTION clean()",
                "CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON milestones DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION clean()",
            ],
        ),
    ] {
        for trigger in triggers {
            tried += 1;
            let name = format!("along{tried}");
            let workspace = in_a_database((engine == "postgresql").then_some((&server, &*name)));
            if engine == "sqlite" {
                workspace.sqlite("enterprise.db", trigger);
            } else {
                let function = "CREATE FUNCTION clean() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    DELETE FROM public.milestones WHERE id = 'm-2'; RETURN NULL; END $$";
                server.psql(&name, &format!("SET ROLE ada; {function}; {trigger}"));
            }
            let said = replaced(&workspace, "m-1");
            let is_said =
                said.err.contains("would take 1 other milestones with it") && said.err.contains("nothing was written");
            assert!(said.code == 1 && is_said, "{engine}, {trigger}: {said:?}");
            assert_eq!(ids(&workspace), "m-0 m-1 m-2", "{engine}, {trigger}");
            // So it is with what an old store brings.
            workspace.save("active/m-1.yaml", "title: of the file\n");
            bounded(&workspace, &["check"]);
            assert!(workspace.run(["doctor"]).out.contains("would take 1 other milestones"), "{engine}, {trigger}");
            assert_eq!(ids(&workspace), "m-0 m-1 m-2", "{engine}, {trigger}");
        }
    }
    door(
        "(new)",
        "triggers that take out another row, or put one in its place, on each engine",
        format!("0 lost of {tried}"),
    );
}

#[test]
fn rows_of_others_that_refer_to_a_milestone_do_not_go_with_it() {
    let server = Postgres::start();
    for engine in ["sqlite", "postgresql"] {
        let workspace = in_a_database((engine == "postgresql").then_some((&server, "comments")));
        let sql = |text: &str| match engine {
            "sqlite" => workspace.sqlite("enterprise.db", text),
            _ => server.psql("comments", &format!("SET ROLE ada; {text}")),
        };
        let backup = backup_of_rows(&workspace, engine);
        for id in ["m-8", "m-9"] {
            assert_eq!(bounded(&workspace, &["milestone", "put", id]).code, 0);
        }
        sql("CREATE TABLE comments(mid TEXT REFERENCES milestones(id) ON DELETE CASCADE, said TEXT);
             INSERT INTO comments VALUES ('m-9', 'a word');
             ALTER TABLE milestones ADD COLUMN notes TEXT; UPDATE milestones SET notes = 'of ' || id");
        let said = bounded(&workspace, &["restore", &backup, "--yes", "--json"]);
        let (told, along) = (said.json(), "1 rows of other tables that refer to m-9 would go too");
        let left = &told["left"];
        assert_eq!(said.code, 1, "one stays: {said:?}");
        assert!(left[0]["id"] == "m-9" && left[0]["reason"].as_str().unwrap().contains(along), "{engine}: {told}");
        assert_eq!(
            (ids(&workspace).as_str(), sql("SELECT said FROM comments").as_str()),
            ("m-0 m-1 m-2 m-9", "a word")
        );
        // Nothing refers to this one; what another program has written beside it is kept.
        assert_eq!(told["taken_out_ids"], serde_json::json!(["m-8"]), "{engine}: {told}");
        let text = if engine == "sqlite" { "CAST(text AS TEXT)" } else { "convert_from(text, 'UTF8')" };
        let kept = sql(&format!("SELECT {text} FROM milescale_displaced WHERE id = 'm-8'"));
        assert!(
            kept.contains("# columns of other programs that went with it: {\"notes\": \"of m-8\"}"),
            "{engine}: {kept}"
        );
        // Once nothing goes along, it goes.
        sql("DELETE FROM comments");
        assert_eq!(bounded(&workspace, &["restore", &backup, "--yes"]).code, 0);
        assert_eq!(ids(&workspace), "m-0 m-1 m-2", "{engine}");
    }
}

/// A backup of the database, which is in use again afterwards.
fn backup_of_rows(workspace: &Workspace, engine: &str) -> String {
    for to in ["hybrid", "database"] {
        assert_eq!(workspace.run(["migrate", to, "--yes"]).code, 0);
    }
    let backups = workspace.run(["backups", "list", "--json"]).json();
    let names = backups.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned());
    names.into_iter().find(|it| it.contains(&format!("-{engine}-to-hybrid"))).unwrap()
}

/// A chain of references that leads back to milestones takes none of them out.
#[test]
fn a_restore_takes_no_milestone_out_that_the_backup_has() {
    let server = Postgres::start();
    let workspace = in_a_database(Some((&server, "programs")));
    let backup = backup_of_rows(&workspace, "postgresql");
    assert_eq!(bounded(&workspace, &["milestone", "put", "m-9"]).code, 0);
    server.psql(
        "programs",
        "SET ROLE ada; CREATE TABLE programs(id text PRIMARY KEY, lead text REFERENCES milestones(id) ON DELETE CASCADE);
         ALTER TABLE milestones ADD COLUMN program text REFERENCES programs(id) ON DELETE CASCADE;
         INSERT INTO programs VALUES ('p', 'm-9'); UPDATE milestones SET program = 'p' WHERE id IN ('m-1', 'm-2')",
    );
    let said = bounded(&workspace, &["restore", &backup, "--yes", "--json"]);
    let left = &said.json()["left"];
    assert!(left[0]["id"] == "m-9" && left[0]["reason"].as_str().unwrap().contains("2 other milestones"), "{said:?}");
    assert_eq!(ids(&workspace), "m-0 m-1 m-2 m-9");
}

/// A column of ids that makes numbers of texts takes none: it would be in no list.
#[test]
fn an_id_that_becomes_a_number_is_refused() {
    for kind in ["INTEGER PRIMARY KEY", "NUMERIC PRIMARY KEY", "REAL"] {
        let workspace = Workspace::empty(crate::BINARY);
        workspace.write("config/storage-backend.txt", "database\n");
        let table = format!("CREATE TABLE milestones(id {kind}, data TEXT, created_at TEXT, updated_at TEXT)");
        workspace.sqlite("enterprise.db", table);
        bounded(&workspace, &["check"]);
        let said = bounded(&workspace, &["milestone", "put", "007"]);
        assert!(said.code == 1 && said.err.contains("id TEXT PRIMARY KEY"), "{kind}: {said:?}");
        assert_eq!(workspace.sqlite("enterprise.db", "SELECT count(*) FROM milestones"), "0", "{kind}");
    }
}

/// Rows that no id can name are in no list: an export says so by its exit status, and a move into their table by its plan.
#[test]
fn rows_without_an_id_are_named_before_they_are_left_out() {
    let server = Postgres::start();
    let long = "l".repeat(1500);
    for engine in ["sqlite", "postgresql"] {
        let workspace = in_a_database((engine == "postgresql").then_some((&server, "nameless")));
        let insert = |id: &str| format!("INSERT INTO milestones(id, data) VALUES ({id}, '{{\"title\":\"precious\"}}')");
        match engine {
            "sqlite" => workspace.sqlite("enterprise.db", insert("NULL")),
            _ => server.psql("nameless", &insert(&format!("'{long}'"))),
        };
        for arguments in [&["milestone", "export"][..], &["milestone", "export", "--dir", "copy"]] {
            let said = bounded(&workspace, arguments);
            assert!(said.code == 1 && said.err.contains("1 rows have no id"), "{engine}, {arguments:?}: {said:?}");
        }
        let doctor = bounded(&workspace, &["doctor"]);
        assert!(doctor.code == 1 && doctor.out.matches("1 rows have no id").count() == 1, "{engine}: {doctor:?}");
        // Nor is another store followed that lacks them.
        workspace.write("config/storage-backend.txt", "file\n");
        workspace.age_marker(2);
        bounded(&workspace, &["check"]);
        assert!(workspace.status().to_string().contains("1 rows have no id"), "{engine}: {}", workspace.status());
        assert_eq!(bounded(&workspace, &["migrate", "database", "--yes"]).code, 0, "{engine}");
        let without = "DELETE FROM milestones WHERE id IS NULL OR length(id) > 1000";
        match engine {
            "sqlite" => workspace.sqlite("enterprise.db", without),
            _ => server.psql("nameless", without),
        };
        assert_eq!(bounded(&workspace, &["rollback", "--yes"]).code, 0, "{engine}");
        match engine {
            "sqlite" => workspace.sqlite("enterprise.db", insert("NULL")),
            _ => server.psql("nameless", &insert(&format!("'{long}'"))),
        };
        let plan = bounded(&workspace, &["migrate", "database", "--dry-run"]);
        assert!(
            plan.code == 1 && format!("{}{}", plan.out, plan.err).contains("1 rows have no id"),
            "{engine}: {plan:?}"
        );
    }
}

/// Numbers in milescale's own tables are another program's to choose.
#[test]
fn the_last_number_of_a_log_of_changes_ends_nothing() {
    for rows in ["(9223372036854775807, 'x')", "(-9000, 'x'), (9223372036854775807, 'y')"] {
        let workspace = in_a_database(None);
        let mut daemon = workspace.daemon(["--interval", "1"]);
        workspace.sqlite("enterprise.db", "DELETE FROM milescale_changes");
        for row in rows.split("), ") {
            let row = format!("INSERT INTO milescale_changes VALUES {})", row.trim_end_matches(')'));
            workspace.sqlite("enterprise.db", row);
            let last = || daemon.published()["daemon"]["last_cycle"].clone();
            let before = last();
            milescale_testkit::until("a cycle", || (last() != before).then_some(()));
        }
        workspace.sqlite("enterprise.db", "UPDATE milestones SET data = '{\"title\":\"seen\"}' WHERE id = 'm-1'");
        assert!(daemon.runs());
        let log = daemon.log();
        assert!(!log.contains("panicked"), "{log}");
        drop(daemon);
        assert_eq!(bounded(&workspace, &["migrate", "file", "--yes"]).code, 0);
        assert!(workspace.read("active/m-1.yaml").contains("seen"));
    }
}

/// A trigger that takes out what milescale keeps is refused by name, whatever comments stand before it; one that only speaks of that is not.
#[test]
fn a_trigger_on_what_is_kept_is_refused() {
    let workspace = in_a_database(None);
    let trigger = |body: &str| {
        workspace.sqlite("enterprise.db", "DROP TRIGGER IF EXISTS tr");
        workspace.sqlite("enterprise.db", format!("CREATE TRIGGER tr AFTER INSERT ON milestones BEGIN {body}; END"));
        bounded(&workspace, &["milestone", "put", &format!("m-{}", body.len())])
    };
    for body in [
        "DELETE FROM \"MileScale_Displaced\"",
        "SELECT 1; -- a note\n DELETE FROM milescale_displaced",
        "SELECT '-- no note', \"/*\"; DELETE FROM milescale_displaced; SELECT '*/'",
        "SELECT 1 /* a note */; DELETE FROM [milescale_displaced]",
    ] {
        let said = trigger(body);
        assert!(
            said.code == 1 && said.err.contains("trigger tr has to do with milescale's own tables"),
            "{body}: {said:?}"
        );
    }
    for body in ["SELECT 1; -- as milescale_displaced does\n SELECT 2", "SELECT 1 /* milescale_displaced */"] {
        let said = trigger(body);
        assert_eq!(said.code, 0, "{body}: {said:?}");
    }
}

/// Where no further process may be begun, the work is done by those that there are.
#[test]
fn a_limit_of_processes_is_an_error_or_none_at_all_needs_root() {
    let workspace = workspace();
    workspace.milestones("m", 600);
    let own = |path: &std::path::Path| chown(path, Some(45_671), Some(45_671)).unwrap();
    assert!(Command::new("chown").args(["-R", "45671:45671"]).arg(workspace.root()).status().unwrap().success());
    own(workspace.root());
    std::fs::set_permissions(workspace.root(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut limited = Workspace::at(workspace.root(), crate::BINARY);
    for processes in [1, 2, 3, 4] {
        let limit = format!("--nproc={processes}");
        // By setpriv itself, which root's rights leave first after: this checkout may lie in a folder of root's alone.
        let wrapper = ["prlimit", &limit, "setpriv", "--reuid", "45671", "--regid", "45671", "--clear-groups"];
        limited.wrapper = wrapper.map(str::to_owned).to_vec();
        let said = limited.run(["milestone", "list"]);
        assert!(said.code == 0 && said.out.lines().count() == 600, "{processes}: {}", said.err);
        for arguments in [&["check"][..], &["migrate", "database", "--yes"], &["doctor"]] {
            let said = limited.run(arguments);
            assert!(
                (0..2).contains(&said.code) && !said.err.contains("panicked"),
                "{processes}, {arguments:?}: {said:?}"
            );
        }
        let daemon = limited.daemon_at_once(["--interval", "600"]);
        std::thread::sleep(std::time::Duration::from_millis(700));
        daemon.signal("TERM");
        let (code, log) = daemon.ended();
        assert!((0..2).contains(&code) && !log.contains("panicked"), "{processes}: {log}");
    }
}

/// What a move has brought is cleared, and what another program has written beside it is kept or stays.
#[test]
fn what_is_beside_a_row_is_kept_where_an_unfinished_target_is_cleared() {
    let server = Postgres::start();
    for engine in ["sqlite", "postgresql"] {
        let workspace = workspace();
        workspace.milestones("m", 3);
        if engine == "postgresql" {
            let text = format!("storage:\n  database: {{type: postgresql, url: {:?}}}\n", server.url());
            workspace.write("config/storage-config.yaml", text);
        }
        crate::faults::dies(&workspace, &["migrate", "database", "--yes"], "rename:1:kill", "storage-backend.txt");
        let sql = |text: &str| match engine {
            "sqlite" => workspace.sqlite("enterprise.db", text),
            _ => server.psql("plans", &format!("SET ROLE ada; {text}")),
        };
        sql("ALTER TABLE milestones ADD COLUMN notes TEXT; UPDATE milestones SET notes = 'of ' || id");
        assert_eq!(bounded(&workspace, &["check"]).code, 0);
        let kept = if engine == "sqlite" { "CAST(text AS TEXT)" } else { "convert_from(text, 'UTF8')" };
        let kept = sql(&format!("SELECT {kept} FROM milescale_displaced"));
        assert!((0..3).all(|number| kept.contains(&format!("\"notes\": \"of m-{number}\""))), "{engine}: {kept}");
    }
}

/// A reference that names no column means the key, whatever that is; and one large value beside a row stops no other.
#[test]
fn references_to_another_key_and_large_values_are_named_one_by_one() {
    let workspace = workspace();
    workspace.sqlite(
        "enterprise.db",
        "CREATE TABLE milestones(num INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, data TEXT, created_at TEXT, updated_at TEXT, big);
         CREATE TABLE tasks(t TEXT, m INTEGER REFERENCES milestones ON DELETE CASCADE)",
    );
    workspace.milestones("m", 1);
    for arguments in [
        &["migrate", "database", "--adopt", "--yes"][..],
        &["migrate", "file", "--yes"],
        &["migrate", "database", "--yes"],
    ] {
        let said = workspace.run(arguments);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let backups = workspace.run(["backups", "list", "--json"]).json();
    let names = backups.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned());
    let backup = names.into_iter().find(|it| it.contains("-sqlite-to-file")).unwrap();
    for id in ["y1", "z1", "z2"] {
        assert_eq!(bounded(&workspace, &["milestone", "put", id]).code, 0);
    }
    workspace.sqlite(
        "enterprise.db",
        "INSERT INTO tasks SELECT 'work', num FROM milestones WHERE id = 'z1'; UPDATE milestones SET big = zeroblob(30000000) WHERE id = 'y1'",
    );
    let told = bounded(&workspace, &["restore", &backup, "--yes", "--json"]).json();
    let left: Vec<_> = told["left"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!((left.join(" ").as_str(), &told["taken_out_ids"][0]), ("y1 z1", &"z2".into()), "{told}");
    assert_eq!(workspace.sqlite("enterprise.db", "SELECT count(*) FROM tasks"), "1");
}

/// What a constraint or a trigger of somebody's in the index refuses is said, once, and leaves no figure that lacks it.
#[test]
fn an_index_that_takes_not_what_files_say_is_named() {
    let workspace = workspace();
    workspace.milestones("m", 2);
    assert_eq!(workspace.run(["migrate", "hybrid", "--yes"]).code, 0);
    workspace.sqlite("index.db", "CREATE UNIQUE INDEX one_title ON milestones(title)");
    workspace.save("active/n.yaml", "title: m-1\n");
    workspace.save("active/o.yaml", "title: another\n");
    let daemon = workspace.daemon(["--interval", "1"]);
    milescale_testkit::until("that is said", || {
        daemon.published()["stale_sources"].to_string().contains("takes not what the files say").then_some(())
    });
    assert!(workspace.run(["doctor"]).out.contains("n: UNIQUE constraint failed"));
    milescale_testkit::until("the other one", || {
        workspace.sqlite("index.db", "SELECT id FROM milestones ORDER BY id").contains('o').then_some(())
    });
    let mended = workspace.events_named("index_mended");
    assert!(mended.iter().filter(|event| event["details"].to_string().contains("\"n\"")).count() <= 1, "{mended:?}");
    workspace.sqlite("index.db", "DROP INDEX one_title");
    workspace.until_event("source_recovered", 1);
    drop(daemon);
    assert_eq!(ids(&workspace), "m-0 m-1 n o");
}

/// Relations of somebody else's in the schema are nobody's business, but for the names of milescale's tables; a move that is broken off goes back
/// into a retired table, which refuses writes as before.
#[test]
fn a_neighbours_names_and_a_retired_table_stop_nothing() {
    let server = Postgres::start();
    let workspace = in_a_database(Some((&server, "names")));
    server.psql("names", "CREATE ROLE neighbour; GRANT CREATE ON SCHEMA public TO neighbour; SET ROLE neighbour;
        CREATE VIEW public.milescale_x AS SELECT 1 AS a; CREATE TABLE public.milescale_y (a int); ALTER TABLE public.milescale_y ENABLE ROW LEVEL SECURITY");
    for arguments in
        [&["milestone", "show", "m-1"][..], &["milestone", "put", "m-9"], &["check"], &["migrate", "file", "--yes"]]
    {
        let said = bounded(&workspace, arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
    }
    assert_eq!(bounded(&workspace, &["retire", "postgresql", "--yes"]).code, 0);
    crate::faults::dies(&workspace, &["migrate", "database", "--yes"], "rename:1:kill", "storage-backend.txt");
    assert_eq!(bounded(&workspace, &["check"]).code, 0);
    assert!(workspace.status()["migration"]["stuck"].is_null(), "{}", workspace.status()["migration"]);
    let refused =
        server.client("names").args(["-c", "INSERT INTO milestones(id, data) VALUES ('x', '{}')"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("this store is retired"), "{refused:?}");
    // A name of milescale's own that is taken is named before anything moves.
    let workspace = workspace_on(&server, "taken");
    for kind in [
        "TYPE public.milescale_texts AS (a int)",
        "TYPE public.milescale_displaced AS ENUM ('a')",
        "SEQUENCE public.milescale_base",
    ] {
        server.psql("taken", &format!("CREATE {kind}"));
        let plan = bounded(&workspace, &["migrate", "database", "--dry-run"]);
        assert!(plan.code == 1 && format!("{}{}", plan.out, plan.err).contains("and no table"), "{kind}: {plan:?}");
        let words: Vec<&str> = kind.split(' ').collect();
        server.psql("taken", &format!("DROP {} {}", words[0], words[1]));
    }
    assert_eq!(bounded(&workspace, &["migrate", "database", "--yes"]).code, 0);
}

/// A workspace of files that names a database of its own.
fn workspace_on(server: &Postgres, name: &str) -> Workspace {
    let workspace = workspace();
    workspace.milestones("m", 2);
    let url = server.database(name);
    workspace
        .write("config/storage-config.yaml", format!("storage:\n  database: {{type: postgresql, url: {url:?}}}\n"));
    workspace
}
