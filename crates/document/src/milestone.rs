//! A milestone: as a store holds it, as it is written, and as it is loaded with many others.

use crate::columns::{ARCHIVED, Columns, is_same_milestone, read_instant};
use crate::content::Content;
use crate::digest::Digest;
use crate::document::Flaw;
use crate::id::{BadId, Id};
use crate::value::Value;
use jiff::Timestamp;

use crate::{kept, yaml};

/// A milestone as a store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// Its id. In a database it is whatever another program wrote, and need not be an [`Id`].
    pub id: String,
    /// Its text as a file has it. Of a row: the text that was put, where that still has the row's value, else the value
    /// written as YAML; of a row that is no JSON, what stands there.
    pub text: Vec<u8>,
    /// Whether somebody has given this text. That of a row which another program wrote is made of its values.
    pub is_given: bool,
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

    /// What it is compared by. Of what cannot be read, the bytes.
    pub fn content(&self) -> Content {
        let text = self.digest();
        Content { value: self.value.as_ref().map_or(text, Value::digest), text }
    }

    /// Whether its text holds anything that its values do not: comments, an order, a layout.
    pub fn has_own_text(&self) -> bool {
        self.value.as_ref().map_or(true, |value| is_own(&self.text, value))
    }

    /// The digest of its text, where that is given and holds anything that its values do not.
    pub fn own_text(&self) -> Option<Digest> {
        (self.is_given && self.has_own_text()).then(|| self.digest())
    }

    /// Whether its text is the one that somebody has given, and is of its values: for a row, the one that is kept of it.
    pub fn says_its_text(&self) -> bool {
        self.is_given && self.value.is_ok()
    }

    /// Whether somebody has given it a text that may hold comments.
    pub fn has_comments(&self) -> bool {
        may_hold_comments(&self.text) && self.own_text().is_some()
    }

    /// Whether it has comments that another text of this milestone, archived or not, has not.
    pub fn has_comments_beyond(&self, other: &[u8]) -> bool {
        self.has_comments() && differ_archived(&self.id, &self.text, other)
    }

    /// What it is compared by where no base is known.
    pub fn said(&self) -> Said {
        Said { value: self.content().value, comments: self.has_comments().then(|| self.digest()) }
    }

    /// Whether its status is archived.
    pub fn is_archived(&self) -> bool {
        self.columns.status.as_deref() == Some(ARCHIVED)
    }

    /// Whether a document of the same id is this milestone, archived or not. Equal texts are, whatever was read of them.
    pub fn is_same_milestone(&self, text: &[u8], other: &Value) -> bool {
        self.text == text || self.value.as_ref().is_ok_and(|value| is_same_milestone(value, other))
    }
}

/// Whether a text is another one than what is written of its values.
fn is_own(text: &[u8], value: &Value) -> bool {
    yaml::write::write(value).as_bytes() != text
}

/// Whether two texts of a milestone are different ones, once both are archived. Where one cannot be archived, they are.
pub fn differ_archived(id: &str, one: &[u8], other: &[u8]) -> bool {
    let archived = |text: &[u8]| Draft::archived(id.parse().ok()?, text, Timestamp::UNIX_EPOCH).ok().map(|it| it.text);
    one != other && archived(one).is_none_or(|one| archived(other) != Some(one))
}

/// Whether a text may hold comments: one without `#` holds none.
fn may_hold_comments(text: &[u8]) -> bool {
    text.contains(&b'#')
}

/// What a milestone is compared by where no base is known: its value, and its text where that may hold comments. Two that differ in
/// layout alone are equal, and so are one with comments and one without: it may take them.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    value: Digest,
    comments: Option<Digest>,
}

impl Said {
    /// Whether both cannot become one without a loss.
    pub fn differs(&self, other: &Self) -> bool {
        let differs = |(ours, others)| ours != others;
        self.value != other.value || self.comments.zip(other.comments).is_some_and(differs)
    }
}

/// A milestone to be written: checked, so that every store can keep it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its id.
    pub id: Id,
    /// Its text.
    pub text: Vec<u8>,
    /// Whether somebody has given this text, as [`Milestone::is_given`].
    pub is_given: bool,
    /// The text's value.
    pub value: Value,
    /// Title, status, priority, creation.
    pub columns: Columns,
    /// When it is written.
    pub now: Timestamp,
    /// When its content came to be: now, or, where it is moved from another store, what that says.
    pub updated: Timestamp,
}

impl Draft {
    /// Checks a text.
    ///
    /// # Errors
    /// What no store or not every store could keep, with its place; an `id:` that is another one's.
    pub fn new(id: Id, text: Vec<u8>, now: Timestamp) -> Result<Self, Flaw> {
        let document = yaml::milestone(&text)?;
        let value = Value::of(&document)?;
        if let Some(declared) = document.get(document.root(), "id")
            && document.scalar(declared).is_none_or(|declared| declared != id.as_str())
        {
            let reason = format!("its id: is not {id}; make them the same");
            return Err(Flaw { position: Some(document.node(declared).position), reason });
        }
        let columns = Columns::of(id.as_str(), document.tree());
        Ok(Self { id, text, is_given: true, value, columns, now, updated: now })
    }

    /// What it is compared by where no base is known, as [`Milestone::said`].
    pub fn said(&self) -> Said {
        let Content { value, text } = self.content();
        let has_comments = self.is_given && may_hold_comments(&self.text) && is_own(&self.text, &self.value);
        Said { value, comments: has_comments.then_some(text) }
    }

    /// Whether it is the milestone that lies in the archive, which holds as much: its comments too, but for what archiving edits.
    pub fn is_held_by(&self, archived: &Milestone) -> bool {
        let has_more =
            || self.said().comments.is_some() && differ_archived(self.id.as_str(), &self.text, &archived.text);
        archived.is_same_milestone(&self.text, &self.value) && !has_more()
    }

    /// A text of a milestone as a store held it, whatever it says of its id.
    ///
    /// # Errors
    /// What no store or not every store could keep, with its place.
    pub fn kept(id: Id, text: Vec<u8>, now: Timestamp) -> Result<Self, Flaw> {
        let document = yaml::milestone(&text)?;
        let (value, columns) = (Value::of(&document)?, Columns::of(id.as_str(), document.tree()));
        Ok(Self { id, text, is_given: true, value, columns, now, updated: now })
    }

    /// A milestone of another store, as it is.
    ///
    /// # Errors
    /// Why not every store could keep it.
    pub fn of(milestone: Milestone, now: Timestamp) -> Result<Self, Flaw> {
        let Milestone { id, text, is_given, value, columns, updated_at, .. } = milestone;
        let id = id.parse().map_err(|bad: BadId| Flaw { position: None, reason: bad.to_string() })?;
        let updated = updated_at.as_deref().and_then(read_instant).unwrap_or(now);
        Ok(Self { id, text, is_given, value: value?, columns, now, updated })
    }

    /// A milestone as it is, whatever its text says, for files only: they keep the text alone.
    ///
    /// # Errors
    /// When its id is none.
    pub fn as_it_is(milestone: Milestone, now: Timestamp) -> Result<Self, Flaw> {
        let value = milestone.value.or(Ok(Value::Null));
        Self::of(Milestone { value, ..milestone }, now)
    }

    /// What it is compared by.
    pub fn content(&self) -> Content {
        Content { value: self.value.digest(), text: Digest::of(&self.text) }
    }

    /// Whether it counts no more.
    pub fn is_archived(&self) -> bool {
        self.columns.status.as_deref() == Some(ARCHIVED)
    }

    /// The same milestone archived. Its text is edited with its comments kept; one that is archived stays as it is.
    ///
    /// # Errors
    /// When the text cannot be edited so.
    pub fn archived(id: Id, text: &[u8], now: Timestamp) -> Result<Self, Flaw> {
        Self::with_status(id, text, ARCHIVED, now)
    }

    /// The same milestone with another status. Its text is edited with its comments kept, where it says another one.
    ///
    /// # Errors
    /// When the text cannot be edited so.
    pub fn with_status(id: Id, text: &[u8], status: &str, now: Timestamp) -> Result<Self, Flaw> {
        let not_utf8 = |_| Flaw { position: None, reason: "it is not UTF-8; save it as UTF-8".to_owned() };
        let text = std::str::from_utf8(text).map_err(not_utf8)?;
        let as_it_is = Self::new(id.clone(), text.as_bytes().to_vec(), now)?;
        if as_it_is.columns.status.as_deref() == Some(status) {
            return Ok(as_it_is);
        }
        Self::new(id, yaml::edit::set(text, "status", status)?.into_bytes(), now)
    }
}

/// A milestone to be loaded with many others: what any store keeps of it, made where it is read, so that whoever writes
/// it only writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Its id.
    pub id: Id,
    /// Its text.
    pub text: Vec<u8>,
    /// Its value as JSON.
    pub data: String,
    /// What says, beside the text, that the text is that of this value.
    pub mark: String,
    /// When it came to be, where it says so.
    pub created_at: Option<String>,
    /// When its content came to be.
    pub updated: Timestamp,
    /// Whether it counts no more.
    pub is_archived: bool,
    /// What it is compared by.
    pub content: Content,
}

impl Packed {
    /// What it takes in memory, about.
    pub fn bytes(&self) -> u64 {
        (self.text.len() + self.data.len()) as u64
    }

    /// Packs a draft.
    pub fn of(draft: Draft) -> Self {
        let (content, is_archived, data) = (draft.content(), draft.is_archived(), draft.value.to_json());
        let Draft { id, text, columns, updated, .. } = draft;
        let mark = kept::mark(data.as_bytes());
        Self { id, text, data, mark, created_at: columns.created_at, updated, is_archived, content }
    }
}
