//! The configuration in force: an edit is taken over whole or not at all (contract §3).

use std::time::Duration;

use milescale_core::backend::{Engine, InUse};
use milescale_core::config::{ClientEnvironment, Config, Interpreted, KEYS, Problem, UrlFrom, Value};
use milescale_document::text::glimpse;
use milescale_storage::configured;
use milescale_storage::postgres::{flaw_of_address, shown_address};
use milescale_workspace::Workspace;
use milescale_workspace::config_file;
use milescale_workspace::durable;
use milescale_workspace::read::read_regular;
use milescale_workspace::readers::Readers;
use milescale_workspace::ways::leads_elsewhere;

use crate::note::Note;

/// The configuration as `init` writes it.
pub const DEFAULT_TEXT: &str = include_str!("../../../config/storage-config.yaml");

/// An edit is taken over once two looks this far apart agree, so that no half-written file is.
const SETTLES_AFTER: Duration = Duration::from_millis(150);

/// What the environment says; it wins over the file.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `DATABASE_TYPE`.
    pub database_type: Option<String>,
    /// `DATABASE_URL`.
    pub database_url: Option<String>,
    /// What it says to every client of PostgreSQL.
    pub client: ClientEnvironment,
}

/// Where the configuration in force comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `storage-config.yaml` as it is.
    File,
    /// There is no file.
    Defaults,
    /// An earlier `storage-config.yaml`, for the one that is there is not valid.
    LastGood,
    /// The file is not valid, and no earlier one is known.
    DefaultsForBadFile,
}

/// The configuration in force, and how it came to be.
#[derive(Debug)]
pub struct ConfigKeeper {
    workspace: Workspace,
    environment: Environment,
    in_force: Interpreted,
    origin: Origin,
    /// The file behind `in_force`; `None` where there is none.
    file: Option<File>,
    /// What is wrong with the file as it is.
    problems: Vec<Problem>,
    /// A text that was seen once and differs from what was last judged.
    unsettled: Option<Seen>,
    judged: Option<Seen>,
}

/// What a look found: a file, none, or something that cannot be read.
type Seen = Result<Option<File>, Problem>;

/// A configuration's file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    text: Vec<u8>,
    /// Who may read it.
    readers: Readers,
    /// Others are let into the workspace who are none of them.
    is_private: bool,
}

impl File {
    fn of(workspace: &Workspace) -> Seen {
        let place = workspace.config_file();
        let Some((text, metadata)) = config_file::text_and_file(&place)? else { return Ok(None) };
        let readers = Readers::of(&metadata);
        let is_private = readers.leave_out_some(&place);
        let readers = readers.as_placed(&place);
        // What is copied to behind a symlink is not kept by the folders above the workspace.
        let is_elsewhere = leads_elsewhere(&workspace.last_good_config());
        let readers = if is_elsewhere { readers.below_all_of(&place.parent()) } else { readers };
        Ok(Some(Self { text, readers, is_private }))
    }

    /// What may be said of a problem in it where all can read that.
    fn for_all(&self, problem: Problem) -> Problem {
        if !self.is_private {
            return problem;
        }
        let key = problem.key.filter(|key| KEYS.iter().any(|known| known.path == key));
        Problem { key, message: NOT_FOR_ALL.to_owned(), ..problem }
    }
}

/// What is said of a problem in a file that is not for all.
const NOT_FOR_ALL: &str =
    "what is wrong is not said here, for not all who read this may read the file: `milescale config check` shows it";

impl ConfigKeeper {
    /// Reads the configuration. With one that is not valid, the last good one or the defaults, without `auto_migrate`.
    pub fn start(workspace: Workspace, environment: Environment) -> Self {
        let seen = File::of(&workspace);
        let mut keeper = Self {
            workspace,
            environment,
            in_force: defaults(),
            origin: Origin::Defaults,
            file: None,
            problems: Vec::new(),
            unsettled: None,
            judged: Some(seen.clone()),
        };
        match keeper.read(&seen) {
            Ok(interpreted) => keeper.take_over(interpreted, seen.unwrap_or_default()),
            Err(problems) => {
                keeper.problems = problems;
                let last_good = read_regular(&keeper.workspace.last_good_config(), 1 << 20)
                    .ok()
                    .and_then(|(text, _)| config_file::parse(&text).ok());
                (keeper.in_force, keeper.origin) = match last_good {
                    Some(interpreted) => (interpreted, Origin::LastGood),
                    None => (defaults(), Origin::DefaultsForBadFile),
                };
                keeper.in_force.config.migration.auto_migrate = false;
                keeper.apply_environment();
            }
        }
        keeper
    }

    /// Looks at the file. What changed is noted; also when to look again.
    pub(crate) fn look(&mut self, notes: &mut Vec<Note>) -> Option<Duration> {
        let seen = File::of(&self.workspace);
        if self.judged.as_ref() == Some(&seen) {
            self.unsettled = None;
            return None;
        }
        if self.unsettled.as_ref() != Some(&seen) {
            self.unsettled = Some(seen);
            return Some(SETTLES_AFTER);
        }
        self.unsettled = None;
        self.judged = Some(seen.clone());
        match self.read(&seen) {
            Ok(interpreted) => {
                let seen = seen.unwrap_or_default();
                let was_in_force = self.problems.is_empty();
                let has_its_text = matches!((&self.file, &seen), (Some(was), Some(is)) if was.text == is.text);
                let before = self.in_force.config.clone();
                self.take_over(interpreted, seen);
                // Others may read it now, or no more.
                if was_in_force && has_its_text {
                    return None;
                }
                let changed = KEYS
                    .iter()
                    .filter(|key| (key.get)(&before) != (key.get)(&self.in_force.config))
                    .map(|key| key.path)
                    .collect();
                let from_defaults = self.origin == Origin::Defaults;
                notes.push(Note::ConfigReloaded { file: self.shown(), changed, from_defaults });
            }
            Err(problems) => {
                self.problems.clone_from(&problems);
                notes.push(Note::ConfigRejected { file: self.shown(), problems });
            }
        }
        None
    }

    /// Reads the file again at once, for milescale itself has just replaced it whole.
    pub(crate) fn read_again(&mut self, notes: &mut Vec<Note>) {
        self.unsettled = Some(File::of(&self.workspace));
        self.look(notes);
    }

    fn read(&self, seen: &Seen) -> Result<Interpreted, Vec<Problem>> {
        let mut interpreted = match seen {
            Err(problem) => return Err(vec![problem.clone()]),
            Ok(None) => defaults(),
            Ok(Some(file)) => {
                let all = |problems: Vec<Problem>| problems.into_iter().map(|it| file.for_all(it)).collect();
                let read = configured::read(&file.text, &self.environment.client).map_err(all)?;
                Interpreted { warnings: all(read.warnings), ..read }
            }
        };
        if let Some(Err(error)) = self.environment.database_type.as_deref().map(str::parse::<Engine>) {
            let message = format!("{error}; the environment's value is not used");
            interpreted.warnings.push(Problem { position: None, key: Some("DATABASE_TYPE".to_owned()), message });
        }
        let url = self.environment.database_url.as_deref().filter(|url| !url.is_empty());
        if let Some(message) = url.and_then(|url| flaw_of_address(url, &self.environment.client)) {
            interpreted.warnings.push(Problem { position: None, key: Some("DATABASE_URL".to_owned()), message });
        }
        Ok(interpreted)
    }

    fn take_over(&mut self, interpreted: Interpreted, file: Option<File>) {
        self.origin = if file.is_some() { Origin::File } else { Origin::Defaults };
        (self.in_force, self.file, self.problems) = (interpreted, file, Vec::new());
        self.apply_environment();
    }

    fn apply_environment(&mut self) {
        let database = &mut self.in_force.config.database;
        if let Some(Ok(engine)) = self.environment.database_type.as_deref().map(str::parse) {
            database.engine = engine;
        }
        // An old store on a server is known from the environment too, whatever the engine is by now.
        if (database.engine == Engine::Postgresql || database.url.is_empty())
            && let Some(url) = &self.environment.database_url
        {
            database.url.clone_from(url);
            database.url_from = UrlFrom::Environment;
        }
        database.client.clone_from(&self.environment.client);
    }

    /// Keeps a copy of a valid file for a start with a bad one.
    pub(crate) fn keep_last_good(&self) -> std::io::Result<()> {
        let Some(File { text, readers, .. }) = &self.file else { return Ok(()) };
        let path = self.workspace.last_good_config();
        match read_regular(&path, 1 << 20) {
            Ok((kept, metadata)) if kept == *text && !readers.are_exceeded_by(&metadata) => Ok(()),
            _ => durable::replace_for(&path, *readers, text),
        }
    }

    /// That the environment alone names another store than the one in use, where that is so, and what to do about it.
    pub(crate) fn contradicted(&self, in_use: InUse) -> Option<String> {
        let word = self.environment.database_type.as_deref()?;
        let engine = word.parse::<Engine>().ok()?;
        in_use.engine.is_some_and(|in_use| in_use != engine).then(|| {
            format!(
                "DATABASE_TYPE in this environment says {word}, and {in_use} is in use: unset it, or set it as the programs \
                 have it that write here"
            )
        })
    }

    /// What the environment says.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.in_force.config
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        if self.problems.is_empty() || self.origin == Origin::DefaultsForBadFile {
            self.origin
        } else {
            Origin::LastGood
        }
    }

    /// What is wrong with the file as it is; empty when it is in force.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is wrong, as one text, so that the same is said only once; `None` when nothing is.
    pub(crate) fn wrong(&self) -> Option<String> {
        (!self.problems.is_empty()).then(|| self.problems.iter().map(|it| format!("{it}\n")).collect())
    }

    /// Unknown keys.
    pub fn warnings(&self) -> &[Problem] {
        &self.in_force.warnings
    }

    /// The file's path, as people read it.
    pub fn shown(&self) -> String {
        self.workspace.shown(&self.workspace.config_file())
    }

    /// Every key with its value in force and where that comes from. Secrets are masked.
    pub fn values(&self) -> Vec<(&'static str, Value, &'static str)> {
        let config = &self.in_force.config;
        let from_environment = |path: &str| match path {
            "storage.database.type" => {
                self.environment.database_type.as_deref().is_some_and(|word| word.parse::<Engine>().is_ok())
            }
            "storage.database.url" => {
                config.database.engine == Engine::Postgresql && self.environment.database_url.is_some()
            }
            _ => false,
        };
        KEYS.iter()
            .map(|key| {
                let value = match (key.get)(config) {
                    Value::Text(url) if key.path == "storage.database.url" && !url.is_empty() => {
                        Value::Text(shown_address(&config.database))
                    }
                    // An address may stand there by mistake.
                    Value::Text(text) if key.path == "storage.database.schema" => Value::Text(glimpse(&text)),
                    value => value,
                };
                let origin = if from_environment(key.path) {
                    "environment"
                } else if self.in_force.set.contains(&key.path) {
                    if self.problems.is_empty() { "file" } else { "last good file" }
                } else {
                    "default"
                };
                (key.path, value, origin)
            })
            .collect()
    }
}

fn defaults() -> Interpreted {
    Interpreted { config: Config::default(), set: Vec::new(), warnings: Vec::new(), places: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::DEFAULT_TEXT;
    use milescale_core::config::{Config, KEYS};
    use milescale_workspace::config_file;

    #[test]
    fn the_file_of_init_sets_every_key_to_its_default() {
        let interpreted = config_file::parse(DEFAULT_TEXT.as_bytes()).unwrap();
        assert_eq!((interpreted.config, interpreted.warnings), (Config::default(), vec![]));
        assert_eq!(interpreted.set.len(), KEYS.len());
    }
}
