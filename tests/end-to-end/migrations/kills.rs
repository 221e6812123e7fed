//! Dying before and after mutating calls of every way, all of them in the long form: the marker names a complete store at
//! every instant, the next start finishes, and a script finds the same milestones.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use milescale_testkit::{Postgres, Workspace, takes};

use super::super::faults::shim;
use super::{BINARY, Moved, document};

/// In the names of scratch folders, which hold nothing of anybody's.
const TRIALS: &str = ".milescale-try-";

/// One in so many calls is a death in a run; all of them in the long form.
const ONE_IN: usize = 5;

/// Milestones of each workspace.
const COUNT: usize = 3;

/// A workspace made by hand: `init` takes its time for a sample of the machine.
fn prepared(server: Option<&Postgres>, schema: &str, from: &'static str) -> Moved {
    let moved = Moved {
        workspace: Workspace::empty(BINARY),
        url: server.map(Postgres::url).unwrap_or_default(),
        schema: schema.to_owned(),
    };
    moved.workspace.write("config/storage-backend.txt", "file\n");
    moved.configure("");
    for number in 0..COUNT {
        moved.workspace.write(format!("active/m-{number}.yaml"), document(number));
    }
    if from != "file" {
        let said = moved.migrate(from);
        assert_eq!(said.code, 0, "{from}: {said:?}");
    }
    moved
}

/// Runs a migration with a fault. Its exit status, and every store that was named meanwhile.
fn die(moved: &Moved, to: &'static str, fault: &str, log: Option<&std::path::Path>) -> (i32, Vec<String>) {
    let mut command = moved.workspace.command(Moved::arguments(to));
    command.env("LD_PRELOAD", shim()).env("FAULT", fault).env("FAULT_PATH", "/.milestones/");
    if let Some(log) = log {
        command.env("FAULT_LOG", log);
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut named = vec![moved.named()];
    let status = loop {
        let now = moved.named();
        if named.last() != Some(&now) {
            named.push(now);
        }
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_micros(300)),
        }
    };
    (status.code().unwrap_or(-1), named)
}

/// One way, killed at each of its calls. How many kills there were.
fn way(from: &'static str, to: &'static str) -> usize {
    let needs_server = from == "postgresql" || to == "postgresql";
    let server = needs_server.then(Postgres::start);
    let server = server.as_ref();
    let counted = prepared(server, "counted", from);
    let log = counted.workspace.root().join("operations");
    let (before, (code, _)) = (counted.dump(), die(&counted, to, "any:0:count", Some(&log)));
    assert_eq!(code, 0, "{from} → {to}");
    let operations: Vec<String> = fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect();
    assert!(operations.len() > 50, "{from} → {to}: {} calls", operations.len());
    let mut kills = 0;
    for what in ["kill", "killafter"] {
        let outside = (1..).zip(&operations).filter(|(_, operation)| !operation.contains(TRIALS));
        for (number, operation) in outside.filter(|(number, _)| takes(*number, ONE_IN)) {
            let at = format!("{from} → {to}, {what} {operation}");
            let moved = prepared(server, &format!("{what} {number}"), from);
            let (code, named) = die(&moved, to, &format!("any:{number}:{what}"), None);
            kills += usize::from(code == -1);
            assert!(named.iter().all(|it| *it == from || *it == to) && named.len() <= 2, "{at}: {named:?}");
            // Whatever is named now is complete, before anything was recovered.
            assert_eq!(moved.dump(), before, "{at}: {} is complete", moved.named());
            let again = if moved.named() == to { moved.workspace.run(["import"]) } else { moved.migrate(to) };
            assert_eq!(again.code, 0, "{at}: {again:?}");
            assert_eq!((moved.named().as_str(), moved.dump()), (to, before.clone()), "{at}: the next start finishes");
            let record = moved.workspace.read(".milescale/migration.json");
            assert!(record.contains("\"intent\": null"), "{at}: {record}");
            assert!(moved.workspace.events_named("write_conflict").is_empty(), "{at}");
            let left: Vec<_> =
                fs::read_dir(moved.workspace.path("config")).unwrap().map(|it| it.unwrap().file_name()).collect();
            assert!(left.len() == 2, "{at}: nothing is left beside marker and configuration: {left:?}");
        }
    }
    println!(
        "{from} → {to}: {} mutating calls, {kills} kills, {} milestones compared",
        operations.len(),
        kills * COUNT * 2
    );
    kills
}

/// Before the marker is renamed, everything that it will name is on the disk: each file that was written is synced after
/// its last write, or its file system is.
#[test]
fn everything_is_on_the_disk_before_the_marker_names_it() {
    for (from, to) in [("file", "sqlite"), ("sqlite", "file"), ("file", "hybrid")] {
        let moved = prepared(None, "", from);
        if to == "file" {
            // A target that is empty: each file is made anew.
            fs::remove_dir_all(moved.workspace.path(".milescale")).unwrap();
            fs::remove_dir_all(moved.workspace.path("active")).unwrap();
        }
        let log = moved.workspace.root().join("operations");
        assert_eq!(die(&moved, to, "any:0:count", Some(&log)).0, 0, "{from} → {to}");
        let text = fs::read_to_string(log).unwrap();
        let operations: Vec<(&str, &str)> =
            text.lines().filter_map(|it| it.split_once(' ')?.1.split_once(' ')).collect();
        let named = |path: &str| path.ends_with("config/storage-backend.txt");
        let switch = operations.iter().position(|(kind, path)| *kind == "rename" && named(path)).unwrap();
        let before = &operations[..switch];
        let folder = moved.workspace.path("").to_str().unwrap().trim_end_matches('/').to_owned();
        let is_data = |path: &str| {
            let inside = path.strip_prefix(&folder).unwrap_or_default();
            inside.starts_with("/active/") && !inside.contains(TRIALS)
                || inside == "/enterprise.db"
                || inside == "/index.db"
                || inside.contains("-switch-")
        };
        let mut checked = 0;
        for (at, (kind, path)) in before.iter().enumerate().filter(|(_, (_, path))| is_data(path)) {
            if *kind != "write" && *kind != "rename" {
                continue;
            }
            let above = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let is_named = path.contains("/active/") || path.contains("-switch-");
            let synced = before[at..]
                .iter()
                .any(|(kind, synced)| *kind == "fsync" && (synced == path || (is_named && *synced == above)));
            assert!(synced, "{from} → {to}: {kind} {path} is not synced before the switch: {before:#?}");
            checked += 1;
        }
        assert!(checked > 0, "{from} → {to}");
        assert_eq!(operations[switch + 1].0, "fsync", "and the marker's folder after it");
    }
}

macro_rules! ways {
    ($($name:ident: $from:literal $to:literal;)*) => {
        $(#[test] fn $name() { assert!(way($from, $to) > 100 / ONE_IN / 2); })*
    };
}

ways! {
    file_to_hybrid: "file" "hybrid";
    file_to_sqlite: "file" "sqlite";
    file_to_postgresql: "file" "postgresql";
    hybrid_to_file: "hybrid" "file";
    hybrid_to_sqlite: "hybrid" "sqlite";
    hybrid_to_postgresql: "hybrid" "postgresql";
    sqlite_to_file: "sqlite" "file";
    sqlite_to_hybrid: "sqlite" "hybrid";
    sqlite_to_postgresql: "sqlite" "postgresql";
    postgresql_to_file: "postgresql" "file";
    postgresql_to_hybrid: "postgresql" "hybrid";
    postgresql_to_sqlite: "postgresql" "sqlite";
}
