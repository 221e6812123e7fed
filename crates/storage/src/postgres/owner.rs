//! Whose the table is, what number it has, and what milescale may do there: the row of `milescale_meta`.

use milescale_core::chain::Link;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::identity::Identity;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::connection::{Access, Failed};
use super::documents::{Table, time};
use super::located::FOUND;
use super::shape;

/// The oldest server that is used: the first with generated columns.
const OLDEST_SERVER: i32 = 120_000;

/// The format of `milescale_meta`. The first one had no chain.
pub(super) const FORMAT: i32 = 2;

/// Links that the server keeps.
pub(super) const KEPT_LINKS: u64 = 1000;

/// What refuses the statements of a milescale that knows no chain. Its name is what people read then.
const REFUSES_OLDER: &str = "kept_by_a_newer_milescale";

/// The row of `milescale_meta`.
#[derive(Debug)]
pub(super) struct Meta {
    /// The workspace's.
    pub(super) number: String,
    pub(super) path: String,
    pub(super) epoch: i64,
    pub(super) format: i32,
    pub(super) chain: Option<String>,
    pub(super) last: Option<Link>,
    /// When that was written.
    pub(super) written: String,
    /// The number of the table that is called milestones.
    pub(super) table: Option<u32>,
}

impl Table {
    /// Whether there is such a table.
    pub(super) async fn exists(&self, client: &Client) -> Result<bool, Failed> {
        Ok(self.find(client, "milestones").await?.is_some())
    }

    /// Whether the server and its rights are such that the table could be made and filled.
    pub(super) async fn can_be_filled(&self, client: &Client, shown: &str) -> Result<(), Failed> {
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
        if let Some(why) = shape::not_used(client, self, Access::Write).await? {
            return refused(why);
        }
        if let Some(why) = shape::flaw_of_texts(client, &format!("{}milestones", self.prefix)).await? {
            return refused(why);
        }
        if self.exists(client).await? {
            let select = "SELECT has_table_privilege(to_regclass($1), 'INSERT, UPDATE, DELETE') AND pg_has_role(relowner, 'USAGE')
                          FROM pg_class WHERE oid = to_regclass($1)";
            let name = format!("{}milestones", self.prefix);
            if !client.query_typed_one(select, &[(&name, Type::TEXT)]).await?.try_get::<_, bool>(0)? {
                return refused("the table milestones is another user's: make milescale's user its owner, or a member of the role that owns it".to_owned());
            }
        } else {
            let select = "SELECT CASE WHEN $1 = '' THEN NULL WHEN to_regnamespace(quote_ident($1)) IS NULL
                          THEN has_database_privilege(current_database(), 'CREATE')
                          ELSE has_schema_privilege($1, 'CREATE') END";
            let may: Option<bool> = client.query_typed_one(select, &[(&self.used, Type::TEXT)]).await?.try_get(0)?;
            if may.is_none() {
                let cause = "no schema of its search_path is there: name one in storage.database.schema, or mend search_path \
                             for milescale's user";
                return refused(cause.to_owned());
            }
            if may != Some(true) {
                return refused("milescale's user may not make tables there: grant it CREATE on the schema".to_owned());
            }
        }
        Ok(())
    }

    /// The number and the path of the workspace that it belongs to, in any format.
    pub(super) async fn owner(&self, client: &Client) -> Result<Option<(String, String)>, Error> {
        let select = format!("SELECT left(workspace, 1000), left(path, 10000) FROM {}milescale_meta", self.prefix);
        let row = client.query_typed_opt(&select, &[]).await?;
        row.map(|row| Ok((number_of(row.try_get(0)?), row.try_get(1)?))).transpose()
    }

    /// What the table says of whom it belongs to, perhaps locked.
    pub(super) async fn meta(&self, client: &Client, lock: &str) -> Result<Option<Meta>, Error> {
        let select = format!(
            "SELECT left(workspace, 1000), left(path, 10000), epoch, format, left(chain, 1000), number, left(token, 1000), {}, {FOUND} FROM {}milescale_meta {lock}",
            time("(written AT TIME ZONE 'UTC')"),
            self.prefix
        );
        let path = self.path.schemas();
        let Some(row) = client.query_typed_opt(&select, &[(&path, Type::TEXT_ARRAY)]).await? else { return Ok(None) };
        let token = row.try_get::<_, Option<String>>(6)?.and_then(|token| token.parse().ok());
        let number = row.try_get::<_, Option<i64>>(5)?.map(i64::unsigned_abs);
        Ok(Some(Meta {
            number: number_of(row.try_get(0)?),
            path: row.try_get(1)?,
            epoch: row.try_get(2)?,
            format: row.try_get(3)?,
            chain: row.try_get(4)?,
            last: number.zip(token).map(|(number, token)| Link { number, token }),
            written: row.try_get::<_, Option<String>>(7)?.unwrap_or_default(),
            table: row.try_get(8)?,
        }))
    }

    /// Whether there is a table of links.
    pub(super) async fn has_links(&self, client: &Client) -> Result<bool, Error> {
        let name = format!("{}milescale_tokens", self.prefix);
        client.query_typed_one("SELECT to_regclass($1) IS NOT NULL", &[(&name, Type::TEXT)]).await?.try_get(0)
    }

    /// The links that the server keeps from a number on.
    pub(super) async fn links(&self, client: &Client, from: u64) -> Result<Vec<Link>, Error> {
        let select = format!(
            "SELECT number, token FROM {}milescale_tokens WHERE number >= $1 AND length(token) < 100 ORDER BY number LIMIT {}",
            self.prefix,
            KEPT_LINKS * 2
        );
        let mut links = Vec::new();
        for row in client.query_typed(&select, &[(&signed(from), Type::INT8)]).await? {
            if let Ok(token) = row.try_get::<_, String>(1)?.parse() {
                links.push(Link { number: row.try_get::<_, i64>(0)?.unsigned_abs(), token });
            }
        }
        Ok(links)
    }

    /// Replaces the token in the row, which the caller has locked, and keeps it among the last ones.
    pub(super) async fn set_link(&self, client: &Client, identity: &Identity, link: Link) -> Result<(), Error> {
        let set = format!(
            "WITH added AS (INSERT INTO {0}milescale_tokens (number, token) VALUES ($1, $2) \
             ON CONFLICT (number) DO UPDATE SET token = excluded.token, written = excluded.written), \
             dropped AS (DELETE FROM {0}milescale_tokens WHERE number <= $1 - {KEPT_LINKS}) \
             UPDATE {0}milescale_meta SET number = $1, token = $2, written = clock_timestamp(), path = $3",
            self.prefix
        );
        let (number, token) = (signed(link.number), link.token.to_string());
        let values: [(&(dyn ToSql + Sync), Type); 3] =
            [(&number, Type::INT8), (&token, Type::TEXT), (&identity.path, Type::TEXT)];
        client.execute_typed(&set, &values).await.map(drop)
    }

    /// Makes the table this workspace's with a new chain. `false`: it has become somebody's in this moment.
    pub(super) async fn begin_chain(
        &self,
        client: &Client,
        identity: &Identity,
        (chain, link): (&str, Link),
        is_there: bool,
    ) -> Result<bool, Error> {
        let change = if is_there {
            "UPDATE {}milescale_meta SET workspace = $1, path = $2, format = $3, chain = $4"
        } else {
            "INSERT INTO {}milescale_meta (workspace, path, format, chain, epoch) VALUES ($1, $2, $3, $4, 0) \
             ON CONFLICT DO NOTHING"
        };
        let workspace = format!("{} in format {FORMAT} of a newer milescale", identity.number);
        let values: [(&(dyn ToSql + Sync), Type); 4] =
            [(&workspace, Type::TEXT), (&identity.path, Type::TEXT), (&FORMAT, Type::INT4), (&chain, Type::TEXT)];
        if client.execute_typed(&change.replacen("{}", &self.prefix, 1), &values).await? == 0 {
            return Ok(false);
        }
        let statements = format!(
            "DELETE FROM {0}milescale_tokens; \
             ALTER TABLE {0}milescale_meta DROP CONSTRAINT IF EXISTS {REFUSES_OLDER}; \
             ALTER TABLE {0}milescale_meta ADD CONSTRAINT {REFUSES_OLDER} \
             CHECK (format >= {FORMAT} AND workspace LIKE '% in format %')",
            self.prefix
        );
        client.batch_execute(&statements).await?;
        self.set_link(client, identity, link).await?;
        Ok(true)
    }

    /// Sets the table's epoch.
    pub(super) async fn set_epoch(&self, client: &Client, number: i64) -> Result<(), Error> {
        let update = format!("UPDATE {}milescale_meta SET epoch = $1", self.prefix);
        client.execute_typed(&update, &[(&number, Type::INT8)]).await.map(drop)
    }
}

impl Meta {
    /// Refuses a table that is another workspace's, or a newer milescale's.
    pub(super) fn is_of(&self, identity: &Identity) -> Result<(), String> {
        if self.format > FORMAT {
            return Err(format!(
                "it is of format {}, and this milescale knows {FORMAT} at most; nothing was written. Install a newer one",
                self.format
            ));
        }
        belongs(identity, &self.number, &self.path)
    }
}

/// Refuses a table that belongs to the workspace with this number.
pub(super) fn belongs(identity: &Identity, number: &str, path: &str) -> Result<(), String> {
    if number == identity.number {
        return Ok(());
    }
    Err(format!(
        "it belongs to the workspace {path} (number {number}), and this is {} (number {}); nothing was written. Use another \
         schema or database; where that workspace is gone, `milescale doctor --fix identity` takes its table over",
        identity.path, identity.number
    ))
}

/// The number in the column `workspace`. From format 2 on more words follow, so that an older milescale, which compares
/// all of it, refuses the table and says why.
fn number_of(workspace: String) -> String {
    match workspace.split_once(' ') {
        Some((number, _)) => number.to_owned(),
        None => workspace,
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
