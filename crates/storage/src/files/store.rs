//! Milestone files as a [`Store`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use milescale_core::base::{Content, Side};
use milescale_core::digest::Digest;
use milescale_core::document::Flaw;
use milescale_core::id::Id;
use milescale_core::milestone::Columns;
use milescale_core::timestamp;
use milescale_core::value::Value;

use super::{FileStore, Remark, id_of, walk, with_id};
use crate::durable;
use crate::error::{Problem, StoreError};
use crate::ledger::Ledger;
use crate::outline::{self, Outline};
use crate::store::{Draft, Extent, Milestone, Occasion, Seen, Store, Survey, Touched};
use crate::threads::in_threads;
use crate::yaml;

/// Files that are read ahead of who visits them.
const SCANNED_AT_ONCE: usize = 1024;

impl FileStore {
    /// A file as a milestone.
    pub(crate) fn milestone(&self, path: &Path, text: Vec<u8>, metadata: &Metadata) -> Milestone {
        let id = id_of(path);
        let (value, mut columns) = match yaml::parse(&text) {
            Ok(document) => (Value::of(&document), Columns::of(&id, document.tree())),
            Err(flaw) => (Err(flaw), Columns::unreadable(&id)),
        };
        let modified = metadata.modified().ok().and_then(|modified| Timestamp::try_from(modified).ok());
        let updated_at = modified.map(timestamp::to_text);
        columns.created_at = columns.created_at.or_else(|| updated_at.clone());
        Milestone { id, text, value, columns, updated_at, place: self.workspace.shown(path) }
    }

    /// Hands over each file with its path.
    pub(crate) fn scan_files(
        &self,
        visit: &mut dyn FnMut(&Path, Milestone) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.scan_each(|milestone| milestone, visit)
    }

    /// Hands over what each file comes to, with its path.
    fn scan_each<R: Send>(
        &self,
        of: impl Fn(Milestone) -> R + Sync,
        visit: &mut dyn FnMut(&Path, R) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let read = |path: &PathBuf| match self.content(path) {
            // One that vanished since it was listed is not there.
            Ok(None) => Ok(None),
            Ok(Some((text, metadata))) => Ok(Some(of(self.milestone(path, text, &metadata)))),
            Err(error) if error.problem == Problem::Refused => Ok(Some(of(self.unreadable(path, error)))),
            Err(error) => Err(error),
        };
        for paths in self.sorted()?.chunks(SCANNED_AT_ONCE) {
            for (path, milestone) in paths.iter().zip(in_threads(paths.iter().collect(), read)) {
                let Some(milestone) = milestone? else { continue };
                if visit(path, milestone).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A file that is there and cannot be read.
    fn unreadable(&self, path: &Path, error: StoreError) -> Milestone {
        let id = id_of(path);
        let value = Err(Flaw { position: None, reason: error.cause });
        let place = self.workspace.shown(path);
        Milestone { columns: Columns::unreadable(&id), id, text: Vec::new(), value, updated_at: None, place }
    }

    /// Every file, by id, then by path.
    fn sorted(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut files = walk::milestone_files(&self.workspace)?.unwrap_or_default();
        files.sort_unstable_by(|one, other| stem(one).cmp(stem(other)).then_with(|| one.cmp(other)));
        Ok(files.into_iter().map(|path| self.active.join(path)).collect())
    }
}

/// A file's name without its end, in bytes: a path's own comparison looks at its components.
fn stem(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_encoded_bytes();
    let start = memchr::memrchr(b'/', bytes).map_or(0, |slash| slash + 1);
    bytes[start..].strip_suffix(b".yaml").unwrap_or(&bytes[start..])
}

impl Store for FileStore {
    fn name(&self) -> String {
        self.workspace.shown(&self.active)
    }

    fn survey(&mut self, extent: &Extent, now: SystemTime) -> Result<Survey, StoreError> {
        let widened = self.look(extent, now)?;
        Ok(Survey { figures: self.figures(), widened, fresh: self.fresh_paths() })
    }

    fn flawed(&self) -> BTreeMap<String, Flaw> {
        self.table
            .remarks()
            .filter_map(|(path, remark)| match remark {
                Remark::Flawed(flaw) => Some((self.shown(path), flaw.clone())),
                Remark::OtherId(_) => None,
            })
            .collect()
    }

    fn other_ids(&self) -> Vec<(String, String, String)> {
        let mut found: Vec<_> = self
            .table
            .remarks()
            .filter_map(|(path, remark)| match remark {
                Remark::OtherId(id) => Some((self.shown(path), id_of(path), id.to_string())),
                Remark::Flawed(_) => None,
            })
            .collect();
        found.sort();
        found
    }

    fn duplicates(&self) -> BTreeMap<String, Vec<String>> {
        let mut by_name: HashMap<&OsStr, Vec<&Path>> = HashMap::new();
        // One folder has each name once: the common case costs no map.
        if !self.table.has_nested() {
            return BTreeMap::new();
        }
        for path in self.table.paths() {
            by_name.entry(path.file_name().unwrap_or_default()).or_default().push(path);
        }
        by_name.retain(|_, paths| paths.len() > 1);
        by_name
            .into_iter()
            .map(|(name, mut paths)| {
                paths.sort();
                (id_of(Path::new(name)), paths.into_iter().map(|path| self.shown(path)).collect())
            })
            .collect()
    }

    fn get(&mut self, id: &Id) -> Result<Milestone, StoreError> {
        // Nearly every milestone lies in `active/` itself.
        let plain = self.active.join(format!("{id}.yaml"));
        if let Some((text, metadata)) = self.content(&plain)? {
            return Ok(self.milestone(&plain, text, &metadata));
        }
        let found = match self.find_one(id)? {
            Some(path) => self.content(&path)?.map(|(text, metadata)| self.milestone(&path, text, &metadata)),
            None => None,
        };
        found.ok_or_else(|| StoreError::new(Problem::NotThere, self.name(), format!("there is no milestone {id}")))
    }

    fn scan(&mut self, visit: &mut dyn FnMut(Milestone) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.scan_files(&mut |_, milestone| visit(milestone))
    }

    fn scan_contents(&mut self, visit: &mut dyn FnMut(String, Content) -> ControlFlow<()>) -> Result<(), StoreError> {
        let of = |milestone: Milestone| (milestone.content(), milestone.id);
        self.scan_each(of, &mut |_, (content, id)| visit(id, content))
    }

    fn find(
        &mut self,
        takes: &(dyn Fn(&Milestone) -> bool + Sync),
        visit: &mut dyn FnMut(Outline),
    ) -> Result<(), StoreError> {
        let of = |milestone: Milestone| takes(&milestone).then(|| Outline::of(milestone));
        let mut show = outline::shown(visit);
        self.scan_each(of, &mut |_, outline| show(outline))
    }

    fn put(&mut self, draft: &Draft, seen: Seen) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        self.write(draft, seen).map(drop)
    }

    fn archive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        let path = self.write(draft, Seen::Text(seen))?;
        self.complete(&path, draft).map(drop)
    }

    fn held(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        match self.get(id) {
            Ok(milestone) => Ok(Some(milestone)),
            Err(error) if error.problem == Problem::NotThere => self.finished_one(id),
            Err(error) => Err(error),
        }
    }

    fn finished(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        self.finished_one(id)
    }

    fn bring(&mut self, draft: &Draft, seen: Seen, from: Side) -> Result<(), StoreError> {
        self.place(draft, seen)?;
        // Dying here costs nothing: the next look finds both sides equal, and the base advances then.
        self.own_ledger()?.set(from, &[(draft.id.to_string(), draft.content())])
    }

    fn remove(&mut self, id: &Id, seen: Digest, now: Timestamp) -> Result<(), StoreError> {
        self.take_out_id(id, seen, now)
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        for folder in [&self.active, &self.workspace.completed(), &self.workspace.own()] {
            durable::create_folder(folder)
                .map_err(|error| StoreError::io(self.workspace.shown(folder), "it cannot be made", &error))?;
        }
        self.own_ledger().map(drop)
    }

    fn load(&mut self, drafts: &mut dyn Iterator<Item = Draft>, from: Side, _: u64) -> Result<u64, StoreError> {
        self.load_all(drafts, from)
    }

    fn touched(&mut self, now: SystemTime) -> Result<Touched, StoreError> {
        self.look(&Extent::Everything, now)?;
        match self.touched.replace(BTreeSet::new()) {
            Some(ids) => Ok(Touched::Ids(ids)),
            None => Ok(Touched::Everything),
        }
    }

    fn ledger(&mut self) -> Result<&mut dyn Ledger, StoreError> {
        self.own_ledger()
    }

    fn refuse_writes(&mut self, message: Option<&str>) -> Result<(), StoreError> {
        match message {
            Some(message) => self.make_read_only(message),
            None => self.make_writable(),
        }
    }

    fn check(&mut self) -> Result<Vec<String>, StoreError> {
        let (mut wrong, mut before): (Vec<String>, Option<(String, String)>) = (Vec::new(), None);
        self.scan_files(&mut |_, milestone| {
            if let Err(flaw) = &milestone.value {
                wrong.push(format!("{}: {flaw}", milestone.place));
            }
            if let Some((_, place)) = before.as_ref().filter(|(id, _)| *id == milestone.id) {
                wrong.push(format!("{}: its id stands a second time, in {place}", milestone.place));
            }
            before = Some((milestone.id, milestone.place));
            ControlFlow::Continue(())
        })?;
        Ok(wrong)
    }

    fn keep_facts(&mut self, occasion: Occasion) -> Result<(), StoreError> {
        self.write_facts(occasion)
    }

    fn generation(&self) -> Option<u64> {
        Some(self.table.generation())
    }

    fn each_known_id(&self, each: &mut dyn FnMut(&str)) -> bool {
        self.table.paths().for_each(|path| with_id(path, &mut *each));
        true
    }

    fn ids(&mut self) -> Result<Vec<String>, StoreError> {
        let mut ids: Vec<String> = self.sorted()?.iter().map(|path| id_of(path)).collect();
        ids.dedup();
        Ok(ids)
    }
}
