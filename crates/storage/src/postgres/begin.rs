//! What begins a transaction: its time-outs, and what names in it mean. All of it goes with the transaction.

use std::time::Duration;

use super::connection::{Access, Hurry};

/// How long the server keeps a transaction whose program does not go on: one that is stopped holds nobody for longer.
pub(super) const IDLE_AT_MOST: Duration = Duration::from_secs(5);

/// The same for a transaction that writes a whole table, while the source of its rows may be slow.
const IDLE_WHILE_FILLED: Duration = Duration::from_mins(1);

/// Milliseconds that a statement waits for a lock of another program.
const LOCK_TIMEOUT_MILLISECONDS: u32 = 5000;

/// Rows that a policy hides are an error, and never silently missing.
const NOTHING_HIDDEN: &str = "SET LOCAL row_security = off";

/// Names mean what they mean now until the transaction ends: the server's own functions come first, and no temporary table takes
/// the place of another one. Nothing in it is found by a search path.
const PATH_FIXED: &str = "SELECT pg_catalog.set_config('search_path', coalesce((SELECT pg_catalog.string_agg(\
    pg_catalog.quote_ident(it), ', ') OPERATOR(pg_catalog.||) ', pg_temp' \
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) it \
    WHERE it OPERATOR(pg_catalog.<>) 'pg_catalog'), pg_catalog.current_setting('search_path')), true)";

/// Lets the server wait for its own disk where it was told not to: what milescale has written is not lost with its power.
const WAIT_FOR_THE_DISK: &str = "SELECT set_config('synchronous_commit', 'local', true) \
     WHERE current_setting('synchronous_commit') = 'off'";

/// What begins a transaction. Its time-outs are its own, and go with it.
pub(super) fn statements(version: u32, access: Access, hurry: Hurry, statement: Duration, silence: Duration) -> String {
    let statement = if hurry == Hurry::Unlimited { 0 } else { statement.as_millis() };
    let idle = if hurry == Hurry::Yes { IDLE_AT_MOST } else { IDLE_WHILE_FILLED };
    let (begin, rest) = match access {
        Access::Read => ("BEGIN READ ONLY", ""),
        Access::Write => ("BEGIN", WAIT_FOR_THE_DISK),
    };
    // Also while its program sends one statement after the other: 17 is the first version that can say so.
    let whole = match hurry {
        Hurry::Yes if version >= 17 => {
            format!("SET LOCAL transaction_timeout = {}; ", (silence * 4).as_millis())
        }
        _ => String::new(),
    };
    format!(
        "{begin}; SET LOCAL statement_timeout = {statement}; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}; \
             SET LOCAL idle_in_transaction_session_timeout = {}; {NOTHING_HIDDEN}; {PATH_FIXED}; {whole}{rest}",
        idle.as_millis()
    )
}
