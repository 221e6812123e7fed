//! Writing files so that they are there whole or not at all.
//!
//! The one place of the program that creates, replaces, renames or removes files (lines excepted: [`crate::jsonl`]). A
//! failed fsync is never retried and never followed by success: the temporary file is removed and the caller is told.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Seek as _, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, RawMode, RenameFlags, renameat_with};

use crate::workspace::{OWN_GITIGNORE, Workspace};

const TEMPORARY_PREFIX: &str = ".milescale-tmp-";

/// Whether a replacement must outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    Durable,
    WholeOnly,
}

/// Replaces `path` with `content`. Once it returns, the content is on the disk under that name; if the process or the
/// machine dies in it, the old or the new content is there, whole.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(content))
}

/// Like [`replace`], with what `write` writes piece by piece.
pub fn replace_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = written_by(path, Promise::Durable, write)?;
    put(&temporary, path).and_then(|()| sync_folder(path))
}

/// Replaces `path` with `content`, whole at every instant, but after a power cut perhaps the old one or empty. For what
/// can be computed again.
pub fn publish(path: &Path, content: &[u8]) -> io::Result<()> {
    publish_with(path, |file| file.write_all(content))
}

/// Like [`publish`], of what `write` writes piece by piece.
pub fn publish_with(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = written_by(path, Promise::WholeOnly, write)?;
    put(&temporary, path)
}

/// Creates `path` with `content`, durably, unless something is there already: then nothing is changed and the answer
/// is `false`.
pub fn create(path: &Path, content: &[u8]) -> io::Result<bool> {
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    link_new(&written(path, content, Promise::Durable)?, path)
}

/// Writes one of many new files whose names nobody reads yet; all are on the disk once [`sync_file_system`] returns. Its inode.
pub fn prepare_among_many(path: &Path, content: &[u8]) -> io::Result<u64> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(content)?;
    Ok(file.metadata()?.ino())
}

/// Gives one of many files its name, never over another one; on the disk once [`sync_file_system`] returns. `false`:
/// something has the name already.
pub fn name_among_many(prepared: &Path, path: &Path) -> io::Result<bool> {
    match renameat_with(CWD, prepared, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits until everything that was written to the file system of a folder is on the disk.
pub fn sync_file_system(folder: &Path) -> io::Result<()> {
    rustix::fs::syncfs(File::open(folder)?).map_err(io::Error::from)
}

/// A file that grows by appending while nobody else reads it; there under its name once [`Growing::finish`] returns.
#[derive(Debug)]
pub struct Growing {
    file: io::BufWriter<File>,
}

impl Growing {
    /// A new one. An existing `path` is an error of kind `AlreadyExists`.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: io::BufWriter::new(OpenOptions::new().write(true).create_new(true).open(path)?) })
    }

    /// One that is there, to go on at its end.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.seek(io::SeekFrom::End(0))?;
        Ok(Self { file: io::BufWriter::new(file) })
    }

    /// Returns once everything that was appended is on the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()
    }

    /// Appends.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Ends it: everything is on the disk.
    pub fn finish(self, path: &Path) -> io::Result<()> {
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        sync_folder(path)
    }
}

/// Sets the mode of a file in an open folder. One that is gone is no error.
#[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation, reason = "the types differ by platform")]
pub fn set_mode_in(folder: impl AsFd, path: &Path, mode: u32) -> io::Result<()> {
    match rustix::fs::chmodat(folder, path, Mode::from_raw_mode(mode as RawMode), AtFlags::empty()) {
        Err(error) if error != rustix::io::Errno::NOENT => Err(error.into()),
        _ => Ok(()),
    }
}

/// Removes a folder of milescale's own with all that is in it; one that is gone is no error.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Renames durably; an existing `to` is replaced. `from` missing is no error: the answer is `false`.
pub fn rename(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Ok(()) => sync_folder(to).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts `prepared` in the place of `path`, and what was there in the place of `prepared`, in one step, durably: at every
/// instant both contents are there, each under one of the two names.
pub fn exchange(prepared: &Path, path: &Path) -> io::Result<()> {
    renameat_with(CWD, prepared, CWD, path, RenameFlags::EXCHANGE)?;
    sync_folder(path)?;
    sync_folder(prepared)
}

/// Renames durably, never over anything: an existing `to` is an error of kind `AlreadyExists`.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?;
    sync_folder(to)?;
    sync_folder(from)
}

/// Writes a new file, durably, with the mode and owner of `like` where there is one. An existing `path` is an error of
/// kind `AlreadyExists`. If the process dies in it, a part may be there: for names that nobody reads yet.
pub fn prepare(path: &Path, content: &[u8], like: Option<&Metadata>) -> io::Result<()> {
    let write = |mut file: File| {
        file.write_all(content)?;
        if let Some(like) = like {
            let ours = file.metadata()?;
            if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
                // Only root may give files away; without that right the writer owns what it wrote.
                let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
            }
            file.set_permissions(like.permissions())?;
        }
        file.sync_all()?;
        sync_folder(path)
    };
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    write(file).inspect_err(|_| drop(fs::remove_file(path)))
}

/// Removes a file; one that is gone is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Creates a folder and its parents; one that is there is no error.
pub fn create_folder(path: &Path) -> io::Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    fs::create_dir_all(path).map(|()| true)
}

/// Makes milescale's own folder of a workspace with its `.gitignore`, where they are missing.
pub fn create_own_folder(workspace: &Workspace) -> io::Result<()> {
    create_folder(&workspace.own())?;
    create(&workspace.own_gitignore(), OWN_GITIGNORE.as_bytes()).map(drop)
}

/// Makes the folder of a lock; one that is there is an error of kind `AlreadyExists`. Not durable: a lock dies with the
/// machine.
pub fn create_lock_folder(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

/// Removes the folder of a lock with the files that adapters keep in it. Best effort: what stays is left over by and by.
pub fn remove_lock_folder(path: &Path) {
    for name in ["pid", "timestamp"] {
        let _ = fs::remove_file(path.join(name));
    }
    let _ = fs::remove_dir(path);
}

/// Removes what a crash in [`replace`], [`publish`] or [`create`] left in `folder`: temporary files of processes that are
/// not alive. Best effort: what stays does no harm.
pub fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY_PREFIX)?.split('-').next()?.parse().ok());
        let Some(owner) = owner.and_then(rustix::process::Pid::from_raw) else { continue };
        let is_ours = owner == rustix::process::getpid();
        // A process id may have been given out again; then the file stays until that process has gone.
        if !is_ours && rustix::process::test_kill_process(owner).is_err() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes a temporary file beside `path`.
fn written(path: &Path, content: &[u8], promise: Promise) -> io::Result<PathBuf> {
    written_by(path, promise, |file| file.write_all(content))
}

/// Lets a temporary file beside `path` be written.
fn written_by(path: &Path, promise: Promise, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<PathBuf> {
    let temporary = temporary_beside(path);
    let all = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        write(&mut file)?;
        if promise == Promise::Durable { file.sync_all() } else { Ok(()) }
    };
    all().inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    Ok(temporary)
}

fn temporary_beside(path: &Path) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!("{TEMPORARY_PREFIX}{}-{number}", std::process::id()))
}

/// Gives a temporary file a name that nobody has; `false`: somebody has it.
fn link_new(temporary: &Path, path: &Path) -> io::Result<bool> {
    let linked = fs::hard_link(temporary, path);
    let _ = fs::remove_file(temporary);
    match linked {
        Ok(()) => sync_folder(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn put(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path).inspect_err(|_| drop(fs::remove_file(temporary)))
}

/// Waits until the names in the folder of `path` are on the disk: a rename is there only once its folder is.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{create, publish, remove_leftovers, rename, replace};
    use std::fs;

    #[test]
    fn create_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(create(&path, b"one").unwrap());
        assert!(!create(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_content_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::create_dir_all(path.join("not empty")).unwrap();
        assert!(replace(&path, b"x").is_err());
        assert!(publish(&path, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn leftovers_of_a_crash_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let dead =
            std::process::Command::new("true").spawn().and_then(|mut child| child.wait().map(|_| child.id())).unwrap();
        let parent = std::os::unix::process::parent_id();
        for name in [&format!(".milescale-tmp-{dead}-0"), &format!(".milescale-tmp-{parent}-0"), ".other"] {
            fs::write(folder.path().join(name), "half").unwrap();
        }
        remove_leftovers(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "what somebody is writing stays");
    }

    #[test]
    fn renaming_what_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!rename(&folder.path().join("a"), &folder.path().join("b")).unwrap());
    }
}
