//! Lines that people tail: appended whole, rotated by size (contract §6).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Serialize;

/// When a log is rotated, and how many of its rotated files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes that a file may have.
    pub at_bytes: u64,
    /// Rotated files kept: `.1` is the newest.
    pub files: u64,
}

/// Appends `line` as one JSON object on one line in a single write.
///
/// A half line that a full disk left is ended first, in the same write. A file that would grow beyond the limit is
/// renamed to `.1` before, and the ones before it move up. If the process dies in between, the line is there or not;
/// no other line is touched.
///
/// # Errors
/// When the line is not there in full afterwards.
pub fn append(path: &Path, line: &impl Serialize, rotation: Rotation) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    if length > 0 && length + text.len() as u64 > rotation.at_bytes {
        rotate(path, rotation.files)?;
        file = open(path)?;
    } else if !ends_with_newline(&file, length)? {
        text.insert(0, b'\n');
    }
    let count = file.write(&text)?;
    if count < text.len() {
        let message = format!("only {count} of {} bytes could be written: the disk may be full", text.len());
        return Err(io::Error::new(io::ErrorKind::WriteZero, message));
    }
    Ok(())
}

/// Appends whole lines in a single write, and waits until they are on the disk. The caller keeps other writers out.
///
/// # Errors
/// When they may not be there in full afterwards: a half line is ended by the next call.
pub(crate) fn append_durably(path: &Path, lines: &str) -> io::Result<()> {
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    let before = if ends_with_newline(&file, length)? { "" } else { "\n" };
    file.write_all(format!("{before}{lines}").as_bytes())?;
    file.sync_data()
}

/// The name of the rotated file with this number.
pub fn rotated(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn open(path: &Path) -> io::Result<File> {
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).append(true).create(true).custom_flags(nonblock).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

fn ends_with_newline(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last == [b'\n'])
}

fn rotate(path: &Path, files: u64) -> io::Result<()> {
    for number in (1..files).rev() {
        match fs::rename(rotated(path, number), rotated(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, rotated(path, 1))
}

#[cfg(test)]
mod tests {
    use super::{Rotation, append};
    use std::fs;

    const ROTATION: Rotation = Rotation { at_bytes: 30, files: 2 };

    #[test]
    fn ends_a_half_line_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "{\"a\":").unwrap();
        append(&path, &1, ROTATION).unwrap();
        append(&path, &2, ROTATION).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":\n1\n2\n");
    }

    #[test]
    fn rotates_by_size_and_keeps_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for number in 0..7 {
            append(&path, &format!("a long line, number {number}"), ROTATION).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(read("log").contains('6') && read("log.1").contains('5') && read("log.2").contains('4'));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
