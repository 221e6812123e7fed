//! Logs after a power cut, and what must be on the disk before it is remembered.

use std::fs;
use std::path::Path;

use milescale_testkit::Workspace;

use super::super::super::BINARY;
use super::super::super::faults::with_fault;
use super::super::super::recommendation::recommended;

#[test]
fn p03_nuls_that_a_power_cut_left_are_nobodys_fault_and_end() {
    let workspace = Workspace::new(BINARY);
    let nuls = "\0".repeat(100_000);
    let event = |user: &str| {
        let now = workspace.events()[0]["timestamp"].as_str().unwrap().to_owned();
        format!(
            "{{\"timestamp\":\"{now}\",\"user\":\"{user}\",\"details\":{{\"operation\":\"read\",\"duration_ms\":7}}}}\n"
        )
    };
    let (first, second) = (event("one"), event("two"));
    // An adapter went on writing before milescale was there.
    workspace.write("logs/storage-events.jsonl", format!("{first}{{\"half{nuls}{second}"));
    workspace.append("logs/scale-events.jsonl", &nuls);
    workspace.append("logs/performance-metrics.jsonl", format!("{{\"timest{nuls}"));
    let doctor = workspace.run(["doctor"]);
    assert!(!doctor.out.contains("adapter that writes"), "{doctor:?}");
    assert_eq!(workspace.status()["concurrent_users"], 2, "a whole line behind NULs counts");
    assert_eq!(workspace.run(["check"]).code, 0);
    fs::write(workspace.root().join("m.yaml"), "id: m\n").unwrap();
    assert_eq!(workspace.run(["milestone", "put", "m", "m.yaml"]).code, 0);
    for (log, bad) in [("storage-events", 1), ("scale-events", 0), ("performance-metrics", 1)] {
        let text = workspace.read(format!("logs/{log}.jsonl"));
        assert!(!text.contains('\0'), "{log}");
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let torn = lines.filter(|line| serde_json::from_str::<serde_json::Value>(line).is_err()).count();
        assert_eq!(torn, bad, "{log}: each whole line stands on its own: {text:?}");
    }
    let text = workspace.read("logs/storage-events.jsonl");
    assert!(text.contains(&first) && text.contains(&second), "no line is lost");
}

/// The operations of a command, as the shim names them.
fn operations(workspace: &Workspace, arguments: &[&str]) -> Vec<String> {
    let mut counting = with_fault(workspace.root(), "any:0:count");
    let log = workspace.root().join("operations");
    let _ = fs::remove_file(&log);
    counting.environment.push(("FAULT_LOG".to_owned(), log.to_str().unwrap().to_owned()));
    assert_eq!(counting.run(arguments).code, 0, "{arguments:?}");
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

fn position(operations: &[String], kind: &str, path: &str) -> usize {
    let found = operations.iter().rposition(|line| line.contains(&format!(" {kind} ")) && line.ends_with(path));
    found.unwrap_or_else(|| panic!("{kind} {path}: {operations:#?}"))
}

#[test]
fn p09_what_was_announced_is_on_the_disk_before_it_is_remembered() {
    let workspace = recommended();
    let operations = operations(&workspace, &["check"]);
    let log = "logs/scale-events.jsonl";
    let announced = position(&operations, "write", log);
    let remembered = position(&operations, "rename", ".milescale/state.json");
    let synced = position(&operations, "fsync", log);
    assert!(announced < synced && synced < remembered, "{operations:#?}");
}

#[test]
fn p09_what_could_not_be_announced_is_announced_after_a_restart() {
    let workspace = recommended();
    fs::rename(workspace.path("logs/scale-events.jsonl"), workspace.root().join("aside")).unwrap();
    fs::create_dir(workspace.path("logs/scale-events.jsonl")).unwrap();
    assert_eq!(workspace.run(["check"]).code, 1, "said");
    fs::remove_dir(workspace.path("logs/scale-events.jsonl")).unwrap();
    fs::rename(workspace.root().join("aside"), workspace.path("logs/scale-events.jsonl")).unwrap();
    assert_eq!(workspace.run(["check"]).code, 0);
    assert_eq!(workspace.events_named("migration_recommended").len(), 1);
}

#[test]
fn p05_what_is_acknowledged_is_on_the_disk() {
    let workspace = Workspace::new(BINARY);
    assert_eq!(workspace.run(["pause"]).code, 0);
    let resumed = operations(&workspace, &["resume"]);
    let removed = position(&resumed, "unlink", ".milescale/paused.json");
    assert!(position(&resumed, "fsync", ".milestones/.milescale") > removed, "{resumed:#?}");

    let name = "20200101T000000Z-0123456789abcdef-file-0.a.yaml";
    workspace.write(Path::new(".milescale/conflicts").join(name), "id: a\n");
    workspace.write(Path::new(".milescale/conflicts").join(format!("{name}.json")), "{}");
    let resolved = operations(&workspace, &["conflicts", "resolve", name, "--keep-current"]);
    let removed = position(&resolved, "unlink", &format!("{name}.json"));
    assert!(position(&resolved, "fsync", ".milescale/conflicts") > removed, "{resolved:#?}");
}
