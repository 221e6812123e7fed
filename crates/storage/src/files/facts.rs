//! What is known of the files, kept across restarts: `.milescale/facts`.
//!
//! A file whose inode, size and times are what they were when it was read has the content that it had, so only the others
//! are read at a start. It holds nothing that cannot be read again: one that is missing, of another version, of another
//! folder or damaged is worth nothing, and everything is read.
//!
//! Little-endian: [`MAGIC`], device and inode of `active/`, number of files; of each the length of its path (2 bytes), the
//! path, inode, size, times of change of content and of inode in nanoseconds, hash of its columns (8 bytes each), tasks with
//! kiro, entries of `dependencies.requires` (4 bytes each); at the end a sum over all that ([`sum`]). Not in it are files that
//! were read within two seconds of their last change, and those that a person should know something of.

use std::ffi::OsStr;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use milescale_workspace::Place;
use milescale_workspace::durable;
use milescale_workspace::error::StoreError;
use milescale_workspace::read::Stamp;

use super::table::{Known, Table};
use super::{ColumnsHash, FileStore};
use crate::store::Occasion;

/// The first bytes, with the version.
const MAGIC: &[u8; 16] = b"milescale facts2";

/// Bytes of a file beside its path.
const FIXED: usize = 2 + 5 * 8 + 2 * 4;

/// Fewer changes than one in so many files are not worth writing all of them again.
const WORTH_ONE_IN: u64 = 16;

/// Room made for files before they are read, at most: the number may be damaged.
const MOST_RESERVED: usize = 1 << 20;

const BUFFER: usize = 64 << 10;

impl FileStore {
    /// Takes in what an earlier process knew. Every entry is looked at again before it counts.
    pub(super) fn recall(&mut self) {
        let read = self.workspace.facts().open().and_then(|(file, _)| {
            read(BufReader::with_capacity(BUFFER, file), identity(&self.active)?, &mut self.table)
        });
        if let Err(error) = read {
            tracing::debug!(%error, "what was known of the files is not used");
            self.table = Table::default();
        }
        self.written_at = self.changes;
    }

    /// Keeps what is known for the next start, where enough has changed.
    pub(super) fn write_facts(&mut self, occasion: Occasion) -> Result<(), StoreError> {
        let changed = self.changes - self.written_at;
        let is_worth_it = changed > self.table.len() as u64 / WORTH_ONE_IN;
        if changed == 0 || self.table.is_empty() || !(is_worth_it || occasion == Occasion::End) {
            return Ok(());
        }
        let path = self.workspace.facts();
        let written = identity(&self.active).and_then(|folder| {
            durable::publish_with(&path, |file| write(&mut BufWriter::with_capacity(BUFFER, file), folder, &self.table))
        });
        written.map_err(|error| StoreError::io(self.workspace.shown(&path), "it cannot be written", &error))?;
        self.written_at = self.changes;
        Ok(())
    }
}

/// Device and inode of a folder.
fn identity(folder: &Place) -> io::Result<[u64; 2]> {
    folder.status().map(|metadata| [metadata.dev(), metadata.ino()])
}

/// A sum that a damaged byte changes.
fn sum(state: u64, bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(state, |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (state.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

fn write(out: &mut dyn Write, folder: [u64; 2], table: &Table) -> io::Result<()> {
    let kept = || table.settled().filter(|(path, _)| u16::try_from(path.as_os_str().len()).is_ok());
    let mut record = MAGIC.to_vec();
    for number in [folder[0], folder[1], kept().count() as u64] {
        record.extend(number.to_le_bytes());
    }
    let mut state = sum(0, &record);
    out.write_all(&record)?;
    for (path, known) in kept() {
        let path = path.as_os_str().as_bytes();
        record.clear();
        record.extend(u16::try_from(path.len()).unwrap_or_default().to_le_bytes());
        record.extend(path);
        let Stamp { inode, size, modified, changed } = known.stamp;
        for number in [inode, size, modified.cast_unsigned(), changed.cast_unsigned(), known.columns.to_bits()] {
            record.extend(number.to_le_bytes());
        }
        record.extend(known.kiro_enabled.to_le_bytes());
        record.extend(known.requires.to_le_bytes());
        state = sum(state, &record);
        out.write_all(&record)?;
    }
    out.write_all(&state.to_le_bytes())?;
    out.flush()
}

/// What is read, with the sum over it.
struct Summed<R> {
    from: R,
    record: Vec<u8>,
    state: u64,
}

impl<R: Read> Summed<R> {
    /// Appends the next bytes to the record.
    fn more(&mut self, count: usize) -> io::Result<()> {
        let start = self.record.len();
        self.record.resize(start + count, 0);
        self.from.read_exact(&mut self.record[start..])
    }

    /// The record is complete: its sum is taken, and the next one begins.
    fn next(&mut self) {
        self.state = sum(self.state, &self.record);
        self.record.clear();
    }

    /// The number at some place of the record.
    fn u64(&self, at: usize) -> u64 {
        self.record.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    }

    fn u32(&self, at: usize) -> u32 {
        self.record.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    }
}

fn read(from: impl Read, folder: [u64; 2], table: &mut Table) -> io::Result<()> {
    let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
    let mut file = Summed { from, record: Vec::new(), state: 0 };
    file.more(MAGIC.len() + 24)?;
    if !file.record.starts_with(MAGIC) || [file.u64(16), file.u64(24)] != folder {
        return wrong("it is of another version or another folder");
    }
    let count = file.u64(32);
    file.next();
    table.make_room_for(usize::try_from(count).unwrap_or_default().min(MOST_RESERVED));
    for _ in 0..count {
        file.more(2)?;
        let length = usize::from(u16::from_le_bytes([file.record[0], file.record[1]]));
        file.more(FIXED - 2 + length)?;
        let at = 2 + length;
        let path = Path::new(OsStr::from_bytes(&file.record[2..at])).into();
        let stamp = Stamp {
            inode: file.u64(at),
            size: file.u64(at + 8),
            modified: file.u64(at + 16).cast_signed(),
            changed: file.u64(at + 24).cast_signed(),
        };
        let columns = ColumnsHash::from_bits(file.u64(at + 32));
        let (kiro_enabled, requires) = (file.u32(at + 40), file.u32(at + 44));
        table.insert(path, Known { stamp, columns, kiro_enabled, requires }, None, false, 0);
        file.next();
    }
    file.more(8)?;
    if file.u64(0) != file.state || file.from.read(&mut [0])? != 0 {
        return wrong("its sum is another one");
    }
    Ok(())
}
