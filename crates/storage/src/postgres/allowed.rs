//! What a table of milestones may have: a list of what is known to run nothing of anybody else's, and nothing beside it.
//!
//! The server evaluates other people's code in places that no catalogue lists: casts in the check of a reference, statistics while
//! it plans, triggers at COMMIT. So it is not asked for what is forbidden: what a table's parts depend on, and what depends on the
//! table, is followed through the server's own record of it (`pg_depend`), and each object of it is of a kind and of an owner that is
//! named here, or the table is not used. The server keeps no such record of what is its own: that is read from the expressions, of
//! which each node and each function is one of those named here.

use super::schema::OWN_TABLES;

/// The tables of the schema `$1` that are written to, those that inherit from them, and those that refer to one of them, whose rows a
/// deletion may reach. Whether rows of it are milescale's.
fn tables() -> String {
    format!(
        "tables AS (SELECT c.oid, true AS is_kept FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
           AND c.relname IN ('milestones', {OWN_TABLES})
           UNION SELECT i.part, i.is_heir AND t.is_kept FROM tables t JOIN (SELECT inhparent AS whole, inhrelid AS part, true AS is_heir
             FROM pg_inherits UNION ALL SELECT confrelid, conrelid, false FROM pg_constraint WHERE contype = 'f') i ON i.whole = t.oid)"
    )
}

/// Nodes of expressions as the server writes them, in the words of versions before 16 and since.
const NODES: [&str; 40] = [
    "VAR",
    "CONST",
    "FUNCEXPR",
    "NAMEDARGEXPR",
    "OPEXPR",
    "DISTINCTEXPR",
    "NULLIFEXPR",
    "SCALARARRAYOPEXPR",
    "BOOLEXPR",
    "FIELDSELECT",
    "RELABELTYPE",
    "COERCEVIAIO",
    "ARRAYCOERCEEXPR",
    "CONVERTROWTYPEEXPR",
    "COLLATEEXPR",
    "CASE",
    "CASEEXPR",
    "WHEN",
    "CASEWHEN",
    "CASETESTEXPR",
    "ARRAY",
    "ARRAYEXPR",
    "ROW",
    "ROWEXPR",
    "COALESCE",
    "COALESCEEXPR",
    "MINMAX",
    "MINMAXEXPR",
    "SQLVALUEFUNCTION",
    "NULLTEST",
    "BOOLEANTEST",
    "COERCETODOMAIN",
    "COERCETODOMAINVALUE",
    "NEXTVALUEEXPR",
    "SUBSCRIPTINGREF",
    "ROWCOMPARE",
    "ROWCOMPAREEXPR",
    "JSONISPREDICATE",
    "JSONVALUEEXPR",
    "JSONFORMAT",
];

/// Functions that are volatile, and do nothing to anything but their own value. Some are an extension's.
const VOLATILE: [&str; 12] = [
    "clock_timestamp",
    "timeofday",
    "nextval",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "gen_random_bytes",
    "random_normal",
    "uuid_generate_v4",
    "random",
];

/// Functions of the server's that depend on its settings or on the session, and call nothing else, where they take and return simple types
/// alone. Others of such types may take the name of a type from a text (`pg_input_is_valid`).
const STABLE: &str = "^(age|now|(statement|transaction)_timestamp|timezone|(make_)?timestamptz(_.*)?|timestamp(_.*)?|date(_.*)?|time|timetz|\
     interval_pl_timestamptz|in_range|overlaps|extract|to_(char|date|number|timestamp)|txid_current(_if_assigned)?|\
     pg_current_xact_id(_if_assigned)?|pg_backend_pid|pg_trigger_depth|current_(database|schema|setting|user)|session_user|getpgusername|\
     version|inet_(client|server)_(addr|port)|convert(_from|_to)?|length|money|cash_.*)$";

/// Types whose values hold no name of anything.
const SIMPLE: [&str; 26] = [
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "text",
    "varchar",
    "bpchar",
    "char",
    "name",
    "bytea",
    "uuid",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "inet",
    "cidr",
    "json",
    "jsonb",
    "money",
    "xid8",
];

/// Functions of the server's that write a value of any type as a text. Whose the types are, and what casts them, is looked at.
const OF_VALUES: &str = "^((any)?textcat(any)?|textanycat|concat(_ws)?|format|quote_(literal|nullable)|array_to_(string|json)|row_to_json|to_jsonb?|jsonb?_build_(object|array))$";

/// Functions of triggers that are written in C, and run no text that they are given.
const TRIGGERS_IN_C: &str = "^(RI_FKey_.*|unique_key_recheck|suppress_redundant_updates_trigger|tsvector_update_trigger(_column)?|moddatetime)$";

/// What may depend on a table: its parts, and what only reads it.
const DEPENDENTS: [&str; 10] = [
    "pg_attrdef",
    "pg_class",
    "pg_constraint",
    "pg_policy",
    "pg_proc",
    "pg_publication_rel",
    "pg_rewrite",
    "pg_statistic_ext",
    "pg_trigger",
    "pg_type",
];

/// What a part may depend on, whoever it belongs to: nothing of it is run, or only one who may do everything can make it.
const UNOWNED: [&str; 11] = [
    "pg_am",
    "pg_attrdef",
    "pg_collation",
    "pg_constraint",
    "pg_extension",
    "pg_language",
    "pg_namespace",
    "pg_opclass",
    "pg_opfamily",
    "pg_statistic_ext",
    "pg_trigger",
];

/// Bytes of the expressions of all tables that are looked through.
const MOST: u32 = 1 << 20;

fn list(of: &[&str], ending: &str) -> String {
    of.iter().map(|it| format!("'{it}'{ending}")).collect::<Vec<_>>().join(", ")
}

/// Whether a role, of `pg_roles` under this name, is another one, whose code milescale's user would not run: neither the user, nor one who
/// may do everything, nor the role without login that owns the table of milestones (an expression for its oid), by which several share
/// it. That is one that the user was made a member of, and that nobody else lets others into: he could let the user in, unasked.
pub(super) fn is_anothers(role: &str, milestones: &str) -> String {
    format!(
        "NOT EXISTS (SELECT FROM pg_roles o WHERE o.oid = CASE {role}.rolname WHEN 'pg_database_owner' THEN (SELECT d.datdba FROM pg_database d
             WHERE d.datname = current_database()) ELSE {role}.oid END
           AND (o.rolname = current_user OR o.rolsuper OR NOT o.rolcanlogin AND o.rolname !~ '^pg_'
             AND o.oid = (SELECT m.relowner FROM pg_class m WHERE m.oid = {milestones})
             AND EXISTS (SELECT FROM pg_auth_members a JOIN pg_roles u ON u.oid = a.member WHERE a.roleid = o.oid
               AND u.rolname = current_user AND NOT u.rolsuper AND pg_has_role(u.oid, o.oid, 'USAGE'))
             AND NOT EXISTS (SELECT FROM pg_auth_members a JOIN pg_roles u ON u.oid = a.member WHERE a.roleid = o.oid
               AND a.admin_option AND u.rolname <> current_user AND NOT u.rolsuper
               -- Who may let others into the user's own role can become the user anyway (16 and later: who has made it).
               AND NOT EXISTS (SELECT FROM pg_auth_members b JOIN pg_roles v ON v.oid = b.roleid WHERE v.rolname = current_user
                 AND b.member = u.oid AND b.admin_option))))"
    )
}

/// The oid of the table of milestones in the schema `$1`.
const MILESTONES: &str = "(SELECT k.oid FROM pg_class k JOIN pg_namespace s ON s.oid = k.relnamespace WHERE s.nspname = $1 AND k.relname = 'milestones')";

/// Whether milescale's user may lock a table of this oid as one that is written to.
pub(super) fn may_be_locked(oid: &str) -> String {
    format!(
        "(has_table_privilege({oid}, 'UPDATE') OR has_table_privilege({oid}, 'DELETE') OR has_table_privilege({oid}, 'TRUNCATE'))"
    )
}

/// Whether milescale's user may write rows of a table of this oid.
fn may_be_written(oid: &str) -> String {
    format!(
        "(has_table_privilege({oid}, 'INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege({oid}, 'INSERT, UPDATE'))"
    )
}

/// Whether milescale's user may only read the tables of the schema `$1`: what runs when rows are written runs for others only.
pub(super) fn is_for_reading() -> String {
    let may_be_written = may_be_written("k.oid");
    format!(
        "(SELECT coalesce(bool_or(k.relname = 'milestones') AND NOT bool_or({may_be_written}), false)
           FROM pg_class k JOIN pg_namespace s ON s.oid = k.relnamespace WHERE s.nspname = $1 AND k.relkind IN ('r', 'p')
             AND k.relname IN ('milestones', {OWN_TABLES}))"
    )
}

/// Selects what stands beside the list, where rows are written (`$2`) and where they are only read: what it is, whose, and what is wrong with
/// it: `owner`, `runs` (what somebody else says), `kind`, `goes` (one milestone with another), `unlogged`, `schema` (which somebody else may
/// rename), `trigger` (which somebody else may add, while the table cannot be locked), `watched` (by triggers of somebody who may not read
/// it).
pub(super) fn others() -> String {
    format!("{} {}", looked_at(), told())
}

/// What the selection of [`others`] looks at.
fn looked_at() -> String {
    let is_anothers_r = &is_anothers("r", MILESTONES);
    let (volatile, simple, unowned) = (list(&VOLATILE, ""), list(&SIMPLE, ""), list(&UNOWNED, "::regclass"));
    let (is_for_reading, tables) = (is_for_reading(), tables());
    format!(
        "WITH RECURSIVE {tables},
         -- Triggers run, and are told anything, where rows are written.
         wrote AS MATERIALIZED (SELECT $2 OR NOT {is_for_reading} AS rows),
         -- Whoever owns a table decides what its defaults, constraints and indexes call, and with what.
         owned AS (SELECT t.oid, t.is_kept, c.relname, {is_anothers_r} AS is_anothers FROM tables t JOIN pg_class c ON c.oid = t.oid
           JOIN pg_roles r ON r.oid = c.relowner),
         -- What each table is made of, with its expressions.
         whole AS (SELECT 'pg_class'::regclass AS class, t.oid, NULL::text AS tree, t.is_anothers FROM owned t
           UNION ALL SELECT 'pg_trigger'::regclass, g.oid, g.tgqual::text, true FROM pg_trigger g JOIN owned t ON g.tgrelid = t.oid
             WHERE (SELECT rows FROM wrote)
           UNION ALL SELECT 'pg_attrdef'::regclass, d.oid, d.adbin::text, t.is_anothers FROM pg_attrdef d JOIN owned t ON d.adrelid = t.oid
           UNION ALL SELECT 'pg_constraint'::regclass, c.oid, c.conbin::text, t.is_anothers FROM pg_constraint c
             JOIN owned t ON c.conrelid = t.oid
           UNION ALL SELECT 'pg_class'::regclass, p.partrelid, p.partexprs::text, t.is_anothers FROM pg_partitioned_table p
             JOIN owned t ON p.partrelid = t.oid
           UNION ALL SELECT 'pg_class'::regclass, i.indexrelid, concat(i.indexprs::text, i.indpred::text), t.is_anothers
             FROM pg_index i JOIN owned t ON i.indrelid = t.oid
           UNION ALL SELECT 'pg_statistic_ext'::regclass, s.oid, to_jsonb(s) ->> 'stxexprs', true FROM pg_statistic_ext s
             JOIN owned t ON s.stxrelid = t.oid),
         -- To look through them takes time.
         parts AS (SELECT class, oid, CASE WHEN bytes <= {MOST} THEN tree END AS tree, is_anothers
           FROM whole, (SELECT sum(length(tree)) AS bytes FROM whole) AS all_of_it),
         -- What they depend on. A domain's constraints, and the columns of a type, depend on it, and it does not say so.
         -- Not each type in an expression is recorded as one that it depends on.
         needed AS (SELECT d.refclassid AS class, d.refobjid AS oid FROM parts p JOIN pg_depend d ON d.classid = p.class AND d.objid = p.oid
           UNION SELECT 'pg_type'::regclass, m[2]::oid FROM parts, regexp_matches(tree, ':[a-z_]*typ(e|eid|eId|id) ([0-9]+)', 'g') AS m
             WHERE tree <> '' AND m[2]::oid IN (SELECT y.oid FROM pg_type y WHERE y.typnamespace <> 'pg_catalog'::regnamespace)
           UNION SELECT it.class, it.oid FROM needed n CROSS JOIN LATERAL (
             SELECT d.refclassid, d.refobjid FROM pg_depend d WHERE d.classid = n.class AND d.objid = n.oid
               AND n.class IN ('pg_type'::regclass, 'pg_class'::regclass, 'pg_constraint'::regclass, 'pg_operator'::regclass)
             UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c
               WHERE n.class = 'pg_type'::regclass AND c.contypid = n.oid
             UNION ALL SELECT 'pg_class'::regclass, p.typrelid FROM pg_type p
               WHERE n.class = 'pg_type'::regclass AND p.oid = n.oid AND p.typrelid <> 0
             UNION ALL SELECT 'pg_proc'::regclass, k.castfunc FROM pg_cast k
               WHERE n.class = 'pg_type'::regclass AND k.castsource = n.oid AND k.castfunc <> 0
                 AND k.casttarget = 'json'::regtype) it(class, oid)),
         trees AS (SELECT tree, is_anothers, class = 'pg_trigger'::regclass AS is_condition FROM parts WHERE tree <> ''
           UNION ALL SELECT it.tree, {is_anothers_r}, false FROM needed n JOIN pg_type p ON n.class = 'pg_type'::regclass AND p.oid = n.oid
             JOIN pg_roles r ON r.oid = p.typowner
             CROSS JOIN LATERAL (SELECT p.typdefaultbin::text WHERE p.typdefaultbin IS NOT NULL
             UNION ALL SELECT c.conbin::text FROM pg_constraint c WHERE c.contypid = p.oid AND c.conbin IS NOT NULL) it(tree)),
         called AS (SELECT m[1] AS how, m[2]::oid AS oid, is_anothers, is_condition
           FROM trees, regexp_matches(tree, ':(funcid|opfuncid|opno) ([0-9]+)', 'g') AS m
           UNION ALL SELECT 'opno', one::oid, is_anothers, is_condition FROM trees, regexp_matches(tree, ':opnos \\(o ([0-9 ]+)\\)', 'g') AS m,
             regexp_split_to_table(m[1], ' ') AS one),
         functions AS (SELECT oid, is_anothers, is_condition FROM called WHERE how <> 'opno'
           UNION SELECT o.oprcode::oid, is_anothers, is_condition FROM called JOIN pg_operator o ON how = 'opno' AND o.oid = called.oid),
         judged AS (SELECT p.oid, quote_ident(r.rolname) AS whose, {is_anothers_r} AS is_anothers,
             -- A function of the user's own is called by a table of the user's own as it likes.
             NOT (p.provolatile = 'i' OR NOT f.is_anothers AND NOT r.rolsuper
               -- What leaves a trace outside (nextval) tells what a condition has found.
               OR (r.rolsuper AND p.proname IN ({volatile}) AND NOT f.is_condition)
               OR (p.pronamespace = 'pg_catalog'::regnamespace AND p.provolatile = 's' AND (p.proname ~ '{OF_VALUES}'
                 OR NOT p.proretset AND p.proname ~ '{STABLE}' AND NOT EXISTS (SELECT
                   FROM unnest(p.proargtypes::oid[] || p.prorettype) a(type) JOIN pg_type y ON y.oid = a.type
                   WHERE y.typnamespace <> 'pg_catalog'::regnamespace OR y.typname NOT IN ({simple}))))) AS runs
             FROM functions f JOIN pg_proc p ON p.oid = f.oid JOIN pg_roles r ON r.oid = p.proowner
           UNION ALL SELECT p.oid, quote_ident(r.rolname), {is_anothers_r},
             l.lanname IN ('internal', 'c') AND NOT (r.rolsuper AND p.proname ~ '{TRIGGERS_IN_C}')
             FROM pg_trigger g JOIN owned t ON g.tgrelid = t.oid JOIN pg_proc p ON p.oid = g.tgfoid
             JOIN pg_language l ON l.oid = p.prolang JOIN pg_roles r ON r.oid = p.proowner WHERE (SELECT rows FROM wrote)),
         owners AS (SELECT class, oid, CASE class
             WHEN 'pg_proc'::regclass THEN (SELECT proowner FROM pg_proc p WHERE p.oid = needed.oid)
             WHEN 'pg_type'::regclass THEN (SELECT typowner FROM pg_type p WHERE p.oid = needed.oid)
             WHEN 'pg_operator'::regclass THEN (SELECT oprowner FROM pg_operator p WHERE p.oid = needed.oid)
             WHEN 'pg_ts_config'::regclass THEN (SELECT cfgowner FROM pg_ts_config p WHERE p.oid = needed.oid)
             WHEN 'pg_ts_dict'::regclass THEN (SELECT dictowner FROM pg_ts_dict p WHERE p.oid = needed.oid)
             WHEN 'pg_class'::regclass THEN (SELECT relowner FROM pg_class p WHERE p.oid = needed.oid) END AS owner
           FROM needed WHERE class NOT IN ({unowned}) AND NOT (class = 'pg_class'::regclass
             AND (oid IN (SELECT oid FROM owned WHERE is_kept)
               OR EXISTS (SELECT FROM pg_class p WHERE p.oid = needed.oid AND p.relkind IN ('S', 'i', 'I', 't')))))"
    )
}

/// What it says of that.
fn told() -> String {
    let is_anothers_r = &is_anothers("r", MILESTONES);
    let may_be_locked = may_be_locked("c.oid");
    let (nodes, dependents) = (list(&NODES, ""), list(&DEPENDENTS, "::regclass"));
    format!(
        "SELECT 'table ' || t.oid::regclass::text AS what, quote_ident(r.rolname) AS whose, 'owner' AS why
           FROM owned t JOIN pg_class c ON c.oid = t.oid JOIN pg_roles r ON r.oid = c.relowner
           WHERE t.relname LIKE 'milescale!_%' ESCAPE '!' AND t.is_kept AND t.is_anothers AND (SELECT rows FROM wrote)
         UNION ALL SELECT 'table ' || t.oid::regclass::text, 'a table of several', 'owner'
           FROM owned t JOIN pg_class c ON c.oid = t.oid WHERE t.relname LIKE 'milescale!_%' ESCAPE '!' AND t.is_kept AND c.relkind = 'p'
         UNION ALL SELECT 'function ' || oid::regprocedure::text, whose, CASE WHEN is_anothers THEN 'owner' ELSE 'runs' END FROM judged
           WHERE is_anothers OR runs
         UNION ALL SELECT CASE WHEN p.typtype = 'd' THEN 'domain ' || format_type(p.oid, NULL)
             ELSE coalesce(pg_describe_object(o.class, o.oid, 0), 'something') END,
             coalesce(quote_ident(r.rolname), ''), CASE WHEN r.oid IS NULL THEN 'kind' ELSE 'owner' END
           FROM owners o LEFT JOIN pg_roles r ON r.oid = o.owner LEFT JOIN pg_type p ON o.class = 'pg_type'::regclass AND p.oid = o.oid
           WHERE r.oid IS NULL OR {is_anothers_r}
         UNION ALL SELECT 'constraint ' || quote_ident(c.conname) || ' of ' || c.conrelid::regclass::text, quote_ident(r.rolname), 'owner'
           FROM pg_constraint c JOIN tables t ON t.oid IN (c.confrelid, c.conrelid)
             JOIN pg_class k ON k.oid = CASE WHEN t.oid = c.confrelid THEN c.conrelid ELSE c.confrelid END
             JOIN pg_roles r ON r.oid = k.relowner
           WHERE (SELECT rows FROM wrote) AND c.contype = 'f' AND {is_anothers_r}
         UNION ALL SELECT 'constraint ' || quote_ident(c.conname), '', 'goes' FROM pg_constraint c
             JOIN owned t ON t.oid = c.conrelid AND t.is_kept JOIN owned o ON o.oid = c.confrelid AND o.is_kept
           WHERE (SELECT rows FROM wrote) AND c.contype = 'f' AND c.confdeltype NOT IN ('a', 'r')
         UNION ALL SELECT 'table ' || i.inhparent::regclass::text || ', of which ' || t.oid::regclass::text || ' is a part,',
             quote_ident(r.rolname), 'owner'
           FROM pg_inherits i JOIN tables t ON i.inhrelid = t.oid AND i.inhparent NOT IN (SELECT oid FROM tables)
             JOIN pg_class k ON k.oid = i.inhparent JOIN pg_roles r ON r.oid = k.relowner WHERE t.is_kept OR {is_anothers_r}
         UNION ALL SELECT 'part ' || t.oid::regclass::text || ' is a foreign table and', quote_ident(r.rolname), 'owner'
           FROM tables t JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'f' JOIN pg_roles r ON r.oid = c.relowner
         UNION ALL SELECT 'table ' || t.oid::regclass::text, '', 'unlogged' FROM tables t
           JOIN pg_class c ON c.oid = t.oid AND c.relpersistence = 'u' WHERE t.is_kept
         UNION ALL SELECT 'schema ' || quote_ident(n.nspname), quote_ident(r.rolname), 'schema'
           FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = $1 AND {is_anothers_r}
             AND (has_database_privilege(r.oid, current_database(), 'CREATE') OR EXISTS (SELECT FROM pg_database b
               JOIN pg_roles r ON r.oid = b.datdba WHERE b.datname = current_database() AND {is_anothers_r}))
             -- Who was let into another user's table, and may do nothing else, has that one to trust.
             AND (EXISTS (SELECT FROM pg_roles u WHERE u.rolname = current_user AND u.rolsuper)
               OR NOT EXISTS (SELECT FROM owned t WHERE t.relname = 'milestones' AND t.is_kept AND t.is_anothers))
         UNION ALL SELECT 'function ' || p.oid::regprocedure::text, quote_ident(r.rolname), 'owner'
           FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_roles r ON r.oid = p.proowner
           WHERE n.nspname = $1 AND p.proname IN ('milescale_log', 'milescale_refuse') AND {is_anothers_r} AND (SELECT rows FROM wrote)
         UNION ALL SELECT 'table ' || t.oid::regclass::text, coalesce(quote_ident(r.rolname), 'everybody'), 'trigger'
           FROM tables t JOIN pg_class c ON c.oid = t.oid CROSS JOIN LATERAL aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
           WHERE (SELECT rows FROM wrote) AND NOT t.is_kept AND a.privilege_type = 'TRIGGER' AND NOT {may_be_locked} AND (r.oid IS NULL OR {is_anothers_r})
         UNION ALL SELECT 'expressions of more than 1 MiB', '', 'kind' FROM whole HAVING sum(length(tree)) > {MOST}
         UNION ALL SELECT 'table ' || t.oid::regclass::text, string_agg(DISTINCT coalesce(quote_ident(r.rolname), 'PUBLIC'), ', '), 'watched'
           FROM owned t JOIN pg_class c ON c.oid = t.oid CROSS JOIN LATERAL aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
           WHERE (SELECT rows FROM wrote) AND t.is_kept AND a.privilege_type = 'TRIGGER' AND a.grantee <> c.relowner AND {is_anothers_r} AND CASE WHEN r.oid IS NULL
             THEN c.relrowsecurity OR NOT has_table_privilege('public', c.oid, 'SELECT')
             ELSE c.relrowsecurity AND NOT r.rolbypassrls OR NOT has_table_privilege(r.oid, c.oid, 'SELECT') END
           GROUP BY t.oid
         UNION ALL SELECT 'rule ' || quote_ident(w.rulename) || ' of ' || t.oid::regclass::text, '', 'kind'
           FROM pg_rewrite w JOIN tables t ON w.ev_class = t.oid AND NOT t.is_kept
         UNION ALL SELECT pg_describe_object(d.classid, d.objid, 0), '', 'kind'
           FROM pg_depend d JOIN tables t ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid
           WHERE d.classid NOT IN ({dependents})
         UNION ALL SELECT 'an expression with ' || m[2], '', 'kind'
           FROM trees, regexp_matches(tree, '(^|[^\\\\])\\{{([A-Z_]+)', 'g') AS m WHERE m[2] NOT IN ({nodes})"
    )
}
