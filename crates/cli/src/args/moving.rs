//! The arguments of `migrate` and of the commands around it.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use milescale_core::backend::{Backend, Engine};
use milescale_core::base::Side;

use super::JsonOptions;

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(crate) struct MigrateOptions {
    /// The backend: file, hybrid or database.
    pub(crate) backend: Backend,
    /// The engine of the database: sqlite or postgresql [default: `storage.database.type`].
    #[arg(long)]
    pub(crate) engine: Option<Engine>,
    /// Only say what would happen, and every reason why it could not.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take over a target that another program has filled: what is equal stays, what is missing is inserted, and where they
    /// differ the target's content stays and the source's is kept as a conflict. With --dry-run, only count each.
    #[arg(long)]
    pub(crate) adopt: bool,
    /// With --adopt: where they differ, the source's content is taken and the target's is kept as a conflict.
    #[arg(long, requires = "adopt")]
    pub(crate) source_wins: bool,
    /// Against a pin in the configuration.
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) consent: ConsentOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ConsentOptions {
    /// Do not ask; required without a terminal.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreOptions {
    /// The `BACKUP_ID`, as `backups list` gives it.
    pub(crate) backup: String,
    #[command(flatten)]
    pub(crate) consent: ConsentOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupsCommand {
    /// The backups, a line each, oldest first.
    #[command(after_help = "Example:\n  milescale backups list --json")]
    List(JsonOptions),
    /// What a backup is, and whether it still is what was written.
    #[command(after_help = "Example:\n  milescale backups show migration-20261124-093000-file-to-sqlite")]
    Show {
        /// The `BACKUP_ID`.
        backup: String,
        #[command(flatten)]
        output: JsonOptions,
    },
    /// Remove backups older than 30 days; never the last three, nor one that a conflict refers to.
    #[command(after_help = "Example:\n  milescale backups prune")]
    Prune(ConsentOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConflictsCommand {
    /// The conflicts, a line each, oldest first.
    #[command(after_help = "Example:\n  milescale conflicts list --json")]
    List(JsonOptions),
    /// The content that is kept, to standard output.
    #[command(after_help = "Example:\n  diff <(milescale conflicts show NAME) <(milescale milestone show ID)")]
    Show {
        /// The name, as `conflicts list` gives it.
        name: String,
    },
    /// Decide it: keep what is current, or take what was kept.
    #[command(
        after_help = "Examples:\n  milescale conflicts resolve NAME --keep-current\n  milescale conflicts resolve NAME --take-kept"
    )]
    Resolve(ResolveOptions),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("choice").args(["keep_current", "take_kept"]).required(true)))]
pub(crate) struct ResolveOptions {
    /// The name, as `conflicts list` gives it.
    pub(crate) name: String,
    /// What is current stays.
    #[arg(long)]
    pub(crate) keep_current: bool,
    /// What was kept becomes current.
    #[arg(long)]
    pub(crate) take_kept: bool,
    #[command(flatten)]
    pub(crate) output: JsonOptions,
}

#[derive(Debug, Args)]
pub(crate) struct RetireOptions {
    /// The old store.
    pub(crate) side: OldStore,
    /// It is gone for good, as a server that nobody starts again: nothing is brought over any more.
    #[arg(long)]
    pub(crate) gone: bool,
    #[command(flatten)]
    pub(crate) consent: ConsentOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OldStore {
    /// Milestone files.
    Files,
    /// Documents in SQLite.
    Sqlite,
    /// Documents in PostgreSQL.
    Postgresql,
}

impl OldStore {
    pub(crate) fn side(self) -> Side {
        match self {
            Self::Files => Side::Files,
            Self::Sqlite => Side::Sqlite,
            Self::Postgresql => Side::Postgresql,
        }
    }
}
