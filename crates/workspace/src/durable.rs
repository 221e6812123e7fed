//! Writing files so that they are there whole or not at all.
//!
//! The one place of the program that creates, replaces, renames or removes files (lines excepted: [`crate::jsonl`]). A
//! failed fsync is never retried and never followed by success: the temporary file is removed and the caller is told.

mod names;
mod temporary;

use std::ffi::CStr;
use std::io::{self, Seek as _, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt as _, fchown};
use std::time::{Duration, Instant, SystemTime};

pub use names::{Outcome, can_exchange, exchange, rename_new, second_name};
use temporary::Temporary;

use crate::folder::{File, Metadata, Permissions, Place, Use, is_about_trust};
use crate::layout::{OWN_GITIGNORE, Workspace};
use crate::readers::{Readers, hidden};

/// Whether a replacement must outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    Durable,
    WholeOnly,
}

/// Replaces `path` with `content`. Once it returns, the content is on the disk under that name; if it fails, or the process
/// or the machine dies in it, the old or the new content is there, whole.
pub fn replace(path: &Place, content: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(content))
}

/// Like [`replace`], with what `write` writes piece by piece.
pub fn replace_with(path: &Place, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    written(path, Readers::ALL, Promise::Durable, write)?.replace(path)?;
    sync_folder(path)
}

/// Like [`replace`], of a copy that is for these readers.
pub fn replace_for(path: &Place, readers: Readers, content: &[u8]) -> io::Result<()> {
    written(path, readers, Promise::Durable, |file| file.write_all(content))?.replace(path)?;
    sync_folder(path)
}

/// Replaces `path` with `content`, whole at every instant, but after a power cut perhaps the old one or empty. For what
/// can be computed again.
pub fn publish(path: &Place, content: &[u8]) -> io::Result<()> {
    publish_with(path, |file| file.write_all(content))
}

/// Like [`publish`], of what `write` writes piece by piece.
pub fn publish_with(path: &Place, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    written(path, Readers::ALL, Promise::WholeOnly, write)?.replace(path)
}

/// Creates `path` with `content`, durably, unless something is there already: then nothing is changed and the answer
/// is `false`. An error may come after the effect; [`create_new`] tells.
pub fn create(path: &Place, content: &[u8]) -> io::Result<bool> {
    match create_new(path, content) {
        Ok(outcome) => outcome.durably().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates `path` with `content`: it is there whole or not at all.
///
/// # Errors
/// When nothing was created; of kind `AlreadyExists` where something is there.
pub fn create_new(path: &Place, content: &[u8]) -> io::Result<Outcome> {
    create_with(path, Readers::ALL, |file| file.write_all(content))
}

/// Like [`create_new`], of a copy that is for these readers.
///
/// # Errors
/// As [`create_new`].
pub fn create_for(path: &Place, readers: Readers, content: &[u8]) -> io::Result<Outcome> {
    create_with(path, readers, |file| file.write_all(content))
}

fn create_with(path: &Place, readers: Readers, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Outcome> {
    if path.is_there()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let Some(mut file) = path.make_without_name(readers) else {
        return written(path, readers, Promise::Durable, write)?.become_new(path);
    };
    write(&mut file)?;
    file.sync_all()?;
    temporary::name(&file, path)
}

/// Writes one of many new files whose names nobody reads yet; all are on the disk once [`sync_file_system`] returns. Its inode.
pub fn prepare_among_many(path: &Place, readers: Readers, content: &[u8]) -> io::Result<u64> {
    let mut file = path.make_for(readers)?;
    file.write_all(content)?;
    Ok(file.metadata()?.ino())
}

/// Gives one of many files its name, never over another one; on the disk once [`sync_file_system`] returns. `false`:
/// something has the name already.
pub fn name_among_many(prepared: &Place, path: &Place) -> io::Result<bool> {
    match names::without_replacing(prepared, path) {
        Ok(outcome) => outcome.durably().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until everything that was written to the file system of a folder is on the disk.
pub fn sync_file_system(folder: &Place) -> io::Result<()> {
    folder.sync_file_system()
}

/// A file that grows by appending while nobody else reads it; there under its name once [`Growing::finish`] returns.
#[derive(Debug)]
pub struct Growing {
    file: io::BufWriter<File>,
}

impl Growing {
    /// A new one, for these readers. An existing `path` is an error of kind `AlreadyExists`.
    pub fn create(path: &Place, readers: Readers) -> io::Result<Self> {
        Ok(Self { file: io::BufWriter::new(path.make_for(readers)?) })
    }

    /// One that is there, to go on at its end.
    pub fn open(path: &Place) -> io::Result<Self> {
        let (mut file, _) = path.open_for(Use::Write)?;
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

    /// Ends it: everything is on the disk, and it is for these readers; without any for whom it was made for.
    pub fn finish(self, path: &Place, readers: Option<Readers>) -> io::Result<()> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        if let Some(readers) = readers {
            readers.open_to(&file, path.parent().open_folder()?)?;
        }
        file.sync_all()?;
        sync_folder(path)
    }
}

/// Sets the mode of a file beneath an open folder. One that is gone is no error.
pub fn set_mode_in(folder: impl AsFd, name: &CStr, wanted: impl FnOnce(&Metadata) -> Option<u32>) -> io::Result<()> {
    match crate::folder::set_mode_in(folder, name, wanted) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a folder of milescale's own with all that is in it, for as long as somebody lets it go on; else an error of kind `Interrupted`:
/// somebody else may have put anything into it. One that is gone is no error.
pub fn remove_folder(path: &Place, goes_on: &dyn Fn() -> bool) -> io::Result<()> {
    match path.remove_folder(goes_on) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Renames durably; an existing `to` is replaced. `from` missing is no error: the answer is `false`.
pub fn rename(from: &Place, to: &Place) -> io::Result<bool> {
    match from.rename(to) {
        Ok(()) => sync_folder(to).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A file whose rights another one is to have, and where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Like<'a> {
    /// The file.
    pub file: &'a Metadata,
    /// Where it lies.
    pub at: &'a Place,
}

/// Writes a new file, durably, with the rights and the owner of `like` where there is one: it is there whole or not at all. An
/// existing `path` is an error of kind `AlreadyExists`. After any other error it may be there.
pub fn prepare(path: &Place, content: &[u8], like: Option<Like<'_>>) -> io::Result<()> {
    let write = |file: &mut File| {
        file.write_all(content)?;
        let Some(Like { file: like, at }) = like else { return Ok(()) };
        let ours = file.metadata()?;
        if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
            // Only root may give files away; without that right the writer owns what it wrote.
            let _ = fchown(&*file, Some(like.uid()), None);
            let _ = fchown(&*file, None, Some(like.gid()));
        }
        // What another group may do was not meant for this one.
        let is_of_group = file.metadata()?.gid() == like.gid();
        let hidden = hidden(like, at, path).unwrap_or_default();
        if let Some(list) = like.list().filter(|_| hidden == 0) {
            let former = (file.metadata()?.uid() != like.uid()).then(|| like.uid());
            return list.give_to(&*file, !is_of_group, former);
        }
        let of_group = if is_of_group && like.list().is_none() { 0 } else { 0o070 };
        file.set_permissions(Permissions::from_mode(like.permissions().mode() & 0o777 & !of_group & !hidden))
    };
    // Until it has that mode, nobody else reads it, nor does whoever the folder belongs to.
    let readers = if like.is_some() { Readers::NONE } else { Readers::ALL };
    create_with(path, readers, write)?.durably()
}

/// Waits until a file that another program wrote is on the disk.
pub fn sync(path: &Place) -> io::Result<()> {
    path.open()?.0.sync_all()
}

/// Removes a file, durably: after a power cut it is not back. One that is gone is no error.
pub fn remove(path: &Place) -> io::Result<()> {
    match path.remove_file() {
        Ok(()) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a file that nobody needs; after a power cut it may be back. One that is gone is no error.
pub fn discard(path: &Place) -> io::Result<()> {
    match path.remove_file() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Moves a file aside, to `BEFORE` and the first number that is free and `AFTER` in a folder; where it is then.
pub fn set_aside(path: &Place, folder: &Place, (before, after): (&str, &str)) -> io::Result<Place> {
    let name = |number: u64| folder.join(format!("{before}{number}{after}"));
    let mut number = 1;
    while name(number).is_there()? {
        number += 1;
    }
    rename(path, &name(number))?;
    Ok(name(number))
}

/// Renames durably to the first of these names that nothing has; where it is then.
///
/// # Errors
/// Of kind `AlreadyExists` where each of them is taken.
pub fn rename_to_free(from: &Place, names: impl IntoIterator<Item = Place>) -> io::Result<Place> {
    for to in names {
        match rename_new(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            renamed => return renamed?.durably().map(|()| to),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Creates a folder and its parents, durably; one that is there is no error. Whether it was made.
pub fn create_folder(path: &Place) -> io::Result<bool> {
    if path.is_folder() {
        return Ok(false);
    }
    let parent = path.parent();
    if parent != *path {
        create_folder(&parent)?;
    }
    match path.make_folder() {
        Ok(()) => sync_folder(path).map(|()| true),
        Err(error) => match path.open_folder() {
            // Another process was first.
            Ok(_) => Ok(false),
            Err(why) if is_about_trust(&why) || error.kind() == io::ErrorKind::AlreadyExists => Err(why),
            Err(_) => Err(error),
        },
    }
}

/// Makes milescale's own folder of a workspace with its `.gitignore`, where they are missing.
pub fn create_own_folder(workspace: &Workspace) -> io::Result<()> {
    create_folder(&workspace.own())?;
    create(&workspace.own_gitignore(), OWN_GITIGNORE.as_bytes()).map(drop)
}

/// Makes the folder of a lock with its files; one that is there is an error of kind `AlreadyExists`. Not durable: a lock
/// dies with the machine.
pub fn create_lock_folder(path: &Place, files: &[(&str, String)]) -> io::Result<()> {
    match path.make_folder() {
        // It failed, and was made all the same: whoever makes one puts its files in at once.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && is_empty(path) => {}
        other => other?,
    }
    for (name, text) in files {
        // For people and adapters; without them the lock is as good.
        let _ = path.join(name).make().and_then(|mut file| file.write_all(text.as_bytes()));
    }
    Ok(())
}

fn is_empty(folder: &Place) -> bool {
    folder.entries().is_ok_and(|entries| entries.is_empty())
}

/// Removes the folder of a lock with the files that adapters keep in it; one that is gone is no error.
///
/// # Errors
/// When it holds something else, and nothing was removed; or when it may not be removed.
pub fn remove_lock_folder(path: &Place, now: SystemTime) -> io::Result<()> {
    // A milescale before this one wrote its files by way of temporary ones.
    let began = Instant::now();
    temporary::remove_leftovers(path, now, &|| began.elapsed() < LOOKS_FOR);
    let entries = match path.entries() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let name = entry.name;
        if !LOCK_FILES.iter().any(|known| name == *known) {
            let message = format!("it holds {}", name.to_string_lossy());
            return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, message));
        }
    }
    for name in LOCK_FILES {
        discard(&path.join(name))?;
    }
    match path.remove_empty_folder() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// How long is looked for what crashes have left: somebody may have put any number of files there.
const LOOKS_FOR: Duration = Duration::from_secs(1);

/// What adapters and milescale keep in the folder of a lock.
const LOCK_FILES: [&str; 2] = ["pid", "timestamp"];

/// Removes the temporary files that a crash left anywhere in a workspace, never those of a process that is alive. Best
/// effort: what stays does no harm. `now` is the wall clock.
pub fn remove_leftovers(workspace: &Workspace, now: SystemTime) {
    let folders = [
        workspace.own(),
        workspace.config_folder(),
        workspace.active(),
        workspace.completed(),
        workspace.conflicts(),
        workspace.displaced(),
    ];
    let goes_on = workspace.stop().goes_on_for(LOOKS_FOR);
    for folder in folders {
        temporary::remove_leftovers(&folder, now, &goes_on);
    }
}

/// Lets a temporary file beside `path` be written.
fn written(
    path: &Place,
    readers: Readers,
    promise: Promise,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<Temporary> {
    let mut temporary = Temporary::beside(path, readers)?;
    write(&mut temporary.file)?;
    if promise == Promise::Durable {
        temporary.file.sync_all()?;
    }
    Ok(temporary)
}

/// Waits until the names in the folder of `path` are on the disk: a rename is there only once its folder is.
pub(crate) fn sync_folder(path: &Place) -> io::Result<()> {
    path.sync_parent()
}

#[cfg(test)]
mod tests {
    use super::temporary::{Temporary, remove_leftovers};
    use super::{Outcome, can_exchange, create, exchange, publish, rename, rename_new, replace};
    use crate::Place;
    use crate::readers::Readers;
    use std::fs;
    use std::time::{Duration, SystemTime};

    #[test]
    fn create_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(create(&Place::named(&path), b"one").unwrap());
        assert!(!create(&Place::named(&path), b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_content_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::create_dir_all(path.join("not empty")).unwrap();
        assert!(replace(&Place::named(&path), b"x").is_err());
        assert!(publish(&Place::named(&path), b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn left_overs_of_a_crash_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let writing = Temporary::beside(&Place::named(&path("a")), Readers::ALL).unwrap();
        let dead =
            std::process::Command::new("true").spawn().and_then(|mut child| child.wait().map(|_| child.id())).unwrap();
        let (parent, now) = (std::os::unix::process::parent_id(), SystemTime::now());
        let old = now - Duration::from_hours(1);
        let files = [
            (".milescale-tmp-00ff".to_owned(), now),
            (format!(".milescale-tmp-{dead}-0"), now),
            (format!(".milescale-tmp-{dead}-1"), old),
            (format!(".milescale-tmp-{parent}-0"), now),
            (format!(".milescale-tmp-{parent}-1"), SystemTime::UNIX_EPOCH),
            (".other".to_owned(), old),
        ];
        for (name, modified) in &files {
            fs::write(path(name), "half").unwrap();
            fs::File::options().write(true).open(path(name)).unwrap().set_modified(*modified).unwrap();
        }
        // A left-over may be a second name of what is in use.
        fs::hard_link(path(".milescale-tmp-00ff"), path("n1.yaml")).unwrap();
        remove_leftovers(&Place::named(folder.path()), now, &|| true);
        let there = |name: &str| path(name).exists();
        assert!(writing.place().exists(), "what somebody is writing stays");
        let stay = files.iter().map(|(name, _)| there(name)).collect::<Vec<_>>();
        assert_eq!(stay, [false, true, false, true, false, true]);
        assert_eq!(fs::read(path("n1.yaml")).unwrap(), b"half");
    }

    #[test]
    fn renaming_what_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!rename(&Place::named(&folder.path().join("a")), &Place::named(&folder.path().join("b"))).unwrap());
    }

    #[test]
    fn two_files_are_exchanged_and_none_is_renamed_over() {
        let folder = tempfile::tempdir().unwrap();
        assert!(can_exchange(&Place::named(folder.path())).unwrap());
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let (one, other) = (Place::named(&a), Place::named(&b));
        fs::write(&a, "a").unwrap();
        assert_eq!(exchange(&one, &other).unwrap_err().kind(), std::io::ErrorKind::NotFound);
        fs::write(&b, "b").unwrap();
        assert!(matches!(exchange(&one, &other), Ok(Outcome::Done)));
        assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"b".to_vec(), b"a".to_vec()));
        assert_eq!(rename_new(&one, &other).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
