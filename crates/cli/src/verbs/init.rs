//! `milescale init`: makes what is missing, and never touches what is there.

use std::io;
use std::process::ExitCode;

use milescale_core::backend::Backend;
use milescale_daemon::config::DEFAULT_TEXT;
use milescale_daemon::{Engine, Mode, Mover, Patience, take_lock};
use milescale_workspace::durable;
use milescale_workspace::{Place, Workspace};
use serde_json::json;

use crate::args::JsonOptions;
use crate::context::{Context, Failure};
use crate::terminal;

pub(crate) fn run(context: &Context, options: &JsonOptions) -> Result<ExitCode, Failure> {
    let workspace = Context::trusting(&context.start()?);
    match workspace.look_again() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::Failed(error.to_string())),
        _ => {}
    }
    let say = |text: &str| {
        if !options.json {
            terminal::line(text);
        }
    };
    say("🔍 Initializing scale detection system...");
    let environment = Context::environment();
    let mover = Mover::new(workspace.clone(), environment.clone());
    // Where the marker of a workspace is lost, what has moved there goes on being it.
    let in_use = mover.in_use();
    if let Err(cause) = &in_use
        && workspace.own().exists()
        && !workspace.active().exists()
    {
        // It may be the store in use that is lost.
        return Err(Failure::Failed(format!("{cause}; nothing was made")));
    }
    let in_use = in_use.ok();
    if let Some(in_use) = in_use {
        // An empty folder in the place of one that was lost would be taken for it.
        mover.is_there(in_use).map_err(Failure::Failed)?;
    }
    let made = make(&workspace, in_use.map_or(Backend::File, |in_use| in_use.backend))?;
    let known = Engine::open(workspace.clone(), environment.clone(), Mode::ReadOnly, Patience::SayAtOnce);
    let first = !known.is_initialized();
    if first {
        let _lock = take_lock(&workspace)?;
        Engine::open(workspace.clone(), environment, Mode::Writing, Patience::SayAtOnce).initialize();
    }
    for path in &made {
        say(&format!("   made {path}"));
    }
    for problem in known.config().problems() {
        terminal::error(&format!("{}: {problem}", known.config().shown()));
    }
    if !first && made.is_empty() {
        say("   everything is there already; nothing was changed");
    }
    say("✅ Scale detection system initialized");
    if options.json {
        terminal::json(&json!({ "workspace": workspace.root(), "made": made, "initialized": first }));
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes folders, configuration, marker and `.gitignore` where they are missing. What was made, as people read it.
fn make(workspace: &Workspace, backend: Backend) -> Result<Vec<String>, Failure> {
    let mut made = Vec::new();
    let folders =
        [workspace.active(), workspace.completed(), workspace.config_folder(), workspace.logs(), workspace.own()];
    for path in folders {
        note(workspace, &path, durable::create_folder(&path), &mut made)?;
    }
    let marker = format!("{backend}\n");
    let files = [
        (workspace.own_gitignore(), milescale_workspace::layout::OWN_GITIGNORE),
        (workspace.config_file(), DEFAULT_TEXT),
        (workspace.marker(), &marker),
    ];
    for (path, text) in files {
        note(workspace, &path, durable::create(&path, text.as_bytes()), &mut made)?;
    }
    Ok(made)
}

fn note(workspace: &Workspace, path: &Place, result: io::Result<bool>, made: &mut Vec<String>) -> Result<(), Failure> {
    let shown = workspace.shown(path);
    match result {
        Ok(true) => made.push(shown),
        Ok(false) => {}
        Err(error) => return Err(Failure::Failed(format!("{shown} cannot be made: {error}"))),
    }
    Ok(())
}
