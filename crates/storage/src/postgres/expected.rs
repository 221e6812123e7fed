//! Whether the table behind the address is the one that milescale knows: a configuration, an environment and a search path can
//! come to name another one, and what stands there is nobody's word about this workspace's milestones.

use milescale_core::base::Side;

use super::PostgresStore;
use super::connection::Outcome;
use super::owner::belongs;
use crate::error::{Problem, StoreError};
use crate::identity::Identity;
use crate::known::Known;
use crate::store::Store as _;
use crate::tokens::Listed;

impl PostgresStore {
    /// Refuses a table that is not the one that milescale knows, before anything of it is read or written.
    pub(super) fn is_the_expected_one(&mut self) -> Result<(), StoreError> {
        if self.may_be_another {
            return Ok(());
        }
        let known = self.known()?;
        if known == Known::Not {
            return Ok(());
        }
        let listed = self.tokens.read()?;
        let owner = self.found_owner()?;
        // A separate workspace reads the table of its original until it has moved.
        if owner.is_some() && known != Known::Old && listed.confirmed_places().is_empty() {
            return Ok(());
        }
        let Some(mut cause) = self.stranger(owner, &listed)? else { return Ok(()) };
        if known == Known::Old {
            cause += ". To go on with this table and not with the old store: `milescale migrate database --engine postgresql --adopt`";
        }
        Err(StoreError::new(Problem::Refused, self.place(), cause))
    }

    /// Why it is not the one that milescale knows; `None`: it is, or nothing tells.
    pub(super) fn differs_from_the_known_one(&mut self) -> Result<Option<String>, StoreError> {
        let listed = self.tokens.read()?;
        if self.exists()? {
            self.look()?;
            let owner = self.found_owner()?;
            let why = self.stranger(owner, &listed)?;
            if why.is_some() {
                self.table.forget();
            }
            return Ok(why);
        }
        let places = listed.confirmed_places();
        let is_elsewhere = !places.is_empty() && listed.confirmed_at(&self.place()).is_none();
        Ok(is_elsewhere
            .then(|| format!("there is no table milestones here; that of this workspace is {}", known_at(&places))))
    }

    fn known(&self) -> Result<Known, StoreError> {
        let shown = self.workspace.shown(&self.workspace.record());
        Known::of(&self.workspace, Side::Postgresql)
            .map_err(|error| StoreError::io(shown, "what milescale has moved is not known", &error))
    }

    /// The number and the path of the workspace that the table which was looked at belongs to.
    fn found_owner(&mut self) -> Result<Option<(String, String)>, StoreError> {
        if !self.table.has_meta() {
            return Ok(None);
        }
        let table = &self.table;
        let read = self
            .connection
            .transaction(super::Access::Read, super::Hurry::Yes, async |client| Ok(table.owner(client).await?));
        read.map_err(Outcome::error)
    }

    /// Why a table with such an owner is none of this workspace's; `None`: it is, or nothing tells.
    fn stranger(&self, owner: Option<(String, String)>, listed: &Listed) -> Result<Option<String>, StoreError> {
        let places = listed.confirmed_places();
        let shown = self.workspace.shown(&self.workspace.identity());
        match owner {
            Some((number, path)) => {
                let identity = Identity::of(&self.workspace)
                    .map_err(|error| StoreError::io(shown, "no identity can be had", &error))?;
                Ok(identity.and_then(|identity| belongs(&identity, &number, &path).err()))
            }
            None if places.is_empty() => Ok(None),
            None if listed.confirmed_at(&self.place()).is_some() => {
                Ok(self.is_not_emptied().err().map(|error| error.cause))
            }
            None => Ok(Some(format!(
                "it is not the table that this workspace knows, which is {}; nothing was read or written. Put the address and \
                 the schema back (storage.database, or DATABASE_URL). Where it is that table, restored without milescale's own, look at what it holds, \
                 then `milescale doctor --fix identity` goes on from that",
                known_at(&places)
            ))),
        }
    }
}

fn known_at(places: &[&str]) -> String {
    places.join(", or ")
}
