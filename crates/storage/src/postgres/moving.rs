//! Documents in PostgreSQL that are written: one by one, or as the target or the source of a migration.

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_core::digest::Digest;
use milescale_core::id::Id;

use super::connection::{Access, Failed, Hurry, Outcome};
use super::{PostgresStore, changes, ledger};
use crate::error::{Problem, StoreError};
use crate::ledger::Ledger as _;
use crate::row::changed;
use crate::store::{Draft, Packed, Seen, Store as _, Touched};

/// How often a lock of the whole table is tried, each time for a moment only.
const TRIES: usize = 50;

impl PostgresStore {
    /// Writes a row if it is what was seen and, where it comes from an old side, its base there in the same transaction.
    pub(super) fn put_with_base(&mut self, draft: &Draft, seen: Seen, from: Option<Side>) -> Result<(), StoreError> {
        self.adopt()?;
        let identity = self.identity()?;
        let shown = self.connection.shown().to_owned();
        let put = self.write(&identity, Hurry::Yes, async |client, table| {
            let there = table.row(client, draft.id.as_str(), "FOR UPDATE OF m").await?.map(|row| row.milestone(&shown));
            let as_seen = match (&there, seen) {
                (None, Seen::Nothing) => true,
                (Some(there), Seen::Text(digest)) => there.digest() == digest,
                _ => false,
            };
            // Somebody else may insert the row between the look and the insertion.
            if !as_seen || !table.put(client, draft, there.as_ref()).await? {
                return Err(Failed::Store(changed(&shown, &draft.id, there.is_some(), seen)));
            }
            if let Some(side) = from {
                ledger::set(client, table, side, &[(draft.id.to_string(), draft.content())]).await?;
            }
            Ok(())
        });
        match put {
            Ok(()) => Ok(()),
            Err(Outcome::NotDone(error)) => Err(error),
            // The answer was lost: what stands there now tells.
            Err(Outcome::Unknown(error)) => match self.row(&draft.id) {
                Ok(Some(row)) if row.kept.as_ref().is_some_and(|(text, _)| *text == draft.text) => Ok(()),
                Ok(_) => Err(error),
                Err(_) => {
                    let cause = format!("{}; whether {} was written is not known: look at it", error.cause, draft.id);
                    Err(StoreError { cause, ..error })
                }
            },
        }
    }

    pub(super) fn remove_seen(&mut self, id: &Id, seen: Digest, now: Timestamp) -> Result<(), StoreError> {
        self.adopt()?;
        let identity = self.identity()?;
        let shown = self.connection.shown().to_owned();
        let removed = self.write(&identity, Hurry::Yes, async |client, table| {
            let there = table.row(client, id.as_str(), "FOR UPDATE OF m").await?.map(|row| row.milestone(&shown));
            let there = there.filter(|there| there.digest() == seen);
            let there = there.ok_or_else(|| changed(&shown, id, true, Seen::Text(seen)))?;
            Ok(table.remove(client, &there, now).await?)
        });
        removed.map_err(Outcome::error)
    }

    /// Loads all rows, their bases and the number in one transaction. Where its COMMIT got no answer, the number tells.
    pub(super) fn load_all(
        &mut self,
        milestones: &mut dyn Iterator<Item = Packed>,
        from: Side,
        number: u64,
    ) -> Result<u64, StoreError> {
        let identity = self.identity()?;
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let mut count = 0;
        let loaded = self.write(&identity, Hurry::No, async |client, table| {
            // What nobody reads yet need not be told to those who read the log.
            client.batch_execute(&table.log_triggers("DISABLE")).await?;
            count = table.copy(client, milestones, from).await?;
            client.batch_execute(&table.log_triggers("ENABLE")).await?;
            ledger::complete(client, table, from).await?;
            table.set_epoch(client, number).await?;
            Ok(())
        });
        match loaded {
            Ok(()) => {}
            Err(Outcome::NotDone(error)) => return Err(error),
            Err(Outcome::Unknown(error)) => {
                self.epoch = None;
                self.adopt()?;
                if self.epoch != Some(number) {
                    return Err(error);
                }
            }
        }
        self.epoch = Some(number);
        // Only for speed, and by and by the server does it itself.
        let vacuum = self.table.vacuum();
        if let Err(error) = self.connection.outside_transaction(&vacuum) {
            tracing::debug!(%error, "the table is not vacuumed yet");
        }
        Ok(count)
    }

    /// Removes rows that still are what they were brought as, a page at a time.
    pub(super) fn clear_all(&mut self, from: Side) -> Result<Vec<String>, StoreError> {
        self.adopted()?;
        let identity = self.identity()?;
        let (mut after, mut left) = (None::<String>, Vec::new());
        let shown = self.connection.shown().to_owned();
        loop {
            let page = self.page(from, after.as_deref(), crate::ledger::AT_ONCE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let cleared = self.write(&identity, Hurry::No, async |client, table| {
                let mut left = Vec::new();
                for (id, known) in &page {
                    let row = table.row(client, id, "FOR UPDATE OF m").await?;
                    let Some(there) = row.map(|row| row.milestone(&shown)) else { continue };
                    if there.content().is_same(&known.content) {
                        table.delete(client, id).await?;
                    } else {
                        left.push(id.clone());
                    }
                }
                Ok(left)
            });
            left.extend(cleared.map_err(Outcome::error)?);
        }
        self.forget(from)?;
        Ok(left)
    }

    /// Makes the log of changes where it is not there. Its triggers need a moment without writers.
    pub(super) fn make_log(&mut self) -> Result<(), StoreError> {
        if self.read(async |client, table| Ok(changes::is_there(client, table).await?))? {
            return Ok(());
        }
        let identity = self.identity()?;
        self.patiently(|store| {
            let made = store.write(&identity, Hurry::Yes, async |client, table| {
                client.batch_execute("SET LOCAL lock_timeout = 200").await?;
                Ok(client.batch_execute(&changes::make(table.prefix())).await?)
            });
            made.map_err(Outcome::error)
        })
    }

    /// Tries again while somebody else is in the way.
    fn patiently(&mut self, mut work: impl FnMut(&mut Self) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
            match work(self) {
                Err(error) if error.problem == Problem::Busy && tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                other => return other,
            }
        }
    }

    pub(super) fn touched_since(&mut self) -> Result<Touched, StoreError> {
        let Some(mark) = self.watch.clone() else {
            self.adopt()?;
            self.make_log()?;
            let mark = self.read(async |client, table| Ok(changes::begin(client, table).await?))?;
            self.watch = Some(mark);
            return Ok(Touched::Everything);
        };
        let told = self.read(async |client, table| {
            if !changes::is_there(client, table).await? {
                return Ok(None);
            }
            Ok(Some(changes::since(client, table, &mark).await?))
        })?;
        let Some((touched, mark)) = told else {
            self.watch = None;
            return self.touched_since();
        };
        self.watch = Some(mark);
        Ok(touched)
    }

    /// Keeps other writers out of the table; tried for a moment.
    pub(super) fn hold_table(&mut self) -> Result<(), StoreError> {
        self.open()?;
        let lock = self.table.lock();
        self.connection.hold(&lock)
    }

    pub(super) fn refuse(&mut self, message: Option<&str>) -> Result<(), StoreError> {
        self.adopt()?;
        let identity = self.identity()?;
        let statements = self.table.refuse(message);
        self.patiently(|store| {
            let done = store.write(&identity, Hurry::Yes, async |client, _| {
                client.batch_execute("SET LOCAL lock_timeout = 200").await?;
                Ok(client.batch_execute(&statements).await?)
            });
            done.map_err(Outcome::error)
        })
    }

    /// The other workspace that the table belongs to.
    pub(super) fn owned_by(&mut self) -> Result<Option<String>, StoreError> {
        self.open()?;
        if !self.table.has_own() {
            return Ok(None);
        }
        let identity = self.identity()?;
        let owner = self.read(async |client, table| Ok(table.owner(client).await?))?;
        Ok(owner
            .filter(|(number, _)| *number != identity.number)
            .map(|(number, path)| format!("{path} (number {number})")))
    }

    /// Makes the table this workspace's.
    pub(super) fn make_ours(&mut self) -> Result<(), StoreError> {
        self.open()?;
        let (identity, table) = (self.identity()?, self.table.clone());
        let done = self
            .connection
            .transaction(Access::Write, Hurry::Yes, async |client| Ok(table.set_owner(client, &identity).await?));
        done.map_err(Outcome::error)
    }

    /// Drops what of the log is old enough.
    pub(super) fn prune_log(&mut self) -> Result<(), StoreError> {
        if self.watch.is_none() || !self.read(async |client, table| Ok(changes::is_there(client, table).await?))? {
            return Ok(());
        }
        let prune = changes::prune(self.table.prefix());
        let pruned = self
            .connection
            .transaction(Access::Write, Hurry::Yes, async |client| Ok(client.batch_execute(&prune).await?));
        pruned.map_err(Outcome::error)
    }

    /// Adopts the table, unless that was done on this connection.
    pub(super) fn adopted(&mut self) -> Result<(), StoreError> {
        if self.epoch.is_some() && self.table.has_own() && self.is_compared { self.open() } else { self.adopt() }
    }
}
