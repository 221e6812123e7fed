//! Locks that cannot be had, and waits that end.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};
use std::{fs, io};

use milescale_testkit::{Workspace, until};

/// An account that is not root.
const SOMEBODY: u32 = 65_533;

/// Somebody's workspace, with commands that run as its owner.
fn somebodys() -> Workspace {
    let mut workspace = Workspace::empty(crate::BINARY);
    chown(workspace.root(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let wrapper = ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups"];
    workspace.wrapper = wrapper.map(str::to_owned).to_vec();
    assert_eq!(workspace.run(["init"]).code, 0);
    workspace
}

fn as_root(workspace: &Workspace) -> Workspace {
    Workspace::at(workspace.root(), crate::BINARY)
}

#[test]
fn e08_a_lock_that_root_has_made_keeps_nobody_out_needs_root() {
    let workspace = somebodys();
    workspace.milestones("m", 3);
    Command::new("chown").args(["-R", "65533:65533"]).arg(workspace.root()).status().unwrap();
    let lock = workspace.path(".milescale/migration.lock");
    fs::write(&lock, "").unwrap();
    chown(&lock, Some(0), Some(0)).unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    let said = workspace.run(["migrate", "database", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    // What root makes is as if the owner had made it.
    fs::remove_file(&lock).unwrap();
    // In a folder of root's own, for what root trusts is written in no other.
    let home = workspace.root().join(".config-of-the-person");
    fs::create_dir_all(&home).unwrap();
    chown(&home, Some(0), Some(0)).unwrap();
    assert_eq!(as_root(&workspace).run(["trust"]).code, 0);
    assert_eq!(as_root(&workspace).run(["check"]).code, 0);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&lock.metadata().unwrap()), SOMEBODY);
}

/// Whoever shares a folder may name what is in it: what is to be run stays one command.
#[test]
fn the_name_of_a_closed_folder_is_one_word_of_the_command_that_opens_it_needs_root() {
    let workspace = somebodys();
    let closed = workspace.path(".milescale/x;touch PWNED;");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    for (group, command) in [(SOMEBODY, "chmod g+rwx"), (0, "setfacl -m u:65533:rwx")] {
        chown(&closed, Some(0), Some(group)).unwrap();
        let said = workspace.run(["doctor"]).out;
        assert!(said.contains(&format!("`{command} '.milestones/.milescale/x;touch PWNED;'`")), "{said}");
    }
}

#[test]
fn e08_a_lock_that_cannot_be_opened_is_an_error_with_its_path_needs_root() {
    let workspace = somebodys();
    let lock = workspace.path(".milescale/migration.lock");
    fs::write(&lock, "").unwrap();
    chown(&lock, Some(0), Some(0)).unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o600)).unwrap();
    let place = ".milestones/.milescale/migration.lock";
    let said = workspace.run(["migrate", "database", "--yes"]);
    let is_said = |text: &str| text.contains(place) && text.contains("Permission denied") && text.contains("chmod a+r");
    assert!(said.code == 1 && is_said(&said.err) && !said.err.contains("under way"), "{said:?}");
    workspace.run(["check"]);
    let event = workspace.until_event("source_unavailable", 1);
    assert!(is_said(&event["details"].to_string()), "{event}");
    assert!(is_said(&workspace.run(["doctor"]).out) && is_said(&workspace.run(["status"]).out));
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    workspace.run(["check"]);
    workspace.until_event("source_recovered", 1);
    assert!(workspace.run(["doctor"]).out.contains("0 wrong"));
}

#[test]
fn e10_input_is_read_before_any_lock() {
    let workspace = crate::workspace();
    workspace.milestones("m", 3);
    let mut put = workspace.command(["milestone", "put", "slow"]);
    let mut put = put.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // It waits for its input, which is a pipe that says nothing.
    until("it reads", || {
        let waits = fs::read_to_string(format!("/proc/{}/syscall", put.id())).unwrap_or_default();
        waits.starts_with("0 0x0").then_some(())
    });
    let said = workspace.run(["migrate", "database", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    let mut input = put.stdin.take().unwrap();
    input.write_all(b"title: slow\n").unwrap();
    drop(input);
    assert!(put.wait().unwrap().success());
    let show = workspace.run(["milestone", "show", "slow"]);
    assert_eq!(show.out, "title: slow\n", "in the store that is in use by then");
    assert!(workspace.run(["migrate", "file", "--yes"]).code == 0 && workspace.path("active/slow.yaml").exists());
}

#[test]
fn e11_who_may_not_write_takes_no_lock_needs_root() {
    let workspace = crate::workspace();
    workspace.milestones("m", 3);
    fs::set_permissions(workspace.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut nobody = as_root(&workspace);
    nobody.wrapper = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"].map(str::to_owned).to_vec();
    let (code, log) = nobody.daemon_at_once(["--interval", "600"]).ended();
    assert!(code == 1 && log.contains("may not write"), "{log}");
    let said = nobody.run(["check"]);
    assert!(said.code == 1 && said.err.contains("may not write"), "{said:?}");
    // Nor does it for the milestones that it reads.
    let said = nobody.run(["milestone", "list"]);
    assert!(said.code == 0 && said.out.contains("m-1"), "{said:?}");
    let put = nobody.run(["milestone", "archive", "m-1"]);
    assert!(put.code == 1 && put.err.contains("may not write"), "{put:?}");
    let daemon = workspace.daemon(["--interval", "600"]);
    assert_eq!(daemon.stop().0, 0, "root's daemon is not kept away");
}

#[test]
fn e08_a_fifo_as_a_lock_is_refused() -> io::Result<()> {
    let workspace = crate::workspace();
    let lock = workspace.path(".milescale/migration.lock");
    let _ = fs::remove_file(&lock);
    assert!(Command::new("mkfifo").arg(&lock).status()?.success());
    let said = workspace.run(["migrate", "hybrid", "--yes"]);
    assert!(said.code == 1 && said.err.contains("a FIFO"), "{said:?}");
    Ok(())
}

/// A content in conflict with what is current, and the workspace.
fn in_conflict() -> (milescale_testkit::Workspace, String) {
    let workspace = crate::workspace();
    workspace.write("active/a.yaml", "title: first\n");
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    let seen = workspace.run(["milestone", "show", "a", "--digest"]).out;
    assert_eq!(crate::milestones::put(&workspace, &["a", "--if-match", seen.trim()], "title: current\n").code, 0);
    workspace.save("active/a.yaml", "title: kept\n");
    assert_eq!(workspace.run(["import"]).code, 0);
    let listed = workspace.run(["conflicts", "--json"]).json();
    let name = listed[0]["name"].as_str().unwrap().to_owned();
    (workspace, name)
}

/// Two people decide the same conflict at once: one does, and what both are told is so.
#[test]
fn a_conflict_is_decided_by_one_of_two() {
    for round in 0..10 {
        let (workspace, name) = in_conflict();
        let decide = |how: &str| {
            let mut command = workspace.command(["conflicts", "resolve", &name, how]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let (mut take, mut keep) = (decide("--take-kept"), decide("--keep-current"));
        let (took, stayed) = (take.wait().unwrap().success(), keep.wait().unwrap().success());
        let there = workspace.run(["milestone", "show", "a"]).out;
        assert!(took != stayed, "{round}: {there}");
        assert_eq!(there.contains("kept"), took, "{round}: {there}");
    }
}

/// A decision that died half way is told to who decides anew.
#[test]
fn a_conflict_that_was_half_decided_is_told_as_such() {
    let (workspace, name) = in_conflict();
    let mut command = workspace.command(["conflicts", "resolve", &name, "--take-kept"]);
    command.env("LD_PRELOAD", crate::faults::shim()).env("FAULT", "any:1:kill").env("FAULT_PATH", "-resolved-");
    assert!(!command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let said = workspace.run(["conflicts", "resolve", &name, "--keep-current"]);
    assert!(said.code == 0 && said.out.contains("what was kept is current; the other content is kept in"), "{said:?}");
    assert!(said.out.contains("milescale_displaced"), "{said:?}");
}

/// What a program writes into a content that is kept is not decided with it by somebody who has not seen it.
#[test]
fn what_is_written_into_a_kept_content_is_in_conflict_itself() {
    let (workspace, name) = in_conflict();
    fs::write(workspace.path(format!(".milescale/conflicts/{name}")), "title: late\n").unwrap();
    assert_eq!(workspace.run(["conflicts", "resolve", &name, "--keep-current"]).code, 0);
    milescale_testkit::until("it is found once it stands still", || {
        assert_eq!(workspace.run(["check"]).code, 0);
        let listed = workspace.run(["conflicts", "--json"]).json();
        let found = listed[0]["name"].as_str()?;
        workspace.run(["conflicts", "show", found]).out.contains("late").then_some(())
    });
}
