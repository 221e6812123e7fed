//! Bad milestone files: the daemon goes on, says what is wrong once and where, and recovers when it is mended.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::time::{Duration, SystemTime};

use milescale_testkit::{Workspace, until};

use super::{BINARY, workspace};

const GOOD: &str = "id: good\ntasks: [{kiro_workflow: {enabled: true}}]\ndependencies: {requires: [x]}\n";

#[test]
fn each_kind_of_broken_file_counts_is_named_once_and_mended() {
    let workspace = workspace();
    let daemon = workspace.daemon(["--interval", "86400"]);
    let broken: Vec<(&str, Vec<u8>, &str)> = vec![
        ("not-yaml", b"{{{ ]\n".to_vec(), "line 1"),
        ("cut-in-half", b"id: cut\ntitle: \"cut in ha".to_vec(), "unclosed quote"),
        ("empty", Vec::new(), "it is empty"),
        (
            "conflict",
            b"id: a\n<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> x\n".to_vec(),
            "line 2, column 1: a conflict marker of git",
        ),
        ("tabs", b"a:\n\tb: 1\n".to_vec(), "tabs disallowed"),
        ("duplicate", b"a: 1\nb: 1\na: 2\n".to_vec(), "line 3, column 1: the key \"a\" stands here a second time"),
        ("several", b"a: 1\n---\nb: 2\n".to_vec(), "line 2, column 1: a second document"),
        ("latin-1", b"title: caf\xe9\n".to_vec(), "line 1, column 11: it is not UTF-8"),
        ("list", b"- a\n- b\n".to_vec(), "it is a list; expected a mapping"),
        ("huge", vec![b'#'; 100 << 20], "larger than the limit of 16 MiB"),
        ("deep", "[".repeat(100_000).into_bytes(), "limit exceeded"),
        ("bomb", bomb().into_bytes(), "more than 1000000 values, aliases expanded"),
    ];
    for (name, text, _) in &broken {
        workspace.write(format!("active/{name}.yaml"), text);
    }
    let harmless = [
        ("bom", "\u{feff}id: bom\n"),
        ("crlf", "id: crlf\r\ntasks:\r\n  - a\r\n"),
        ("no-newline", "id: n"),
        ("null-tasks", "tasks: null\n"),
        ("text-tasks", "tasks: [one, two]\n"),
        ("number-progress", "progress: 50\n"),
        ("plain-requires", "dependencies: {requires: some-id}\n"),
        ("name with\nnewline and 'quotes\"", "id: x\n"),
    ];
    for (name, text) in harmless {
        workspace.write(format!("active/{name}.yaml"), text);
    }
    daemon.until("milestone_count", (broken.len() + harmless.len()) as u64);
    daemon.until("dependency_count", 1);
    until("all named", || {
        let said: u64 = workspace
            .events_named("milestones_unparsable")
            .iter()
            .map(|it| it["details"]["count"].as_u64().unwrap())
            .sum();
        (said == broken.len() as u64).then_some(())
    });
    let events = serde_json::to_string(&workspace.events_named("milestones_unparsable")).unwrap();
    let status = workspace.run(["status"]).out;
    let doctor = workspace.run(["doctor"]).out;
    for (name, _, reason) in &broken {
        let path = format!(".milestones/active/{name}.yaml");
        assert_eq!(events.matches(&path).count(), 1, "{name} is named once: {events}");
        for text in [&status, &doctor] {
            let line = text.lines().find(|line| line.contains(&path)).unwrap_or_else(|| panic!("{name} in {text}"));
            assert!(line.contains(reason), "{line}");
        }
    }
    for (name, ..) in &broken {
        workspace.save(format!("active/{name}.yaml"), GOOD);
    }
    daemon.until("kiro_enabled_count", broken.len() as u64);
    until("all mended", || {
        let said: u64 =
            workspace.events_named("milestones_mended").iter().map(|it| it["details"]["count"].as_u64().unwrap()).sum();
        (said == broken.len() as u64).then_some(())
    });
    assert_eq!(daemon.stop().0, 0);
}

fn bomb() -> String {
    let levels = (1..30).map(|level| {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        format!("a{level}: &a{level} [{aliases}]\n")
    });
    std::iter::once("a0: &a0 [x, x]\n".to_owned()).chain(levels).collect()
}

#[test]
fn what_is_no_regular_file_never_counts_hangs_or_leaves_the_workspace() {
    let workspace = workspace();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("x.yaml"), GOOD).unwrap();
    workspace.write("active/folder.yaml/inside.yaml", GOOD);
    assert!(Command::new("mkfifo").arg(workspace.path("active/fifo.yaml")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(workspace.path("active/socket.yaml")).unwrap();
    symlink(outside.path().join("x.yaml"), workspace.path("active/link.yaml")).unwrap();
    symlink(outside.path(), workspace.path("active/linked-folder")).unwrap();
    let daemon = workspace.daemon(["--interval", "86400"]);
    daemon.until("milestone_count", 1);
    fs::write(outside.path().join("y.yaml"), GOOD).unwrap();
    fs::remove_file(workspace.path("active/fifo.yaml")).unwrap();
    assert!(Command::new("mkfifo").arg(workspace.path("active/other.yaml")).status().unwrap().success());
    workspace.write("active/last.yaml", GOOD);
    daemon.until("milestone_count", 2);
    assert_eq!(daemon.published()["kiro_enabled_count"], 2);
    assert!(workspace.events_named("source_unavailable").is_empty());
}

#[test]
fn names_and_texts_of_any_bytes_are_counted_remembered_and_never_reach_a_terminal_raw() {
    use std::os::unix::ffi::OsStrExt;
    let workspace = workspace();
    let name = std::path::Path::new("active").join(std::ffi::OsStr::from_bytes(b"\xff\x1b[2J.yaml"));
    workspace.write(&name, "a: \x1b]0;title\x07 [\n");
    workspace.append(
        "logs/scale-events.jsonl",
        "{\"timestamp\":\"2999-01-01T00:00:00Z\",\"event\":\"\\u001b[2J\",\"details\":{}}\n",
    );
    assert_eq!(workspace.run(["check"]).code, 0);
    assert_eq!(workspace.run(["check"]).code, 0);
    assert_eq!(workspace.events_named("milestones_unparsable").len(), 1, "remembered");
    for verb in ["status", "dashboard", "doctor", "events", "check"] {
        let said = workspace.run([verb]);
        assert!(!said.out.contains('\x1b') && !said.err.contains('\x1b'), "{verb}: {said:?}");
    }
    workspace.write(&name, GOOD);
    workspace.run(["check"]);
    assert_eq!(workspace.events_named("milestones_mended").len(), 1);
    assert_eq!(workspace.status()["kiro_enabled_count"], 1);
}

/// A daemon without root's right to read everything.
fn as_somebody_else(workspace: &mut Workspace) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = place.path().join("milescale");
    fs::copy(BINARY, &binary).unwrap();
    let chown = Command::new("chown").args(["-R", "65534:65534"]).arg(workspace.root()).status().unwrap();
    assert!(chown.success());
    let run = "shift; exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" \"$@\"";
    workspace.wrapper = ["sh", "-c", run, binary.to_str().unwrap()].map(str::to_owned).to_vec();
    place
}

#[test]
fn unreadable_files_count_and_unreadable_folders_make_figures_stale_needs_root() {
    let mut workspace = workspace();
    workspace.write("active/a.yaml", GOOD);
    workspace.write("active/sub/b.yaml", GOOD);
    let _binary = as_somebody_else(&mut workspace);
    let daemon = workspace.daemon(["--interval", "86400"]);
    daemon.until("kiro_enabled_count", 2);
    let mode = |path: &str, mode| fs::set_permissions(workspace.path(path), fs::Permissions::from_mode(mode)).unwrap();
    mode("active/a.yaml", 0o000);
    daemon.until("kiro_enabled_count", 1);
    assert_eq!(daemon.published()["milestone_count"], 2);
    let event = workspace.until_event("milestones_unparsable", 1);
    assert!(event["details"]["milestones"][0]["reason"].as_str().unwrap().contains("Permission denied"), "{event}");
    mode("active/a.yaml", 0o644);
    daemon.until("kiro_enabled_count", 2);
    mode("active/sub", 0o000);
    let event = workspace.until_event("source_unavailable", 1);
    assert_eq!(event["details"]["source"], ".milestones/active/sub");
    daemon.until("stale", true);
    assert_eq!(daemon.published()["milestone_count"], 2, "the last known figure");
    mode("active/sub", 0o755);
    workspace.until_event("source_recovered", 1);
    daemon.until("stale", false);
}

#[test]
fn somebody_elses_files_are_read_all_the_same_needs_root() {
    let mut workspace = workspace();
    let _binary = as_somebody_else(&mut workspace);
    // They are root's, and readable: the system keeps its note of when they were read.
    workspace.write("active/a.yaml", GOOD);
    workspace.write("active/b.yaml", GOOD);
    workspace.daemon(["--interval", "86400"]).until("kiro_enabled_count", 2);
}

#[cfg(target_os = "linux")]
#[test]
fn reading_milestones_leaves_no_note_of_it_on_the_disk() {
    let workspace = workspace();
    workspace.write("active/a.yaml", GOOD);
    let path = workspace.path("active/a.yaml");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(&path).unwrap().set_times(fs::FileTimes::new().set_accessed(long_ago)).unwrap();
    workspace.daemon(["--interval", "86400"]).until("kiro_enabled_count", 1);
    assert_eq!(workspace.run(["milestone", "list"]).code, 0);
    assert_eq!(path.metadata().unwrap().accessed().unwrap(), long_ago);
}
