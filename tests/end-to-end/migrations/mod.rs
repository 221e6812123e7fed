//! Migrations with the real binary, compared by a script that shares no code with it.

mod automatic;
mod backups;
mod interleaved;
mod kills;
mod meet;
mod plans;
mod storm;
mod sweeps;
mod walk;
mod ways;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};

use milescale_testkit::{Postgres, Said, Workspace};

use super::{BINARY, repository};

/// A store, in the word of BACKUP_ID.
type Way = &'static str;

/// The four of them.
const STORES: [Way; 4] = ["file", "hybrid", "sqlite", "postgresql"];

/// Runs a harness below `tests/` on the binary, beside a server of its own. What it says, which is printed too.
fn harness(path: &str, arguments: &[&str]) -> (String, Output) {
    let server = Postgres::start();
    let mut command = Command::new("python3");
    command.arg(repository().join("tests").join(path)).arg(BINARY).args(arguments).args(["--psql", &server.url()]);
    let said = command.output().unwrap();
    let out = String::from_utf8_lossy(&said.stdout).into_owned();
    println!("{out}");
    (out, said)
}

/// A workspace whose milestones are moved.
struct Moved {
    workspace: Workspace,
    url: String,
    schema: String,
}

impl Moved {
    /// A workspace with so many milestones in files; its database of PostgreSQL, where a test needs one, is a schema of
    /// its own.
    fn new(server: Option<&Postgres>, schema: &str, count: usize) -> Self {
        let workspace = Workspace::new(BINARY);
        let url = server.map(Postgres::url).unwrap_or_default();
        let moved = Self { workspace, url, schema: schema.to_owned() };
        moved.configure("");
        for number in 0..count {
            moved.workspace.write(format!("active/m-{number}.yaml"), document(number));
        }
        moved
    }

    /// Writes the configuration; `more` are lines of `storage:`.
    fn configure(&self, more: &str) {
        self.workspace.write(
            "config/storage-config.yaml",
            format!(
                "# kept\nstorage:\n  database:\n    type: sqlite  # the engine\n    url: \"{}\"\n    schema: {:?}\n{more}",
                self.url, self.schema
            ),
        );
    }

    /// The command that moves to a store.
    fn arguments(to: Way) -> Vec<&'static str> {
        match to {
            "sqlite" | "postgresql" => vec!["migrate", "database", "--engine", to, "--yes"],
            _ => vec!["migrate", to, "--yes"],
        }
    }

    fn migrate(&self, to: Way) -> Said {
        self.workspace.run(Self::arguments(to))
    }

    /// What the milestones say, by the script.
    fn dump(&self) -> String {
        let said = verifier().ask(&[self.workspace.root().to_str().unwrap(), &self.url, &self.schema]);
        assert!(!said.starts_with("error: "), "{said}");
        said
    }

    /// The store that marker and configuration name.
    fn named(&self) -> String {
        let marker = self.workspace.read("config/storage-backend.txt").trim().to_owned();
        if marker != "database" {
            return marker;
        }
        let config = self.workspace.read("config/storage-config.yaml");
        let engine = config.lines().find_map(|line| line.trim().strip_prefix("type: ")).unwrap().to_owned();
        engine.split_whitespace().next().unwrap().to_owned()
    }

    /// Takes away everything but the store in use, as if nothing had ever been moved.
    fn forget_the_past(&self, server: &Postgres) {
        let named = self.named();
        if named == "postgresql" {
            let schema = format!("\"{}\"", self.schema);
            let drop = format!(
                "DROP TRIGGER milescale_log ON {schema}.milestones; DROP TRIGGER milescale_log_truncate ON {schema}.milestones;
                 DROP TABLE {schema}.milescale_meta, {schema}.milescale_tokens, {schema}.milescale_texts, {schema}.milescale_displaced,
                 {schema}.milescale_base, {schema}.milescale_sides, {schema}.milescale_earlier, {schema}.milescale_changes"
            );
            server.psql("plans", &drop);
        }
        for path in [".milescale", "backups", "completed"] {
            let _ = fs::remove_dir_all(self.workspace.path(path));
        }
        if named != "file" && named != "hybrid" {
            fs::remove_dir_all(self.workspace.path("active")).unwrap();
        }
        if named != "hybrid" {
            let _ = fs::remove_file(self.workspace.path("index.db"));
        }
        if named != "sqlite" {
            let _ = fs::remove_file(self.workspace.path("enterprise.db"));
        }
    }
}

/// What the `sqlite3` shell answers.
fn shell(moved: &Moved, database: &str, sql: &str) -> String {
    moved.workspace.sqlite(database, sql)
}

/// A document: of each kind one in a while, with comments, and values that readers of YAML take for different things.
fn document(number: usize) -> String {
    let title = format!("Milestone {number}");
    match number % 6 {
        0 => format!("# note {number}\nid: m-{number}\ntitle: {title}   # said\nstatus: active\nn: {number}\n"),
        1 => format!(
            "id: m-{number}\ntitle: 'it''s \"{number}\"'\nstatus: planned\ntasks:\n  - kiro_workflow: {{enabled: true}}\n    name: ünïcode 🔄\n"
        ),
        2 => format!(
            "title: \"{title}\"\ntimes: [\"12:30\", 1_000, 2026-11-22, 0x1f, 1e3, .5, ~, yes, \"no\"]\nstatus: active\n"
        ),
        3 => format!("id: m-{number}\r\ntitle: {title}\r\nnotes: |\r\n  two\r\n  lines\r\nstatus: active\r\n"),
        4 => format!(
            "---\nid: m-{number}\ntitle: {title}\ndependencies: {{requires: [m-0, m-1]}}\nstatus: &s done\nagain: *s\n"
        ),
        _ => format!(
            "id: m-{number}\ntitle: {title}\ncreated_at: 2026-01-02 03:04:05\npriority: high\nbig: 123456789012345678901234567890.5\n"
        ),
    }
}

/// The content of every file of a folder, by name.
pub(super) fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "yaml"))
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    found.sort();
    found
}

/// The script, started once a process.
struct Verifier(Mutex<(ChildStdin, BufReader<ChildStdout>)>);

#[allow(clippy::zombie_processes, reason = "it lives as long as the process")]
fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| {
        let script = repository().join("tests/verify.py");
        // It ends with its standard input, and so with this process; nobody waits for it.
        let started = Command::new("python3")
            .arg(script)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = started.unwrap();
        Verifier(Mutex::new((child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()))))
    })
}

impl Verifier {
    fn ask(&self, arguments: &[&str]) -> String {
        let mut both = self.0.lock().unwrap();
        let line = format!("{}\n", serde_json::to_string(arguments).unwrap());
        both.0.write_all(line.as_bytes()).unwrap();
        let (mut said, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            assert!(both.1.read_line(&mut line).unwrap() > 0, "the script has ended");
            if line == "\n" {
                return said;
            }
            said.push_str(&line);
        }
    }
}
