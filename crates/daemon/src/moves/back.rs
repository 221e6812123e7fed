//! Writing back what names the store in use.

use std::time::SystemTime;

use milescale_migration::Said;
use milescale_workspace::error::StoreError;
use milescale_workspace::marker::{self, Word};
use milescale_workspace::switch::Switch;

use super::Mover;

impl Mover {
    /// Writes back into marker or configuration what names the store in use, where somebody has changed it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_back(&self) -> Result<bool, String> {
        if self.named_instead()?.is_none() {
            return Ok(false);
        }
        let begun = self.begin(Said::Nothing, &mut |_| {})?;
        // A migration that was interrupted may be what named it.
        if begun.now.named_instead()?.is_none() {
            return Ok(false);
        }
        begun.now.write_back_now().map(|()| true)
    }

    /// Whether that names the store in use, or the environment names another one.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn can_be_written_back(&self) -> Result<(), String> {
        self.keeper.contradicted(self.in_use()?).map_or(Ok(()), Err)
    }

    fn write_back_now(&self) -> Result<(), String> {
        let (in_use, epoch) = (self.in_use()?, self.record()?.epoch);
        self.can_be_written_back()?;
        let marker = marker::read(&self.workspace.marker()).map_err(|error| error.to_string())?;
        let commit = |switch: Result<Switch, _>| -> Result<(), String> {
            switch
                .map_err(|error: StoreError| error.to_string())?
                .commit(SystemTime::now)
                .map_err(|error| error.to_string())
        };
        if let Some(engine) = in_use.engine.filter(|engine| *engine != self.config().database.engine) {
            commit(Switch::to_engine(&self.workspace, engine, epoch))?;
        }
        if marker.word != Word::Backend(in_use.backend) {
            commit(Switch::to_backend(&self.workspace, in_use.backend, epoch))?;
        }
        Ok(())
    }
}
