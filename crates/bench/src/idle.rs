//! A daemon that has nothing to do, beside others; a cycle beside the shell.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;
use milescale_daemon::config::Environment;
use milescale_daemon::{Engine, Mode, Patience};
use milescale_sensing::watch::Hints;
use milescale_workspace::Workspace as Folder;

use crate::cpu::Meter;
use crate::figures::{megabytes, ratio, shown, side_by_side, timed};
use crate::log::line;
use crate::run::{Run, ended};
use crate::table::Judged;
use crate::workspace::{id, make, text};

/// Bytes of a process that are in memory.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

pub(crate) fn measure(run: &mut Run) {
    if run.wants("shell") {
        cycle_beside_the_shell(run);
    }
    if run.wants("idle") {
        idle(run);
    }
}

/// A whole cycle at 1,000 milestones, beside a loop that does no more than fork two processes a file.
fn cycle_beside_the_shell(run: &mut Run) {
    let count = run.size(1000);
    let workspace = make(&run.binary, count);
    run.settle();
    let folder = Folder::at(workspace.root());
    let mut engine = Engine::open(folder, Environment::default(), Mode::Writing, Patience::Wait);
    engine.full_cycle();
    let script = "for file in .milestones/active/*.yaml; do a=$(/bin/true); b=$(/bin/true); done";
    let (cycle, loop_) = side_by_side(
        run.times(5),
        || timed(|| engine.cycle(Hints::default())),
        || ended(Command::new("sh").args(["-c", script]).current_dir(workspace.root())),
    );
    let times = ratio(loop_, cycle);
    run.table.row(
        &format!("a whole cycle at {count} milestones"),
        format!("{times:.0} × as fast"),
        "1,000 × as fast as a loop that forks two processes a file",
        Judged::of(times >= 1000.0),
        format!("cycle {}, loop {}{}", shown(cycle), shown(loop_), reference(&workspace)),
    );
}

/// The reference document's own functions, where they are at hand.
fn reference(workspace: &milescale_testkit::Workspace) -> String {
    let Some(reference) = std::env::var_os("MILESCALE_REFERENCE") else { return String::new() };
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-a").arg(workspace.path("")).arg(copy.path()).status().unwrap();
    assert!(copied.success());
    let took = ended(Command::new(reference).arg(copy.path()).stderr(Stdio::null()));
    format!(", the reference's functions {}", shown(took))
}

/// Another daemon that runs; it goes, with its folder, when this is dropped.
struct Other {
    name: &'static str,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time at the default interval, beside monit and collectd in the same minutes.
fn idle(run: &mut Run) {
    let workspace = make(&run.binary, run.size(1000));
    let daemon = workspace.daemon(Vec::<String>::new());
    let others: Vec<Other> = [monit(), collectd()].into_iter().flatten().collect();
    let seconds = if run.quick { 1 } else { 305 };
    run.settle();
    let theirs = others.iter().map(|other| (other.name, other.child.id()));
    let pids: Vec<(&str, u32)> = std::iter::once(("milescale", daemon.pid())).chain(theirs).collect();
    let meters: Vec<Meter> = pids.iter().map(|(_, pid)| Meter::of(*pid)).collect();
    let day = lively(run, seconds);
    let used: Vec<Duration> = meters.iter().map(Meter::used).collect();
    let part = used[0].as_secs_f64() / seconds as f64 * 100.0;
    let least = used[1..].iter().min().copied().unwrap_or(Duration::MAX);
    let told: Vec<String> = pids
        .iter()
        .zip(&used)
        .map(|((name, pid), used)| format!("{name} {}, {}", shown(*used), megabytes(resident(*pid))))
        .collect();
    run.table.row(
        "idle, default interval: part of a core",
        format!("{part:.4} %"),
        "0.02 %, and less than monit and collectd",
        Judged::of(part < 0.02 && used[0] <= least),
        format!("in {seconds} s, {}: {}", meters[0].unit(), told.join("; ")),
    );
    daemon.stop();
    drop(others);
    drop(meters);
    let Day { cycles, early, late } = day;
    run.table.row(
        "memory over as many cycles as a day has, in each a changed milestone and new storage events",
        format!("{:+} kB", (late.cast_signed() - early.cast_signed()) / 1024),
        "flat",
        Judged::of(late <= early + early / 50),
        format!(
            "{cycles} cycles; {:.2} MB after a fifth of them, {:.2} MB at the end",
            early as f64 / 1e6,
            late as f64 / 1e6
        ),
    );
}

/// What a daemon that has something to do in each cycle takes of memory, after a fifth of its cycles and at their end.
struct Day {
    cycles: usize,
    early: u64,
    late: u64,
}

/// Lets a daemon go round once a second, for so long.
fn lively(run: &Run, seconds: u64) -> Day {
    let workspace = make(&run.binary, run.size(1000));
    let daemon = workspace.daemon(["--interval", "1"]);
    let before = workspace.events_named("scale_status").len();
    let mut early = 0;
    for second in 0..seconds {
        let number = usize::try_from(second).unwrap();
        workspace.save(format!("active/{}.yaml", id(number % 20)), text(number));
        let lines: String = (0..10).map(|at| line(number * 10 + at, Timestamp::now())).collect();
        workspace.append("logs/storage-events.jsonl", lines);
        sleep(Duration::from_secs(1));
        if second == seconds / 5 {
            early = resident(daemon.pid());
        }
    }
    let late = resident(daemon.pid());
    let cycles = workspace.events_named("scale_status").len() - before;
    daemon.stop();
    Day { cycles, early, late }
}

/// Starts a daemon whose configuration lies in a folder of its own, if it is installed.
fn other(
    name: &'static str,
    configuration: impl FnOnce(std::path::Display<'_>) -> String,
    arguments: &[&str],
) -> Option<Other> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("configuration");
    fs::write(&file, configuration(folder.path().display())).unwrap();
    // monit takes no other mode.
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = Command::new(name);
    command.args(arguments).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Some(Other { name, child, _folder: folder }),
        Err(error) => {
            eprintln!("{name} cannot be started: {error}");
            None
        }
    }
}

/// monit as Debian sets it up: a look every two minutes at the system.
fn monit() -> Option<Other> {
    let configuration = |path: std::path::Display<'_>| {
        format!(
            "set daemon 120\nset pidfile {path}/pid\nset statefile {path}/state\nset idfile {path}/id\ncheck system here\n  \
             if loadavg (5min) > 100 then alert\n"
        )
    };
    other("monit", configuration, &["-I", "-c"])
}

/// collectd with the plug-ins for processor, load and memory, every ten seconds.
fn collectd() -> Option<Other> {
    let configuration = |path: std::path::Display<'_>| {
        format!(
            "BaseDir \"{path}\"\nPIDFile \"{path}/pid\"\nPluginDir \"/usr/lib/collectd\"\nInterval 10\nLoadPlugin \
             cpu\nLoadPlugin load\nLoadPlugin memory\n"
        )
    };
    other("collectd", configuration, &["-f", "-C"])
}
