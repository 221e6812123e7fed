//! Carrying out what was judged, and telling it. What is told is told before it is noted that it was: a crash in between
//! says something twice, and never not at all.

use milescale_core::base::{Side, Verdict};
use milescale_document::content::Content;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone};
use milescale_storage::ledger::{Earlier, Entry, Former, Known};
use milescale_storage::store::{Seen, Store};
use milescale_workspace::conflicts::Keeper;
use milescale_workspace::error::Problem;
use milescale_workspace::record::Old;

use super::Swept;
use super::judged::{Filed, Finding, Judged, ToRetired};
use super::memory::OfSide;
use super::noted::{NOTED_ARCHIVED_GONE, NOTED_ARCHIVED_KEPT, NOTED_BACK, noted_archived, noted_unusable, unsaid};
use crate::context::{Context, Error};
use crate::keeping::InConflict;
use crate::told::Told;

/// Notes of what was reported, in one commit.
const TOLD_AT_ONCE: usize = 500;

/// What carries out.
pub(super) struct Act<'a, 'b> {
    old: &'a Old,
    /// The side of the store in use.
    to: Side,
    current: &'a mut dyn Store,
    context: &'a mut Context<'b>,
    imported: Vec<String>,
    /// What is reported of a milestone: its id, and the words.
    reported: Vec<(String, String)>,
    /// What is noted of a milestone once all was said.
    noted: Vec<(String, String)>,
    conflicts: u64,
    keeper: Option<Keeper>,
    /// Contents that are kept and named, and are not noted as bases yet.
    kept: Vec<Kept>,
}

/// A content that is kept and named.
struct Kept {
    id: String,
    content: Content,
    /// The base of before.
    base: Option<Content>,
    /// Whether it becomes the base for what comes later.
    is_usable: bool,
    /// What is noted with it.
    noted: Option<String>,
}

/// Bases of contents in conflict that are noted at once.
const NOTED_AT_ONCE: usize = 50;

impl<'a, 'b> Act<'a, 'b> {
    pub(super) fn new(old: &'a Old, to: Side, current: &'a mut dyn Store, context: &'a mut Context<'b>) -> Self {
        Self {
            old,
            to,
            current,
            context,
            imported: Vec::new(),
            reported: Vec::new(),
            noted: Vec::new(),
            conflicts: 0,
            keeper: None,
            kept: Vec::new(),
        }
    }

    pub(super) fn go_on(&self) -> Result<(), Error> {
        self.context.go_on()
    }

    pub(super) fn current(&mut self) -> &mut dyn Store {
        &mut *self.current
    }

    /// Does it. Whether it is done: a store that changed meanwhile is looked at again.
    pub(super) fn carry_out(&mut self, judged: &Judged) -> Result<bool, Error> {
        let verdict = match &judged.finding {
            Finding::Verdict(verdict) => *verdict,
            Finding::Cannot(why) => return Err(Error::Refused(why.clone())),
            Finding::Empty(place) => {
                let what = "it is empty there, which replaces nothing; write it again, or remove it";
                return Err(Error::Refused(format!("{place}: {what}")));
            }
        };
        let done = match verdict {
            Verdict::Nothing => Ok(true),
            Verdict::Advance => self.advance(judged),
            Verdict::Import | Verdict::Insert | Verdict::TakeText => self.import(judged),
            Verdict::Conflict => self.keep(judged),
            Verdict::Archive => self.advance(judged).and_then(|_| self.archive(judged, judged.current.as_ref())),
            // Where these end between the two, the next pass finds the old side as its base, and archives.
            Verdict::ImportAndArchive => self.import(judged).and_then(|_| self.archive(judged, judged.old.as_ref())),
            Verdict::KeepAndArchive => {
                self.keep(judged)?;
                self.note_kept()?;
                self.archive(judged, judged.current.as_ref())
            }
            Verdict::ReportBack => {
                let what = "it was moved back from the archive there, and was changed and archived here; \
                            `milescale milestone unarchive` brings it back";
                self.report(judged, NOTED_BACK, what)
            }
            Verdict::ReportGone => {
                let noted = if judged.was_archived() { NOTED_ARCHIVED_GONE } else { "gone" };
                self.report(judged, noted, "it is gone there; it is not deleted for that")
            }
            Verdict::ReportEarlier => {
                let text = judged.text.map(|text| text.to_string()).unwrap_or_default();
                self.report(judged, &text, "it has an earlier content there; that is not taken over")
            }
        };
        if judged.filed != Filed::Elsewhere {
            // A new base has no note.
            let noted = match verdict {
                Verdict::Conflict => NOTED_ARCHIVED_KEPT.to_owned(),
                _ => noted_archived(b"", false),
            };
            self.noted.push((judged.id.clone(), noted));
        }
        match done {
            Err(error) if error.is_passing() => {
                tracing::debug!(id = judged.id, %error, "looked at again");
                Ok(false)
            }
            other => other,
        }
    }

    /// Before its base advances: what was the base is an earlier content from then on. Only here, for what a source went
    /// through while it was in use and copied is no history of the old side's.
    fn remember(&mut self, judged: &Judged) -> Result<(), Error> {
        let moves_on = |base: &Content| judged.content().is_some_and(|content| content != *base);
        if let Some(base) = judged.base.filter(moves_on) {
            self.current.ledger()?.remember(&[(judged.id.clone(), Former::of(self.old.side, base))])?;
        }
        Ok(())
    }

    fn advance(&mut self, judged: &Judged) -> Result<bool, Error> {
        self.remember(judged)?;
        if let Some(content) = judged.content() {
            let noted = judged.noted_alike().or_else(|| judged.noted_with(false));
            let known = Known { content, noted };
            self.current.ledger()?.set(self.old.side, &[(judged.id.clone(), known)])?;
        }
        Ok(true)
    }

    fn import(&mut self, judged: &Judged) -> Result<bool, Error> {
        let Some(old) = &judged.old else { return Ok(true) };
        let Ok(draft) = Draft::of(old.clone(), self.context.now()) else { return self.keep(judged) };
        if judged.retired == ToRetired::MadeAnew {
            self.keep_current(judged, old)?;
        }
        self.remember(judged)?;
        let seen = judged.current.as_ref().map_or(Seen::Nothing, |current| Seen::Text(current.digest()));
        let is_to_archive = draft.is_archived() && judged.in_place && self.to == Side::Files;
        let known = Known { content: draft.content(), noted: judged.noted_with(is_to_archive) };
        self.current.import(&draft, seen, &Entry { side: self.old.side, known })?;
        self.imported.push(judged.id.clone());
        if is_to_archive {
            self.move_to_archive(&draft)?;
            self.current.ledger()?.set(self.old.side, &[(judged.id.clone(), draft.content().into())])?;
        }
        Ok(true)
    }

    /// Keeps what is current and about to be replaced, and names it: who wrote the other one may not have known it.
    fn keep_current(&mut self, judged: &Judged, old: &Milestone) -> Result<(), Error> {
        let is_replaced = |current: &&Milestone| current.value != old.value || current.has_comments_beyond(&old.text);
        let Some(current) = judged.current.as_ref().filter(is_replaced) else { return Ok(()) };
        let in_conflict = InConflict {
            id: &judged.id,
            text: &current.text,
            side: self.to,
            place: &current.place,
            reason: "another one was made where milescale had retired its file".to_owned(),
            current: Some(old.digest()),
            current_place: old.place.clone(),
            backup: self.old.backup.clone(),
        };
        self.keep_and_tell(in_conflict)
    }

    fn keep_and_tell(&mut self, in_conflict: InConflict<'_>) -> Result<(), Error> {
        let (told, _) = in_conflict.keep(&mut self.keeper, self.context)?;
        self.conflicts += 1;
        (self.context.tell)(told);
        Ok(())
    }

    /// Moves what was archived on the old side to the archive, unless another one lies there: then it stays in its place.
    fn move_to_archive(&mut self, draft: &Draft) -> Result<(), Error> {
        match self.current.archive(draft, draft.content().text) {
            Err(error) if error.problem == Problem::Refused => {
                tracing::debug!(%error, "it has status archived, and stays where it is");
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// Archives a milestone whose file was moved to the archive, once. `current` is what the store in use holds by now.
    fn archive(&mut self, judged: &Judged, current: Option<&Milestone>) -> Result<bool, Error> {
        let (Some(current), Some(content)) = (current, judged.content()) else { return Ok(true) };
        let Ok(id) = judged.id.parse::<Id>() else { return Ok(true) };
        match Draft::archived(id, &current.text, self.context.now()) {
            Ok(draft) => {
                // Comments that the store in use has alone are not the other side's to replace.
                let is_level = content.text == current.digest() || !current.is_given;
                let noted = Some(noted_archived(&draft.text, is_level && content.is_same(&current.content())));
                let entry = Entry { side: self.old.side, known: Known { content, noted } };
                self.current.archive_for(&draft, current.digest(), &entry)?;
                if draft.text != current.text && !self.imported.contains(&judged.id) {
                    self.imported.push(judged.id.clone());
                }
                Ok(true)
            }
            Err(flaw) => self.report(judged, "gone", &unsaid("it is archived there and cannot be here", &flaw)),
        }
    }

    /// Keeps the old side's content and names both. It is the base from now on: what is changed after it is judged anew.
    fn keep(&mut self, judged: &Judged) -> Result<bool, Error> {
        let (Some(old), Some(content)) = (&judged.old, judged.content()) else { return Ok(true) };
        let reason = match (&old.value, &judged.current) {
            (Err(flaw), _) => unsaid("it cannot be taken over", flaw),
            (Ok(_), Some(_)) if judged.filed == Filed::Unclear => {
                "it lies in the archive, where another one of this id lay when the files were left".to_owned()
            }
            (Ok(_), None) if judged.is_lost => {
                "the store in use does not have it, and what both had in common is not known".to_owned()
            }
            (Ok(_), None) => "it was changed there, and is gone in the store in use".to_owned(),
            (Ok(_), Some(_)) if judged.earlier == Earlier::Unknown => {
                "its values are those of an earlier content, and whether its comments are is not known".to_owned()
            }
            (Ok(_), Some(_)) if judged.is_lost => "it differs, and what both had in common is not known".to_owned(),
            (Ok(_), Some(_)) => "both sides were changed".to_owned(),
        };
        let current_place =
            judged.current.as_ref().map_or_else(|| self.current.name(), |current| current.place.clone());
        let in_conflict = InConflict {
            id: &judged.id,
            text: &old.text,
            side: self.old.side,
            place: &old.place,
            reason,
            current: judged.current.as_ref().map(Milestone::digest),
            current_place,
            backup: self.old.backup.clone(),
        };
        self.keep_and_tell(in_conflict)?;
        // What cannot be taken over moves no base: what is saved in its place is an edit of the content of before.
        let noted = (old.value.is_err() && !judged.is_lost).then(|| noted_unusable(judged.base));
        let is_usable = noted.is_none();
        let noted = noted.or_else(|| judged.noted_with(false));
        self.kept.push(Kept { id: judged.id.clone(), content, base: judged.base, is_usable, noted });
        if self.kept.len() >= NOTED_AT_ONCE { self.note_kept().map(|()| true) } else { Ok(true) }
    }

    /// Notes what was kept and named as bases, many in a commit.
    fn note_kept(&mut self) -> Result<(), Error> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let side = self.old.side;
        let moved_on = |kept: &Kept| {
            let base = kept.base.filter(|base| kept.is_usable && kept.content != *base);
            base.map(|base| (kept.id.clone(), Former::of(side, base)))
        };
        let earlier: Vec<_> = self.kept.iter().filter_map(moved_on).collect();
        let ledger = self.current.ledger()?;
        if !earlier.is_empty() {
            ledger.remember(&earlier)?;
        }
        let known = |kept: Kept| (kept.id, Known { content: kept.content, noted: kept.noted });
        let bases: Vec<_> = self.kept.drain(..).map(known).collect();
        ledger.set(self.old.side, &bases)?;
        Ok(())
    }

    /// Reports a milestone, once.
    fn report(&mut self, judged: &Judged, noted: &str, what: &str) -> Result<bool, Error> {
        if judged.noted.as_deref() != Some(noted) {
            self.reported.push((judged.id.clone(), what.to_owned()));
            self.noted.push((judged.id.clone(), noted.to_owned()));
        }
        Ok(true)
    }

    /// Tells what was done, and notes that it was told.
    pub(super) fn finish(mut self, memory: &mut OfSide) -> Result<Swept, Error> {
        let noted = self.note_kept();
        let swept = Swept { imported: self.imported.len() as u64, conflicts: self.conflicts, ..Swept::default() };
        for id in &self.imported {
            memory.recent.imported(id);
        }
        if !self.imported.is_empty() {
            (self.context.tell)(Told::Imported(self.old.side, std::mem::take(&mut self.imported)));
        }
        memory.under_way.clear();
        memory.archiving.clear();
        if !self.reported.is_empty() {
            (self.context.tell)(Told::Reported(self.old.side, std::mem::take(&mut self.reported)));
        }
        for some in self.noted.chunks(TOLD_AT_ONCE) {
            self.context.go_on()?;
            self.current.ledger()?.note(self.old.side, some)?;
        }
        noted.map(|()| swept)
    }
}
