//! Writing lines, memory and notification, so that a full or read-only disk is said once and everything goes on.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;

use milescale_core::config::Config;
use milescale_core::line::{MetricsEntry, ScaleEvent};
use milescale_storage::durable;
use milescale_storage::jsonl::{Rotation, append};
use milescale_storage::workspace::Workspace;

/// Events that wait for a disk that takes them.
const WAITING: usize = 200;

/// Everything that is written.
#[derive(Debug)]
pub(crate) struct Output {
    workspace: Workspace,
    /// Events that could not be written yet, oldest first.
    waiting: VecDeque<ScaleEvent>,
    /// What cannot be written now, and why; each said once.
    failing: BTreeMap<&'static str, String>,
}

impl Output {
    pub(crate) fn new(workspace: Workspace) -> Self {
        Self { workspace, waiting: VecDeque::new(), failing: BTreeMap::new() }
    }

    /// What cannot be written now, in words.
    pub(crate) fn failing(&self) -> Vec<String> {
        self.failing.iter().map(|(what, why)| format!("{what} cannot be written: {why}")).collect()
    }

    /// Writes an event, after those that wait. One that cannot be written waits.
    pub(crate) fn event(&mut self, event: ScaleEvent, config: &Config) {
        self.waiting.push_back(event);
        if self.waiting.len() > WAITING {
            self.waiting.pop_front();
        }
        self.retry(config);
    }

    /// Writes the events that wait.
    pub(crate) fn retry(&mut self, config: &Config) {
        while let Some(event) = self.waiting.front() {
            let written = self.line(&self.workspace.scale_events(), event, config);
            let failed = written.is_err();
            self.note("logs/scale-events.jsonl", written);
            if failed {
                return;
            }
            self.waiting.pop_front();
        }
    }

    /// Waits until every event is on the disk. Whether each is: what was said may be remembered only then.
    pub(crate) fn sync(&mut self, config: &Config) -> bool {
        self.retry(config);
        if !self.waiting.is_empty() {
            return false;
        }
        let synced = File::open(self.workspace.scale_events()).and_then(|file| file.sync_all());
        let done = synced.is_ok();
        self.note("logs/scale-events.jsonl", synced);
        done
    }

    /// Writes a metrics entry. Whether it is there.
    pub(crate) fn metrics(&mut self, entry: &MetricsEntry, config: &Config) -> bool {
        let written = self.line(&self.workspace.metrics(), entry, config);
        let done = written.is_ok();
        self.note("logs/performance-metrics.jsonl", written);
        done
    }

    fn line(&self, path: &std::path::Path, line: &impl serde::Serialize, config: &Config) -> io::Result<()> {
        let monitoring = &config.monitoring;
        let rotation = Rotation { at_bytes: monitoring.rotate_at_mib << 20, files: monitoring.rotated_files };
        self.folder(&self.workspace.logs())?;
        append(path, line, rotation)
    }

    /// Makes one of the folders, but never `.milestones/` itself: where that is gone, somebody is about to put it back.
    pub(crate) fn folder(&self, path: &std::path::Path) -> io::Result<()> {
        if self.workspace.folder().is_dir() {
            durable::create_folder(path).map(drop)
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, "the folder .milestones is gone"))
        }
    }

    /// Makes `.milescale/` with its `.gitignore`.
    pub(crate) fn own_folder(&self) -> io::Result<()> {
        self.folder(&self.workspace.own())?;
        durable::create_own_folder(&self.workspace)
    }

    /// Says a failure once, and once when it is over.
    pub(crate) fn note(&mut self, what: &'static str, result: io::Result<()>) {
        match result {
            Ok(()) => {
                if self.failing.remove(what).is_some() {
                    tracing::info!(file = what, "can be written again");
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.failing.get(what) != Some(&error) {
                    tracing::error!(file = what, %error, "cannot be written; milescale goes on and tries again");
                    self.failing.insert(what, error);
                }
            }
        }
    }
}
