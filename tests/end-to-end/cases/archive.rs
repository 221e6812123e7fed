//! The archive is the same on every backend, and never in the way of a move.

mod layouts;
mod moves;
mod one_place;
mod there_and_back;
mod verbs;

use std::fs;
use std::path::Path;

use milescale_testkit::{Said, Workspace};
use serde_json::Value;

/// Runs a command that succeeds.
fn done(workspace: &Workspace, arguments: &[&str]) -> Said {
    let said = workspace.run(arguments);
    assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
    said
}

/// The ids of a list.
fn listed(workspace: &Workspace, arguments: &[&str]) -> Vec<String> {
    let list = done(workspace, &[&["milestone"], arguments, &["--json"]].concat()).json();
    list.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

/// What `export` prints.
fn exported(workspace: &Workspace, more: &[&str]) -> Vec<Value> {
    let said = done(workspace, &[&["milestone", "export"], more].concat());
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Moves a file of a workspace to another name; its folder is made.
fn rename(workspace: &Workspace, from: &str, to: &str) {
    fs::create_dir_all(workspace.path(to).parent().unwrap()).unwrap();
    fs::rename(workspace.path(from), workspace.path(to)).unwrap();
}

/// Every file below a folder with its content, sorted.
fn files(folder: &Path) -> Vec<(String, String)> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(inside) = open.pop() {
        for entry in fs::read_dir(inside).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                open.push(entry);
            } else {
                let name = entry.strip_prefix(folder).unwrap().display().to_string();
                found.push((name, fs::read_to_string(entry).unwrap()));
            }
        }
    }
    found.sort();
    found
}
