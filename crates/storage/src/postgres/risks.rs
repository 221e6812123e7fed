//! What the server may lose of what it has acknowledged: told to people, for only they can change it.

use milescale_workspace::error::StoreError;
use tokio_postgres::{Client, Error};

use super::PostgresStore;
use crate::store::Risk;

/// The settings of this session's user and database, and how many standbys follow.
const SELECT: &str = "SELECT current_setting('fsync'), current_setting('full_page_writes'), \
     current_setting('synchronous_commit'), current_setting('synchronous_standby_names'), \
     (SELECT count(*) FROM pg_stat_replication WHERE application_name IS DISTINCT FROM 'pg_basebackup'), \
     pg_is_in_recovery()";

impl PostgresStore {
    pub(super) fn look_for_risks(&mut self) -> Result<Vec<Risk>, StoreError> {
        let settings = self.read(async |client, _| Ok(Settings::of(client).await?))?;
        Ok(settings.risks())
    }
}

struct Settings {
    syncs: bool,
    writes_full_pages: bool,
    commit: String,
    standby_names: String,
    standbys: i64,
    is_standby: bool,
}

impl Settings {
    async fn of(client: &Client) -> Result<Self, Error> {
        let row = client.query_typed_one(SELECT, &[]).await?;
        let is_on = |at: usize| -> Result<bool, Error> { Ok(row.try_get::<_, String>(at)? == "on") };
        Ok(Self {
            syncs: is_on(0)?,
            writes_full_pages: is_on(1)?,
            commit: row.try_get(2)?,
            standby_names: row.try_get(3)?,
            standbys: row.try_get(4)?,
            is_standby: row.try_get(5)?,
        })
    }

    fn risks(&self) -> Vec<Risk> {
        let mut risks = Vec::new();
        let mut add = |is_grave: bool, what: String, do_this: &str| {
            risks.push(Risk { is_grave, what, do_this: do_this.to_owned() });
        };
        if !self.syncs {
            let what =
                "fsync is off: a crash of the server's machine can lose acknowledged writes, and the whole database";
            add(true, what.to_owned(), "Set fsync = on in postgresql.conf, and reload.");
        }
        if !self.writes_full_pages {
            let what = "full_page_writes is off: a crash of the server's machine can damage the database";
            add(true, what.to_owned(), "Set full_page_writes = on, unless the disk never tears a page.");
        }
        if self.commit == "off" {
            let what = "synchronous_commit is off: a crash of the server can lose writes of other programs that it has \
                        acknowledged; milescale's own wait for the disk all the same";
            add(false, what.to_owned(), "Set synchronous_commit = on for this database.");
        }
        let waits_for_standbys = !self.standby_names.is_empty() && !matches!(self.commit.as_str(), "off" | "local");
        if self.standbys > 0 && !waits_for_standbys && !self.is_standby {
            let what = format!(
                "{} standbys follow, and no write waits for one: where the leader is lost and a standby takes over, the last \
                 acknowledged writes are lost",
                self.standbys
            );
            add(
                false,
                what,
                "Set synchronous_standby_names, and synchronous_commit = on; see the manual, Replication.",
            );
        }
        risks
    }
}
