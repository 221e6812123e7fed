//! What sweeping remembers across processes: the changes that wait for a person (`.milescale/held.json`), and what cannot be
//! brought over, what is being brought over and which changes follow each other (`.milescale/sweeps.json`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use milescale_core::base::Side;
use milescale_document::digest::Digest;
use milescale_workspace::Place;
use milescale_workspace::Workspace;
use milescale_workspace::durable;
use milescale_workspace::read::{from_json, read_regular};
use serde::{Deserialize, Serialize};

use super::batch::Recent;

/// The version of the shape of `sweeps.json`.
const VERSION: u32 = 1;

/// The largest file that is read.
const LIMIT: u64 = 16 << 20;

/// Per id the digest of the text that waits; `None`: the milestone is gone there.
pub type Held = BTreeMap<String, Option<Digest>>;

/// The memory of a workspace.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    sides: BTreeMap<Side, OfSide>,
    /// What the files say, by its digest: it may be much.
    saved: Saved,
}

/// Digests of the texts of the two files; `None` where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Saved {
    held: Option<Digest>,
    sweeps: Option<Digest>,
}

/// The shape of `sweeps.json`.
#[derive(Debug, Serialize, Deserialize)]
struct File<S = OfSide> {
    version: u32,
    sides: BTreeMap<Side, S>,
}

/// What is remembered of one old store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OfSide {
    /// Changes that wait for a person. They have a file of their own.
    #[serde(skip)]
    pub held: Held,
    /// Milestones that cannot be brought over.
    pub failing: BTreeMap<String, Failing>,
    /// What is said of rows that no id can name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nameless: Option<String>,
    /// Milestones that are being brought over, by the digest of their value: what is there was not said yet.
    pub(super) under_way: BTreeMap<String, Digest>,
    /// Milestones that are being archived because their files were moved to the archive: that was not said yet.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) archiving: BTreeSet<String>,
    /// Changes that follow each other.
    pub(super) recent: Recent,
}

/// What rows are called that no id can name.
pub(crate) const NAMELESS: &str = "what has no id";

impl OfSide {
    /// Whether it says nothing but what is held.
    fn has_only_held(&self) -> bool {
        let Self { held: _, failing, nameless, under_way, archiving, recent } = self;
        failing.is_empty()
            && nameless.is_none()
            && under_way.is_empty()
            && archiving.is_empty()
            && *recent == Recent::default()
    }

    /// How many milestones cannot be brought over; rows without ids are one thing that is said.
    pub fn failing_count(&self) -> u64 {
        self.failing.len() as u64 + u64::from(self.nameless.is_some())
    }

    /// What cannot be brought over, and why.
    pub fn failing_named(&self) -> impl Iterator<Item = (&str, &str)> {
        let nameless = self.nameless.iter().map(|why| (NAMELESS, why.as_str()));
        nameless.chain(self.failing.iter().map(|(id, failing)| (id.as_str(), failing.why.as_str())))
    }
}

/// A milestone that cannot be brought over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// The digest of the text for which that was said.
    pub text: Option<Digest>,
    /// Why.
    pub why: String,
}

impl Memory {
    /// The milestones of an old store that could not be brought over when that was tried last.
    pub(crate) fn failing(&self, side: Side) -> impl Iterator<Item = (&str, &Failing)> {
        self.sides.get(&side).into_iter().flat_map(|it| &it.failing).map(|(id, failing)| (id.as_str(), failing))
    }

    /// Reads it; without files there is nothing to remember.
    ///
    /// # Errors
    /// When a file cannot be read, with its name: it is never replaced by an empty one.
    pub fn load(workspace: &Workspace) -> Result<Self, String> {
        let path = workspace.sweeps();
        let (read_sweeps, sweeps) = read::<File>(workspace, &path)?.unzip();
        let mut sides = match read_sweeps {
            Some(file) if file.version > VERSION => {
                let shown = workspace.shown(&path);
                return Err(format!("{shown}: it is of version {}, written by a newer milescale", file.version));
            }
            file => file.map(|file| file.sides).unwrap_or_default(),
        };
        let (read_held, held) = read::<BTreeMap<Side, Held>>(workspace, &workspace.held())?.unzip();
        for (side, held) in read_held.unwrap_or_default() {
            sides.entry(side).or_default().held = held;
        }
        Ok(Self { sides, saved: Saved { held, sweeps } })
    }

    /// Writes what differs from what the files say. Only under the migration's lock.
    pub(super) fn save(&mut self, workspace: &Workspace) -> Result<(), String> {
        let failed = |path: &Place, error: io::Error| format!("{}: {error}", workspace.shown(path));
        let held = held_of(&self.sides).map_err(|error| failed(&workspace.held(), error.into()))?;
        let now = held.as_deref().map(Digest::of);
        if now != self.saved.held {
            let path = workspace.held();
            let written = held.map_or_else(|| durable::remove(&path), |held| durable::replace(&path, &held));
            written.map_err(|error| failed(&path, error))?;
            self.saved.held = now;
        }
        let sweeps = sweeps_of(&self.sides).map_err(|error| failed(&workspace.sweeps(), error.into()))?;
        let now = Some(Digest::of(&sweeps));
        // Where there is no file, and nothing to say, there is none afterwards.
        let is_to_be = self.saved.sweeps.is_some() || !self.sides.values().all(OfSide::has_only_held);
        if is_to_be && now != self.saved.sweeps {
            let path = workspace.sweeps();
            durable::replace(&path, &sweeps).map_err(|error| failed(&path, error))?;
            self.saved.sweeps = now;
        }
        Ok(())
    }

    /// What is remembered of one old store.
    pub(super) fn of(&mut self, side: Side) -> &mut OfSide {
        self.sides.entry(side).or_default()
    }

    /// What is remembered of each old store.
    pub fn sides(&self) -> impl Iterator<Item = (Side, &OfSide)> {
        self.sides.iter().map(|(side, of)| (*side, of))
    }

    /// Forgets a store that is in use now: nothing of it has to be brought over. Only under the migration's lock.
    pub fn forget(side: Side, workspace: &Workspace) -> Result<(), String> {
        let mut memory = Self::load(workspace)?;
        memory.sides.remove(&side);
        memory.save(workspace)
    }

    /// Whether a change of an old store waits for a person.
    pub(crate) fn holds(&self, side: Side, id: &str) -> bool {
        self.sides.get(&side).is_some_and(|of| of.held.contains_key(id))
    }

    /// The changes of an old store that wait for a person.
    pub fn held_ids(&self, side: Side) -> impl Iterator<Item = &str> {
        self.sides.get(&side).into_iter().flat_map(|of| of.held.keys().map(String::as_str))
    }

    /// How many changes of an old store wait for a person.
    pub fn held(&self, side: Side) -> u64 {
        self.sides.get(&side).map_or(0, |of| of.held.len() as u64)
    }
}

/// What `held.json` is to say; `None` where nothing is held.
fn held_of(sides: &BTreeMap<Side, OfSide>) -> serde_json::Result<Option<Vec<u8>>> {
    let held = sides.iter().filter(|(_, of)| !of.held.is_empty());
    let held: BTreeMap<Side, &Held> = held.map(|(side, of)| (*side, &of.held)).collect();
    (!held.is_empty()).then(|| serde_json::to_vec(&held)).transpose()
}

/// What `sweeps.json` is to say.
fn sweeps_of(sides: &BTreeMap<Side, OfSide>) -> serde_json::Result<Vec<u8>> {
    let sides: BTreeMap<Side, &OfSide> =
        sides.iter().filter(|(_, of)| !of.has_only_held()).map(|(side, of)| (*side, of)).collect();
    serde_json::to_vec(&File { version: VERSION, sides })
}

/// What a file says, with the digest of its text.
fn read<T: for<'a> Deserialize<'a>>(workspace: &Workspace, path: &Place) -> Result<Option<(T, Digest)>, String> {
    let failed = |why: String| format!("{}: {why}", workspace.shown(path));
    match read_regular(path, LIMIT) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(failed(error.to_string())),
        Ok((text, _)) => {
            let read = from_json(&text).map(|read| Some((read, Digest::of(&text))));
            read.map_err(|why| {
                failed(format!(
                    "{why}; put it back from a copy of yours, or remove it: what old stores hold is judged anew"
                ))
            })
        }
    }
}
