//! What triggers make of a row, tables that are made anew, and the log of changes.

use std::process::Command;

use milescale_testkit::{Workspace, until};

use super::{Plans, digest, put};
use crate::BINARY;

const CHANGES: &str = "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.data := jsonb_set(NEW.data, '{title}', to_jsonb(upper(NEW.data->>'title'))); RETURN NEW; END $$;
    CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON milestones FOR EACH ROW EXECUTE FUNCTION shout()";

#[test]
fn l27_a_trigger_of_postgresql_that_changes_data_is_told() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    plans.psql(CHANGES);
    let said = put(&one, "q", "title: quiet # kept?\n", None);
    assert!(said.code == 1 && said.err.contains("q was written") && said.err.contains("(title)"), "{said:?}");
    assert!(one.run(["milestone", "show", "q"]).out.contains("QUIET"), "the text that was put is not used");
    // What is not changed is as it was meant.
    assert_eq!(put(&one, "r", "title: LOUD # kept\n", None).code, 0);
    assert!(one.run(["milestone", "show", "r"]).out.contains("# kept"));
    // A trigger that leaves a write out.
    plans.psql("CREATE OR REPLACE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$");
    let seen = digest(&one, "r");
    for said in [put(&one, "r", "title: x\n", Some(&seen)), put(&one, "s", "title: x\n", None)] {
        assert!(said.code == 1 && said.err.contains("leaves out"), "{said:?}");
    }
    assert!(one.run(["milestone", "show", "r"]).out.contains("LOUD"));
}

#[test]
fn l27_a_trigger_of_sqlite_that_changes_data_is_told() {
    let workspace = Workspace::new(BINARY);
    workspace.write("active/m1.yaml", "title: a\n");
    assert_eq!(workspace.run(["migrate", "database", "--engine", "sqlite", "--yes"]).code, 0);
    let sqlite = |sql: &str| {
        let mut shell = Command::new("sqlite3");
        shell.args(["-cmd", ".timeout 5000"]).arg(workspace.path("enterprise.db")).arg(sql);
        assert!(shell.status().unwrap().success());
    };
    sqlite(
        "CREATE TRIGGER shout AFTER INSERT ON milestones BEGIN UPDATE milestones
         SET data = json_set(NEW.data, '$.title', upper(json_extract(NEW.data, '$.title'))) WHERE id = NEW.id; END",
    );
    let said = put(&workspace, "q", "title: quiet\n", None);
    assert!(said.code == 1 && said.err.contains("q was written") && said.err.contains("(title)"), "{said:?}");
    assert!(workspace.run(["milestone", "show", "q"]).out.contains("QUIET"));
    assert_eq!(put(&workspace, "r", "title: LOUD # kept\n", None).code, 0);
    assert!(workspace.run(["milestone", "show", "r"]).out.contains("# kept"));
    sqlite("CREATE TRIGGER never BEFORE UPDATE ON milestones BEGIN SELECT RAISE(IGNORE); END");
    let seen = digest(&workspace, "m1");
    let said = put(&workspace, "m1", "title: B\n", Some(&seen));
    assert!(said.code == 1 && said.err.contains("leaves out"), "{said:?}");
}

#[test]
fn l28_a_table_that_is_made_anew_beside_a_stopped_daemon_is_looked_at_anew() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    let daemon = one.daemon(["--interval", "1"]);
    daemon.until("milestone_count", 3);
    daemon.signal("STOP");
    plans.psql(
        "ALTER TABLE milestones RENAME TO milestones_old;
         CREATE TABLE milestones (id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP DEFAULT now(),
         updated_at TIMESTAMP DEFAULT now());
         INSERT INTO milestones SELECT id, data, created_at, updated_at FROM milestones_old;
         ALTER TABLE milestones OWNER TO ada",
    );
    for number in 4..=6 {
        plans.psql(&format!("INSERT INTO milestones (id, data) VALUES ('m{number}', '{{\"status\": \"active\"}}')"));
    }
    daemon.signal("CONT");
    daemon.until("milestone_count", 6);
    let triggers =
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'milestones'::regclass AND tgname LIKE 'milescale_log%'";
    until("the log of changes", || (plans.psql(triggers) == "2").then_some(()));
    assert_eq!(put(&one, "m7", "title: x\n", None).code, 0);
    daemon.until("milestone_count", 7);
}

#[test]
fn l34_the_log_of_changes_does_not_grow_for_ever() {
    let plans = Plans::moved();
    let one = plans.workspace("one");
    // A reader that has not read for long reads everything; a transaction that is under way keeps its entries.
    plans.psql("INSERT INTO milescale_changes (id) SELECT 'm1' FROM generate_series(1, 400000)");
    let said = one.run(["check"]);
    assert_eq!(said.code, 0, "{said:?}");
    let count: u64 = plans.psql("SELECT count(*) FROM milescale_changes").parse().unwrap();
    assert!((100_000..=110_001).contains(&count), "{count}");
    assert_ne!(plans.psql("SELECT pruned FROM milescale_meta"), "0");
    let said = one.run(["check"]);
    assert_eq!(said.code, 0, "{said:?}");
}
