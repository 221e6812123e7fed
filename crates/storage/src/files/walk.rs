//! Which files count: regular files in `active/` and its subfolders whose names end in `.yaml`, nothing that begins
//! with a dot, no symlink followed (contract §2).

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use milescale_workspace::error::{Problem, StoreError};
use milescale_workspace::folder::{is_about_trust, status_in};
use milescale_workspace::{Place, Workspace};
use rustix::fs::{Dir, FileType};

use super::is_hidden;

/// Files handed over at once.
const BATCH: usize = 8192;

/// Some files of one folder.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// The folder, opened.
    pub(super) folder: &'a OwnedFd,
    /// The folder's path in `active/`.
    pub(super) inside: &'a Path,
    names: &'a [u8],
    ends: &'a [usize],
}

impl Batch<'_> {
    /// How many files.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The name of one, with the zero that ends it for the system.
    pub(super) fn name(&self, number: usize) -> &CStr {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        CStr::from_bytes_with_nul(&self.names[start..self.ends[number]]).unwrap_or_default()
    }

    /// The path of one in `active/`; `scratch` holds it where it is in a subfolder.
    pub(super) fn path<'a>(&'a self, number: usize, scratch: &'a mut PathBuf) -> &'a Path {
        let name = Path::new(OsStr::from_bytes(self.name(number).to_bytes()));
        if self.inside.as_os_str().is_empty() {
            return name;
        }
        scratch.clear();
        scratch.push(self.inside);
        scratch.push(name);
        scratch
    }
}

/// Hands over the milestone files below `active/`, as [`walk_below`] does.
///
/// # Errors
/// As [`walk_below`].
pub(super) fn walk(
    workspace: &Workspace,
    each: &mut dyn FnMut(&Batch<'_>) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    walk_below(workspace, &workspace.active(), each)
}

/// Hands over the milestone files below a folder, some at a time, each folder's in the order of the file system. `false`
/// where there is no such folder.
///
/// # Errors
/// When a folder cannot be read: a part of the truth is none. Those of `each`.
pub(super) fn walk_below(
    workspace: &Workspace,
    root: &Place,
    each: &mut dyn FnMut(&Batch<'_>) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    let unreadable = |path: &Place, error: &io::Error| {
        let cause = match error.kind() {
            io::ErrorKind::PermissionDenied => format!("{error}; give milescale's user the right to list it"),
            _ => error.to_string(),
        };
        StoreError::new(Problem::Unavailable, workspace.shown(path), cause)
    };
    match root.status() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            let why = root.open_folder().err().filter(is_about_trust).map(|error| error.to_string());
            let cause = why.unwrap_or_else(|| "it is not a folder; make it one".to_owned());
            return Err(StoreError::new(Problem::Unavailable, workspace.shown(root), cause));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unreadable(root, &error)),
    }
    let (mut folders, began) = (vec![PathBuf::new()], Instant::now());
    while let Some(inside) = folders.pop() {
        if workspace.stop().ends(began.elapsed()) {
            return Err(StoreError::stopped(workspace.shown(root)));
        }
        let is_root = inside.as_os_str().is_empty();
        match list(root, &inside, &mut folders, each)? {
            // Removed between being listed and being opened.
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_root => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&root.join(inside), &error)),
            Ok(()) => {}
        }
    }
    Ok(true)
}

/// Lists one folder.
fn list(
    active: &Place,
    inside: &Path,
    folders: &mut Vec<PathBuf>,
    each: &mut dyn FnMut(&Batch<'_>) -> Result<(), StoreError>,
) -> Result<io::Result<()>, StoreError> {
    let opened = open(active, inside).and_then(|folder| Ok((Dir::read_from(&folder)?, folder)));
    let (listing, folder) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error)),
    };
    let (mut names, mut ends) = (Vec::new(), Vec::new());
    for entry in listing {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Ok(Err(error.into())),
        };
        let name = entry.file_name();
        if is_hidden(OsStr::from_bytes(name.to_bytes())) {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not tell.
            FileType::Unknown => match status_in(&folder, name) {
                Ok(status) => FileType::from_raw_mode(status.st_mode),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Ok(Err(error)),
            },
            kind => kind,
        };
        if kind == FileType::Directory {
            folders.push(inside.join(OsStr::from_bytes(name.to_bytes())));
        } else if kind == FileType::RegularFile && name.to_bytes().ends_with(b".yaml") {
            names.extend_from_slice(name.to_bytes_with_nul());
            ends.push(names.len());
        }
        if ends.len() == BATCH {
            each(&Batch { folder: &folder, inside, names: &names, ends: &ends })?;
            names.clear();
            ends.clear();
        }
    }
    if !ends.is_empty() {
        each(&Batch { folder: &folder, inside, names: &names, ends: &ends })?;
    }
    Ok(Ok(()))
}

/// Opens a folder; what has become a symlink is none.
pub(super) fn open(active: &Place, inside: &Path) -> io::Result<OwnedFd> {
    let place = if inside.as_os_str().is_empty() { active.clone() } else { active.join(inside) };
    match place.open_folder() {
        // Another thing has the name by now: gone, as far as milestones go.
        Err(error) if is_about_trust(&error) || error.kind() == io::ErrorKind::NotADirectory => {
            Err(io::ErrorKind::NotFound.into())
        }
        other => other,
    }
}

/// What the name of an id tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ByName {
    /// This is its only file.
    File(Place),
    /// It has none.
    Nothing,
    /// Only a listing tells.
    Unclear,
}

/// The file that an id names in a folder, where no other one can be its: there are no folders in it, and letters are told apart.
pub(super) fn by_name(root: &Place, id: &str) -> ByName {
    // Names that are not ASCII may be one file's in several spellings.
    let folder = open(root, Path::new("")).ok().filter(|folder| id.is_ascii() && is_flat(folder));
    let Some(folder) = folder else { return ByName::Unclear };
    let status = |name: &str| status_in(&folder, &CString::new(name)?);
    let name = format!("{id}.yaml");
    let there = match status(&name) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return ByName::Nothing,
        Err(_) => return ByName::Unclear,
    };
    let other_case =
        |letter: char| if letter.is_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
    let spelled_otherwise = status(&name.chars().map(other_case).collect::<String>());
    if spelled_otherwise.is_ok_and(|it| (it.st_dev, it.st_ino) == (there.st_dev, there.st_ino)) {
        return ByName::Unclear;
    }
    let is_file = FileType::from_raw_mode(there.st_mode) == FileType::RegularFile;
    if is_file { ByName::File(root.join(name)) } else { ByName::Nothing }
}

/// Whether a folder certainly has no folders in it: some file systems of Linux (ext2 to ext4, XFS, tmpfs) count those in the
/// folder's links.
#[cfg(target_os = "linux")]
fn is_flat(folder: &OwnedFd) -> bool {
    const COUNTING: [u64; 3] = [0xef53, 0x5846_5342, 0x0102_1994];
    let kind = rustix::fs::fstatfs(folder).ok().and_then(|it| u64::try_from(it.f_type).ok());
    kind.is_some_and(|kind| COUNTING.contains(&(kind & 0xffff_ffff)))
        && rustix::fs::fstat(folder).is_ok_and(|status| status.st_nlink == 2)
}

#[cfg(not(target_os = "linux"))]
fn is_flat(_: &OwnedFd) -> bool {
    false
}

/// The milestone files below `active/`, relative to it; `None` where there is no such folder.
///
/// # Errors
/// As [`walk`].
pub(super) fn milestone_files(workspace: &Workspace) -> Result<Option<Vec<Box<Path>>>, StoreError> {
    let mut files = Vec::new();
    let is_there = walk(workspace, &mut |batch| {
        let mut scratch = PathBuf::new();
        files.extend((0..batch.len()).map(|number| Box::from(batch.path(number, &mut scratch))));
        Ok(())
    })?;
    Ok(is_there.then_some(files))
}

/// Whether a regular file of this name counts.
pub(super) fn is_milestone(path: &Path) -> bool {
    path.file_name().is_some_and(|name| !is_hidden(name) && name.as_encoded_bytes().ends_with(b".yaml"))
}
