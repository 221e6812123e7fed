//! What the table is: only a plain table, whose rows are all to be seen, is one of milestones.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

/// What else may have the name.
const KINDS: &[(&str, &str)] =
    &[("v", "a view"), ("m", "a materialized view"), ("f", "a foreign table"), ("c", "a type"), ("S", "a sequence")];

/// Why the table is not used, where it is not: what milescale wrote or read there would be somebody else's to decide.
pub(super) async fn not_used(client: &Client, name: &str) -> Result<Option<String>, Error> {
    let select = "SELECT relkind::text, row_security_active(oid), ARRAY(SELECT rulename::text FROM pg_rewrite
                  WHERE ev_class = c.oid AND rulename <> '_RETURN'), current_user::text
                  FROM pg_class c WHERE oid = to_regclass($1)";
    let Some(row) = client.query_typed_opt(select, &[(&name, Type::TEXT)]).await? else { return Ok(None) };
    let (kind, hides, rules, user): (String, bool, Vec<String>, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    if let Some((_, kind)) = KINDS.iter().find(|(letter, _)| *letter == kind) {
        return Ok(Some(format!(
            "milestones is {kind} and no table; milestones are kept in a table: name the schema or database where that is"
        )));
    }
    let select = format!("{} ORDER BY 1 LIMIT 1", functions_of_others("$1"));
    if let Some(row) = client.query_typed_opt(&select, &[(&name, Type::TEXT)]).await? {
        let (function, owner): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        return Ok(Some(format!(
            "its function {function} belongs to {owner}, and would run with the rights of {user}; give it to {user} (ALTER \
             FUNCTION … OWNER TO {user}), or drop what calls it"
        )));
    }
    if !rules.is_empty() {
        return Ok(Some(format!(
            "rules rewrite what is written there ({}); drop them, or use triggers instead",
            rules.join(", ")
        )));
    }
    Ok(hides.then(|| {
        format!(
            "row-level security hides rows of it from {user}, and none may be missed; make {user} its owner, let it bypass \
             that (ALTER ROLE … BYPASSRLS), or turn it off (ALTER TABLE … DISABLE ROW LEVEL SECURITY)"
        )
    }))
}

/// Selects the functions that run with the rights of whoever writes to a table, and belong neither to milescale's user nor to one who
/// may do everything: those of triggers, defaults, constraints and indexes.
fn functions_of_others(table: &str) -> String {
    format!(
        "WITH t AS (SELECT to_regclass({table})::oid AS oid),
         parts AS (SELECT 'pg_trigger'::regclass AS class, oid FROM pg_trigger WHERE tgrelid = (SELECT oid FROM t)
           UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid = (SELECT oid FROM t)
           UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid = (SELECT oid FROM t)
           UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid = (SELECT oid FROM t))
         SELECT p.oid::regprocedure::text, quote_ident(r.rolname)
         FROM parts JOIN pg_depend d ON d.classid = parts.class AND d.objid = parts.oid
              JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
              JOIN pg_roles r ON r.oid = p.proowner
         WHERE r.rolname <> current_user AND NOT r.rolsuper"
    )
}

/// What a transaction that writes begins with: nothing is written where such a function has come since the table was looked at.
pub(super) fn guard(name: &str) -> String {
    let functions = functions_of_others(&format!("'{}'", name.replace('\'', "''")));
    format!(
        "DO $milescale$ BEGIN IF EXISTS ({functions}) THEN RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', \
         MESSAGE = 'a function of somebody else would run with the rights of milescale; `milescale doctor` names it'; \
         END IF; END $milescale$; "
    )
}

/// Why the table is not used where milescale's own tables, found by the same search path, are of another table of its name.
pub(super) async fn torn_apart(client: &Client, name: &str, meta: &str) -> Result<Option<String>, Error> {
    let select = "SELECT quote_ident(here.nspname), quote_ident(there.nspname)
                  FROM pg_class t JOIN pg_namespace here ON here.oid = t.relnamespace,
                       pg_class m JOIN pg_namespace there ON there.oid = m.relnamespace
                  WHERE t.oid = to_regclass($1) AND m.oid = to_regclass($2) AND t.relnamespace <> m.relnamespace
                  AND EXISTS (SELECT FROM pg_class WHERE relnamespace = m.relnamespace AND relname = 'milestones')";
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&name, Type::TEXT), (&meta, Type::TEXT)];
    let Some(row) = client.query_typed_opt(select, &values).await? else { return Ok(None) };
    let (here, there): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(format!(
        "the search path finds the table milestones of the schema {here}, and milescale's own tables are beside that of the schema \
         {there}; nothing was read or written. Name the schema of the two in storage.database.schema, or change the search path"
    )))
}
