//! Milestone files that a move makes: written aside and synced, then given their names; and taken back where the move fails.

use std::io;
use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Packed;
use milescale_workspace::Place;
use milescale_workspace::durable;
use milescale_workspace::error::StoreError;
use milescale_workspace::folder::Metadata;
use milescale_workspace::move_journal::{self, Entry, Journal, MoveJournal};

use super::FileStore;
use crate::budget::{Room, next_ones};
use crate::ledger::AT_ONCE;

/// How often a file is looked for that another program moves.
const TRIES: usize = 5;

/// A file that is written and has no name of its own yet.
struct Incoming {
    id: Id,
    is_archived: bool,
}

impl FileStore {
    /// Writes many new files: all of them aside, then one wait for the disk, then each gets its name, never over another file.
    pub(super) fn load_all(
        &mut self,
        milestones: &mut dyn Iterator<Item = Packed>,
        from: Side,
        epoch: u64,
    ) -> Result<u64, StoreError> {
        let _alone = self.alone()?;
        let aside = self.workspace.incoming();
        let stop = self.workspace.stop();
        durable::remove_folder(&aside, &|| !stop.is_asked()).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => StoreError::stopped(self.workspace.shown(&aside)),
            _ => self.not_written(&aside, &error),
        })?;
        for folder in [&self.active, &self.workspace.completed(), &aside] {
            durable::create_folder(folder).map_err(|error| self.not_written(folder, &error))?;
        }
        let path = self.workspace.move_journal();
        let mut journal =
            MoveJournal::open(&self.workspace, epoch, Side::Files).map_err(|error| self.not_written(&path, &error))?;
        // What they come from is a database, or a backup: whoever reads that may read them.
        let readers = self.readers_of(from).and(self.made_for);
        let mut incoming = Vec::new();
        loop {
            let packed = next_ones(Room::new(AT_ONCE), milestones, Packed::bytes);
            if packed.is_empty() {
                break;
            }
            let packed = self.without_archived(packed)?;
            let bases: Vec<_> = packed.iter().map(|it| (it.id.to_string(), it.content.into())).collect();
            self.own_ledger()?.set(from, &bases)?;
            for it in packed {
                let written = durable::prepare_among_many(&self.aside(&it.id), readers, &it.text)
                    .and_then(|inode| journal.write(&it.id, it.content, Some(inode)));
                written.map_err(|error| self.not_written(&self.aside(&it.id), &error))?;
                incoming.push(Incoming { id: it.id, is_archived: it.is_archived });
            }
        }
        // No file has a name that anybody reads before its content, and what tells that it is the move's, are on the disk.
        durable::sync_file_system(&aside).map_err(|error| self.not_written(&aside, &error))?;
        journal.sync().map_err(|error| self.not_written(&path, &error))?;
        for it in &incoming {
            self.give_name(it, from)?;
        }
        for folder in [&self.active, &self.workspace.completed()] {
            durable::sync_file_system(folder).map_err(|error| self.not_written(folder, &error))?;
        }
        self.own_ledger()?.complete(from)?;
        Ok(incoming.len() as u64)
    }

    /// Where a file lies before it has its name.
    fn aside(&self, id: &Id) -> Place {
        self.workspace.incoming().join(format!("{id}.yaml"))
    }

    /// Leaves out archived ones whose id lies in the archive already. They are not what is brought, so nothing is noted of
    /// them; each is judged on its own.
    fn without_archived(&mut self, packed: Vec<Packed>) -> Result<Vec<Packed>, StoreError> {
        let mut new = Vec::with_capacity(packed.len());
        for it in packed {
            if !it.is_archived || self.archived_path(&it.id)?.is_none() {
                new.push(it);
            }
        }
        Ok(new)
    }

    fn give_name(&mut self, it: &Incoming, from: Side) -> Result<(), StoreError> {
        let folder = if it.is_archived { self.workspace.completed() } else { self.active.clone() };
        let path = folder.join(format!("{}.yaml", it.id));
        match durable::name_among_many(&self.aside(&it.id), &path) {
            Ok(true) => Ok(()),
            // It came between, and is not what is brought.
            Ok(false) if it.is_archived => self.own_ledger()?.unset(from, it.id.as_str()),
            Ok(false) => Err(self.there_already(&path)),
            Err(error) => Err(self.not_written(&path, &error)),
        }
    }

    fn not_written(&self, path: &Place, error: &io::Error) -> StoreError {
        StoreError::io(self.workspace.shown(path), "it cannot be written", error)
    }

    /// Takes out what the move under way has brought and nobody has changed since. The ids whose files are left, because they
    /// are somebody else's by now.
    pub(super) fn take_back(&mut self, from: Side, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let _alone = self.alone()?;
        let path = self.workspace.move_journal();
        let journal = move_journal::read(&self.workspace)
            .map_err(|error| StoreError::io(self.workspace.shown(&path), "it cannot be read", &error))?;
        let mut left = Vec::new();
        if let Some(journal) = journal {
            self.write_down_nameless(&journal).map_err(|error| self.not_written(&path, &error))?;
            for (id, entries) in &journal.entries {
                left.extend(self.take_back_one(id, entries, now)?);
            }
        } else {
            left = self.take_back_by_bases(from, now)?;
        }
        let aside = self.workspace.incoming();
        match durable::remove_folder(&aside, &self.workspace.stop().goes_on_after_it()) {
            // Nobody reads it; the next move removes it before it begins.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => {
                other.map_err(|error| StoreError::io(self.workspace.shown(&aside), "it cannot be removed", &error))?;
            }
        }
        self.own_ledger()?.forget(from)?;
        left.sort();
        Ok(left)
    }

    /// Writes down whose files have no name yet: once they are gone nothing else tells that what has their names is another's.
    fn write_down_nameless(&self, journal: &Journal) -> io::Result<()> {
        let ids = journal.entries.keys().filter_map(|id| id.parse::<Id>().ok());
        let nameless: Vec<Id> = ids.filter(|id| self.aside(id).exists()).collect();
        if nameless.is_empty() {
            return Ok(());
        }
        let mut growing = MoveJournal::open(&self.workspace, journal.epoch, Side::Files)?;
        nameless.iter().try_for_each(|id| growing.take_out(id))?;
        growing.sync()
    }

    /// The same after a move of a version without a journal, which wrote the bases before the files.
    fn take_back_by_bases(&mut self, from: Side, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let (mut after, mut left) = (None::<String>, Vec::new());
        loop {
            let page = self.own_ledger()?.page(from, after.as_deref(), AT_ONCE)?;
            let Some((last, _)) = page.last() else { return Ok(left) };
            after = Some(last.clone());
            for (id, known) in page {
                left.extend(self.take_back_one(&id, &[Entry::Write(known.content, None)], now)?);
            }
        }
    }

    /// Takes back one milestone; its id where its file is left. A file that somebody moves just now is looked for again.
    fn take_back_one(&self, id: &str, entries: &[Entry], now: Timestamp) -> Result<Option<String>, StoreError> {
        let Ok(id) = id.parse::<Id>() else { return Ok(None) };
        for _ in 0..TRIES {
            match self.try_to_take_back(&id, entries, now) {
                Err(error) if error.is_passing() => {}
                other => return other,
            }
        }
        Ok(Some(id.to_string()))
    }

    fn try_to_take_back(&self, id: &Id, entries: &[Entry], now: Timestamp) -> Result<Option<String>, StoreError> {
        // Among the archived ones only a file that this move has made is its own.
        let archived = self.workspace.completed().join(format!("{id}.yaml"));
        if let Some((content, metadata)) = self.content(&archived)? {
            let text = Digest::of(&content);
            if entries.iter().any(|entry| is_made(entry, &metadata) && is_text(entry, text)) {
                self.take_out(&archived, id, text, now)?;
            }
        }
        // The move's file has no name yet: what stands there was there before it, or came between.
        if self.aside(id).exists() {
            return Ok(None);
        }
        let Some(path) = self.find_one(id)? else { return Ok(None) };
        let Some((content, metadata)) = self.content(&path)? else { return Ok(None) };
        let text = Digest::of(&content);
        let is_ours = |entry: &Entry| match entry {
            // What a power cut left of a file that was not synced: only a version without a journal made such ones.
            Entry::Write(_, None) | Entry::Add(_) if content.is_empty() => true,
            Entry::Write(_, None) | Entry::Add(_) => is_text(entry, text),
            Entry::Write(..) => is_made(entry, &metadata) && is_text(entry, text),
            Entry::TakeOut => false,
        };
        if entries.iter().any(is_ours) {
            return self.take_out(&path, id, text, now).map(|()| None);
        }
        // The move's file was taken out, or never got its name: what has it is another's, and came between.
        let is_anothers = matches!(entries.last(), Some(Entry::TakeOut));
        Ok((!is_anothers).then(|| id.to_string()))
    }
}

/// Whether a file is the one that the move has made.
fn is_made(entry: &Entry, metadata: &Metadata) -> bool {
    matches!(entry, Entry::Write(_, Some(inode)) if *inode == metadata.ino())
}

fn is_text(entry: &Entry, text: Digest) -> bool {
    entry.content().is_some_and(|content| content.text == text)
}
