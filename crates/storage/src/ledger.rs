//! The base of old stores: per side and milestone the content last known equal on both sides, kept with the store in use,
//! so that a row and its base are committed together.

use std::collections::HashMap;

use milescale_core::base::{Content, Side};
use milescale_core::digest::Digest;

use crate::error::StoreError;

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

    /// Notes what was reported of a milestone.
    fn note(&mut self, side: Side, id: &str, noted: &str) -> Result<(), StoreError>;

    /// The next earlier contents, of all sides, in an order of their own.
    fn earlier(&mut self, after: Option<&(String, Digest)>, limit: usize) -> Result<Vec<(String, Digest)>, StoreError>;

    /// Remembers earlier contents.
    fn remember(&mut self, earlier: &[(String, Digest)]) -> Result<(), StoreError>;

    /// Whether a milestone had this value before.
    fn was_earlier(&mut self, id: &str, value: Digest) -> Result<bool, StoreError>;
}

/// Bases written or read at once.
pub const AT_ONCE: usize = 500;

/// Copies what is known of earlier contents from one ledger into another.
pub fn copy_earlier(from: &mut dyn Ledger, to: &mut dyn Ledger) -> Result<(), StoreError> {
    let mut after: Option<(String, Digest)> = None;
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
