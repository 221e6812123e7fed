//! Bad logs of storage events.

use std::fs;
use std::io::Write;
use std::time::Instant;

use super::workspace;

const NEVER: [&str; 2] = ["--interval", "86400"];

fn event(user: &str, duration: u32) -> String {
    format!(
        "{{\"timestamp\":\"2999-01-01T00:00:00Z\",\"user\":\"{user}\",\"details\":{{\"operation\":\"query\",\"duration_ms\":{duration}}}}}\n"
    )
}

#[test]
fn bad_lines_are_reported_once_with_their_numbers_and_take_no_place() {
    let workspace = workspace();
    let shapes = [
        event("ada", 10),
        "{ \"timestamp\" : \"2999-01-01T02:00:00.5+02:00\", \"details\" : { \"user\" : \"lin\" , \"operation\" : \"query\", \"duration_ms\" : \"30\" } }\n".to_owned(),
        "{\"progress\":,}\n".to_owned(),
        "{\"timestamp\":\"2999-01-01T00:00:00Z\",\"user\":\"\",\"operation\":\"query\",\"details\":{\"duration_ms\":20}}\n".to_owned(),
        "not json\n".to_owned(),
        "\n".to_owned(),
        "{}\n".to_owned(),
    ];
    workspace.write("logs/storage-events.jsonl", shapes.concat());
    let daemon = workspace.daemon(NEVER);
    let published = daemon.published();
    assert_eq!((&published["concurrent_users"], &published["recent_avg_query_time_ms"]), (&2.into(), &20.into()));
    let said = workspace.until_event("log_lines_unreadable", 1);
    assert_eq!(said["details"]["lines"], serde_json::json!([3, 5]));
    workspace.append("logs/storage-events.jsonl", "{\"cut\":");
    workspace.append("logs/storage-events.jsonl", "1}\n");
    workspace.append("logs/storage-events.jsonl", "{\"broken\"\n");
    let said = workspace.until_event("log_lines_unreadable", 2);
    assert_eq!(said["details"]["lines"], serde_json::json!([9]));
    assert_eq!(daemon.stop().0, 0);
    let daemon = workspace.daemon(NEVER);
    workspace.append("logs/storage-events.jsonl", event("eve", 10));
    daemon.until("concurrent_users", 3);
    assert_eq!(workspace.events_named("log_lines_unreadable").len(), 2, "once, across restarts");
}

#[test]
fn truncated_replaced_and_rotated_while_it_is_read() {
    let workspace = workspace();
    let log = "logs/storage-events.jsonl";
    let daemon = workspace.daemon(NEVER);
    workspace.append(log, (0..50).map(|number| event(&format!("u{number}"), 1)).collect::<String>());
    daemon.until("concurrent_users", 50);
    workspace.write(log, event("one", 1));
    daemon.until("concurrent_users", 1);
    workspace.save(log, [event("a", 1), event("b", 1)].concat());
    daemon.until("concurrent_users", 2);
    fs::rename(workspace.path(log), workspace.path("logs/storage-events.jsonl.1")).unwrap();
    workspace.write(log, event("c", 1));
    daemon.until("concurrent_users", 3);
    // All of it at once, over and over, and in the end the truth.
    for round in 0..100 {
        workspace.write(log, event("x", round));
        workspace.append(log, event("y", round));
        fs::rename(workspace.path(log), workspace.path("logs/storage-events.jsonl.1")).unwrap();
        workspace.append(log, event("z", round));
    }
    daemon.until("concurrent_users", 3);
    fs::remove_file(workspace.path(log)).unwrap();
    fs::remove_file(workspace.path("logs/storage-events.jsonl.1")).unwrap();
    daemon.until("concurrent_users", 1);
    fs::create_dir(workspace.path(log)).unwrap();
    let said = workspace.until_event("source_unavailable", 1);
    assert_eq!(said["details"]["source"], ".milestones/logs/storage-events.jsonl");
    fs::remove_dir(workspace.path(log)).unwrap();
    workspace.until_event("source_recovered", 1);
    daemon.until("stale", false);
}

#[test]
fn a_line_of_ten_megabytes_is_a_line() {
    let workspace = workspace();
    let daemon = workspace.daemon(NEVER);
    let long =
        format!("{{\"user\":\"long\",\"timestamp\":\"2999-01-01T00:00:00Z\",\"note\":\"{}\"}}\n", "x".repeat(10 << 20));
    workspace.append("logs/storage-events.jsonl", long);
    workspace.append("logs/storage-events.jsonl", event("ada", 1));
    daemon.until("concurrent_users", 2);
    assert!(workspace.events_named("log_lines_unreadable").is_empty());
}

#[test]
fn a_gigabyte_of_log_costs_what_its_windows_reach() {
    let workspace = workspace();
    let path = workspace.path("logs/storage-events.jsonl");
    let old = ["read", "write", "query"].map(|operation| {
        format!("{{\"timestamp\":\"2020-01-01T00:00:00Z\",\"event\":\"performance_metric\",\"milestone_id\":\"system\",\"user\":\"old\",\"backend\":\"file\",\"details\":{{\"operation\":\"{operation}\",\"duration_ms\":5,\"success\":true}}}}\n")
    });
    let block = old.concat().repeat(2000);
    let mut file = fs::File::create(&path).unwrap();
    while file.metadata().unwrap().len() < 1 << 30 {
        file.write_all(block.as_bytes()).unwrap();
    }
    file.write_all(event("ada", 7).as_bytes()).unwrap();
    let start = Instant::now();
    let daemon = workspace.daemon(NEVER);
    println!("start beside a log of {} bytes: {:?}", file.metadata().unwrap().len(), start.elapsed());
    let published = daemon.published();
    assert_eq!((&published["concurrent_users"], &published["avg_write_time_ms"]), (&1.into(), &5.into()));
    workspace.append("logs/storage-events.jsonl", event("lin", 7));
    daemon.until("concurrent_users", 2);
}
