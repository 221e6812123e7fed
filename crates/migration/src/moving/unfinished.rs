//! What an unfinished target may hold that stands nowhere else, before it is cleared.

use std::ops::ControlFlow;

use milescale_core::base::Side;
use milescale_document::id::Id;
use milescale_storage::ledger::AT_ONCE;
use milescale_storage::store::Store;
use milescale_workspace::backup::{self, Backup};
use milescale_workspace::conflicts::Keeper;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::marker::{self, Word};
use milescale_workspace::record::Intent;

use super::{Moving, engine_of_file};
use crate::compare::{Contents, contents, hash};
use crate::context::Error;
use crate::level::{readable, there};

impl Moving<'_, '_> {
    /// A target that is in use is no unfinished one, whatever the record of moves says: what it holds is not cleared.
    ///
    /// # Errors
    /// That it is, and how to go on.
    pub(crate) fn refuses_what_is_in_use(&self) -> Result<(), Error> {
        let (from, to) = (self.from, self.to);
        let failed = |error: std::io::Error| Error::own("config", &error);
        let marker = marker::read(&self.context.workspace.marker()).map_err(failed)?;
        let is_named = marker.word == Word::Backend(to.backend)
            && (to.engine.is_none() || engine_of_file(self.context).is_ok_and(|engine| Some(engine) == to.engine));
        if from.side() == to.side() || self.record.in_use != Some(to) && !is_named {
            return Ok(());
        }
        let shown = self.context.workspace.shown(&self.context.workspace.record());
        Err(Error::Refused(format!(
            "{shown}: it says that a move from {from} to {to} is unfinished, and {to} is named as the store in use: nothing of it is cleared. If \
             you have changed the marker or the configuration, let them name {from} again, and run `milescale check`; else put the record back \
             from a copy of yours, or move it away and run `milescale doctor --fix`"
        )))
    }

    /// What an unfinished target holds may be all that there is of it while the source is lost. A folder of files that is not there holds
    /// none, where the move has brought none.
    pub(super) fn source_is_there(&mut self) -> Result<(), Error> {
        let mut source = self.context.open(self.from)?;
        if source.exists()? {
            return Ok(());
        }
        if self.from.side() == Side::Files {
            let mut target = self.context.open(self.to)?;
            if !target.exists()? || target.is_foreign()? || target.ids()?.is_empty() {
                return Ok(());
            }
        }
        let cause = "it does not exist any more, and what the unfinished target holds may be all that there is of it";
        Err(StoreError::new(Problem::Unavailable, source.name(), cause).into())
    }

    /// Keeps what the target holds and neither the source nor the backup: the source may have been put back from an older copy since.
    pub(super) fn keep_what_is_nowhere_else(
        &mut self,
        target: &mut dyn Store,
        intent: &Intent,
        keeper: &mut Option<Keeper>,
    ) -> Result<(), Error> {
        let mut source = self.context.open(self.from)?;
        let there_too = if source.exists()? {
            contents(&mut *source, self.context, |content| content.value)?.0
        } else {
            Contents::new()
        };
        let backup = intent.backup.as_ref().and_then(|id| backup::metadata(self.context.workspace, id).ok());
        let backup = backup.and_then(|metadata| Backup::open(self.context.workspace, &metadata).ok());
        let (mut alone, mut stopped) = (Vec::new(), Ok(()));
        target.scan_contents(&mut |id, content| {
            if there_too.get(&hash(&id)) != Some(&content.value) {
                alone.push(id);
            }
            stopped = self.context.go_on();
            if stopped.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        stopped?;
        for ids in alone.chunks(AT_ONCE) {
            self.context.go_on()?;
            // What others have written there since is dealt with as that.
            let brought = target.ledger()?.bases(self.from.side(), ids)?;
            for (id, base) in ids.iter().filter_map(|id| Some((id.parse::<Id>().ok()?, brought.get(id)?))) {
                if let Some(there) = readable(there(target.get(&id)))?
                    && there.content().is_same(&base.content)
                    && !backup.as_ref().is_some_and(|backup| backup.holds(&there).unwrap_or(false))
                {
                    let reason = "it stood in the target of a move that was undone, and not so where it came from";
                    self.keep_left(&there, reason, intent, keeper)?;
                }
            }
        }
        Ok(())
    }
}
