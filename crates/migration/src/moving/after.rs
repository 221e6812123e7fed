//! After the switch: the last writes of the old side, and what becomes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use milescale_core::base::Side;
use milescale_core::config::FilesAfter;
use milescale_storage::files::NOTE_OF_MOVE;
use milescale_storage::store::Store;
use milescale_workspace::error::Problem;
use milescale_workspace::record::{Intent, Old, Past};

use super::{Left, Moving};
use crate::context::Error;
use crate::retire::retire_files;
use crate::sweep::memory::Memory;
use crate::sweep::{Holding, Sweeper};

/// How long the old side is swept at once after the switch; what comes later is swept by and by.
const SWEEP_AFTER: Duration = Duration::from_secs(6);

impl Moving<'_, '_> {
    /// What is to be done once the new store is in use. May be repeated, then with a look at all of the source.
    pub(crate) fn after_switch(&mut self, left: Option<Left>) -> Result<(), Error> {
        let (from, to) = (self.from.side(), self.to.side());
        if from != to {
            Memory::forget(to, self.context.workspace).map_err(Error::Own)?;
            if to == Side::Files {
                self.context.open(self.to)?.refuse_writes(None)?;
            }
        }
        if from != to
            && let Some(old) = self.record.old.iter().find(|old| old.side == from).cloned()
        {
            match self.finish_source(&old, left) {
                // It is an old store like any other: what was written to it is brought over once it can be reached, and no other one waits
                // for that.
                Err(Error::Store(error)) if from != Side::Files && error.problem == Problem::Unavailable => {
                    tracing::warn!(%error, "what was written last to the store that was left is not brought over yet");
                }
                other => other?,
            }
        }
        self.end()
    }

    /// Writes down that the move has ended.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        let ended = self.context.stamp();
        if let Some(intent) = self.record.intent.take() {
            let Intent { epoch, backup, automatic, .. } = intent;
            let (from, to) = (self.from, self.to);
            self.record.remember(Past { epoch, ended, from, to, backup, failed: None, automatic });
        }
        self.context.save(&self.record)
    }

    /// Brings over what was written last to the store that was left, and leaves it.
    fn finish_source(&mut self, old: &Old, left: Option<Left>) -> Result<(), Error> {
        let mut current = self.context.open(self.to)?;
        // After a death nobody knows for how long others have gone on writing there.
        let (store, late, holding) = match left {
            Some(Left { store, late }) => (store, late, Holding::Nothing),
            None => (self.context.open(self.from)?, BTreeSet::new(), Holding::Batches),
        };
        let mut sweeper = Sweeper::new(old.clone(), store, self.to).looking_at(late);
        sweeper.until_still(&mut *current, holding, SWEEP_AFTER, self.context)?;
        if self.take_over().is_some() {
            current.ledger()?.complete(old.side)?;
        }
        sweeper.store().leave()?;
        if old.side == Side::Files {
            self.files_after(old, sweeper.store(), &mut *current)?;
        }
        Ok(())
    }

    /// What becomes of the files after a move to a database.
    fn files_after(&mut self, old: &Old, files: &mut dyn Store, current: &mut dyn Store) -> Result<(), Error> {
        let back = format!("milescale migrate {}", self.from.backend);
        // A later move may name another database: the note is not written again then.
        let files_are = match self.context.config.migration.files_after {
            FilesAfter::Keep => "The files are as they were then, and read-only.",
            FilesAfter::Retire => "The files as they were then are in .milestones/.milescale/retired.",
        };
        let note = format!(
            "{NOTE_OF_MOVE}{}: `milescale status` names it.\n\
             {files_are} To change a milestone: milescale milestone put ID FILE\n\
             To come back to files: {back}\n",
            self.context.stamp()
        );
        match self.context.config.migration.files_after {
            FilesAfter::Keep => files.refuse_writes(Some(&note))?,
            FilesAfter::Retire => {
                retire_files(old, self.to, current, &note, self.context)?;
                let stamp = self.context.stamp();
                for old in self.record.old.iter_mut().filter(|old| old.side == Side::Files) {
                    old.retired = Some(stamp.clone());
                }
            }
        }
        Ok(())
    }
}
