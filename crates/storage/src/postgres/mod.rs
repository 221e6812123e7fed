//! Documents in PostgreSQL as a [`Store`], through tokio-postgres.

mod address;
mod allowed;
mod along;
mod begin;
mod bulk;
mod chain;
mod changes;
mod connection;
mod consent;
mod definition;
mod dial;
mod displaced;
mod documents;
mod expected;
mod failure;
mod figures;
mod judging;
mod ledger;
mod listing;
mod located;
mod messages;
mod moving;
mod opening;
mod owner;
mod reading;
mod risks;
mod schema;
mod shape;
mod silent;
mod timeline;
mod tls;
mod trial;
mod waits;
mod went_back;

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
use milescale_workspace::tokens::Tokens;
use milescale_workspace::trial::Hindrance;
use tokio_postgres::Client;

use crate::ledger::{Entry, Ledger};
use crate::outline::{Outline, Wanted};
use crate::row::{self, Row, TOO_LARGE, work_on};
use crate::store::{Against, Extent, Part, Risk, Seen, Store, Survey, Touched};
pub use address::flaw_of_address;
use chain::{Claim, Owned};
pub use connection::Timeouts;
use connection::{Access, Connection, Failed, Hurry, Outcome, saying_what_became};
pub use consent::{servers, servers_without_consent, shown_address, waits_for_consent};
use documents::{Table, text};

/// Rows read at once.
const PAGE: i64 = 1000;

/// The documents of one workspace in PostgreSQL.
#[derive(Debug)]
pub struct PostgresStore {
    workspace: Workspace,
    connection: Connection,
    table: Table,
    /// How long a statement may take, and how long a server is asked what became of a COMMIT.
    statement_timeout: Duration,
    /// The tokens that this workspace has drawn.
    tokens: Tokens,
    /// What the table was when it was adopted.
    owned: Option<Owned>,
    /// It need not be a store that milescale knows.
    may_be_another: bool,
    /// The timeline of the server that is connected was compared.
    is_compared: bool,
    /// Up to where the log of changes was read, once somebody has asked.
    watch: Option<changes::Mark>,
    flawed: BTreeMap<String, Flaw>,
}

impl PostgresStore {
    fn read<R>(&mut self, work: impl AsyncFnOnce(&Client, &Table) -> Result<R, Failed>) -> Result<R, StoreError> {
        self.open()?;
        let table = &self.table;
        let read = self
            .connection
            .transaction(Access::Read, Hurry::Yes, async |client| work(client, table).await)
            .map_err(Outcome::error);
        if read.as_ref().is_err_and(|error| error.problem == Problem::Corrupt) {
            // It may have been made anew: the next call looks at its shape.
            self.table.forget();
        }
        read
    }

    fn row(&mut self, id: &Id) -> Result<Option<Row>, StoreError> {
        self.read(async |client, table| Ok(table.row(client, id.as_str(), "").await?))
    }
}

impl Store for PostgresStore {
    fn name(&self) -> String {
        self.connection.shown().to_owned()
    }

    fn adopt(&mut self) -> Result<(), StoreError> {
        self.ensure(Claim::AsFound)?;
        self.keep_log()
    }

    fn standing(&mut self) -> Result<(), StoreError> {
        let identity = self.may_write()?;
        // What refuses the connection or a look at the table says nothing of whose it is: consent that is missing, a wrong password, a
        // right on the schema, what somebody has added to the table.
        let is_new = self.look().map_err(|error| match error.problem {
            Problem::Refused => StoreError { problem: Problem::Unavailable, ..error },
            _ => error,
        })?;
        self.compare_timeline()?;
        self.expect(is_new)?;
        if self.find(&identity)? { Ok(()) } else { self.is_not_emptied() }
    }

    fn is_another(&mut self) -> Result<Option<String>, StoreError> {
        self.differs_from_the_known_one()
    }

    fn may_be_another(&mut self) {
        self.may_be_another = true;
    }

    fn leave(&mut self) -> Result<(), StoreError> {
        // The link of the transaction is the mark.
        self.write(Hurry::Yes, async |_, _| Ok(()))
    }

    fn is_foreign(&mut self) -> Result<bool, StoreError> {
        self.is_anothers()
    }

    fn become_used(&mut self) -> Result<(), StoreError> {
        self.note_used()
    }

    fn take_over(&mut self) -> Result<bool, StoreError> {
        self.go_on_with_it()
    }

    fn risks(&mut self) -> Result<Vec<Risk>, StoreError> {
        self.look_for_risks()
    }

    fn improvement(&self) -> Option<&'static str> {
        let known = self.table.is_known() && !self.table.is_generated();
        known.then_some("generated columns with an index, from which the figures of a million rows come at once")
    }

    fn improve(&mut self) -> Result<(), StoreError> {
        self.adopt()?;
        // The table is written anew, however long that takes.
        self.write(Hurry::Unlimited, async |client, table| Ok(client.batch_execute(&table.generate()).await?))?;
        self.table.forget();
        self.open()
    }

    fn survey(&mut self, _: &Extent, _: SystemTime) -> Result<Survey, StoreError> {
        // A connection that was idle may be gone without a sign: then one more is tried before nothing is known.
        let was_connected = self.connection.is_connected();
        let figures = match self.survey_any() {
            Err(error) if error.problem == Problem::Unavailable && was_connected => self.survey_any()?,
            other => other?,
        };
        Ok(Survey { figures, ..Survey::default() })
    }

    fn flawed(&self) -> BTreeMap<String, Flaw> {
        self.flawed.clone()
    }

    fn get(&mut self, id: &Id) -> Result<Milestone, StoreError> {
        let row = self.row(id)?;
        let shown = self.connection.shown();
        let row =
            row.ok_or_else(|| StoreError::new(Problem::NotThere, shown, format!("there is no milestone {id}")))?;
        if row.is_too_large {
            let place = row::place(shown, id.as_str());
            return Err(StoreError::new(Problem::Refused, place, format!("{TOO_LARGE}, and is not read")));
        }
        Ok(row.milestone(shown))
    }

    fn scan_batches(
        &mut self,
        work: &(dyn Fn(usize, Milestone) + Sync),
        done: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let shown = self.connection.shown().to_owned();
        self.batches(|rows| {
            let count = rows.len();
            work_on(rows, &shown, work);
            done(count)
        })
    }

    fn list(&mut self, wanted: &Wanted, visit: &mut dyn FnMut(Outline)) -> Result<(), StoreError> {
        self.list_wanted(wanted, visit)
    }

    fn put(&mut self, draft: &Draft, seen: Seen) -> Result<(), StoreError> {
        // It is read before it is written; a COMMIT that got no answer is another error.
        self.put_with_base(draft, seen, None).map_err(saying_what_became)
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
        format!("the table {}milescale_displaced of {} for 30 days", self.table.prefix(), self.name())
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
        self.connect()?;
        let table = &self.table;
        let asked = self.connection.transaction(Access::Read, Hurry::Yes, async |client| table.exists(client).await);
        asked.map_err(Outcome::error)
    }

    fn can_be_filled(&mut self) -> Result<(), StoreError> {
        self.connect()?;
        let (table, shown) = (self.table.clone(), self.connection.shown().to_owned());
        let looked = self
            .connection
            .transaction(Access::Read, Hurry::Yes, async |client| table.can_be_filled(client, &shown).await);
        looked.map_err(Outcome::error)?;
        // A table that is there has to be this workspace's, or nobody's.
        if self.exists()? { self.standing() } else { self.may_write().map(drop) }
    }

    fn against(&mut self, part: Part) -> Result<Against, StoreError> {
        self.against_part(part)
    }

    fn filled_from(&mut self) -> Result<Vec<Side>, StoreError> {
        self.read(async |client, table| ledger::filled_from(client, table).await)
    }

    fn may_refuse(&mut self) -> Result<bool, StoreError> {
        self.connect()?;
        let asked = self.connection.transaction(Access::Read, Hurry::Yes, trial::may_try);
        asked.map_err(Outcome::error)
    }

    fn try_out(&mut self, milestones: &mut dyn Iterator<Item = Packed>) -> Result<Vec<(String, String)>, StoreError> {
        self.try_all(milestones)
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        self.make()?;
        self.make_log()
    }

    fn load(
        &mut self,
        milestones: &mut dyn Iterator<Item = Packed>,
        from: Side,
        number: u64,
    ) -> Result<u64, StoreError> {
        self.prepare()?;
        self.load_all(milestones, from, number)
    }

    fn clear(&mut self, from: Side, now: Timestamp) -> Result<Vec<String>, StoreError> {
        self.clear_all(from, now)
    }

    fn touched(&mut self, _: SystemTime) -> Result<Touched, StoreError> {
        self.touched_since()
    }

    fn hold(&mut self) -> Result<(), StoreError> {
        self.hold_table()
    }

    fn release(&mut self) {
        self.connection.release();
    }

    fn ledger(&mut self) -> Result<&mut dyn Ledger, StoreError> {
        Ok(self)
    }

    fn refuse_writes(&mut self, message: Option<&str>) -> Result<(), StoreError> {
        self.refuse(message)
    }

    fn purge_kept(&mut self, is_over: &mut dyn FnMut(&str, Timestamp) -> bool) -> Result<(), StoreError> {
        self.purge(is_over)
    }

    fn check(&mut self) -> Result<Vec<String>, StoreError> {
        let mut wrong = Vec::new();
        self.scan(&mut |milestone| {
            if let Err(flaw) = &milestone.value {
                wrong.push(format!("{}: {flaw}", milestone.place));
            }
            ControlFlow::Continue(())
        })?;
        Ok(wrong)
    }

    fn referred(&mut self, ids: &[String]) -> Result<Vec<(String, String)>, StoreError> {
        self.read(async |client, table| Ok(table.referred(client, ids).await?))
    }

    fn hidden(&mut self) -> Result<Vec<Hindrance>, StoreError> {
        Ok(Vec::from_iter(self.rows_without_id()?))
    }

    fn nameless(&mut self) -> Result<Option<String>, StoreError> {
        Ok(self.rows_without_id()?.map(|it| format!("{}; {}", it.reason, it.do_this)))
    }

    fn ids(&mut self) -> Result<Vec<String>, StoreError> {
        self.read(async |client, table| {
            let rows = client.query_typed(&table.ids(), &[]).await?;
            Ok(rows.iter().filter_map(|row| text(row, 0).transpose()).collect::<Result<_, _>>()?)
        })
    }
}
