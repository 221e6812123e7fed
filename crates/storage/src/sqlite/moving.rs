//! Documents in SQLite that are written: one by one, or as the target or the source of a migration.

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone, Packed};
use milescale_document::text::in_command;
use milescale_workspace::error::{Problem, StoreError};

use sqlx::SqliteConnection;

use super::changes::{Changed, Changes};
use super::documents::SqliteStore;
use super::ledger::{self, OnSqlite};
use super::reading::{Kept, one};
use super::schema::{make_log, suspend_log};
use super::write::{Rows, delete_row, insert_many, put_row, remove_row};
use super::{Make, Sqlite, WriteError};
use crate::ledger::{Entry, Ledger as _};
use crate::row::{TOO_LARGE, changed, place};
use crate::store::{Seen, Store as _, Touched};

/// A row that is about to be changed.
///
/// # Errors
/// Where it is so large that what it holds was not read: nothing is written over it.
async fn one_to_change(
    connection: &mut SqliteConnection,
    id: &[u8],
    shown: &str,
) -> Result<Option<Milestone>, WriteError> {
    let row = one(connection, Kept::With, id).await?;
    if row.as_ref().is_some_and(|row| row.is_too_large) {
        let place = place(shown, &String::from_utf8_lossy(id));
        let cause = format!("{TOO_LARGE}, and nothing is written over it; make it smaller with what wrote it");
        return Err(WriteError::Store(StoreError::new(Problem::Refused, place, cause)));
    }
    Ok(row.map(|row| row.milestone(shown)))
}

impl SqliteStore {
    /// Writes a row if it is what was seen and, where it comes from an old side, its base there in the same transaction.
    pub(super) fn put_with_base(&mut self, draft: &Draft, seen: Seen, entry: Option<&Entry>) -> Result<(), StoreError> {
        self.adopt()?;
        let shown = self.sqlite.shown.clone();
        let id = draft.id.as_str().as_bytes();
        let written = self.sqlite.write(async |connection| {
            let there = one_to_change(connection, id, &shown).await?;
            match (&there, seen) {
                (None, Seen::Nothing) => {}
                (Some(there), Seen::Text(digest)) if there.digest() == digest => {}
                (there, seen) => return Err(WriteError::Store(changed(&shown, &draft.id, there.is_some(), seen))),
            }
            // What is to be noted of a text that stands there already changes nothing about it.
            let stays = entry.is_some() && seen == Seen::Text(Digest::of(&draft.text));
            let altered = if stays {
                None
            } else {
                let rows = Rows::before(connection, false).await?;
                let altered = put_row(connection, draft, there.as_ref(), (&rows, &shown)).await?;
                rows.are_there_but(&[], connection, &shown).await?;
                altered
            };
            if let Some(entry) = entry {
                if let Some(altered) = &altered {
                    return Err(WriteError::Store(altered.refused(&shown)));
                }
                ledger::enter(connection, draft.id.as_str(), entry).await?;
            }
            Ok(altered)
        });
        let altered = match written {
            Ok(altered) => altered,
            Err(error) => self.look_after(error, &draft.id, Some(&draft.text), seen).map(|()| None)?,
        };
        self.wrote();
        altered.map_or(Ok(()), |altered| Err(altered.told(&self.sqlite.shown)))
    }

    pub(super) fn remove_seen(&mut self, id: &Id, seen: Digest, now: Timestamp) -> Result<(), StoreError> {
        self.adopt()?;
        let shown = self.sqlite.shown.clone();
        let written = self.sqlite.write(async |connection| {
            let there = one_to_change(connection, id.as_str().as_bytes(), &shown).await?;
            let there = there.filter(|there| there.digest() == seen);
            let there = there.ok_or_else(|| WriteError::Store(changed(&shown, id, true, Seen::Text(seen))))?;
            let rows = Rows::before(connection, true).await?;
            remove_row(connection, &there, now, (&rows, &shown)).await?;
            rows.are_there_but(&[id.as_str()], connection, &shown).await
        });
        written.or_else(|error| self.look_after(error, id, None, Seen::Text(seen)))?;
        self.wrote();
        Ok(())
    }

    /// What a write came to that a disk has failed in: the error can come after the commit took effect, and then it was
    /// written. So the row is looked at anew. `wanted` is the text that it was to have; `None`: it was to be gone.
    fn look_after(&mut self, error: StoreError, id: &Id, wanted: Option<&[u8]>, seen: Seen) -> Result<(), StoreError> {
        if error.problem != Problem::Unavailable {
            return Err(error);
        }
        self.sqlite.close();
        let there = match self.get(id) {
            Ok(there) => Some(there.text),
            Err(missing) if missing.problem == Problem::NotThere => None,
            Err(unreadable) => {
                let cause = format!(
                    "{}; whether {id} was written is not known, for the row cannot be read ({}); `milescale milestone show {}` tells",
                    error.cause,
                    unreadable.cause,
                    in_command(id.as_str())
                );
                return Err(StoreError { problem: Problem::Unknown, cause, ..error });
            }
        };
        if there.as_deref() == wanted {
            tracing::warn!(%error, %id, "it is written all the same");
            return Ok(());
        }
        let was_seen = there.map_or(Seen::Nothing, |there| Seen::Text(Digest::of(&there)));
        let what = if was_seen == seen { "nothing was written" } else { "it has another content by now" };
        Err(StoreError { cause: format!("{}; {what}; try again", error.cause), ..error })
    }

    pub(super) fn load_all(
        &mut self,
        milestones: &mut dyn Iterator<Item = Packed>,
        from: Side,
    ) -> Result<u64, StoreError> {
        self.remembered = None;
        // Whose files it comes from is known when all are read: nobody else reads it before.
        let mode = self.sqlite.close_to_others()?;
        let loaded = self.sqlite.write(async |connection| {
            // Nobody else can write meanwhile: what is loaded need not be told to those who read the log.
            suspend_log(connection).await?;
            let count = insert_many(connection, milestones, from).await?;
            make_log(connection).await?;
            Ok(count)
        });
        self.sqlite.open_to_others(mode)?;
        loaded
    }

    /// Removes rows that still are what they were brought as, a page at a time.
    pub(super) fn clear_all(&mut self, from: Side, now: Timestamp) -> Result<Vec<String>, StoreError> {
        let (mut after, mut left) = (None::<String>, Vec::new());
        let shown = self.sqlite.shown.clone();
        loop {
            let page = self.page(from, after.as_deref(), crate::ledger::AT_ONCE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            left.extend(self.sqlite.write(async |connection| {
                let (rows, mut gone, mut left) = (Rows::before(connection, true).await?, Vec::new(), Vec::new());
                for (id, known) in &page {
                    let row = one(connection, Kept::With, id.as_bytes()).await?;
                    let Some(there) = row.map(|row| row.milestone(&shown)) else { continue };
                    let is_ours = there.content().is_same(&known.content);
                    if is_ours {
                        rows.keep_beside(connection, (id, now), &shown).await?;
                    }
                    match if is_ours { delete_row(connection, id).await? } else { 0 } {
                        0 => left.push(id.clone()),
                        count => gone.extend((0..count).map(|_| id.as_str())),
                    }
                }
                rows.are_there_but(&gone, connection, &shown).await?;
                Ok(left)
            })?);
        }
        self.wrote();
        self.forget(from)?;
        Ok(left)
    }

    pub(super) fn touched_since(&mut self) -> Result<Touched, StoreError> {
        let Some(mut watch) = self.watch.take() else {
            self.watch = Some(Changes::begin(&mut self.sqlite)?);
            return Ok(Touched::Everything);
        };
        let changed = watch.since(&mut self.sqlite)?;
        if changed == Changed::Everything {
            watch = Changes::begin(&mut self.sqlite)?;
        }
        self.watch = Some(watch);
        Ok(match changed {
            Changed::Nothing => Touched::Ids(std::collections::BTreeSet::new()),
            Changed::Rows(ids) => {
                Touched::Ids(ids.into_iter().map(|id| String::from_utf8_lossy(&id).into_owned()).collect())
            }
            Changed::Everything => Touched::Everything,
        })
    }

    fn wrote(&mut self) {
        if let Some(read) = &mut self.remembered {
            read.changes.own_writes = true;
        }
        if let Some(watch) = &mut self.watch {
            watch.own_writes = true;
        }
    }
}

impl OnSqlite for SqliteStore {
    fn ready(&mut self) -> Result<&mut Sqlite, StoreError> {
        self.open(Make::Never)?;
        if !self.has_own {
            self.adopt()?;
        }
        Ok(&mut self.sqlite)
    }
}
