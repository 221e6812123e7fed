//! Addresses, schemas and search paths that come to name another table than the one that milescale knows.

use std::fs;
use std::process::Command;

use milescale_testkit::Workspace;

use crate::BINARY;

use super::{Plans, digest, fix_identity, move_to_server, put};

const TABLE: &str = "CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP DEFAULT now(), \
    updated_at TIMESTAMP DEFAULT now()); ALTER TABLE milestones OWNER TO ada; INSERT INTO milestones (id, data) VALUES \
    ('m2', '{\"title\": \"foreign\", \"status\": \"active\"}'), ('s9', '{\"title\": \"foreign\", \"status\": \"active\"}')";

/// What comes to name another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Address,
    Schema,
    SearchPath,
}

/// Lets the configuration name a database and a schema.
fn name(plans: &Plans, workspace: &Workspace, (engine, database, schema): (&str, &str, &str)) {
    let url = plans.server.url().replace("/plans", &format!("/{database}"));
    let text = format!("storage:\n  database: {{ type: {engine}, url: \"{url}\", schema: \"{schema}\" }}\n");
    workspace.write("config/storage-config.yaml", text);
}

impl Way {
    const ALL: [Self; 3] = [Self::Address, Self::Schema, Self::SearchPath];

    /// Makes another program's table, and lets it be named.
    fn begin(self, plans: &Plans, workspace: &Workspace, engine: &str) {
        match self {
            Self::Address => {
                plans.psql("CREATE DATABASE staging OWNER ada");
                plans.server.psql("staging", TABLE);
                name(plans, workspace, (engine, "staging", ""));
            }
            Self::Schema => {
                plans.psql(&format!("CREATE SCHEMA other AUTHORIZATION ada; SET search_path = other; {TABLE}"));
                name(plans, workspace, (engine, "plans", "other"));
            }
            // The one of its own name comes first for every user.
            Self::SearchPath => {
                plans.psql(&format!("CREATE SCHEMA ada AUTHORIZATION ada; SET search_path = ada; {TABLE}"));
            }
        }
    }

    /// What stands in that table, and all that is beside it.
    fn found(self, plans: &Plans) -> String {
        let (database, schema) = match self {
            Self::Address => ("staging", "public"),
            Self::Schema => ("plans", "other"),
            Self::SearchPath => ("plans", "ada"),
        };
        let sql = format!(
            "SELECT id, data->>'title' FROM {schema}.milestones ORDER BY id;
             SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace ORDER BY 1;
             SELECT tgname FROM pg_trigger WHERE tgrelid = '{schema}.milestones'::regclass"
        );
        plans.server.psql(database, &sql)
    }

    /// Puts back what was changed.
    fn end(self, plans: &Plans, workspace: &Workspace, engine: &str) {
        if self == Self::SearchPath {
            plans.psql("DROP SCHEMA ada CASCADE");
        }
        name(plans, workspace, (engine, "plans", ""));
    }
}

/// Moved to the server and back: the server is an old store.
fn moved_back() -> Plans {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    let said = one.run(["rollback", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(one.run(["check"]).code, 0);
    plans
}

#[test]
fn another_table_is_not_the_old_store() {
    let plans = moved_back();
    let one = plans.workspace("one");
    for (number, way) in Way::ALL.into_iter().enumerate() {
        way.begin(&plans, &one, "sqlite");
        let before = way.found(&plans);
        plans.psql(&format!(
            "UPDATE public.milestones SET data = data || '{{\"title\": \"old {number}\"}}' WHERE id = 'm3'"
        ));
        for _ in 0..2 {
            let said = one.run(["check"]);
            assert!(said.err.contains("it cannot be swept"), "{way:?}: {said:?}");
        }
        let said = one.run(["doctor"]);
        assert!(said.code == 1 && said.out.contains("it cannot be swept"), "{way:?}: {said:?}");
        for said in [one.run(["retire", "postgresql", "--yes"]), move_to_server(&one), one.run(["import"])] {
            assert!(said.code == 1 && said.err.contains("nothing was read or written"), "{way:?}: {said:?}");
        }
        assert_eq!(way.found(&plans), before, "{way:?}");
        assert!(one.read("active/m2.yaml").contains("title: a") && !one.path("active/s9.yaml").exists(), "{way:?}");
        way.end(&plans, &one, "sqlite");
        let said = one.run(["check"]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{way:?}");
        assert!(one.read("active/m3.yaml").contains(&format!("old {number}")), "{way:?}");
    }
    assert_eq!(one.events_named("write_conflict").len(), 0);
}

#[test]
fn another_table_is_not_the_store_in_use() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    assert_eq!(one.run(["check"]).code, 0);
    let seen = digest(&one, "m1");
    for way in Way::ALL {
        way.begin(&plans, &one, "postgresql");
        let (before, ours) = (way.found(&plans), plans.psql("SELECT id, data FROM public.milestones ORDER BY id"));
        for said in [
            one.run(["milestone", "list"]),
            one.run(["milestone", "show", "m2"]),
            put(&one, "q", "title: x\n", None),
            put(&one, "m1", "title: x\n", Some(&seen)),
            one.run(["milestone", "archive", "m2"]),
            one.run(["rollback", "--yes"]),
        ] {
            assert!(said.code == 1 && said.err.contains("nothing was read or written"), "{way:?}: {said:?}");
        }
        one.run(["check"]);
        let status: serde_json::Value = serde_json::from_str(&one.run(["status", "--json"]).out).unwrap();
        assert_eq!(status["milestone_count"], 3, "{way:?}");
        assert_eq!(status["stale"], true, "{way:?}: {status}");
        assert_eq!(way.found(&plans), before, "{way:?}");
        assert_eq!(plans.psql("SELECT id, data FROM public.milestones ORDER BY id"), ours, "{way:?}");
        way.end(&plans, &one, "postgresql");
        assert_eq!(one.run(["check"]).code, 0, "{way:?}");
    }
    assert_eq!(put(&one, "q", "title: x\n", None).code, 0);
}

#[test]
fn a_daemon_leaves_another_table_alone_that_takes_the_name() {
    let plans = moved_back();
    let one = plans.workspace("one");
    let daemon = one.daemon(["--interval", "1"]);
    daemon.until("milestone_count", 3);
    let way = Way::SearchPath;
    way.begin(&plans, &one, "sqlite");
    let before = way.found(&plans);
    let unavailable = || one.events_named("source_unavailable").into_iter().next();
    milescale_testkit::until("the old store is another one", unavailable);
    assert_eq!(way.found(&plans), before);
    way.end(&plans, &one, "sqlite");
    plans.psql("UPDATE milestones SET data = data || '{\"title\": \"later\"}' WHERE id = 'm3'");
    milescale_testkit::until("m3", || one.read("active/m3.yaml").contains("later").then_some(()));
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn a_database_that_has_moved_is_the_same_store() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    plans.psql("CREATE DATABASE moved TEMPLATE plans");
    name(&plans, &one, ("postgresql", "moved", ""));
    assert_eq!(put(&one, "q", "title: x\n", None).code, 0);
    assert_eq!(one.run(["check"]).code, 0);
    assert_eq!(one.run(["rollback", "--yes"]).code, 0);
    plans.server.psql("moved", "UPDATE milestones SET data = data || '{\"title\": \"later\"}' WHERE id = 'm3'");
    assert_eq!(one.run(["check"]).code, 0);
    assert!(one.read("active/m3.yaml").contains("later"));
}

#[test]
fn a_copy_of_before_the_store_was_left_is_not_the_old_store() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    assert_eq!(one.run(["retire", "files", "--yes"]).code, 0);
    assert_eq!(one.run(["check"]).code, 0);
    plans.psql("CREATE DATABASE copied TEMPLATE plans");
    plans.psql("UPDATE milestones SET data = data || '{\"title\": \"later\"}' WHERE id = 'm3'");
    assert_eq!(one.run(["migrate", "file", "--yes"]).code, 0);
    name(&plans, &one, ("sqlite", "copied", ""));
    let said = one.run(["check"]);
    assert!(said.err.contains("the server went back"), "{said:?}");
    assert!(one.read("active/m3.yaml").contains("later"));
}

#[test]
fn a_move_to_another_table_asks_what_becomes_of_the_old_store() {
    let plans = moved_back();
    let one = plans.workspace("one");
    plans.psql("CREATE DATABASE empty OWNER ada");
    name(&plans, &one, ("sqlite", "empty", ""));
    // Whether there is no table there or no database: what is written to the old store would not be seen any more.
    for said in [move_to_server(&one), one.run(["retire", "postgresql", "--yes"])] {
        assert!(said.code == 1 && said.err.contains("there is no table milestones here"), "{said:?}");
    }
    Way::Address.begin(&plans, &one, "sqlite");
    let said = one.run(["migrate", "database", "--engine", "postgresql", "--adopt", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(one.run(["milestone", "list"]).out.contains("s9"));
    assert!(one.run(["conflicts"]).out.contains("m2"), "the title that the table had stays, the other one is kept");
    assert_eq!(put(&one, "q", "title: x\n", None).code, 0);
    assert_eq!(one.run(["check"]).code, 0);
    assert_eq!(plans.psql("SELECT count(*) FROM milestones"), "3");
}

#[test]
fn a_retired_store_is_no_reason_against_a_move_to_another_table() {
    let plans = moved_back();
    let one = plans.workspace("one");
    assert_eq!(one.run(["retire", "postgresql", "--yes"]).code, 0);
    plans.psql("CREATE DATABASE empty OWNER ada");
    name(&plans, &one, ("sqlite", "empty", ""));
    let said = move_to_server(&one);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(put(&one, "q", "title: x\n", None).code, 0);
    assert_eq!(one.run(["check"]).code, 0);
    assert_eq!(plans.server.psql("empty", "SELECT count(*) FROM milestones"), "4");
}

#[test]
fn what_the_original_writes_is_never_brought_to_a_separate_copy() {
    let plans = Plans::moved();
    let (one, two) = (plans.workspace("one"), plans.copy("one", "two"));
    fix_identity(&two, "separate");
    assert_eq!(two.run(["migrate", "file", "--yes"]).code, 0);
    assert_eq!(put(&one, "m1", "title: of the original\n", Some(&digest(&one, "m1"))).code, 0);
    assert_eq!(put(&one, "n", "title: of the original\n", None).code, 0);
    for arguments in [&["check"][..], &["import"], &["check"]] {
        let said = two.run(arguments.iter().copied());
        assert_eq!(said.code, 0, "{said:?}");
    }
    assert_eq!(two.events_named("changes_held").len(), 0);
    assert!(two.read("active/m1.yaml").contains("title: a") && !two.path("active/n.yaml").exists());
}

/// Puts another program's file in the place of `enterprise.db`; the one that was there lies beside it.
fn replace_file(workspace: &Workspace, rows: &str) {
    let path = workspace.path("enterprise.db");
    fs::rename(&path, workspace.path("known.db")).unwrap();
    let table = "CREATE TABLE milestones (id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT);";
    assert!(Command::new("sqlite3").arg(&path).arg(format!("{table} {rows}")).status().unwrap().success());
}

fn put_file_back(workspace: &Workspace) {
    fs::rename(workspace.path("known.db"), workspace.path("enterprise.db")).unwrap();
}

const ROWS: &str =
    "INSERT INTO milestones (id, data) VALUES ('m1', '{\"title\": \"foreign\"}'), ('s9', '{\"title\": \"x\"}')";

#[test]
fn another_file_is_not_the_store_in_use() {
    let one = Workspace::new(BINARY);
    for number in 1..=3 {
        one.write(format!("active/m{number}.yaml"), "title: a\nstatus: active\n");
    }
    assert_eq!(one.run(["migrate", "database", "--yes"]).code, 0);
    assert_eq!(one.run(["check"]).code, 0);
    for rows in ["", ROWS] {
        replace_file(&one, rows);
        for said in [one.run(["milestone", "list"]), put(&one, "q", "title: x\n", None), one.run(["rollback", "--yes"])]
        {
            assert!(said.code == 1 && said.err.contains("nothing was read or written"), "{said:?}");
        }
        one.run(["check"]);
        let status: serde_json::Value = serde_json::from_str(&one.run(["status", "--json"]).out).unwrap();
        assert_eq!((&status["milestone_count"], &status["stale"]), (&3.into(), &true.into()), "{status}");
        put_file_back(&one);
        assert_eq!(one.run(["check"]).code, 0);
    }
    assert_eq!(put(&one, "q", "title: x\n", None).code, 0);
}

#[test]
fn another_file_is_not_the_old_store() {
    let one = Workspace::new(BINARY);
    one.write("active/m1.yaml", "title: a\nstatus: active\n");
    assert_eq!(one.run(["migrate", "database", "--yes"]).code, 0);
    assert_eq!(one.run(["rollback", "--yes"]).code, 0);
    assert_eq!(one.run(["check"]).code, 0);
    replace_file(&one, ROWS);
    let before = fs::read(one.path("enterprise.db")).unwrap();
    assert!(one.run(["check"]).err.contains("it cannot be swept"));
    for said in [one.run(["retire", "sqlite", "--yes"]), one.run(["migrate", "database", "--yes"]), one.run(["import"])]
    {
        assert!(said.code == 1 && said.err.contains("nothing was read or written"), "{said:?}");
    }
    assert_eq!(fs::read(one.path("enterprise.db")).unwrap(), before);
    assert!(one.read("active/m1.yaml").contains("title: a") && !one.path("active/s9.yaml").exists());
    let said = one.run(["migrate", "database", "--adopt", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(one.run(["conflicts"]).out.contains("m1"));
    assert!(one.run(["milestone", "list"]).out.contains("s9"));
}
