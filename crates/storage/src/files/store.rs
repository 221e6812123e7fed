//! Milestone files as a [`Store`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::digest::Digest;
use milescale_document::document::Flaw;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone, Packed};
use milescale_workspace::durable;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::read::Stamp;
use milescale_workspace::readers::Readers;

use super::{FileStore, Remark, id_of, with_id};
use crate::ledger::{Entry, Ledger};
use crate::store::{Extent, Occasion, Seen, Store, Survey, Touched};

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
            return Ok(self.milestone(&plain, text, Stamp::of(&metadata)));
        }
        let found = match self.find_one(id)? {
            Some(path) => {
                self.content(&path)?.map(|(text, metadata)| self.milestone(&path, text, Stamp::of(&metadata)))
            }
            None => None,
        };
        found.ok_or_else(|| StoreError::new(Problem::NotThere, self.name(), format!("there is no milestone {id}")))
    }

    fn scan_batches(
        &mut self,
        work: &(dyn Fn(usize, Milestone) + Sync),
        done: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.milestone_batches(work, done)
    }

    fn scan_sizes(&mut self, visit: &mut dyn FnMut(String, String, u64) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.sizes(&mut |inside, bytes| visit(id_of(inside), self.shown(inside), bytes))
    }

    fn put(&mut self, draft: &Draft, seen: Seen) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        self.write(draft, seen).map(drop)
    }

    fn archive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        self.archive_one(draft, seen)
    }

    fn unarchive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        self.unarchive_one(draft, seen)
    }

    fn exists(&mut self) -> Result<bool, StoreError> {
        let failed =
            |error: io::Error| StoreError::io(self.workspace.shown(&self.active), "it cannot be looked for", &error);
        self.active.is_there().map_err(failed)
    }

    fn archived(&mut self, id: &Id) -> Result<Option<Milestone>, StoreError> {
        self.archived_one(id)
    }

    fn archived_all(&mut self, id: &Id) -> Result<Vec<Milestone>, StoreError> {
        self.archived_all_of(id)
    }

    fn make_for(&mut self, readers: Readers) -> Result<(), StoreError> {
        self.make_new_for(readers);
        Ok(())
    }

    fn bring(&mut self, draft: &Draft, seen: Seen, from: Side) -> Result<(), StoreError> {
        let before = self.make_for_those_of(from);
        let placed = self.place(draft, seen);
        (self.made_for, self.replaced_for) = before;
        placed?;
        // The files are not in use yet: what was written before a death is known by the journal of the move.
        self.own_ledger()?.set(from, &[(draft.id.to_string(), draft.content().into())])
    }

    fn import(&mut self, draft: &Draft, seen: Seen, entry: &Entry) -> Result<(), StoreError> {
        let before = self.make_for_those_of(entry.side);
        let imported = self.import_one(draft, seen, entry);
        (self.made_for, self.replaced_for) = before;
        imported
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.finish_what_died()
    }

    fn clear(&mut self, from: Side, now: Timestamp) -> Result<Vec<String>, StoreError> {
        self.take_back(from, now)
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

    fn load(
        &mut self,
        milestones: &mut dyn Iterator<Item = Packed>,
        from: Side,
        number: u64,
    ) -> Result<u64, StoreError> {
        self.load_all(milestones, from, number)
    }

    fn touched(&mut self, now: SystemTime) -> Result<Touched, StoreError> {
        self.look(&Extent::Everything, now)?;
        match self.touched.replace(BTreeSet::new()) {
            Some(ids) => Ok(Touched::Ids(ids)),
            None => Ok(Touched::Everything),
        }
    }

    fn touched_in_archive(&mut self, now: SystemTime) -> Result<BTreeSet<String>, StoreError> {
        self.changed_in_archive(now)
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
        self.scan(&mut |milestone| {
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
        let files = self.sorted()?.map(|listing| listing.files).unwrap_or_default();
        let mut ids: Vec<String> = files.iter().map(|path| id_of(path)).collect();
        ids.dedup();
        Ok(ids)
    }
}
