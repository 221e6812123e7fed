//! The watch as the daemon keeps it: made when it can be, armed before each look at everything.

use std::sync::Arc;

use milescale_sensing::watch::{Inbox, NotWatched, Watch, is_told_of_all};
use milescale_workspace::Workspace;

/// The watch, or why there is none.
#[derive(Debug)]
pub(super) struct Eyes {
    workspace: Workspace,
    inbox: Arc<Inbox>,
    watch: Option<Watch>,
    /// Why changes are found by looking only, where they are.
    pub(super) not_watching: Option<NotWatched>,
}

impl Eyes {
    pub(super) fn new(workspace: &Workspace, inbox: Arc<Inbox>) -> Self {
        Self { workspace: workspace.clone(), inbox, watch: None, not_watching: None }
    }

    /// Arms the watch. It walks all folders of milestones, so it is done where blocking is allowed.
    pub(super) fn arm(&mut self) {
        let result = self.watched().and_then(Watch::arm);
        let before = self.not_watching.take();
        match &result {
            Err(error) if before.as_ref() != Some(error) => tracing::warn!("{error}"),
            Ok(()) if before.is_some() => tracing::info!("changes are watched again"),
            _ => {}
        }
        self.not_watching = result.err();
    }

    /// Whether what the watch has not told has not happened.
    pub(super) fn are_trusted(&self) -> bool {
        let was_set = self.watch.as_ref().is_some_and(Watch::was_set_before);
        was_set && self.not_watching.is_none() && is_told_of_all(&self.workspace.active())
    }

    /// The watch; made the first time, and as long as it could not be.
    fn watched(&mut self) -> Result<&mut Watch, NotWatched> {
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => Watch::new(self.workspace.clone(), Arc::clone(&self.inbox))?,
        };
        Ok(self.watch.insert(watch))
    }
}
