//! Milestones of an old store that cannot be brought over: named, and tried again by and by.

use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_storage::store::Store;
use milescale_workspace::error::StoreError;

use super::Sweeper;
use super::memory::{self, OfSide};
use crate::context::{Context, Error};
use crate::level::there;
use crate::told::Told;

/// An id that is asked for to see whether a store answers.
const PROBE: &str = "milescale-asks-whether-this-store-answers";

impl Sweeper {
    /// Whether both stores answer: then what failed is a matter of one milestone.
    pub(super) fn answer(&mut self, current: &mut dyn Store) -> bool {
        let old = PROBE.parse::<Id>().is_ok_and(|probe| there(self.store.get(&probe)).is_ok());
        let side = self.side();
        let asked: Result<bool, StoreError> = current.ledger().and_then(|ledger| ledger.is_complete(side));
        old && asked.is_ok()
    }

    /// Names what cannot be brought over, each content once. It is tried again by and by.
    pub(super) fn name_failing(&mut self, failed: Failures, memory: &mut OfSide, context: &mut Context<'_>) {
        let is_new = |(id, text, _): &(String, Option<Digest>, String)| {
            memory.failing.get(id).is_none_or(|known| known.text != *text)
        };
        let new: Vec<(String, String)> = failed
            .0
            .iter()
            .filter(|it| is_new(it))
            .map(|(id, _, why)| (id.clone(), format!("it cannot be brought over: {why}")))
            .collect();
        if !new.is_empty() {
            (context.tell)(Told::Reported(self.side(), new));
        }
        for (id, text, why) in failed.0 {
            self.open.remove(&id);
            memory.held.remove(&id);
            memory.failing.insert(id, memory::Failing { text, why });
        }
    }
}

/// Milestones that could not be judged or brought over: id, digest of the text, why.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<(String, Option<Digest>, String)>);

impl Failures {
    pub(super) fn add(&mut self, id: &str, text: Option<Digest>, error: &Error) {
        self.0.push((id.to_owned(), text, error.to_string()));
    }
}
