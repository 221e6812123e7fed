//! Contents that are in conflict with what is current: kept, named, and looked at by a person.
//!
//! Each is two files in `.milescale/conflicts/`: the content, `YYYYMMDDTHHMMSSZ-DIGEST-SIDE-0.ID.yaml`, and what is known of
//! it under the same name with `.json` behind it. A content that a program wrote into a replaced file has only the first.

use std::fs;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use milescale_core::base::Side;
use milescale_core::digest::Digest;
use milescale_core::id::Id;
use milescale_core::timestamp;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::read::{Symlinks, read_regular};
use crate::workspace::Workspace;
use crate::yaml;

/// Hexadecimal digits of the digest in a name.
const DIGITS: usize = 16;

/// What is known of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Its name, by which commands know it.
    #[serde(default)]
    pub name: String,
    /// The milestone.
    pub id: String,
    /// When it was kept, as RFC 3339.
    pub at: String,
    /// The side whose content is kept; `None` where it is a write into a file that was replaced already.
    pub side: Option<Side>,
    /// Where that content stood.
    pub place: String,
    /// Why it was not taken over.
    pub reason: String,
    /// The digest of what was current then.
    pub current: Option<Digest>,
    /// The backup of the migration that left this side.
    pub backup: Option<String>,
}

/// Keeps a content durably. The path under which it is kept, and whether it was not kept before.
pub fn keep(workspace: &Workspace, conflict: &Conflict, text: &[u8], now: Timestamp) -> io::Result<(PathBuf, bool)> {
    let folder = workspace.conflicts();
    durable::create_folder(&folder)?;
    let digest = Digest::of(text).to_string();
    let digits = &digest[..DIGITS];
    if let Some(there) = list(workspace)?.into_iter().find(|it| it.id == conflict.id && it.name.contains(digits)) {
        return Ok((folder.join(there.name), false));
    }
    let side = conflict.side.map_or("file", Side::as_str);
    // An id of a database need not be a file's name.
    let id = if conflict.id.parse::<Id>().is_ok() { conflict.id.as_str() } else { "row" };
    let stamp = now.strftime("%Y%m%dT%H%M%SZ");
    let name = format!("{stamp}-{digits}-{side}-0.{id}.yaml");
    let path = folder.join(&name);
    // The content last: a conflict without one would name nothing.
    let known = serde_json::to_vec_pretty(conflict)?;
    durable::replace(&about(&path), &known)?;
    let is_new = durable::create(&path, text)?;
    Ok((path, is_new))
}

/// How many conflicts there are. Reads none of them.
pub fn count(workspace: &Workspace) -> io::Result<u64> {
    Ok(names(workspace)?.len() as u64)
}

/// Every conflict, oldest first.
pub fn list(workspace: &Workspace) -> io::Result<Vec<Conflict>> {
    let conflict = |name: String| {
        let path = workspace.conflicts().join(&name);
        let known = read_regular(&about(&path), Symlinks::Refuse, 1 << 20).ok();
        let known = known.and_then(|(text, _)| serde_json::from_slice::<Conflict>(&text).ok());
        let known = known.unwrap_or_else(|| unknown(&name, path.metadata().ok()));
        Conflict { name, ..known }
    };
    Ok(names(workspace)?.into_iter().map(conflict).collect())
}

/// The names of all contents that are kept, sorted.
fn names(workspace: &Workspace) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(workspace.conflicts()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok().filter(|name| name.ends_with(".yaml")));
    }
    names.sort();
    Ok(names)
}

/// The content of a conflict.
pub fn text(workspace: &Workspace, name: &str) -> io::Result<Vec<u8>> {
    if name.contains('/') || name.starts_with('.') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a conflict"));
    }
    read_regular(&workspace.conflicts().join(name), Symlinks::Refuse, yaml::SIZE_LIMIT).map(|(text, _)| text)
}

/// A person has dealt with it: the content is kept for a while among what was displaced.
pub fn settle(workspace: &Workspace, name: &str) -> io::Result<()> {
    durable::create_folder(&workspace.displaced())?;
    let path = workspace.conflicts().join(name);
    durable::rename_new(&path, &workspace.displaced().join(name))?;
    durable::remove(&about(&path))
}

fn about(path: &std::path::Path) -> PathBuf {
    path.with_extension("yaml.json")
}

fn unknown(name: &str, metadata: Option<fs::Metadata>) -> Conflict {
    let id = name.strip_suffix(".yaml").and_then(|name| name.split_once('.')).map_or(name, |(_, id)| id);
    let modified = metadata.and_then(|it| it.modified().ok()).and_then(|it| Timestamp::try_from(it).ok());
    Conflict {
        name: String::new(),
        id: id.to_owned(),
        at: modified.map(timestamp::to_text).unwrap_or_default(),
        side: None,
        place: String::new(),
        reason: "it was written to after milescale had replaced it".to_owned(),
        current: None,
        backup: None,
    }
}
