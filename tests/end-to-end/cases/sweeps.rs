//! Old sides: what was written there is current, kept or named.

mod batches;
mod comments;
mod death;
mod earlier;
mod failing;
mod retired;
mod servers;
mod time;

use std::path::Path;

use milescale_testkit::Workspace;
use serde_json::Value;

use super::super::milestones::put;

/// So many milestones, moved from files to SQLite; the files can be written.
fn moved(count: usize) -> Workspace {
    let workspace = crate::workspace();
    for number in 0..count {
        workspace.write(format!("active/m-{number}.yaml"), format!("title: first {number}\n"));
    }
    migrate(&workspace, "database");
    workspace
}

/// Names a server as the database to move to.
fn name_server(workspace: &Workspace, url: &str) {
    let config = format!("storage:\n  database:\n    type: postgresql\n    url: \"{url}\"\n");
    workspace.write("config/storage-config.yaml", config);
}

fn migrate(workspace: &Workspace, to: &str) {
    let said = workspace.run(["migrate", to, "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
}

fn edit(workspace: &Workspace, ids: impl IntoIterator<Item = usize>, title: &str) {
    for number in ids {
        workspace.save(format!("active/m-{number}.yaml"), format!("title: {title}\n"));
    }
}

/// Puts a text over what the store in use holds.
fn put_over(workspace: &Workspace, id: &str, text: &str) {
    let seen = workspace.run(["milestone", "show", id, "--digest"]).out;
    let said = put(workspace, &[id, "--if-match", seen.trim()], text);
    assert_eq!(said.code, 0, "{said:?}");
}

/// A statement in the `sqlite3` shell, as an adapter runs it.
fn sql(workspace: &Workspace, statement: &str) -> String {
    workspace.sqlite("enterprise.db", statement)
}

fn data(workspace: &Workspace, id: &str) -> String {
    sql(workspace, &format!("SELECT data FROM milestones WHERE id = '{id}'"))
}

/// How many rows hold a text.
fn rows_with(workspace: &Workspace, text: &str) -> usize {
    sql(workspace, &format!("SELECT count(*) FROM milestones WHERE data LIKE '%{text}%'")).parse().unwrap()
}

fn check(workspace: &Workspace) {
    let said = workspace.run(["check"]);
    assert_eq!(said.code, 0, "{said:?}");
}

/// The ids that the events of a name list, under `ids` or `milestones`.
fn told(workspace: &Workspace, event: &str) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut ids: Vec<String> = Vec::new();
    for event in workspace.events_named(event) {
        let details = &event["details"];
        ids.extend(details["ids"].as_array().into_iter().flatten().map(text));
        ids.extend(details["milestones"].as_array().into_iter().flatten().map(|it| text(&it["id"])));
        ids.extend(details["id"].as_str().map(str::to_owned));
    }
    ids.sort();
    ids
}

/// Whether `doctor` and `status` both say a text.
fn is_named(workspace: &Workspace, text: &str) -> bool {
    workspace.run(["doctor"]).out.contains(text) && workspace.run(["status"]).out.contains(text)
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
