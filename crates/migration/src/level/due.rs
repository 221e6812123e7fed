//! What a milestone needs to be the same on both sides.

use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Draft;
use milescale_storage::store::Seen;

use super::Leveled;
use super::archived::Beside;

/// What was found of a milestone.
pub(super) enum Judged {
    /// It needs nothing, or nothing that can be done now.
    Is(Leveled),
    /// It has to be written.
    Due(Due),
}

impl Judged {
    pub(super) fn not_yet(why: String) -> Self {
        Self::Is(Leveled::NotYet(why))
    }
}

/// What is to be written into the target, if its content is what was seen.
pub(super) enum Due {
    /// A milestone is put there.
    Write(Box<Draft>, Seen),
    /// An archived one is put in the place where it stands, and moved from there to the archive.
    Archive(Box<Draft>, Digest),
    /// It is taken out.
    TakeOut(Id, Digest),
    /// It is kept as a conflict with what lies in the archive, and taken out where it stands in its place.
    Keep(Box<Beside>),
}

impl Due {
    pub(super) fn id(&self) -> &Id {
        match self {
            Self::Write(draft, _) | Self::Archive(draft, _) => &draft.id,
            Self::TakeOut(id, _) => id,
            Self::Keep(beside) => &beside.draft.id,
        }
    }

    /// What the target holds afterwards.
    pub(super) fn content(&self) -> Option<Content> {
        match self {
            Self::Write(draft, _) | Self::Archive(draft, _) => Some(draft.content()),
            Self::TakeOut(..) | Self::Keep(_) => None,
        }
    }

    /// Whether what is written is archived.
    pub(super) fn is_archived(&self) -> bool {
        matches!(self, Self::Write(draft, _) | Self::Archive(draft, _) if draft.is_archived())
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Write(draft, _) | Self::Archive(draft, _) => draft.text.len(),
            Self::TakeOut(..) => 0,
            Self::Keep(beside) => beside.draft.text.len() + beside.there.text.len(),
        };
        bytes as u64
    }
}
