//! Bad configurations: the last good one stays in force.

use std::fs;

use super::workspace;

const NEVER: [&str; 2] = ["--interval", "86400"];
const FILE: &str = "config/storage-config.yaml";

#[test]
fn each_bad_edit_is_rejected_with_its_place_and_changes_nothing() {
    let workspace = workspace();
    workspace.write(FILE, "storage: {thresholds: {milestone_count: {file_to_hybrid: 7}}}\n");
    let daemon = workspace.daemon(NEVER);
    let bad = [
        ("storage:\n  migration:\n    auto_migrate: yes\n", 3, 19, "found yes, expected true or false"),
        (
            "storage:\n  thresholds:\n    milestone_count: { file_to_hybrid: 100, hybrid_to_database: 25 }\n",
            3,
            65,
            "expected file_to_hybrid to be the smaller one",
        ),
        ("storage:\n  backend: [file]\n", 2, 12, "found a list, expected one of auto, file, hybrid, database"),
        (
            "storage:\n  thresholds:\n    concurrent_users: { file_to_hybrid: \"5\" }\n",
            3,
            41,
            "found the quoted text \"5\", expected a whole number",
        ),
        ("storage:\n  monitoring: { interval: 0 }\n", 2, 27, "found 0, expected a whole number from 1"),
        ("storage:\n  thresholds: 5\n", 2, 15, "expected a section"),
        ("storage: {\n", 1, 10, "unclosed bracket"),
    ];
    for (number, (text, line, column, message)) in bad.into_iter().enumerate() {
        workspace.write(FILE, text);
        let event = workspace.until_event("config_rejected", number + 1);
        let details = &event["details"];
        assert_eq!((&details["line"], &details["column"]), (&line.into(), &column.into()), "{text}{details}");
        assert!(details["problems"][0].as_str().unwrap().contains(message), "{details}");
        let config = &daemon.published()["config"];
        assert_eq!(config["thresholds"]["milestone_count"]["file_to_hybrid"], 7, "{text}");
        assert!(workspace.run(["status"]).out.contains(message), "{text}");
    }
    assert_eq!(daemon.stop().0, 0);
    let daemon = workspace.daemon(NEVER);
    daemon.until("/config/origin", "last_good");
    assert_eq!(workspace.events_named("config_rejected").len(), bad.len(), "said once, across restarts");
    workspace.write(FILE, "storage: {thresholds: {milestone_count: {file_to_hybrid: 9}}}\n");
    workspace.until_event("config_reloaded", 1);
    daemon.until("/config/thresholds/milestone_count/file_to_hybrid", 9);
    daemon.until("/config/origin", "file");
}

#[test]
fn empty_removed_and_replaced_by_a_folder() {
    const THRESHOLD: &str = "/config/thresholds/milestone_count/file_to_hybrid";
    let workspace = workspace();
    workspace.write(FILE, "storage: {thresholds: {milestone_count: {file_to_hybrid: 7}}}\n");
    let daemon = workspace.daemon(NEVER);
    workspace.write(FILE, "");
    workspace.until_event("config_rejected", 1);
    daemon.until(THRESHOLD, 7);
    fs::remove_file(workspace.path(FILE)).unwrap();
    fs::create_dir(workspace.path(FILE)).unwrap();
    let event = workspace.until_event("config_rejected", 2);
    assert!(event["details"]["problems"][0].as_str().unwrap().contains("it is a folder"), "{event}");
    daemon.until(THRESHOLD, 7);
    fs::remove_dir(workspace.path(FILE)).unwrap();
    let event = workspace.until_event("config_reloaded", 1);
    assert_eq!(event["details"]["defaults"], true);
    daemon.until(THRESHOLD, 25);
    workspace.write(FILE, "storage: {thresholds: {milestone_count: {file_to_hybrid: 8}}}\n");
    workspace.until_event("config_reloaded", 2);
    daemon.until(THRESHOLD, 8);
}

#[test]
fn a_start_with_a_bad_file_takes_the_last_good_one_without_auto_migrate() {
    let workspace = workspace();
    workspace.write(
        FILE,
        "storage: {migration: {auto_migrate: true}, thresholds: {milestone_count: {file_to_hybrid: 7}}}\n",
    );
    workspace.run(["check"]);
    assert_eq!(workspace.status()["config"]["auto_migrate"], true);
    workspace.write(FILE, "storage: {backend: nothing}\n");
    for _ in 0..2 {
        workspace.run(["check"]);
        let config = &workspace.status()["config"];
        assert_eq!((&config["auto_migrate"], &config["origin"]), (&false.into(), &"last_good".into()));
        assert_eq!(config["thresholds"]["milestone_count"]["file_to_hybrid"], 7);
    }
    assert_eq!(workspace.events_named("config_rejected").len(), 1, "said once");
    fs::remove_file(workspace.path(".milescale/last-good-config.yaml")).unwrap();
    let config = &workspace.status()["config"];
    assert_eq!((&config["auto_migrate"], &config["origin"]), (&false.into(), &"defaults_for_bad_file".into()));
}

#[test]
fn unknown_keys_are_named_with_the_nearest_and_not_fatal() {
    let workspace = workspace();
    workspace.write(FILE, "storage:\n  migration: { auto_migrat: true }\n  tresholds: {}\nother: 1\n");
    let said = workspace.run(["config", "check"]);
    assert_eq!(said.code, 0, "{said:?}");
    for line in [
        "storage-config.yaml:2:16: warning: storage.migration.auto_migrat: unknown key, without effect; the nearest known one is storage.migration.auto_migrate\n",
        "storage-config.yaml:3:3: warning: storage.tresholds: unknown key, without effect; the nearest known one is storage.thresholds\n",
        "storage-config.yaml:4:1: warning: other: unknown key, without effect\n",
        "storage-config.yaml: valid\n",
    ] {
        assert!(said.out.contains(line), "{line}{}", said.out);
    }
}
