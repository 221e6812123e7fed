//! `milestone export`.

use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};

use milescale_core::base::Side;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;
use milescale_document::text::harmless;
use milescale_document::value::Value;
use milescale_storage::archive::Archive;
use milescale_storage::files::{readers_of_a_server, readers_of_all};
use milescale_workspace::durable::{self, Outcome};
use milescale_workspace::folder::Folder;
use milescale_workspace::readers::Readers;
use milescale_workspace::trial::Hindrance;
use milescale_workspace::{Place, Workspace};
use serde::Serialize;

use super::Desk;
use crate::args::ExportOptions;
use crate::context::Failure;
use crate::terminal;

#[derive(Debug, Serialize)]
struct Exported {
    id: String,
    data: Value,
    created_at: Option<String>,
    updated_at: Option<String>,
    digest: String,
}

/// Where archived milestones go whose id was exported already.
const BESIDE: &str = "completed";

pub(super) fn run(desk: &mut Desk, options: &ExportOptions) -> Result<(), Failure> {
    let named = |folder: &PathBuf| {
        let opened = Place::of_folder_named(folder, desk.workspace.capability());
        opened.map_err(|error| failed(&Folder::named(folder).place(), &error))
    };
    let folder = options.dir.as_ref().map(named).transpose()?;
    let readers = if folder.is_some() { readers(desk)? } else { Readers::ALL };
    let (mut left_out, mut result, mut exported) = (0_u64, Ok(()), HashSet::new());
    let mut export = |milestone: Milestone, is_beside: bool| {
        let done = match &folder {
            Some(folder) => {
                let is_second = !exported.insert(milestone.id.clone());
                if is_beside && is_second {
                    write_at(&folder.join(BESIDE).join(in_archive(&desk.workspace, &milestone)), readers, &milestone)
                } else {
                    write(folder, readers, &milestone)
                }
            }
            None => print(milestone),
        };
        match done {
            Ok(Done::Exported) => ControlFlow::Continue(()),
            Ok(Done::LeftOut(why)) => {
                terminal::error(&why);
                left_out += 1;
                ControlFlow::Continue(())
            }
            Err(failure) => {
                result = Err(failure);
                ControlFlow::Break(())
            }
        }
    };
    let (mut is_stopped, mut rows) = (false, HashSet::new());
    desk.access.store.scan(&mut |milestone| {
        rows.insert(milestone.id.clone());
        let flow = export(milestone, false);
        is_stopped = flow.is_break();
        flow
    })?;
    if !is_stopped {
        let store = &mut *desk.access.store;
        desk.archive.scan(&mut |milestone| {
            let row = rows.contains(&milestone.id).then(|| Archive::row_of(store, &milestone)).flatten();
            // Only a text has comments.
            let is_exported = row.is_some_and(|row| options.dir.is_none() || !milestone.has_comments_beyond(&row.text));
            if is_exported { ControlFlow::Continue(()) } else { export(milestone, true) }
        })?;
    }
    result?;
    let hidden = desk.access.store.hidden()?;
    for Hindrance { place, reason, do_this } in &hidden {
        terminal::error(&format!("{place}: {reason}; {do_this}"));
    }
    if !hidden.is_empty() {
        return Err(Failure::Failed("what is named above was left out".to_owned()));
    }
    if left_out > 0 {
        return Err(Failure::Failed(format!("{left_out} milestones were left out; they are named above")));
    }
    Ok(())
}

/// A copy is for those who may read every milestone. The folders above the workspace keep nobody out of what lies elsewhere.
fn readers(desk: &Desk) -> Result<Readers, Failure> {
    let readers = match desk.access.in_use.side() {
        Side::Postgresql => readers_of_a_server(&desk.workspace),
        _ => readers_of_all(&desk.workspace)?,
    };
    Ok(readers.below_all_of(&desk.workspace.folder()))
}

enum Done {
    Exported,
    LeftOut(String),
}

fn print(milestone: Milestone) -> Result<Done, Failure> {
    let digest = milestone.digest().to_string();
    let Milestone { id, value, columns, updated_at, place, .. } = milestone;
    let data = match value {
        Ok(data) => data,
        Err(flaw) => return Ok(Done::LeftOut(format!("{place}: it has no value: {flaw}"))),
    };
    terminal::json_line(&Exported { id, data, created_at: columns.created_at, updated_at, digest });
    Ok(Done::Exported)
}

fn write(folder: &Place, readers: Readers, milestone: &Milestone) -> Result<Done, Failure> {
    let id: Id = match milestone.id.parse() {
        Ok(id) => id,
        Err(bad) => return Ok(Done::LeftOut(format!("{}: {bad}", milestone.place))),
    };
    write_at(&folder.join(format!("{id}.yaml")), readers, milestone)
}

/// Where in the archive a milestone lies, which nothing else does; only plain names of folders are taken over.
fn in_archive(workspace: &Workspace, milestone: &Milestone) -> PathBuf {
    let completed = format!("{}/", workspace.shown(&workspace.completed()));
    let inside = Path::new(milestone.place.strip_prefix(&completed).unwrap_or(&milestone.place));
    inside.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

fn write_at(path: &Place, readers: Readers, milestone: &Milestone) -> Result<Done, Failure> {
    // Of what cannot be read there is no text.
    if let (Err(flaw), true) = (&milestone.value, milestone.text.is_empty()) {
        return Ok(Done::LeftOut(format!("{}: it cannot be exported: {flaw}", milestone.place)));
    }
    let folder = path.parent();
    durable::create_folder(&folder).map_err(|error| failed(&folder, &error))?;
    match durable::create_for(path, readers, &milestone.text).and_then(Outcome::durably) {
        Ok(()) => Ok(Done::Exported),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let shown = harmless(&path.path().display().to_string());
            Err(Failure::Failed(format!(
                "{shown}: it is there already, and nothing is overwritten; use an empty folder"
            )))
        }
        Err(error) => Err(failed(path, &error)),
    }
}

fn failed(path: &Place, error: &io::Error) -> Failure {
    Failure::Failed(format!("{}: it cannot be written: {error}", harmless(&path.path().display().to_string())))
}
