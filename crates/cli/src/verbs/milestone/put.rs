//! `milestone put`.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use milescale_document::digest::Digest;
use milescale_document::document::Flaw;
use milescale_document::id::Id;
use milescale_document::milestone::Draft;
use milescale_document::value::Value;
use milescale_document::yaml;
use milescale_storage::archive::{Found, only_archived};
use milescale_storage::store::Seen;
use milescale_workspace::Workspace;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::{Folder, read_named};
use milescale_workspace::locks;
use serde::Serialize;

use super::Desk;
use crate::args::PutOptions;
use crate::context::{Context, Failure};
use crate::terminal;

/// How long a lock of another program is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
struct Written {
    id: String,
    digest: Digest,
    archived: bool,
}

/// What became of a milestone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Written,
    Archived,
    Unarchived,
    WasInUse,
}

/// Reads what is to be written.
pub(super) fn draft(workspace: &Workspace, options: &PutOptions) -> Result<Draft, Failure> {
    let (name, text) = input(options.file.as_deref(), workspace.capability())?;
    let bad = |flaw| Failure::Failed(format!("{name}: {flaw}; nothing was written"));
    let text = as_yaml(text).map_err(bad)?;
    Draft::new(options.id.clone(), text, Context::now()).map_err(bad)
}

pub(super) fn put(desk: &mut Desk, options: &PutOptions, draft: &Draft) -> Result<(), Failure> {
    desk.writable()?;
    let _lock = lock(desk, &options.id)?;
    let (store, archive) = desk.writable_with_archive()?;
    if let Found::Row(there) | Found::File(there) = archive.find(store, &options.id)? {
        return Err(not_written(&only_archived(&options.id, &there)));
    }
    let seen = options.if_match.map_or(Seen::Nothing, Seen::Text);
    store.put(draft, seen).map_err(|error| not_written(&error))?;
    say(&options.id, Digest::of(&draft.text), Done::Written, options.output.json);
    Ok(())
}

pub(super) fn lock(desk: &Desk, id: &Id) -> Result<Option<locks::Lock>, Failure> {
    locks::take(&desk.workspace, id, Context::now(), PATIENCE).map_err(|held| Failure::Failed(held.to_string()))
}

/// A conflict leaves the caller's text with the caller, and says so.
pub(super) fn not_written(error: &StoreError) -> Failure {
    let nothing = if error.problem == Problem::Changed { "; nothing was written" } else { "" };
    Failure::Failed(format!("{error}{nothing}"))
}

pub(super) fn say(id: &Id, digest: Digest, done: Done, json: bool) {
    if json {
        terminal::json(&Written { id: id.to_string(), digest, archived: done == Done::Archived });
    } else {
        let done = match done {
            Done::Written => "written",
            Done::Archived => "archived",
            Done::Unarchived => "unarchived",
            Done::WasInUse => "is not archived, and stays as it is",
        };
        terminal::line(&format!("{id} {done}, digest {digest}"));
    }
}

/// The text, and what it is called in messages.
fn input(file: Option<&Path>, workspace: &Folder) -> Result<(String, Vec<u8>), Failure> {
    let failed = |name: &str, error: io::Error| Failure::Failed(format!("{name}: it cannot be read: {error}"));
    if let Some(file) = file.filter(|file| *file != Path::new("-")) {
        let name = file.display().to_string();
        let read = read_named(file, workspace, yaml::SIZE_LIMIT);
        if read.is_err() && ["/dev/fd", "/dev/stdin", "/proc"].iter().any(|system| file.starts_with(system)) {
            let why = "it is no regular file; to put what a program writes, write - for the file";
            return Err(Failure::Failed(format!("{name}: {why}")));
        }
        return read.map_err(|error| failed(&name, error)).map(|(text, _)| (name, text));
    }
    let mut text = Vec::new();
    let name = "standard input".to_owned();
    let read = io::stdin().lock().take(yaml::SIZE_LIMIT + 1).read_to_end(&mut text);
    // A longer one is refused by the reading of YAML, with its limit.
    read.map_err(|error| failed(&name, error)).map(|_| (name, text))
}

/// JSON becomes the YAML of its value; YAML stays as it is. What begins as an object of JSON and is none may be YAML.
fn as_yaml(text: Vec<u8>) -> Result<Vec<u8>, Flaw> {
    let json = std::str::from_utf8(&text).ok().filter(|text| text.trim_start().starts_with('{'));
    match json.map(Value::from_json) {
        Some(Ok(value @ Value::Mapping(_))) => Ok(yaml::write::write(&value).into_bytes()),
        // What only JSON's escapes can say is a flaw of JSON, whatever YAML makes of it.
        Some(Err(flaw)) if flaw.position.is_none() => Err(flaw),
        _ => Ok(text),
    }
}
