use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use milescale_testkit::Workspace;

use super::recommendation::recommended;
use super::{BINARY, workspace};

/// Every file below a folder, with content and time of change.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let modified = path.symlink_metadata().unwrap().modified().unwrap();
            if path.is_dir() {
                folders.push(path.clone());
                found.insert(path, (Vec::new(), modified));
            } else {
                found.insert(path.clone(), (fs::read(&path).unwrap(), modified));
            }
        }
    }
    found
}

#[test]
fn init_makes_a_workspace_and_repeated_changes_nothing() {
    let workspace = Workspace::empty(BINARY);
    let first = workspace.run(["init"]);
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.out.starts_with("🔍 Initializing scale detection system...\n"));
    assert!(first.out.ends_with("✅ Scale detection system initialized\n"));
    for folder in ["active", "completed", "config", "logs"] {
        assert!(workspace.path(folder).is_dir(), "{folder}");
    }
    assert_eq!(workspace.read("config/storage-backend.txt"), "file\n");
    assert!(workspace.read("config/storage-config.yaml").contains("auto_migrate: false"));
    assert!(workspace.read(".milescale/.gitignore").contains("\n*\n"));
    let metrics = workspace.read("logs/performance-metrics.jsonl");
    let keys = r#""backend":"file","performance":{"avg_read_time_ms":0,"avg_write_time_ms":0,"avg_query_time_ms":0},"system":{"cpu_usage_percent":"#;
    assert!(metrics.lines().count() == 1 && metrics.contains(keys), "{metrics}");
    let events = workspace.read("logs/scale-events.jsonl");
    let line = r#","event":"scale_detection_initialized","current_backend":"file","optimal_backend":"","details":{}}"#;
    assert!(events.lines().count() == 1 && events.trim_end().ends_with(line), "{events}");

    let before = snapshot(workspace.root());
    assert_eq!(workspace.run(["init"]).code, 0);
    assert_eq!(snapshot(workspace.root()), before);
}

/// The store that is lost may be the one in use: an empty folder in its place would be taken for it.
#[test]
fn init_makes_no_folder_while_nobody_knows_which_store_is_in_use() {
    let workspace = Workspace::empty(BINARY);
    assert_eq!(workspace.run(["init"]).code, 0);
    for marker in ["banana\n", "<<<<<<< HEAD\nfile\n=======\nhybrid\n>>>>>>> other\n"] {
        workspace.write("config/storage-backend.txt", marker);
        let away = workspace.root().join("away");
        fs::rename(workspace.path("active"), &away).unwrap();
        let said = workspace.run(["init"]);
        assert!(said.code == 1 && said.err.contains("is not a backend"), "{said:?}");
        assert!(!workspace.path("active").exists());
        fs::rename(away, workspace.path("active")).unwrap();
        assert_eq!(workspace.run(["init"]).code, 0, "nothing is missing");
    }
}

#[test]
fn init_keeps_what_is_there_and_reading_commands_write_nothing() {
    let workspace = Workspace::empty(BINARY);
    workspace.write("config/storage-config.yaml", "storage: {monitoring: {interval: 7}}\n");
    workspace.write("config/storage-backend.txt", "file");
    workspace.write("active/a.yaml", "id: a");
    assert_eq!(workspace.run(["init"]).code, 0);
    assert_eq!(workspace.read("config/storage-config.yaml"), "storage: {monitoring: {interval: 7}}\n");
    assert_eq!(workspace.read("config/storage-backend.txt"), "file");
    let before = snapshot(workspace.root());
    for arguments in [&["status"][..], &["status", "--json"], &["dashboard"], &["events"], &["config", "show"]] {
        assert_eq!(workspace.run(arguments).code, 0, "{arguments:?}");
    }
    assert_eq!(snapshot(workspace.root()), before);
    // It tries on files of its own whether a move could write here, and leaves nothing of them.
    assert_eq!(workspace.run(["doctor"]).code, 0);
    let contents = |snapshot: BTreeMap<PathBuf, (Vec<u8>, SystemTime)>| -> Vec<_> {
        snapshot.into_iter().map(|(path, (content, _))| (path, content)).collect()
    };
    assert_eq!(contents(snapshot(workspace.root())), contents(before));
}

#[test]
fn check_writes_the_lines_of_a_cycle_in_order_and_says_the_references_sentences() {
    let workspace = workspace();
    let said = workspace.run(["check"]);
    assert_eq!(said.out, "🔍 Performing scale detection analysis...\n✅ Current scale configuration is optimal\n");
    workspace.milestones("m", 36);
    let said = workspace.run(["check"]);
    assert!(said.out.ends_with("👀 Monitoring scale patterns. Migration may be needed soon.\n"), "{said:?}");
    let names: Vec<_> = workspace.events().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["scale_detection_initialized", "scale_status", "migration_monitoring", "scale_status"]);
    let line = workspace.read("logs/scale-events.jsonl").lines().last().unwrap().to_owned();
    let details = r#""current_backend":"file","optimal_backend":"hybrid","details":{"milestone_count":36,"concurrent_users":1,"complexity_score":39,"avg_query_time_ms":0,"migration_confidence":30}}"#;
    assert!(line.ends_with(details), "{line}");
    assert_eq!(workspace.read("logs/performance-metrics.jsonl").lines().count(), 3);
}

#[test]
fn status_tells_reasons_outlook_and_exit_code() {
    let workspace = workspace();
    assert_eq!(workspace.run(["status", "--exit-code"]).code, 0);
    workspace.milestones("m", 36);
    assert_eq!(workspace.run(["status", "--exit-code"]).code, 10);
    let status = workspace.status();
    for key in "current_backend optimal_backend status migration_confidence milestone_count concurrent_users team_size
        kiro_enabled_count dependency_count complexity_score avg_read_time_ms avg_write_time_ms avg_query_time_ms
        recent_avg_query_time_ms backend_age_hours performance_trend reasons stale"
        .split_whitespace()
    {
        assert!(!status[key].is_null(), "{key}");
    }
    let sum: i64 = status["reasons"].as_array().unwrap().iter().map(|reason| reason["points"].as_i64().unwrap()).sum();
    assert_eq!(status["migration_confidence"], sum);
    assert_eq!(status["daemon"]["running"], false);
    let text = workspace.run(["status"]).out;
    assert!(text.contains("waiting alone stops at 60; recommended if "), "{text}");
    assert!(text.contains("does not run"), "{text}");
    assert_eq!(recommended().run(["status", "--exit-code"]).code, 11);
    workspace.write("config/storage-backend.txt", "postgres\n");
    assert_eq!(workspace.run(["status", "--exit-code"]).code, 12);
    assert!(workspace.run(["status"]).out.contains("\"postgres\" is not a backend; expected file, hybrid or database"));
}

#[test]
fn a_store_that_was_never_read_gets_a_clear_message_and_never_a_zero() {
    let workspace = Workspace::empty(BINARY);
    workspace.write("config/storage-backend.txt", "database");
    workspace.write("active/a.yaml", "id: a");
    assert_eq!(workspace.run(["init"]).code, 0);
    workspace.run(["check"]);
    let status = workspace.status();
    assert_eq!((&status["current_backend"], &status["status"]), (&"database".into(), &"unavailable".into()));
    assert!(status["milestone_count"].is_null() && status["complexity_score"].is_null());
    let message = "the database is missing; put it back";
    assert!(workspace.run(["status"]).out.contains(message));
    assert!(workspace.events_named("source_unavailable")[0]["details"]["reason"].as_str().unwrap().contains(message));
    let metrics = workspace.read("logs/performance-metrics.jsonl");
    assert!(metrics.lines().last().unwrap().contains("\"milestone_count\":null"), "{metrics}");
    let last = workspace.events().pop().unwrap();
    assert!(last["event"] == "scale_status" && last["details"]["migration_confidence"].is_null(), "{last}");
    workspace.write("config/storage-backend.txt", "file");
    assert_eq!(workspace.status()["milestone_count"], 1, "nothing was ever followed: the marker is believed");
}

#[test]
fn the_dashboard_has_every_line_of_the_reference() {
    let workspace = recommended();
    let before = workspace.run(["dashboard"]).out;
    let expected = "=== MILESTONE SCALE DETECTION DASHBOARD ===\n\nCurrent Storage Backend: file\nOptimal Backend: hybrid\n\
        🔄 Migration Status: RECOMMENDED (file → hybrid)\nMigration Confidence: 90%\n\nSCALE METRICS:\n\
        ├── Active Milestones: 36\n├── Concurrent Users: 0 (last hour)\n├── Complexity Score: 36\n└── Kiro Workflows: 0\n\n\
        PERFORMANCE METRICS:\n├── Avg Read Time: 0ms\n├── Avg Write Time: 0ms\n└── Avg Query Time: 600ms\n\n\
        SCALE THRESHOLDS:\n├── File → Hybrid: 25 milestones\n└── Hybrid → Database: 100 milestones\n\nRECENT SCALE EVENTS:\n";
    assert!(before.starts_with(expected), "{before}");
    assert!(before.ends_with("scale_detection_initialized: file → \n=================================\n"), "{before}");
    assert!(!before.contains('\x1b'), "no colours in a pipe");
    fs::remove_file(workspace.path("logs/scale-events.jsonl")).unwrap();
    fs::remove_file(workspace.path("active/m-1.yaml")).unwrap();
    workspace.age_marker(1);
    let text = workspace.run(["dashboard"]).out;
    assert!(text.contains("👀 Migration Status: MONITORING (file → hybrid)\nMigration Confidence: 45%\n"), "{text}");
    assert!(text.contains("RECENT SCALE EVENTS:\nNo scale events recorded\n"), "{text}");
}

/// Runs a command in a terminal of 40 columns, by `script` of util-linux.
fn in_terminal(workspace: &Workspace, environment: &str) -> String {
    let line = format!("stty cols 40; env -u NO_COLOR {environment} TERM=xterm {BINARY} dashboard");
    let output = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(workspace.root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}

#[test]
fn a_terminal_gets_colours_and_lines_that_fit_and_no_color_is_respected() {
    let workspace = workspace();
    workspace.run(["check"]);
    let coloured = in_terminal(&workspace, "");
    assert!(coloured.contains("\x1b[32m✅ Migration Status: OPTIMAL\x1b[0m"), "{coloured}");
    let plain = in_terminal(&workspace, "NO_COLOR=1");
    assert!(!plain.contains('\x1b'), "{plain}");
    assert!(plain.lines().all(|line| line.chars().count() <= 41), "{plain}");
    assert!(plain.contains("Z scale_detection_in…"), "{plain}");
}

#[test]
fn events_can_be_filtered_by_time_and_name_and_read_by_programs() {
    let workspace = workspace();
    workspace.append(
        "logs/scale-events.jsonl",
        "{\"timestamp\":\"2020-01-01T00:00:00Z\",\"event\":\"scale_status\",\"current_backend\":\"file\",\"optimal_backend\":\"file\",\"details\":{}}\nhalf a li",
    );
    workspace.run(["check"]);
    let lines = |arguments: &[&str]| workspace.run([&["events"], arguments].concat()).out.lines().count();
    assert_eq!(lines(&[]), 3);
    assert_eq!(lines(&["--since", "2h"]), 2);
    assert_eq!(lines(&["--event", "scale_status"]), 2);
    assert_eq!(lines(&["--event", "scale_status", "--since", "10m"]), 1);
    let json = workspace.run(["events", "--json", "--event", "scale_status", "--since", "1d"]).json();
    assert_eq!(json["details"]["milestone_count"], 0);
    let wrong = workspace.run(["events", "--event", "nonsense"]);
    assert!(wrong.code == 2 && wrong.err.contains("scale_status, migration_monitoring"), "{wrong:?}");
    assert_eq!(workspace.run(["events", "--since", "soon"]).code, 2);
}

/// As `logrotate` with `copytruncate` does it.
#[test]
fn events_can_be_followed_through_an_emptied_log() {
    let workspace = crate::workspace();
    let line = |number: usize| {
        format!(
            "{{\"timestamp\":\"2026-11-30T00:00:00.000Z\",\"event\":\"number_{number}\",\"current_backend\":\"file\",\"optimal_backend\":\"\",\"details\":{{}}}}\n"
        )
    };
    let log = workspace.path("logs/scale-events.jsonl");
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::write(&log, (0..50).map(line).collect::<String>()).unwrap();
    let out = workspace.root().join("followed");
    let mut follow = workspace.command(["events", "--follow", "--json"]);
    let mut child = follow.stdout(fs::File::create(&out).unwrap()).spawn().unwrap();
    let has = |number: usize| {
        let text = fs::read_to_string(&out).unwrap_or_default();
        text.contains(&format!("number_{number}\"")).then_some(())
    };
    milescale_testkit::until("what is there", || has(49));
    fs::OpenOptions::new().write(true).truncate(true).open(&log).unwrap();
    let mut append = fs::OpenOptions::new().append(true).open(&log).unwrap();
    std::io::Write::write_all(&mut append, line(50).as_bytes()).unwrap();
    milescale_testkit::until("what came after it was emptied", || has(50));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn events_can_be_followed_through_a_rotation() {
    let workspace = workspace();
    let mut child = workspace.command(["events", "--follow", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("scale_detection_initialized"));
    workspace.run(["check"]);
    assert!(lines.next().unwrap().contains("scale_status"));
    fs::rename(workspace.path("logs/scale-events.jsonl"), workspace.path("logs/scale-events.jsonl.1")).unwrap();
    workspace.milestones("m", 30);
    workspace.run(["check"]);
    assert!(lines.next().unwrap().contains("migration_monitoring"));
    assert!(lines.next().unwrap().contains("scale_status"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn milescales_logs_are_rotated_by_size() {
    let workspace = workspace();
    workspace.write("config/storage-config.yaml", "storage: {monitoring: {rotate_at_mib: 1, rotated_files: 2}}\n");
    let line = workspace.read("logs/scale-events.jsonl");
    workspace.write("logs/scale-events.jsonl", line.repeat((1 << 20) / line.len()));
    for _ in 0..3 {
        workspace.run(["check"]);
    }
    assert!(workspace.path("logs/scale-events.jsonl.1").metadata().unwrap().len() > 1_000_000);
    assert!(workspace.path("logs/scale-events.jsonl").metadata().unwrap().len() < 2000);
    assert_eq!(workspace.events_named("scale_status").len(), 3);
}

#[test]
fn doctor_names_each_thing_what_it_means_and_what_to_do() {
    let workspace = workspace();
    let fine = workspace.run(["doctor"]);
    assert!(fine.code == 0 && fine.out.contains("0 wrong"), "{fine:?}");
    workspace.write("active/bad.yaml", "a: [");
    workspace.write("active/renamed.yaml", "id: other");
    workspace.write("active/one/twice.yaml", "id: twice");
    workspace.write("active/two/twice.yaml", "id: twice");
    workspace.write("active/old.yml", "id: old");
    std::os::unix::fs::symlink("bad.yaml", workspace.path("active/link.yaml")).unwrap();
    workspace.write("config/storage-config.yaml", "storage: {backend: hybrid, thresholds: {milestone_counts: {}}}");
    workspace.append("logs/storage-events.jsonl", "{\"timestamp\":\"2999-01-01T00:00:00Z\"}\nnonsense\n");
    workspace.write(".milescale/state.unreadable-1.json", "x");
    let said = workspace.run(["doctor"]);
    assert_eq!(said.code, 1);
    for text in [
        "active/bad.yaml: line 1, column 4",
        "It counts as a milestone and adds nothing to the other figures.",
        "active/renamed.yaml: its id: says other",
        "the id twice stands twice: .milestones/active/one/twice.yaml, .milestones/active/two/twice.yaml",
        "active/old.yml: it does not count: its name does not end in .yaml",
        "active/link.yaml: it does not count: it is a symlink",
        "unknown key, without effect; the nearest known one is storage.thresholds.milestone_count",
        "storage.backend pins hybrid, and file is in use",
        "stamps that lie ahead, up to 2999-01-01T00:00:00Z",
        "1 lines of logs/storage-events.jsonl are no JSON objects",
        "state.unreadable-1.json",
        "no daemon looks after this workspace",
        "A checkout or `touch` of this file starts the age anew.",
    ] {
        assert!(said.out.contains(text), "{text}\n{}", said.out);
    }
    let json = workspace.run(["doctor", "--json"]).json();
    assert_eq!(json["wrong"], 3, "{json}");
}

#[test]
fn usage_is_checked_and_help_has_examples() {
    let workspace = workspace();
    for arguments in [&["nonsense"][..], &["run", "--interval", "0"], &["run", "--interval", "x"], &[]] {
        assert_eq!(workspace.run(arguments).code, 2, "{arguments:?}");
    }
    for verb in ["run", "init", "check", "status", "dashboard", "events", "doctor", "completions", "man"] {
        let help = workspace.run([verb, "--help"]).out;
        assert!(help.contains("Example"), "{verb}: {help}");
    }
    let outside = Workspace::empty(BINARY);
    for verb in ["run", "check", "status", "dashboard", "events", "doctor"] {
        let said = outside.run([verb]);
        assert!(said.code == 2 && said.err.contains("make one with `milescale init`"), "{verb}: {said:?}");
    }
    assert!(!outside.path("").exists());
}

#[test]
fn the_workspace_is_found_from_any_folder_in_it() {
    let workspace = workspace();
    workspace.write("active/deep/er/a.yaml", "id: a");
    let mut command = workspace.command(["status", "--json"]);
    let output = command.current_dir(workspace.path("active/deep/er")).output().unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["milestone_count"], 1);
}

#[test]
fn completions_and_manual_pages_are_made() {
    let workspace = workspace();
    for shell in ["bash", "zsh", "fish"] {
        assert!(workspace.run(["completions", shell]).out.contains("dashboard"), "{shell}");
    }
    assert!(workspace.run(["man"]).out.contains(".TH milescale 1"));
    assert_eq!(workspace.run(["man", "--dir", "."]).code, 0);
    assert!(fs::read_to_string(workspace.root().join("milescale-config-check.1")).unwrap().contains("Examples"));
}

#[test]
fn an_unreadable_memory_is_kept_named_and_not_in_the_way() {
    let workspace = workspace();
    workspace.write(".milescale/state.json", "{ not json");
    assert_eq!(workspace.run(["check"]).code, 0);
    assert_eq!(workspace.read(".milescale/state.unreadable-1.json"), "{ not json");
    let event = workspace.until_event("state_unreadable", 1);
    assert_eq!(event["details"]["kept_as"], ".milestones/.milescale/state.unreadable-1.json");
    assert_eq!(workspace.run(["check"]).code, 0);
    assert_eq!(workspace.events_named("state_unreadable").len(), 1);
    assert_eq!(workspace.run(["doctor"]).code, 1);
}

#[test]
fn a_closed_pipe_ends_a_command_without_a_word() {
    let workspace = workspace();
    let mut child = workspace.command(["status"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said = child.wait_with_output().unwrap();
    assert_eq!((said.status.code(), said.stderr.as_slice()), (Some(141), &b""[..]), "as a program that SIGPIPE ends");
}
