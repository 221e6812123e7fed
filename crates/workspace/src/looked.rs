//! Which files of milescale's own folder were looked at, and with which stamp: each content is read once, and years of files
//! cost no reading. What is lost of it is read again.
//!
//! A stamp has the time of the inode's last change, which no program can set. So a write is seen whatever it does to the
//! times of the file, and whatever was done to the clock.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::folder::Metadata;
use crate::read::{Stamp, read_json};
use crate::{Place, Workspace};

/// How long a file must have stood still before it is judged.
pub const STILL_FOR: Duration = Duration::from_secs(2);

/// The version of the file's shape.
const VERSION: u32 = 1;

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    version: u32,
    /// By name: inode, size, and nanoseconds of the last change of content and of the inode.
    files: HashMap<String, (u64, u64, i64, i64)>,
}

/// The stamps of what was looked at in one folder.
#[derive(Debug)]
pub struct Looked {
    path: Place,
    stamps: HashMap<String, Stamp>,
    /// Those that were asked for since the last look ended.
    there: HashSet<String>,
    is_changed: bool,
}

impl Looked {
    /// What was noted of the retired files.
    pub fn at_retired(workspace: &Workspace) -> Self {
        Self::load(workspace.retired_looked())
    }

    /// What was noted of the displaced files.
    pub(super) fn at_displaced(workspace: &Workspace) -> Self {
        Self::load(workspace.displaced_looked())
    }

    /// Reads it; what cannot be read is worth nothing.
    fn load(path: Place) -> Self {
        let file: File = read_json(&path, 16 << 20).ok().flatten().unwrap_or_default();
        let files = if file.version == VERSION { file.files } else { HashMap::new() };
        let stamp = |(inode, size, modified, changed)| Stamp { inode, size, modified, changed };
        let stamps = files.into_iter().map(|(name, numbers)| (name, stamp(numbers))).collect();
        Self { path, stamps, there: HashSet::new(), is_changed: false }
    }

    /// Whether a file is as it was when it was looked at.
    pub fn is_as_before(&mut self, name: &Path, stamp: Stamp) -> bool {
        let name = key(name);
        let is_known = self.stamps.get(&name) == Some(&stamp);
        self.there.insert(name);
        is_known
    }

    /// Notes that a file was looked at while it had this stamp.
    pub fn note(&mut self, name: &Path, stamp: Stamp) {
        self.stamps.insert(key(name), stamp);
        self.is_changed = true;
    }

    /// Ends a look at all of the folder: what was not asked for in it is gone, and forgotten.
    pub fn forget_others(&mut self) {
        let before = self.stamps.len();
        self.stamps.retain(|name, _| self.there.contains(name));
        self.there.clear();
        self.is_changed |= self.stamps.len() < before;
    }

    /// Writes down what is known by now. Where that fails, more is read the next time.
    pub fn keep(&mut self) {
        if !std::mem::take(&mut self.is_changed) {
            return;
        }
        let numbers = |stamp: &Stamp| (stamp.inode, stamp.size, stamp.modified, stamp.changed);
        let files = self.stamps.iter().map(|(name, stamp)| (name.clone(), numbers(stamp))).collect();
        let written = serde_json::to_vec(&File { version: VERSION, files })
            .map_err(Into::into)
            .and_then(|text| durable::publish(&self.path, &text));
        if let Err(error) = written {
            tracing::debug!(%error, "what was looked at is not written down");
        }
    }
}

fn key(name: &Path) -> String {
    name.to_string_lossy().into_owned()
}

/// Whether a file has stood still for long enough. One whose time lies ahead has: the clock was put back since.
pub(super) fn stands_still(metadata: &Metadata, now: SystemTime) -> bool {
    stands_still_for(STILL_FOR, metadata, now)
}

/// The same for so long.
pub(crate) fn stands_still_for(so_long: Duration, metadata: &Metadata, now: SystemTime) -> bool {
    Stamp::of(metadata).age(now) >= so_long
}
