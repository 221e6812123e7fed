//! A record of moves that is lost, and a new one in its place.

use milescale_migration::Said;

use super::Mover;
use crate::sweeps::record_is_lost;

impl Mover {
    /// That milescale's record of its moves is lost, where that is known, and what to do about that.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lost_record(&self) -> Result<Option<String>, String> {
        Ok(self.record()?.is_lost().then(|| format!("{}: {}", self.shown_record(), record_is_lost())))
    }

    /// Refuses what goes by the record where it is lost.
    pub(super) fn has_record(&self) -> Result<(), String> {
        self.lost_record()?.map_or(Ok(()), Err)
    }

    /// Begins a new record, with what is in use now and no old stores, where it is lost.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin_record(&self) -> Result<(), String> {
        let begun = self.begin_unless_stuck(Said::Nothing, &mut |_| {})?;
        let record = begun.now.record()?;
        if !record.is_lost() {
            return Err("the record of moves is there again; nothing was changed".to_owned());
        }
        let record = record.anew(begun.now.in_use()?);
        record.save(&self.workspace).map_err(|error| format!("{}: {error}", self.shown_record()))
    }

    fn shown_record(&self) -> String {
        self.workspace.shown(&self.workspace.record())
    }
}
