//! Which schema is used: the configured one, else the one that the session's search path says.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::begin::SearchPath;
use super::documents::Table;
use crate::row::quoted;

/// The number of the table that the search path `$1` finds.
pub(super) const FOUND: &str = "(SELECT c.oid FROM unnest($1) WITH ORDINALITY it(name, at) JOIN pg_namespace n ON n.nspname = it.name \
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'milestones' ORDER BY it.at LIMIT 1)";

impl Table {
    pub(super) fn uses(&mut self, schema: String) {
        self.prefix = if schema.is_empty() { String::new() } else { format!("{}.", quoted(&schema)) };
        self.used = schema;
    }

    /// Finds the schema that is used, where none is configured: the first one of the session's search path that has the table, else
    /// the first one.
    pub(super) async fn locate(&mut self, client: &Client, path: &SearchPath) -> Result<(), Error> {
        self.path = if self.schema.is_empty() { path.clone() } else { SearchPath::of(&self.schema) };
        if self.schema.is_empty() {
            let found = self.find(client, "milestones").await?.map(|(schema, _)| schema);
            self.uses(found.or_else(|| self.path.schemas().into_iter().next()).unwrap_or_default());
        }
        Ok(())
    }

    /// The schema and the number of what has a name, as the session would find it.
    pub(super) async fn find(&self, client: &Client, name: &str) -> Result<Option<(String, u32)>, Error> {
        let select = "SELECT n.nspname::text, c.oid FROM unnest($1) WITH ORDINALITY it(name, at)
                      JOIN pg_namespace n ON n.nspname = it.name JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = $2
                      ORDER BY it.at LIMIT 1";
        let path = self.path.schemas();
        let values: [(&(dyn ToSql + Sync), Type); 2] = [(&path, Type::TEXT_ARRAY), (&name, Type::TEXT)];
        let row = client.query_typed_opt(select, &values).await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }
}
