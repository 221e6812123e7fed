//! What the table is: only a plain table, whose rows are all to be seen, is one of milestones.

use milescale_workspace::error::{Problem, StoreError};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::begin::literal;
use super::connection::Failed;
use super::documents::Table;

/// What else may have the name.
const KINDS: &[(&str, &str)] =
    &[("v", "a view"), ("m", "a materialized view"), ("f", "a foreign table"), ("c", "a type"), ("S", "a sequence")];

/// Why the table is not used, where it is not: what milescale wrote or read there would be somebody else's to decide. The tables
/// beside it that are milescale's own are looked at in the same way.
pub(super) async fn not_used(client: &Client, table: &Table) -> Result<Option<String>, Error> {
    if let Some(why) = somebody_else(client).await? {
        return Ok(Some(why));
    }
    // To compile what is asked once takes longer than to do it.
    client.batch_execute("SET LOCAL jit = off").await?;
    let used = [(&table.used as &(dyn ToSql + Sync), Type::TEXT)];
    let select = "SELECT c.relname::text, c.relkind::text, c.relkind IN ('r', 'p') AND row_security_active(c.oid),
                  ARRAY(SELECT rulename::text FROM pg_rewrite WHERE ev_class = c.oid AND rulename <> '_RETURN'), current_user::text
                  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1
                  AND (c.relname = 'milestones' OR c.relname LIKE 'milescale!_%' ESCAPE '!' AND c.relkind IN ('r', 'p', 'v', 'm', 'f'))
                  ORDER BY c.relname <> 'milestones', c.relname";
    let mut user = String::new();
    let mut found = Vec::new();
    for row in client.query_typed(select, &used).await? {
        let (name, kind, hides, rules): (String, String, bool, Vec<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        user = row.try_get(4)?;
        if let Some((_, kind)) = KINDS.iter().find(|(letter, _)| *letter == kind) {
            return Ok(Some(format!(
                "{name} is {kind} and no table; milestones are kept in a table: name the schema or database where that is"
            )));
        }
        found.push((name, hides, rules));
    }
    let select = format!("{} ORDER BY 1 LIMIT 1", others());
    if let Some(row) = client.query_typed_opt(&select, &used).await? {
        let (what, owner, runs_texts): (String, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        return Ok(Some(if runs_texts {
            format!(
                "its {what} could run what somebody else says, with the rights of {user}; drop what calls it, or give the table to {user}"
            )
        } else {
            format!(
                "its {what} belongs to {owner}, and what that says would run with the rights of {user}; give it to {user} (ALTER … OWNER TO \
                 {user}), or to a role without login that all who share it are members of, or drop what uses it"
            )
        }));
    }
    for (name, hides, rules) in found {
        if !rules.is_empty() {
            let whose = if name == "milestones" { String::new() } else { format!("{name}: ") };
            return Ok(Some(format!(
                "{whose}rules rewrite what is written there ({}); drop them, or use triggers instead",
                rules.join(", ")
            )));
        }
        if hides {
            return Ok(Some(format!(
                "row-level security hides rows of it from {user}, and none may be missed; make {user} its owner, let it bypass \
                 that (ALTER ROLE … BYPASSRLS), or turn it off (ALTER TABLE … DISABLE ROW LEVEL SECURITY)"
            )));
        }
    }
    Ok(None)
}

/// Why the session is not the user's own: whoever owns the database can let it begin as another role, whose functions could then
/// become the user.
async fn somebody_else(client: &Client) -> Result<Option<String>, Error> {
    let select = "SELECT current_user::text, session_user::text, current_database()::text FROM pg_roles r
                  WHERE r.rolname = session_user AND current_user <> session_user AND (r.rolsuper OR EXISTS (SELECT
                  FROM pg_db_role_setting s, unnest(s.setconfig) AS it WHERE s.setrole = 0 AND it ILIKE 'role=%'))";
    let Some(row) = client.query_typed_opt(select, &[]).await? else { return Ok(None) };
    let (now, user, database): (String, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(Some(format!(
        "the session of {user} is one of {now}, whose functions could become {user}; take that away (ALTER DATABASE {database} RESET \
         role, or ALTER ROLE {user} RESET role), or connect as {now}"
    )))
}

/// The tables of the schema `$1` that are written to, and those that inherit from them.
///
/// What else the server evaluates with the rights of whoever writes or reads is named by the selections of [`others`] one by one: there is no
/// list of it in the server's catalogues.
const TABLES: &str = "tables AS (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
           AND (c.relname = 'milestones' OR c.relname LIKE 'milescale!_%' ESCAPE '!')
           UNION SELECT i.inhrelid FROM pg_inherits i JOIN tables t ON i.inhparent = t.oid)";

/// milescale's own tables, where it has all that it needs.
const OWN: [&str; 4] = ["milescale_meta", "milescale_tokens", "milescale_texts", "milescale_displaced"];

/// Functions that are no constants, and do nothing to anything but their own value: a table of others may have them in its defaults.
const HARMLESS: [&str; 10] = [
    "clock_timestamp",
    "nextval",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "random",
    "pg_trigger_depth",
];

/// Functions of the server that make a value of a type that a text names, which may be somebody else's, or one of whatever they are
/// given.
const OF_ANY_TYPE: &str = "^((record|domain|array|anyarray|range|multirange|any.*range)_in|pg_input_.*|jsonb?_(populate|to)_record.*\
     |to_jsonb?|(array|row)_to_json|jsonb?_(build|object).*|quote_(literal|nullable)|format|concat.*)$";

/// Whether a role, of `pg_roles` under this name, is another one, whose code milescale's user would not run: neither the user, nor one who
/// may do everything, nor a role without login that the user was made a member of, by which several share a table.
pub(super) fn is_anothers(role: &str) -> String {
    format!(
        "{role}.rolname <> current_user AND NOT {role}.rolsuper AND ({role}.rolcanlogin OR NOT EXISTS (SELECT FROM pg_auth_members m
           JOIN pg_roles u ON u.oid = m.member WHERE m.roleid = {role}.oid AND u.rolname = current_user AND NOT u.rolsuper
           AND pg_has_role(u.oid, {role}.oid, 'USAGE')))"
    )
}

/// Selects what runs with the rights of whoever writes to the tables, and belongs neither to milescale's user nor to one who may do
/// everything: functions of triggers, of defaults, constraints, indexes and statistics, be they called by an operator or by their name;
/// types; references in either direction; tables above and foreign parts. And what runs a text as a statement, whoever it belongs to. What, whose, and whether the last.
fn others() -> String {
    let is_anothers_r = &is_anothers("r");
    // Whoever owns a table decides what its defaults, constraints and indexes call, and with what.
    let harmless = HARMLESS.map(|name| format!("'{name}'")).join(", ");
    format!(
        "WITH RECURSIVE {TABLES},
         owned AS (SELECT t.oid, {is_anothers_r} AS is_anothers FROM tables t JOIN pg_class c ON c.oid = t.oid
           JOIN pg_roles r ON r.oid = c.relowner),
         parts AS (SELECT 'pg_trigger'::regclass AS class, g.oid, g.tgqual::text AS tree, true AS by_others
             FROM pg_trigger g JOIN tables t ON g.tgrelid = t.oid
           UNION ALL SELECT 'pg_attrdef'::regclass, d.oid, d.adbin::text, t.is_anothers FROM pg_attrdef d
             JOIN owned t ON d.adrelid = t.oid
           UNION ALL SELECT 'pg_constraint'::regclass, c.oid, c.conbin::text, t.is_anothers FROM pg_constraint c JOIN owned t
             ON c.conrelid = t.oid
           UNION ALL SELECT 'pg_class'::regclass, p.partrelid, p.partexprs::text, t.is_anothers FROM pg_partitioned_table p
             JOIN owned t ON p.partrelid = t.oid
           UNION ALL SELECT 'pg_class'::regclass, i.indexrelid, concat(i.indexprs::text, i.indpred::text), t.is_anothers
             FROM pg_index i JOIN owned t ON i.indrelid = t.oid
           UNION ALL SELECT 'pg_statistic_ext'::regclass, s.oid, s.stxexprs::text, true FROM pg_statistic_ext s JOIN tables t
             ON s.stxrelid = t.oid),
         called AS (SELECT m[1] AS how, m[2]::oid AS oid, by_others
           FROM parts, regexp_matches(parts.tree, ':(funcid|opfuncid|opno) ([0-9]+)', 'g') AS m),
         functions AS (SELECT g.tgfoid AS oid, false AS by_others FROM pg_trigger g JOIN tables t ON g.tgrelid = t.oid
           UNION SELECT oid, by_others FROM called WHERE how <> 'opno'
           UNION SELECT o.oprcode::oid, by_others FROM called JOIN pg_operator o ON how = 'opno' AND o.oid = called.oid
           UNION SELECT d.refobjid, by_others AND parts.class <> 'pg_trigger'::regclass FROM parts JOIN pg_depend d ON d.classid = parts.class AND d.objid = parts.oid
             AND d.refclassid = 'pg_proc'::regclass
           UNION SELECT o.oprcode::oid, by_others FROM parts JOIN pg_depend d ON d.classid = parts.class AND d.objid = parts.oid
             AND d.refclassid = 'pg_operator'::regclass JOIN pg_operator o ON o.oid = d.refobjid),
         named AS (SELECT d.refobjid AS oid FROM parts JOIN pg_depend d ON d.classid = parts.class AND d.objid = parts.oid
             AND d.refclassid = 'pg_type'::regclass),
         types AS (SELECT a.atttypid AS oid FROM pg_attribute a JOIN tables t ON a.attrelid = t.oid
             WHERE a.attnum > 0 AND NOT a.attisdropped
           UNION SELECT oid FROM named),
         based AS (SELECT oid FROM types
           UNION SELECT it.oid FROM based b JOIN pg_type p ON p.oid = b.oid
             CROSS JOIN LATERAL (
             SELECT p.typbasetype UNION ALL SELECT p.typelem
             UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = p.typrelid AND p.typtype = 'c' AND a.attnum > 0
             UNION ALL SELECT g.rngsubtype FROM pg_range g WHERE g.rngtypid = p.oid) it(oid) WHERE it.oid <> 0),
         runs AS (SELECT p.oid, r.rolname, {is_anothers_r} AS is_anothers,
             p.pronamespace = 'pg_catalog'::regnamespace AND (p.proname ~ '^(query|cursor|table|schema|database)_to_xml'
               OR p.proname IN ('ts_stat', 'ts_rewrite', 'set_config', 'pg_notify', 'lo_import', 'lo_export'))
             OR p.proname ~ '^(dblink|crosstab|connectby|xpath_table|lo_manage|check_(primary|foreign)_key)'
             OR f.by_others AND p.provolatile <> 'i' AND p.proname NOT IN ({harmless})
               AND NOT (p.provolatile = 's' AND p.pronamespace = 'pg_catalog'::regnamespace AND p.proname !~ '{OF_ANY_TYPE}')
               AS runs_texts
           FROM functions f JOIN pg_proc p ON p.oid = f.oid JOIN pg_roles r ON r.oid = p.proowner)
         SELECT 'table ' || t.oid::regclass::text, quote_ident(r.rolname), false
           FROM tables t JOIN pg_class c ON c.oid = t.oid JOIN pg_roles r ON r.oid = c.relowner
           WHERE c.relname LIKE 'milescale!_%' ESCAPE '!' AND {is_anothers_r}
         UNION ALL SELECT 'table ' || t.oid::regclass::text, 'a table of several', false
           FROM tables t JOIN pg_class c ON c.oid = t.oid WHERE c.relname LIKE 'milescale!_%' ESCAPE '!' AND c.relkind = 'p'
         UNION ALL SELECT 'function ' || oid::regprocedure::text, quote_ident(rolname), NOT is_anothers FROM runs
           WHERE is_anothers OR runs_texts
         UNION ALL SELECT CASE p.typtype WHEN 'd' THEN 'domain ' ELSE 'type ' END || format_type(p.oid, NULL),
             quote_ident(r.rolname), false
           FROM pg_type p JOIN pg_roles r ON r.oid = p.typowner WHERE {is_anothers_r}
             AND (p.oid IN (SELECT oid FROM based) OR p.oid IN (SELECT oid FROM named))
         UNION ALL SELECT 'constraint ' || quote_ident(c.conname) || ' of ' || c.conrelid::regclass::text, quote_ident(r.rolname), false
           FROM pg_constraint c JOIN tables t ON t.oid IN (c.confrelid, c.conrelid)
             JOIN pg_class k ON k.oid = CASE WHEN t.oid = c.confrelid THEN c.conrelid ELSE c.confrelid END
             JOIN pg_roles r ON r.oid = k.relowner
           WHERE c.contype = 'f' AND {is_anothers_r}
         UNION ALL SELECT 'table ' || i.inhparent::regclass::text || ', of which ' || t.oid::regclass::text || ' is a part,',
             quote_ident(r.rolname), false
           FROM pg_inherits i JOIN tables t ON i.inhrelid = t.oid AND i.inhparent NOT IN (SELECT oid FROM tables)
             JOIN pg_class k ON k.oid = i.inhparent JOIN pg_roles r ON r.oid = k.relowner
         UNION ALL SELECT 'part ' || t.oid::regclass::text || ' is a foreign table and', quote_ident(r.rolname), false
           FROM tables t JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'f' JOIN pg_roles r ON r.oid = c.relowner"
    )
}

/// What each transaction begins with: a look at whose the tables are and what they have of triggers, defaults, constraints, indexes,
/// rules and heirs, each of which is another one once it is altered. Where that is not what was looked at, it is looked at in full,
/// in that transaction.
#[derive(Debug)]
pub(super) struct Guard {
    /// Selects it, as one text.
    pub(super) statement: String,
    /// The tables, for a statement that locks them: what is looked at stays so until the transaction ends.
    pub(super) tables: String,
    table: Table,
    seen: String,
}

impl Guard {
    /// That of a table, which is looked at by the caller.
    pub(super) async fn of(client: &Client, table: &Table) -> Result<Self, Error> {
        let schema = literal(&table.used);
        let statement = format!(
            "WITH RECURSIVE t AS (SELECT c.oid, c.xmin, c.relowner, c.relkind FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {schema} AND c.relname IN ('milestones',
               'milescale_meta', 'milescale_tokens', 'milescale_texts', 'milescale_displaced', 'milescale_base', 'milescale_sides',
               'milescale_earlier', 'milescale_changes')
               UNION SELECT c.oid, c.xmin, c.relowner, c.relkind FROM pg_inherits i JOIN t ON i.inhparent = t.oid
               JOIN pg_class c ON c.oid = i.inhrelid)
             SELECT coalesce(md5(string_agg(it, ' ' ORDER BY it)), '') FROM (
               SELECT concat('t', oid, '/', xmin, '/', relowner, relkind) FROM t
               UNION ALL SELECT concat('a', a.attrelid, '/', a.attnum, '/', a.atttypid, '/', a.xmin) FROM pg_attribute a
                 JOIN t ON a.attrelid = t.oid AND a.attnum > 0
               UNION ALL SELECT concat('g', g.oid, '/', g.xmin) FROM pg_trigger g JOIN t ON g.tgrelid = t.oid
               UNION ALL SELECT concat('d', d.oid, '/', d.xmin) FROM pg_attrdef d JOIN t ON d.adrelid = t.oid
               UNION ALL SELECT concat('c', c.oid, '/', c.xmin) FROM pg_constraint c JOIN t ON t.oid IN (c.conrelid, c.confrelid)
               UNION ALL SELECT concat('s', s.oid, '/', s.xmin) FROM pg_statistic_ext s JOIN t ON s.stxrelid = t.oid
               UNION ALL SELECT concat('p', i.inhparent, '/', i.xmin) FROM pg_inherits i JOIN t ON i.inhrelid = t.oid
               UNION ALL SELECT concat('i', i.indexrelid, '/', i.xmin) FROM pg_index i JOIN t ON i.indrelid = t.oid
               UNION ALL SELECT concat('r', r.oid, '/', r.xmin) FROM pg_rewrite r JOIN t ON r.ev_class = t.oid) AS all_of_it(it)"
        );
        let seen = client.query_typed_one(&statement, &[]).await?.try_get(0)?;
        Ok(Self { statement, tables: String::new(), table: table.clone(), seen })
    }

    /// The same of a table that was looked at.
    #[must_use]
    pub(super) fn of_looked_at(self, table: &Table) -> Self {
        let own: &[&str] = if table.has_own() { &OWN } else { &[] };
        let tables: Vec<String> = ["milestones"].iter().chain(own).map(|name| table.named(name)).collect();
        Self { tables: tables.join(", "), table: table.clone(), ..self }
    }

    /// Looks at the tables where they are not what they were.
    pub(super) async fn check(&mut self, client: &Client, found: Option<String>, shown: &str) -> Result<(), Failed> {
        let Some(found) = found.filter(|found| *found != self.seen) else { return Ok(()) };
        if let Some(why) = not_used(client, &self.table).await? {
            return Err(StoreError::new(Problem::Refused, format!("{shown}, table milestones"), why).into());
        }
        self.seen = found;
        Ok(())
    }
}

/// Why the table is not used where milescale's own tables, found by the same search path, are of another table of its name.
pub(super) async fn torn_apart(client: &Client, table: &Table) -> Result<Option<String>, Error> {
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
