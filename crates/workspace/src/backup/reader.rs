//! A backup that is read: the source of a restore.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use milescale_document::columns::Columns;
use milescale_document::digest::Digest;
use milescale_document::milestone::Milestone;
use milescale_document::value::Value;
use milescale_document::yaml;
use serde::Deserialize;

use super::{Metadata, milestones, path, verify};
use crate::Workspace;
use crate::error::{Problem, StoreError};
use crate::folder::File;
use crate::read::from_json;
use crate::readers::Readers;

/// The longest line, in bytes: a text of the largest size, each letter of which is an escape of six.
const LONGEST: u64 = 6 * yaml::SIZE_LIMIT + (1 << 20);

/// Bytes that its ids and digests may take of memory.
const MEMORY: usize = 128 << 20;

/// The most milestones of a backup that is read: where each lies is kept in memory.
const MOST: usize = 2_000_000;

/// A backup, opened.
#[derive(Debug)]
pub struct Backup {
    shown: String,
    file: File,
    lines: BTreeMap<String, Span>,
    /// The ids of what lay in `completed/`, without a text.
    archive: HashSet<String>,
    /// By id the digests of other documents that lay in `completed/`.
    others: HashMap<String, Vec<Digest>>,
    /// Who may read it.
    readers: Readers,
}

/// Where the line of a milestone is, and how long.
#[derive(Debug, Clone, Copy)]
struct Span {
    at: u64,
    length: usize,
    /// Whether the milestone lay in `completed/`.
    is_archived: bool,
}

#[derive(Debug, Deserialize)]
struct Line {
    id: String,
    #[serde(default)]
    place: String,
    text: Option<String>,
    bytes: Option<String>,
    /// Whether somebody has given the text; a backup of before says nothing of it.
    given: Option<bool>,
    created_at: Option<String>,
    updated_at: Option<String>,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    gone: bool,
    #[serde(default)]
    in_archive: bool,
    #[serde(default)]
    others: Vec<Digest>,
}

impl Backup {
    /// Opens a backup, after its digest was compared.
    ///
    /// # Errors
    /// When it is not what was written.
    pub fn open(workspace: &Workspace, metadata: &Metadata) -> Result<Self, StoreError> {
        let corrupt = |cause: String| StoreError::new(Problem::Corrupt, metadata.id.clone(), cause);
        verify(workspace, metadata).map_err(corrupt)?;
        let path = milestones(&path(workspace, &metadata.id).map_err(corrupt)?);
        let shown = workspace.shown(&path);
        let failed = |error: std::io::Error| StoreError::io(&shown, "it cannot be read", &error);
        let (file, metadata_of_file) = path.open().map_err(failed)?;
        let readers = Readers::of(&metadata_of_file).as_placed(&path);
        let mut reader = BufReader::new(file.try_clone().map_err(failed)?);
        let (mut lines, mut archive, mut others) = (BTreeMap::new(), HashSet::new(), HashMap::new());
        let (mut at, mut text, mut kept) = (0, Vec::new(), 0);
        loop {
            text.clear();
            let length = (&mut reader).take(LONGEST).read_until(b'\n', &mut text).map_err(failed)?;
            if length == 0 {
                break;
            }
            if length as u64 == LONGEST || lines.len() + archive.len() + others.len() > MOST {
                let what = if length as u64 == LONGEST { "a line in it is longer" } else { "it has more milestones" };
                return Err(corrupt(format!("{what} than milescale writes; nothing was read of it")));
            }
            if workspace.stop().is_asked() {
                return Err(StoreError::stopped(shown));
            }
            let line: Line = from_json(&text).map_err(corrupt)?;
            kept += line.id.len() + size_of_val(&*line.others);
            if kept > MEMORY {
                return Err(corrupt(
                    "its ids need more memory than milescale takes; nothing was read of it".to_owned(),
                ));
            }
            if line.gone {
                lines.remove(&line.id);
                if line.in_archive {
                    archive.insert(line.id);
                }
            } else {
                others.remove(&line.id);
                if !line.others.is_empty() {
                    others.insert(line.id.clone(), line.others);
                }
                lines.insert(line.id, Span { at, length, is_archived: line.archived });
            }
            at += length as u64;
        }
        Ok(Self { shown, file, lines, archive, others, readers })
    }

    /// Those who may read it.
    pub fn readers(&self) -> Readers {
        self.readers
    }

    fn milestone(&self, Span { at, length, .. }: Span) -> Result<Milestone, StoreError> {
        let mut text = vec![0; length];
        self.file
            .read_exact_at(&mut text, at)
            .map_err(|error| StoreError::io(&self.shown, "it cannot be read", &error))?;
        let corrupt = |cause: String| StoreError::new(Problem::Corrupt, &self.shown, cause);
        let line: Line = from_json(&text).map_err(corrupt)?;
        let bytes = match (line.text, line.bytes) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(digits)) => unhex(&digits).ok_or_else(|| corrupt("a text is damaged".to_owned()))?,
            (None, None) => return Err(corrupt(format!("{} has no text", line.id))),
        };
        let (value, mut columns) = match yaml::milestone(&bytes) {
            Ok(document) => (Value::of(&document), Columns::of(&line.id, document.tree())),
            Err(flaw) => (Err(flaw), Columns::unreadable(&line.id)),
        };
        columns.created_at = columns.created_at.or(line.created_at);
        let place = format!("{}, {}", self.shown, line.place);
        let mut milestone =
            Milestone { id: line.id, text: bytes, is_given: true, value, columns, updated_at: line.updated_at, place };
        milestone.is_given = line.given.unwrap_or_else(|| milestone.has_own_text());
        Ok(milestone)
    }

    /// One milestone.
    pub fn get(&self, id: &str) -> Result<Milestone, StoreError> {
        match self.lines.get(id) {
            Some(place) => self.milestone(*place),
            None => Err(StoreError::new(Problem::NotThere, &self.shown, format!("there is no milestone {id}"))),
        }
    }

    /// Whether a milestone lay in `completed/`.
    pub fn is_archived(&self, id: &str) -> bool {
        self.lines.get(id).is_some_and(|place| place.is_archived)
    }

    /// Whether a file of this id lay in `completed/` that is not in it.
    pub fn was_in_archive(&self, id: &str) -> bool {
        self.archive.contains(id)
    }

    /// The digests of what lay in `completed/` under an id, and was another document than the milestone.
    pub fn others(&self, id: &str) -> &[Digest] {
        self.others.get(id).map_or(&[], Vec::as_slice)
    }

    /// Whether it holds this content of a milestone.
    pub fn holds(&self, milestone: &Milestone) -> Result<bool, StoreError> {
        match self.lines.get(&milestone.id) {
            Some(place) => Ok(self.milestone(*place)?.text == milestone.text),
            None => Ok(false),
        }
    }

    /// Every id that is in it, in their order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.lines.keys().map(String::as_str)
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
