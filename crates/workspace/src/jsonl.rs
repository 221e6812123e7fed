//! Lines that people tail: appended whole, rotated by size (contract §6).

use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use serde::Serialize;

use crate::folder::{File, Place, Use};

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
/// A half line that a full disk left is ended first, in the same write, and NULs that a power cut left before it. A file that would grow beyond the limit is
/// renamed to `.1` before, and the ones before it move up. If the process dies in between, the line is there or not;
/// no other line is touched.
///
/// # Errors
/// When the line is not there in full afterwards.
pub fn append(path: &Place, line: &impl Serialize, rotation: Rotation) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    if length > 0 && length + text.len() as u64 > rotation.at_bytes {
        // Later on only the new file is synced.
        sync(path)?;
        rotate(path, rotation.files)?;
        file = open(path)?;
    } else {
        let mut last = last_byte(&file)?;
        if last == Some(0) {
            fill_nuls(path)?;
            last = last_byte(&file)?;
        }
        if last.is_some_and(|last| last != b'\n') {
            text.insert(0, b'\n');
        }
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
pub(crate) fn append_durably(path: &Place, lines: &str) -> io::Result<()> {
    let mut file = open(path)?;
    let before = if last_byte(&file)?.is_some_and(|last| last != b'\n') { "\n" } else { "" };
    file.write_all(format!("{before}{lines}").as_bytes())?;
    file.sync_data()
}

/// Waits until every line is on the disk.
pub fn sync(path: &Place) -> io::Result<()> {
    path.open()?.0.sync_all()?;
    path.sync_parent()
}

/// Replaces what a power cut has left of lines that were being written, a run of NULs, by blanks and a newline: a reader of
/// JSON skips them, and the line that follows begins on a line of its own. Only the end of the file is looked through. Lines
/// that others append meanwhile are not touched. A log that is not there is no error.
pub fn fill_nuls(path: &Place) -> io::Result<()> {
    let file = match path.open_for(Use::Change) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?.0,
    };
    let length = file.metadata()?.len();
    let mut position = length.saturating_sub(LOOKED_THROUGH);
    let mut chunk = vec![0; 64 << 10];
    while position < length {
        let wanted = usize::try_from(length - position).unwrap_or(chunk.len()).min(chunk.len());
        let count = file.read_at(&mut chunk[..wanted], position)?;
        let Some(found) = memchr::memchr(0, &chunk[..count]) else {
            if count == 0 {
                return Ok(());
            }
            position += count as u64;
            continue;
        };
        let run = chunk[found..count].iter().take_while(|byte| **byte == 0).count();
        let mut blanks = vec![b' '; run];
        blanks[run - 1] = b'\n';
        file.write_all_at(&blanks, position + found as u64)?;
        position += (found + run) as u64;
    }
    Ok(())
}

/// Bytes at the end of a log that are looked through for NULs: more than a disk leaves unwritten for long.
const LOOKED_THROUGH: u64 = 4 << 20;

/// The name of the rotated file with this number.
pub fn rotated(path: &Place, number: u64) -> Place {
    let mut name = path.name().to_owned();
    name.push(format!(".{number}"));
    path.with_name(name)
}

fn open(path: &Place) -> io::Result<File> {
    path.open_for(Use::Append).map(|(file, _)| file)
}

fn last_byte(file: &File) -> io::Result<Option<u8>> {
    let length = file.metadata()?.len();
    let mut last = [0];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok((length > 0).then_some(last[0]))
}

fn rotate(path: &Place, files: u64) -> io::Result<()> {
    for number in (1..files).rev() {
        match rotated(path, number).rename(&rotated(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    path.rename(&rotated(path, 1))
}

#[cfg(test)]
mod tests {
    use super::{Rotation, append, fill_nuls};
    use crate::Place;
    use std::fs;

    const ROTATION: Rotation = Rotation { at_bytes: 30, files: 2 };

    #[test]
    fn ends_a_half_line_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "{\"a\":").unwrap();
        append(&Place::named(&path), &1, ROTATION).unwrap();
        append(&Place::named(&path), &2, ROTATION).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":\n1\n2\n");
    }

    #[test]
    fn nuls_that_a_power_cut_left_become_blanks_and_no_line_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let rotation = Rotation { at_bytes: u64::MAX, files: 1 };
        let nuls = "\0".repeat(200_000);
        fs::write(&path, format!("1\n{nuls}2\n[\0\0{nuls}")).unwrap();
        append(&Place::named(&path), &3, rotation).unwrap();
        append(&Place::named(&path), &4, rotation).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["1", "2", "[", "3", "4"]);
        assert!(!text.contains('\0') && text.lines().any(|line| line == "2"), "each line on its own");
        fs::write(&path, "\0").unwrap();
        fill_nuls(&Place::named(&path)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "\n");
        fill_nuls(&Place::named(&folder.path().join("none"))).unwrap();
    }

    #[test]
    fn rotates_by_size_and_keeps_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for number in 0..7 {
            append(&Place::named(&path), &format!("a long line, number {number}"), ROTATION).unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(read("log").contains('6') && read("log.1").contains('5') && read("log.2").contains('4'));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
