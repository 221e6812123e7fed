//! Conflicts that nobody has announced: whoever kept a content may have died before its line was written, or the line was
//! lost with the power.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use milescale_core::line::EventName;
use milescale_migration::take_lock;
use milescale_workspace::Workspace;
use milescale_workspace::conflicts;
use milescale_workspace::jsonl::rotated;
use milescale_workspace::tail::{Line, lines_backwards};
use serde_json::{Value, json};

use super::{Engine, Mode};

/// Conflicts that are remembered as announced: their names have to fit into a file that is read again.
const MOST: usize = 20_000;

/// Conflicts announced at one look.
const AT_ONCE: usize = 200;

/// The conflicts that were announced where a memory of before does not say: those that are there when it is taken over.
pub(super) fn announced(workspace: &Workspace) -> Option<BTreeSet<String>> {
    conflicts::names(workspace).ok().map(|names| names.into_iter().collect())
}

impl Engine {
    /// Announces each conflict that no line names, and remembers those that are announced.
    pub(super) fn announce_conflicts(&mut self) {
        if self.mode == Mode::ReadOnly || !self.output.waiting().is_empty() {
            return;
        }
        let names: BTreeSet<String> = match conflicts::names(&self.workspace) {
            // So many are remembered; more are counted, and not announced.
            Ok(names) => names.into_iter().take(MOST).collect(),
            Err(error) => {
                tracing::warn!(%error, "the conflicts cannot be listed");
                return;
            }
        };
        let before = self.state.conflicts.as_ref();
        let is_new = |name: &&String| before.is_some_and(|before| !before.contains(*name));
        let mut missing: Vec<String> = names.iter().filter(is_new).cloned().collect();
        // The others follow at the next looks.
        let later = missing.split_off(missing.len().min(AT_ONCE));
        if !missing.is_empty() {
            // Another command may have kept one, and be about to announce it.
            let Ok(Some(_lock)) = take_lock(&self.workspace, Duration::ZERO) else { return };
            self.announce_each(missing.into_iter().collect());
        }
        let names = names.into_iter().filter(|name| later.binary_search(name).is_err());
        self.state.conflicts = Some(names.collect());
    }

    fn announce_each(&mut self, mut missing: BTreeSet<String>) {
        if let Err(error) = without_named(&self.workspace, &mut missing) {
            tracing::warn!(%error, "the events cannot be read: a conflict may be announced twice");
        }
        // A line that another process wrote is perhaps not on the disk.
        self.output.distrust();
        if missing.is_empty() {
            return;
        }
        for name in missing {
            let it = conflicts::one(&self.workspace, name);
            let kept_as = self.workspace.shown(&self.workspace.conflicts().join(&it.name));
            let mut details = json!({ "id": it.id, "kept_as": kept_as, "reason": it.reason });
            if !it.place.is_empty() {
                details["place"] = json!(it.place);
            }
            tracing::warn!(%details, "{}", EventName::WriteConflict.as_str());
            self.say(EventName::WriteConflict, details);
        }
    }
}

/// Takes out the conflicts that a line names.
fn without_named(workspace: &Workspace, missing: &mut BTreeSet<String>) -> io::Result<()> {
    let path = workspace.scale_events();
    for path in [path.clone(), rotated(&path, 1)] {
        let (file, metadata) = match path.open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        lines_backwards(&file, metadata.len(), |_, line| {
            if let Some(name) = named(line) {
                missing.remove(&name);
            }
            if missing.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    Ok(())
}

/// The name of the conflict that a line announces.
fn named(line: Line<'_>) -> Option<String> {
    let Line::Whole(line) = line else { return None };
    let event: Value = serde_json::from_slice(line).ok()?;
    let kept_as = event.pointer("/details/kept_as").filter(|_| event["event"] == EventName::WriteConflict.as_str())?;
    Some(Path::new(kept_as.as_str()?).file_name()?.to_str()?.to_owned())
}
