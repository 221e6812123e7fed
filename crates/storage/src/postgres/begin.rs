//! What begins a transaction: its time-outs, and what names in it mean. All of it goes with the transaction.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::allowed::is_anothers;
use super::connection::{Access, Hurry};
use super::waits::WAITS;

/// How long the server keeps a transaction whose program does not go on: one that is stopped holds nobody for longer.
pub(super) const IDLE_AT_MOST: Duration = Duration::from_secs(5);

/// The same for a transaction that writes a whole table, while the source of its rows may be slow.
const IDLE_WHILE_FILLED: Duration = Duration::from_mins(1);

/// Milliseconds that a statement waits for a lock of another program.
const LOCK_TIMEOUT_MILLISECONDS: u32 = 5000;

/// Rows that a policy hides are an error, and never silently missing.
const NOTHING_HIDDEN: &str = "SET LOCAL row_security = off";

/// The schemas in which a session looks for names, in their order, as its last transaction found them: one that is made later may come
/// before the others.
#[derive(Debug, Clone, Default)]
pub(super) struct SearchPath(Arc<Mutex<Vec<String>>>);

impl SearchPath {
    /// One that stays as it is.
    pub(super) fn of(schema: &str) -> Self {
        Self(Arc::new(Mutex::new(vec![schema.to_owned()])))
    }

    pub(super) fn schemas(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Begins a transaction with statements, the first of which selects a search path. What the last one selects.
pub(super) async fn on(client: &Client, statements: &str, path: &SearchPath) -> Result<Option<String>, Error> {
    let said = client.simple_query(statements).await?;
    let rows = said.iter().filter_map(|it| if let SimpleQueryMessage::Row(row) = it { row.get(0) } else { None });
    let (first, last) = (rows.clone().next(), rows.last());
    if let Some(mut found) = first.and_then(|text| serde_json::from_str::<Vec<String>>(text).ok()) {
        // What is made there goes with the session.
        found.retain(|schema| !schema.starts_with("pg_temp"));
        *path.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
    Ok(last.map(str::to_owned))
}

/// Selects the search path. Every name in it is one of the server's, whatever the path says.
macro_rules! path {
    () => {
        "SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(false))::pg_catalog.text"
    };
}

const PATH: &str = path!();

/// What begins the transaction of a new connection.
pub(super) const FIRST: &str = concat!(
    "BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE; ",
    path!(),
    "; SET LOCAL search_path = pg_catalog, pg_temp"
);

/// What names mean until the transaction ends: the server's own alone. A function of the same name in another schema would be taken
/// where its types fit better, wherever that schema stands in the path. Tables are named with their schema.
const OWN_NAMES: &str = "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL quote_all_identifiers = off; \
     SET LOCAL standard_conforming_strings = on; SET LOCAL timezone = 'UTC'";

/// Functions of triggers may rely on the search path of the session. They get what of it nobody else may put anything into, and where
/// nobody else has, up to the first schema of which that is not true: behind that, a name would mean something else than to whoever wrote
/// the function. `milestones`: an expression for the oid of the table.
fn path_for_triggers(path: &[String], milestones: &str) -> String {
    let path: Vec<String> = path.iter().map(|name| literal(name)).collect();
    if path.is_empty() {
        return String::new();
    }
    format!(
        "WITH own AS (SELECT oid FROM pg_roles WHERE rolname = current_user OR rolsuper
           UNION ALL SELECT r.oid FROM pg_roles r WHERE (r.rolname = 'pg_database_owner'
             OR r.oid = (SELECT relowner FROM pg_class WHERE oid = {milestones})) AND NOT ({}))
         SELECT set_config('search_path', concat('pg_catalog, ',
           string_agg(quote_ident(it.name) || ', ', '' ORDER BY it.at) FILTER (WHERE it.is_own), 'pg_temp'), true)
         FROM (SELECT it.name, it.at, bool_and(n.nspowner IN (SELECT oid FROM own)
             AND NOT EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
               AND a.grantee NOT IN (SELECT oid FROM own))
             AND NOT EXISTS (SELECT FROM (SELECT proowner FROM pg_proc WHERE pronamespace = n.oid
               UNION ALL SELECT oprowner FROM pg_operator WHERE oprnamespace = n.oid
               UNION ALL SELECT relowner FROM pg_class WHERE relnamespace = n.oid AND relkind IN ('r', 'p', 'v', 'm', 'f')
               UNION ALL SELECT typowner FROM pg_type WHERE typnamespace = n.oid AND typrelid = 0 AND typelem = 0) made(owner)
               WHERE made.owner NOT IN (SELECT oid FROM own))) OVER (ORDER BY it.at) AS is_own
           FROM unnest(ARRAY[{}]::text[]) WITH ORDINALITY it(name, at) JOIN pg_namespace n ON n.nspname = it.name) it; ",
        is_anothers("r", milestones),
        path.join(", ")
    )
}

/// A text as it stands in a statement.
pub(super) fn literal(text: &str) -> String {
    if text.contains('\\') {
        format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Lets the server wait for its own disk where it was told not to: what milescale has written is not lost with its power.
const WAIT_FOR_THE_DISK: &str = "SELECT set_config('synchronous_commit', 'local', true) \
     WHERE current_setting('synchronous_commit') = 'off'";

/// Lets what is deferred to COMMIT run with its statement: what has come of a write is read back before, and no time-out holds at COMMIT.
const NOTHING_DEFERRED: &str = "; SET CONSTRAINTS ALL IMMEDIATE";

/// What begins a transaction. Its time-outs are its own, and go with it. `milestones`: an expression for the oid of the table of milestones.
pub(super) fn statements(
    (version, path): (u32, &[String]),
    milestones: &str,
    access: Access,
    hurry: Hurry,
    statement: Duration,
    silence: Duration,
) -> String {
    let statement = if hurry == Hurry::Unlimited { 0 } else { statement.as_millis() };
    let idle = if hurry == Hurry::Yes { IDLE_AT_MOST } else { IDLE_WHILE_FILLED };
    // Whatever the database says: with a snapshot of before, what a lock has waited for would not be seen.
    let (begin, rest) = match access {
        Access::Read => ("BEGIN READ ONLY, ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE", String::new()),
        Access::Write => (
            "BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE",
            path_for_triggers(path, milestones) + WAIT_FOR_THE_DISK + NOTHING_DEFERRED,
        ),
    };
    // Also while its program sends one statement after the other: 17 is the first version that can say so.
    let whole = match hurry {
        Hurry::Yes if version >= 17 => {
            format!("SET LOCAL transaction_timeout = {}; ", (silence * WAITS).as_millis())
        }
        // What the database says of it would end a move.
        _ if version >= 17 => "SET LOCAL transaction_timeout = 0; ".to_owned(),
        _ => String::new(),
    };
    format!(
        "{begin}; {PATH}; SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}; \
             SET LOCAL idle_in_transaction_session_timeout = {}; {NOTHING_HIDDEN}; {OWN_NAMES}; {whole}{rest}",
        idle.as_millis()
    )
}
