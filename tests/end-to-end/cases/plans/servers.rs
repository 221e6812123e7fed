//! Tables, rights and documents on a server of PostgreSQL.

use milescale_testkit::{Postgres, Workspace};

use super::{configure, done, obstacles, plan, with_files};

/// The columns of a table of adapters.
const COLUMNS: &str =
    "id text primary key, data jsonb, created_at timestamp default now(), updated_at timestamp default now()";

const TO_SERVER: [&str; 4] = ["migrate", "database", "--engine", "postgresql"];

fn said(workspace: &Workspace) -> String {
    obstacles(&plan(workspace, &TO_SERVER[1..]))
}

fn columns(server: &Postgres, schema: &str) -> String {
    let select = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'milestones' AND table_schema";
    server.psql("plans", &format!("{select} = '{schema}'"))
}

/// A workspace on a database that other programs have made, where no milescale has been yet.
fn on_server(url: &str, schema: &str) -> Workspace {
    let workspace = Workspace::empty(super::super::super::BINARY);
    configure(&workspace, url, schema);
    let config = workspace.read("config/storage-config.yaml").replace("sqlite", "postgresql");
    workspace.write("config/storage-config.yaml", config);
    workspace.write("config/storage-backend.txt", "database\n");
    workspace
}

/// Makes a schema of `ada`'s with this in it.
fn make(server: &Postgres, schema: &str, sql: &str) {
    server.psql("plans", &format!("SET ROLE ada; CREATE SCHEMA {schema}; SET search_path = {schema}; {sql}"));
}

#[test]
fn e02_a_table_that_adapters_made_is_a_target_and_gets_no_columns() {
    let server = Postgres::start();
    make(&server, "empty", &format!("CREATE TABLE milestones({COLUMNS})"));
    let workspace = with_files(&["a", "b", "c"]);
    workspace.write("active/a.yaml", "title: a\ntasks: [{kiro_workflow: {enabled: true}}]\n");
    configure(&workspace, &server.url(), "empty");
    assert_eq!(said(&workspace), "");
    let yes = [&TO_SERVER[..], &["--yes"]].concat();
    done(&workspace, &yes);
    let status = workspace.status();
    assert_eq!((&status["milestone_count"], &status["kiro_enabled_count"]), (&3.into(), &1.into()), "{status}");
    assert_eq!(columns(&server, "empty"), "4");
    done(&workspace, &["rollback", "--yes"]);
    done(&workspace, &yes);

    // One in use that adapters made and filled is left, and gone back to.
    make(
        &server,
        "filled",
        &format!("CREATE TABLE milestones({COLUMNS}); INSERT INTO milestones VALUES ('x', '{{}}')"),
    );
    let workspace = on_server(&server.url(), "filled");
    done(&workspace, &["migrate", "file", "--yes"]);
    done(&workspace, &["rollback", "--yes"]);
    assert_eq!((columns(&server, "filled").as_str(), &workspace.status()["milestone_count"]), ("4", &1.into()));
}

#[test]
fn e05_rights_shapes_and_documents_that_a_server_would_refuse_are_named_by_the_plan() {
    let server = Postgres::start();
    let workspace = with_files(&["a"]);
    let mut number = 0;
    let mut against = |sql: &str| {
        number += 1;
        let schema = format!("s{number}");
        make(&server, &schema, sql);
        configure(&workspace, &server.url(), &schema);
        (said(&workspace), schema)
    };
    let table = |more: &str| format!("CREATE TABLE milestones({COLUMNS}{more})");
    let expected = [
        (format!("CREATE TABLE t({COLUMNS}); CREATE VIEW milestones AS SELECT * FROM t"), "is a view and no table"),
        (table(", owner text NOT NULL"), "its column owner must not be NULL and has no default"),
        (
            format!("{}; CREATE RULE r AS ON INSERT TO milestones DO ALSO NOTIFY x", table("")),
            "rules rewrite what is written",
        ),
        (format!("CREATE TABLE milestones({COLUMNS}) PARTITION BY HASH (id)"), "it is partitioned"),
        (format!("CREATE TABLE milestones({})", COLUMNS.replace(" primary key", "")), "its column id is not unique"),
        (
            format!(
                "{}; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
                 CREATE TRIGGER skips BEFORE INSERT ON milestones FOR EACH ROW EXECUTE FUNCTION f()",
                table("")
            ),
            "its trigger skips (",
        ),
        (table(", CHECK (data->>'title' <> 'a')"), "active/a.yaml: "),
        (format!("{}; CREATE UNIQUE INDEX ON milestones ((data->>'status'))", table("")), ""),
        (
            format!("{}; CREATE INDEX ON milestones (((data->>'title')::int))", table("")),
            "would refuse it: invalid input syntax",
        ),
        (table(", note text DEFAULT 'x' NOT NULL, size int GENERATED ALWAYS AS (length(data::text)) STORED"), ""),
    ];
    for (sql, expected) in expected {
        let (said, schema) = against(&sql);
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{sql}: {said}");
        if expected.is_empty() {
            let moved = with_files(&["a"]);
            configure(&moved, &server.url(), &schema);
            done(&moved, &[&TO_SERVER[..], &["--yes"]].concat());
        }
    }
    // What no table of a server keeps.
    make(&server, "odd", "SELECT 1");
    configure(&workspace, &server.url(), "odd");
    workspace.write("active/nul.yaml", "title: \"\\0\"\n");
    workspace.write("active/large.yaml", "title: 1e200000\n");
    let said_now = said(&workspace);
    assert!(said_now.contains("active/nul.yaml: ") && said_now.contains("active/large.yaml: "), "{said_now}");
    assert_eq!(server.psql("plans", "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'odd'"), "0");
    for name in ["nul", "large"] {
        std::fs::remove_file(workspace.path(format!("active/{name}.yaml"))).unwrap();
    }

    // Rights: of another user's table, of a reader.
    make(&server, "rights", &table(""));
    server
        .psql("plans", "CREATE ROLE bob LOGIN; GRANT CREATE ON SCHEMA odd TO bob; GRANT USAGE ON SCHEMA rights TO bob");
    let as_bob = server.url().replace("ada@", "bob@");
    server.psql("plans", "GRANT SELECT, INSERT, UPDATE, DELETE ON rights.milestones TO bob");
    configure(&workspace, &as_bob, "rights");
    let said_now = said(&workspace);
    assert!(said_now.contains("bob has not the right to TRIGGER there"), "{said_now}");
    assert!(said_now.contains("make milescale's user its owner"), "{said_now}");
    server.psql("plans", "REVOKE ALL ON rights.milestones FROM bob; GRANT SELECT ON rights.milestones TO bob");
    server.psql("plans", "INSERT INTO rights.milestones(id, data) VALUES ('a', '{}')");
    let reader = on_server(&as_bob, "rights");
    let said_now = obstacles(&plan(&reader, &["file"]));
    assert!(said_now.contains("bob has not the right to UPDATE, TRIGGER there"), "{said_now}");
    assert!(said_now.contains("bob may not make milescale's own tables beside it"), "{said_now}");
}

#[test]
fn l25_rows_that_a_policy_hides_are_refused_and_never_missing() {
    let server = Postgres::start();
    make(
        &server,
        "hides",
        &format!(
            "CREATE TABLE milestones({COLUMNS}); INSERT INTO milestones(id, data) VALUES ('a', '{{}}'), ('b', '{{}}');
             ALTER TABLE milestones ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON milestones USING (id = 'a')"
        ),
    );
    server.psql(
        "plans",
        "CREATE ROLE bob LOGIN; GRANT ALL ON SCHEMA hides TO bob;
         GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON hides.milestones TO bob",
    );
    let workspace = on_server(&server.url().replace("ada@", "bob@"), "hides");
    let status = workspace.status();
    assert_ne!(status["milestone_count"], 1, "{status}");
    let doctor = workspace.run(["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("row-level security hides rows of it from bob"), "{doctor:?}");
    let moved = workspace.run(["migrate", "file", "--yes"]);
    assert!(moved.code == 1 && moved.err.contains("row-level security"), "{moved:?}");
    let list = workspace.run(["milestone", "list"]);
    assert!(list.code == 1 && list.err.contains("row-level security"), "{list:?}");
    // A policy that comes later, while a daemon is connected.
    server.psql("plans", "ALTER TABLE hides.milestones DISABLE ROW LEVEL SECURITY");
    let daemon = workspace.daemon(["--interval", "1"]);
    daemon.until("milestone_count", 2);
    server.psql(
        "plans",
        "ALTER TABLE hides.milestones ENABLE ROW LEVEL SECURITY; DELETE FROM hides.milestones WHERE id = 'b'",
    );
    daemon.until_logged("row-level security");
    assert_eq!(daemon.published()["milestone_count"], 2, "the last figure stays");
    drop(daemon);
    server.psql("plans", "ALTER ROLE bob BYPASSRLS");
    assert_eq!(workspace.status()["milestone_count"], 1);
}
