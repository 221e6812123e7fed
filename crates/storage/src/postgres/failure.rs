//! Why something with a server did not come to its end.

use std::io;
use std::time::Duration;

use milescale_workspace::error::{Problem, StoreError};
use tokio_postgres::error::{DbError, SqlState};

use super::connection::Access;
use crate::row::CHANGE_IT;

/// Why a transaction did not come to its end.
#[derive(Debug)]
pub(super) enum Failed {
    Server(tokio_postgres::Error),
    Store(StoreError),
    /// The server cannot be reached.
    Unreachable(io::Error),
    /// The server did not answer for so long.
    Silent(Duration),
    /// A stop was asked for, and the server did not answer within a moment.
    Stopped,
}

impl Failed {
    /// Whether the server may take connections soon: it is starting or stopping, or nobody listens.
    pub(super) fn may_pass(&self) -> bool {
        use io::ErrorKind as Kind;
        match self {
            Self::Server(error) => match error.code() {
                Some(code) => {
                    [SqlState::CANNOT_CONNECT_NOW, SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(code)
                }
                None => error.is_closed(),
            },
            Self::Unreachable(error) => {
                matches!(error.kind(), Kind::ConnectionRefused | Kind::ConnectionReset | Kind::NotFound)
            }
            Self::Store(_) | Self::Silent(_) | Self::Stopped => false,
        }
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What to grant where the server refuses a table; which right it is that it misses, the server does not say.
pub(super) fn grant(said: &DbError) -> Option<String> {
    // Nobody needs a right on what is the server's own.
    let is_servers = ["permission denied for schema pg_", "permission denied for table pg_"];
    if is_servers.iter().any(|it| said.message().starts_with(it)) {
        return None;
    }
    let refused = said.code() == &SqlState::INSUFFICIENT_PRIVILEGE;
    if let Some(schema) = said.message().strip_prefix("permission denied for schema ").filter(|_| refused) {
        return Some(format!("; GRANT USAGE, CREATE ON SCHEMA {schema} TO milescale's user"));
    }
    let table = said.message().strip_prefix("permission denied for table ").filter(|_| refused)?;
    if table.starts_with("milescale_") {
        return Some(format!(
            "; GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO milescale's user; one that only reads milestones needs SELECT alone, on it \
             and on all beside it whose names begin with milescale_ (`milescale doctor` names what is missing)"
        ));
    }
    // A move into it deletes too.
    Some(format!(
        "; GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO milescale's user (`milescale doctor` names what is missing)"
    ))
}

/// What a caller does about an error of the server, and what a person can.
pub(super) fn judge(code: &SqlState, access: Access) -> (Problem, &'static str) {
    let is = |codes: &[SqlState]| codes.contains(code);
    if is(&[SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION]) {
        (
            Problem::Unavailable,
            "; check user and password in storage.database.url or DATABASE_URL, in PGPASSWORD and .pgpass",
        )
    } else if is(&[SqlState::INVALID_CATALOG_NAME]) {
        let means = "; correct its name in storage.database.url or DATABASE_URL, or make it (createdb) and put its table back: \
                     where that is gone, `milescale doctor` names the ways on then";
        (Problem::Unavailable, means)
    } else if is(&[SqlState::QUERY_CANCELED]) {
        (Problem::Busy, "; raise storage.performance.query_timeout, or try again")
    } else if is(&[
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::TOO_MANY_CONNECTIONS,
    ]) {
        (Problem::Busy, "; try again")
    } else if is(&[SqlState::INSUFFICIENT_PRIVILEGE]) {
        (Problem::Refused, "; grant it to milescale's user: `milescale doctor` names what is missing")
    } else if is(&[SqlState::UNTRANSLATABLE_CHARACTER, SqlState::CHARACTER_NOT_IN_REPERTOIRE]) {
        (Problem::Refused, "; change the milestone")
    } else if is(&[SqlState::READ_ONLY_SQL_TRANSACTION]) {
        let means = "; it is a standby (name the primary, or all hosts with target_session_attrs=read-write), or \
                     default_transaction_read_only is on for this user or database";
        (Problem::Unavailable, means)
    } else if is(&[SqlState::DISK_FULL]) {
        (Problem::Unavailable, "; the server's disk is full: make room there, and try again")
    } else if is(&[SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION]) {
        let means = "; where a trigger says that name, let it say the schema too: milescale looks for names in no schema that others may \
                     change, nor in what comes after it in search_path; else its tables are not those of milestones";
        (Problem::Corrupt, means)
    } else if is(&[SqlState::UNDEFINED_COLUMN, SqlState::DATATYPE_MISMATCH]) {
        (Problem::Corrupt, "; its tables are not those of milestones")
    } else if REFUSE_A_ROW.iter().any(|class| code.code().starts_with(class))
        || access == Access::Write && code.code().starts_with(VALUE)
    {
        (Problem::Refused, CHANGE_IT)
    } else {
        (Problem::Unavailable, "")
    }
}

/// Classes of errors that a row brings about, by a constraint, a trigger or what a trigger runs. Tried again, it is refused again.
const REFUSE_A_ROW: [&str; 4] = ["23", "27", "44", "P0"];

/// The class of values that a type or an expression does not take. Where a row is written, it is the row that is refused: a value that an
/// index or a column of the table does not take is refused like the rest.
const VALUE: &str = "22";

/// What a person can do where nobody answers at an address.
pub(super) fn advice_unreachable(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "; no server listens there: start it, or correct host and port in storage.database.url or DATABASE_URL"
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => {
            "; see whether this machine's network leads there, or correct host and port in storage.database.url or DATABASE_URL"
        }
        // Whatever looks up a name has no kind of its own.
        _ if error.to_string().contains("failed to lookup address") => {
            "; correct the host in storage.database.url or DATABASE_URL, or see whether this machine's name service answers"
        }
        _ => "",
    }
}

/// What a person can do about an error that has no code.
pub(super) fn advice_without_code(cause: &str) -> &'static str {
    if cause.contains("password missing") {
        "; write the password into the address, PGPASSWORD, or a .pgpass that nobody else may read (chmod 0600)"
    } else if cause.contains("does not support TLS") {
        "; let the server take TLS, or write sslmode=prefer to go without it"
    } else if cause.contains("UnknownIssuer") {
        "; name who has signed it with sslrootcert, or write sslmode=prefer, without sslrootcert, to go without the check"
    } else {
        ""
    }
}

/// Why a transaction has no result.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing of it stays.
    NotDone(StoreError),
    /// Its COMMIT got no answer: it may have happened.
    Unknown(StoreError),
}

impl Outcome {
    /// The same, where a connection failed before its COMMIT with the word that nothing was written.
    pub(super) fn saying_what_became(self) -> Self {
        match self {
            Self::NotDone(error) => Self::NotDone(saying_what_became(error)),
            unknown @ Self::Unknown(_) => unknown,
        }
    }

    /// The error, for who only reads.
    pub(super) fn error(self) -> StoreError {
        match self {
            Self::NotDone(error) | Self::Unknown(error) => error,
        }
    }
}

/// An error of a write that was not done, where the server could not be reached, with the word that nothing was written.
pub(super) fn saying_what_became(error: StoreError) -> StoreError {
    if error.problem != Problem::Unavailable || error.cause.contains("written") {
        return error;
    }
    let again = if error.cause.contains("try again") { "" } else { ": try again once the server answers" };
    let cause = format!("{}; nothing was written{again}", error.cause);
    StoreError { cause, ..error }
}
