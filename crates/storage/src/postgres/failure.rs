//! Why something with a server did not come to its end.

use std::io;
use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};

use crate::error::StoreError;

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
    let refused = said.code() == &SqlState::INSUFFICIENT_PRIVILEGE;
    let table = said.message().strip_prefix("permission denied for table ").filter(|_| refused)?;
    // A move into it deletes too.
    Some(format!(
        "; GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO milescale's user (`milescale doctor` names what is missing)"
    ))
}
