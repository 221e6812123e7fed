//! What the two sides of a milestone are compared as: comments that nobody has given, and what archiving changes, are no differences.

use milescale_core::base::Verdict;
use milescale_document::content::Content;
use milescale_document::milestone::Milestone;

use super::super::noted::{NOTED_ALIKE, NOTED_ARCHIVED};
use super::Judged;

impl Judged {
    /// Whether the store in use still holds what the archiving has left there, both sides having been equal.
    fn is_as_archived(&self, current: &Milestone) -> bool {
        self.is_noted_as(NOTED_ARCHIVED, current)
    }

    /// Whether a note is this word with the digest of what the store in use holds.
    fn is_noted_as(&self, word: &str, current: &Milestone) -> bool {
        let noted = self.noted.as_deref().and_then(|noted| noted.strip_prefix(word)?.strip_prefix(' '));
        noted.is_some_and(|noted| noted == current.digest().to_string())
    }

    /// Whether the old side's is archived, and is the milestone that lies in the archive of the store in use.
    pub(super) fn is_alike(&self, old: &Milestone, current: &Milestone) -> bool {
        !self.in_place
            && old.is_archived()
            && old.value.as_ref().is_ok_and(|value| current.is_same_milestone(&old.text, value))
    }

    /// What an import comes to that ended between the file and its move to the archive.
    pub(super) fn on_the_way_to_archive(&self, old: &Milestone) -> Verdict {
        match &self.current {
            Some(current) if self.in_place && current.text == old.text => Verdict::Import,
            // Somebody has changed its comments since.
            Some(current) if self.in_place && current.content().is_same(&old.content()) => Verdict::Archive,
            _ => Verdict::Advance,
        }
    }

    /// What the text of one side is compared as. One that nobody has given is that of the content which has its values; without a
    /// base, so is one without comments. `other` is the other side's, which is only asked for then.
    fn as_said(&self, it: &Milestone, other: impl FnOnce() -> Option<Content>) -> Content {
        let content = it.content();
        if self.counts(it) { content } else { content.as_said(self.base.into_iter().chain(other())) }
    }

    /// Whether a text is more than its values.
    fn counts(&self, it: &Milestone) -> bool {
        it.is_given && (!self.is_lost || it.has_comments())
    }

    /// The content of the old side that is compared.
    pub(super) fn compared(&self, old: &Milestone) -> Content {
        self.as_said(old, || self.current.as_ref().map(Milestone::content))
    }

    /// The content of the store in use that the old side's is compared with; `old` is that one, and as what it is
    /// [compared](Self::compared). What archiving changes is no difference between an archived milestone and the one that lies in the
    /// archive.
    pub(super) fn compared_with(&self, old: Option<(&Milestone, Content)>, is_filed: bool) -> Option<Content> {
        let current = self.current.as_ref()?;
        if self.is_as_archived(current) || !self.in_place && self.is_noted_as(NOTED_ALIKE, current) {
            return self.base;
        }
        let is_archived = |old: &Milestone| {
            if self.is_lost && is_filed {
                let is_it = |value| current.is_same_milestone(&old.text, value);
                self.is_current_archived() && old.value.as_ref().is_ok_and(is_it)
            } else {
                self.is_alike(old, current)
            }
        };
        let compared = old.map(|(_, compared)| compared);
        match old {
            Some((old, _)) if is_archived(old) => compared,
            _ => Some(self.as_said(current, || compared)),
        }
    }

    /// Whether the old side alone has a text of its own around the values that both have.
    pub(super) fn has_text_to_take(&self, old: &Milestone) -> bool {
        let lacks_it = |current: &Milestone| !self.counts(current) && current.content().value == old.content().value;
        self.in_place && old.has_comments() && self.current.as_ref().is_some_and(lacks_it)
    }

    /// Whether the store in use has moved the milestone to the archive as it was, which is a change as well.
    pub(super) fn was_moved_away(&self, old: &Milestone) -> bool {
        let is_away = |current: &Milestone| !current.is_archived() && !self.is_noted_as(NOTED_ALIKE, current);
        !self.in_place && !old.is_archived() && self.current.as_ref().is_some_and(is_away)
    }

    /// What a file comes to that was moved back from the archive and is as it was: the move there is undone where the store in
    /// use holds what the archiving has left.
    pub(super) fn moved_back(&self, old: &Milestone) -> Verdict {
        match &self.current {
            // Taken out of the archive there too: another move to it is a new one.
            Some(current) if current.content().is_same(&old.content()) || !self.is_current_archived() => {
                Verdict::Advance
            }
            Some(current) if self.is_as_archived(current) => Verdict::Import,
            Some(_) => Verdict::ReportBack,
            None => Verdict::Nothing,
        }
    }
}
