//! Doors: what a cloned workspace, a co-worker or a neighbour in the database must not be able to do (contract §10).

mod bounds;
mod consent;
mod copies;
mod links;
mod neighbours;
mod races;
mod secrets;
mod state;
mod text;
mod whose;

use std::fs;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use milescale_testkit::{Said, Workspace};

/// What a file outside holds. It is never seen.
const CANARY: &str = "title: CANARY of somebody else\n";

/// A folder that is none of the workspace's.
struct Outside {
    folder: tempfile::TempDir,
}

impl Outside {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("canary.yaml"), CANARY).unwrap();
        fs::create_dir(folder.path().join("folder")).unwrap();
        fs::write(folder.path().join("folder/canary.yaml"), CANARY).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is there, so that two are equal only where nothing was changed.
    fn print(&self) -> Vec<String> {
        let mut found = Vec::new();
        look(self.folder.path(), &mut found);
        found.sort();
        found
    }
}

fn look(path: &Path, found: &mut Vec<String>) {
    let it = fs::symlink_metadata(path).unwrap();
    let content = if it.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    found.push(format!(
        "{} {:o} {} {}.{} {}.{} {}",
        path.display(),
        it.mode(),
        it.uid(),
        it.mtime(),
        it.mtime_nsec(),
        it.ctime(),
        it.ctime_nsec(),
        String::from_utf8_lossy(&content)
    ));
    if it.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            look(&entry.unwrap().path(), found);
        }
    }
}

/// Runs a command that has to end by itself; on its standard input is a milestone.
fn bounded(workspace: &Workspace, arguments: &[&str]) -> Said {
    let mut given = tempfile::tempfile().unwrap();
    given.write_all(b"title: put\n").unwrap();
    given.rewind().unwrap();
    let output = Command::new("timeout")
        .args(["-k", "1", "20"])
        .arg(workspace.command(arguments).get_program())
        .args(arguments)
        .current_dir(workspace.root())
        .env("XDG_CONFIG_HOME", workspace.root().join(".config-of-the-person"))
        .envs(workspace.environment.iter().cloned())
        .stdin(given)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    let said = Said { code, out: text(output.stdout), err: text(output.stderr) };
    assert!(code != 124 && code != 137, "{arguments:?} hangs: {said:?}");
    assert!(code != 101 && code >= 0, "{arguments:?} panics: {said:?}");
    said
}

/// A copy of a workspace, at a place of its own.
fn copy_of(template: &Workspace) -> Workspace {
    let folder = tempfile::tempdir().unwrap();
    let from = template.path("");
    let done = Command::new("cp").arg("-a").arg(&from).arg(folder.path().join(".milestones")).status().unwrap();
    assert!(done.success());
    Workspace::within(folder, super::BINARY)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs the binary as another user than root.
fn as_nobody(arguments: &[&str], folder: &Path, environment: &[(&str, &str)]) -> Said {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(super::BINARY)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .envs(environment.iter().copied())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}
