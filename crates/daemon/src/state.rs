//! What must outlive a restart: `.milescale/state.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use milescale_core::backend::{Backend, InUse};
use milescale_core::figures::Figures;
use milescale_sensing::log::Reported;
use milescale_workspace::Workspace;
use milescale_workspace::durable;
use milescale_workspace::folder::is_about_trust;
use milescale_workspace::read::{from_json, read_regular};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of this file's shape.
const VERSION: u32 = 1;

/// milescale's memory of a workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub(crate) version: u32,
    /// `init` has said so in the events.
    pub(crate) initialized: bool,
    /// The store that was last read in full.
    pub(crate) followed: Option<InUse>,
    /// The number of milescale's last switch that was followed.
    pub(crate) epoch: u64,
    /// Automatic migrations that failed.
    pub(crate) tries: Option<Tries>,
    /// The store that marker and configuration name without being followed, once that was said, and why it is not.
    pub(crate) refused: Option<(InUse, String)>,
    /// The last known figures.
    pub(crate) figures: Figures,
    /// The pair that was last announced; cleared once the backend in use fits.
    pub(crate) announced: Option<(Backend, Backend)>,
    /// Sources that were said to be unavailable, and why.
    pub(crate) unavailable: BTreeMap<String, String>,
    /// Old stores that were said to be out of reach, by place, and why.
    pub(crate) unswept: BTreeMap<String, String>,
    /// Milestones that were said to be unparsable, by path as people read it: a name need not be UTF-8.
    pub(crate) flawed: BTreeSet<String>,
    /// Up to where bad lines of the log were said.
    pub(crate) log_reported: Option<Reported>,
    /// The rejected configuration that was said to be one.
    pub(crate) config_rejected: Option<String>,
    /// Events that could not be written yet.
    pub(crate) waiting: Vec<Value>,
    /// The conflicts that were announced, by name; `None` for a memory of before they were remembered.
    pub(crate) conflicts: Option<BTreeSet<String>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            initialized: false,
            followed: None,
            epoch: 0,
            tries: None,
            refused: None,
            figures: Figures::default(),
            announced: None,
            unavailable: BTreeMap::new(),
            unswept: BTreeMap::new(),
            flawed: BTreeSet::new(),
            log_reported: None,
            config_rejected: None,
            waiting: Vec::new(),
            conflicts: None,
        }
    }
}

/// Automatic migrations of one pair that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tries {
    pub(crate) pair: (Backend, Backend),
    pub(crate) failed: u32,
    /// Cycles to wait before the next one.
    pub(crate) wait: u32,
    /// Why the last one failed.
    pub(crate) reason: String,
}

/// Why a memory could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) reason: String,
    /// It lies behind a symlink that is not trusted: it stays where it is, for it may be as soon as that is.
    pub(crate) is_elsewhere: bool,
}

impl State {
    /// Reads the memory; a workspace without one has the default.
    pub(crate) fn load(workspace: &Workspace) -> Result<Self, Unreadable> {
        let content = match read_regular(&workspace.state(), 16 << 20) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Self { conflicts: Some(BTreeSet::new()), ..Self::default() });
            }
            Err(error) => {
                return Err(Unreadable { reason: error.to_string(), is_elsewhere: is_about_trust(&error) });
            }
            Ok((content, _)) => content,
        };
        let unreadable = |reason: String| Unreadable { reason, is_elsewhere: false };
        let state: Self = from_json(&content).map_err(unreadable)?;
        if state.version > VERSION {
            return Err(unreadable(format!("it is of version {}, written by a newer milescale", state.version)));
        }
        Ok(state)
    }

    /// Sets a memory that cannot be read aside, so that it is neither lost nor in the way. Where it is now.
    pub(crate) fn set_aside(workspace: &Workspace) -> io::Result<milescale_workspace::Place> {
        durable::set_aside(&workspace.state(), &workspace.own(), ("state.unreadable-", ".json"))
    }

    /// Writes the memory, durably.
    pub(crate) fn save(&self, workspace: &Workspace) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        // Behind a symlink that is trusted it stays where it is; one that is not stays what it is.
        durable::replace(&workspace.state().real()?, &text)
    }
}
