//! What an index says otherwise than its files.

use std::fmt;

use crate::row::place;

/// What became of a row of an index that did not say what its file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mended {
    /// A file had no row.
    Added,
    /// A row had no file.
    Removed,
    /// A row said something else.
    Changed,
}

/// A row of an index that does not say what its file says, or did not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The index, as people read it.
    #[serde(skip)]
    pub index: String,
    /// The milestone.
    pub id: String,
    /// What mends it.
    pub mended: Mended,
    /// Columns of the row that mending overwrites: name, what stood there, what the file says.
    pub overwritten: Vec<(&'static str, Option<String>, Option<String>)>,
}

impl Difference {
    /// The same without what row and file say, for a log that all read who may not read these.
    #[must_use]
    pub fn without_values(mut self) -> Self {
        let hidden = |value: &mut Option<String>| {
            if let Some(value) = value {
                "…".clone_into(value);
            }
        };
        for (_, was, is) in &mut self.overwritten {
            hidden(was);
            hidden(is);
        }
        self
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = place(&self.index, &self.id);
        match self.mended {
            Mended::Added => write!(f, "{place}: missing, though there is a file"),
            Mended::Removed => write!(f, "{place}: there is no such file"),
            Mended::Changed => {
                let columns: Vec<_> = self.overwritten.iter().map(|(name, ..)| *name).collect();
                write!(f, "{place}: it does not say what the file says: {}", columns.join(", "))
            }
        }
    }
}
