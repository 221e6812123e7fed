//! What each row adds to the figures, remembered between looks, so that only changed rows are read again.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use milescale_core::figures::StoreFigures;
use milescale_document::document::Flaw;
use milescale_workspace::error::StoreError;
use sqlx::{AssertSqlSafe, Row as _};

use super::changes::{Changed, Changes};
use super::documents::SqliteStore;
use super::reading::{Kept, one, range};
use super::{Make, Onward};
use crate::row::{Adds, LONGEST_ID, place};

/// Ids read at once from an index: a read lock of well below 2 ms.
const KEYS: i64 = 500;

/// Rows without a name whose numbers are told.
pub(super) const NAMED: usize = 10;

/// What to do about rows without a name.
pub(super) const NAMELESS_ADVICE: &str =
    "give them one, in a column id TEXT; or take them out, after a copy of the file";

/// How many rows have no name, with the numbers of the first.
pub(super) fn nameless(count: usize, numbers: &[i64]) -> String {
    let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
    let more = if count > numbers.len() && !numbers.is_empty() { ", …" } else { "" };
    let which = if numbers.is_empty() { String::new() } else { format!(" (rowid {}{more})", numbers.join(", ")) };
    format!("{count} rows have no id that is a text of at most {LONGEST_ID} bytes{which}")
}

/// The rows as they were last read.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    rows: HashMap<Box<[u8]>, Adds>,
    /// Rows whose id is no text (NULL, a number, a blob) or one that no milestone could have: they count and have no name.
    nameless: Vec<Adds>,
    /// The numbers of the first of them, where they have one.
    numbers: Vec<i64>,
    /// Up to where they are known.
    pub(super) changes: Changes,
}

impl Remembered {
    /// Nothing read yet.
    pub(super) fn since(changes: Changes) -> Self {
        Self { changes, ..Self::default() }
    }

    pub(super) fn insert(&mut self, id: Vec<u8>, adds: Adds) {
        self.rows.insert(id.into(), adds);
    }

    pub(super) fn insert_nameless(&mut self, number: Option<i64>, adds: Adds) {
        self.nameless.push(adds);
        self.numbers.extend(number.filter(|_| self.numbers.len() < NAMED));
    }

    pub(super) fn remove(&mut self, id: &[u8]) {
        self.rows.remove(id);
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.rows.keys().map(|id| String::from_utf8_lossy(id))
    }

    pub(super) fn figures(&self) -> StoreFigures {
        let mut figures = StoreFigures::default();
        self.rows.values().chain(&self.nameless).for_each(|adds| adds.add_to(&mut figures));
        figures
    }

    pub(super) fn flawed(&self, table: &str) -> BTreeMap<String, Flaw> {
        let mut flawed: BTreeMap<_, _> = self
            .rows
            .iter()
            .filter_map(|(id, adds)| {
                Some((place(table, &String::from_utf8_lossy(id)), (**adds.flaw.as_ref()?).clone()))
            })
            .collect();
        if !self.nameless.is_empty() {
            let reason = format!("{}; {}", nameless(self.nameless.len(), &self.numbers), NAMELESS_ADVICE);
            flawed.insert(format!("{table}, rows without an id"), Flaw { position: None, reason });
        }
        flawed
    }
}

impl SqliteStore {
    /// Reads all rows.
    pub(super) fn read_everything(&mut self) -> Result<Remembered, StoreError> {
        let mut read = Remembered::since(Changes::begin(&mut self.sqlite)?);
        self.rows(Kept::Without, |mut row| {
            let adds = row.adds();
            read.insert(std::mem::take(&mut row.id), adds);
            ControlFlow::Continue(())
        })?;
        self.nameless_rows(|number, row| read.insert_nameless(number, row.adds()))?;
        Ok(read)
    }

    /// Brings what is remembered up to date; `false` where only reading everything does.
    pub(super) fn read_changes(&mut self, read: &mut Remembered) -> Result<bool, StoreError> {
        let changed = match read.changes.since(&mut self.sqlite)? {
            Changed::Nothing => return Ok(true),
            Changed::Everything => return Ok(false),
            // Of a row whose id is no text the log does not tell which it is.
            Changed::Rows(_) if !self.shape.keeps_texts => return Ok(false),
            Changed::Rows(changed) => changed,
        };
        for id in changed {
            match self.sqlite.run(async |connection| one(connection, Kept::Without, &id).await)? {
                Some(row) => read.insert(id, row.adds()),
                None => read.remove(&id),
            }
        }
        Ok(true)
    }

    /// The ids of all rows, page by page.
    pub(super) fn all_ids(&mut self) -> Result<Vec<String>, StoreError> {
        self.open(Make::Never)?;
        let (mut ids, mut after) = (Vec::new(), Onward::<Vec<u8>>::new());
        self.sqlite.pages(
            KEYS,
            async |connection| {
                let select = format!(
                    "SELECT CAST(id AS BLOB) FROM milestones WHERE {} LIMIT ?2",
                    range("id", after.at().map(Vec::as_slice))
                );
                let from = after.at().cloned().unwrap_or_default();
                let query = sqlx::query(AssertSqlSafe(select)).bind(from).bind(KEYS);
                let rows = query.fetch_all(connection).await?;
                let page: Vec<Vec<u8>> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
                after.to(page.last().cloned())?;
                Ok(page)
            },
            |id| {
                ids.push(String::from_utf8_lossy(&id).into_owned());
                ControlFlow::Continue(())
            },
        )?;
        Ok(ids)
    }
}
