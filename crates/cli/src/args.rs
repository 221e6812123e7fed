//! The arguments: every verb, its options, and the help that people read.

mod milestone;
mod moving;

pub(crate) use milestone::{
    ArchiveOptions, ExportOptions, ListOptions, MilestoneCommand, PutOptions, SearchOptions, ShowOptions,
    UnarchiveOptions,
};

pub(crate) use moving::{
    BackupsCommand, ConflictsCommand, ConsentOptions, MigrateOptions, ResolveOptions, RestoreOptions, RetireOptions,
};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Watches a workspace of milestones, decides which storage backend fits, and says so.
#[derive(Debug, Parser)]
#[command(
    name = "milescale",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  milescale init                      make a workspace of this folder\n  milescale run                       watch it until stopped\n  milescale status                    what is decided, and why\n  milescale events --follow           tail what milescale says\n\nExit status: 0 done, 1 failed, 2 wrong usage or configuration."
)]
pub(crate) struct Arguments {
    /// The folder that holds .milestones/ [default: the nearest one from here upwards].
    #[arg(long, short = 'w', global = true, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch the workspace until stopped: the service.
    #[command(
        after_help = "Examples:\n  milescale run\n  milescale run --interval 60\n  milescale --workspace /srv/plans run --log-format json\n\nSIGTERM or SIGINT stops it in order, a second one at once; SIGHUP makes it read everything again."
    )]
    Run(RunOptions),
    /// Make a workspace of the current folder (or of --workspace).
    #[command(
        after_help = "Makes the folders of .milestones/, a commented config/storage-config.yaml and the marker where none is, and the\nfirst lines of the logs. What is there is never overwritten; repeating it changes nothing.\n\nExample:\n  cd ~/plans && milescale init"
    )]
    Init(JsonOptions),
    /// One cycle, for cron; refuses beside a running daemon.
    #[command(after_help = "Example (crontab):\n  */5 * * * * milescale --workspace /srv/plans check >/dev/null")]
    Check(JsonOptions),
    /// The figures, the decision with its reasons, and what is wrong.
    #[command(
        after_help = "Examples:\n  milescale status\n  milescale status --json | jq .migration_confidence\n  milescale status --exit-code || echo 'look at it'\n\nWith --exit-code: 0 optimal, 10 monitoring, 11 recommended, 12 unavailable."
    )]
    Status(StatusOptions),
    /// The figures at a glance.
    #[command(after_help = "Example:\n  watch -n 10 milescale dashboard")]
    Dashboard(JsonOptions),
    /// What milescale has said: logs/scale-events.jsonl.
    #[command(
        after_help = "Examples:\n  milescale events --since 2h\n  milescale events --event migration_recommended --since 30d\n  milescale events --follow --json | jq .details"
    )]
    Events(EventsOptions),
    /// Everything that could be wrong here, what it means, what to do.
    #[command(
        after_help = "Examples:\n  milescale doctor\n  milescale doctor --fix            asks before it changes anything\n  milescale doctor --fix identity   after a copy, a restore, or a server that went back\n\nExit status 1 where something is wrong; what is only worth knowing leaves it at 0."
    )]
    Doctor(DoctorOptions),
    /// Move the milestones to another backend: online, compared, reversible.
    #[command(
        after_help = "Examples:\n  milescale migrate hybrid --dry-run       what would happen, and every reason why it could not\n  milescale migrate database\n  milescale migrate database --engine postgresql --yes\n\nOther programs go on writing meanwhile; nothing is lost. `milescale rollback` moves back with all that was written since."
    )]
    Migrate(MigrateOptions),
    /// Move back to where the last migration came from, with everything written since.
    #[command(after_help = "Example:\n  milescale rollback")]
    Rollback(ConsentOptions),
    /// Backups: list, show, prune.
    Backups {
        #[command(subcommand)]
        command: BackupsCommand,
    },
    /// Make the milestones what a backup says; what that displaces is kept.
    #[command(
        after_help = "Example:\n  milescale backups list\n  milescale restore migration-20261124-093000-file-to-sqlite"
    )]
    Restore(RestoreOptions),
    /// Contents that are in conflict with what is current: list, show, resolve.
    #[command(args_conflicts_with_subcommands = true)]
    Conflicts {
        #[command(subcommand)]
        command: Option<ConflictsCommand>,
        #[command(flatten)]
        options: JsonOptions,
    },
    /// Bring over the changes of old stores that wait for a person.
    #[command(
        after_help = "After a move to a database, more than 5 milestone files that change within 30 s of each other (a pull, a branch) are held. So is what appears in a retired store.\n\nExample:\n  milescale status && milescale import"
    )]
    Import(JsonOptions),
    /// Retire an old store: it refuses writes and is not swept any more; nothing of it is dropped.
    #[command(after_help = "Example:\n  milescale retire files")]
    Retire(RetireOptions),
    /// Migrate nothing automatically until `resume`; watching and recommending go on.
    #[command(after_help = "Example:\n  milescale pause")]
    Pause,
    /// Let automatic migrations go on.
    #[command(after_help = "Example:\n  milescale resume")]
    Resume,
    /// Milestones, on whatever backend is in use: list, show, put, archive, unarchive, search, export.
    Milestone {
        #[command(subcommand)]
        command: MilestoneCommand,
    },
    /// The configuration: check it, show it, its JSON Schema.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Trust a workspace of somebody else, a symlink in it, or a server that it names.
    #[command(
        after_help = "A workspace travels: it is cloned, shared, mounted. So milescale enters one that is not yours, follows a symlink in it\nand connects to a server on another machine only once you have said so on this machine.\n\nExamples:\n  milescale trust /srv/plans\n  milescale trust --link config/storage-config.yaml\n  milescale trust --server postgresql://ada@db.example.org/plans\n  milescale trust --list\n\nIt is written down in milescale/trust in your folder of configuration. /etc/milescale/trust, the file trust in\n$CONFIGURATION_DIRECTORY, and the file that MILESCALE_TRUST names count as well."
    )]
    Trust(TrustOptions),
    /// Completions for a shell, to standard output.
    #[command(
        after_help = "Example:\n  milescale completions bash > ~/.local/share/bash-completion/completions/milescale"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// The manual page, to standard output.
    #[command(after_help = "Examples:\n  milescale man | man -l -\n  milescale man --dir /usr/local/share/man/man1")]
    Man(ManOptions),
}

#[derive(Debug, Args)]
pub(crate) struct TrustOptions {
    /// The folder that holds .milestones/ [default: the nearest one from here upwards].
    pub(crate) dir: Option<PathBuf>,
    /// A symlink in .milestones/, by its path there; .milestones for that folder itself.
    #[arg(long, value_name = "NAME")]
    pub(crate) link: Vec<String>,
    /// A server on another machine; no password is asked for or kept.
    #[arg(long, value_name = "URL")]
    pub(crate) server: Vec<String>,
    /// Show what is trusted.
    #[arg(long, conflicts_with_all = ["link", "server", "remove"])]
    pub(crate) list: bool,
    /// Trust it no longer; without --link or --server nothing of the workspace.
    #[arg(long)]
    pub(crate) remove: bool,
    /// With --list: as JSON.
    #[arg(long, requires = "list")]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration, with line and column of all that is wrong; exit status 2 where something is.
    #[command(after_help = "Examples:\n  milescale config check\n  milescale config check draft.yaml")]
    Check(CheckOptions),
    /// What is in force, and where each value comes from.
    #[command(after_help = "Example:\n  milescale config show --json")]
    Show(JsonOptions),
    /// The JSON Schema of the configuration, so that editors complete the file.
    #[command(after_help = "Example:\n  milescale config schema > storage-config.schema.json")]
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct JsonOptions {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Seconds between two cycles, perhaps with a fraction [default: storage.monitoring.interval].
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) interval: Option<std::time::Duration>,
    /// How the log on standard error looks.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// What goes into the log: error, warn, info, debug or trace.
    #[arg(long, default_value = "info", value_name = "LEVEL", env = "MILESCALE_LOG")]
    pub(crate) log_level: tracing::Level,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people; under systemd as the journal likes them.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Answer with the verdict: 0 optimal, 10 monitoring, 11 recommended, 12 unavailable.
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Do what doctor can do by itself, and look again. With `identity`: ask whether a workspace that may be a copy goes on
    /// or is a separate one.
    #[arg(long, value_name = "WHAT", num_args = 0..=1)]
    #[allow(clippy::option_option, reason = "absent, alone, and with a word are three things")]
    pub(crate) fix: Option<Option<Fix>>,
    /// Answer yes to what --fix asks; required without a terminal.
    #[arg(long, requires = "fix")]
    pub(crate) yes: bool,
}

/// What `doctor --fix` is to fix, and only at a person's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fix {
    /// Which workspace this is; always asked on a terminal.
    Identity,
}

#[derive(Debug, Args)]
pub(crate) struct EventsOptions {
    /// Go on with what is said from now on.
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only events of this long: 90s, 30m, 2h, 7d [default: the last 20 events].
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub(crate) since: Option<std::time::Duration>,
    /// Only this event; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) event: Vec<String>,
    /// Print the lines as they are.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// The file [default: the workspace's config/storage-config.yaml].
    pub(crate) file: Option<PathBuf>,
    /// Fail on warnings too, such as unknown keys.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ManOptions {
    /// Write a page for milescale and one for each of its commands into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number of seconds, such as 60 or 0.5".to_owned())?;
    if !(0.01..=86_400.0).contains(&number) {
        return Err("expected 0.01 to 86400 seconds".to_owned());
    }
    Ok(std::time::Duration::from_secs_f64(number))
}

fn span(text: &str) -> Result<std::time::Duration, String> {
    let expected = || "expected a number with s, m, h or d behind it, such as 2h".to_owned();
    let (number, factor) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number
        .checked_mul(factor)
        .filter(|seconds| *seconds <= 100 * 366 * 86_400)
        .map(std::time::Duration::from_secs)
        .ok_or_else(|| "expected at most a hundred years".to_owned())
}
