//! Sweeps of `check`, and batches that come slowly.

use std::time::Duration;

use milescale_testkit::until;

use super::{check, data, edit, is_named, moved, rows_with, told};

#[test]
fn l15_check_brings_over_what_was_written_since() {
    let workspace = moved(9);
    edit(&workspace, 0..3, "edited");
    check(&workspace);
    assert_eq!(rows_with(&workspace, "edited"), 3, "by one check, with nothing else running");
    assert_eq!(told(&workspace, "changes_imported"), ["m-0", "m-1", "m-2"]);
    assert!(workspace.run(["doctor"]).out.contains("0 wrong"));
}

#[test]
fn l14_a_batch_is_one_also_where_it_comes_over_several_checks() {
    let workspace = moved(12);
    edit(&workspace, 0..3, "pulled");
    check(&workspace);
    assert_eq!(rows_with(&workspace, "pulled"), 3, "three files are edits");
    edit(&workspace, 3..6, "pulled");
    check(&workspace);
    assert_eq!(rows_with(&workspace, "pulled"), 3, "six are a batch, from the sixth on");
    let held = workspace.until_event("changes_held", 1);
    assert_eq!(held["details"]["ids"], serde_json::json!(["m-3", "m-4", "m-5"]));
    assert_eq!(held["details"]["imported_before"], serde_json::json!(["m-0", "m-1", "m-2"]));
    assert!(is_named(&workspace, "m-4 (files)"));
    // What follows them is of the same batch.
    edit(&workspace, 6..7, "pulled");
    check(&workspace);
    assert_eq!(workspace.status()["migration"]["held"], 4);
    let said = workspace.run(["import", "--json"]).json();
    assert_eq!((&said["imported"], &said["failing"]), (&4.into(), &0.into()));
    // A person has decided: the next edit is one.
    edit(&workspace, 8..9, "pulled");
    check(&workspace);
    assert!(data(&workspace, "m-8").contains("pulled"));
}

#[test]
fn l14_files_that_are_saved_one_by_one_are_held_to_the_last() {
    let workspace = moved(12);
    let daemon = workspace.daemon(["--interval", "600"]);
    for number in 0..12 {
        edit(&workspace, [number], "pulled");
        std::thread::sleep(Duration::from_millis(350));
    }
    // On a machine that stood still, some stood still for long enough before the sixth was seen.
    let held = || daemon.published().pointer("/migration/held").and_then(serde_json::Value::as_u64).unwrap_or(0);
    until("all of them", || (held() + rows_with(&workspace, "pulled") as u64 == 12).then_some(()));
    assert!(held() >= 7, "from the sixth on all are held: {}", held());
    let late = (7..12).map(|number| format!("m-{number}"));
    late.for_each(|id| assert!(!data(&workspace, &id).contains("pulled"), "{id}"));
}
