//! Changes that follow each other: a pull or a branch change, however slowly its files are written, waits for a person.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use milescale_core::base::{Side, Verdict};
use milescale_document::digest::Digest;
use milescale_document::timestamp;
use serde::{Deserialize, Serialize};

use super::judged::{Finding, Judged, ToRetired};
use super::memory::OfSide;
use super::{Holding, Sweeper};
use crate::context::Context;
use crate::told::Told;

/// More changed files than this are a batch.
pub(crate) const AT_MOST: usize = 5;

/// How soon one change follows another.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(30);

/// The files of an old store whose last changes follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Recent {
    /// When the last change was first seen, as RFC 3339.
    last: Option<String>,
    /// As many of them as make a batch.
    files: BTreeMap<String, Changed>,
}

/// A changed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Changed {
    text: Digest,
    imported: bool,
}

impl Recent {
    /// Takes in a change. `seen` is when this process saw the last one: the wall clock counts only between processes.
    pub(super) fn see(&mut self, id: &str, text: Digest, seen: &mut Option<Instant>, now: Timestamp) {
        if self.files.get(id).is_some_and(|known| known.text == text) {
            return;
        }
        let by_clock = || {
            let last = timestamp::from_text(self.last.as_deref()?)?;
            // A clock that was set back says nothing.
            Some(Duration::try_from(now.duration_since(last)).unwrap_or_default())
        };
        let quiet = seen.map(|seen| seen.elapsed()).or_else(by_clock);
        if quiet.is_none_or(|quiet| quiet > FOLLOWS_WITHIN) {
            self.files.clear();
        }
        (self.last, *seen) = (Some(timestamp::to_text(now)), Some(Instant::now()));
        if !self.is_batch() {
            self.files.insert(id.to_owned(), Changed { text, imported: false });
        }
    }

    /// Whether they are too many to be somebody's edits.
    pub(super) fn is_batch(&self) -> bool {
        self.files.len() > AT_MOST
    }

    /// Notes that a change was brought over.
    pub(super) fn imported(&mut self, id: &str) {
        if let Some(changed) = self.files.get_mut(id) {
            changed.imported = true;
        }
    }

    /// Those that were brought over before the batch was one.
    pub(super) fn imported_before(&self) -> Vec<String> {
        self.files.iter().filter(|(_, changed)| changed.imported).map(|(id, _)| id.clone()).collect()
    }
}

impl Sweeper {
    /// Whether changes that are a batch wait for a person: files that somebody pulled, where a database is in use.
    pub(super) fn holds_batches(&self, holding: Holding) -> bool {
        holding == Holding::Batches && self.side() == Side::Files && self.to != Side::Files
    }

    /// Holds what is a batch, and what appeared in a retired store. What is to be carried out.
    pub(super) fn hold_batches(
        &mut self,
        due: Vec<Judged>,
        holding: Holding,
        memory: &mut OfSide,
        context: &mut Context<'_>,
    ) -> Vec<Judged> {
        let is_retired = self.is_retired() && holding == Holding::Batches;
        let holds = is_retired || (self.holds_batches(holding) && memory.recent.is_batch());
        if !holds {
            return due;
        }
        let waits = |judged: &Judged| {
            let is_change = judged.text.is_some() && !(is_retired && judged.retired == ToRetired::IsCopy);
            is_change && judged.finding != Finding::Verdict(Verdict::Advance) && (is_retired || !judged.takes_text())
        };
        let (held, rest): (Vec<Judged>, Vec<Judged>) = due.into_iter().partition(waits);
        if !held.is_empty() {
            let ids = held.iter().map(|judged| judged.id.clone()).collect();
            let imported_before = if is_retired { Vec::new() } else { memory.recent.imported_before() };
            (context.tell)(Told::Held { side: self.side(), ids, imported_before, is_retired });
        }
        for judged in held {
            self.open.remove(&judged.id);
            memory.failing.remove(&judged.id);
            memory.held.insert(judged.id, judged.text);
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;
    use jiff::{SignedDuration, Timestamp};
    use milescale_document::digest::Digest;

    /// Changes of as many files, each so many seconds after the one before, each seen by a process of its own.
    fn batch(files: u8, seconds: i64) -> bool {
        let (mut recent, mut now) = (Recent::default(), Timestamp::from_second(1_800_000_000).unwrap());
        for number in 0..files {
            recent.see(&format!("m-{number}"), Digest::of(&[number]), &mut None, now);
            now = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap();
        }
        recent.is_batch()
    }

    #[test]
    fn more_than_five_files_that_follow_each_other_are_a_batch() {
        assert!(batch(6, 0) && batch(6, 30) && batch(12, 1));
        assert!(!batch(5, 0) && !batch(40, 31));
        assert!(batch(6, -1000), "a clock that goes back ends no batch");
    }

    #[test]
    fn the_same_content_of_a_file_is_one_change() {
        let (mut recent, now) = (Recent::default(), Timestamp::from_second(1_800_000_000).unwrap());
        for number in 0..9 {
            recent.see("m", Digest::of(&[number % 2]), &mut None, now);
        }
        assert!(!recent.is_batch());
        recent.imported("m");
        assert_eq!(recent.imported_before(), ["m"]);
    }
}
