//! What an index should say of a milestone, in eight bytes.

use std::hash::{DefaultHasher, Hash, Hasher};

use milescale_core::milestone::Columns;

/// A hash of the columns that a document tells. Only compared within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColumnsHash {
    hash: u64,
    /// Whether the document tells when the milestone came to be; where it does not, the index may say what it likes.
    pub(crate) created_is_told: bool,
    /// Whether the document could be read at all.
    pub(crate) is_known: bool,
}

impl ColumnsHash {
    /// The hash of these columns.
    pub(crate) fn of(columns: &Columns) -> Self {
        let Columns { title, status, priority, created_at } = columns;
        let mut hasher = DefaultHasher::new();
        (title, status, priority, created_at).hash(&mut hasher);
        Self { hash: hasher.finish(), created_is_told: created_at.is_some(), is_known: true }
    }

    /// A document that could not be read.
    pub(crate) fn unknown() -> Self {
        Self { hash: 0, created_is_told: false, is_known: false }
    }
}
