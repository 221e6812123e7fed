//! Every change on an old store is judged against a base: the content last known equal on both sides (contract §8).
//!
//! Neither clocks nor `updated_at` decide; contents are compared by digest.

use milescale_document::content::Content;
use serde::{Deserialize, Serialize};

/// One of the three stores that hold content; `hybrid` is files with an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Milestone files.
    Files,
    /// Documents in SQLite.
    Sqlite,
    /// Documents in PostgreSQL.
    Postgresql,
}

impl Side {
    /// Those that are among words of tables; what is no side's word is left out.
    pub fn among(words: &[String]) -> Vec<Self> {
        let all = [Self::Files, Self::Sqlite, Self::Postgresql].into_iter();
        all.filter(|side| words.iter().any(|word| word == side.as_str())).collect()
    }

    /// Its word in tables and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Sqlite => "sqlite",
            Self::Postgresql => "postgresql",
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of the base of one milestone on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// That there is one in general, and this milestone has none: it is new on this side.
    None,
    /// Nothing: it was lost with the table that held it.
    Lost,
    /// This content was equal on both sides.
    Known(Content),
}

/// What an old store holds of a milestone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    Nothing,
    /// Nothing in its place; this content lies in the archive.
    Archived {
        /// The content.
        content: Content,
        /// Whether it can be imported.
        usable: bool,
        /// Whether it was a base before.
        earlier: bool,
    },
    /// A content that can be imported. `earlier`: this milestone had it before the base.
    Content {
        /// The content.
        content: Content,
        /// Whether it was a base before.
        earlier: bool,
    },
    /// A content that cannot: it is empty, cannot be read, or stands twice.
    Unusable(Content),
}

/// What is to be done about a milestone of an old store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Nothing,
    /// Both sides are equal: the base advances.
    Advance,
    /// Both have the same values, and the old side alone a text that somebody has given: the store in use takes it.
    TakeText,
    /// The old side's content goes into the store in use, by compare-and-set.
    Import,
    /// The milestone goes into the store in use, which has none of this id.
    Insert,
    /// The store in use keeps its content; the old side's is kept and both are named.
    Conflict,
    /// It is gone on the old side: reported, never deleted for it.
    ReportGone,
    /// It was moved to the archive: archived in the store in use.
    Archive,
    /// It was moved to the archive with an edit: imported, then archived.
    ImportAndArchive,
    /// It was moved to the archive with an edit, and changed in the store in use: kept as a conflict, then archived.
    KeepAndArchive,
    /// It is an earlier content, a checkout and no edit: reported, not imported.
    ReportEarlier,
    /// It was moved back from the archive, and the store in use has something else archived: reported.
    ReportBack,
}

/// Judges a milestone of an old store: values by the table of the contract, and beside them comments and layout where the other
/// side was changed too, be it to the same values, for nothing but this text holds them. Texts that nobody has given, those of
/// rows that another program wrote, are compared as [`Content::as_said`].
pub fn judge(old: Held, current: Option<Content>, base: Base) -> Verdict {
    let is_retouched = match (old, base) {
        (Held::Content { content, .. } | Held::Archived { content, usable: true, .. }, Base::Known(base)) => {
            content.value == base.value
                && content.text != base.text
                && current.is_none_or(|current| current.text != content.text)
        }
        _ => false,
    };
    let is_base_text = |text| matches!(base, Base::Known(base) if text == base.text);
    let is_text_of_both = |content: Content| {
        let is_neither = |text| text != content.text && !is_base_text(text);
        !is_base_text(content.text) && current.is_some_and(|current| is_neither(current.text))
    };
    let is_level = |content: Content| current.is_some_and(|current| current.text == content.text);
    match (judge_values(old, current, base), old) {
        (Verdict::Nothing, Held::Content { earlier: true, .. }) if is_retouched => Verdict::ReportEarlier,
        (Verdict::Nothing, Held::Content { .. }) if is_retouched => Verdict::Conflict,
        // Both have got the same comments.
        (Verdict::Nothing, Held::Content { content, .. }) if is_level(content) && !is_base_text(content.text) => {
            Verdict::Advance
        }
        (Verdict::Advance, Held::Content { content, .. }) if is_text_of_both(content) => Verdict::Conflict,
        (Verdict::Archive, Held::Archived { earlier: false, .. }) if is_retouched => Verdict::KeepAndArchive,
        (verdict, _) => verdict,
    }
}

/// Judges a milestone by its values. One that was moved to the archive is judged with its content like any other, and then
/// archived in the store in use.
fn judge_values(old: Held, current: Option<Content>, base: Base) -> Verdict {
    let Held::Archived { content, usable, earlier } = old else { return judge_in_place(old, current, base) };
    // What both sides are known to have had never in common was not moved, and what is gone needs no archiving.
    if current.is_none() || base == Base::None {
        return Verdict::Nothing;
    }
    let held = if usable { Held::Content { content, earlier } } else { Held::Unusable(content) };
    match judge_in_place(held, current, base) {
        Verdict::Import => Verdict::ImportAndArchive,
        Verdict::Conflict => Verdict::KeepAndArchive,
        _ => Verdict::Archive,
    }
}

/// Judges a milestone in its place: the first case of contract §8 that fits counts.
#[allow(clippy::match_same_arms, reason = "the cases stand in the order of the contract")]
fn judge_in_place(old: Held, current: Option<Content>, base: Base) -> Verdict {
    let content = match old {
        Held::Nothing | Held::Archived { .. } => None,
        Held::Content { content, .. } | Held::Unusable(content) => Some(content),
    };
    let usable = matches!(old, Held::Content { .. });
    let is_current = |content: Content| current.is_some_and(|current| current.is_same(&content));
    // Only comments or layout differ, and only on the old side: no value changes by taking them over.
    let is_retouched = |old: Content, base: Content| {
        usable && old.text != base.text && current == Some(Content { value: old.value, text: base.text })
    };
    match (content, base) {
        (Some(content), Base::Known(base)) if is_retouched(content, base) => match old {
            Held::Content { earlier: true, .. } => Verdict::ReportEarlier,
            _ => Verdict::Import,
        },
        (Some(old), Base::Known(base)) if old.is_same(&base) => Verdict::Nothing,
        (Some(old), _) if is_current(old) => Verdict::Advance,
        (Some(_), Base::Lost) => Verdict::Conflict,
        (None, Base::Known(_)) => Verdict::ReportGone,
        (None, Base::Lost | Base::None) => Verdict::Nothing,
        (Some(_), Base::None) if current.is_none() => match old {
            Held::Unusable(_) => Verdict::Conflict,
            _ => Verdict::Insert,
        },
        (Some(_), Base::None) => Verdict::Conflict,
        (Some(_), Base::Known(base)) => match old {
            Held::Content { earlier: true, .. } => Verdict::ReportEarlier,
            // Comments of the store in use would be gone, which nothing else holds.
            Held::Content { .. } if current.is_some_and(|current| current.text == base.text) => Verdict::Import,
            _ => Verdict::Conflict,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Base, Content, Held, Verdict, judge};
    use milescale_document::digest::Digest;

    fn content(value: u8, text: u8) -> Content {
        Content { value: Digest::of(&[value]), text: Digest::of(&[value, text]) }
    }

    fn plain(value: u8) -> Content {
        content(value, 0)
    }

    fn there(value: u8) -> Held {
        Held::Content { content: plain(value), earlier: false }
    }

    fn known(value: u8) -> Base {
        Base::Known(plain(value))
    }

    #[test]
    fn the_table_of_the_contract_in_its_order() {
        let earlier = Held::Content { content: plain(3), earlier: true };
        let broken = Held::Unusable(plain(9));
        let cases: &[(Held, Option<u8>, Base, Verdict)] = &[
            // F = B: nothing, even where R is gone, and whatever R is.
            (there(1), Some(1), known(1), Verdict::Nothing),
            (there(1), Some(2), known(1), Verdict::Nothing),
            (there(1), None, known(1), Verdict::Nothing),
            // F = R.
            (there(2), Some(2), known(1), Verdict::Advance),
            (there(2), Some(2), Base::None, Verdict::Advance),
            (there(2), Some(2), Base::Lost, Verdict::Advance),
            // Base lost: any difference is a conflict.
            (there(2), Some(1), Base::Lost, Verdict::Conflict),
            (there(2), None, Base::Lost, Verdict::Conflict),
            (earlier, Some(1), Base::Lost, Verdict::Conflict),
            (Held::Nothing, Some(1), Base::Lost, Verdict::Nothing),
            // F gone.
            (Held::Nothing, Some(1), known(1), Verdict::ReportGone),
            (Held::Nothing, Some(2), known(1), Verdict::ReportGone),
            (Held::Nothing, None, known(1), Verdict::ReportGone),
            // F new.
            (there(2), None, Base::None, Verdict::Insert),
            (there(2), Some(1), Base::None, Verdict::Conflict),
            // An earlier content, before import and conflict.
            (earlier, Some(1), known(1), Verdict::ReportEarlier),
            (earlier, Some(2), known(1), Verdict::ReportEarlier),
            // F changed.
            (there(2), Some(1), known(1), Verdict::Import),
            (there(2), Some(3), known(1), Verdict::Conflict),
            (there(2), None, known(1), Verdict::Conflict),
            // What cannot be read never replaces anything, and is kept.
            (broken, Some(1), known(1), Verdict::Conflict),
            (broken, None, Base::None, Verdict::Conflict),
            (broken, Some(9), known(1), Verdict::Advance),
        ];
        for (old, current, base, verdict) in cases {
            assert_eq!(judge(*old, current.map(plain), *base), *verdict, "{old:?} {current:?} {base:?}");
        }
    }

    /// A base of a milescale that took `007` for 7, and the same texts as they are read now.
    #[test]
    fn equal_texts_are_equal_whatever_was_read_of_them() {
        let read_otherwise =
            |value: u8, text: u8| Content { value: Digest::of(&[value]), text: Digest::of(&[1, text]) };
        let (base, anew) = (Base::Known(read_otherwise(7, 0)), read_otherwise(1, 0));
        let there = |content| Held::Content { content, earlier: false };
        assert_eq!(judge(there(anew), Some(anew), base), Verdict::Nothing);
        assert_eq!(judge(there(anew), Some(plain(2)), base), Verdict::Nothing);
        assert_eq!(
            judge(Held::Archived { content: anew, usable: true, earlier: false }, Some(anew), base),
            Verdict::Archive
        );
        assert_eq!(judge(there(plain(2)), Some(anew), base), Verdict::Import);
        assert_eq!(judge(there(read_otherwise(1, 5)), Some(anew), base), Verdict::Import, "a comment");
        assert_eq!(judge(Held::Unusable(anew), Some(anew), base), Verdict::Nothing);
    }

    #[test]
    fn what_was_moved_to_the_archive_is_judged_by_its_content_and_then_archived() {
        let archived = |value: u8| Held::Archived { content: plain(value), usable: true, earlier: false };
        let earlier = Held::Archived { content: plain(3), usable: true, earlier: true };
        let broken = Held::Archived { content: plain(9), usable: false, earlier: false };
        let retouched = Held::Archived { content: content(1, 7), usable: true, earlier: false };
        let cases: &[(Held, Option<u8>, Base, Verdict)] = &[
            // F = B, whatever R is.
            (archived(1), Some(1), known(1), Verdict::Archive),
            (archived(1), Some(2), known(1), Verdict::Archive),
            // F = R.
            (archived(2), Some(2), known(1), Verdict::Archive),
            // Moved with an edit.
            (archived(2), Some(1), known(1), Verdict::ImportAndArchive),
            (retouched, Some(1), known(1), Verdict::ImportAndArchive),
            (archived(2), Some(3), known(1), Verdict::KeepAndArchive),
            (broken, Some(1), known(1), Verdict::KeepAndArchive),
            // An earlier content is no edit.
            (earlier, Some(1), known(1), Verdict::Archive),
            // Gone in the store in use, or never the same on both sides: it is in the archive, and that is all.
            (archived(1), None, known(1), Verdict::Nothing),
            (archived(2), None, known(1), Verdict::Nothing),
            (archived(1), Some(1), Base::None, Verdict::Nothing),
            (archived(1), None, Base::None, Verdict::Nothing),
            // Base lost: any difference is a conflict.
            (archived(1), Some(2), Base::Lost, Verdict::KeepAndArchive),
            (archived(1), Some(1), Base::Lost, Verdict::Archive),
            (archived(1), None, Base::Lost, Verdict::Nothing),
        ];
        for (old, current, base, verdict) in cases {
            assert_eq!(judge(*old, current.map(plain), *base), *verdict, "{old:?} {current:?} {base:?}");
        }
    }

    #[test]
    fn comments_alone_are_taken_over_only_where_nobody_else_touched_anything() {
        let retouched = Held::Content { content: content(1, 7), earlier: false };
        assert_eq!(judge(retouched, Some(plain(1)), known(1)), Verdict::Import);
        assert_eq!(judge(retouched, Some(content(1, 7)), known(1)), Verdict::Advance);
        // Those of before are a checkout.
        let before = Held::Content { content: content(1, 7), earlier: true };
        for current in [plain(1), content(1, 8), plain(2)] {
            assert_eq!(judge(before, Some(current), known(1)), Verdict::ReportEarlier);
        }
        // Both were changed to the same values with other comments, or are new with them.
        let changed = Held::Content { content: content(2, 7), earlier: false };
        for base in [known(1), Base::None, Base::Lost] {
            assert_eq!(judge(changed, Some(content(2, 8)), base), Verdict::Conflict, "{base:?}");
            assert_eq!(judge(changed, Some(content(2, 7)), base), Verdict::Advance, "{base:?}");
        }
        for current in [Some(content(1, 8)), Some(plain(2)), None] {
            assert_eq!(judge(retouched, current, known(1)), Verdict::Conflict, "{current:?}");
            assert_eq!(judge(there(1), current, known(1)), Verdict::Nothing, "{current:?}");
        }
        let archived = |content| Held::Archived { content, usable: true, earlier: false };
        assert_eq!(judge(archived(content(1, 7)), Some(plain(2)), known(1)), Verdict::KeepAndArchive);
        assert_eq!(judge(archived(plain(1)), Some(plain(2)), known(1)), Verdict::Archive);
        assert_eq!(judge(archived(content(2, 7)), Some(plain(2)), known(1)), Verdict::Archive);
    }

    #[test]
    fn a_text_that_nobody_has_given_is_that_of_the_content_with_its_values() {
        let (base, row) = (content(1, 7), content(1, 0));
        assert_eq!(row.as_said([base, content(1, 8)]), base);
        assert_eq!(row.as_said([content(2, 7)]), row);
        assert_eq!(row.as_said([]), row);
    }
}
