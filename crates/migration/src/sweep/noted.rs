//! What is noted of a milestone beside its base: that something of it was dealt with, or is not yet.

use milescale_core::base::Base;
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_document::document::Flaw;
use milescale_storage::ledger::Known;

/// What is noted of a milestone that was archived because its file was moved to the archive. Where both sides were equal, the
/// digest follows of the text that the archiving has left in the store in use.
pub(super) const NOTED_ARCHIVED: &str = "archived";

/// What is noted of a milestone that was archived for its file, which is gone since. What comes under its id into the archive later
/// is not that file.
pub(super) const NOTED_ARCHIVED_GONE: &str = "archived gone";

/// What is noted of one whose file in the archive is in conflict with what is current: it is kept and named, and stays there.
pub(crate) const NOTED_ARCHIVED_KEPT: &str = "archived kept";

/// The note of a milestone that was archived as this text, which held the same as the old side's or not.
pub(crate) fn noted_archived(text: &[u8], was_equal: bool) -> String {
    if was_equal { format!("{NOTED_ARCHIVED} {}", Digest::of(text)) } else { NOTED_ARCHIVED.to_owned() }
}

/// Whether a note says that the move of a file to the archive was dealt with.
pub(crate) fn is_noted_archived(noted: Option<&str>) -> bool {
    noted.is_some_and(|noted| noted.split(' ').next() == Some(NOTED_ARCHIVED))
}

/// What is noted of a milestone that came archived into files in use, until it has gone from its place to the archive there.
pub(super) const NOTED_TO_ARCHIVE: &str = "to archive";

/// Whether there may be something to do about a milestone in its place that is as its base says.
pub(super) fn is_looked_at_again(known: &Known) -> bool {
    is_noted_archived(known.noted.as_deref()) || known.noted.as_deref() == Some(NOTED_TO_ARCHIVE)
}

/// What is noted of a milestone that is archived on both sides and differs in nothing but what archiving changes. The digest
/// follows of the text in the archive of the store in use: while it is there, only the old side was changed.
pub(super) const NOTED_ALIKE: &str = "alike";

/// What is noted of a milestone whose content cannot be taken over, and is kept: the base of before follows, where there was one.
const NOTED_UNUSABLE: &str = "unusable";

/// The note of a milestone whose content is kept because nobody can take it over, with the base of before.
pub(super) fn noted_unusable(before: Option<Content>) -> String {
    before.map_or_else(
        || NOTED_UNUSABLE.to_owned(),
        |before| format!("{NOTED_UNUSABLE} {} {}", before.value, before.text),
    )
}

/// The base of before that such a note names.
pub(super) fn base_before(noted: &str) -> Option<Base> {
    let mut digests = noted.strip_prefix(NOTED_UNUSABLE)?.split_whitespace().map(str::parse);
    match (digests.next(), digests.next()) {
        (None, _) => Some(Base::None),
        (Some(Ok(value)), Some(Ok(text))) => Some(Base::Known(Content { value, text })),
        _ => None,
    }
}

/// The note of a milestone whose file was moved back from the archive: another move there is a new one.
pub(super) const NOTED_BACK: &str = "back";

/// What is wrong with a text, for events and notes that all may read who may not read the text: its words are not repeated.
pub(super) fn unsaid(what: &str, flaw: &Flaw) -> String {
    let place = flaw.position.map(|at| format!(" (line {}, column {})", at.line, at.column)).unwrap_or_default();
    format!("{what}: what it says is not what every store keeps{place}")
}
