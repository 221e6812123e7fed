//! Whose the table is, what number it has, and what milescale may do there.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::connection::Failed;
use super::documents::Table;
use crate::error::{Problem, StoreError};
use crate::identity::Identity;

/// The oldest server that is used: the first with generated columns.
const OLDEST_SERVER: i32 = 120_000;

impl Table {
    /// Whether there is such a table.
    pub(super) async fn exists(&self, client: &Client) -> Result<bool, Failed> {
        let name = format!("{}milestones", self.prefix);
        let select = "SELECT to_regclass($1) IS NOT NULL";
        Ok(client.query_typed_one(select, &[(&name, Type::TEXT)]).await?.try_get(0)?)
    }

    /// Whether the server and its rights are such that the table could be made and filled.
    pub(super) async fn can_be_filled(&self, client: &Client, identity: &Identity, shown: &str) -> Result<(), Failed> {
        let refused = |cause: String| Err(StoreError::new(Problem::Refused, shown, cause).into());
        let select = "SELECT current_setting('server_version_num')::int, pg_is_in_recovery()";
        let row = client.query_typed_one(select, &[]).await?;
        let (version, is_standby): (i32, bool) = (row.try_get(0)?, row.try_get(1)?);
        if version < OLDEST_SERVER {
            return refused(format!(
                "the server is of version {}, and 12 is the oldest that is used",
                version / 10_000
            ));
        }
        if is_standby {
            return refused("it is a standby, which is never written to: name the primary".to_owned());
        }
        if self.exists(client).await? {
            let select = "SELECT has_table_privilege(to_regclass($1), 'INSERT, UPDATE, DELETE') AND pg_has_role(relowner, 'USAGE')
                          FROM pg_class WHERE oid = to_regclass($1)";
            let name = format!("{}milestones", self.prefix);
            if !client.query_typed_one(select, &[(&name, Type::TEXT)]).await?.try_get::<_, bool>(0)? {
                return refused("the table milestones is another user's: make milescale's user its owner".to_owned());
            }
        } else {
            let select = "SELECT CASE WHEN $1 = '' THEN has_schema_privilege(current_schema(), 'CREATE')
                          WHEN to_regnamespace(quote_ident($1)) IS NULL
                          THEN has_database_privilege(current_database(), 'CREATE')
                          ELSE has_schema_privilege($1, 'CREATE') END";
            let may: Option<bool> = client.query_typed_one(select, &[(&self.schema, Type::TEXT)]).await?.try_get(0)?;
            if may != Some(true) {
                return refused("milescale's user may not make tables there: grant it CREATE on the schema".to_owned());
            }
        }
        let select = "SELECT to_regclass($1) IS NOT NULL";
        let meta = format!("{}milescale_meta", self.prefix);
        if client.query_typed_one(select, &[(&meta, Type::TEXT)]).await?.try_get::<_, bool>(0)? {
            let select = format!("SELECT workspace, path FROM {meta}");
            if let Some(row) = client.query_typed_opt(&select, &[]).await? {
                let (number, path): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                if number != identity.number {
                    return refused(format!(
                        "it belongs to the workspace {path} (number {number}), and this is {} (number {}); use another \
                         schema or database",
                        identity.path, identity.number
                    ));
                }
            }
        }
        Ok(())
    }

    /// The number and the path of the workspace that it belongs to.
    pub(super) async fn owner(&self, client: &Client) -> Result<Option<(String, String)>, Error> {
        let select = format!("SELECT workspace, path FROM {}milescale_meta", self.prefix);
        let row = client.query_typed_opt(&select, &[]).await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }

    /// Makes it a workspace's, whatever it was before.
    pub(super) async fn set_owner(&self, client: &Client, identity: &Identity) -> Result<(), Error> {
        let update = format!("UPDATE {}milescale_meta SET workspace = $1, path = $2", self.prefix);
        let values = [
            (&identity.number as &(dyn tokio_postgres::types::ToSql + Sync), Type::TEXT),
            (&identity.path, Type::TEXT),
        ];
        client.execute_typed(&update, &values).await.map(drop)
    }

    /// Refuses a table that is another workspace's. The table's epoch: the number of moves that it has seen.
    pub(super) async fn is_ours(&self, client: &Client, identity: &Identity, shown: &str) -> Result<i64, Failed> {
        let select = format!("SELECT workspace, path, epoch FROM {}milescale_meta FOR SHARE", self.prefix);
        let Some(row) = client.query_typed_opt(&select, &[]).await? else {
            let cause = "it belongs to no workspace any more: milescale_meta is empty";
            return Err(StoreError::new(Problem::Refused, format!("{shown}, table milestones"), cause).into());
        };
        let (number, path): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if number == identity.number {
            return Ok(row.try_get(2)?);
        }
        let cause = format!(
            "it belongs to the workspace {path} (number {number}), and this is {} (number {}); use another schema or \
             database, or another workspace",
            identity.path, identity.number
        );
        Err(StoreError::new(Problem::Refused, format!("{shown}, table milestones"), cause).into())
    }

    /// Takes a table for this workspace that is nobody's yet.
    pub(super) async fn claim(&self, client: &Client, identity: &Identity, shown: &str) -> Result<i64, Failed> {
        let insert = format!(
            "INSERT INTO {}milescale_meta (workspace, path, epoch) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING",
            self.prefix
        );
        client.execute_typed(&insert, &[(&identity.number, Type::TEXT), (&identity.path, Type::TEXT)]).await?;
        self.is_ours(client, identity, shown).await
    }

    /// Sets the table's epoch.
    pub(super) async fn set_epoch(&self, client: &Client, number: i64) -> Result<(), Error> {
        let update = format!("UPDATE {}milescale_meta SET epoch = $1", self.prefix);
        client.execute_typed(&update, &[(&number, Type::INT8)]).await.map(drop)
    }
}
