//! One milestone of an old store: what it comes to, and carrying that out.

use milescale_core::base::{Base, Content, Held, Side, Verdict, judge};
use milescale_core::digest::Digest;
use milescale_core::id::Id;
use milescale_storage::conflicts::{self, Conflict};
use milescale_storage::error::{Problem, StoreError};
use milescale_storage::record::Old;
use milescale_storage::store::{Draft, Milestone, Seen, Store};

use super::Swept;
use crate::context::{Context, Error};
use crate::level::there;
use crate::told::Told;

/// A milestone of an old store, judged.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) id: String,
    /// The digest of the old side's text; `None`: it is gone.
    pub(super) text: Option<Digest>,
    pub(super) verdict: Verdict,
    old: Option<Milestone>,
    current: Option<Milestone>,
    /// Whether that is not in the archive of files.
    in_place: bool,
    is_lost: bool,
    base: Option<Content>,
    /// What was reported of it before.
    noted: Option<String>,
}

/// What is noted of a milestone that was archived because its file was moved to the archive.
const NOTED_ARCHIVED: &str = "archived";

impl Judged {
    /// Reads both sides and the base, and judges.
    pub(super) fn of(id: &str, side: Side, store: &mut dyn Store, current: &mut dyn Store) -> Result<Self, Error> {
        let mut judged = Self {
            id: id.to_owned(),
            text: None,
            verdict: Verdict::Nothing,
            old: None,
            current: None,
            in_place: false,
            is_lost: false,
            base: None,
            noted: None,
        };
        // A row whose id is no file's name: nobody can tell where it belongs.
        let Ok(id) = id.parse::<Id>() else { return Ok(judged) };
        let (old, twice) = match there(store.get(&id)) {
            Err(error) if error.problem == Problem::Refused => (None, true),
            other => (other?, false),
        };
        judged.current = match there(current.get(&id)) {
            Err(error) if error.problem == Problem::Refused => return Ok(judged),
            other => other?,
        };
        judged.in_place = judged.current.is_some();
        if !judged.in_place {
            judged.current = readable(current.archived(&id))?;
        }
        let ledger = current.ledger()?;
        let known = ledger.bases(side, &[judged.id.clone()])?.remove(&judged.id);
        let base = match &known {
            Some(known) => Base::Known(known.content),
            None if ledger.is_complete(side)? => Base::None,
            None => Base::Lost,
        };
        judged.is_lost = base == Base::Lost;
        judged.base = known.as_ref().map(|known| known.content);
        judged.noted = known.and_then(|known| known.noted);
        let is_moved = old.is_none();
        let old = match old {
            // An id that stands twice is named by `doctor`, and neither of the two is taken for it.
            None if twice => return Ok(judged),
            // Its file was moved to the archive, and that was dealt with.
            None if judged.noted.as_deref() == Some(NOTED_ARCHIVED) => return Ok(judged),
            None => readable(store.archived(&id))?,
            there => there,
        };
        let held = match &old {
            None => Held::Nothing,
            Some(old) if old.text.is_empty() => return Ok(judged),
            Some(old) => {
                let (content, usable) = (old.content(), old.value.is_ok());
                let earlier = usable && ledger.was_earlier(&judged.id, content.value)?;
                match (is_moved, usable) {
                    (true, usable) => Held::Archived { content, usable, earlier },
                    (false, true) => Held::Content { content, earlier },
                    (false, false) => Held::Unusable(content),
                }
            }
        };
        judged.verdict = judge(held, judged.compared_with(old.as_ref()), base);
        // A move to the archive without an edit is no change of a text.
        let is_edited = |old: &&Milestone| !is_moved || judged.base.is_none_or(|base| base.text != old.digest());
        judged.text = old.as_ref().filter(is_edited).map(Milestone::digest);
        judged.old = old;
        Ok(judged)
    }

    /// The content of the store in use that the old side's is compared with. What archiving changes is no difference between an
    /// archived milestone and the one that lies in the archive.
    fn compared_with(&self, old: Option<&Milestone>) -> Option<Content> {
        let current = self.current.as_ref()?;
        let is_archived = |old: &&Milestone| {
            !self.in_place
                && old.is_archived()
                && old.value.as_ref().is_ok_and(|value| current.is_same_milestone(&old.text, value))
        };
        Some(old.filter(is_archived).unwrap_or(current).content())
    }
}

/// What lies in the archive, where it can be read.
fn readable(archived: Result<Option<Milestone>, StoreError>) -> Result<Option<Milestone>, StoreError> {
    match archived {
        Err(error) if error.problem == Problem::Refused => Ok(None),
        other => other,
    }
}

/// Carries out what was judged.
pub(super) struct Act<'a, 'b> {
    old: &'a Old,
    current: &'a mut dyn Store,
    context: &'a mut Context<'b>,
    imported: Vec<String>,
    reported: Vec<(String, String)>,
    conflicts: u64,
}

impl<'a, 'b> Act<'a, 'b> {
    pub(super) fn new(old: &'a Old, current: &'a mut dyn Store, context: &'a mut Context<'b>) -> Self {
        Self { old, current, context, imported: Vec::new(), reported: Vec::new(), conflicts: 0 }
    }

    /// Does it. Whether it is done: a store that changed meanwhile is looked at again.
    pub(super) fn carry_out(&mut self, judged: &Judged) -> Result<bool, Error> {
        let done = match judged.verdict {
            Verdict::Nothing => Ok(true),
            Verdict::Advance => self.advance(judged),
            Verdict::Import | Verdict::Insert => self.import(judged),
            Verdict::Conflict => self.keep(judged),
            Verdict::Archive => self.advance(judged).and_then(|_| self.archive(judged, judged.current.as_ref())),
            // Where this ends between the two, the next pass finds both sides equal, and archives.
            Verdict::ImportAndArchive => self.import(judged).and_then(|_| self.archive(judged, judged.old.as_ref())),
            Verdict::KeepAndArchive => self.keep(judged).and_then(|_| self.archive(judged, judged.current.as_ref())),
            Verdict::ReportGone => self.report(judged, "gone", "it is gone there; it is not deleted for that"),
            Verdict::ReportEarlier => {
                let text = judged.text.map(|text| text.to_string()).unwrap_or_default();
                self.report(judged, &text, "it has an earlier content there; that is not taken over")
            }
        };
        match done {
            Err(Error::Store(error)) if matches!(error.problem, Problem::Changed | Problem::Busy) => {
                tracing::debug!(id = judged.id, %error, "looked at again");
                Ok(false)
            }
            other => other,
        }
    }

    fn content(judged: &Judged) -> Option<Content> {
        judged.old.as_ref().map(Milestone::content)
    }

    /// Before its base advances: what was the base is an earlier content from then on. Only here, for what a source went
    /// through while it was in use and copied is no history of the old side's.
    fn remember(&mut self, judged: &Judged) -> Result<(), Error> {
        let moves_on = |base: &Content| judged.old.as_ref().is_some_and(|old| !old.content().is_same(base));
        if let Some(base) = judged.base.filter(moves_on) {
            self.current.ledger()?.remember(&[(judged.id.clone(), base.value)])?;
        }
        Ok(())
    }

    fn advance(&mut self, judged: &Judged) -> Result<bool, Error> {
        self.remember(judged)?;
        if let Some(content) = Self::content(judged) {
            self.current.ledger()?.set(self.old.side, &[(judged.id.clone(), content)])?;
        }
        Ok(true)
    }

    fn import(&mut self, judged: &Judged) -> Result<bool, Error> {
        let Some(old) = &judged.old else { return Ok(true) };
        let Ok(draft) = Draft::of(old.clone(), self.context.now()) else { return self.keep(judged) };
        self.remember(judged)?;
        let seen = judged.current.as_ref().map_or(Seen::Nothing, |current| Seen::Text(current.digest()));
        self.current.import(&draft, seen, self.old.side)?;
        self.imported.push(judged.id.clone());
        if draft.is_archived() && judged.in_place {
            self.move_to_archive(&draft)?;
        }
        Ok(true)
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
        let (Some(current), Ok(id)) = (current, judged.id.parse::<Id>()) else { return Ok(true) };
        match Draft::archived(id, &current.text, self.context.now()) {
            Ok(draft) => {
                self.current.archive(&draft, current.digest())?;
                if draft.text != current.text && !self.imported.contains(&judged.id) {
                    self.imported.push(judged.id.clone());
                }
                self.current.ledger()?.note(self.old.side, &judged.id, NOTED_ARCHIVED)?;
                Ok(true)
            }
            Err(flaw) => {
                self.report(judged, "gone", &format!("it is archived there and cannot be archived here: {flaw}"))
            }
        }
    }

    /// Keeps the old side's content and names both. It is the base from now on: what is changed after it is judged anew.
    fn keep(&mut self, judged: &Judged) -> Result<bool, Error> {
        let (Some(old), Some(content)) = (&judged.old, Self::content(judged)) else { return Ok(true) };
        let reason = match (&old.value, &judged.current) {
            (Err(flaw), _) => format!("it cannot be taken over: {flaw}"),
            (Ok(_), None) => "it was changed there, and is gone in the store in use".to_owned(),
            (Ok(_), Some(_)) if judged.is_lost => "it differs, and what both had in common is not known".to_owned(),
            (Ok(_), Some(_)) => "both sides were changed".to_owned(),
        };
        let conflict = Conflict {
            name: String::new(),
            id: judged.id.clone(),
            at: self.context.stamp(),
            side: Some(self.old.side),
            place: old.place.clone(),
            reason: reason.clone(),
            current: judged.current.as_ref().map(Milestone::digest),
            backup: self.old.backup.clone(),
        };
        let kept = conflicts::keep(self.context.workspace, &conflict, &old.text, self.context.now());
        let (path, is_new) = kept.map_err(|error| Error::own(".milescale/conflicts", &error))?;
        let current = judged.current.as_ref().map_or_else(|| self.current.name(), |current| current.place.clone());
        let told = Told::Conflict {
            id: judged.id.clone(),
            kept_as: self.context.workspace.shown(&path),
            place: old.place.clone(),
            current,
            reason,
        };
        self.conflicts += 1;
        // Named before the base moves on; one that was kept by an attempt that died before it said so, once it has.
        if is_new {
            (self.context.tell)(told.clone());
        }
        self.remember(judged)?;
        self.current.ledger()?.set(self.old.side, &[(judged.id.clone(), content)])?;
        if !is_new {
            (self.context.tell)(told);
        }
        Ok(true)
    }

    /// Reports a milestone, once.
    fn report(&mut self, judged: &Judged, noted: &str, what: &str) -> Result<bool, Error> {
        if judged.noted.as_deref() != Some(noted) {
            self.reported.push((judged.id.clone(), what.to_owned()));
            self.current.ledger()?.note(self.old.side, &judged.id, noted)?;
        }
        Ok(true)
    }

    /// Says what was done.
    pub(super) fn finish(self) -> Swept {
        let swept = Swept { imported: self.imported.len() as u64, conflicts: self.conflicts, ..Swept::default() };
        if !self.imported.is_empty() {
            (self.context.tell)(Told::Imported(self.old.side, self.imported));
        }
        if !self.reported.is_empty() {
            (self.context.tell)(Told::Reported(self.old.side, self.reported));
        }
        swept
    }
}

impl From<&StoreError> for Error {
    fn from(error: &StoreError) -> Self {
        Self::Store(error.clone())
    }
}
