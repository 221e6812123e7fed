//! Changes that no watcher is told of: a program that has a file mapped writes it without a call to the system.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use milescale_testkit::{Workspace, until};

use super::BINARY;

/// Maps a file, writes into it once it is told to, and keeps it open: its end would be told.
const MAPPING: &str = "
import mmap, sys
with open(sys.argv[1], 'r+b') as file:
    mapped = mmap.mmap(file.fileno(), 0)
print('mapped', flush=True)
sys.stdin.readline()
old, new = (word.encode() for word in sys.argv[2:])
at = mapped.find(old)
mapped[at:at + len(new)] = new
mapped.flush()
print('written', flush=True)
sys.stdin.readline()
";

struct Mapping {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Mapping {
    fn of(path: &Path, old: &str, new: &str) -> Self {
        assert_eq!(old.len(), new.len());
        let mut command = Command::new("python3");
        command.args(["-c", MAPPING]).arg(path).args([old, new]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut mapping = Self { said: BufReader::new(child.stdout.take().unwrap()), child };
        mapping.hear("mapped");
        mapping
    }

    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }

    fn write(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.hear("written");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A workspace on a disk: a file in memory that is written through a mapping keeps its times, and nobody can see it.
fn workspace() -> Workspace {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let workspace = Workspace::within(folder, BINARY);
    assert_eq!(workspace.run(["init"]).code, 0);
    workspace
}

/// Waits for so many more cycles: what was just written is looked at again for two seconds.
fn cycles(workspace: &Workspace, count: usize) {
    let before = workspace.events_named("scale_status").len();
    workspace.until_event("scale_status", before + count);
}

/// Whether the file system is one whose changes all go through this machine's kernel.
fn is_of_this_machine(path: &Path) -> bool {
    let said = Command::new("stat").args(["-f", "-c", "%T"]).arg(path).output().unwrap().stdout;
    ["ext2/ext3", "xfs", "btrfs", "tmpfs", "zfs", "overlayfs", "f2fs"]
        .contains(&String::from_utf8(said).unwrap().trim())
}

#[test]
fn a_quiet_cycle_goes_by_what_was_told_and_a_reload_looks_at_everything() {
    let workspace = workspace();
    workspace.write("active/a.yaml", "tasks: [{kiro_workflow: {enabled: none}}]\n");
    let mut mapping = Mapping::of(&workspace.path("active/a.yaml"), "none", "true");
    let daemon = workspace.daemon(["--interval", "1"]);
    cycles(&workspace, 4);
    mapping.write();
    cycles(&workspace, 2);
    if is_of_this_machine(workspace.root()) {
        assert_eq!(daemon.published()["kiro_enabled_count"], 0, "no cycle has looked at a file that nobody spoke of");
    }
    daemon.signal("HUP");
    daemon.until("kiro_enabled_count", 1);
}

#[test]
fn old_files_are_swept_with_each_cycle_whatever_was_told() {
    let workspace = workspace();
    workspace.write("active/a.yaml", "id: a\ntitle: before\n");
    let mut mapping = Mapping::of(&workspace.path("active/a.yaml"), "before", "behind");
    let said = workspace.run(["migrate", "database", "--yes"]);
    assert_eq!(said.code, 0, "{said:?}");
    let daemon = workspace.daemon(["--interval", "1"]);
    cycles(&workspace, 4);
    mapping.write();
    until("the change in the database", || {
        workspace.run(["milestone", "show", "a"]).out.contains("behind").then_some(())
    });
    assert_eq!(daemon.stop().0, 0);
}
