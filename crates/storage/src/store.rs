//! What every store can do, so that figures, verbs and migrations never ask which one it is.
//!
//! A store is plain blocking code for one thread at a time. What others do meanwhile it finds by content: every write is
//! a compare-and-set on the digest of the text that the caller has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_core::figures::StoreFigures;
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_document::document::Flaw;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone, Packed};
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::readers::Readers;
use milescale_workspace::trial::Hindrance;

pub use crate::difference::{Difference, Mended};
use crate::ledger::{Entry, Ledger};
use crate::outline::{Outline, Wanted};
use crate::scan::Slots;

/// How much of a store a look takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// All of it; what is known not to have changed is not read again.
    Everything,
    /// These paths of milestone files. One that turns out to be a folder widens the look to everything.
    Paths(Vec<PathBuf>),
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// The figures of contract §4.
    pub figures: StoreFigures,
    /// The look went to everything, because a path was that of a folder: its watch may have been set too late.
    pub widened: bool,
    /// Files that were read so soon after their last change that they have to be looked at again.
    pub fresh: Vec<PathBuf>,
}

/// What a writer has seen of the milestone that it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// That there is none.
    Nothing,
    /// A text with this digest.
    Text(Digest),
}

/// When something is kept for the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// There will be another one: what is hardly worth it waits.
    Cycle,
    /// The process ends.
    End,
}

/// Which milestones may have changed since somebody asked last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These; some may be gone, some the same as before.
    Ids(BTreeSet<String>),
    /// Only a look at all of them tells.
    Everything,
}

/// What a store is in a move, or without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The milestones are in it, and are changed there.
    InUse,
    /// The milestones leave it.
    Source,
    /// The milestones go into it.
    Target,
}

/// What stands against a move, as a store finds it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Against {
    /// What has to be dealt with first.
    pub hindrances: Vec<Hindrance>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// A way in which acknowledged writes can be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Risk {
    /// Whether more than the last writes are at risk.
    pub is_grave: bool,
    /// What can be lost, and when.
    pub what: String,
    /// What a person can do about it.
    pub do_this: String,
}

/// A place where milestones are kept.
pub trait Store: fmt::Debug + Send {
    /// Which one it is, as people read it.
    fn name(&self) -> String;

    /// Adds what milescale keeps of its own beside the rows of other programs, where it is not there yet.
    fn adopt(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Looks at the store; `now` is the wall clock. The figures are right for the instant of the look.
    ///
    /// # Errors
    /// When the figures cannot be had: then they are stale, never zero.
    fn survey(&mut self, extent: &Extent, now: SystemTime) -> Result<Survey, StoreError>;

    /// Whether this workspace may write here, as far as that is told without writing.
    ///
    /// # Errors
    /// [`Problem::Refused`] where another workspace, or a copy of this one, has written here, or what was written is gone.
    fn standing(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Why this is not the store that milescale knows under this name: another table stands at its address, or it was at another
    /// address. `None`: it is that store, or nothing tells.
    ///
    /// # Errors
    /// When that cannot be found out now.
    fn is_another(&mut self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Whether the store that milescale knows does not exist any more: one at another address may be there still. What cannot be
    /// found out is not gone.
    fn is_gone(&mut self) -> bool {
        self.exists().is_ok_and(|exists| !exists) && self.is_another().is_ok_and(|why| why.is_none())
    }

    /// Says that this need not be a store that milescale knows: the target of a move, or one that a person names. Any other one
    /// is neither read nor written where [`Store::is_another`] has a reason.
    fn may_be_another(&mut self) {}

    /// Says who may read what is written from now on: a copy is for nobody else.
    ///
    /// # Errors
    /// Where others may read the store: it is neither filled with that, nor closed to those who use it.
    fn make_for(&mut self, _: Readers) -> Result<(), StoreError> {
        Ok(())
    }

    /// The same of a store that nobody uses yet: the right to read it is taken from others.
    ///
    /// # Errors
    /// Where it cannot be narrowed to them.
    fn narrow_for(&mut self, readers: Readers) -> Result<(), StoreError> {
        self.make_for(readers)
    }

    /// Leaves a mark in a store that is left: one that was copied before, and is put in its place, is known by the lack of it.
    fn leave(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether it is another workspace's, which says so itself.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn is_foreign(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Notes that it is the one in use from now on, or is about to be: of several that this workspace has made, the others are
    /// not taken for it.
    fn become_used(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes it this workspace's with what stands there, at a person's word: nobody else is to write it. Whether it had gone back:
    /// a write that this workspace knows of is not there.
    fn take_over(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Those of these milestones that cannot go, for rows of other tables refer to them: each with such a table.
    ///
    /// # Errors
    /// When it cannot be read.
    fn referred(&mut self, ids: &[String]) -> Result<Vec<(String, String)>, StoreError> {
        let _ = ids;
        Ok(Vec::new())
    }

    /// Milestones that are there and that reading all of it leaves out: those that no id can name, and those that an index hides.
    ///
    /// # Errors
    /// When it cannot be read.
    fn hidden(&mut self) -> Result<Vec<Hindrance>, StoreError> {
        Ok(Vec::new())
    }

    /// What its server may lose of what it has acknowledged, as it is set up now.
    ///
    /// # Errors
    /// When the server cannot be asked.
    fn risks(&mut self) -> Result<Vec<Risk>, StoreError> {
        Ok(Vec::new())
    }

    /// What would make it faster but changes a table that other programs made, so that only a person may ask for it; as
    /// the last look found it.
    fn improvement(&self) -> Option<&'static str> {
        None
    }

    /// Does that, at a person's word. It may take long, and other programs wait meanwhile.
    fn improve(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What is derived from the milestones and has differed from them for a while, as the last look found them; also when
    /// to ask again where a difference has not stood long enough. `now` is the wall clock.
    fn differing(&mut self, now: SystemTime) -> Result<(Vec<Difference>, Option<Duration>), StoreError> {
        let _ = now;
        Ok((Vec::new(), None))
    }

    /// Mends what [`Store::differing`] has told last, where it still is as it was told.
    fn mend(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What the last look found that counts and adds nothing else, by place.
    fn flawed(&self) -> BTreeMap<String, Flaw>;

    /// Milestones whose `id:` is not their id: place, id, `id:`.
    fn other_ids(&self) -> Vec<(String, String, String)> {
        Vec::new()
    }

    /// Ids that stand several times, and where.
    fn duplicates(&self) -> BTreeMap<String, Vec<String>> {
        BTreeMap::new()
    }

    /// One milestone.
    fn get(&mut self, id: &Id) -> Result<Milestone, StoreError>;

    /// Some of these milestones, read at once where that spares other programs something. Those that are not handed over have to
    /// be got one by one.
    ///
    /// # Errors
    /// As [`Store::get`], but for one that is not there.
    fn get_some(&mut self, ids: &[String]) -> Result<Vec<Milestone>, StoreError> {
        let _ = ids;
        Ok(Vec::new())
    }

    /// Works on every milestone that counts or is archived here, in an order of ids that is the store's own, with as many
    /// threads as are worth it: at most [`crate::scan::BATCH`] at once, and only as many as there is
    /// [room](crate::budget) for, each with its number among them. After each such
    /// batch `done` gets how many numbers there were; a milestone may be missing under its number.
    ///
    /// What is written meanwhile is handed over in its old or its new content. [`crate::scan::scan_as`] is the way to use it.
    fn scan_batches(
        &mut self,
        work: &(dyn Fn(usize, Milestone) + Sync),
        done: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Hands over every milestone, one at a time, in bounded memory.
    fn scan(&mut self, visit: &mut dyn FnMut(Milestone) -> ControlFlow<()>) -> Result<(), StoreError> {
        let slots = Slots::new();
        self.scan_batches(&|number, milestone| slots.put(number, milestone), &mut |count| slots.take(count, visit))
    }

    /// Hands over what every milestone is compared by: id and content.
    fn scan_contents(&mut self, visit: &mut dyn FnMut(String, Content) -> ControlFlow<()>) -> Result<(), StoreError> {
        let slots = Slots::new();
        self.scan_batches(&|number, milestone| slots.put(number, (milestone.content(), milestone.id)), &mut |count| {
            slots.take(count, &mut |(content, id)| visit(id, content))
        })
    }

    /// Hands over id, place and bytes of the text of every milestone, as cheaply as that can be had; in the order of
    /// [`Store::scan`].
    fn scan_sizes(&mut self, visit: &mut dyn FnMut(String, String, u64) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.scan(&mut |milestone| visit(milestone.id, milestone.place, milestone.text.len() as u64))
    }

    /// Hands over what a list or a search is to show, in an order of ids that is the store's own; from an index where there is
    /// one. A person waits for it, so it makes less room for others than [`Store::scan`].
    fn list(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        let slots = Slots::new();
        self.scan_batches(
            &|number, milestone| {
                if wanted.takes(&milestone) {
                    slots.put(number, Outline::of(milestone));
                }
            },
            &mut |count| {
                slots.take(count, &mut |outline| {
                    visit(outline);
                    ControlFlow::Continue(())
                })
            },
        )
    }

    /// Writes a milestone if its content is what was seen. Once it returns it is on the disk; if the process dies in it,
    /// the old or the new content is there, whole. The content that it replaces is kept for a while.
    ///
    /// # Errors
    /// [`Problem::Changed`] where it is another content: then nothing has changed.
    fn put(&mut self, draft: &Draft, seen: Seen) -> Result<(), StoreError>;

    /// Writes an archived milestone if its content is what was seen, so that it counts no more. Of files, it moves to the archive,
    /// never over another one.
    fn archive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError>;

    /// The same because its file was moved to the archive on another side, and in the same step what is known of that side: what
    /// comes back from the archive later is not archived for that move again.
    fn archive_for(&mut self, draft: &Draft, seen: Digest, entry: &Entry) -> Result<(), StoreError> {
        // Files have no archive on another side.
        self.archive(draft, seen)?;
        self.ledger()?.set(entry.side, &[(draft.id.to_string(), entry.known.clone())])
    }

    /// Writes a milestone that was archived here if its content is what was seen, so that it counts again. Of files, it moves back
    /// to its place, never over another one.
    fn unarchive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError>;

    /// Where, and for how long, contents are kept that were replaced here, as people read it.
    fn displaced(&self) -> String {
        ".milescale/displaced for 30 days".to_owned()
    }

    /// Whether a milestone is archived by its status alone, as in a database; of files, by its place.
    fn archives_by_status(&self) -> bool {
        false
    }

    /// The archived milestone of an id that is not among what [`Store::get`] finds: a file in `completed/`.
    fn archived(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        let _ = id;
        Ok(None)
    }

    /// The same with whatever else lies in `completed/` under the id, in other folders; the one that counts first.
    fn archived_all(&mut self, id: &Id) -> Result<Vec<Milestone>, StoreError> {
        Ok(self.archived(id)?.into_iter().collect())
    }

    /// What the store holds of a milestone, in its place or archived.
    fn held(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        match self.get(id) {
            Ok(milestone) => Ok(Some(milestone)),
            Err(error) if error.problem == Problem::NotThere => self.archived(id),
            Err(error) => Err(error),
        }
    }

    /// Writes a milestone of another side where it stands here, else where it belongs, as [`Store::put`] does, and in the same
    /// step what it is as the base of that side.
    fn bring(&mut self, draft: &Draft, seen: Seen, from: Side) -> Result<(), StoreError>;

    /// Finishes an import that a death has ended in the middle, before anything is judged by it.
    ///
    /// # Errors
    /// When another writer of milescale's keeps this one out, or what is left cannot be read or removed.
    fn finish(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The same as [`Store::bring`] in a store in use, with what is to be known of the other side. If the process dies in it, whoever writes the
    /// milestone next knows whether it was written.
    fn import(&mut self, draft: &Draft, seen: Seen, entry: &Entry) -> Result<(), StoreError>;

    /// Takes a milestone out, if its content is what was seen. The content is kept for a while.
    fn remove(&mut self, id: &Id, seen: Digest, now: Timestamp) -> Result<(), StoreError>;

    /// Whether there is such a store: its folder, its file or its table.
    fn exists(&mut self) -> Result<bool, StoreError>;

    /// Looks whether it could be filled: the server's version, its role, the rights; nothing is changed.
    fn can_be_filled(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What stands against changing the milestones in it, or moving them out of it, or into it: its shape, the rights, what other
    /// programs have added. Read without a lock that anybody waits for; nothing is changed.
    fn against(&mut self, part: Part) -> Result<Against, StoreError> {
        let _ = part;
        Ok(Against::default())
    }

    /// Whether it could refuse a milestone that every store can keep, so that all of them have to be tried.
    fn may_refuse(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Tries these milestones on a table that is made like its own and that nobody sees. Those that it would refuse: id
    /// and reason; of many only some.
    fn try_out(&mut self, milestones: &mut dyn Iterator<Item = Packed>) -> Result<Vec<(String, String)>, StoreError> {
        milestones.for_each(drop);
        Ok(Vec::new())
    }

    /// Says that nobody else uses this store yet, so that reading it need not make room for other writers.
    fn nobody_else_uses_it(&mut self) {}

    /// Lets a store that was there before be read by none but those who may read the milestones of a side, before it is filled with those.
    ///
    /// # Errors
    /// When it is kept for somebody who may not read them: nothing was written into it.
    fn let_in_only_readers(&mut self, _: Side) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes the store where there is none, and what milescale needs in it to fill it.
    fn prepare(&mut self) -> Result<(), StoreError>;

    /// Writes many milestones that are not there yet into a store that nobody else writes to, and what they are as the
    /// base of the side that they come from. How many. `number`, where the store can keep it, is committed with them.
    ///
    /// # Errors
    /// After one, some may be there and others not.
    fn load(
        &mut self,
        milestones: &mut dyn Iterator<Item = Packed>,
        from: Side,
        number: u64,
    ) -> Result<u64, StoreError>;

    /// Takes out again what a move has brought from a side and nobody has changed since: an unfinished target. The ids of the
    /// milestones that it has brought and leaves, because somebody has.
    fn clear(&mut self, from: Side, now: Timestamp) -> Result<Vec<String>, StoreError>;

    /// Brings up to date what is derived from the milestones, all at once. `now` is the wall clock.
    fn derive(&mut self, now: SystemTime) -> Result<(), StoreError> {
        let _ = now;
        Ok(())
    }

    /// What others may have changed since the last call; the first call answers [`Touched::Everything`] and begins to
    /// watch. `now` is the wall clock.
    fn touched(&mut self, now: SystemTime) -> Result<Touched, StoreError>;

    /// The ids of milestones that lie in the archive and that others may have changed there since the last call; the first call
    /// answers none, and begins to watch. A long archive is not looked at each time. `now` is the wall clock.
    fn touched_in_archive(&mut self, now: SystemTime) -> Result<BTreeSet<String>, StoreError> {
        let _ = now;
        Ok(BTreeSet::new())
    }

    /// Keeps every other writer out until [`Store::release`], where that can be done; readers go on.
    ///
    /// # Errors
    /// [`Problem::Busy`] where somebody else writes just now.
    fn hold(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Lets other writers go on.
    fn release(&mut self) {}

    /// The base of old stores, kept with this one.
    fn ledger(&mut self) -> Result<&mut dyn Ledger, StoreError>;

    /// The sides that it was filled from, as a database says itself. Nothing is made for the answer.
    fn filled_from(&mut self) -> Result<Vec<Side>, StoreError> {
        Ok(Vec::new())
    }

    /// Makes the store, which is not in use any more, refuse what others write to it, with this message; nothing is
    /// dropped. Or lets it take writes again.
    fn refuse_writes(&mut self, message: Option<&str>) -> Result<(), StoreError>;

    /// Everything that is wrong with what is kept here, in words. Reads all of it.
    fn check(&mut self) -> Result<Vec<String>, StoreError>;

    /// Removes what it keeps beside the milestones of contents that were replaced, where that was kept for long enough:
    /// `is_over` is asked with what each is known by and the time in its record.
    fn purge_kept(&mut self, is_over: &mut dyn FnMut(&str, Timestamp) -> bool) -> Result<(), StoreError> {
        let _ = is_over;
        Ok(())
    }

    /// Keeps what makes the next start quick, where there is such a thing. Nothing of it is needed: it may be missing,
    /// damaged or of another time.
    fn keep_facts(&mut self, occasion: Occasion) -> Result<(), StoreError> {
        let _ = occasion;
        Ok(())
    }

    /// A number that stays the same while no look finds that an id came or went, where the store knows one.
    fn generation(&self) -> Option<u64> {
        None
    }

    /// Hands over the ids that the last look found, in no order. `false`: the store does not remember them.
    fn each_known_id(&self, each: &mut dyn FnMut(&str)) -> bool {
        let _ = each;
        false
    }

    /// Rows that no id can name, in words, with what to do about them; `None` where there are none. They are neither scanned
    /// nor told among what was touched: after such a change [`Store::touched`] answers [`Touched::Everything`].
    fn nameless(&mut self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// Every id that is here.
    fn ids(&mut self) -> Result<Vec<String>, StoreError>;
}
