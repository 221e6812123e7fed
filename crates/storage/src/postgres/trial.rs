//! What stands against a move out of PostgreSQL or into it: rights and what other programs have added, as the catalogues say,
//! and documents that it would refuse, tried on a temporary table.

use milescale_document::milestone::Packed;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::trial::Hindrance;
use tokio_postgres::error::DbError;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::chain::Claim;
use super::connection::{Access, Failed, Hurry, Outcome};
use super::definition::{self, TRIAL};
use super::documents::Table;
use super::reading::nameless;
use super::schema::OWN_TABLES;
use super::shape::{self, Guard, SHARE_IT};
use super::{PostgresStore, bulk, changes};
use crate::budget::{Room, next_ones};
use crate::row::quoted;
use crate::store::{Against, Part, Store as _};

/// Documents tried at once.
const TRIED_AT_ONCE: usize = 500;

/// Refused milestones after which no more are tried.
const REFUSED_AT_MOST: usize = 100;

/// The columns that milescale writes.
const OURS: &str = "('id', 'data', 'created_at', 'updated_at')";

/// The rights that a part needs on the table.
const fn needed(part: Part) -> &'static [&'static str] {
    match part {
        Part::InUse => &["SELECT", "INSERT", "UPDATE"],
        // To hold its writers still takes the right to update.
        Part::Source => &["SELECT", "UPDATE"],
        Part::Target => &["SELECT", "INSERT", "UPDATE", "DELETE"],
    }
}

/// Whether a temporary table may be made.
pub(super) async fn may_try(client: &Client) -> Result<bool, Failed> {
    let select = "SELECT has_database_privilege(current_database(), 'TEMPORARY') AND NOT pg_is_in_recovery()";
    Ok(client.query_typed_one(select, &[]).await?.try_get(0)?)
}

/// What the catalogues say against a part in a move.
pub(super) async fn against(client: &Client, table: &Table, part: Part, shown: &str) -> Result<Against, Failed> {
    let mut against = Against::default();
    if !may_try(client).await? && part == Part::Target {
        against.notes.push(format!(
            "{shown}: whether the server takes each milestone cannot be tried: this user may not make temporary tables"
        ));
    }
    if !table.exists(client).await? {
        return Ok(against);
    }
    let looked = Catalogue { client, table, place: format!("{shown}, table milestones") };
    looked.rights(part, &mut against).await?;
    if part != Part::InUse {
        looked.relatives(part, &mut against).await?;
    }
    if part == Part::Source
        && let Some((reason, do_this)) = nameless(client, table).await?
    {
        against.hindrances.push(looked.hindrance(reason, do_this));
    }
    if part == Part::Target {
        looked.columns(&mut against).await?;
        looked.triggers(&mut against).await?;
    }
    Ok(against)
}

/// The catalogues, asked about the table.
struct Catalogue<'a> {
    client: &'a Client,
    table: &'a Table,
    place: String,
}

impl Catalogue<'_> {
    /// Texts that a query tells of the table, which is `$1` in it.
    async fn names(&self, select: &str) -> Result<Vec<String>, Error> {
        self.table.asked(self.client, select).await
    }

    fn hindrance(&self, reason: String, do_this: impl Into<String>) -> Hindrance {
        Hindrance::new(&self.place, reason, do_this)
    }

    async fn rights(&self, part: Part, against: &mut Against) -> Result<(), Failed> {
        let name = self.table.named("milestones");
        let user: String = self.client.query_typed_one("SELECT current_user::text", &[]).await?.try_get(0)?;
        // Who is let into them all the same is refused: what they call belongs to another.
        let is_shared = self.belong_to_another().await?.then(|| format!("{SHARE_IT}; let {user} be one of them"));
        let has_log = changes::is_there(self.client, self.table).await?;
        let mut missing = Vec::new();
        for right in needed(part).iter().chain((!has_log).then_some(&"TRIGGER")) {
            let select = "SELECT has_table_privilege(to_regclass($1), $2)";
            let row = self.client.query_typed_one(select, &[(&name, Type::TEXT), (right, Type::TEXT)]).await?;
            if !row.try_get::<_, bool>(0)? {
                missing.push(*right);
            }
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            against.hindrances.push(self.hindrance(
                format!("{user} has not the right to {missing} there"),
                is_shared.clone().unwrap_or_else(|| format!("GRANT {missing} ON {name} TO {}", quoted(&user))),
            ));
        }
        let needs_tables = !has_log || !self.own_tables().await?;
        let select = "SELECT has_schema_privilege(relnamespace, 'CREATE') FROM pg_class WHERE oid = to_regclass($1)";
        if needs_tables && !self.client.query_typed_one(select, &[(&name, Type::TEXT)]).await?.try_get::<_, bool>(0)? {
            against.hindrances.push(self.hindrance(
                format!("{user} may not make milescale's own tables beside it"),
                "grant it CREATE on the schema",
            ));
        }
        let select = &format!(
            "SELECT c.relname::text FROM pg_class c JOIN pg_class m ON m.oid = to_regclass($1)
                      AND c.relnamespace = m.relnamespace WHERE c.relname IN ({OWN_TABLES}) AND c.relkind = 'r'
                      AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
                      AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))"
        );
        let locked = self.names(select).await?;
        if !locked.is_empty() && (missing.is_empty() || is_shared.is_none()) {
            against.hindrances.push(self.hindrance(
                format!("{user} may not write milescale's own tables beside it: {}", locked.join(", ")),
                is_shared.unwrap_or_else(|| {
                    format!("grant it SELECT, INSERT, UPDATE, DELETE on them, or make {user} their owner")
                }),
            ));
        }
        Ok(())
    }

    /// Whether milescale's own tables are there, of a role that its user is no member of.
    async fn belong_to_another(&self) -> Result<bool, Error> {
        let select = "SELECT c.relname::text FROM pg_class c JOIN pg_class m ON m.oid = to_regclass($1)
                      AND c.relnamespace = m.relnamespace WHERE c.relname = 'milescale_meta' AND NOT pg_has_role(c.relowner, 'USAGE')";
        Ok(!self.names(select).await?.is_empty())
    }

    /// Whether milescale's own tables are there.
    async fn own_tables(&self) -> Result<bool, Error> {
        let mut table = self.table.clone();
        let looked = table.look(self.client).await;
        Ok(looked.is_ok() && table.has_own())
    }

    /// Tables that share rows with it: triggers do not see what is written to those.
    async fn relatives(&self, part: Part, against: &mut Against) -> Result<(), Failed> {
        let select = "SELECT (CASE inhparent WHEN to_regclass($1) THEN inhrelid ELSE inhparent END)::regclass::text
                      FROM pg_inherits JOIN pg_class ON pg_class.oid = to_regclass($1)
                      WHERE to_regclass($1) IN (inhparent, inhrelid) AND ($2 OR relkind <> 'p')";
        let (name, is_target) = (self.table.named("milestones"), part == Part::Target);
        let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&name, Type::TEXT), (&is_target, Type::BOOL)];
        let rows = self.client.query_typed(select, &values).await?;
        let partitioned = self.names("SELECT 'it' FROM pg_class WHERE oid = to_regclass($1) AND relkind = 'p'").await?;
        if is_target && !partitioned.is_empty() {
            let reason = "it is partitioned, and rows without a partition are refused".to_owned();
            against.hindrances.push(self.hindrance(reason, "use a plain table, in another schema or database"));
            return Ok(());
        }
        let relatives = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
        if !relatives.is_empty() {
            against.hindrances.push(self.hindrance(
                format!(
                    "it shares its rows with other tables, by inheritance or as a partition: {}",
                    relatives.join(", ")
                ),
                "use a plain table, in another schema or database",
            ));
        }
        Ok(())
    }

    async fn columns(&self, against: &mut Against) -> Result<(), Failed> {
        let needed = self
            .names(&format!(
                "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0
                 AND NOT attisdropped AND attnotnull AND NOT atthasdef AND attidentity = '' AND attname NOT IN {OURS}"
            ))
            .await?;
        against.hindrances.extend(needed.iter().map(|column| {
            let reason =
                format!("its column {column} must not be NULL and has no default, and milescale does not know it");
            self.hindrance(reason, "give it a default, or let it be NULL")
        }));
        let computed = self
            .names(&format!(
                "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0
                 AND (attgenerated <> '' OR attidentity = 'a') AND attname IN {OURS}"
            ))
            .await?;
        against.hindrances.extend(computed.iter().map(|column| {
            self.hindrance(format!("its column {column} is generated and cannot be written"), "make it a plain column")
        }));
        let unique = "SELECT 'it' FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attname = 'id'
                      WHERE indrelid = to_regclass($1) AND indisunique AND indimmediate AND indisvalid AND indpred IS NULL
                      AND indexprs IS NULL AND indnkeyatts = 1 AND indkey[0] = attnum";
        if self.names(unique).await?.is_empty() {
            let reason = "its column id is not unique".to_owned();
            against.hindrances.push(self.hindrance(reason, "make it the primary key"));
        }
        let foreign = self
            .names(&format!(
                "SELECT conname::text FROM pg_constraint WHERE conrelid = to_regclass($1) AND contype = 'f' AND EXISTS
                 (SELECT FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY(conkey) AND attname IN {OURS})"
            ))
            .await?;
        against.hindrances.extend(foreign.iter().map(|name| {
            self.hindrance(format!("its constraint {name} refers to another table"), "drop that constraint")
        }));
        Ok(())
    }

    /// Triggers of other programs: those that run before an insertion may change or refuse it.
    async fn triggers(&self, against: &mut Against) -> Result<(), Failed> {
        let select = |when: &str| {
            format!(
                "SELECT tgname || ' (' || tgfoid::regproc || ')' FROM pg_trigger WHERE tgrelid = to_regclass($1)
                 AND NOT tgisinternal AND tgenabled <> 'D' AND tgname NOT LIKE 'milescale\\_%' AND {when} ORDER BY 1"
            )
        };
        // The bits: 1 a row's, 2 before, 4 an insertion's.
        let before = self.names(&select("tgtype & 7 = 7")).await?;
        against.hindrances.extend(before.iter().map(|trigger| {
            let reason =
                format!("its trigger {trigger} runs before each insertion, and may change or refuse milestones");
            self.hindrance(reason, "disable or drop it for the move")
        }));
        let others = self.names(&select("tgtype & 7 <> 7")).await?;
        if !others.is_empty() {
            let place = &self.place;
            against.notes.push(format!("{place}: triggers of other programs run on writes: {}", others.join(", ")));
        }
        Ok(())
    }
}

impl PostgresStore {
    /// Rows that no id can name.
    pub(super) fn rows_without_id(&mut self) -> Result<Option<Hindrance>, StoreError> {
        let found = self.read(async |client, table| Ok(nameless(client, table).await?))?;
        let place = format!("{}, table milestones", self.connection.shown());
        Ok(found.map(|(reason, do_this)| Hindrance::new(place, reason, do_this)))
    }

    /// What the catalogues say against a part in a move.
    pub(super) fn against_part(&mut self, part: Part) -> Result<Against, StoreError> {
        self.connect()?;
        let (table, shown) = (self.table.clone(), self.connection.shown().to_owned());
        let asked = self
            .connection
            .transaction(Access::Read, Hurry::Yes, async |client| against(client, &table, part, &shown).await);
        let mut against = asked.map_err(Outcome::error)?;
        against.hindrances.extend(self.doubt(part)?);
        Ok(against)
    }

    /// Why nothing may be written into the source: this workspace may be a copy, or the server went back. What is another
    /// workspace's is only read.
    fn doubt(&mut self, part: Part) -> Result<Option<Hindrance>, StoreError> {
        if part != Part::Source || !self.exists()? || self.is_anothers()? {
            return Ok(None);
        }
        match self.standing() {
            Err(StoreError { problem: Problem::Refused, place, cause }) => Ok(Some(Hindrance::new(place, cause, ""))),
            other => other.map(|()| None),
        }
    }

    /// Makes the table and milescale's own beside it, where they are not there.
    pub(super) fn make(&mut self) -> Result<(), StoreError> {
        // A table that other programs made stays as it is: it gets no columns.
        if self.exists()? {
            return self.ensure(Claim::ToFill);
        }
        let identity = self.may_write()?;
        let statements = self.table.create();
        self.claim(&identity, &statements, Claim::ToFill)?;
        self.ensure(Claim::ToFill)
    }

    /// Copies all into a temporary table of the same definition, which goes with its transaction.
    pub(super) fn try_all(
        &mut self,
        milestones: &mut dyn Iterator<Item = Packed>,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.connect()?;
        let (table, place) = (self.table.clone(), format!("{}, table milestones", self.connection.shown()));
        let tried = self.connection.transaction(Access::Write, Hurry::No, async |client| {
            let refused = |problem, why: String| Err(StoreError::new(problem, place.clone(), why).into());
            // The definitions are those of the table that is looked at, be it on a connection that is newer than the plan's.
            let guard = Guard::of(client, &table).await?;
            if let Some(why) = shape::not_used(client, &table, Access::Write).await? {
                return refused(Problem::Refused, why);
            }
            let statements = definition::of(client, &table).await?;
            if !guard.holds(client).await? {
                return refused(Problem::Busy, "somebody changed the table meanwhile; try again".to_owned());
            }
            for statement in &statements {
                // One statement each, whatever somebody's texts in it say: the server takes no second one here.
                client.query_typed(statement, &[]).await?;
            }
            let mut refused = Vec::new();
            while refused.len() < REFUSED_AT_MOST {
                let rows = next_ones(Room::new(TRIED_AT_ONCE), milestones, Packed::bytes);
                if rows.is_empty() {
                    break;
                }
                if tried(client, &rows).await?.is_none() {
                    continue;
                }
                for row in rows {
                    if let Some(why) = tried(client, std::slice::from_ref(&row)).await? {
                        refused.push((row.id.to_string(), why));
                    }
                }
            }
            Ok(refused)
        });
        tried.map_err(Outcome::error)
    }
}

/// Copies some documents; why the server refuses them, where it does.
async fn tried(client: &Client, rows: &[Packed]) -> Result<Option<String>, Failed> {
    client.batch_execute("SAVEPOINT trial").await?;
    let copied = bulk::documents(client, TRIAL, rows).await;
    let Err(error) = copied else {
        client.batch_execute("RELEASE SAVEPOINT trial").await?;
        return Ok(None);
    };
    // What the server lacks, or a person does to it, is not the milestone's fault.
    let is_the_rows =
        |said: &&DbError| !["53", "57", "58", "XX"].contains(&said.code().code().get(..2).unwrap_or_default());
    let Some(said) = error.as_db_error().filter(is_the_rows) else { return Err(error.into()) };
    let why = said.detail().map_or_else(|| said.message().to_owned(), |it| format!("{}: {it}", said.message()));
    client.batch_execute("ROLLBACK TO SAVEPOINT trial").await?;
    Ok(Some(why))
}
