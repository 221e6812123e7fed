//! One milestone of an old store: what it comes to.

mod compared;

use std::collections::{BTreeMap, HashMap, HashSet};

use milescale_core::base::{Base, Held, Verdict, judge};
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_storage::archived_before::ArchivedBefore;
use milescale_storage::files::Retired;
use milescale_storage::ledger::{Earlier, Known, was_earlier};
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::error::StoreError;
use milescale_workspace::record::Old;

use super::elsewhere::Elsewhere;
use super::noted::{NOTED_ALIKE, NOTED_TO_ARCHIVE, base_before, is_noted_archived, noted_archived};
use crate::context::Error;
use crate::level::{readable, there};

/// What a milestone of an old store comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// This is to be done about it.
    Verdict(Verdict),
    /// Nothing can be: it cannot be taken at all, and why.
    Cannot(String),
    /// Nothing can be, for it is empty; where it stands.
    Empty(String),
}

/// What the file of a milestone is that lies in the archive and is judged as if it were in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filed {
    /// It does not lie there, or was moved there.
    Elsewhere,
    /// The milestone was archived for it, and was taken out of the archive again in the store in use.
    Back,
    /// Nobody can tell if it was moved there, or lay there before under the same id and was changed.
    Unclear,
}

/// What a content of the old side has to do with files that milescale has retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ToRetired {
    /// Nothing.
    Nothing,
    /// It is one: who had it open may have written to it since.
    IsCopy,
    /// It was made where one had been: nobody can tell if who made it knew that one.
    MadeAnew,
}

/// A milestone of an old store, judged.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) id: String,
    /// The digest of the old side's text, or of its move to the archive; `None`: it is gone.
    pub(super) text: Option<Digest>,
    pub(super) finding: Finding,
    pub(super) old: Option<Milestone>,
    pub(super) current: Option<Milestone>,
    /// The content of the old side.
    content: Option<Content>,
    /// What the old side's has to do with files that milescale has retired.
    pub(super) retired: ToRetired,
    /// What its file is, where it is a file of the archive.
    pub(super) filed: Filed,
    /// Whether the current one is not in the archive of files.
    pub(super) in_place: bool,
    pub(super) is_lost: bool,
    pub(super) base: Option<Content>,
    /// Whether the old side's is a content that the milestone had before.
    pub(super) earlier: Earlier,
    /// What was reported of it before.
    pub(super) noted: Option<String>,
}

impl Judged {
    fn nothing(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            text: None,
            finding: Finding::Verdict(Verdict::Nothing),
            old: None,
            current: None,
            content: None,
            retired: ToRetired::Nothing,
            filed: Filed::Elsewhere,
            in_place: false,
            is_lost: false,
            base: None,
            earlier: Earlier::No,
            noted: None,
        }
    }

    /// What cannot be taken, for that reason; said once for each reason.
    pub(super) fn cannot(id: &str, why: String) -> Self {
        Self { text: Some(Digest::of(why.as_bytes())), finding: Finding::Cannot(why), ..Self::nothing(id) }
    }

    /// Whether the move of its file to the archive was dealt with.
    pub(super) fn was_archived(&self) -> bool {
        is_noted_archived(self.noted.as_deref())
    }

    /// The base of before a content was kept that nobody can take over: what is saved in its place is compared with that one.
    fn before_unusable(&self) -> Option<Base> {
        base_before(self.noted.as_deref()?)
    }

    /// What is noted with a base where the store in use holds another content that is the same milestone, archived.
    pub(super) fn noted_alike(&self) -> Option<String> {
        let (old, current) = (self.old.as_ref()?, self.current.as_ref()?);
        let is_another = !current.content().is_same(&old.content()) && !current.has_comments_beyond(&old.text);
        (is_another && self.is_alike(old, current)).then(|| format!("{NOTED_ALIKE} {}", current.digest()))
    }

    /// What is noted with a base that an import sets.
    pub(super) fn noted_with(&self, is_to_archive: bool) -> Option<String> {
        // The move of its file to the archive stays dealt with.
        let filed = (self.filed != Filed::Elsewhere).then(|| noted_archived(b"", false));
        filed.or_else(|| is_to_archive.then(|| NOTED_TO_ARCHIVE.to_owned()))
    }

    /// Whether nothing but the text around the values is brought over.
    pub(super) fn takes_text(&self) -> bool {
        self.finding == Finding::Verdict(Verdict::TakeText)
    }

    pub(super) fn is_base(&self, old: &Milestone) -> bool {
        self.base.is_some_and(|base| base.text == old.digest())
    }

    fn has_both(&self) -> bool {
        self.base.is_some() && self.current.is_some()
    }

    /// Whether the store in use has it archived.
    pub(super) fn is_current_archived(&self) -> bool {
        self.current.as_ref().is_some_and(|current| !self.in_place || current.is_archived())
    }

    /// The content of the old side.
    pub(super) fn content(&self) -> Option<Content> {
        self.content
    }

    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> u64 {
        [&self.old, &self.current].into_iter().flatten().map(|it| it.text.len() as u64).sum()
    }

    /// Lets the milestones go where too many wait to be carried out.
    pub(super) fn let_go(&mut self) {
        (self.old, self.current) = (None, None);
    }

    /// Whether they were let go, and have to be read again.
    pub(super) fn is_let_go(&self) -> bool {
        self.content.is_some() && self.old.is_none()
    }

    /// Whether another judgement of the milestone is the same one.
    fn is_as(&self, other: &Self) -> bool {
        self.text == other.text && self.finding == other.finding && self.content == other.content
    }
}

/// Stands for a text that was moved to the archive as it was: that is a change too, and another one than an edit.
fn moved_to_archive(old: &Milestone) -> Digest {
    Digest::of(&[b"archived ", old.text.as_slice()].concat())
}

/// What judging needs to know beside the milestone.
#[derive(Debug)]
pub(super) struct Judging<'a> {
    pub(super) old: &'a Old,
    is_complete: bool,
    bases: HashMap<String, Known>,
    /// Ids that stand several times on the old side, and where.
    pub(super) duplicates: BTreeMap<String, Vec<String>>,
    /// The ids of the old side that cannot be ids, once one was asked for.
    strange: Option<HashSet<String>>,
    pub(super) workspace: &'a Workspace,
    /// The files that milescale has retired of the old side, once one was asked for.
    pub(super) retired: Option<Retired>,
    /// What lay in the archive when the files were left, once that was asked for.
    pub(super) before: Option<ArchivedBefore>,
}

impl<'a> Judging<'a> {
    pub(super) fn begin(
        old: &'a Old,
        workspace: &'a Workspace,
        store: &dyn Store,
        current: &mut dyn Store,
    ) -> Result<Self, Error> {
        let is_complete = current.ledger()?.is_complete(old.side)?;
        Ok(Self {
            old,
            is_complete,
            bases: HashMap::new(),
            duplicates: store.duplicates(),
            strange: None,
            workspace,
            retired: None,
            before: None,
        })
    }

    /// Reads the bases of what is judged next, at once.
    pub(super) fn read_bases(&mut self, ids: &[String], current: &mut dyn Store) -> Result<(), Error> {
        self.bases = current.ledger()?.bases(self.old.side, ids)?;
        Ok(())
    }

    /// Reads both sides, and judges.
    pub(super) fn judge(&mut self, id: &str, store: &mut dyn Store, current: &mut dyn Store) -> Result<Judged, Error> {
        let judged = Judged::nothing(id);
        let id: Id = match id.parse() {
            Ok(id) => id,
            // Nobody can tell where it belongs.
            Err(bad) if self.is_there(id, store)? => {
                return Ok(Judged::cannot(id, format!("{bad}; give it another one in {}", self.old.name)));
            }
            Err(_) => return Ok(judged),
        };
        if let Some(places) = self.duplicates.get(id.as_str()) {
            let why = format!("{}: the id stands several times; rename or remove all but one", places.join(", "));
            return Ok(Judged::cannot(id.as_str(), why));
        }
        self.judge_valid(judged, &id, store, current)
    }

    /// Reads and judges again what was let go. `None` where it comes to something else by now.
    pub(super) fn judge_again(
        &mut self,
        before: &Judged,
        store: &mut dyn Store,
        current: &mut dyn Store,
    ) -> Result<Option<Judged>, Error> {
        self.read_bases(std::slice::from_ref(&before.id), current)?;
        let again = self.judge(&before.id, store, current)?;
        Ok(again.is_as(before).then_some(again))
    }

    fn judge_valid(
        &mut self,
        mut judged: Judged,
        id: &Id,
        store: &mut dyn Store,
        current: &mut dyn Store,
    ) -> Result<Judged, Error> {
        let in_place = there(store.get(id))?;
        judged.current = there(current.get(id))?;
        judged.in_place = judged.current.is_some();
        if !judged.in_place {
            judged.current = readable(current.archived(id))?;
        }
        let known = self.bases.remove(&judged.id);
        let base = match &known {
            Some(known) => Base::Known(known.content),
            None if self.is_complete => Base::None,
            None => Base::Lost,
        };
        judged.is_lost = base == Base::Lost;
        judged.base = known.as_ref().map(|known| known.content);
        judged.noted = known.and_then(|known| known.noted);
        let is_in_place = in_place.is_some();
        let (old, is_moved) = match in_place {
            Some(old) => (Some(old), false),
            None => match self.elsewhere(&mut judged, id, store)? {
                Elsewhere::DealtWith => return Ok(judged),
                Elsewhere::Nothing => (None, false),
                Elsewhere::Its(old) => (Some(old), false),
                Elsewhere::Moved(old) => (Some(old), true),
            },
        };
        let before = judged.before_unusable().filter(|_| old.as_ref().is_some_and(|old| !judged.is_base(old)));
        if let Some(before) = before {
            judged.base = if let Base::Known(before) = before { Some(before) } else { None };
        }
        let base = before.unwrap_or(base);
        let compared = old.as_ref().map(|old| (old, judged.compared(old)));
        let held = match compared {
            None => Held::Nothing,
            Some((old, _)) if old.text.is_empty() && is_moved && !judged.has_both() => return Ok(judged),
            Some((old, _)) if old.text.is_empty() && !judged.is_base(old) => {
                (judged.text, judged.finding) = (Some(old.digest()), Finding::Empty(old.place.clone()));
                return Ok(judged);
            }
            Some((old, content)) => {
                let usable = old.value.is_ok();
                if usable {
                    judged.earlier = was_earlier(current.ledger()?, self.old.side, old)?;
                }
                let earlier = judged.earlier == Earlier::Yes;
                match (is_moved, usable && judged.filed != Filed::Unclear) {
                    (true, usable) => Held::Archived { content, usable, earlier },
                    (false, true) => Held::Content { content, earlier },
                    (false, false) => Held::Unusable(content),
                }
            }
        };
        let is_filed = is_moved || judged.filed == Filed::Unclear;
        let verdict = match (judge(held, judged.compared_with(compared, is_filed), base), &old) {
            (Verdict::Nothing, Some(old)) if is_in_place && judged.was_archived() => judged.moved_back(old),
            (Verdict::Nothing, Some(old)) if judged.noted.as_deref() == Some(NOTED_TO_ARCHIVE) => {
                judged.on_the_way_to_archive(old)
            }
            // It is as it was before: so is its base.
            (Verdict::Nothing, Some(_)) if is_in_place && before.is_some() => Verdict::Advance,
            (Verdict::Advance | Verdict::Import, Some(old)) if is_in_place && judged.has_text_to_take(old) => {
                Verdict::TakeText
            }
            (Verdict::Import, _) if judged.earlier == Earlier::Unknown => Verdict::Conflict,
            // What lies in the archive has not seen that the milestone was taken out of it.
            (Verdict::Import | Verdict::TakeText, _) if judged.filed == Filed::Back => Verdict::Conflict,
            (Verdict::Import, Some(old)) if judged.was_moved_away(old) => Verdict::Conflict,
            (Verdict::ImportAndArchive, _) if judged.earlier == Earlier::Unknown => Verdict::KeepAndArchive,
            (verdict, _) => verdict,
        };
        if verdict == Verdict::Import && self.is_made_anew(id, judged.retired)? {
            judged.retired = ToRetired::MadeAnew;
        }
        judged.finding = Finding::Verdict(verdict);
        judged.text = old.as_ref().and_then(|old| match is_moved && judged.is_base(old) {
            false => Some(old.digest()),
            // What a person has retired is gone from its place.
            true if self.old.retired.is_some() => None,
            true => Some(moved_to_archive(old)),
        });
        judged.content = old.as_ref().map(Milestone::content);
        judged.old = old;
        Ok(judged)
    }

    /// Whether the old side has an id that cannot be one.
    fn is_there(&mut self, id: &str, store: &mut dyn Store) -> Result<bool, StoreError> {
        if self.strange.is_none() {
            let ids = store.ids()?.into_iter();
            self.strange = Some(ids.filter(|id| id.parse::<Id>().is_err()).collect());
        }
        Ok(self.strange.as_ref().is_some_and(|strange| strange.contains(id)))
    }
}
