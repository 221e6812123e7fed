//! What a write of milescale took out of its place: kept for a while, and looked at again, for a program that had the
//! file open may have written into it since.
//!
//! A name says which content left its place and which one was put there, for until the exchange a file holds the second,
//! and from then on the first. Whenever a process dies, it holds one of the two; anything else was written by another
//! program, and is a conflict.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::Milestone;

use super::looked::{Looked, STILL_FOR, stands_still};
use crate::config_file;
use crate::durable;
use crate::error::StoreError;
use crate::folder::Metadata;
use crate::keeping::NewDay;
use crate::random;
use crate::read::{Stamp, digest_of, read_regular};
use crate::short::{self, DIGITS, digits};
use crate::switch::CAME_OUT;
use crate::{Place, Workspace};

/// How a name begins: the second in which the content left its place. As texts they sort by time.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// How the name of a configuration ends. Milestones end in their id and `.yaml`.
const CONFIGURATION: &str = ".storage-config";

/// Random bytes in a name; their digits are fewer than those of a digest.
const RANDOM_BYTES: usize = 6;

/// A name that nobody else takes, for the content `out` that leaves its place, and the content `put` that takes it, where one
/// does: `YYYYMMDDTHHMMSSZ-OUT-PUT-RANDOM.ID.yaml`. A long id stands there as `row-DIGEST`.
pub fn name(workspace: &Workspace, id: &Id, out: Digest, put: Option<Digest>, now: Timestamp) -> io::Result<Place> {
    let folder = workspace.displaced();
    durable::create_folder(&folder)?;
    let mut name = format!("{}-{}", now.strftime(STAMP), digits(out));
    if let Some(put) = put {
        name.push_str(&format!("-{}", digits(put)));
    }
    let id = short::noted_name(workspace, id.as_str())?;
    Ok(folder.join(format!("{name}-{}.{id}.yaml", random::hexadecimal::<RANDOM_BYTES>()?)))
}

/// Gives a file that milescale has moved elsewhere a second name here, so that what is written into it from now on is found.
/// `is_dealt_with`: whether what it holds now was; else that is found as well. Not synced.
pub fn watch(
    workspace: &Workspace,
    file: &Milestone,
    path: &Place,
    is_dealt_with: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Ok(id) = file.id.parse::<Id>() else { return Ok(()) };
    let failed = |error: io::Error| StoreError::io(workspace.shown(path), "it cannot be watched", &error);
    // What was not dealt with is no content that it may have.
    let out = if is_dealt_with { file.digest() } else { Digest::of(b"") };
    let name = name(workspace, &id, out, None, now).map_err(failed)?;
    durable::second_name(path, &name).and_then(durable::Outcome::durably).map_err(failed)
}

/// Takes a configuration that an exchange put out of its place here, so that what is written into it from now on is found.
/// `dealt_with`: the content that was; where it holds another by now, that is found as well.
pub(crate) fn watch_configuration(
    workspace: &Workspace,
    path: &Place,
    dealt_with: Digest,
    now: SystemTime,
) -> io::Result<()> {
    let folder = workspace.displaced();
    durable::create_folder(&folder)?;
    let (now, digits) = (Timestamp::try_from(now).map_err(io::Error::other)?, digits(dealt_with));
    let name = format!("{}-{digits}-{}{CONFIGURATION}", now.strftime(STAMP), random::hexadecimal::<RANDOM_BYTES>()?);
    take_in(path, &folder.join(name))
}

/// Moves a configuration into milescale's own folder. Where that lies on another file system, its content is copied: what is
/// written into it later is not found then.
fn take_in(path: &Place, to: &Place) -> io::Result<()> {
    match durable::rename_new(path, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let (text, metadata) = read_regular(path, config_file::LIMIT)?;
            durable::prepare(to, &text, Some(durable::Like { file: &metadata, at: path }))?;
            durable::remove(path)
        }
        renamed => renamed?.durably(),
    }
}

/// Syncs the names of what is watched.
pub fn sync(workspace: &Workspace) -> Result<(), StoreError> {
    let folder = workspace.displaced();
    match durable::sync_folder(&folder.join("any")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io(workspace.shown(&folder), "it cannot be synced", &error))
        }
        _ => Ok(()),
    }
}

/// Looks through what was displaced, and moves what was written to since to the conflicts. Those that were, where they are
/// now. `now` is the wall clock. Under the daemon's lock only.
pub fn review(workspace: &Workspace, now: SystemTime) -> io::Result<Vec<Place>> {
    let (mut found, mut looked) = (Vec::new(), Looked::at_displaced(workspace));
    let (mut first_error, mut is_whole) = (None, true);
    let goes_on = workspace.stop().goes_on_for(LOOKS_FOR);
    for (path, parts) in all(workspace)? {
        if !goes_on() {
            is_whole = false;
            break;
        }
        match review_one(workspace, &path, &parts, &mut looked, now) {
            Ok(kept_as) => found.extend(kept_as),
            // One that cannot be moved keeps no other one from being found.
            Err(error) => {
                let error = io::Error::new(error.kind(), format!("{}: {error}", workspace.shown(&path)));
                tracing::warn!(%error, "what was written into a displaced file cannot be kept as a conflict");
                first_error.get_or_insert(error);
            }
        }
    }
    if is_whole {
        looked.forget_others();
    }
    looked.keep();
    // What was found is told; what was not is looked at again.
    match first_error {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// How long a look through what was displaced lasts at most: the next one goes on, for what stands still is remembered.
const LOOKS_FOR: Duration = Duration::from_secs(4);

/// Looks at one; where it is by now, if it was moved to the conflicts.
fn review_one(
    workspace: &Workspace,
    path: &Place,
    parts: &Parts,
    looked: &mut Looked,
    now: SystemTime,
) -> io::Result<Option<Place>> {
    if look(path, parts, looked, now)? != Content::Another {
        return Ok(None);
    }
    let Some(id) = &parts.id else { return came_out(workspace, path, &parts.head).map(|()| None) };
    durable::create_folder(&workspace.conflicts())?;
    // What stands for the id by now: older versions wrote out long ones, and names of conflicts get longer.
    let id = short::noted_name(workspace, id)?;
    let names = (0..=MOST_OF_A_NAME).map(|number| {
        let again = if number == 0 { String::new() } else { format!("-again-{number}") };
        workspace.conflicts().join(format!("{}{again}.{id}.yaml", parts.head))
    });
    durable::rename_to_free(path, names).map(Some)
}

/// Files of one name that are told apart by a number.
const MOST_OF_A_NAME: u32 = 1000;

/// Sets a configuration aside that is not in force, for a person. `doctor` names it.
pub(crate) fn came_out(workspace: &Workspace, path: &Place, name: &str) -> io::Result<()> {
    durable::create_own_folder(workspace)?;
    let aside = workspace.own().join(format!("{CAME_OUT}{name}-{}.yaml", random::hexadecimal::<4>()?));
    take_in(path, &aside)?;
    tracing::warn!(
        path = workspace.shown(&aside),
        "a configuration that came out of a switch lies there; compare it with the one in use"
    );
    Ok(())
}

/// Removes what has been kept for long enough. `now` is the wall clock. Under the daemon's lock only.
pub fn purge(workspace: &Workspace, now: SystemTime, day: &mut NewDay) -> io::Result<()> {
    let goes_on = workspace.stop().goes_on_for(LOOKS_FOR);
    for (path, parts) in all(workspace)? {
        if !goes_on() {
            break;
        }
        let name = path.below(&workspace.own()).unwrap_or(path.inside()).to_string_lossy().into_owned();
        // Before it goes it is read, whatever was noted of it.
        if day.is_over(&name, parts.left) && is_still(&path, now)? && parts.judge(&path).0 == Content::AsNamed {
            durable::discard(&path)?;
        }
    }
    Ok(())
}

/// What a displaced file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// What its name says.
    AsNamed,
    /// Something that another program wrote.
    Another,
    /// It is being written, gone, or cannot be read.
    NotKnown,
}

fn look(path: &Place, parts: &Parts, looked: &mut Looked, now: SystemTime) -> io::Result<Content> {
    let Some(metadata) = regular(path)? else { return Ok(Content::NotKnown) };
    let name = Path::new(path.name());
    if looked.is_as_before(name, Stamp::of(&metadata)) {
        return Ok(Content::AsNamed);
    }
    if !stands_still(&metadata, now) {
        return Ok(Content::NotKnown);
    }
    let (content, stamp) = parts.judge(path);
    if let (Content::AsNamed, Some(stamp)) = (content, stamp.filter(|stamp| stamp.age(now) >= STILL_FOR)) {
        looked.note(name, stamp);
    }
    Ok(content)
}

fn is_still(path: &Place, now: SystemTime) -> io::Result<bool> {
    Ok(regular(path)?.is_some_and(|metadata| stands_still(&metadata, now)))
}

/// What is known of a regular file; `None` where there is none.
fn regular(path: &Place) -> io::Result<Option<Metadata>> {
    match path.status_of_name() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(Some(other?).filter(|it| it.is_file())),
    }
}

/// Everything that lies there under a name of this module's.
fn all(workspace: &Workspace) -> io::Result<Vec<(Place, Parts)>> {
    let entries = match workspace.displaced().entries() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = workspace.displaced().join(&entry.name);
        found.extend(Parts::of(&path).map(|parts| (path, parts)));
    }
    Ok(found)
}

/// What a name that this module, or the resolving of a conflict, has given says.
struct Parts {
    /// What stands before the id.
    head: String,
    /// What stands for the id; a configuration has none.
    id: Option<String>,
    /// When the content left its place, to the second.
    left: Timestamp,
    /// The beginnings of the digests that the content may have.
    contents: Vec<String>,
}

impl Parts {
    fn of(path: &Place) -> Option<Self> {
        let name = path.name().to_str()?;
        let (head, id) = match name.strip_suffix(CONFIGURATION) {
            Some(head) => (head, None),
            None => name.strip_suffix(".yaml")?.split_once('.').map(|(head, id)| (head, Some(id.to_owned())))?,
        };
        let mut parts = head.split('-');
        let left = TimeZone::UTC.to_timestamp(DateTime::strptime(STAMP, parts.next()?).ok()?).ok()?;
        let contents: Vec<String> = parts.take(2).filter(|part| part.len() == DIGITS).map(str::to_owned).collect();
        (!contents.is_empty()).then(|| Self { head: head.to_owned(), id, left, contents })
    }

    /// What a file holds, of whatever size it is, and the stamp that it had then.
    fn judge(&self, path: &Place) -> (Content, Option<Stamp>) {
        let (digest, stamp) = match digest_of(path) {
            Ok(found) => found,
            // Nothing of that size was put here: another program has written it.
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return (Content::Another, None),
            Err(_) => return (Content::NotKnown, None),
        };
        let is_named = self.contents.contains(&digits(digest));
        (if is_named { Content::AsNamed } else { Content::Another }, Some(stamp))
    }
}

#[cfg(test)]
mod tests {
    use super::review;
    use crate::Workspace;
    use crate::conflicts;
    use jiff::Timestamp;
    use std::fs;
    use std::time::{Duration, SystemTime};

    /// What an older version has named goes on being looked at and settled.
    #[test]
    fn names_that_hold_a_long_id_themselves_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        fs::create_dir_all(workspace.displaced().path()).unwrap();
        fs::create_dir_all(workspace.conflicts().path()).unwrap();
        let id = "x".repeat(186);
        let digits = "0123456789abcdef";
        let name = |random: u32| format!("20260101T000000Z-{digits}-{digits}-{random:012}.{id}.yaml");
        fs::write(workspace.displaced().join(name(1)).path(), "n: 1\n").unwrap();
        fs::write(workspace.conflicts().join(name(2)).path(), "n: 2\n").unwrap();
        review(&workspace, SystemTime::now() + Duration::from_secs(10)).unwrap();
        let found = conflicts::list(&workspace).unwrap();
        assert_eq!(found.len(), 2);
        for conflict in found {
            assert_eq!(conflict.id, id);
            conflicts::settle(&workspace, &conflict.name, None, Timestamp::now()).unwrap();
        }
        assert_eq!(conflicts::count(&workspace).unwrap(), 0);
    }
}
