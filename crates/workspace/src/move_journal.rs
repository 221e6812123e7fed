//! What a move is about to write into its target, written down before it is: so an undo knows what the move brought.
//!
//! Not a proof of anything: an entry says what may have been written. Whoever undoes compares it with what is there.
//!
//! `.milescale/move-journal.jsonl`: a head `{"format":1,"epoch":N,"to":SIDE}`, then one entry a line. It begins with the copying of a
//! move, and goes with its cutover or its undo.

use std::collections::HashMap;
use std::io;

use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Workspace;
use crate::durable::{self, Growing};
use crate::read::read_regular;
use crate::readers::Readers;

/// The version of the file's shape.
const FORMAT: u32 = 1;

/// Bytes that a journal may have: a million entries have a fifth of it.
const LIMIT: u64 = 128 << 20;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    to: Option<Side>,
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    /// Value and text of what is put there; without them the milestone is taken out.
    content: Option<(Digest, Digest)>,
    /// The inode of a file that is given its name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    inode: Option<u64>,
    /// Whether an old target had none of this id.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    new: bool,
}

/// What a move was about to do with one milestone of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// To write this content: where the file was made beforehand, the one with this inode.
    Write(Content, Option<u64>),
    /// To write this content into an old target that had none of this id.
    Add(Content),
    /// To take it out.
    TakeOut,
}

/// The journal of the move under way, open for appending.
#[derive(Debug)]
pub struct MoveJournal {
    file: Growing,
}

impl Entry {
    /// What is written, if anything is.
    pub fn content(&self) -> Option<Content> {
        match self {
            Self::Write(content, _) | Self::Add(content) => Some(*content),
            Self::TakeOut => None,
        }
    }
}

impl MoveJournal {
    /// Begins the journal of a move, durably. An earlier one goes.
    pub fn begin(workspace: &Workspace, epoch: u64, to: Side) -> io::Result<Self> {
        discard(workspace)?;
        let mut begun = Self { file: Growing::create(&workspace.move_journal(), Readers::ALL)? };
        begun.append(&Head { format: FORMAT, epoch, to: Some(to) })?;
        begun.sync()?;
        durable::sync_folder(&workspace.move_journal())?;
        Ok(begun)
    }

    /// Opens the journal of the move under way, with the number of its cutover; where there is none yet, it begins.
    pub fn open(workspace: &Workspace, epoch: u64, to: Side) -> io::Result<Self> {
        match Growing::open(&workspace.move_journal()) {
            Ok(file) => Ok(Self { file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::begin(workspace, epoch, to),
            Err(error) => Err(error),
        }
    }

    /// Adds that a milestone is about to be written. In force once [`MoveJournal::sync`] returns.
    pub fn write(&mut self, id: &Id, content: Content, inode: Option<u64>) -> io::Result<()> {
        self.append(&Line { id: id.to_string(), content: Some((content.value, content.text)), inode, new: false })
    }

    /// Adds that a milestone is about to be written into an old target that has none of this id. In force once
    /// [`MoveJournal::sync`] returns.
    pub fn add(&mut self, id: &Id, content: Content) -> io::Result<()> {
        let content = Some((content.value, content.text));
        self.append(&Line { id: id.to_string(), content, inode: None, new: true })
    }

    /// Adds that a milestone is about to be taken out. In force once [`MoveJournal::sync`] returns.
    pub fn take_out(&mut self, id: &Id) -> io::Result<()> {
        self.append(&Line { id: id.to_string(), content: None, inode: None, new: false })
    }

    fn append(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.append(&text)
    }

    /// Returns once everything that was added is on the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

/// What a journal says.
#[derive(Debug, Default)]
pub struct Journal {
    /// The epoch of the move that wrote it.
    pub epoch: u64,
    /// The side that it went to. A move that failed has the same number as the next one.
    pub to: Option<Side>,
    /// Per id, in the order in which it was written.
    pub entries: HashMap<String, Vec<Entry>>,
}

/// Reads the journal; `None` where there is none. It ends at a line that is not whole: that was not on the disk when the
/// machine died, so what it and all behind it name was not begun.
///
/// # Errors
/// When it cannot be read, or a newer milescale wrote it.
pub fn read(workspace: &Workspace) -> io::Result<Option<Journal>> {
    let text = match read_regular(&workspace.move_journal(), LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?.0,
    };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(&text[..0], |end| &text[..end]);
    let mut lines = whole.split(|byte| *byte == b'\n');
    // Without a whole head nothing was begun.
    let Some(head) = lines.next().and_then(|head| serde_json::from_slice::<Value>(head).ok()) else { return Ok(None) };
    if let Some(format) = head["format"].as_u64().filter(|format| *format > FORMAT.into()) {
        let message = format!("it has format {format}, written by a newer milescale");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let head = Head::deserialize(head)?;
    let mut journal = Journal { epoch: head.epoch, to: head.to, entries: HashMap::new() };
    for line in lines {
        let Ok(Line { id, content, inode, new }) = serde_json::from_slice(line) else { break };
        let entry = match content.map(|(value, text)| Content { value, text }) {
            None => Entry::TakeOut,
            Some(content) if new => Entry::Add(content),
            Some(content) => Entry::Write(content, inode),
        };
        journal.entries.entry(id).or_default().push(entry);
    }
    Ok(Some(journal))
}

/// Removes the journal; without one there is nothing to do.
pub fn discard(workspace: &Workspace) -> io::Result<()> {
    durable::remove(&workspace.move_journal())
}

#[cfg(test)]
mod tests {
    use super::{MoveJournal, Side, read};
    use crate::Workspace;
    use std::fs;

    #[test]
    fn without_a_whole_head_nothing_was_begun() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        fs::create_dir_all(workspace.own().path()).unwrap();
        for torn in ["", "\n", "\0\0\n", "{\"form\n", "{\"format\":1,\"epo", "\0\n{\"id\":\"a\"}\n"] {
            fs::write(workspace.move_journal().path(), torn).unwrap();
            assert!(read(&workspace).unwrap().is_none(), "{torn:?}");
        }
        fs::write(workspace.move_journal().path(), "{\"format\":2,\"number\":3}\n").unwrap();
        assert!(read(&workspace).unwrap_err().to_string().contains("newer milescale"));
        MoveJournal::begin(&workspace, 7, Side::Files).unwrap();
        assert_eq!(read(&workspace).unwrap().unwrap().epoch, 7);
    }
}
