//! One run: what is measured, with which sizes, and where it goes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::figures::timed;
use crate::table::Table;

/// A clock tick of the files' stamps has to pass before what was read is trusted.
const SETTLED: Duration = Duration::from_millis(2200);

/// One run of everything.
pub(crate) struct Run {
    /// The command that is measured.
    pub(crate) binary: PathBuf,
    /// Tiny sizes: that it runs, not what it says.
    pub(crate) quick: bool,
    only: Vec<String>,
    pub(crate) table: Table,
}

impl Run {
    pub(crate) fn new(binary: &Path, quick: bool, only: Vec<String>) -> Self {
        Self { binary: binary.canonicalize().unwrap(), quick, only, table: Table::default() }
    }

    /// Whether a row is asked for.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|it| it == row)
    }

    /// A number of milestones, in a quick run a few.
    pub(crate) fn size(&self, full: usize) -> usize {
        if self.quick { (full / 2000).max(20) } else { full }
    }

    /// Waits until the stamps of files that were just written prove something. A quick run does not need that.
    pub(crate) fn settle(&self) {
        if !self.quick {
            sleep(SETTLED);
        }
    }

    /// How often each is measured.
    pub(crate) fn times(&self, full: usize) -> usize {
        if self.quick { 1 } else { full }
    }

    /// How long the command takes, from its start to its end.
    pub(crate) fn command(&self, root: &Path, arguments: &[&str]) -> Duration {
        ended(Command::new(&self.binary).args(arguments).current_dir(root))
    }
}

/// How long a program takes that has to succeed.
pub(crate) fn ended(command: &mut Command) -> Duration {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_remove("DATABASE_URL")
        .env_remove("DATABASE_TYPE");
    timed(|| assert!(command.status().unwrap().success(), "{command:?}"))
}
