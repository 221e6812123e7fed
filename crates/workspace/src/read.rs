//! Reading small files that other programs write: never a FIFO, a device or a symlink; never more than a limit.

use std::ffi::CStr;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use milescale_document::digest::{Digest, Running};
use milescale_document::text::{as_told, shortened};
use milescale_document::value::Value;
use milescale_document::yaml;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use serde::de::DeserializeOwned;

use crate::folder::{self, Metadata, Place, status_in};
use crate::readers::Readers;

/// The longest tick of a file system's clock.
const CLOCK_TICK_NANOSECONDS: i64 = 2_000_000_000;

/// Which content a file had: two equal stamps, taken more than a clock tick after the last write, mean equal content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Its number in the file system.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970 of the last change of content, which programs can set.
    pub modified: i64,
    /// Nanoseconds since 1970 of the last change of content or metadata, which no program can set.
    pub changed: i64,
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// Nanoseconds since 1970 of a time.
fn nanoseconds_of(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

impl Stamp {
    /// The stamp of a file.
    pub fn of(metadata: &folder::system::Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The stamp of what is under a name now, where that is a regular file; no symlink is followed.
    pub fn at(folder: impl AsFd, name: &CStr) -> io::Result<Option<Self>> {
        let status = status_in(folder, name)?;
        Ok((FileType::from_raw_mode(status.st_mode) == FileType::RegularFile).then(|| Self::of_status(&status)))
    }

    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        clippy::cast_lossless,
        reason = "the types differ by platform"
    )]
    fn of_status(status: &Stat) -> Self {
        Self {
            inode: status.st_ino as u64,
            size: status.st_size as u64,
            modified: nanoseconds(status.st_mtime as i64, status.st_mtime_nsec as i64),
            changed: nanoseconds(status.st_ctime as i64, status.st_ctime_nsec as i64),
        }
    }

    /// When its content was last written, as far as programs have not set that themselves.
    pub fn modified_at(&self) -> Option<Timestamp> {
        Timestamp::from_nanosecond(self.modified.into()).ok()
    }

    /// Whether the file was changed so short a time before `now` that it may change again without a new stamp.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        nanoseconds_of(now).saturating_sub(self.changed) < CLOCK_TICK_NANOSECONDS
    }

    /// How far from `now` its last change of content or metadata lies, before or after it.
    pub fn age(&self, now: SystemTime) -> Duration {
        Duration::from_nanos(nanoseconds_of(now).abs_diff(self.changed))
    }
}

// Without NONBLOCK a FIFO would hang the open for ever.
const FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::NOFOLLOW);

const SYMLINK: &str = "it is a symlink, which is not followed here";

fn no_regular_file(is_folder: bool) -> io::Error {
    let what = if is_folder { "a folder" } else { "a FIFO, socket or device" };
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, expected a regular file"))
}

pub(crate) fn too_large(limit: u64) -> io::Error {
    let limit = if limit < 1 << 20 { format!("{} KiB", limit >> 10) } else { format!("{} MiB", limit >> 20) };
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than the limit of {limit}"))
}

/// Reads many files of a folder, one after another, into one buffer.
#[derive(Debug)]
pub struct Reader {
    buffer: Vec<u8>,
    /// What keeps the system from writing down that a file was read: each note is a change of an inode, for nothing.
    unnoted: OFlags,
}

#[cfg(target_os = "linux")]
const UNNOTED: OFlags = OFlags::NOATIME;
#[cfg(not(target_os = "linux"))]
const UNNOTED: OFlags = OFlags::empty();

impl Default for Reader {
    fn default() -> Self {
        Self { buffer: vec![0; 32 << 10], unnoted: UNNOTED }
    }
}

impl Reader {
    /// Reads a whole regular file beneath an open folder, of at most `limit` bytes, with its stamp from before it was read. No
    /// symlink is followed, neither at the end nor in between.
    ///
    /// # Errors
    /// As [`read_regular`].
    pub fn read(&mut self, folder: impl AsFd, name: &CStr, limit: u64) -> io::Result<(&[u8], Stamp)> {
        self.read_with_readers(folder, name, limit).map(|(content, stamp, _)| (content, stamp))
    }

    /// The same with those who may read the file, by its mode.
    ///
    /// # Errors
    /// As [`read_regular`].
    pub fn read_with_readers(
        &mut self,
        folder: impl AsFd,
        name: &CStr,
        limit: u64,
    ) -> io::Result<(&[u8], Stamp, Readers)> {
        let (below, name) = folder::below(&folder, name)?;
        let folder = below.as_ref().map_or(folder.as_fd(), AsFd::as_fd);
        let mut opened = rustix::fs::openat(folder, name, FLAGS | self.unnoted, Mode::empty());
        // Of somebody else's files the system keeps its notes.
        if opened.as_ref().err() == Some(&Errno::PERM) && !self.unnoted.is_empty() {
            self.unnoted = OFlags::empty();
            opened = rustix::fs::openat(folder, name, FLAGS, Mode::empty());
        }
        let file = match opened {
            Err(Errno::LOOP) => return Err(io::Error::new(io::ErrorKind::InvalidInput, SYMLINK)),
            other => other?,
        };
        let status = rustix::fs::fstat(&file)?;
        let kind = FileType::from_raw_mode(status.st_mode);
        if kind != FileType::RegularFile {
            return Err(no_regular_file(kind == FileType::Directory));
        }
        Readers::note_open(&file, &status, folder);
        let stamp = Stamp::of_status(&status);
        if stamp.size > limit {
            return Err(too_large(limit));
        }
        let size = usize::try_from(stamp.size).unwrap_or(usize::MAX);
        if self.buffer.len() <= size {
            self.buffer.resize(size + 1, 0);
        }
        let mut length = 0;
        loop {
            let count = match rustix::io::read(&file, &mut self.buffer[length..]) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            length += count;
            // What ends where the system says that it ends has ended; what has grown meanwhile is read on.
            if count == 0 || length == size {
                break;
            }
            if length as u64 > limit {
                return Err(too_large(limit));
            }
            if length == self.buffer.len() {
                self.buffer.resize(2 * length, 0);
            }
        }
        Ok((&self.buffer[..length], stamp, Readers::of_status(&status)))
    }
}

/// The most of a file whose digest is asked for: none that milescale has kept is larger, and another program has made of it what is.
const LARGEST_KEPT: u64 = 64 << 20;

/// The digest of a whole regular file, with its stamp from before it was read.
///
/// # Errors
/// As [`read_regular`]; of kind `FileTooLarge` for one of more than [`LARGEST_KEPT`] bytes.
pub(crate) fn digest_of(path: &Place) -> io::Result<(Digest, Stamp)> {
    let (file, metadata) = path.open()?;
    if metadata.len() > LARGEST_KEPT {
        return Err(too_large(LARGEST_KEPT));
    }
    // It may grow meanwhile.
    let mut file = file.take(LARGEST_KEPT);
    let (mut running, mut buffer) = (Running::default(), vec![0; 32 << 10]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((running.finish(), Stamp::of(&metadata))),
            Ok(count) => running.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a file of JSON of milescale's own, of at most `limit` bytes; `None` where there is none.
///
/// # Errors
/// When it cannot be read, or holds something else.
pub fn read_json<T: DeserializeOwned>(path: &Place, limit: u64) -> io::Result<Option<T>> {
    match read_regular(path, limit) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => serde_json::from_slice(&other?.0).map(Some).map_err(|error| {
            // One that ends too early is damaged like any other.
            let kind = if error.is_io() { io::ErrorKind::Other } else { io::ErrorKind::InvalidData };
            io::Error::new(kind, said(&error))
        }),
    }
}

/// What a JSON text says that others may have written.
///
/// # Errors
/// In words, which repeat no more than the beginning of what was read.
pub fn from_json<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| said(&error))
}

/// What a YAML text says that others may have written, by the one reader that bounds it.
///
/// # Errors
/// In words: it is no YAML, or says something else.
pub fn from_yaml<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let document = yaml::parse(text).map_err(|flaw| flaw.to_string())?;
    let value = Value::of(&document).map_err(|flaw| flaw.to_string())?;
    serde_json::to_value(&value).and_then(serde_json::from_value).map_err(|error| said(&error))
}

/// What is said of a text that is not what was expected: it may repeat the text.
fn said(error: &serde_json::Error) -> String {
    as_told(&shortened(&error.to_string()))
}

/// What an error says of a file of milescale's own that has to be read before anything is written.
pub const CANNOT_BE_READ: &str = " cannot be read: ";

/// An error of reading a file of milescale's own, with its place, and with what to do where it is damaged.
pub fn unreadable(error: &io::Error, place: &str, step: &str) -> io::Error {
    let is_damaged = matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
    let step = if is_damaged { format!("; {step}") } else { String::new() };
    io::Error::new(error.kind(), format!("{place}{CANNOT_BE_READ}{error}{step}"))
}

/// That a file of milescale's own has a version that this one does not know.
pub(crate) fn newer(version: u32) -> io::Error {
    let message = format!("it is of version {version}, written by a newer milescale");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Reads a whole regular file of at most `limit` bytes; a larger one is an error of kind `FileTooLarge`.
pub fn read_regular(path: &Place, limit: u64) -> io::Result<(Vec<u8>, Metadata)> {
    read_opened(path.open()?, limit)
}

/// The same of a milestone; whose it is is noted, where somebody asks for that ([`Readers::noted`]).
///
/// # Errors
/// As [`read_regular`].
pub fn read_milestone(path: &Place, limit: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let (opened, folder) = path.open_in_folder()?;
    Readers::note_at(&opened.1, folder, path);
    read_opened(opened, limit)
}

fn read_opened((file, metadata): (folder::File, Metadata), limit: u64) -> io::Result<(Vec<u8>, Metadata)> {
    if metadata.len() > limit {
        return Err(too_large(limit));
    }
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok((content, metadata))
}
