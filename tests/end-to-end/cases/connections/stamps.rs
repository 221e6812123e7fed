//! Stamps of adapters: without a zone, with many digits, and such as cannot be read.

use std::process::Command;

use crate::workspace;

fn date(format: &str) -> String {
    let said = Command::new("date").args(["-u", format]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim_end().to_owned()
}

/// The log of three users whose events have this stamp, written as JSON.
fn three_users(stamp: &str) -> String {
    ["ann", "bob", "cy"]
        .map(|user| {
            format!(
                "{{\"timestamp\":{stamp},\"user\":\"{user}\",\"details\":{{\"operation\":\"query\",\"duration_ms\":5}}}}\n"
            )
        })
        .concat()
}

#[test]
fn e16_stamps_without_a_zone_are_utc_and_any_fraction_is_read() {
    let workspace = workspace();
    let now = date("+%Y-%m-%dT%H:%M:%S");
    let spellings = [
        format!("\"{now}\""),
        format!("\"{now}.123456\""),
        format!("\"{}\"", now.replace('T', " ")),
        format!("\"{now}.123456789012Z\""),
        format!("\"{now}.123456789012+00:00\""),
    ];
    for stamp in spellings {
        workspace.write("logs/storage-events.jsonl", three_users(&stamp));
        let status = workspace.status();
        assert_eq!((&status["concurrent_users"], &status["team_size"]), (&3.into(), &3.into()), "{stamp}");
        let said = workspace.run(["doctor"]);
        assert!(said.out.contains("the log of storage events is in order"), "{stamp}: {said:?}");
    }
}

#[test]
fn e16_stamps_that_cannot_be_read_are_counted_and_named() {
    let workspace = workspace();
    for stamp in [date("+%s"), date("+%s123"), "\"yesterday\"".to_owned(), "null".to_owned()] {
        workspace.write("logs/storage-events.jsonl", three_users(&stamp));
        assert_eq!(workspace.status()["concurrent_users"], 0, "{stamp}");
        let said = workspace.run(["doctor"]);
        assert!(!said.out.contains("the log of storage events is in order"), "{stamp}: {said:?}");
        let shown = if stamp == "null" { "none".to_owned() } else { format!("\"{}\"", stamp.trim_matches('"')) };
        let what = format!("3 events of logs/storage-events.jsonl have no readable timestamp; the last has {shown}");
        assert!(said.out.contains(&what), "{stamp}: {said:?}");
    }
}
