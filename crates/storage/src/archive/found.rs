//! What lies under an id.

use milescale_document::milestone::Milestone;

/// What a workspace holds under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A milestone that is not archived, whatever lies in the archive.
    Active(Milestone),
    /// An archived one, among the rows of the store in use.
    Row(Milestone),
    /// An archived one, in `completed/`.
    File(Milestone),
}

impl Found {
    /// The milestone, where there is one.
    pub fn milestone(&self) -> Option<&Milestone> {
        match self {
            Self::Nothing => None,
            Self::Active(there) | Self::Row(there) | Self::File(there) => Some(there),
        }
    }
}
