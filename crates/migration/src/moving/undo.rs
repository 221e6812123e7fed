//! What becomes of a migration that failed before its switch: its target is cleared, and where that fails, it is stuck.

use std::ops::ControlFlow;

use milescale_core::backend::Engine;
use milescale_core::base::Side;
use milescale_core::migration::{Ended, Phase};
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_document::timestamp;
use milescale_storage::archive::Archive;
use milescale_storage::ledger::{AT_ONCE, Former};
use milescale_storage::store::Store;
use milescale_workspace::Workspace;
use milescale_workspace::conflicts::Keeper;
use milescale_workspace::error::Problem;
use milescale_workspace::move_journal::{Entry, Journal};
use milescale_workspace::record::{Intent, Past, Prepared};
use milescale_workspace::switch;

use super::{Moving, journal};
use crate::context::Error;
use crate::keeping::InConflict;
use crate::level::{readable, there};
use crate::recover::presence;
use crate::retire;
use crate::sweep::memory::NAMELESS;
use crate::told::Told;

impl Moving<'_, '_> {
    /// A migration that failed before its switch: the target is cleared, unless a person wants to look at it. `is_gone`: one of the
    /// two stores does not exist any more, as a person says. What the other one holds stays as it is then.
    pub(crate) fn undo(&mut self, reason: &str, is_gone: bool) {
        let (from, to) = (self.from, self.to);
        (self.context.tell)(Told::Failed { from, to, reason: reason.to_owned() });
        let undone = self.scrap(reason, is_gone);
        match undone {
            Ok(target_kept) => {
                (self.context.tell)(Told::RolledBack { from, to, reason: reason.to_owned(), target_kept });
            }
            // A store that cannot be reached now can be later: the next recovery tries again.
            Err(Error::Store(error)) if matches!(error.problem, Problem::Unavailable | Problem::Busy) => {
                tracing::warn!(%error, "the move cannot be undone yet; the next command or cycle tries again");
            }
            // Nothing stands in the way but the time: the next start goes on.
            Err(Error::Stopped) => tracing::warn!("asked to stop; the next start clears the unfinished target"),
            Err(error) => self.get_stuck(&error.to_string()),
        }
    }

    fn scrap(&mut self, reason: &str, is_gone: bool) -> Result<bool, Error> {
        if let Some(intent) = &mut self.record.intent {
            intent.failed.get_or_insert_with(|| reason.to_owned());
            if intent.phase != Phase::Scrapping {
                self.advance(Ended::Failed)?;
            }
        }
        let intent = self.record.intent.clone();
        let Some(intent) = intent else { return Ok(false) };
        if let Some(prepared) = &intent.prepared {
            switch::discard(self.context.workspace, prepared)
                .map_err(|error| Error::own("the prepared switch cannot be removed", &error))?;
        }
        if let Some((engine, prepared)) = &intent.engine_before {
            self.engine_back(*engine, prepared, intent.epoch)?;
        }
        let keep = !self.context.config.migration.rollback_on_failure;
        let is_filled = self.from.side() != self.to.side() && !intent.target_was_old;
        if is_gone {
            self.remember_written(&intent)?;
            journal::discard(self.context.workspace)?;
        } else if self.from.side() != self.to.side() {
            self.source_is_there()?;
            if intent.target_was_old {
                self.leave_old_target(&intent)?;
            } else if let Some(adopting) = intent.adopt.filter(|_| !keep) {
                self.give_back(&intent, adopting)?;
                journal::discard(self.context.workspace)?;
            } else if !keep {
                self.clear_target(&intent)?;
            }
        }
        let ended = self.context.stamp();
        let Intent { from, to, backup, automatic, failed, .. } = intent;
        self.record.remember(Past { epoch: 0, ended, from, to, backup, failed, automatic });
        self.record.intent = None;
        self.context.save(&self.record)?;
        Ok(is_filled && keep)
    }

    /// Lets the configuration name the engine of before. The way back is written down as the way there was: what comes out of an
    /// exchange may be a person's edit, and a death must not leave it to nobody.
    fn engine_back(&mut self, engine: Engine, prepared: &Prepared, epoch: u64) -> Result<(), Error> {
        let workspace = self.context.workspace;
        let failed = |error: std::io::Error| Error::own("config/storage-config.yaml", &error);
        let is_back = switch::names(prepared, engine);
        let has_happened = switch::has_happened(workspace, prepared).map_err(failed)?;
        if has_happened {
            switch::settle(workspace, prepared, self.context.clock).map_err(failed)?;
        } else {
            switch::discard(workspace, prepared).map_err(failed)?;
        }
        if has_happened == is_back {
            return Ok(());
        }
        let back = switch::Switch::to_engine(workspace, engine, epoch)?;
        if let Some(intent) = &mut self.record.intent {
            intent.engine_before = Some((engine, back.prepared().clone()));
        }
        self.context.save(&self.record)?;
        back.commit(self.context.clock).map_err(failed)
    }

    /// Takes out of a new target what this move has brought. What somebody has written there is kept as a conflict: it was written
    /// into a store that is not in use. What was changed goes then; what came, or lies in the archive, stays.
    fn clear_target(&mut self, intent: &Intent) -> Result<(), Error> {
        let mut target = self.context.open(self.to)?;
        let exists = target.exists()?;
        if exists && target.is_foreign()? {
            // It was another workspace's before this one brought anything there.
            tracing::warn!("the target belongs to another workspace: nothing of this move is there");
            return journal::discard(self.context.workspace);
        }
        let journal = journal::of_move(self.context.workspace, intent.epoch, self.to.side())?;
        let mut keeper = None;
        if exists {
            self.keep_what_is_nowhere_else(&mut *target, intent, &mut keeper)?;
        }
        if let Some(journal) = journal.filter(|_| self.to.side() == Side::Files) {
            for there in written_into_archive(self.context.workspace, &journal, intent) {
                self.keep_left(
                    &there,
                    "it was written into the archive during a move that was undone, and lies there",
                    intent,
                    &mut keeper,
                )?;
            }
        }
        // Where the folder is gone, what was brought to the archive is there still.
        let is_there = exists || self.to.side() == Side::Files;
        let left = if is_there { target.clear(self.from.side(), self.context.now())? } else { Vec::new() };
        for id in left {
            let Ok(id) = id.parse::<Id>() else { continue };
            if let Some(there) = there(target.get(&id))? {
                self.keep_left(
                    &there,
                    "it was written into the target of a move that was undone",
                    intent,
                    &mut keeper,
                )?;
                match target.remove(&id, there.digest(), self.context.now()) {
                    // Somebody moves or writes it just now: it stays there, as in any store that nobody has filled.
                    Err(error) if error.is_passing() => {}
                    other => other?,
                }
            }
        }
        // What comes into a retired store is looked for as before.
        let is_looked_at = self.record.old.iter().any(|old| old.side == self.to.side());
        if is_there && !is_looked_at {
            self.name_what_came(&mut *target, intent, &mut keeper)?;
        }
        journal::discard(self.context.workspace)
    }

    /// Names what came into a new target, and stays there. What has no proper id can only be told.
    fn name_what_came(
        &mut self,
        target: &mut dyn Store,
        intent: &Intent,
        keeper: &mut Option<Keeper>,
    ) -> Result<(), Error> {
        let reason = "it was written into the target of a move that was undone, and stands there";
        let mut told: Vec<(String, String)> =
            target.nameless()?.map(|why| (NAMELESS.to_owned(), why)).into_iter().collect();
        for id in target.ids()? {
            match id.parse::<Id>() {
                Ok(id) => {
                    if let Some(there) = readable(there(target.get(&id)))? {
                        self.keep_left(&there, reason, intent, keeper)?;
                    }
                }
                Err(bad) => told.push((id, format!("{reason}: {bad}"))),
            }
        }
        if !told.is_empty() {
            (self.context.tell)(Told::Reported(self.to.side(), told));
        }
        Ok(())
    }

    /// Keeps what somebody has written into a new target, and tells it.
    pub(super) fn keep_left(
        &mut self,
        there: &Milestone,
        reason: &str,
        intent: &Intent,
        keeper: &mut Option<Keeper>,
    ) -> Result<(), Error> {
        let in_conflict = InConflict {
            id: &there.id,
            text: &there.text,
            side: self.to.side(),
            place: &there.place,
            reason: reason.to_owned(),
            current: None,
            current_place: self.from.to_string(),
            backup: intent.backup.clone(),
        };
        let (told, _) = in_conflict.keep(keeper, self.context)?;
        (self.context.tell)(told);
        Ok(())
    }

    /// Where the target is gone, what this move has written there is an earlier content of it, should it come back.
    fn remember_written(&mut self, intent: &Intent) -> Result<(), Error> {
        let to = self.to.side();
        let Some(journal) = journal::of_move(self.context.workspace, intent.epoch, to)? else { return Ok(()) };
        if presence(self.from, self.context).may_be_gone() {
            return Ok(());
        }
        let of = |(id, entries): (&String, &Vec<Entry>)| {
            let contents: Vec<_> = entries.iter().filter_map(Entry::content).collect();
            contents.into_iter().map(|content| (id.clone(), Former::of(to, content))).collect::<Vec<_>>()
        };
        let written: Vec<(String, Former)> = journal.entries.iter().flat_map(of).collect();
        let mut source = self.context.open(self.from)?;
        for written in written.chunks(AT_ONCE) {
            source.ledger()?.remember(written)?;
        }
        Ok(())
    }

    /// Leaves an old target as an old store: what this move has written there is its base from now on.
    fn leave_old_target(&mut self, intent: &Intent) -> Result<(), Error> {
        if let Some(journal) = journal::of_move(self.context.workspace, intent.epoch, self.to.side())? {
            let mut source = self.context.open(self.from)?;
            let mut target = self.context.open(self.to)?;
            let to = self.to.side();
            journal::note_bases(&journal, &mut *source, (&mut *target, to))?;
            journal::take_out_added(&journal, &mut *source, (&mut *target, to), self.context.now())?;
        }
        // One that a person had retired refuses writes again.
        if let Some(old) = self.record.known(self.to.side(), self.from.side()).filter(|old| old.retired.is_some()) {
            let message = retire::message(self.from);
            tracing::info!(store = old.name, "it refuses writes again");
            self.context.open(self.to)?.refuse_writes(Some(&message))?;
        }
        journal::discard(self.context.workspace)
    }

    fn get_stuck(&mut self, why: &str) {
        let reason = format!(
            "the unfinished target cannot be cleared: {why}. {} is in use as before. Mend that, and run `milescale doctor \
             --fix`, which tries again",
            self.from
        );
        if let Some(intent) = &mut self.record.intent {
            intent.stuck = Some(reason.clone());
            if intent.phase == Phase::Scrapping {
                intent.phase = Phase::Stuck;
            }
        }
        if let Err(error) = self.context.save(&self.record) {
            tracing::error!(%error, "the record of the migration cannot be written");
        }
        (self.context.tell)(Told::Stuck { from: self.from, to: self.to, reason });
    }
}

/// What was written into the archive since a move to files began, of the milestones that it was to bring, and is none of what it
/// wrote itself.
fn written_into_archive(workspace: &Workspace, journal: &Journal, intent: &Intent) -> Vec<Milestone> {
    let (began, mut found) = (timestamp::from_text(&intent.started), Vec::new());
    let is_since = |it: &Milestone| {
        let written = it.updated_at.as_deref().and_then(timestamp::from_text);
        written.is_none_or(|written| began.is_none_or(|began| written >= began))
    };
    let scanned = Archive::new(workspace).scan(&mut |it| {
        let entries = journal.entries.get(&it.id).filter(|_| is_since(&it));
        let is_written = |entry: &Entry| entry.content().is_some_and(|content| content.text == it.digest());
        if !it.text.is_empty() && entries.is_some_and(|entries| !entries.iter().any(is_written)) {
            found.push(it);
        }
        ControlFlow::Continue(())
    });
    if let Err(error) = scanned {
        // It stops no undo, which leaves the archive as it is.
        tracing::warn!(%error, "what was written into the archive during the move is not named");
    }
    found
}
