//! The command `milescale`: reads its arguments, calls one verb, prints, and answers with an exit status.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests look with their own eyes"))]

mod args;
mod context;
mod logging;
mod terminal;
mod trust;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command, ConfigCommand};
use context::{Context, Failure};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => std::process::exit(terminal::wrong_arguments(&error)),
    };
    milescale_daemon::outlive_limits();
    match dispatch(arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(arguments: Arguments) -> Result<ExitCode, Failure> {
    let context = Context::new(arguments.workspace);
    match arguments.command {
        Command::Run(options) => verbs::run::run(&context, &options),
        Command::Init(options) => verbs::init::run(&context, &options),
        Command::Check(options) => verbs::check::run(&context, &options),
        Command::Status(options) => verbs::status::run(&context, &options),
        Command::Dashboard(options) => verbs::dashboard::run(&context, &options),
        Command::Events(options) => verbs::events::run(&context, &options),
        Command::Doctor(options) => verbs::doctor::run(&context, &options),
        Command::Migrate(options) => verbs::migrate::migrate(&context, &options),
        Command::Rollback(options) => verbs::migrate::rollback(&context, &options),
        Command::Backups { command } => verbs::backups::run(&context, &command),
        Command::Restore(options) => verbs::backups::restore(&context, &options),
        Command::Conflicts { command, options } => verbs::conflicts::run(&context, command.as_ref(), &options),
        Command::Import(options) => verbs::old_stores::import(&context, &options),
        Command::Retire(options) => verbs::old_stores::retire(&context, &options),
        Command::Pause => verbs::old_stores::pause(&context),
        Command::Resume => verbs::old_stores::resume(&context),
        Command::Milestone { command } => verbs::milestone::run(&context, &command),
        Command::Config { command } => match command {
            ConfigCommand::Check(options) => verbs::config::check(&context, &options),
            ConfigCommand::Show(options) => verbs::config::show(&context, &options),
            ConfigCommand::Schema => verbs::config::schema(),
        },
        Command::Trust(options) => verbs::trust::run(&context, &options),
        Command::Completions { shell } => verbs::manual::completions(shell),
        Command::Man(options) => verbs::manual::man(&options),
    }
}
