//! What a plan says is true.

mod adopting;
mod old_target;
mod places;
mod rows;
mod servers;

use milescale_testkit::{Said, Workspace};
use serde_json::Value;

/// A workspace with milestones of these ids in files.
fn with_files(ids: &[&str]) -> Workspace {
    let workspace = super::super::workspace();
    for id in ids {
        workspace.write(format!("active/{id}.yaml"), format!("# of {id}\ntitle: {id}\nstatus: active\n"));
    }
    workspace
}

/// Names a database of PostgreSQL in the configuration.
fn configure(workspace: &Workspace, url: &str, schema: &str) {
    let text = format!("storage:\n  database:\n    type: sqlite\n    url: \"{url}\"\n    schema: {schema:?}\n");
    workspace.write("config/storage-config.yaml", text);
}

fn plan(workspace: &Workspace, arguments: &[&str]) -> Value {
    let all = ["migrate"].iter().chain(arguments).chain(&["--dry-run", "--json"]);
    workspace.run(all).json()
}

/// The obstacles of a plan, a line each.
fn obstacles(plan: &Value) -> String {
    let line = |it: &Value| {
        let text = |key: &str| it[key].as_str().unwrap().to_owned();
        format!("{}: {}; {}\n", text("place"), text("reason"), text("do_this"))
    };
    plan["obstacles"].as_array().unwrap().iter().map(line).collect()
}

fn done(workspace: &Workspace, arguments: &[&str]) -> Said {
    let said = workspace.run(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
    said
}

/// What the `sqlite3` shell answers on the workspace's database.
fn sqlite(workspace: &Workspace, sql: &str) -> String {
    workspace.sqlite("enterprise.db", sql)
}
