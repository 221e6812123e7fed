//! The store behind an address: opened, connected to, and looked at.

use std::time::Duration;

use milescale_core::config::Database;
use milescale_workspace::Workspace;
use milescale_workspace::error::StoreError;
use milescale_workspace::tokens::Tokens;

use super::connection::{Access, Connection, Hurry, Outcome, Timeouts};
use super::documents::Table;
use super::shape::Guard;
use super::{PostgresStore, address};

impl PostgresStore {
    /// The store behind a URL, without an environment; `schema` empty: the one that the server's search path says. A
    /// connection is made when it is first needed.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub fn new(
        workspace: &Workspace,
        url: &str,
        schema: &str,
        statement_timeout: Duration,
    ) -> Result<Self, StoreError> {
        let database = Database { url: url.to_owned(), schema: schema.to_owned(), ..Database::default() };
        Self::at(workspace, &database, Timeouts { statement: statement_timeout, reconnect: Duration::ZERO })
    }

    /// The store that a configuration and its environment name.
    ///
    /// # Errors
    /// When the address cannot be understood.
    pub fn at(workspace: &Workspace, database: &Database, timeouts: Timeouts) -> Result<Self, StoreError> {
        let address = address::read(&database.url, database.url_from, &database.client)?;
        Ok(Self {
            workspace: workspace.clone(),
            connection: Connection::new(workspace, address, timeouts)?,
            table: Table::new(&database.schema),
            statement_timeout: timeouts.statement,
            tokens: Tokens::of(workspace),
            owned: None,
            may_be_another: false,
            is_compared: false,
            watch: None,
            flawed: std::collections::BTreeMap::new(),
        })
    }

    /// Connects where there is no connection. Whether it is a new one.
    pub(super) fn connect(&mut self) -> Result<bool, StoreError> {
        let known = self.workspace.timeline().exists();
        let is_new = self.connection.connect(known)?;
        if is_new {
            self.connection.guard(None);
            self.locate()?;
        }
        Ok(is_new)
    }

    /// Finds the schema of the table anew.
    fn locate(&mut self) -> Result<(), StoreError> {
        let (mut table, path) = (self.table.clone(), self.connection.path());
        let located = self
            .connection
            .transaction(Access::Read, Hurry::Yes, async |client| Ok(table.locate(client, &path).await?));
        located.map_err(Outcome::error)?;
        self.table = table;
        Ok(())
    }

    /// Connects, and on a new connection looks at the table: its shape, and whether it is the one that milescale knows.
    pub(super) fn open(&mut self) -> Result<(), StoreError> {
        let is_new = self.look()?;
        self.expect(is_new)
    }

    /// Compares what was looked at for the first time with what milescale knows.
    pub(super) fn expect(&mut self, is_new: bool) -> Result<(), StoreError> {
        if !is_new {
            return Ok(());
        }
        let expected = self.is_the_expected_one();
        if expected.is_err() {
            self.table.forget();
        }
        expected
    }

    /// Connects, and on a new connection looks at the table's shape. Whether it was looked at.
    pub(super) fn look(&mut self) -> Result<bool, StoreError> {
        let is_new = self.connect()?;
        if !is_new && self.table.is_known() {
            return Ok(false);
        }
        self.is_compared &= !is_new;
        // Those that were looked at before may be gone.
        self.connection.guard(None);
        self.locate()?;
        let mut table = self.table.clone();
        let looked = self.connection.transaction(Access::Read, Hurry::Yes, async |client| {
            // Before it is looked at: what changes meanwhile is looked at again.
            let guard = Guard::of(client, &table).await?;
            table.look(client).await?;
            Ok(guard)
        });
        let guard = looked.map_err(Outcome::error)?;
        self.table = table;
        self.connection.guard(Some(guard));
        self.table.fits(self.connection.shown()).map(|()| true)
    }
}
