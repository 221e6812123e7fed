//! What an old side holds of a milestone that is not in its place: in the archive, or among the files that were retired.

use milescale_core::base::Side;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_storage::archived_before::{ArchivedBefore, Came};
use milescale_storage::files::Retired;
use milescale_storage::store::Store;
use milescale_workspace::error::StoreError;

use super::judged::{Filed, Judged, Judging, ToRetired};
use crate::context::Error;
use crate::level::readable;

/// What the old side holds of a milestone that is not in its place there.
pub(super) enum Elsewhere {
    /// Nothing.
    Nothing,
    /// A file of the archive that was dealt with.
    DealtWith,
    /// A content that is judged as if it were in its place.
    Its(Milestone),
    /// It was moved to the archive.
    Moved(Milestone),
}

impl Judged {
    /// What lies in the archive and was moved there. Where that was dealt with before, and the store in use has taken the milestone
    /// out again, it is judged where it lies.
    fn moved(&mut self, archived: Milestone) -> Elsewhere {
        if self.was_archived() && !self.is_current_archived() {
            self.filed = Filed::Back;
            return Elsewhere::Its(archived);
        }
        Elsewhere::Moved(archived)
    }
}

impl Judging<'_> {
    /// What the old side holds of a milestone that is not in its place there.
    pub(super) fn elsewhere(
        &mut self,
        judged: &mut Judged,
        id: &Id,
        store: &mut dyn Store,
    ) -> Result<Elsewhere, Error> {
        if let Some(retired) = self.retired_one(id)? {
            judged.retired = ToRetired::IsCopy;
            return Ok(Elsewhere::Its(retired));
        }
        let Some((archived, has_come)) = self.in_archive(judged, id, store)? else { return Ok(Elsewhere::Nothing) };
        let (was_archived, is_base) = (judged.was_archived(), judged.is_base(&archived));
        if was_archived && is_base {
            return Ok(Elsewhere::DealtWith);
        }
        // What both sides never had in common was not moved there in any case.
        let is_known = judged.base.is_some() || (judged.is_lost && judged.current.is_some());
        if is_base || !is_known || self.old.side != Side::Files {
            return Ok(judged.moved(archived));
        }
        let before = self.before()?;
        let came = if has_come { Came::Since } else { before.judge(id.as_str(), archived.digest()) };
        Ok(match came {
            Came::Since => judged.moved(archived),
            // An older one of the same id.
            Came::Before => Elsewhere::Nothing,
            Came::Unclear => {
                judged.filed = Filed::Unclear;
                Elsewhere::Its(archived)
            }
        })
    }

    /// What lies in the archive under an id: of several what both sides had in common, else what has come beside those that lay there
    /// before (then with `true`), else the one that counts.
    fn in_archive(
        &mut self,
        judged: &Judged,
        id: &Id,
        store: &mut dyn Store,
    ) -> Result<Option<(Milestone, bool)>, Error> {
        let mut all = readable(store.archived_all(id))?;
        let base = all.iter().position(|it| judged.is_base(it));
        let come = if base.is_some() || all.len() < 2 || self.old.side != Side::Files {
            None
        } else {
            let texts: Vec<Digest> = all.iter().map(Milestone::digest).collect();
            self.before()?.came_beside(id.as_str(), &texts)
        };
        let at = base.or(come).unwrap_or_default();
        Ok((at < all.len()).then(|| (all.swap_remove(at), come.is_some())))
    }

    /// What lay in the archive when the files were left.
    fn before(&mut self) -> Result<&ArchivedBefore, StoreError> {
        Ok(match &mut self.before {
            Some(before) => before,
            before @ None => before.insert(ArchivedBefore::load(self.workspace, self.old.epoch)?),
        })
    }

    /// A file that milescale itself has put among the retired ones: it is still the old side's.
    fn retired_one(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        if self.old.side != Side::Files {
            return Ok(None);
        }
        let retired = match self.retired.take() {
            Some(retired) => retired,
            None => Retired::open(self.workspace, &self.old.epoch.to_string())?,
        };
        self.retired.insert(retired).get(id)
    }

    /// Whether a file was made where milescale had retired one: who made it may not have known that one.
    pub(super) fn is_made_anew(&mut self, id: &Id, retired: ToRetired) -> Result<bool, StoreError> {
        Ok(match retired {
            // It was retired in turn.
            ToRetired::IsCopy => self.retired.as_ref().is_some_and(|retired| retired.has_earlier(id)),
            _ => self.retired_one(id)?.is_some(),
        })
    }
}
