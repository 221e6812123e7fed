//! The daemon at its main job.

use std::fs;
use std::process::Command;
use std::time::Duration;

use milescale_testkit::{Workspace, until};

use super::workspace;

/// An interval that no test waits for: what is seen is seen by watching.
const NEVER: [&str; 2] = ["--interval", "86400"];

const KIRO: &str = "tasks: [{kiro_workflow: {enabled: true}}]\ndependencies: {requires: [x]}\n";

/// The contract's limit for a change to show in the figures, and room for a busy machine.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn follows_milestones_as_editors_write_them_within_a_second() {
    let workspace = workspace();
    let daemon = workspace.daemon(NEVER);
    let mut slowest = Duration::ZERO;
    let mut expect = |key: &str, value: u64| slowest = slowest.max(daemon.until(key, value));
    workspace.write("active/a.yaml", "id: a\n");
    expect("milestone_count", 1);
    workspace.write("active/a.yaml", KIRO);
    expect("kiro_enabled_count", 1);
    workspace.save("active/a.yaml", format!("{KIRO}title: saved\n").replace("[x]", "[x, y]"));
    expect("dependency_count", 2);
    workspace.append("active/a.yaml", "notes: appended\n");
    workspace.write("active/new/deep/b.yaml", KIRO);
    expect("milestone_count", 2);
    workspace.write("active/new/deep/c.yaml", KIRO);
    expect("milestone_count", 3);
    fs::rename(workspace.path("active/new"), workspace.path("active/moved")).unwrap();
    workspace.write("active/moved/deep/d.yaml", KIRO);
    expect("milestone_count", 4);
    fs::rename(workspace.path("active/moved/deep/d.yaml"), workspace.path("completed/d.yaml")).unwrap();
    expect("milestone_count", 3);
    fs::remove_dir_all(workspace.path("active/moved")).unwrap();
    expect("milestone_count", 1);
    fs::remove_file(workspace.path("active/a.yaml")).unwrap();
    expect("milestone_count", 0);
    workspace.write("active/empty-first.yaml", "");
    workspace.write("active/empty-first.yaml", KIRO);
    expect("kiro_enabled_count", 1);
    workspace.milestones("many", 200);
    expect("milestone_count", 201);
    println!("slowest change to show: {slowest:?}");
    assert!(slowest < SOON, "{slowest:?}");
    assert_eq!(workspace.events_named("scale_status").len(), 1, "entries are written by cycles only");
    assert!(!daemon.log().contains("WARN"), "{}", daemon.log());
}

#[test]
fn follows_the_event_log_and_the_configuration_within_a_second() {
    let workspace = workspace();
    let daemon = workspace.daemon(NEVER);
    let event = |user: &str| {
        format!(
            "{{\"timestamp\":\"2999-01-01T00:00:00Z\",\"user\":\"{user}\",\"details\":{{\"operation\":\"query\",\"duration_ms\":42}}}}\n"
        )
    };
    workspace.append("logs/storage-events.jsonl", event("ada"));
    let mut slowest = daemon.until("recent_avg_query_time_ms", 42);
    workspace.append("logs/storage-events.jsonl", event("lin"));
    slowest = slowest.max(daemon.until("concurrent_users", 2));
    workspace.milestones("m", 3);
    workspace.write("config/storage-config.yaml", "storage: {thresholds: {milestone_count: {file_to_hybrid: 3}}}\n");
    slowest = slowest.max(daemon.until("optimal_backend", "hybrid"));
    println!("slowest change to show: {slowest:?}");
    assert!(slowest < SOON, "{slowest:?}");
    let reloaded = workspace.until_event("config_reloaded", 1);
    assert_eq!(reloaded["details"]["changed"][0], "storage.thresholds.milestone_count.file_to_hybrid");
}

#[test]
fn crosses_the_threshold_toggles_auto_migrate_breaks_and_mends_the_configuration() {
    let workspace = workspace();
    workspace.age_marker(30);
    let event = "{\"timestamp\":\"2999-01-01T00:00:00Z\",\"user\":\"ada\",\"details\":{\"operation\":\"query\",\"duration_ms\":600}}\n";
    workspace.append("logs/storage-events.jsonl", event);
    let entry = "{\"performance\":{\"avg_query_time_ms\":600}}\n";
    workspace.append("logs/performance-metrics.jsonl", entry.repeat(12));
    let daemon = workspace.daemon(["--interval", "0.3"]);
    // Slow queries alone do not suffice.
    daemon.until("status", "monitoring");
    workspace.milestones("m", 35);
    daemon.until("migration_confidence", 75);
    workspace.save("active/one-more.yaml", "id: one-more\n");
    daemon.until("status", "migration_recommended");
    let event = workspace.until_event("migration_recommended", 1);
    assert_eq!((&event["details"]["from"], &event["details"]["to"]), (&"file".into(), &"hybrid".into()));
    until("the notification", || workspace.path("config/migration-notification.yaml").exists().then_some(()));

    let config = workspace.read("config/storage-config.yaml");
    assert_eq!(workspace.run(["pause"]).code, 0);
    workspace.save("config/storage-config.yaml", config.replace("auto_migrate: false", "auto_migrate: true"));
    workspace.until_event("config_reloaded", 1);
    until("the reason", || workspace.read("config/migration-notification.yaml").contains("are paused").then_some(()));
    workspace.write("config/storage-config.yaml", config.replace("auto_migrate: false", "auto_migrate: yes"));
    let rejected = workspace.until_event("config_rejected", 1);
    let line = config.lines().position(|line| line.contains("auto_migrate")).unwrap() + 1;
    assert_eq!((&rejected["details"]["line"], &rejected["details"]["column"]), (&line.into(), &19.into()));
    daemon.until("status", "migration_recommended");
    daemon.until("/config/origin", "last_good");
    assert_eq!(daemon.published()["config"]["auto_migrate"], true);
    workspace.save("config/storage-config.yaml", &config);
    workspace.until_event("config_reloaded", 2);
    daemon.until("/config/auto_migrate", false);

    fs::remove_file(workspace.path("active/one-more.yaml")).unwrap();
    daemon.until("status", "monitoring");
    until("the withdrawal", || workspace.path("config/migration-notification.previous.yaml").exists().then_some(()));
    assert!(!workspace.path("config/migration-notification.yaml").exists());
    workspace.until_event("migration_monitoring", 1);
    let (code, log) = daemon.stop();
    assert_eq!(code, 0, "{log}");
    assert_eq!(workspace.events_named("migration_recommended").len(), 1, "announced once");
    let cycles = workspace.events_named("scale_status").len();
    // The two lines before: the entry of `init`, and the twelve of this test.
    assert_eq!(workspace.read("logs/performance-metrics.jsonl").lines().count(), cycles + 13);
}

#[test]
fn lines_are_never_torn_for_who_tails_them() {
    let workspace = workspace();
    let daemon = workspace.daemon(["--interval", "0.02"]);
    let path = workspace.path("logs/scale-events.jsonl");
    let (mut seen, mut checked) = (0, 0);
    until("300 lines", || {
        let text = fs::read(&path).unwrap();
        // A line is one write. The kernel shows a write page by page to who reads in this very instant, so the last line
        // may end at the end of a page; its rest is there at once.
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let torn = String::from_utf8_lossy(&text[whole..]);
        assert!(torn.is_empty() || text.len().is_multiple_of(4096), "half a line up to byte {}: {torn}", text.len());
        for line in text[seen..whole].split_inclusive(|&byte| byte == b'\n') {
            serde_json::from_slice::<serde_json::Value>(line).unwrap();
            checked += 1;
        }
        seen = whole;
        (checked >= 300).then_some(())
    });
    assert_eq!(daemon.stop().0, 0);
}

#[test]
fn one_daemon_a_workspace_with_a_clear_error_for_the_second() {
    let workspace = workspace();
    let daemon = workspace.daemon(NEVER);
    let (code, log) = workspace.daemon_at_once(NEVER).ended();
    let message = format!("another milescale (process {}) looks after this workspace", daemon.pid());
    assert!(code == 1 && log.contains(&message), "{code} {log}");
    let check = workspace.run(["check"]);
    assert!(check.code == 1 && check.err.contains(&message), "{check:?}");
    let lock = workspace.path(".milescale/daemon.lock");
    let flock = || Command::new("flock").arg("-n").arg(&lock).arg("true").status().unwrap().success();
    assert!(!flock(), "the lock interoperates with flock");
    let status = workspace.status();
    assert_eq!((&status["daemon"]["running"], &status["daemon"]["pid"]), (&true.into(), &daemon.pid().into()));
    assert!(status["daemon"]["last_look"].is_string() && status["daemon"]["last_cycle"].is_string());
    daemon.signal("KILL");
    assert_eq!(daemon.ended().0, 137);
    assert!(flock(), "a lock never outlives its daemon");
    assert_eq!(workspace.status()["daemon"]["running"], false);
    workspace.daemon(NEVER);
}

#[test]
fn signals_stop_and_reload_in_order() {
    for signal in ["TERM", "INT"] {
        let workspace = workspace();
        let daemon = workspace.daemon(NEVER);
        daemon.signal("HUP");
        until("a cycle of its own", || (workspace.events_named("scale_status").len() == 2).then_some(()));
        daemon.signal(signal);
        let (code, log) = daemon.ended();
        assert!(code == 0 && log.contains("asked to read everything again") && log.contains("has stopped"), "{log}");
    }
}

#[test]
fn a_second_signal_ends_a_look_that_takes_long_at_once() {
    let workspace = workspace();
    // A hundred gigabytes without a single line: the look that has to read them takes longer than any test.
    fs::File::create(workspace.path("logs/storage-events.jsonl")).unwrap().set_len(100 << 30).unwrap();
    let daemon = workspace.daemon_at_once(NEVER);
    let reads = |entry: std::io::Result<fs::DirEntry>| {
        entry
            .and_then(|entry| fs::read_link(entry.path()))
            .is_ok_and(|path| path.ends_with("logs/storage-events.jsonl"))
    };
    until("the look is under way", || {
        fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().any(reads).then_some(())
    });
    daemon.signal("TERM");
    daemon.until_logged("asked to stop");
    daemon.signal("TERM");
    let start = std::time::Instant::now();
    let (code, log) = daemon.ended();
    // Where the look has heard the first one, it has ended by then.
    let stopped = ["asked again to stop; stopping at once", "milescale has stopped"];
    assert!(code == 0 && stopped.iter().any(|it| log.contains(it)), "{log}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_stop_right_after_the_start_is_not_lost() {
    let workspace = workspace();
    for _ in 0..5 {
        let daemon = workspace.daemon_at_once(NEVER);
        daemon.until_logged("milescale starts");
        assert_eq!(daemon.stop().0, 0);
    }
}

#[test]
fn a_changed_marker_is_reported_within_three_seconds_and_not_followed_where_milestones_are_missing() {
    let workspace = workspace();
    workspace.milestones("m", 3);
    let daemon = workspace.daemon(NEVER);
    let start = std::time::Instant::now();
    workspace.write("config/storage-backend.txt", "database\n");
    let event = workspace.until_event("backend_changed", 1);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let details = &event["details"];
    assert_eq!(
        (&details["adopted"], &details["from"], &details["to"]),
        (&false.into(), &"file".into(), &"database".into())
    );
    let published = daemon.published();
    assert_eq!((&published["current_backend"], &published["stale"]), (&"file".into(), &true.into()));
    assert_eq!(published["milestone_count"], 3, "the last known figure");
    // Remembered across a restart, and said only once.
    assert_eq!(daemon.stop().0, 0);
    let daemon = workspace.daemon(NEVER);
    daemon.until("current_backend", "file");
    assert_eq!(workspace.status()["current_backend"], "file");
    workspace.write("active/written-meanwhile.yaml", KIRO);
    workspace.write("config/storage-backend.txt", "file\n");
    daemon.until("stale", false);
    daemon.until("milestone_count", 4);
    let event = workspace.until_event("backend_changed", 2);
    assert_eq!(event["details"]["adopted"], true);
    workspace.write("config/storage-backend.txt", "");
    daemon.until("status", "unavailable");
    workspace.write("config/storage-backend.txt", "\u{feff} file \r\n");
    daemon.until("status", "optimal");
    assert_eq!(workspace.events_named("backend_changed").len(), 2);
}

#[test]
fn a_marker_that_is_written_in_two_steps_is_no_change() {
    let workspace = workspace();
    let daemon = workspace.daemon(NEVER);
    for _ in 0..10 {
        workspace.write("config/storage-backend.txt", "");
        workspace.write("config/storage-backend.txt", "file\n");
    }
    workspace.write("active/a.yaml", "id: a");
    daemon.until("milestone_count", 1);
    assert!(
        workspace.events_named("backend_changed").is_empty() && workspace.events_named("source_unavailable").is_empty()
    );
}

/// A workspace whose commands get so many watches from the system.
fn with_watches(count: u32) -> Workspace {
    let mut workspace = workspace();
    let script = format!("echo {count} > /proc/sys/user/max_inotify_watches && exec \"$@\"");
    workspace.wrapper = ["unshare", "-Ur", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
    workspace
}

#[test]
fn works_without_a_watch_when_the_system_gives_none_needs_root() {
    let workspace = with_watches(0);
    let daemon = workspace.daemon(NEVER);
    daemon.until_logged("changes cannot be watched");
    workspace.write("active/a.yaml", "id: a");
    daemon.until("milestone_count", 1);
    assert!(daemon.published()["daemon"]["not_watching"].as_str().unwrap().contains("fs.inotify"));
    assert_eq!(daemon.log().matches("changes cannot be watched").count(), 1, "said once");
}

#[test]
fn notices_when_watches_run_out_later_needs_root() {
    let workspace = with_watches(8);
    let daemon = workspace.daemon(NEVER);
    assert!(daemon.published()["daemon"]["not_watching"].is_null());
    for number in 0..12 {
        workspace.write(format!("active/folder-{number}/a.yaml"), "id: a");
    }
    daemon.until("milestone_count", 12);
    daemon.until_logged("changes cannot be watched");
    workspace.write("active/folder-11/b.yaml", "id: b");
    daemon.until("milestone_count", 13);
    for number in 0..12 {
        fs::remove_dir_all(workspace.path(format!("active/folder-{number}"))).unwrap();
    }
    daemon.until_logged("changes are watched again");
}

#[test]
fn logs_as_json_where_that_is_wanted_and_as_the_journal_likes_it() {
    let mut workspace = workspace();
    let daemon = workspace.daemon(["--interval", "86400", "--log-format", "json"]);
    let line: serde_json::Value = serde_json::from_str(daemon.log().lines().next().unwrap()).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&"INFO".into(), &"milescale starts".into()));
    drop(daemon);
    workspace.environment.push(("JOURNAL_STREAM".to_owned(), "8:1".to_owned()));
    let daemon = workspace.daemon(NEVER);
    assert!(daemon.log().starts_with("<6>milescale starts workspace="), "{}", daemon.log());
}

#[test]
fn the_interval_of_the_configuration_is_used_and_can_be_changed() {
    let workspace: Workspace = workspace();
    let daemon = workspace.daemon::<&str>([]);
    workspace.write("config/storage-config.yaml", "storage: {monitoring: {interval: 1}}\n");
    until("two more cycles", || (workspace.events_named("scale_status").len() >= 3).then_some(()));
    assert_eq!(daemon.stop().0, 0);
}
