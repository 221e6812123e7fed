//! How much room a long reading makes for other writers.
//!
//! The `sqlite3` shell does not wait for a lock: a commit that meets a read lock is refused. So reads are short, with pauses
//! after each: longer ones while somebody is writing.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use milescale_workspace::Place;

/// A pause is this much longer than the read before it while nobody has written: the first write of somebody who comes
/// meets a read lock one time in ten at most.
const WHILE_QUIET: u32 = 9;

/// And while somebody writes: less than one time in a hundred, for a read takes longer than it holds its lock.
const WHILE_WRITTEN: u32 = 80;

/// How long somebody who has written is expected to write again.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Of so many reads the shortest is what a read takes: what another took longer, it waited for a lock or a processor.
const READS: usize = 8;

/// Time and size of a file: another one once somebody has committed.
type Trace = (i64, i64, u64);

/// Whether others write to a file, as the file itself tells.
#[derive(Debug, Default)]
pub(super) struct Pace {
    trace: Option<Trace>,
    written: Option<Instant>,
    /// How long the last reads took, in no order.
    took: [Option<Duration>; READS],
    reads: usize,
}

impl Pace {
    /// milescale itself has written.
    pub(super) fn wrote(&mut self, path: &Place) {
        self.trace = trace(path).ok();
    }

    /// How long to wait after a read that took so long.
    pub(super) fn pause(&mut self, path: &Place, took: Duration, now: Instant) -> Duration {
        let trace = trace(path).ok();
        if self.trace.is_some() && trace != self.trace {
            self.written = Some(now);
        }
        self.trace = trace;
        let is_written = self.written.is_some_and(|written| now.duration_since(written) < REMEMBERED);
        self.took[self.reads % READS] = Some(took);
        self.reads = self.reads.wrapping_add(1);
        let shortest = self.took.iter().flatten().min().copied().unwrap_or(took);
        shortest * if is_written { WHILE_WRITTEN } else { WHILE_QUIET }
    }
}

fn trace(path: &Place) -> io::Result<Trace> {
    path.status().map(|metadata| (metadata.mtime(), metadata.mtime_nsec(), metadata.size()))
}

#[cfg(test)]
mod tests {
    use super::{Pace, READS, REMEMBERED, WHILE_QUIET, WHILE_WRITTEN};
    use milescale_workspace::Place;
    use std::fs;
    use std::time::{Duration, Instant};

    #[test]
    fn pauses_are_longer_while_somebody_else_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let place = Place::named(&path);
        let (took, start) = (Duration::from_micros(300), Instant::now());
        let mut pace = Pace::default();
        fs::write(&path, "1").unwrap();
        let (quiet, busy) = (took * WHILE_QUIET, took * WHILE_WRITTEN);
        assert_eq!([pace.pause(&place, took, start), pace.pause(&place, took, start)], [quiet, quiet]);
        fs::write(&path, "22").unwrap();
        pace.wrote(&place);
        assert_eq!(pace.pause(&place, took, start), quiet, "what milescale writes itself is nobody else's");
        fs::write(&path, "333").unwrap();
        assert_eq!(pace.pause(&place, took, start), busy);
        assert_eq!(pace.pause(&place, took, start + REMEMBERED / 2), busy, "who has written will write again");
        assert_eq!(pace.pause(&place, took, start + REMEMBERED), quiet);
        let late = start + REMEMBERED;
        assert_eq!(pace.pause(&place, took * 30, late), quiet, "a read that waited tells nothing");
        let longer: Vec<_> = (0..READS).map(|_| pace.pause(&place, took * 2, late)).collect();
        assert_eq!(longer.last(), Some(&(quiet * 2)), "what reads are now counts, not what they were");
    }
}
