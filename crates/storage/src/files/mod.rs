//! The store of milestone files: what lies in `active/`, remembered between looks so that only changed files are read.

mod archive;
mod columns;
mod facts;
mod importing;
mod incoming;
mod look;
mod moving;
mod odd;
mod owners;
mod readers;
mod retired;
mod scan;
mod store;
mod table;
mod texts;
mod walk;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use milescale_core::figures::StoreFigures;
use milescale_document::document::Flaw;
use milescale_workspace::readers::Readers;
use milescale_workspace::ways::Ways;
use milescale_workspace::{Place, Workspace};

use crate::sqlite::LedgerFile;
use table::Table;

pub(crate) use columns::ColumnsHash;
pub use look::lost_folder;
pub use moving::{NOTE_OF_MOVE, NOTE_OF_RETIRING, is_noted_as_moved, retire};
pub use odd::{Odd, odd_names};
pub use owners::{files_of_others, unreadable_files};
pub use readers::{readers_of_a_server, readers_of_all, readers_of_files};
pub use retired::{Retired, Unlooked};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Remark {
    Flawed(Flaw),
    OtherId(Box<str>),
}

/// The milestone files of one workspace.
#[derive(Debug)]
pub struct FileStore {
    workspace: Workspace,
    active: Place,
    table: Table,
    look: u32,
    /// How many files were read or forgotten: grows when something may have changed.
    changes: u64,
    /// What `changes` was when the facts were written or read.
    written_at: u64,
    /// Milestones that were there before this process looked; guards against taking a lost folder for an empty one.
    remembered: u64,
    /// Ids whose files were read or forgotten since somebody asked, once somebody has.
    touched: Option<BTreeSet<String>>,
    /// The base of old stores, once it was needed.
    ledger: Option<LedgerFile>,
    /// What lies in folders of the archive, for a moment.
    nested: Option<archive::Nested>,
    /// What lay in the archive when it was looked at for changes last.
    archive: Option<archive::Watched>,
    /// Who may read what new files are made of.
    made_for: Readers,
    /// The same of what takes the place of a file that is there. What comes from a server is a version of that file, and for its readers.
    replaced_for: Readers,
    /// What the folders of the last look say.
    ways: Ways,
    /// The readers of what is here, for what comes from a server, and since when they are known.
    of_server: Mutex<Option<(Instant, Readers)>>,
}

impl FileStore {
    /// The store in `active/`; nothing is read yet. `remembered` is the last known number of milestones, 0 if none is.
    pub fn new(workspace: Workspace, remembered: u64) -> Self {
        Self {
            active: workspace.active(),
            workspace,
            table: Table::default(),
            look: 0,
            changes: 0,
            written_at: 0,
            remembered,
            touched: None,
            ledger: None,
            nested: None,
            archive: None,
            made_for: Readers::ALL,
            replaced_for: Readers::ALL,
            ways: Ways::default(),
            of_server: Mutex::default(),
        }
    }

    /// What one file, by its path in `active/`, adds to the figures: kiro and dependencies; `None` without the file.
    pub(crate) fn adds(&self, inside: &Path) -> Option<(u32, u32)> {
        self.table.get(inside).map(|known| (known.kiro_enabled, known.requires))
    }

    pub(crate) fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// A number that stays the same while no look finds a change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// What the last look found: the path in `active/` of each file, and what an index should say of it.
    pub(crate) fn found(&self) -> impl Iterator<Item = (&Path, ColumnsHash)> {
        self.table.all().map(|(path, known)| (path, known.columns))
    }

    /// The figures of what is remembered.
    pub(crate) fn figures(&self) -> StoreFigures {
        self.table.figures()
    }

    /// A path in `active/` as people read it.
    fn shown(&self, path: &Path) -> String {
        self.workspace.shown(&self.active.join(path))
    }
}

/// The id of the milestone of a file.
pub(crate) fn id_at(place: &Place) -> String {
    id_of(place.inside())
}

/// A milestone's id: its file's name without `.yaml`.
pub fn id_of(path: &Path) -> String {
    with_id(path, str::to_owned)
}

/// The same, lent.
fn with_id<R>(path: &Path, use_it: impl FnOnce(&str) -> R) -> R {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    use_it(name.strip_suffix(".yaml").unwrap_or(&name))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests;
