//! What each row adds to the figures, remembered between looks, so that only changed rows are read again.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use milescale_core::document::Flaw;
use milescale_core::figures::StoreFigures;

use super::changes::Changes;
use crate::row::{Adds, place};

/// The rows as they were last read.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    rows: HashMap<Box<[u8]>, Adds>,
    /// Rows whose id is no text (NULL, a blob): they count and have no name.
    pub(super) nameless: Vec<Adds>,
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
            let reason =
                format!("{} rows have no id that is a text; give them one, or delete them", self.nameless.len());
            flawed.insert(format!("{table}, rows without an id"), Flaw { position: None, reason });
        }
        flawed
    }
}
