//! `milescale conflicts`: contents that are in conflict with what is current.

use std::process::ExitCode;

use milescale_daemon::Access;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Draft;
use milescale_document::text::as_told;
use milescale_storage::archive::Archive;
use milescale_workspace::Workspace;
use milescale_workspace::conflicts::{self, Conflict};
use milescale_workspace::lock;
use milescale_workspace::record::Record;
use milescale_workspace::switch;
use serde_json::json;

use crate::args::{ConflictsCommand, JsonOptions, ResolveOptions};
use crate::context::{Context, Failure};
use crate::terminal;

/// How long a switch is waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Where a content is kept that is taken off the list.
const DISPLACED: &str = ".milescale/displaced for 30 days";

pub(crate) fn run(
    context: &Context,
    command: Option<&ConflictsCommand>,
    options: &JsonOptions,
) -> Result<ExitCode, Failure> {
    let workspace = context.workspace()?;
    match command {
        None => list(&workspace, options.json),
        Some(ConflictsCommand::List(options)) => list(&workspace, options.json),
        Some(ConflictsCommand::Show { name }) => {
            let text = conflicts::text(&workspace, name).map_err(|error| failed(name, &error))?;
            terminal::document(&text);
            Ok(ExitCode::SUCCESS)
        }
        Some(ConflictsCommand::Resolve(options)) => resolve(&workspace, options),
    }
}

fn failed(name: &str, error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::NotFound {
        return none(name);
    }
    Failure::Failed(format!("{name}: {error}; `milescale conflicts list` names them"))
}

fn none(name: &str) -> Failure {
    Failure::Failed(format!("{name}: there is no such conflict; `milescale conflicts list` names them"))
}

fn all(workspace: &Workspace) -> Result<Vec<Conflict>, Failure> {
    let shown = workspace.shown(&workspace.conflicts());
    conflicts::list(workspace).map_err(|error| Failure::Failed(format!("{shown}: {error}")))
}

fn list(workspace: &Workspace, json: bool) -> Result<ExitCode, Failure> {
    let found = all(workspace)?;
    if json {
        terminal::json(&found);
        return Ok(ExitCode::SUCCESS);
    }
    for it in &found {
        terminal::line(&as_told(&format!("{}  {}  {}: {}", it.name, it.at, it.id, it.reason)));
    }
    if found.is_empty() {
        terminal::line("no conflicts");
    }
    Ok(ExitCode::SUCCESS)
}

fn resolve(workspace: &Workspace, options: &ResolveOptions) -> Result<ExitCode, Failure> {
    let name = &options.name;
    // Two who decide the same one at once: the second finds it decided.
    let _alone = alone(workspace)?;
    let conflict = named(workspace, name)?;
    is_to_stay(workspace, &conflict)?;
    let text = conflicts::text(workspace, name).map_err(|error| failed(name, &error));
    let (what, other, seen) = if options.take_kept {
        let text = text?;
        let seen = Digest::of(&text);
        ("what was kept is current now", take(workspace, &conflict, text)?, Some(seen))
    } else if let Some(displaced) = text.ok().and_then(|text| where_current(workspace, &conflict, &text)) {
        // Perhaps a `--take-kept` was interrupted: then the other content is the one that this has replaced.
        ("what was kept is current", Some(format!("{displaced} for 30 days, if there was one")), None)
    } else {
        ("what is current stays", Some(DISPLACED.to_owned()), None)
    };
    conflicts::settle(workspace, name, seen, Context::now()).map_err(|error| {
        if !options.take_kept {
            let step = "where it is private, let its owner do that, or run this as that user";
            return Failure::Failed(format!("{name}: it cannot be taken off the list, and nothing was changed: {error}; {step}"));
        }
        let place = other.as_deref().map(|place| format!(" (the other content is kept in {place})")).unwrap_or_default();
        Failure::Failed(format!(
            "{name}: {what}{place}, and it cannot be taken off the list: {error}; look whether `milescale conflicts list` names it, and then \
             resolve it with --keep-current"
        ))
    })?;
    if options.output.json {
        terminal::json(&json!({ "name": name, "id": conflict.id, "taken": options.take_kept, "other_content": other }));
    } else {
        let other = other.map_or_else(
            || "there was no other content".to_owned(),
            |place| format!("the other content is kept in {place}"),
        );
        terminal::line(&format!("{}: {what}; {other}", conflict.id));
    }
    Ok(ExitCode::SUCCESS)
}

/// The lock of those who decide conflicts.
fn alone(workspace: &Workspace) -> Result<lock::Held, Failure> {
    let path = workspace.resolving_lock();
    let locked = lock::wait_for(&path, lock::Share::Alone, PATIENCE, workspace.stop());
    let locked = locked.map_err(|error| Failure::Failed(format!("{}: {error}", workspace.shown(&path))))?;
    let busy = "another `milescale conflicts resolve` is at work; try again once it has ended";
    locked.ok_or_else(|| Failure::Failed(busy.to_owned()))
}

/// Refuses what a move has kept that is not over: its undo goes by what is listed.
fn is_to_stay(workspace: &Workspace, conflict: &Conflict) -> Result<(), Failure> {
    let shown = workspace.shown(&workspace.record());
    let record = Record::load(workspace).map_err(|error| Failure::Failed(format!("{shown}: {error}")))?;
    if record.intent.is_some_and(|intent| intent.gives_back(conflict)) {
        let why = "the move that has kept it is not over, and gives it back where it fails; nothing was changed. Try again once it \
                   has ended: `milescale check` finishes or undoes one that was interrupted";
        return Err(Failure::Failed(format!("{}: {why}", conflict.name)));
    }
    Ok(())
}

/// Where the store in use keeps what it replaces, if a content that is kept is what is current there.
fn where_current(workspace: &Workspace, conflict: &Conflict, text: &[u8]) -> Option<String> {
    let id: Id = conflict.id.parse().ok()?;
    // Where the store cannot be read, the decision stands all the same.
    let mut access = Access::open_at_once(workspace, Context::environment()).ok()?;
    let found = Archive::new(workspace).find(&mut *access.store, &id).ok()?;
    (found.milestone()?.text == text).then(|| access.store.displaced())
}

/// The conflict of a name.
fn named(workspace: &Workspace, name: &str) -> Result<Conflict, Failure> {
    let shown = workspace.shown(&workspace.conflicts());
    let names = conflicts::names(workspace).map_err(|error| Failure::Failed(format!("{shown}: {error}")))?;
    if names.iter().any(|it| it == name) { Ok(conflicts::one(workspace, name.to_owned())) } else { Err(none(name)) }
}

/// Makes what was kept current, in place of what is current now. Where that is kept, where there is something.
fn take(workspace: &Workspace, conflict: &Conflict, text: Vec<u8>) -> Result<Option<String>, Failure> {
    let id: Id = conflict.id.parse().map_err(|bad| Failure::Failed(format!("{bad}")))?;
    let draft = Draft::new(id.clone(), text, Context::now()).map_err(|flaw| {
        Failure::Failed(format!("{}: {flaw}; mend it and use `milescale milestone put`", conflict.name))
    })?;
    let _turn = switch::share(workspace, PATIENCE)?;
    let mut access = Access::open(workspace, Context::environment()).map_err(Failure::Failed)?;
    if let Some(why) = access.only_read {
        return Err(Failure::Failed(format!("nothing was written: {why}")));
    }
    if access.is_moving {
        switch::note_dirty(workspace, &id).map_err(|error| failed(".milescale/dirty.jsonl", &error))?;
    }
    // What was kept from others stays so.
    let readers = conflicts::readers(workspace, &conflict.name).map_err(|error| failed(&conflict.name, &error))?;
    access.store.make_for(readers)?;
    let mut archive = Archive::new(workspace);
    archive.make_for(readers);
    // Where nobody noted what lay in the archive, it stays there, unless it is what was current.
    let noted = conflict.others.clone();
    let others = noted.or_else(|| archive.others(&id, &|it| Some(it.digest()) == conflict.current));
    Ok(archive.replace(&mut *access.store, &draft, &others.unwrap_or_default())?)
}
