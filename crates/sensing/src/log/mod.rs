//! The log of storage events, `logs/storage-events.jsonl`: lines that adapters append, truncate, replace and rotate as
//! they like (contract §4).
//!
//! At first the file is read from its end backwards as far as the windows reach, on into `.1` if need be; from then on
//! only what is appended. A file that is no longer the same one, or shorter, or another one under the same name, is
//! read anew.

mod event;
mod numbering;
mod window;

use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, MetadataExt};

use jiff::Timestamp;
use milescale_core::figures::LogFigures;
use milescale_workspace::Place;
use milescale_workspace::folder::{File, Metadata};
use milescale_workspace::jsonl::rotated;
use serde::{Deserialize, Serialize};

use event::Event;
use milescale_workspace::tail::{LINE_LIMIT, Line, after_nuls, lines_backwards};
use numbering::Numbering;
use window::Window;

pub use window::Undated;

/// Bytes before the place that was read to, compared to know the file again.
const FINGERPRINT: u64 = 32;

/// Lines listed by number in one report.
const LISTED: usize = 20;

/// Up to where lines have been reported that are no JSON objects; kept across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    inode: u64,
    offset: u64,
}

/// Lines that are no JSON objects and were not reported before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadLines {
    /// How many.
    pub count: u64,
    /// The numbers of the last of them, from 1; at most 20.
    pub lines: Vec<u64>,
}

/// The log, followed.
#[derive(Debug)]
pub struct EventLog {
    log: Place,
    /// `None` before the first look and where there is no log.
    position: Option<Position>,
    window: Window,
    exists: bool,
    bad: Bad,
    reported: Option<Reported>,
}

/// Where in which file the reading stands.
#[derive(Debug)]
struct Position {
    device: u64,
    inode: u64,
    /// Everything before has been read.
    offset: u64,
    /// The last bytes before `offset`.
    fingerprint: Vec<u8>,
    /// What has been read after the last newline.
    partial: Vec<u8>,
    /// The line that `partial` belongs to is too long.
    skipping: bool,
    numbering: Numbering,
}

#[derive(Debug, Default)]
struct Bad {
    /// In the part of the log that was read.
    total: u64,
    /// Of these, those that a power cut left.
    cut: u64,
    /// Not reported yet.
    new: u64,
    /// Offsets of the last new ones.
    offsets: Vec<u64>,
}

impl EventLog {
    /// The log at a place; nothing is read yet.
    pub fn new(log: Place, reported: Option<Reported>) -> Self {
        Self { log, position: None, window: Window::default(), exists: false, bad: Bad::default(), reported }
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// When the log is there and cannot be read: the figures stay those of before.
    pub fn look(&mut self, now: Timestamp) -> io::Result<()> {
        let (file, metadata) = match self.log.open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.without_file(now),
            other => other?,
        };
        let size = metadata.len();
        match self.position.take() {
            Some(place) if place.is_of(&file, &metadata)? => self.follow(&file, size, place)?,
            _ => self.read_anew(&file, &metadata, now)?,
        }
        self.exists = true;
        self.window.prune(now);
        Ok(())
    }

    /// The figures at `now`. A last line without a newline counts as soon as it is whole.
    pub fn figures(&self, now: Timestamp) -> LogFigures {
        if !self.exists {
            return LogFigures { concurrent_users: 1, team_size: 1, ..LogFigures::default() };
        }
        let last = self
            .position
            .as_ref()
            .filter(|place| !place.skipping)
            .and_then(|place| Event::parse(after_nuls(&place.partial)));
        self.window.figures(now, last.as_ref())
    }

    /// The latest stamp of the window, to be compared with the clock.
    pub fn latest_stamp(&self) -> Option<Timestamp> {
        self.window.latest().and_then(|second| Timestamp::from_second(second).ok())
    }

    /// Lines in the part that was read that are no JSON objects.
    pub fn bad_lines(&self) -> u64 {
        self.bad.total
    }

    /// Events in that part whose stamps cannot be read.
    pub fn undated(&self) -> &Undated {
        self.window.undated()
    }

    /// Of these, those that a power cut left: lines with NULs in them.
    pub fn cut_lines(&self) -> u64 {
        self.bad.cut
    }

    /// Those that were not reported before; each is answered once. What to remember is in [`EventLog::reported`].
    pub fn take_new_bad_lines(&mut self) -> Option<BadLines> {
        let place = self.position.as_mut()?;
        self.reported = Some(Reported { inode: place.inode, offset: place.offset });
        if self.bad.new == 0 {
            return None;
        }
        let mut offsets = std::mem::take(&mut self.bad.offsets);
        offsets.sort_unstable();
        let lines = match self.log.open() {
            Ok((file, metadata)) if metadata.ino() == place.inode => place.numbering.numbers(&file, &offsets),
            _ => Vec::new(),
        };
        Some(BadLines { count: std::mem::take(&mut self.bad.new), lines })
    }

    /// What to give to [`EventLog::new`] after a restart.
    pub fn reported(&self) -> Option<Reported> {
        self.reported
    }

    /// No file: a log of which only the rotated part is left is still a log.
    fn without_file(&mut self, now: Timestamp) -> io::Result<()> {
        self.position = None;
        self.window = Window::default();
        self.bad = Bad::default();
        self.exists = self.read_rotated(None, now)?;
        Ok(())
    }

    fn follow(&mut self, file: &File, size: u64, mut place: Position) -> io::Result<()> {
        let mut chunk = vec![0; 64 << 10];
        while place.offset < size {
            let count = file.read_at(&mut chunk, place.offset)?;
            if count == 0 {
                break;
            }
            self.take_in(&mut place, &chunk[..count]);
        }
        place.partial.shrink_to(64 << 10);
        place.remember(file)?;
        self.position = Some(place);
        Ok(())
    }

    /// Takes in bytes that follow those read before.
    fn take_in(&mut self, place: &mut Position, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
            let piece;
            (piece, rest) = rest.split_at(length);
            let begin = place.offset - place.partial.len() as u64;
            place.offset += piece.len() as u64;
            let Some(end) = piece.strip_suffix(b"\n") else {
                if place.partial.len() + piece.len() > LINE_LIMIT {
                    (place.skipping, place.partial) = (true, Vec::new());
                }
                if !place.skipping {
                    place.partial.extend_from_slice(piece);
                }
                continue;
            };
            let line = if place.skipping {
                Line::TooLong
            } else if place.partial.is_empty() {
                Line::Whole(end)
            } else {
                place.partial.extend_from_slice(end);
                Line::Whole(&place.partial)
            };
            match line_event(line) {
                Parsed::Event(event) => self.window.newer(&event),
                Parsed::Blank => {}
                Parsed::Bad { is_cut } => self.bad.add(place.inode, begin, self.reported, is_cut),
            }
            place.partial.clear();
            place.skipping = false;
        }
    }

    fn read_anew(&mut self, file: &File, metadata: &Metadata, now: Timestamp) -> io::Result<()> {
        let mut window = Window::default();
        let mut bad = Bad::default();
        let mut tail: Option<Option<Vec<u8>>> = None;
        let (inode, reported) = (metadata.ino(), self.reported);
        lines_backwards(file, metadata.len(), |offset, line| {
            if tail.is_none() {
                tail = Some(if let Line::Whole(bytes) = line { Some(bytes.to_vec()) } else { None });
                return ControlFlow::Continue(());
            }
            match line_event(line) {
                Parsed::Event(event) => window.older(&event, now),
                Parsed::Blank => {}
                Parsed::Bad { is_cut } => bad.add(inode, offset, reported, is_cut),
            }
            if window.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let partial = tail.unwrap_or_default();
        let mut place = Position {
            device: metadata.dev(),
            inode,
            offset: metadata.len(),
            fingerprint: Vec::new(),
            skipping: partial.is_none(),
            partial: partial.unwrap_or_default(),
            numbering: Numbering::default(),
        };
        place.remember(file)?;
        (self.window, self.bad) = (window, bad);
        self.read_rotated(Some(inode), now)?;
        // Only now: what was read in part is read again.
        self.position = Some(place);
        Ok(())
    }

    /// Reads on in the rotated file where the windows reach further back. Whether there is one.
    fn read_rotated(&mut self, current: Option<u64>, now: Timestamp) -> io::Result<bool> {
        let (file, metadata) = match rotated(&self.log, 1).open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        // Renamed between the two looks: the same file under both names.
        if current == Some(metadata.ino()) || self.window.is_full() {
            return Ok(true);
        }
        let window = &mut self.window;
        lines_backwards(&file, metadata.len(), |_, line| {
            if let Parsed::Event(event) = line_event(line) {
                window.older(&event, now);
            }
            if window.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(true)
    }
}

enum Parsed {
    Event(Event),
    Blank,
    /// No JSON object. Whether a power cut left it, by its NULs: then no adapter is to blame.
    Bad {
        is_cut: bool,
    },
}

fn line_event(line: Line<'_>) -> Parsed {
    match line {
        Line::TooLong => Parsed::Bad { is_cut: false },
        Line::Whole(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Parsed::Blank,
        Line::Whole(bytes) => {
            let rest = after_nuls(bytes);
            Event::parse(rest).map_or(Parsed::Bad { is_cut: rest.len() < bytes.len() }, Parsed::Event)
        }
    }
}

impl Position {
    fn is_of(&self, file: &File, metadata: &Metadata) -> io::Result<bool> {
        if (metadata.dev(), metadata.ino()) != (self.device, self.inode) || metadata.len() < self.offset {
            return Ok(false);
        }
        Ok(before(file, self.offset)? == self.fingerprint)
    }

    fn remember(&mut self, file: &File) -> io::Result<()> {
        self.fingerprint = before(file, self.offset)?;
        Ok(())
    }
}

/// The bytes just before `offset`; fewer where the file has been cut.
fn before(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let length = offset.min(FINGERPRINT);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    let count = file.read_at(&mut bytes, offset - length)?;
    bytes.truncate(count);
    Ok(bytes)
}

impl Bad {
    fn add(&mut self, inode: u64, offset: u64, reported: Option<Reported>, is_cut: bool) {
        self.total += 1;
        self.cut += u64::from(is_cut);
        if reported.is_some_and(|until| until.inode == inode && offset < until.offset) {
            return;
        }
        self.new += 1;
        self.offsets.push(offset);
        if self.offsets.len() > 2 * LISTED {
            self.offsets.sort_unstable();
            self.offsets.drain(..self.offsets.len() - LISTED);
        }
    }
}

#[cfg(test)]
mod tests;
