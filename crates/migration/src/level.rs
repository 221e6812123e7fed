//! One milestone of the source made the same in the target: what catching up, comparing and moving back come down to.

pub(crate) mod archived;
pub(crate) mod bases;
mod due;

use std::collections::{BTreeSet, HashMap};
use std::io;

use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone};
use milescale_storage::archived_before::ArchivedBefore;
use milescale_storage::budget::Room;
use milescale_storage::ledger::Known;
use milescale_storage::store::{Seen, Store};
use milescale_workspace::conflicts::Keeper;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::move_journal::MoveJournal;

use crate::context::{Context, Error};
use crate::moving::adopt::{Foreign, TakeOver};
use crate::told::Told;
use due::{Due, Judged};

/// When a file that was gone is looked for again.
const SECOND_LOOK_AFTER: std::time::Duration = std::time::Duration::from_millis(30);

/// What became of a milestone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leveled {
    /// Both sides were the same.
    Same,
    /// The target says now what the source says.
    Done,
    /// It cannot be done now: why.
    NotYet(String),
}

/// Two stores, one of which is to say what the other says.
pub(crate) struct Pair<'a> {
    /// The store in use.
    pub(crate) source: &'a mut dyn Store,
    /// Its side.
    pub(crate) from: Side,
    /// The store that is to be.
    pub(crate) target: &'a mut dyn Store,
    /// Its side.
    pub(crate) to: Side,
    /// Whether the target is an old store of the workspace's: then what stands there is judged against its base.
    pub(crate) target_was_old: bool,
    /// Whether other writers are kept out of the source: then nothing is written to it.
    pub(crate) is_held: bool,
    /// How the target is taken over, where another program has filled it.
    pub(crate) take_over: Option<TakeOver>,
    /// Contents of the target that are kept as conflicts, to be told.
    pub(crate) kept: Vec<Told>,
    /// What is empty in an old target, and named: nothing is lost where it is written over.
    pub(crate) empty: BTreeSet<String>,
    /// What an old target holds by now and the source's ledger does not say yet.
    unnoted: Vec<(String, Option<Known>)>,
    /// What was read ahead, while those milestones are leveled.
    ahead: Ahead,
    /// The move's journal, once something was written into it here.
    journal: Option<MoveJournal>,
    /// What keeps contents as conflicts, once one was kept here.
    pub(crate) keeper: Option<Keeper>,
    /// What lay in the archive of an old target when its files were left, once that was asked for.
    before: Option<ArchivedBefore>,
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn journal_failed(error: io::Error) -> Error {
    Error::own(".milescale/move-journal.jsonl", &error)
}

/// What was read of many milestones at once: each reading of a database may refuse somebody's write.
#[derive(Default)]
struct Ahead {
    /// The source's. What is changed after it was read is told as changed, and leveled again.
    source: HashMap<String, Milestone>,
    /// What is known of an old target.
    known: HashMap<String, Option<Known>>,
}

impl<'a> Pair<'a> {
    pub(crate) fn new(
        (source, from): (&'a mut dyn Store, Side),
        (target, to): (&'a mut dyn Store, Side),
        target_was_old: bool,
    ) -> Self {
        Self {
            source,
            from,
            target,
            to,
            target_was_old,
            is_held: false,
            take_over: None,
            kept: Vec::new(),
            empty: BTreeSet::new(),
            unnoted: Vec::new(),
            ahead: Ahead::default(),
            journal: None,
            keeper: None,
            before: None,
        }
    }

    /// Makes milestones the same, and hands over what became of each. What is written into files or into an old target is in
    /// the move's journal before.
    ///
    /// # Errors
    /// Those of the stores and of the journal. The milestones that were not handed over are as they were, or in the journal.
    pub(crate) fn level_some(
        &mut self,
        ids: &[String],
        context: &mut Context<'_>,
        became: &mut dyn FnMut(&str, Leveled),
    ) -> Result<(), Error> {
        self.read_ahead(ids)?;
        let (mut due, mut room) = (Vec::new(), Room::new(usize::MAX));
        for id in ids {
            context.go_on()?;
            match self.judge(id, context)? {
                Judged::Is(leveled) => became(id, leveled),
                Judged::Due(it) => {
                    let is_full = room.fills(it.bytes());
                    due.push(it);
                    if is_full {
                        room = Room::new(usize::MAX);
                        self.carry_out(std::mem::take(&mut due), context, became)?;
                    }
                }
            }
        }
        self.carry_out(due, context, became)?;
        self.ahead = Ahead::default();
        Ok(())
    }

    /// What one milestone needs. Nothing is written.
    fn judge(&mut self, id: &str, context: &Context<'_>) -> Result<Judged, Error> {
        let Ok(id) = id.parse::<Id>() else {
            return Ok(Judged::not_yet(format!("{id:?} is no id that every store can keep")));
        };
        let source = match self.source_of(&id) {
            Err(error) if error.problem == Problem::Refused => return Ok(Judged::not_yet(error.to_string())),
            other => other?,
        };
        let target = match there(self.target.get(&id)) {
            Err(error) if error.problem == Problem::Refused => return Ok(Judged::not_yet(error.to_string())),
            other => other?,
        };
        let Some(source) = source else {
            // A file that is being renamed is for a moment under no name: what is gone is gone at a second look too.
            if target.is_some() && self.from == Side::Files {
                std::thread::sleep(SECOND_LOOK_AFTER);
                if there(self.source.get(&id))?.is_some() {
                    return Ok(Judged::not_yet(format!("{id}: it has just been moved")));
                }
            }
            return self.judge_gone(id, target);
        };
        let place = source.place.clone();
        let draft = match Draft::of(source, context.now()) {
            Ok(draft) => draft,
            Err(flaw) => return Ok(Judged::not_yet(format!("{place}: {flaw}"))),
        };
        // One whose old file stands in its place stays there.
        if draft.is_archived()
            && self.to == Side::Files
            && !((self.target_was_old || self.take_over.is_some()) && target.is_some())
        {
            return self.judge_archived(draft, place, target, context);
        }
        let seen = match &target {
            None if self.was_moved_away(&id, context)? => {
                return Ok(Judged::not_yet(format!(
                    "{id}: it was moved to the archive in the target and is not swept yet"
                )));
            }
            // It was archived when it was brought, or for its file, and is not any more.
            None => {
                self.keep_moved_away(&draft, context)?;
                self.back_from_archive(&id, context)?.map_or(Seen::Nothing, |there| Seen::Text(there.digest()))
            }
            Some(there) => {
                let found = there.content();
                if self.is_level(&draft, found)? {
                    return Ok(Judged::Is(Leveled::Same));
                }
                if let Some(unswept) = self.unswept(&id, found)? {
                    match self.foreign(Some(&draft), there, context)? {
                        Foreign::InTheWay => return Ok(Judged::Is(unswept)),
                        Foreign::Stays => return Ok(Judged::Is(Leveled::Same)),
                        Foreign::Replaced => {}
                    }
                }
                Seen::Text(there.digest())
            }
        };
        Ok(Judged::Due(Due::Write(Box::new(draft), seen)))
    }

    /// Writes what is due: first into the journal, then into the target, then as the base.
    fn carry_out(
        &mut self,
        due: Vec<Due>,
        context: &mut Context<'_>,
        became: &mut dyn FnMut(&str, Leveled),
    ) -> Result<(), Error> {
        self.write_down(&due, context)?;
        for it in due {
            let id = it.id().clone();
            let done = match &it {
                Due::Write(draft, seen) => self.target.bring(draft, *seen, self.from),
                Due::Archive(draft, seen) => self.archive(draft, *seen),
                Due::TakeOut(id, seen) => self.take_out(id, *seen, context),
                Due::Keep(beside) => self.keep(beside, context)?,
            };
            match done {
                Ok(()) if matches!(it, Due::Keep(_)) => became(id.as_str(), Leveled::Same),
                Ok(()) => {
                    self.note_base(&it)?;
                    became(id.as_str(), Leveled::Done);
                }
                Err(error) if error.is_passing() => {
                    became(id.as_str(), Leveled::NotYet(error.to_string()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes into the journal what is due, where only that can tell later what this move has brought: a database that is new
    /// commits it with its rows.
    fn write_down(&mut self, due: &[Due], context: &Context<'_>) -> Result<(), Error> {
        if due.is_empty() || !(self.target_was_old || self.to == Side::Files) {
            return Ok(());
        }
        let journal = match &mut self.journal {
            Some(journal) => journal,
            none => {
                let epoch = context.record()?.epoch + 1;
                none.insert(MoveJournal::open(context.workspace, epoch, self.to).map_err(journal_failed)?)
            }
        };
        let written = due.iter().try_for_each(|it| match it {
            Due::Write(draft, Seen::Nothing) if self.target_was_old => journal.add(&draft.id, draft.content()),
            Due::Write(draft, _) | Due::Archive(draft, _) => journal.write(&draft.id, draft.content(), None),
            Due::TakeOut(id, _) => journal.take_out(id),
            Due::Keep(beside) if beside.brought.is_some() => journal.take_out(&beside.draft.id),
            Due::Keep(_) => Ok(()),
        });
        written.and_then(|()| journal.sync()).map_err(journal_failed)
    }

    /// Whether what the target holds needs nothing done. Where only comments or layout differ, those of an old store's file stay,
    /// unless the store in use was given other ones since.
    fn is_level(&mut self, draft: &Draft, found: Content) -> Result<bool, StoreError> {
        let wanted = draft.content();
        if !wanted.is_same(&found) {
            return Ok(false);
        }
        if wanted.text == found.text || !self.target_was_old {
            return Ok(wanted.text == found.text);
        }
        if !draft.is_given {
            return Ok(true);
        }
        let base = self.base(&draft.id)?;
        Ok(base.is_none_or(|base| base.text == wanted.text) && !self.was_reported(&draft.id, found)?)
    }

    /// Reads what is leveled next, at once.
    fn read_ahead(&mut self, ids: &[String]) -> Result<(), Error> {
        self.ahead = Ahead::default();
        if !self.is_held {
            let source = self.source.get_some(ids)?.into_iter();
            self.ahead.source = source.map(|milestone| (milestone.id.clone(), milestone)).collect();
        }
        if self.target_was_old {
            let mut known = self.source.ledger()?.bases(self.to, ids)?;
            self.ahead.known = ids.iter().map(|id| (id.clone(), known.remove(id))).collect();
        }
        Ok(())
    }

    /// The source's milestone. One that is gone is gone now, not when many were read.
    fn source_of(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        match self.ahead.source.remove(id.as_str()) {
            Some(milestone) => Ok(Some(milestone)),
            None => there(self.source.get(id)),
        }
    }

    /// What stands in an old store and is not its base was written there since it was swept: it is not overwritten.
    fn unswept(&mut self, id: &Id, found: Content) -> Result<Option<Leveled>, StoreError> {
        if !self.target_was_old {
            // Only we write there; whatever else stands there is told by the comparison.
            let is_ours = self.was_brought_as_written(id, found)?;
            return Ok(
                (!is_ours).then(|| Leveled::NotYet(format!("{id}: another program has written it into the target")))
            );
        }
        let is_empty = found.text == Digest::of(b"") && self.empty.contains(id.as_str());
        let is_swept = is_empty || self.is_base_as_written(id, found)? || self.was_reported(id, found)?;
        Ok((!is_swept).then(|| Leveled::NotYet(format!("{id}: it was changed in the target and is not swept yet"))))
    }

    /// The source has none: the target's goes, if it is what was brought there.
    fn judge_gone(&mut self, id: Id, there: Option<Milestone>) -> Result<Judged, Error> {
        let Some(there) = there else {
            // What lies in the archive stays, unless it was brought there just now.
            return Ok(match self.brought_archived(&id)? {
                Some(archived) => Judged::Due(Due::TakeOut(id, archived.digest())),
                None => Judged::Is(Leveled::Same),
            });
        };
        if let Some(unswept) = self.unswept(&id, there.content())? {
            return Ok(Judged::Is(if self.take_over.is_some() { Leveled::Same } else { unswept }));
        }
        Ok(Judged::Due(Due::TakeOut(id, there.digest())))
    }

    fn take_out(&mut self, id: &Id, seen: Digest, context: &Context<'_>) -> Result<(), StoreError> {
        self.target.remove(id, seen, context.now())?;
        self.target.ledger()?.unset(self.from, id.as_str())
    }
}

/// What lies in the archive, where it can be read.
pub(crate) fn readable<T: Default>(archived: Result<T, StoreError>) -> Result<T, StoreError> {
    match archived {
        Err(error) if error.problem == Problem::Refused => Ok(T::default()),
        other => other,
    }
}

/// What a store has in the place of an id, be it one that cannot be an id: then it has nothing.
pub(crate) fn there_as(store: &mut dyn Store, id: &str) -> Result<Option<Milestone>, StoreError> {
    id.parse().map_or(Ok(None), |id| there(store.get(&id)))
}

/// A milestone, or that there is none.
pub(crate) fn there(got: Result<Milestone, StoreError>) -> Result<Option<Milestone>, StoreError> {
    match got {
        Ok(milestone) => Ok(Some(milestone)),
        Err(error) if error.problem == Problem::NotThere => Ok(None),
        Err(error) => Err(error),
    }
}
