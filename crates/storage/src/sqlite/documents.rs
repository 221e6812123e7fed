//! Documents in SQLite: `enterprise.db` as a [`Store`].

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::digest::Digest;
use milescale_document::document::Flaw;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone, Packed};
use milescale_workspace::Workspace;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::readers::Readers;
use milescale_workspace::trial::Hindrance;
use milescale_workspace::ways::Ways;

use super::changes::Changes;
use super::facts::Remembered;
use super::reading::{one, several};
use super::schema::{DOCUMENTS, flaw_of_columns, has_beside_documents, make_beside_documents, refuse};
use super::shape::{Shape, is_taken};
use super::write::referred;
use super::{Make, Opened, Others, Sqlite, has_table};
use crate::ledger::{Entry, Ledger};
use crate::outline::{Outline, Wanted};
use crate::row::{TOO_LARGE, place, work_on};
use crate::store::{Against, Extent, Part, Seen, Store, Survey, Touched};

/// The documents of one workspace in SQLite.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) workspace: Workspace,
    pub(super) sqlite: Sqlite,
    /// It need not be a store that milescale knows.
    may_be_another: bool,
    pub(super) remembered: Option<Remembered>,
    /// What others have written since somebody asked, once somebody has.
    pub(super) watch: Option<Changes>,
    /// milescale's own tables were seen in the file that is open.
    pub(super) has_own: bool,
    /// The shape of the table in the file that is open.
    pub(super) shape: Shape,
}

/// What to do about a damaged file.
pub(super) const DAMAGED: &str = "; move it away with its -wal and -journal, which milescale never does, and see `milescale doctor` for the ways on without it";

impl SqliteStore {
    /// The store in `enterprise.db`. It is opened when it is first needed.
    pub fn new(workspace: &Workspace) -> Result<Self, StoreError> {
        Ok(Self {
            workspace: workspace.clone(),
            sqlite: Sqlite::new(workspace, workspace.enterprise_db(), DAMAGED)?,
            may_be_another: false,
            remembered: None,
            watch: None,
            has_own: false,
            shape: Shape::default(),
        })
    }

    /// The same with what a statement may take.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { sqlite: self.sqlite.with_timeout(timeout), ..self }
    }

    /// Opens the file and looks at its shape, and whether it is the one that milescale knows. A new file gets the table.
    pub(super) fn open(&mut self, make: Make) -> Result<(), StoreError> {
        // Where none is to be made, opening it fails.
        let was_there = make == Make::Never || self.sqlite.holds_something()?;
        if !self.look(make)? || !was_there || self.may_be_another {
            return Ok(());
        }
        let expected = self.is_the_expected_one();
        if expected.is_err() {
            self.sqlite.close();
        }
        expected
    }

    /// Opens the file and looks at its shape. Whether it was opened anew.
    pub(super) fn look(&mut self, make: Make) -> Result<bool, StoreError> {
        let opened = self.sqlite.open(make)?;
        if opened == Opened::AsItWas {
            return Ok(false);
        }
        (self.remembered, self.watch, self.has_own) = (None, None, false);
        if make == Make::IfMissing {
            self.sqlite.write(async |connection| {
                sqlx::query(DOCUMENTS).execute(connection).await?;
                Ok(())
            })?;
        }
        self.shape = self.sqlite.run(async |connection| Shape::of(connection).await)?;
        let Some(cause) = self.sqlite.run(async |connection| flaw_of_columns(connection).await)? else {
            return Ok(opened == Opened::Anew);
        };
        self.sqlite.close();
        Err(self.sqlite.error(Problem::Corrupt, cause))
    }
}

impl Store for SqliteStore {
    fn name(&self) -> String {
        self.sqlite.shown.clone()
    }

    fn adopt(&mut self) -> Result<(), StoreError> {
        self.open(Make::Never)?;
        if !self.sqlite.run(async |connection| has_beside_documents(connection).await)? {
            self.sqlite.write(async |connection| Ok(make_beside_documents(connection).await?))?;
        }
        self.has_own = true;
        Changes::keep_log(&mut self.sqlite)
    }

    fn survey(&mut self, _: &Extent, _: SystemTime) -> Result<Survey, StoreError> {
        self.open(Make::Never)?;
        let read = match self.remembered.take() {
            Some(mut read) => {
                if self.read_changes(&mut read)? {
                    read
                } else {
                    self.read_everything()?
                }
            }
            None => self.read_everything()?,
        };
        let figures = read.figures();
        self.remembered = Some(read);
        Ok(Survey { figures, ..Survey::default() })
    }

    fn flawed(&self) -> BTreeMap<String, Flaw> {
        let flawed = self.remembered.as_ref().map(|read| read.flawed(&self.sqlite.shown)).unwrap_or_default();
        let is_for_all = flawed.is_empty() || Readers::are_all_at(self.sqlite.place(), &mut Ways::default());
        if is_for_all { flawed } else { flawed.into_iter().map(|(row, flaw)| (row, flaw.without_words())).collect() }
    }

    fn get(&mut self, id: &Id) -> Result<Milestone, StoreError> {
        self.open(Make::Never)?;
        let kept = self.kept()?;
        let row = self.sqlite.run(async |connection| one(connection, kept, id.as_str().as_bytes()).await)?;
        let row = row.ok_or_else(|| self.sqlite.error(Problem::NotThere, format!("there is no milestone {id}")))?;
        if row.is_too_large {
            let place = place(&self.sqlite.shown, id.as_str());
            return Err(StoreError::new(Problem::Refused, place, format!("{TOO_LARGE}, and is not read")));
        }
        Ok(row.milestone(&self.sqlite.shown))
    }

    /// The first of them that are there, as many as there is room for: a lock for many is hardly longer than one for one.
    fn get_some(&mut self, ids: &[String]) -> Result<Vec<Milestone>, StoreError> {
        self.open(Make::Never)?;
        let kept = self.kept()?;
        let bytes = self.sqlite.page_bytes();
        let (rows, _) = self.sqlite.run(async |connection| several(connection, kept, ids, bytes).await)?;
        Ok(rows.into_iter().map(|row| row.milestone(&self.sqlite.shown)).collect())
    }

    fn scan_batches(
        &mut self,
        work: &(dyn Fn(usize, Milestone) + Sync),
        done: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.open(Make::Never)?;
        let (kept, shown) = (self.kept()?, self.sqlite.shown.clone());
        self.batches(kept, |rows| {
            let count = rows.len();
            work_on(rows, &shown, work);
            done(count)
        })
    }

    fn list(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        self.list_wanted(wanted, visit)
    }

    fn put(&mut self, draft: &Draft, seen: Seen) -> Result<(), StoreError> {
        self.put_with_base(draft, seen, None)
    }

    fn archive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        // One that says so already stays as it is.
        if Digest::of(&draft.text) == seen { Ok(()) } else { self.put(draft, Seen::Text(seen)) }
    }

    fn archive_for(&mut self, draft: &Draft, seen: Digest, entry: &Entry) -> Result<(), StoreError> {
        self.put_with_base(draft, Seen::Text(seen), Some(entry))
    }

    fn unarchive(&mut self, draft: &Draft, seen: Digest) -> Result<(), StoreError> {
        self.put(draft, Seen::Text(seen))
    }

    fn displaced(&self) -> String {
        format!("the table milescale_displaced of {} for 30 days", self.sqlite.shown)
    }

    fn archives_by_status(&self) -> bool {
        true
    }

    fn bring(&mut self, draft: &Draft, seen: Seen, side: Side) -> Result<(), StoreError> {
        let entry = Entry { side, known: draft.content().into() };
        self.put_with_base(draft, seen, Some(&entry))
    }

    fn import(&mut self, draft: &Draft, seen: Seen, entry: &Entry) -> Result<(), StoreError> {
        self.put_with_base(draft, seen, Some(entry))
    }

    fn remove(&mut self, id: &Id, seen: Digest, now: Timestamp) -> Result<(), StoreError> {
        self.remove_seen(id, seen, now)
    }

    fn exists(&mut self) -> Result<bool, StoreError> {
        if !self.sqlite.holds_something()? {
            return Ok(false);
        }
        self.sqlite.open(Make::Never)?;
        let there = self.sqlite.run(async |connection| is_taken(connection).await)?;
        // What is looked at next opens it anew, and looks at its shape.
        self.sqlite.close();
        Ok(there)
    }

    fn against(&mut self, part: Part) -> Result<Against, StoreError> {
        match part {
            // All that it takes are the rights of the file and its folder, which are tried as files.
            Part::InUse => Ok(Against::default()),
            Part::Source => self.against_leaving(),
            Part::Target if !self.exists()? => Ok(Against::default()),
            Part::Target => self.against_filling(),
        }
    }

    fn referred(&mut self, ids: &[String]) -> Result<Vec<(String, String)>, StoreError> {
        self.open(Make::Never)?;
        self.sqlite.run(async |connection| referred(connection, ids).await)
    }

    fn hidden(&mut self) -> Result<Vec<Hindrance>, StoreError> {
        self.hidden_rows()
    }

    fn filled_from(&mut self) -> Result<Vec<Side>, StoreError> {
        self.open(Make::Never)?;
        let words: Vec<String> = self.sqlite.run(async |connection| {
            if !has_table(connection, "milescale_sides").await? {
                return Ok(Vec::new());
            }
            sqlx::query_scalar("SELECT side FROM milescale_sides").fetch_all(connection).await
        })?;
        Ok(Side::among(&words))
    }

    fn may_refuse(&mut self) -> Result<bool, StoreError> {
        Ok(self.exists()? && self.is_of_others()?)
    }

    fn try_out(&mut self, milestones: &mut dyn Iterator<Item = Packed>) -> Result<Vec<(String, String)>, StoreError> {
        self.open(Make::Never)?;
        self.try_all(milestones)
    }

    fn is_another(&mut self) -> Result<Option<String>, StoreError> {
        self.differs_from_the_known_one()
    }

    fn may_be_another(&mut self) {
        self.may_be_another = true;
    }

    fn make_for(&mut self, readers: Readers) -> Result<(), StoreError> {
        self.open(Make::Never)?;
        self.sqlite.is_for_no_more_than(readers)
    }

    fn narrow_for(&mut self, readers: Readers) -> Result<(), StoreError> {
        self.open(Make::Never)?;
        self.sqlite.let_in_no_more_than(readers)
    }

    fn let_in_only_readers(&mut self, from: Side) -> Result<(), StoreError> {
        self.narrow_for(self.sqlite.readers_of_side(from)?)
    }

    fn nobody_else_uses_it(&mut self) {
        self.sqlite.others = Others::AreNotThere;
        // What is loaded is read ahead: from here on it is noted whose it is.
        Readers::forget_noted(&self.sqlite.workspace.folder());
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        self.open(Make::IfMissing)?;
        self.adopt()
    }

    fn load(&mut self, milestones: &mut dyn Iterator<Item = Packed>, from: Side, _: u64) -> Result<u64, StoreError> {
        self.prepare()?;
        self.load_all(milestones, from)
    }

    fn clear(&mut self, from: Side, now: Timestamp) -> Result<Vec<String>, StoreError> {
        self.clear_all(from, now)
    }

    fn touched(&mut self, _: SystemTime) -> Result<Touched, StoreError> {
        // While others are kept out, nothing of milescale's own is made.
        if self.watch.is_some() {
            self.open(Make::Never)?;
        } else {
            self.adopt()?;
        }
        self.touched_since()
    }

    fn hold(&mut self) -> Result<(), StoreError> {
        self.open(Make::Never)?;
        self.sqlite.hold()
    }

    fn release(&mut self) {
        self.sqlite.release();
    }

    fn ledger(&mut self) -> Result<&mut dyn Ledger, StoreError> {
        Ok(self)
    }

    fn refuse_writes(&mut self, message: Option<&str>) -> Result<(), StoreError> {
        self.open(Make::Never)?;
        self.sqlite.write(async |connection| Ok(refuse(connection, message).await?))
    }

    fn purge_kept(&mut self, is_over: &mut dyn FnMut(&str, Timestamp) -> bool) -> Result<(), StoreError> {
        self.purge(is_over)
    }

    fn check(&mut self) -> Result<Vec<String>, StoreError> {
        self.remembered = None;
        self.survey(&Extent::Everything, SystemTime::UNIX_EPOCH)?;
        Ok(self.flawed().into_iter().map(|(place, flaw)| format!("{place}: {flaw}")).collect())
    }

    fn each_known_id(&self, each: &mut dyn FnMut(&str)) -> bool {
        self.remembered.as_ref().map(|read| read.ids().for_each(|id| each(&id))).is_some()
    }

    fn nameless(&mut self) -> Result<Option<String>, StoreError> {
        Ok(self.rows_without_id()?.map(|it| format!("{}; {}", it.reason, it.do_this)))
    }

    fn ids(&mut self) -> Result<Vec<String>, StoreError> {
        self.all_ids()
    }
}
