//! What the rows of the index say, remembered between looks, so that only changed rows are read again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use milescale_workspace::Workspace;

use super::row::IndexRow;
use crate::files::ColumnsHash;
use crate::sqlite::Changes;

/// The rows as they were last read.
#[derive(Debug, Default)]
pub(super) struct Known {
    rows: HashMap<Box<str>, KnownRow>,
    /// Rows whose id is no text.
    nameless: Vec<KnownRow>,
    /// Up to where they are known.
    pub(super) changes: Changes,
}

/// What is remembered of a row.
#[derive(Debug)]
struct KnownRow {
    counts: bool,
    /// What it says, with and without when the milestone came to be.
    says: [ColumnsHash; 2],
    /// The path in `active/` that it names, where that is not `ID.yaml`.
    inside: Option<Box<Path>>,
    /// Whether its path is spelled as milescale spells it.
    spelled: bool,
}

impl KnownRow {
    fn of(workspace: &Workspace, id: &str, row: &IndexRow) -> Self {
        let inside = row.inside_active(workspace, id);
        Self {
            counts: row.counts(),
            says: [row.said(true), row.said(false)],
            spelled: row.names(workspace, &workspace.active().join(&inside)),
            inside: (inside != plain(id)).then(|| inside.into()),
        }
    }

    fn inside(&self, id: &str) -> PathBuf {
        self.inside.as_ref().map_or_else(|| plain(id), |inside| inside.to_path_buf())
    }
}

fn plain(id: &str) -> PathBuf {
    PathBuf::from(format!("{id}.yaml"))
}

impl Known {
    pub(super) fn since(changes: Changes) -> Self {
        Self { changes, ..Self::default() }
    }

    pub(super) fn insert(&mut self, workspace: &Workspace, id: Option<String>, row: &IndexRow) {
        let known = KnownRow::of(workspace, id.as_deref().unwrap_or_default(), row);
        match id {
            Some(id) => drop(self.rows.insert(id.into(), known)),
            None => self.nameless.push(known),
        }
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.rows.remove(id);
    }

    /// For each row that counts, the path in `active/` that it names.
    pub(super) fn counting(&self) -> impl Iterator<Item = PathBuf> {
        let named = self.rows.iter().map(|(id, row)| (&**id, row));
        let rows = named.chain(self.nameless.iter().map(|row| ("", row)));
        rows.filter(|(_, row)| row.counts).map(|(id, row)| row.inside(id))
    }

    /// Whether the row of a file says of it what it should.
    pub(super) fn agrees(&self, id: &str, inside: &Path, wanted: ColumnsHash) -> bool {
        self.rows.get(id).is_some_and(|row| {
            let says = row.says[usize::from(!wanted.created_is_told())];
            // A file that cannot be read says nothing about its row.
            !wanted.is_known() || says == wanted && row.spelled && row.inside(id) == inside
        })
    }

    /// The ids of the rows that count.
    pub(super) fn counting_ids(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter(|(_, row)| row.counts).map(|(id, _)| &**id)
    }
}
