//! What a plan says, and what it waits for: nothing is moved here.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use milescale_testkit::Said;

use super::{Moved, contents, document, shell};

/// An editor that empties a file first, again and again: most looks find nothing, and some find it whole.
#[test]
fn a_file_that_is_empty_for_most_of_the_time_stands_against_nothing() {
    let moved = Moved::new(None, "", 3);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (text, millis) in [(String::new(), 600), (document(1), 300)] {
                    moved.workspace.write("active/m-1.yaml", text);
                    thread::sleep(Duration::from_millis(millis));
                }
            }
        });
        let plan = || moved.workspace.run(["migrate", "database", "--dry-run", "--json"]);
        let plans: Vec<_> = (0..8).map(|_| plan()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(plans.iter().all(|plan| plan.code == 0), "{plans:?}");
        // What is waited for is no part of what a move takes: three milestones, about nothing.
        let takes_long = |plan: &Said| plan.json()["estimated_seconds"].as_f64().unwrap() > 1.0;
        assert!(!plans.iter().any(takes_long), "{plans:?}");
    });
    moved.workspace.write("active/m-1.yaml", "");
    let plan = moved.workspace.run(["migrate", "database", "--dry-run"]);
    assert!(plan.code == 1 && (plan.out.clone() + &plan.err).contains("m-1.yaml: it is empty"), "{plan:?}");
}

#[test]
fn everything_that_stands_against_a_move_is_said_at_once_with_file_line_and_reason() {
    let moved = Moved::new(None, "", 2);
    let workspace = &moved.workspace;
    workspace.write("active/broken.yaml", "id: broken\ntitle: [\n");
    workspace.write("active/merge.yaml", "a: &a {b: 1}\nc:\n  <<: *a\n");
    workspace.write("active/sub/m-0.yaml", document(0));
    workspace.write("active/put-away.yaml", "status: archived\n");
    shell(
        &moved,
        "enterprise.db",
        "CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT)",
    );
    shell(&moved, "enterprise.db", "INSERT INTO milestones VALUES ('mine', '{}', NULL, NULL)");
    let files = contents(&workspace.path("active"));
    let plan = workspace.run(["migrate", "database", "--dry-run", "--json"]);
    assert_eq!(plan.code, 1);
    let plan = plan.json();
    let said = |place: &str| {
        let found =
            plan["obstacles"].as_array().unwrap().iter().find(|it| it["place"].as_str().unwrap().contains(place));
        found.unwrap_or_else(|| panic!("{place}: {plan:#}")).clone()
    };
    assert!(said("broken.yaml")["line"].as_u64().is_some());
    assert!(said("merge.yaml")["reason"].as_str().unwrap().contains("merge key"));
    assert!(said("m-0.yaml")["reason"].as_str().unwrap().contains("second time"));
    assert!(said("enterprise.db")["reason"].as_str().unwrap().contains("mine"));
    assert_eq!(plan["counted_no_more"], serde_json::json!(["put-away"]));
    assert_eq!((plan["milestones"].as_u64(), plan["backup"].as_bool()), (Some(6), Some(true)));
    let refused = moved.migrate("sqlite");
    assert_eq!(refused.code, 1);
    assert_eq!(refused.err.lines().filter(|line| line.contains(".milestones/")).count(), 4, "{refused:?}");
    assert!(contents(&workspace.path("active").join("sub")).len() == 1 && files.len() == 5);
    assert_eq!(moved.named(), "file");
    assert!(
        !workspace.path("backups").exists() || contents_of_folders(&workspace.path("backups")) == 0,
        "nothing was changed"
    );
}

fn contents_of_folders(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}
