//! Events of migrations and sweeps, written the moment that they are told: what is remembered as said has been said.

use std::sync::Arc;

use milescale_core::backend::Backend;
use milescale_core::decision::Decision;
use milescale_core::line::ScaleEvent;
use milescale_migration::Told;

use crate::config::ConfigKeeper;
use crate::output::Output;
use crate::sources::{Moment, Sources};

/// Who writes them.
pub(super) struct Teller<'a> {
    output: &'a mut Output,
    config: &'a ConfigKeeper,
    current: Option<Backend>,
    optimal: Option<Backend>,
    /// Whether something was brought over.
    pub(super) has_imported: bool,
}

impl<'a> Teller<'a> {
    pub(super) fn of(
        output: &'a mut Output,
        config: &'a ConfigKeeper,
        sources: &Sources,
        decision: Option<&Decision>,
    ) -> Self {
        let current = sources.current().0.map(|in_use| in_use.backend);
        let optimal = decision.and_then(|decision| decision.optimal);
        Self { output, config, current, optimal, has_imported: false }
    }

    pub(super) fn tell(&mut self, told: &Told) {
        let (event, details) = (told.event(), told.details());
        match told {
            Told::Failed { .. } | Told::Stuck { .. } | Told::Conflict { .. } | Told::Held { .. } => {
                tracing::warn!(%details, "{}", event.as_str());
            }
            _ => tracing::info!(%details, "{}", event.as_str()),
        }
        self.has_imported |= matches!(told, Told::Imported(..));
        let line = ScaleEvent::new(Moment::now().timestamp(), event, self.current, self.optimal, details);
        self.output.event(&line, self.config.config());
        // Of conflicts each content is kept by itself, and how far a move is needs not last.
        if !matches!(told, Told::Conflict { .. } | Told::Progress(..)) {
            self.output.sync(self.config.config());
        }
    }
}

/// The word to stop, asked between any two milestones.
#[derive(Clone)]
pub struct Stop(Arc<dyn Fn() -> bool + Send + Sync>);

impl Stop {
    /// The word that this function tells.
    pub fn new(asked: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(asked))
    }

    /// Whether to stop.
    pub fn is_asked(&self) -> bool {
        (self.0)()
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new(|| false)
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stop").field(&self.is_asked()).finish()
    }
}
