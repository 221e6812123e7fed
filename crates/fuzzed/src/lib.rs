//! What is fuzzed: each reader of texts that others may have written, by one function that takes bytes.
//!
//! `fuzz/` runs them with coverage (`cargo fuzz run TARGET`), and a test of `tests/run` replays the corpus. A target fails by a panic,
//! or by what it asserts.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use milescale_core::config::{ClientEnvironment, Database};
use milescale_document::value::Value;
use milescale_document::yaml;
use milescale_migration::Memory;
use milescale_sensing::log::EventLog;
use milescale_sensing::metrics::last_query_times;
use milescale_storage::configured;
use milescale_storage::files::FileStore;
use milescale_storage::postgres::{flaw_of_address, shown_address};
use milescale_storage::sqlite::SqliteStore;
use milescale_storage::store::{Extent, Store as _};
use milescale_workspace::backup::{self, Backup};
use milescale_workspace::identity::Identity;
use milescale_workspace::keeping::Counted;
use milescale_workspace::record::Record;
use milescale_workspace::restoring::Restoring;
use milescale_workspace::tokens::Tokens;
use milescale_workspace::{Workspace, conflicts, git, marker, move_journal, switches, trust};

/// Takes a text; panics where one must not be possible.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("yaml", yaml_text),
    ("json", json_text),
    ("configuration", configuration),
    ("events", events),
    ("state", state),
    ("backup", backup_lines),
    ("address", address),
    ("sqlite", sqlite_file),
    ("git", git_index),
];

/// A workspace in a folder of its own, with a file in it.
fn with(path: &str, content: &[u8]) -> Option<(tempfile::TempDir, Workspace)> {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).ok()?;
    let path = folder.path().join(".milestones").join(path);
    for needed in
        [path.parent()?, &folder.path().join(".milestones/.milescale"), &folder.path().join(".milestones/active")]
    {
        fs::create_dir_all(needed).ok()?;
    }
    fs::write(path, content).ok()?;
    let workspace = Workspace::at(folder.path());
    Some((folder, workspace))
}

/// YAML: what is read is written, and read again as the same.
pub fn yaml_text(bytes: &[u8]) {
    let _ = yaml::gather(bytes);
    let _ = yaml::milestone(bytes);
    let Ok(document) = yaml::parse(bytes) else { return };
    let Ok(value) = Value::of(&document) else { return };
    let written = yaml::write::write(&value);
    if written.len() as u64 <= yaml::SIZE_LIMIT
        && let Ok(again) = yaml::parse(written.as_bytes())
        && let Ok(again) = Value::of(&again)
    {
        assert_eq!(value.digest(), again.digest(), "{written}");
    }
}

/// JSON: the same.
pub fn json_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(value) = Value::from_json(text) else { return };
    let again = Value::from_json(&value.to_json());
    assert!(again.is_ok_and(|again| again.digest() == value.digest()), "{text}");
}

/// A configuration, with the address in it.
pub fn configuration(bytes: &[u8]) {
    let (problems, _) = configured::examine(bytes, &ClientEnvironment::default());
    assert_eq!(configured::read(bytes, &ClientEnvironment::default()).is_err(), !problems.is_empty());
}

/// The log of storage events, and the metrics.
pub fn events(bytes: &[u8]) {
    let Some((_folder, workspace)) = with("logs/storage-events.jsonl", bytes) else { return };
    let mut log = EventLog::new(workspace.storage_events(), None);
    let now = Timestamp::UNIX_EPOCH;
    let _ = log.look(now);
    let _ = (log.figures(now), log.take_new_bad_lines(), log.latest_stamp());
    let _ = last_query_times(&workspace.storage_events());
}

/// Files of state: the first byte says which.
pub fn state(bytes: &[u8]) {
    const FILES: [&str; 14] = [
        ".milescale/migration.json",
        ".milescale/identity",
        ".milescale/tokens",
        ".milescale/held.json",
        ".milescale/sweeps.json",
        ".milescale/move-journal.jsonl",
        ".milescale/restore.json",
        ".milescale/switches",
        ".milescale/days.json",
        ".milescale/facts",
        ".milescale/modes.json",
        "config/storage-backend.txt",
        ".milescale/conflicts/20260101T000000Z-0123456789abcdef-file-0.x.yaml.json",
        ".milescale/archived-before.json",
    ];
    let Some((which, rest)) = bytes.split_first() else { return };
    let Some((_folder, workspace)) = with(FILES[usize::from(*which) % FILES.len()], rest) else { return };
    if let Ok(record) = Record::load(&workspace) {
        let _ = (record.is_lost(), record.is_older());
    }
    let _ = (Identity::of(&workspace), Tokens::of(&workspace).read(), Memory::load(&workspace));
    let _ = (move_journal::read(&workspace), Restoring::load(&workspace), switches::noted(&workspace));
    let _ = (Counted::load(&workspace), marker::read(&workspace.marker()), conflicts::list(&workspace));
    let _ = FileStore::new(workspace.clone(), 0).survey(&Extent::Everything, std::time::SystemTime::UNIX_EPOCH);
    let _ = trust::parse(rest);
}

/// A backup: its metadata up to the first empty line, then its lines.
pub fn backup_lines(bytes: &[u8]) {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let name = "migration-20260101-000000-file-to-sqlite";
    let Some((_folder, workspace)) = with(&format!("backups/{name}/backup-metadata.yaml"), &bytes[..end]) else {
        return;
    };
    let lines = bytes.get(end + 2..).unwrap_or_default();
    let _ = fs::write(workspace.backups().join(name).join("milestones.jsonl").path(), lines);
    let _ = backup::list(&workspace);
    let Ok(mut metadata) = backup::metadata(&workspace, name) else { return };
    assert_eq!(metadata.id, name);
    // So that what is in the lines is read, whatever they are.
    metadata.size_bytes = lines.len() as u64;
    metadata.sha256 = milescale_document::digest::Digest::of(lines);
    if let Ok(backup) = Backup::open(&workspace, &metadata) {
        let ids: Vec<String> = backup.ids().map(str::to_owned).collect();
        for id in &ids {
            let _ = (backup.get(id), backup.is_archived(id), backup.others(id).len());
        }
    }
}

/// The address of a server. A password in it is shown by nothing.
pub fn address(bytes: &[u8]) {
    const SECRET: &str = "Zq7xKw9vJ";
    let Ok(url) = std::str::from_utf8(bytes) else { return };
    let url = url.replace("SECRET", SECRET);
    let flaw = flaw_of_address(&url, &ClientEnvironment::default());
    let shown = shown_address(&Database { url: url.clone(), ..Database::default() });
    let is_password = ["u:SECRET@", "&password=SECRET&", " password=SECRET "];
    let is_password = is_password.iter().any(|it| url.contains(&it.replace("SECRET", SECRET)));
    if is_password && url.matches(SECRET).count() == 1 {
        assert!(!shown.contains(SECRET) && !flaw.is_some_and(|flaw| flaw.contains(SECRET)), "{url:?}: {shown:?}");
    }
}

/// A file in the place of a database of SQLite.
pub fn sqlite_file(bytes: &[u8]) {
    let Some((_folder, workspace)) = with("enterprise.db", bytes) else { return };
    let Ok(store) = SqliteStore::new(&workspace) else { return };
    let mut store = store.with_timeout(std::time::Duration::from_secs(2));
    let _ = store.survey(&Extent::Everything, std::time::SystemTime::UNIX_EPOCH);
    let _ = store.scan(&mut |_| std::ops::ControlFlow::Continue(()));
}

/// git's index.
pub fn git_index(bytes: &[u8]) {
    let Some((_folder, workspace)) = with("x", b"") else { return };
    let git = workspace.root().join(".git");
    let _ = fs::create_dir_all(&git).and_then(|()| fs::write(git.join("index"), bytes));
    let _ = git::keeps(&workspace, Path::new(".milestones/active"));
}
