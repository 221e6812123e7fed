//! What each costs as the number of milestones grows, with the exponent of the line through the points.

use std::fs;
use std::time::{Duration, SystemTime};

use milescale_storage::files::FileStore;
use milescale_storage::hybrid::HybridStore;
use milescale_storage::outline::{Needle, Wanted};
use milescale_storage::postgres::PostgresStore;
use milescale_storage::sqlite::SqliteStore;
use milescale_storage::store::{Extent, Store};
use milescale_testkit::{Postgres, Workspace};
use milescale_workspace::Workspace as Folder;

use crate::figures::{exponent, median, megabytes, shown, timed};
use crate::idle::resident;
use crate::moves::{config, migrate, reset};
use crate::run::Run;
use crate::table::Judged;
use crate::workspace::{id, make, text};

/// Sizes; the last one for files and databases only.
const SIZES: &[usize] = &[1_000, 10_000, 100_000, 1_000_000];

/// A steeper line is not linear.
const LINEAR: f64 = 1.05;

/// What something costs.
#[derive(Clone, Copy)]
enum Cost {
    Time(Duration),
    Bytes(u64),
}

impl Cost {
    fn number(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Bytes(bytes) => bytes as f64,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::Time(time) => shown(time),
            Self::Bytes(bytes) => megabytes(bytes),
        }
    }
}

/// Points by what they are of, in the order in which they came.
#[derive(Default)]
struct Points(Vec<(String, Vec<(usize, Cost)>)>);

impl Points {
    fn add(&mut self, what: &str, size: usize, took: Duration) {
        self.add_cost(what, size, Cost::Time(took));
    }

    fn add_cost(&mut self, what: &str, size: usize, cost: Cost) {
        match self.0.iter_mut().find(|(name, _)| name == what) {
            Some((_, points)) => points.push((size, cost)),
            None => self.0.push((what.to_owned(), vec![(size, cost)])),
        }
    }
}

pub(crate) fn measure(run: &mut Run) {
    if !run.wants("growth") {
        return;
    }
    let mut points = Points::default();
    let sizes: &[usize] = if run.quick { &[10, 100] } else { SIZES };
    for &size in sizes {
        let times = if size >= 1_000_000 { 1 } else { run.times(3) };
        let workspace = make(&run.binary, size);
        run.settle();
        files(&mut points, &workspace, size, times);
        if size < 1_000_000 {
            hybrid(run, &mut points, &workspace, size, times);
        }
        sqlite(run, &mut points, &workspace, size, times);
        postgres(run, &mut points, &workspace, size, times);
        fs::remove_dir_all(workspace.root().join(".milestones")).unwrap();
    }
    for (what, points) in points.0 {
        let numbers: Vec<_> = points.iter().map(|(size, cost)| (*size, cost.number())).collect();
        let slope = exponent(&numbers);
        let each: Vec<_> = points.iter().map(|(size, cost)| format!("{size}: {}", cost.shown())).collect();
        run.table.row(
            &format!("growth: {what}"),
            format!("n^{slope:.2}"),
            "linear",
            Judged::of(slope <= LINEAR),
            each.join(", "),
        );
    }
}

fn several(times: usize, mut work: impl FnMut() -> Duration) -> Duration {
    median((0..times).map(|_| work()).collect())
}

fn look(store: &mut dyn Store) -> Duration {
    timed(|| store.survey(&Extent::Everything, SystemTime::now()).unwrap())
}

fn files(points: &mut Points, workspace: &Workspace, size: usize, times: usize) {
    let fresh = || FileStore::new(Folder::at(workspace.root()), 0);
    points.add("cold look at files", size, several(times, || look(&mut fresh())));
    let mut store = fresh();
    look(&mut store);
    points.add("look at unchanged files", size, several(times, || look(&mut store)));
    let (path, mut number) = (workspace.path(format!("active/{}.yaml", id(0))), 0);
    let changed = || {
        number += 1;
        workspace.save(format!("active/{}.yaml", id(0)), text(number));
        timed(|| store.survey(&Extent::Paths(vec![path.clone()]), SystemTime::now()).unwrap())
    };
    points.add("look at one changed file", size, several(9, changed));
    let daemon = workspace.daemon(["--interval", "86400"]);
    points.add_cost("memory of the daemon, files", size, Cost::Bytes(resident(daemon.pid())));
    daemon.stop();
}

/// What the verbs of a store cost, and its first look.
fn verbs(run: &Run, points: &mut Points, workspace: &Workspace, name: &str, size: usize, store: &mut dyn Store) {
    points.add(&format!("first look at {name}, with its pauses"), size, look(store));
    let status = Wanted { status: Some("pending".to_owned()), ..Wanted::default() };
    let text = Wanted { text: Some(Needle::new("number 1")), ..Wanted::default() };
    for (verb, wanted) in [("list --status", status), ("search", text)] {
        let took = several(3, || timed(|| store.list(&wanted, &mut |_| ()).unwrap()));
        points.add(&format!("`{verb}`, {name}"), size, took);
    }
    let show = |number: usize| run.command(workspace.root(), &["milestone", "show", &id(number)]);
    points.add(&format!("`milestone show`, {name}"), size, median((0..7).map(show).collect()));
}

/// Moves files away; all of the command, and the comparison.
fn moved(
    run: &Run,
    points: &mut Points,
    workspace: &Workspace,
    (what, size, times): (&str, usize, usize),
    (configuration, arguments): (&str, &[&str]),
    undo: impl Fn(),
) {
    let (mut all, mut comparing, mut paused) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..times {
        undo();
        reset(run, workspace, configuration);
        let moved = migrate(workspace, arguments);
        all.push(moved.all);
        comparing.push(moved.comparing);
        // To a millisecond, and never nothing.
        paused.push(moved.paused.max(Duration::from_millis(1)));
    }
    points.add(what, size, median(all));
    points.add(&format!("{what}, comparing"), size, median(comparing));
    points.add(&format!("{what}, the verbs' pause"), size, median(paused));
}

fn hybrid(run: &Run, points: &mut Points, workspace: &Workspace, size: usize, times: usize) {
    moved(run, points, workspace, ("files → hybrid", size, times), (&config("sqlite", "", false), &["hybrid"]), || ());
    let mut store = HybridStore::new(&Folder::at(workspace.root()), 0).unwrap();
    verbs(run, points, workspace, "hybrid", size, &mut store);
}

fn sqlite(run: &Run, points: &mut Points, workspace: &Workspace, size: usize, times: usize) {
    let way = ("files → SQLite", size, times);
    moved(run, points, workspace, way, (&config("sqlite", "", false), &["database"]), || ());
    let mut store = SqliteStore::new(&Folder::at(workspace.root())).unwrap();
    verbs(run, points, workspace, "SQLite", size, &mut store);
}

fn postgres(run: &Run, points: &mut Points, workspace: &Workspace, size: usize, times: usize) {
    let server = Postgres::start();
    let arguments = ["database", "--engine", "postgresql"];
    let way = ("files → PostgreSQL", size, times);
    let configuration = config("postgresql", &server.url(), false);
    moved(run, points, workspace, way, (&configuration, &arguments), || {
        server.psql("plans", "DROP OWNED BY ada");
    });
    let folder = Folder::at(workspace.root());
    let mut store = PostgresStore::new(&folder, &server.url(), "", Duration::from_mins(1)).unwrap();
    verbs(run, points, workspace, "PostgreSQL", size, &mut store);
}
