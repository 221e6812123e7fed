//! Files of the system and of the person: what no workspace names.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use milescale_document::text::harmless;
use rustix::fs::OFlags;

use super::files::no_regular_file;
use crate::read::too_large;

pub use std::fs::{File, Metadata};

/// The most that is read of such a file.
const LIMIT: u64 = 16 << 20;

/// Reads a small text of the system's (`/proc`, `/sys`, `/etc`).
pub fn text(path: impl AsRef<Path>) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a regular file for reading that a person, or a program's own rules, have named: symlinks are followed, nothing else is
/// opened.
///
/// # Errors
/// Of kind `InvalidInput` for what is no regular file.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let before = fs::metadata(path)?;
    if !before.is_file() {
        return Err(no_regular_file(before.is_dir()));
    }
    let nonblock = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(no_regular_file(metadata.is_dir()));
    }
    Ok((file, metadata))
}

/// Reads a whole file, as [`open`] opens it.
///
/// # Errors
/// As [`open`]; of kind `FileTooLarge` for one that is larger than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let (file, metadata) = open(path)?;
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok((content, metadata))
}

/// What lies at a path, symlinks followed.
pub fn status(path: impl AsRef<Path>) -> io::Result<Metadata> {
    fs::metadata(path)
}

/// What a symlink says; `None` where none lies there.
pub fn link_target(path: &Path) -> Option<std::path::PathBuf> {
    fs::read_link(path).ok()
}

/// Whether anything lies at a path.
pub fn exists(path: impl AsRef<Path>) -> bool {
    status(path).is_ok()
}

/// Whether a folder lies at a path, symlinks followed.
pub fn is_folder(path: impl AsRef<Path>) -> bool {
    status(path).is_ok_and(|it| it.is_dir())
}

/// A path without symlinks.
pub fn real_path(path: impl AsRef<Path>) -> io::Result<std::path::PathBuf> {
    fs::canonicalize(path)
}

/// Whether there is a terminal.
pub fn has_terminal() -> bool {
    fs::File::open("/dev/tty").is_ok()
}

/// Whether a user is one of a group, by the system's own files, for to ask other services would be to load their code; `None` where they know
/// not both.
pub fn is_in_group(user: u32, group: u32) -> Option<bool> {
    fn fields(file: &str, number: usize, which: u32) -> Option<Vec<&str>> {
        file.lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|it| it.get(number).is_some_and(|it| it.parse() == Ok(which)))
    }
    let (users, groups) = (text("/etc/passwd").unwrap_or_default(), text("/etc/group").unwrap_or_default());
    let known = fields(&users, 2, user)?;
    if known.get(3).is_some_and(|own| own.parse() == Ok(group)) {
        return Some(true);
    }
    let members = fields(&groups, 2, group)?;
    Some(members.get(3).is_some_and(|all| all.split(',').any(|one| one == known[0])))
}

/// The number of a user whom the system knows by a name, or whose number it is.
pub fn user_called(name: &str) -> Option<u32> {
    let known = text("/etc/passwd").unwrap_or_default();
    let found = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    });
    found.or_else(|| name.parse().ok())
}

/// The name that the system knows a user by, with its number.
pub fn name_of_user(user: u32) -> String {
    let known = text("/etc/passwd").unwrap_or_default();
    let name = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then_some(name)
    });
    name.map_or_else(|| format!("the user {user}"), |name| format!("{} (user {user})", harmless(name)))
}
