//! What the table is: only a plain table, whose rows are all to be seen, is one of milestones.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::begin::literal;
use super::documents::Table;

/// What else may have the name.
const KINDS: &[(&str, &str)] =
    &[("v", "a view"), ("m", "a materialized view"), ("f", "a foreign table"), ("c", "a type"), ("S", "a sequence")];

/// Why the table is not used, where it is not: what milescale wrote or read there would be somebody else's to decide. The tables
/// beside it that are milescale's own are looked at in the same way.
pub(super) async fn not_used(client: &Client, table: &Table) -> Result<Option<String>, Error> {
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
    let select = format!("{} ORDER BY 1 LIMIT 1", others("$1", "ARRAY[]::oid[]"));
    if let Some(row) = client.query_typed_opt(&select, &used).await? {
        let (what, owner, runs_texts): (String, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        return Ok(Some(if runs_texts {
            format!("its {what} runs what a text says, with the rights of {user}; drop what calls it")
        } else {
            format!(
                "its {what} belongs to {owner}, and would run with the rights of {user}; give it to {user} (ALTER … OWNER TO \
                 {user}), or drop what uses it"
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

/// The tables of a schema that are written to, and those that inherit from them.
fn tables(schema: &str) -> String {
    format!(
        "tables AS (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = {schema} AND c.relkind IN ('r', 'p')
           AND (c.relname = 'milestones' OR c.relname LIKE 'milescale!_%' ESCAPE '!')
           UNION SELECT i.inhrelid FROM pg_inherits i JOIN tables t ON i.inhparent = t.oid)"
    )
}

/// The numbers of the defaults, constraints and indexes of the tables: each is another one once it is altered.
pub(super) async fn parts(client: &Client, table: &Table) -> Result<Vec<u32>, Error> {
    let select = format!(
        "WITH RECURSIVE {} SELECT oid FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM tables)
         UNION ALL SELECT oid FROM pg_constraint WHERE conrelid IN (SELECT oid FROM tables)
         UNION ALL SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM tables)",
        tables("$1")
    );
    let rows = client.query_typed(&select, &[(&table.used, Type::TEXT)]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Selects what runs with the rights of whoever writes to the tables, and belongs neither to milescale's user nor to one who may do
/// everything: functions of triggers; of defaults, constraints and indexes but for `known` ones, be they called by an operator or by
/// their name; domains; cascades. And what runs a text as a statement, whoever it belongs to. What, whose, and whether the last.
fn others(schema: &str, known: &str) -> String {
    let tables = tables(schema);
    let is_anothers = |role: &str| format!("{role}.rolname <> current_user AND NOT {role}.rolsuper");
    let is_anothers_r = is_anothers("r");
    format!(
        "WITH RECURSIVE {tables},
         parts AS (SELECT 'pg_trigger'::regclass AS class, g.oid, g.tgqual::text AS tree
             FROM pg_trigger g JOIN tables t ON g.tgrelid = t.oid
           UNION ALL SELECT 'pg_attrdef'::regclass, d.oid, d.adbin::text FROM pg_attrdef d JOIN tables t ON d.adrelid = t.oid
             WHERE d.oid <> ALL ({known})
           UNION ALL SELECT 'pg_constraint'::regclass, c.oid, c.conbin::text FROM pg_constraint c JOIN tables t
             ON c.conrelid = t.oid WHERE c.oid <> ALL ({known})
           UNION ALL SELECT 'pg_class'::regclass, i.indexrelid, concat(i.indexprs::text, i.indpred::text) FROM pg_index i
             JOIN tables t ON i.indrelid = t.oid WHERE i.indexrelid <> ALL ({known})),
         called AS (SELECT m[1] AS how, m[2]::oid AS oid
           FROM parts, regexp_matches(parts.tree, ':(funcid|opfuncid|opno) ([0-9]+)', 'g') AS m),
         functions AS (SELECT g.tgfoid AS oid FROM pg_trigger g JOIN tables t ON g.tgrelid = t.oid
           UNION SELECT oid FROM called WHERE how <> 'opno'
           UNION SELECT o.oprcode::oid FROM called JOIN pg_operator o ON how = 'opno' AND o.oid = called.oid
           UNION SELECT d.refobjid FROM parts JOIN pg_depend d ON d.classid = parts.class AND d.objid = parts.oid
             AND d.refclassid = 'pg_proc'::regclass
           UNION SELECT o.oprcode::oid FROM parts JOIN pg_depend d ON d.classid = parts.class AND d.objid = parts.oid
             AND d.refclassid = 'pg_operator'::regclass JOIN pg_operator o ON o.oid = d.refobjid),
         types AS (SELECT a.atttypid AS oid FROM pg_attribute a JOIN tables t ON a.attrelid = t.oid
             WHERE a.attnum > 0 AND NOT a.attisdropped
           UNION SELECT d.refobjid FROM parts JOIN pg_depend d ON d.classid = parts.class AND d.objid = parts.oid
             AND d.refclassid = 'pg_type'::regclass),
         based AS (SELECT oid FROM types
           UNION SELECT it.oid FROM based b JOIN pg_type p ON p.oid = b.oid
             CROSS JOIN LATERAL (VALUES (p.typbasetype), (p.typelem)) it(oid) WHERE it.oid <> 0),
         runs AS (SELECT p.oid, r.rolname, {is_anothers_r} AS is_anothers,
             p.pronamespace = 'pg_catalog'::regnamespace AND (p.proname ~ '^(query|cursor|table|schema|database)_to_xml'
               OR p.proname IN ('ts_stat', 'ts_rewrite', 'set_config', 'pg_notify', 'lo_import', 'lo_export'))
             OR p.proname LIKE 'dblink%' AS runs_texts
           FROM functions f JOIN pg_proc p ON p.oid = f.oid JOIN pg_roles r ON r.oid = p.proowner)
         SELECT 'function ' || oid::regprocedure::text, quote_ident(rolname), NOT is_anothers FROM runs
           WHERE is_anothers OR runs_texts
         UNION ALL SELECT 'domain ' || format_type(p.oid, NULL), quote_ident(r.rolname), false
           FROM based JOIN pg_type p ON p.oid = based.oid AND p.typtype = 'd' JOIN pg_roles r ON r.oid = p.typowner
           WHERE {is_anothers_r}
         UNION ALL SELECT 'constraint ' || quote_ident(c.conname) || ' of ' || c.conrelid::regclass::text, quote_ident(r.rolname), false
           FROM pg_constraint c JOIN tables t ON c.confrelid = t.oid JOIN pg_class k ON k.oid = c.conrelid
             JOIN pg_roles r ON r.oid = k.relowner
           WHERE c.contype = 'f' AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd')) AND {is_anothers_r}"
    )
}

/// What a transaction that writes begins with: nothing is written where something has come since the tables were looked at that would
/// run somebody else's. `known` was looked at.
pub(super) fn guard(table: &Table, known: &[u32]) -> String {
    let known: Vec<String> = known.iter().map(u32::to_string).collect();
    let others = others(&literal(&table.used), &format!("ARRAY[{}]::oid[]", known.join(",")));
    // The name of a schema may hold anything.
    let mut mark = "milescale".to_owned();
    while table.used.contains(&mark) {
        mark.push('_');
    }
    format!(
        "DO ${mark}$ BEGIN IF EXISTS ({others}) THEN RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', \
         MESSAGE = 'a function of somebody else would run with the rights of milescale; `milescale doctor` names it'; \
         END IF; END ${mark}$; "
    )
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
