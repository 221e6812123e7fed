//! What the journal of a move that did not get to its cutover says about its target.

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_storage::ledger::AT_ONCE;
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::move_journal::{self, Entry, Journal, MoveJournal};

use crate::context::Error;
use crate::level::archived::{known_as, lies_in_archive};
use crate::level::bases::only_read;
use crate::level::there;
use crate::sweep::noted::is_noted_archived;

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn failed(error: std::io::Error) -> Error {
    Error::own(".milescale/move-journal.jsonl", &error)
}

/// Begins the journal of a move.
pub(super) fn begin(workspace: &Workspace, epoch: u64, to: Side) -> Result<(), Error> {
    MoveJournal::begin(workspace, epoch, to).map(drop).map_err(failed)
}

/// Removes it.
pub(super) fn discard(workspace: &Workspace) -> Result<(), Error> {
    move_journal::discard(workspace).map_err(failed)
}

/// The journal of this move, where there is one. That of another move goes: it is over.
pub(super) fn of_move(workspace: &Workspace, epoch: u64, to: Side) -> Result<Option<Journal>, Error> {
    let journal = move_journal::read(workspace).map_err(failed)?;
    if journal.as_ref().is_some_and(|it| it.epoch != epoch || it.to.is_some_and(|it| it != to)) {
        return discard(workspace).map(|()| None);
    }
    Ok(journal)
}

/// Removes the journal of another move.
pub(super) fn discard_others(workspace: &Workspace, epoch: u64, to: Side) -> Result<(), Error> {
    of_move(workspace, epoch, to).map(drop)
}

/// Makes what the move has written into an old target the base of that side: it was the source's content, so nobody's edit.
///
/// The base before it stays where the target still holds it: then nothing was written. It stays too where the target holds
/// neither: somebody has changed one of the two, and nobody can tell which. The source has the other one, so that is a conflict.
/// What the move has written into the archive, or had dealt with there, is no move of its file that a sweep has to follow.
pub(super) fn note_bases(
    journal: &Journal,
    source: &mut dyn Store,
    (target, to): (&mut dyn Store, Side),
) -> Result<(), Error> {
    let mut ids: Vec<String> = journal.entries.keys().cloned().collect();
    ids.sort();
    for ids in ids.chunks(AT_ONCE) {
        let known = source.ledger()?.bases(to, ids)?;
        let (mut written, mut taken_out) = (Vec::new(), Vec::new());
        for id in ids {
            let Ok(named) = id.parse::<Id>() else { continue };
            let there = target.held(&named)?;
            let before = known.get(id).map(|known| known.content);
            let held = there.as_ref().map(|there| (there.content(), there.is_given));
            match base_after(held, before, &journal.entries[id]) {
                After::Stays => {}
                After::Is(content) => {
                    let noted = known.get(id).and_then(|known| known.noted.as_deref());
                    let is_noted = is_noted_archived(noted) || there.as_ref().is_some_and(Milestone::is_archived);
                    let is_dealt_with = is_noted && lies_in_archive(target, &named)?;
                    written.push((id.clone(), known_as(content, is_dealt_with)));
                }
                After::IsNone => taken_out.push(id.clone()),
            }
        }
        let noted = source.ledger()?.set(to, &written);
        only_read(noted)?;
        for id in taken_out {
            let noted = source.ledger()?.unset(to, &id);
            only_read(noted)?;
        }
    }
    Ok(())
}

/// What becomes of the base of a milestone.
#[derive(Debug, PartialEq, Eq)]
enum After {
    Stays,
    Is(Content),
    IsNone,
}

/// `there`: what the target holds, and whether somebody has given its text.
#[allow(clippy::match_same_arms, reason = "one arm a case")]
fn base_after(there: Option<(Content, bool)>, before: Option<Content>, entries: &[Entry]) -> After {
    match (there, entries.last()) {
        (_, None) => After::Stays,
        // By its text: comments alone may be what the move wrote.
        (Some((there, _)), _) if before.is_some_and(|before| before.text == there.text) => After::Stays,
        (None, Some(Entry::TakeOut)) => After::IsNone,
        (Some((there, is_given)), _) => {
            // A text that somebody has given is what the move wrote only where it is that text: comments alone may be an edit.
            let is_it = |content: &Content| content.text == there.text || !is_given && content.value == there.value;
            let written = |entry: &Entry| entry.content().filter(is_it);
            entries.iter().rev().find_map(written).map_or(After::Stays, After::Is)
        }
        // It was written, and somebody has taken it out since; or it was never there.
        (None, Some(Entry::Write(..) | Entry::Add(_))) => After::Stays,
    }
}

/// Takes out of an old target what the move has added to it and nobody has changed since: it had none of these.
pub(super) fn take_out_added(
    journal: &Journal,
    source: &mut dyn Store,
    (target, to): (&mut dyn Store, Side),
    now: Timestamp,
) -> Result<(), Error> {
    let is_added = |entries: &[Entry]| matches!(entries.first(), Some(Entry::Add(_)));
    for (id, entries) in journal.entries.iter().filter(|(_, entries)| is_added(entries)) {
        let Ok(id) = id.parse::<Id>() else { continue };
        let there = match there(target.get(&id))? {
            // Archived ones are brought to the archive.
            None => target.archived(&id)?,
            there => there,
        };
        let Some(there) = there else { continue };
        if entries.iter().any(|entry| entry.content().is_some_and(|content| content.text == there.digest())) {
            match target.remove(&id, there.digest(), now) {
                // Somebody moves it just now: it stays, and its base with it.
                Err(error) if error.is_passing() => continue,
                other => other?,
            }
            let noted = source.ledger()?.unset(to, id.as_str());
            only_read(noted)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{After, Content, Entry, base_after};
    use milescale_document::digest::Digest;

    fn content(value: u8) -> Content {
        Content { value: Digest::of(&[value]), text: Digest::of(&[value, 0]) }
    }

    fn write(value: u8) -> Entry {
        Entry::Write(content(value), None)
    }

    #[test]
    fn what_the_move_wrote_is_the_base_and_what_it_did_not_write_leaves_it() {
        let (old, new, newer, edited) = (content(1), content(2), content(3), content(9));
        let commented = Content { value: new.value, text: Digest::of(b"# theirs") };
        let retouched = Content { value: old.value, text: Digest::of(b"# a comment") };
        let cases = [
            // Not written yet.
            (Some(old), Some(old), vec![write(2)], After::Stays),
            (None, None, vec![write(2)], After::Stays),
            // Written.
            (Some(new), Some(old), vec![write(2)], After::Is(new)),
            (Some(new), None, vec![write(2)], After::Is(new)),
            // Written, with other comments alone.
            (Some(retouched), Some(old), vec![Entry::Write(retouched, None)], After::Is(retouched)),
            // Written, and once more, or not any more.
            (Some(newer), Some(old), vec![write(2), write(3)], After::Is(newer)),
            (Some(new), Some(old), vec![write(2), write(3)], After::Is(new)),
            // Somebody has changed it since, be it by comments alone.
            (Some(edited), Some(old), vec![write(2)], After::Stays),
            (Some(commented), Some(old), vec![write(2)], After::Stays),
            // Taken out, or not yet, or by somebody else.
            (None, Some(old), vec![Entry::TakeOut], After::IsNone),
            (Some(old), Some(old), vec![Entry::TakeOut], After::Stays),
            (None, Some(old), vec![write(2)], After::Stays),
        ];
        for (there, before, entries, after) in cases {
            let there = there.map(|there| (there, true));
            assert_eq!(base_after(there, before, &entries), after, "{there:?} {before:?} {entries:?}");
        }
        // A row that another program wrote has no text of its own.
        assert_eq!(base_after(Some((commented, false)), Some(old), &[write(2)]), After::Is(new));
    }
}
