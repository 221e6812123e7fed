//! What lay in `completed/` when milestone files were left for a database (`.milescale/archived-before.json`).
//!
//! A milestone whose file is gone from `active/` and that lies in the archive was moved there, unless it lay there before: an
//! older one of the same id.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;

use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_workspace::Workspace;
use milescale_workspace::durable;
use milescale_workspace::error::StoreError;
use milescale_workspace::read::read_json;
use serde::{Deserialize, Serialize};

use crate::files::FileStore;
use crate::store::Store;

/// The version of the file's shape.
const FORMAT: u32 = 1;

/// Bytes that the file may have: a million ids.
const LIMIT: u64 = 64 << 20;

/// What lay there.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ArchivedBefore {
    format: u32,
    /// The cutover that left the files.
    epoch: u64,
    /// Per id the digest of the archived text, where a file of that id stood in `active/` too.
    ids: HashMap<String, Option<Digest>>,
    /// Per such id the digests of what else lay there, in other folders; `None`: a version before this one did not note that.
    #[serde(default)]
    further: Option<HashMap<String, Vec<Digest>>>,
}

/// What an archived file is, by what lay there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It came since.
    Since,
    /// It is what lay there.
    Before,
    /// One of this id lay there: it is that one, changed, or another one in its place.
    Unclear,
}

impl ArchivedBefore {
    /// Notes what lies there now, durably, for the cutover of this number. To be called before the files are read.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn note(workspace: &Workspace, epoch: u64) -> Result<(), StoreError> {
        Self::note_read(workspace, epoch, &HashSet::new(), &HashMap::new())
    }

    /// The same once the files were read: but for the ids of `same`, whose milestone is archived on the other side, so that
    /// nothing older lies there, and for what the files held when they were `read` and has gone there since.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn note_read(
        workspace: &Workspace,
        epoch: u64,
        same: &HashSet<&str>,
        read: &HashMap<String, Content>,
    ) -> Result<(), StoreError> {
        let mut files = FileStore::new(workspace.clone(), 0);
        let active: HashSet<String> = files.ids()?.into_iter().collect();
        let is_same = |id: &str, text: Option<Digest>| {
            let was_read = !active.contains(id) && read.get(id).is_some_and(|read| Some(read.text) == text);
            same.contains(id) || was_read
        };
        let is_asked = |id: &str| active.contains(id) || read.contains_key(id);
        Self::note_of(&files, workspace, epoch, &is_asked, &is_same)
    }

    /// The same where nobody can read what stood in `active/`: of each id.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn note_all(workspace: &Workspace, epoch: u64) -> Result<(), StoreError> {
        let files = FileStore::new(workspace.clone(), 0);
        Self::note_of(&files, workspace, epoch, &|_| true, &|_, _| false)
    }

    fn note_of(
        files: &FileStore,
        workspace: &Workspace,
        epoch: u64,
        is_asked: &dyn Fn(&str) -> bool,
        is_same: &dyn Fn(&str, Option<Digest>) -> bool,
    ) -> Result<(), StoreError> {
        let (mut ids, mut further) = (HashMap::new(), HashMap::<String, Vec<Digest>>::new());
        for (id, path) in files.archived_files()? {
            let archived = if is_asked(&id) { files.content(&path)? } else { None };
            let archived = archived.map(|(text, _)| Digest::of(&text));
            if is_same(&id, archived) {
                continue;
            }
            match ids.entry(id) {
                Entry::Vacant(first) => drop(first.insert(archived)),
                // Of several of one id the first is the one that counts.
                Entry::Occupied(first) => further.entry(first.key().clone()).or_default().extend(archived),
            }
        }
        let path = workspace.archived_before();
        let failed = |error: io::Error| StoreError::io(workspace.shown(&path), "it cannot be written", &error);
        let text = serde_json::to_vec(&Self { format: FORMAT, epoch, ids, further: Some(further) })
            .map_err(|error| failed(error.into()))?;
        durable::replace(&path, &text).map_err(failed)
    }

    /// What is known of the cutover of this number; nothing where none was noted, as of versions before this one.
    ///
    /// # Errors
    /// When it cannot be read, or a newer milescale wrote it.
    pub fn load(workspace: &Workspace, epoch: u64) -> Result<Self, StoreError> {
        let path = workspace.archived_before();
        let failed = |error: io::Error| StoreError::io(workspace.shown(&path), "it cannot be read", &error);
        let it: Self = read_json(&path, LIMIT).map_err(failed)?.unwrap_or_default();
        if it.format > FORMAT {
            let message = format!("it has format {}, written by a newer milescale", it.format);
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        Ok(if it.epoch == epoch { it } else { Self::default() })
    }

    /// Whether it was noted at all what lay there.
    fn is_noted(&self) -> bool {
        self.format > 0
    }

    fn is_further(&self, id: &str, text: Digest) -> bool {
        self.further.as_ref().and_then(|further| further.get(id)).is_some_and(|texts| texts.contains(&text))
    }

    /// Where several texts lie there under an id, and all that lay there before are among them: the first that is none of those.
    pub fn came_beside(&self, id: &str, texts: &[Digest]) -> Option<usize> {
        let first = (*self.ids.get(id)?)?;
        let further = self.further.as_ref()?.get(id).map_or(&[][..], Vec::as_slice);
        let before: Vec<Digest> = std::iter::once(first).chain(further.iter().copied()).collect();
        let is_whole = before.iter().all(|before| texts.contains(before));
        if is_whole { texts.iter().position(|text| !before.contains(text)) } else { None }
    }

    /// What an archived text of an id is; where nothing was noted, nobody can tell.
    pub fn judge(&self, id: &str, text: Digest) -> Came {
        match self.ids.get(id) {
            None if !self.is_noted() => Came::Unclear,
            None => Came::Since,
            Some(Some(before)) if *before == text || self.is_further(id, text) => Came::Before,
            Some(_) => Came::Unclear,
        }
    }
}
