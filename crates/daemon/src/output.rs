//! Writing lines, memory and notification, so that a full or read-only disk is said once and everything goes on.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use milescale_core::config::Config;
use milescale_core::line::{MetricsEntry, ScaleEvent};
use milescale_workspace::Workspace;
use milescale_workspace::durable;
use milescale_workspace::jsonl::{self, Rotation};
use milescale_workspace::read::CANNOT_BE_READ;
use serde_json::Value;

/// Events that wait for a disk that takes them.
const WAITING: usize = 200;

/// The log of events, as it is named where it cannot be written.
const EVENTS: &str = "logs/scale-events.jsonl";

/// Everything that is written.
#[derive(Debug)]
pub(crate) struct Output {
    workspace: Workspace,
    /// Events that could not be written yet, oldest first.
    waiting: VecDeque<Value>,
    /// Events that were written, and are perhaps not on the disk yet; the last of them.
    unsynced: VecDeque<Value>,
    /// Lines of other processes count, and are perhaps not on the disk.
    distrusts: bool,
    /// What cannot be written now, and why, in words; each said once.
    failing: BTreeMap<&'static str, String>,
}

impl Output {
    pub(crate) fn new(workspace: Workspace) -> Self {
        Self {
            workspace,
            waiting: VecDeque::new(),
            unsynced: VecDeque::new(),
            distrusts: false,
            failing: BTreeMap::new(),
        }
    }

    /// Ends what a power cut left in the logs.
    pub(crate) fn fill_nuls(&self) {
        for path in [self.workspace.scale_events(), self.workspace.metrics(), self.workspace.storage_events()] {
            if let Err(error) = jsonl::fill_nuls(&path) {
                tracing::warn!(path = self.workspace.shown(&path), %error, "what a power cut left cannot be ended");
            }
        }
    }

    /// What cannot be written now, in words.
    pub(crate) fn failing(&self) -> Vec<String> {
        self.failing.values().cloned().collect()
    }

    /// Events that could not be written yet, to be kept with what was announced.
    pub(crate) fn waiting(&self) -> Vec<Value> {
        self.waiting.iter().cloned().collect()
    }

    /// Takes over the events that an earlier process could not write.
    pub(crate) fn take_over(&mut self, waiting: Vec<Value>) {
        self.waiting = waiting.into();
    }

    /// Writes an event, after those that wait. One that cannot be written waits.
    pub(crate) fn event(&mut self, event: &ScaleEvent, config: &Config) {
        match serde_json::to_value(event) {
            Ok(line) => push(&mut self.waiting, line),
            Err(error) => tracing::error!(%error, "an event cannot be put into words"),
        }
        self.retry(config);
    }

    /// Writes the events that wait.
    pub(crate) fn retry(&mut self, config: &Config) {
        while let Some(event) = self.waiting.pop_front() {
            let written = self.line(&self.workspace.scale_events(), &event, config);
            let failed = written.is_err();
            self.note(EVENTS, written);
            if failed {
                self.waiting.push_front(event);
                return;
            }
            push(&mut self.unsynced, event);
        }
    }

    /// Has the next [`Output::sync`] wait for lines of other processes too.
    pub(crate) fn distrust(&mut self) {
        self.distrusts = true;
    }

    /// Waits until every event is on the disk. Whether each is: what was announced may be remembered only then. Where the
    /// disk failed, the lines are written anew, for a failed fsync says nothing about the next one.
    pub(crate) fn sync(&mut self, config: &Config) -> bool {
        self.retry(config);
        if self.distrusts || !self.unsynced.is_empty() {
            let synced = jsonl::sync(&self.workspace.scale_events());
            let failed = synced.is_err();
            self.distrusts = false;
            self.note(EVENTS, synced);
            let mut lines = std::mem::take(&mut self.unsynced);
            if failed {
                lines.append(&mut self.waiting);
                self.waiting = lines;
            }
        }
        self.waiting.is_empty()
    }

    /// Writes a metrics entry. Whether it is there.
    pub(crate) fn metrics(&mut self, entry: &MetricsEntry, config: &Config) -> bool {
        let written = self.line(&self.workspace.metrics(), entry, config);
        let done = written.is_ok();
        self.note("logs/performance-metrics.jsonl", written);
        done
    }

    fn line(&self, path: &milescale_workspace::Place, line: &impl serde::Serialize, config: &Config) -> io::Result<()> {
        let monitoring = &config.monitoring;
        let rotation = Rotation { at_bytes: monitoring.rotate_at_mib << 20, files: monitoring.rotated_files };
        self.folder(&self.workspace.logs())?;
        jsonl::append(path, line, rotation)
    }

    /// Makes one of the folders, but never `.milestones/` itself: where that is gone, somebody is about to put it back.
    pub(crate) fn folder(&self, path: &milescale_workspace::Place) -> io::Result<()> {
        match self.workspace.is_still_the_same() {
            Ok(()) => durable::create_folder(path).map(drop),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(io::Error::new(io::ErrorKind::NotFound, "the folder .milestones is gone"))
            }
            Err(error) => Err(error),
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
                let why = error.to_string();
                // What has to be read first says so itself.
                let says_all = why.contains(CANNOT_BE_READ);
                let problem = if says_all { why } else { format!("{what} cannot be written: {why}") };
                if self.failing.get(what) != Some(&problem) {
                    tracing::error!(file = what, problem, "milescale goes on and tries again");
                    self.failing.insert(what, problem);
                }
            }
        }
    }
}

/// Adds an event; of too many the oldest goes.
fn push(events: &mut VecDeque<Value>, event: Value) {
    events.push_back(event);
    if events.len() > WAITING {
        events.pop_front();
    }
}
