//! Hybrid: milestone files, which are the truth, and an index of them in SQLite that can be built or ignored.

mod index;
mod mend;

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use milescale_core::digest::Digest;
use milescale_core::document::Flaw;
use milescale_core::figures::StoreFigures;
use milescale_core::id::Id;

use crate::error::StoreError;
use crate::files::FileStore;
use crate::store::{Difference, Draft, Extent, Milestone, Seen, Store, Survey};
use crate::workspace::Workspace;
use index::{BUILT_AT_ONCE, Index, IndexRow};

/// The files of one workspace with their index.
#[derive(Debug)]
pub struct HybridStore {
    workspace: Workspace,
    files: FileStore,
    index: Index,
    /// The rows that count, as they were last read: the path in `active/` that each names.
    counted: Option<Counted>,
    /// Differences between a file and its row, by id: since when.
    differing: HashMap<String, mend::Standing>,
    /// Those of them that are to be mended: id, what the row is, what it should be.
    due: Vec<(String, Option<IndexRow>, Option<IndexRow>)>,
    /// How often a look has found the files changed.
    files_changed: u64,
    /// The index's version and the files' when both were last compared.
    compared: Option<(i64, u64)>,
}

#[derive(Debug)]
struct Counted {
    /// `PRAGMA data_version` before they were read.
    version: i64,
    paths: Vec<PathBuf>,
}

impl HybridStore {
    /// The store. `remembered` is the last known number of milestones, 0 if none is.
    pub fn new(workspace: &Workspace, remembered: u64) -> Result<Self, StoreError> {
        Ok(Self {
            files: FileStore::new(workspace.clone(), remembered),
            index: Index::new(workspace)?,
            workspace: workspace.clone(),
            counted: None,
            differing: HashMap::new(),
            due: Vec::new(),
            files_changed: 0,
            compared: None,
        })
    }

    /// The figures of contract §4: of the rows where there is an index, else of the files.
    fn figures(&mut self, of_files: StoreFigures) -> Result<StoreFigures, StoreError> {
        if !self.index.is_there()? {
            self.counted = None;
            return Ok(of_files);
        }
        let version = self.index.version()?;
        if self.counted.as_ref().is_none_or(|counted| counted.version != version) {
            let (rows, nameless) = self.index.rows()?;
            let rows = rows.iter().map(|(id, row)| (id.as_str(), row)).chain(nameless.iter().map(|row| ("", row)));
            let counting = rows.filter(|(_, row)| row.counts());
            let paths = counting.map(|(id, row)| row.inside_active(&self.workspace, id)).collect();
            self.counted = Some(Counted { version, paths });
        }
        let mut figures = StoreFigures::default();
        for path in self.counted.iter().flat_map(|counted| &counted.paths) {
            figures.milestone_count += 1;
            let (kiro_enabled, requires) = self.files.adds(path).unwrap_or_default();
            figures.kiro_enabled_count += u64::from(kiro_enabled);
            figures.dependency_count += u64::from(requires);
        }
        Ok(figures)
    }

    /// Brings a file's row up to date. The file is the truth and is written already: an index that cannot be written now
    /// is mended later.
    fn index_it(&mut self, id: &Id) {
        self.counted = None;
        let indexed = self.files.find_one(id).and_then(|path| match path {
            Some(path) => match self.files.content(&path)? {
                Some((text, metadata)) => {
                    let milestone = self.files.milestone(&path, text, &metadata);
                    let row = IndexRow::of(&self.workspace, &path, &milestone);
                    self.index.make()?;
                    self.index.put(&[(milestone.id, row)])
                }
                None => Ok(()),
            },
            None if self.index.is_there()? => self.index.remove(id.as_str()),
            None => Ok(()),
        });
        if let Err(error) = indexed {
            tracing::warn!(%error, id = %id, "the milestone is written, its row in the index is not yet");
        }
    }

    /// Builds the index of all files; rows of other programs whose file is there are replaced, others stay.
    fn build(&mut self) -> Result<(), StoreError> {
        self.index.make()?;
        self.counted = None;
        let (workspace, index) = (&self.workspace, &mut self.index);
        let (mut rows, mut failed) = (Vec::new(), None);
        self.files.scan_files(&mut |path, milestone| {
            let row = IndexRow::of(workspace, path, &milestone);
            rows.push((milestone.id, row));
            if rows.len() < BUILT_AT_ONCE {
                return ControlFlow::Continue(());
            }
            match index.put(&std::mem::take(&mut rows)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None => index.put(&rows),
        }
    }
}

impl Store for HybridStore {
    fn name(&self) -> String {
        format!("{} with index.db", self.files.name())
    }

    fn survey(&mut self, extent: &Extent, now: SystemTime) -> Result<Survey, StoreError> {
        let survey = self.files.survey(extent, now)?;
        self.files_changed = self.files.changes();
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

    fn scan(&mut self, visit: &mut dyn FnMut(Milestone) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.files.scan(visit)
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

    fn load(&mut self, drafts: &mut dyn Iterator<Item = Draft>) -> Result<u64, StoreError> {
        let count = self.files.load(drafts)?;
        self.build()?;
        Ok(count)
    }

    fn check(&mut self) -> Result<Vec<String>, StoreError> {
        let mut wrong = self.files.check()?;
        self.files.survey(&Extent::Everything, SystemTime::UNIX_EPOCH)?;
        wrong.extend(self.differences()?.into_iter().map(|difference| difference.to_string()));
        Ok(wrong)
    }

    fn known_ids(&self) -> Option<Vec<String>> {
        self.files.known_ids()
    }

    fn ids(&mut self) -> Result<Vec<String>, StoreError> {
        self.files.ids()
    }
}
