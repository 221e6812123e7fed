//! What is kept for a number of days: `.milescale/days.json` holds the days that milescale has counted itself, and on which
//! of them it first saw each thing that goes one day.
//!
//! It is written once a day. Something is seen first on the day after it came, so it is kept a little longer.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use jiff::Timestamp;
use milescale_core::days::{Day, Days};
use serde::{Deserialize, Serialize};

use crate::Workspace;
use crate::durable;
use crate::read::{newer, read_json, unreadable};

/// How long everything is kept that goes by itself.
const KEPT_DAYS: u32 = 30;

/// The version of the file's shape.
const VERSION: u32 = 1;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct File {
    version: u32,
    days: Days,
    /// The day on which each thing was first seen, by its name.
    first_seen: BTreeMap<String, Day>,
}

/// A day that has just been counted: the one occasion on which things go.
#[derive(Debug)]
pub struct NewDay {
    days: Days,
    now: Timestamp,
    before: BTreeMap<String, Day>,
    seen: BTreeMap<String, Day>,
}

impl NewDay {
    /// Counts a day where enough time has passed, for [`Days::pass`] says when; `None` where it is still the same one. Under
    /// the daemon's lock only.
    ///
    /// # Errors
    /// When what is there cannot be read: then nothing goes, and it is not replaced.
    pub fn begin(workspace: &Workspace, now: Timestamp, measured: Option<Duration>) -> io::Result<Option<Self>> {
        let File { mut days, first_seen, .. } = load(workspace)?;
        Ok(days.pass(now, measured).then(|| Self { days, now, before: first_seen, seen: BTreeMap::new() }))
    }

    /// Whether a thing may go today. `name` is what it is known by: one place, one name. `recorded` is the time in its own
    /// record. What is not asked for on a day is forgotten.
    pub fn is_over(&mut self, name: &str, recorded: Timestamp) -> bool {
        let first = self.see(name);
        self.days.have_passed(KEPT_DAYS, first, recorded, self.now)
    }

    /// The day on which something was first seen, noted. `name` as in [`NewDay::is_over`].
    pub fn see(&mut self, name: &str) -> Day {
        let first = self.before.get(name).copied().unwrap_or_else(|| self.days.today());
        self.seen.insert(name.to_owned(), first);
        first
    }

    /// Writes the day down, durably. Until then it was not counted.
    pub fn end(self, workspace: &Workspace) -> io::Result<()> {
        let file = File { version: VERSION, days: self.days, first_seen: self.seen };
        durable::replace(&workspace.days(), &serde_json::to_vec(&file)?)
    }
}

/// The days that were counted by now, for what only a person removes.
#[derive(Debug)]
pub struct Counted(File);

impl Counted {
    /// Reads what was counted. Counts nothing itself.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub fn load(workspace: &Workspace) -> io::Result<Self> {
        load(workspace).map(Self)
    }

    /// Whether something has been kept for long enough; one that no counted day has seen has not. The arguments are those of
    /// [`NewDay::is_over`], and the clock.
    pub fn is_over(&self, name: &str, recorded: Timestamp, now: Timestamp) -> bool {
        let first = self.0.first_seen.get(name);
        first.is_some_and(|first| self.0.days.have_passed(KEPT_DAYS, *first, recorded, now))
    }
}

fn load(workspace: &Workspace) -> io::Result<File> {
    let step = "remove it: the days are counted anew, and what is kept for 30 days is kept for longer";
    let read = read_json::<File>(&workspace.days(), 16 << 20)
        .map_err(|error| unreadable(&error, &workspace.shown(&workspace.days()), step))?;
    match read {
        Some(file) if file.version > VERSION => Err(newer(file.version)),
        file => Ok(file.unwrap_or_default()),
    }
}
