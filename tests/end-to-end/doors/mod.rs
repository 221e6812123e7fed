//! Doors: what a cloned workspace, a co-worker or a neighbour in the database must not be able to do (contract §10).

mod along;
mod bounds;
mod consent;
mod copies;
mod databases;
mod links;
mod neighbours;
mod races;
mod rights;
mod secrets;
mod shared;
mod state;
mod text;
mod whose;

use std::fs;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use milescale_testkit::{Said, Workspace};
use rustix::fs::inotify;

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

/// What was opened, read, written or made in a folder and in a folder in it since this began.
struct Watched(std::os::fd::OwnedFd);

impl Watched {
    fn new(folders: &[PathBuf]) -> Self {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        let what = inotify::WatchFlags::OPEN
            | inotify::WatchFlags::ACCESS
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::ATTRIB
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::MOVE;
        for folder in folders {
            inotify::add_watch(&watch, folder, what).unwrap();
        }
        Self(watch)
    }

    fn events(&self) -> usize {
        let mut buffer = vec![std::mem::MaybeUninit::uninit(); 64 << 10];
        let mut reader = inotify::Reader::new(&self.0, &mut buffer);
        let mut count = 0;
        while reader.next().is_ok() {
            count += 1;
        }
        count
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

/// Writes down what was tried at a door and what came of it: a line of the table of `docs/SECURITY.md`, which `tests/doors` makes.
fn door(door: &str, tried: &str, figure: impl std::fmt::Display) {
    let figure = figure.to_string();
    println!("{door}: {tried}: {figure}");
    let Some(list) = std::env::var_os("MILESCALE_DOORS") else { return };
    let line = serde_json::json!({"door": door, "tried": tried, "figure": figure}).to_string() + "\n";
    let mut list = fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
    list.write_all(line.as_bytes()).unwrap();
}

/// The files of a workspace's folder in which another user than root finds a word.
fn as_nobody_reads(workspace: &Workspace, word: &str) -> Vec<String> {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "grep", "-rlaF", word, "."])
        .current_dir(workspace.root())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
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
