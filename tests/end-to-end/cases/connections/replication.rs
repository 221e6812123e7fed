//! Servers that may lose what they have acknowledged.

use milescale_testkit::{Postgres, until};

use crate::workspace;

#[test]
fn e17_doctor_tells_what_a_server_may_lose() {
    let (server, workspace) = (Postgres::start(), workspace());
    let url = server.url();
    workspace
        .write("config/storage-config.yaml", format!("storage: {{database: {{type: postgresql, url: '{url}'}}}}\n"));
    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    let doctor = || workspace.run(["doctor"]).out;
    assert!(doctor().contains("fsync is off"), "the servers of tests are such");
    assert!(!doctor().contains("standbys follow"));
    server.psql("plans", "ALTER ROLE ada SET synchronous_commit = off");
    assert!(doctor().contains("synchronous_commit is off"));
    server.psql("plans", "ALTER ROLE ada RESET synchronous_commit");
    assert!(!doctor().contains("synchronous_commit is off"));
    let _standby = server.standby();
    until("the standby is seen", || doctor().contains("1 standbys follow, and no write waits for one").then_some(()));
    server.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
    server.psql("postgres", "SELECT pg_reload_conf()");
    until("writes wait for it", || (!doctor().contains("standbys follow")).then_some(()));
}
