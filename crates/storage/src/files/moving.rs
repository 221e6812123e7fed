//! Milestone files as the target or the old side of a migration: filled at once, taken out, read-only, retired.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use milescale_document::digest::Digest;
use milescale_document::id::Id;
use milescale_document::milestone::{Draft, Milestone};
use milescale_workspace::displaced;
use milescale_workspace::durable;
use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::Metadata;
use milescale_workspace::folder::status_in;
use milescale_workspace::read::{Stamp, read_json, read_regular, unreadable};
use milescale_workspace::{Place, Workspace};
use rustix::fs::FileType;

use super::scan::{Listing, c_path};
use super::{FileStore, Retired, id_at, walk};
use crate::ledger::Ledger;
use crate::sqlite::LedgerFile;
use crate::store::Seen;
use crate::threads::in_shares;

/// The bits of a mode that let somebody write.
const WRITE_BITS: u32 = 0o222;

impl FileStore {
    pub(super) fn own_ledger(&mut self) -> Result<&mut dyn Ledger, StoreError> {
        let ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => LedgerFile::new(&self.workspace)?,
        };
        Ok(self.ledger.insert(ledger))
    }

    /// Writes a milestone where it stands, else where it belongs.
    pub(super) fn place(&mut self, draft: &Draft, seen: Seen) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        self.place_alone(draft, seen)
    }

    /// The same, to be called [`alone`](Self::alone).
    pub(super) fn place_alone(&mut self, draft: &Draft, seen: Seen) -> Result<(), StoreError> {
        if self.find_one(&draft.id)?.is_some() {
            self.write(draft, seen).map(drop)
        } else {
            self.place_anew(draft, seen)
        }
    }

    /// Takes out a file, wherever the id lies.
    pub(super) fn take_out_id(&mut self, id: &Id, seen: Digest, now: Timestamp) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        let path = match self.find_one(id)? {
            Some(path) => Some(path),
            None => self.archived_path(id)?,
        };
        let gone = || StoreError::new(Problem::Changed, self.shown(Path::new("")), format!("{id} is gone"));
        self.take_out(&path.ok_or_else(gone)?, id, seen, now)
    }

    /// Renames a file into milescale's own folder; what turns out to be another content goes back. To be called
    /// [`alone`](Self::alone).
    pub(super) fn take_out(&self, path: &Place, id: &Id, seen: Digest, now: Timestamp) -> Result<(), StoreError> {
        let failed = |action: &str, error: io::Error| StoreError::io(self.workspace.shown(path), action, &error);
        let (content, _) = self.content(path)?.ok_or_else(|| self.changed(path))?;
        if Digest::of(&content) != seen {
            return Err(self.changed(path));
        }
        let aside = displaced::name(&self.workspace, id, seen, None, now)
            .map_err(|error| failed("nothing can be kept in .milescale/displaced", error))?;
        durable::sync(path).map_err(|error| self.gone_or(path, "the old content cannot be kept", &error))?;
        let outcome = durable::rename_new(path, &aside)
            .map_err(|error| self.gone_or(path, "it cannot be moved aside", &error))?;
        if self.came_out(&aside, path, "moved aside")? == Some(seen) {
            return self.done(outcome, path, "moved aside");
        }
        // Saved between the two: it goes back, unless something is there again; then it is looked at with the displaced.
        let _ = durable::rename_new(&aside, path);
        Err(self.changed(path))
    }

    /// Every milestone file that counts.
    fn files(&self) -> Result<Vec<Place>, StoreError> {
        let files = walk::milestone_files(&self.workspace)?.unwrap_or_default();
        Ok(files.into_iter().map(|path| self.active.join(path)).collect())
    }

    /// Makes the files read-only, with a note beside them; their modes are remembered.
    pub(super) fn make_read_only(&self, note: &str) -> Result<(), StoreError> {
        let failed = |path: &Place, error: &io::Error| {
            StoreError::io(self.workspace.shown(path), "it cannot be made read-only", error)
        };
        let mut modes = modes(&self.workspace).map_err(|error| failed(&self.active, &error))?;
        let WithModes { files, folder } = self.with_modes()?;
        let writable: Vec<_> = files.into_iter().filter(|(_, mode)| mode & WRITE_BITS != 0).collect();
        for (inside, mode) in writable.iter().filter(|(_, mode)| *mode != USUAL_MODE) {
            modes.insert(inside.to_string_lossy().into_owned(), *mode);
        }
        // Before the first one changes: a mode that is not known any more could not be put back.
        let text = serde_json::to_vec(&modes).unwrap_or_default();
        durable::replace(&self.workspace.modes(), &text).map_err(|error| failed(&self.workspace.modes(), &error))?;
        let kept = set_modes(folder.as_ref(), &writable, |_, mode| Some(mode & !WRITE_BITS))
            .map_err(|(inside, error)| failed(&self.active.join(inside), &error))?;
        if !kept.is_empty() {
            tracing::warn!(kept = kept.len(), "files of other owners, or on a read-only file system, keep their modes");
        }
        let path = self.workspace.moved_note();
        if folder.is_none() {
            return Ok(());
        }
        match write_note(&self.workspace, note) {
            Err(error) if is_not_ours(&error) => {
                tracing::warn!(%error, path = %self.workspace.shown(&path), "the note cannot be written");
                Ok(())
            }
            other => other.map_err(|error| failed(&path, &error)),
        }
    }

    /// Gives the files their modes back, and removes the note.
    pub(super) fn make_writable(&self) -> Result<(), StoreError> {
        let failed = |path: &Place, error: &io::Error| {
            StoreError::io(self.workspace.shown(path), "it cannot be made writable", error)
        };
        let modes = modes(&self.workspace).map_err(|error| failed(&self.active, &error))?;
        let WithModes { files, folder } = self.with_modes()?;
        let read_only: Vec<_> = files.into_iter().filter(|(_, mode)| mode & WRITE_BITS == 0).collect();
        // Whoever may write in the workspace may write what is remembered: it gives the right to write to those who may read, no more.
        let before = |inside: &Path, mode: u32| match modes.get(&*inside.to_string_lossy()) {
            Some(remembered) => Some(mode | remembered & (mode >> 1) & WRITE_BITS),
            None => (mode & 0o777 == USUAL_MODE & !WRITE_BITS).then_some(USUAL_MODE),
        };
        let kept = set_modes(folder.as_ref(), &read_only, before)
            .map_err(|(inside, error)| failed(&self.active.join(inside), &error))?;
        for inside in kept {
            let Some((path, mode)) = read_only.iter().find(|(path, _)| **path == *inside) else { continue };
            let again = self.own_again(path).and_then(|()| {
                let set = set_modes(folder.as_ref(), &[(path.clone(), *mode)], before);
                set.map(drop).map_err(|(_, error)| failed(&self.active.join(path), &error))
            });
            if let Err(error) = again {
                tracing::warn!(%error, "a file of another user stays read-only: its owner has to let it be written again");
            }
        }
        match remove_note(&self.workspace) {
            Err(error) if is_not_ours(&error) => tracing::warn!(%error, "the note in active/ cannot be removed"),
            other => other.map_err(|error| failed(&self.workspace.moved_note(), &error))?,
        }
        durable::remove(&self.workspace.modes()).map_err(|error| failed(&self.workspace.modes(), &error))
    }

    /// Lets a file of another user be this one's, as an editor does that saves it anew: nobody else may change the mode of the old
    /// one, and who shares the folder is to write it.
    fn own_again(&self, inside: &Path) -> Result<(), StoreError> {
        let _alone = self.alone()?;
        let path = self.active.join(inside);
        let Some((text, metadata)) = self.content(&path)? else { return Ok(()) };
        let refused = |why: String| StoreError::new(Problem::Refused, self.workspace.shown(&path), why);
        let id = id_at(&path).parse::<Id>().map_err(|bad| refused(bad.to_string()))?;
        let saved = metadata.modified().ok().and_then(|saved| Timestamp::try_from(saved).ok()).unwrap_or_default();
        let seen = Digest::of(&text);
        let draft = Draft::new(id, text, saved).map_err(|flaw| refused(flaw.to_string()))?;
        self.replace(&path, &draft, seen)
    }

    /// Every file with its mode, and `active/` itself where there is one.
    #[allow(clippy::useless_conversion, reason = "the types differ by platform")]
    fn with_modes(&self) -> Result<WithModes, StoreError> {
        let Some(Listing { files, folder }) = self.sorted()? else { return Ok(WithModes::default()) };
        let modes = in_shares(files.len(), |numbers| {
            let mode = |number: usize| {
                let status = c_path(&files[number]).and_then(|name| status_in(&folder, &name)).ok()?;
                let is_file = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
                is_file.then_some(u32::from(status.st_mode) & 0o7777)
            };
            numbers.map(mode).collect::<Vec<Option<u32>>>()
        });
        let modes = modes.into_iter().flatten();
        let files = files.into_iter().zip(modes).filter_map(|(path, mode)| Some((path, mode?))).collect();
        Ok(WithModes { files, folder: Some(folder) })
    }
}

/// Files with their modes.
#[derive(Default)]
struct WithModes {
    /// By path in the folder.
    files: Vec<(Box<Path>, u32)>,
    folder: Option<OwnedFd>,
}

/// The mode that is not worth remembering.
const USUAL_MODE: u32 = 0o644;

/// Sets the mode that `wanted` makes of a file's path and the mode that it has then, by as many threads as are worth it. A file of another owner,
/// or on a file system that is read-only, keeps its mode: read-only is a courtesy, and what is saved there is reconciled.
fn set_modes(
    folder: Option<&OwnedFd>,
    files: &[(Box<Path>, u32)],
    wanted: impl Fn(&Path, u32) -> Option<u32> + Sync,
) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let set = |numbers: Range<usize>| {
        let mut kept = Vec::new();
        for (inside, _) in &files[numbers] {
            let mode = |now: &Metadata| wanted(inside, now.mode());
            match c_path(inside).and_then(|name| durable::set_mode_in(folder, &name, mode)) {
                Err(error) if is_not_ours(&error) => kept.push(inside.to_path_buf()),
                other => other.map_err(|error| (inside.to_path_buf(), error))?,
            }
        }
        Ok(kept)
    };
    let kept = in_shares(files.len(), set).into_iter().collect::<Result<Vec<Vec<PathBuf>>, _>>()?.concat();
    Ok(kept)
}

/// Whether a change failed because somebody else owns the file, or its file system takes none.
fn is_not_ours(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn modes(workspace: &Workspace) -> io::Result<BTreeMap<String, u32>> {
    let step = "put it back from a copy of yours, or remove it: files that a move has made read-only stay so then, until you say `chmod u+w`";
    let read = read_json(&workspace.modes(), 16 << 20);
    let read = read.map_err(|error| unreadable(&error, &workspace.shown(&workspace.modes()), step))?;
    Ok(read.unwrap_or_default())
}

/// Moves all milestone files that count to `.milescale/retired/NAME/`, each by a rename, and leaves the note. How many. What is
/// saved meanwhile stays where it is, or is what was moved: whoever retires compares the moved files with their bases. An
/// earlier one of the same name stays beside the later, under a name that counts no more, and is watched as what was displaced is.
pub fn retire(
    workspace: &Workspace,
    name: &str,
    note: &str,
    now: Timestamp,
    is_dealt_with: &mut dyn FnMut(&Milestone) -> Result<bool, StoreError>,
) -> Result<u64, StoreError> {
    let store = FileStore::new(workspace.clone(), 0);
    let failed = |path: &Place, error: &io::Error| StoreError::io(workspace.shown(path), "it cannot be retired", error);
    let mut count = 0;
    let before = Retired::open(workspace, name)?;
    let mut moved: HashMap<String, Place> = HashMap::new();
    for path in store.files()? {
        let to = workspace.retired().join(name).join(path.below(&store.active).unwrap_or(path.inside()));
        let folder = to.parent();
        durable::create_folder(&folder).map_err(|error| failed(&folder, &error))?;
        // Wherever it lies: of an id one counts.
        let id = id_at(&path);
        let lies_at = moved.get(&id).or_else(|| before.path(&id)).unwrap_or(&to);
        if let Some((text, metadata)) = store.content(lies_at)? {
            let earlier = store.milestone(lies_at, text, Stamp::of(&metadata));
            displaced::watch(workspace, &earlier, lies_at, is_dealt_with(&earlier)?, now)?;
            displaced::sync(workspace)?;
            set_aside(lies_at).map_err(|error| failed(lies_at, &error))?;
        }
        match durable::rename_new(&path, &to).and_then(durable::Outcome::durably) {
            Ok(()) => {
                count += 1;
                moved.insert(id, to);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, &error)),
        }
    }
    write_note(workspace, note).map_err(|error| failed(&workspace.moved_note(), &error))?;
    Ok(count)
}

/// How the note begins that a move to a database leaves beside the files; it has three lines.
pub const NOTE_OF_MOVE: &str = "These milestones are kept in a database since ";

/// How the note begins that a retiring leaves; it has one line.
pub const NOTE_OF_RETIRING: &str = "milescale: these milestones were moved to ";

/// Bytes that a note of milescale's may have.
const NOTE_LIMIT: u64 = 16 << 10;

/// Whether nobody else has written the note, or to it.
fn is_own_note(path: &Place) -> io::Result<bool> {
    match read_regular(path, NOTE_LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        // It is no file of milescale's, or a larger one than that writes.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge) => Ok(false),
        other => {
            let text = String::from_utf8_lossy(&other?.0).into_owned();
            let is_one = |(head, lines): &(&str, usize)| text.starts_with(head) && text.lines().count() == *lines;
            Ok([(NOTE_OF_MOVE, 3), (NOTE_OF_RETIRING, 1)].iter().any(is_one))
        }
    }
}

/// Whether a note of milescale's stands beside the files: a move has taken what they hold to a database.
///
/// # Errors
/// Where it cannot be read.
pub fn is_noted_as_moved(workspace: &Workspace) -> io::Result<bool> {
    let path = workspace.moved_note();
    Ok(path.is_there()? && is_own_note(&path)?)
}

/// Writes the note that stands beside files; one that somebody has written stays.
fn write_note(workspace: &Workspace, note: &str) -> io::Result<()> {
    let path = workspace.moved_note();
    if is_own_note(&path)? { durable::replace(&path, note.as_bytes()) } else { Ok(()) }
}

/// Removes it, unless somebody has written to it.
fn remove_note(workspace: &Workspace) -> io::Result<()> {
    let path = workspace.moved_note();
    if is_own_note(&path)? { durable::remove(&path) } else { Ok(()) }
}

/// The name of an earlier file beside one that was retired.
pub(super) fn beside(path: &Place, number: u32) -> Place {
    let mut name = path.name().to_owned();
    name.push(format!(".{number}"));
    path.with_name(name)
}

/// Gives what was retired under this name before a name that nobody takes for a milestone file.
fn set_aside(path: &Place) -> io::Result<()> {
    for number in 1_u32.. {
        match durable::rename_new(path, &beside(path, number)).and_then(durable::Outcome::durably) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other,
        }
    }
    Ok(())
}
