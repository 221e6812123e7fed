//! `milescale completions` and `milescale man`, both made from the arguments themselves.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;
use milescale_workspace::Place;
use milescale_workspace::durable;
use milescale_workspace::folder::Folder;

use crate::args::{Arguments, ManOptions};
use crate::context::Failure;
use crate::terminal;

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "milescale", &mut text);
    terminal::bytes(&text);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn man(options: &ManOptions) -> Result<ExitCode, Failure> {
    let mut command = Arguments::command();
    command.build();
    match &options.dir {
        None => terminal::bytes(page(command)?.as_bytes()),
        Some(folder) => write_pages(&command, "milescale", &Folder::named(folder).place())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write_pages(command: &clap::Command, name: &str, folder: &Place) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    let text = page(command.clone().display_name(name.to_owned()))?;
    durable::replace(&path, text.as_bytes())
        .map_err(|error| Failure::Failed(format!("{}: {error}", path.path().display())))?;
    for subcommand in command.get_subcommands().filter(|it| it.get_name() != "help") {
        write_pages(subcommand, &format!("{name}-{}", subcommand.get_name()), folder)?;
    }
    Ok(())
}

fn page(command: clap::Command) -> Result<String, Failure> {
    let mut text = Vec::new();
    Man::new(command).render(&mut text).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
