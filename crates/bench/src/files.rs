//! Looking at milestone files: the start, one that changed, a quiet cycle, memory.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use milescale_storage::files::FileStore;
use milescale_storage::store::{Extent, Store as _};
use milescale_testkit::{Daemon, Workspace};
use milescale_workspace::Workspace as Folder;

use crate::cpu::{cpu, own_cpu};
use crate::figures::{median, megabytes, quantile, ratio, shown, side_by_side, timed};
use crate::run::Run;
use crate::table::Judged;
use crate::workspace::{id, make, text};
use crate::{bare, idle};

/// Milestones of the table's rows.
const MANY: usize = 100_000;

pub(crate) fn measure(run: &mut Run) {
    if !["start", "change", "cycle"].iter().any(|row| run.wants(row)) {
        return;
    }
    let workspace = make(&run.binary, run.size(MANY));
    run.settle();
    if run.wants("start") {
        starts(run, &workspace);
    }
    if run.wants("change") {
        one_change(run, &workspace);
    }
    if run.wants("cycle") {
        quiet_cycle(run, &workspace);
    }
}

/// The first look of a process that knows nothing, and of one that knows the files of before, beside bare loops.
fn starts(run: &mut Run, workspace: &Workspace) {
    let (active, facts, times) = (workspace.path("active"), workspace.path(".milescale/facts"), run.times(9));
    let look = || {
        let mut store = FileStore::new(Folder::at(workspace.root()), 0);
        timed(|| store.survey(&Extent::Everything, SystemTime::now()).unwrap())
    };
    look();
    let cold_look = || {
        let _ = fs::remove_file(&facts);
        look()
    };
    let (cold, bare) = side_by_side(times, cold_look, || timed(|| bare::read(&active)));
    run.command(workspace.root(), &["check"]);
    assert!(facts.exists());
    let (warm, bare_stat) = side_by_side(times, look, || timed(|| bare::stat(&active)));
    let status = run.command(workspace.root(), &["status", "--json"]);
    let count = run.size(MANY);
    run.table.times(
        &format!("cold start, {count} files"),
        (ratio(cold, bare), 1.6),
        "a bare loop that opens, reads and closes them",
        format!("look {}, loop {}", shown(cold), shown(bare)),
    );
    run.table.times(
        &format!("warm start, {count} files"),
        (ratio(warm, bare_stat), 1.5),
        "a bare `statx` of each",
        format!(
            "look {}, loop {}; all of `milescale status`, which measures the machine for 0.2 s, {}",
            shown(warm),
            shown(bare_stat),
            shown(status)
        ),
    );
}

/// How long it takes until the daemon tells a change of one milestone, and what that costs.
fn one_change(run: &mut Run, workspace: &Workspace) {
    let daemon = workspace.daemon(["--interval", "86400"]);
    run.settle();
    let kiro = daemon.published()["kiro_enabled_count"].as_u64().unwrap();
    let mut latencies = Vec::new();
    let changes = if run.quick { 5 } else { 200 };
    for number in 0..changes {
        latencies.push(change(workspace, &daemon, number, kiro));
    }
    let p99 = quantile(&latencies, 0.99);
    // Apart, so that the second look at a file that was just written is not shared.
    run.settle();
    let (before, apart) = (cpu(daemon.pid()), if run.quick { 2 } else { 20 });
    for number in 0..apart {
        change(workspace, &daemon, number, kiro);
        run.settle();
    }
    let each = (cpu(daemon.pid()) - before) / apart;
    let count = run.size(MANY);
    run.table.row(
        &format!("one changed file among {count}: right figures after"),
        shown(p99),
        "100 ms in the 99th percentile, debounce included",
        Judged::of(p99 <= Duration::from_millis(100)),
        format!(
            "median {}, longest {}, {changes} changes",
            shown(median(latencies.clone())),
            shown(quantile(&latencies, 1.0))
        ),
    );
    run.table.row(
        &format!("one changed file among {count}: processor time"),
        shown(each),
        "10 ms",
        Judged::of(each <= Duration::from_millis(10)),
        format!("both looks, mean of {apart}"),
    );
    daemon.stop();
}

/// Changes one milestone; how long until the daemon's status tells it.
fn change(workspace: &Workspace, daemon: &Daemon<'_>, number: u32, kiro: u64) -> Duration {
    let number = number as usize;
    let more = number.is_multiple_of(2);
    let path = format!("active/{}.yaml", id(0));
    let changed = if more { text(0).replacen("enabled: false", "enabled: true", 1) } else { text(0) };
    workspace.save(&path, changed);
    let started = Instant::now();
    let wanted = format!("\"kiro_enabled_count\":{}", kiro + u64::from(more));
    let status = workspace.path(".milescale/status.json");
    loop {
        let said = fs::read_to_string(&status).unwrap_or_default().replace(": ", ":");
        if said.contains(&wanted) {
            return started.elapsed();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{}", daemon.log());
        sleep(Duration::from_millis(1));
    }
}

/// A cycle in which nothing changed: with a pass over all files, and without.
fn quiet_cycle(run: &mut Run, workspace: &Workspace) {
    let count = run.size(MANY);
    let mut store = FileStore::new(Folder::at(workspace.root()), 0);
    let mut look = || {
        let before = own_cpu();
        store.survey(&Extent::Everything, SystemTime::now()).unwrap();
        own_cpu() - before
    };
    look();
    let active = workspace.path("active");
    // The difference of two that are nearly the same: more of each.
    let (pass, bare) = side_by_side(run.times(21), look, || {
        let before = own_cpu();
        bare::stat(&active);
        own_cpu() - before
    });
    let beyond = pass.saturating_sub(bare);
    run.table.row(
        &format!("quiet cycle with a pass over {count} files: processor time beyond the bare pass"),
        shown(beyond),
        "20 ms",
        Judged::of(beyond <= Duration::from_millis(20)),
        format!("{} and {}", shown(pass), shown(bare)),
    );
    let daemon = workspace.daemon(["--interval", "1"]);
    run.settle();
    let before = cpu(daemon.pid());
    let (seconds, cycles) = (if run.quick { 2 } else { 30 }, workspace.events_named("scale_status").len());
    sleep(Duration::from_secs(seconds));
    let cycles = workspace.events_named("scale_status").len() - cycles;
    let each = (cpu(daemon.pid()) - before) / u32::try_from(cycles.max(1)).unwrap();
    run.table.row(
        &format!("quiet cycle of the daemon, {count} files, the watch trusted: processor time"),
        shown(each),
        "20 ms",
        Judged::of(each <= Duration::from_millis(20)),
        format!("mean of {cycles}"),
    );
    let resident = idle::resident(daemon.pid());
    let small = make(&run.binary, run.size(100).min(100));
    let least = small_memory(run, &small, "file");
    let each = (resident.saturating_sub(least)) as f64 / count as f64;
    run.table.row(
        &format!("memory a milestone beyond that, {count} files"),
        format!("{each:.0} bytes"),
        "150 bytes",
        Judged::of(each <= 150.0),
        format!("resident {} after {} cycles", megabytes(resident), cycles),
    );
    for (backend, name) in [("hybrid", "hybrid"), ("database", "database on SQLite")] {
        let moved = small.run(["migrate", backend, "--yes"]);
        assert_eq!(moved.code, 0, "{}", moved.err);
        small_memory(run, &small, name);
    }
}

/// What a daemon takes that looks after a hundred milestones on some backend.
fn small_memory(run: &mut Run, workspace: &Workspace, backend: &str) -> u64 {
    let daemon = workspace.daemon(["--interval", "86400"]);
    run.settle();
    let resident = idle::resident(daemon.pid());
    run.table.row(
        &format!("memory at 100 milestones, `{backend}`"),
        megabytes(resident),
        "8 MB",
        Judged::of(resident <= 8_000_000),
        "resident, all threads; no child processes".to_owned(),
    );
    daemon.stop();
    resident
}
