//! Workspaces that an earlier milescale has left, opened by this one: nothing is told that did not happen, nothing is lost.
//!
//! `tests/fixtures/make` made them, with the binary of commit 8547b1b: each backend, an intent at each phase, a conflict, held
//! changes, a retired side, an archived row, a pending notification.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use milescale_testkit::{Postgres, Workspace};
use serde_json::Value;

use super::{BINARY, migrations, repository};

/// What a cycle, and the end of an interrupted move, may say.
const EXPECTED: &[&str] = &[
    "migration_monitoring",
    "scale_status",
    "migration_failed",
    "migration_rolled_back",
    "migration_progress",
    "migration_started",
    "migration_completed",
    "config_reloaded",
];

fn fixtures() -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(repository().join("tests/fixtures/8547b1b")).unwrap().map(|it| it.unwrap().path()).collect();
    found.sort();
    found
}

/// Unpacks a fixture, and gives it the marks of the place where it lies now: the earlier milescale made them of the inode.
fn unpack(fixture: &Path, server: &Postgres) -> (Workspace, Value) {
    let workspace = Workspace::empty(BINARY);
    let root = workspace.root();
    let unpacked = Command::new("tar").arg("-xzf").arg(fixture).arg("-C").arg(root).arg("--no-same-owner").status();
    assert!(unpacked.unwrap().success());
    let expected: Value = serde_json::from_slice(&fs::read(root.join("expected.json")).unwrap()).unwrap();
    let identity = workspace.path(".milescale/identity");
    if let Ok(text) = fs::read_to_string(&identity) {
        let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        let inode = fs::metadata(&identity).unwrap().ino();
        let number = text.split_whitespace().next().unwrap();
        fs::write(&identity, format!("{number} {inode}@{}\n", machine.trim())).unwrap();
    }
    let sql = root.join("server.sql");
    if sql.exists() {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &server.url(), "-f"]).arg(&sql);
        assert!(psql.stdout(std::process::Stdio::null()).status().unwrap().success());
        let config = workspace.read("config/storage-config.yaml");
        let url = expected["url"].as_str().unwrap();
        fs::write(workspace.path("config/storage-config.yaml"), config.replace(url, &server.url())).unwrap();
        // It is another server, so another timeline.
        let _ = fs::remove_file(workspace.path(".milescale/postgresql.json"));
    }
    (workspace, expected)
}

fn dump(workspace: &Workspace, server: &Postgres, expected: &Value) -> String {
    let url = if expected["url"] == "" { String::new() } else { server.url() };
    let schema = if url.is_empty() { "" } else { "taken_over" };
    let output = Command::new("python3")
        .arg(repository().join("tests/verify.py"))
        .args([workspace.root().to_str().unwrap(), &url, schema])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn workspaces_of_an_earlier_milescale_are_taken_over_without_a_word() {
    take_over(|name| !name.starts_with("intent-"));
}

#[test]
fn interrupted_moves_of_an_earlier_milescale_are_ended_without_a_loss() {
    take_over(|name| name.starts_with("intent-"));
}

fn take_over(these: fn(&str) -> bool) {
    let server = Postgres::start();
    for fixture in fixtures() {
        let name = fixture.file_name().unwrap().to_string_lossy().replace(".tar.gz", "");
        if !these(&name) {
            continue;
        }
        let (workspace, expected) = unpack(&fixture, &server);
        let before = workspace.events().len();
        let files = migrations::contents(&workspace.path("active"));
        let said = workspace.run(["check"]);
        assert_eq!(said.code, 0, "{name}: {said:?}");
        let told: Vec<Value> = workspace.events().split_off(before);
        for event in &told {
            let event = event["event"].as_str().unwrap();
            assert!(EXPECTED.contains(&event), "{name}: {event} in {told:#?}");
        }
        assert_eq!(workspace.read("config/storage-backend.txt").trim(), expected["in_use"], "{name}");
        assert_eq!(dump(&workspace, &server, &expected), expected["dump"].as_str().unwrap(), "{name}");
        let record = workspace.read(".milescale/migration.json");
        // A workspace whose milestones were never moved has none.
        assert!(record.is_empty() || record.contains("\"intent\": null"), "{name}: {record}");
        if name != "held" {
            there_and_back(&name, &workspace, &server, &expected);
        }
        if expected["in_use"] == "file" {
            assert_eq!(migrations::contents(&workspace.path("active")), files, "{name}: byte for byte");
        }
        if expected["url"] != "" {
            server.psql("plans", "DROP SCHEMA taken_over CASCADE");
        }
    }
}

/// Moves to another store and back.
fn there_and_back(name: &str, workspace: &Workspace, server: &Postgres, expected: &Value) {
    let conflicts = workspace.events_named("write_conflict").len();
    let in_use = expected["in_use"].as_str().unwrap();
    let other = if in_use == "database" { "file" } else { "database" };
    for to in [other, in_use] {
        let said = workspace.run(["migrate", to, "--yes"]);
        assert_eq!(said.code, 0, "{name}: to {to}: {said:?}");
    }
    // An archived row has become a file of the archive on the way.
    let counted =
        |dump: &str| dump.lines().filter(|it| !it.contains("\"archived\"")).map(str::to_owned).collect::<Vec<_>>();
    let (now, then) = (dump(workspace, server, expected), expected["dump"].as_str().unwrap());
    assert_eq!(counted(&now), counted(then), "{name}: there and back");
    assert_eq!(workspace.events_named("write_conflict").len(), conflicts, "{name}");
}

/// A format that only a later milescale knows: refused by name, and nothing is written.
#[test]
fn a_record_of_a_later_milescale_is_refused_and_left_as_it_is() {
    let workspace = super::workspace();
    workspace.write("active/a.yaml", "title: a\n");
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    let record = workspace.read(".milescale/migration.json");
    let later = record.replacen("\"version\": 2", "\"version\": 99", 1);
    assert_ne!(record, later);
    workspace.write(".milescale/migration.json", &later);
    for arguments in [&["migrate", "file", "--yes"][..], &["rollback", "--yes"], &["import"]] {
        let said = workspace.run(arguments);
        assert!(said.code != 0 && said.err.contains("newer milescale"), "{arguments:?}: {said:?}");
    }
    assert_eq!(workspace.read(".milescale/migration.json"), later);
    assert_eq!(workspace.read("config/storage-backend.txt").trim(), "database");
}

/// A `ConfigMap` of Kubernetes: the name of the file leads to a link, which is exchanged with each update.
fn as_config_map(workspace: &Workspace, text: &str, version: &str) {
    let config = workspace.path("config");
    fs::create_dir_all(config.join(version)).unwrap();
    fs::write(config.join(version).join("storage-config.yaml"), text).unwrap();
    let _ = fs::remove_file(config.join("..new"));
    symlink(version, config.join("..new")).unwrap();
    fs::rename(config.join("..new"), config.join("..data")).unwrap();
    let _ = fs::remove_file(config.join("storage-config.yaml"));
    symlink("..data/storage-config.yaml", config.join("storage-config.yaml")).unwrap();
}

/// The commands of `milescale trust` that a text names, as arguments.
fn named(text: &str) -> Vec<Vec<String>> {
    let parts = text.split("`milescale trust ").skip(1).filter_map(|it| it.split_once('`'));
    let words = |it: &str| it.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect();
    parts.map(|(arguments, _)| words(arguments)).collect()
}

#[test]
fn a_configuration_that_is_a_link_goes_on_after_the_sentence_that_lets_it() {
    let server = Postgres::start();
    for name in ["file", "hybrid", "sqlite"] {
        let fixture = repository().join(format!("tests/fixtures/8547b1b/{name}.tar.gz"));
        let (workspace, expected) = unpack(&fixture, &server);
        let text = workspace.read("config/storage-config.yaml");
        as_config_map(&workspace, &text, "..2026_01");
        let mut times = 0;
        // One link leads to the other: each is named in turn.
        loop {
            let said = workspace.run(["check"]);
            let all = format!("{}{}{}", said.out, said.err, workspace.run(["doctor"]).out);
            let Some(arguments) = named(&all).into_iter().next() else { break };
            times += 1;
            assert!(times <= 2, "{name}: {all}");
            let trusted = workspace.run(["trust"].into_iter().chain(arguments.iter().map(String::as_str)));
            assert_eq!(trusted.code, 0, "{arguments:?}: {trusted:?}");
        }
        assert!((1..=2).contains(&times), "{name}: {times}");
        assert_eq!(dump(&workspace, &server, &expected), expected["dump"].as_str().unwrap(), "{name}");
        // An update of the map is followed without another word.
        as_config_map(&workspace, &format!("{text}\n# changed\n"), "..2026_02");
        let said = workspace.run(["check"]);
        assert!(said.code == 0 && named(&said.err).is_empty(), "{name}: {said:?}");
    }
}

#[test]
fn a_server_elsewhere_that_was_in_use_goes_on_after_the_sentence_that_lets_it() {
    let server = Postgres::start();
    let (workspace, _) = unpack(&repository().join("tests/fixtures/8547b1b/postgresql.tar.gz"), &server);
    let config = workspace
        .read("config/storage-config.yaml")
        .replace(&server.url(), "postgresql://ada@203.0.113.9/plans?connect_timeout=2");
    fs::write(workspace.path("config/storage-config.yaml"), config).unwrap();
    let before = workspace.read("config/storage-backend.txt");
    for arguments in [&["check"][..], &["milestone", "list"], &["milestone", "show", "m-1"], &["status"], &["doctor"]] {
        let said = workspace.run(arguments);
        let all = format!("{}{}", said.out, said.err);
        let sentence =
            format!("milescale trust {} --server postgresql://ada@203.0.113.9:5432/plans", workspace.root().display());
        assert!(all.contains(&sentence), "{arguments:?}: {said:?}");
    }
    assert_eq!(workspace.read("config/storage-backend.txt"), before);
    assert!(workspace.read(".milescale/migration.json").contains("postgresql"), "what is in use stays so");
}
