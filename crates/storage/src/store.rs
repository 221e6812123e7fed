//! What every store can do, so that figures, verbs and migrations never ask which one it is.
//!
//! A store is plain blocking code for one thread at a time. What others do meanwhile it finds by content: every write is
//! a compare-and-set on the digest of the text that the caller has seen.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use milescale_core::digest::Digest;
use milescale_core::document::Flaw;
use milescale_core::figures::StoreFigures;
use milescale_core::id::Id;
use milescale_core::milestone::{ARCHIVED, Columns};
use milescale_core::value::Value;

use crate::error::StoreError;
use crate::row::place;
use crate::yaml;

/// How much of a store a look takes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// All of it; what is known not to have changed is not read again.
    Everything,
    /// These paths of milestone files. One that turns out to be a folder widens the look to everything.
    Paths(Vec<PathBuf>),
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// The figures of contract §4.
    pub figures: StoreFigures,
    /// The look went to everything, because a path was that of a folder: its watch may have been set too late.
    pub widened: bool,
    /// Files that were read so soon after their last change that they have to be looked at again.
    pub fresh: Vec<PathBuf>,
}

/// A milestone as a store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// Its id. In a database it is whatever another program wrote, and need not be an [`Id`].
    pub id: String,
    /// Its text as a file has it. Of a row: the text that was put, where that still has the row's value, else the value
    /// written as YAML; of a row that is no JSON, what stands there.
    pub text: Vec<u8>,
    /// Its value, or why no database could keep it.
    pub value: Result<Value, Flaw>,
    /// Title, status, priority, creation.
    pub columns: Columns,
    /// When it was last written, as `YYYY-MM-DDTHH:MM:SSZ`, where that is known.
    pub updated_at: Option<String>,
    /// Where it is, as people read it.
    pub place: String,
}

impl Milestone {
    /// The digest of its text: what a writer names to say that it has seen this content.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }
}

/// A milestone to be written: checked, so that every store can keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its id.
    pub id: Id,
    /// Its text.
    pub text: Vec<u8>,
    /// The text's value.
    pub value: Value,
    /// Title, status, priority, creation.
    pub columns: Columns,
    /// When it is written.
    pub now: Timestamp,
}

impl Draft {
    /// Checks a text.
    ///
    /// # Errors
    /// What no store or not every store could keep, with its place; an `id:` that is another one's.
    pub fn new(id: Id, text: Vec<u8>, now: Timestamp) -> Result<Self, Flaw> {
        let document = yaml::parse(&text)?;
        let value = Value::of(&document)?;
        if let Some(declared) = document.get(document.root(), "id")
            && document.scalar(declared).is_none_or(|declared| declared != id.as_str())
        {
            let reason = format!("its id: is not {id}; make them the same");
            return Err(Flaw { position: Some(document.node(declared).position), reason });
        }
        let columns = Columns::of(id.as_str(), document.tree());
        Ok(Self { id, text, value, columns, now })
    }

    /// The same milestone archived. Its text is edited with its comments kept.
    ///
    /// # Errors
    /// When the text cannot be edited so.
    pub fn archived(id: Id, text: &[u8], now: Timestamp) -> Result<Self, Flaw> {
        let not_utf8 = |_| Flaw { position: None, reason: "it is not UTF-8; save it as UTF-8".to_owned() };
        let text = std::str::from_utf8(text).map_err(not_utf8)?;
        Self::new(id, yaml::edit::set(text, "status", ARCHIVED)?.into_bytes(), now)
    }
}

/// What a writer has seen of the milestone that it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// That there is none.
    Nothing,
    /// A text with this digest.
    Text(Digest),
}

/// What became of a row of an index that did not say what its file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mended {
    /// A file had no row.
    Added,
    /// A row had no file.
    Removed,
    /// A row said something else.
    Changed,
}

/// A row of an index that does not say what its file says, or did not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The index, as people read it.
    #[serde(skip)]
    pub index: String,
    /// The milestone.
    pub id: String,
    /// What mends it.
    pub mended: Mended,
    /// Columns of the row that mending overwrites: name, what stood there, what the file says.
    pub overwritten: Vec<(&'static str, Option<String>, Option<String>)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = place(&self.index, &self.id);
        match self.mended {
            Mended::Added => write!(f, "{place}: missing, though there is a file"),
            Mended::Removed => write!(f, "{place}: there is no such file"),
            Mended::Changed => {
                let columns: Vec<_> = self.overwritten.iter().map(|(name, ..)| *name).collect();
                write!(f, "{place}: it does not say what the file says: {}", columns.join(", "))
            }
        }
    }
}

/// A place where milestones are kept.
pub trait Store: fmt::Debug + Send {
    /// Which one it is, as people read it.
    fn name(&self) -> String;

    /// Adds what milescale keeps of its own beside the rows of other programs, where it is not there yet.
    fn adopt(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Looks at the store; `now` is the wall clock. The figures are right for the instant of the look.
    ///
    /// # Errors
    /// When the figures cannot be had: then they are stale, never zero.
    fn survey(&mut self, extent: &Extent, now: SystemTime) -> Result<Survey, StoreError>;

    /// What would make it faster but changes a table that other programs made, so that only a person may ask for it; as
    /// the last look found it.
    fn improvement(&self) -> Option<&'static str> {
        None
    }

    /// Does that, at a person's word. It may take long, and other programs wait meanwhile.
    fn improve(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What is derived from the milestones and has differed from them for a while, as the last look found them; also when
    /// to ask again where a difference has not stood long enough. `now` is the wall clock.
    fn differing(&mut self, now: SystemTime) -> Result<(Vec<Difference>, Option<Duration>), StoreError> {
        let _ = now;
        Ok((Vec::new(), None))
    }

    /// Mends what [`Store::differing`] has told last, where it still is as it was told.
    fn mend(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What the last look found that counts and adds nothing else, by place.
    fn flawed(&self) -> BTreeMap<String, Flaw>;

    /// Milestones whose `id:` is not their id: place, id, `id:`.
    fn other_ids(&self) -> Vec<(String, String, String)> {
        Vec::new()
    }

    /// Ids that stand several times, and where.
    fn duplicates(&self) -> BTreeMap<String, Vec<String>> {
        BTreeMap::new()
    }

    /// One milestone.
    fn get(&mut self, id: &Id) -> Result<Milestone, StoreError>;

    /// Hands over every milestone that counts or is archived here, one at a time, in an order of ids that is
    /// the store's own, in bounded memory.
    /// What is written meanwhile is handed over in its old or its new content.
    fn scan(&mut self, visit: &mut dyn FnMut(Milestone) -> ControlFlow<()>) -> Result<(), StoreError>;

    /// Writes a milestone if its content is what was seen. Once it returns it is on the disk; if the process dies in it,
    /// the old or the new content is there, whole. The content that it replaces is kept for a while.
    ///
    /// # Errors
    /// [`Problem::Changed`](crate::error::Problem::Changed) where it is another content: then nothing has changed.
    fn put(&mut self, draft: &Draft, seen: Seen) -> Result<(), StoreError>;

    /// Writes an archived milestone if its content is what was seen, so that it counts no more.
    fn archive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError>;

    /// Writes many milestones that are not there yet into a store that nobody else writes to. How many.
    ///
    /// # Errors
    /// After one, some may be there and others not.
    fn load(&mut self, drafts: &mut dyn Iterator<Item = Draft>) -> Result<u64, StoreError>;

    /// Everything that is wrong with what is kept here, in words. Reads all of it.
    fn check(&mut self) -> Result<Vec<String>, StoreError>;

    /// The ids that the last look found, where the store remembers them.
    fn known_ids(&self) -> Option<Vec<String>> {
        None
    }

    /// Every id that is here.
    fn ids(&mut self) -> Result<Vec<String>, StoreError>;
}
