//! What the table is: only a plain table, whose rows are all to be seen, is one of milestones.

use milescale_workspace::error::{Problem, StoreError};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::allowed::{is_for_reading, may_be_locked, others};
use super::begin::literal;
use super::connection::{Access, Failed};
use super::documents::Table;
use super::schema::{OWN_TABLES, close, is_open};

/// How several roles write one table.
pub(super) const SHARE_IT: &str = "give the table milestones, and all beside it whose names begin with milescale_, to a role without login \
                                   that all who share it are members of, and for which nobody else has ADMIN OPTION";

/// What else may have the name.
const KINDS: &[(&str, &str)] = &[
    ("v", "a view"),
    ("m", "a materialized view"),
    ("f", "a foreign table"),
    ("c", "a type"),
    ("S", "a sequence"),
    ("i", "an index"),
    ("I", "an index"),
];

/// Why the table is not used, where it is not: what milescale wrote or read there would be somebody else's to decide. The tables
/// beside it that are milescale's own are looked at in the same way. What is only run by writes is left out where the user may not
/// write, and where nothing is to be written.
pub(super) async fn not_used(client: &Client, table: &Table, access: Access) -> Result<Option<String>, Error> {
    if let Some(why) = somebody_else(client).await? {
        return Ok(Some(why));
    }
    // To compile what is asked once takes longer than to do it.
    client.batch_execute("SET LOCAL jit = off").await?;
    let used = [(&table.used as &(dyn ToSql + Sync), Type::TEXT)];
    // What else of somebody's begins with milescale_ is nobody's business here.
    let names = format!("('milestones', {OWN_TABLES})");
    let select = format!(
        "SELECT c.relname::text, c.relkind::text, c.relkind IN ('r', 'p') AND row_security_active(c.oid), c.relforcerowsecurity AND pg_has_role(c.relowner, 'USAGE'),
                  ARRAY(SELECT rulename::text FROM pg_rewrite WHERE ev_class = c.oid AND rulename <> '_RETURN')
                  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname IN {names}
                  UNION ALL SELECT y.typname::text, 'c', false, false, ARRAY[]::text[] FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace
                  WHERE n.nspname = $1 AND y.typrelid = 0 AND y.typname IN {names}
                  ORDER BY 1"
    );
    let mut found = Vec::new();
    for row in client.query_typed(&select, &used).await? {
        let (name, kind, hides, is_forced, rules): (String, String, bool, bool, Vec<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        if let Some((_, kind)) = KINDS.iter().find(|(letter, _)| *letter == kind) {
            return Ok(Some(format!(
                "{name} is {kind} and no table; milestones, and what milescale keeps beside them, are kept in tables: have it renamed or dropped, or \
                 name another schema or database"
            )));
        }
        found.push((name, hides, is_forced, rules));
    }
    for (name, hides, is_forced, rules) in found {
        if !rules.is_empty() {
            let whose = if name == "milestones" { String::new() } else { format!("{name}: ") };
            return Ok(Some(format!(
                "{whose}rules rewrite what is written there ({}); drop them, or use triggers instead",
                rules.join(", ")
            )));
        }
        if hides {
            let user = user(client).await?;
            let step = if is_forced {
                "let it not hold for its owner (ALTER TABLE … NO FORCE ROW LEVEL SECURITY)".to_owned()
            } else {
                format!("make {user} its owner, let it bypass that (ALTER ROLE … BYPASSRLS)")
            };
            let of_it = if name == "milestones" { "it".to_owned() } else { format!("its table {name}") };
            return Ok(Some(format!(
                "row-level security hides rows of {of_it} from {user}, and none may be missed; {step}, or turn it off (ALTER TABLE … DISABLE \
                 ROW LEVEL SECURITY)"
            )));
        }
    }
    let select = format!("{} ORDER BY 1 LIMIT 1", others());
    let writes = access == Access::Write;
    let values = [(&table.used as &(dyn ToSql + Sync), Type::TEXT), (&writes, Type::BOOL)];
    if let Some(row) = client.query_typed_opt(&select, &values).await? {
        let user = user(client).await?;
        let (what, owner, why): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        return Ok(Some(match why.as_str() {
            "runs" => format!(
                "its {what} could run what somebody else says, with the rights of {user}; drop what calls it, or let a function of {user} \
                 do it, in a table of {user}"
            ),
            "goes" => format!(
                "its {what} lets one milestone go, or change, when another one goes; drop that, or let it do nothing (ON DELETE NO ACTION)"
            ),
            "kind" => format!(
                "it has {what}, which is none of what milescale knows to run nothing; drop that, or use a plain table"
            ),
            "schema" => format!(
                "its {what} belongs to {owner}, who may rename it and put another in its place while {user} writes; let its owner \
                 give it to {user} (ALTER SCHEMA … OWNER TO {user}), or make one for it (CREATE SCHEMA … AUTHORIZATION {user}) and name that \
                 in storage.database.schema"
            ),
            "trigger" => format!(
                "{owner} may put triggers on {what}, whose rows go with milestones, and {user} may not lock it meanwhile; GRANT UPDATE ON \
                 it TO {user}, or REVOKE TRIGGER ON it FROM {owner}"
            ),
            "watched" => format!(
                "{owner} may put triggers on {what}, and may not read all of it: when one fires can tell him what it says; run REVOKE \
                 TRIGGER ON {} FROM {}",
                what.trim_start_matches("table "),
                owner
            ),
            "unlogged" => format!(
                "its {what} is UNLOGGED, and the server empties it when it crashes; run ALTER TABLE … SET LOGGED first"
            ),
            _ if what.contains("milescale_") => format!(
                "its {what} belongs to {owner}, and what that says would run with the rights of {user}; it is milescale's own: {SHARE_IT}"
            ),
            _ => format!(
                "its {what} belongs to {owner}, and what that says would run with the rights of {user}; give it to {user} (ALTER … OWNER TO \
                 {user}), or to a role without login that all who share it are members of, with INHERIT, or drop what uses it"
            ),
        }));
    }
    Ok(None)
}

/// Who is meant in a reason.
async fn user(client: &Client) -> Result<String, Error> {
    client.query_typed_one("SELECT current_user::text", &[]).await?.try_get(0)
}

/// Why the session is not the user's own: whoever owns the database can let it begin as another role, whose functions could then
/// become the user.
async fn somebody_else(client: &Client) -> Result<Option<String>, Error> {
    let select = "SELECT current_user::text, session_user::text, current_database()::text FROM pg_roles r
                  WHERE r.rolname = session_user AND current_user <> session_user AND (r.rolsuper OR EXISTS (SELECT
                  FROM pg_db_role_setting s, unnest(s.setconfig) AS it WHERE s.setrole = 0 AND it ILIKE 'role=%'
                    AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))))";
    let Some(row) = client.query_typed_opt(select, &[]).await? else { return Ok(None) };
    let (now, user, database): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(Some(format!(
        "the session of {user} is one of {now}, whose functions could become {user}; take that away (ALTER DATABASE {database} RESET \
         role, or ALTER ROLE {user} RESET role), or connect as {now}"
    )))
}

/// What each transaction begins with: a look at whose the tables are and what they have of triggers, defaults, constraints, indexes,
/// rules, heirs and references, each of which is another one once it is altered. Where that is not what was looked at, it is looked at in full,
/// in that transaction.
#[derive(Debug)]
pub(super) struct Guard {
    /// Selects it, as one text.
    pub(super) statement: String,
    /// The tables that a transaction locks that writes, and one that reads: what is looked at stays so until it ends.
    written: String,
    read: String,
    /// Selects these.
    lockable: String,
    table: Table,
    seen: String,
    /// Somebody may read milescale's own tables who may not read the milestones.
    is_open: bool,
    /// Milescale's user may not write, so that what runs at a write was not looked at.
    is_for_reading: bool,
}

impl Guard {
    /// That of a table, which is looked at by the caller.
    pub(super) async fn of(client: &Client, table: &Table) -> Result<Self, Error> {
        let schema = literal(&table.used);
        let tables = format!(
            "WITH RECURSIVE t AS (SELECT c.oid, c.xmin, c.relowner, c.relkind, true AS is_kept FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {schema} AND c.relname IN ('milestones', {OWN_TABLES})
               UNION SELECT c.oid, c.xmin, c.relowner, c.relkind, t.is_kept AND i.is_heir FROM t
               JOIN (SELECT inhparent, inhrelid, true FROM pg_inherits
               UNION ALL SELECT confrelid, conrelid, false FROM pg_constraint WHERE contype = 'f') i(whole, part, is_heir) ON i.whole = t.oid
               JOIN pg_class c ON c.oid = i.part)"
        );
        let lockable = format!(
            "{tables} SELECT coalesce(string_agg(DISTINCT name, ', ') FILTER (WHERE may_write), ''),
               coalesce(string_agg(DISTINCT name, ', ') FILTER (WHERE may_read), ''), {}, {}
             FROM (SELECT format('%I.%I', n.nspname, c.relname) AS name, {} AS may_write,
               t.is_kept AND has_table_privilege(t.oid, 'SELECT') AS may_read
               FROM t JOIN pg_class c ON c.oid = t.oid AND c.relkind IN ('r', 'p') JOIN pg_namespace n ON n.oid = c.relnamespace) AS it",
            is_open(table.prefix()),
            is_for_reading().replace("$1", &schema),
            may_be_locked("t.oid")
        );
        let statement = format!(
            "{tables}, part AS (SELECT 'pg_class'::regclass AS class, oid FROM t
               UNION ALL SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d JOIN t ON d.adrelid = t.oid
               UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN t ON c.conrelid = t.oid
               UNION ALL SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i JOIN t ON i.indrelid = t.oid)
             SELECT coalesce(md5(string_agg(it, ' ' ORDER BY it)), '') FROM (
               SELECT concat('t', oid, '/', xmin, '/', relowner, relkind) FROM t
               -- Who is in which role decides who may read what others own.
               UNION ALL SELECT concat('m', count(*), '/', sum((roleid::bigint * 7919 + member::bigint * 104729)
                   * CASE WHEN admin_option THEN 3 ELSE 1 END)) FROM pg_auth_members
               -- So does who may do everything, and who may log in.
               UNION ALL SELECT concat('o', sum(oid::bigint) FILTER (WHERE rolsuper), '/', sum(oid::bigint) FILTER (WHERE rolcanlogin)) FROM pg_roles
               -- What the table's parts call, and whose that is.
               UNION ALL SELECT concat('f', p.oid, '/', p.xmin, '/', p.proowner) FROM pg_trigger g JOIN t ON g.tgrelid = t.oid
                 JOIN pg_proc p ON p.oid = g.tgfoid
               UNION ALL SELECT concat('f', p.oid, '/', p.xmin, '/', p.proowner) FROM part JOIN pg_depend d ON d.classid = part.class
                 AND d.objid = part.oid AND d.refclassid = 'pg_proc'::regclass JOIN pg_proc p ON p.oid = d.refobjid
               UNION ALL SELECT concat('y', y.oid, '/', y.xmin, '/', y.typowner) FROM part JOIN pg_depend d ON d.classid = part.class
                 AND d.objid = part.oid AND d.refclassid = 'pg_type'::regclass JOIN pg_type y ON y.oid = d.refobjid
               UNION ALL SELECT concat('n', n.oid, '/', n.xmin, has_database_privilege(n.nspowner, current_database(), 'CREATE'))
                 FROM pg_namespace n WHERE n.nspname = {schema}
               UNION ALL SELECT concat('a', a.attrelid, '/', a.attnum, '/', a.atttypid, '/', a.xmin) FROM pg_attribute a
                 JOIN t ON a.attrelid = t.oid AND a.attnum > 0
               UNION ALL SELECT concat('g', g.oid, '/', g.xmin) FROM pg_trigger g JOIN t ON g.tgrelid = t.oid
               UNION ALL SELECT concat('d', d.oid, '/', d.xmin) FROM pg_attrdef d JOIN t ON d.adrelid = t.oid
               UNION ALL SELECT concat('c', c.oid, '/', c.xmin) FROM pg_constraint c JOIN t ON t.oid IN (c.conrelid, c.confrelid)
               UNION ALL SELECT concat('s', s.oid, '/', s.xmin) FROM pg_statistic_ext s JOIN t ON s.stxrelid = t.oid
               UNION ALL SELECT concat('p', i.inhparent, '/', i.xmin) FROM pg_inherits i JOIN t ON i.inhrelid = t.oid
               UNION ALL SELECT concat('i', i.indexrelid, '/', i.xmin, '/', c.xmin) FROM pg_index i JOIN t ON i.indrelid = t.oid
                 JOIN pg_class c ON c.oid = i.indexrelid
               UNION ALL SELECT concat('r', r.oid, '/', r.xmin) FROM pg_rewrite r JOIN t ON r.ev_class = t.oid) AS all_of_it(it)"
        );
        let seen = client.query_typed_one(&statement, &[]).await?.try_get(0)?;
        let (written, read) = (String::new(), String::new());
        let mut guard = Self {
            statement,
            written,
            read,
            lockable,
            table: table.clone(),
            seen,
            is_open: false,
            is_for_reading: false,
        };
        guard.look_for_tables(client).await?;
        Ok(guard)
    }

    /// Finds which tables there are to lock, and whether they are to be closed.
    async fn look_for_tables(&mut self, client: &Client) -> Result<(), Error> {
        let row = client.query_typed_one(&self.lockable, &[]).await?;
        (self.written, self.read) = (row.try_get(0)?, row.try_get(1)?);
        (self.is_open, self.is_for_reading) = (row.try_get(2)?, row.try_get(3)?);
        Ok(())
    }

    /// An expression for the oid of the table of milestones.
    pub(super) fn milestones(&self) -> String {
        format!("pg_catalog.to_regclass({})", literal(&format!("{}milestones", self.table.prefix)))
    }

    /// Locks the tables for a transaction, before they are looked at; empty: there is none.
    pub(super) fn lock(&self, access: Access) -> String {
        let (tables, mode) = match access {
            Access::Write => (&self.written, "ROW EXCLUSIVE"),
            Access::Read => (&self.read, "ACCESS SHARE"),
        };
        if tables.is_empty() { String::new() } else { format!("LOCK TABLE {tables} IN {mode} MODE") }
    }

    /// Whether the tables are what they were.
    pub(super) async fn holds(&self, client: &Client) -> Result<bool, Error> {
        Ok(client.query_typed_one(&self.statement, &[]).await?.try_get::<_, String>(0)? == self.seen)
    }

    /// Looks at the tables where they are not what they were.
    pub(super) async fn check(
        &mut self,
        client: &Client,
        access: Access,
        found: Option<String>,
        shown: &str,
    ) -> Result<(), Failed> {
        let is_due = access == Access::Write && (self.is_open || self.is_for_reading);
        if found.is_none_or(|found| found == self.seen && !is_due) {
            return Ok(());
        }
        // There may be other tables by now.
        self.look_for_tables(client).await?;
        client.batch_execute(&self.lock(access)).await?;
        if self.is_open && access == Access::Write {
            client.batch_execute(&close(self.table.prefix())).await?;
        }
        let found = client.query_typed_one(&self.statement, &[]).await?.try_get(0)?;
        if let Some(why) = not_used(client, &self.table, access).await? {
            return Err(StoreError::new(Problem::Refused, format!("{shown}, table milestones"), why).into());
        }
        self.seen = found;
        Ok(())
    }
}

/// Runs statements that make or change tables and functions, and looks at what came of them: what is there already when they run may be
/// somebody else's, who was quicker.
pub(super) async fn make(client: &Client, table: &Table, statements: &str, shown: &str) -> Result<(), Failed> {
    client.batch_execute(statements).await?;
    match not_used(client, table, Access::Write).await? {
        Some(why) => Err(StoreError::new(Problem::Refused, format!("{shown}, table milestones"), why).into()),
        None => Ok(()),
    }
}

/// Why the table of this name is not read, whatever its columns are.
pub(super) async fn flaw(client: &Client, table: &Table, name: &str) -> Result<Option<String>, Error> {
    if let Some(why) = not_used(client, table, Access::Read).await? {
        return Ok(Some(why));
    }
    match torn_apart(client, table).await? {
        None => flaw_of_texts(client, name).await,
        why => Ok(why),
    }
}

/// Why its texts cannot be relied on: ids that the server takes for the same though they are not, or bytes that nobody has looked at.
pub(super) async fn flaw_of_texts(client: &Client, name: &str) -> Result<Option<String>, Error> {
    let select = "SELECT current_setting('server_encoding'), EXISTS (SELECT FROM pg_attribute a
                  JOIN pg_collation c ON c.oid = a.attcollation WHERE a.attrelid = to_regclass($1) AND a.attname = 'id' AND NOT a.attisdropped
                  AND NOT c.collisdeterministic)";
    let row = client.query_typed_one(select, &[(&name, Type::TEXT)]).await?;
    let encoding: String = row.try_get(0)?;
    if encoding != "UTF8" {
        return Ok(Some(format!(
            "the database has the encoding {encoding}, and cannot keep every text of a milestone, or what it keeps may be none; make a database \
             with ENCODING 'UTF8', and copy the table (pg_dump, psql)"
        )));
    }
    if row.try_get(1)? {
        let cause = "its column id has a collation that is not deterministic, and two milestones would be taken for one; give it one that is \
                     (ALTER TABLE … ALTER id TYPE text COLLATE \"C\")";
        return Ok(Some(cause.to_owned()));
    }
    Ok(None)
}

/// Why the table is not used where milescale's own tables, found by the same search path, are of another table of its name.
async fn torn_apart(client: &Client, table: &Table) -> Result<Option<String>, Error> {
    let (here, there) = (table.find(client, "milestones").await?, table.find(client, "milescale_meta").await?);
    let (Some((here, _)), Some((there, _))) = (here, there) else { return Ok(None) };
    let select = "SELECT quote_ident($1), quote_ident($2) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = $2 AND c.relname = 'milestones' AND $1 <> $2";
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&here, Type::TEXT), (&there, Type::TEXT)];
    let Some(row) = client.query_typed_opt(select, &values).await? else { return Ok(None) };
    let (here, there): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(format!(
        "the search path finds the table milestones of the schema {here}, and milescale's own tables are beside that of the schema \
         {there}; nothing was read or written. Name the schema of the two in storage.database.schema, or change the search path"
    )))
}
