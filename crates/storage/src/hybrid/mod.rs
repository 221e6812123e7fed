//! Hybrid: milestone files, which are the truth, and an index of them in SQLite that can be built or ignored.

mod index;
mod known;
mod listing;
mod mend;
mod row;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_core::figures::StoreFigures;
use milescale_document::digest::Digest;
use milescale_document::document::Flaw;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone, Packed};
use milescale_workspace::Workspace;
use milescale_workspace::error::StoreError;
use milescale_workspace::read::Stamp;
use milescale_workspace::readers::Readers;

use crate::files::{FileStore, id_of};
use crate::ledger::{Entry, Ledger};
use crate::outline::{Outline, Wanted};
use crate::store::{Difference, Extent, Occasion, Seen, Store, Survey, Touched};
use index::Index;
pub use index::{BEFORE, SET_ASIDE};
use row::IndexRow;

/// Differences that are mended in one transaction.
const DERIVED_AT_ONCE: usize = 20_000;

/// The files of one workspace with their index.
#[derive(Debug)]
pub struct HybridStore {
    workspace: Workspace,
    files: FileStore,
    index: Index,
    /// Differences between a file and its row, by id: since when.
    differing: HashMap<String, mend::Standing>,
    /// Those of them that are to be mended: id, what the row is, what it should be.
    due: Vec<(String, Option<IndexRow>, Option<IndexRow>)>,
    /// Those that the index has refused, as they were then: nobody is told again that they are mended.
    refused: BTreeMap<String, mend::Pair>,
    /// How often the index and the files had changed when both were last compared.
    compared: Option<(u64, u64)>,
}

impl HybridStore {
    /// The store. `remembered` is the last known number of milestones, 0 if none is.
    pub fn new(workspace: &Workspace, remembered: u64) -> Result<Self, StoreError> {
        Ok(Self {
            files: FileStore::new(workspace.clone(), remembered),
            index: Index::new(workspace)?,
            workspace: workspace.clone(),
            differing: HashMap::new(),
            due: Vec::new(),
            refused: BTreeMap::new(),
            compared: None,
        })
    }

    /// The same with what a statement on the index may take.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { index: self.index.with_timeout(timeout), ..self }
    }

    /// The figures of contract §4: of the rows where there is an index, else of the files.
    fn figures(&mut self, of_files: StoreFigures) -> Result<StoreFigures, StoreError> {
        if !self.index.is_there()? {
            return Ok(of_files);
        }
        let mut figures = StoreFigures::default();
        for path in self.index.look()?.counting() {
            figures.milestone_count += 1;
            let (kiro_enabled, requires) = self.files.adds(&path).unwrap_or_default();
            figures.kiro_enabled_count += u64::from(kiro_enabled);
            figures.dependency_count += u64::from(requires);
        }
        Ok(figures)
    }

    /// Brings a file's row up to date, where there is an index. The file is the truth and is written already: a row that
    /// cannot be written now is mended later.
    fn index_it(&mut self, id: &Id) {
        if let Err(error) = self.try_to_index(id) {
            tracing::warn!(%error, id = %id, "the milestone is written, its row in the index is not yet");
        }
    }

    fn try_to_index(&mut self, id: &Id) -> Result<(), StoreError> {
        // An index of one milestone would be taken for one of all.
        if !self.index.is_there()? {
            return Ok(());
        }
        let Some(path) = self.files.find_one(id)? else { return self.index.remove(id.as_str()) };
        let Some((text, metadata)) = self.files.content(&path)? else { return Ok(()) };
        let Milestone { id, columns, updated_at, .. } = self.files.milestone(&path, text, Stamp::of(&metadata));
        self.index.put(&[(id, IndexRow::of(&self.workspace, &path, columns, updated_at))])
    }

    /// Writes a row for every file, in one transaction, so that no part of an index is ever taken for all of it.
    fn build(&mut self, now: SystemTime) -> Result<(), StoreError> {
        let (workspace, mut rows) = (&self.workspace, Vec::new());
        self.files.look_and_tell(now, &mut |inside, columns, updated_at| {
            rows.push((id_of(inside), IndexRow::of(workspace, &workspace.active().join(inside), columns, updated_at)));
        })?;
        // In the order of the index: so each row goes to its end. Of an id that stands twice the last one stays.
        rows.sort_by(|(one, row), (other, other_row)| (one, &row.file_path).cmp(&(other, &other_row.file_path)));
        self.index.build(&rows)
    }
}

impl Store for HybridStore {
    fn name(&self) -> String {
        format!("{} with index.db", self.files.name())
    }

    fn adopt(&mut self) -> Result<(), StoreError> {
        if !self.index.is_there()? {
            tracing::info!(index = %self.workspace.shown(&self.workspace.index_db()), "there is no index; it is built");
            self.build(SystemTime::UNIX_EPOCH)?;
        }
        self.index.adopt()
    }

    fn survey(&mut self, extent: &Extent, now: SystemTime) -> Result<Survey, StoreError> {
        let survey = self.files.survey(extent, now)?;
        let figures = self.figures(survey.figures)?;
        Ok(Survey { figures, ..survey })
    }

    fn differing(&mut self, now: SystemTime) -> Result<(Vec<Difference>, Option<Duration>), StoreError> {
        self.due_differences(now)
    }

    fn mend(&mut self) -> Result<(), StoreError> {
        self.mend_index()
    }

    fn flawed(&self) -> BTreeMap<String, Flaw> {
        self.files.flawed()
    }

    fn other_ids(&self) -> Vec<(String, String, String)> {
        self.files.other_ids()
    }

    fn duplicates(&self) -> BTreeMap<String, Vec<String>> {
        self.files.duplicates()
    }

    fn get(&mut self, id: &Id) -> Result<Milestone, StoreError> {
        self.files.get(id)
    }

    fn scan_batches(
        &mut self,
        work: &(dyn Fn(usize, Milestone) + Sync),
        done: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.files.scan_batches(work, done)
    }

    fn scan_sizes(&mut self, visit: &mut dyn FnMut(String, String, u64) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.files.scan_sizes(visit)
    }

    fn list(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        // The index has no texts.
        if wanted.text.is_some() || !self.index.is_there()? {
            return self.files.list(wanted, visit);
        }
        let files = &mut self.files;
        self.index.list(wanted, &mut |mut outline| {
            // Of a file that cannot be read the index says no more than its name.
            if outline.says_nothing() {
                let file = outline.id.parse::<Id>().ok().and_then(|id| files.get(&id).ok());
                outline.flaw = file.and_then(|file| file.value.err());
            }
            visit(outline);
        })
    }

    fn put(&mut self, draft: &Draft, seen: Seen) -> Result<(), StoreError> {
        self.files.put(draft, seen)?;
        self.index_it(&draft.id);
        Ok(())
    }

    fn archive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        self.files.archive(draft, seen)?;
        self.index_it(&draft.id);
        Ok(())
    }

    fn unarchive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        self.files.unarchive(draft, seen)?;
        self.index_it(&draft.id);
        Ok(())
    }

    fn exists(&mut self) -> Result<bool, StoreError> {
        self.files.exists()
    }

    fn archived(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        self.files.archived(id)
    }

    fn archived_all(&mut self, id: &Id) -> Result<Vec<Milestone>, StoreError> {
        self.files.archived_all(id)
    }

    fn make_for(&mut self, readers: Readers) -> Result<(), StoreError> {
        self.files.make_for(readers)
    }

    fn bring(&mut self, draft: &Draft, seen: Seen, from: Side) -> Result<(), StoreError> {
        self.files.bring(draft, seen, from)?;
        self.index_it(&draft.id);
        Ok(())
    }

    fn import(&mut self, draft: &Draft, seen: Seen, entry: &Entry) -> Result<(), StoreError> {
        self.files.import(draft, seen, entry)?;
        self.index_it(&draft.id);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.files.finish()
    }

    fn clear(&mut self, from: Side, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let left = self.files.clear(from, now)?;
        if self.index.is_there()? {
            self.derive(SystemTime::UNIX_EPOCH)?;
        }
        Ok(left)
    }

    fn remove(&mut self, id: &Id, seen: Digest, now: Timestamp) -> Result<(), StoreError> {
        self.files.remove(id, seen, now)?;
        self.index_it(id);
        Ok(())
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        self.files.prepare()
    }

    fn load(
        &mut self,
        milestones: &mut dyn Iterator<Item = Packed>,
        from: Side,
        number: u64,
    ) -> Result<u64, StoreError> {
        let count = self.files.load(milestones, from, number)?;
        // They were written just now, so that no stamp of theirs proves anything yet.
        self.derive(SystemTime::UNIX_EPOCH)?;
        Ok(count)
    }

    fn nobody_else_uses_it(&mut self) {
        self.index.is_in_use = false;
    }

    fn derive(&mut self, now: SystemTime) -> Result<(), StoreError> {
        self.index.let_in_only_readers()?;
        if !self.index.is_there()? {
            return self.build(now);
        }
        self.files.survey(&Extent::Everything, now)?;
        loop {
            let mut found = self.compare(DERIVED_AT_ONCE)?;
            let is_all = found.len() < DERIVED_AT_ONCE;
            // A file may have come since it was looked for: its row is another program's, and right.
            let mut there = HashSet::new();
            for (id, (_, wanted)) in &found {
                if wanted.is_none()
                    && id.parse::<Id>().is_ok_and(|id| self.files.find_one(&id).is_ok_and(|it| it.is_some()))
                {
                    there.insert(id.clone());
                }
            }
            found.retain(|id, _| !there.contains(id));
            self.index.mend_all(&found)?;
            if is_all || found.is_empty() {
                return Ok(());
            }
        }
    }

    fn touched(&mut self, now: SystemTime) -> Result<Touched, StoreError> {
        self.files.touched(now)
    }

    fn touched_in_archive(&mut self, now: SystemTime) -> Result<BTreeSet<String>, StoreError> {
        self.files.touched_in_archive(now)
    }

    fn ledger(&mut self) -> Result<&mut dyn Ledger, StoreError> {
        self.files.ledger()
    }

    fn refuse_writes(&mut self, message: Option<&str>) -> Result<(), StoreError> {
        self.files.refuse_writes(message)
    }

    fn check(&mut self) -> Result<Vec<String>, StoreError> {
        let mut wrong = self.files.check()?;
        self.files.survey(&Extent::Everything, SystemTime::UNIX_EPOCH)?;
        wrong.extend(self.differences()?.into_iter().map(|difference| difference.to_string()));
        Ok(wrong)
    }

    fn keep_facts(&mut self, occasion: Occasion) -> Result<(), StoreError> {
        self.files.keep_facts(occasion)
    }

    fn generation(&self) -> Option<u64> {
        self.files.generation()
    }

    fn each_known_id(&self, each: &mut dyn FnMut(&str)) -> bool {
        self.files.each_known_id(each)
    }

    fn ids(&mut self) -> Result<Vec<String>, StoreError> {
        self.files.ids()
    }
}
