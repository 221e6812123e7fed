//! What every verb needs: the workspace, the environment, and how a failure ends the program.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use jiff::Timestamp;
use milescale_core::backend::Engine as DatabaseEngine;
use milescale_core::config::ClientEnvironment;
use milescale_daemon::config::{ConfigKeeper, Environment};
use milescale_daemon::{Engine, Mode, Patience, RunError};
use milescale_storage::postgres::servers_without_consent;
use milescale_workspace::Workspace;
use milescale_workspace::folder::{is_about_trust, real_folder, system};
use milescale_workspace::trust::Trust;

use crate::{terminal, trust};

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit status 1.
    Failed(String),
    /// Exit status 2.
    Usage(String),
}

impl Failure {
    pub(crate) fn report(self) -> ExitCode {
        let (message, code) = match self {
            Self::Failed(message) => (message, 1),
            Self::Usage(message) => (message, 2),
        };
        terminal::error(&message);
        ExitCode::from(code)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::NoWorkspace(_) => Self::Usage(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Where and with what environment a verb runs.
#[derive(Debug)]
pub(crate) struct Context {
    given: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(given: Option<PathBuf>) -> Self {
        Self { given }
    }

    /// The folder that `--workspace` names.
    pub(crate) fn given(&self) -> Option<&Path> {
        self.given.as_deref()
    }

    /// The workspace: the one given, else the nearest from the current folder upwards. It is the caller's own, or trusted.
    pub(crate) fn workspace(&self) -> Result<Workspace, Failure> {
        let workspace = self.workspace_as_it_is()?;
        match workspace.look_again() {
            Ok(()) => Ok(workspace),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.none(workspace.root())),
            Err(error) if is_about_trust(&error) => Err(Failure::Failed(error.to_string())),
            Err(error) => {
                let place = workspace.folder().path();
                Err(Failure::Failed(format!("{}: it cannot be opened: {error}", place.display())))
            }
        }
    }

    /// The same, whoever it belongs to. Nothing in it is opened yet.
    pub(crate) fn workspace_as_it_is(&self) -> Result<Workspace, Failure> {
        let start = self.start()?;
        let found = match self.given {
            Some(_) => Some(&*start),
            None => Workspace::find(&start),
        };
        found.map(Self::trusting).ok_or_else(|| self.none(&start))
    }

    /// The workspace of a folder, with what is trusted on this machine.
    pub(crate) fn trusting(root: &Path) -> Workspace {
        Workspace::trusting(root, Trust::of(trust::sources()))
    }

    fn none(&self, start: &Path) -> Failure {
        let above = if self.given.is_some() { "" } else { " or above it" };
        Failure::Usage(format!(
            "{}: there is no folder .milestones here{above}; make one with `milescale init`, or say where it is with \
             --workspace DIR",
            start.display()
        ))
    }

    /// The workspace, for what reads or writes its milestones. Where they are to be on a server that nobody has consented to, and a
    /// person is there, that is asked for, unless the person has said not to be asked (`yes`).
    pub(crate) fn workspace_with_stores(
        &self,
        engine: Option<DatabaseEngine>,
        yes: bool,
    ) -> Result<Workspace, Failure> {
        let workspace = self.workspace()?;
        if yes {
            return Ok(workspace);
        }
        let config = ConfigKeeper::start(workspace.clone(), Self::environment()).config().clone();
        let mut database = config.database;
        database.engine = engine.unwrap_or(database.engine);
        if database.engine == DatabaseEngine::Postgresql {
            // An address that cannot be understood is said by whatever needs it.
            let servers = servers_without_consent(&workspace, &database).unwrap_or_default();
            trust::asked(&workspace, &servers)?;
        }
        Ok(workspace)
    }

    /// The folder given, else the current one; with symlinks resolved.
    pub(crate) fn start(&self) -> Result<PathBuf, Failure> {
        let folder = match &self.given {
            Some(folder) => real_folder(folder, &Trust::of(trust::sources())),
            None => std::env::current_dir().and_then(system::real_path),
        };
        folder.map_err(|error| {
            let shown = self.given.clone().unwrap_or_else(|| PathBuf::from("."));
            Failure::Usage(format!("{}: {error}", shown.display()))
        })
    }

    pub(crate) fn environment() -> Environment {
        Environment {
            database_type: set("DATABASE_TYPE"),
            database_url: set("DATABASE_URL"),
            client: Self::client_environment(),
        }
    }

    /// What the environment says to every client of PostgreSQL.
    fn client_environment() -> ClientEnvironment {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("PG"))?;
            Some((name, value.into_string().ok()?))
        });
        ClientEnvironment {
            variables: variables.collect(),
            home: std::env::home_dir().filter(|home| home.is_absolute()),
            login: known_name().or_else(|| set("LOGNAME")).or_else(|| set("USER")).unwrap_or_default(),
        }
    }

    /// The wall clock.
    pub(crate) fn now() -> Timestamp {
        Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Who does it: `MILESCALE_USER`, else the login name.
    pub(crate) fn user() -> String {
        set("MILESCALE_USER").or_else(|| set("LOGNAME")).or_else(|| set("USER")).unwrap_or_else(login_name)
    }

    /// An engine that has looked at everything and writes nothing.
    pub(crate) fn looked_at(&self) -> Result<Engine, Failure> {
        let mut engine = Engine::open(self.workspace()?, Self::environment(), Mode::ReadOnly, Patience::SayAtOnce);
        engine.settle();
        Ok(engine)
    }
}

/// A variable that is set and not empty.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The name that the system knows this user by, else its number.
fn login_name() -> String {
    known_name().unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
}

/// The name that the system knows this user by.
fn known_name() -> Option<String> {
    let user = rustix::process::getuid().as_raw().to_string();
    let known = system::text("/etc/passwd").unwrap_or_default();
    let mut entries = known.lines().map(|line| line.split(':'));
    entries.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)? == user).then(|| name.to_owned())
    })
}
