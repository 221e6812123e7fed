//! The arrows of docs/ARCHITECTURE.md, held against manifests and sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::repository;

/// Which crate may depend on which of ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("document", &[]),
    ("core", &["document"]),
    ("workspace", &["document", "core"]),
    ("sqlite-guard", &[]),
    ("storage", &["document", "core", "workspace", "sqlite-guard"]),
    ("sensing", &["document", "core", "workspace"]),
    ("migration", &["document", "core", "workspace", "storage"]),
    ("daemon", &["document", "core", "workspace", "storage", "sensing", "migration"]),
    ("cli", &["document", "core", "workspace", "storage", "migration", "daemon"]),
    ("testkit", &[]),
    ("fuzzed", &["document", "core", "workspace", "storage", "sensing", "migration"]),
    ("bench", &["document", "core", "workspace", "storage", "sensing", "daemon", "testkit"]),
];

/// What is named in these files and nowhere else. A path that ends in / is a folder.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("granit_parser", &["document/src/yaml.rs", "document/src/yaml/edit.rs"]),
    ("sqlx::", &["storage/src/sqlite/", "storage/src/hybrid/index.rs", "storage/src/hybrid/listing.rs"]),
    ("tokio_postgres::", &["storage/src/postgres/"]),
    ("rustls::", &["storage/src/postgres/"]),
    ("unsafe", &["sqlite-guard/src/"]),
    ("libsqlite3_sys", &["sqlite-guard/src/"]),
    ("notify::", &["sensing/src/watch.rs", "daemon/src/supervisor.rs"]),
    ("sysinfo::", &["sensing/src/machine.rs"]),
    ("signal_hook", &["daemon/src/signals.rs"]),
    ("sd_notify", &["daemon/src/supervisor.rs"]),
    (
        "tokio::",
        &[
            "daemon/src/run.rs",
            "daemon/src/run/",
            "daemon/src/signals.rs",
            "storage/src/runtime.rs",
            "storage/src/sqlite/bound.rs",
            "storage/src/postgres/",
        ],
    ),
    ("SystemTime::now", &["daemon/src/", "cli/src/"]),
    ("Timestamp::now", &[]),
    ("std::env", &["cli/src/", "daemon/src/"]),
    // One way to the file system: through open folders, or of what the system and the person have named.
    ("std::fs", &["workspace/src/folder/"]),
    ("openat", &["workspace/src/folder/", "workspace/src/read.rs", "sqlite-guard/src/calls.rs"]),
    ("statat", &["workspace/src/folder/", "sqlite-guard/src/calls.rs", "sqlite-guard/src/beside.rs"]),
    ("xattr", &["workspace/src/rights.rs", "sqlite-guard/src/beside.rs"]),
    ("fs::renameat", &["workspace/src/folder/"]),
    ("unlinkat", &["workspace/src/folder/", "sqlite-guard/src/calls.rs"]),
    ("fs::linkat", &["workspace/src/folder/"]),
    ("mkdirat", &["workspace/src/folder/"]),
    ("CWD", &["workspace/src/folder/"]),
    // What makes, renames or removes a file does it so that it is there whole or not at all.
    (
        ".rename(",
        &["workspace/src/folder/", "workspace/src/durable.rs", "workspace/src/durable/", "workspace/src/jsonl.rs"],
    ),
    (".remove_file(", &["workspace/src/folder/", "workspace/src/durable.rs", "workspace/src/durable/"]),
    (".make_folder(", &["workspace/src/folder/", "workspace/src/durable.rs"]),
    // No other program runs.
    ("process::Command", &[]),
    // One mouth.
    ("stdout()", &["cli/src/terminal.rs"]),
    ("stderr()", &["cli/src/terminal.rs", "cli/src/logging.rs"]),
];

/// Longer rooms want a reason; it stands here.
const LONG_ROOMS: &[(&str, usize)] = &[];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// A source without its comments and tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

fn rooms() -> Vec<(String, String)> {
    let crates = repository().join("crates");
    let mut rooms = Vec::new();
    for (name, _) in ARROWS {
        for path in sources(&crates.join(name).join("src")) {
            if !path.iter().any(|part| part == "tests" || part == "tests.rs")
                && !["testkit", "bench", "fuzzed"].contains(name)
            {
                rooms.push((path.strip_prefix(&crates).unwrap().to_str().unwrap().to_owned(), code(&path)));
            }
        }
    }
    assert!(rooms.len() > 30, "the sources are where they are looked for");
    rooms
}

#[test]
fn crates_depend_only_leftwards() {
    let crates: BTreeSet<_> = fs::read_dir(repository().join("crates"))
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(crates, ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect(), "every crate has its arrows");
    for (name, allowed) in ARROWS {
        let manifest = fs::read_to_string(repository().join("crates").join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("[dev-dependencies]").next().unwrap();
        for line in dependencies.lines() {
            if let Some(ours) = line.split('.').next().and_then(|it| it.strip_prefix("milescale-")) {
                assert!(allowed.contains(&ours), "{name} depends on {ours}");
            }
        }
    }
    for name in ["document", "core"] {
        let manifest = fs::read_to_string(repository().join("crates").join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        for stranger in ["tokio", "tracing", "notify", "rustix", "tempfile"] {
            assert!(!dependencies.contains(stranger), "{name} knows no {stranger}");
        }
    }
}

#[test]
fn each_tool_has_its_room() {
    for (word, places) in ONLY_IN {
        for (room, code) in rooms() {
            let allowed =
                places.iter().any(|place| room == *place || (place.ends_with('/') && room.starts_with(place)));
            assert!(allowed || !code.contains(word), "{word} stands in crates/{room}");
        }
    }
}

#[test]
fn documents_and_rules_are_pure() {
    let is_pure = |room: &str| room.starts_with("document/") || room.starts_with("core/");
    for (room, code) in rooms().into_iter().filter(|(room, _)| is_pure(room)) {
        for word in ["std::fs", "std::net", "std::process", "std::thread", "Instant", "println!", "unsafe"] {
            assert!(!code.contains(word), "{word} stands in crates/{room}");
        }
    }
}

#[test]
fn rooms_are_small() {
    for (room, code) in rooms() {
        let lines = code.lines().count();
        let limit = LONG_ROOMS.iter().find(|(long, _)| *long == room).map_or(350, |(_, lines)| *lines);
        assert!(lines <= limit, "crates/{room} has {lines} lines of code; look for the wall that is missing");
    }
}

#[test]
fn every_event_is_described_with_its_details() {
    let formats = fs::read_to_string(repository().join("docs/FORMATS.md")).unwrap();
    let line = fs::read_to_string(repository().join("crates/core/src/line.rs")).unwrap();
    let names = line.split("events! {").nth(1).unwrap();
    let names: Vec<_> = names.lines().filter_map(|line| line.split_once(" = \"")?.1.strip_suffix("\",")).collect();
    assert!(names.len() > 10);
    for name in names {
        assert!(formats.contains(&format!("| `{name}` |")), "{name} is not in docs/FORMATS.md");
    }
}
