//! The archive of milestone files: what lies in `completed/`, also in the layouts of adapters.
//!
//! `ID.yaml`, `ID/ID.yaml`, `ID/definition.yaml`, and each of these in subfolders. A `definition.yaml` says its id itself. What
//! else lies in a milestone's own folder is no milestone, unless it says itself that its name is its id.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use milescale_document::columns::Columns;
use milescale_document::digest::Digest;
use milescale_document::document::Flaw;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone};
use milescale_document::yaml;
use milescale_workspace::Place;
use milescale_workspace::durable;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::read::Stamp;
use milescale_workspace::readers::Readers;

use super::walk::{self, Batch, ByName};
use super::{FileStore, id_at};
use crate::store::Seen;

/// The document of a milestone that has a folder of its own.
const DEFINITION: &str = "definition.yaml";

/// How long a listing of the archive's folders is trusted. Shorter than a file of an old store has to stand still.
const LISTED_FOR: Duration = Duration::from_secs(1);

/// The archived files by id, as they were listed.
#[derive(Debug)]
pub(super) struct Nested {
    since: Instant,
    /// Of an id the one that lies nearest to `completed/` first.
    paths: HashMap<String, Vec<Place>>,
}

/// How many times as long as a look for changes takes the next one waits.
const REST: u32 = 50;

/// The archive as the last look for changes found it.
#[derive(Debug)]
pub(super) struct Watched {
    stamps: HashMap<Box<Path>, Stamp>,
    /// Until then it is not looked at again.
    rests_until: Instant,
}

impl FileStore {
    /// The ids of the archived files that came or were changed since the last look, the first of which remembers only.
    pub(super) fn changed_in_archive(&mut self, now: SystemTime) -> Result<BTreeSet<String>, StoreError> {
        let since = Instant::now();
        if self.archive.as_ref().is_some_and(|watched| since < watched.rests_until) {
            return Ok(BTreeSet::new());
        }
        let before = self.archive.as_ref().map(|watched| &watched.stamps);
        let (completed, mut stamps, mut changed) = (self.workspace.completed(), HashMap::new(), BTreeSet::new());
        walk::walk_below(&self.workspace, &completed, &mut |batch| {
            for inside in self.documents(batch)? {
                let path = completed.join(&inside);
                let Ok(metadata) = path.status_of_name() else { continue };
                let stamp = Stamp::of(&metadata);
                if before.is_some_and(|before| before.get(&*inside) != Some(&stamp)) {
                    changed.insert(self.id_in_archive(&path));
                }
                // A write within the same tick of the clock would leave the same stamp.
                if !stamp.is_fresh(now) {
                    stamps.insert(inside.into_boxed_path(), stamp);
                }
            }
            Ok(())
        })?;
        let rests_until = since + since.elapsed() * REST;
        self.archive = Some(Watched { stamps, rests_until });
        Ok(changed)
    }

    /// Where milescale puts the archived milestone of an id: in a folder of its own where its name has something that is no file.
    fn archive_path(&self, id: &Id) -> Place {
        let (completed, name) = (self.workspace.completed(), format!("{id}.yaml"));
        let (path, own) = (completed.join(&name), completed.join(id.as_str()).join(&name));
        let is_occupied = |path: &Place| path.status_of_name().is_ok_and(|metadata| !metadata.is_file());
        if is_occupied(&path) && !is_occupied(&own) { own } else { path }
    }

    /// The archived file of an id. Of several the one that lies nearest to `completed/`.
    pub(super) fn archived_path(&mut self, id: &Id) -> Result<Option<Place>, StoreError> {
        match walk::by_name(&self.workspace.completed(), id.as_str()) {
            ByName::File(path) => Ok(Some(path)),
            ByName::Nothing => Ok(None),
            ByName::Unclear => self.nested_path(id),
        }
    }

    /// The same where the name alone does not tell.
    fn nested_path(&mut self, id: &Id) -> Result<Option<Place>, StoreError> {
        let completed = self.workspace.completed();
        let is_file = |path: &Place| path.status_of_name().is_ok_and(|metadata| metadata.is_file());
        let own = completed.join(id.as_str());
        let name = format!("{id}.yaml");
        let likely = [completed.join(&name), own.join(&name), own.join(DEFINITION)];
        if let Some(path) = likely.into_iter().find(|path| is_file(path) && self.id_in_archive(path) == id.as_str()) {
            return Ok(Some(path));
        }
        Ok(self.listed_paths(id)?.first().cloned())
    }

    /// Where the archived files of an id lie, as they were listed a moment ago.
    fn listed_paths(&mut self, id: &Id) -> Result<&[Place], StoreError> {
        if self.nested.as_ref().is_none_or(|nested| nested.since.elapsed() > LISTED_FOR) {
            let (since, mut paths) = (Instant::now(), HashMap::<String, Vec<Place>>::new());
            for (id, path) in self.archived_files()? {
                paths.entry(id).or_default().push(path);
            }
            self.nested = Some(Nested { since, paths });
        }
        Ok(self.nested.as_ref().and_then(|nested| nested.paths.get(id.as_str())).map_or(&[], Vec::as_slice))
    }

    /// Where the archived files of an id lie, the one that lies nearest to `completed/` first.
    fn archived_paths(&mut self, id: &Id) -> Result<Vec<Place>, StoreError> {
        let (first, others) = match walk::by_name(&self.workspace.completed(), id.as_str()) {
            ByName::File(path) => (Some(path), Vec::new()),
            ByName::Nothing => (None, Vec::new()),
            ByName::Unclear => (self.nested_path(id)?, self.listed_paths(id)?.to_vec()),
        };
        let others: Vec<_> = others.into_iter().filter(|path| Some(path) != first.as_ref()).collect();
        Ok(first.into_iter().chain(others).collect())
    }

    /// The archived file of an id that holds what was seen; where none does, the one that lies nearest to `completed/`.
    fn archived_path_of(&mut self, id: &Id, seen: Digest) -> Result<Option<Place>, StoreError> {
        let mut paths = self.archived_paths(id)?;
        let is_it =
            |path: &Place| self.content(path).is_ok_and(|it| it.is_some_and(|(text, _)| Digest::of(&text) == seen));
        let number = if paths.len() > 1 { paths.iter().position(is_it) } else { None };
        Ok((!paths.is_empty()).then(|| paths.swap_remove(number.unwrap_or_default())))
    }

    /// Those who may read the archived file of an id that holds what was seen.
    pub(crate) fn archived_readers(&mut self, id: &Id, seen: Digest) -> Result<Readers, StoreError> {
        let path = self.archived_path_of(id, seen)?;
        let status = path.as_ref().and_then(|path| Some((path, path.status_of_name().ok()?)));
        Ok(status.map_or(Readers::ALL, |(path, status)| Readers::of(&status).as_placed(path)))
    }

    /// Every archived milestone of an id, the one that lies nearest to `completed/` first.
    pub(super) fn archived_all_of(&mut self, id: &Id) -> Result<Vec<Milestone>, StoreError> {
        let mut found = Vec::new();
        for path in self.archived_paths(id)? {
            match self.content(&path) {
                Ok(Some((text, metadata))) => {
                    found.push(self.milestone_of(id.to_string(), &path, text, Stamp::of(&metadata)));
                }
                // The one that counts can be read.
                Err(error) if error.problem == Problem::Refused && !found.is_empty() => {}
                other => drop(other?),
            }
        }
        Ok(found)
    }

    /// The archived milestone of an id.
    pub(super) fn archived_one(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        let Some(path) = self.archived_path(id)? else { return Ok(None) };
        let content = self.content(&path)?;
        Ok(content.map(|(text, metadata)| self.milestone_of(id.to_string(), &path, text, Stamp::of(&metadata))))
    }

    /// Hands over every archived file as a milestone, in the order of ids.
    pub(crate) fn scan_archive(&self, visit: &mut dyn FnMut(Milestone) -> ControlFlow<()>) -> Result<(), StoreError> {
        for (id, path) in self.archived_files()? {
            let milestone = match self.content(&path) {
                Ok(Some((text, metadata))) => self.milestone_of(id, &path, text, Stamp::of(&metadata)),
                Ok(None) => continue,
                Err(StoreError { problem: Problem::Refused, cause, .. }) => {
                    let (columns, place) = (Columns::unreadable(&id), self.workspace.shown(&path));
                    let value = Err(Flaw { position: None, reason: cause });
                    Milestone { id, text: Vec::new(), is_given: true, value, columns, updated_at: None, place }
                }
                Err(error) => return Err(error),
            };
            if visit(milestone).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Every archived file with its id: by id, then by how deep it lies, then by path.
    pub(crate) fn archived_files(&self) -> Result<Vec<(String, Place)>, StoreError> {
        let (completed, mut paths) = (self.workspace.completed(), Vec::new());
        walk::walk_below(&self.workspace, &completed, &mut |batch| {
            paths.extend(self.documents(batch)?.into_iter().map(|inside| completed.join(inside)));
            Ok(())
        })?;
        let named = |path: Place| self.goes_on().map(|()| (self.id_in_archive(&path), path));
        let mut files = paths.into_iter().map(named).collect::<Result<Vec<_>, _>>()?;
        let depth = |path: &Place| path.inside().components().count();
        files.sort_by(|(id, path), (other, other_path)| {
            (id, depth(path), path).cmp(&(other, depth(other_path), other_path))
        });
        Ok(files)
    }

    /// The documents of milestones among the files of one folder, by their paths in the archive.
    fn documents(&self, batch: &Batch<'_>) -> Result<Vec<PathBuf>, StoreError> {
        let mut scratch = PathBuf::new();
        let all: Vec<PathBuf> = (0..batch.len()).map(|number| batch.path(number, &mut scratch).to_owned()).collect();
        let folder = batch.inside.file_name().filter(|folder| !is_year(folder));
        let is_own = |path: &PathBuf| {
            folder.is_some() && (path.file_name().is_some_and(|name| name == DEFINITION) || path.file_stem() == folder)
        };
        if !all.iter().any(is_own) {
            return Ok(all);
        }
        let mut documents = Vec::new();
        for path in all {
            self.goes_on()?;
            if is_own(&path) || self.says_its_name(&path) {
                documents.push(path);
            }
        }
        Ok(documents)
    }

    /// What is looked for may stand in any number of large files.
    fn goes_on(&self) -> Result<(), StoreError> {
        let completed = || self.workspace.shown(&self.workspace.completed());
        if self.workspace.stop().is_asked() { Err(StoreError::stopped(completed())) } else { Ok(()) }
    }

    /// Whether a file beside a milestone's own document is a milestone too: its name is the id that it says.
    fn says_its_name(&self, inside: &Path) -> bool {
        let path = self.workspace.completed().join(inside);
        let text = self.content(&path).ok().flatten().map(|(text, _)| text).unwrap_or_default();
        declared_id(&text).is_some_and(|id| id == id_at(&path))
    }

    /// The id of an archived file: its name, or what the definition in its folder says, which has the folder's name where it says
    /// nothing.
    fn id_in_archive(&self, path: &Place) -> String {
        let parent = path.parent();
        let is_in_no_folder = parent == self.workspace.completed();
        if is_in_no_folder || path.name() != DEFINITION {
            return id_at(path);
        }
        let text = self.content(path).ok().flatten().map(|(text, _)| text).unwrap_or_default();
        let declared = declared_id(&text);
        let own = Some(parent.name()).filter(|folder| !is_year(folder));
        declared.or_else(|| own.map(|name| name.to_string_lossy().into_owned())).unwrap_or_else(|| id_at(path))
    }

    /// Moves a milestone to the archive with the text of a draft, never over another one, nor beside one in another layout: one
    /// id lies there once.
    pub(super) fn archive_one(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        let Some(path) = self.find_one(&draft.id)? else {
            let cause = format!("the milestone {} is gone meanwhile", draft.id);
            return Err(StoreError::new(Problem::Changed, self.workspace.shown(&self.active), cause));
        };
        if let Some(there) = self.archived_path(&draft.id)?
            && let Some((text, _)) = self.content(&there)?
        {
            if text == draft.text {
                return self.take_out(&path, &draft.id, seen, draft.now);
            }
            return Err(self.in_the_way(&there, &path));
        }
        if Digest::of(&draft.text) != seen {
            self.replace(&path, draft, seen)?;
        }
        self.relocate(&path, &self.archive_path(&draft.id), draft)
    }

    /// Moves an archived milestone back to its place with the text of a draft, never over another one.
    pub(super) fn unarchive_one(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        let Some(path) = self.archived_path_of(&draft.id, seen)? else {
            return Err(self.gone_from_archive(&draft.id));
        };
        if let Some(there) = self.find_one(&draft.id)? {
            return Err(self.in_the_way(&there, &path));
        }
        if Digest::of(&draft.text) != seen {
            self.replace(&path, draft, seen)?;
        }
        self.relocate(&path, &self.active.join(format!("{}.yaml", draft.id)), draft)
    }

    /// Writes a milestone that has no file in its place where it belongs: an archived one in the archive.
    pub(super) fn place_anew(&mut self, draft: &Draft, seen: Seen) -> Result<(), StoreError> {
        let archived = self.archived_path(&draft.id)?;
        match (archived, seen, draft.is_archived()) {
            (Some(path), Seen::Text(digest), true) => self.replace(&path, draft, digest),
            (Some(_), Seen::Text(digest), false) => self.unarchive_one(draft, digest),
            (Some(path), Seen::Nothing, true) => Err(self.there_already(&path)),
            (None, Seen::Nothing, true) => self.create_at(&self.archive_path(&draft.id), draft),
            // An archived milestone of this id is in nobody's way.
            _ => self.write(draft, seen).map(drop),
        }
    }

    /// Replaces an archived milestone where it lies.
    pub(crate) fn replace_archived(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        match self.archived_path_of(&draft.id, seen)? {
            Some(path) => self.replace(&path, draft, seen),
            None => Err(self.gone_from_archive(&draft.id)),
        }
    }

    /// Writes a milestone into the archive, never over another one.
    pub(crate) fn create_archived(&mut self, draft: &Draft) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        self.create_at(&self.archive_path(&draft.id), draft)
    }

    fn gone_from_archive(&self, id: &Id) -> StoreError {
        let place = self.workspace.shown(&self.workspace.completed());
        StoreError::new(Problem::Changed, place, format!("the milestone {id} is gone meanwhile"))
    }

    /// Takes an archived milestone out of the archive, if its content is what was seen.
    pub(crate) fn take_out_archived(&mut self, id: &Id, seen: Digest, now: Timestamp) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        match self.archived_path_of(id, seen)? {
            Some(path) => self.take_out(&path, id, seen, now),
            None => Err(StoreError::new(Problem::Changed, self.shown(Path::new("")), format!("{id} is gone"))),
        }
    }

    /// Renames a file that holds a draft, never over another one. What was saved between the two goes back.
    fn relocate(&self, path: &Place, to: &Place, draft: &Draft) -> Result<(), StoreError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => self.in_the_way(to, path),
            io::ErrorKind::NotFound => self.changed(path),
            _ => {
                let cause = format!(
                    "it cannot be moved there: {error}; {} has the new text and stays where it is, try it again",
                    self.workspace.shown(path)
                );
                StoreError::new(Problem::Unsynced, self.workspace.shown(to), cause)
            }
        };
        durable::create_folder(&to.parent()).map_err(failed)?;
        let outcome = durable::rename_new(path, to).map_err(failed)?;
        let moved = self.came_out(to, to, "moved there")?;
        if moved == Some(Digest::of(&draft.text)) {
            return self.done(outcome, to, "moved there");
        }
        // Unless something has that name again.
        let _ = durable::rename_new(to, path);
        Err(self.changed(path))
    }

    fn in_the_way(&self, there: &Place, path: &Place) -> StoreError {
        let cause = format!(
            "it is there already, and nothing is written over it; {} stays where it is. Rename one of the two, with its id:",
            self.workspace.shown(path)
        );
        StoreError::new(Problem::Refused, self.workspace.shown(there), cause)
    }
}

/// The id that a text says.
fn declared_id(text: &[u8]) -> Option<String> {
    let document = yaml::parse(text).ok()?;
    let id = document.get(document.root(), "id")?;
    document.scalar(id).map(str::to_owned)
}

/// Whether a folder is that of a year: then it is no milestone's own.
fn is_year(folder: &OsStr) -> bool {
    folder.len() == 4 && folder.as_encoded_bytes().iter().all(u8::is_ascii_digit)
}
