//! The archive, which is the same whatever store is in use: what lies in `completed/`, together with the rows of a database
//! whose status is archived.

mod found;

use std::collections::HashSet;
use std::ops::ControlFlow;

use jiff::Timestamp;
use milescale_document::digest::Digest;
use milescale_document::document::Flaw;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone, differ_archived};
use milescale_document::text::in_command;
use milescale_workspace::Workspace;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::readers::Readers;

use crate::files::{FileStore, readers_of_all};
use crate::outline::{Outline, Wanted};
use crate::store::{Seen, Store};

pub use found::Found;

/// The status of a milestone that comes back from the archive and has no other one.
pub const ACTIVE: &str = "active";

/// The archive of a workspace, beside the store in use.
#[derive(Debug)]
pub struct Archive {
    files: FileStore,
}

impl Archive {
    /// The archive of a workspace. Nothing is read yet.
    pub fn new(workspace: &Workspace) -> Self {
        Self { files: FileStore::new(workspace.clone(), 0) }
    }

    /// Who may read every milestone that is a file or stands in a file; where that cannot be seen, nobody else.
    pub(crate) fn readers_of_all(&self) -> Readers {
        let readers = readers_of_all(self.files.workspace());
        readers.ok().filter(|readers| *readers != Readers::ALL).unwrap_or(Readers::OWN)
    }

    /// Says who may read what new files of the archive are made of.
    pub fn make_for(&mut self, readers: Readers) {
        self.files.make_new_for(readers);
    }

    /// Finds a milestone: in the store in use, else in `completed/`, which is not read before.
    ///
    /// # Errors
    /// When the store or the archive cannot be read.
    pub fn find(&mut self, store: &mut dyn Store, id: &Id) -> Result<Found, StoreError> {
        self.find_but(store, id, &[])
    }

    /// The same, where of `completed/` the documents of these digests are known to be others of its id, and none that has left
    /// its place.
    ///
    /// # Errors
    /// When the store or the archive cannot be read.
    pub fn find_but(&mut self, store: &mut dyn Store, id: &Id, others: &[Digest]) -> Result<Found, StoreError> {
        match store.get(id) {
            Ok(milestone) if store.archives_by_status() && milestone.is_archived() => Ok(Found::Row(milestone)),
            Ok(milestone) => Ok(Found::Active(milestone)),
            Err(error) if error.problem == Problem::NotThere => {
                Ok(self.archived_but(id, others)?.map_or(Found::Nothing, Found::File))
            }
            Err(error) => Err(error),
        }
    }

    /// What lies in `completed/` under an id and is none of the documents of these digests. Where one of them was changed, or is
    /// gone, nobody can tell what it is, and it counts as one of them.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn archived_but(&mut self, id: &Id, others: &[Digest]) -> Result<Option<Milestone>, StoreError> {
        if others.is_empty() {
            return self.files.archived(id);
        }
        let all = self.files.archived_all(id)?;
        let is_clear = others.iter().all(|other| all.iter().any(|it| it.digest() == *other));
        Ok(all.into_iter().find(|it| is_clear && !others.contains(&it.digest())))
    }

    /// The digests of what lies in `completed/` under an id, but for what `is_it` takes for the milestone itself. None where it
    /// cannot be read.
    pub fn others(&mut self, id: &Id, is_it: &dyn Fn(&Milestone) -> bool) -> Option<Vec<Digest>> {
        let all = self
            .files
            .archived_all(id)
            .inspect_err(|error| tracing::warn!(%error, "what lies in the archive is not noted"))
            .ok()?;
        Some(all.iter().filter(|it| !is_it(it)).map(Milestone::digest).collect())
    }

    /// One milestone, archived or not.
    ///
    /// # Errors
    /// Those of the store, where neither has it.
    pub fn get(&mut self, store: &mut dyn Store, id: &Id) -> Result<Milestone, StoreError> {
        match store.get(id) {
            Err(error) if error.problem == Problem::NotThere => self.files.archived(id)?.ok_or(error),
            other => other,
        }
    }

    /// What lies in `completed/` under an id.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn archived(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        self.files.archived(id)
    }

    /// Hands over what lies in `completed/`, in the order of ids.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn scan(&self, visit: &mut dyn FnMut(Milestone) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.files.scan_archive(visit)
    }

    /// The ids of what lies in `completed/`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn ids(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.files.archived_files()?.into_iter().map(|(id, _)| id).collect())
    }

    /// What the store in use has archived as a row, where that is what lies in `completed/` under its id: the same milestone.
    pub fn row_of(store: &mut dyn Store, archived: &Milestone) -> Option<Milestone> {
        let row = store.get(&archived.id.parse().ok()?).ok()?;
        let is_it = store.archives_by_status()
            && row.is_archived()
            && row.value.as_ref().is_ok_and(|value| archived.is_same_milestone(&row.text, value));
        is_it.then_some(row)
    }

    /// Hands over what a list or a search is to show of `completed/`, but for what a row is that it shows already: `shown` says
    /// which. It is not read where archived ones are not asked for.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn list(
        &self,
        store: &mut dyn Store,
        wanted: &Wanted,
        shown: &HashSet<String>,
        visit: &mut dyn FnMut(Milestone),
    ) -> Result<(), StoreError> {
        if !wanted.asks_for_archived() {
            return Ok(());
        }
        self.scan(&mut |milestone| {
            let mut is_shown =
                |milestone: &Milestone| shown.contains(&milestone.id) && Self::row_of(store, milestone).is_some();
            if wanted.takes(&milestone) && !is_shown(&milestone) {
                visit(milestone);
            }
            ControlFlow::Continue(())
        })
    }

    /// Hands over the outlines of what a list or a search is to show, of the store in use and of the archive.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn list_with(
        &self,
        store: &mut dyn Store,
        wanted: &Wanted,
        visit: &mut dyn FnMut(Outline),
    ) -> Result<(), StoreError> {
        let mut shown = HashSet::new();
        store.list(wanted, &mut |outline| {
            if wanted.asks_for_archived() {
                shown.insert(outline.id.clone());
            }
            visit(outline);
        })?;
        self.list(store, wanted, &shown, &mut |milestone| visit(Outline::of(milestone)))
    }

    /// Archives a milestone, if its content is what was seen, where that is said. Its digest then; one that is archived already
    /// stays as it is.
    ///
    /// # Errors
    /// When there is none, when it was changed meanwhile, or where another one lies in its place in the archive.
    pub fn archive(
        &mut self,
        store: &mut dyn Store,
        id: &Id,
        seen: Option<Digest>,
        now: Timestamp,
    ) -> Result<Digest, StoreError> {
        match self.find(store, id)? {
            Found::Nothing => Err(nothing(store, id)),
            Found::Row(there) | Found::File(there) => as_seen(&there, seen),
            Found::Active(there) => {
                let digest = as_seen(&there, seen)?;
                let draft = Draft::archived(id.clone(), &there.text, now).map_err(|flaw| unedited(&there, &flaw))?;
                store.archive(&draft, digest)?;
                Ok(Digest::of(&draft.text))
            }
        }
    }

    /// Brings a milestone back from the archive. Its status becomes the one that is named, else `active` where it is archived. Its
    /// digest then, and whether it was archived; one that was not stays as it is. A file in its place whose status is archived
    /// stays there, with its new status.
    ///
    /// # Errors
    /// When there is none, when it was changed meanwhile, or where another one of its id is in use.
    pub fn unarchive(
        &mut self,
        store: &mut dyn Store,
        id: &Id,
        status: Option<&str>,
        seen: Option<Digest>,
        now: Timestamp,
    ) -> Result<(Digest, bool), StoreError> {
        let (there, is_row) = match self.find(store, id)? {
            Found::Nothing => return Err(nothing(store, id)),
            Found::Active(there) => {
                let digest = self.settled(store, id, &there, seen, now)?;
                if !there.is_archived() {
                    return Ok((digest, false));
                }
                let draft = back(id, &there, status, now).map_err(|flaw| unedited(&there, &flaw))?;
                store.put(&draft, Seen::Text(digest))?;
                return Ok((Digest::of(&draft.text), true));
            }
            Found::Row(there) => (there, true),
            Found::File(there) => (there, false),
        };
        let digest = as_seen(&there, seen)?;
        let draft = back(id, &there, status, now).map_err(|flaw| unedited(&there, &flaw))?;
        if is_row || !store.archives_by_status() {
            store.unarchive(&draft, digest)?;
        } else {
            // What was kept from others stays so.
            store.make_for(self.files.archived_readers(id, digest)?)?;
            store.put(&draft, Seen::Nothing)?;
        }
        if store.archives_by_status() {
            self.leave(&draft, &there).map_err(|error| {
                let cause = format!(
                    "{}; {id} is written in {}, and in use. The same command again takes its file out of the archive",
                    error.cause,
                    store.name()
                );
                StoreError { cause, ..error }
            })?;
        }
        Ok((Digest::of(&draft.text), true))
    }

    /// Makes a milestone what the workspace holds under its id, archived or not, in the place of what it holds now, but for the
    /// documents of `completed/` that are known to be `others`. Where that is kept, as people read it; `None` where there was
    /// nothing.
    ///
    /// # Errors
    /// When that is changed meanwhile, or cannot be read or written.
    pub fn replace(
        &mut self,
        store: &mut dyn Store,
        draft: &Draft,
        others: &[Digest],
    ) -> Result<Option<String>, StoreError> {
        match self.find_but(store, &draft.id, others)? {
            Found::Active(there) | Found::Row(there) => {
                store.put(draft, Seen::Text(there.digest()))?;
                let displaced = store.displaced();
                if store.archives_by_status() && !draft.is_archived() {
                    self.leave(draft, &there)?;
                }
                Ok(Some(displaced))
            }
            Found::File(there) if draft.is_archived() => {
                self.files.replace_archived(draft, there.digest())?;
                Ok(Some(self.files.displaced()))
            }
            Found::File(there) if !store.archives_by_status() => {
                store.unarchive(draft, there.digest())?;
                Ok(Some(store.displaced()))
            }
            // It is a row from then on, and no file beside it.
            Found::File(there) => {
                self.unarchive_into(store, draft, &there)?;
                Ok(Some(self.files.displaced()))
            }
            Found::Nothing => store.put(draft, Seen::Nothing).map(|()| None),
        }
    }

    /// Makes a milestone what a backup says, archived or not, in the place of what was found: once, wherever it lies now. Whether
    /// anything was written.
    ///
    /// # Errors
    /// When what was found is changed meanwhile, or cannot be written.
    pub fn restore(
        &mut self,
        store: &mut dyn Store,
        draft: &Draft,
        is_archived: bool,
        found: &Found,
    ) -> Result<bool, StoreError> {
        let by_status = store.archives_by_status();
        match found {
            Found::Nothing if is_archived && !by_status => self.files.create_archived(draft)?,
            Found::Nothing => store.put(draft, Seen::Nothing)?,
            Found::Active(there) if is_archived && !by_status => store.archive(draft, there.digest())?,
            Found::Active(there) | Found::Row(there) => {
                let is_another = there.text != draft.text;
                if is_another {
                    store.put(draft, Seen::Text(there.digest()))?;
                }
                if by_status && !is_archived {
                    self.leave(draft, there)?;
                }
                return Ok(is_another);
            }
            Found::File(there) if is_archived => {
                let is_held = || draft.is_held_by(there) && !(draft.is_given && there.has_comments_beyond(&draft.text));
                if there.text == draft.text || by_status && is_held() {
                    return Ok(false);
                }
                self.files.replace_archived(draft, there.digest())?;
            }
            Found::File(there) if !by_status => store.unarchive(draft, there.digest())?,
            Found::File(there) => self.unarchive_into(store, draft, there)?,
        }
        Ok(true)
    }

    /// Makes an archived file a row of a database, with the text of a draft. The file gets that text first, so that a death in
    /// between leaves one milestone twice, not two.
    fn unarchive_into(&mut self, store: &mut dyn Store, draft: &Draft, there: &Milestone) -> Result<(), StoreError> {
        store.make_for(self.files.archived_readers(&draft.id, there.digest())?)?;
        if there.text != draft.text {
            self.files.replace_archived(draft, there.digest())?;
        }
        store.put(draft, Seen::Nothing)?;
        self.leave(draft, there)
    }

    /// A milestone that is in use already: nothing is left to do, unless another one of its id lies in the archive.
    fn settled(
        &mut self,
        store: &dyn Store,
        id: &Id,
        there: &Milestone,
        seen: Option<Digest>,
        now: Timestamp,
    ) -> Result<Digest, StoreError> {
        let digest = as_seen(there, seen)?;
        let Some(archived) = self.files.archived(id)? else { return Ok(digest) };
        if store.archives_by_status()
            && there.value.as_ref().is_ok_and(|value| archived.is_same_milestone(&there.text, value))
            && !has_more_than(&archived, &there.text)
        {
            // Left over by an attempt that ended between the row and the file.
            self.files.take_out_archived(id, archived.digest(), now)?;
            return Ok(digest);
        }
        let cause = format!(
            "{id} is in use, and nothing is written over it; {} stays in the archive. Rename one of the two, with its id:",
            archived.place
        );
        Err(StoreError::new(Problem::Refused, there.place.clone(), cause))
    }

    /// Takes the file of a milestone that is a row again out of the archive: what it became, or what was there before.
    fn leave(&mut self, draft: &Draft, before: &Milestone) -> Result<(), StoreError> {
        let Some(archived) = self.files.archived(&draft.id)? else { return Ok(()) };
        let is_before = || before.value.as_ref().is_ok_and(|value| archived.is_same_milestone(&before.text, value));
        let is_it = archived.is_same_milestone(&draft.text, &draft.value) && !has_more_than(&archived, &draft.text);
        let is_before = || is_before() && !has_more_than(&archived, &before.text);
        if is_it || is_before() {
            self.files.take_out_archived(&draft.id, archived.digest(), draft.now)?;
        }
        Ok(())
    }
}

/// Whether a file of the archive has comments or a layout that a row of the same milestone has not: nobody else holds them.
fn has_more_than(archived: &Milestone, row: &[u8]) -> bool {
    archived.has_own_text() && differ_archived(&archived.id, &archived.text, row)
}

/// The milestone as it comes back.
fn back(id: &Id, there: &Milestone, status: Option<&str>, now: Timestamp) -> Result<Draft, Flaw> {
    match status.or_else(|| there.is_archived().then_some(ACTIVE)) {
        Some(status) => Draft::with_status(id.clone(), &there.text, status, now),
        None => Draft::new(id.clone(), there.text.clone(), now),
    }
}

fn as_seen(there: &Milestone, seen: Option<Digest>) -> Result<Digest, StoreError> {
    let digest = there.digest();
    if seen.is_none_or(|seen| seen == digest) {
        return Ok(digest);
    }
    let cause = format!("its digest is {digest}: it was changed meanwhile; read it again");
    Err(StoreError::new(Problem::Changed, there.place.clone(), cause))
}

fn nothing(store: &dyn Store, id: &Id) -> StoreError {
    StoreError::new(Problem::NotThere, store.name(), format!("there is no milestone {id}, nor in the archive"))
}

fn unedited(there: &Milestone, flaw: &Flaw) -> StoreError {
    StoreError::new(Problem::Refused, there.place.clone(), format!("{flaw}; nothing was written"))
}

/// Why a milestone that is only archived is not written.
pub fn only_archived(id: &Id, there: &Milestone) -> StoreError {
    let word = in_command(id.as_str());
    let cause = format!("{id} is archived; `milescale milestone unarchive {word}` brings it back");
    StoreError::new(Problem::Changed, there.place.clone(), cause)
}
