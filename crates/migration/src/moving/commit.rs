//! The one rename that makes the target the store in use: prepared, written down, done, made known.

use milescale_core::backend::{Backend, Engine};
use milescale_core::base::Side;
use milescale_core::config::Config;
use milescale_core::migration::Ended;
use milescale_storage::configured;
use milescale_workspace::config_file;
use milescale_workspace::record::Old;
use milescale_workspace::switch::{self, Switch};

use super::{Moving, journal};
use crate::context::{Context, Error};

/// The engine that the configuration's file names, whatever the environment says.
pub(crate) fn engine_of_file(context: &Context<'_>) -> Result<Engine, Error> {
    let path = context.workspace.config_file();
    let refused = |what: String| Error::Refused(format!("{}: {what}", context.workspace.shown(&path)));
    let text = config_file::text(&path).map_err(|problem| refused(problem.to_string()))?;
    let Some(text) = text else { return Ok(Config::default().database.engine) };
    let read = configured::read(&text, &context.config.database.client);
    let read =
        read.map_err(|problems| refused(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    Ok(read.config.database.engine)
}

impl Moving<'_, '_> {
    /// Prepares the one rename that makes the target the store in use. To a database, the configuration names its engine
    /// before the marker does.
    pub(super) fn prepared(&mut self) -> Result<Switch, Error> {
        let epoch = self.intent().map_or(0, |intent| intent.epoch);
        let engine = self.to.engine;
        let before = engine.map(|_| engine_of_file(self.context)).transpose()?;
        let differs = before != engine;
        let between_engines = self.from.backend == Backend::Database && self.to.backend == Backend::Database;
        let switch = match engine {
            Some(engine) if between_engines => Switch::to_engine(self.context.workspace, engine, epoch)?,
            Some(engine) if differs => {
                let first = Switch::to_engine(self.context.workspace, engine, epoch)?;
                if let Some(intent) = &mut self.record.intent {
                    intent.engine_before = before.map(|before| (before, first.prepared().clone()));
                }
                self.context.save(&self.record)?;
                first.commit(self.context.clock).map_err(|error| Error::own("config/storage-config.yaml", &error))?;
                Switch::to_backend(self.context.workspace, self.to.backend, epoch)?
            }
            _ => Switch::to_backend(self.context.workspace, self.to.backend, epoch)?,
        };
        if let Some(intent) = &mut self.record.intent {
            intent.prepared = Some(switch.prepared().clone());
        }
        self.advance(Ended::Done)?;
        Ok(switch)
    }

    /// The switch itself, and what makes it known to milescale's own commands. Under the switch's lock.
    pub(super) fn commit(&mut self, switch: &Switch) -> Result<(), Error> {
        let renamed = switch.commit(self.context.clock);
        let prepared = switch.prepared().clone();
        if let Err(error) = &renamed {
            match switch::has_happened(self.context.workspace, &prepared) {
                // Where the rename happened and only its folder could not be synced, there is no way back.
                Ok(true) => tracing::error!(%error, "the switch may not be on the disk yet"),
                Ok(false) => return Err(Error::own("the switch", error)),
                Err(unread) => return Err(Error::Unknown(format!("the switch: {error}, and then: {unread}"))),
            }
        }
        self.switched();
        Ok(())
    }

    /// Writes down that the new store is in use. The rename itself says it too: where this cannot be written now, the
    /// recovery does it.
    pub(crate) fn switched(&mut self) {
        let prepared = self.intent().and_then(|intent| intent.prepared.clone());
        if let Some(Err(error)) =
            prepared.map(|prepared| switch::settle(self.context.workspace, &prepared, self.context.clock))
        {
            tracing::error!(%error, "an edit of config/storage-config.yaml lies beside it and could not be taken over");
        }
        let (from, to) = (self.from.side(), self.to.side());
        let Some(intent) = self.record.intent.clone() else { return };
        // A store that milescale had made the one in use and a person has left by hand is an old store too.
        let left = self.record.in_use.filter(|left| left.side() != from && left.side() != to);
        if let Some(left) = left.and_then(|left| self.record.known(left.side(), from)) {
            self.record.old.retain(|old| old.side != left.side);
            self.record.old.push(left);
        }
        self.record.epoch = intent.epoch;
        self.record.in_use = Some(self.to);
        if from != to {
            self.record.old.retain(|old| old.side != to && old.side != from);
            let mut left = self.context.open(self.from).ok();
            let name = left.as_ref().map(|store| store.name()).unwrap_or_default();
            // Another workspace's table was only read: what is written there later is none of this one's.
            let is_anothers = from == Side::Postgresql
                && left.as_mut().is_some_and(|it| it.is_another().is_ok_and(|why| why.is_some()));
            if !is_anothers {
                let (was, epoch, backup) = (self.from, intent.epoch, intent.backup);
                self.record.old.push(Old { side: from, was, name, epoch, backup, retired: None });
            }
        }
        if let Err(error) = self.advance(Ended::Done) {
            tracing::error!(%error, "the switch is done and cannot be written down yet");
        }
        // Nothing is undone any more. One that stays is of an older epoch, and counts for nothing.
        if let Err(error) = journal::discard(self.context.workspace) {
            tracing::warn!(%error, "it is not needed any more and cannot be removed");
        }
    }
}
