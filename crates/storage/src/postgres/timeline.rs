//! Which server it is, and on which timeline: one that was failed over and comes back is never written to.

use std::io;

use milescale_workspace::Workspace;
use milescale_workspace::durable;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::read::read_regular;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Error};

use super::PostgresStore;
use super::connection::{Access, Hurry, Outcome};

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
        let seen: Option<Self> = match read_regular(&path, 4096) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => serde_json::from_slice(&other?.0).ok(),
        };
        match seen {
            Some(seen) if seen.system == self.system && seen.timeline > self.timeline => Ok(Err(seen.timeline)),
            Some(seen) if seen == self => Ok(Ok(())),
            _ => durable::replace(&path, &serde_json::to_vec(&self)?).map(Ok),
        }
    }

    /// Whether it is a newer one of the same server.
    pub(super) fn follows(self, other: Self) -> bool {
        self.system == other.system && self.timeline > other.timeline
    }

    pub(super) fn number(self) -> i64 {
        self.timeline
    }
}

impl PostgresStore {
    /// Refuses a server that was failed over and has come back. One whose functions milescale may not use is not compared.
    pub(super) fn compare_timeline(&mut self) -> Result<(), StoreError> {
        if self.is_compared {
            return Ok(());
        }
        let asked =
            self.connection.transaction(Access::Read, Hurry::Yes, async |client| Ok(Timeline::of(client).await?));
        let timeline = match asked.map_err(Outcome::error) {
            Ok(timeline) => timeline,
            Err(error) => {
                self.is_compared = error.problem == Problem::Refused;
                return Ok(());
            }
        };
        let shown = self.workspace.shown(&self.workspace.timeline());
        let compared = timeline.check(&self.workspace);
        match compared.map_err(|error| StoreError::io(shown, "it cannot be read or written", &error))? {
            Ok(()) => {
                self.is_compared = true;
                Ok(())
            }
            Err(newer) => {
                let cause = format!(
                    "it is of timeline {}, and timeline {newer} of the same server was seen before: it was failed over, and \
                     is never written to; name the server that took over",
                    timeline.number()
                );
                Err(StoreError::new(Problem::Unavailable, self.connection.shown(), cause))
            }
        }
    }
}
