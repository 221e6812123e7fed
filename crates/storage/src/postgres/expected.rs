//! Whether the table behind the address is the one that milescale knows: a configuration, an environment and a search path can
//! come to name another one, and what stands there is nobody's word about this workspace's milestones.

use milescale_core::base::Side;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::identity::Identity;
use milescale_workspace::known::Known;
use milescale_workspace::tokens::{Listed, Used};
use tokio_postgres::types::{ToSql, Type};

use super::PostgresStore;
use super::connection::Outcome;
use super::owner::{Meta, belongs};
use crate::store::Store as _;

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
        if let Some((used, place)) = listed.used().filter(|(_, place)| *place == self.place()) {
            let schema = self.schema_here()?;
            return Ok((schema != used.schema).then(|| {
                format!(
                    "there is no table milestones in the schema {schema}; that of this workspace is {place}, in {}",
                    used.schema
                )
            }));
        }
        let is_elsewhere = !places.is_empty() && listed.confirmed_at(&self.place()).is_none();
        Ok(is_elsewhere
            .then(|| format!("there is no table milestones here; that of this workspace is {}", known_at(&places))))
    }

    /// The schema of the table, else the one where it would be made.
    fn schema_here(&mut self) -> Result<String, StoreError> {
        let (table, named) = (&self.table, self.table.named("milestones"));
        let select =
            "SELECT coalesce((SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass($1)), $2)";
        let parameters = [(&named as &(dyn ToSql + Sync), Type::TEXT), (&table.used, Type::TEXT)];
        let read = self.connection.transaction(super::Access::Read, super::Hurry::Yes, async |client| {
            Ok(client.query_typed_one(select, &parameters).await?.try_get::<_, String>(0)?)
        });
        read.map_err(Outcome::error)
    }

    pub(super) fn known(&self) -> Result<Known, StoreError> {
        let shown = self.workspace.shown(&self.workspace.record());
        Known::of(&self.workspace, Side::Postgresql)
            .map_err(|error| StoreError::io(shown, "what milescale has moved is not known", &error))
    }

    /// Whose the table is that was looked at.
    fn found_owner(&mut self) -> Result<Option<Owner>, StoreError> {
        if !self.table.has_meta() {
            return Ok(None);
        }
        let table = &self.table;
        let read = self.connection.transaction(super::Access::Read, super::Hurry::Yes, async |client| {
            if table.has_own() {
                let meta = table.meta(client, "").await?;
                return Ok(meta.map(|Meta { number, path, chain, .. }| Owner { number, path, chain }));
            }
            Ok(table.owner(client).await?.map(|(number, path)| Owner { number, path, chain: None }))
        });
        read.map_err(Outcome::error)
    }

    /// Why a table with such an owner is none of this workspace's, or not the one of them that it uses; `None`: it is, or nothing
    /// tells.
    fn stranger(&mut self, owner: Option<Owner>, listed: &Listed) -> Result<Option<String>, StoreError> {
        let places = listed.confirmed_places();
        let shown = self.workspace.shown(&self.workspace.identity());
        match owner {
            Some(Owner { number, path, chain }) => {
                let identity = Identity::of(&self.workspace)
                    .map_err(|error| StoreError::io(shown, "no identity can be had", &error))?;
                let foreign = identity.and_then(|identity| belongs(&identity, &number, &path).err());
                Ok(match foreign {
                    None => self.is_not_the_used_one(chain.as_deref(), listed)?,
                    foreign => foreign,
                })
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

    /// Why a table of this workspace's with such a chain is not the one that it uses: one of before.
    fn is_not_the_used_one(&mut self, chain: Option<&str>, listed: &Listed) -> Result<Option<String>, StoreError> {
        let Some(((used, place), chain)) = listed.used().zip(chain) else { return Ok(None) };
        if used.chain == chain {
            return Ok(None);
        }
        // At the same place it is that table, and somebody has begun another chain there: a writer is told.
        if place == self.place() && used.schema == self.schema_here()? {
            return Ok(None);
        }
        Ok(Some(format!(
            "it is a table that this workspace has left; the one that it uses is {place}, in the schema {}; nothing was read or written. \
             Put the address and the schema back (storage.database, DATABASE_URL, or the user's search_path). If it is to go on with this one, look at what it holds, \
             then `milescale doctor --fix identity` does so",
            used.schema
        )))
    }

    /// Notes that the table is the one in use from now on, or is about to be.
    pub(super) fn note_used(&mut self) -> Result<(), StoreError> {
        let identity = self.may_write()?;
        // At a person's word, or filled by a move: it need not be the one that was noted before.
        let before = std::mem::replace(&mut self.may_be_another, true);
        let found = self.find(&identity);
        self.may_be_another = before;
        found?;
        let Some(owned) = self.owned.clone() else { return Ok(()) };
        let schema = self.schema_here()?;
        self.tokens.use_table(&Used { chain: owned.chain, schema })
    }
}

/// Whose a table is: the number and the path of the workspace, and the name of the chain, where it has one.
struct Owner {
    number: String,
    path: String,
    chain: Option<String>,
}

fn known_at(places: &[&str]) -> String {
    places.join(", or ")
}
