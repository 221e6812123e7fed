//! Archived milestones on a move to files: they go to the archive, and what lies there under their ids stops no move.

use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone};
use milescale_storage::archived_before::{ArchivedBefore, Came};
use milescale_storage::ledger::Known;
use milescale_storage::store::{Seen, Store};
use milescale_workspace::error::StoreError;

use super::{Due, Judged, Leveled, Pair, readable, there};
use crate::context::{Context, Error};
use crate::keeping::InConflict;
use crate::sweep::noted::{NOTED_ARCHIVED_KEPT, is_noted_archived, noted_archived};

/// A base; where its milestone lies in the archive and that was dealt with, no later sweep archives it again for that.
pub(crate) fn known_as(content: Content, is_archived: bool) -> Known {
    Known { content, noted: is_archived.then(|| noted_archived(b"", false)) }
}

/// Whether a store holds a milestone in its archive alone.
pub(crate) fn lies_in_archive(store: &mut dyn Store, id: &Id) -> Result<bool, StoreError> {
    Ok(there(store.get(id))?.is_none() && store.archived(id)?.is_some())
}

/// An archived milestone whose id another one has in the archive of the target.
pub(super) struct Beside {
    pub(super) draft: Draft,
    /// Where it is in the source.
    pub(super) place: String,
    /// What lies in the archive.
    pub(super) there: Milestone,
    /// The digest of what was brought to its place in the target before it was archived.
    pub(super) brought: Option<Digest>,
}

impl Pair<'_> {
    /// What an archived milestone needs that goes to the archive of files. What lies there under its id stays, unless it was
    /// brought there or is its base: it is the same milestone, or a conflict, and never stops a move.
    pub(super) fn judge_archived(
        &mut self,
        draft: Draft,
        place: String,
        active: Option<Milestone>,
        context: &Context<'_>,
    ) -> Result<Judged, Error> {
        let active = match active {
            Some(active) => match self.unswept(&draft.id, active.content())? {
                Some(unswept) => return Ok(Judged::Is(unswept)),
                None => Some(active.digest()),
            },
            None => None,
        };
        let archived = self.target.archived(&draft.id)?;
        let is_brought = self.brought_archived(&draft.id)?.is_some();
        let draft = Box::new(draft);
        Ok(Judged::Due(match (archived, active) {
            (None, None) => Due::Write(draft, Seen::Nothing),
            (None, Some(active)) => Due::Archive(draft, active),
            (Some(there), None) if is_brought && there.text != draft.text => {
                Due::Write(draft, Seen::Text(there.digest()))
            }
            // Its content is the base: it is kept already, and named.
            (Some(_), None) if self.was_brought_as_written(&draft.id, draft.content())? => {
                return Ok(Judged::Is(Leveled::Same));
            }
            (Some(there), None) if self.is_superseded(&draft, &there, context)? => {
                Due::Write(draft, Seen::Text(there.digest()))
            }
            (Some(there), brought) if !draft.is_held_by(&there) => {
                Due::Keep(Box::new(Beside { draft: *draft, place, there, brought }))
            }
            (Some(_), Some(active)) => Due::TakeOut(draft.id, active),
            (Some(_), None) => return Ok(Judged::Is(Leveled::Same)),
        }))
    }

    /// Whether what lies in the archive of an old target is its base, and the source was changed since: its file was moved there,
    /// and that was dealt with. It is replaced like a base that stands in its place.
    fn is_superseded(&mut self, draft: &Draft, there: &Milestone, context: &Context<'_>) -> Result<bool, Error> {
        Ok(!draft.is_held_by(there)
            && self.target_was_old
            && self.is_base_as_written(&draft.id, there.content())?
            && self.came(&draft.id, there.digest(), context)? == Came::Since)
    }

    /// Whether the file of a milestone was moved to the archive of the target, and no sweep has dealt with that.
    pub(super) fn was_moved_away(&mut self, id: &Id, context: &Context<'_>) -> Result<bool, Error> {
        if self.to != Side::Files {
            return Ok(false);
        }
        let Some(archived) = self.target.archived(id)? else { return Ok(false) };
        // An archived text was archived here, or is as both sides had it. Any other one was brought to its place in any case.
        if self.was_brought(id, archived.content())? {
            return Ok(!archived.is_archived());
        }
        if !self.target_was_old {
            return Ok(false);
        }
        let Some(known) = self.known(id)?.filter(|known| !is_noted_archived(known.noted.as_deref())) else {
            return Ok(false);
        };
        if known.content.text == archived.digest() && archived.is_archived() {
            return Ok(false);
        }
        Ok(self.came(id, archived.digest(), context)? == Came::Since)
    }

    /// Keeps what somebody has edited and moved to the archive of a new target, of what this move has brought there: it is brought
    /// again, and the edit is named.
    pub(super) fn keep_moved_away(&mut self, draft: &Draft, context: &Context<'_>) -> Result<(), Error> {
        if self.to != Side::Files || self.target_was_old {
            return Ok(());
        }
        let Some(brought) = self.brought(&draft.id)? else { return Ok(()) };
        let Some(archived) = readable(self.target.archived(&draft.id))? else { return Ok(()) };
        if archived.digest() == brought.text || archived.digest() == draft.content().text {
            return Ok(());
        }
        let in_conflict = InConflict {
            id: &archived.id,
            text: &archived.text,
            side: self.to,
            place: &archived.place,
            reason: "it was edited and moved to the archive while the milestones were moved there".to_owned(),
            current: Some(draft.content().text),
            current_place: archived.place.clone(),
            backup: None,
        };
        let (told, is_new) = in_conflict.keep_for_its_reason(&mut self.keeper, context)?;
        if is_new {
            self.kept.push(told);
        }
        Ok(())
    }

    /// What a text in the archive of an old target is: it came there since its files were left, or lay there.
    fn came(&mut self, id: &Id, text: Digest, context: &Context<'_>) -> Result<Came, Error> {
        let before = match &self.before {
            Some(before) => before,
            None => {
                let epoch = context.record()?.known(self.to, self.from).map_or(0, |old| old.epoch);
                self.before.insert(ArchivedBefore::load(context.workspace, epoch)?)
            }
        };
        Ok(before.judge(id.as_str(), text))
    }

    /// What this move has brought to the target's archive under an id.
    pub(super) fn brought_archived(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        let Some(archived) = self.target.archived(id)? else { return Ok(None) };
        Ok(self.was_brought_as_written(id, archived.content())?.then_some(archived))
    }

    /// What lies in the target's archive under the id of a milestone that is active in the source, and goes back to its place
    /// with it: this move has brought it there, or it is the base, and a sweep has dealt with its move there.
    pub(super) fn back_from_archive(&mut self, id: &Id, context: &Context<'_>) -> Result<Option<Milestone>, Error> {
        let brought = self.brought_archived(id)?;
        if brought.is_some() || !self.target_was_old {
            return Ok(brought);
        }
        let noted = self.known(id)?.and_then(|known| known.noted);
        let is_noted = is_noted_archived(noted.as_deref()) && noted.as_deref() != Some(NOTED_ARCHIVED_KEPT);
        let Some(archived) = (if is_noted { self.target.archived(id)? } else { None }) else { return Ok(None) };
        // An older one of the same id lay there, and stays.
        let is_its = self.is_base_as_written(id, archived.content())?
            && self.came(id, archived.digest(), context)? == Came::Since;
        Ok(is_its.then_some(archived))
    }

    /// Writes an archived milestone where it stands, and moves it to the archive from there.
    pub(super) fn archive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        self.target.bring(draft, Seen::Text(seen), self.from)?;
        self.target.archive(draft, draft.content().text)
    }

    /// Keeps an archived milestone that differs from the one of its id in the archive, and names both. Its content is the base of
    /// its side from then on, so that it is named once.
    pub(super) fn keep(&mut self, beside: &Beside, context: &mut Context<'_>) -> Result<Result<(), StoreError>, Error> {
        let Beside { draft, place, there, brought } = beside;
        let reason = "another milestone of this id lies in the archive".to_owned();
        let in_conflict = InConflict {
            id: draft.id.as_str(),
            text: &draft.text,
            side: self.from,
            place,
            reason,
            current: Some(there.digest()),
            current_place: there.place.clone(),
            backup: None,
        };
        let (told, _) = in_conflict.keep(&mut self.keeper, context)?;
        (context.tell)(told);
        let taken_out = brought.map_or(Ok(()), |brought| self.target.remove(&draft.id, brought, context.now()));
        if taken_out.is_ok() {
            self.target.ledger()?.set(self.from, &[(draft.id.to_string(), draft.content().into())])?;
        }
        Ok(taken_out)
    }
}
