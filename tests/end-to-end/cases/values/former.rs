//! Workspaces that a milescale moved which took `007` for 7: no untouched file becomes a change.

use milescale_testkit::{Postgres, Workspace};
use serde_json::json;

use super::{exported, migrate, sqlite3, with_server};

const TEXT: &str =
    "# mine\nid: 007\ntitle: 0123\nmode: 0755  # of the file\nrange: 0-3\nrequires: [001, +2]\nnotes: |\n  text";

/// What was written of it into a row, in a form that SQLite and PostgreSQL have.
const FORMER: &str = r#"{"id":7,"title":123,"mode":755,"range":-3,"requires":[1,2],"notes":"text\n"}"#;

/// A key that is no text was taken for one.
const KEYS: &str = "levels:\n  1: low\n";

/// A workspace in a database as it was left then: rows, marks of kept texts, and bases with values read otherwise.
fn of_before(workspace: &Workspace, engine: &str, run: &dyn Fn(&str) -> String) {
    workspace.write("active/007.yaml", TEXT);
    workspace.write("active/b.yaml", "title: plain\nn: 5\n");
    workspace.write("active/keys.yaml", "levels:\n  a: low\n");
    migrate(workspace, &["database", "--engine", engine]);
    workspace.write("active/keys.yaml", KEYS);
    let (other_value, bytes) = match engine {
        "sqlite" => ("randomblob(32)", "x'"),
        _ => ("sha256('read otherwise')", "'\\x"),
    };
    let keys: String = KEYS.bytes().map(|byte| format!("{byte:02x}")).collect();
    let digest = digest(workspace, "active/keys.yaml");
    for sql in [
        &format!("UPDATE milestones SET data = '{FORMER}' WHERE id = '007'"),
        r#"UPDATE milestones SET data = '{"levels":{"1":"low"}}' WHERE id = 'keys'"#,
        "UPDATE milescale_texts SET data_digest = ''",
        &format!("UPDATE milescale_texts SET text = {bytes}{keys}' WHERE id = 'keys'"),
        &format!("UPDATE milescale_base SET text = {bytes}{digest}' WHERE id = 'keys'"),
        &format!("UPDATE milescale_base SET value = {other_value} WHERE id <> 'b'"),
    ] {
        run(sql);
    }
}

/// SHA-256 of a file.
fn digest(workspace: &Workspace, path: &str) -> String {
    let output = std::process::Command::new("sha256sum").arg(workspace.path(path)).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn nothing_happened(workspace: &Workspace) {
    for _ in 0..2 {
        let said = workspace.run(["check"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    let daemon = workspace.daemon(["--interval", "86400"]);
    daemon.until("milestone_count", 3);
    daemon.stop();
    for event in ["write_conflict", "changes_imported", "changes_reported", "changes_held"] {
        assert_eq!(workspace.events_named(event), Vec::<serde_json::Value>::new());
    }
    assert!(workspace.run(["conflicts"]).out.contains("no conflicts"));
}

fn stays_what_it_was(workspace: &Workspace, engine: &str, run: &dyn Fn(&str) -> String) {
    of_before(workspace, engine, run);
    nothing_happened(workspace);
    let found = exported(workspace);
    let wanted = json!({"id": "007", "title": "0123", "mode": "0755", "range": "0-3", "requires": ["001", "+2"], "notes": "text"});
    assert_eq!(found[0].1, wanted);
    let listed: serde_json::Value = serde_json::from_str(&workspace.run(["milestone", "list", "--json"]).out).unwrap();
    assert_eq!(listed[0]["title"], "0123");
    assert_eq!(workspace.run(["milestone", "show", "007"]).out, TEXT);
    // An edit of an adapter keeps the digits that it has not touched.
    run(&format!("UPDATE milestones SET data = '{}' WHERE id = '007'", FORMER.replace("755", "750")));
    let edited = exported(workspace).remove(0).1;
    assert_eq!((&edited["mode"], &edited["id"], &edited["range"]), (&json!(750), &json!("007"), &json!("0-3")));
    run(&format!("UPDATE milestones SET data = '{FORMER}' WHERE id = '007'"));
    let said = workspace.run(["rollback", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(
        (workspace.read("active/007.yaml"), workspace.read("active/keys.yaml")),
        (TEXT.to_owned(), KEYS.to_owned())
    );
    nothing_happened(workspace);
}

#[test]
fn a_workspace_of_before_in_sqlite_stays_what_it_was() {
    let workspace = super::workspace();
    stays_what_it_was(&workspace, "sqlite", &|sql| sqlite3(&workspace, "enterprise.db", sql));
}

#[test]
fn a_workspace_of_before_in_postgresql_stays_what_it_was() {
    let server = Postgres::start();
    let workspace = with_server(&server);
    stays_what_it_was(&workspace, "postgresql", &|sql| server.psql("plans", sql));
}
