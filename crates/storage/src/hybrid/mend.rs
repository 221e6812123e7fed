//! Keeping the index in step with the files: a difference that stands is mended by values, and what another program
//! wrote only into the index is reported before it is overwritten.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use milescale_document::columns::Columns;
use milescale_document::milestone::Milestone;
use milescale_workspace::Place;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::layout::FOLDER;
use milescale_workspace::locks;
use milescale_workspace::read::Stamp;
use milescale_workspace::readers::Readers;
use milescale_workspace::ways::Ways;

use super::HybridStore;
use super::row::IndexRow;
use crate::files::id_of;
use crate::store::{Difference, Mended, Store as _};

/// How long a difference must have stood.
const STANDS_AFTER: Duration = Duration::from_secs(10);

/// Differences that are found at once, and mended one by one.
const AT_ONCE: usize = 5000;

/// What a row is, and what it should be.
pub(super) type Pair = (Option<IndexRow>, Option<IndexRow>);

/// A difference between a file and its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    since: SystemTime,
    row: Option<IndexRow>,
    wanted: Option<IndexRow>,
}

impl HybridStore {
    /// What has stood for ten seconds and is not being written, and when to look again for the rest. Who looks for the first
    /// time goes by when files and index were changed.
    pub(super) fn due_differences(
        &mut self,
        now: SystemTime,
    ) -> Result<(Vec<Difference>, Option<Duration>), StoreError> {
        self.due.clear();
        if !self.index.is_there()? {
            self.differing.clear();
            return Ok((Vec::new(), None));
        }
        // Without a change on either side, only what stands already can have come of age.
        self.index.look()?;
        let state = Some((self.index.changes, self.files.changes()));
        if self.compared == state && self.differing.is_empty() {
            return Ok((Vec::new(), None));
        }
        let found = self.compare(AT_ONCE)?;
        // Where there may be more, they are looked for once these are mended.
        let is_all = found.len() < AT_ONCE;
        self.compared = state.filter(|_| is_all);
        let before = std::mem::take(&mut self.differing);
        let index_changed = self.index_changed();
        let mut again = (!is_all).then_some(Duration::from_secs(1));
        for (id, (row, wanted)) in found {
            let same = before.get(&id).filter(|before| (&before.row, &before.wanted) == (&row, &wanted));
            let since = same.map_or_else(
                || {
                    let file_changed = wanted.as_ref().or(row.as_ref()).and_then(|row| self.place_changed(row));
                    // Neither has changed since then, so that the difference has stood for as long.
                    index_changed.zip(file_changed).map_or(now, |(index, file)| index.max(file).min(now))
                },
                |before| before.since,
            );
            let stood = now.duration_since(since).unwrap_or_default();
            if stood >= STANDS_AFTER && !locks::is_held(&self.workspace, &id, now) {
                self.due.push((id.clone(), row.clone(), wanted.clone()));
            } else {
                let wait = STANDS_AFTER.saturating_sub(stood).max(Duration::from_secs(1));
                again = Some(again.map_or(wait, |before: Duration| before.min(wait)));
            }
            self.differing.insert(id, Standing { since, row, wanted });
        }
        let shown = self.workspace.shown(&self.workspace.index_db());
        let mut ways = Ways::default();
        let index = self.workspace.index_db();
        let is_index_for_all = Readers::are_all_at(&index, &mut ways);
        let is_new = |(id, row, wanted): &&(String, Option<IndexRow>, Option<IndexRow>)| {
            self.refused.get(id).is_none_or(|(refused, instead)| (refused, instead) != (row, wanted))
        };
        let due = self.due.iter().filter(is_new).map(|(id, row, wanted)| {
            let file = wanted.as_ref().and_then(|wanted| self.place_of(wanted));
            let is_said = is_index_for_all && file.is_none_or(|file| Readers::are_all_at(&file, &mut ways));
            let told = difference(&shown, id, row.as_ref(), wanted.as_ref());
            if is_said { told } else { told.without_values() }
        });
        Ok((due.collect(), again))
    }

    /// When another program, or milescale, last changed the index, as its file system tells.
    fn index_changed(&self) -> Option<SystemTime> {
        let index = self.workspace.index_db();
        // Of a write-ahead log or a journal the database itself may not tell.
        let beside =
            ["-wal", "-journal"].map(|suffix| changed_at(&index.with_name(format!("{}{suffix}", index.name_text()))));
        let database = changed_at(&index)?;
        Some(beside.into_iter().flatten().fold(database, SystemTime::max))
    }

    /// When the file of a row was last changed; of one that is gone, the nearest folder that is left of its path.
    fn place_changed(&self, row: &IndexRow) -> Option<SystemTime> {
        let active = self.workspace.active();
        self.path_of(row)?.ancestors().find_map(|inside| changed_at(&active.join(inside)))
    }

    /// The path of a row's file in `active/`.
    fn path_of<'r>(&self, row: &'r IndexRow) -> Option<&'r Path> {
        let active = self.workspace.active();
        let path = row.file_path.as_deref().map(Path::new)?;
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        is_plain.then_some(path)?.strip_prefix(Path::new(FOLDER).join(active.inside())).ok()
    }

    /// Where the file of a row is.
    fn place_of(&self, row: &IndexRow) -> Option<Place> {
        self.path_of(row).map(|inside| self.workspace.active().join(inside))
    }

    /// Mends what is due, where the row still is what it was.
    pub(super) fn mend_index(&mut self) -> Result<(), StoreError> {
        let stop = self.workspace.stop().clone();
        let mut result = Ok(());
        for (id, row, wanted) in std::mem::take(&mut self.due) {
            if stop.is_asked() {
                return Err(StoreError::stopped(FOLDER));
            }
            let began = Instant::now();
            match self.index.mend(&id, row.as_ref(), wanted.as_ref()) {
                Ok(is_mended) => {
                    self.refused.remove(&id);
                    if is_mended {
                        self.differing.remove(&id);
                    }
                }
                // A constraint or a trigger that somebody has put there: the others are mended all the same.
                Err(error) if error.problem == Problem::Refused => {
                    result = result.and(Err(StoreError { cause: format!("{id}: {}", error.cause), ..error }));
                    self.refused.insert(id, (row, wanted));
                }
                Err(error) => return Err(error),
            }
            // Others get their turn, who may not wait for a lock.
            stop.sleep(began.elapsed());
        }
        result
    }

    /// Every difference as it stands now.
    pub(super) fn differences(&mut self) -> Result<Vec<Difference>, StoreError> {
        if !self.index.is_there()? {
            return Ok(Vec::new());
        }
        let shown = self.workspace.shown(&self.workspace.index_db());
        let found = self.compare(AT_ONCE)?;
        Ok(found
            .into_iter()
            .map(|(id, (row, wanted))| difference(&shown, &id, row.as_ref(), wanted.as_ref()))
            .collect())
    }

    /// Rows that do not say what their file says, rows without a file, files without a row, as the last look found the
    /// files. Ids that stand twice are left alone.
    ///
    /// At most so many at once: somebody may have put any number of rows there. The others are found once these are mended.
    pub(super) fn compare(&mut self, most: usize) -> Result<BTreeMap<String, Pair>, StoreError> {
        let stop = self.workspace.stop().clone();
        let goes_on = || if stop.is_asked() { Err(StoreError::stopped(FOLDER)) } else { Ok(()) };
        let twice = self.files.duplicates();
        let known = self.index.look()?;
        let (mut differing, mut without_file) = (Vec::new(), known.counting_ids().collect::<HashSet<_>>());
        for (inside, wanted) in self.files.found() {
            let id = id_of(inside);
            without_file.remove(id.as_str());
            if !known.agrees(&id, inside, wanted) && !twice.contains_key(&id) {
                differing.push((id, self.workspace.active().join(inside)));
            }
        }
        differing.truncate(most);
        // Rows of archived milestones are another program's matter, and so are those of an id that stands twice.
        let without_file = without_file.into_iter().filter(|id| !twice.contains_key(*id));
        let without_file: Vec<String> = without_file.take(most - differing.len()).map(str::to_owned).collect();
        let mut found = BTreeMap::new();
        for (id, path) in differing {
            goes_on()?;
            // One that is gone since is seen by the next look.
            let Some((text, metadata)) = self.files.content(&path)? else { continue };
            let row = self.index.row(&id)?;
            let milestone = self.files.milestone(&path, text, Stamp::of(&metadata));
            let is_told = created_is_told(&milestone);
            let Milestone { columns, updated_at, .. } = milestone;
            let mut wanted = IndexRow::of(&self.workspace, &path, columns, updated_at);
            if let Some(row) = row.as_ref().filter(|_| !is_told) {
                wanted.created_at.clone_from(&row.created_at);
            }
            found.insert(id, (row, Some(wanted)));
        }
        for id in without_file {
            goes_on()?;
            if let Some(row) = self.index.row(&id)? {
                found.insert(id, (Some(row), None));
            }
        }
        Ok(found)
    }
}

/// When a file or folder was last changed: its content, its name or its mode. No program can set that back.
fn changed_at(path: &Place) -> Option<SystemTime> {
    let status = path.status_of_name().ok()?;
    let changed = Stamp::of(&status).changed;
    UNIX_EPOCH.checked_add(Duration::from_nanos(u64::try_from(changed).ok()?))
}

fn created_is_told(milestone: &Milestone) -> bool {
    milestone.value.as_ref().is_ok_and(|value| Columns::of(&milestone.id, value).created_at.is_some())
}

fn difference(index: &str, id: &str, row: Option<&IndexRow>, wanted: Option<&IndexRow>) -> Difference {
    let mended = match (row, wanted) {
        (None, _) => Mended::Added,
        (_, None) => Mended::Removed,
        _ => Mended::Changed,
    };
    let columns = |row: &IndexRow| {
        [
            ("title", row.title.clone()),
            ("status", row.status.clone()),
            ("priority", row.priority.clone()),
            ("created_at", row.created_at.clone()),
            ("file_path", row.file_path.clone()),
        ]
    };
    let overwritten = match (row, wanted) {
        (Some(row), Some(wanted)) => {
            let pairs = columns(row).into_iter().zip(columns(wanted));
            pairs.filter(|((_, was), (_, is))| was != is).map(|((name, was), (_, is))| (name, was, is)).collect()
        }
        (Some(row), None) => columns(row).into_iter().map(|(name, was)| (name, was, None)).collect(),
        _ => Vec::new(),
    };
    Difference { index: index.to_owned(), id: id.to_owned(), mended, overwritten }
}
