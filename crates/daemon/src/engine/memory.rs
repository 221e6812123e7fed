//! What an engine remembers across restarts: read once, written where something lasting has changed.

use milescale_core::figures::Figures;
use milescale_workspace::Workspace;

use super::conflicts::announced;
use super::{Engine, Mode};
use crate::note::Note;
use crate::output::Output;
use crate::state::State;

impl Engine {
    /// Writes the memory for the last time.
    pub fn close(&mut self) {
        if self.mode == Mode::Writing {
            self.sources.close();
        }
        self.save();
    }

    pub(super) fn save_if_changed(&mut self) {
        let before = self.saved.as_ref();
        self.sources.remember(&mut self.state);
        // Figures change with every event; a cycle is soon enough for them.
        let said = |state: &State| State { figures: Figures::default(), log_reported: None, ..state.clone() };
        if before.map(said) != Some(said(&self.state)) {
            self.save();
        }
    }

    pub(super) fn save(&mut self) {
        if self.mode == Mode::ReadOnly {
            return;
        }
        // That something was announced outlives this process, so its line has to as well.
        let all_written = self.output.sync(self.config.config());
        self.state.waiting = if all_written { Vec::new() } else { self.output.waiting() };
        self.sources.remember(&mut self.state);
        self.state.figures = self.figures;
        let kept = self.config.keep_last_good();
        self.output.note(".milescale/last-good-config.yaml", kept);
        // The load of the machine and the age of the marker are other ones each time, and are not asked for later.
        let lasting = |state: &State| State { figures: state.figures.lasting(), ..state.clone() };
        let is_saved = self.saved.as_ref().is_some_and(|saved| lasting(saved) == lasting(&self.state));
        if is_saved && self.workspace.state().exists() {
            return;
        }
        let saved = self.output.own_folder().and_then(|()| self.state.save(&self.workspace));
        if saved.is_ok() {
            self.saved = Some(self.state.clone());
        }
        self.output.note(".milescale/state.json", saved);
    }
}

/// Reads the memory. One that cannot be read is set aside and named, never replaced by a clean one in silence.
pub(super) fn recall(workspace: &Workspace, mode: Mode, output: &mut Output) -> (State, Vec<Note>) {
    let taken_over = |state: State| State { conflicts: state.conflicts.or_else(|| announced(workspace)), ..state };
    let unreadable = match State::load(workspace) {
        Ok(state) => return (taken_over(state), Vec::new()),
        Err(unreadable) => unreadable,
    };
    let mut kept_as = workspace.shown(&workspace.state());
    if mode == Mode::Writing && !unreadable.is_elsewhere {
        match State::set_aside(workspace) {
            Ok(aside) => kept_as = workspace.shown(&aside),
            Err(error) => output.note(".milescale/state.json", Err(error)),
        }
    }
    (taken_over(State::default()), vec![Note::StateUnreadable { reason: unreadable.reason, kept_as }])
}
