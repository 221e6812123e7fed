//! Backups: one folder each, with every milestone in `milestones.jsonl` and what it is in `backup-metadata.yaml`.
//!
//! A line is `{"id","place","text"}` (`bytes`, in hexadecimal digits, for a text that is not UTF-8), with `created_at` and
//! `updated_at`, and `"archived":true` of a file in `completed/`; or `{"id","gone":true}`. Of several lines of one id the last counts: what changed while the backup was
//! taken is written again. `"others"` are the digests of what lay in `completed/` under the same id and is another document. `{"id","gone":true,"in_archive":true}` says that a file of that id lay in `completed/`, without its text:
//! who knows nothing of `in_archive` reads that there is none. The folder has its name only once it is complete.

mod reader;

pub use reader::Backup;

use std::io;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use milescale_document::digest::{Digest, Running};
use milescale_document::milestone::Milestone;
use milescale_document::text::{harmless, in_command};
use milescale_document::timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::durable::{self, Growing};
use crate::keeping::{Counted, NewDay};
use crate::read::{from_yaml, read_regular};
use crate::readers::Readers;
use crate::{Place, Workspace};

/// The name of the file of milestones.
pub const MILESTONES: &str = "milestones.jsonl";

/// The name of the file that tells what it is.
const METADATA: &str = "backup-metadata.yaml";

/// Bytes of that file: a dozen lines, none longer than a path.
const METADATA_AT_MOST: u64 = 32 << 10;

/// How long a backup is kept at least.
pub const KEPT_DAYS: i64 = 30;

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the keys speak for themselves; docs/FORMATS.md describes them")]
pub struct Metadata {
    pub id: String,
    pub timestamp: String,
    pub from: String,
    pub to: String,
    pub milestone_count: u64,
    pub size_bytes: u64,
    pub sha256: Digest,
    pub source: String,
    pub restore_command: String,
    pub keep_until: String,
}

/// A backup being written.
#[derive(Debug)]
pub struct Writer {
    workspace: Workspace,
    id: String,
    partial: Place,
    file: Growing,
    running: Running,
    bytes: u64,
    /// Those who may read what is backed up, as the names of the files say.
    readers: Readers,
}

impl Writer {
    /// Begins a backup of the move `from` → `to`, in the words of BACKUP_ID.
    /// It is for those who may read what is backed up.
    pub fn begin(workspace: &Workspace, readers: Readers, from: &str, to: &str, now: Timestamp) -> io::Result<Self> {
        durable::create_folder(&workspace.backups())?;
        let plain = format!("migration-{}-{from}-to-{to}", now.strftime("%Y%m%d-%H%M%S"));
        let names = (1..).map(|number| if number == 1 { plain.clone() } else { format!("{plain}-{number}") });
        let is_free = |name: &String| {
            let taken = |path: Place| path.exists();
            !taken(workspace.backups().join(name)) && !taken(partial(workspace, name))
        };
        let id = names.into_iter().find(is_free).unwrap_or_default();
        let partial = partial(workspace, &id);
        durable::create_folder(&partial)?;
        // Whose files it comes from is known when all are read: nobody else reads it before.
        let meanwhile = if readers == Readers::OWN { readers } else { Readers::NONE };
        Readers::forget_noted(&workspace.folder());
        let file = Growing::create(&milestones(&partial), meanwhile)?;
        Ok(Self { readers, workspace: workspace.clone(), id, partial, file, running: Running::default(), bytes: 0 })
    }

    /// Writes a milestone, or writes it again. `others`: the digests of other documents of its id that lie in `completed/`.
    pub fn add(&mut self, milestone: &Milestone, others: &[Digest]) -> io::Result<()> {
        self.line(&line_of(milestone, others))
    }

    /// Writes a milestone that lies in `completed/`.
    pub fn add_archived(&mut self, milestone: &Milestone, others: &[Digest]) -> io::Result<()> {
        let mut line = line_of(milestone, others);
        line["archived"] = json!(true);
        self.line(&line)
    }

    /// Writes that a milestone is gone since.
    pub fn gone(&mut self, id: &str) -> io::Result<()> {
        self.line(&json!({ "id": id, "gone": true }))
    }

    /// Writes that a milestone lies in `completed/` and is none of those that are backed up.
    pub fn in_archive(&mut self, id: &str) -> io::Result<()> {
        self.line(&json!({ "id": id, "gone": true, "in_archive": true }))
    }

    fn line(&mut self, line: &serde_json::Value) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.running.update(&text);
        self.bytes += text.len() as u64;
        self.file.append(&text)
    }

    /// Ends it: it is on the disk, whole, and has its name.
    pub fn finish(self, count: u64, source: &str, ways: (&str, &str), now: Timestamp) -> io::Result<Metadata> {
        let readers = (self.readers != Readers::OWN).then(|| self.readers.and(Readers::noted()));
        self.file.finish(&milestones(&self.partial), readers)?;
        let keep = now.checked_add(kept()).unwrap_or(now);
        let metadata = Metadata {
            restore_command: restore_command(&self.workspace, &self.id),
            id: self.id.clone(),
            timestamp: timestamp::to_text(now),
            from: ways.0.to_owned(),
            to: ways.1.to_owned(),
            milestone_count: count,
            size_bytes: self.bytes,
            sha256: self.running.finish(),
            source: source.to_owned(),
            keep_until: timestamp::to_text(keep),
        };
        durable::replace(&self.partial.join(METADATA), yaml_of(&metadata)?.as_bytes())?;
        durable::rename_new(&self.partial, &self.workspace.backups().join(&self.id))?.durably()?;
        Ok(metadata)
    }

    /// Removes what is there of it.
    pub fn abandon(self) -> io::Result<()> {
        // Two files, which were made just now; also where a stop is asked for.
        durable::remove_folder(&self.partial, &self.workspace.stop().goes_on_after_it())
    }
}

fn line_of(milestone: &Milestone, others: &[Digest]) -> serde_json::Value {
    let Milestone { id, text, is_given, columns, updated_at, place, .. } = milestone;
    let mut line = json!({ "id": id, "place": place });
    match std::str::from_utf8(text) {
        Ok(text) => line["text"] = json!(text),
        Err(_) => line["bytes"] = json!(text.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
    if !is_given {
        line["given"] = json!(false);
    }
    line["created_at"] = json!(columns.created_at);
    line["updated_at"] = json!(updated_at);
    if !others.is_empty() {
        line["others"] = json!(others);
    }
    line
}

/// Keys with their values, each text in double quotes: a JSON scalar is a YAML scalar.
fn yaml_of(metadata: &Metadata) -> io::Result<String> {
    let mut text =
        String::from("# Written by milescale. The milestones are in milestones.jsonl, a JSON object a line.\n");
    for (key, value) in serde_json::to_value(metadata)?.as_object().into_iter().flatten() {
        text.push_str(&format!("{key}: {value}\n"));
    }
    Ok(text)
}

fn partial(workspace: &Workspace, id: &str) -> Place {
    workspace.backups().join(format!(".{id}.partial"))
}

/// How long what a crash left is removed at a time.
const REMOVES_FOR: Duration = Duration::from_secs(4);

/// Removes what a crash left of backups. What takes too long, or goes on when a stop is asked for, is left for the next time.
pub fn remove_partial(workspace: &Workspace) -> io::Result<()> {
    let goes_on = workspace.stop().goes_on_for(REMOVES_FOR);
    for entry in workspace.backups().entries_or_none() {
        let name = entry.name.to_string_lossy();
        if name.starts_with(".migration-") && name.ends_with(".partial") {
            match durable::remove_folder(&workspace.backups().join(&entry.name), &goes_on) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
                other => other?,
            }
        }
    }
    Ok(())
}

/// The characters of a name that say in which second a backup was begun: `migration-YYYYMMDD-HHMMSS`.
const SECOND: usize = 25;

/// Whether a name may be that of a backup: one plain name, and one plain word of a command.
pub fn is_id(name: &str) -> bool {
    name.strip_prefix("migration-")
        .is_some_and(|rest| rest.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it)))
}

/// Every backup, oldest first; one that cannot be read with why. Those of one second are in the order in which they were written.
pub fn list(workspace: &Workspace) -> io::Result<Vec<(String, Result<Metadata, String>)>> {
    let entries = match workspace.backups().entries() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.name.to_string_lossy().into_owned();
        if name.starts_with("migration-") {
            names.push(name);
        }
    }
    names.sort_by_cached_key(|name| {
        let written = workspace.backups().join(name).join(METADATA).status_of_name().and_then(|it| it.modified()).ok();
        (name.chars().take(SECOND).collect::<String>(), written, name.clone())
    });
    Ok(names.into_iter().map(|name| (name.clone(), metadata(workspace, &name))).collect())
}

/// What a backup is known by where days are counted.
fn counted_as(id: &str) -> String {
    format!("backups/{id}")
}

/// Notes on what day each backup was first seen. Under the daemon's lock only.
pub fn see(workspace: &Workspace, day: &mut NewDay) -> io::Result<()> {
    for (id, _) in list(workspace)? {
        day.see(&counted_as(&id));
    }
    Ok(())
}

impl Metadata {
    /// Whether the clock says that it has been kept for long enough.
    pub fn is_past_its_date(&self, now: Timestamp) -> bool {
        timestamp::from_text(&self.keep_until).is_some_and(|until| until < now)
    }

    /// Whether both the clock and the days that milescale has counted itself say so.
    pub fn is_over(&self, counted: &Counted, now: Timestamp) -> bool {
        let until = timestamp::from_text(&self.keep_until);
        let recorded = until.and_then(|until| until.checked_sub(kept()).ok());
        self.is_past_its_date(now)
            && recorded.is_some_and(|recorded| counted.is_over(&counted_as(&self.id), recorded, now))
    }
}

/// How long a backup is kept at least.
fn kept() -> SignedDuration {
    SignedDuration::from_hours(24 * KEPT_DAYS)
}

/// What a backup is.
///
/// # Errors
/// In words: there is none of this name, or it cannot be read.
pub fn metadata(workspace: &Workspace, id: &str) -> Result<Metadata, String> {
    let path = path(workspace, id)?.join(METADATA);
    let shown = workspace.shown(&path);
    let (text, _) = read_regular(&path, METADATA_AT_MOST).map_err(|error| format!("{shown}: {error}"))?;
    let metadata: Metadata =
        from_yaml(&text).map_err(|why| format!("{shown}: it is no metadata of a backup: {why}"))?;
    // It goes by the name of its folder, whatever is written in it; and nobody is shown a command that a file tells him to run.
    Ok(Metadata { id: id.to_owned(), restore_command: restore_command(workspace, id), ..metadata })
}

/// The command that restores a backup.
fn restore_command(workspace: &Workspace, id: &str) -> String {
    workspace.command(&format!("restore {}", in_command(id)))
}

/// Whether its milestones are what was written: their number of bytes and their digest.
///
/// # Errors
/// In words: they are not, they cannot be read, or a stop was asked for.
pub fn verify(workspace: &Workspace, metadata: &Metadata) -> Result<(), String> {
    verify_while(workspace, metadata, &|| true)
}

/// The same, as long as `goes_on` says so: a backup may have any size.
///
/// # Errors
/// As [`verify`]; and where it did not go on.
pub fn verify_while(workspace: &Workspace, metadata: &Metadata, goes_on: &dyn Fn() -> bool) -> Result<(), String> {
    use std::io::Read as _;
    let path = milestones(&path(workspace, &metadata.id)?);
    let shown = workspace.shown(&path);
    let failed = |error: io::Error| format!("{shown}: {error}");
    let differs = || format!("{shown}: it is not what was written: its digest differs from the one in {METADATA}");
    let (mut file, found) = path.open().map_err(failed)?;
    if found.len() != metadata.size_bytes {
        return Err(differs());
    }
    let (mut running, mut buffer, mut bytes) = (Running::default(), vec![0; 1 << 16], 0);
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 || bytes > metadata.size_bytes {
            break;
        }
        if workspace.stop().is_asked() {
            return Err(format!("{shown}: it was asked to stop while it was compared"));
        }
        if !goes_on() {
            return Err(format!(
                "{shown}: it is too large to be compared now; `milescale backups show {}` compares it",
                in_command(&metadata.id)
            ));
        }
        running.update(&buffer[..count]);
        bytes += count as u64;
    }
    if bytes == metadata.size_bytes && running.finish() == metadata.sha256 {
        return Ok(());
    }
    Err(differs())
}

/// Removes a backup.
pub fn remove(workspace: &Workspace, id: &str) -> Result<(), String> {
    let path = path(workspace, id)?;
    // Out of its name first, so that no half of it is ever taken for one.
    let aside = partial(workspace, id);
    let shown = workspace.shown(&path);
    durable::rename_new(&path, &aside)
        .and_then(durable::Outcome::durably)
        .and_then(|()| durable::remove_folder(&aside, &workspace.stop().goes_on_after_it()))
        .map_err(|error| format!("{shown}: {error}"))
}

fn path(workspace: &Workspace, id: &str) -> Result<Place, String> {
    if !is_id(id) {
        return Err(format!(
            "{:?} is no BACKUP_ID, which is migration- and letters, digits, `-`, `_` and `.`; `milescale backups list` names them",
            harmless(id)
        ));
    }
    let path = workspace.backups().join(id);
    if path.is_folder() { Ok(path) } else { Err(format!("{}: there is no such backup", workspace.shown(&path))) }
}

/// Where the milestones of a backup are.
fn milestones(folder: &Place) -> Place {
    folder.join(MILESTONES)
}
