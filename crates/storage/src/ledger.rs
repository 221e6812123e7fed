//! The base of old stores: per side and milestone the content last known equal on both sides, kept with the store in use,
//! so that a row and its base are committed together.

use std::collections::HashMap;

use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_document::milestone::Milestone;
use milescale_workspace::error::StoreError;

/// What is kept of a milestone on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The base.
    pub content: Content,
    /// What was reported of it last, so that it is reported once.
    pub noted: Option<String>,
}

impl From<Content> for Known {
    /// A base of which nothing was reported.
    fn from(content: Content) -> Self {
        Self { content, noted: None }
    }
}

/// What is to stand in the ledger once a milestone was written, in the same step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The side that it is about.
    pub side: Side,
    /// The base, and what is noted of it.
    pub known: Known,
}

/// The base, as a store in use keeps it.
pub trait Ledger {
    /// Whether the base of a side is there in full. Where it is not, any difference is a conflict.
    fn is_complete(&mut self, side: Side) -> Result<bool, StoreError>;

    /// Says that it is, from now on.
    fn complete(&mut self, side: Side) -> Result<(), StoreError>;

    /// Drops the base of a side.
    fn forget(&mut self, side: Side) -> Result<(), StoreError>;

    /// The bases of these milestones; one that has none is not in the answer.
    fn bases(&mut self, side: Side, ids: &[String]) -> Result<HashMap<String, Known>, StoreError>;

    /// The next bases of a side in the order of ids.
    fn page(&mut self, side: Side, after: Option<&str>, limit: usize) -> Result<Vec<(String, Known)>, StoreError>;

    /// Sets bases and what is noted of them, in one step: a note without its base says something else, and so does a base that
    /// has lost its note.
    fn set(&mut self, side: Side, bases: &[(String, Known)]) -> Result<(), StoreError>;

    /// Drops the base of one milestone.
    fn unset(&mut self, side: Side, id: &str) -> Result<(), StoreError>;

    /// Notes what was reported of milestones, each with its id, in one step.
    fn note(&mut self, side: Side, noted: &[(String, String)]) -> Result<(), StoreError>;

    /// The next earlier contents, of all sides, in an order of their own.
    fn earlier(&mut self, after: Option<&(String, Former)>, limit: usize) -> Result<Vec<(String, Former)>, StoreError>;

    /// Remembers earlier contents.
    fn remember(&mut self, earlier: &[(String, Former)]) -> Result<(), StoreError>;

    /// The earlier contents of a milestone that had this value.
    fn formers(&mut self, id: &str, value: Digest) -> Result<Vec<Former>, StoreError>;
}

/// A content that a milestone had on an old side, and has no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Former {
    /// The digest of its value.
    pub value: Digest,
    /// The digest of its text, and the side. A milescale of before remembered values alone.
    pub text: Option<(Digest, Side)>,
}

/// What is more, as bytes, than any digest of a text and the side behind it.
const ABOVE_ANY: [u8; size_of::<Digest>() + 1] = [0xff; size_of::<Digest>() + 1];

/// The sides, as their numbers in a ledger.
const SIDES: [Side; 3] = [Side::Files, Side::Sqlite, Side::Postgresql];

impl Former {
    /// A content of a side.
    pub fn of(side: Side, Content { value, text }: Content) -> Self {
        Self { value, text: Some((text, side)) }
    }

    /// As a ledger keeps it: the value's digest, the text's behind it, and the number of the side.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.value.as_bytes().to_vec();
        if let Some((text, side)) = self.text {
            bytes.extend(text.as_bytes());
            bytes.extend((0..).zip(SIDES).filter(|(_, it)| *it == side).map(|(number, _): (u8, _)| number));
        }
        bytes
    }

    /// What a ledger has kept; `None`: it is damaged.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (value, rest) = bytes.split_at_checked(size_of::<Digest>())?;
        let value = Digest::from_bytes(value)?;
        let Some((side, text)) = rest.split_last() else { return Some(Self { value, text: None }) };
        let side = *SIDES.get(usize::from(*side))?;
        Some(Self { value, text: Some((Digest::from_bytes(text)?, side)) })
    }

    /// Between which bytes those of one value stand, both included.
    pub(crate) fn range_of(value: Digest) -> (Vec<u8>, Vec<u8>) {
        (value.as_bytes().to_vec(), [value.as_bytes().as_slice(), &ABOVE_ANY].concat())
    }
}

/// Whether a content is one that a milestone had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// It is none: its value is new, or the text around it is somebody's who knew that value.
    No,
    /// Its value is one, and of its text nothing is known.
    Unknown,
    /// It is one.
    Yes,
}

/// Whether what an old side holds of a milestone is a content that it had there before. Comments are content: a value of before with
/// other comments is an edit.
///
/// # Errors
/// Those of the ledger.
pub fn was_earlier(ledger: &mut dyn Ledger, side: Side, milestone: &Milestone) -> Result<Earlier, StoreError> {
    let Content { value, text } = milestone.content();
    let mut formers = ledger.formers(&milestone.id, value)?;
    formers.retain(|former| former.text.is_none_or(|(_, of)| of == side));
    let is_text = |former: &Former| former.text.is_some_and(|(former, _)| former == text);
    Ok(if formers.is_empty() {
        Earlier::No
    } else if !milestone.is_given || formers.iter().any(is_text) {
        Earlier::Yes
    } else if formers.iter().all(|former| former.text.is_some()) {
        Earlier::No
    } else if milestone.own_text().is_none() {
        Earlier::Yes
    } else {
        Earlier::Unknown
    })
}

/// Bases written or read at once.
pub const AT_ONCE: usize = 500;

/// Copies what is known of earlier contents from one ledger into another.
pub fn copy_earlier(from: &mut dyn Ledger, to: &mut dyn Ledger) -> Result<(), StoreError> {
    let mut after: Option<(String, Former)> = None;
    loop {
        let page = from.earlier(after.as_ref(), AT_ONCE)?;
        if page.is_empty() {
            return Ok(());
        }
        to.remember(&page)?;
        after = page.into_iter().last();
    }
}

/// Copies the base of a side from one ledger into another.
///
/// # Errors
/// Those of either; the base is complete in the other only once all of it is there.
pub fn copy(from: &mut dyn Ledger, to: &mut dyn Ledger, side: Side) -> Result<(), StoreError> {
    to.forget(side)?;
    if !from.is_complete(side)? {
        return Ok(());
    }
    let mut after: Option<String> = None;
    loop {
        let page = from.page(side, after.as_deref(), AT_ONCE)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        to.set(side, &page)?;
    }
    to.complete(side)
}
