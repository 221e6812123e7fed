//! The table of contract §2 in PostgreSQL, and what milescale adds to it.
//!
//! Figures of a million rows come from stored generated columns within tens of milliseconds. Their expressions are total:
//! every path is strict and guarded by the type of what it stands on, and silent, so that no row is refused that would be
//! accepted without them. They mean what `facts` in the core means, to the letter.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::allowed::is_anothers;
use super::begin::literal;
use super::documents::Table;

/// A task that has an enabled kiro workflow, of a list (`$[*]`) or a mapping (`$.*`).
macro_rules! enabled {
    ($items:literal) => {
        concat!(
            "jsonb_array_length(jsonb_path_query_array(data->'tasks', 'strict ",
            $items,
            " ? (@.type() == \"object\" && exists(@.kiro_workflow)).kiro_workflow ",
            "? (@.type() == \"object\" && exists(@.enabled)).enabled ? (@ == true || @ == \"true\")', '{}', true))"
        )
    };
}

/// Tasks with an enabled kiro workflow.
pub(super) const KIRO: &str = concat!(
    "CASE WHEN jsonb_typeof(data) <> 'object' THEN 0 ELSE CASE jsonb_typeof(data->'tasks') WHEN 'array' THEN ",
    enabled!("$[*]"),
    " WHEN 'object' THEN ",
    enabled!("$.*"),
    " ELSE 0 END END"
);

/// Entries of `dependencies.requires`.
pub(super) const REQUIRES: &str = "CASE WHEN jsonb_typeof(data) <> 'object' OR jsonb_typeof(data->'dependencies') <> 'object' THEN 0 ELSE \
     CASE jsonb_typeof(data->'dependencies'->'requires') \
     WHEN 'array' THEN jsonb_array_length(jsonb_path_query_array(data->'dependencies'->'requires', \
          'strict $[*] ? (@.type() != \"null\")', '{}', true)) \
     WHEN 'object' THEN jsonb_array_length(jsonb_path_query_array(data->'dependencies'->'requires', \
          'strict $.*', '{}', true)) \
     WHEN 'string' THEN (data->'dependencies'->>'requires' <> '')::int \
     WHEN 'number' THEN 1 WHEN 'boolean' THEN 1 ELSE 0 END END";

/// Whether the milestone counts.
pub(super) const ACTIVE: &str = "(data->>'status' IS DISTINCT FROM 'archived')";

/// Rows that are no object: they count and add nothing else.
pub(super) const FLAWED: &str = "(jsonb_typeof(data) IS DISTINCT FROM 'object')";

/// The table as milescale makes it.
pub(super) fn create(prefix: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {prefix}milestones ({}); {}", all_columns(), indexes(prefix))
}

/// Every column of the table as milescale makes it.
pub(super) fn all_columns() -> String {
    format!(
        "id TEXT PRIMARY KEY, data JSONB, created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now(), {}",
        columns().join(", ")
    )
}

/// Adds to a table of other programs' what milescale makes its own with.
pub(super) fn generate(prefix: &str) -> String {
    let columns = columns().map(|column| format!("ADD COLUMN IF NOT EXISTS {column}"));
    format!("ALTER TABLE {prefix}milestones {}; {}", columns.join(", "), indexes(prefix))
}

fn columns() -> [String; 3] {
    [
        format!("milescale_active BOOLEAN GENERATED ALWAYS AS ({ACTIVE}) STORED"),
        format!("milescale_kiro INTEGER GENERATED ALWAYS AS (COALESCE({KIRO}, 0)) STORED"),
        format!("milescale_requires INTEGER GENERATED ALWAYS AS (COALESCE({REQUIRES}, 0)) STORED"),
    ]
}

/// Equal keys of an index are kept once, other columns that it includes are not: so the figures are its keys.
fn indexes(prefix: &str) -> String {
    format!(
        "CREATE INDEX IF NOT EXISTS milescale_figures ON {prefix}milestones (milescale_kiro, milescale_requires) \
         WHERE milescale_active; \
         CREATE INDEX IF NOT EXISTS milescale_flawed ON {prefix}milestones (id) WHERE {FLAWED}"
    )
}

/// milescale's own tables. Those of an older milescale get the columns that they lack.
pub(super) fn own(prefix: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {prefix}milescale_meta (one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one), \
         workspace TEXT NOT NULL, path TEXT NOT NULL, epoch BIGINT NOT NULL); \
         ALTER TABLE {prefix}milescale_meta ADD COLUMN IF NOT EXISTS format INTEGER NOT NULL DEFAULT 1, \
         ADD COLUMN IF NOT EXISTS chain TEXT, ADD COLUMN IF NOT EXISTS number BIGINT, \
         ADD COLUMN IF NOT EXISTS token TEXT, ADD COLUMN IF NOT EXISTS written TIMESTAMPTZ, \
         ADD COLUMN IF NOT EXISTS pruned BIGINT NOT NULL DEFAULT 0; \
         CREATE TABLE IF NOT EXISTS {prefix}milescale_tokens (number BIGINT PRIMARY KEY, token TEXT NOT NULL, \
         written TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()); \
         CREATE TABLE IF NOT EXISTS {prefix}milescale_texts (id TEXT PRIMARY KEY, text BYTEA NOT NULL, \
         data_digest TEXT NOT NULL); \
         CREATE TABLE IF NOT EXISTS {prefix}milescale_displaced (number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
         id TEXT, at TIMESTAMP, text BYTEA); \
         CREATE TABLE IF NOT EXISTS {prefix}milescale_base (side TEXT NOT NULL, id TEXT NOT NULL, value BYTEA NOT NULL, \
         text BYTEA NOT NULL, noted TEXT, PRIMARY KEY (side, id)); \
         CREATE TABLE IF NOT EXISTS {prefix}milescale_sides (side TEXT PRIMARY KEY); \
         CREATE TABLE IF NOT EXISTS {prefix}milescale_earlier (id TEXT NOT NULL, value BYTEA NOT NULL, \
         PRIMARY KEY (id, value)); {}",
        close(prefix)
    )
}

/// Takes from others the rights on milescale's own tables, where they may not read the milestones: those tables hold copies. A schema gives
/// such rights by itself (`ALTER DEFAULT PRIVILEGES`), and the right to the milestones may have been taken from them since. Where row-level
/// security hides milestones, it hides all that those tables hold: there is no policy that could be asked about a copy, and a right may come
/// from a role (`pg_read_all_data`). Nobody else puts triggers on them: those of the log would run with the rights of its owner.
///
/// Nobody else writes them either, or draws numbers: what milescale takes for current, and the numbers of its log, are decided by that.
pub(super) fn close(prefix: &str) -> String {
    let Open { rights, hides } = Open::of(prefix);
    let block = format!(
        "DECLARE it record; BEGIN FOR it IN SELECT DISTINCT name, grantee, kind, what FROM ({rights}) AS open LOOP \
         EXECUTE format('REVOKE %s ON %s %s FROM %s CASCADE', it.what, it.kind, it.name, \
         CASE WHEN it.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(it.grantee)) END); END LOOP; \
         FOR it IN {hides} LOOP EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', it.name); END LOOP; END"
    );
    format!("DO {}", literal(&block))
}

/// Whether [`close`] has anything to take.
pub(super) fn is_open(prefix: &str) -> String {
    let Open { rights, hides } = Open::of(prefix);
    format!("(EXISTS ({rights}) OR EXISTS ({hides}))")
}

/// What others may of milescale's own tables and are not to, of those that the user may close: selects.
struct Open {
    /// Rights on them, and on their sequences, that somebody else than their owner has, and that fit: whose, and what to revoke. Who may read
    /// the milestones keeps `SELECT` alone, whatever else there is in a later PostgreSQL (`MAINTAIN` since 17).
    rights: String,
    /// Those that hide less than the milestones do.
    hides: String,
}

impl Open {
    fn of(prefix: &str) -> Self {
        let milestones = literal(&format!("{prefix}milestones"));
        let own = format!(
            "FROM pg_class c JOIN pg_class m ON m.oid = to_regclass({milestones}) AND c.relnamespace = m.relnamespace \
             AND c.relname IN ({OWN_TABLES}) AND c.relkind = 'r' AND pg_has_role(c.relowner, 'USAGE')"
        );
        let rights = format!(
            "SELECT o.oid::regclass::text AS name, o.kind, a.grantee, take.what \
             {own} CROSS JOIN LATERAL (SELECT c.oid, c.relacl, c.relowner, 'TABLE' AS kind UNION ALL \
               SELECT s.oid, s.relacl, s.relowner, 'SEQUENCE' FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' \
               WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid) AS o \
             CROSS JOIN LATERAL aclexplode(o.relacl) a CROSS JOIN LATERAL (SELECT CASE WHEN a.grantee = 0 THEN EXISTS (SELECT \
             FROM aclexplode(m.relacl) p WHERE p.grantee = 0 AND p.privilege_type = 'SELECT') \
             ELSE has_table_privilege(a.grantee, m.oid, 'SELECT') END AS read) AS may \
             CROSS JOIN LATERAL (SELECT 'GRANT OPTION FOR ALL' AS what WHERE a.is_grantable UNION ALL \
               SELECT 'ALL' WHERE NOT may.read OR o.kind = 'SEQUENCE' UNION ALL \
               SELECT a.privilege_type WHERE a.privilege_type <> 'SELECT') AS take WHERE a.grantee <> o.relowner"
        );
        let hides =
            format!("SELECT c.oid::regclass::text AS name {own} WHERE m.relrowsecurity AND NOT c.relrowsecurity");
        Self { rights, hides }
    }
}

/// milescale's own tables, as they stand in a list of a statement.
pub(super) const OWN_TABLES: &str = "'milescale_meta', 'milescale_tokens', 'milescale_texts', 'milescale_displaced', 'milescale_base', \
    'milescale_sides', 'milescale_earlier', 'milescale_changes'";

/// Gives what milescale has made to whom it has to belong: to who makes it, be it another's before, or to the role of those who share the
/// table of milestones. `of`: the table whose owner says which. Each of `what` is a kind of object with its name.
pub(super) fn own_by_owner_of(of: &str, milestones: &str, what: &[(&str, &str)]) -> String {
    let is_anothers = is_anothers("r", &format!("to_regclass({})", literal(milestones)));
    let give = |(kind, name): &(&str, &str)| {
        format!("EXECUTE format('ALTER {kind} %s OWNER TO %I', {}, own); ", literal(name))
    };
    let block = format!(
        "DECLARE own name := (SELECT CASE WHEN {is_anothers} THEN current_user ELSE r.rolname END FROM pg_class c \
         JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = to_regclass({})); BEGIN {}END",
        literal(of),
        what.iter().map(give).collect::<String>()
    );
    format!("DO {}", literal(&block))
}

/// Lets the table refuse writes with a message, or take them again.
pub(super) fn refuse(prefix: &str, message: Option<&str>) -> String {
    let milestones = format!("{prefix}milestones");
    let drop = format!("DROP TRIGGER IF EXISTS milescale_refuse ON {milestones}");
    let Some(message) = message else { return drop };
    let function = format!("{prefix}milescale_refuse()");
    let own = own_by_owner_of(&milestones, &milestones, &[("FUNCTION", &function)]);
    format!(
        "CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS $refuse$ \
         BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $refuse$; REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC; {own}; {drop}; \
         CREATE TRIGGER milescale_refuse BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {milestones} \
         FOR EACH STATEMENT EXECUTE FUNCTION {prefix}milescale_refuse({})",
        literal(message)
    )
}

impl Table {
    /// What keeps writers out for the rest of a transaction.
    pub(super) fn lock(&self) -> String {
        format!("LOCK TABLE {}milestones IN EXCLUSIVE MODE", self.prefix)
    }

    /// Turns the log of changes off or on, within a transaction.
    pub(super) fn log_triggers(&self, how: &str) -> String {
        let alter = |name: &str| format!("ALTER TABLE {}milestones {how} TRIGGER {name}", self.prefix);
        format!("{}; {}", alter("milescale_log"), alter("milescale_log_truncate"))
    }

    /// Texts that a query tells of the table, which is `$1` in it.
    pub(super) async fn asked(&self, client: &Client, select: &str) -> Result<Vec<String>, Error> {
        let name = self.named("milestones");
        let rows = client.query_typed(select, &[(&name, Type::TEXT)]).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    pub(super) fn refuse(&self, message: Option<&str>) -> String {
        refuse(&self.prefix, message)
    }
}
