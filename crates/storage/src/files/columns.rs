//! What an index should say of a milestone, in eight bytes.

use milescale_document::columns::{Columns, DEFAULT_PRIORITY};
use milescale_document::digest::Running;
use milescale_document::gathered::Gathered;

/// The document tells when the milestone came to be.
const CREATED: u64 = 1;

/// The document could be read at all.
const KNOWN: u64 = 2;

/// A hash of the columns that a document tells. The same in every process, for it is kept across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColumnsHash(u64);

impl ColumnsHash {
    /// The hash of these columns.
    pub(crate) fn of(columns: &Columns) -> Self {
        let Columns { title, status, priority, created_at } = columns;
        Self::of_texts(title, status.as_deref(), priority, created_at.as_deref())
    }

    /// The hash of the columns of a document with this id.
    pub(crate) fn of_gathered(id: &str, gathered: &Gathered<'_>) -> Self {
        let Gathered { title, status, priority, .. } = gathered;
        let priority = priority.as_deref().unwrap_or(DEFAULT_PRIORITY);
        let created_at = gathered.created_at();
        Self::of_texts(title.as_deref().unwrap_or(id), status.as_deref(), priority, created_at.as_deref())
    }

    fn of_texts(title: &str, status: Option<&str>, priority: &str, created_at: Option<&str>) -> Self {
        let mut running = Running::default();
        for text in [Some(title), status, Some(priority), created_at] {
            // Nothing is another thing than an empty text, and no text runs into the next one.
            let length = text.map_or(u64::MAX, |text| text.len() as u64);
            running.update(&length.to_le_bytes());
            running.update(text.map(str::as_bytes).unwrap_or_default());
        }
        let hash = running.finish().as_bytes()[..8].iter().fold(0, |hash, &byte| hash << 8 | u64::from(byte));
        Self(hash & !(CREATED | KNOWN) | KNOWN | if created_at.is_some() { CREATED } else { 0 })
    }

    /// A document that could not be read.
    pub(crate) fn unknown() -> Self {
        Self(0)
    }

    /// Whether the document tells when the milestone came to be; where it does not, the index may say what it likes.
    pub(crate) fn created_is_told(self) -> bool {
        self.0 & CREATED != 0
    }

    /// Whether the document could be read at all.
    pub(crate) fn is_known(self) -> bool {
        self.0 & KNOWN != 0
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}
