//! Every way between any two stores, with an empty target and with one that was in use before.

use milescale_testkit::Postgres;

use super::{Moved, STORES, contents, document};

/// A round through all twelve ways, from files and back.
const ROUND: [&str; 12] = [
    "hybrid",
    "sqlite",
    "postgresql",
    "file",
    "sqlite",
    "hybrid",
    "postgresql",
    "sqlite",
    "file",
    "postgresql",
    "hybrid",
    "file",
];

/// Goes round; after each move the script finds the same milestones in the store that marker and configuration name.
fn go_round(count: usize) {
    let server = Postgres::start();
    let moved = Moved::new(Some(&server), "plans", count);
    let (files, before) = (contents(&moved.workspace.path("active")), moved.dump());
    assert_eq!(before.lines().count(), count);
    for to in ROUND {
        let said = moved.migrate(to);
        assert_eq!(said.code, 0, "{to}: {said:?}");
        assert_eq!(moved.named(), to);
        assert!(moved.dump() == before, "{to}: the milestones are the same");
        println!("{count} → {to}: {}", said.out.lines().next().unwrap_or_default());
    }
    assert!(contents(&moved.workspace.path("active")) == files, "byte for byte");
    assert!(moved.workspace.read("config/storage-config.yaml").starts_with("# kept\nstorage:\n"), "comments stay");
    assert!(moved.workspace.events_named("write_conflict").is_empty());
    assert_eq!(moved.workspace.events_named("migration_completed").len(), ROUND.len());
}

#[test]
fn a_round_through_all_ways_with_0() {
    go_round(0);
}

#[test]
fn a_round_through_all_ways_with_1() {
    go_round(1);
}

#[test]
fn a_round_through_all_ways_with_150() {
    go_round(150);
}

#[test]
fn a_round_through_all_ways_with_20_000() {
    go_round(20_000);
}

/// The files as they were written first.
fn texts(count: usize) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = (0..count).map(|it| (format!("m-{it}.yaml"), document(it).into_bytes())).collect();
    files.sort();
    files
}

/// From a store that was never moved, into one that is empty, and back.
#[test]
fn every_way_into_an_empty_target_and_back() {
    let server = Postgres::start();
    for from in STORES {
        for to in STORES.into_iter().filter(|to| *to != from) {
            for count in [0, 1, 150] {
                let moved = Moved::new(Some(&server), &format!("{from} {to} {count}"), count);
                if from != "file" {
                    assert_eq!(moved.migrate(from).code, 0);
                    moved.forget_the_past(&server);
                }
                let before = moved.dump();
                let files = texts(count);
                for (to, name) in [(to, "there"), (from, "back")] {
                    let said = moved.migrate(to);
                    assert_eq!(said.code, 0, "{from} → {to} with {count}, {name}: {said:?}");
                    assert_eq!(moved.named(), to, "{name}");
                    assert!(moved.dump() == before, "{from} → {to} with {count}, {name}");
                    // SQLite's texts were not forgotten with the past: what becomes a file is the file that it was.
                    if from != "postgresql" && (to == "file" || to == "hybrid") {
                        assert!(contents(&moved.workspace.path("active")) == files, "{from} → {to}: byte for byte");
                    }
                }
            }
        }
    }
}
