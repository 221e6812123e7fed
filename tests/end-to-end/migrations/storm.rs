//! Writers of many habits that never pause (`tests/storm/run`), a few seeds of it; and disks that are full or fail.

use super::super::faults::shim;
use super::{Moved, harness};

/// A few seeds; 500 longer ones in the long form.
#[test]
fn writers_that_never_pause_lose_nothing() {
    let is_long = std::env::var_os("MILESCALE_LONG").is_some();
    let (seeds, seconds, jobs, count) = if is_long { ("1-500", "9", "8", 500) } else { ("1-8", "6", "4", 8) };
    let (out, said) = harness("storm/run", &[seeds, "--seconds", seconds, "--jobs", jobs]);
    assert!(said.status.success(), "{out}{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(out.lines().count(), count);
}

/// From the n-th call on everything fails, the undo's calls included: the marker names a complete store, and once there is
/// room again the next start finishes.
fn a_disk_that_fails(from: &'static str, to: &'static str, what: &str) {
    let mut tried = 0;
    for number in (1..).step_by(3) {
        let moved = Moved::new(None, "", 3);
        if from != "file" {
            assert_eq!(moved.migrate(from).code, 0);
        }
        let before = moved.dump();
        let mut command = moved.workspace.command(Moved::arguments(to));
        command
            .env("LD_PRELOAD", shim())
            .env("FAULT", format!("any:{number}:{what}"))
            .env("FAULT_PATH", "/.milestones/");
        let said = command.output().unwrap();
        let at = format!("{from} → {to}, {what} from call {number} on: {said:?}");
        assert!([from, to].contains(&moved.named().as_str()), "{at}");
        assert_eq!(moved.dump(), before, "{at}");
        assert!(said.status.code().is_some_and(|code| code < 3), "{at}");
        let again = if moved.named() == to { moved.workspace.run(["import"]) } else { moved.migrate(to) };
        let stuck = again.err.contains("is stuck");
        if stuck {
            let fixed = moved.workspace.run(["doctor", "--fix", "--yes"]);
            assert!(!fixed.err.contains("stuck"), "{at}: {fixed:?}");
            assert_eq!(moved.migrate(to).code, 0, "{at}");
        } else {
            assert_eq!(again.code, 0, "{at}: {again:?}");
        }
        assert_eq!((moved.named().as_str(), moved.dump()), (to, before), "{at}");
        tried += 1;
        if said.status.success() {
            break;
        }
    }
    println!("{from} → {to}: {tried} times {what}");
    assert!(tried > 10, "{tried}");
}

#[test]
fn a_full_disk_at_any_step_of_file_to_sqlite() {
    a_disk_that_fails("file", "sqlite", "ENOSPC+");
}

#[test]
fn a_full_disk_at_any_step_of_sqlite_to_hybrid() {
    a_disk_that_fails("sqlite", "hybrid", "ENOSPC+");
}

#[test]
fn a_failing_disk_at_any_step_of_file_to_sqlite() {
    a_disk_that_fails("file", "sqlite", "EIO+");
}
