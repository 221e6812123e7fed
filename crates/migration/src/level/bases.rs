//! What is known of a milestone on both sides while they are made the same, and what is noted of it.

use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::id::Id;
use milescale_storage::ledger::Known;
use milescale_workspace::error::{Problem, StoreError};

use super::Pair;
use super::archived::{known_as, lies_in_archive};
use super::due::Due;
use crate::context::Error;

/// Bases that are noted at once: a commit of so many takes no longer than that of one.
const NOTED_AT_ONCE: usize = 100;

impl Pair<'_> {
    /// What the source's ledger says of a milestone of an old target.
    pub(super) fn known(&mut self, id: &Id) -> Result<Option<Known>, StoreError> {
        if let Some(known) = self.ahead.known.get(id.as_str()) {
            return Ok(known.clone());
        }
        Ok(self.source.ledger()?.bases(self.to, &[id.to_string()])?.remove(id.as_str()))
    }

    pub(super) fn base(&mut self, id: &Id) -> Result<Option<Content>, StoreError> {
        Ok(self.known(id)?.map(|known| known.content))
    }

    /// Whether it is the base, comments and layout of files included.
    pub(super) fn is_base_as_written(&mut self, id: &Id, found: Content) -> Result<bool, StoreError> {
        Ok(self.base(id)?.is_some_and(|base| self.is_as_written(base, found)))
    }

    /// Whether the target holds what was written there. In a database the same values may be another text at any time.
    pub(super) fn is_as_written(&self, written: Content, found: Content) -> bool {
        if self.to == Side::Files { written.text == found.text } else { written.is_same(&found) }
    }

    /// Whether a sweep has reported this text of an old target, and left it: an earlier content of the milestone.
    pub(super) fn was_reported(&mut self, id: &Id, found: Content) -> Result<bool, StoreError> {
        let noted = self.known(id)?.and_then(|known| known.noted);
        Ok(noted.is_some_and(|noted| noted == found.text.to_string()))
    }

    /// Whether this move has brought a content, comments and layout of files aside.
    pub(super) fn was_brought(&mut self, id: &Id, found: Content) -> Result<bool, StoreError> {
        Ok(self.brought(id)?.is_some_and(|brought| brought.is_same(&found)))
    }

    /// The same, and nobody has changed it since: comments and layout of files included.
    pub(super) fn was_brought_as_written(&mut self, id: &Id, found: Content) -> Result<bool, StoreError> {
        Ok(self.brought(id)?.is_some_and(|brought| self.is_as_written(brought, found)))
    }

    /// What this move has brought under an id.
    pub(super) fn brought(&mut self, id: &Id) -> Result<Option<Content>, StoreError> {
        let known = self.target.ledger()?.bases(self.from, &[id.to_string()])?.remove(id.as_str());
        Ok(known.map(|known| known.content))
    }

    /// Where the migration fails, the target is an old store as before: its base is what it holds by then.
    pub(super) fn note_base(&mut self, done: &Due) -> Result<(), Error> {
        if self.target_was_old {
            let is_archived = done.is_archived() && lies_in_archive(self.target, done.id())?;
            let known = done.content().map(|content| known_as(content, is_archived));
            self.unnoted.push((done.id().to_string(), known));
        }
        if self.unnoted.len() >= NOTED_AT_ONCE { self.note_bases() } else { Ok(()) }
    }

    /// Notes them, many in a commit: each keeps other writers out of the source for a moment. Where those are kept out already,
    /// they wait.
    pub(crate) fn note_bases(&mut self) -> Result<(), Error> {
        if self.unnoted.is_empty() || self.is_held {
            return Ok(());
        }
        let (to, ledger) = (self.to, self.source.ledger()?);
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        for (id, known) in self.unnoted.drain(..) {
            match known {
                Some(known) => there.push((id, known)),
                None => gone.push(id),
            }
        }
        let noted = ledger.set(to, &there).and_then(|()| gone.iter().try_for_each(|id| ledger.unset(to, id)));
        only_read(noted)
    }
}

/// What noting bases in a source came to. One that is another workspace's is only read: nothing is brought into it, so its bases
/// say nothing.
pub(crate) fn only_read(noted: Result<(), StoreError>) -> Result<(), Error> {
    match noted {
        Err(error) if error.problem == Problem::Refused => {
            tracing::debug!(%error, "the source is only read, and says nothing of the target");
            Ok(())
        }
        other => Ok(other?),
    }
}
