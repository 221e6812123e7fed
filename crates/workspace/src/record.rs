//! What milescale has moved: the store in use since the last switch, the old stores that are still swept, and the
//! migration under way. One file, replaced durably before each thing that it names begins.

use std::io;

use jiff::{SignedDuration, Timestamp};
use milescale_core::backend::{Engine, InUse};
use milescale_core::base::Side;
use milescale_core::migration::{Adopt, Phase};
use milescale_document::text::as_told;
use milescale_document::timestamp;
use serde::{Deserialize, Serialize};

use crate::Workspace;
use crate::conflicts::Conflict;
use crate::durable;
use crate::read::{from_json, newer, read_regular};
use crate::switch::PreparedConfig;
use crate::switches;

/// The version of this file's shape. 2: an undo goes by the move's journal, which a version before does not know.
const VERSION: u32 = 2;

/// The record of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// How often milescale has switched here; the number of the last switch.
    pub epoch: u64,
    /// The store that the last switch made the one in use; `None` before the first.
    pub in_use: Option<InUse>,
    /// Stores that were in use before, and what was written to them since is swept.
    pub old: Vec<Old>,
    /// The migration under way.
    pub intent: Option<Intent>,
    /// The migrations that are over, newest last; a few.
    pub past: Vec<Past>,
    /// What was read says less than [`switches`] does: it is gone, or of before the last switch, and nothing goes by it.
    #[serde(skip)]
    lost: bool,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// A store that is not in use any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Old {
    /// Which one.
    pub side: Side,
    /// What it was as a store in use.
    pub was: InUse,
    /// The store as people read it, without a password.
    pub name: String,
    /// The number of the switch that left it.
    pub epoch: u64,
    /// The backup of that migration.
    pub backup: Option<String>,
    /// Since when it is retired: not swept any more, and it refuses writes.
    pub retired: Option<String>,
}

/// For how long what programs write into files that they had open when these were retired is looked for every few seconds;
/// later with each cycle.
const WATCHED_FOR: SignedDuration = SignedDuration::from_mins(11);

impl Old {
    /// When it was retired.
    pub fn retired_at(&self) -> Option<Timestamp> {
        timestamp::from_text(self.retired.as_deref()?)
    }

    /// Whether files of this store were retired so recently that some program may still have one open.
    pub fn watches_retired_files(&self, now: Timestamp) -> bool {
        let since = self.retired_at().filter(|_| self.side == Side::Files);
        since.is_some_and(|since| now.duration_since(since).abs() < WATCHED_FOR)
    }
}

/// A migration that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The number of its switch; 0 for one that failed.
    pub epoch: u64,
    /// When it ended, as RFC 3339.
    pub ended: String,
    /// From where.
    pub from: InUse,
    /// To where.
    pub to: InUse,
    /// Its backup.
    pub backup: Option<String>,
    /// Why it failed, where it did.
    pub failed: Option<String>,
    /// Whether milescale began it by itself.
    pub automatic: bool,
}

/// A migration under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The number that its switch will have.
    pub epoch: u64,
    /// How far it is.
    pub phase: Phase,
    /// From where.
    pub from: InUse,
    /// To where.
    pub to: InUse,
    /// The workspace's number: a copied workspace draws another one.
    pub workspace: String,
    /// When it began, as RFC 3339.
    pub started: String,
    /// Its backup, once there is one.
    pub backup: Option<String>,
    /// Whether the target was an old store of this workspace's, which a failure leaves as it is.
    pub target_was_old: bool,
    /// The engine that the configuration named before this move set another one ahead of the marker, and what was prepared
    /// for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_before: Option<(Engine, Prepared)>,
    /// The file that is about to be renamed over marker or configuration.
    pub prepared: Option<Prepared>,
    /// Whether milescale began it by itself.
    pub automatic: bool,
    /// Why it is stuck, where it is.
    pub stuck: Option<String>,
    /// Why it failed, once it has.
    pub failed: Option<String>,
    /// How the target is taken over, where another program has filled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<Adopting>,
}

impl Intent {
    /// Every file that this move has prepared.
    pub fn all_prepared(&self) -> impl Iterator<Item = &Prepared> {
        self.engine_before.iter().map(|(_, prepared)| prepared).chain(&self.prepared)
    }

    /// Whether an undo of this move gives back what a conflict keeps: it is what the move has written over. A move before this one that
    /// was undone had the same number.
    pub fn gives_back(&self, conflict: &Conflict) -> bool {
        let writes_over = self.adopt.is_some_and(|adopting| adopting.how == Adopt::SourceWins);
        let is_since = timestamp::from_text(&conflict.at) >= timestamp::from_text(&self.started);
        writes_over && is_since && conflict.side == Some(self.to.side()) && conflict.reason == taken_over_by(self.epoch)
    }
}

/// Why a content of the target was kept that a move has written over, by the number of its switch.
pub fn taken_over_by(epoch: u64) -> String {
    format!("it stood in the target of move {epoch}, which was taken over with --source-wins")
}

/// A target that another program has filled, being taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopting {
    /// Whose content is current where they differ.
    pub how: Adopt,
    /// What the target's ledger says of the source is of this migration: an undo may go by it.
    pub begun: bool,
}

/// A prepared file: while it is there, the switch has not happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Its name in the folder of marker and configuration.
    pub name: String,
    /// Its inode, which no copy of it has.
    pub inode: u64,
    /// What it holds, where it is exchanged for a configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PreparedConfig>,
}

impl Default for Record {
    fn default() -> Self {
        Self { version: VERSION, epoch: 0, in_use: None, old: Vec::new(), intent: None, past: Vec::new(), lost: false }
    }
}

/// Migrations remembered.
const REMEMBERED: usize = 50;

/// The number of a move that nobody comes to.
pub(crate) const MOVES: u64 = 1 << 53;

/// Old stores that a record may have: each move leaves one, and a person retires them.
const OLD_STORES: usize = 256;

impl Record {
    /// Reads it; a workspace without one has the default. One that is lost says nothing but the number of the last switch.
    ///
    /// # Errors
    /// When what is there cannot be read: it is never replaced by a clean one.
    pub fn load(workspace: &Workspace) -> io::Result<Self> {
        // First: who switches writes the record before.
        let switches = switches::noted(workspace)?;
        let record = Self::read(workspace)?;
        if record.epoch >= switches {
            // A move that was begun without one, and did not switch, has written no more than its number.
            let lost = record.epoch > 0 && record.in_use.is_none();
            return Ok(Self { lost, ..record });
        }
        Ok(Self { epoch: switches, lost: true, past: record.past, ..Self::default() })
    }

    fn read(workspace: &Workspace) -> io::Result<Self> {
        let content = match read_regular(&workspace.record(), 16 << 20) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            other => other?.0,
        };
        // A newer shape may have lost or changed any other key.
        let VersionOnly { version } = from_json(&content).map_err(|error| damaged(&error))?;
        if version > VERSION {
            return Err(newer(version));
        }
        let mut record: Self = from_json(&content).map_err(|error| damaged(&error))?;
        // What milescale has not written is not carried through each cycle.
        if record.old.len() > OLD_STORES {
            return Err(damaged(&format!("{} old stores, where {OLD_STORES} are the most", record.old.len())));
        }
        let epochs = record.intent.iter().map(|intent| intent.epoch).chain([record.epoch]);
        if epochs.max().is_some_and(|epoch| epoch > MOVES) {
            return Err(damaged(&format!("{} moves, where {MOVES} are the most", record.epoch)));
        }
        record.tell_nothing_else();
        let surplus = record.past.len().saturating_sub(REMEMBERED);
        record.past.drain(..surplus);
        Ok(record)
    }

    /// Its texts, which people read, give no commands but milescale's.
    fn tell_nothing_else(&mut self) {
        let told = |text: &mut String| {
            if text.contains('`') {
                *text = as_told(text);
            }
        };
        let of_intent = self.intent.iter_mut().flat_map(|it| [&mut it.stuck, &mut it.failed]);
        let of_past = self.past.iter_mut().map(|it| &mut it.failed);
        of_intent.chain(of_past).flatten().chain(self.old.iter_mut().map(|it| &mut it.name)).for_each(told);
    }

    /// Whether it says nothing: nothing was moved here, or it is lost.
    pub fn is_blank(&self) -> bool {
        self.lost || self.epoch == 0 && self.in_use.is_none() && self.old.is_empty() && self.intent.is_none()
    }

    /// A new one in the place of one that is lost: with this store in use, and no old ones.
    #[must_use]
    pub fn anew(self, in_use: InUse) -> Self {
        Self { in_use: Some(in_use), lost: false, ..self }
    }

    /// Whether milescale has switched here since this was written, or it is gone and that is known.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether an older milescale wrote it, which could go on with what it does not understand.
    pub fn is_older(&self) -> bool {
        self.version < VERSION
    }

    /// Writes it, durably. Only under the migration's lock.
    pub fn save(&self, workspace: &Workspace) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(&Self { version: VERSION, ..self.clone() })?;
        text.push(b'\n');
        durable::replace(&workspace.record(), &text)?;
        // It says what was, and is of use only where this is lost.
        if let Err(error) = switches::note(workspace, self.epoch) {
            tracing::warn!(%error, "the number of switches cannot be noted");
        }
        Ok(())
    }

    /// An old store that is not retired.
    pub fn swept(&self) -> impl Iterator<Item = &Old> {
        self.old.iter().filter(|old| old.retired.is_none())
    }

    /// What is known of a store that was in use before, other than the one that is now: an old store, or the one that the
    /// last switch made the store in use and that a person has left by hand.
    pub fn known(&self, side: Side, in_use: Side) -> Option<Old> {
        let listed = self.old.iter().find(|old| old.side == side).cloned();
        let left = self.in_use.filter(|it| it.side() == side && side != in_use);
        listed.or_else(|| {
            left.map(|was| Old { side, was, name: was.to_string(), epoch: self.epoch, backup: None, retired: None })
        })
    }

    /// The store in which the move under way began.
    fn begun(&self) -> Option<InUse> {
        self.intent.as_ref().map(|intent| intent.from)
    }

    /// Whether a side is an old store that is retired.
    pub fn is_retired(&self, side: Side) -> bool {
        self.old.iter().any(|old| old.side == side && old.retired.is_some())
    }

    /// Whether the last migration into or out of a side is one to this store that failed, and may have left something there.
    pub fn has_failed_last(&self, to: InUse) -> bool {
        let last = self.past.iter().rev().find(|past| [past.from.side(), past.to.side()].contains(&to.side()));
        last.is_some_and(|past| past.to == to && past.failed.is_some())
    }

    /// Adds a migration that is over.
    pub fn remember(&mut self, past: Past) {
        self.past.push(past);
        let surplus = self.past.len().saturating_sub(REMEMBERED);
        self.past.drain(..surplus);
    }

    /// The store in use: what was followed last, unless milescale itself has switched since. `seen` is the number of the
    /// last switch that whoever followed has seen.
    pub fn in_use_after(&self, followed: Option<InUse>, seen: u64) -> Option<InUse> {
        if self.epoch > seen { self.in_use.or_else(|| self.begun()) } else { followed.or_else(|| self.last_known()) }
    }

    /// The store in use as far as this record alone tells: the last switch's, else the one in which the last move began. A marker
    /// that is changed by hand before anybody has followed one has this store before it.
    pub fn last_known(&self) -> Option<InUse> {
        if self.lost {
            return self.begun();
        }
        let undone = || self.past.last().map(|past| past.from);
        self.in_use.or_else(|| self.begun()).or_else(undone)
    }
}

/// What is said of a record that is [lost](Record::is_lost).
pub const LOST: &str = "milescale's record of its moves is gone, or of before the last move";

/// That it is damaged, and what to do about that.
fn damaged(error: &impl std::fmt::Display) -> io::Error {
    let cause = format!(
        "{error}; put it back from a copy of yours, or move it away and run `milescale check`, which says what is known without it"
    );
    io::Error::new(io::ErrorKind::InvalidData, cause)
}
