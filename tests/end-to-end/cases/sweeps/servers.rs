//! Old stores on a server whose log does not tell everything.

use std::thread;
use std::time::{Duration, Instant};

use milescale_testkit::{Postgres, Workspace};

use super::{migrate, name_server};

/// A workspace that was on this server, and is on its files.
fn moved_back(url: &str) -> Workspace {
    let workspace = crate::workspace();
    name_server(&workspace, url);
    workspace.milestones("m", 3);
    migrate(&workspace, "database");
    migrate(&workspace, "file");
    workspace
}

/// All of a store is looked at again after many times as long as that takes, here.
fn until_restored(workspace: &Workspace) {
    let end = Instant::now() + Duration::from_mins(2);
    while !workspace.read("active/m-1.yaml").contains("restored") {
        assert!(Instant::now() < end, "{:?}", workspace.events());
        thread::sleep(Duration::from_millis(50));
    }
}

/// A dump that is restored, or a replica, writes with triggers off: no log tells of it.
#[test]
fn what_is_written_to_an_old_server_with_its_triggers_off_is_brought_over() {
    let server = Postgres::start();
    let workspace = moved_back(&server.url());
    let daemon = workspace.daemon(["--interval", "600"]);
    let write = "BEGIN; ALTER TABLE milestones DISABLE TRIGGER USER; \
                 UPDATE milestones SET data = jsonb_set(data, '{title}', '\"restored\"') WHERE id = 'm-1'; \
                 ALTER TABLE milestones ENABLE TRIGGER USER; COMMIT";
    server.psql("plans", write);
    until_restored(&workspace);
    drop(daemon);
}
