//! A workspace that may be a copy: what a person is asked, and what the answer does.

use std::collections::BTreeSet;

use milescale_core::base::Side;
use milescale_migration::{identity, take_lock};
use milescale_storage::open::Which;
use milescale_workspace::lock::Held;

use super::{Mover, PATIENCE};

impl Mover {
    /// Why this workspace may not write on its server; `None`: it may, or has nothing on one.
    ///
    /// # Errors
    /// When that cannot be found out now.
    pub fn in_question(&self) -> Result<Option<String>, String> {
        let mut silent = |_| {};
        identity::in_question(self.in_use().ok(), &self.context(&|| false, &mut silent))
            .map_err(|error| error.to_string())
    }

    /// Where the milestones of this workspace are once it is a separate one, and what can be done about that.
    pub fn data_of_a_separate_one(&self) -> String {
        match self.in_use() {
            Ok(in_use) if in_use.side() == Side::Postgresql => "its milestones are read from the table of the other one, and \
                 nothing can be written there. `milescale migrate file` (or hybrid, or database --engine sqlite) copies them \
                 into this folder; where the files here were changed since, `milescale migrate database --engine sqlite` does, and then \
                 `milescale import`. After that, storage.database.schema can name a schema of its own to move to"
                .to_owned(),
            Ok(in_use) => format!("its milestones are in {in_use}, in this folder"),
            Err(why) => why,
        }
    }

    /// Milestones that the store in use held when it was read last, and that the table on the server has not: it may be another one. None
    /// where another store is in use, or nothing is known.
    pub fn missing_on_the_server(&self) -> Vec<String> {
        let missing = || {
            let in_use = self.in_use().ok().filter(|it| it.side() == Side::Postgresql)?;
            let known = self.last_ids().ok()??;
            let mut store = Which::of(in_use, self.config()).open(&self.workspace, 0).ok()?;
            store.may_be_another();
            let there: BTreeSet<String> = store.ids().ok()?.into_iter().collect();
            Some(known.into_iter().filter(|id| !there.contains(id)).collect())
        };
        missing().unwrap_or_default()
    }

    /// This workspace goes on with its number.
    ///
    /// # Errors
    /// Why it could not be done.
    pub fn go_on(&self) -> Result<(), String> {
        let _held = self.lock()?;
        let mut silent = |_| {};
        identity::go_on(self.in_use().ok(), &self.context(&|| false, &mut silent)).map_err(|error| error.to_string())
    }

    /// This workspace is another one from now on.
    ///
    /// # Errors
    /// Why it could not be done.
    pub fn separate(&self) -> Result<(), String> {
        let _held = self.lock()?;
        let mut silent = |_| {};
        identity::separate(&self.context(&|| false, &mut silent)).map_err(|error| error.to_string())
    }

    fn lock(&self) -> Result<Held, String> {
        let shown = self.workspace.shown(&self.workspace.migration_lock());
        let held = take_lock(&self.workspace, PATIENCE).map_err(|error| format!("{shown}: {error}"))?;
        held.ok_or_else(|| format!("{shown}: another command is at work; try again once it has ended"))
    }
}
