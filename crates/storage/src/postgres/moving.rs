//! Documents in PostgreSQL that are written: one by one, or as the target or the source of a migration.

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Packed};
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::identity::Identity;

use super::along::Along;
use super::chain::Claim;
use super::connection::Hurry;
use super::documents::Wrote;
use super::{PostgresStore, changes, ledger, shape};
use crate::ledger::{Entry, Ledger as _};
use crate::row;
use crate::store::{Seen, Touched};

/// How often a lock of the whole table is tried, each time for a moment only.
const TRIES: usize = 50;

impl PostgresStore {
    /// Writes a row if it is what was seen and, where it comes from an old side, its base there in the same transaction.
    ///
    /// # Errors
    /// [`Problem::Altered`] where a trigger made something else of it: a caller's own write stays, what comes from an old
    /// side does not.
    pub(super) fn put_with_base(&mut self, draft: &Draft, seen: Seen, entry: Option<&Entry>) -> Result<(), StoreError> {
        let shown = self.connection.shown().to_owned();
        let altered = self.write(Hurry::Yes, async |client, table| {
            let there = table.row(client, draft.id.as_str(), "FOR UPDATE OF m").await?.map(|row| row.milestone(&shown));
            let as_seen = match (&there, seen) {
                (None, Seen::Nothing) => true,
                (Some(there), Seen::Text(digest)) => there.digest() == digest,
                _ => false,
            };
            if !as_seen {
                return Err(row::changed(&shown, &draft.id, there.is_some(), seen).into());
            }
            // What is to be noted of a text that stands there already changes nothing about it.
            let stays = entry.is_some() && seen == Seen::Text(Digest::of(&draft.text));
            let along = if stays { None } else { Some(Along::before(client, table).await?) };
            let altered = match if stays { Wrote::All } else { table.put(client, draft, there.as_ref()).await? } {
                Wrote::All => None,
                // Somebody else has inserted the row between the look and the insertion.
                Wrote::Nothing => return Err(row::changed(&shown, &draft.id, true, seen).into()),
                Wrote::Suppressed => return Err(row::suppressed(&shown, &draft.id).into()),
                Wrote::Altered(altered) if entry.is_some() => return Err(altered.refused(&shown).into()),
                Wrote::Altered(altered) => Some(altered),
            };
            if let Some(along) = along {
                along.is_only((0, ""), client, (table, &shown)).await?;
            }
            if let Some(entry) = entry {
                ledger::enter(client, table, draft.id.as_str(), entry).await?;
            }
            Ok(altered)
        })?;
        altered.map_or(Ok(()), |altered| Err(altered.told(self.connection.shown())))
    }

    pub(super) fn remove_seen(&mut self, id: &Id, seen: Digest, now: Timestamp) -> Result<(), StoreError> {
        let shown = self.connection.shown().to_owned();
        self.write(Hurry::Yes, async |client, table| {
            let there = table.row(client, id.as_str(), "FOR UPDATE OF m").await?.map(|row| row.milestone(&shown));
            let there = there.filter(|there| there.digest() == seen);
            let there = there.ok_or_else(|| row::changed(&shown, id, true, Seen::Text(seen)))?;
            let along = Along::before(client, table).await?;
            table.remove(client, &there, now).await?;
            along.is_only((1, id.as_str()), client, (table, &shown)).await
        })
    }

    /// Loads all rows, their bases and the number in one transaction.
    pub(super) fn load_all(
        &mut self,
        milestones: &mut dyn Iterator<Item = Packed>,
        from: Side,
        number: u64,
    ) -> Result<u64, StoreError> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let count = self.write(Hurry::No, async |client, table| {
            // What nobody reads yet need not be told to those who read the log.
            client.batch_execute(&table.log_triggers("DISABLE")).await?;
            let count = table.copy(client, milestones, from).await?;
            client.batch_execute(&table.log_triggers("ENABLE")).await?;
            ledger::complete(client, table, from).await?;
            table.set_epoch(client, number).await?;
            Ok(count)
        })?;
        if let Some(owned) = &mut self.owned {
            owned.epoch = number;
        }
        // Only for speed, and by and by the server does it itself. To look at values runs what the table's indexes call: in a transaction, where
        // names mean the server's own. Pages are left to the server to clean: that has no transaction, and waits for whoever reads them.
        let analyzed = self.write(Hurry::Yes, async |client, table| Ok(client.batch_execute(&table.analyze()).await?));
        if let Err(error) = analyzed {
            tracing::debug!(%error, "the table is not analyzed yet");
        }
        Ok(count)
    }

    /// Removes rows that still are what they were brought as, a page at a time.
    pub(super) fn clear_all(&mut self, from: Side, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let (mut after, mut left) = (None::<String>, Vec::new());
        let shown = self.connection.shown().to_owned();
        loop {
            let page = self.page(from, after.as_deref(), crate::ledger::AT_ONCE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let cleared = self.write(Hurry::No, async |client, table| {
                let (along, mut left, mut gone) = (Along::before(client, table).await?, Vec::new(), 0);
                for (id, known) in &page {
                    let row = table.row(client, id, "FOR UPDATE OF m").await?;
                    let Some(there) = row.map(|row| row.milestone(&shown)) else { continue };
                    let is_ours = there.content().is_same(&known.content);
                    if is_ours {
                        table.keep_columns(client, id, now).await?;
                    }
                    if is_ours && table.delete(client, id).await? {
                        gone += 1;
                    } else {
                        left.push(id.clone());
                    }
                }
                along.is_only((gone, "what the move has brought"), client, (table, &shown)).await?;
                Ok(left)
            });
            left.extend(cleared?);
        }
        self.forget(from)?;
        Ok(left)
    }

    /// Makes the log of changes where it is not there. Its triggers need a moment without writers.
    pub(super) fn make_log(&mut self) -> Result<(), StoreError> {
        if self.has_log()? {
            return Ok(());
        }
        let place = self.connection.shown().to_owned();
        self.patiently(|store| {
            store.write(Hurry::Yes, async |client, table| {
                client.batch_execute("SET LOCAL lock_timeout = 200").await?;
                shape::make(client, table, &changes::make(table), &place).await
            })
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
            self.make_watchable()?;
            let mark = self.read(async |client, table| Ok(changes::begin(client, table).await?))?;
            self.watch = Some(mark);
            return Ok(Touched::Everything);
        };
        self.is_still_ours()?;
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
        if !self.connection.is_held()
            && let Err(error) = self.prune_log()
        {
            // Another workspace's log is not pruned from here.
            tracing::debug!(%error, "the log of changes is not pruned");
        }
        Ok(touched)
    }

    /// Makes the log, where the table is this workspace's. One of another workspace can be watched where that has made it.
    fn make_watchable(&mut self) -> Result<(), StoreError> {
        match self.adopted() {
            Ok(()) => self.make_log(),
            Err(error) => {
                let may = error.problem == Problem::Refused && self.is_anothers()?;
                if may && self.has_log()? { Ok(()) } else { Err(error) }
            }
        }
    }

    fn has_log(&mut self) -> Result<bool, StoreError> {
        self.read(async |client, table| Ok(changes::is_there(client, table).await?))
    }

    /// Looks after the log where there is one: its triggers go with a table that is made anew, and it must not grow for
    /// ever.
    pub(super) fn keep_log(&mut self) -> Result<(), StoreError> {
        if !self.read(async |client, table| Ok(changes::has_table(client, table).await?))? {
            return Ok(());
        }
        self.make_log()?;
        self.prune_log()
    }

    fn prune_log(&mut self) -> Result<(), StoreError> {
        while self.read(async |client, table| Ok(changes::is_long(client, table).await?))? {
            if !self.write(Hurry::Yes, async |client, table| Ok(changes::prune(client, table).await?))? {
                break;
            }
        }
        Ok(())
    }

    /// Keeps other writers out of the table; tried for a moment.
    pub(super) fn hold_table(&mut self) -> Result<(), StoreError> {
        self.open()?;
        let lock = self.table.lock();
        self.connection.hold(&lock)
    }

    pub(super) fn refuse(&mut self, message: Option<&str>) -> Result<(), StoreError> {
        // Which schema is meant, the session says.
        self.open()?;
        let (statements, place) = (self.table.refuse(message), self.connection.shown().to_owned());
        self.patiently(|store| {
            store.write(Hurry::Yes, async |client, table| {
                client.batch_execute("SET LOCAL lock_timeout = 200").await?;
                shape::make(client, table, &statements, &place).await
            })
        })
    }

    /// Adopts the table, unless that was done on this connection.
    pub(super) fn adopted(&mut self) -> Result<(), StoreError> {
        if self.owned.is_some() && self.table.has_own() && self.is_compared {
            self.open()
        } else {
            self.ensure(Claim::AsFound)
        }
    }

    /// The workspace's identity, drawn where there is none.
    pub(super) fn identity(&self) -> Result<Identity, StoreError> {
        let shown = self.workspace.shown(&self.workspace.identity());
        Identity::of_or_drawn(&self.workspace).map_err(|error| StoreError::io(shown, "no identity can be had", &error))
    }

    /// Lets milescale's own tables be read, those of another workspace too.
    pub(super) fn readable(&mut self) -> Result<(), StoreError> {
        match self.adopted() {
            Err(error) if error.problem == Problem::Refused && self.table.has_own() && self.is_anothers()? => Ok(()),
            other => other,
        }
    }
}
