//! Numbers and scalars.

mod digits;
mod former;
mod refused;

use std::process::Command;

use milescale_testkit::{Postgres, Workspace};
use serde_json::Value;

use crate::{BINARY, workspace};

/// Stores that a workspace is moved through, in the arguments of `migrate`.
const MOVES: [&[&str]; 4] =
    [&["hybrid"], &["database", "--engine", "sqlite"], &["database", "--engine", "postgresql"], &["file"]];

/// A workspace whose configuration names a server.
fn with_server(server: &Postgres) -> Workspace {
    let workspace = Workspace::new(BINARY);
    let config = format!("storage: {{database: {{type: sqlite, url: \"{}\"}}}}\n", server.url());
    workspace.write("config/storage-config.yaml", config);
    workspace
}

fn migrate(workspace: &Workspace, to: &[&str]) {
    let said = workspace.run([&["migrate"], to, &["--yes"]].concat());
    assert_eq!(said.code, 0, "{to:?}: {said:?}");
}

/// Id and data of every milestone, as `export` gives them.
fn exported(workspace: &Workspace) -> Vec<(String, Value)> {
    let said = workspace.run(["milestone", "export"]);
    assert_eq!(said.code, 0, "{said:?}");
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["id"].as_str().unwrap().to_owned(), line["data"].clone())
    };
    said.out.lines().map(line).collect()
}

fn sqlite3(workspace: &Workspace, file: &str, sql: &str) -> String {
    workspace.sqlite(file, sql)
}

/// What `PyYAML` reads of a file, as JSON.
fn pyyaml(workspace: &Workspace, path: &str) -> Value {
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1], encoding='utf-8'))))";
    let output = Command::new("python3").args(["-c", script]).arg(workspace.path(path)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
