//! A change of an old store brought into milestone files that are in use. File and base are two writes: a note tells, after
//! a death between the two, that the file was written, before anybody else of milescale's writes it again.

use std::io;

use milescale_core::base::Side;
use milescale_document::content::Content;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Draft;
use milescale_workspace::durable;
use milescale_workspace::error::StoreError;
use milescale_workspace::read::read_regular;
use serde::{Deserialize, Serialize};

use super::FileStore;
use crate::ledger::{Entry, Known, Ledger};
use crate::store::Seen;

/// Bytes that the note may have.
const LIMIT: u64 = 1 << 16;

/// What is being brought: `.milescale/importing.json`.
#[derive(Serialize, Deserialize)]
struct Importing {
    side: Side,
    id: String,
    value: Digest,
    text: Digest,
    /// What is noted with the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    noted: Option<String>,
}

impl FileStore {
    /// Writes a change of an old side, and what is known of that side.
    pub(super) fn import_one(&mut self, draft: &Draft, seen: Seen, entry: &Entry) -> Result<(), StoreError> {
        let alone = self.alone()?;
        let Entry { side, known } = entry;
        let (Content { value, text }, noted) = (known.content, known.noted.clone());
        let note = Importing { side: *side, id: draft.id.to_string(), value, text, noted };
        let path = self.workspace.importing();
        let failed = |error: io::Error| StoreError::io(self.workspace.shown(&path), "it cannot be written", &error);
        let note = serde_json::to_vec(&note).map_err(|error| failed(error.into()))?;
        durable::replace(&path, &note).map_err(failed)?;
        let placed = self.place_alone(draft, seen);
        if placed.is_ok() {
            self.own_ledger()?.set(*side, &[(draft.id.to_string(), known.clone())])?;
        }
        // An error may have come after the effect: then the note tells whoever writes next.
        let settled = placed.and_then(|()| durable::remove(&path).map_err(|error| self.not_removed(&error)));
        drop(alone);
        settled
    }

    /// Deals with such a death, where there was one.
    pub(super) fn finish_what_died(&self) -> Result<(), StoreError> {
        if self.workspace.importing().exists() { self.alone().map(drop) } else { Ok(()) }
    }

    /// Deals with what a death in [`import_one`](Self::import_one) left. To be called before anything is written, with
    /// writers of milescale's kept out.
    pub(super) fn finish_import(&self) -> Result<(), StoreError> {
        let path = self.workspace.importing();
        let note = match read_regular(&path, LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|error| StoreError::io(self.workspace.shown(&path), "it cannot be read", &error))?.0,
        };
        // What is not whole was never in force: the file was not written yet.
        if let Ok(Importing { side, id, value, text, noted }) = serde_json::from_slice(&note)
            && let Ok(id) = id.parse::<Id>()
            && self.is_somewhere(&id, text)?
        {
            let known = Known { content: Content { value, text }, noted };
            crate::sqlite::LedgerFile::new(&self.workspace)?.set(side, &[(id.to_string(), known)])?;
        }
        durable::remove(&path).map_err(|error| self.not_removed(&error))
    }

    /// Whether a milestone lies in its place or in the archive with this text.
    fn is_somewhere(&self, id: &Id, text: Digest) -> Result<bool, StoreError> {
        let mut files: Vec<milescale_workspace::Place> = self.find_one(id)?.into_iter().collect();
        let archived = self.archived_files()?.into_iter();
        files.extend(archived.filter(|(archived, _)| archived == id.as_str()).map(|(_, path)| path));
        for file in files {
            if self.content(&file)?.is_some_and(|(there, _)| Digest::of(&there) == text) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn not_removed(&self, error: &io::Error) -> StoreError {
        StoreError::io(self.workspace.shown(&self.workspace.importing()), "it cannot be removed", error)
    }
}
