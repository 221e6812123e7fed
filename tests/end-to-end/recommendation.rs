//! What a recommendation does: announced once, notified as a level, withdrawn.

use std::fs;
use std::path::Path;

use milescale_testkit::Workspace;

use super::{BINARY, workspace};

/// Makes a workspace one with 36 milestones, 30 hours and slow queries: a confidence of 90.
pub(super) fn recommend(workspace: &Workspace) {
    workspace.milestones("m", 36);
    workspace.age_marker(30);
    let entry = "{\"performance\":{\"avg_query_time_ms\":600}}\n";
    workspace.append("logs/performance-metrics.jsonl", entry.repeat(10));
    let event = "{\"timestamp\":\"2026-01-01T00:00:00Z\",\"details\":{\"operation\":\"query\",\"duration_ms\":600}}\n";
    workspace.append("logs/storage-events.jsonl", event);
}

pub(super) fn recommended() -> Workspace {
    let workspace = workspace();
    recommend(&workspace);
    workspace
}

#[test]
fn a_recommendation_is_announced_once_notified_and_withdrawn() {
    let workspace = recommended();
    let said = workspace.run(["check"]);
    let root = workspace.root().display();
    assert!(said.out.contains("🔄 Scale migration recommended: file → hybrid\n"), "{said:?}");
    assert!(
        said.out.contains(&format!(
            "📋 Manual migration required. Run: milescale migrate hybrid --yes --workspace {root}\n"
        ))
    );
    assert!(said.out.contains("📄 Migration notification created: .milestones/config/migration-notification.yaml\n"));
    let text = workspace.read("config/migration-notification.yaml");
    for line in [
        "migration_recommendation:\n  timestamp: \"20",
        "  current_backend: \"file\"\n  recommended_backend: \"hybrid\"\n  reason: \"36 milestones (threshold 25); queries take 600 ms in the mean of the last ten (over 500 ms)\"\n  confidence: 90\n",
        "metrics:\n  milestone_count: 36\n  concurrent_users: 0\n  complexity_score: 36\n  avg_query_time_ms: 600\n",
        &format!(
            "actions:\n  manual_command: \"milescale migrate hybrid --yes --workspace {root}\"\n  auto_enable: \"set storage.migration.auto_migrate"
        ),
        "risk_assessment:\n  migration_time_estimate: \"about 1 s for 36 milestones; `--dry-run` measures it\"\n  downtime_required: false\n  rollback_available: true\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    for _ in 0..3 {
        assert!(!workspace.run(["check"]).out.contains("notification created"));
    }
    assert_eq!(workspace.events_named("migration_recommended").len(), 1, "once, across restarts");
    assert_eq!(workspace.read("config/migration-notification.yaml"), text);
    fs::remove_file(workspace.path("config/migration-notification.yaml")).unwrap();
    workspace.run(["check"]);
    assert!(workspace.path("config/migration-notification.yaml").exists(), "a level, not an edge");

    fs::remove_dir_all(workspace.path("active")).unwrap();
    fs::create_dir(workspace.path("active")).unwrap();
    workspace.run(["check"]);
    assert!(!workspace.path("config/migration-notification.yaml").exists());
    assert!(workspace.read("config/migration-notification.previous.yaml").contains("recommended_backend"));
}

#[test]
fn another_reader_of_yaml_finds_texts_where_texts_are_meant() {
    let workspace = recommended();
    workspace.run(["check"]);
    let script = "import sys, yaml; it = yaml.safe_load(open(sys.argv[1])); \
        flat = {key: value for section in it.values() for key, value in section.items()}; \
        texts = [key for key, value in flat.items() if isinstance(value, str)]; \
        print(len(it), ' '.join(sorted(texts)), flat['downtime_required'])";
    let path = workspace.path("config/migration-notification.yaml");
    let output = std::process::Command::new("python3").args(["-c", script]).arg(path).output().unwrap();
    let expected = "4 auto_enable current_backend manual_command migration_time_estimate reason recommended_backend timestamp False\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
}

#[test]
fn nothing_is_announced_or_withdrawn_on_stale_figures() {
    let workspace = recommended();
    workspace.run(["check"]);
    let notification = workspace.read("config/migration-notification.yaml");
    fs::remove_dir_all(workspace.path("active")).unwrap();
    workspace.run(["check"]);
    assert_eq!(workspace.status()["stale"], true);
    assert_eq!(workspace.read("config/migration-notification.yaml"), notification);

    let workspace = workspace_read_once_then_marked_database();
    workspace.run(["check"]);
    let status = workspace.status();
    assert_eq!((&status["status"], &status["stale"]), (&"migration_recommended".into(), &true.into()));
    assert!(workspace.events_named("migration_recommended").is_empty());
    assert!(!workspace.path("config/migration-notification.yaml").exists());
}

/// Figures that recommend, and a marker that somebody changed without moving anything.
fn workspace_read_once_then_marked_database() -> Workspace {
    let workspace = workspace();
    workspace.milestones("m", 36);
    workspace.run(["check"]);
    workspace.age_marker(30);
    workspace.run(["check"]);
    workspace.write("config/storage-backend.txt", "database\n");
    workspace.age_marker(1);
    let entry = "{\"performance\":{\"avg_query_time_ms\":600}}\n";
    workspace.append("logs/performance-metrics.jsonl", entry.repeat(10));
    workspace.append("logs/storage-events.jsonl", "{\"details\":{\"operation\":\"query\",\"duration_ms\":600}}\n");
    workspace
}

#[test]
fn the_notification_of_auto_migrate_and_of_a_pin_says_why_nothing_moves() {
    let workspace = recommended();
    workspace.write("config/storage-config.yaml", "storage: {migration: {auto_migrate: true}, backend: file}\n");
    workspace.run(["check"]);
    let text = workspace.read("config/migration-notification.yaml");
    assert!(text.contains("auto_migrate is already on; reason says why it waits for you"), "{text}");
    assert!(text.contains("storage.backend pins file"), "{text}");
    assert_eq!(workspace.status()["pinned"], "file");
}

#[test]
fn the_manual_command_works_as_it_stands_whatever_the_path() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("it's a \"workspace\" $HOME");
    fs::create_dir(&root).unwrap();
    let workspace = Workspace::at(&root, BINARY);
    workspace.run(["init"]);
    recommend(&workspace);
    let said = workspace.run(["check"]);
    let command = said.out.lines().find_map(|line| line.strip_prefix("📋 Manual migration required. Run: ")).unwrap();
    let bin = Path::new(BINARY).parent().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", command])
        .current_dir("/")
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("file → hybrid: 36 milestones"), "{output:?}");
    assert_eq!(workspace.read("config/storage-backend.txt"), "hybrid\n");
}
