//! Mounts, owners and file systems: each in a namespace of its own, so that nothing of it is left.

use std::process::Command;

use milescale_testkit::Workspace;

use super::super::super::BINARY;
use super::super::super::faults::shim;
use super::with_files;

/// Runs a script with `$M` in the workspace, where what it mounts goes with it. What it prints, errors too.
fn mounted(workspace: &Workspace, script: &str) -> String {
    let said = Command::new("unshare")
        .args(["-m", "--propagation", "private", "bash", "-c", &format!("exec 2>&1\n{script}")])
        .env("M", BINARY)
        .env("P", workspace.path(""))
        .current_dir(workspace.root())
        .output()
        .unwrap();
    String::from_utf8(said.stdout).unwrap()
}

fn holds(said: &str, texts: &[&str]) {
    for text in texts {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
}

#[test]
fn e01_files_of_another_owner_are_named_and_the_move_finishes_needs_root() {
    let workspace = with_files(&["a", "b"]);
    let said = mounted(
        &workspace,
        "umask 002; A='setpriv --reuid 2001 --regid 3000 --clear-groups'; chown -R 2001:3000 .
         find . -type d | xargs chmod 2775; chown 2002:3000 $P/active/b.yaml
         $A $M migrate database --dry-run; $A $M migrate database --yes; echo rc $?; $A $M check; $A $M status
         $A $M rollback --yes; echo rc $?; cat $P/config/storage-backend.txt",
    );
    holds(
        &said,
        &[
            "note: 1 file belongs to other users, and cannot be made read-only: .milestones/active/b.yaml",
            "nothing stands against it",
        ],
    );
    assert_eq!(said.matches("rc 0").count(), 2, "{said}");
    assert!(!said.contains("under way") && said.ends_with("file\n"), "{said}");
}

#[test]
fn e03_a_mount_of_its_own_is_named_before_anything_needs_root() {
    for folder in ["active", "completed", "active/team"] {
        let workspace = with_files(&["a"]);
        let said = mounted(
            &workspace,
            &format!(
                "mkdir -p $P/{folder}; mount -t tmpfs -o size=4m none $P/{folder}; cp $P/../a.yaml $P/{folder}/ 2>/dev/null
                 printf 'title: b\\n' > $P/active/b.yaml; $M doctor; echo == ; $M migrate database --dry-run; echo rc $?
                 $M migrate database --yes; echo rc $?; $M migrate file --dry-run; echo rc $?"
            ),
        );
        let place =
            format!(".milestones/{folder}: it lies on another file system or mount than .milestones/.milescale");
        let (doctor, moves) = said.split_once("==").unwrap();
        holds(doctor, &[&place, "wrong"]);
        // Leaving the files needs no rename between the two; coming back does.
        let (out, back) = moves.split_once("rc 0\nfile").map_or((moves, ""), |(out, back)| (out, back));
        assert!(moves.ends_with("rc 1\n") && moves.matches(&place).count() >= 2, "{said}{out}{back}");
        holds(moves, &["before the milestones can come back to files, mount all of .milestones in one"]);
    }
}

#[test]
fn e03_retiring_onto_another_file_system_is_refused_needs_root() {
    let workspace = with_files(&["a"]);
    workspace.write("config/storage-config.yaml", "storage: {migration: {files_after: retire}}\n");
    let said = mounted(
        &workspace,
        "mount --bind $P/active $P/active; $M migrate database --yes; echo rc $?; ls $P/active $P/backups",
    );
    holds(&said, &[".milestones/active: it lies on another file system or mount", "rc 1", "a.yaml"]);
    assert!(!said.contains("migration-"), "{said}");
}

#[test]
fn e04_a_mounted_marker_or_configuration_is_named_before_anything_needs_root() {
    let workspace = with_files(&["a"]);
    let said = mounted(
        &workspace,
        "F=$P/config/storage-backend.txt; cp $F m; mount --bind m $F; $M doctor; $M migrate database --yes; echo rc $?
         ls -A $P/backups $P/config; ls $P/*.db",
    );
    let marker = ".milestones/config/storage-backend.txt: it is a mount of its own";
    assert_eq!(said.matches(marker).count(), 2, "{said}");
    holds(&said, &["rc 1", "mount its folder or all of the workspace"]);
    assert!(!said.contains("migration-") && !said.contains("-switch-") && !said.contains("enterprise.db\n"), "{said}");
    // Between engines it is the configuration that is replaced.
    workspace
        .write("config/storage-config.yaml", "storage:\n  database:\n    type: postgresql\n    url: postgresql:///x\n");
    let said = mounted(
        &workspace,
        "F=$P/config/storage-config.yaml; cp $F c; mount --bind c $F; $M migrate database --engine sqlite --dry-run",
    );
    holds(&said, &[".milestones/config/storage-config.yaml: it is a mount of its own"]);
}

#[test]
fn e04_read_only_folders_are_named_before_anything_needs_root() {
    for folder in ["config", "active", "backups"] {
        let workspace = with_files(&["a"]);
        let said = mounted(
            &workspace,
            &format!(
                "F=$P/{folder}; mkdir -p $F; mount --bind $F $F; mount -o remount,ro,bind $F; $M doctor; echo ==
                 $M migrate database --yes; echo rc $?; umount $F; ls $P/backups; cat $P/config/storage-backend.txt"
            ),
        );
        let (doctor, moved) = said.split_once("==").unwrap();
        let place =
            format!(".milestones/{folder}: nothing can be made there: it lies on a read-only file system or mount");
        holds(moved, &[&place, "rc 1"]);
        assert!(folder == "backups" || doctor.contains(&place), "{said}");
        assert!(moved.ends_with("file\n") && !moved.contains("migration-"), "{said}");
    }
}

#[test]
fn e06_a_file_system_that_cannot_exchange_is_named() {
    let workspace = with_files(&["a"]);
    let strace = "strace -f -qq -o /dev/null -e trace=renameat2 -e inject=renameat2:error=EINVAL $M";
    let script = format!("{strace} doctor; echo ==; {strace} migrate database --dry-run; {strace} milestone archive a");
    let said = Command::new("bash")
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .env("M", BINARY)
        .current_dir(workspace.root())
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let (doctor, moves) = said.split_once("==").unwrap();
    for said in [doctor, moves] {
        holds(said, &["cannot exchange two files in one step", "ext4, XFS, btrfs, tmpfs"]);
    }
}

/// What a trial that died has left goes with the next one.
#[test]
fn a_trial_leaves_nothing_behind() {
    let workspace = with_files(&["a"]);
    for folder in ["active", "config", ".milescale"] {
        workspace.write(format!("{folder}/.milescale-try-{}/one", "0".repeat(32)), "");
    }
    assert_eq!(workspace.run(["migrate", "database", "--dry-run"]).code, 0);
    assert_eq!(scratch_folders(&workspace), "");
}

fn scratch_folders(workspace: &Workspace) -> String {
    let found = Command::new("find").arg(workspace.root()).args(["-name", ".milescale-try-*"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap()
}

/// One that dies while it tries the archive leaves that to the next one, which has nothing to try there.
#[test]
fn what_a_trial_that_died_has_left_goes_with_any_next_one() {
    let workspace = with_files(&["a"]);
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    let mut dying = workspace.command(["migrate", "file", "--yes"]);
    dying.env("LD_PRELOAD", shim()).env("FAULT", "any:1:killafter").env("FAULT_PATH", "completed/.milescale-try-");
    assert!(!dying.output().unwrap().status.success());
    assert_ne!(scratch_folders(&workspace), "");
    // There is no server, but that is not what is looked for.
    let refused = workspace.run(["migrate", "database", "--engine", "postgresql", "--dry-run"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(scratch_folders(&workspace), "");
}

/// What a trial could not remove goes with the next start.
#[test]
fn what_a_trial_cannot_remove_goes_later() {
    let workspace = with_files(&["a"]);
    let mut failing = workspace.command(["migrate", "database", "--yes"]);
    failing.env("LD_PRELOAD", shim()).env("FAULT", "any:4:late-EIO+").env("FAULT_PATH", "/.milescale-try-");
    assert_eq!(failing.output().unwrap().status.code(), Some(1));
    assert_ne!(scratch_folders(&workspace), "");
    assert_eq!(workspace.run(["check"]).code, 0);
    assert_eq!(scratch_folders(&workspace), "");
}
