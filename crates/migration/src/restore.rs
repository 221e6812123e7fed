//! A restore: the milestones are moved to the store that the backup was taken of, and there made what the backup says. What
//! that displaces is backed up first. What another program writes after that backup is kept as a conflict, or stays.

use std::collections::HashSet;

use milescale_core::backend::{Backend, Engine, InUse};
use milescale_core::base::Side;
use milescale_document::document::Flaw;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone};
use milescale_storage::archive::Archive;
use milescale_storage::store::Store;
use milescale_workspace::backup::{Backup, Metadata};
use milescale_workspace::conflicts::Keeper;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::restoring::Restoring;

use crate::backup;
use crate::context::{Context, Error};
use crate::keeping::InConflict;
use crate::level::there;
use crate::told::word;

/// How often a milestone that somebody writes just now is tried.
const TRIES: usize = 20;

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The store in use by then.
    pub into: InUse,
    /// The backup of what was there before.
    pub displaced: String,
    /// The backups of what was there before earlier attempts that were interrupted, oldest first.
    pub interrupted: Vec<String>,
    /// Milestones that were written.
    pub written: u64,
    /// Milestones that were taken out, for the backup has none of them.
    pub taken_out: Vec<String>,
    /// Milestones that were moved back to the archive: the backup says that they lay there.
    pub archived: Vec<String>,
    /// Milestones of the backup that cannot be restored, and why.
    pub failed: Vec<(String, String)>,
    /// Milestones that the backup has not and that stay all the same, and why.
    pub left: Vec<(String, String)>,
    /// Whether files that were written are for fewer than use the workspace, as the backup is.
    pub is_for_fewer: bool,
}

/// The store that a word of BACKUP_ID means.
pub fn store_of(word: &str) -> Option<InUse> {
    Some(match word {
        "file" => InUse { backend: Backend::File, engine: None },
        "hybrid" => InUse { backend: Backend::Hybrid, engine: None },
        "sqlite" => InUse::new(Backend::Database, Engine::Sqlite),
        "postgresql" => InUse::new(Backend::Database, Engine::Postgresql),
        _ => return None,
    })
}

/// Makes the store in use what a backup says. The caller holds the migration's lock and has moved the milestones to the
/// store that the backup was taken of.
///
/// `is_new`: the store came into use for this, and nobody relies on who may read it.
///
/// # Errors
/// When the backup is damaged, what is there cannot be backed up, or not all may read the backup who may read the store in use: then nothing was
/// changed. Later, some milestones are
/// restored and others not; [`Restoring`] says so, and it can be repeated.
pub fn restore(metadata: &Metadata, in_use: InUse, is_new: bool, context: &mut Context<'_>) -> Result<Restored, Error> {
    let source = Backup::open(context.workspace, metadata)?;
    let mut target = context.open(in_use)?;
    let readers = source.readers();
    let is_of_files = in_use.side() == Side::Files;
    let is_for_fewer = is_of_files && readers.leave_out_some(&context.workspace.active().join("any.yaml"));
    if is_new { target.narrow_for(readers) } else { target.make_for(readers) }?;
    let from = word(in_use);
    let displaced = backup::take(&mut *target, (from, from), Some(&source), context, &mut |_, _| None)?;
    let before = Backup::open(context.workspace, &displaced)?;
    let mut archive = Archive::new(context.workspace);
    archive.make_for(readers);
    let interrupted = note(&metadata.id, &displaced.id, context)?;
    let mut run = Run {
        is_of_rows: matches!(metadata.from.as_str(), "sqlite" | "postgresql"),
        source,
        before,
        target,
        archive,
        keeper: None,
        restored: Restored {
            into: in_use,
            displaced: displaced.id,
            interrupted,
            written: 0,
            taken_out: Vec::new(),
            archived: Vec::new(),
            failed: Vec::new(),
            left: Vec::new(),
            is_for_fewer,
        },
    };
    run.write_all(context)?;
    run.take_out_others(context)?;
    run.target.derive((context.clock)())?;
    let failed = |error| Error::own(&context.workspace.shown(&context.workspace.restoring()), &error);
    Restoring::discard(context.workspace).map_err(failed)?;
    Ok(run.restored)
}

/// Writes down that a restore begins. What was there before attempts that were interrupted.
fn note(backup: &str, displaced: &str, context: &Context<'_>) -> Result<Vec<String>, Error> {
    let failed = |error| Error::own(&context.workspace.shown(&context.workspace.restoring()), &error);
    let earlier = Restoring::load(context.workspace).map_err(failed)?;
    let mut begun = Restoring::begin(backup, earlier, context.now());
    let interrupted = begun.displaced.clone();
    begun.displaced.push(displaced.to_owned());
    begun.save(context.workspace).map_err(failed)?;
    Ok(interrupted)
}

/// A restore that has backed up what is there.
struct Run {
    source: Backup,
    /// Whether it was taken of a database, where the status alone says what is archived.
    is_of_rows: bool,
    /// What was there before.
    before: Backup,
    target: Box<dyn Store>,
    archive: Archive,
    keeper: Option<Keeper>,
    restored: Restored,
}

impl Run {
    fn write_all(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let ids: Vec<String> = self.source.ids().map(str::to_owned).collect();
        for id in ids {
            context.go_on()?;
            let written = self.write(&id, context);
            self.restored.written += u64::from(unless_refused(id, written, &mut self.restored.failed)?);
        }
        Ok(())
    }

    /// Writes one milestone, wherever it lies now. Whether it was another one.
    fn write(&mut self, id: &str, context: &mut Context<'_>) -> Result<bool, Error> {
        let (draft, is_archived) = self.draft(id, context)?;
        let mut tries = 0;
        loop {
            let found = self.archive.find_but(&mut *self.target, &draft.id, self.source.others(id))?;
            if let Some(there) = found.milestone().filter(|there| there.text != draft.text) {
                self.keep_if_changed(there, &draft, context)?;
            }
            match self.archive.restore(&mut *self.target, &draft, is_archived, &found) {
                Ok(written) => return Ok(written),
                Err(error) if error.is_passing() && tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A milestone of the backup as it is to be written, and whether it goes to the archive.
    fn draft(&self, id: &str, context: &Context<'_>) -> Result<(Draft, bool), Error> {
        let (wanted, now) = (self.source.get(id)?, context.now());
        let place = wanted.place.clone();
        let refused = |flaw: Flaw| StoreError::new(Problem::Refused, place.clone(), flaw.to_string());
        let keeps_any_text = !self.target.archives_by_status() && !wanted.text.is_empty();
        let made = if keeps_any_text { Draft::as_it_is(wanted, now) } else { Draft::of(wanted, now) };
        let mut draft = made.map_err(refused)?;
        let is_archived = self.source.is_archived(id) || self.is_of_rows && draft.is_archived();
        if is_archived && self.target.archives_by_status() && !draft.is_archived() {
            draft = Draft::archived(draft.id, &draft.text, now).map_err(refused)?;
        }
        Ok((draft, is_archived))
    }

    /// Keeps as a conflict what is about to be displaced and was written after it was backed up.
    fn keep_if_changed(&mut self, there: &Milestone, wanted: &Draft, context: &mut Context<'_>) -> Result<(), Error> {
        if self.before.holds(there)? {
            return Ok(());
        }
        let conflict = InConflict {
            id: &there.id,
            text: &there.text,
            side: self.restored.into.side(),
            place: &there.place,
            reason: "it was written while a backup was restored over it".to_owned(),
            current: Some(wanted.content().text),
            current_place: there.place.clone(),
            backup: Some(self.restored.displaced.clone()),
        };
        let (told, is_new) = conflict.keep(&mut self.keeper, context)?;
        if is_new {
            (context.tell)(told);
        }
        Ok(())
    }

    /// Takes out what the backup has none of, and moves to the archive what lay there.
    fn take_out_others(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        let wanted: HashSet<String> = self.source.ids().map(str::to_owned).collect();
        for id in self.target.ids()?.into_iter().filter(|id| !wanted.contains(id)) {
            context.go_on()?;
            let went = self.take_out(&id, context);
            match unless_refused(id.clone(), went, &mut self.restored.left)? {
                Went::Nowhere => {}
                Went::Out => self.restored.taken_out.push(id),
                Went::ToArchive => self.restored.archived.push(id),
            }
        }
        Ok(())
    }

    /// Takes out one milestone, or moves it to the archive, unless it was written after it was backed up.
    fn take_out(&mut self, id: &str, context: &Context<'_>) -> Result<Went, Error> {
        let refused = |cause: String| StoreError::new(Problem::Refused, self.target.name(), cause);
        let named: Id = id.parse().map_err(|bad| refused(format!("{bad}; take it out yourself")))?;
        let mut tries = 0;
        loop {
            let Some(there) = there(self.target.get(&named))? else { return Ok(Went::Nowhere) };
            if !self.before.holds(&there)? {
                let cause = "it was written after what was there had been backed up".to_owned();
                return Err(StoreError::new(Problem::Refused, there.place, cause).into());
            }
            let was_archived = self.source.was_in_archive(id) && self.archive.archived(&named)?.is_none();
            let (seen, now) = (there.digest(), context.now());
            let done = match was_archived {
                true if self.target.archives_by_status() && there.is_archived() => return Ok(Went::Nowhere),
                true => self.archive.archive(&mut *self.target, &named, Some(seen), now).map(|_| Went::ToArchive),
                false => self.target.remove(&named, seen, now).map(|()| Went::Out),
            };
            match done {
                Err(error) if error.is_passing() && tries < TRIES => tries += 1,
                other => return Ok(other?),
            }
        }
    }
}

/// Where a milestone went that the backup has none of.
#[derive(Debug, Clone, Copy, Default)]
enum Went {
    /// It is where it was, or was gone.
    #[default]
    Nowhere,
    Out,
    ToArchive,
}

/// What was done with a milestone. What refuses it is named; whatever else fails ends the restore.
fn unless_refused<T: Default>(
    id: String,
    done: Result<T, Error>,
    refused: &mut Vec<(String, String)>,
) -> Result<T, Error> {
    match done {
        Err(error) if error.is_refusal() => {
            refused.push((id, error.to_string()));
            Ok(T::default())
        }
        other => other,
    }
}
