//! Whether `enterprise.db` is the file that milescale knows: another program may have put another one in its place.

use milescale_core::base::Side;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::known::Known;

use super::documents::SqliteStore;
use super::{Make, has_table};

impl SqliteStore {
    /// Refuses a file that is not the one that milescale knows.
    pub(super) fn is_the_expected_one(&mut self) -> Result<(), StoreError> {
        let shown = self.workspace.shown(&self.workspace.record());
        let known = Known::of(&self.workspace, Side::Sqlite)
            .map_err(|error| StoreError::io(shown, "what milescale has moved is not known", &error))?;
        if !matches!(known, Known::InUse | Known::Old) {
            return Ok(());
        }
        let Some(mut cause) = self.stranger()? else { return Ok(()) };
        cause += if known == Known::Old {
            ", or move this one away and end the old store with `milescale retire sqlite`; `milescale migrate database --engine \
             sqlite --adopt` goes on with this one"
        } else {
            ". Where that is gone for good, `milescale doctor --fix` goes on with this one; or move this one away, and `milescale doctor` \
             names the ways on without it"
        };
        Err(self.sqlite.error(Problem::Refused, cause))
    }

    /// Why the file that is open is another one than milescale's: it has left nothing in it.
    fn stranger(&mut self) -> Result<Option<String>, StoreError> {
        let is_known = self.sqlite.run(async |connection| has_table(connection, "milescale_texts").await)?;
        Ok((!is_known).then(|| {
            "it is not the file that this workspace knows, for milescale's own tables are not in it; nothing was read or \
             written. Put that file back"
                .to_owned()
        }))
    }

    /// Why it is not the one that milescale knows; `None`: it is, or there is none.
    pub(super) fn differs_from_the_known_one(&mut self) -> Result<Option<String>, StoreError> {
        if !self.sqlite.holds_something()? {
            return Ok(None);
        }
        self.look(Make::Never)?;
        let why = self.stranger()?;
        if why.is_some() {
            self.sqlite.close();
        }
        Ok(why)
    }
}
