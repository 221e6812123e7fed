//! Both stores read again, in full and by content, in both directions.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::ops::ControlFlow;

use milescale_core::migration::Phase;
use milescale_document::content::Content;
use milescale_storage::ledger::{AT_ONCE, Known};
use milescale_storage::store::Store;

use crate::context::{Context, Error};
use crate::level::Pair;
use crate::sweep::pending::places;
use crate::told::Told;

/// What the comparison found.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Milestones of the source.
    pub(crate) count: u64,
    /// Ids that are not the same, or are on one side only: to be looked at one by one.
    pub(crate) differing: BTreeSet<String>,
}

/// A content in sixteen bytes: enough to tell which milestones to look at.
fn short(content: &Content) -> [u8; 16] {
    let mut short = [0; 16];
    short[..8].copy_from_slice(&content.value.as_bytes()[..8]);
    short[8..].copy_from_slice(&content.text.as_bytes()[..8]);
    short
}

/// Eight bytes for an id or a text, the same within a process: enough for a memory of many.
pub(crate) fn hash(of: impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(of)
}

/// Reads both stores. Every write to the source that ended before this began is seen. What is the same becomes the base
/// of the source's side in an old target.
pub(crate) fn compare(
    pair: &mut Pair<'_>,
    context: &mut Context<'_>,
    progress: &mut dyn FnMut(Phase, u64) -> Option<Told>,
) -> Result<Compared, Error> {
    let (mut target, doubled) = contents(&mut *pair.target, context, short)?;
    refuse_doubled(&mut *pair.target, &doubled)?;
    let mut compared = Compared::default();
    let mut stopped = Ok(());
    let (source, ledger, was_old, from) = (&mut *pair.source, &mut *pair.target, pair.target_was_old, pair.from);
    let mut same: Vec<(String, Known)> = Vec::new();
    source.scan_contents(&mut |id, content| {
        compared.count += 1;
        let there = target.remove(&hash(&id));
        let here = short(&content);
        let is_same = there == Some(here);
        if was_old && there.is_some_and(|there| there[..8] == here[..8] || there[8..] == here[8..]) {
            same.push((id.clone(), content.into()));
        }
        if !is_same {
            compared.differing.insert(id);
        }
        if same.len() >= AT_ONCE {
            let set = ledger.ledger().and_then(|ledger| ledger.set(from, &same));
            same.clear();
            if let Err(error) = set {
                stopped = Err(error.into());
                return ControlFlow::Break(());
            }
        }
        if let Some(told) = progress(Phase::Comparing, compared.count) {
            (context.tell)(told);
        }
        stopped = context.go_on();
        if stopped.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    stopped?;
    if was_old {
        ledger.ledger()?.set(from, &same)?;
    }
    if !target.is_empty() {
        // What the target has and the source has not.
        compared.differing.extend(pair.target.ids()?.into_iter().filter(|id| target.contains_key(&hash(id))));
    }
    Ok(compared)
}

/// What is kept of each content of a store, by the [`hash`] of its id.
pub(crate) type Contents<T> = HashMap<u64, T>;

/// Reads what a store holds, and which ids stand there several times.
pub(crate) fn contents<T>(
    store: &mut dyn Store,
    context: &Context<'_>,
    kept: impl Fn(&Content) -> T,
) -> Result<(Contents<T>, BTreeSet<String>), Error> {
    let (mut contents, mut doubled, mut stopped) = (Contents::new(), BTreeSet::new(), Ok(()));
    store.scan_contents(&mut |id, content| {
        if contents.insert(hash(&id), kept(&content)).is_some() {
            doubled.insert(id);
        }
        stopped = context.go_on();
        if stopped.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    stopped?;
    Ok((contents, doubled))
}

/// An id that stands several times in the target could be read as either of its contents.
fn refuse_doubled(target: &mut dyn Store, doubled: &BTreeSet<String>) -> Result<(), Error> {
    let places = places(target, doubled)?;
    let Some((id, places)) = places.first_key_value() else { return Ok(()) };
    let places = places.join(", ");
    Err(Error::Refused(format!("{places}: the id {id} stands several times; rename or remove all but one")))
}
