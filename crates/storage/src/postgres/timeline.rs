//! Which server it is, and on which timeline: one that was failed over and comes back is never written to.

use std::io;

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Error};

use crate::durable;
use crate::read::{Symlinks, read_regular};
use crate::workspace::Workspace;

/// A server's number and timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timeline {
    system: i64,
    timeline: i64,
}

impl Timeline {
    /// That of the server; a standby has none of its own.
    pub(super) async fn of(client: &Client) -> Result<Self, Error> {
        let select = "SELECT system_identifier,
                      ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint
                      FROM pg_control_system()";
        let row = client.query_typed_one(select, &[]).await?;
        Ok(Self { system: row.try_get(0)?, timeline: row.try_get(1)? })
    }

    /// Compares it with the newest that this workspace has seen of the same server, and remembers it.
    ///
    /// # Errors
    /// The newer timeline, where this one is older.
    pub(super) fn check(self, workspace: &Workspace) -> io::Result<Result<(), i64>> {
        let path = workspace.timeline();
        let seen: Option<Self> = match read_regular(&path, Symlinks::Refuse, 4096) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => serde_json::from_slice(&other?.0).ok(),
        };
        match seen {
            Some(seen) if seen.system == self.system && seen.timeline > self.timeline => Ok(Err(seen.timeline)),
            Some(seen) if seen == self => Ok(Ok(())),
            _ => durable::replace(&path, &serde_json::to_vec(&self)?).map(Ok),
        }
    }

    pub(super) fn number(self) -> i64 {
        self.timeline
    }
}
