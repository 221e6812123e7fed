//! Locks of milestones that a death, or another user, left.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

use milescale_testkit::{Said, Workspace};

use super::super::super::BINARY;
use super::super::super::faults::with_fault;
use super::{NEW, with_milestone};

/// A process that lives for as long as the test.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn locked(pid: u32, seconds_ago: u64) -> (Workspace, String) {
    let (workspace, digest) = with_milestone();
    let then = jiff_text(SystemTime::now() - Duration::from_secs(seconds_ago));
    workspace.write("locks/a.lock/pid", format!("{pid}\n"));
    workspace.write("locks/a.lock/timestamp", format!("{then}\n"));
    (workspace, digest)
}

/// RFC 3339, as `date` prints it.
fn jiff_text(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let date = Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

fn put(workspace: &Workspace, digest: &str) -> (Said, Duration) {
    let mut bounded = Workspace::at(workspace.root(), BINARY);
    bounded.wrapper = ["timeout", "-s", "KILL", "20"].map(str::to_owned).into();
    let start = Instant::now();
    let said = bounded.run(["milestone", "put", "a", "new.yaml", "--if-match", digest]);
    (said, start.elapsed())
}

#[test]
fn p06_a_lock_from_before_this_boot_is_nobodys() {
    // The number lives again as another program.
    let other = Sleeper::start();
    let (workspace, digest) = locked(other.0.id(), 20 * 365 * 24 * 3600);
    let (said, took) = put(&workspace, &digest);
    assert_eq!((said.code, workspace.read("active/a.yaml").as_str()), (0, NEW), "{said:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(!workspace.path("locks/a.lock").exists());
}

#[test]
fn p06_a_number_that_was_given_out_again_holds_no_lock() {
    let other = Sleeper::start();
    let (workspace, digest) = locked(other.0.id(), 15 * 60);
    let (said, _) = put(&workspace, &digest);
    assert_eq!(said.code, 0, "the process began after the lock was made: {said:?}");
}

#[test]
fn e09_a_lock_that_cannot_be_removed_is_an_error_that_says_what_to_do() {
    let (workspace, digest) = locked(3_999_999, 20 * 365 * 24 * 3600);
    workspace.write("locks/a.lock/host", "elsewhere\n");
    let (said, took) = put(&workspace, &digest);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("locks/a.lock") && said.err.contains("Remove the folder"), "{said:?}");
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(12), "{took:?}");
    assert!(workspace.path("locks/a.lock/host").exists(), "what milescale does not know stays");
}

#[test]
fn e09_a_lock_whose_making_was_killed_goes_with_its_files() {
    for number in 1..8 {
        let (workspace, digest) = with_milestone();
        let mut dying = with_fault(workspace.root(), &format!("any:{number}:kill"));
        dying.environment.retain(|(name, _)| name != "FAULT_PATH");
        dying.environment.push(("FAULT_PATH".to_owned(), "/locks/".to_owned()));
        dying.run(["milestone", "put", "a", "new.yaml", "--if-match", &digest]);
        let lock = workspace.path("locks/a.lock");
        if workspace.read("active/a.yaml") == NEW || !lock.exists() {
            continue;
        }
        // As after a restart of the machine.
        fs::write(lock.join("timestamp"), "2006-01-02T15:04:05Z\n").unwrap();
        let (said, _) = put(&workspace, &digest);
        assert_eq!(said.code, 0, "{number}: {said:?}");
        assert!(!lock.exists(), "{number}");
    }
}
