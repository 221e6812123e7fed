//! Whether a store that somebody has named by hand may be followed (contract §4): it holds every milestone of the last one,
//! and none in a content that is known to be older.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use jiff::Timestamp;
use milescale_core::backend::InUse;
use milescale_core::base::Side;
use milescale_core::config::Config;
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_document::timestamp;
use milescale_migration::{Last, follow};
use milescale_storage::archive::Archive;
use milescale_storage::ledger::{AT_ONCE, Earlier, was_earlier};
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::conflicts::{self, Conflict};
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::trial::Hindrance;

use super::opened::{LastIds, Opened, is_no_other_old_store};
use crate::access::lost_files;
use crate::note::Note;

/// Milestones that are named in one reason.
const NAMED: usize = 5;

/// What a kept content is in conflict with.
const REASON: &str =
    "marker or configuration were changed by hand, and the store that is followed now has another content";

/// A store that may be followed.
#[derive(Debug)]
pub(super) struct Proof {
    /// The store, opened.
    pub(super) opened: Opened,
    /// Milestones whose content in the last store is another one, and not known to be older or newer.
    pub(super) differing: Vec<String>,
    /// The last store, where its contents were compared, and what it holds, or has in common with the named one.
    last: Option<Opened>,
    before: HashMap<String, Content>,
    /// Archived milestones that the named store has as rows, and what lies in the archive for each: the same.
    archived: Vec<(String, Content)>,
}

/// Compares the named store with the last one that was followed, read again now. `followed` is that one as it was read last.
///
/// # Errors
/// Why the named store is not to be followed, in words.
pub(super) fn proves(
    workspace: &Workspace,
    followed: Option<&dyn Store>,
    in_use: InUse,
    named: InUse,
    config: &Config,
) -> Result<Proof, String> {
    let expected = LastIds::of(workspace, followed, in_use, config)?;
    let mut opened = Opened::open(None, workspace, named, config, 0).map_err(|error| error.to_string())?;
    is_no_other_old_store(workspace, named, &mut *opened.store)?;
    // What it holds is the proof.
    opened.store.may_be_another();
    if in_use.side() == named.side() {
        let there = opened.store.ids().map_err(|error| error.to_string())?;
        let mut archived = Archived::of(workspace);
        holds_all(expected.into_iter(), &there.into_iter().collect(), &mut |id| archived.holds(id, None))?;
        let (before, archived) = (HashMap::new(), Vec::new());
        return Ok(Proof { opened, differing: Vec::new(), last: None, before, archived });
    }
    let unreadable = |error: StoreError| {
        format!(
            "{in_use} cannot be read any more to compare the two ({error}); if it is gone for good, `milescale doctor \
             --fix` follows {named} at your word"
        )
    };
    let last = || lost_files(workspace, in_use).map_or_else(|| Opened::open(None, workspace, in_use, config, 0), Err);
    let mut last = last().map_err(unreadable)?;
    let mut before = contents(&mut *last.store).map_err(unreadable)?;
    if let Some(Hindrance { place, reason, do_this }) = last.store.hidden().map_err(unreadable)?.first() {
        return Err(format!("{place}: {reason}, and {named} cannot hold them; {do_this}"));
    }
    let there = contents(&mut *opened.store).map_err(|error| error.to_string())?;
    let ids = expected.into_iter().chain(before.keys().cloned());
    let mut archived = Archived::of(workspace);
    holds_all(ids, &there.keys().cloned().collect(), &mut |id| archived.holds(id, Some(&mut *last.store)))?;
    let differs = |(id, before): &(&String, &Content)| there.get(*id).is_some_and(|there| !there.is_same(before));
    let mut differing: Vec<String> = before.iter().filter(differs).map(|(id, _)| id.clone()).collect();
    let retouched = retouched((&mut *last.store, &before), (&mut *opened.store, &there)).map_err(unreadable)?;
    differing.extend(retouched.differing);
    differing.extend(archived.retouched(&mut *last.store, &before, &there).map_err(unreadable)?);
    differing.sort();
    let mut since = differing.clone();
    let lying = archived_since(&mut archived, &before, &there);
    since.extend(lying.iter().cloned());
    let older = older((in_use.side(), &mut *last.store, &before), (named.side(), &mut *opened.store), &since)
        .map_err(unreadable)?;
    if older.is_empty() {
        // Their base is what the named store has: then the comments are an edit, which the next sweep brings over.
        for id in retouched.lacking {
            before.extend(there.get_key_value(&id).map(|(id, content)| (id.clone(), *content)));
        }
        let archived = match in_use.side() {
            Side::Files => archived.rows(&mut *opened.store, &lying).map_err(|error| error.to_string())?,
            Side::Sqlite | Side::Postgresql => Vec::new(),
        };
        return Ok(Proof { opened, differing, last: Some(last), before, archived });
    }
    Err(format!("{} milestones have an older content there ({})", older.len(), listed(&older)))
}

/// The milestones that the named store has and that lie in the archive where the last one is files: archived since, perhaps.
fn archived_since(
    archived: &mut Archived,
    before: &HashMap<String, Content>,
    there: &HashMap<String, Content>,
) -> Vec<String> {
    let lies_there = |id: &&String| !before.contains_key(*id) && archived.holds(id, None);
    there.keys().filter(lies_there).cloned().collect()
}

/// The milestones that have the same values in both, and other comments.
#[derive(Default)]
struct Retouched {
    /// Somebody has given both texts.
    differing: Vec<String>,
    /// The named store has none but its values: the comments of the last one are brought there.
    lacking: Vec<String>,
}

fn retouched(
    (last, before): (&mut dyn Store, &HashMap<String, Content>),
    (named, there): (&mut dyn Store, &HashMap<String, Content>),
) -> Result<Retouched, StoreError> {
    let is_same = |content: &Content, there: &Content| there.value == content.value && there.text != content.text;
    let has_another = |(id, content): &(&String, &Content)| there.get(*id).is_some_and(|there| is_same(content, there));
    let ids: Vec<String> = before.iter().filter(has_another).map(|(id, _)| id.clone()).collect();
    let mut found = Retouched::default();
    for ids in ids.chunks(AT_ONCE) {
        let (last, mut named) = (given(last, ids)?, given(named, ids)?);
        for (id, has_comments) in last {
            match named.remove(&id) {
                Some(others) if has_comments || others => found.differing.push(id),
                None if has_comments => found.lacking.push(id),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Those of these milestones whose text somebody has given, and whether it has comments.
fn given(store: &mut dyn Store, ids: &[String]) -> Result<BTreeMap<String, bool>, StoreError> {
    let given = milestones(store, ids)?.into_iter().filter(|it| it.is_given);
    Ok(given.map(|it| (it.id.clone(), it.has_comments())).collect())
}

/// Those of these milestones that the store has, as far as they can be asked for.
fn milestones(store: &mut dyn Store, ids: &[String]) -> Result<Vec<Milestone>, StoreError> {
    let mut milestones = store.get_some(ids)?;
    let got: BTreeSet<String> = milestones.iter().map(|it| it.id.clone()).collect();
    for id in ids.iter().filter(|id| !got.contains(*id)).filter_map(|id| id.parse::<Id>().ok()) {
        match store.get(&id) {
            Err(error) if error.problem == Problem::NotThere => {}
            other => milestones.push(other?),
        }
    }
    Ok(milestones)
}

/// What each milestone is compared by.
fn contents(store: &mut dyn Store) -> Result<HashMap<String, Content>, StoreError> {
    let mut found = HashMap::new();
    store.scan_contents(&mut |id, content| {
        found.insert(id, content);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The archive, which is the same whatever store is in use.
struct Archived(Archive);

impl Archived {
    fn of(workspace: &Workspace) -> Self {
        Self(Archive::new(workspace))
    }

    /// Whether a milestone lies in `completed/`: the one that the last store holds, where it holds one still.
    fn holds(&mut self, id: &str, last: Option<&mut dyn Store>) -> bool {
        let Ok(id) = id.parse::<Id>() else { return false };
        let Ok(Some(archived)) = self.0.archived(&id) else { return false };
        match last.map(|last| last.get(&id)) {
            None => true,
            Some(Ok(left)) => left.value.as_ref().is_ok_and(|value| archived.is_same_milestone(&left.text, value)),
            Some(Err(error)) => error.problem == Problem::NotThere,
        }
    }

    /// Of these ids, which lie in the archive, the archived rows of the named store that are what lies there, with that content. Where
    /// what lies there has comments that the row has not, it is the row's: then they are an edit, which the next sweep brings over.
    fn rows(&mut self, named: &mut dyn Store, ids: &[String]) -> Result<Vec<(String, Content)>, StoreError> {
        let mut found = Vec::new();
        for id in ids.iter().filter_map(|id| id.parse::<Id>().ok()) {
            if let Some(archived) = self.0.archived(&id)?
                && let Some(row) = Archive::row_of(named, &archived)
            {
                let lacks = archived.has_comments_beyond(&row.text);
                found.push((archived.id.clone(), if lacks { row.content() } else { archived.content() }));
            }
        }
        Ok(found)
    }

    /// The milestones that the named store has in the archive alone, and that have comments in the last one which are not there.
    fn retouched(
        &mut self,
        last: &mut dyn Store,
        before: &HashMap<String, Content>,
        there: &HashMap<String, Content>,
    ) -> Result<Vec<String>, StoreError> {
        let ids: Vec<String> = before.keys().filter(|id| !there.contains_key(*id)).cloned().collect();
        let mut found = Vec::new();
        for ids in ids.chunks(AT_ONCE) {
            for left in milestones(last, ids)? {
                let Ok(id) = left.id.parse::<Id>() else { continue };
                let Some(archived) = self.0.archived(&id)? else { continue };
                if left.has_comments_beyond(&archived.text) {
                    found.push(left.id);
                }
            }
        }
        Ok(found)
    }
}

fn holds_all(
    expected: impl Iterator<Item = String>,
    there: &BTreeSet<String>,
    is_archived: &mut dyn FnMut(&str) -> bool,
) -> Result<(), String> {
    let expected: BTreeSet<String> = expected.collect();
    let missing: Vec<String> = expected.difference(there).filter(|id| !is_archived(id)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("{} of {} milestones are not there ({})", missing.len(), expected.len(), listed(&missing)))
}

fn listed(ids: &[String]) -> String {
    let more = if ids.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", ids.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "))
}

/// Of these milestones, those whose content in the named store is what the last one knows as the merge base, or as what came
/// before it, or that it has archived since: the last store has gone on. So it has where the named store has it as the merge
/// base itself, as what a move that failed has brought and left.
fn older(
    (last_side, last, before): (Side, &mut dyn Store, &HashMap<String, Content>),
    (side, named): (Side, &mut dyn Store),
    ids: &[String],
) -> Result<Vec<String>, StoreError> {
    let mut older = Vec::new();
    for ids in ids.chunks(AT_ONCE) {
        let known = last.ledger()?.bases(side, ids)?;
        let brought = named.ledger()?.bases(last_side, ids)?;
        for there in milestones(named, ids)? {
            let is_base = [known.get(&there.id), brought.get(&there.id)].into_iter().flatten().any(|known| {
                let is_text = known.content.text == there.digest();
                is_text || there.own_text().is_none() && known.content.value == there.content().value
            });
            let is_archived_on_both = there.is_archived() && !before.contains_key(&there.id);
            if !is_archived_on_both && (is_base || was_earlier(last.ledger()?, side, &there)? != Earlier::No) {
                older.push(there.id);
            }
        }
    }
    Ok(older)
}

impl Proof {
    /// Follows for good: what the last store holds otherwise is kept, and the cutover is written down. The number that it has.
    ///
    /// # Errors
    /// Why not, in words: then the last store is in use as before.
    pub(super) fn follow(
        &mut self,
        workspace: &Workspace,
        (in_use, named): (InUse, InUse),
        now: Timestamp,
        notes: &mut Vec<Note>,
    ) -> Result<u64, String> {
        self.keep_what_is_left(workspace, now, notes)?;
        let store = self.last.as_mut().map(|last| &mut *last.store as &mut dyn Store);
        let last = Last { in_use, store, contents: &self.before, archived: &self.archived };
        follow(workspace, (named, &mut *self.opened.store), last, now).map_err(|error| error.to_string())
    }

    /// Keeps what the last store holds of the milestones that differ, each as a conflict, so that nothing is lost by following.
    ///
    /// # Errors
    /// What cannot be kept, in words: then the named store is not to be followed.
    fn keep_what_is_left(
        &mut self,
        workspace: &Workspace,
        now: Timestamp,
        notes: &mut Vec<Note>,
    ) -> Result<(), String> {
        let Some(last) = &mut self.last else { return Ok(()) };
        let mut nameless = BTreeSet::new();
        for id in &self.differing {
            let Ok(named) = id.parse::<Id>() else {
                nameless.insert(id.as_str());
                continue;
            };
            // Also where somebody has moved it to the archive since.
            let Some(left) = last.store.held(&named).map_err(|error| error.to_string())? else { continue };
            let current = self.opened.store.get(&named).ok().as_ref().map(Milestone::digest);
            notes.extend(kept(workspace, &left, current, now)?);
        }
        if nameless.is_empty() {
            return Ok(());
        }
        // What has no id that could be asked for is found by reading all.
        let mut failed = Ok(());
        let scanned = last.store.scan(&mut |left| {
            let is_left = nameless.contains(left.id.as_str());
            match if is_left { kept(workspace, &left, None, now) } else { Ok(None) } {
                Ok(note) => notes.extend(note),
                Err(why) => {
                    failed = Err(why);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        scanned.map_err(|error| error.to_string()).and(failed)
    }
}

/// Keeps what the last store holds of a milestone as a conflict. What is to be told of it, where it was not kept before.
fn kept(
    workspace: &Workspace,
    left: &Milestone,
    current: Option<Digest>,
    now: Timestamp,
) -> Result<Option<Note>, String> {
    let conflict = Conflict {
        name: String::new(),
        id: left.id.clone(),
        at: timestamp::to_text(now),
        side: None,
        place: left.place.clone(),
        reason: REASON.to_owned(),
        current,
        backup: None,
        others: None,
    };
    let (path, is_new) = conflicts::keep(workspace, Box::new(Archive::new(workspace)), &conflict, &left.text, now)
        .map_err(|error| format!("what {} holds cannot be kept: {error}", left.place))?;
    let kept_as = workspace.shown(&path);
    Ok(is_new.then(|| Note::WriteConflict { id: left.id.clone(), kept_as, reason: REASON }))
}
