//! Milestone files as texts: read, replaced by exchange, moved away, never written in place.
//!
//! Between a check and a rename another program may save. So a file is replaced by an exchange, what comes out is
//! compared with what was to be replaced, and where it is something else it is put back: at every instant each content is
//! there under some name.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Draft;
use milescale_document::yaml;
use milescale_workspace::Place;
use milescale_workspace::displaced;
use milescale_workspace::durable::{self, Outcome};
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::Metadata;
use milescale_workspace::lock::{self, Held, Share};
use milescale_workspace::read::read_milestone;
use milescale_workspace::readers::Readers;

use super::walk::{self, ByName};
use super::{FileStore, id_at, id_of};
use crate::row::there_already;
use crate::store::Seen;

/// How long a writer waits for another one of milescale's.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a foreign write may come between before a replacement gives up.
const TRIES: usize = 16;

/// How often folders are listed for an id whose file other programs rename meanwhile.
const LOOKS: usize = 8;

impl FileStore {
    /// The files of an id: their paths, sorted.
    ///
    /// # Errors
    /// When folders cannot be read.
    pub(super) fn find(&self, id: &Id) -> Result<Vec<Place>, StoreError> {
        match walk::by_name(&self.active, id.as_str()) {
            ByName::File(path) => return Ok(vec![path]),
            ByName::Nothing => return Ok(Vec::new()),
            ByName::Unclear => {}
        }
        let mut found = Vec::new();
        for _ in 0..LOOKS {
            let files = walk::milestone_files(&self.workspace)?.unwrap_or_default();
            found = files.iter().filter(|path| id_of(path) == id.as_str()).map(|path| self.active.join(path)).collect();
            found.sort();
            if found.len() < 2 || are_several(&mut found) {
                break;
            }
        }
        Ok(found)
    }

    /// The one file of an id.
    pub(crate) fn find_one(&self, id: &Id) -> Result<Option<Place>, StoreError> {
        let mut found = self.find(id)?;
        if found.len() > 1 {
            let paths: Vec<_> = found.iter().map(|path| self.workspace.shown(path)).collect();
            let cause = format!("the id {id} stands several times; rename or remove all but one first");
            return Err(StoreError::new(Problem::Refused, paths.join(", "), cause));
        }
        Ok(found.pop())
    }

    /// The content of a file; `None` where there is none.
    pub(crate) fn content(&self, path: &Place) -> Result<Option<(Vec<u8>, Metadata)>, StoreError> {
        match read_milestone(path, yaml::SIZE_LIMIT) {
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
    pub(super) fn write(&self, draft: &Draft, seen: Seen) -> Result<Place, StoreError> {
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

    fn create(&self, draft: &Draft) -> Result<Place, StoreError> {
        let path = self.active.join(format!("{}.yaml", draft.id));
        self.create_at(&path, draft).map(|()| path)
    }

    /// Writes a draft where nothing is.
    pub(super) fn create_at(&self, path: &Place, draft: &Draft) -> Result<(), StoreError> {
        let failed = |error: io::Error| StoreError::io(self.workspace.shown(path), "it cannot be written", &error);
        durable::create_folder(&path.parent()).map_err(failed)?;
        match durable::create_for(path, self.made_for, &draft.text) {
            Ok(outcome) => self.done(outcome, path, "written"),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(self.there_already(path)),
            Err(error) => Err(failed(error)),
        }
    }

    /// What the caller is told of a change that happened, or may have.
    pub(super) fn done(&self, outcome: Outcome, path: &Place, done: &str) -> Result<(), StoreError> {
        let (problem, cause) = match outcome {
            Outcome::Done => return Ok(()),
            Outcome::Unsynced(error) => (
                Problem::Unsynced,
                format!(
                    "it is {done}, but the disk does not confirm that this outlives a power cut: {error}; look at the \
                     disk, and write it again"
                ),
            ),
            Outcome::Unknown(error) => (
                Problem::Unknown,
                format!("whether it is {done} cannot be seen: {error}; read it once the disk answers again"),
            ),
        };
        Err(StoreError::new(problem, self.workspace.shown(path), cause))
    }

    pub(super) fn there_already(&self, path: &Place) -> StoreError {
        let cause = there_already(&id_at(path));
        StoreError::new(Problem::Changed, self.workspace.shown(path), cause)
    }

    pub(super) fn replace(&self, path: &Place, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        let failed = |action: &str, error: io::Error| StoreError::io(self.workspace.shown(path), action, &error);
        let (content, metadata) = self.content(path)?.ok_or_else(|| self.changed(path))?;
        if Digest::of(&content) != seen {
            return Err(self.changed(path));
        }
        let aside = displaced::name(&self.workspace, &draft.id, seen, Some(Digest::of(&draft.text)), draft.now)
            .map_err(|error| failed("nothing can be kept in .milescale/displaced", error))?;
        let theirs = Readers::of(&metadata);
        let prepared = if self.replaced_for == Readers::ALL || theirs.as_placed(path).are_among(self.replaced_for) {
            durable::prepare(&aside, &draft.text, Some(durable::Like { file: &metadata, at: path }))
        } else {
            // What comes in its place is a copy of something that fewer may read.
            durable::create_for(&aside, theirs.and(self.replaced_for), &draft.text).and_then(Outcome::durably)
        };
        prepared.map_err(|error| {
            let _ = durable::discard(&aside);
            failed("the new content cannot be written", error)
        })?;
        // Another program may have written it just now: what is kept has to be on the disk as well.
        durable::sync(path).map_err(|error| {
            let _ = durable::discard(&aside);
            self.gone_or(path, "the old content cannot be kept", &error)
        })?;
        self.exchange(&aside, path, draft, seen)
    }

    /// Exchanges what was prepared for what was seen. What else comes out goes back. Whatever fails, a content that has been
    /// in place is never removed.
    pub(super) fn exchange(&self, aside: &Place, path: &Place, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        let failed = |action: &str, error: io::Error| StoreError::io(self.workspace.shown(path), action, &error);
        // What should come out, and what is put in.
        let (mut expected, mut holding) = (seen, Digest::of(&draft.text));
        for round in 0..TRIES {
            let outcome = match durable::exchange(aside, path) {
                Ok(outcome) => outcome,
                Err(error) if round == 0 => return Err(self.not_exchanged(aside, path, &error)),
                Err(error) => return Err(self.not_put_back(aside, path, &error)),
            };
            if matches!(outcome, Outcome::Unknown(_)) {
                return self.done(outcome, path, "written");
            }
            let is_in_place = if round.is_multiple_of(2) { "written" } else { "put back" };
            let out = self.came_out(aside, path, is_in_place)?;
            if out == Some(expected) && round == 0 {
                return self.done(outcome, path, "written");
            }
            // What another program saved, and what one more has replaced that it did not know: the next review names it as a conflict.
            if out == Some(expected) && expected != Digest::of(&draft.text) {
                return Err(self.changed(path));
            }
            if out == Some(expected) {
                // What is aside now has been in place for an instant: it is kept under the name of its content.
                let kept = displaced::name(&self.workspace, &draft.id, expected, None, draft.now);
                kept.and_then(|kept| durable::rename_new(aside, &kept)?.durably())
                    .map_err(|error| failed("what came out cannot be kept", error))?;
                return Err(self.changed(path));
            }
            // Another program wrote in between: what it wrote goes back, unless it writes again.
            (expected, holding) = (holding, out.unwrap_or(holding));
        }
        let cause = "another program writes it all the time; stop that, or try again later";
        Err(StoreError::new(Problem::Busy, self.workspace.shown(path), cause))
    }

    /// The digest of what a change has moved aside, which happened in any case.
    pub(super) fn came_out(&self, aside: &Place, path: &Place, done: &str) -> Result<Option<Digest>, StoreError> {
        match self.content(aside) {
            Ok(content) => Ok(content.map(|(content, _)| Digest::of(&content))),
            Err(error) => {
                let cause = format!(
                    "it is {done}, but what was moved by that cannot be read: {}. If another program saved it at that \
                     instant, the next `milescale check` names that as a conflict",
                    error.cause
                );
                Err(StoreError::new(Problem::Unknown, self.workspace.shown(path), cause))
            }
        }
    }

    /// The exchange was refused before anything changed: the content that was prepared goes.
    fn not_exchanged(&self, aside: &Place, path: &Place, error: &io::Error) -> StoreError {
        let _ = durable::discard(aside);
        let place = self.workspace.shown(path);
        match error.kind() {
            io::ErrorKind::NotFound => self.changed(path),
            io::ErrorKind::Unsupported => StoreError::new(Problem::Refused, place, error.to_string()),
            io::ErrorKind::CrossesDevices => {
                let cause = "it lies on another file system than .milescale, so that it cannot be exchanged in one step; \
                             keep both on one, or use a database (`milescale migrate database`)";
                StoreError::new(Problem::Refused, place, cause)
            }
            _ => StoreError::io(place, "it cannot be exchanged for the new content", error),
        }
    }

    /// What another program saved came out, and cannot go back: it stays where it is, and the next review of what was
    /// displaced finds that it is no content of milescale's.
    fn not_put_back(&self, aside: &Place, path: &Place, error: &io::Error) -> StoreError {
        let gone = error.kind() == io::ErrorKind::NotFound;
        let stands = if gone { "the file itself is gone since" } else { "the new text is in its place" };
        let cause = format!(
            "another program saved it meanwhile, and what it saved cannot be put back ({error}): it is kept in {}, and {stands}. \
             The next `milescale check` names it as a conflict; read the milestone, then `milescale conflicts`",
            self.workspace.shown(aside)
        );
        StoreError::new(Problem::Unknown, self.workspace.shown(path), cause)
    }

    /// Why a file that was there cannot be kept: one that is gone by now was moved by another program.
    pub(super) fn gone_or(&self, path: &Place, action: &str, error: &io::Error) -> StoreError {
        if error.kind() == io::ErrorKind::NotFound && path.status_of_name().is_err() {
            return self.changed(path);
        }
        StoreError::io(self.workspace.shown(path), action, error)
    }

    pub(super) fn changed(&self, path: &Place) -> StoreError {
        let cause = "it was changed meanwhile; read it again, and name the digest of what you then see";
        StoreError::new(Problem::Changed, self.workspace.shown(path), cause)
    }
}

/// Whether the files of an id are several: one that is renamed while folders are listed is in the lists of two. Leaves those
/// that are there.
pub(super) fn are_several(found: &mut Vec<Place>) -> bool {
    let mut inodes = HashSet::new();
    let mut is_listed_twice = false;
    found.retain(|path| {
        let Ok(file) = path.status_of_name() else { return false };
        is_listed_twice |= !inodes.insert((file.dev(), file.ino())) && file.nlink() == 1;
        true
    });
    !found.is_empty() && !is_listed_twice
}
