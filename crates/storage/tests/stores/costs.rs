//! What a call costs on each store. Not part of the tests:
//! `cargo test --release -p milescale-storage --test stores costs -- --ignored --nocapture --test-threads 1`

use std::fs;
use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime};

use milescale_core::base::Side;
use milescale_document::id::Id;
use milescale_document::milestone::Packed;
use milescale_storage::store::{Extent, Seen, Store};

use super::bench::{Bench, Kind, draft};

/// How often each is measured; the median counts.
const RUNS: usize = 5;

fn median(mut run: impl FnMut() -> Duration) -> String {
    let mut times: Vec<Duration> = (0..RUNS).map(|_| run()).collect();
    times.sort();
    let median = times[RUNS / 2].as_secs_f64() * 1000.0;
    if median < 10.0 { format!("{median:.2} ms") } else { format!("{median:.0} ms") }
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn text(number: usize) -> String {
    let tasks: String = (0..12)
        .map(|task| format!("  - id: task-{task}\n    title: Something to do, number {task}\n    status: open\n    kiro_workflow:\n      enabled: {}\n", task % 2 == 0))
        .collect();
    format!(
        "id: m-{number}\ntitle: Milestone number {number}\nstatus: active\npriority: high\ntasks:\n{tasks}dependencies:\n  requires: [m-1, m-2]\n"
    )
}

fn filled(kind: Kind, count: usize) -> Bench {
    let bench = Bench::new(kind);
    if matches!(kind, Kind::Files | Kind::Hybrid) {
        // Written without syncing each, which is not what is measured here.
        for number in 0..count {
            fs::write(bench.path(&format!("active/m-{number}.yaml")), text(number)).unwrap();
        }
    }
    let drafts = (0..count).map(|number| draft(&format!("m-{number}"), &text(number)));
    match kind {
        Kind::Files => {}
        Kind::Hybrid => drop(bench.store().load(&mut std::iter::empty(), Side::Files, 1).unwrap()),
        _ => drop(bench.store().load(&mut drafts.map(Packed::of), Side::Files, 1).unwrap()),
    }
    bench
}

/// All stores, or those whose names stand in `COSTS_OF`.
fn kinds() -> Vec<Kind> {
    let named = std::env::var("COSTS_OF").unwrap_or_default();
    let all = [Kind::Files, Kind::Hybrid, Kind::Sqlite, Kind::Postgres];
    all.into_iter().filter(|kind| named.is_empty() || named.contains(&format!("{kind:?}"))).collect()
}

#[test]
#[ignore = "a benchmark"]
fn costs() {
    println!("| store | milestones | figures, first | figures again | figures after one change | get | put | list |");
    println!("|---|---|---|---|---|---|---|---|");
    for kind in kinds() {
        for count in [100, 10_000, 100_000] {
            let bench = filled(kind, count);
            let survey =
                |store: &mut dyn Store, extent: &Extent| drop(store.survey(extent, SystemTime::now()).unwrap());
            let first = median(|| {
                let mut store = bench.store();
                time(|| survey(&mut *store, &Extent::Everything))
            });
            let mut store = bench.store();
            store.adopt().unwrap();
            let later = SystemTime::now() + Duration::from_mins(1);
            drop(store.survey(&Extent::Everything, later).unwrap());
            let again = median(|| time(|| drop(store.survey(&Extent::Everything, later).unwrap())));
            let (mut other, mut number) = (bench.store(), 0);
            let mut change = |other: &mut dyn Store| {
                number += 1;
                let id: Id = format!("m-{}", number % count).parse().unwrap();
                let seen = Seen::Text(other.get(&id).unwrap().digest());
                let draft = draft(id.as_str(), &format!("{}note: {number}\n", text(number % count)));
                (id, time(|| other.put(&draft, seen).unwrap()))
            };
            let changed = median(|| {
                let (id, _) = change(&mut *other);
                let paths = Extent::Paths(vec![bench.path(&format!("active/{id}.yaml"))]);
                time(|| drop(store.survey(&paths, SystemTime::now()).unwrap()))
            });
            let put = median(|| change(&mut *other).1);
            let get = median(|| {
                let id: Id = format!("m-{}", count / 2).parse().unwrap();
                time(|| drop(other.get(&id).unwrap()))
            });
            let list = median(|| time(|| other.scan(&mut |_| ControlFlow::Continue(())).unwrap()));
            println!("| {kind:?} | {count} | {first} | {again} | {changed} | {get} | {put} | {list} |");
        }
    }
}

/// Figures of a million rows: from generated columns, and from the expressions where other programs made the table.
#[test]
#[ignore = "a benchmark"]
fn costs_of_a_million_rows() {
    let bench = Bench::new(Kind::Postgres);
    bench.psql(
        "INSERT INTO milestones (id, data) SELECT 'm-' || n, jsonb_build_object('id', 'm-' || n, 'title', 'Milestone ' || n, \
         'status', CASE WHEN n % 10 = 0 THEN 'archived' ELSE 'active' END, 'tasks', (SELECT jsonb_agg(jsonb_build_object(\
         'id', t, 'title', 'Something to do', 'kiro_workflow', jsonb_build_object('enabled', t % 2 = 0))) FROM generate_series(1, 6) t), \
         'dependencies', jsonb_build_object('requires', jsonb_build_array('a', 'b'))) FROM generate_series(1, 1000000) n",
    );
    let measure = |what: &str| {
        let mut store = bench.store();
        let mut figures = super::bench::figures(&mut *store);
        let time = median(|| time(|| figures = super::bench::figures(&mut *store)));
        println!("a million rows, {what}: {time} for {figures:?}");
    };
    bench.psql("VACUUM ANALYZE milestones");
    measure("generated columns, vacuumed");
    bench.psql("UPDATE milestones SET updated_at = now() WHERE id LIKE 'm-1%'");
    measure("generated columns, a tenth of the rows written since");
    bench.psql("ALTER TABLE milestones DROP COLUMN milescale_active, DROP COLUMN milescale_kiro, DROP COLUMN milescale_requires");
    measure("expressions");
}
