//! Clocks that jump, and days that are counted.

use std::fs;

use super::{check, edit, files_in, moved, sql};

#[test]
fn l18_a_resolved_conflict_is_kept_from_the_resolving_on() {
    let workspace = moved(3);
    sql(&workspace, "UPDATE milestones SET data = '{\"title\":\"of the row\"}' WHERE id = 'm-0'");
    edit(&workspace, [0], "of the file");
    check(&workspace);
    // It was kept forty days ago.
    let folder = workspace.path(".milescale/conflicts");
    let then =
        (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(40 * 24)).strftime("%Y%m%dT%H%M%SZ").to_string();
    for name in files_in(&folder) {
        let (_, rest) = name.split_once('-').unwrap();
        fs::rename(folder.join(&name), folder.join(format!("{then}-{rest}"))).unwrap();
    }
    for name in files_in(&folder) {
        let old = fs::File::options().write(true).open(folder.join(&name)).unwrap();
        let then = std::time::SystemTime::now() - std::time::Duration::from_hours(40 * 24);
        old.set_times(fs::FileTimes::new().set_modified(then)).unwrap();
    }
    let conflicts = workspace.run(["conflicts", "list", "--json"]).json();
    let name = conflicts[0]["name"].as_str().unwrap();
    assert_eq!(workspace.run(["conflicts", "resolve", name, "--keep-current"]).code, 0);
    assert!(files_in(&folder).is_empty());
    check(&workspace);
    let displaced = workspace.path(".milescale/displaced");
    let kept = files_in(&displaced);
    let is_it = |name: &String| fs::read_to_string(displaced.join(name)).unwrap() == "title: of the file\n";
    assert!(kept.iter().any(is_it), "{kept:?}");
}

#[test]
fn daily_limit_clock_ahead() {
    let workspace = crate::workspace();
    workspace.milestones("m", 140);
    let config = workspace.read("config/storage-config.yaml").replace("auto_migrate: false", "auto_migrate: true");
    workspace.write("config/storage-config.yaml", &config);
    let slow = || {
        workspace.age_marker(48);
        let entry = |time: u64| {
            format!(
                "{{\"timestamp\":\"2026-11-28T00:00:00Z\",\"backend\":\"file\",\"performance\":{{\"avg_read_time_ms\":0,\
                 \"avg_write_time_ms\":0,\"avg_query_time_ms\":{time}}},\"system\":{{}},\"scale\":{{}}}}\n"
            )
        };
        workspace.write("logs/performance-metrics.jsonl", [entry(100).repeat(5), entry(900).repeat(5)].concat());
        let query = "{\"timestamp\":\"2026-11-28T00:00:00Z\",\"user\":\"u\",\"details\":{\"operation\":\"query\",\"duration_ms\":900}}\n";
        workspace.write("logs/storage-events.jsonl", query.repeat(100));
    };
    let file = serde_json::json!({ "backend": "file", "engine": null });
    let past = |ended: &str| {
        let hybrid = serde_json::json!({ "backend": "hybrid", "engine": null });
        serde_json::json!({ "epoch": 1, "ended": ended, "from": file, "to": hybrid, "backup": null, "failed": null,
                            "automatic": true })
    };
    let record = |ended: &str| {
        let record = serde_json::json!({ "version": 1, "epoch": 2, "in_use": file, "old": [], "intent": null,
                                         "past": [past(ended), past(ended)] });
        workspace.write(".milescale/migration.json", record.to_string());
    };
    // Two moves of today are the limit: that is said wherever somebody looks.
    record(&jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    slow();
    let said = workspace.run(["check"]).out;
    assert!(said.contains("Scale migration recommended") && said.contains("automatic_per_day"), "{said}");
    assert!(workspace.run(["status"]).out.contains("automatic_per_day"));
    assert!(workspace.run(["doctor"]).out.contains("automatic_per_day"));
    assert!(workspace.read("config/migration-notification.yaml").contains("automatic_per_day"));
    // Two that were made while the clock was years ahead are none of today.
    record("2034-01-01T00:00:00Z");
    slow();
    let said = workspace.run(["check"]).out;
    assert!(said.contains("Migration completed"), "{said}");
}
