//! What the tests of milescale need: a workspace to make, a command to run, a daemon to start, a condition to wait for.
//!
//! Only for tests: a failure here is a panic with what was seen last.
#![allow(clippy::disallowed_methods, reason = "tests look with their own eyes")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod postgres;
mod proxy;

pub use postgres::{PASSWORD, Postgres, free_port};
pub use proxy::{OnCommit, Proxy};

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a condition is waited for. Long: only a failed test waits for it.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `condition` gives something.
///
/// # Panics
/// When it does not, with `what` was waited for.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a run takes this one of many points that take long: one in so many, other ones for each commit, and all of them
/// where `tests/run --long` has set `MILESCALE_LONG`.
pub fn takes(point: usize, one_in: usize) -> bool {
    std::env::var_os("MILESCALE_LONG").is_some() || point.wrapping_add(seed_of_commit()).is_multiple_of(one_in)
}

/// A number that is another one for each commit, and the same in all tests of one; 7 outside of a checkout.
pub fn seed_of_commit() -> usize {
    static SEED: OnceLock<usize> = OnceLock::new();
    *SEED.get_or_init(|| {
        let commit = Command::new("git").args(["rev-parse", "HEAD"]).output().map(|it| it.stdout).unwrap_or_default();
        commit.iter().fold(7, |seed: usize, byte| seed.wrapping_mul(31).wrapping_add(usize::from(*byte)))
    })
}

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    /// Its exit status, 128 + n where signal n ended it.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// A workspace in a temporary folder, and the binary that looks after it.
#[derive(Debug)]
pub struct Workspace {
    folder: Option<tempfile::TempDir>,
    root: PathBuf,
    binary: PathBuf,
    /// What is put before the binary: a program and its arguments.
    pub wrapper: Vec<String>,
    /// Variables that its commands get.
    pub environment: Vec<(String, String)>,
}

impl Workspace {
    /// A folder without anything in it.
    pub fn empty(binary: impl AsRef<Path>) -> Self {
        Self::within(tempfile::tempdir().unwrap(), binary)
    }

    /// A temporary folder without anything in it.
    pub fn within(folder: tempfile::TempDir, binary: impl AsRef<Path>) -> Self {
        let root = folder.path().canonicalize().unwrap();
        Self {
            folder: Some(folder),
            root,
            binary: binary.as_ref().to_owned(),
            wrapper: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// An initialised workspace.
    pub fn new(binary: impl AsRef<Path>) -> Self {
        let workspace = Self::empty(binary);
        assert_eq!(workspace.run(["init"]).code, 0);
        workspace
    }

    /// A workspace in a folder that somebody else made and removes.
    pub fn at(root: &Path, binary: impl AsRef<Path>) -> Self {
        let root = root.canonicalize().unwrap();
        Self { folder: None, root, binary: binary.as_ref().to_owned(), wrapper: Vec::new(), environment: Vec::new() }
    }

    /// The folder that holds `.milestones/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in `.milestones/`.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(".milestones").join(path)
    }

    /// Writes a file in `.milestones/`, in place, as a shell does.
    pub fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a file beside its place and renames it over, as editors do.
    pub fn save(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        let beside = path.with_extension("yaml~");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, path).unwrap();
    }

    /// Makes plain milestones `NAME-0` and so on.
    pub fn milestones(&self, name: &str, count: usize) {
        for number in 0..count {
            self.write(format!("active/{name}-{number}.yaml"), format!("id: {name}-{number}\n"));
        }
    }

    /// What `sqlite3` prints of one of its databases, as another program that waits its turn.
    pub fn sqlite(&self, file: impl AsRef<Path>, sql: impl AsRef<OsStr>) -> String {
        let mut shell = Command::new("sqlite3");
        shell.args(["-cmd", ".timeout 5000"]).arg(self.path(file)).arg(sql);
        let said = shell.output().unwrap();
        assert!(said.status.success(), "{shell:?}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim_end().to_owned()
    }

    /// Appends to a file in `.milestones/`.
    pub fn append(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let mut file = fs::File::options().append(true).create(true).open(self.path(path)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    /// Makes the marker look as if it had been written so many hours ago.
    pub fn age_marker(&self, hours: u64) {
        let file = fs::File::options().write(true).open(self.path("config/storage-backend.txt")).unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(hours * 3600 + 60);
        file.set_times(fs::FileTimes::new().set_modified(then)).unwrap();
    }

    /// The text of a file in `.milestones/`; empty where there is none.
    pub fn read(&self, path: impl AsRef<Path>) -> String {
        String::from_utf8_lossy(&fs::read(self.path(path)).unwrap_or_default()).into_owned()
    }

    /// The command, ready to run in this workspace.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = match self.wrapper.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command.args(arguments).current_dir(&self.root).stdin(Stdio::null());
        for name in ["DATABASE_TYPE", "DATABASE_URL", "NOTIFY_SOCKET", "NO_COLOR", "JOURNAL_STREAM", "MILESCALE_LOG"] {
            command.env_remove(name);
        }
        // What the tests' own environment says of servers is not meant for them.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        // What the person who runs the tests trusts is not meant for them either, nor who has called `sudo`.
        for name in ["MILESCALE_TRUST", "CONFIGURATION_DIRECTORY", "SUDO_UID", "SYSTEMD_EXEC_PID"] {
            command.env_remove(name);
        }
        command.env("XDG_CONFIG_HOME", self.root.join(".config-of-the-person"));
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Runs the command to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Said { code: code(output.status), out: text(output.stdout), err: text(output.stderr) }
    }

    /// `status --json`.
    pub fn status(&self) -> Value {
        self.run(["status", "--json"]).json()
    }

    /// All scale events that are there, the rotated ones too.
    ///
    /// # Panics
    /// When a line is torn.
    pub fn events(&self) -> Vec<Value> {
        let older = (1..=9).rev().map(|number| format!("logs/scale-events.jsonl.{number}"));
        let names = older.chain(["logs/scale-events.jsonl".to_owned()]);
        let text: String = names.map(|name| self.read(name)).collect();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: torn: {line}"));
        text[..whole].lines().map(parse).collect()
    }

    /// The events of one name.
    pub fn events_named(&self, name: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == name).collect()
    }

    /// Waits for the `count`-th event of a name.
    pub fn until_event(&self, name: &str, count: usize) -> Value {
        until(&format!("event {count} named {name}"), || self.events_named(name).into_iter().nth(count - 1))
    }

    /// Starts the daemon and waits for its first cycle.
    pub fn daemon<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Daemon<'_> {
        let cycles = self.events_named("scale_status").len();
        let daemon = self.daemon_at_once(arguments);
        until(&format!("the first cycle; log: {}", daemon.log()), || {
            let known = daemon.published()["daemon"]["pid"] == daemon.pid();
            (known && self.events_named("scale_status").len() > cycles).then_some(())
        });
        daemon
    }

    /// Starts the daemon and waits for nothing.
    pub fn daemon_at_once<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Daemon<'_> {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = self.command(["run"]);
        command.args(arguments).stderr(log.reopen().unwrap()).stdout(Stdio::null());
        Daemon { workspace: self, child: command.spawn().unwrap(), log }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Tests take rights away; the folder has to go all the same.
        if let Some(folder) = self.folder.take() {
            let _ = folder.close();
        }
    }
}

/// A daemon that runs; killed when dropped.
#[derive(Debug)]
pub struct Daemon<'a> {
    workspace: &'a Workspace,
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Daemon<'_> {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// What it knows now; null before it has published anything.
    pub fn published(&self) -> Value {
        serde_json::from_str(&self.workspace.read(".milescale/status.json")).unwrap_or_default()
    }

    /// Waits until a key of what it knows, or a JSON pointer into that, has this value. How long that took.
    pub fn until(&self, key: &str, value: impl Into<Value>) -> Duration {
        let (start, value) = (Instant::now(), value.into());
        let mut last = Value::Null;
        let end = start + PATIENCE;
        while Instant::now() < end {
            let published = self.published();
            last = if key.starts_with('/') { published.pointer(key) } else { published.get(key) }
                .cloned()
                .unwrap_or_default();
            if last == value {
                return start.elapsed();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{key} was to become {value}, and is {last}; log:\n{}", self.log());
    }

    /// Waits until its log holds a text.
    pub fn until_logged(&self, text: &str) {
        until(&format!("{text:?} in the log:\n{}", self.log()), || self.log().contains(text).then_some(()));
    }

    /// Sends it a signal, by name, as `kill` does.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end: exit status, and the log.
    pub fn ended(mut self) -> (i32, String) {
        let status = until("the daemon's end", || self.child.try_wait().unwrap());
        (code(status), self.log())
    }

    /// Stops it in order.
    pub fn stop(self) -> (i32, String) {
        self.signal("TERM");
        self.ended()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
