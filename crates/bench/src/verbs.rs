//! The milestone verbs, beside bare SQL through the same driver.

use std::time::Duration;

use milescale_storage::hybrid::HybridStore;
use milescale_storage::outline::{Needle, Wanted};
use milescale_storage::postgres::PostgresStore;
use milescale_storage::sqlite::SqliteStore;
use milescale_storage::store::Store;
use milescale_testkit::{Postgres, Workspace};
use milescale_workspace::Workspace as Folder;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::figures::{median, ratio, shown, side_by_side, timed};
use crate::run::Run;
use crate::table::Judged;
use crate::workspace::{id, make};

pub(crate) fn measure(run: &mut Run) {
    if !run.wants("verbs") {
        return;
    }
    let count = run.size(100_000);
    let workspace = make(&run.binary, count);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = Folder::at(workspace.root());

    assert_eq!(workspace.run(["migrate", "hybrid", "--yes"]).code, 0);
    show(run, &workspace, "hybrid");
    let mut sqlite = runtime.block_on(open(&workspace.path("index.db")));
    let select = "SELECT id, title, status, priority, created_at, updated_at FROM milestones WHERE status = 'pending' ORDER BY id";
    let mut store = HybridStore::new(&folder, 0).unwrap();
    let bare = || timed(|| runtime.block_on(sqlx::query(select).fetch_all(&mut sqlite)).unwrap());
    listed(run, "hybrid", &mut store, bare);
    drop(store);

    assert_eq!(workspace.run(["migrate", "database", "--yes"]).code, 0);
    show(run, &workspace, "SQLite");
    let mut sqlite = runtime.block_on(open(&workspace.path("enterprise.db")));
    let select = "SELECT id, json_extract(data, '$.title'), json_extract(data, '$.status'), json_extract(data, '$.priority'), \
                  created_at, updated_at FROM milestones WHERE json_extract(data, '$.status') = 'pending' ORDER BY id";
    let mut store = SqliteStore::new(&folder).unwrap();
    let bare = || timed(|| runtime.block_on(sqlx::query(select).fetch_all(&mut sqlite)).unwrap());
    listed(run, "SQLite", &mut store, bare);
    let mut sqlite = runtime.block_on(open(&workspace.path("enterprise.db")));
    let select = "SELECT id, data FROM milestones WHERE data LIKE '%number 1%' ORDER BY id";
    let bare = || timed(|| runtime.block_on(sqlx::query(select).fetch_all(&mut sqlite)).unwrap());
    searched(run, "SQLite", &mut store, bare);
    drop(store);

    let server = Postgres::start();
    workspace.write(
        "config/storage-config.yaml",
        format!("storage:\n  database: {{ type: sqlite, url: \"{}\" }}\n", server.url()),
    );
    let moved = workspace.run(["migrate", "database", "--engine", "postgresql", "--yes"]);
    assert_eq!(moved.code, 0, "{}", moved.err);
    show(run, &workspace, "PostgreSQL");
    let client = runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    });
    let mut store = PostgresStore::new(&folder, &server.url(), "", Duration::from_mins(1)).unwrap();
    let select = "SELECT id, data->>'title', data->>'status', data->>'priority', created_at::text, updated_at::text FROM milestones \
                  WHERE data->>'status' = 'pending' ORDER BY id";
    listed(run, "PostgreSQL", &mut store, || timed(|| runtime.block_on(client.query(select, &[])).unwrap()));
    let select = "SELECT id, data::text FROM milestones WHERE data::text ILIKE '%number 1%' ORDER BY id";
    searched(run, "PostgreSQL", &mut store, || timed(|| runtime.block_on(client.query(select, &[])).unwrap()));
}

async fn open(path: &std::path::Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path).read_only(true)).await.unwrap()
}

/// The whole command that shows one milestone.
fn show(run: &mut Run, workspace: &Workspace, backend: &str) {
    let times = run.times(21);
    let took =
        median((0..times).map(|number| run.command(workspace.root(), &["milestone", "show", &id(number)])).collect());
    run.table.row(
        &format!("`milestone show` at {}, {backend}: from start to end", run.size(100_000)),
        shown(took),
        "15 ms",
        Judged::of(took < Duration::from_millis(15)),
        format!("median of {times}"),
    );
}

fn beside(run: &mut Run, what: &str, work: impl FnMut() -> Duration, bare: impl FnMut() -> Duration) {
    let (took, limit) = side_by_side(run.times(7), work, bare);
    let measured = format!("{}, SQL {}", shown(took), shown(limit));
    run.table.times(&format!("{what} at {}", run.size(100_000)), (ratio(took, limit), 1.3), "the bare SQL", measured);
}

fn listed(run: &mut Run, backend: &str, store: &mut dyn Store, bare: impl FnMut() -> Duration) {
    let wanted = Wanted { status: Some("pending".to_owned()), ..Wanted::default() };
    let mut found = Vec::new();
    let list = || {
        found.clear();
        timed(|| store.list(&wanted, &mut |outline| found.push(outline)).unwrap())
    };
    beside(run, &format!("`list --status`, {backend}"), list, bare);
    assert!(!found.is_empty());
}

fn searched(run: &mut Run, backend: &str, store: &mut dyn Store, bare: impl FnMut() -> Duration) {
    let wanted = Wanted { text: Some(Needle::new("number 1")), ..Wanted::default() };
    let mut found = Vec::new();
    let search = || {
        found.clear();
        timed(|| store.list(&wanted, &mut |outline| found.push(outline)).unwrap())
    };
    beside(run, &format!("`search`, {backend}"), search, bare);
    assert!(!found.is_empty());
}
