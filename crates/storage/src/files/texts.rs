//! Milestone files as texts: read, replaced by exchange, moved away, never written in place.
//!
//! Between a check and a rename another program may save. So a file is replaced by an exchange, what comes out is
//! compared with what was to be replaced, and where it is something else it is put back: at every instant each content is
//! there under some name.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use milescale_core::digest::Digest;
use milescale_core::id::Id;

use super::walk::{self, ByName};
use super::{FileStore, displaced, id_of};
use crate::durable;
use crate::error::{Problem, StoreError};
use crate::lock::{self, Held, Share};
use crate::read::{Symlinks, read_regular};
use crate::store::{Draft, Seen};
use crate::yaml;

/// How long a writer waits for another one of milescale's.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a foreign write may come between before a replacement gives up.
const TRIES: usize = 16;

impl FileStore {
    /// The files of an id: their paths, sorted.
    ///
    /// # Errors
    /// When folders cannot be read.
    pub(super) fn find(&self, id: &Id) -> Result<Vec<PathBuf>, StoreError> {
        match walk::by_name(&self.active, id.as_str()) {
            ByName::File(path) => return Ok(vec![path]),
            ByName::Nothing => return Ok(Vec::new()),
            ByName::Unclear => {}
        }
        let files = walk::milestone_files(&self.workspace)?.unwrap_or_default();
        let mut found: Vec<_> =
            files.iter().filter(|path| id_of(path) == id.as_str()).map(|path| self.active.join(path)).collect();
        found.sort();
        Ok(found)
    }

    /// The one file of an id.
    pub(crate) fn find_one(&self, id: &Id) -> Result<Option<PathBuf>, StoreError> {
        let mut found = self.find(id)?;
        if found.len() > 1 {
            let paths: Vec<_> = found.iter().map(|path| self.workspace.shown(path)).collect();
            let cause = format!("the id {id} stands several times; rename or remove all but one first");
            return Err(StoreError::new(Problem::Refused, paths.join(", "), cause));
        }
        Ok(found.pop())
    }

    /// The content of a file; `None` where there is none.
    pub(crate) fn content(&self, path: &Path) -> Result<Option<(Vec<u8>, Metadata)>, StoreError> {
        match read_regular(path, Symlinks::Refuse, yaml::SIZE_LIMIT) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(self.workspace.shown(path), "it cannot be read", &error)),
        }
    }

    /// Keeps other writers of milescale's out: two that exchange at once could put each other's content back. Other
    /// programs know nothing of it.
    pub(super) fn alone(&self) -> Result<Held, StoreError> {
        let path = self.workspace.write_lock();
        let failed = |error: io::Error| StoreError::io(self.workspace.shown(&path), "it cannot be locked", &error);
        durable::create_own_folder(&self.workspace).map_err(failed)?;
        let held = lock::wait_for(&path, Share::Alone, PATIENCE, self.workspace.stop());
        let held = held.map_err(failed)?.ok_or_else(|| {
            if self.workspace.stop().is_asked() {
                return StoreError::stopped(self.workspace.shown(&path));
            }
            let cause = "another milescale is writing milestones all the time; try again";
            StoreError::new(Problem::Busy, self.workspace.shown(&path), cause)
        })?;
        self.finish_import()?;
        Ok(held)
    }

    /// Writes a draft in the place of what was seen. Where it is now. To be called [`alone`](Self::alone).
    pub(super) fn write(&self, draft: &Draft, seen: Seen) -> Result<PathBuf, StoreError> {
        match (self.find_one(&draft.id)?, seen) {
            (None, Seen::Nothing) => self.create(draft),
            (Some(path), Seen::Text(digest)) => self.replace(&path, draft, digest).map(|()| path),
            (None, Seen::Text(_)) => {
                let place = self.workspace.shown(&self.active);
                Err(StoreError::new(Problem::Changed, place, format!("the milestone {} is gone meanwhile", draft.id)))
            }
            (Some(path), Seen::Nothing) => Err(self.there_already(&path)),
        }
    }

    fn create(&self, draft: &Draft) -> Result<PathBuf, StoreError> {
        let path = self.active.join(format!("{}.yaml", draft.id));
        let failed = |error: io::Error| StoreError::io(self.workspace.shown(&path), "it cannot be written", &error);
        durable::create_folder(&self.active).map_err(failed)?;
        if durable::create(&path, &draft.text).map_err(failed)? { Ok(path) } else { Err(self.there_already(&path)) }
    }

    pub(super) fn there_already(&self, path: &Path) -> StoreError {
        let cause = "it is there already; read it, and name the digest of what you have seen";
        StoreError::new(Problem::Changed, self.workspace.shown(path), cause)
    }

    pub(super) fn replace(&self, path: &Path, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        let failed = |action: &str, error: io::Error| StoreError::io(self.workspace.shown(path), action, &error);
        let (content, metadata) = self.content(path)?.ok_or_else(|| self.changed(path))?;
        if Digest::of(&content) != seen {
            return Err(self.changed(path));
        }
        let aside = displaced::name(&self.workspace, &draft.id, seen, draft.now)
            .map_err(|error| failed("nothing can be kept in .milescale/displaced", error))?;
        durable::prepare(&aside, &draft.text, Some(&metadata))
            .map_err(|error| failed("the new content cannot be written", error))?;
        self.exchange(&aside, path, draft, seen)
    }

    /// Exchanges what was prepared for what was seen. What else comes out goes back.
    pub(super) fn exchange(&self, aside: &Path, path: &Path, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        let failed = |action: &str, error: io::Error| StoreError::io(self.workspace.shown(path), action, &error);
        // What should come out, and what is put in.
        let (mut expected, mut holding) = (seen, Digest::of(&draft.text));
        for round in 0..TRIES {
            if let Err(error) = durable::exchange(aside, path) {
                return Err(self.not_exchanged(aside, path, round, &error));
            }
            let out = self.content(aside)?.map(|(content, _)| Digest::of(&content));
            if out == Some(expected) && round == 0 {
                return Ok(());
            }
            if out == Some(expected) {
                // What is aside now has been in place for an instant: it is kept under the name of its content.
                let kept = displaced::name(&self.workspace, &draft.id, expected, draft.now);
                kept.and_then(|kept| durable::rename_new(aside, &kept))
                    .map_err(|error| failed("what came out cannot be kept", error))?;
                return Err(self.changed(path));
            }
            // Another program wrote in between: what it wrote goes back, unless it writes again.
            (expected, holding) = (holding, out.unwrap_or(holding));
        }
        let cause = "another program writes it all the time; stop that, or try again later";
        Err(StoreError::new(Problem::Busy, self.workspace.shown(path), cause))
    }

    /// An exchange failed: in the first round nothing has changed, and the content that was prepared goes.
    fn not_exchanged(&self, aside: &Path, path: &Path, round: usize, error: &io::Error) -> StoreError {
        if round == 0 && self.content(path).is_ok_and(|there| there.is_some()) {
            let _ = durable::remove(aside);
        }
        let gone = error.kind() == io::ErrorKind::NotFound;
        if gone {
            let _ = durable::remove(aside);
            return self.changed(path);
        }
        StoreError::io(self.workspace.shown(path), "it cannot be exchanged for the new content", error)
    }

    pub(super) fn changed(&self, path: &Path) -> StoreError {
        let cause = "it was changed meanwhile; read it again, and name the digest of what you then see";
        StoreError::new(Problem::Changed, self.workspace.shown(path), cause)
    }
}
