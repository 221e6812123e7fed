//! A server that another one follows at its address, with what was dumped.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use milescale_storage::postgres::PostgresStore;
use milescale_storage::store::{Store, Touched};
use milescale_testkit::{Postgres, until};

use super::bench::{Bench, Kind, put};

/// What the newer one draws for its transactions is lower: no entry seems to have come since the last look.
#[test]
fn what_is_written_on_a_new_server_at_the_same_address_is_told() {
    let (mut bench, after) = (Bench::new(Kind::Postgres), Postgres::start());
    let before = bench.postgres.take().unwrap();
    before.psql("plans", "DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$");
    let address = tempfile::tempdir().unwrap();
    let socket = address.path().join(".s.PGSQL.5432");
    let at = |server: &Postgres| server.folder().join(format!(".s.PGSQL.{}", server.port()));
    fs::hard_link(at(&before), &socket).unwrap();
    let url = format!("postgresql://ada@{}:5432/plans", address.path().to_str().unwrap().replace('/', "%2F"));
    let mut store = PostgresStore::new(&bench.workspace(), &url, "", Duration::from_secs(5)).unwrap();
    store.prepare().unwrap();
    put(&mut store, "m", "title: first\n");
    assert!(matches!(store.touched(SystemTime::now()).unwrap(), Touched::Everything));
    let write = "UPDATE milestones SET data = jsonb_set(data, '{title}', '\"again\"')";
    before.psql("plans", write);
    assert!(matches!(store.touched(SystemTime::now()).unwrap(), Touched::Ids(ids) if ids.iter().eq(["m"])));
    let mut dump = before.run_as_server_user("pg_dump");
    dump.args(["-U", "postgres", "-h"]).arg(before.folder()).args(["-p", &before.port().to_string(), "plans"]);
    let dumped = dump.stdout(Stdio::piped()).output().unwrap();
    assert!(dumped.status.success());
    let path = address.path().join("dump.sql");
    fs::write(&path, dumped.stdout).unwrap();
    let restored = after.client("plans").arg("-f").arg(&path).output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
    after.psql("plans", write);
    fs::remove_file(&socket).unwrap();
    fs::hard_link(at(&after), &socket).unwrap();
    drop(before);
    let told = until("the new server", || store.touched(SystemTime::now()).ok());
    assert!(matches!(&told, Touched::Everything), "{told:?}");
}
