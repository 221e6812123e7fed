//! Kills, power cuts, and what comes after the restart.

mod left_overs;
mod locks;
mod log;
mod put;
mod shown;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use milescale_testkit::{Workspace, until};

use super::super::BINARY;

const OLD: &str = "# old\nid: a\nn: 1\n";
const NEW: &str = "# new\nid: a\nn: 2\n";

/// A workspace on files with one milestone, the text that is to replace it, and the digest of what is there.
fn with_milestone() -> (Workspace, String) {
    let workspace = Workspace::empty(BINARY);
    workspace.write("config/storage-backend.txt", "file\n");
    workspace.write("active/a.yaml", OLD);
    fs::write(workspace.root().join("new.yaml"), NEW).unwrap();
    let digest = workspace.run(["milestone", "show", "a", "--digest"]).out.trim().to_owned();
    (workspace, digest)
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The texts in a folder.
fn texts(folder: &Path) -> Vec<String> {
    // What a dead trial has left is a folder, and goes with the next start.
    let is_file = |name: &&String| folder.join(name).is_file();
    names(folder).iter().filter(is_file).map(|name| fs::read_to_string(folder.join(name)).unwrap()).collect()
}

/// What a file must have stood still for before it is judged.
fn until_still(folder: &Path) {
    until("files that stand still", || {
        let still = |name: &String| {
            let metadata = folder.join(name).symlink_metadata().unwrap();
            let changed =
                Duration::new(metadata.ctime().try_into().unwrap(), metadata.ctime_nsec().try_into().unwrap());
            let changed = UNIX_EPOCH + changed;
            SystemTime::now().duration_since(changed).is_ok_and(|age| age > Duration::from_millis(2100))
        };
        names(folder).iter().all(still).then_some(())
    });
}
