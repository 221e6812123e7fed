//! `milestone put` and `milestone archive`.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use milescale_core::digest::Digest;
use milescale_core::document::Flaw;
use milescale_core::id::Id;
use milescale_core::value::Value;
use milescale_storage::error::{Problem, StoreError};
use milescale_storage::locks;
use milescale_storage::read::{Symlinks, read_regular};
use milescale_storage::store::{Draft, Seen};
use milescale_storage::yaml;
use serde::Serialize;

use super::Desk;
use crate::args::{ArchiveOptions, PutOptions};
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

pub(super) fn put(desk: &mut Desk, options: &PutOptions) -> Result<(), Failure> {
    desk.writable()?;
    let (name, text) = input(options.file.as_deref())?;
    let text = as_yaml(text).map_err(|flaw| Failure::Failed(format!("{name}: {flaw}; nothing was written")))?;
    let draft = Draft::new(options.id.clone(), text, Context::now())
        .map_err(|flaw| Failure::Failed(format!("{name}: {flaw}; nothing was written")))?;
    let _lock = lock(desk, &options.id)?;
    let seen = options.if_match.map_or(Seen::Nothing, Seen::Text);
    desk.writable()?.put(&draft, seen).map_err(|error| not_written(&error))?;
    say(&options.id, Digest::of(&draft.text), false, options.output.json);
    Ok(())
}

pub(super) fn archive(desk: &mut Desk, options: &ArchiveOptions) -> Result<(), Failure> {
    desk.writable()?;
    let _lock = lock(desk, &options.id)?;
    let store = desk.writable()?;
    let there = store.get(&options.id)?;
    let seen = there.digest();
    if options.if_match.is_some_and(|wanted| wanted != seen) {
        let cause = format!("its digest is {seen}: it was changed meanwhile; read it again");
        return Err(not_written(&StoreError::new(Problem::Changed, there.place, cause)));
    }
    let draft = Draft::archived(options.id.clone(), &there.text, Context::now())
        .map_err(|flaw| Failure::Failed(format!("{}: {flaw}; nothing was written", there.place)))?;
    store.archive(&draft, seen).map_err(|error| not_written(&error))?;
    say(&options.id, Digest::of(&draft.text), true, options.output.json);
    Ok(())
}

fn lock(desk: &Desk, id: &Id) -> Result<Option<locks::Lock>, Failure> {
    locks::take(&desk.workspace, id, Context::now(), PATIENCE).map_err(|held| Failure::Failed(held.to_string()))
}

/// A conflict leaves the caller's text with the caller, and says so.
fn not_written(error: &StoreError) -> Failure {
    let nothing = if error.problem == Problem::Changed { "; nothing was written" } else { "" };
    Failure::Failed(format!("{error}{nothing}"))
}

fn say(id: &Id, digest: Digest, archived: bool, json: bool) {
    if json {
        terminal::json(&Written { id: id.to_string(), digest, archived });
    } else {
        let done = if archived { "archived" } else { "written" };
        terminal::line(&format!("{id} {done}, digest {digest}"));
    }
}

/// The text, and what it is called in messages.
fn input(file: Option<&Path>) -> Result<(String, Vec<u8>), Failure> {
    let failed = |name: &str, error: io::Error| Failure::Failed(format!("{name}: it cannot be read: {error}"));
    if let Some(file) = file.filter(|file| *file != Path::new("-")) {
        let name = file.display().to_string();
        let read = read_regular(file, Symlinks::Follow, yaml::SIZE_LIMIT);
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
