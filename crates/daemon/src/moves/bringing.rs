//! Bringing over what was written to old stores, at a person's word.

use milescale_migration::{Holding, Said, Sweeper, Swept, Told};

use super::{Mover, STILL_WITHIN};

impl Mover {
    /// Brings over the changes of old stores that wait for a person, those of retired stores too. How many were, how many are
    /// conflicts, and how many cannot be brought over.
    ///
    /// # Errors
    /// When a store cannot be read or written.
    pub fn import(&self, stop: &dyn Fn() -> bool, tell: &mut dyn FnMut(Told)) -> Result<Swept, String> {
        let begun = self.begin(Said::Nothing, tell)?;
        begun.now.has_record()?;
        begun.now.bring_over(Holding::Nothing, stop, tell)
    }

    /// Brings over what was written to old stores.
    pub(super) fn bring_over(
        &self,
        holding: Holding,
        stop: &dyn Fn() -> bool,
        tell: &mut dyn FnMut(Told),
    ) -> Result<Swept, String> {
        let (in_use, record) = (self.in_use()?, self.record()?);
        let mut tell = self.saying(tell);
        let mut context = self.context(stop, &mut tell);
        let mut current = self.open(in_use)?;
        let mut all = Swept::default();
        for old in &record.old {
            let swept = self.open(old.was).and_then(|store| {
                let mut sweeper = Sweeper::new(old.clone(), store, in_use);
                let swept = sweeper.until_still(&mut *current, holding, STILL_WITHIN, &mut context);
                swept.map_err(|error| error.to_string())
            });
            match swept {
                Ok(swept) => {
                    all.imported += swept.imported;
                    all.conflicts += swept.conflicts;
                    all.failing += swept.failing;
                }
                // One that is retired may be gone for good.
                Err(error) if old.retired.is_some() => tracing::debug!(error, "a retired store is not looked at"),
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }
}
