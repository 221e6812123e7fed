//! What becomes of a migration that failed before its switch: its target is cleared, and where that fails, it is stuck.

use milescale_core::migration::{Ended, Phase};
use milescale_storage::record::{Intent, Past};
use milescale_storage::switch;

use super::Moving;
use crate::context::Error;
use crate::told::Told;

impl Moving<'_, '_> {
    /// A migration that failed before its switch: the target is cleared, unless a person wants to look at it.
    pub(crate) fn undo(&mut self, reason: &str) {
        let (from, to) = (self.from, self.to);
        (self.context.tell)(Told::Failed { from, to, reason: reason.to_owned() });
        let undone = self.scrap(reason);
        match undone {
            Ok(target_kept) => {
                (self.context.tell)(Told::RolledBack { from, to, reason: reason.to_owned(), target_kept });
            }
            Err(error) => self.get_stuck(&error.to_string()),
        }
    }

    fn scrap(&mut self, reason: &str) -> Result<bool, Error> {
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
        let keep = !self.context.config.migration.rollback_on_failure;
        let is_filled = self.from.side() != self.to.side() && !intent.target_was_old;
        if is_filled && !keep {
            let mut target = self.context.open(self.to)?;
            if target.exists()? {
                let left = target.clear(self.from.side(), self.context.now())?;
                if left > 0 {
                    tracing::warn!(left, "milestones in the target that milescale has not brought there stay");
                }
            }
        }
        let ended = self.context.stamp();
        let Intent { from, to, backup, automatic, failed, .. } = intent;
        self.record.remember(Past { epoch: 0, ended, from, to, backup, failed, automatic });
        self.record.intent = None;
        self.context.save(&self.record)?;
        Ok(is_filled && keep)
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
