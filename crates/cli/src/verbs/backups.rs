//! `milescale backups` and `milescale restore`.

use std::collections::HashSet;
use std::process::ExitCode;

use milescale_migration::{Restored, store_of};
use milescale_workspace::Workspace;
use milescale_workspace::backup::{self, KEPT_DAYS, Metadata};
use milescale_workspace::conflicts;
use milescale_workspace::keeping::Counted;
use milescale_workspace::restoring::Restoring;
use serde_json::json;

use super::migrate::{Bar, brought_along, mover_of_stores, recovered, stop_on_signal};
use super::some_of;
use crate::args::{BackupsCommand, ConsentOptions, RestoreOptions};
use crate::context::{Context, Failure};
use crate::terminal;

/// Backups that are never removed: the newest ones.
const ALWAYS_KEPT: usize = 3;

/// Ids that are named of those that a restore takes out.
const NAMED: usize = 20;

pub(crate) fn run(context: &Context, command: &BackupsCommand) -> Result<ExitCode, Failure> {
    let workspace = context.workspace()?;
    match command {
        BackupsCommand::List(options) => list(&workspace, options.json),
        BackupsCommand::Show { backup, output } => show(&workspace, backup, output.json),
        BackupsCommand::Prune(options) => prune(&workspace, options),
    }
}

/// A backup's name, and what it is or why that cannot be read.
type Listed = (String, Result<Metadata, String>);

fn all(workspace: &Workspace) -> Result<Vec<Listed>, Failure> {
    backup::list(workspace)
        .map_err(|error| Failure::Failed(format!("{}: {error}", workspace.shown(&workspace.backups()))))
}

fn list(workspace: &Workspace, json: bool) -> Result<ExitCode, Failure> {
    let found = all(workspace)?;
    if json {
        let listed = found.iter().map(|(id, it)| match it {
            Ok(metadata) => json!(metadata),
            Err(error) => json!({ "id": id, "error": error }),
        });
        terminal::json(&listed.collect::<Vec<_>>());
    } else {
        for (id, it) in &found {
            match it {
                Ok(it) => terminal::line(&format!(
                    "{id}  {} milestones, {} KiB, kept until {}",
                    it.milestone_count,
                    it.size_bytes.div_ceil(1024),
                    it.keep_until
                )),
                Err(error) => terminal::line(&format!("{id}  {error}")),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(workspace: &Workspace, id: &str, json: bool) -> Result<ExitCode, Failure> {
    let metadata = backup::metadata(workspace, id).map_err(Failure::Failed)?;
    let verified = backup::verify(workspace, &metadata);
    if json {
        let mut object = json!(metadata);
        object["intact"] = json!(verified.is_ok());
        terminal::json(&object);
    } else {
        for (key, value) in json!(metadata).as_object().into_iter().flatten() {
            terminal::line(&format!("{key}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        }
        match &verified {
            Ok(()) => terminal::line("it is what was written"),
            Err(why) => terminal::line(&format!("it is not known to be what was written: {why}")),
        }
    }
    verified.map(|()| ExitCode::SUCCESS).map_err(Failure::Failed)
}

fn prune(workspace: &Workspace, options: &ConsentOptions) -> Result<ExitCode, Failure> {
    let unreadable = conflicts::unreadable(workspace).map_err(|error| Failure::Failed(error.to_string()))?;
    if let Some((name, error)) = unreadable {
        return Err(Failure::Failed(format!("{name}: {error}; it may refer to a backup, and nothing was removed")));
    }
    let conflicts = conflicts::list(workspace).map_err(|error| Failure::Failed(error.to_string()))?;
    let mut referred: HashSet<String> = conflicts.into_iter().filter_map(|conflict| conflict.backup).collect();
    let restoring = Restoring::load(workspace)
        .map_err(|error| Failure::Failed(format!("{}: {error}", workspace.shown(&workspace.restoring()))))?;
    referred.extend(restoring.iter().flat_map(Restoring::backups).cloned());
    let found = all(workspace)?;
    let old = found.len().saturating_sub(ALWAYS_KEPT);
    let now = Context::now();
    let counted = Counted::load(workspace).map_err(|error| Failure::Failed(error.to_string()))?;
    let past: Vec<Metadata> = found
        .into_iter()
        .take(old)
        .filter_map(|(id, it)| it.ok().filter(|_| !referred.contains(&id)))
        .filter(|it| it.is_past_its_date(now))
        .collect();
    let due: Vec<String> = past.iter().filter(|it| it.is_over(&counted, now)).map(|it| it.id.clone()).collect();
    let not_counted = past.len() - due.len();
    if not_counted > 0 {
        terminal::error(&format!(
            "{not_counted} backups are past their date by the clock and stay: milescale has not counted {KEPT_DAYS} days since it \
             first saw them. `milescale run` and `milescale check` count"
        ));
    }
    let question = format!("Remove {} backups ({})?", due.len(), due.join(", "));
    if !due.is_empty() && !options.yes && !terminal::asked(&question)? {
        return Err(Failure::Failed("nothing was removed".to_owned()));
    }
    for id in &due {
        backup::remove(workspace, id).map_err(Failure::Failed)?;
    }
    if options.json {
        terminal::json(&json!({ "removed": due }));
    } else {
        terminal::line(&format!("{} backups removed", due.len()));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn restore(context: &Context, options: &RestoreOptions) -> Result<ExitCode, Failure> {
    let mover = mover_of_stores(context, None, options.consent.yes)?;
    // What a dead move has left of a store that is gone is dealt with once a person has said yes.
    let is_gone = mover.gone().map_err(Failure::Failed)?.is_some();
    let mover = if is_gone { mover } else { recovered(&mover)?.0 };
    let metadata = backup::metadata(mover.workspace(), &options.backup).map_err(Failure::Failed)?;
    let in_use = store_of(&metadata.from).map_or_else(|| metadata.from.clone(), |into| into.to_string());
    let question = format!(
        "Make the milestones what they were at {} ({} milestones)? The store in use is then {in_use}. What is there now is \
         backed up first.",
        metadata.timestamp, metadata.milestone_count
    );
    let held = match store_of(&metadata.from) {
        Some(into) if mover.in_use().map_err(Failure::Failed)? != into => brought_along(&mover, into)?,
        _ => String::new(),
    };
    if !options.consent.yes && !terminal::asked(&format!("{held}{question}"))? {
        return Err(Failure::Failed("nothing was changed".to_owned()));
    }
    if options.consent.yes && !held.is_empty() {
        terminal::error(held.trim_end());
    }
    let stop = stop_on_signal(mover.workspace());
    let mut screen = Bar::new(options.consent.json);
    let restored = mover.restore(&metadata, &stop, &mut |told| screen.tell(&told));
    screen.end();
    let restored = restored.map_err(Failure::Failed)?;
    print_restored(&restored, options.consent.json);
    let is_whole = restored.failed.is_empty() && restored.left.is_empty();
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_restored(restored: &Restored, json: bool) {
    let named = |milestones: &[(String, String)]| {
        milestones.iter().map(|(id, why)| json!({ "id": id, "reason": why })).collect::<Vec<_>>()
    };
    if json {
        return terminal::json(&json!({
            "into": restored.into.to_string(), "written": restored.written,
            "taken_out": restored.taken_out.len(), "taken_out_ids": restored.taken_out, "archived_ids": restored.archived,
            "backup": restored.displaced, "interrupted": restored.interrupted,
            "failed": named(&restored.failed), "left": named(&restored.left), "for_fewer": restored.is_for_fewer,
        }));
    }
    for (id, why) in &restored.failed {
        terminal::error(&format!("{id} is not restored: {why}"));
    }
    for (id, why) in &restored.left {
        terminal::error(&format!("{id} stays, though the backup has none of it: {why}"));
    }
    let archived = match restored.archived.len() {
        0 => String::new(),
        count => format!(", {count} moved back to the archive ({})", some_of(&restored.archived, NAMED)),
    };
    let taken_out = match restored.taken_out.len() {
        0 => "0".to_owned(),
        count => format!("{count} ({})", some_of(&restored.taken_out, NAMED)),
    };
    terminal::line(&format!(
        "restored on {}, which is in use: {} milestones written, {taken_out} taken out{archived}; what was there: {}",
        restored.into, restored.written, restored.displaced
    ));
    if restored.is_for_fewer && restored.written > 0 {
        terminal::error(
            "what was written is for those who may read the backup, which is not for all: it holds private milestones. Give files that are \
             for all the right to be read again (chmod g+rw, o+r), and as root to whom they belonged (chown)",
        );
    }
    for backup in &restored.interrupted {
        terminal::line(&format!("what was there before the restore that was interrupted: {backup}"));
    }
}
