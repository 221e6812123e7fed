//! Moving milestones, beside the shells' own bulk loads of the same bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use milescale_testkit::{Postgres, Workspace};
use serde_json::Value;

use crate::bare;
use crate::figures::{median, quantile, ratio, shown, timed};
use crate::run::Run;
use crate::table::Judged;
use crate::workspace::{id, make};

const MANY: usize = 100_000;

/// What a move told of itself.
pub(crate) struct Moved {
    /// All of the command, from its start to its end.
    pub(crate) all: Duration,
    copying: Duration,
    pub(crate) comparing: Duration,
    pub(crate) paused: Duration,
}

pub(crate) fn measure(run: &mut Run) {
    if run.wants("moves") {
        moves(run);
    }
    if run.wants("pause") {
        pauses(run);
    }
    if run.wants("refused") {
        refused(run);
    }
}

/// Makes the files the store in use again, as if nothing had been moved.
pub(crate) fn reset(run: &Run, workspace: &Workspace, config: &str) {
    for folder in [".milescale", "backups", "logs", "completed"] {
        let _ = fs::remove_dir_all(workspace.path(folder));
    }
    for file in ["index.db", "enterprise.db", "active/MOVED-TO-A-DATABASE.txt"] {
        let _ = fs::remove_file(workspace.path(file));
    }
    for entry in fs::read_dir(workspace.path("active")).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    workspace.write("config/storage-backend.txt", "file\n");
    workspace.write("config/storage-config.yaml", config);
    run.settle();
}

pub(crate) fn migrate(workspace: &Workspace, arguments: &[&str]) -> Moved {
    let mut command = workspace.command(["migrate"]);
    command.args(arguments).arg("--yes").stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let output = command.output().unwrap();
    let all = started.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = workspace.events_named("migration_completed").pop().unwrap();
    let of = |value: &Value| Duration::from_millis(value.as_u64().unwrap_or_default());
    let details = &told["details"];
    Moved {
        all,
        copying: of(&details["phases_ms"]["copying"]),
        comparing: of(&details["phases_ms"]["comparing"]),
        paused: of(&details["paused_ms"]),
    }
}

pub(crate) fn config(engine: &str, url: &str, backup: bool) -> String {
    format!(
        "storage:\n  database: {{ type: {engine}, url: \"{url}\" }}\n  migration: {{ backup_before_migration: {backup} }}\n"
    )
}

/// One way: moved so often, with and without a backup, beside its limit.
fn way(
    run: &mut Run,
    workspace: &Workspace,
    (what, target): (&str, f64),
    (engine, url): (&str, &str),
    arguments: &[&str],
    mut limit: impl FnMut() -> Duration,
) {
    let (mut moves, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..run.times(5) {
        reset(run, workspace, &config(engine, url, false));
        moves.push(migrate(workspace, arguments));
        limits.push(limit());
    }
    let middle = |of: fn(&Moved) -> Duration| median(moves.iter().map(of).collect());
    let (all, copying, comparing, limit) =
        (middle(|it| it.all), middle(|it| it.copying), middle(|it| it.comparing), median(limits));
    reset(run, workspace, &config(engine, url, true));
    let with_backup = migrate(workspace, arguments).all;
    let count = run.size(MANY);
    run.table.times(
        &format!("{what}, {count}: all of `migrate`, without a backup"),
        (ratio(all, limit), target),
        "the limit",
        format!(
            "{}, limit {}; copying alone {:.2} ×; with a backup {}",
            shown(all),
            shown(limit),
            ratio(copying, limit),
            shown(with_backup)
        ),
    );
    if !comparing.is_zero() && what != "files → hybrid" {
        run.table.times(
            &format!("{what}, {count}: both stores compared"),
            (ratio(comparing, copying.max(Duration::from_millis(1))), 1.0),
            "the copy's time",
            format!("{} and {}", shown(comparing), shown(copying)),
        );
    }
}

/// Loads what was exported, as a person would with the shell: same tables, same indexes, same durability.
fn import(folder: &Path, tables: &[(&str, &str)], indexes: &str) -> Duration {
    let file = folder.join("import.db");
    let _ = fs::remove_file(&file);
    let mut script = String::from("PRAGMA synchronous=EXTRA;\n");
    for (_, create) in tables {
        script += create;
    }
    script += "BEGIN;\n.mode csv\n";
    for (name, _) in tables {
        script += &format!(".import {}/{name}.csv {name}\n", folder.display());
    }
    script += indexes;
    script += "COMMIT;\n";
    let path = folder.join("import.sql");
    fs::write(&path, script).unwrap();
    let mut command = Command::new("sqlite3");
    command.arg(&file).stdin(fs::File::open(path).unwrap()).stdout(Stdio::null());
    timed(|| assert!(command.status().unwrap().success()))
}

fn export(database: &Path, folder: &Path, table: &str, columns: &str) {
    let file = fs::File::create(folder.join(format!("{table}.csv"))).unwrap();
    let select = format!("SELECT {columns} FROM {table}");
    let mut command = Command::new("sqlite3");
    command.arg("-csv").arg(database).arg(select).stdout(file);
    assert!(command.status().unwrap().success());
}

fn moves(run: &mut Run) {
    let workspace = make(&run.binary, run.size(MANY));
    let (active, folder) = (workspace.path("active"), tempfile::tempdir().unwrap());
    let index =
        "CREATE TABLE milestones(id TEXT PRIMARY KEY, title, status, priority, created_at, updated_at, file_path);\n";
    let indexes = "CREATE INDEX a ON milestones(status); CREATE INDEX b ON milestones(priority); CREATE INDEX c ON \
                   milestones(created_at);\n";
    way(run, &workspace, ("files → hybrid", 1.3), ("sqlite", ""), &["hybrid"], || {
        export(&workspace.path("index.db"), folder.path(), "milestones", "*");
        timed(|| bare::read(&active)) + import(folder.path(), &[("milestones", index)], indexes)
    });
    let documents = "CREATE TABLE milestones(id TEXT PRIMARY KEY, data TEXT, created_at TEXT, updated_at TEXT);\n";
    let texts = "CREATE TABLE milescale_texts(id TEXT PRIMARY KEY, text BLOB, data_digest TEXT);\n";
    way(run, &workspace, ("files → SQLite", 2.0), ("sqlite", ""), &["database"], || {
        let database = workspace.path("enterprise.db");
        export(&database, folder.path(), "milestones", "*");
        export(&database, folder.path(), "milescale_texts", "*");
        timed(|| bare::read(&active))
            + import(folder.path(), &[("milestones", documents), ("milescale_texts", texts)], "")
    });
    let server = Postgres::start();
    let files = folder.path().to_str().unwrap().to_owned();
    way(
        run,
        &workspace,
        ("files → PostgreSQL", 1.5),
        ("postgresql", &server.url()),
        &["database", "--engine", "postgresql"],
        || {
            let copy = |table: &str, columns: &str| {
                server.psql("plans", &format!("\\copy {table} ({columns}) TO '{files}/{table}.copy'"));
            };
            copy("milestones", "id, data, created_at, updated_at");
            copy("milescale_texts", "id, text, data_digest");
            server.psql(
                "plans",
                "CREATE TABLE a (LIKE milestones INCLUDING ALL); CREATE TABLE b (LIKE milescale_texts INCLUDING ALL)",
            );
            let took = timed(|| {
                server.psql(
                    "plans",
                    &format!("\\copy a (id, data, created_at, updated_at) FROM '{files}/milestones.copy'"),
                );
                server.psql("plans", &format!("\\copy b FROM '{files}/milescale_texts.copy'"));
            });
            server.psql("plans", "DROP TABLE a, b; DROP SCHEMA IF EXISTS gone CASCADE; DROP OWNED BY ada");
            took
        },
    );
}

/// Ends a loop once this goes, also where a measurement fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long the verbs are kept out by a switch, over many moves.
fn pauses(run: &mut Run) {
    let mut paused = Vec::new();
    let sizes: &[usize] = if run.quick { &[20] } else { &[1_000, 20_000] };
    for &size in sizes {
        let workspace = make(&run.binary, size);
        reset(run, &workspace, &config("sqlite", "", false));
        let stop = AtomicBool::new(false);
        scope(|scope| {
            scope.spawn(|| {
                // Again and again, so that there is something to bring over; always the same ones, so that they do not grow.
                let draft = workspace.root().join("draft.yaml");
                let draft = draft.to_str().unwrap();
                for number in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("busy-{}", number % 50);
                    fs::write(draft, format!("id: {name}\ntitle: Busy {number}\n")).unwrap();
                    let seen = workspace.run(["milestone", "show", &name, "--digest"]);
                    let seen = seen.out.trim();
                    let mut put = vec!["milestone", "put", &name, draft];
                    if !seen.is_empty() {
                        put.extend(["--if-match", seen]);
                    }
                    workspace.run(put);
                    sleep(Duration::from_millis(50));
                }
            });
            let _stops = Stops(&stop);
            let rounds = if run.quick { 1 } else { 20_000 / size + 2 };
            for _ in 0..rounds {
                for backend in ["database", "file"] {
                    paused.push(migrate(&workspace, &[backend]).paused);
                }
            }
        });
    }
    let (p99, longest) = (quantile(&paused, 0.99), quantile(&paused, 1.0));
    run.table.row(
        "the verbs' pause at the switch: 99th percentile, and the longest",
        format!("{}, {}", shown(p99), shown(longest)),
        "50 ms, 250 ms",
        Judged::of(p99 < Duration::from_millis(50) && longest < Duration::from_millis(250)),
        format!("{} moves of {} and more milestones, a verb that writes all the time", paused.len(), sizes[0]),
    );
}

/// Writes of a shell that does not wait, so often refused: while nothing else happens, or while milestones are moved away.
fn shell_writes(workspace: &Workspace, count: usize, until: &AtomicBool) -> (u32, u32) {
    let (mut tries, mut refused) = (0, 0);
    for number in 0.. {
        if until.load(Ordering::Relaxed) {
            break;
        }
        let update =
            format!("UPDATE milestones SET updated_at = '2026-11-24T00:00:00Z' WHERE id = '{}'", id(number % count));
        let mut command = Command::new("sqlite3");
        command.arg(workspace.path("enterprise.db")).arg(update).stderr(Stdio::null()).stdout(Stdio::null());
        tries += 1;
        refused += u32::from(!command.status().unwrap().success());
        sleep(Duration::from_millis(20));
    }
    (tries, refused)
}

fn refused(run: &mut Run) {
    let count = run.size(MANY);
    let workspace = make(&run.binary, count);
    reset(run, &workspace, &config("sqlite", "", true));
    migrate(&workspace, &["database"]);
    run.settle();
    let control = |seconds: u64| {
        let stop = AtomicBool::new(false);
        scope(|scope| {
            let writes = scope.spawn(|| shell_writes(&workspace, count, &stop));
            sleep(Duration::from_secs(seconds));
            stop.store(true, Ordering::Relaxed);
            writes.join().unwrap()
        })
    };
    let (tries, without) = control(if run.quick { 1 } else { 20 });
    let stop = AtomicBool::new(false);
    let (moved_tries, moved) = scope(|scope| {
        let writes = scope.spawn(|| shell_writes(&workspace, count, &stop));
        let ends = Stops(&stop);
        let moved = workspace.run(["migrate", "file", "--yes"]);
        drop(ends);
        assert!(moved.code == 0 || run.quick, "{}", moved.err);
        writes.join().unwrap()
    });
    let part = |refused: u32, tries: u32| f64::from(refused) / f64::from(tries.max(1)) * 100.0;
    let more = part(moved, moved_tries) - part(without, tries);
    run.table.row(
        &format!("a shell's writes refused while {count} SQLite documents are moved"),
        format!("{more:.1} % more"),
        "1 % above the control",
        Judged::of(more <= 1.0),
        format!("{moved} of {moved_tries}; without milescale {without} of {tries}"),
    );
}
